"""The training loop: a recipe and a dataset -> checkpoints and metrics.

It knows no widgets and no terminal: it yields nothing and prints nothing, but calls `report` with
one record per step and asks `should_stop` whether to end early, keeping what it has.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.config import CheckpointConfig, TrainConfig
from wavenet.errors import TrainingError
from wavenet.model.wavenet import WaveNet
from wavenet.training import snapshots
from wavenet.training.batches import Batch, batches, collate, plan_epoch
from wavenet.training.card import write_card
from wavenet.training.clips import nll, total_nll
from wavenet.training.data import Clip, Dataset

VALIDATION_SAMPLES = 40_000  # padded samples per validation batch

Report = Callable[[dict[str, Any]], None]


@dataclass
class TrainState:
    """Every part that changes while training."""

    model: WaveNet
    average: WaveNet  # its weights are the moving average of the model's
    optimizer: torch.optim.AdamW
    step: int = 0
    best_bits: float = math.inf


def train(
    config: CheckpointConfig,
    settings: TrainConfig,
    dataset: Dataset,
    folder: Path,
    resume: bool = False,
    report: Report = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
    start: Checkpoint | None = None,
) -> TrainState:
    """Train to the last step of the settings, or until `should_stop`.

    Writes into the folder: `checkpoint/`, the averaged weights that validated best; `step-N/`, all
    that a resumed run needs; `metrics.jsonl`.

    Args:
        config: of the model to be trained.
        settings: the optimisation.
        dataset: clips for training and validation.
        folder: of this run.
        resume: go on from the newest `step-N/`.
        report: called with a record per step, and one with `bits_per_sample` per validation.
        should_stop: asked after every step.
        start: a new run begins with these weights; random ones when left out.
    Raises:
        TrainingError: a loss that is not finite (the weights are left as they were), nothing to
            resume, or a run that is there already and is not to be resumed.
    """
    # not given to accelerate, which refuses another precision than that of a process's first run
    accelerator = Accelerator(mixed_precision="no")
    state = make_state(config, settings, start)
    state.model, state.optimizer = accelerator.prepare(state.model, state.optimizer)
    state.average.to(accelerator.device)
    metrics = snapshots.open_run(folder, state, settings, resume)
    feed = batches(
        dataset.train,
        config.codec.bits,
        config.model,
        settings.samples_per_step,
        settings.gain_db,
        settings.seed,
        state.step,
        config.codec.rounding,
    )
    began = time.perf_counter()
    seen = 0
    while state.step < settings.steps:
        batch = next(feed)
        record = train_step(state, batch, settings, accelerator)
        seen += int(record["samples"])
        record["samples_per_second"] = seen / (time.perf_counter() - began)
        last = state.step == settings.steps or should_stop()
        if state.step % settings.validate_every == 0 or last:
            record |= keep_best(state, config, dataset, folder)
        # before the step is saved: a resumed run drops lines it is yet to make, and lacks none
        metrics.write(record)
        if state.step % settings.save_every == 0 or last:
            snapshots.save(folder, state, settings)
        report(record)
        if last:
            break
    write_card(
        folder / "checkpoint", config, state.average, dataset, state.step, state.best_bits, start
    )
    return state


def keep_best(
    state: TrainState, config: CheckpointConfig, dataset: Dataset, folder: Path
) -> dict[str, float]:
    """Validate the averaged weights and save them when they are the best so far.

    Without held-out clips the newest are the best.
    """
    if not dataset.validation:
        checkpoint.save(folder / "checkpoint", config, state.average)
        return {}
    bits = validate(state.average, config, dataset.validation)
    if bits < state.best_bits:
        state.best_bits = bits
        checkpoint.save(folder / "checkpoint", config, state.average)
    return {"bits_per_sample": bits}


def make_state(
    config: CheckpointConfig, settings: TrainConfig, start: Checkpoint | None = None
) -> TrainState:
    """Build model, average and optimiser, with the weights of `start` or by the seed."""
    torch.manual_seed(settings.seed)
    model = checkpoint.build(config)
    if start is not None:
        model.load_state_dict(start.model.state_dict())
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
    return TrainState(model, average, optimizer)


def train_step(
    state: TrainState, batch: Batch, settings: TrainConfig, accelerator: Accelerator
) -> dict[str, Any]:
    """Make one step; the weights change only when loss and gradient are finite."""
    rate = learning_rate(settings, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    bf16 = in_bf16(settings.precision)
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=bf16):
        loss = masked_nll(state.model, batch, accelerator.device)
    state.optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(state.model.parameters(), settings.gradient_clip)
    value, gradient = loss.item(), float(norm)
    if not (math.isfinite(value) and math.isfinite(gradient)):
        raise TrainingError(
            f"the loss of step {state.step + 1} is not finite (loss {value}, gradient {gradient}); "
            "the weights were left as they were; start a new run with a lower learning rate"
        )
    state.optimizer.step()
    state.step += 1
    update_average(state, settings.ema_decay)
    return {
        "step": state.step,
        "loss_bits": value / math.log(2),
        "gradient": gradient,
        "learning_rate": rate,
        "samples": int(batch.mask.sum()),
    }


def update_average(state: TrainState, decay: float) -> None:
    """Move the averaged weights towards the model's, faster in the first steps.

    A fixed decay of 0.999 would show the random beginning for thousands of steps.
    """
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        move = get_ema_multi_avg_fn(decay)
        move(list(state.average.parameters()), list(state.model.parameters()), state.step)


def masked_nll(model: WaveNet, batch: Batch, device: torch.device) -> Tensor:
    """Average the negative log-likelihood, in nats, over the targets of a batch."""
    names = [c.name for c in (*model.config.labels, *model.config.globals)]
    labels = [{name: row[name] for name in names if name in row} for row in batch.labels]
    conditioning = model.conditioning(labels, batch.totals, batch.local, batch.first)
    codes, mask, start = (x.to(device) for x in (batch.codes, batch.mask, batch.start))
    if device.type == "cpu" and isinstance(model, WaveNet):
        return total_nll(model, codes, mask, start, conditioning) / mask.sum()
    params = model(codes, conditioning, start).transpose(1, 2).flatten(0, 1)
    return nll(model, params, codes.flatten(), mask.flatten()) / mask.sum()


def learning_rate(settings: TrainConfig, step: int) -> float:
    """Warm up linearly, then fall along half a cosine to the final rate."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    fall = settings.learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + fall * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


@torch.no_grad()
def validate(model: WaveNet, config: CheckpointConfig, clips: list[Clip]) -> float:
    """Measure bits per sample over all targets of the clips; infinity when there are none."""
    device = next(model.parameters()).device
    plan = plan_epoch([c.samples for c in clips], VALIDATION_SAMPLES, 0, 0) if clips else []
    nats, targets = 0.0, 0
    for index in plan:
        chosen = [clips[i] for i in index]
        gains, rounding = [1.0] * len(chosen), config.codec.rounding
        batch = collate(chosen, config.codec.bits, config.model, gains, rounding=rounding)
        count = int(batch.mask.sum())
        nats += masked_nll(model, batch, device).item() * count
        targets += count
    return nats / targets / math.log(2) if targets else math.inf


def in_bf16(precision: str) -> bool:
    """Say whether products run in bf16: it pays on a GPU and on a CPU with bf16 arithmetic."""
    if precision == "auto":
        cpu = torch.cpu.get_capabilities()
        return bool(torch.cuda.is_available() or cpu.get("avx512_bf16") or cpu.get("amx_bf16"))
    return precision == "bf16"
