"""Every kind of effect: the torch modules beside a second implementation, block sizes, start."""

import numpy as np
import pytest
import torch

from tests.effects.numpy_effects import reference_output, run_wavenet
from tests.effects.random_effects import (
    EFFECTS,
    WAVENETS,
    array,
    container,
    linear,
    lstm,
    parse,
    wavenet,
)
from wavenet.effects.effect_builder import build_effect, export_effect
from wavenet.effects.effect_containers import slim_model
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.errors import ConfigError

TOLERANCE = 1e-5
SAMPLES = 60


def make_input(channels=1, samples=SAMPLES, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


def run_effect(effect, x):
    with torch.no_grad():
        return effect(torch.from_numpy(x)[None])[0].numpy()


def run_blocks(effect, x, size):
    outputs, state = [], effect.initial_state()
    with torch.no_grad():
        for block in torch.from_numpy(x)[None].split(size, dim=2):
            output, state = effect.process(state, block)
            outputs.append(output)
    return torch.cat(outputs, dim=2)[0].numpy()


def scale_of(y):
    return max(1.0, np.abs(y).max())


@pytest.mark.parametrize("name", EFFECTS)
def test_the_output_is_that_of_the_second_implementation(name):
    model = parse(EFFECTS[name])
    x = make_input(model.in_channels)
    warm_up = model.warm_up
    expected = reference_output(EFFECTS[name], x.astype(np.float64), warm_up)
    found = run_effect(build_effect(model), x)
    assert found.shape == expected.shape == (model.out_channels, SAMPLES)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() <= TOLERANCE * scale_of(expected)


@pytest.mark.parametrize("change", [{"swap_gate": True}, {"order": "newest first"}])
def test_the_second_implementation_differs_if_it_is_wrong(change):
    document = WAVENETS["gated"]
    model = parse(document)
    x = make_input()
    wrong = reference_output(document, x.astype(float), model.warm_up, run_wavenet, **change)
    assert np.abs(run_effect(build_effect(model), x) - wrong).max() > 100 * TOLERANCE


def test_zeros_inside_the_network_are_not_the_state_of_silence():
    effect = build_effect(parse(WAVENETS["plain"]))
    x = make_input()
    with torch.no_grad():
        wrong, _ = effect.process(effect.zero_state(), torch.from_numpy(x)[None])
    difference = np.abs(run_effect(effect, x) - wrong[0].numpy())[0]
    assert difference.max() > 100 * TOLERANCE
    assert difference[effect.receptive_field :].max() < TOLERANCE


@pytest.mark.parametrize("name", EFFECTS)
def test_blocks_of_any_size_give_the_output_of_the_whole(name):
    model = parse(EFFECTS[name])
    effect = build_effect(model)
    x = make_input(model.in_channels, 150)
    whole = run_effect(effect, x)
    for size in (1, 7, 64, 150):
        blocks = run_blocks(effect, x, size)
        assert np.abs(blocks - whole).max() <= 1e-6 * scale_of(whole), size


def test_the_state_of_a_block_is_not_changed_by_the_next():
    effect = build_effect(parse(WAVENETS["everything"]))
    x = torch.from_numpy(make_input())[None]
    state = effect.initial_state()
    first, after = effect.process(state, x)
    effect.process(after, x)
    again, _ = effect.process(state, x)
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["two arrays", "head kernel", "post-stack head", "everything"])
def test_the_receptive_field_is_exact(name):
    model = parse(WAVENETS[name])
    effect = build_effect(model)
    x = torch.from_numpy(make_input(1, 2 * model.receptive_field))[None].requires_grad_()
    effect(x)[0, :, -1].sum().backward()
    used = np.flatnonzero(x.grad[0, 0].numpy())
    assert len(x.grad[0, 0]) - used[0] == model.receptive_field == effect.receptive_field
    assert model.warm_up == model.receptive_field + (1 if model.parts else 0)


def test_outputs_for_training_are_those_of_the_whole_clip():
    effect = build_effect(parse(WAVENETS["everything"]))
    x = make_input(1, 100)
    with torch.no_grad():
        valid = effect.valid_outputs(torch.from_numpy(x)[None])[0].numpy()
    expected = run_effect(effect, x)[:, effect.receptive_field - 1 :]
    assert valid.shape == expected.shape
    assert np.abs(valid - expected).max() < 1e-6


def test_clips_of_a_batch_are_independent():
    effect = build_effect(parse(WAVENETS["two arrays"]))
    x = make_input(2)[:, None]
    both = effect(torch.from_numpy(x)).detach().numpy()
    for row in range(2):
        assert np.abs(both[row] - run_effect(effect, x[row])).max() < 1e-6


@pytest.mark.parametrize("name", [n for n, d in EFFECTS.items() if d["weights"]])
def test_the_weights_of_a_module_are_those_of_its_file(name):
    model = parse(EFFECTS[name])
    effect = build_effect(model)
    inner = model.parts[0] if model.parts else None
    exported = export_effect(effect, model.rate, condition=inner)
    assert np.array_equal(exported.weights, model.weights)
    assert format_nam(exported) == format_nam(parse_nam(format_nam(exported), "x"))


def test_an_lstm_begins_after_half_a_second_of_silence():
    document = lstm()
    model = parse(document)
    assert model.warm_up == 100  # at 200 Hz
    effect = build_effect(model)
    x = make_input()
    cold = reference_output(document, x.astype(float), 0)
    assert np.abs(run_effect(effect, x) - cold).max() > 100 * TOLERANCE
    assert effect.receptive_field is None is model.receptive_field


def test_the_zero_state_of_an_lstm_is_the_start_of_its_file():
    document = lstm()
    effect, x = build_effect(parse(document)), make_input()
    with torch.no_grad():
        found, _ = effect.process(effect.zero_state(), torch.from_numpy(x)[None])
    expected = reference_output(document, x.astype(float), 0)
    assert np.abs(found[0].numpy() - expected).max() < TOLERANCE


def test_a_linear_filter_weights_the_newest_sample_first():
    document = linear(3, bias=False) | {"weights": [1.0, 0.5, 0.25]}
    x = np.eye(1, 6, 2, dtype=np.float32)
    assert run_effect(build_effect(parse(document)), x)[0].tolist() == [0, 0, 1, 0.5, 0.25, 0]


@pytest.mark.parametrize(
    ("size", "part"), [(None, 2), (0.0, 0), (0.2, 0), (0.4, 1), (0.7, 2), (1.0, 2), (5.0, 2)]
)
def test_the_size_selects_a_part_of_a_container(size, part):
    taps = [[1.0], [2.0], [3.0]]
    document = container(*(linear(1, bias=False) | {"weights": w} for w in taps))
    effect = build_effect(parse(document), size)
    assert run_effect(effect, np.ones((1, 1), np.float32)).item() == taps[part][0]


def slimmable(width, allowed, **changes):
    kwargs = {"allowed_channels": allowed}
    rule = {"method": "slice_channels_uniform", "kwargs": kwargs}
    return array(width, (1, 2), slimmable=rule, **changes)


def test_a_slimmed_model_has_the_first_rows_and_columns():
    head = {"out_channels": 4, "kernel_size": 1, "bias": False}
    gate = {"gating_mode": "gated"}
    document = wavenet(
        slimmable(6, [2, 6], head=head, **gate), slimmable(4, [3, 4], input_size=6, **gate)
    )
    model = parse(document)
    assert slim_model(model, 1.0).shape.arrays[0].channels == 6
    slim = slim_model(model, 0.3)
    first, second = slim.shape.arrays
    assert (first.channels, first.head_size, second.channels, second.input_size) == (2, 3, 3, 2)
    full, small = model.tensors(), slim.tensors()
    conv = "arrays.0.layers.1.conv.weight"
    assert np.array_equal(small[conv], full[conv][:4, :2])  # the first 2 x 2 of the 12 rows
    assert np.array_equal(
        small["arrays.1.rechannel.weight"], full["arrays.1.rechannel.weight"][:3, :2]
    )
    with torch.no_grad():
        assert torch.isfinite(build_effect(slim)(torch.zeros(1, 1, 5))).all()
    assert len(parse_nam(format_nam(slim), "x").weights) == len(slim.weights)


@pytest.mark.parametrize("name", ["plain", "groups"])
def test_a_model_that_is_not_slimmable_is_refused(name):
    with pytest.raises(ConfigError, match="not slimmable"):
        slim_model(parse(WAVENETS[name]), 0.5)
