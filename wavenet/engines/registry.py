"""Which engines there are, and which one to take.

A name and a model enter, an engine leaves, or one sentence saying why it is not to be had.
"""

from typing import Any

import torch

from wavenet.devices import AUTO, choose_device
from wavenet.engines.base import Engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet

NAMES = ("reference", "cached", "cpu")  # those that run anywhere
GPU_NAMES = ("gpu", "graph")  # those made for a GPU
PRECISIONS = ("fp32", "bf16")
IN_16_BITS = ("cpu", "gpu")  # engines that store weights so


def make_engine(
    name: str, model: WaveNet, precision: str = "fp32", threads: int | None = None
) -> Engine[Any]:
    """Make an engine for a model.

    Args:
        name: one of `NAMES` or `GPU_NAMES`, or "auto" for the fastest that takes this model on its
            device.
        precision: one of `PRECISIONS`, how the weights are stored; bf16 is for the engines cpu
            and gpu.
        threads: of the engine cpu, 1 or 2; None for as many as help.
    Raises:
        EngineUnavailable: the name is not known, or the engine cannot run this model here.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise EngineUnavailable(f"the precision {precision!r} is not known; choose one of {known}")
    if name == "auto":
        *preferred, last = _preferred(model, precision)
        for candidate in preferred:
            try:
                return make_engine(candidate, model, precision, threads)
            except EngineUnavailable:
                continue
        name = last
    if name == "cpu":
        from wavenet.engines.cpu.cpu_engine import CpuEngine  # numba takes a second to import

        return CpuEngine(model, precision, threads)
    if name == "gpu":
        from wavenet.engines.gpu.gpu_engine import GpuEngine

        return GpuEngine(model, precision)
    if name not in (*NAMES, *GPU_NAMES):
        known = ", ".join(("auto", *NAMES, *GPU_NAMES))
        raise EngineUnavailable(f"the engine {name!r} is not known; choose one of {known}")
    if precision != "fp32":
        raise EngineUnavailable(
            f"the engine {name} keeps weights in fp32 only; for {precision} use the engine "
            f"{' or '.join(IN_16_BITS)}"
        )
    if name == "graph":
        from wavenet.engines.gpu.cuda_graph import GraphEngine

        return GraphEngine(model)
    if name == "cached":
        from wavenet.engines.cached import CachedEngine

        return CachedEngine(model)
    from wavenet.engines.reference import ReferenceEngine

    return ReferenceEngine(model)


def explain_auto(model: WaveNet, precision: str = "fp32") -> list[tuple[str, str]]:
    """Say which engine "auto" takes, and why none before it.

    Returns:
        engines from the fastest on, each with the reason why it cannot be had; "" for one that
        can, and the first of those is taken. Behind "gpu", where it can, stands "gpu, few streams",
        which is its kernel for them.
    """
    reasons: list[tuple[str, str]] = []
    for name in ("gpu", "graph", "cpu", "cached"):
        if name in GPU_NAMES and model.embedding.weight.device.type != "cuda":
            reason = f"the model is not on a CUDA device, for which the engine {name} is made"
            reasons.append((name, reason))
            continue
        try:
            engine = make_engine(name, model, precision)
        except EngineUnavailable as error:
            reasons.append((name, str(error)))
            continue
        reasons.append((name, ""))
        if name == "gpu":
            reasons.append(("gpu, few streams", getattr(engine, "shared_reason", "")))
    return reasons


def device_for(engine: str, device: str = AUTO) -> torch.device:
    """Find the device on which the model of an engine belongs.

    Args:
        engine: a name for `make_engine`.
        device: auto, cpu, cuda or cuda:N; auto is a GPU where there is one and the engine uses it.
    Raises:
        ConfigError: the device is not known or not there.
    """
    if device == AUTO and engine == "cpu":
        return torch.device("cpu")
    return choose_device(device, f"the engine {engine}" if engine in GPU_NAMES else "")


def _preferred(model: WaveNet, precision: str) -> tuple[str, ...]:
    """List what "auto" tries for a model, the fastest first; the last gives the reason if any."""
    weight = model.embedding.weight
    if weight.device.type == "cuda":
        return ("gpu", "graph", "cached") if precision == "fp32" else ("gpu",)
    compiled = weight.device.type == "cpu" and weight.dtype == torch.float32
    return ("cpu",) if compiled else ("cached",)
