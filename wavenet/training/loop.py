"""The training loop.

Input: a task, which has model and data (see `task`). Output: checkpoints, snapshots and metrics.
The loop prints nothing: it calls `on_record` with one record per step, and ends early if
`should_stop` returns true after a step. Several processes do the same steps, each with its part of
a batch (`distributed`); the first process writes all files. Called by the command line.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from wavenet.devices import choose_device, device_errors
from wavenet.errors import TrainingError
from wavenet.folder_lock import lock_folder
from wavenet.model.statistics_model import StatisticsModel, uses_statistics
from wavenet.training import snapshots
from wavenet.training.batches import MicroBatches
from wavenet.training.distributed import SINGLE_RANK, Ranks
from wavenet.training.recipe import TrainConfig
from wavenet.training.schedule import learning_rate, metrics_lag, uses_bf16
from wavenet.training.state import TrainState, make_state, update_ema
from wavenet.training.step_metrics import MetricsQueue, StepResult, check_finite
from wavenet.training.task import TrainingTask
from wavenet.training.thread_choice import RecentSpeed, ThreadChoice

CHECKPOINT = "checkpoint"  # folder name in the folder of a run

RecordCallback = Callable[[dict[str, Any]], None]


def train(
    task: TrainingTask,
    folder: Path,
    resume: bool = False,
    on_record: RecordCallback = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
    device: torch.device | None = None,
    ranks: Ranks = SINGLE_RANK,
    accept_changes: bool = False,
    report: Callable[[str], None] = lambda text: None,
    thread_choice: ThreadChoice | None = None,
) -> TrainState:
    """Train to the last step of the settings, or until `should_stop` returns true.

    Writes into the folder: `checkpoint/`, the EMA weights of the best validation; `step-N/`, all
    that a run needs to resume; `metrics.jsonl`, one record per step.

    Args:
        task: model, data and settings.
        folder: of this run.
        resume: continue from the newest `step-N/`.
        on_record: called with a record per step, which has `bits_per_sample` after a validation; on
            a GPU with a lag of up to one step. It has `note`, a sentence, if the number of threads
            was chosen or has changed.
        should_stop: called after every step, in every process; true in one process stops all.
        device: of the model; by default a GPU if available.
        ranks: the processes that train together.
        accept_changes, report: as in `snapshots.open_run`.
        thread_choice: of the CPU threads of each step; None: as many as torch uses now.
    Raises:
        TrainingError: a loss that is not finite (the weights are not changed), nothing to resume, a
            run that exists and is not to be resumed, a snapshot of another run, another process
            of this training has ended, or several processes for a model of statistics.
        FolderInUse: another process trains into the folder; FolderError: it cannot be written.
        DeviceError: the device is lost or its memory is too small; the folder stays as it is.
    """
    device = device or choose_device()
    advice = "resume with --resume; if the GPU fails again, use --resume --device cpu"
    memory = "lower samples_per_step in the recipe, or use --device cpu"
    with lock_folder(folder) if ranks.is_main else nullcontext(), device_errors(advice, memory):
        state = make_state(task, device)
        if ranks.world_size > 1 and uses_statistics(state.model):
            raise TrainingError(
                f"a model of the architecture {state.model.config.architecture} is trained by one "
                f"process, found {ranks.world_size}; start the command without torchrun"
            )
        metrics = _open_run(task, folder, state, resume, ranks, accept_changes, report)
        queue = MetricsQueue(metrics_lag(device))
        batches = task.batches(state.model, state.step, device, ranks)
        with closing(batches), _restored_thread_count():
            steps = _run_steps(task, state, batches, queue, should_stop, ranks, thread_choice)
            for records, actions in steps:
                if actions.validate:
                    records[-1] |= validate_and_keep_best(task, state, folder, ranks)
                if metrics is None:
                    continue
                # Before the snapshot: a resumed run deletes the records of later steps, so that
                # each step has exactly one record.
                for record in records:
                    metrics.write(record)
                if actions.save:
                    snapshots.save(folder, state, task.settings)
                for record in records:
                    on_record(record)
        if ranks.is_main:
            card = (state.step, state.best_bits, state.changes)
            task.write_card(folder / CHECKPOINT, state.ema_model, *card)
    return state


def _open_run(
    task: TrainingTask,
    folder: Path,
    state: TrainState,
    resume: bool,
    ranks: Ranks,
    accept_changes: bool,
    report: Callable[[str], None],
) -> snapshots.MetricsFile | None:
    """Start or resume the run; all processes get the state of the first, which writes metrics."""
    if ranks.world_size > 1:
        ranks.check_identical(task.fingerprint())
    metrics = None
    if ranks.is_main:
        resume = resume or is_restarted(folder, ranks)
        metrics = snapshots.open_run(folder, state, task.settings, resume, accept_changes, report)
        ranks.mark_run_started()
    snapshots.broadcast(state, ranks)
    return metrics


def is_restarted(folder: Path, ranks: Ranks) -> bool:
    """Return whether torchrun restarted this training after a snapshot was saved."""
    return ranks.is_run_started() and snapshots.has_snapshot(folder)


class StepActions(NamedTuple):
    """The actions after a step."""

    validate: bool
    save: bool


def _run_steps(
    task: TrainingTask,
    state: TrainState,
    batches: Iterator[MicroBatches[Any]],
    queue: MetricsQueue,
    should_stop: Callable[[], bool],
    ranks: Ranks,
    thread_choice: ThreadChoice | None,
) -> Iterator[tuple[list[dict[str, Any]], StepActions]]:
    """Do the steps up to the last.

    After each step, yield the records that are complete (on a GPU those of an earlier step, or
    none), and the actions of the step.
    """
    settings = task.settings
    recent_speed, is_last = RecentSpeed(time.perf_counter()), state.step >= settings.steps
    while not is_last:
        queue.append(_timed_step(task, state, next(batches), ranks, thread_choice))
        is_last = state.step == settings.steps or ranks.any(should_stop())
        actions = _actions_after(state.step, settings, is_last)
        # weights are kept only after finite steps, so all pending numbers are checked first
        records = queue.pop(flush=actions.validate or actions.save)
        for record in records:
            speed = recent_speed.record(time.perf_counter(), record["samples"])
            record["samples_per_second"] = speed
        yield records, actions


def _timed_step(
    task: TrainingTask,
    state: TrainState,
    micro_batches: MicroBatches[Any],
    ranks: Ranks,
    thread_choice: ThreadChoice | None,
) -> StepResult:
    """Do one step with the chosen number of threads; add the number and the note to its record."""
    if thread_choice is None:
        return train_step(task, state, micro_batches, ranks)
    threads, start = thread_choice.threads, time.perf_counter()
    torch.set_num_threads(threads)
    result = train_step(task, state, micro_batches, ranks)
    result.record["threads"] = threads
    note = thread_choice.record(micro_batches.step_targets, time.perf_counter() - start)
    if note is not None:
        result.record["note"] = note
    return result


@contextmanager
def _restored_thread_count() -> Iterator[None]:
    """Restore the number of torch's threads at the end."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _actions_after(step: int, settings: TrainConfig, is_last: bool) -> StepActions:
    return StepActions(
        validate=step % settings.validate_every == 0 or is_last,
        save=step % settings.save_every == 0 or is_last,
    )


def validate_and_keep_best(
    task: TrainingTask, state: TrainState, folder: Path, ranks: Ranks = SINGLE_RANK
) -> dict[str, float]:
    """Validate the EMA weights and save them as the checkpoint if they are the best so far.

    If no clips are held out, the newest weights are saved.

    Returns:
        `bits_per_sample`, for the record of the step; empty if no clips are held out.
    """
    bits = task.validate(state.ema_model, ranks)
    if bits is None or bits < state.best_bits:
        if bits is not None:
            state.best_bits = bits
        if ranks.is_main:
            task.save_checkpoint(folder / CHECKPOINT, state.ema_model)
    return {} if bits is None else {"bits_per_sample": bits}


def train_step(
    task: TrainingTask,
    state: TrainState,
    micro_batches: MicroBatches[Any],
    ranks: Ranks = SINGLE_RANK,
) -> StepResult:
    """Do one step; the weights change only if loss and gradient are finite.

    On a CPU that is checked here. On a GPU a check here would wait for all its work: instead
    `found_inf` keeps the weights unchanged in this and all later steps, and `MetricsQueue` raises
    the error. The step of a model of statistics is `observe_step`.

    Args:
        micro_batches: of this process.
    Raises:
        TrainingError: on a CPU, loss or gradient is not finite.
    """
    if uses_statistics(state.model):
        return observe_step(task, state, state.model, micro_batches)
    settings, device = task.settings, state.found_inf.device
    rate = learning_rate(settings, state.step)
    state.set_learning_rate(rate)
    bf16 = uses_bf16(settings.precision, device)
    state.model.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=device)
    for batch in micro_batches.batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            # all targets of the step have the same weight, in all micro-batches
            batch_loss = task.loss(state.model, batch) * (
                batch.targets / micro_batches.step_targets
            )
        batch_loss.backward()
        loss += batch_loss.detach()
    if ranks.world_size > 1:
        for parameter in state.model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.all_reduce([loss, *(p.grad for p in state.model.parameters() if p.grad is not None)])
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), settings.gradient_clip)
    values = torch.stack([loss, norm])
    if metrics_lag(device):
        state.found_inf = torch.maximum(state.found_inf, 1 - values.isfinite().all().float())
        for optimizer in state.optimizers:
            # as torch's gradient scaler does: a step changes nothing while this is 1
            optimizer.found_inf = state.found_inf  # type: ignore[union-attr]
    else:
        check_finite(values, state.step + 1)
    for optimizer in state.optimizers:
        optimizer.step()
    state.step += 1
    update_ema(state, settings.ema_decay)
    record = {"step": state.step, "learning_rate": rate, "samples": micro_batches.step_targets}
    return StepResult(record, values)


@torch.no_grad()
def observe_step(
    task: TrainingTask,
    state: TrainState,
    model: StatisticsModel[Any],
    micro_batches: MicroBatches[Any],
) -> StepResult:
    """Do one step of a model of statistics: compute the loss, then add the recordings.

    The loss is that of recordings which the model has not seen, in the first pass over the data
    (the prequential likelihood). Learning rate and gradient norm of the record are 0.

    Raises:
        TrainingError: on a CPU, the loss is not finite.
    """
    values = torch.zeros(2, device=state.found_inf.device)
    for batch in micro_batches.batches:
        values[0] += task.loss(model, batch) * (batch.targets / micro_batches.step_targets)
    if not metrics_lag(values.device):
        check_finite(values, state.step + 1)
    for batch in micro_batches.batches:
        task.observe(model, batch)
    state.step += 1
    record = {"step": state.step, "learning_rate": 0.0, "samples": micro_batches.step_targets}
    return StepResult(record, values)
