"""Losses of effects against closed forms."""

import math

import pytest
import torch
from pydantic import ValidationError

from wavenet.effects.training.effect_losses import (
    LossWeights,
    emphasise,
    measure_power,
    spectral_loss,
    window_loss,
)


@pytest.fixture
def signals():
    generator = torch.Generator().manual_seed(0)
    wet = torch.randn(4096, generator=generator, dtype=torch.float64)
    return wet + 0.1 * torch.randn(4096, generator=generator, dtype=torch.float64), wet


def loss_of(signals, **weights):
    outputs, wet = signals
    chosen = LossWeights(**{"esr": 0.0} | weights)
    return float(window_loss(outputs, wet, measure_power(wet, chosen.pre_emphasis), chosen))


def test_mse_and_esr(signals):
    outputs, wet = signals
    error = float((outputs - wet).square().mean())
    assert loss_of(signals, mse=1.0) == pytest.approx(error)
    assert loss_of(signals, esr=1.0) == pytest.approx(error / float(wet.square().mean()))
    assert loss_of((0 * wet, wet), esr=1.0) == pytest.approx(1)
    assert loss_of((-wet, wet), esr=1.0) == pytest.approx(4)


def test_pre_emphasis_has_the_gain_of_its_filter():
    place = torch.arange(100_000, dtype=torch.float64)
    for frequency in (0.01, 0.25):
        wet = torch.sin(2 * math.pi * frequency * place)
        power = measure_power(wet, 0.85)
        gain = (
            abs(
                1
                - 0.85
                * complex(*(math.cos(2 * math.pi * frequency), -math.sin(2 * math.pi * frequency)))
            )
            ** 2
        )
        assert power.emphasised / power.plain == pytest.approx(gain, rel=1e-3)
    assert emphasise(torch.tensor([1.0, 2.0, 4.0]), 0.5).tolist() == [1.5, 3.0]


def test_the_emphasised_losses_weigh_high_frequencies_more():
    place = torch.arange(10_000, dtype=torch.float64)
    wet = torch.sin(0.05 * place)
    low, high = (wet + 0.01 * torch.sin(w * place) for w in (0.1, 3.0))
    plain = [loss_of((x, wet), esr=1.0) for x in (low, high)]
    emphasised = [loss_of((x, wet), emphasised_esr=1.0) for x in (low, high)]
    assert plain[0] == pytest.approx(plain[1], rel=0.01)
    assert emphasised[1] > 50 * emphasised[0]
    ratio = loss_of((high, wet), emphasised_mse=1.0) / emphasised[1]
    assert ratio == pytest.approx(measure_power(wet, 0.85).emphasised)


def test_the_spectral_loss_of_a_gain():
    """Magnitudes of half size: convergence 1/2, and log 2 everywhere."""
    wet = torch.randn(8192, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(spectral_loss(0.5 * wet, wet)) == pytest.approx(0.5 + math.log(2), rel=1e-6)
    assert float(spectral_loss(-wet, wet)) == pytest.approx(0, abs=1e-4)
    silence = torch.zeros(4096, requires_grad=True)
    spectral_loss(silence, torch.zeros(4096)).backward()
    assert bool(silence.grad.isfinite().all())


def test_the_weights_add(signals):
    parts = {"mse": 2.0, "esr": 0.5, "emphasised_mse": 3.0, "emphasised_esr": 0.25, "spectral": 0.1}
    total = sum(weight * loss_of(signals, **{name: 1.0}) for name, weight in parts.items())
    assert loss_of(signals, **parts) == pytest.approx(total)


def test_quiet_windows_do_not_dominate():
    """The power is that of the pair: a window of silence with a small error has a small loss."""
    wet = torch.cat([torch.ones(1000), torch.zeros(1000)]).double()
    power = measure_power(wet, 0.85)
    quiet = window_loss(torch.full((1000,), 0.01).double(), wet[1000:], power, LossWeights())
    assert float(quiet) == pytest.approx(1e-4 / 0.5)


def test_weights_that_are_refused():
    with pytest.raises(ValidationError, match="above 0"):
        LossWeights(esr=0.0)
    with pytest.raises(ValidationError):
        LossWeights(mse=-1.0)
