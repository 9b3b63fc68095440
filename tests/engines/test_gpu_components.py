"""Components of the engine gpu: packed weights, sampling, and compilation of the kernel for a GPU.

The draws run on a GPU if there is one, otherwise by Triton's interpreter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.test_engines import SAMPLINGS
from tests.engines.test_gpu import pytestmark, tl, triton  # noqa: F401
from wavenet.engines.gpu import tile_weights
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.sampling import SamplingConfig, draw_codes

triton_sampling = pytest.importorskip("wavenet.engines.gpu.triton_sampling")
ROOT = Path(__file__).parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROWS = 64


def test_rounding_and_packing_keep_every_weight():
    model = tiny_model(tiny_config(3, (1, 2), widths=(5, 17, 3)))
    assert tile_weights.round_gpu_weights(model, "fp32") is model
    once = tile_weights.round_gpu_weights(model, "bf16")
    twice = tile_weights.round_gpu_weights(once, "bf16")
    changed = 0
    for (name, a), b, c in zip(
        model.named_parameters(), once.parameters(), twice.parameters(), strict=True
    ):
        assert torch.equal(b, c)
        torch.testing.assert_close(a, b, rtol=2**-8, atol=0)
        changed += not torch.equal(a, b)
        if a.ndim == 1 or "condition" in name or "embedding" in name:
            assert torch.equal(a, b)  # only matrices that are read for every sample are rounded
    assert changed == 6
    wide, half = (
        tile_weights.pack_tile_weights(once, "fp32"),
        tile_weights.pack_tile_weights(once, "bf16"),
    )
    assert torch.equal(wide.weights, half.weights.float())
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    of_conditions = [m for m in model.condition.modules() if isinstance(m, torch.nn.Linear)]
    count = sum((m.weight != 0).sum() for m in layers) - sum(
        (m.weight != 0).sum() for m in of_conditions
    )
    assert (tile_weights.pack_tile_weights(model, "fp32").weights != 0).sum() == count


@triton.jit
def _draw_classes(  # type: ignore[no-untyped-def]
    codes,
    logits,
    uniforms,
    rules,
    top_k,
    D: tl.constexpr,
    P: tl.constexpr,
    GREEDY: tl.constexpr,
    TOP_K: tl.constexpr,
    TOP_P: tl.constexpr,
):
    rows = tl.arange(0, D)
    x = tl.load(logits + rows[:, None] * P + tl.arange(0, P)[None, :])
    u, temperature, top_p = tl.load(uniforms + rows), tl.load(rules), tl.load(rules + 1)
    drawn = triton_sampling.draw_class(x, u, temperature, top_k, top_p, GREEDY, TOP_K, TOP_P)
    tl.store(codes + rows, drawn)


def draw_compiled(logits, uniforms, sampling):
    codes = torch.zeros(ROWS, dtype=torch.int32, device=DEVICE)
    rules = torch.tensor([sampling.temperature, sampling.top_p or 1], dtype=torch.float64)
    _draw_classes[(1,)](
        codes,
        logits.to(DEVICE),
        uniforms.double().to(DEVICE),
        rules.to(DEVICE),
        sampling.top_k or 0,
        D=ROWS,
        P=logits.shape[1],
        GREEDY=sampling.greedy,
        TOP_K=sampling.top_k is not None and not sampling.greedy,
        TOP_P=sampling.top_p is not None and not sampling.greedy,
    )
    return codes.cpu().long()


def make_extreme_logits(seed):
    """Return logits (ROWS, 32): peaked, flat, tied, minus infinite, far apart, signed zeros."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(ROWS, 32, generator=generator) * 3
    logits[8:24] = (logits[8:24] / 2).round()  # ties
    logits[24:28] = 0.0
    logits[26:28, ::3] = -0.0
    logits[28:36, 1::2] = -torch.inf
    logits[36:40] *= 1e30
    logits[40:44, 5] = 80.0
    logits[44:48] *= 1e-30
    logits[48:50] = -torch.inf
    logits[50, 7], logits[51, 9], logits[52] = torch.inf, torch.nan, torch.nan
    return logits


@pytest.mark.parametrize(
    "sampling",
    [
        *SAMPLINGS.values(),
        SamplingConfig(top_k=1),
        SamplingConfig(top_k=31, top_p=0.999),
        SamplingConfig(top_p=1e-9),
        SamplingConfig(temperature=1e-6),
        SamplingConfig(temperature=100, top_p=0.5),
    ],
    ids=str,
)
def test_draws_of_classes_equal_draw_codes(sampling):
    for seed in range(4):
        logits = make_extreme_logits(seed)
        uniforms = torch.rand(ROWS, generator=torch.Generator().manual_seed(seed))
        uniforms[::7], uniforms[3::7] = 0.0, 1 - 2**-24
        expected = draw_codes(logits, uniforms, sampling)
        assert torch.equal(draw_compiled(logits, uniforms, sampling), expected)
    other = draw_codes(logits, 1 - uniforms, SamplingConfig(temperature=3))  # negative control
    assert (other != expected).sum() > 5


@triton.jit
def _draw_mixtures(  # type: ignore[no-untyped-def]
    codes,
    params,
    uniforms,
    rules,
    D: tl.constexpr,
    COMPONENTS: tl.constexpr,
    GAUSSIAN: tl.constexpr,
    GREEDY: tl.constexpr,
):
    rows, index = tl.arange(0, D), tl.arange(0, 16)[None, :]
    valid, place = index < COMPONENTS, params + rows[:, None] * (3 * COMPONENTS) + index
    logits = tl.load(place, mask=valid, other=0.0)
    means = tl.load(place + COMPONENTS, mask=valid, other=0.0)
    scales = tl.load(place + 2 * COMPONENTS, mask=valid, other=0.0)
    u, temperature = tl.load(uniforms + rows), tl.load(rules)
    drawn = triton_sampling.draw_mixture(
        logits, means, scales, valid, u, temperature, 16, GAUSSIAN, GREEDY
    )
    tl.store(codes + rows, drawn)


@pytest.mark.parametrize("output", [LogisticOutput(components=3), GaussianOutput(components=2)])
@pytest.mark.parametrize(
    "sampling", [SamplingConfig(), SamplingConfig(temperature=0.3), SamplingConfig(greedy=True)]
)
def test_draws_of_mixtures_equal_the_distribution(output, sampling):
    """For params and uniforms of all sizes, both extremes included."""
    model = tiny_model(tiny_config(output=output), bits=16)
    generator = torch.Generator().manual_seed(4)
    count = output.components
    params = torch.randn(ROWS, 3 * count, generator=generator)
    params[:, :count] *= 3
    params[:, 2 * count :] = params[:, 2 * count :] * 4 - 6
    params[:9, count : 2 * count] *= 20  # means far outside of [-1, 1]
    params[20, 0], params[21, count], params[22, -1] = torch.nan, torch.inf, -torch.inf
    params[23, count + 1] = torch.nan
    uniforms = torch.rand(ROWS, generator=generator)
    uniforms[::10], uniforms[5::10] = 0.0, 1 - 2**-24
    codes = torch.zeros(ROWS, dtype=torch.int32, device=DEVICE)
    _draw_mixtures[(1,)](
        codes,
        params.to(DEVICE),
        uniforms.double().to(DEVICE),
        torch.tensor([sampling.temperature], dtype=torch.float64, device=DEVICE),
        D=ROWS,
        COMPONENTS=count,
        GAUSSIAN=output.kind == "gaussian-mixture",
        GREEDY=sampling.greedy,
    )
    expected = model.distribution.sample(params[..., None], uniforms[:, None], sampling)[:, 0]
    assert torch.equal(codes.cpu().long(), expected)
    assert (expected[20:24] == -1).all() and len(set(expected.tolist())) > 30


COMPILE = """
import json, subprocess, sys
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from tests.conftest import tiny_config, tiny_model
from wavenet.engines.gpu import tile_weights
from wavenet.engines.gpu import triton_kernels
from wavenet.engines.gpu import gpu_engine
from wavenet.engines.kernel_inputs import make_sampling_rules
from wavenet.model.model_config import GaussianOutput
from wavenet.sampling import SamplingConfig

POINTERS = dict(
    rings="fp32", last="i64", noise="fp32", codes="i64", frames="fp32", frame_offsets="i64",
    workspace="fp32",
    params="fp32", weights="fp32", embedding="fp32", biases="fp32", layout="i32", rules="fp64",
)

def build(precision, kernel_size, widths, mixture, streams, draw, sampling):
    output = GaussianOutput(components=2) if mixture else None
    dilations = (1, 2, 4) * 7
    model = tiny_model(tiny_config(kernel_size, dilations, "none", widths=widths, output=output),
        bits=16 if mixture else 8)
    shape = tile_weights.make_tile_shape(model, precision)
    tile_weights.check_part_size(shape, precision)
    tile, warps = gpu_engine.choose_tile(streams)
    rules = make_sampling_rules(SamplingConfig(**sampling))
    constants = gpu_engine._kernel_constants(shape, rules, draw, tile)
    constants |= dict(HAS_CONDITIONS=True, BF16=precision == "bf16")
    names = triton_kernels.generate_tile.arg_names
    types = {**POINTERS, "weights": "bf16" if precision == "bf16" else "fp32"}
    signature = {n: "constexpr" if n in constants else "*" + types[n] if n in types else "i32"
        for n in names}
    attributes = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n in types}
    kernel = compile(ASTSource(triton_kernels.generate_tile, signature, constants, attributes),
        target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    cubin = Path(sys.argv[2]) / "kernel.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "-res-usage", cubin], capture_output=True, text=True).stdout
    (numbers,) = [line for line in usage.splitlines() if "REG:" in line]
    found = dict(word.split(":") for word in numbers.split())
    return dict(shared=kernel.metadata.shared, cubin=cubin.stat().st_size,
        registers=int(found["REG"]), stack=int(found["STACK"]))

assert not triton_kernels.INTERPRETED.value
print(json.dumps([build(*case) for case in json.loads(sys.argv[1])]))
"""


def compile_for_hopper(cases, folder):
    """Compile in another process, where triton is not interpreted; this needs no GPU."""
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    environment |= {"TRITON_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPILE, json.dumps(cases), str(folder)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(done.stdout)
    for case, numbers in zip(cases, made, strict=True):
        print(case, numbers)
        assert numbers["cubin"] > 1000
        assert numbers["shared"] <= tile_weights.SHARED_MEMORY_BYTES
    return made


EVERYTHING = {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "guidance": 2.0}


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu(tmp_path):
    """Build a small kernel of each kind.

    The interpreter also runs code that a GPU compiler rejects.
    """
    cases = [
        ("fp32", 3, (16, 16, 16), False, 1, True, EVERYTHING),
        ("bf16", 1, (16, 16, 16), True, 1, True, {}),
    ]
    compile_for_hopper(cases, tmp_path)


@pytest.mark.slow
def test_kernels_of_real_sizes_fit_into_a_gpu(tmp_path):
    """A thread has at most 255 registers; a large stack means that they are too few."""
    a, b = (64, 64, 256), (128, 128, 128)
    cases = [
        ("fp32", 2, a, False, 1, True, EVERYTHING),
        ("bf16", 2, a, False, 1, True, EVERYTHING),
        ("bf16", 2, a, False, 9_000, True, EVERYTHING),
        ("fp32", 2, a, False, 1, False, {}),
        ("fp32", 3, b, False, 1, True, {"greedy": True}),
        ("bf16", 3, b, False, 9_000, True, {}),
        ("bf16", 3, (256, 256, 512), False, 1, True, {}),
        ("fp32", 2, a, True, 1, True, {}),
    ]
    made = compile_for_hopper(cases, tmp_path)
    assert made[1]["stack"] < 64  # configuration A in 16 bits
