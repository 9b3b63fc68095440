"""Decode audio that libsndfile cannot read, such as AAC, with the program ffmpeg.

Input: a path whose suffix is one of `audio_formats.FFMPEG_SUFFIXES`. Output: a temporary WAV file.
Called by `audio_utils.verified_file`. ffmpeg has many decoders written for speed, and malicious
files have exploited errors in them. Therefore the studio, which reads files of other people, does
not use it (`wavenet.ui.server.uploads`), and commands use it only for these suffixes.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError

TIMEOUT_SECONDS = 600.0
# The size fields of WAV have 32 bits. Three hours of stereo at 48 kHz.
MAX_BYTES = 4_000_000_000
# Without them, a playlist could name other files of this machine.
_DEMUXERS = "aac,amr,ape,asf,matroska,mov,wv"


def find_ffmpeg() -> str | None:
    """Return the path of the program, or None."""
    return _find(os.environ.get("PATH", ""))


@functools.cache
def _find(folders: str) -> str | None:
    return shutil.which("ffmpeg", path=folders)


@contextlib.contextmanager
def decode_with_ffmpeg(path: str | Path) -> Iterator[BinaryIO]:
    """Yield the first audio stream of a file as an open WAV file of float samples.

    Raises:
        AudioError: ffmpeg is not installed, or cannot decode the file.
    """
    program = find_ffmpeg()
    if program is None:
        raise AudioError(
            f"{path} can be read only by the program ffmpeg, which is not installed; install it, "
            "or convert the file to WAV or FLAC."
        )
    with tempfile.TemporaryFile() as output:
        _run(program, path, output)
        yield cast(BinaryIO, output)


def _run(program: str, path: str | Path, output: IO[bytes]) -> None:
    command = [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-xerror"]
    command += ["-protocol_whitelist", "file,pipe", "-format_whitelist", _DEMUXERS]
    # "file:" because a name may begin with a dash or contain a colon.
    command += ["-i", f"file:{Path(path).absolute()}", "-map", "0:a:0", "-map_metadata", "-1"]
    command += ["-c:a", "pcm_f32le", "-fs", str(MAX_BYTES), "-f", "wav", "pipe:1"]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AudioError(
            f"{path}: ffmpeg needed more than {TIMEOUT_SECONDS:g} s; convert it to WAV or FLAC."
        ) from None
    except OSError as error:
        raise AudioError(
            f"{path}: the program {program} cannot be started: {os_error_reason(error)}."
        ) from error
    message = result.stderr.decode("ascii", "replace").strip()
    if result.returncode or message:
        last = "".join(c for c in message.rpartition("\n")[2] if c.isascii() and c.isprintable())
        raise AudioError(
            f"{path} cannot be decoded by ffmpeg ({last[-200:] or result.returncode}); it is "
            "damaged or of an unsupported kind, so export it again as WAV or FLAC."
        )
    if os.fstat(output.fileno()).st_size >= MAX_BYTES:
        raise AudioError(f"{path} is too long; split it into shorter files.")
