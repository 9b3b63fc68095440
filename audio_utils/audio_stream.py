"""Write audio block by block: to a file, or to a pipe while it is generated.

A file is complete or absent, as all files of this project. A pipe receives 16-bit samples as they
come: with a WAV header whose length is unknown, or without a header. Memory does not grow with the
length. Input: blocks of a waveform. Called by `wavenet speak`.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.decoding import check_sample_rate, libsndfile_message
from audio_utils.errors import AudioError
from audio_utils.io import check_format

_UNKNOWN_BYTES = 0xFFFFFFFF  # in the size fields of a WAV header: until the end of the stream
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}
_PEAK = 32768

WriteBlock = Callable[[Tensor], None]


@contextlib.contextmanager
def open_audio_file(
    path: str | Path, sample_rate: int, replace: bool = True
) -> Iterator[WriteBlock]:
    """Yield a function that appends a block (n,) in [-1, 1] to a new mono file.

    The file appears when the block of the `with` statement ends without an error.

    Args:
        path: .wav, .flac, .ogg or .mp3, in an existing folder.
        sample_rate: Hz.
        replace: whether an existing file may be replaced.
    Raises:
        AudioError: the format cannot store the rate, or the file cannot be written.
    """
    check_format(path, sample_rate)
    subtype = _SUBTYPES[Path(path).suffix.lower()]
    try:
        with (
            atomic_file(path, replace) as temporary,
            soundfile.SoundFile(temporary, "w", sample_rate, 1, subtype) as file,
        ):
            yield lambda block: file.write(_to_integers(block))
    except soundfile.LibsndfileError as error:
        raise AudioError(f"Cannot write {path}{libsndfile_message(error)}.") from error
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {os_error_reason(error)}.") from error


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
        pipe.write(_to_integers(block).astype("<i2").tobytes())
        pipe.flush()

    return write


def _to_integers(block: Tensor) -> np.ndarray:
    scaled = np.rint(block.detach().cpu().double().numpy() * _PEAK)
    integers: np.ndarray = np.clip(scaled, -_PEAK, _PEAK - 1).astype(np.int16)
    return integers


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
