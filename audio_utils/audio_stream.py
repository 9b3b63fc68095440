"""Write audio block by block: to a file, or to a pipe while it is generated.

A file is complete or absent, as all files of this project. A pipe receives 16-bit samples as they
come: with a WAV header whose length is unknown, or without a header. Memory does not grow with the
length. Input: blocks of a waveform. Called by `wavenet speak` and the rendering of effects.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.decoding import check_sample_rate, libsndfile_message
from audio_utils.errors import AudioError
from audio_utils.io import MAX_WAV_BYTES, PCM_BITS, check_format, quantise, resolve_format

_UNKNOWN_BYTES = 0xFFFFFFFF  # in the size fields of a WAV header: until the end of the stream

_SYSTEM_ERROR = 2  # of libsndfile: a system call failed

WriteBlock = Callable[[Tensor], None]


class BlockWriter:
    """Appends blocks to an open file, and measures them.

    Attributes:
        frames: written so far.
        clipped_samples: values beyond +-1, which are limited; 0 in a file of floats.
        peak: largest magnitude, before it is limited.

    Args:
        path: for messages.
        file: open for writing.
        subtype: PCM_16, PCM_24, FLOAT, or that of a compressed format.
    """

    def __init__(self, path: str | Path, file: soundfile.SoundFile, subtype: str):
        self.frames, self.clipped_samples, self.peak = 0, 0, 0.0
        self._path, self._file, self._subtype = path, file, subtype

    def write(self, block: NDArray[np.floating[Any]]) -> None:
        """Append a block (channels, n).

        Raises:
            AudioError: a value is not finite, or the disk is full.
        """
        if not block.size:
            return
        peak = float(np.abs(block).max())
        if not np.isfinite(peak):
            raise AudioError(f"{self._path}: values are not finite; nothing was written.")
        self.peak = max(self.peak, peak)
        values: NDArray[Any] = block.T
        if self._subtype != "FLOAT":
            if peak > 1:
                self.clipped_samples += int(np.count_nonzero(np.abs(block) > 1))
            values = quantise(np.clip(values, -1, 1), PCM_BITS.get(self._subtype, 16))
        else:
            values = values.astype(np.float32)
        try:
            self._file.write(np.ascontiguousarray(values))
        except AssertionError:  # fewer were written
            raise _write_error(self._path, _full_disk()) from _full_disk()
        self.frames += len(values)


def _full_disk() -> OSError:
    """Return the cause that libsndfile does not tell."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_error(path: str | Path, error: OSError) -> AudioError:
    return AudioError(f"Cannot write {path}: {os_error_reason(error)}.")


@contextlib.contextmanager
def open_block_writer(
    path: str | Path,
    sample_rate: int,
    channels: int = 1,
    subtype: str = "PCM_16",
    replace: bool = True,
    frames: int = 0,
) -> Iterator[BlockWriter]:
    """Yield a writer of a new file, which appears when the `with` block ends without an error.

    Args:
        path: .wav, .flac, .ogg or .mp3, in an existing folder.
        sample_rate: Hz.
        channels: of the blocks.
        subtype: as in `io.write`.
        replace: whether an existing file may be replaced.
        frames: expected, for the limit of the format.
    Raises:
        AudioError: the format cannot store the rate or so many frames, or the file cannot be
            written.
    """
    check_format(path, sample_rate, subtype)
    kind, subtype = resolve_format(path, subtype)
    if kind == "WAV" and frames * channels * PCM_BITS.get(subtype, 32) // 8 > MAX_WAV_BYTES:
        raise AudioError(
            f"{path}: {frames:,} frames are too many for a WAV file, at most 4 GB; use .flac."
        )
    if kind == "MP3" and channels > 2:
        raise AudioError(f"{path}: an MP3 file has 1 or 2 channels, not {channels}; use .wav.")
    try:
        with atomic_file(path, replace) as temporary:
            with soundfile.SoundFile(
                temporary, "w", sample_rate, channels, subtype, format=kind
            ) as file:
                writer = BlockWriter(path, file, subtype)
                yield writer
            if kind != "MP3" and soundfile.info(temporary).frames != writer.frames:
                raise _write_error(path, _full_disk()) from _full_disk()
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            raise _write_error(path, _full_disk()) from _full_disk()
        raise AudioError(f"Cannot write {path}{libsndfile_message(error)}.") from error
    except OSError as error:
        raise _write_error(path, error) from error


@contextlib.contextmanager
def open_audio_file(
    path: str | Path, sample_rate: int, replace: bool = True
) -> Iterator[WriteBlock]:
    """Yield a function that appends a block (n,) in [-1, 1] to a new mono file of 16 bits.

    Args and Raises: as `open_block_writer`.
    """
    with open_block_writer(path, sample_rate, replace=replace) as writer:
        yield lambda block: writer.write(block.detach().cpu().numpy()[None])


def open_audio_pipe(pipe: BinaryIO, sample_rate: int, with_header: bool = True) -> WriteBlock:
    """Return a function that writes a block (n,) in [-1, 1] to a pipe at once.

    Args:
        pipe: receives little-endian 16-bit samples.
        sample_rate: Hz.
        with_header: whether a WAV header of unknown length comes first.
    """
    check_sample_rate(sample_rate, "the sample rate")
    if with_header:
        pipe.write(_stream_header(sample_rate))
        pipe.flush()

    def write(block: Tensor) -> None:
        integers = quantise(block.detach().cpu().numpy(), 16)
        pipe.write(integers.astype("<i2").tobytes())
        pipe.flush()

    return write


def _stream_header(sample_rate: int) -> bytes:
    """Return the header of a mono WAV file of 16 bits whose length is not known."""
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return b"".join(
        [
            b"RIFF" + struct.pack("<I", _UNKNOWN_BYTES) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", _UNKNOWN_BYTES),
        ]
    )
