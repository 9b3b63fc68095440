"""The engine cpu with int8 weights: exact products on every instruction set, and whole clips."""

import hashlib
import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
import torch
from llvmlite import ir

from tests.conftest import make_condition_values, tiny_config, tiny_model
from tests.engines.conftest import generate, noise_for, pairwise
from tests.engines.test_engines import SAMPLINGS, conditioning_for, prompts_of, step_through
from tests.engines.test_guidance import noise_for as guided_noise
from tests.engines.test_guidance import run_guided
from wavenet.checkpoint import load
from wavenet.engines.cpu import int8_kernels, int8_loop
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.cpu.int8_kernels import (
    TOP,
    choose_scheme,
    has_planes,
    row_bytes,
    target_features,
)
from wavenet.engines.cpu.int8_weights import (
    group_skips,
    pack_matrix,
    quantise_int8,
    quantise_int16,
    round_int8_weights,
    split_int16,
)
from wavenet.engines.cpu.llvm_vectors import store
from wavenet.engines.cpu.packed_weights import make_cpu_shape
from wavenet.engines.cpu.threads import make_counters, make_partition
from wavenet.engines.reference import ReferenceEngine
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.generation.generate import generate_many
from wavenet.generation.request import example_request
from wavenet.model.model_config import CategoricalOutput, GaussianOutput, LogisticOutput
from wavenet.sampling import SamplingConfig

SCHEMES = ("vnni512", "maddwd", "portable")
HERE = target_features()
IS_AVX512 = choose_scheme(HERE) == "vnni512"
ROOT = Path(__file__).parents[2]


def runnable(scheme):
    """Return whether this machine has the instructions of a scheme."""
    needed = {"vnni512": "avx512vnni", "maddwd": "avx2"}.get(scheme)
    return needed is None or HERE.get(needed, False)


def write_activations(scheme, q):
    """Return activations (rows, inputs) with steps of 1 as bytes, in the layout of a scheme."""
    step = np.zeros((len(q), 8), np.float32)
    step[:, 0] = 1
    if has_planes(scheme):
        offset = q + 32_768
        values = np.concatenate([offset >> 8, offset & 255], axis=1).astype(np.uint8)
    else:
        values = q.astype("<i2").view(np.uint8)
    return np.concatenate([values, step.view(np.uint8)], axis=1).reshape(-1)


def make_product(monkeypatch, scheme):
    """Compile the product of any number of rows for a scheme."""
    monkeypatch.setattr(int8_kernels, "SCHEME", scheme)

    # new functions, because the compiled code of others is for another scheme
    kernels = {
        (rows, blocks): int8_kernels._make_strip_product(rows, blocks)
        for rows in (1, 2, 3)
        for blocks in (2, 4)
    }
    one, two, three = (kernels[rows, 4] for rows in (1, 2, 3))
    half = kernels[1, 2]

    @numba.njit
    def product(y, outputs, w, q, width, rows, inputs):
        at, n, fours = 0, 0, inputs // 4
        while n < outputs:
            if outputs - n >= 64:
                row = 0
                while rows - row >= 3:
                    three(y, n + row * outputs, outputs, w, at, q, row, 0, width, fours)
                    row += 3
                if rows - row == 2:
                    two(y, n + row * outputs, outputs, w, at, q, row, 0, width, fours)
                elif rows - row == 1:
                    one(y, n + row * outputs, outputs, w, at, q, row, 0, width, fours)
                at += 64 * (8 + inputs)
                n += 64
            else:
                for row in range(rows):
                    half(y, n + row * outputs, outputs, w, at, q, row, 0, width, fours)
                n += 32

    return product


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sums_are_exact_on_every_instruction_set(monkeypatch, rng, scheme):
    """Sums of the largest weights and activations do not overflow; one unit is seen."""
    if not runnable(scheme):
        pytest.skip(f"this machine cannot run {scheme}")
    product = make_product(monkeypatch, scheme)
    for inputs, outputs, rows in ((512, 96, 3), (16, 32, 1), (48, 64, 5)):
        q = rng.integers(-TOP, TOP + 1, (rows, inputs))
        weights = rng.integers(-127, 128, (inputs, outputs))
        q[0], weights[:, 0], weights[:, 1] = TOP, 127, -127
        # a unit scale and step, and float32 sums of at most 24 bits, so that results are exact
        weights[:, 2:] //= 8
        q[1:] //= 64
        scale = np.ones(outputs, np.float32)
        packed = pack_matrix(weights, scale, 0)
        y = np.zeros(rows * outputs, np.float32)
        product(y, outputs, packed, write_activations(scheme, q), inputs, rows, inputs)
        expected = (q @ weights).astype(np.float32).reshape(-1)
        assert np.array_equal(y, expected)
        assert np.abs(q @ weights).max() == inputs * 127 * TOP < 2**31
        # negative control
        weights[3, 5] += 1
        assert not np.array_equal((q @ weights).astype(np.float32).reshape(-1), expected)


def emit(scheme, triple, cpu, features):
    """Return the assembly of a product of one row with one strip."""
    module = ir.Module()
    module.triple = triple
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(64)
    kind = ir.FunctionType(ir.VoidType(), [byte, byte, number, number, ir.IntType(32).as_pointer()])
    function = ir.Function(module, kind, "product")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    weights, activations, width, fours, out = function.args
    strip = int8_kernels._Strip(weights, [activations], width, fours, 4)
    for i, total in enumerate(strip.sums(builder, scheme)[0]):
        store(builder, total, out, ir.Constant(number, 16 * i))
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features).emit_assembly(parsed)


@pytest.mark.parametrize(
    ("scheme", "triple", "cpu", "features", "instruction"),
    [
        ("vnni512", "x86_64-linux-gnu", "icelake-server", "", "vpdpbusd"),
        ("vnni256", "x86_64-linux-gnu", "alderlake", "", "{vex} vpdpbusd"),
        ("maddwd", "x86_64-linux-gnu", "haswell", "", "vpmaddwd"),
        ("sdot", "aarch64-linux-gnu", "generic", "+dotprod", "sdot"),
        ("portable", "aarch64-linux-gnu", "generic", "", "smull"),
        ("portable", "x86_64-linux-gnu", "x86-64", "", "pmaddwd"),
    ],
)
def test_every_scheme_is_compiled_to_its_instruction(scheme, triple, cpu, features, instruction):
    text = emit(scheme, triple, cpu, features).replace("\t", " ")
    assert f" {instruction} " in text or f"{instruction}.4s" in text
    assert "call" not in text.split()  # no helper function


@pytest.mark.parametrize(
    ("features", "scheme"),
    [
        ("avx512vnni avx512bw avx2 avxvnni", "vnni512"),
        ("avxvnni avx2", "vnni256"),
        ("avx2", "maddwd"),
        ("dotprod neon", "sdot"),
        ("neon", "portable"),
        ("", "portable"),
    ],
)
def test_the_scheme_follows_the_instruction_sets(features, scheme):
    assert choose_scheme(dict.fromkeys(features.split(), True)) == scheme


@numba.njit
def _quantise(q, width, x):
    int8_loop.quantise_row(q, 0, width, x, 0)


@numba.njit
def _quantise_rectified(q, width, x):
    int8_loop.quantise_rectified_row(q, 0, width, x, 0)


def read_activations(q, width):
    if not has_planes(int8_kernels.SCHEME):
        return q[: 2 * width].view("<i2").astype(np.int64)
    assert int8_kernels.SCHEME != "sdot", "other planes"
    return 256 * q[:width].astype(np.int64) + q[width : 2 * width] - 32_768


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e5])
def test_activations_are_rounded_to_the_nearest_step(rng, scale):
    x = (rng.standard_normal(48) * scale).astype(np.float32)
    q = np.zeros(row_bytes(48), np.uint8)
    for function, values in ((_quantise, x), (_quantise_rectified, np.maximum(x, 0))):
        function(q, 48, x)
        found, step = read_activations(q, 48), q[96:100].view(np.float32)[0]
        if scale < 1e-20:
            assert not found.any()
            continue
        assert np.abs(found).max() == TOP
        assert np.abs(found * np.float64(step) - values).max() <= 0.501 * step


@numba.njit
def _gates(q, width, g, frames, fraction):
    for n in range(width // 16):
        int8_loop.int8_gate_block(q, 0, 16 * n, width, g, 32 * n, frames, 0, 32, fraction)


def test_the_gate_is_tanh_times_sigmoid_in_steps(rng):
    a, b = (rng.standard_normal(160) * 15 for _ in range(2))
    a[:4], b[:4] = [1e4, -1e4, 0, 1e-6], [-1e5, 1e5, 0, 30]
    gains = -2 / np.log(2), -1 / np.log(2)
    frames = rng.standard_normal((2, 2, 16))
    bias = frames[0] + (frames[1] - frames[0]) * 0.25
    sums = np.stack([a.reshape(-1, 16) * gains[0], b.reshape(-1, 16) * gains[1]], axis=1)
    q = np.zeros(row_bytes(160), np.uint8)
    as_floats = (sums.astype(np.float32).reshape(-1), frames.astype(np.float32).reshape(-1))
    _gates(q, 160, *as_floats, np.float32(0.25))
    powers = np.exp2(np.clip(sums + bias, -1000, 1000))
    expected = (1 - powers[:, 0]) / (1 + powers[:, 0]) / (1 + powers[:, 1])
    found = read_activations(q, 160) / TOP
    assert np.abs(found - expected.reshape(-1)).max() < 0.6 / TOP
    assert np.abs(found - np.tanh(a)).max() > 0.1  # negative control: without the sigmoid


def test_weights_are_rounded_with_one_scale_per_output(rng):
    weight = rng.standard_normal((7, 33)) * np.geomspace(1e-5, 10, 7)[:, None]
    weight[3] = 0
    for quantise, top in ((quantise_int8, 127), (quantise_int16, TOP)):
        integers, scale = quantise(weight)
        assert np.abs(integers).max(axis=1).tolist() == [top, top, top, 0, top, top, top]
        assert (np.abs(integers * scale[:, None] - weight) <= 0.501 * scale[:, None]).all()
    high, low = split_int16(integers)
    assert np.array_equal(256 * high + low, integers)
    assert max(np.abs(high).max(), -low.min(), low.max() + 1) <= 128


@pytest.mark.parametrize("layers", [1, 2, 3, 7, 8, 20, 31])
def test_every_layer_is_in_one_group_of_skips(layers):
    edges = group_skips(layers)
    assert (edges[0], edges[-1]) == (0, layers)
    assert all(0 < end - first <= 4 for first, end in itertools.pairwise(edges))


def test_only_matrices_are_rounded_and_huge_ones_are_refused():
    model = tiny_model()
    rounded = round_int8_weights(model)
    changed = 0
    for (name, a), b in zip(model.named_parameters(), rounded.parameters(), strict=True):
        changed += not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0, atol=float(a.abs().max()) / 200)
        if a.ndim == 1 or "condition" in name or "embedding" in name:
            assert torch.equal(a, b)
    assert changed > 5
    model.blocks[1].residual.weight[2, 3] = 2e6
    with pytest.raises(ModelUnsupported, match=r"at most 1e\+06, found 2e\+06 in blocks\.1"):
        CpuEngine(model, "int8")
    for engine in ("cached", "reference"):
        with pytest.raises(
            EngineUnavailable, match=r"not keep weights in int8, .*; use the precision fp32$"
        ):
            make_engine(engine, model, "int8")


OUTPUTS = {
    "categorical": CategoricalOutput(),
    "logistic": LogisticOutput(components=3),
    "gaussian": GaussianOutput(components=2),
}


@pytest.mark.parametrize(
    ("kernel_size", "widths", "output"),
    pairwise([1, 2, 3, 5], [(1, 1, 1), (13, 7, 21), (33, 17, 65), (48, 40, 160)], list(OUTPUTS)),
)
def test_params_are_those_of_the_rounded_weights(kernel_size, widths, output):
    """The error of 16-bit activations is far below that of 8-bit weights."""
    config = tiny_config(kernel_size, (1, 9, 3, 16), "all", widths=widths, output=OUTPUTS[output])
    model = tiny_model(config, 8)
    engine = CpuEngine(model, "int8", 1)
    codes = torch.randint(0, model.n_classes, (2, 40), generator=torch.Generator().manual_seed(2))
    params, expected, original = (
        step_through(runner, codes, prompts_of(model, 0, 7))
        for runner in (engine, ReferenceEngine(engine.model), ReferenceEngine(model))
    )
    error, rounding = (float((p - expected).abs().max()) for p in (params, original))
    assert error < max(rounding / 8, 1e-4 * float(expected.abs().max()))
    if min(widths) > 1:  # negative control
        assert rounding > 5e-4


@pytest.mark.parametrize(
    ("threads", "batch", "kind"), pairwise([1, 2], [1, 2, 5, 8], list(SAMPLINGS))
)
def test_clips_depend_on_neither_batch_nor_threads_nor_chunks(threads, batch, kind, two_cores):
    model = tiny_model(tiny_config(3, conditions="all", widths=(40, 24, 70)), bits=8)
    engine = CpuEngine(model, "int8", threads)
    sampling = SAMPLINGS[kind]
    noise, prompts = noise_for(batch, seed=1), prompts_of(model, *range(batch))
    together = generate(engine, noise, prompts, sampling)
    one = CpuEngine(model, "int8", 1)
    state = one.start(conditioning_for(model, batch, 200))
    one.prefill(state, prompts)
    for row in range(batch):
        alone = one.run(one.select(state, [row]), 80, sampling, noise[row : row + 1])
        assert torch.equal(alone[0], together[row])
    state = engine.start(conditioning_for(model, batch, 200))
    engine.prefill(state, prompts)
    parts = [engine.run(state, p.shape[1], sampling, p) for p in noise.split(33, dim=1)]
    assert torch.equal(torch.cat(parts, dim=1), together)
    if kind != "greedy":  # negative control
        assert not torch.equal(generate(engine, 1 - noise, prompts, sampling), together)


@pytest.mark.parametrize("clips", [1, 3])
def test_guided_clips_depend_on_neither_batch_nor_threads(clips, two_cores):
    model = tiny_model(tiny_config(conditions="all"), bits=8)
    sampling = SamplingConfig(guidance=2.5)
    noise = guided_noise(clips)
    one, two = (
        run_guided(CpuEngine(model, "int8", threads), clips, sampling, noise) for threads in (1, 2)
    )
    assert torch.equal(one, two)
    alone = run_guided(CpuEngine(model, "int8", 1), 1, sampling, noise[:1])
    assert torch.equal(alone[0], one[0])
    plain = SamplingConfig(guidance=0.0)  # negative control
    assert not torch.equal(run_guided(CpuEngine(model, "int8", 1), clips, plain, noise), one)


def test_a_joined_stream_continues_unchanged():
    model = tiny_model(tiny_config(2, conditions="none"), bits=8)
    engine = CpuEngine(model, "int8", 1)
    noise = noise_for(2)
    first, second = (engine.start(conditioning_for(model, 1, 200)) for _ in range(2))
    engine.run(first, 30, *(settings := (SAMPLINGS["ancestral"],)), noise[:1, :30])
    expected = engine.run(engine.clone(first), 20, *settings, noise[:1, 30:50])
    joined = engine.join(first, second)
    both = engine.run(joined, 20, *settings, noise[:, 30:50])
    assert torch.equal(both[:1], expected)


@pytest.mark.parametrize(
    ("kernel_size", "widths", "shares"), [(2, (64, 64, 256), False), (3, (64, 64, 64), True)]
)
def test_two_threads_equal_one_at_a_real_size(kernel_size, widths, shares, two_cores):
    """With many past taps, the follower computes some of them."""
    dilations = tuple(2**n for n in range(8)) * 2
    model = tiny_model(tiny_config(kernel_size, dilations, "none", widths=widths), bits=8)
    partition = make_partition(make_cpu_shape(model), 1, 2, make_counters(0))
    assert (partition.shared_from < len(dilations)) == shares
    noise = noise_for(1, n=3000)
    one, two = (
        generate(CpuEngine(model, "int8", threads), noise, prompts_of(model, 0))
        for threads in (1, 2)
    )
    assert torch.equal(one, two)
    # negative control: slightly different weights are noticed
    model.blocks[3].conv.linear.weight[0] += 0.05
    assert not torch.equal(generate(CpuEngine(model, "int8", 2), noise, prompts_of(model, 0)), two)


def hash_clips(more=0.0):
    """Return the hash of long clips with every kind of condition; `more` is added to weights."""
    hashes = hashlib.sha256()
    for output in OUTPUTS.values():
        config = tiny_config(3, (1, 2, 4, 8, 16), "all", widths=(40, 40, 70), output=output)
        model = tiny_model(config, 8)
        # by numpy, because torch draws other normal numbers on machines without AVX2
        generator = np.random.default_rng(1)
        for parameter in model.parameters():
            bound = 2 / parameter.shape[-1] ** 0.5
            values = generator.uniform(-bound, bound, parameter.shape)
            parameter.copy_(torch.from_numpy(values + more).float())
        engine = CpuEngine(model, "int8", 1)
        rows, n = 3, 4000
        values = [make_condition_values(model, row) for row in range(rows)]
        count = 1 + n // model.config.condition_hop
        frames = [
            torch.from_numpy(generator.uniform(-1, 1, (count, model.config.columns))).float()
            for _ in range(rows)
        ]
        conditioning = model.conditioning(values, [n] * rows, frames)
        noise = noise_for(rows, n=n)
        hashes.update(
            engine.run(engine.start(conditioning), n, SAMPLINGS["ancestral"], noise).numpy()
        )
    return hashes.hexdigest()


def hash_shipped_clips(seconds=10.0):
    """Return the hash of the codes of one clip of every shipped checkpoint."""
    hashes = hashlib.sha256()
    for name in ("digits", "strings", "vocoder"):
        loaded = load(name)
        samples, frames = round(seconds * loaded.sample_rate), None
        if loaded.config.model.locals:
            count = 1 + samples // loaded.config.model.condition_hop
            columns = loaded.config.model.columns
            waves = np.sin(np.arange(count)[:, None] / 9 + np.arange(columns))
            frames = torch.from_numpy(waves.astype(np.float32)) / 2
        request = replace(example_request(loaded.config.model), samples=samples, seed=5)
        request = replace(request, frame_features=frames)
        engine = CpuEngine(loaded.model, "int8", 1)
        (clip,) = generate_many(loaded, [request], engine=engine, guard=None)
        hashes.update(clip.codes.numpy())
    return hashes.hexdigest()


def run_on_older_machine(scheme, code, cache):
    """Run code in a process that compiles for a machine without AVX-512, and return its words."""
    name, features = {"maddwd": ("haswell", "+avx,+avx2,+fma"), "portable": ("x86-64", "")}[scheme]
    less = {
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(cache),
        "ATEN_CPU_CAPABILITY": "avx2" if scheme == "maddwd" else "default",
        "ONEDNN_MAX_CPU_ISA": "AVX2" if scheme == "maddwd" else "SSE41",
        "PYTHONPATH": str(ROOT),
    }
    start = "from tests.engines.test_int8 import *; print(int8_kernels.SCHEME)\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code], env=os.environ | less, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow  # each child compiles the whole loop
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheme", ["maddwd", "portable"])
def test_machines_with_and_without_avx512_draw_the_same_codes(scheme, tmp_path):
    if not IS_AVX512:
        pytest.skip("this machine has no AVX-512 VNNI")
    code = "print(hash_clips(), hash_clips(1e-3), hash_shipped_clips())"
    found = run_on_older_machine(scheme, code, tmp_path)
    own = hash_clips()
    assert found == [scheme, own, hash_clips(1e-3), hash_shipped_clips()]
    assert found[2] != own  # negative control: slightly other weights draw other codes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_million_samples_end_where_the_definition_ends():
    """Nothing accumulates: the last prediction depends on one receptive field only."""
    config = tiny_config(2, (1, 2, 4, 8, 16, 32), "none", widths=(16, 16, 32))
    model = tiny_model(config, bits=8)
    engine = CpuEngine(model, "int8", 1)
    state = engine.start(conditioning_for(model, 1, 200))
    generator = torch.Generator().manual_seed(3)
    for _ in range(100):
        noise = torch.rand(1, 100_000, generator=generator)
        codes = engine.run(state, 100_000, SamplingConfig(), noise)
    assert state.position.item() == 10_000_000
    last = codes[:, -2 * model.receptive_field :]
    expected = ReferenceEngine(engine.model)
    fresh = expected.start(conditioning_for(model, 1, 200))
    expected.prefill(fresh, [last[0]])
    wanted = expected.predict(fresh)
    assert (engine.predict(state) - wanted).abs().max() < 1e-3 * wanted.abs().max()
    # negative control: another past code is noticed
    other = last.clone()
    other[0, -1] = (other[0, -1] + 7) % 256
    expected.prefill(fresh := expected.start(conditioning_for(model, 1, 200)), [other[0]])
    assert (expected.predict(fresh) - wanted).abs().max() > 0.1 * wanted.abs().max()
