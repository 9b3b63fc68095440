"""The training loop: a recipe and a dataset -> checkpoints and metrics.

It knows no widgets and no terminal: it yields nothing and prints nothing, but calls `report` with
one record per step and asks `should_stop` whether to end early, keeping what it has.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.config import CheckpointConfig, TrainConfig
from wavenet.devices import choose_device, device_faults
from wavenet.locks import hold
from wavenet.model.wavenet import WaveNet
from wavenet.training import snapshots
from wavenet.training.batches import Batch, batches, collate, plan_epoch
from wavenet.training.card import write_card
from wavenet.training.clips import nll, total_nll
from wavenet.training.data import Clip, Dataset
from wavenet.training.feed import Fed, feed, gather
from wavenet.training.results import Result, Results, check_finite
from wavenet.training.schedule import in_bf16, lateness, learning_rate

CPU = torch.device("cpu")
VALIDATION_SAMPLES = 40_000  # padded samples per validation batch

Report = Callable[[dict[str, Any]], None]


@dataclass
class TrainState:
    """Every part that changes while training."""

    model: WaveNet
    average: WaveNet  # its weights are the moving average of the model's
    optimizer: torch.optim.AdamW
    broken: Tensor  # 1 on a GPU once a loss was not finite: nothing changes any more
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
    device: torch.device | None = None,
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
        report: called with a record per step, and one with `bits_per_sample` per validation; on a
            GPU up to a step late.
        should_stop: asked after every step.
        start: a new run begins with these weights; random ones when left out.
        device: of the model; a GPU where there is one when left out.
    Raises:
        TrainingError: a loss that is not finite (the weights are left as they were), nothing to
            resume, or a run that is there already and is not to be resumed.
        FolderInUse: another process trains into the folder; FolderError: it cannot be written.
        DeviceError: the device is lost or too small; what is in the folder stays.
    """
    device = device or choose_device()
    advice = "go on from the last step that was saved with --resume, or there with --device cpu"
    memory = "lower samples_per_step in the recipe, or use --device cpu"
    with hold(folder), device_faults(advice, memory):
        state = make_state(config, settings, start, device)
        metrics = snapshots.open_run(folder, state, settings, resume)
        found = batches(
            dataset.train,
            config.codec.bits,
            config.model,
            settings.samples_per_step,
            settings.gain_db,
            settings.seed,
            state.step,
            config.codec.rounding,
        )
        results = Results(lateness(device))
        with closing(feed(found, state.model, device)) as fed:
            for records, due in _steps(state, fed, settings, results, should_stop):
                if due.check:
                    records[-1] |= keep_best(state, config, dataset, folder)
                # before the step is saved: a resumed run drops lines it is yet to make, and lacks
                # none
                for record in records:
                    metrics.write(record)
                if due.save:
                    snapshots.save(folder, state, settings)
                for record in records:
                    report(record)
        kept = folder / "checkpoint"
        write_card(kept, config, state.average, dataset, state.step, state.best_bits, start)
    return state


class Due(NamedTuple):
    """What is to be done after a step: validate, save."""

    check: bool
    save: bool


def _steps(
    state: TrainState,
    fed: Iterator[Fed],
    settings: TrainConfig,
    results: Results,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[list[dict[str, Any]], Due]]:
    """Make steps to the last one; yield the records there are after each, and what is due."""
    accelerator = make_accelerator(next(state.model.parameters()).device)
    began, seen, last = time.perf_counter(), 0, state.step >= settings.steps
    while not last:
        results.add(train_step(state, next(fed), settings, accelerator))
        last = state.step == settings.steps or should_stop()
        check, save = (
            state.step % every == 0 or last
            for every in (settings.validate_every, settings.save_every)
        )
        # what is kept must have come from finite steps only, so it waits for all of them
        records = results.take(check or save)
        for record in records:
            seen += record["samples"]
            record["samples_per_second"] = seen / (time.perf_counter() - began)
        yield records, Due(check, save)


def make_accelerator(device: torch.device) -> Accelerator:
    """Make what steps the model, here in one process.

    The device and the precision stay ours: accelerate keeps one of each for a whole process.
    """
    # it would take a GPU that is not asked for, unless one is in use already
    cpu = device.type != "cuda" and not torch.cuda.is_initialized()
    return Accelerator(mixed_precision="no", cpu=cpu, device_placement=False)


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


def train_step(
    state: TrainState, fed: Fed, settings: TrainConfig, accelerator: Accelerator
) -> Result:
    """Make one step; the weights change only when loss and gradient are finite.

    On a CPU that is checked here. A GPU is not waited for: it leaves the weights as they are by
    itself, in this step and all later ones, and whoever reads the numbers finds out.

    Raises:
        TrainingError: on a CPU, one of the two is not finite.
    """
    rate = learning_rate(settings, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    device = fed.codes.device
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bf16(settings.precision, device)):
        loss = fed_nll(state.model, fed)
    state.optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(state.model.parameters(), settings.gradient_clip)
    values = torch.stack([loss.detach(), norm])
    if lateness(device):
        state.broken = torch.maximum(state.broken, 1 - values.isfinite().all().float())
        # what a gradient scaler does, too: the fused step changes nothing where this is 1
        state.optimizer.found_inf = state.broken  # type: ignore[attr-defined]
    else:
        check_finite(values, state.step + 1)
    state.optimizer.step()
    state.step += 1
    update_average(state, settings.ema_decay)
    return Result({"step": state.step, "learning_rate": rate, "samples": fed.targets}, values)


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
    return fed_nll(model, gather(batch, model).to(device))


def fed_nll(model: WaveNet, fed: Fed) -> Tensor:
    """Average the negative log-likelihood, in nats, over the targets of a batch on its device."""
    if not lateness(fed.codes.device):
        total = total_nll(model, fed.codes, fed.mask, fed.start, fed.conditioning)
    else:
        params = model(fed.codes, fed.conditioning, fed.start).transpose(1, 2).flatten(0, 1)
        total = nll(model, params, fed.codes.flatten(), fed.mask.flatten(), whole=True)
    return total / fed.targets


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
