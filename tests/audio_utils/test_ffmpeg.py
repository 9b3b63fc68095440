"""AAC and the like are read by ffmpeg if it is installed; in most tests a script replaces it."""

import ast
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audio_utils import ffmpeg
from audio_utils.audio_formats import (
    AUDIO_SUFFIXES,
    FFMPEG_SUFFIXES,
    READABLE_FORMATS,
    readable_formats,
    readable_suffixes,
)
from audio_utils.io import read
from audio_utils.limited_process import MAX_MEMORY, MAX_OPEN_FILES

from .crafted_files import assert_read_error, float_wav, wav_bytes

SAMPLES = np.array([0, 0.5, -0.25], np.float32)
MP4 = b"\x00\x00\x00\x20ftypM4A " + bytes(99)
# Instead of the media types that these names promise.
PLAYLISTS = {
    "hls.m4a": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "hls.mp4": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
    "concat.m4a": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "dash.webm": b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    "sdp.aac": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n",
    "avi.wma": b"RIFF\x00\x00\x01\x00AVI LIST" + bytes(99),
    "picture.m4a": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:01,000\nHello\n",
    "mpegts.m4a": b"G" + bytes(187) + b"G" + bytes(187),
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a script with a #! line")
INSTALLED = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(INSTALLED is None, reason="ffmpeg is not installed")


@pytest.fixture
def install_ffmpeg(tmp_path, monkeypatch):
    """Return a function that writes a program ffmpeg, and is the only folder of PATH."""

    def install(body):
        program = tmp_path / "bin/ffmpeg"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return install


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "-a: b.m4a"
    path.write_bytes(MP4)
    return path


def write_float_wav(tmp_path, samples=SAMPLES):
    """Return code that writes what ffmpeg sends to a pipe: a header without sizes."""
    whole = bytearray(float_wav(samples))
    whole[4:8] = whole[40:44] = b"\xff" * 4
    (tmp_path / "out").write_bytes(whole)
    return f"sys.stdout.buffer.write(open({str(tmp_path / 'out')!r}, 'rb').read())"


def log_value(tmp_path, expression):
    """Return code that writes the value of an expression to a file, and the file."""
    log = tmp_path / "log"
    return f"open({str(log)!r}, 'w').write({expression})\n{write_float_wav(tmp_path)}", log


def test_other_audio_is_decoded_by_ffmpeg(tmp_path, install_ffmpeg, recording):
    body, log = log_value(tmp_path, "sys.stdin.read()")
    install_ffmpeg(body)
    found = read(recording)
    assert np.array_equal(found.waveform.numpy(), SAMPLES)
    assert found.levels.notes == ("decoded by ffmpeg",)
    assert log.read_bytes() == MP4  # the opened file is the input
    assert set(readable_suffixes()) == {*AUDIO_SUFFIXES, *FFMPEG_SUFFIXES}
    assert "M4A" in readable_formats()


def test_the_arguments_name_no_file_and_allow_nothing_else(tmp_path, install_ffmpeg, recording):
    body, log = log_value(tmp_path, "'\\n'.join(sys.argv[1:])")
    install_ffmpeg(body)
    read(recording, max_seconds=30)
    arguments = log.read_text().split("\n")
    values = dict(itertools.pairwise(arguments))
    assert values["-i"] == "file:/dev/stdin"
    assert not any("m4a" in argument or str(tmp_path) in argument for argument in arguments)
    assert values["-protocol_whitelist"] == "file,pipe"
    assert values["-f"] == "wav"  # the last one, of the output
    assert arguments[arguments.index("-f") + 1] == values["-format_whitelist"] == "mov"
    assert not {"h264", "png", "srt"} & set(values["-codec_whitelist"].split(","))
    assert {"-nostdin", "-vn", "-sn", "-dn"} < set(arguments)
    assert arguments.index("-t") > arguments.index("-i")
    assert values["-t"] == "31"


def test_ffmpeg_runs_with_limits_and_without_secrets(
    tmp_path, install_ffmpeg, recording, monkeypatch
):
    pytest.importorskip("resource")
    monkeypatch.setenv("HF_TOKEN", "secret")
    names = ("CPU", "FSIZE", "NOFILE", "AS")
    limits = ", ".join(f"resource.getrlimit(resource.RLIMIT_{name})[0]" for name in names)
    body, log = log_value(tmp_path, f"repr([{limits}, *os.environ])")
    install_ffmpeg(f"import resource\n{body}")
    read(recording, max_seconds=30)
    cpu, written, files, memory, *variables = ast.literal_eval(log.read_text())
    assert cpu == ffmpeg.MAX_SECONDS_OF_LIMITED
    assert 31 * ffmpeg.MAX_BYTES_PER_SECOND < written < 32 * ffmpeg.MAX_BYTES_PER_SECOND
    assert files == MAX_OPEN_FILES
    assert memory == MAX_MEMORY or sys.platform == "darwin"
    assert "PATH" in variables
    assert "HF_TOKEN" not in variables
    read(recording)
    cpu, written, *_ = ast.literal_eval(log.read_text())
    assert (cpu, written // 10**6) == (ffmpeg.MAX_SECONDS, ffmpeg.MAX_BYTES // 10**6)


def test_the_content_decides_whether_ffmpeg_is_started(tmp_path, install_ffmpeg):
    install_ffmpeg("sys.exit('called')")
    (tmp_path / "a.m4a").write_bytes(wav_bytes())
    assert len(read(tmp_path / "a.m4a").waveform) == 100
    for name in ("a.wav", "a.txt"):
        (tmp_path / name).write_bytes(MP4)
        assert_read_error(tmp_path / name, "called")


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_pictures_and_subtitles_never_reach_ffmpeg(tmp_path, install_ffmpeg, name):
    body, log = log_value(tmp_path, "'called'")
    install_ffmpeg(body)
    (tmp_path / name).write_bytes(PLAYLISTS[name])
    assert_read_error(tmp_path / name, "is not audio in a known format")
    assert not log.exists()


@pytest.mark.parametrize(
    ("content", "demuxer"),
    [
        (MP4, "mov"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"ID3\x04\0\0\0\0\0\x02ab\xff\xf9\x50\x80", "aac"),
        (b"ID3\x04\0\0\0\0\0\x02ab\xff\xfb\x90\x64", None),  # MP3
        (b"\xff\xfb\x90\x64", None),
        (b"\xff\xf1\x7c\x80", None),  # an unknown sample rate
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_first_bytes_select_the_demuxer(tmp_path, content, demuxer):
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as handle:
        assert ffmpeg.find_demuxer(handle) == demuxer


def test_without_ffmpeg_the_error_is_one_sentence(tmp_path, monkeypatch, recording):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_read_error(recording, "ffmpeg, which is not installed")
    assert readable_suffixes() == AUDIO_SUFFIXES
    assert readable_formats() == READABLE_FORMATS


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('a: \\x1b[31mInvalid data', file=sys.stderr); sys.exit(1)", r"\(a: \[31mInvalid"),
        ("print('[mov @ 0x5f] file:/dev/stdin: Bad', file=sys.stderr); sys.exit(1)", r"\(Bad\)"),
        ("print('Error decoding', file=sys.stderr)", "Error decoding"),
        ("print('Stream map matches no streams.', file=sys.stderr); sys.exit(1)", "has no sound"),
        ("sys.exit(3)", r"\(exit code 3\)"),
        ("time.sleep(60)", "more than 1 s"),
        ("while True: pass", "more than 1 s"),
        ("print('no WAV')", "is not audio in a known format"),
    ],
)
def test_what_ffmpeg_cannot_decode_is_an_error(install_ffmpeg, recording, monkeypatch, body, words):
    monkeypatch.setattr(ffmpeg, "MAX_SECONDS", 1 if "more than" in words else 60)
    install_ffmpeg(body)
    assert_read_error(recording, words)


def test_pictures_that_are_not_decoded_are_no_error(tmp_path, install_ffmpeg, recording):
    install_ffmpeg(
        "print('[h264 @ 0x5f] Codec (h264) not on whitelist', file=sys.stderr)\n"
        + write_float_wav(tmp_path)
    )
    assert np.array_equal(read(recording).waveform.numpy(), SAMPLES)


def test_a_too_long_result_is_an_error(tmp_path, install_ffmpeg, recording, monkeypatch):
    install_ffmpeg(write_float_wav(tmp_path))
    assert_read_error(recording, "lasts more than 0.0001 s; trim it", max_seconds=0.0001)
    install_ffmpeg(write_float_wav(tmp_path, np.zeros(40_000)))
    assert_read_error(recording, "lasts more than 0.5 s; trim it", max_seconds=0.5)
    install_ffmpeg(write_float_wav(tmp_path))
    monkeypatch.setattr(ffmpeg, "MAX_BYTES", 40)
    assert_read_error(recording, "too long")
    monkeypatch.setattr(ffmpeg, "MAX_BYTES", 10**6)
    install_ffmpeg("import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
                   "while True: os.write(1, bytes(4096))")  # fmt: skip
    assert_read_error(recording, "too long")


def test_a_program_that_cannot_be_started_is_an_error(install_ffmpeg, recording):
    install_ffmpeg("")
    Path(os.environ["PATH"], "ffmpeg").write_bytes(b"\x00\x01")
    assert_read_error(recording, "cannot be started")


def encode(path, *options, seconds=2, source=("-f", "lavfi", "-i", "sine=440:r=16000")):
    """Write a file by the installed ffmpeg."""
    command = [INSTALLED, "-nostdin", "-y", "-loglevel", "error", *source, "-t", str(seconds)]
    result = subprocess.run([*command, *options, f"file:{path}"], stderr=subprocess.PIPE)
    if b"ncoder" in result.stderr:
        pytest.skip(f"this ffmpeg cannot encode {path.suffix}")
    assert result.returncode == 0, result.stderr
    return path


PICTURES = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=5")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ("-c:a", "aac")),
        ("a.aac", ()),
        ("a.wma", ()),
        ("a.webm", ("-c:a", "libopus")),
        ("video.mp4", (*PICTURES, "-shortest", "-c:v", "mpeg4", "-c:a", "aac")),
        ("video.mov", (*PICTURES, "-shortest", "-c:v", "mpeg4", "-c:a", "pcm_s16be")),
        ("video.mkv", (*PICTURES, "-shortest", "-c:v", "mpeg4", "-c:a", "libvorbis")),
        ("-f '\"; $(ls): a.m4a", ("-c:a", "alac")),
    ],
)
def test_the_installed_ffmpeg_decodes_a_tone(tmp_path, name, options):
    found = read(encode(tmp_path / name, *options), max_seconds=10)
    assert len(found.waveform) / found.sample_rate == pytest.approx(2, abs=0.15)
    part = found.waveform[found.sample_rate // 2 :][: found.sample_rate].numpy()
    assert np.abs(np.fft.rfft(part)).argmax() == 440  # Hz, because the part lasts one second
    assert np.abs(part).max() == pytest.approx(0.125, rel=0.1)


@needs_ffmpeg
def test_the_installed_ffmpeg_refuses_what_it_should(tmp_path):
    silent = encode(tmp_path / "silent.mp4", "-c:v", "mpeg4", source=PICTURES)
    assert_read_error(silent, "has no sound; expected audio")
    hours = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono")
    whole = encode(tmp_path / "hours.m4a", "-c:a", "alac", seconds=3 * 3600, source=hours)
    assert_read_error(whole, "lasts more than 30 s", max_seconds=30)
    other = encode(tmp_path / "other.mkv", "-c:a", "adpcm_ms")
    assert_read_error(other, "cannot be decoded by ffmpeg", max_seconds=30)
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(encode(tmp_path / "a.m4a", "-c:a", "aac").read_bytes()[:2000])
    assert_read_error(cut, "it is damaged", max_seconds=30)
