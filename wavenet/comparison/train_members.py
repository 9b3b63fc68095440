"""Train the members of a comparison, each with its budget, after a search of the learning rate.

Input: an entry and the recordings. Output: a run, `search.json` and `training.json` in the folder
of the entry. All members have the same recordings, batches in the same order, optimizer (AdamW),
schedule, and number of tried learning rates; they differ in the model and in the number of steps
that fits into the time. Called by the command line.

The number of steps follows from the speed at the start, so that the learning rate can fall to the
end of its schedule, and a run that is resumed is equal to one that was not interrupted. Time is
processor time of one thread, with the validations.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from audio_utils.atomic_files import atomic_file
from wavenet.comparison.members import check_smallest_size, choose_size, count_parameters
from wavenet.comparison.plan import Entry
from wavenet.comparison.source import Source
from wavenet.config import make_config
from wavenet.errors import DataError, TrainingError
from wavenet.model.model_config import ModelConfig
from wavenet.training import loop
from wavenet.training.batches import plan_epoch
from wavenet.training.dataset import Dataset, cut_recording
from wavenet.training.distributed import SINGLE_RANK
from wavenet.training.recipe import RecipeConfig, TrainConfig
from wavenet.training.resolve_config import resolve_config
from wavenet.training.snapshots import has_snapshot
from wavenet.training.state import CPU, make_state
from wavenet.training.task import CodeLikelihoodTask

FIRST_RATES = (1e-3, 3e-3, 1e-2)
RATE_STEP = math.sqrt(10)  # to the next rate, if the best one is at an end
MAX_RATES = 5
MAX_RATE = 0.1
SEARCH_SHARE = 0.08  # of the seconds of the budget, per learning rate
SPEED_SECONDS = 2.0  # of the measurement of the speed
MIN_STEPS = 10
VALIDATIONS = 6  # of a training, evenly spaced
STATISTICS_SAMPLES = 1 << 18  # per step of a model of counts
GAIN_DB = 1.5
TRAINING_KEYS = ("parameters", "steps", "seconds", "seconds_by_step")  # of `training.json`

Report = Callable[[str], None]
ShouldStop = Callable[[], bool]


class TrainingStopped(Exception):
    """The user stopped the training; it can be resumed."""


def check_entry(entry: Entry, source: Source) -> None:
    """Check that a member can have about the size of its budget.

    Raises:
        ConfigError: its smallest model is too large.
    """
    recipe, parameters = source.recipe, entry.budget.parameters
    rate = recipe.audio.sample_rate
    check_smallest_size(entry.member, parameters, source.labels, recipe.codec, rate)


def train_entry(
    entry: Entry,
    source: Source,
    report: Report = lambda text: None,
    should_stop: ShouldStop = lambda: False,
) -> None:
    """Train a member with its budget; finished parts are kept, so a second call continues.

    Args:
        entry: the member and its budget.
        source: the recordings.
        report: receives a line for each finished part.
        should_stop: called after every step.
    Raises:
        TrainingStopped: `should_stop` returned true.
        TrainingError: the loss is not finite at the chosen learning rate.
    """
    if entry.training_file.exists():
        return
    entry.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    member, recipe = entry.member, source.recipe
    size = (member, entry.budget.parameters, source.labels, recipe.codec)
    model = choose_size(*size, recipe.audio.sample_rate)
    search: dict[str, Any] = {"steps": _epoch_steps(source), "learning_rate": None}
    if member.has_gradients:
        search = _search(entry, source, model, report, should_stop)
    plan = (search["steps"], search["learning_rate"], VALIDATIONS)
    task = _make_task(entry, source, model, *plan)
    clock = _ProcessorClock(entry.folder / "seconds.json")

    def report_validation(record: dict[str, Any]) -> None:
        if "bits_per_sample" in record:
            clock.save(record["step"])
            report(
                f"{entry.title}: step {record['step']:,} of {search['steps']:,}, "
                f"{record['bits_per_sample']:.3f} bits per sample on the validation recordings"
            )

    resume = has_snapshot(entry.run)
    state = loop.train(task, entry.run, resume, report_validation, should_stop, CPU)
    if state.step < search["steps"]:
        raise TrainingStopped
    records = read_records(entry.run)
    seconds = clock.seconds[state.step]
    parameters = count_parameters(model, recipe.codec, recipe.audio.sample_rate)
    result = {
        "parameters": parameters,
        "steps": state.step,
        "samples": sum(record["samples"] for record in records),
        "seconds": seconds,
        "seconds_by_step": clock.seconds,
        "learning_rate": search["learning_rate"],
        "validation_bits": state.best_bits,
    }
    write_json(entry.training_file, result)
    report(f"{entry.title}: finished, {parameters:,} parameters, {seconds:.0f} s")


class _ProcessorClock:
    """Processor time of a training, in a file so that an interrupted one continues to count.

    Other programs on the machine change it little, unlike the time of a clock. The time between
    the last saved step and an interruption is not counted, because a resumed run repeats it.
    """

    def __init__(self, path: Path):
        self._path, self._start = path, time.process_time()
        saved = read_json(path, (), _train_again(path.parent)) if path.exists() else {}
        self.seconds: dict[int, float] = {int(step): seconds for step, seconds in saved.items()}
        self._before = max(self.seconds.values(), default=0.0)

    def save(self, step: int) -> None:
        """Save the seconds up to this step."""
        elapsed = time.process_time() - self._start
        self.seconds[step] = round(self._before + elapsed, 2)
        write_json(self._path, {str(n): seconds for n, seconds in self.seconds.items()})


def _search(
    entry: Entry, source: Source, model: ModelConfig, report: Report, should_stop: ShouldStop
) -> dict[str, Any]:
    """Try learning rates for a short time each; return the best, and the steps of the training.

    The rates are `FIRST_RATES`, and the next one while the best is the first or the last.
    """
    if entry.search_file.exists():
        keys = ("steps", "learning_rate")
        return read_json(entry.search_file, keys, _train_again(entry.folder))
    speed = measure_speed(entry, source, model)
    seconds = entry.budget.seconds
    short, full = (max(MIN_STEPS, round(s * speed)) for s in (SEARCH_SHARE * seconds, seconds))
    bits: dict[float, float] = {}
    waiting = list(FIRST_RATES)
    while waiting:
        rate = waiting.pop(0)
        bits[rate] = _try_rate(entry, source, model, short, rate, should_stop)
        report(
            f"{entry.title}: learning rate {rate:.2g}: {bits[rate]:.3f} bits per sample after "
            f"{short} steps"
        )
        if not waiting and len(bits) < MAX_RATES:
            waiting = next_rates(bits)
    result = {
        "learning_rate": min(bits, key=lambda rate: bits[rate]),
        "steps": full,
        "steps_per_second": speed,
        "tried_steps": short,
        "tried": [
            {"learning_rate": rate, "bits": bits[rate] if math.isfinite(bits[rate]) else None}
            for rate in sorted(bits)
        ],
    }
    write_json(entry.search_file, result)
    return result


def next_rates(bits: dict[float, float]) -> list[float]:
    """Return the rate beyond the best if that is the smallest or the largest one, or nothing."""
    best = min(bits, key=lambda rate: bits[rate])
    if best == min(bits):
        return [best / RATE_STEP]
    return [best * RATE_STEP] if best == max(bits) and best * RATE_STEP <= MAX_RATE else []


def _try_rate(
    entry: Entry,
    source: Source,
    model: ModelConfig,
    steps: int,
    rate: float,
    should_stop: ShouldStop,
) -> float:
    """Return the bits per sample after a short training; infinite if the loss is not finite."""
    folder = entry.folder / "search"
    shutil.rmtree(folder, ignore_errors=True)
    task = _make_task(entry, source, model, steps, rate)
    try:
        state = loop.train(task, folder, should_stop=should_stop, device=CPU)
    except TrainingError:
        return math.inf
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if state.step < steps:
        raise TrainingStopped
    return state.best_bits


def measure_speed(entry: Entry, source: Source, model: ModelConfig) -> float:
    """Return steps per second of processor time, after two steps that are not measured."""
    task = _make_task(entry, source, model, MIN_STEPS, FIRST_RATES[0])
    state = make_state(task)
    batches = task.batches(state.model, 0, CPU, SINGLE_RANK)
    for batch in islice(batches, 2):
        loop.train_step(task, state, batch)
    start, steps = time.process_time(), 0
    while steps < 2 or time.process_time() - start < SPEED_SECONDS:
        loop.train_step(task, state, next(batches))
        steps += 1
    batches.close()
    return steps / (time.process_time() - start)


def _make_task(
    entry: Entry,
    source: Source,
    model: ModelConfig,
    steps: int,
    rate: float | None,
    validations: int = 1,
) -> CodeLikelihoodTask:
    """Return the task of a training of `steps` steps; without a rate for a model of counts."""
    every = math.ceil(steps / validations)
    settings: dict[str, Any] = {
        "steps": steps,
        "samples_per_step": entry.member.samples_per_step or STATISTICS_SAMPLES,
        "warmup_steps": min(50, steps // 10),
        "stable_fraction": 0.3,
        "ema_decay": 0.99,
        "validate_every": every,
        "save_every": every,
        "precision": "fp32",
    }
    if rate is not None:
        settings |= {"learning_rate": rate, "final_learning_rate": rate / 100, "gain_db": GAIN_DB}
    recipe = make_config(
        RecipeConfig,
        entry.member.name,
        name=entry.member.name,
        audio=source.recipe.audio,
        codec=source.recipe.codec,
        model=model,
        data=source.recipe.data,
        train=make_config(TrainConfig, entry.member.name, **settings),
    )
    dataset = source.dataset
    if entry.member.segment_seconds is not None:
        dataset = _cut(
            dataset, round(entry.member.segment_seconds * recipe.audio.sample_rate), model
        )
    return CodeLikelihoodTask(resolve_config(recipe, source.dataset), recipe.train, dataset)


def _cut(dataset: Dataset, samples: int, model: ModelConfig) -> Dataset:
    """Return the dataset with its clips for training cut into segments of at most `samples`."""
    clips = []
    for clip in dataset.train:
        frames = clip.frame_features
        clips += cut_recording(clip.waveform, clip.fields, samples, model, clip.source, frames)
    return replace(dataset, train=clips)


def _epoch_steps(source: Source) -> int:
    """Return the steps in which a model of counts reads every recording once."""
    lengths = [clip.samples for clip in source.dataset.train]
    return len(plan_epoch(lengths, STATISTICS_SAMPLES, seed=0, epoch=0))


def read_records(run: Path) -> list[dict[str, Any]]:
    """Return the records of all steps of a finished run.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = run / "metrics.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        if all("samples" in record for record in records):
            return records
    except (OSError, ValueError, TypeError):
        pass
    raise DataError(f"{path} is missing or damaged; {_train_again(run.parent)}")


def read_json(path: Path, keys: Collection[str], advice: str) -> dict[str, Any]:
    """Read an object of a JSON file of a comparison.

    Args:
        keys: that it must have.
        advice: what to do if it is damaged.
    Raises:
        DataError: the content is not such an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() >= set(keys):
        raise DataError(f"{path} is damaged; {advice}")
    return found


def read_training(entry: Entry) -> dict[str, Any]:
    """Read the result of a finished training.

    Raises:
        DataError: the file is damaged.
    """
    return read_json(entry.training_file, TRAINING_KEYS, _train_again(entry.folder))


def _train_again(folder: Path) -> str:
    return f"delete the folder {folder} and run `wavenet compare train` again"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file, completely or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
