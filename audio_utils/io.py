"""Read and write audio files, with checks in both directions.

Input: a path, or a waveform. Output: a `Recording`, or a complete file. Formats that are read:
`audio_formats.FORMATS`; that are written: WAV, FLAC, OGG (Vorbis), MP3. Resampling is soxr HQ.
`audio_utils.decoding` decodes the files. Called by training data, generation, likelihood, the
command line and the studio.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.decoding import (
    BLOCK_FRAMES,
    MAX_CHANNELS,
    MAX_SAMPLES,
    check_sample_rate,
    decode_file,
    libsndfile_message,
)
from audio_utils.errors import AudioError
from audio_utils.levels import Channel, Levels

# The size field of RIFF has 32 bits; the margin is for the header.
MAX_WAV_BYTES = 2**32 - 4096

_FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".wav": ("WAV", ("PCM_16", "PCM_24", "FLOAT")),
    ".flac": ("FLAC", ("PCM_16", "PCM_24")),
    ".ogg": ("OGG", ("VORBIS",)),
    ".mp3": ("MP3", ("MPEG_LAYER_III",)),
}
WRITTEN_SUFFIXES = tuple(_FORMATS)
PCM_BITS = {"PCM_16": 16, "PCM_24": 24}


@dataclass(frozen=True, eq=False)
class Recording:
    """An audio file as a mono waveform in memory.

    Attributes:
        waveform: (T,) float32 in [-1, 1], T >= 1, on the CPU.
        sample_rate: Hz, of the waveform.
        original_rate: Hz, of the file.
        channels: in the file; the waveform is made from them.
        clipped_samples: number of samples beyond +-1, which were clipped to +-1, including those
            that only resampling moved there.
        levels: of the file, in the channel that was read.
    """

    waveform: Tensor
    sample_rate: int
    original_rate: int
    channels: int
    clipped_samples: int
    levels: Levels = field(default_factory=Levels)


def read(
    path: str | Path,
    sample_rate: int | None = None,
    max_samples: int = MAX_SAMPLES,
    channel: Channel = "mix",
    normalize: bool = False,
    max_seconds: float | None = None,
) -> Recording:
    """Read an audio file as mono float32; the content decides the format, not the suffix.

    Args:
        path: a regular file in one of `audio_formats.FORMATS`, 1 to 8 channels.
        sample_rate: Hz to resample to, 4,000 to 192,000; None for no resampling.
        max_samples: limit of the samples of the waveform.
        channel: the channel that is read, or a combination of channels; see
            `levels.select_channel`.
        normalize: scale a recording that exceeds full scale so that its peak is full scale.
        max_seconds: longest accepted duration, checked before anything is decoded.
    Returns:
        The recording.
    Raises:
        AudioError: not a complete, valid audio file within the limits; or the mix of its channels
            is silence although the channels are not. The message names the error.
    """
    audio = decode_file(path, sample_rate, max_samples, channel, normalize, max_seconds)
    return Recording(
        torch.from_numpy(audio.samples),
        *(audio.sample_rate, audio.original_rate, audio.channels, audio.clipped_samples),
        audio.levels,
    )


def write(
    path: str | Path,
    waveform: Tensor | NDArray[Any],
    sample_rate: int,
    subtype: str = "PCM_16",
    replace: bool = True,
) -> int:
    """Write an audio file atomically; the suffix decides the format.

    PCM stores k / 32768 (k / 2**23 for PCM_24) exactly; +1 becomes the largest integer. Values
    beyond +-1 are clipped, except in FLOAT.

    Args:
        path: .wav, .flac, .ogg or .mp3, in an existing folder.
        waveform: (T,) or (channels, T), floating point, nominally in [-1, 1].
        sample_rate: Hz, 4,000 to 192,000.
        subtype: PCM_16, PCM_24 or, in WAV only, FLOAT; ignored for OGG and MP3, which have only
            one subtype.
        replace: whether an existing file may be replaced.
    Returns:
        The number of values that were clipped to +-1.
    Raises:
        AudioError: the waveform is empty, not finite or of the wrong shape; the format cannot
            store it; the file cannot be written.
    """
    kind, subtype = resolve_format(path, subtype)
    check_sample_rate(sample_rate, f"{path}: the sample rate")
    samples = _as_array(path, waveform)
    clipped = 0
    if subtype != "FLOAT":
        clipped = int(np.count_nonzero(np.abs(samples) > 1))
        samples = np.clip(samples, -1, 1)
    encoded = _encode(path, samples, sample_rate, kind, subtype)
    # Python writes the bytes, because libsndfile reports a full disk late or not at all.
    try:
        with atomic_file(path, replace) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {os_error_reason(error)}.") from error
    return clipped


def encode_wav(waveform: Tensor | NDArray[Any], sample_rate: int) -> bytes:
    """Return the bytes of a WAV file (PCM_16); values beyond +-1 are clipped.

    Args:
        waveform, sample_rate: as in `write`.
    Raises:
        AudioError: the waveform is empty, not finite or of the wrong shape.
    """
    check_sample_rate(sample_rate, "the sample rate")
    samples = np.clip(_as_array("the clip", waveform), -1, 1)
    return _encode("the clip", samples, sample_rate, "WAV", "PCM_16")


def check_format(path: str | Path, sample_rate: int | None, subtype: str = "PCM_16") -> None:
    """Check before long work that `write` can store a mono waveform under this name.

    Args:
        path: the file to write.
        sample_rate: Hz; None if it is not known yet.
        subtype: as in `write`.
    Raises:
        AudioError: the suffix is unknown, or the format does not support the subtype or the rate.
    """
    kind, subtype = resolve_format(path, subtype)
    if sample_rate is not None:
        check_sample_rate(sample_rate, f"{path}: the sample rate")
        # libsndfile knows the rates of a format only when it opens a file.
        _encode(path, np.zeros((1, 1), np.float32), sample_rate, kind, subtype)


def resolve_format(path: str | Path, subtype: str) -> tuple[str, str]:
    """Return the format of a file name, and the subtype that it stores."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise AudioError(f"{path}: expected a name ending in {', '.join(_FORMATS)}.")
    kind, subtypes = _FORMATS[suffix]
    if len(subtypes) == 1:
        subtype = subtypes[0]
    if subtype not in subtypes:
        raise AudioError(
            f"{path}: {kind} files support subtype {' or '.join(subtypes)}, not {subtype}."
        )
    return kind, subtype


def _as_array(path: str | Path, waveform: Tensor | NDArray[Any]) -> NDArray[np.float32]:
    """Return a waveform as (T, channels) float32; raise AudioError if it cannot be written."""
    shape = tuple(waveform.shape)
    if len(shape) not in (1, 2) or 0 in shape:
        raise AudioError(f"{path}: expected samples of shape (T,) or (channels, T), got {shape}.")
    if len(shape) == 2 and shape[0] > MAX_CHANNELS:
        raise AudioError(
            f"{path}: expected (channels, T) with at most {MAX_CHANNELS} channels, got {shape}; "
            "is it transposed?"
        )
    if int(np.prod(shape)) * 4 > MAX_WAV_BYTES:
        raise AudioError(f"{path}: {shape} samples are too many for one file; split it.")
    if isinstance(waveform, Tensor):
        is_floating = waveform.is_floating_point()
        samples = waveform.detach().to("cpu", torch.float32).numpy() if is_floating else None
    else:
        is_floating = np.issubdtype(waveform.dtype, np.floating)
        samples = waveform.astype(np.float32) if is_floating else None
    if samples is None:
        raise AudioError(f"{path}: expected floating point in [-1, 1], got {waveform.dtype}.")
    frames: NDArray[np.float32] = np.atleast_2d(samples).T
    is_invalid = ~np.isfinite(frames).all(axis=1)
    if is_invalid.any():
        raise AudioError(
            f"{path}: {np.count_nonzero(is_invalid):,} frames are not finite (NaN or infinite), "
            f"the first at index {int(is_invalid.argmax()):,}; nothing was written."
        )
    return frames


def _encode(
    path: str | Path, samples: NDArray[np.float32], sample_rate: int, kind: str, subtype: str
) -> bytes:
    values: NDArray[Any] = samples
    if subtype in PCM_BITS:
        values = quantise(samples, PCM_BITS[subtype])
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(
            buffer, "w", sample_rate, samples.shape[1], subtype=subtype, format=kind
        ) as file:
            for start in range(0, len(values), BLOCK_FRAMES):
                file.write(np.ascontiguousarray(values[start : start + BLOCK_FRAMES]))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: {kind} cannot store {samples.shape[1]} channels at {sample_rate} Hz"
            f"{libsndfile_message(error)}; use .wav or .flac."
        ) from error
    return buffer.getvalue()


def quantise(samples: NDArray[np.floating[Any]], bits: int) -> NDArray[Any]:
    """Round samples in [-1, 1] to int16, or to 24 bits in the upper bytes of int32."""
    scale = 2 ** (bits - 1)
    rounded = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1)
    integers: NDArray[Any] = rounded.astype(np.int16 if bits == 16 else np.int32)
    return integers if bits == 16 else integers << 8
