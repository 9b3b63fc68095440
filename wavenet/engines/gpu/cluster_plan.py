"""How the kernel for few streams is divided among the blocks of a cluster and their threads.

Sizes of a network enter, a `Plan` and the macros that the kernel is compiled with leave.
"""

from typing import NamedTuple

from wavenet.engines.gpu.tile_weights import BYTES, SHARED_MEMORY, Shape
from wavenet.errors import EngineUnavailable

CLUSTERS = (8, 16)  # blocks; every device with clusters has 8, some have 16
PATIENCE = 1 << 26  # polls, some seconds


class Plan(NamedTuple):
    """How the kernel is divided.

    Attributes:
        blocks: of the cluster.
        layers: of the chain in one block.
        gate, residual, head, taps: threads of the four roles.
        shared: bytes that a block takes.
    """

    blocks: int
    layers: int
    gate: int
    residual: int
    head: int
    taps: int
    shared: int


def make_plan(
    shape: Shape,
    precision: str,
    memory: int = SHARED_MEMORY,
    clusters: tuple[int, ...] = CLUSTERS,
) -> Plan:
    """Choose the first of these clusters that keeps the model, the chain in the fewest blocks.

    Args:
        memory: bytes of shared memory that a block can have.
    Raises:
        EngineUnavailable: with what the model takes in the largest cluster.
    """
    gate, residual = (min(256, 2 * width) for width in (shape.gate, shape.residual))
    head = max(32, min(128, shape.out // 2))
    least = 0
    for blocks in clusters:
        for chain in range(1, min(blocks, shape.layers) + 1):
            layers = -(-shape.layers // chain)
            least = shared_bytes(shape, precision, blocks, layers, head)
            if least <= memory:
                return Plan(blocks, layers, gate, residual, head, min(128, gate), least)
    raise EngineUnavailable(
        f"the kernel for one stream keeps weights in the shared memory of {clusters[-1]} blocks, "
        f"{memory >> 10} KiB each, and these take {least >> 10} KiB each in {precision}"
    )


def shared_bytes(shape: Shape, precision: str, blocks: int, layers: int, head: int) -> int:
    """Count what a block keeps, a little more than the kernel's `Shared` and its weights."""
    r, g, s, p = shape.residual, shape.gate, shape.skip, shape.out
    chain = -(-shape.layers // layers)
    owned = -(-shape.layers // (blocks - chain or blocks))
    words = shape.layers * g + 2 * s + p + layers * 2 * g + (owned + 1) * r + 2
    numbers = 2 * r + 2 * g + max(1, shape.taps - 1) * r
    draw = 12 * p + 16 * (head // 32) + 8
    weights = layers * 3 * g * r + (s + p) // blocks * s
    return 8 * words + 4 * numbers + draw + 16 * 16 + BYTES[precision] * weights


def macros_of(shape: Shape, plan: Plan, precision: str, conditioned: bool) -> dict[str, int]:
    """Gather what the kernel is compiled for."""
    return {
        "LAYERS": shape.layers,
        "TAPS": shape.taps,
        "R": shape.residual,
        "G": shape.gate,
        "S": shape.skip,
        "P": shape.out,
        "CLASSES": shape.classes,
        "BLOCKS": plan.blocks,
        "PER": plan.layers,
        "GATE": plan.gate,
        "RES": plan.residual,
        "HEAD": plan.head,
        "TAPG": plan.taps,
        "HALF": int(precision == "bf16"),
        "CONDITIONED": int(conditioned),
        "SHARED_BYTES": plan.shared,
        "PATIENCE": PATIENCE,
    }
