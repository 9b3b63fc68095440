"""The state of a training: model, EMA of its weights, optimizers, step.

Input: a task and a device. Output: a `TrainState`. Called by `loop`, which updates the state;
`snapshots` saves it.
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

from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.statistics_model import uses_statistics
from wavenet.training.muon import Muon
from wavenet.training.recipe import TrainConfig
from wavenet.training.run_identity import RunIdentity
from wavenet.training.schedule import uses_bf16
from wavenet.training.task import ParameterGroups, TrainingTask

CPU = torch.device("cpu")


@dataclass
class TrainState:
    """All values that change during training.

    Attributes:
        model: being trained.
        ema_model: its weights are the exponential moving average of the model's; the model itself
            if it is estimated from statistics.
        optimizers: AdamW, and Muon if it is enabled; none for statistics.
        found_inf: 1 on a GPU after a loss or gradient that is not finite: the weights no longer
            change; otherwise 0.
        step: number of steps done.
        best_bits: bits per sample of the best validation; infinite before the first, and after the
            recordings have changed.
        identity: of the run, saved with every snapshot; None for a task without one.
        changes: a sentence for each time the run was resumed with changes.
    """

    model: AutoregressiveModel[Any]
    ema_model: AutoregressiveModel[Any]
    optimizers: Sequence[AdamW | Muon]
    found_inf: Tensor
    step: int = 0
    best_bits: float = math.inf
    identity: RunIdentity | None = None
    changes: tuple[str, ...] = ()

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of AdamW, and that of Muon in a fixed ratio to it."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)

    def initialize_optimizers(self) -> None:
        """Create the optimizers' tensors, which the first step creates otherwise."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if isinstance(optimizer, Muon):
                        tensors = {"momentum": torch.zeros_like(parameter)}
                    else:
                        tensors = {"step": torch.zeros((), device=parameter.device)}
                        for name in ("exp_avg", "exp_avg_sq"):
                            tensors[name] = torch.zeros_like(parameter)
                    optimizer.state[parameter] = tensors


def make_state(task: TrainingTask, device: torch.device = CPU) -> TrainState:
    """Create the state of a new training.

    Args:
        task: its settings have the seed of the initial weights.
        device: of all tensors.
    """
    torch.manual_seed(task.settings.seed)
    model = task.build_model().to(device)
    found_inf = torch.zeros((), device=device)
    if uses_statistics(model):
        model.requires_grad_(False).eval()
        return TrainState(model, model, [], found_inf, identity=task.identity())
    optimizers = _make_optimizers(model, task.parameter_groups(model), task.settings, device)
    ema_model = copy.deepcopy(model).requires_grad_(False).eval()
    return TrainState(model, ema_model, optimizers, found_inf, identity=task.identity())


def _make_optimizers(
    model: AutoregressiveModel[Any],
    groups: ParameterGroups,
    settings: TrainConfig,
    device: torch.device,
) -> list[AdamW | Muon]:
    """Create AdamW and, if it is enabled, Muon for the hidden matrices."""
    rate, muon_rate = settings.learning_rate, settings.muon_learning_rate
    decay = settings.weight_decay
    adamw_parameters = list(model.parameters()) if muon_rate is None else groups.others
    adamw_groups = [
        {"params": [p for p in adamw_parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in adamw_parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = AdamW(adamw_groups, lr=rate, betas=settings.betas, fused=True)
    if muon_rate is None or not groups.hidden_matrices:
        return [adamw]
    dtype = torch.bfloat16 if uses_bf16(settings.precision, device) else torch.float32
    muon = Muon(groups.hidden_matrices, muon_rate, decay, dtype)
    muon.param_groups[0]["scale"] = muon_rate / rate
    return [adamw, muon]


def update_ema(state: TrainState, decay: float) -> None:
    """Move the EMA weights towards the model's, with a lower decay in the first steps.

    With a fixed decay of 0.999, the random initial weights would be visible for thousands of steps.
    """
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        update = get_ema_multi_avg_fn(decay)
        update(list(state.ema_model.parameters()), list(state.model.parameters()), state.step)
