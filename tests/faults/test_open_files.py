"""Long batches keep no files open, and neither names nor texts of a user reach other files."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavenet.checkpoint import Checkpoint

CALL = "from wavenet.cli.main import main; main()"
ROWS = 400
# Far fewer than the rows; importing all libraries and two workers need about 30.
MAX_OPEN_FILES = 64
CANARY = "Wunderkammer7431"


def run_cli(
    *arguments: object, max_files: int = 1024, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with a limit of open files."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))

    command = [sys.executable, "-c", CALL, *map(str, arguments)]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, cwd=cwd)


@pytest.mark.slow
def test_a_batch_of_many_clips_needs_few_open_files(
    make_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    folder = make_checkpoint().folder
    manifest = tmp_path / "rows.jsonl"
    rows = [{"digit": "abc"[n % 3], "seconds": 0.01} for n in range(ROWS)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("batch", manifest, "--checkpoint", folder, "--out-dir", tmp_path / "out")
    result = run_cli(*arguments, max_files=MAX_OPEN_FILES, cwd=tmp_path)
    assert (result.returncode, len(list((tmp_path / "out").glob("*.wav")))) == (0, ROWS)


def test_the_name_and_the_samples_of_a_recording_stay_in_its_file(
    make_checkpoint: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score that fails and one that succeeds leave no file with them, also not in /tmp."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    samples = np.random.default_rng(0).integers(-9000, 9000, 2000).astype(np.int16)
    soundfile.write(recordings / f"{CANARY}.wav", samples, 8000)
    (recordings / f"{CANARY}-damaged.wav").write_bytes(b"RIFF" + CANARY.encode())
    folder = make_checkpoint().folder
    result = run_cli("score", recordings, "--checkpoint", folder, "--set", "digit=a", cwd=tmp_path)
    assert (result.returncode, CANARY in result.stdout + result.stderr) == (3, True)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.parent != recordings:
            content = path.read_bytes()
            assert CANARY.encode() not in content and samples[:32].tobytes() not in content, path
            assert CANARY not in path.name
