"""Every part of a training that changes, and how it begins.

A config and settings enter; a `TrainState` leaves, which `loop` changes and `snapshots` keeps.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.config import CheckpointConfig, TrainConfig
from wavenet.model.wavenet import WaveNet

CPU = torch.device("cpu")


@dataclass
class TrainState:
    """Every part that changes while training."""

    model: WaveNet
    average: WaveNet  # its weights are the moving average of the model's
    optimizer: torch.optim.AdamW
    broken: Tensor  # 1 on a GPU once a loss was not finite: nothing changes any more
    step: int = 0
    best_bits: float = math.inf


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
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )
    average = copy.deepcopy(model).requires_grad_(False).eval()
    return TrainState(model, average, optimizer, torch.zeros((), device=device))


def update_average(state: TrainState, decay: float) -> None:
    """Move the averaged weights towards the model's, faster in the first steps.

    A fixed decay of 0.999 would show the random beginning for thousands of steps.
    """
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        move = get_ema_multi_avg_fn(decay)
        move(list(state.average.parameters()), list(state.model.parameters()), state.step)
