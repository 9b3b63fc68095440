"""The average of the weights during training, and the best average so far.

Input: a network after every step, and its error after every validation. Output: the averaged
network, the tensors that an interrupted training needs, and whether there was no progress for so
long that the training can end. Called by `train_effect`.
"""

import copy
import math
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class WeightAverage(Generic[Network]):
    """An exponential moving average of weights: a = d a + (1 - d) w after every step.

    d is `min(decay, (1 + n) / (10 + n))` in step n, from 0, so that the first weights are soon
    forgotten.

    Args:
        network: in training.
        decay: d after the first steps.

    Attributes:
        network: has the averaged weights.
    """

    def __init__(self, network: Network, decay: float):
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._decay = decay
        self._best = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._best_error = torch.tensor(math.inf, dtype=torch.float64)
        self._best_step = torch.tensor(0)
        self._last_step = torch.tensor(0)

    @property
    def best_error(self) -> float:
        """The smallest error of a validation; infinite before the first."""
        return float(self._best_error)

    @property
    def best_step(self) -> int:
        """The step of the smallest error."""
        return int(self._best_step)

    def update(self, network: Network, step: int) -> None:
        """Add the weights of a network.

        Args:
            step: number of steps before this one.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        with torch.no_grad():
            for average, weight in pairs:
                average.lerp_(weight, 1 - decay)

    def record(self, error: float, step: int) -> bool:
        """Record the error of the average after a step; return whether it is the best."""
        self._last_step.fill_(step)
        if not error < self.best_error:
            return False
        self._best_error.fill_(error)
        self._best_step.fill_(step)
        for name, weight in self.network.named_parameters():
            self._best[name].copy_(weight)
        return True

    def has_stalled(self, patience: int) -> bool:
        """Return whether the last so many steps before the last validation had no new best."""
        return int(self._last_step) - self.best_step >= patience

    def best_network(self) -> Network:
        """Return a copy of the network with the best weights; before a validation the average."""
        network = copy.deepcopy(self.network)
        if math.isfinite(self.best_error):
            with torch.no_grad():
                for name, weight in network.named_parameters():
                    weight.copy_(self._best[name])
        return network

    def kept_tensors(self) -> Mapping[str, Tensor]:
        """Return all tensors that change, not copied, for the state of the training."""
        return {
            **{f"average.{name}": p.data for name, p in self.network.named_parameters()},
            **{f"best.{name}": tensor for name, tensor in self._best.items()},
            "best_error": self._best_error,
            "best_step": self._best_step,
            "last_step": self._last_step,
        }
