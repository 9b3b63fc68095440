"""Write the samples of a compressed file: as the original file, as WAV or as FLAC.

Input: a header, bytes around the samples, and samples block by block. Output: a stream, or a FLAC
file. Called by `decode_files`.
"""

import errno
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.compression.compressed_file import usual_header
from wavenet.compression.compressed_header import CompressedHeader
from wavenet.compression.pcm_container import sample_format, standard_wav_header
from wavenet.compression.pcm_samples import pack_samples
from wavenet.errors import CompressedFileError

# The size fields of a WAV file have 32 bits; 36 bytes of the header and a pad byte are counted.
MAX_WAV_DATA = 2**32 - 1 - 37
_RIFF_SIZE, _DATA_SIZE, _WAV_HEADER = 4, 40, 44


class DecodedTarget(Protocol):
    """Receives a decoded file."""

    def write_container(self, part: bytes) -> None:
        """Receive bytes around the samples, in the order of the file."""
        ...

    def write(self, samples: NDArray[Any]) -> None:
        """Receive a block, (channels, samples)."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...


class WritableStream(Protocol):
    """What is needed of a file or a pipe."""

    def write(self, data: bytes, /) -> object: ...


class NoTarget:
    """Receives a file that is only checked; methods as `DecodedTarget`."""

    def write_container(self, part: bytes) -> None:
        """Do nothing."""

    def write(self, samples: NDArray[Any]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class OriginalTarget:
    """Restores the original file, byte for byte; methods as `DecodedTarget`.

    Args:
        header: of the compressed file.
        stream: receives the file.
    """

    def __init__(self, header: CompressedHeader, stream: WritableStream):
        self._form = sample_format(header.container, header.bits)
        self._stream = stream
        if header.container == "plain_wav":
            stream.write(usual_header(header))

    def write_container(self, part: bytes) -> None:
        """Write bytes around the samples."""
        self._stream.write(part)

    def write(self, samples: NDArray[Any]) -> None:
        """Write a block."""
        self._stream.write(pack_samples(samples, self._form))

    def finish(self) -> None:
        """Do nothing."""


class WavTarget:
    """Writes a new WAV file; methods as `DecodedTarget`.

    Args:
        header: of the compressed file.
        stream: receives the file. If the number of samples is not known, sizes are written at the
            end to a file, and stay unknown in a pipe.
        name: of the file, for messages.
    Raises:
        CompressedFileError: the file would be larger than a WAV file can be.
    """

    def __init__(self, header: CompressedHeader, stream: BinaryIO, name: str):
        self._frame_bytes = header.channels * header.bits // 8
        self._form = sample_format("none", header.bits)
        self._stream, self._name = stream, name
        self._written = 0
        self._declared = None if header.samples is None else header.samples * self._frame_bytes
        self._check_size(self._declared or 0)
        rate, channels = header.sample_rate, header.channels
        stream.write(standard_wav_header(rate, channels, header.bits, self._declared))

    def write_container(self, part: bytes) -> None:
        """Ignore bytes around the samples."""

    def write(self, samples: NDArray[Any]) -> None:
        """Write a block."""
        data = pack_samples(samples, self._form)
        self._written += len(data)
        self._check_size(self._written)
        self._stream.write(data)

    def finish(self) -> None:
        """Write the pad byte, and the sizes if they were not known."""
        if self._written % 2:
            self._stream.write(b"\0")
        if self._written != self._declared and self._stream.seekable():
            size = self._written
            for position, value in ((_RIFF_SIZE, size + size % 2 + 36), (_DATA_SIZE, size)):
                self._stream.seek(position)
                self._stream.write(struct.pack("<I", value))
            self._stream.seek(0, 2)

    def _check_size(self, size: int) -> None:
        if size > MAX_WAV_DATA:
            raise CompressedFileError(
                f"{self._name}: the samples are too many for a WAV file, at most 4 GB; use the "
                "format flac"
            )


class FlacTarget:
    """Writes a new FLAC file; methods as `DecodedTarget`.

    Args:
        header: of the compressed file.
        path: of the file, which libsndfile creates.
        name: for messages.
    Raises:
        CompressedFileError: FLAC cannot store this rate or so many channels.
    """

    def __init__(self, header: CompressedHeader, path: Path, name: str):
        self._shift, self._name, self._path = 32 - header.bits, name, path
        self._written = 0
        subtype = "PCM_S8" if header.bits == 8 else f"PCM_{header.bits}"
        try:
            self._file = soundfile.SoundFile(
                path, "w", header.sample_rate, header.channels, subtype, format="FLAC"
            )
        except (soundfile.LibsndfileError, OverflowError) as error:
            raise CompressedFileError(
                f"{name}: FLAC cannot store {header.channels} channels at {header.sample_rate:,} "
                "Hz; use the format wav"
            ) from error

    def write_container(self, part: bytes) -> None:
        """Ignore bytes around the samples."""

    def write(self, samples: NDArray[Any]) -> None:
        """Write a block."""
        shifted = np.left_shift(samples, self._shift, dtype=np.int32)
        try:
            self._file.write(np.ascontiguousarray(shifted.T))
        except (AssertionError, soundfile.LibsndfileError):  # fewer were written
            raise _disk_full() from None
        self._written += samples.shape[1]

    def finish(self) -> None:
        """Close the file; libsndfile reports a full disk late or not at all."""
        self._file.close()
        if self._written and soundfile.info(self._path).frames != self._written:
            raise _disk_full()


def _disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
