"""Describe a recording: statistics of the whole, and features frame by frame.

Input: a waveform (T,) and its sample rate in Hz. Output: `RecordingStats`, feature arrays, the
pitch over time. Called by the studio (tabs and API functions) and by the report on a dataset.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.errors import AudioError
from audio_utils.features import (
    FeatureConfig,
    f0,
    import_torchaudio_functional,
    log_mel,
    mfcc,
    rms_level,
)
from audio_utils.levels import BLOCK_SECONDS, FULL_SCALE, MIN_CLIPPED_RUN, SILENCE_DB
from audio_utils.lufs import integrated_loudness
from audio_utils.metrics import scale_to_peak

PITCH_RANGE_HZ = (65.0, 1000.0)
# Pitch tracking needs 1.5 ms per frame: it uses a low sample rate, and fewer frames for long
# recordings.
_PITCH_RATE = 16_000
_MAX_PITCH_FRAMES = 2000
_LIMIT_MARGIN = 1.01  # a pitch outside the range is found within 1 % of its limit
_MIN_PERIODS = 2  # of the lowest pitch, in the shortest recording that has a pitch
_DELTA_FRAMES = 9


@dataclass(frozen=True)
class RecordingStats:
    """Statistics of a whole recording; None for an undefined value, such as the level of silence.

    Attributes:
        seconds: duration.
        sample_rate: Hz.
        samples: T.
        peak_db: the largest magnitude, dB re full scale.
        rms_db: the root of the mean square, dB re full scale; -3.01 for a full-scale sine.
        crest_db: peak over RMS, dB; 3.01 for a sine.
        loudness_lufs: from `lufs.integrated_loudness`.
        dc: mean of the samples, as a fraction of full scale.
        full_scale_samples: number of samples at full scale; `is_clipped` checks for clipping.
        silent_fraction: from the function `silent_fraction`.
    """

    seconds: float
    sample_rate: int
    samples: int
    peak_db: float | None
    rms_db: float | None
    crest_db: float | None
    loudness_lufs: float | None
    dc: float
    full_scale_samples: int
    silent_fraction: float


def measure_recording(waveform: Tensor, sample_rate: int) -> RecordingStats:
    """Return the statistics of a recording.

    Args:
        waveform: (T,) float32 in [-1, 1], T >= 1.
        sample_rate: Hz.
    """
    samples = waveform.double()
    peak_db = _amplitude_to_db(samples.abs().max())
    rms_db = _amplitude_to_db(samples.square().mean().sqrt())
    crest_db = None if peak_db is None or rms_db is None else peak_db - rms_db
    return RecordingStats(
        len(samples) / sample_rate,
        sample_rate,
        len(samples),
        peak_db,
        rms_db,
        crest_db,
        integrated_loudness(waveform, sample_rate),
        float(samples.mean()),
        int((waveform.abs() >= FULL_SCALE).sum()),
        silent_fraction(waveform, sample_rate),
    )


def silent_fraction(waveform: Tensor, sample_rate: int) -> float:
    """Return the fraction of the blocks of 10 ms whose RMS is below -60 dB re full scale.

    Args:
        waveform: (T,), T >= 1; the last block may be shorter.
    """
    power = group_means(waveform.square(), round(BLOCK_SECONDS * sample_rate))
    return float((power < 10 ** (SILENCE_DB / 10)).double().mean())


def is_clipped(waveform: Tensor) -> bool:
    """Return whether `MIN_CLIPPED_RUN` consecutive samples of (T,) are at full scale."""
    at_full_scale = waveform.abs() >= FULL_SCALE
    if len(at_full_scale) < MIN_CLIPPED_RUN:
        return False
    return bool(at_full_scale.unfold(0, MIN_CLIPPED_RUN, 1).all(1).any())


def group_means(values: Tensor, size: int) -> Tensor:
    """Return the mean of each group of `size` values of (T,); the last group may be smaller.

    Returns:
        (ceil(T / size),) float64.
    """
    whole = len(values) // size * size
    means = values[:whole].double().reshape(-1, size).mean(1)
    rest = values[whole:].double()
    return torch.cat([means, rest.mean()[None]]) if len(rest) else means


def entropy(codes: Tensor) -> float:
    """Return the entropy of the histogram of codes, bits per code.

    Args:
        codes: (T,) integers, 0 or more, T >= 1.
    Source: Shannon 1948.
    """
    probabilities = torch.bincount(codes).double() / len(codes)
    return float(torch.special.entr(probabilities).sum()) / math.log(2)


def deltas(features: Tensor) -> Tensor:
    """Return the slope of every row over time, by linear regression over nine frames.

    Args:
        features: (rows, F), F >= 1; the first and the last frame are repeated beyond the ends.
    Returns:
        (rows, F), change per frame.
    Raises:
        AudioError: torchaudio cannot be loaded.
    Source: Young et al., The HTK Book, section 5.6.
    """
    slopes: Tensor = import_torchaudio_functional().compute_deltas(features, _DELTA_FRAMES)
    return slopes


def recording_f0(waveform: Tensor, sample_rate: int) -> tuple[Tensor, float]:
    """Return the pitch every 10 ms, or 2000 times in a recording longer than 20 s.

    Args:
        waveform: (T,) float32, T >= 1.
        sample_rate: Hz, 4,000 or more.
    Returns:
        (F,) Hz from 65 to 1000, 0 for unvoiced frames, frames at a limit of this range, whose
        pitch may be outside, and frames of a recording that is too short to have a pitch; and the
        seconds from frame to frame.
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    if sample_rate > _PITCH_RATE:
        waveform = import_torchaudio_functional().resample(waveform, sample_rate, _PITCH_RATE)
        sample_rate = _PITCH_RATE
    hop = max(round(BLOCK_SECONDS * sample_rate), math.ceil(len(waveform) / _MAX_PITCH_FRAMES))
    hertz = f0(scale_to_peak(waveform), sample_rate, hop, *PITCH_RANGE_HZ)
    low, high = PITCH_RANGE_HZ
    is_inside = (hertz > low * _LIMIT_MARGIN) & (hertz < high / _LIMIT_MARGIN)
    if len(waveform) < _MIN_PERIODS * sample_rate / low:
        is_inside[:] = False
    return torch.where(is_inside, hertz, 0.0), hop / sample_rate


def feature_arrays(waveform: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """Compute the plotted features as arrays for a file; a frame every 8 ms for any duration.

    Args:
        waveform: (T,) float32, T >= 1.
        sample_rate: Hz, 4,000 or more.
    Returns:
        Arrays by name: `seconds` (F,), the times of the frames; `log_mel_db` (n_mels, F);
        `mfcc_db`, `mfcc_delta_db`, `mfcc_delta_delta_db` (20, F), the deltas per frame;
        `level_db` (F,).
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    config = FeatureConfig.default_for(sample_rate)
    mel = log_mel(waveform, config)
    coefficients = mfcc(waveform, config)
    slopes = deltas(coefficients)
    return {
        "seconds": torch.arange(mel.shape[1]) * config.hop_length / sample_rate,
        "log_mel_db": mel,
        "mfcc_db": coefficients,
        "mfcc_delta_db": slopes,
        "mfcc_delta_delta_db": deltas(slopes),
        "level_db": rms_level(waveform, config.win_length, config.hop_length),
    }


def save_arrays(path: str | Path, arrays: dict[str, Tensor]) -> None:
    """Write arrays by name as `.npz`, atomically.

    Raises:
        AudioError: the file cannot be written.
    """
    numpy_arrays: dict[str, Any] = {name: array.numpy() for name, array in arrays.items()}
    try:
        with atomic_file(path) as temporary:
            np.savez(temporary, **numpy_arrays)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {os_error_reason(error)}.") from error


def _amplitude_to_db(amplitude: Tensor) -> float | None:
    return 20 * math.log10(float(amplitude)) if amplitude > 0 else None
