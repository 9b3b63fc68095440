"""The geometry of stacks against the gradients of torch's convolutions, and known examples."""

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import tiny_config
from wavenet.model.convolution_geometry import (
    ConvolutionStack,
    compare_dilations,
    doublings,
    layers_for_receptive_field,
    stack_from_config,
)


def inputs_by_gradient(stack: ConvolutionStack, layers: int) -> list[int]:
    """Run torch's convolutions of ones; return the inputs with a gradient for a node of a layer."""
    width = 400
    x = torch.zeros(1, 1, width, dtype=torch.float64, requires_grad=True)
    y = x
    for dilation in stack.dilations[:layers]:
        weight = torch.ones(1, 1, stack.kernel_size, dtype=torch.float64)
        if stack.is_causal:
            padded = F.pad(y, ((stack.kernel_size - 1) * dilation, 0))
            y = F.conv1d(padded, weight, dilation=dilation)
        else:
            y = F.conv1d(y, weight, padding="same", dilation=dilation)
    (gradient,) = torch.autograd.grad(y[0, 0, width // 2], x)
    return (gradient[0, 0].nonzero()[:, 0] - width // 2).tolist()


def inputs_by_taps(stack: ConvolutionStack, layers: int) -> set[int]:
    """Follow the taps from a node of a layer down to the inputs."""
    times = {0}
    for dilation in reversed(stack.dilations[:layers]):
        times = {time + tap for time in times for tap in stack.tap_offsets(dilation)}
    return times


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("dilations", [(1, 2, 4, 8), (1, 3, 5), (7,), (1, 2, 4, 1, 2, 4)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
def test_every_layer_depends_on_the_inputs_that_torch_finds(kernel_size, dilations, is_causal):
    dilated = ConvolutionStack(kernel_size, dilations, is_causal)
    for stack in (dilated, dilated.undilated):
        for layer, (oldest, newest) in enumerate(stack.spans()):
            found = inputs_by_gradient(stack, layer)
            assert set(found) == inputs_by_taps(stack, layer)
            assert (min(found), max(found)) == (oldest, newest)
            assert stack.sizes()[layer] == newest - oldest + 1


def test_a_causal_stack_spans_the_receptive_field_and_nothing_ahead():
    config = tiny_config(3, (1, 2, 4, 1))
    stack = stack_from_config(config)
    assert stack.spans()[-1] == (1 - config.receptive_field, 0)
    centred = stack_from_config(config, is_causal=False)
    assert centred.spans()[-1] == (-8, 8)
    assert centred.sizes() == stack.sizes()


def test_ten_doubled_dilations_of_kernel_3_span_2047_samples():
    ten = ConvolutionStack(3, tuple(2**n for n in range(10)))
    assert ten.sizes()[-1] == 2047
    assert ten.undilated.sizes()[-1] == 21
    assert compare_dilations(ten, 16_000) == {"repeated": 80, "doubled": 13, "undilated": 8000}


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("samples", [2, 3, 16, 17, 1000])
def test_one_layer_fewer_is_not_enough(kernel_size, samples):
    layers = layers_for_receptive_field(kernel_size, doublings(), samples)
    sizes = ConvolutionStack(kernel_size, tuple(2**n for n in range(layers))).sizes()
    assert sizes[-1] >= samples > sizes[-2]


def test_one_sample_needs_no_layer_and_a_kernel_of_1_never_spans_two():
    assert layers_for_receptive_field(2, doublings(), 1) == 0
    assert layers_for_receptive_field(1, doublings(), 2) is None
    assert compare_dilations(ConvolutionStack(2, (1,)), 10**9)["undilated"] is None
