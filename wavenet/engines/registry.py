"""The engines by name, and the selection of `auto`.

Input: a name and a model. Output: an engine; if it is not available, EngineUnavailable is raised.
Called by generation, searches, the command line, benchmarks, batches and the studio.
"""

from collections.abc import Sequence
from typing import Any

import torch

from wavenet.devices import AUTO, choose_device
from wavenet.engines.engine import Engine
from wavenet.engines.verification import check_engine
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.model.autoregressive_model import AutoregressiveModel

NON_GPU_NAMES = ("reference", "cached", "cpu")  # engines that can run without a GPU
GPU_NAMES = ("gpu", "graph")
PRECISIONS = ("fp32", "bf16", "int8")
# engines that can store weights in other precisions
ROUNDING_NAMES = {"bf16": ("cpu", "gpu"), "int8": ("cpu",)}


def make_engine(
    name: str,
    model: AutoregressiveModel[Any],
    precision: str = "fp32",
    threads: int | None = None,
) -> Engine[Any]:
    """Build an engine for a model.

    Args:
        name: one of `NON_GPU_NAMES` or `GPU_NAMES`, or "auto": the fastest engine that supports the
            model on its device.
        precision: one of `PRECISIONS`, how the weights are stored; bf16 needs the engine cpu or
            gpu, int8 the engine cpu.
        threads: of the engine cpu, 1 or 2; None: 1 or 2, whichever is measured to be faster; 1 on
            a machine with one core.
    Raises:
        EngineUnavailable: the name is unknown, or the engine cannot run this model here.
    """
    check_precision(precision, PRECISIONS)
    if name == "auto":
        return _make_fastest(model, precision, threads)
    if name not in (*NON_GPU_NAMES, *GPU_NAMES):
        known = ", ".join(("auto", *NON_GPU_NAMES, *GPU_NAMES))
        raise EngineUnavailable(f"the engine {name!r} is not known; choose one of {known}")
    engines = ROUNDING_NAMES.get(precision)
    if engines and name not in engines:
        raise EngineUnavailable(
            f"the engine {name} does not keep weights in {precision}, which is for WaveNets on the "
            f"engine {' or '.join(engines)}; use the precision fp32"
        )
    # imported here, because the imports of numba and triton take a second each
    match name:
        case "cpu":
            from wavenet.engines.cpu.cpu_engine import CpuEngine

            return CpuEngine(model, precision, threads)
        case "gpu":
            from wavenet.engines.gpu.gpu_engine import GpuEngine

            return GpuEngine(model, precision)
        case "graph":
            from wavenet.engines.gpu.cuda_graph import GraphEngine

            return GraphEngine(model)
        case "cached":
            from wavenet.engines.cached import CachedEngine

            return CachedEngine(model)
        case _:
            from wavenet.engines.reference import ReferenceEngine

            return ReferenceEngine(model)


def check_precision(precision: str, known: Sequence[str]) -> None:
    """Check that a precision is one of those that the caller accepts.

    Raises:
        EngineUnavailable: it is not.
    """
    if precision not in known:
        choices = ", ".join(known)
        raise EngineUnavailable(
            f"the precision {precision!r} is not known; choose one of {choices}"
        )


def explain_auto(model: AutoregressiveModel[Any], precision: str = "fp32") -> list[tuple[str, str]]:
    """Return which engine "auto" selects, and why each earlier engine was rejected.

    Returns:
        the engines, fastest first, each with the reason why it is not available, or "". The first
        engine with "" is selected. After an available "gpu", which is selected, an entry "gpu, few
        streams" has the reason why its cluster kernel is not used, or "".
    """
    reasons: list[tuple[str, str]] = []
    for name in ("gpu", "graph", "cpu", "cached"):
        if name in GPU_NAMES and not _is_on_gpu(model):
            reasons.append((name, f"the engine {name} needs the model on a CUDA device"))
            continue
        try:
            engine = make_engine(name, model, precision)
        except EngineUnavailable as error:
            reasons.append((name, str(error)))
            continue
        problem = check_engine(engine) if name in GPU_NAMES else ""
        reasons.append((name, problem))
        if name == "gpu" and not problem:
            reasons.append(("gpu, few streams", getattr(engine, "cluster_reason", "")))
    return reasons


def explain_int8(model: AutoregressiveModel[Any]) -> tuple[str, str]:
    """Return why the engine cpu cannot run a model in int8, or ""; and the instructions it uses."""
    from wavenet.engines.cpu.int8_kernels import INSTRUCTIONS, SCHEME

    try:
        make_engine("cpu", model, "int8")
    except EngineUnavailable as error:
        return str(error), INSTRUCTIONS[SCHEME]
    return "", INSTRUCTIONS[SCHEME]


def device_for(engine: str, device: str = AUTO) -> torch.device:
    """Return the device for a model of this engine.

    Args:
        engine: a name for `make_engine`.
        device: auto, cpu, cuda or cuda:N; auto is a GPU if one is available and
            the engine uses it.
    Raises:
        ConfigError: the device is not known or not available.
    """
    if device == AUTO and engine == "cpu":
        return torch.device("cpu")
    return choose_device(device, f"the engine {engine}" if engine in GPU_NAMES else "")


def _make_fastest(
    model: AutoregressiveModel[Any], precision: str, threads: int | None
) -> Engine[Any]:
    """Build the fastest engine that supports the model and passes its check on the device."""
    refused: EngineUnavailable | None = None
    for name in _candidates(model, precision):
        try:
            engine = make_engine(name, model, precision, threads)
        except EngineUnavailable as error:
            if name not in GPU_NAMES and not isinstance(error, ModelUnsupported):
                raise  # the user's setting is the reason, so no other engine is tried
            refused = error
            continue
        reason = check_engine(engine) if name in GPU_NAMES else ""
        if not reason:
            return engine
        refused = EngineUnavailable(f"the engine {name} is not used on this device: {reason}")
    assert refused is not None
    raise refused


def _candidates(model: AutoregressiveModel[Any], precision: str) -> tuple[str, ...]:
    """Return the engines among which "auto" selects, fastest first."""
    if _is_on_gpu(model):
        return ("gpu", "graph", "cached") if precision == "fp32" else ("gpu",)
    is_compiled = model.device.type == "cpu" and model.dtype == torch.float32
    return ("cpu", "cached") if is_compiled else ("cached",)


def _is_on_gpu(model: AutoregressiveModel[Any]) -> bool:
    return model.device.type == "cuda"
