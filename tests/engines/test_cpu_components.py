"""The pieces of the compiled engine: packed weights, the gate, drawing, the cache folder."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tests.conftest import tiny_model
from wavenet.engines.cpu import jit
from wavenet.engines.cpu.block_operations import exponentials, gate
from wavenet.engines.cpu.class_sampling import draw, rules_of
from wavenet.engines.cpu.jit import compiled
from wavenet.engines.cpu.llvm_vectors import LANES
from wavenet.engines.cpu.packed_weights import pack, round_weights, unpack
from wavenet.sampling import SamplingConfig, probabilities
from wavenet.sampling import draw_codes as draw_by_the_rules


@pytest.mark.parametrize("shape", [(1, 1), (2, 32), (7, 33), (64, 128)])
def test_packing_in_fp32_loses_nothing(rng, shape):
    matrix = rng.standard_normal(shape).astype(np.float32)
    assert np.array_equal(unpack(pack(matrix, "fp32"), *shape), matrix)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_packing_in_16_bits_is_off_by_one_part_in_256_at_most(rng, scale):
    matrix = (rng.standard_normal((64, 96)) * scale).astype(np.float32)
    packed = pack(matrix, "bf16")
    assert packed.nbytes == matrix.nbytes // 2
    rounded = unpack(packed, 64, 96)
    off = np.abs(rounded / matrix - 1)
    assert 0.8 * 2**-8 < off.max() <= 2**-8  # what 8 significant bits give
    # even inputs are bfloat16; odd ones carry their neighbour below, and are no worse for it
    nearest = torch.from_numpy(matrix).to(torch.bfloat16).float().numpy()
    assert np.array_equal(rounded[::2], nearest[::2])
    assert not np.array_equal(rounded[1::2], nearest[1::2])
    assert abs(off[1::2].mean() / off[::2].mean() - 1) < 0.05
    # packing what was packed changes nothing
    assert np.array_equal(pack(rounded, "bf16"), packed)


def test_zeros_and_signs_survive_16_bits():
    matrix = np.array([[0.0, -1.0], [-0.0, 1.0], [1e-42, -3e38], [2.5, -1e-42]], np.float32)
    rounded = unpack(pack(matrix, "bf16"), *matrix.shape)
    assert np.isfinite(rounded).all()
    large = np.abs(matrix) > 1e-30
    assert np.array_equal(np.sign(rounded[large]), np.sign(matrix[large]))
    assert np.abs(rounded[~large]).max() < 1e-37


def test_a_model_is_rounded_once_and_for_all():
    model = tiny_model()
    assert round_weights(model, "fp32") is model
    once = round_weights(model, "bf16")
    twice = round_weights(once, "bf16")
    changed = 0
    for (name, a), b, c in zip(
        model.named_parameters(), once.parameters(), twice.parameters(), strict=True
    ):
        assert torch.equal(b, c)
        torch.testing.assert_close(a, b, rtol=2**-8, atol=0)
        changed += not torch.equal(a, b)
        if a.ndim == 1 or "condition" in name or "embedding" in name:
            assert torch.equal(a, b)  # only the products that are done for every sample
    assert changed > 5


@compiled
def _gates(z, g, frames, share):  # type: ignore[no-untyped-def]
    for n in range(z.shape[0] // LANES):
        gate(z, n * LANES, g, 2 * n * LANES, frames, 0, 2 * LANES, share)


def test_the_gate_is_tanh_times_sigmoid_between_two_frames(rng):
    a, b = (rng.standard_normal(160).astype(np.float32) * 15 for _ in range(2))
    a[:4], b[:4] = [100, -100, 0, 1e-6], [-200, 200, 0, 30]
    frames = rng.standard_normal(4 * LANES).astype(np.float32)
    left, right = frames[: 2 * LANES].reshape(2, LANES), frames[2 * LANES :].reshape(2, LANES)
    between = left + (right - left) * np.float32(0.25)
    blocks = np.stack([a.reshape(-1, LANES), b.reshape(-1, LANES)], axis=1)
    z = np.empty(160, np.float32)
    _gates(z, blocks.reshape(-1).copy(), frames, np.float32(0.25))
    x, y = (blocks.astype(np.float64) + between).transpose(1, 0, 2).reshape(2, -1)
    expected = np.tanh(x) * (1 / (1 + np.exp(-y)))
    assert np.abs(z - expected).max() < 3e-7
    assert np.abs(z - np.tanh(x)).max() > 0.1  # the control: without the sigmoid


def test_the_gate_passes_on_what_is_no_number():
    g, frames = np.zeros(2 * LANES, np.float32), np.zeros(4 * LANES, np.float32)
    for place in (3, LANES + 5):
        poisoned, z = g.copy(), np.zeros(LANES, np.float32)
        poisoned[place] = np.nan
        _gates(z, poisoned, frames, np.float32(0))
        assert np.isnan(z[place % LANES]) and np.isfinite(np.delete(z, place % LANES)).all()


@compiled
def _exponentials(p, x, top, least):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for n in range(0, x.shape[0], LANES):
        total += exponentials(p, n, x, n, top, np.float32(1), least)
    return total


def test_exponentials_are_right_to_a_few_units():
    x = np.linspace(-86.9, 0, 1600, dtype=np.float32)
    p = np.empty_like(x)
    total = _exponentials(p, x, np.float32(0), np.float32(-np.inf))
    exact = np.exp(x.astype(np.float64))
    assert np.abs(p / exact - 1).max() < 2e-7 and p[-1] == 1
    assert abs(total / exact.sum() - 1) < 1e-5
    _exponentials(p, x - 100, np.float32(0), np.float32(-np.inf))
    assert not p[:-1].any()  # too small to count


def draws(logits, uniforms, sampling):
    """Draw by the compiled loop: logits (N, P), uniforms (N,)."""
    rows, classes = logits.shape
    width = -(-classes // 32) * 32
    padded = np.full((rows, width), np.nan, np.float32)
    padded[:, :classes] = logits
    flat, p, sums = padded.reshape(-1), np.empty(width, np.float32), np.empty(width, np.float32)
    rules = rules_of(sampling)
    return np.array(
        [draw(flat, row * width, classes, uniforms[row], rules, p, sums) for row in range(rows)]
    )


WAYS = [
    SamplingConfig(),
    SamplingConfig(temperature=0.3),
    SamplingConfig(temperature=4.0),
    SamplingConfig(temperature=1e-6),
    SamplingConfig(top_k=1),
    SamplingConfig(top_k=7),
    SamplingConfig(top_p=0.05),
    SamplingConfig(top_p=0.9),
    SamplingConfig(temperature=1.5, top_k=20, top_p=0.7),
    SamplingConfig(greedy=True),
]


@pytest.mark.parametrize("sampling", WAYS, ids=lambda way: way.model_dump_json(exclude_none=True))
@pytest.mark.parametrize("classes", [16, 30, 256])
def test_compiled_draws_follow_the_rules(rng, sampling, classes):
    logits = (rng.standard_normal((300, classes)) * 3).astype(np.float32)
    uniforms = rng.random(300).astype(np.float32)
    got = draws(logits, uniforms, sampling)
    p = probabilities(torch.from_numpy(logits), sampling)
    expected = draw_by_the_rules(torch.from_numpy(logits), torch.from_numpy(uniforms), sampling)
    # equal, but where a uniform lies within float32's reach of an edge
    cdf = p.cumsum(-1)
    near = (cdf - torch.from_numpy(uniforms)[:, None]).abs().min(-1).values < 1e-5
    differ = torch.from_numpy(got) != expected
    assert not (differ & ~near).any() and differ.sum() <= 1
    assert (p[torch.arange(300), torch.from_numpy(got)] > 0).all()


def test_equal_logits_are_kept_and_dropped_by_the_rules():
    """Ties: top-k keeps all that tie with the k-th, top-p the first of them."""
    logits = np.zeros((64, 32), np.float32)
    logits[:, 20:] = -1
    uniforms = np.linspace(0, 0.999, 64, dtype=np.float32)
    for sampling in (SamplingConfig(top_k=3), SamplingConfig(top_p=0.31), SamplingConfig(top_k=25)):
        expected = draw_by_the_rules(torch.from_numpy(logits), torch.from_numpy(uniforms), sampling)
        assert np.array_equal(draws(logits, uniforms, sampling), expected.numpy())


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_uniform_draw_classes_that_may_be_drawn(uniform):
    logits = np.full((1, 256), -np.inf, np.float32)
    logits[0, [40, 200]] = 0
    expected = 40 if uniform == 0 else 200
    assert draws(logits, np.array([uniform], np.float32), SamplingConfig())[0] == expected


def chi_square(counts, p):
    """Give the chance of counts at least as far from p."""
    mass = p > 1e-12
    assert not counts[~mass].any()
    return stats.chisquare(counts[mass], counts.sum() * p[mass] / p[mass].sum()).pvalue


@pytest.mark.parametrize(
    "sampling", [SamplingConfig(), SamplingConfig(temperature=0.8), SamplingConfig(top_k=6)]
)
def test_draws_have_the_frequencies_of_the_distribution(rng, sampling):
    """Chi-square over 40,000 draws; a false alarm is one in ten thousand, the seed is fixed."""
    logits = np.tile(rng.standard_normal(16).astype(np.float32), (40_000, 1))
    codes = draws(logits, rng.random(40_000).astype(np.float32), sampling)
    counts = np.bincount(codes, minlength=16)
    p = probabilities(torch.from_numpy(logits[0]), sampling).numpy()
    assert chi_square(counts, p) > 1e-4
    # the controls: another temperature, and uniforms that are not uniform
    other = probabilities(torch.from_numpy(logits[0] * 0.9), sampling).numpy()
    assert chi_square(counts, other) < 1e-4
    skewed = draws(logits, rng.random(40_000).astype(np.float32) ** 1.1, sampling)
    assert chi_square(np.bincount(skewed, minlength=16), p) < 1e-4


def test_machine_code_of_other_sources_is_never_run(monkeypatch, tmp_path):
    """numba looks at a function's own file only; a kernel once ran with the products of before."""
    for name in ("cpu_a.py", "cpu_b.py"):
        (tmp_path / name).write_text("x = 1")
    monkeypatch.setattr(jit, "_HERE", tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    before = jit.kernels_folder()
    assert before == jit.kernels_folder() and before.is_relative_to(tmp_path)
    (tmp_path / "cpu_b.py").write_text("x = 2")
    assert jit.kernels_folder() != before


def test_machine_code_goes_where_it_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    assert jit.kernels_folder().parent == tmp_path / "chosen"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(jit.os, "access", lambda *_: False)
    assert jit.kernels_folder().parent == tmp_path / "home" / "wavenet-studio"


def test_16_bit_weights_cost_next_to_nothing(rng):
    """Bits per sample of a model and of its rounded copy, over noise that it was not made for."""
    model = tiny_model(bits=8)
    codes = torch.from_numpy(rng.integers(0, 256, (2, 400)))
    conditioning = model.conditioning([{"digit": "a"}] * 2, [400] * 2)
    bits = [
        -float(m.distribution.log_prob(m(codes, conditioning), codes).mean()) / math.log(2)
        for m in (model, round_weights(model, "bf16"))
    ]
    assert 0 < abs(bits[0] - bits[1]) < 0.05
