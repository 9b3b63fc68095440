"""Components of the engine cpu: packed weights, the gate, sampling, the cache of machine code."""

import math

import numba
import numpy as np
import pytest
import torch
from scipy import stats

from tests.conftest import tiny_model
from wavenet.engines.cpu import jit
from wavenet.engines.cpu.jit import compiled
from wavenet.engines.cpu.llvm_kernels import exp_block, gate_block
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.cpu.numba_sampling import draw_class
from wavenet.engines.cpu.packed_weights import pack_panels, round_cpu_weights, unpack_panels
from wavenet.engines.kernel_inputs import make_sampling_rules
from wavenet.sampling import SamplingConfig, draw_codes, probabilities


@pytest.mark.parametrize("shape", [(1, 1), (2, 32), (7, 33), (64, 128)])
def test_packing_in_fp32_is_lossless(rng, shape):
    matrix = rng.standard_normal(shape).astype(np.float32)
    assert np.array_equal(unpack_panels(pack_panels(matrix, "fp32"), *shape), matrix)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_packing_in_bf16_is_off_by_at_most_one_part_in_256(rng, scale):
    matrix = (rng.standard_normal((64, 96)) * scale).astype(np.float32)
    panels = pack_panels(matrix, "bf16")
    assert panels.nbytes == matrix.nbytes // 2
    rounded = unpack_panels(panels, 64, 96)
    error = np.abs(rounded / matrix - 1)
    assert 0.8 * 2**-8 < error.max() <= 2**-8  # the resolution of 8 significant bits
    # even inputs are bfloat16; odd ones have their neighbour in the lower bits, and equal errors
    nearest = torch.from_numpy(matrix).to(torch.bfloat16).float().numpy()
    assert np.array_equal(rounded[::2], nearest[::2])
    assert not np.array_equal(rounded[1::2], nearest[1::2])
    assert abs(error[1::2].mean() / error[::2].mean() - 1) < 0.05
    # packing rounded weights changes nothing
    assert np.array_equal(pack_panels(rounded, "bf16"), panels)


def test_bf16_keeps_zeros_and_signs():
    matrix = np.array([[0.0, -1.0], [-0.0, 1.0], [1e-42, -3e38], [2.5, -1e-42]], np.float32)
    rounded = unpack_panels(pack_panels(matrix, "bf16"), *matrix.shape)
    assert np.isfinite(rounded).all()
    large = np.abs(matrix) > 1e-30
    assert np.array_equal(np.sign(rounded[large]), np.sign(matrix[large]))
    assert np.abs(rounded[~large]).max() < 1e-37


def test_rounding_a_model_twice_equals_once():
    model = tiny_model()
    assert round_cpu_weights(model, "fp32") is model
    once = round_cpu_weights(model, "bf16")
    twice = round_cpu_weights(once, "bf16")
    changed = 0
    for (name, a), b, c in zip(
        model.named_parameters(), once.parameters(), twice.parameters(), strict=True
    ):
        assert torch.equal(b, c)
        torch.testing.assert_close(a, b, rtol=2**-8, atol=0)
        changed += not torch.equal(a, b)
        if a.ndim == 1 or "condition" in name or "embedding" in name:
            assert torch.equal(a, b)  # only matrices that are read for every sample are rounded
    assert changed > 5


@compiled
def _gates(z, g, frames, fraction):  # type: ignore[no-untyped-def]
    for n in range(z.shape[0] // BLOCK_WIDTH):
        at = n * BLOCK_WIDTH
        gate_block(z, at, g, 2 * at, frames, 0, 2 * BLOCK_WIDTH, fraction)


def test_the_gate_is_tanh_times_sigmoid_with_an_interpolated_bias(rng):
    a, b = (rng.standard_normal(160).astype(np.float32) * 15 for _ in range(2))
    a[:4], b[:4] = [100, -100, 0, 1e-6], [-200, 200, 0, 30]
    frames = rng.standard_normal(4 * BLOCK_WIDTH).astype(np.float32)
    left, right = frames.reshape(2, 2, BLOCK_WIDTH)
    bias = left + (right - left) * np.float32(0.25)
    blocks = np.stack([a.reshape(-1, BLOCK_WIDTH), b.reshape(-1, BLOCK_WIDTH)], axis=1)
    z = np.empty(160, np.float32)
    _gates(z, blocks.reshape(-1).copy(), frames, np.float32(0.25))
    x, y = (blocks.astype(np.float64) + bias).transpose(1, 0, 2).reshape(2, -1)
    expected = np.tanh(x) * (1 / (1 + np.exp(-y)))
    assert np.abs(z - expected).max() < 3e-7
    assert np.abs(z - np.tanh(x)).max() > 0.1  # negative control: without the sigmoid


def test_the_gate_of_nan_is_nan():
    g, frames = np.zeros(2 * BLOCK_WIDTH, np.float32), np.zeros(4 * BLOCK_WIDTH, np.float32)
    for place in (3, BLOCK_WIDTH + 5):
        with_nan, z = g.copy(), np.zeros(BLOCK_WIDTH, np.float32)
        with_nan[place] = np.nan
        _gates(z, with_nan, frames, np.float32(0))
        channel = place % BLOCK_WIDTH
        assert np.isnan(z[channel]) and np.isfinite(np.delete(z, channel)).all()


@compiled
def _exp_all(p, x, top, minimum):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for n in range(0, x.shape[0], BLOCK_WIDTH):
        total += exp_block(p, n, x, n, top, np.float32(1), minimum)
    return total


def test_exponentials_are_accurate_to_a_few_units_in_the_last_place():
    x = np.linspace(-86.9, 0, 1600, dtype=np.float32)
    p = np.empty_like(x)
    total = _exp_all(p, x, np.float32(0), np.float32(-np.inf))
    exact = np.exp(x.astype(np.float64))
    assert np.abs(p / exact - 1).max() < 2e-7 and p[-1] == 1
    assert abs(total / exact.sum() - 1) < 1e-5
    _exp_all(p, x - 100, np.float32(0), np.float32(-np.inf))
    assert not p[:-1].any()  # below e^-87


def draw_compiled(logits, uniforms, sampling):
    """Draw with the compiled function: logits (N, P), uniforms (N,)."""
    rows, classes = logits.shape
    width = -(-classes // 32) * 32
    padded = np.full((rows, width), np.nan, np.float32)
    padded[:, :classes] = logits
    flat, rules = padded.reshape(-1), make_sampling_rules(sampling)
    masses, block_sums = np.empty(width, np.float32), np.empty(width, np.float32)
    return np.array(
        [
            draw_class(flat, row * width, classes, uniforms[row], rules, masses, block_sums)
            for row in range(rows)
        ]
    )


SAMPLINGS = [
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


@pytest.mark.parametrize(
    "sampling", SAMPLINGS, ids=lambda sampling: sampling.model_dump_json(exclude_none=True)
)
@pytest.mark.parametrize("classes", [16, 30, 256])
def test_compiled_draws_equal_draw_codes(rng, sampling, classes):
    logits = (rng.standard_normal((300, classes)) * 3).astype(np.float32)
    uniforms = rng.random(300).astype(np.float32)
    got = draw_compiled(logits, uniforms, sampling)
    p = probabilities(torch.from_numpy(logits), sampling)
    expected = draw_codes(torch.from_numpy(logits), torch.from_numpy(uniforms), sampling)
    # equal, except where a uniform is so near an edge of the CDF that float32 decides
    cdf = p.cumsum(-1)
    near = (cdf - torch.from_numpy(uniforms)[:, None]).abs().min(-1).values < 1e-5
    differs = torch.from_numpy(got) != expected
    assert not (differs & ~near).any() and differs.sum() <= 1
    assert (p[torch.arange(300), torch.from_numpy(got)] > 0).all()


def test_ties_are_handled_as_in_draw_codes():
    """Top-k keeps all that tie with the k-th; top-p keeps the first of equals."""
    logits = np.zeros((64, 32), np.float32)
    logits[:, 20:] = -1
    uniforms = np.linspace(0, 0.999, 64, dtype=np.float32)
    for sampling in (SamplingConfig(top_k=3), SamplingConfig(top_p=0.31), SamplingConfig(top_k=25)):
        expected = draw_codes(torch.from_numpy(logits), torch.from_numpy(uniforms), sampling)
        assert np.array_equal(draw_compiled(logits, uniforms, sampling), expected.numpy())


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_extreme_uniforms_draw_classes_of_positive_probability(uniform):
    logits = np.full((1, 256), -np.inf, np.float32)
    logits[0, [40, 200]] = 0
    expected = 40 if uniform == 0 else 200
    assert draw_compiled(logits, np.array([uniform], np.float32), SamplingConfig())[0] == expected


def chi_square(counts, p):
    """Compute the p-value of counts under the distribution p."""
    mass = p > 1e-12
    assert not counts[~mass].any()
    return stats.chisquare(counts[mass], counts.sum() * p[mass] / p[mass].sum()).pvalue


@pytest.mark.parametrize(
    "sampling", [SamplingConfig(), SamplingConfig(temperature=0.8), SamplingConfig(top_k=6)]
)
def test_draws_have_the_frequencies_of_the_distribution(rng, sampling):
    """Chi-square over 40,000 draws; a false alarm has probability 1e-4, and the seed is fixed."""
    logits = np.tile(rng.standard_normal(16).astype(np.float32), (40_000, 1))
    codes = draw_compiled(logits, rng.random(40_000).astype(np.float32), sampling)
    counts = np.bincount(codes, minlength=16)
    p = probabilities(torch.from_numpy(logits[0]), sampling).numpy()
    assert chi_square(counts, p) > 1e-4
    # negative controls: another temperature, and skewed uniforms
    other = probabilities(torch.from_numpy(logits[0] * 0.9), sampling).numpy()
    assert chi_square(counts, other) < 1e-4
    skewed = draw_compiled(logits, rng.random(40_000).astype(np.float32) ** 1.1, sampling)
    assert chi_square(np.bincount(skewed, minlength=16), p) < 1e-4


def test_machine_code_of_other_sources_is_never_used(monkeypatch, tmp_path):
    """Regression: a kernel used outdated matrix products, since numba checks one file only."""
    for name in ("cpu_a.py", "cpu_b.py"):
        (tmp_path / name).write_text("x = 1")
    monkeypatch.setattr(jit, "_HERE", tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    before = jit.kernels_folder()
    assert before == jit.kernels_folder() and before.is_relative_to(tmp_path)
    (tmp_path / "cpu_b.py").write_text("x = 2")
    assert jit.kernels_folder() != before


def test_machine_code_is_cached_where_writing_is_possible(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    assert jit.kernels_folder().parent == tmp_path / "chosen"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(jit.os, "access", lambda *_: False)
    assert jit.kernels_folder().parent == tmp_path / "home" / "wavenet-studio"


def test_bf16_weights_hardly_change_the_score(rng):
    """Compare the bits per sample of a model and of its rounded copy, for random codes."""
    model = tiny_model(bits=8)
    codes = torch.from_numpy(rng.integers(0, 256, (2, 400)))
    conditioning = model.conditioning([{"digit": "a"}] * 2, [400] * 2)
    bits = [
        -float(m.distribution.log_prob(m(codes, conditioning), codes).mean()) / math.log(2)
        for m in (model, round_cpu_weights(model, "bf16"))
    ]
    assert 0 < abs(bits[0] - bits[1]) < 0.05


def observe_compilation():
    """Do nothing; numba calls its overload while it compiles a caller."""


LEVELS = []


@numba.extending.overload(observe_compilation)
def _observe():
    LEVELS.append(int(numba.config.OPT))
    return lambda: None


def test_only_the_compilation_of_the_engine_uses_few_passes(monkeypatch):
    monkeypatch.setattr(jit, "_IS_CACHED", False)  # machine code of an earlier run is not used
    before = int(numba.config.OPT)

    def call():
        observe_compilation()

    jit.compiled(call)()
    assert set(LEVELS) == {jit.OPTIMISATION} != {before}
    assert before == numba.config.OPT
