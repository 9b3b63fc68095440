"""The plain detectors find what they are made for."""

import torch

from tests.conftest import RATE, sine
from tests.detection.conftest import even_noise
from wavenet.detection.plain_detectors import energy_jump, prediction_residual


def test_the_energy_jumps_where_sound_begins():
    waveform = torch.cat([torch.zeros(4_000), sine(0.5)])
    jump = energy_jump(waveform, RATE)
    assert jump.shape == waveform.shape
    assert abs(int(jump.argmax()) - 4_000) <= 2
    assert float(jump[1_000:3_000].max()) == 0


def test_the_residual_is_largest_at_a_click():
    waveform = even_noise(1, seed=6)
    waveform[5_000] += 0.5
    residual = prediction_residual(waveform, RATE)
    assert residual.shape == waveform.shape
    assert 0 <= int(residual.argmax()) - 5_000 <= 2
    assert bool(residual.isfinite().all())


def test_silence_and_one_sample_have_no_excess():
    for samples in (1, 10, 1_000):
        assert float(energy_jump(torch.zeros(samples), RATE).max()) == 0
        assert float(prediction_residual(torch.zeros(samples), RATE).abs().max()) == 0
