"""Short sounds made by ourselves, to look at, listen to and learn from.

Enters: a rate in Hz. Leaves: a waveform (T,). Caller: the studio.
"""

import torch
from torch import Tensor

SECONDS = 3.0
# Start in seconds and pitch in Hz: an A major chord, one note after the other.
NOTES = ((0.1, 220.0), (0.5, 277.2), (0.9, 329.6), (1.3, 440.0))
_NOTE_SECONDS = 0.36
_GLIDE = (1.8, 2.4)
_HISS = (2.5, 2.75)
_CLICK = 2.88


def make_example(sample_rate: int = 16_000) -> Tensor:
    """Play four notes, a glide down an octave with vibrato, a hiss and a click.

    Args:
        sample_rate: Hz, 4,000 or more.
    Returns:
        (3 * sample_rate,) float32, peak 0.5; the same every time.
    """
    time = torch.arange(round(SECONDS * sample_rate), dtype=torch.float64) / sample_rate
    sound = torch.zeros_like(time)
    for start, hertz in NOTES:
        held = time - start
        fading = (-4 * held).exp() * _within(held, _NOTE_SECONDS)
        sound += fading * _harmonics(torch.full_like(time, hertz), sample_rate)
    first, last = _GLIDE
    share = ((time - first) / (last - first)).clamp(0, 1)
    vibrato = 1 + 0.02 * torch.sin(2 * torch.pi * 6 * time)
    glide = _harmonics(440 * 2**-share * vibrato, sample_rate)
    sound += 0.5 * glide * _within(time - first, last - first)
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0), dtype=time.dtype)
    sound += 0.15 * noise * _within(time - _HISS[0], _HISS[1] - _HISS[0])
    sound[round(_CLICK * sample_rate)] += 1
    return (0.5 * sound / sound.abs().max()).float()


def make_note(hertz: float, seconds: float, sample_rate: int, loudness: float = 0.5) -> Tensor:
    """Play one plucked note of eight partials.

    Args:
        loudness: its peak, up to 1.
    Returns:
        (seconds * sample_rate,) float32.
    """
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    sound = _harmonics(torch.full_like(time, hertz), sample_rate)
    sound *= (-4 * time).exp() * _within(time, seconds)
    return (loudness * sound / sound.abs().max()).float()


def _harmonics(hertz: Tensor, sample_rate: int) -> Tensor:
    """Sum eight partials, those beyond half the rate left out."""
    phase = 2 * torch.pi * (hertz / sample_rate).cumsum(0)
    partials = ((k * hertz < sample_rate / 2) * torch.sin(k * phase) / k for k in range(1, 9))
    return torch.stack(list(partials)).sum(0)


def _within(held: Tensor, seconds: float) -> Tensor:
    """Open for `seconds`, with edges of 10 ms so that nothing clicks."""
    return (held / 0.01).clamp(0, 1) * ((seconds - held) / 0.01).clamp(0, 1)
