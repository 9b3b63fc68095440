"""Every part of a training that changes, and how it begins.

A config and settings enter; a `TrainState` leaves, which `loop` changes and `snapshots` keeps.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.model.base import AutoregressiveModel
from wavenet.training.muon import Muon
from wavenet.training.recipe import TrainConfig
from wavenet.training.schedule import in_bf16

CPU = torch.device("cpu")


@dataclass
class TrainState:
    """Every part that changes while training."""

    model: AutoregressiveModel[Any]
    average: AutoregressiveModel[Any]  # its weights are the moving average of the model's
    optimizers: Sequence[AdamW | Muon]
    broken: Tensor  # 1 on a GPU once a loss was not finite: nothing changes any more
    step: int = 0
    best_bits: float = math.inf

    def set_rate(self, rate: float) -> None:
        """Give AdamW a learning rate, and Muon its own in proportion."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)

    def make_moments(self) -> None:
        """Give the optimisers what they otherwise make in their first step."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if isinstance(optimizer, Muon):
                        kept = {"momentum": torch.zeros_like(parameter)}
                    else:
                        kept = {"step": torch.zeros((), device=parameter.device)}
                        kept |= {n: torch.zeros_like(parameter) for n in ("exp_avg", "exp_avg_sq")}
                    optimizer.state[parameter] = kept


def make_state(
    config: CheckpointConfig,
    settings: TrainConfig,
    start: Checkpoint | None = None,
    device: torch.device = CPU,
) -> TrainState:
    """Build model, average and optimiser, with the weights of `start` or by the seed."""
    torch.manual_seed(settings.seed)
    model = checkpoint.build(config)
    if start is not None:
        model.load_state_dict(start.model.state_dict())
    model.to(device)
    optimizers = _make_optimizers(model, settings)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    return TrainState(model, average, optimizers, torch.zeros((), device=device))


def _make_optimizers(model: AutoregressiveModel[Any], settings: TrainConfig) -> list[AdamW | Muon]:
    """Give Muon the matrices between the layers where it is asked for, and AdamW all else."""
    rate, decay = settings.learning_rate, settings.weight_decay
    inner = [] if settings.muon_rate is None else model.inner_matrices()
    rest = [p for p in model.parameters() if not any(p is matrix for matrix in inner)]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = AdamW(groups, lr=rate, betas=settings.betas, fused=True)
    if settings.muon_rate is None:
        return [adam]
    bf16 = in_bf16(settings.precision, model.output.weight.device)
    dtype = torch.bfloat16 if bf16 else torch.float32
    muon = Muon(inner, settings.muon_rate, decay, dtype)
    muon.param_groups[0]["scale"] = settings.muon_rate / rate
    return [adam, muon]


def update_average(state: TrainState, decay: float) -> None:
    """Move the averaged weights towards the model's, faster in the first steps.

    A fixed decay of 0.999 would show the random beginning for thousands of steps.
    """
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        move = get_ema_multi_avg_fn(decay)
        move(list(state.average.parameters()), list(state.model.parameters()), state.step)
