"""The memory of the engine cpu with int8 weights: past inputs as activations.

Input: inputs of layers in float32, after a prompt. Output: rings of activations, half as large as
in float32, which the loop reads and writes. Called by `cpu_engine`.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from wavenet.engines.cpu.int8_kernels import row_bytes
from wavenet.engines.cpu.int8_loop import quantise_rows
from wavenet.model.memory import RingMemory


@dataclass
class Int8RingMemory(RingMemory):
    """Rings of activations.

    Attributes:
        rings: (B, sum of ring lengths, row) uint8; zeros, which have the step 0, before a clip.
        width: of the activations in a row.
    """

    width: int = 0

    def set_row(self, row: int, source: RingMemory) -> None:
        """Replace a row by the single row of a memory in float32."""
        rows = torch.from_numpy(quantise(source.rings[0], self.width))
        super().set_row(row, replace(self, rings=rows[None], cursor=source.cursor))


def quantise(inputs: Tensor, width: int) -> np.ndarray:
    """Round inputs (n, channels) to rows of activations: (n, row)."""
    count, channels = inputs.shape
    x = np.zeros((count, width), np.float32)
    x[:, :channels] = inputs.numpy()
    q = np.zeros(count * row_bytes(width), np.uint8)
    quantise_rows(q, width, x.reshape(-1), count)
    return q.reshape(count, row_bytes(width))
