"""The row of a table that belongs to the labels of a clip, as the bias of a model of tables.

A model of tables has one row of tables per combination of label values. A label has one more value,
"unknown": its rows are those of all clips. A step of a model sees the bias of the conditions only,
so the bias of every sample is one number: the index of the row. Called by `ngram`.
"""

import math
from itertools import product

import torch
from torch import Tensor

from wavenet.model.conditioning import ConditionModule
from wavenet.model.model_config import ModelConfig

MAX_LABELS = 4  # a clip is counted in up to 2**MAX_LABELS rows


def count_rows(config: ModelConfig) -> int:
    """Return the number of rows: the product of all numbers of values, "unknown" included."""
    return math.prod(len(label.values) + 1 for label in config.labels)


class LabelRows(ConditionModule):
    """Labels to the index of a row; the last label changes fastest.

    Args:
        config: of the model; it has label conditions only.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self._sizes = [len(label.values) + 1 for label in config.labels]

    def forward(
        self,
        labels: Tensor,
        global_features: Tensor,
        neighbours: Tensor,
        samples: Tensor,
        total_samples: Tensor,
    ) -> Tensor:
        """Return the index of the row for every frame, (B, F, 1, 1) float32."""
        rows = self.find_rows(labels).float()
        return rows[:, None, None, None].expand(-1, samples.shape[1], 1, 1)

    def find_rows(self, labels: Tensor) -> Tensor:
        """Return the row (B,) int64 of labels (B, L); index len(values) is "unknown"."""
        rows = torch.zeros_like(labels[:, 0])
        for label, size in zip(labels.unbind(1), self._sizes, strict=True):
            rows = rows * size + label
        return rows

    def find_all_rows(self, labels: Tensor) -> Tensor:
        """Return every row (B, 2**L) int64 in which clips are counted.

        These are the rows of the labels, with each subset of them replaced by "unknown". Where a
        label is unknown already, the replaced row would occur twice: it is -1.
        """
        unknown = torch.tensor([size - 1 for size in self._sizes], device=labels.device)
        rows = []
        for replaced in product([False, True], repeat=len(self._sizes)):
            subset = torch.tensor(replaced, device=labels.device)
            found = self.find_rows(torch.where(subset, unknown, labels))
            is_repeated = (subset & (labels == unknown)).any(1)
            rows.append(found.masked_fill(is_repeated, -1))
        return torch.stack(rows, dim=1)
