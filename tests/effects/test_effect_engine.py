"""The fast engine of effects beside the torch definition: outputs, blocks, denormals, memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.effects.random_effects import EFFECTS, WAVENETS, linear, lstm, parse, wavenet
from wavenet.effects import effect_kernels as kernels
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.effect_engine import LoopEngine, TorchEngine, load_engine
from wavenet.effects.effect_loop import LONG_SUB_BLOCK, STAGE, SUB_BLOCK
from wavenet.effects.effect_shapes import EffectActivation, EffectLayerShape
from wavenet.effects.knob_wavenet import with_knob_channels
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import count_weights, split_weights
from wavenet.effects.standard_shapes import STANDARD_NAMES, make_standard_shape
from wavenet.engines.cpu.jit import compiled
from wavenet.errors import ConfigError

TOLERANCE = 1e-5


def make_clip(samples, channels=1, seed=1):
    shape = (samples,) if channels == 1 else (channels, samples)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def run_torch(model, x, size=None):
    with torch.no_grad():
        y = build_effect(model, size)(torch.from_numpy(np.atleast_2d(x))[None])[0].numpy()
    return y[0] if model.out_channels == 1 else y


def run_engine(engine, x, size=None):
    state = engine.initial_state()
    size = size or x.shape[-1]
    blocks = [x[..., i : i + size] for i in range(0, x.shape[-1], size)]
    return np.concatenate([engine.process(state, block) for block in blocks], axis=-1)


def scale_of(y):
    return max(1.0, np.abs(y).max())


def make_standard(name, seed=0):
    """Return a standard model with random weights whose layers stay in a usual range."""
    shape = make_standard_shape(name)
    weights = np.random.default_rng(seed).normal(0, 0.2, count_weights(shape))
    return NamModel(shape, weights.astype(np.float32), sample_rate=48000.0)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_architecture_has_the_output_of_torch(name):
    model = parse(EFFECTS[name])
    engine = load_engine(model)
    x = make_clip(400, model.in_channels)
    expected = run_torch(model, x)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(run_engine(engine, x) - expected).max() <= TOLERANCE * scale_of(expected)


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_standard_models_have_the_output_of_torch(name):
    model = make_standard(name)
    x = make_clip(9000)
    expected = run_torch(model, x)
    found = run_engine(load_engine(model), x)
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() <= TOLERANCE * scale_of(expected)
    changed = replace(model, weights=model.weights * np.float32(1.001))
    other = run_engine(load_engine(changed), x)
    assert np.abs(other - expected).max() > TOLERANCE * scale_of(expected)


@pytest.mark.parametrize("channels", range(1, 20))
def test_all_widths_have_the_output_of_torch(channels):
    changes = {"channels": channels, "input_size": 1, "condition_size": 1}
    changes["head1x1"] = {"active": True, "out_channels": channels}
    config = WAVENETS["plain"]["config"]["layers"][0] | changes
    model = parse(wavenet(config))
    x = make_clip(350)
    expected = run_torch(model, x)
    found = run_engine(load_engine(model), x)
    assert np.abs(found - expected).max() <= TOLERANCE * scale_of(expected)


ACTIVATIONS = [
    *map(EffectActivation, ("Tanh", "Hardtanh", "Fasttanh", "ReLU", "Sigmoid", "SiLU")),
    *map(EffectActivation, ("Hardswish", "Softsign")),
    EffectActivation("LeakyReLU", (1.5,)),
    EffectActivation("PReLU", (0.1, -0.3, 0.5)),
    EffectActivation("LeakyHardtanh", low=-0.4, high=0.2, low_slope=0.3, high_slope=-0.2),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.kind)
def test_every_activation_has_the_output_of_torch(activation):
    shape = make_standard_shape("a2-lite")
    layers = tuple(EffectLayerShape(2, 1, activation) for _ in range(2))
    shape = replace(shape, arrays=(replace(shape.arrays[0], layers=layers),))
    weights = np.random.default_rng(0).normal(0, 1, count_weights(shape)).astype(np.float32)
    model = NamModel(shape, weights)
    x = 3 * make_clip(300)
    expected = run_torch(model, x)
    found = run_engine(load_engine(model), x)
    assert np.abs(found - expected).max() <= TOLERANCE * scale_of(expected)


@pytest.mark.parametrize("name", ["everything", "two arrays", "head kernel", "post-stack head"])
@pytest.mark.parametrize("size", [1, 7, 64, 480])
def test_blocks_give_the_same_bits_as_the_whole(name, size):
    engine = load_engine(parse(WAVENETS[name]))
    x = make_clip(1000)
    assert np.array_equal(run_engine(engine, x, size), run_engine(engine, x))


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_blocks_of_standard_models_give_the_same_bits_as_the_whole(name):
    engine = load_engine(make_standard(name))
    x = make_clip(9000)
    whole = run_engine(engine, x)
    for size in (64, 480, 4096):
        assert np.array_equal(run_engine(engine, x, size), whole), size
    assert np.array_equal(run_engine(engine, x[:700], 1), whole[:700])


def test_a_long_linear_filter_has_the_output_of_torch():
    model = parse(linear(taps=5000))
    x = make_clip(12000)
    expected = run_torch(model, x)
    found = run_engine(load_engine(model), x, 480)
    assert np.abs(found - expected).max() <= TOLERANCE * scale_of(expected)


def test_the_chosen_size_of_a_container_runs():
    model = parse(EFFECTS["container"])
    x = make_clip(100)
    outputs = [run_engine(load_engine(model, size), x) for size in (0.0, 1.0)]
    for size, output in zip((0.0, 1.0), outputs, strict=True):
        assert np.abs(output - run_torch(model, x, size)).max() <= TOLERANCE
    assert np.abs(outputs[0] - outputs[1]).max() > 100 * TOLERANCE


def test_recurrent_models_run_in_torch_and_others_in_the_loop():
    assert isinstance(load_engine(parse(lstm())), TorchEngine)
    assert isinstance(load_engine(make_standard("nano")), LoopEngine)


def test_the_start_is_the_state_of_silence_and_not_zeros():
    engine = load_engine(parse(WAVENETS["plain"]))
    x = make_clip(100)
    wrong = engine.process(engine._zero_state(), x)
    assert np.abs(run_engine(engine, x) - wrong).max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["plain", "LSTM"])
def test_states_are_independent(name):
    engine = load_engine(parse(EFFECTS[name] if name in EFFECTS else lstm()))
    state = engine.initial_state()
    x = make_clip(200)
    engine.process(state, x[:100])
    copied = state.copy()
    first = engine.process(state, x[100:])
    engine.process(engine.initial_state(), x)
    assert np.array_equal(engine.process(copied, x[100:]), first)
    assert not np.array_equal(engine.process(copied, x[100:]), first)


def test_the_output_may_replace_the_input():
    engine = load_engine(make_standard("nano"))
    x = make_clip(5000)
    expected = run_engine(engine, x)
    assert engine.process(engine.initial_state(), x, out=x) is x
    assert np.array_equal(x, expected)


def test_a_block_may_be_empty_or_read_only_or_of_another_type():
    engine = load_engine(make_standard("nano"))
    x = make_clip(100)
    expected = run_engine(engine, x)
    state = engine.initial_state()
    assert engine.process(state, x[:0]).shape == (0,)
    frozen = x.astype(np.float64)
    frozen.flags.writeable = False
    assert np.array_equal(engine.process(state, frozen), expected)


def test_wrong_shapes_and_knobs_are_refused():
    model = make_standard("nano")
    engine = load_engine(model)
    with pytest.raises(ValueError, match="expected \\(T,\\)"):
        engine.process(engine.initial_state(), make_clip(10, channels=2))
    with pytest.raises(ValueError, match="out has the shape"):
        engine.process(engine.initial_state(), make_clip(10), out=np.zeros(11, np.float32))
    with pytest.raises(ConfigError, match="fold_knobs"):
        load_engine(replace(model, shape=with_knob_channels(model.shape, 2)))


def test_no_memory_is_allocated_per_block():
    engine = load_engine(make_standard("nano"))
    state, x = engine.initial_state(), make_clip(4096)
    out = np.zeros_like(x)
    engine.process(state, x, out)
    tracemalloc.start()
    try:
        engine.process(state, x, out)
        peak = tracemalloc.get_traced_memory()[1]
        engine.process(state, x)
        peak_without_out = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4096 < x.nbytes <= peak_without_out


def test_denormal_numbers_are_zero_in_the_engine_and_only_there():
    model = make_standard("a2-lite")
    tensors = split_weights(model.shape, model.weights.copy())
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            tensor[:] = 0
    weights = np.concatenate([tensor.reshape(-1) for tensor in tensors.values()])
    model = replace(model, weights=weights)
    denormal = np.full(300, 1e-39, np.float32)
    assert np.all(denormal * np.float32(0.5) > 0)
    expected = run_torch(model, denormal * np.float32(1e5))
    assert np.abs(expected).max() > 0
    engine = load_engine(model)
    assert np.abs(run_engine(engine, denormal * np.float32(1e5))).max() > 0
    assert np.all(run_engine(engine, denormal) == 0)
    assert np.all(denormal * np.float32(0.5) > 0), "the setting was not restored"


@pytest.mark.skipif(not kernels.IS_X86, reason="only x86 has this register")
def test_other_settings_of_the_register_are_kept():
    @compiled
    def settings():
        before = kernels.flush_denormals()
        during = kernels.flush_denormals()
        kernels.restore_denormals(before)
        after = kernels.flush_denormals()
        kernels.restore_denormals(before)
        return before, during, after

    before, during, after = settings()
    assert before == after != during
    assert during == before | kernels.FLUSH_BITS


def test_tanh_differs_from_the_exact_one_by_at_most_5e_7():
    @compiled
    def run(arena, parameters):
        for at in range(0, arena.shape[0], kernels.PRODUCT_WIDTH):
            kernels.tanh_block(arena, at, at, 0, parameters, 0)

    x = np.concatenate([np.linspace(-12, 12, 2**17), np.logspace(-30, 3, 2**17)])
    x = x.astype(np.float32)
    x[:3] = (np.inf, -np.inf, np.nan)
    found = x.copy()
    run(found, np.zeros(kernels.PARAMETERS, np.float32))
    exact = np.tanh(x.astype(np.float64))
    assert np.isnan(found[2])
    error = np.abs(found - exact)
    error[2] = 0
    assert error.max() <= 5e-7
    small = (x > 0) & (x < 0.1)
    assert (error[small] / exact[small]).max() < 5e-7
    assert np.nanmax(np.abs(found)) <= 1


def test_a_sub_block_contains_whole_tiles():
    for outputs in range(1, 9):
        assert SUB_BLOCK % kernels.product_width(outputs) == 0
        assert LONG_SUB_BLOCK % kernels.product_width(outputs, is_long=True) == 0
        assert LONG_SUB_BLOCK % SUB_BLOCK == STAGE % LONG_SUB_BLOCK == 0
