"""Which engines there are, and which one to take.

A name and a model enter, an engine leaves, or one sentence saying why it is not to be had.
"""

from typing import Any

import torch

from wavenet.engines.base import Engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet

NAMES = ("reference", "cached", "cpu")
PRECISIONS = ("fp32", "bf16")


def make_engine(
    name: str, model: WaveNet, precision: str = "fp32", threads: int | None = None
) -> Engine[Any]:
    """Make an engine for a model.

    Args:
        name: one of `NAMES`, or "auto" for the fastest that takes this model on its device.
        precision: one of `PRECISIONS`, how the weights are stored; bf16 is for the engine cpu.
        threads: of the engine cpu, 1 or 2; None for as many as help.
    Raises:
        EngineUnavailable: the name is not known, or the engine cannot run this model here.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise EngineUnavailable(f"the precision {precision!r} is not known; choose one of {known}")
    if name == "auto":
        weight = model.embedding.weight
        compiled = weight.device.type == "cpu" and weight.dtype == torch.float32
        name = "cpu" if compiled else "cached"
    if name == "cpu":
        from wavenet.engines.cpu import CpuEngine  # numba takes a second to import

        return CpuEngine(model, precision, threads)
    if name not in NAMES:
        known = ", ".join(("auto", *NAMES))
        raise EngineUnavailable(f"the engine {name!r} is not known; choose one of {known}")
    if precision != "fp32":
        raise EngineUnavailable(
            f"the engine {name} keeps weights in fp32 only; for {precision} use the engine cpu"
        )
    if name == "cached":
        from wavenet.engines.cached import CachedEngine

        return CachedEngine(model)
    from wavenet.engines.reference import ReferenceEngine

    return ReferenceEngine(model)
