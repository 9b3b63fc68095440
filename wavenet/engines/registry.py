"""Which engines there are, and which one to take.

A name and a model enter, an engine leaves, or one sentence saying why it is not to be had.
"""

from typing import Any

from wavenet.engines.base import Engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet

NAMES = ("reference", "cached", "cpu")


def make_engine(name: str, model: WaveNet) -> Engine[Any]:
    """Make an engine for a model.

    Args:
        name: one of `NAMES`, or "auto" for the fastest that takes this model on its device.
    Raises:
        EngineUnavailable: the name is not known, or the engine cannot run this model here.
    """
    if name == "auto":
        name = "cpu" if model.embedding.weight.device.type == "cpu" else "cached"
    if name == "cpu":
        from wavenet.engines.cpu import CpuEngine  # numba takes a second to import

        return CpuEngine(model)
    if name == "cached":
        from wavenet.engines.cached import CachedEngine

        return CachedEngine(model)
    if name == "reference":
        from wavenet.engines.reference import ReferenceEngine

        return ReferenceEngine(model)
    known = ", ".join(("auto", *NAMES))
    raise EngineUnavailable(f"the engine {name!r} is not known; choose one of {known}")
