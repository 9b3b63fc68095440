"""The fused layers against the definition: outputs and gradients."""

from dataclasses import replace

import pytest
import torch

from tests.effects.random_effects import WAVENETS, parse
from tests.effects.training.training_data import KNOB, make_effect_config
from wavenet.effects.feedforward_wavenet import FeedForwardWaveNet
from wavenet.effects.training.effect_architecture import ArraySizes, EffectArchitecture
from wavenet.effects.training.fused_effect_layers import fused_valid_outputs, supports_fused_layers
from wavenet.effects.training.trained_effect import TrainedEffect

CUSTOM = {
    "leaky": EffectArchitecture(
        kind="custom",
        activation="LeakyReLU",
        arrays=(ArraySizes(channels=3, dilations=(1, 4), kernel_size=2),),
    ),
    "relu": EffectArchitecture(
        kind="custom",
        activation="ReLU",
        arrays=tuple(ArraySizes(channels=c, dilations=(2, 1)) for c in (4, 2, 3)),
    ),
}


@pytest.mark.parametrize("name", ["nano", "a2-lite", *CUSTOM])
@pytest.mark.parametrize("knobs", [(), (KNOB,)])
def test_outputs_and_gradients_equal_those_of_the_definition(name, knobs):
    torch.manual_seed(0)
    architecture = CUSTOM.get(name) or EffectArchitecture(kind=name)
    effect = TrainedEffect(make_effect_config(knobs, architecture=architecture)).double()
    assert supports_fused_layers(effect.wavenet)
    waveform = torch.randn(effect.receptive_field + 40, dtype=torch.float64)
    values = torch.rand(1, len(knobs), dtype=torch.float64)
    weights = torch.randn(41, dtype=torch.float64)

    expected = effect.valid_outputs(waveform[None, None], values)[0, 0]
    constants = effect.network.features(values)[0] if knobs else None
    found = fused_valid_outputs(effect.wavenet, waveform, constants)
    assert found.shape == (41,)
    assert (found - expected).abs().max() <= 1e-14 + 1e-13 * expected.abs().max()

    parameters = list(effect.parameters())
    wanted, got = (
        torch.autograd.grad((weights * x).sum(), parameters, allow_unused=True)
        for x in (expected, found)
    )
    for a, b in zip(wanted, got, strict=True):
        assert (a is None) == (b is None)  # of the last residual, which nothing reads
        if a is not None:
            assert (a - b).abs().max() <= 1e-12 * (1 + a.abs().max())


@pytest.mark.parametrize("name", ["gated", "blended", "head1x1", "post-stack head", "groups"])
def test_other_layers_use_the_definition(name):
    assert not supports_fused_layers(FeedForwardWaveNet(parse(WAVENETS[name]).shape))


def test_a_film_or_another_activation_uses_the_definition():
    shape = TrainedEffect(make_effect_config()).wavenet.shape
    assert supports_fused_layers(FeedForwardWaveNet(shape))
    softsign = EffectArchitecture(
        kind="custom", activation="Softsign", arrays=(ArraySizes(channels=2, dilations=(1,)),)
    )
    assert not supports_fused_layers(FeedForwardWaveNet(softsign.shape))
    narrow = replace(shape.arrays[0], groups_input=2)
    with_groups = replace(shape, arrays=(narrow, *shape.arrays[1:]))
    assert not supports_fused_layers(FeedForwardWaveNet(with_groups))
