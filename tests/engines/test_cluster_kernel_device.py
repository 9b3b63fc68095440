"""The kernel for few streams on a device: when it is used, its plan, and real sizes.

Compilation for a GPU is tested without a GPU. The tests marked `gpu` compare on a device.
"""

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import run_in_chunks
from tests.engines.test_cluster_kernel import SHORT, Emulation
from tests.engines.test_engines import (
    SAMPLINGS,
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
)
from tests.engines.test_gpu import (
    ATOL,
    EngineUnavailable,
    compiled,
    generate,
    interpreted,
    noise_for,
    pytestmark,  # noqa: F401
    real_model,  # noqa: F401
    step_through,
)
from tests.engines.test_guidance import run_guided
from wavenet.engines.gpu import cluster_kernel, nvrtc, tile_weights
from wavenet.engines.gpu.cluster_kernel import ClusterKernel, kernel_macros, make_plan
from wavenet.engines.gpu.gpu_engine import GpuEngine
from wavenet.engines.registry import explain_auto, make_engine
from wavenet.model.model_config import GaussianOutput
from wavenet.sampling import SamplingConfig


@interpreted
def test_the_triton_kernel_runs_what_the_cluster_kernel_does_not_support(monkeypatch):
    model = tiny_model(tiny_config(2, SHORT, "all"))
    engine = GpuEngine(model)
    assert engine._cluster is None
    assert "needs a GPU, found cpu" in engine.cluster_reason
    plan = make_plan(engine._shape, "fp32")
    kernel = ClusterKernel(model, "fp32", plan, lambda macros: Emulation)
    assert kernel.supports(cluster_kernel.MAX_STREAMS, SamplingConfig(top_k=3))
    assert not kernel.supports(cluster_kernel.MAX_STREAMS + 1, SamplingConfig())
    assert not kernel.supports(2, SamplingConfig(guidance=2.0))
    engine._cluster = kernel  # it cannot launch
    guided = SamplingConfig(guidance=2.0)
    noise = noise_for(1, 4)
    expected = run_guided(make_engine("reference", model), 1, guided, noise)
    assert torch.equal(run_guided(engine, 1, guided, noise), expected)
    mixture = tiny_model(tiny_config(output=GaussianOutput(components=2)), bits=16)
    assert GpuEngine(mixture).cluster_reason.endswith("found a mixture")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    elsewhere = type("Model", (), {"device": torch.device("cuda")})
    with pytest.raises(EngineUnavailable, match=r"clusters, .* 9.0 or more, found 8.6"):
        cluster_kernel.plan_for_device(elsewhere, engine._shape, "fp32")


def test_auto_reports_the_kernel_for_few_streams(monkeypatch):
    engine = type("Engine", (), {"cluster_reason": "it is too old"})
    monkeypatch.setattr("wavenet.engines.gpu.gpu_engine.GpuEngine", lambda *_: engine)
    monkeypatch.setattr("wavenet.engines.registry.check_engine", lambda _: "")
    model = type("Model", (), {"device": torch.device("cuda"), "dtype": torch.float32})
    monkeypatch.setattr("wavenet.engines.cpu.cpu_engine.CpuEngine", unavailable)
    monkeypatch.setattr("wavenet.engines.gpu.cuda_graph.GraphEngine", unavailable)
    monkeypatch.setattr("wavenet.engines.cached.CachedEngine", unavailable)
    assert explain_auto(model)[:2] == [("gpu", ""), ("gpu, few streams", "it is too old")]
    engine.cluster_reason = ""
    assert dict(explain_auto(model))["gpu, few streams"] == ""


def unavailable(*_):
    raise EngineUnavailable("not here")


TWICE = tuple(2**n for n in range(10)) * 2
A = tiny_config(2, TWICE, "both", widths=(64, 64, 256))
B = tiny_config(3, TWICE + TWICE[:10], "both", widths=(128, 128, 128))


def test_the_chain_uses_the_fewest_possible_blocks():
    plans = [
        make_plan(tile_weights.make_tile_shape(tiny_model(A, 8), p), p) for p in ("bf16", "fp32")
    ]
    assert [(plan.blocks, plan.layers_per_block) for plan in plans] == [(8, 5), (16, 3)]
    wide = tile_weights.make_tile_shape(tiny_model(B, 8), "fp32")
    with pytest.raises(EngineUnavailable, match=r"of 16 blocks, 227 KiB each, .* KiB each in fp32"):
        make_plan(wide, "fp32")


@pytest.mark.parametrize("architecture", ["sm_90", "sm_90a"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_kernel_compiles_for_a_gpu(precision, architecture):
    try:
        nvrtc.import_bindings()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    model = tiny_model(A, 8)
    shape = tile_weights.make_tile_shape(model, precision)
    plan = make_plan(shape, precision)
    assert plan.shared_memory <= tile_weights.SHARED_MEMORY_BYTES
    macros = tuple(kernel_macros(shape, plan, precision, True).items())
    source = cluster_kernel.read_source()
    log = nvrtc.compile_cubin(source, macros, architecture).log
    print(log)
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    with pytest.raises(EngineUnavailable, match="NVRTC could not compile"):
        nvrtc.compile_cubin(source + "!", macros, architecture)


def test_a_missing_nvrtc_is_reported(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(EngineUnavailable, match=r"NVRTC, .* cannot be loaded"):
        nvrtc.import_bindings()


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("streams", [1, 4])
def test_compiled_predictions_at_a_real_size(precision, streams, real_model):  # noqa: F811
    engine = GpuEngine(real_model, precision)
    assert engine.cluster_reason == ""
    prompts = [prompt.cuda() for prompt in prompts_of(real_model, *[3_000] * streams)]
    codes = torch.randint(0, 256, (streams, 12), generator=torch.Generator().manual_seed(2)).cuda()
    expected = step_through(make_engine("cached", engine.model), codes, prompts)
    got = step_through(engine, codes, prompts)
    torch.testing.assert_close(got, expected, atol=10 * ATOL["fp32"], rtol=1e-3)


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_compiled_draws_at_a_real_size(precision, kind, real_model):  # noqa: F811
    """Twelve clips, four at a time, in chunks that wrap around the longest ring."""
    engine = GpuEngine(real_model, precision)
    prompts = [prompt.cuda() for prompt in prompts_of(real_model, *range(12))]
    noise = noise_for(12, 1_100).cuda()
    expected = generate(make_engine("cached", engine.model), noise, prompts, SAMPLINGS[kind])
    got = [
        run_in_chunks(engine, noise[i : i + 4], prompts[i : i + 4], 550, SAMPLINGS[kind])
        for i in range(0, 12, 4)
    ]
    # two clips differ after a uniform next to an edge of the CDF, which is rare
    assert (torch.cat(got) == expected).all(dim=1).float().mean() > 0.6


@pytest.mark.gpu
@compiled
def test_a_device_is_deterministic(real_model):  # noqa: F811
    """Generate thousands of samples twice: a race between threads would change some codes."""
    engine = GpuEngine(real_model, "bf16")
    noise = noise_for(1, 20_000).cuda()
    first = run_in_chunks(engine, noise, prompts_of(real_model, 0), 20_000)
    assert torch.equal(run_in_chunks(engine, noise, prompts_of(real_model, 0), 4_099), first)
