"""Fixtures of the tests of audio_utils: synthetic, seeded signals."""

import numpy as np
import pytest
import torch

from audio_utils.io import write

from .crafted_files import RATE


@pytest.fixture
def make_speech():
    """Return a function that builds a signal like speech: gliding harmonics, noise, faint hiss."""

    def make(sample_rate, seconds=1.0, seed=0):
        rng = np.random.default_rng(seed)
        t = np.arange(int(sample_rate * seconds)) / sample_rate
        pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        voiced = 0
        for k in range(1, 22):
            low, high = (k * pitch - 700) / 900, (k * pitch - 2400) / 500
            voiced = voiced + np.sin(k * phase) * (np.exp(-(low**2)) + np.exp(-(high**2)))
        alternation = np.sin(2 * np.pi * 1.7 * t)
        noise = 0.3 * rng.standard_normal(t.size)
        x = voiced * np.clip(alternation, 0, 1) + noise * np.clip(-alternation, 0, 1)
        x = 0.6 * x / np.abs(x).max() + 1e-3 * rng.standard_normal(t.size)
        return torch.tensor(x.astype(np.float32))

    return make


@pytest.fixture
def make_sine():
    """Return a function that computes a sine, (T,) float32."""

    def make(frequency, sample_rate, samples, amplitude=0.5):
        t = torch.arange(samples, dtype=torch.float64) / sample_rate
        return (amplitude * torch.sin(2 * torch.pi * frequency * t)).float()

    return make


@pytest.fixture
def encoded_speech(make_speech, tmp_path):
    """Return a function that encodes one second of speech as bytes of a format."""

    def make(suffix):
        path = tmp_path / f"whole{suffix}"
        write(path, make_speech(RATE), RATE)
        return path.read_bytes()

    return make
