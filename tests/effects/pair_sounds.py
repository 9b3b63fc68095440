"""Computed dry recordings and effects, for the tests of pairs."""

import numpy as np
from scipy.signal import lfilter

RATE = 8000


def plucked(seconds=8.0, rate=RATE, seed=0):
    """Return plucked notes over a little noise, as of a guitar: loud low notes, sharp onsets."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * rate))
    note = round(0.25 * rate)
    # at uneven times, as otherwise any two recordings would have the beat in common
    starts = np.cumsum(rng.integers(note // 2, 3 * note // 2, size=round(5 * seconds)))
    for start in starts[starts < len(samples) - note]:
        period = rng.uniform(40, 160)
        time = np.arange(note)
        decay = np.exp(-time / (0.08 * rate))
        tone = sum(np.sin(2 * np.pi * k * time / period) / k for k in range(1, 8))
        samples[start : start + note] += rng.uniform(0.05, 0.2) * decay * tone
        samples[start : start + 40] += 0.1 * rng.standard_normal(40)
    return samples + 2e-4 * rng.standard_normal(len(samples))


def overdrive(dry, gain=3.0):
    """Return a high-pass, a soft distortion and a low-pass, all causal and without delay."""
    high = lfilter([1, -1], [1, -0.97], dry)
    return 0.4 * lfilter([0.6], [1, -0.4], np.tanh(gain * high))


def delayed(samples, lag):
    """Return samples behind `lag` zeros; a negative lag cuts the beginning."""
    return np.concatenate([np.zeros(lag), samples]) if lag >= 0 else samples[-lag:]


def with_clicks(seconds=2.0, places=(4000, 12_000), rate=RATE):
    """Return silence with clicks."""
    samples = np.zeros(round(seconds * rate))
    samples[list(places)] = 0.9
    return samples
