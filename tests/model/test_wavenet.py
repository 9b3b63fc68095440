"""WaveNet: causal, exactly one receptive field, untrained near log2(n_classes) bits."""

import math
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from tests.conftest import RATE, tiny_config, tiny_model
from wavenet.errors import ModelUnsupported
from wavenet.model.conditioning import interpolate, interpolate_rows
from wavenet.model.distributions import Categorical
from wavenet.model.layers import CausalConv1d
from wavenet.model.model_config import ModelConfig
from wavenet.model.wavenet import (
    WaveNet,
    WaveNetConfig,
    require_wavenet,
    require_wavenet_config,
)

KINDS = ["none", "label", "position", "both"]


def label_values(model: WaveNet, value: str) -> dict[str, str]:
    """Return the same value for all labels of a model."""
    return dict.fromkeys((condition.name for condition in model.config.labels), value)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 3])
def test_the_convolution_is_that_of_torch_with_zeros_before_the_clip(kernel_size, dilation):
    conv = CausalConv1d(3, 4, kernel_size, dilation)
    x = torch.randn(2, 11, 3)
    weight = conv.linear.weight.unflatten(1, (kernel_size, 3)).permute(0, 2, 1)
    padded = F.pad(x.transpose(1, 2), ((kernel_size - 1) * dilation, 0))
    expected = F.conv1d(padded, weight, conv.linear.bias, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)
    if kernel_size > 1:  # negative control: taps in the other order are another convolution
        flipped = F.conv1d(padded, weight.flip(2), conv.linear.bias, dilation=dilation)
        assert not torch.allclose(conv(x), flipped.transpose(1, 2), atol=1e-3)


@pytest.mark.parametrize("split", [1, 4, 10])
def test_a_convolution_of_a_chunk_with_its_past_is_that_of_the_whole(split):
    conv = CausalConv1d(3, 4, 3, 2)
    x = torch.randn(2, 11, 3)
    past = F.pad(x, (0, 0, 4, 0))[:, split : split + 4]
    torch.testing.assert_close(conv(x[:, split:], past), conv(x)[:, split:])
    assert not torch.allclose(conv(x[:, split:]), conv(x)[:, split:], atol=1e-3)  # negative control


@pytest.mark.parametrize("conditions", KINDS)
def test_a_prediction_depends_neither_on_its_own_nor_on_a_later_sample(conditions):
    model = tiny_model(tiny_config(conditions=conditions))
    codes = torch.randint(0, model.n_classes, (1, 40))
    conditioning = model.conditioning([label_values(model, "a")], [40])
    changed = codes.clone()
    changed[0, 20] = (codes[0, 20] + 7) % model.n_classes
    before, after = model(codes, conditioning), model(changed, conditioning)
    assert torch.equal(before[:, :, :21], after[:, :, :21])
    assert not torch.equal(before[:, :, 21], after[:, :, 21])


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_the_receptive_field_is_exact_by_gradient(kernel_size):
    model = tiny_model(tiny_config(kernel_size=kernel_size, conditions="none"))
    for layer in (model.skip, model.hidden):
        layer.bias.fill_(9)  # every ReLU passes its input
    conditioning = model.conditioning([{}], [64])
    embedded: list[torch.Tensor] = []
    hook = model.embedding.register_forward_hook(
        lambda module, inputs, output: embedded.append(output.requires_grad_(True))
    )
    params = model(torch.randint(0, model.n_classes, (1, 64)), conditioning)
    hook.remove()
    (gradient,) = torch.autograd.grad(params[0, :, -1].square().sum(), embedded[0])
    samples = gradient[0].abs().sum(1).nonzero().flatten()
    assert 64 - int(samples[0]) == model.receptive_field
    assert int(samples[-1]) == 63


def test_ten_doubled_dilations_of_kernel_3_have_a_receptive_field_of_2047_samples():
    dilations = tuple(2**n for n in range(10))
    config = WaveNetConfig(
        residual_channels=2, gate_channels=2, skip_channels=2, kernel_size=3, dilations=dilations
    )
    model = WaveNet(config, 8, 16_000)
    assert model.receptive_field == 2047
    assert model.seconds(model.receptive_field) == pytest.approx(2047 / 16_000)


def test_the_sizes_agree_with_a_count_by_hand():
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
    facts = model.describe()
    assert facts["macs_per_sample"] == model.macs_per_sample
    assert (facts["layers"], facts["kernel_size"], facts["skip_channels"]) == (20, 2, 256)
    assert (facts["receptive_field"], facts["receptive_field_ms"]) == (2047, 127.9)


@pytest.mark.parametrize("bits", [4, 8, 10])
@pytest.mark.parametrize("layers", [1, 30])
def test_training_starts_near_the_entropy_of_a_uniform_draw(bits, layers):
    torch.manual_seed(1)
    config = tiny_config(dilations=(1, 2, 4) * layers, widths=(32, 32, 64))
    model = WaveNet(config, bits, RATE)
    codes = torch.randint(0, 1 << bits, (2, 200))
    params = model(codes, model.conditioning([{"digit": "a"}, {"digit": "b"}], [200, 200]))
    found = -float(model.distribution.log_prob(params, codes).mean().detach()) / math.log(2)
    assert abs(found - bits) < 0.3


def test_segments_equal_the_whole_clip_after_one_receptive_field_of_context():
    model = tiny_model()
    codes = torch.randint(0, model.n_classes, (1, 120))
    whole = model(codes, model.conditioning([{"digit": "a"}], [120]))
    starts, field = [30, 41], model.receptive_field
    rows = torch.cat([codes[:, s : s + 60] for s in starts])
    conditioning = model.conditioning([{"digit": "a"}] * 2, [120, 120])
    segments = model(rows, conditioning, torch.tensor(starts))
    for row, start in enumerate(starts):
        torch.testing.assert_close(
            segments[row, :, field:], whole[0, :, start + field : start + 60], atol=1e-5, rtol=1e-5
        )
        # negative control: inside the context, and with another position, params differ
        assert not torch.allclose(segments[row, :, 1], whole[0, :, start + 1], atol=1e-3)
    wrong = model(rows, conditioning, torch.tensor([31, 42]))
    assert not torch.allclose(wrong[:, :, field:], segments[:, :, field:], atol=1e-4)


@pytest.mark.parametrize("lead", [0, 3, 9])
def test_frames_are_interpolated_linearly(lead):
    values = torch.tensor([0.0, 10.0, 0.0, 20.0])
    found = interpolate(values[None, :, None], lead, 12, 10)[0, :, 0]
    t = torch.arange(lead, lead + 12) / 10
    left = t.floor().long()
    expected = values[left] + (values[left + 1] - values[left]) * (t - left)
    torch.testing.assert_close(found, expected)


def test_rows_are_interpolated_each_with_its_own_lead():
    frames, leads = torch.randn(3, 5, 2), [0, 3, 9]
    found = interpolate_rows(frames, leads, 25, 10)
    for row, lead in enumerate(leads):
        alone = interpolate(frames[row : row + 1], lead, 25, 10)
        torch.testing.assert_close(found[row : row + 1], alone)
        assert not torch.allclose(alone, interpolate(frames[row : row + 1], lead + 1, 25, 10))


def test_interpolating_before_or_after_a_projection_is_the_same():
    """This allows engines to compute the condition network once per frame."""
    frames, project = torch.randn(1, 4, 5), torch.nn.Linear(5, 3)
    after = project(interpolate(frames, 0, 30, 10))
    torch.testing.assert_close(interpolate(project(frames), 0, 30, 10), after)


def test_each_condition_changes_the_prediction():
    model = tiny_model()
    codes = torch.randint(0, model.n_classes, (1, 30))
    base = model(codes, model.conditioning([{"digit": "a"}], [30]))
    assert not torch.allclose(base, model(codes, model.conditioning([{"digit": "b"}], [30])))
    assert not torch.allclose(base, model(codes, model.conditioning([{"digit": "a"}], [60])))


class OtherConfig(ModelConfig):
    """A config of another architecture than WaveNet."""

    architecture: str = "other"
    bias_layers: ClassVar[int] = 1
    bias_width: ClassVar[int] = 1
    memory_values: ClassVar[int] = 1
    network_parameters: ClassVar[int] = 1


def test_a_model_of_another_architecture_is_refused_where_a_wavenet_is_needed():
    model = tiny_model()
    assert require_wavenet(model, "this view") is model
    assert require_wavenet_config(model.config, "this view") is model.config
    with pytest.raises(ModelUnsupported, match=r"this view needs a WaveNet.* 'other'"):
        require_wavenet_config(OtherConfig(), "this view")
    model.config = OtherConfig()
    with pytest.raises(ModelUnsupported, match="'other'"):
        require_wavenet(model, "this view")


def test_log_probabilities_agree_with_scipy_and_sum_to_one():
    params, codes = 5 * torch.randn(2, 32, 6), torch.randint(0, 32, (2, 6))
    found = Categorical(32).log_prob(params, codes)
    table = log_softmax(params.double().numpy(), axis=1)
    expected = torch.from_numpy(table).gather(1, codes[:, None])[:, 0].float()
    torch.testing.assert_close(found, expected)
    every = [Categorical(32).log_prob(params, torch.full((2, 6), c)).exp() for c in range(32)]
    torch.testing.assert_close(torch.stack(every).sum(0), torch.ones(2, 6))
