"""A process that is killed leaves nothing at the target."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compression.audio_files import file_task, find_deltas, make_samples, make_wav
from wavenet.compression.compress_files import compress_files
from wavenet.compression.decode_files import DecodedFile, decompress_files

CALL = """
import os, signal, sys
from pathlib import Path
from wavenet.compression import {module}
from wavenet.compression.file_task import FileTask
def kill(*values):
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{method} = kill
source, target = Path(sys.argv[1]), Path(sys.argv[2])
task = FileTask(source, target, "source", "target")
from wavenet.compression.compress_files import compress_files
from wavenet.compression.decode_files import decompress_files
{call}
"""
COMPRESS = "compress_files([task], None)"
DECOMPRESS = "decompress_files([task], lambda sha256: None)"
# module, what is replaced by a kill, the call
KILLS = [
    ("compressed_file", "CompressedWriter.write_block", COMPRESS),
    ("compressed_file", "CompressedWriter.finish", COMPRESS),
    ("decode_files", "DecodeJob.finish", COMPRESS),
    ("pending_output", "PendingOutput.commit", COMPRESS),
    ("decoded_target", "OriginalTarget.write", DECOMPRESS),
    ("pending_output", "PendingOutput.commit", DECOMPRESS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "method", "call"), KILLS)
def test_a_killed_process_leaves_nothing_at_the_target(
    tmp_path: Path, module: str, method: str, call: str
) -> None:
    source, packed, target = (tmp_path / name for name in ("a.wav", "a.wnc", "out/target"))
    source.write_bytes(make_wav(make_samples(1, 5000)))
    compress_files([file_task(source, packed)], None)
    target.parent.mkdir()
    given = source if call == COMPRESS else packed
    code = CALL.format(module=module, method=method, call=call)
    command = [sys.executable, "-c", code, str(given), str(target)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not target.exists()
    # the hidden rest does not disturb the next attempt
    (result,) = decompress_files([file_task(packed, target)], find_deltas)
    assert isinstance(result, DecodedFile)
    assert target.read_bytes() == source.read_bytes()
