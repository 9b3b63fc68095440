"""Decode audio that libsndfile cannot read, such as AAC, with the program ffmpeg.

Input: an open file whose first bytes are of one of `DEMUXERS`. Output: a temporary WAV file. Called
by `audio_utils.verified_file`. ffmpeg reads hundreds of formats, some of which name other files or
addresses. Therefore the first bytes select the only demuxer, only decoders of common audio are
allowed, and the process has limits (`audio_utils.limited_process`), a minimal environment and no
argument that the author of the file chose.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from audio_utils.containers.mp3 import id3_tag_size
from audio_utils.errors import AudioError
from audio_utils.limited_process import CANNOT_START, limit_command

# Of files of any length, which only commands read; and of files whose length is limited.
MAX_SECONDS, MAX_SECONDS_OF_LIMITED = 600, 60
# The size fields of WAV have 32 bits. Three hours of stereo at 48 kHz.
MAX_BYTES = 4_000_000_000
# Of files whose length is limited: 8 channels at 48 kHz, or stereo at 192 kHz, float32.
MAX_BYTES_PER_SECOND = 48_000 * 8 * 4
FFMPEG_IS_MISSING = (
    "can be read only by the program ffmpeg, which is not installed; install it, or convert the "
    "file to WAV or FLAC"
)
DECODED_BY_FFMPEG = "decoded by ffmpeg"  # a note about a recording
# Each needs a core and much memory.
_RUNNING = threading.BoundedSemaphore(2)
_MARGIN_BYTES = 65_536  # of headers, and of the last block that ffmpeg writes
_SHOWN_LETTERS = 200
_SOURCE = re.compile(r"^(\[[^]]*\] *|file:\S*: )+")  # of a message: part of ffmpeg, or input
# Negative numbers of the signals that end a process at its limits; Windows has none.
_TOO_SLOW = -getattr(signal, "SIGXCPU", 24)
_TOO_LARGE = -getattr(signal, "SIGXFSZ", 25)

# First bytes (position, bytes) and the name of the demuxer in ffmpeg.
DEMUXERS = (
    *((4, kind, "mov") for kind in (b"ftyp", b"moov", b"mdat", b"wide")),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"MAC ", "ape"),
    (0, b"wvpk", "wv"),
)
# No decoder of pictures or subtitles.
DECODERS = (
    *("aac", "alac", "mp3", "mp3float", "mp2", "mp2float", "opus", "libopus", "vorbis", "flac"),
    *("ac3", "eac3", "wmav1", "wmav2", "wmapro", "wmalossless", "amrnb", "amrwb", "ape"),
    *("wavpack", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le"),
    *("pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_alaw", "pcm_mulaw"),
)
# All that the program receives, if it is set: where it and its libraries are.
_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot")


def find_ffmpeg() -> str | None:
    """Return the path of the program, or None."""
    return _find(os.environ.get("PATH", ""))


@functools.cache
def _find(folders: str) -> str | None:
    return shutil.which("ffmpeg", path=folders)


def find_demuxer(handle: BinaryIO) -> str | None:
    """Return the name of the demuxer for an open file, or None if ffmpeg must not read it."""
    handle.seek(id3_tag_size(handle))
    head = handle.read(16)
    # AAC: 12 bits that are set, a layer of zero, and a known sample rate.
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] & 0x3C < 0x34:
        return "aac"
    handle.seek(0)
    head = handle.read(16)
    return next((name for at, text, name in DEMUXERS if head.startswith(text, at)), None)


@contextlib.contextmanager
def decode_with_ffmpeg(
    path: str | Path, handle: BinaryIO, demuxer: str, max_seconds: float | None = None
) -> Iterator[BinaryIO]:
    """Yield the first audio stream of a file as an open WAV file of float samples.

    Args:
        path: for messages.
        handle: the open file.
        demuxer: of this file, from `find_demuxer`.
        max_seconds: decode only a little more than this.
    Raises:
        AudioError: ffmpeg is not installed, or cannot decode the file within the limits.
    """
    program = find_ffmpeg()
    if program is None:
        raise AudioError(f"{path} {FFMPEG_IS_MISSING}.")
    command = [program, *_arguments(path, demuxer)]
    seconds, size = MAX_SECONDS, MAX_BYTES
    if max_seconds is not None:
        command += ["-t", f"{max_seconds + 1:g}"]
        seconds, size = MAX_SECONDS_OF_LIMITED, int(max_seconds + 1) * MAX_BYTES_PER_SECOND
    command += ["-fs", str(size), "-f", "wav", "pipe:1"]
    # Without a buffer, because libsndfile moves the position of the descriptor.
    with tempfile.TemporaryFile(buffering=0) as output:
        with tempfile.TemporaryFile() as errors:
            limited = limit_command(command, seconds, size + _MARGIN_BYTES)
            code = _run(limited, seconds, handle, output, errors)
            _check_result(path, code, errors, seconds)
        if os.fstat(output.fileno()).st_size >= size:
            raise AudioError(f"{path} is too long; split it into shorter files.")
        yield cast(BinaryIO, output)


def _arguments(path: str | Path, demuxer: str) -> list[str]:
    # The opened file: a name may begin with a dash, contain a colon, or change its meaning.
    source = "/dev/stdin" if os.path.lexists("/dev/stdin") else str(Path(path).absolute())
    return [
        *("-nostdin", "-hide_banner", "-loglevel", "repeat+error", "-xerror", "-threads", "1"),
        *("-protocol_whitelist", "file,pipe", "-format_whitelist", demuxer),
        *("-codec_whitelist", ",".join(DECODERS), "-vn", "-sn", "-dn"),
        *("-f", demuxer, "-i", f"file:{source}", "-map", "0:a:0", "-map_metadata", "-1"),
        *("-c:a", "pcm_f32le"),
    ]


def _run(
    command: list[str], seconds: int, handle: BinaryIO, output: IO[bytes], errors: IO[bytes]
) -> int:
    """Run ffmpeg, and return its exit code, or that of a signal."""
    os.lseek(handle.fileno(), 0, os.SEEK_SET)  # the position of the child, which Python's is not
    try:
        with _RUNNING:
            return subprocess.run(
                command,
                stdin=handle,
                stdout=output,
                stderr=errors,
                env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
                timeout=seconds,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        return _TOO_SLOW
    except OSError:
        return CANNOT_START


def _check_result(path: str | Path, code: int, errors: IO[bytes], seconds: int) -> None:
    """Raise AudioError if ffmpeg failed, or printed an error."""
    if code == _TOO_SLOW:
        raise AudioError(f"{path}: ffmpeg needed more than {seconds} s; convert it to WAV or FLAC.")
    if code == _TOO_LARGE:
        raise AudioError(f"{path} is too long; split it into shorter files.")
    errors.seek(0)
    lines = errors.read(_MARGIN_BYTES).decode("ascii", "replace").splitlines()
    # The pictures of a video are not decoded.
    lines = [line for line in lines if line.strip() and "not on whitelist" not in line]
    if not code and not lines:
        return
    last = "".join(c for c in lines[-1] if c.isascii() and c.isprintable()) if lines else ""
    last = _SOURCE.sub("", last).strip()[-_SHOWN_LETTERS:] or f"exit code {code}"
    if code == CANNOT_START:
        raise AudioError(
            f"{path}: the program ffmpeg cannot be started ({last}); install it again."
        )
    if any("matches no streams" in line for line in lines):
        raise AudioError(f"{path} has no sound; expected audio, or a video with sound.")
    raise AudioError(
        f"{path} cannot be decoded by ffmpeg ({last}); it is damaged or of an unsupported kind, "
        "so export it again as WAV or FLAC."
    )
