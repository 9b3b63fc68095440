"""Open an audio file with libsndfile, and check what libsndfile does not check.

Input: an open file. Output: a `VerifiedFile`, which is read like a `soundfile.SoundFile`. Called by
`audio_utils.decoding`.
"""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio_utils.audio_formats import check_container
from audio_utils.containers.declared_sizes import REMEDY, ContainerError, ContainerReport
from audio_utils.errors import AudioError
from audio_utils.ffmpeg import DECODED_BY_FFMPEG, decode_with_ffmpeg, find_demuxer

# libsndfile: SF_COUNT_MAX
_UNKNOWN_FRAMES = 2**62
_BLOCK_FRAMES = 65_536
_FLAC_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}


@contextlib.contextmanager
def open_verified(
    path: str | Path, handle: BinaryIO, max_seconds: float | None = None
) -> Iterator["VerifiedFile"]:
    """Open an audio file whose container is complete.

    Args:
        path: for messages.
        handle: the open file.
        max_seconds: longest accepted duration; here it only limits the decoding of files that do
            not declare their length.
    Raises:
        AudioError: the container is damaged, or of a format that neither libsndfile nor an
            installed ffmpeg reads; or, while reading, the decoded samples are not those that the
            container declares.
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """
    try:
        demuxer = find_demuxer(handle)
        if demuxer is None:
            with _open(handle, max_seconds) as file:
                yield file
            return
        decoding = decode_with_ffmpeg(path, handle, demuxer, max_seconds)
        with decoding as decoded, _open(decoded, max_seconds) as file:
            if max_seconds is not None and file.frames > max_seconds * file.samplerate:
                raise AudioError(f"{path} lasts more than {max_seconds:g} s; trim it.")
            file.notes = (DECODED_BY_FFMPEG,)
            yield file
    except ContainerError as error:
        raise AudioError(f"{path} {error}.") from None


@contextlib.contextmanager
def _open(handle: BinaryIO, max_seconds: float | None) -> Iterator["VerifiedFile"]:
    report = check_container(handle, os.fstat(handle.fileno()).st_size)
    os.lseek(handle.fileno(), 0, os.SEEK_SET)
    with _UnseekableFile(handle.fileno(), closefd=False) as file:
        if file.frames < _UNKNOWN_FRAMES:
            yield VerifiedFile(file, report)
            return
        note = "its header declares no length, as in a file written to a pipe"
        frames = _count_frames(file, max_seconds)
        report = replace(report, frames=frames, notes=(*report.notes, note))
    os.lseek(handle.fileno(), 0, os.SEEK_SET)
    with _UnseekableFile(handle.fileno(), closefd=False) as file:
        yield VerifiedFile(file, report)


class _UnseekableFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read once from start to end: a FLAC of unknown length has no positions."""

    def seekable(self) -> bool:
        return False


def _count_frames(file: soundfile.SoundFile, max_seconds: float | None) -> int:
    """Return the number of frames by decoding them; stop above the limit."""
    found, limit = 0, math.inf if max_seconds is None else max_seconds * file.samplerate
    while found <= limit and (count := len(file.read(_BLOCK_FRAMES, dtype="int16"))):
        found += count
    return found


class VerifiedFile:
    """An open audio file.

    Attributes:
        samplerate, channels: as libsndfile reads them from the header.
        frames: number of frames that the file must have.
        subtype: how libsndfile names the kind of the stored samples, such as PCM_16.
        notes: phrases about unusual properties of the container.
    """

    def __init__(self, file: soundfile.SoundFile, report: ContainerReport) -> None:
        self.samplerate, self.channels = file.samplerate, file.channels
        self.subtype: str = file.subtype
        self.frames = file.frames if report.frames is None else report.frames
        # Without a Xing header, libsndfile estimates the number of frames, and reads only so many.
        if file.format == "MP3" and file.frames < self.frames:
            raise ContainerError(
                f"has a variable bit rate but no Xing header, so only {file.frames:,} of its "
                f"{self.frames:,} frames would be read; convert it to WAV or FLAC"
            )
        self.notes = report.notes
        self._file, self._digest = file, SampleDigest(file, report.md5)
        # libsndfile reads W64 and SPHERE files to their end, including bytes after the audio.
        self._left = report.frames

    def read(self, frames: int) -> NDArray[np.float32]:
        """Return the next frames, (T, channels) float32; none at the end.

        Raises:
            ContainerError: this is the end, and the samples differ from those that were encoded.
        """
        if self._left is not None:
            frames = min(frames, self._left)
        block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        if self._left is not None:
            self._left -= len(block)
        self._digest.update(block)
        if not len(block):
            self._digest.check()
        return block


class SampleDigest:
    """Compute the MD5 of decoded samples, to be compared with the one in the header."""

    def __init__(self, file: soundfile.SoundFile, stored: bytes) -> None:
        self._stored = stored
        self._bits = _FLAC_BITS.get(file.subtype, 0) if stored else 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def update(self, block: NDArray[np.float32]) -> None:
        """Add samples, (T, channels) in [-1, 1]: float32 stores 24 bits exactly."""
        if not self._bits:
            return
        scaled = block * np.float32(2 ** (self._bits - 1))
        if self._bits == 24:
            four = scaled.astype("<i4").view(np.uint8).reshape(-1, 4)
            three = np.empty((len(four), 3), np.uint8)
            # Column by column: a copy of four[:, :3] is ten times slower.
            for byte in range(3):
                three[:, byte] = four[:, byte]
            self._digest.update(three.tobytes())
        else:
            self._digest.update(scaled.astype("<i2" if self._bits == 16 else "i1").tobytes())

    def check(self) -> None:
        """Raise ContainerError if the samples are not those that were encoded."""
        if self._bits and self._digest.digest() != self._stored:
            raise ContainerError(
                "is damaged: the MD5 of its samples differs from the one in its FLAC header; "
                f"{REMEDY}"
            )
