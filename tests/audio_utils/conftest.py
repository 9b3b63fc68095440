"""Fixtures of the tests of audio_utils: signals made here, seeded."""

import numpy as np
import pytest
import torch

from audio_utils.io import write

from .sounds import RATE


@pytest.fixture
def voice():
    """Return a maker of something like speech: gliding harmonics, hiss between, a quiet floor."""

    def make(sample_rate, seconds=1.0, seed=0):
        rng = np.random.default_rng(seed)
        t = np.arange(int(sample_rate * seconds)) / sample_rate
        pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        voiced = 0
        for k in range(1, 22):
            low, high = (k * pitch - 700) / 900, (k * pitch - 2400) / 500
            voiced = voiced + np.sin(k * phase) * (np.exp(-(low**2)) + np.exp(-(high**2)))
        beat = np.sin(2 * np.pi * 1.7 * t)
        hiss = 0.3 * rng.standard_normal(t.size)
        x = voiced * np.clip(beat, 0, 1) + hiss * np.clip(-beat, 0, 1)
        x = 0.6 * x / np.abs(x).max() + 1e-3 * rng.standard_normal(t.size)
        return torch.tensor(x.astype(np.float32))

    return make


@pytest.fixture
def sine():
    """Return a maker of sines, (T,) float32."""

    def make(frequency, sample_rate, samples, amplitude=0.5):
        t = torch.arange(samples, dtype=torch.float64) / sample_rate
        return (amplitude * torch.sin(2 * torch.pi * frequency * t)).float()

    return make


@pytest.fixture
def encoded(voice, tmp_path):
    """Return the bytes of one second in a format."""

    def make(suffix):
        path = tmp_path / f"whole{suffix}"
        write(path, voice(RATE), RATE)
        return path.read_bytes()

    return make
