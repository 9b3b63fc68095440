"""The kernel for few streams against the reference, emulated on a CPU.

g++ compiles the same source with `cuda_emulation.cpp`. There every CUDA thread is a fibre, threads
are held back at random, and messages between blocks arrive late and out of order. It is slow, so
shapes are tiny.
"""

import ctypes
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import run_in_chunks, slow
from tests.engines.test_engines import (
    SAMPLINGS,
    conditioning_for,
    draw,
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
    teacher_forced,
)
from tests.engines.test_gpu import (
    ATOL,
    generate,
    noise_for,
    pytestmark,  # noqa: F401
    step_through,
)
from tests.engines.test_gpu_components import make_extreme_logits
from wavenet.engines.gpu import cluster_kernel, tile_weights
from wavenet.engines.gpu.cluster_kernel import ClusterKernel, make_plan, shared_memory_bytes
from wavenet.engines.gpu.gpu_engine import GpuEngine
from wavenet.engines.reference import ReferenceEngine
from wavenet.engines.registry import make_engine
from wavenet.sampling import SamplingConfig, draw_codes

ROOT = Path(__file__).parents[2]
SHORT = (1, 3, 2)  # dilations
MAX_POLLS = 5_000  # enough for every wait of the emulation

emulated = pytest.mark.skipif(
    shutil.which("g++") is None or torch.cuda.is_available(),
    reason="the emulation needs g++, and is for machines without a GPU",
)


@pytest.fixture(scope="module")
def folder():
    """Return the folder of the compiled kernels; each is compiled once for all tests."""
    path = Path(mkdtemp())
    yield path
    shutil.rmtree(path)


@lru_cache
def load_emulated(macros, folder):
    """Compile the kernel with some macros, and load the library."""
    library = folder / f"{abs(hash(macros))}.so"
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library]
    command += [f"-D{name}={value}" for name, value in macros]
    command += [f'-DKERNEL_SOURCE="{cluster_kernel.SOURCES[-1]}"']
    command += [ROOT / "tests/engines/cuda_emulation.cpp"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return ctypes.CDLL(library)


class Emulation:
    """A replacement of `nvrtc.ClusterProgram`."""

    def __init__(self, macros, folder, max_polls=MAX_POLLS):
        macros = {**macros, "MAX_POLLS": max_polls}
        self._library = load_emulated(tuple(macros.items()), folder)
        self.launches = 0

    def launch(self, streams, arguments):
        self.launches += 1
        stopped = self._library.emulate(streams, self.launches, ctypes.byref(arguments))
        assert not stopped, "no thread makes progress: a deadlock"


def engine_for(model, folder, precision="fp32", blocks=8, layers=2, **options):
    """Build the engine gpu with an emulated kernel for few streams."""
    engine = GpuEngine(model, precision)
    shape = tile_weights.make_tile_shape(model, precision)
    plan = make_plan(shape, precision, cluster_sizes=(blocks,))
    if blocks * layers >= shape.layers:
        memory = shared_memory_bytes(shape, precision, blocks, layers, plan.head_threads)
        plan = plan._replace(layers_per_block=layers, shared_memory=memory)
    engine._cluster = ClusterKernel(
        engine.model, precision, plan, lambda macros: Emulation(macros, folder, **options)
    )
    return engine


@emulated
@pytest.mark.parametrize(
    ("kernel_size", "conditions"),
    [slow(1, "all"), (2, "both"), slow(2, "none"), slow(3, "all"), (4, "frames")],
)
def test_predictions_equal_the_reference(kernel_size, conditions, folder):
    model = tiny_model(tiny_config(kernel_size, SHORT, conditions))
    codes = torch.randint(0, 32, (2, 6), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 4, 50)
    expected = teacher_forced("reference", model, codes, prompts)
    got = step_through(engine_for(model, folder), codes, prompts)
    torch.testing.assert_close(got, expected, atol=ATOL["fp32"], rtol=1e-5)
    codes[:, 2] = (codes[:, 2] + 1) % 32  # negative control
    other = teacher_forced("reference", model, codes, prompts)
    assert (other[:, :, 3] - got[:, :, 3]).abs().max() > 1e-3


@emulated
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_the_same_noise_draws_the_same_codes(kind, folder):
    model = tiny_model(tiny_config(2, SHORT, "both"))
    noise, prompts = noise_for(2, 30), prompts_of(model, 0, 30)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    engine = engine_for(model, folder)
    assert torch.equal(generate(engine, noise, prompts, SAMPLINGS[kind]), expected)
    assert engine._cluster._program.launches == 1
    other = draw("reference", model, 1 - noise, prompts)  # negative control
    assert not torch.equal(other, expected)


@emulated
@pytest.mark.parametrize(
    ("kernel_size", "chunk"), [slow(1, 7), (2, 1), slow(2, 7), slow(2, 64), (3, 64), slow(4, 7)]
)
def test_chunks_do_not_matter(kernel_size, chunk, folder):
    model = tiny_model(tiny_config(kernel_size, SHORT, "all"))
    noise, prompts = noise_for(1, 80 if chunk > 1 else 12, seed=2), prompts_of(model, 9)
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(run_in_chunks(engine_for(model, folder), noise, prompts, chunk), expected)


@emulated
@pytest.mark.parametrize(
    ("blocks", "layers"), [slow(1, 5), (2, 3), slow(8, 1), (8, 5), slow(16, 1)]
)
def test_clusters_of_any_size_draw_the_same_codes(blocks, layers, folder):
    """One block, some blocks or all blocks compute the layers that depend on the newest sample.

    The same blocks or others compute the past taps.
    """
    model = tiny_model(tiny_config(3, conditions="frames"))
    noise, prompts = noise_for(1, 40, seed=3), prompts_of(model, 12)
    expected = draw("reference", model, noise, prompts)
    engine = engine_for(model, folder, blocks=blocks, layers=layers)
    assert engine._cluster.plan.blocks == blocks
    assert torch.equal(generate(engine, noise, prompts), expected)


@emulated
@pytest.mark.parametrize(
    ("kernel_size", "widths"),
    [slow(3, (1, 1, 1)), (4, (13, 7, 21)), slow(2, (33, 20, 40)), slow(16, (9, 40, 20))],
)
def test_predictions_of_odd_widths_equal_the_reference(kernel_size, widths, folder):
    model = tiny_model(tiny_config(kernel_size, (1, 9, 3), widths=widths), bits=8)
    codes = torch.randint(0, 256, (1, 4), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 30)
    expected = teacher_forced("reference", model, codes, prompts)
    engine = engine_for(model, folder, layers=1)
    got = step_through(engine, codes, prompts)
    torch.testing.assert_close(got, expected, atol=3e-5, rtol=1e-5)
    noise = noise_for(1, 20)
    assert torch.equal(generate(engine, noise, prompts), draw("reference", model, noise, prompts))


@emulated
def test_bf16_equals_the_reference_of_the_rounded_model(folder):
    model = tiny_model(tiny_config(3, SHORT, "all", widths=(20, 12, 40)))
    engine = engine_for(model, folder, "bf16")
    codes = torch.randint(0, 32, (1, 6), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 20)
    expected = step_through(ReferenceEngine(engine.model), codes, prompts)
    got = step_through(engine, codes, prompts)
    torch.testing.assert_close(got, expected, atol=ATOL["fp32"], rtol=1e-5)
    unrounded = step_through(ReferenceEngine(model), codes, prompts)  # negative control
    assert (got - unrounded).abs().max() > 100 * ATOL["fp32"]
    noise = noise_for(1, 30)
    assert torch.equal(
        generate(engine, noise, prompts), generate(ReferenceEngine(engine.model), noise, prompts)
    )


@emulated
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_engines_can_alternate_on_one_state(kernel_size, folder):
    """The rings are those of the engine cached, which are not padded."""
    model = tiny_model(tiny_config(kernel_size, SHORT, "all"))
    noise, prompts = noise_for(2, 30, seed=4), prompts_of(model, 0, 12)
    expected = draw("reference", model, noise, prompts)
    cached, emulated_gpu = make_engine("cached", model), engine_for(model, folder)
    state = cached.start(conditioning_for(model, 2, 80))
    cached.prefill(state, prompts)
    parts = [
        engine.run(state, 6, SamplingConfig(), part)
        for engine, part in zip([emulated_gpu, cached] * 3, noise.split(6, dim=1), strict=False)
    ]
    assert torch.equal(torch.cat(parts, dim=1), expected)
    state = emulated_gpu.select(state, [1])
    assert state.memory.rings.shape[0] == 1 and state.memory.cursor == 30


@emulated
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
def test_draws_of_classes_equal_draw_codes(sampling, folder):
    """The logits are the biases of the output layer, whose weights are zero."""
    model = tiny_model(tiny_config(1, (1,), "none"))
    model.output.weight.zero_()
    engine = engine_for(model, folder, blocks=1, layers=1)
    logits = make_extreme_logits(0)
    uniforms = torch.rand(len(logits), 2, generator=torch.Generator().manual_seed(1))
    uniforms[::7, 0], uniforms[3::7, 0] = 0.0, 1 - 2**-24
    for row, uniform in zip(logits, uniforms, strict=True):
        engine._cluster._weights.biases[-32:] = row
        state = engine.start(conditioning_for(model, 1, 80))
        drawn = engine.run(state, 2, sampling, uniform[None])
        expected = draw_codes(row.expand(2, -1), uniform, sampling)
        assert torch.equal(drawn[0], expected), row


@emulated
@pytest.mark.parametrize("greedy", [False, True])
def test_nan_leads_to_the_codes_of_the_engine_cached(greedy, folder):
    model = tiny_model(tiny_config(2, SHORT, "both"))
    model.blocks[1].conv.linear.weight[0, 0] = torch.nan
    noise, prompts = noise_for(1, 3), prompts_of(model, 3)
    sampling = SamplingConfig(greedy=greedy)
    expected = draw("cached", model, noise, prompts, sampling)
    assert torch.equal(generate(engine_for(model, folder), noise, prompts, sampling), expected)
    assert (expected == 0).all()


@emulated
def test_a_wait_that_times_out_ends_the_launch(folder):
    """With a limit of one poll some thread times out; all others then run to the end."""
    model = tiny_model(tiny_config(2, SHORT, "both"))
    engine = engine_for(model, folder, max_polls=1)
    with pytest.raises(RuntimeError, match="waited too long; the codes are invalid"):
        generate(engine, noise_for(1, 3), prompts_of(model, 3))
