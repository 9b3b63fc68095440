"""The definition: causal, exactly one receptive field, starting near log2(classes) bits."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from tests.conftest import RATE, tiny_config, tiny_model
from wavenet.model.conditioning import interpolate
from wavenet.model.distributions import Categorical
from wavenet.model.layers import CausalConv1d
from wavenet.model.wavenet import WaveNet, WaveNetConfig

KINDS = ["none", "label", "position", "both"]


def labels_for(model: WaveNet, *values: str) -> list[dict[str, str]]:
    names = [condition.name for condition in model.config.labels]
    return [dict.fromkeys(names, value) for value in values]


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 3])
def test_the_convolution_is_that_of_torch_with_zeros_in_front(kernel_size, dilation):
    conv = CausalConv1d(3, 4, kernel_size, dilation)
    x = torch.randn(2, 11, 3)
    weight = conv.linear.weight.unflatten(1, (kernel_size, 3)).permute(0, 2, 1)
    padded = F.pad(x.transpose(1, 2), ((kernel_size - 1) * dilation, 0))
    expected = F.conv1d(padded, weight, conv.linear.bias, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)
    if kernel_size > 1:  # the control: taps in the other order are another convolution
        turned = F.conv1d(padded, weight.flip(2), conv.linear.bias, dilation=dilation)
        assert not torch.allclose(conv(x), turned.transpose(1, 2), atol=1e-3)


@pytest.mark.parametrize("conditions", KINDS)
def test_a_prediction_never_depends_on_its_own_or_a_later_sample(conditions):
    model = tiny_model(tiny_config(conditions=conditions))
    codes = torch.randint(0, model.n_classes, (1, 40))
    conditioning = model.conditioning(labels_for(model, "a"), [40])
    changed = codes.clone()
    changed[0, 20] = (codes[0, 20] + 7) % model.n_classes
    before, after = model(codes, conditioning), model(changed, conditioning)
    assert torch.equal(before[:, :, :21], after[:, :, :21])
    assert not torch.equal(before[:, :, 21], after[:, :, 21])


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_the_receptive_field_is_exact_by_gradient(kernel_size):
    model = tiny_model(tiny_config(kernel_size=kernel_size, conditions="none"))
    for layer in (model.skip, model.hidden):
        layer.bias.fill_(9)  # no ReLU is shut
    conditioning = model.conditioning([{}], [64])
    seen: list[torch.Tensor] = []
    hook = model.embedding.register_forward_hook(
        lambda module, inputs, out: seen.append(out.requires_grad_(True))
    )
    params = model(torch.randint(0, model.n_classes, (1, 64)), conditioning)
    hook.remove()
    (gradient,) = torch.autograd.grad(params[0, :, -1].square().sum(), seen[0])
    reached = gradient[0].abs().sum(1).nonzero().flatten()
    assert 64 - int(reached[0]) == model.receptive_field
    assert int(reached[-1]) == 63


def test_the_book_example_has_2047_samples():
    dilations = tuple(2**n for n in range(10))
    config = WaveNetConfig(
        residual_channels=2, gate_channels=2, skip_channels=2, kernel_size=3, dilations=dilations
    )
    model = WaveNet(config, 8, 16_000)
    assert model.receptive_field == 2047
    assert model.seconds(model.receptive_field) == pytest.approx(2047 / 16_000)


def test_sizes_are_those_counted_by_hand():
    # 20 layers, R 64, S 256, kernel 2: 868,352 multiply-adds less the last residual product
    config = WaveNetConfig(
        residual_channels=64,
        gate_channels=64,
        skip_channels=256,
        dilations=tuple(2 ** (n % 10) for n in range(20)),
    )
    model = WaveNet(config, 8, 16_000)
    assert model.macs_per_sample == 868_352 - 64 * 64
    assert model.parameter_count == sum(p.numel() for p in model.parameters())
    assert model.config.approximate_parameters >= model.parameter_count - 40_000


@pytest.mark.parametrize("bits", [4, 8, 10])
@pytest.mark.parametrize("layers", [1, 30])
def test_training_starts_near_the_entropy_of_a_fair_draw(bits, layers):
    torch.manual_seed(1)
    config = tiny_config(dilations=(1, 2, 4) * layers, widths=(32, 32, 64))
    model = WaveNet(config, bits, RATE)
    codes = torch.randint(0, 1 << bits, (2, 200))
    params = model(codes, model.conditioning([{"digit": "a"}, {"digit": "b"}], [200, 200]))
    start = -float(model.distribution.log_prob(params, codes).mean().detach()) / math.log(2)
    assert abs(start - bits) < 0.3


def test_rows_that_begin_inside_a_clip_equal_the_whole_clip_after_their_context():
    model = tiny_model()
    codes = torch.randint(0, model.n_classes, (1, 120))
    whole = model(codes, model.conditioning([{"digit": "a"}], [120]))
    starts, field = [30, 41], model.receptive_field
    rows = torch.cat([codes[:, s : s + 60] for s in starts])
    conditioning = model.conditioning([{"digit": "a"}] * 2, [120, 120])
    parts = model(rows, conditioning, torch.tensor(starts))
    for row, start in enumerate(starts):
        torch.testing.assert_close(
            parts[row, :, field:], whole[0, :, start + field : start + 60], atol=1e-5, rtol=1e-5
        )
        # the control: without the context, and with another position, numbers differ
        assert not torch.allclose(parts[row, :, 1], whole[0, :, start + 1], atol=1e-3)
    wrong = model(rows, conditioning, torch.tensor([31, 42]))
    assert not torch.allclose(wrong[:, :, field:], parts[:, :, field:], atol=1e-4)


@pytest.mark.parametrize("lead", [0, 3, 9])
def test_frames_are_joined_by_straight_lines(lead):
    frames = torch.tensor([0.0, 10.0, 0.0, 20.0])[None, :, None]
    out = interpolate(frames, lead, 12, 10)[0, :, 0]
    expected = torch.tensor([0.0, 10, 0, 20])
    t = torch.arange(lead, lead + 12) / 10
    left = t.floor().long()
    line = expected[left] + (expected[left + 1] - expected[left]) * (t - left)
    torch.testing.assert_close(out, line)


def test_interpolating_before_or_after_the_projection_is_the_same():
    """Decision 4 of the design: it is why no engine runs the condition network per sample."""
    frames, project = torch.randn(1, 4, 5), torch.nn.Linear(5, 3)
    after = project(interpolate(frames, 0, 30, 10))
    torch.testing.assert_close(interpolate(project(frames), 0, 30, 10), after)


def test_each_condition_changes_the_prediction():
    model = tiny_model()
    codes = torch.randint(0, model.n_classes, (1, 30))
    base = model(codes, model.conditioning([{"digit": "a"}], [30]))
    assert not torch.allclose(base, model(codes, model.conditioning([{"digit": "b"}], [30])))
    assert not torch.allclose(base, model(codes, model.conditioning([{"digit": "a"}], [60])))


def test_log_probabilities_agree_with_scipy_and_sum_to_one():
    params, codes = 5 * torch.randn(2, 32, 6), torch.randint(0, 32, (2, 6))
    got = Categorical(32).log_prob(params, codes)
    table = log_softmax(params.double().numpy(), axis=1)
    expected = torch.from_numpy(table).gather(1, codes[:, None])[:, 0].float()
    torch.testing.assert_close(got, expected)
    every = [Categorical(32).log_prob(params, torch.full((2, 6), c)).exp() for c in range(32)]
    torch.testing.assert_close(torch.stack(every).sum(0), torch.ones(2, 6))
