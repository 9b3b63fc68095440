"""Synthetic example sounds, free of copyright.

Input: a sample rate in Hz. Output: a waveform (T,). Called by the studio (the Example buttons) and
by tests.
"""

import torch
from torch import Tensor

DURATION_SECONDS = 3.0
# Start in seconds and pitch in Hz: an A major chord, one note after the other.
NOTES = ((0.1, 220.0), (0.5, 277.2), (0.9, 329.6), (1.3, 440.0))
_NOTE_SECONDS = 0.36
_GLIDE_SPAN = (1.8, 2.4)
_NOISE_SPAN = (2.5, 2.75)
_CLICK_SECONDS = 2.88


def make_example_sound(sample_rate: int = 16_000) -> Tensor:
    """Return four notes, a glide down an octave with vibrato, a burst of noise and a click.

    Args:
        sample_rate: Hz, 4,000 or more.
    Returns:
        (3 * sample_rate,) float32, peak 0.5; always the same.
    """
    time = torch.arange(round(DURATION_SECONDS * sample_rate), dtype=torch.float64) / sample_rate
    sound = torch.zeros_like(time)
    for start, hertz in NOTES:
        elapsed = time - start
        envelope = (-4 * elapsed).exp() * _envelope(elapsed, _NOTE_SECONDS)
        sound += envelope * _harmonics(torch.full_like(time, hertz), sample_rate)
    first, last = _GLIDE_SPAN
    octaves = ((time - first) / (last - first)).clamp(0, 1)
    vibrato = 1 + 0.02 * torch.sin(2 * torch.pi * 6 * time)
    glide = _harmonics(440 * 2**-octaves * vibrato, sample_rate)
    sound += 0.5 * glide * _envelope(time - first, last - first)
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0), dtype=time.dtype)
    sound += 0.15 * noise * _envelope(time - _NOISE_SPAN[0], _NOISE_SPAN[1] - _NOISE_SPAN[0])
    sound[round(_CLICK_SECONDS * sample_rate)] += 1
    return (0.5 * sound / sound.abs().max()).float()


def make_note(hertz: float, seconds: float, sample_rate: int, peak: float = 0.5) -> Tensor:
    """Return one plucked note of eight partials.

    Args:
        hertz: pitch.
        seconds: duration.
        sample_rate: Hz.
        peak: largest magnitude, up to 1.
    Returns:
        (seconds * sample_rate,) float32.
    """
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    sound = _harmonics(torch.full_like(time, hertz), sample_rate)
    sound *= (-4 * time).exp() * _envelope(time, seconds)
    return (peak * sound / sound.abs().max()).float()


def _harmonics(hertz: Tensor, sample_rate: int) -> Tensor:
    """Return the sum of eight partials, without those above half the sample rate."""
    phase = 2 * torch.pi * (hertz / sample_rate).cumsum(0)
    partials = ((k * hertz < sample_rate / 2) * torch.sin(k * phase) / k for k in range(1, 9))
    return torch.stack(list(partials)).sum(0)


def _envelope(elapsed: Tensor, seconds: float) -> Tensor:
    """Return a gain of 1 for `seconds`, with fades of 10 ms against clicks, and 0 elsewhere."""
    return (elapsed / 0.01).clamp(0, 1) * ((seconds - elapsed) / 0.01).clamp(0, 1)
