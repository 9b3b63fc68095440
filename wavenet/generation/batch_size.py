"""The number of clips that are generated side by side.

Input: a checkpoint and its engine. Output: a number that the memory allows. Of more clips, the
first ones are complete, and can be written, before the last ones begin. Called by the command line
and by batches.
"""

from typing import Any

from wavenet.checkpoint import Checkpoint
from wavenet.engines.engine import Engine

MAX_BATCH_CPU, MAX_BATCH_GPU = 64, 1024
MAX_STATE_BYTES = 1 << 30  # for the memory of all clips of a batch, copies included
STATE_COPIES = 4


def default_batch_size(checkpoint: Checkpoint, engine: Engine[Any], rows: int) -> int:
    """Return the number of clips whose states fit into `MAX_STATE_BYTES`, at most `MAX_BATCH_*`.

    Args:
        rows: number of rows of the engine's batch per clip.
    """
    on_cpu = checkpoint.model.device.type == "cpu"
    largest = MAX_BATCH_CPU if on_cpu else MAX_BATCH_GPU
    return max(1, min(largest, MAX_STATE_BYTES // (engine.state_bytes(rows) * STATE_COPIES)))
