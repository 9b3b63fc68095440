"""The training loop: a recipe and a dataset -> checkpoints and metrics.

It knows no widgets and no terminal: it yields nothing and prints nothing, but calls `report` with
one record per step and asks `should_stop` whether to end early, keeping what it has. Several
processes take the same steps, each with its clips of a batch (`ranks`); the first of them writes.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.devices import choose_device, device_errors
from wavenet.locks import hold
from wavenet.model.base import AutoregressiveModel
from wavenet.model.wavenet import WaveNet
from wavenet.training import snapshots
from wavenet.training.batches import Batch, Portion, batches, collate, plan_epoch
from wavenet.training.card import write_card
from wavenet.training.clips import nll, total_nll
from wavenet.training.data import Clip, Dataset
from wavenet.training.feed import Fed, feed, gather
from wavenet.training.ranks import ALONE, Ranks
from wavenet.training.recipe import TrainConfig
from wavenet.training.results import Result, Results, check_finite
from wavenet.training.schedule import in_bf16, lateness, learning_rate
from wavenet.training.state import TrainState, make_state, update_average

VALIDATION_SAMPLES = 40_000  # padded samples per validation batch

Report = Callable[[dict[str, Any]], None]


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
    ranks: Ranks = ALONE,
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
        should_stop: asked after every step, in every process; one that says yes is enough.
        start: a new run begins with these weights; random ones when left out.
        device: of the model; a GPU where there is one when left out.
        ranks: the processes that train together.
    Raises:
        TrainingError: a loss that is not finite (the weights are left as they were), nothing to
            resume, a run that is there already and is not to be resumed, or another process of
            this training that is gone.
        FolderInUse: another process trains into the folder; FolderError: it cannot be written.
        DeviceError: the device is lost or too small; what is in the folder stays.
    """
    device = device or choose_device()
    advice = "go on from the last step that was saved with --resume, or there with --device cpu"
    memory = "lower samples_per_step in the recipe, or use --device cpu"
    parts = ranks.count * settings.accumulate
    with hold(folder) if ranks.is_first else nullcontext(), device_errors(advice, memory):
        state = make_state(config, settings, start, device)
        metrics = _open(folder, config, settings, dataset, state, resume, ranks)
        found = batches(
            dataset.train,
            config.codec,
            config.model,
            settings.samples_per_step,
            settings.gain_db,
            settings.seed,
            state.step,
            parts=parts,
            mine=range(ranks.rank, parts, ranks.count),
            input_noise=settings.input_noise,
        )
        results = Results(lateness(device))
        with closing(feed(found, state.model, device)) as fed:
            for records, due in _steps(state, fed, settings, results, should_stop, ranks):
                if due.check:
                    records[-1] |= keep_best(state, config, dataset, folder, ranks)
                if metrics is None:
                    continue
                # before the step is saved: a resumed run drops lines it is yet to make, and lacks
                # none
                for record in records:
                    metrics.write(record)
                if due.save:
                    snapshots.save(folder, state, settings)
                for record in records:
                    report(record)
        if ranks.is_first:
            kept = folder / "checkpoint"
            write_card(kept, config, state.average, dataset, state.step, state.best_bits, start)
    return state


def _open(
    folder: Path,
    config: CheckpointConfig,
    settings: TrainConfig,
    dataset: Dataset,
    state: TrainState,
    resume: bool,
    ranks: Ranks,
) -> snapshots.Metrics | None:
    """Begin the run or go on with it, all processes with the state of the first, which writes."""
    if ranks.count > 1:
        clips = [(c.start, c.samples) for part in (dataset.train, dataset.validation) for c in part]
        ranks.check_same(f"{config!r} {settings!r} {clips}")
    metrics = None
    if ranks.is_first:
        again = ranks.has_begun() and snapshots.has_step(folder)
        metrics = snapshots.open_run(folder, state, settings, resume or again)
        ranks.note_begun()
    snapshots.spread(state, ranks)
    return metrics


class Due(NamedTuple):
    """What is to be done after a step: validate, save."""

    check: bool
    save: bool


def _steps(
    state: TrainState,
    fed: Iterator[Portion[Fed]],
    settings: TrainConfig,
    results: Results,
    should_stop: Callable[[], bool],
    ranks: Ranks,
) -> Iterator[tuple[list[dict[str, Any]], Due]]:
    """Make steps to the last one; yield the records there are after each, and what is due."""
    accelerator = make_accelerator(next(state.model.parameters()).device)
    began, seen, last = time.perf_counter(), 0, state.step >= settings.steps
    while not last:
        results.add(train_step(state, next(fed), settings, accelerator, ranks))
        last = state.step == settings.steps or ranks.any(should_stop())
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
    """Make what steps the model in this process.

    The device and the precision stay ours: accelerate keeps one of each for a whole process. So do
    the sums over processes, for it would have the loss come from a call of the model.
    """
    # it would take a GPU that is not asked for, unless one is in use already
    cpu = device.type != "cuda" and not torch.cuda.is_initialized()
    return Accelerator(mixed_precision="no", cpu=cpu, device_placement=False)


def keep_best(
    state: TrainState,
    config: CheckpointConfig,
    dataset: Dataset,
    folder: Path,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Validate the averaged weights and save them when they are the best so far.

    Without held-out clips the newest are the best.
    """
    bits = validate(state.average, config, dataset.validation, ranks)
    if bits < state.best_bits or not dataset.validation:
        state.best_bits = min(bits, state.best_bits)
        if ranks.is_first:
            checkpoint.save(folder / "checkpoint", config, state.average)
    return {"bits_per_sample": bits} if dataset.validation else {}


def train_step(
    state: TrainState,
    fed: Portion[Fed],
    settings: TrainConfig,
    accelerator: Accelerator,
    ranks: Ranks = ALONE,
) -> Result:
    """Make one step; the weights change only when loss and gradient are finite.

    On a CPU that is checked here. A GPU is not waited for: it leaves the weights as they are by
    itself, in this step and all later ones, and whoever reads the numbers finds out.

    Raises:
        TrainingError: on a CPU, one of the two is not finite.
    """
    rate = learning_rate(settings, state.step)
    state.set_rate(rate)
    device = state.broken.device
    bf16 = in_bf16(settings.precision, device)
    state.model.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=device)
    for part in fed.parts:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            # every target of the step counts the same, wherever it is
            share = fed_nll(state.model, part) * (part.targets / fed.targets)
        accelerator.backward(share)
        loss += share.detach()
    if ranks.count > 1:
        for parameter in state.model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.add_up([loss, *(p.grad for p in state.model.parameters() if p.grad is not None)])
    norm = accelerator.clip_grad_norm_(state.model.parameters(), settings.gradient_clip)
    values = torch.stack([loss, norm])
    if lateness(device):
        state.broken = torch.maximum(state.broken, 1 - values.isfinite().all().float())
        for optimizer in state.optimizers:
            # what a gradient scaler does, too: the step changes nothing where this is 1
            optimizer.found_inf = state.broken  # type: ignore[union-attr]
    else:
        check_finite(values, state.step + 1)
    for optimizer in state.optimizers:
        optimizer.step()
    state.step += 1
    update_average(state, settings.ema_decay)
    return Result({"step": state.step, "learning_rate": rate, "samples": fed.targets}, values)


def masked_nll(model: AutoregressiveModel[Any], batch: Batch, device: torch.device) -> Tensor:
    """Average the negative log-likelihood, in nats, over the targets of a batch."""
    return fed_nll(model, gather(batch, model).to(device))


def fed_nll(model: AutoregressiveModel[Any], fed: Fed) -> Tensor:
    """Average the negative log-likelihood, in nats, over the targets of a batch on its device."""
    heard = fed.codes if fed.heard is None else fed.heard
    if isinstance(model, WaveNet) and not lateness(fed.codes.device):
        total = total_nll(model, fed.codes, fed.mask, fed.start, fed.conditioning, heard)
    else:
        params = model(heard, fed.conditioning, fed.start).transpose(1, 2).flatten(0, 1)
        total = nll(model, params, fed.codes.flatten(), fed.mask.flatten(), whole=True)
    return total / fed.targets


@torch.no_grad()
def validate(
    model: AutoregressiveModel[Any],
    config: CheckpointConfig,
    clips: Sequence[Clip],
    ranks: Ranks = ALONE,
) -> float:
    """Measure bits per sample over all targets of the clips; infinity when there are none."""
    device = next(model.parameters()).device
    plan = plan_epoch([c.samples for c in clips], VALIDATION_SAMPLES, 0, 0) if clips else []
    nats, targets = 0.0, 0.0
    for index in plan[ranks.rank :: ranks.count]:
        chosen = [clips[i] for i in index]
        batch = collate(chosen, config.codec, config.model, [1.0] * len(chosen))
        count = int(batch.mask.sum())
        nats += masked_nll(model, batch, device).item() * count
        targets += count
    nats, targets = ranks.total(nats, targets)
    return nats / targets / math.log(2) if targets else math.inf
