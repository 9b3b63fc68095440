"""The engine of a checkpoint, with the precision that its rounding costs permit.

Input: the name of an engine, a checkpoint and a precision. Output: an engine. Called by generation,
the command line, batches and the studio.
"""

from typing import Any

import torch

from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.devices import AUTO
from wavenet.engines.engine import Engine
from wavenet.engines.registry import PRECISIONS, check_precision, make_engine
from wavenet.errors import EngineUnavailable


def make_checkpoint_engine(
    name: str, checkpoint: Checkpoint, precision: str = AUTO, threads: int | None = None
) -> Engine[Any]:
    """Build an engine for a checkpoint.

    Args:
        name, threads: as in `make_engine`.
        precision: one of `PRECISIONS`, or "auto": the first of `auto_precisions` that the engine
            supports.
    Raises:
        EngineUnavailable: as `make_engine`.
    """
    check_precision(precision, (AUTO, *PRECISIONS))
    model = checkpoint.model
    if precision != AUTO:
        return make_engine(name, model, precision, threads)
    *rounded, exact = auto_precisions(name, checkpoint.config, model.device)
    for chosen in rounded:
        try:
            return make_engine(name, model, chosen, threads)
        except EngineUnavailable:
            continue  # the model cannot be rounded
    return make_engine(name, model, exact, threads)


def auto_precisions(engine: str, config: CheckpointConfig, device: torch.device) -> tuple[str, ...]:
    """Return the precisions that "auto" tries, the fastest first and fp32 last.

    Weights are rounded only for the engine cpu, and only if the checkpoint has rounding costs that
    are low enough.
    """
    if device.type != "cpu" or engine not in (AUTO, "cpu") or config.rounding is None:
        return ("fp32",)
    return (*config.rounding.accepted_precisions(), "fp32")
