"""Read and write audio files, checked on the way in and on the way out.

Enters: a path, or a waveform. Leaves: a `Recording`, or a file that is whole. Callers: training
data, synthesis, likelihood, the command line, the studio. Formats: WAV, FLAC, OGG (Vorbis, Opus),
MP3. Resampling is soxr HQ.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.containers import find_fault
from audio_utils.errors import AudioError
from audio_utils.files import atomic_file, reason

MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 8
# 30 minutes of stereo at 48 kHz; mixed to mono float32 that is 350 MB.
MAX_SAMPLES = 30 * 60 * 48_000 * 2
# 24 dB above full scale. No decoder overshoots so far; whole numbers kept as floats do.
MAX_PEAK = 16.0
# A RIFF size has 32 bits; the margin is for the header.
_MAX_WAV_BYTES = 2**32 - 4096
# Small enough to bound memory; one large write makes libsndfile overrun its stack in Vorbis.
_BLOCK_FRAMES = 65_536

_FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".wav": ("WAV", ("PCM_16", "PCM_24", "FLOAT")),
    ".flac": ("FLAC", ("PCM_16", "PCM_24")),
    ".ogg": ("OGG", ("VORBIS",)),
    ".mp3": ("MP3", ("MPEG_LAYER_III",)),
}
_BITS = {"PCM_16": 16, "PCM_24": 24}


@dataclass(frozen=True, eq=False)
class Recording:
    """One audio file in memory.

    Attributes:
        waveform: (T,) float32 in [-1, 1], T >= 1, on the CPU.
        sample_rate: Hz, of the waveform.
        original_rate: Hz, of the file.
        channels: in the file; the waveform is their mean.
        clipped: samples of the waveform that were beyond +-1 and have been limited.
    """

    waveform: Tensor
    sample_rate: int
    original_rate: int
    channels: int
    clipped: int


def read(
    path: str | Path, sample_rate: int | None = None, max_samples: int = MAX_SAMPLES
) -> Recording:
    """Read an audio file as mono float32; the content decides the format, not the suffix.

    Args:
        path: a regular file, WAV, FLAC, OGG or MP3, 1 to 8 channels.
        sample_rate: Hz to resample to, 4,000 to 192,000; None keeps that of the file.
        max_samples: most samples to decode (frames x channels) or to make by resampling.
    Returns:
        The recording.
    Raises:
        AudioError: not a whole, sane audio file within the limits; every fault is named.
    """
    if sample_rate is not None:
        _check_rate(sample_rate, "the asked sample rate")
    with _opened(Path(path)) as handle:
        fault = find_fault(handle, os.fstat(handle.fileno()).st_size)
        if fault:
            raise AudioError(f"{path} {fault}.")
        samples, original_rate, channels = _decode(path, handle, sample_rate, max_samples)
    target_rate = sample_rate or original_rate
    if target_rate != original_rate:
        samples = soxr.resample(samples, original_rate, target_rate, quality="HQ")
        if not samples.size:
            raise AudioError(f"{path} is too short to be resampled to {target_rate} Hz.")
    clipped = int(np.count_nonzero(np.abs(samples) > 1))
    waveform = torch.from_numpy(np.clip(samples, -1, 1))
    return Recording(waveform, target_rate, original_rate, channels, clipped)


def write(
    path: str | Path,
    waveform: Tensor | NDArray[Any],
    sample_rate: int,
    subtype: str = "PCM_16",
) -> int:
    """Write an audio file, whole or not at all; the suffix decides the format.

    PCM keeps k / 32768 (k / 2**23 for PCM_24) exactly; +1 becomes the largest code. Values beyond
    +-1 are limited, except in FLOAT, which keeps them.

    Args:
        path: .wav, .flac, .ogg or .mp3, in a folder that exists; an existing file is replaced.
        waveform: (T,) or (channels, T), floating point, nominally in [-1, 1].
        sample_rate: Hz, 4,000 to 192,000.
        subtype: PCM_16, PCM_24 or, in WAV only, FLOAT; OGG and MP3 have one of their own and
            disregard it.
    Returns:
        The number of values that were limited to +-1.
    Raises:
        AudioError: the waveform is empty, not finite or of the wrong shape; the format cannot
            hold it; the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise AudioError(f"{path}: expected a name ending in {', '.join(_FORMATS)}.")
    kind, subtypes = _FORMATS[suffix]
    if len(subtypes) == 1:
        subtype = subtypes[0]
    if subtype not in subtypes:
        raise AudioError(f"{path}: {kind} takes subtype {' or '.join(subtypes)}, not {subtype}.")
    _check_rate(sample_rate, f"{path}: the sample rate")
    samples = _as_frames(path, waveform)
    clipped = 0
    if subtype != "FLOAT":
        clipped = int(np.count_nonzero(np.abs(samples) > 1))
        samples = np.clip(samples, -1, 1)
    encoded = _encode(path, samples, sample_rate, kind, subtype)
    # Bytes go through Python, for libsndfile reports a full disk late or not at all.
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {reason(error)}.") from error
    return clipped


def _check_rate(rate: int, what: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{what} must be {MIN_RATE:,} to {MAX_RATE:,} Hz, not {rate:,} Hz.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; a FIFO is opened without waiting for its other end, then refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise AudioError(f"Cannot read {path}: {reason(error)}.") from error
    # Looked at before fdopen, which has its own words for a folder.
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise AudioError(f"{path} is {what}; expected an audio file.")
    with os.fdopen(descriptor, "rb") as handle:
        yield handle


def _decode(
    path: str | Path, handle: BinaryIO, target_rate: int | None, max_samples: int
) -> tuple[NDArray[np.float32], int, int]:
    """Return mono samples, rate and channels; limits are checked before anything is decoded."""
    os.lseek(handle.fileno(), 0, os.SEEK_SET)
    try:
        with soundfile.SoundFile(handle.fileno(), closefd=False) as file:
            _check_header(path, file, target_rate, max_samples)
            samples = _read_mono(path, file)
            return samples, file.samplerate, file.channels
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path} cannot be decoded{_words(error)}; it is damaged or of an unsupported kind, "
            "so export it again as 16-bit WAV."
        ) from error


def _words(error: soundfile.LibsndfileError) -> str:
    """Return the words of libsndfile, but for those that are not true of a file we have open."""
    text: str = error.error_string.removeprefix("Error : ").rstrip(".")
    return "" if "does not exist" in text else f" ({text})"


def _check_header(
    path: str | Path, file: soundfile.SoundFile, target_rate: int | None, max_samples: int
) -> None:
    rate, channels, frames = file.samplerate, file.channels, file.frames
    _check_rate(rate, f"{path}: the sample rate")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{path} has {channels} channels; expected 1 to {MAX_CHANNELS}.")
    if frames < 1:
        raise AudioError(f"{path} holds no samples; expected at least one.")
    resampled = frames * (target_rate or rate) // rate
    if max(frames * channels, resampled) > max_samples:
        raise AudioError(
            f"{path} is too long: {frames:,} frames x {channels} channels at {rate} Hz, the limit "
            f"is {max_samples:,} samples; cut it into parts."
        )


def _read_mono(path: str | Path, file: soundfile.SoundFile) -> NDArray[np.float32]:
    """Decode block by block, so that a false count of frames never decides what is allocated."""
    blocks, faults, first_fault, found, peak = [], 0, 0, 0, 0.0
    while found <= file.frames:
        block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        if not len(block):
            break
        is_fault = ~np.isfinite(block).all(axis=1)
        if is_fault.any():
            first_fault = first_fault if faults else found + int(is_fault.argmax())
            faults += int(np.count_nonzero(is_fault))
        else:
            peak = max(peak, float(np.abs(block).max()))
            blocks.append(block.mean(axis=1))
        found += len(block)
    if found != file.frames:
        raise AudioError(
            f"{path} is damaged or cut short: its header declares {file.frames:,} frames, "
            f"{found:,} could be read; get the file again."
        )
    if faults:
        raise AudioError(
            f"{path} has {faults:,} frames that are not finite (NaN or infinite), the first at "
            f"index {first_fault:,}; export it again."
        )
    if peak > MAX_PEAK:
        raise AudioError(
            f"{path} has values up to {peak:.3g} where [-1, 1] is expected; scale it and export "
            "it again."
        )
    return np.concatenate(blocks)


def _as_frames(path: str | Path, waveform: Tensor | NDArray[Any]) -> NDArray[np.float32]:
    """Check a waveform and return it as (T, channels), float32."""
    shape = tuple(waveform.shape)
    if len(shape) not in (1, 2) or 0 in shape:
        raise AudioError(f"{path}: expected samples of shape (T,) or (channels, T), got {shape}.")
    if len(shape) == 2 and shape[0] > MAX_CHANNELS:
        raise AudioError(
            f"{path}: expected (channels, T) with at most {MAX_CHANNELS} channels, got {shape}; "
            "is it transposed?"
        )
    if int(np.prod(shape)) * 4 > _MAX_WAV_BYTES:
        raise AudioError(f"{path}: {shape} samples are too many for one file; cut it into parts.")
    if isinstance(waveform, Tensor):
        is_floating = waveform.is_floating_point()
        samples = waveform.detach().to("cpu", torch.float32).numpy() if is_floating else None
    else:
        is_floating = np.issubdtype(waveform.dtype, np.floating)
        samples = waveform.astype(np.float32) if is_floating else None
    if samples is None:
        raise AudioError(f"{path}: expected floating point in [-1, 1], got {waveform.dtype}.")
    frames: NDArray[np.float32] = np.atleast_2d(samples).T
    is_fault = ~np.isfinite(frames).all(axis=1)
    if is_fault.any():
        raise AudioError(
            f"{path}: {np.count_nonzero(is_fault):,} frames are not finite (NaN or infinite), the "
            f"first at index {int(is_fault.argmax()):,}; nothing was written."
        )
    return frames


def _encode(
    path: str | Path, samples: NDArray[np.float32], sample_rate: int, kind: str, subtype: str
) -> bytes:
    values: NDArray[Any] = samples
    if subtype in _BITS:
        values = _quantise(samples, _BITS[subtype])
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(
            buffer, "w", sample_rate, samples.shape[1], subtype=subtype, format=kind
        ) as file:
            for start in range(0, len(values), _BLOCK_FRAMES):
                file.write(np.ascontiguousarray(values[start : start + _BLOCK_FRAMES]))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: {kind} cannot hold {samples.shape[1]} channels at {sample_rate} Hz"
            f"{_words(error)}; use .wav or .flac."
        ) from error
    return buffer.getvalue()


def _quantise(samples: NDArray[np.float32], bits: int) -> NDArray[Any]:
    """Round to signed codes of 16 or 24 bits; 24 bits stand in the upper part of int32."""
    scale = 2 ** (bits - 1)
    codes = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1)
    whole: NDArray[Any] = codes.astype(np.int16 if bits == 16 else np.int32)
    return whole if bits == 16 else whole << 8
