"""The effective receptive field: compared with autograd, and for models of known influence."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from wavenet.errors import CheckpointError, ConditionError, ModelUnsupported
from wavenet.likelihood import effective_field
from wavenet.likelihood.effective_field import (
    ClipInput,
    EffectiveField,
    measure_effective_field,
    prediction_gradients,
    stored_bytes,
)
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.model.recurrent import RECURRENCES, RNNConfig
from wavenet.model.wavenet import WaveNet


class TinyCheckpoint:
    """The attributes of a checkpoint that `measure_effective_field` reads."""

    def __init__(self, model: Any):
        self.model = model
        self.config = SimpleNamespace(name="tiny")


def measure(model: Any, clips: list[ClipInput], *arguments: int) -> Iterator[EffectiveField]:
    return measure_effective_field(TinyCheckpoint(model), clips, *arguments)


def make_clip(model: WaveNet, samples: int, row: int = 0) -> ClipInput:
    generator = torch.Generator().manual_seed(row)
    codes = torch.randint(model.n_classes, (samples,), generator=generator)
    frames = make_frame_features(model, row, samples)
    return ClipInput(codes, make_condition_values(model, row), frames)


def gradient_by_forward(model: WaveNet, clip: ClipInput, place: int) -> torch.Tensor:
    """Compute it by the forward pass over the whole clip: (samples before,), newest first."""
    embedded = []
    hook = model.embedding.register_forward_hook(
        lambda module, inputs, output: embedded.append(output.requires_grad_()) or output
    )
    frames = [clip.frame_features]
    conditioning = model.conditioning([clip.conditions], [clip.codes.numel()], frames)
    params = model(clip.codes[None], conditioning)
    hook.remove()
    log_prob = model.distribution.log_prob(params, clip.codes[None])[0, place]
    (gradient,) = torch.autograd.grad(log_prob, embedded[0])
    # the input at sample t is the code of sample t - 1
    assert not gradient[0, place + 1 :].any()
    return gradient[0, : place + 1].norm(dim=1).flip(0)


def restrict_taps(model: WaveNet, far: set[int], near: set[int]) -> WaveNet:
    """Zero one tap of a kernel of 2: in the layers of `far` the newest, of `near` the oldest."""
    width = model.config.residual_channels
    with torch.no_grad():
        for layer in far:
            model.blocks[layer].conv.linear.weight[:, width:] = 0
        for layer in near:
            model.blocks[layer].conv.linear.weight[:, :width] = 0
    return model


def recurrent_model(name: str) -> Any:
    config = ARCHITECTURES[name].config(
        embedding_channels=6, hidden_channels=8, layers=2, output_channels=7
    )
    return tiny_model(config)


def scalar_rnn(weight: float, scale: float) -> Any:
    """Return h_t = tanh(w h_(t-1) + scale * e(code)), in double precision."""
    config = RNNConfig(embedding_channels=1, hidden_channels=1, output_channels=4)
    model = tiny_model(config).double()
    with torch.no_grad():
        model.recurrent.weight_ih_l0.fill_(scale)
        model.recurrent.weight_hh_l0.fill_(weight)
        model.recurrent.bias_ih_l0.zero_()
        model.recurrent.bias_hh_l0.zero_()
        model.hidden.bias.fill_(1)  # the ReLU is open
    return model


@pytest.mark.parametrize(
    "output",
    [None, LogisticOutput(components=2), GaussianOutput()],
    ids=["categorical", "logistic", "gaussian"],
)
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_the_gradient_is_that_of_the_forward_pass_over_the_whole_clip(kernel_size, output):
    config = tiny_config(kernel_size, (1, 2, 4), conditions="all", output=output)
    model = tiny_model(config, bits=16 if output else 5)
    clips = [make_clip(model, 60 + 9 * row, row) for row in range(3)]
    places = [model.receptive_field, 40, 77]
    found = prediction_gradients(model, clips, places, model.receptive_field)
    for row, (clip, place) in enumerate(zip(clips, places, strict=True)):
        expected = gradient_by_forward(model, clip, place).double()
        field = model.receptive_field
        assert expected[:field].count_nonzero() == field
        assert not expected[field:].any()
        torch.testing.assert_close(found[row], expected[:field], rtol=1e-4, atol=1e-7)
        neighbour = gradient_by_forward(model, clip, place - 1).double()[:field]  # negative control
        assert not torch.allclose(found[row], neighbour, rtol=1e-2)


def test_the_gradient_agrees_with_finite_differences():
    """Without autograd, in double precision."""
    model = tiny_model(tiny_config(2, (1, 2), conditions="none")).double()
    clip, place, field = make_clip(model, 9), 6, model.receptive_field

    def log_prob(x):
        conditioning = model.conditioning([{}], [9], [torch.zeros(0, 0)])
        params = model.output_params(model.run_blocks(x, conditioning)[:, -1:]).transpose(1, 2)
        return float(model.distribution.log_prob(params, clip.codes[None, place : place + 1]))

    x = model.embedding(clip.codes[None, place - field : place]).detach()
    slopes = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for channel in range(x.shape[2]):
            step = torch.zeros_like(x)
            step[0, t, channel] = 1e-5
            slopes[0, t, channel] = (log_prob(x + step) - log_prob(x - step)) / 2e-5
    expected = slopes[0].norm(dim=1).flip(0)
    torch.testing.assert_close(
        prediction_gradients(model, [clip], [place], field)[0], expected, rtol=1e-5, atol=1e-8
    )


def test_a_model_with_known_delays_has_influence_at_these_delays_only():
    """One layer reads 4 samples back, the others the newest: samples 1 and 5 before matter."""
    model = restrict_taps(tiny_model(tiny_config(2, (1, 4, 2), "none")), {1}, {0, 2})
    field = list(measure(model, [make_clip(model, 100)], 20))[-1]
    assert [n + 1 for n, size in enumerate(field.influence) if size > 0] == [1, 5]
    assert field.span(1.0) == 5
    control = tiny_model(tiny_config(2, (1, 4, 2), "none"))
    field = list(measure(control, [make_clip(control, 100)], 20))[-1]
    assert field.influence.count_nonzero() == control.receptive_field == 8


def test_a_span_has_the_fraction_of_the_influence():
    field = EffectiveField(torch.tensor([5.0, 0, 4, 0.5, 0.5], dtype=torch.float64), 1, 1)
    assert [field.span(fraction) for fraction in (0.01, 0.5, 0.51, 0.9, 0.95, 1.0)] == [
        1,
        1,
        3,
        3,
        4,
        5,
    ]
    assert field.cumulative().tolist() == pytest.approx([0.5, 0.5, 0.9, 0.95, 1.0])
    even = EffectiveField(torch.full((1000,), 0.1, dtype=torch.float64), 1, 1)
    assert (even.span(0.9), even.span(1.0)) == (900, 1000)


def test_the_average_is_over_all_clips_after_every_pass(monkeypatch):
    model = tiny_model(tiny_config(2, (1, 2), "label"))
    clips = [make_clip(model, 30, row) for row in range(2)]
    monkeypatch.setattr(effective_field, "_rows_per_pass", lambda *arguments: 3)
    fields = list(measure(model, clips, 8))
    assert [(f.predictions, f.planned) for f in fields] == [(3, 8), (6, 8), (8, 8)]
    places = [effective_field._choose_positions(clip, 4, 4, n) for n, clip in enumerate(clips)]
    assert all(len(set(p)) == 4 and min(p) >= model.receptive_field for p in places)
    each = [
        prediction_gradients(model, [clip], [t], 4)[0]
        for clip, p in zip(clips, places, strict=True)
        for t in p
    ]
    torch.testing.assert_close(fields[-1].influence, torch.stack(each).mean(0))
    # the first pass: two places of the first clip, one of the second
    torch.testing.assert_close(
        fields[0].influence, torch.stack([each[0], each[4], each[1]]).mean(0)
    )


def test_a_clip_needs_one_receptive_field_and_one_sample():
    model = tiny_model(tiny_config(2, (1, 2), "none"))
    assert effective_field.min_samples(model) == 5
    (field,) = measure(model, [make_clip(model, 5)], 10)
    assert field.predictions == 1
    with pytest.raises(ConditionError, match=r"at least 5 samples .* found 4"):
        measure(model, [make_clip(model, 4)])


@pytest.mark.parametrize("name", RECURRENCES)
def test_the_influence_of_a_recurrent_model_is_measured_over_a_horizon(monkeypatch, name):
    monkeypatch.setattr(effective_field, "HORIZON", 20)
    model = recurrent_model(name)
    clips = [make_clip(model, samples) for samples in (100, 50)]
    *_, field = measure(model, clips, 4)
    assert (field.influence.numel(), field.predictions) == (20, 4)
    assert field.influence.count_nonzero() == 20
    # half of the shortest clip, if it is shorter than the horizon; at least one sample
    assert effective_field.measured_samples(model, [clips[0], make_clip(model, 31)]) == 15
    (field,) = measure(model, [make_clip(model, 2)])
    assert (field.influence.numel(), field.predictions) == (1, 1)
    with pytest.raises(ConditionError, match=r"at least 2 samples .* one past sample .* found 1"):
        measure(model, [make_clip(model, 1)])


@pytest.mark.parametrize("name", RECURRENCES)
def test_the_gradient_within_a_horizon_is_that_of_a_clip_which_begins_there(name):
    model = recurrent_model(name)
    clip = make_clip(model, 40)
    (found,) = prediction_gradients(model, [clip], [30], 30)
    model.start_code = int(clip.codes[0])
    expected = gradient_by_forward(model, ClipInput(clip.codes[1:]), 29).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    # negative control: the samples before a shorter horizon change the gradient
    (shorter,) = prediction_gradients(model, [clip], [30], 5)
    assert not torch.allclose(shorter, found[:5], rtol=1e-2)


@pytest.mark.parametrize("weight", [0.9, -0.9, 1.02, 1.0])
def test_the_influence_of_a_linear_recurrence_is_a_power_of_its_weight(weight):
    """h_t = w h_(t-1) + x_t: the influence of the sample n before is |w| ** (n - 1), times a
    constant. It vanishes for |w| < 1 and explodes for |w| > 1."""
    model = scalar_rnn(weight, scale=1e-9)
    clip = make_clip(model, 201)
    (found,) = prediction_gradients(model, [clip], [200], 200)
    powers = abs(weight) ** torch.arange(200, dtype=torch.float64)
    torch.testing.assert_close(found / found[0], powers, rtol=1e-6, atol=0)
    # negative control: large inputs leave the linear range, and the gradient vanishes
    (saturated,) = prediction_gradients(scalar_rnn(weight, scale=3.0), [clip], [200], 200)
    assert saturated[-1] / saturated[0] < 1e-6


def test_a_model_with_another_input_is_refused():
    class TwoEmbeddings(WaveNet):
        def hidden_states(self, inputs, *arguments):
            half = self.embedding(inputs) / 2
            return self.run_blocks(half + self.embedding(inputs) / 2, *arguments)

    model = TwoEmbeddings(tiny_config(2, (1, 2), "none"), 5, 8000)
    with pytest.raises(ModelUnsupported, match="embeds each sample once; the architecture 'wave"):
        measure(model, [make_clip(model, 30)])


def test_the_memory_for_a_gradient_is_proportional_to_its_samples():
    for model in (tiny_model(tiny_config(2, (1, 2, 4), "none")), recurrent_model("lstm")):
        clip = make_clip(model, 200)
        small, medium, large = (stored_bytes(model, clip, samples) for samples in (40, 80, 160))
        assert large - medium == pytest.approx(2 * (medium - small), rel=0.1)
        assert large > 1.5 * medium
    wide = tiny_model(RNNConfig(embedding_channels=1, hidden_channels=100, output_channels=2))
    assert stored_bytes(wide, make_clip(wide, 9), 4) < 4 * wide.recurrent.weight_hh_l0.numel()


def test_gradients_that_cannot_be_measured_are_refused(monkeypatch):
    model = tiny_model(tiny_config(2, (1, 2), "none"))
    with torch.no_grad():
        model.output.weight.zero_()
    with pytest.raises(CheckpointError, match="are zero"):
        list(measure(model, [make_clip(model, 30)]))
    with torch.no_grad():
        model.output.weight.fill_(math.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        list(measure(model, [make_clip(model, 30)]))
    monkeypatch.setattr(effective_field, "MAX_ROW_BYTES", 100)
    with pytest.raises(ConditionError, match="too large"):
        measure(model, [make_clip(model, 30)])


def test_the_model_keeps_no_gradient_and_no_hook():
    model = tiny_model(tiny_config(2, (1, 2), "label"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    list(measure(model, [make_clip(model, 30)]))
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.embedding._forward_hooks
