"""Describe a recording: numbers about all of it, and its features frame by frame.

Enters: a waveform (T,) and its rate in Hz. Leaves: `Measures`, arrays, a level or a pitch over
time. Callers: the studio and its public functions.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import (
    FeatureConfig,
    log_mel,
    loudness,
    mfcc,
    pitch,
    torchaudio_functional,
)
from audio_utils.files import atomic_file, reason
from audio_utils.lufs import integrated_loudness
from audio_utils.metrics import to_peak

# The largest value that 16-bit PCM holds.
FULL_SCALE = 1 - 2**-15
SILENCE_DB = -60.0
BLOCK_SECONDS = 0.010
# A recording that was made as loud as it can be touches full scale; one that was cut off stays.
CLIPPED_RUN = 3
PITCH_RANGE_HZ = (65.0, 1000.0)
# Pitch is looked for at a low rate and, in long recordings, less often: it costs 1.5 ms a frame.
_PITCH_RATE = 16_000
_MAX_PITCH_FRAMES = 2000
_DELTA_FRAMES = 9


@dataclass(frozen=True)
class Measures:
    """Numbers of a whole recording; None where it has none, as silence has no level.

    Attributes:
        seconds: length.
        sample_rate: Hz.
        samples: T.
        peak_db: the largest magnitude, dB re full scale.
        rms_db: the root of the mean square, dB re full scale; a full-scale sine has -3.01.
        crest_db: peak over RMS, dB; a sine has 3.01.
        loudness_lufs: as `lufs.integrated_loudness` has it.
        dc: mean of the samples, as a share of full scale.
        clipped: samples at full scale, where the recording was probably cut off.
        silence: share of the blocks of 10 ms whose RMS is below -60 dB.
    """

    seconds: float
    sample_rate: int
    samples: int
    peak_db: float | None
    rms_db: float | None
    crest_db: float | None
    loudness_lufs: float | None
    dc: float
    clipped: int
    silence: float


def measure(waveform: Tensor, sample_rate: int) -> Measures:
    """Count and measure.

    Args:
        waveform: (T,) float32 in [-1, 1], T >= 1.
        sample_rate: Hz.
    """
    samples = waveform.double()
    peak_db, rms_db = _decibels(samples.abs().max()), _decibels(samples.square().mean().sqrt())
    crest_db = None if peak_db is None or rms_db is None else peak_db - rms_db
    return Measures(
        len(samples) / sample_rate,
        sample_rate,
        len(samples),
        peak_db,
        rms_db,
        crest_db,
        integrated_loudness(waveform, sample_rate),
        float(samples.mean()),
        int((waveform.abs() >= FULL_SCALE).sum()),
        silence_share(waveform, sample_rate),
    )


def silence_share(waveform: Tensor, sample_rate: int) -> float:
    """Return the share of the blocks of 10 ms whose RMS is below -60 dB re full scale.

    Args:
        waveform: (T,), T >= 1; the last block may be shorter.
    """
    power = group_means(waveform.square(), round(BLOCK_SECONDS * sample_rate))
    return float((power < 10 ** (SILENCE_DB / 10)).double().mean())


def is_clipped(waveform: Tensor) -> bool:
    """Tell whether `CLIPPED_RUN` neighbouring samples of (T,) are at full scale."""
    full = waveform.abs() >= FULL_SCALE
    return len(full) >= CLIPPED_RUN and bool(full.unfold(0, CLIPPED_RUN, 1).all(1).any())


def group_means(values: Tensor, size: int) -> Tensor:
    """Average (T,) in groups of `size`; the last group may be smaller.

    Returns:
        (ceil(T / size),) float64.
    """
    whole = len(values) // size * size
    means = values[:whole].double().reshape(-1, size).mean(1)
    rest = values[whole:].double()
    return torch.cat([means, rest.mean()[None]]) if len(rest) else means


def entropy(codes: Tensor) -> float:
    """Return what a code costs where only the histogram is known, in bits.

    Args:
        codes: (T,) integers, 0 or more, T >= 1.
    Source: Shannon 1948.
    """
    shares = torch.bincount(codes).double() / len(codes)
    return float(torch.special.entr(shares).sum()) / math.log(2)


def deltas(features: Tensor) -> Tensor:
    """Return the slope of every row over time, by regression over nine frames.

    Args:
        features: (rows, F), F >= 1; the ends go on as they are.
    Returns:
        (rows, F), change per frame.
    Raises:
        AudioError: torchaudio cannot be loaded.
    Source: Young et al., The HTK Book, section 5.6.
    """
    slopes: Tensor = torchaudio_functional().compute_deltas(features, _DELTA_FRAMES)
    return slopes


def track_pitch(waveform: Tensor, sample_rate: int) -> tuple[Tensor, float]:
    """Return the pitch every 10 ms, or 2000 times in a recording longer than 20 s.

    Args:
        waveform: (T,) float32, T >= 1.
        sample_rate: Hz, 4,000 or more.
    Returns:
        (F,) Hz from 65 to 1000, 0 where there is no pitch, and the seconds from frame to frame.
    Raises:
        AudioError: an unusable waveform or rate.
    """
    if sample_rate > _PITCH_RATE:
        waveform = torchaudio_functional().resample(waveform, sample_rate, _PITCH_RATE)
        sample_rate = _PITCH_RATE
    hop = max(round(BLOCK_SECONDS * sample_rate), math.ceil(len(waveform) / _MAX_PITCH_FRAMES))
    return pitch(to_peak(waveform), sample_rate, hop, *PITCH_RANGE_HZ), hop / sample_rate


def feature_arrays(waveform: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """Compute what is drawn, for keeping; a frame every 8 ms, whatever the length.

    Args:
        waveform: (T,) float32, T >= 1.
        sample_rate: Hz, 4,000 or more.
    Returns:
        By name: `seconds` (F,), at which the frames of these stand: `log_mel_db` (n_mels, F),
        `mfcc_db`, `mfcc_delta_db`, `mfcc_delta_delta_db` (20, F), per frame, `level_db` (F,).
    Raises:
        AudioError: an unusable waveform or rate.
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
        "level_db": loudness(waveform, config.win_length, config.hop_length),
    }


def save_arrays(path: str | Path, arrays: dict[str, Tensor]) -> None:
    """Write arrays by name as `.npz`, whole or not at all.

    Raises:
        AudioError: the file cannot be written.
    """
    plain: dict[str, Any] = {name: array.numpy() for name, array in arrays.items()}
    try:
        with atomic_file(path) as temporary:
            np.savez(temporary, **plain)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {reason(error)}.") from error


def _decibels(magnitude: Tensor) -> float | None:
    return 20 * math.log10(float(magnitude)) if magnitude > 0 else None
