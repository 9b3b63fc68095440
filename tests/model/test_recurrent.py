"""The recurrent networks: their formulas, the contents of their memory, their files."""

import pytest
import torch

from tests.conftest import tiny_model
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.recurrent import RECURRENCES, GRUConfig

SIZES = {"embedding_channels": 6, "hidden_channels": 5, "output_channels": 7}
every_recurrence = pytest.mark.parametrize("name", RECURRENCES)


def build(name, layers=1):
    return tiny_model(ARCHITECTURES[name].config(**SIZES, layers=layers), bits=5)


def compute_by_formula(name, layer, x):
    """Compute the states of one layer of torch from its matrices: (T, H), one clip."""
    products = RECURRENCES[name].products
    w, u = layer.weight_ih_l0.chunk(products), layer.weight_hh_l0.chunk(products)
    v, b = layer.bias_ih_l0.chunk(products), layer.bias_hh_l0.chunk(products)
    h = c = torch.zeros(layer.hidden_size)
    states, sigmoid = [], torch.sigmoid
    for x_t in x:
        inner = [w_n @ x_t + v_n for w_n, v_n in zip(w, v, strict=True)]
        outer = [u_n @ h + b_n for u_n, b_n in zip(u, b, strict=True)]
        if name == "rnn":
            h = torch.tanh(inner[0] + outer[0])
        elif name == "gru":
            r, z = sigmoid(inner[0] + outer[0]), sigmoid(inner[1] + outer[1])
            h = (1 - z) * torch.tanh(inner[2] + r * outer[2]) + z * h
        else:
            i, f, g, o = (a + b for a, b in zip(inner, outer, strict=True))
            c = sigmoid(f) * c + sigmoid(i) * torch.tanh(g)
            h = sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states), c


@every_recurrence
def test_the_states_follow_the_formulas_of_the_module(name):
    model = build(name)
    codes = torch.randint(32, (1, 30), generator=torch.Generator().manual_seed(1))
    memory = model.initial_memory(1)
    found = model.hidden_states(codes, model.conditioning([{}], [30]), memory=memory)[0]
    expected, cell = compute_by_formula(name, model.recurrent, model.embedding(codes[0]))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    stored = [expected[-1], cell][: RECURRENCES[name].states]
    assert len(memory.tensors) == len(stored) == (2 if name == "lstm" else 1)
    for tensor, value in zip(memory.tensors, stored, strict=True):
        torch.testing.assert_close(tensor[0, 0], value, atol=1e-6, rtol=1e-5)


@every_recurrence
def test_the_estimated_size_is_that_of_the_network(name):
    model = build(name, layers=3)
    codes_missing = (1024 - 32) * (SIZES["embedding_channels"] + SIZES["output_channels"])
    biases_missing = model.output.bias.numel()
    assert model.config.network_parameters == (
        model.parameter_count + codes_missing - biases_missing
    )
    states = sum(tensor[0].numel() for tensor in model.initial_memory(2).tensors)
    assert states == model.config.memory_values


def test_the_files_of_a_gru_have_not_changed():
    """Checkpoints and recipes of architecture gru were written before rnn and lstm existed."""
    assert sorted(set(GRUConfig.model_fields) - {"output", "conditions"}) == [
        "architecture",
        "condition_channels",
        "condition_hop",
        "embedding_channels",
        "hidden_channels",
        "layers",
        "output_channels",
    ]
    assert {name: list(t.shape) for name, t in build("gru", layers=2).state_dict().items()} == {
        "embedding.weight": [32, 6],
        "recurrent.weight_ih_l0": [15, 6],
        "recurrent.weight_hh_l0": [15, 5],
        "recurrent.bias_ih_l0": [15],
        "recurrent.bias_hh_l0": [15],
        "recurrent.weight_ih_l1": [15, 5],
        "recurrent.weight_hh_l1": [15, 5],
        "recurrent.bias_ih_l1": [15],
        "recurrent.bias_hh_l1": [15],
        "hidden.weight": [7, 5],
        "hidden.bias": [7],
        "output.weight": [32, 7],
        "output.bias": [32],
    }
