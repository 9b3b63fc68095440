"""The cost of a model on the meta device, compared with a model that runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import RATE, tiny_config, tiny_model
from wavenet.bench.model_cost import build_meta_model, compute_cost
from wavenet.model.model_config import GaussianOutput


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("conditions", ["none", "both", "all"])
def test_the_cost_of_a_meta_model_equals_that_of_the_model(kernel_size, conditions):
    model = tiny_model(tiny_config(kernel_size, conditions=conditions))
    cost = compute_cost(build_meta_model(model.config, 5, RATE))
    assert cost == compute_cost(model)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert cost.weight_bytes == sum(p.nbytes for p in model.parameters())
    assert cost.ring_bytes == model.initial_memory(1).rings.nbytes
    assert cost.receptive_field == model.receptive_field


def test_a_meta_model_allocates_no_memory():
    assert {p.device.type for p in build_meta_model(tiny_config(), 8, RATE).parameters()} == {
        "meta"
    }
    wide = tiny_config(conditions="none", widths=(1024, 1024, 1024), output=GaussianOutput())
    assert compute_cost(build_meta_model(wide, 16, RATE)).parameters > 10_000_000


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_multiply_adds_equal_those_that_torch_counts(kernel_size):
    """One column per product with ring buffers, one receptive field without."""
    model = tiny_model(tiny_config(kernel_size, conditions="none"))
    cost = compute_cost(model)
    for columns, expected in ((1, cost.cached_macs), (cost.receptive_field, cost.uncached_macs)):
        codes = torch.zeros(1, columns, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(codes, model.conditioning([{}], [columns], [torch.zeros(0, 0)]))
        assert counter.get_total_flops() == 2 * expected
