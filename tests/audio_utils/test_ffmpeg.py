"""AAC and the like are read by ffmpeg if it is installed; here a script stands in for it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from audio_utils import ffmpeg
from audio_utils.audio_formats import AUDIO_SUFFIXES, FFMPEG_SUFFIXES, readable_suffixes
from audio_utils.io import read

from .crafted_files import assert_read_error, float_wav, wav_bytes

SAMPLES = np.array([0, 0.5, -0.25], np.float32)
MP4 = b"\x00\x00\x00\x20ftypM4A " + bytes(99)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a script with a #! line")


@pytest.fixture
def install_ffmpeg(tmp_path, monkeypatch):
    """Return a function that writes a program ffmpeg, and is the only folder of PATH."""

    def install(body):
        program = tmp_path / "bin/ffmpeg"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return install


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "-a: b.m4a"
    path.write_bytes(MP4)
    return path


def write_float_wav(tmp_path):
    """Write what ffmpeg sends to a pipe: a header without sizes."""
    whole = bytearray(float_wav(SAMPLES))
    whole[4:8] = whole[40:44] = b"\xff" * 4
    (tmp_path / "out").write_bytes(whole)
    return f"sys.stdout.buffer.write(open({str(tmp_path / 'out')!r}, 'rb').read())"


def test_other_audio_is_decoded_by_ffmpeg(tmp_path, install_ffmpeg, recording):
    log = tmp_path / "log"
    install_ffmpeg(
        f"open({str(log)!r}, 'w').write('\\n'.join(sys.argv[1:]))\n{write_float_wav(tmp_path)}"
    )
    found = read(recording)
    assert np.array_equal(found.waveform.numpy(), SAMPLES)
    assert found.levels.notes == ("decoded by ffmpeg",)
    arguments = log.read_text().split("\n")
    assert arguments[arguments.index("-i") + 1] == f"file:{recording}"
    assert arguments[arguments.index("-protocol_whitelist") + 1] == "file,pipe"
    assert "-nostdin" in arguments
    assert set(readable_suffixes()) == {*AUDIO_SUFFIXES, *FFMPEG_SUFFIXES}


def test_ffmpeg_is_not_used_for_known_contents_or_other_names(tmp_path, install_ffmpeg):
    install_ffmpeg("sys.exit('called')")
    (tmp_path / "a.m4a").write_bytes(wav_bytes())
    assert len(read(tmp_path / "a.m4a").waveform) == 100
    for name in ("a.wav", "a.txt"):
        (tmp_path / name).write_bytes(MP4)
        assert_read_error(tmp_path / name, "only ffmpeg reads")


def test_without_ffmpeg_the_error_is_one_sentence(tmp_path, monkeypatch, recording):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_read_error(recording, "ffmpeg, which is not installed")
    assert readable_suffixes() == AUDIO_SUFFIXES


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('a: \\x1b[31mInvalid data', file=sys.stderr); sys.exit(1)", r"\(a: \[31mInvalid"),
        ("print('Error decoding', file=sys.stderr)", "Error decoding"),
        ("sys.exit(3)", r"\(3\)"),
        ("time.sleep(60)", "more than 0.3 s"),
        ("print('no WAV')", "is not audio in a known format"),
    ],
)
def test_what_ffmpeg_cannot_decode_is_an_error(install_ffmpeg, recording, monkeypatch, body, words):
    monkeypatch.setattr(ffmpeg, "TIMEOUT_SECONDS", 0.3 if "sleep" in body else 60)
    install_ffmpeg(body)
    assert_read_error(recording, words)


def test_a_too_long_result_is_an_error(tmp_path, install_ffmpeg, recording, monkeypatch):
    monkeypatch.setattr(ffmpeg, "MAX_BYTES", 40)
    install_ffmpeg(write_float_wav(tmp_path))
    assert_read_error(recording, "too long")


def test_a_program_that_cannot_be_started_is_an_error(install_ffmpeg, recording):
    install_ffmpeg("")
    Path(os.environ["PATH"], "ffmpeg").write_bytes(b"\x00\x01")
    assert_read_error(recording, "cannot be started")
