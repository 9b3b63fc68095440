"""Plant faults into clean recordings, to measure how many a detector finds.

There are `FAULTS` of ten kinds, each with `STRENGTHS` from barely to clearly audible. A fault is
planted where the recording is loud enough that it changes something.

Input: a waveform. Output: a `PlantedFault`: the faulty waveform, and where the fault is. Called by
`benchmarks/detection.py`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.errors import DataError

STRENGTHS = 5
LOUD_SECONDS = 0.02  # the level at a place is that of this window
LOUD_FRACTION = 0.3  # of the highest level of the recording
BLOCK_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08)  # of dropouts, splices, repeats, reversed blocks
MU = 255  # of mu-law
PATCH_SECONDS = 0.1  # of clipping, foreign sounds, codec damage and hum

Samples = NDArray[np.float32]
# waveform, place, strength, rate, random numbers -> waveform, start and end of the fault
Plant = Callable[[Samples, int, int, int, np.random.Generator], tuple[Samples, int, int]]


@dataclass(frozen=True)
class PlantedFault:
    """A recording with one fault.

    Attributes:
        kind: a key of `FAULTS`.
        strength: 0, the weakest, to `STRENGTHS` - 1.
        waveform: (T,) float32 in [-1, 1]; a splice makes it shorter, a repeat longer.
        start, end: first sample of the fault, and the one after its last.
    """

    kind: str
    strength: int
    waveform: Samples
    start: int
    end: int


def plant_fault(
    waveform: Samples, kind: str, strength: int, sample_rate: int, rng: np.random.Generator
) -> PlantedFault:
    """Plant a fault at a random place of a recording.

    Args:
        waveform: (T,) float32 in [-1, 1].
        kind: a key of `FAULTS`.
        strength: 0 to `STRENGTHS` - 1.
        sample_rate: Hz.
        rng: chooses the place.
    Raises:
        DataError: the recording is silent, or shorter than 0.2 s.
    """
    reserved = round(max(*BLOCK_SECONDS, PATCH_SECONDS) * sample_rate)
    loud = _loud_places(waveform, sample_rate)
    places = loud[(loud >= reserved // 2) & (loud < len(waveform) - reserved)]
    if len(waveform) < 2 * reserved or not len(places):
        raise DataError("the recording is too short or too quiet to plant a fault")
    place = int(rng.choice(places))
    changed, start, end = FAULTS[kind](waveform.copy(), place, strength, sample_rate, rng)
    return PlantedFault(kind, strength, changed.clip(-1, 1), start, end)


def _loud_places(waveform: Samples, sample_rate: int) -> NDArray[np.int64]:
    """Return the samples at which the level is near the highest of the recording."""
    window = np.ones(round(LOUD_SECONDS * sample_rate))
    energy = np.convolve(waveform.astype(np.float64) ** 2, window, mode="same")
    return np.flatnonzero(energy > LOUD_FRACTION**2 * energy.max())


def _block(strength: int, rate: int) -> int:
    return round(BLOCK_SECONDS[strength] * rate)


def _level(x: NDArray[Any]) -> float:
    """Return the root mean square of samples."""
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))


def _click(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Add a pulse of one sample: 0.02 to 0.32 of full scale, away from the nearer limit."""
    x[at] += math.copysign(0.02 * 2**strength, -float(x[at]))
    return x, at, at + 1


def _dropout(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Replace a block by zeros."""
    end = at + _block(strength, rate)
    x[at:end] = 0
    return x, at, end


def _splice(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Remove a block, so that its neighbours meet."""
    return np.delete(x, slice(at, at + _block(strength, rate))), at, at + 1


def _repeat(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Repeat a block."""
    end = at + _block(strength, rate)
    return np.concatenate([x[:end], x[at:end], x[end:]]), end, 2 * end - at


def _reverse(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Reverse a block in time."""
    end = at + _block(strength, rate)
    x[at:end] = x[at:end][::-1].copy()
    return x, at, end


def _clip(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Limit a patch to 0.8 to 0.1 of its peak."""
    end = at + round(PATCH_SECONDS * rate)
    limit = (0.8, 0.6, 0.4, 0.2, 0.1)[strength] * float(np.abs(x[at:end]).max())
    x[at:end] = x[at:end].clip(-limit, limit)
    return x, at, end


def _foreign_sound(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Add a rising tone, 24 dB below to as loud as the patch."""
    count = round(PATCH_SECONDS * rate)
    hertz = np.linspace(0.15 * rate, 0.3 * rate, count)
    tone = np.sin(2 * np.pi * np.cumsum(hertz) / rate) * np.hanning(count)
    gain = _level(x[at : at + count]) * 10 ** ((6 * strength - 24) / 20) / _level(tone)
    x[at : at + count] += (gain * tone).astype(np.float32)
    return x, at, at + count


def _codec_damage(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Quantise a patch by mu-law to 6 to 2 bits."""
    end = at + round(PATCH_SECONDS * rate)
    levels = 2 ** (5 - strength)  # on each side of 0
    companded = np.log1p(MU * np.abs(x[at:end])) / math.log1p(MU)
    quantised = np.expm1(np.round(companded * levels) / levels * math.log1p(MU)) / MU
    x[at:end] = np.sign(x[at:end]) * quantised
    return x, at, end


def _hum(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Add 50 Hz with odd harmonics, 24 dB below to as loud as the patch."""
    count = round(PATCH_SECONDS * rate)
    time = np.arange(count) / rate
    harmonics = np.array([1, 3, 5, 7])[:, None]
    tone = (np.sin(2 * np.pi * 50 * harmonics * time) / harmonics).sum(0)
    gain = _level(x[at : at + count]) * 10 ** ((6 * strength - 24) / 20) / _level(tone)
    x[at : at + count] += (gain * tone).astype(np.float32)
    return x, at, at + count


def _noise_burst(
    x: Samples, at: int, strength: int, rate: int, rng: np.random.Generator
) -> tuple[Samples, int, int]:
    """Add 20 ms of white noise, 24 dB below to as loud as the place."""
    count = round(LOUD_SECONDS * rate)
    gain = _level(x[at : at + count]) * 10 ** ((6 * strength - 24) / 20)
    x[at : at + count] += (gain * rng.standard_normal(count)).astype(np.float32)
    return x, at, at + count


FAULTS: Mapping[str, Plant] = {
    "click": _click,
    "dropout": _dropout,
    "splice": _splice,
    "repeated block": _repeat,
    "reversed block": _reverse,
    "clipping": _clip,
    "foreign sound": _foreign_sound,
    "codec damage": _codec_damage,
    "hum": _hum,
    "noise burst": _noise_burst,
}
