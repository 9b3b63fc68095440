"""What a run leaves on disk so that it can be resumed bit for bit.

`step-N/` holds model, average and optimiser as safetensors and `state.json`; it is written under a
temporary name and renamed when complete, and the newest two are kept. `metrics.jsonl` has one line
per step.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError, TrainingError
from wavenet.model.model_config import ModelConfig
from wavenet.training.ranks import Ranks
from wavenet.training.recipe import TrainConfig
from wavenet.training.state import TrainState

KEPT = 2
FREE = ("accumulate",)  # settings that a resumed run may change: they leave what is learnt alone


class Progress(StrictConfig):
    """The content of `state.json`; best_bits is None before the first validation."""

    step: int = Field(ge=1)
    best_bits: float | None
    settings: TrainConfig
    model: ModelConfig | None = None  # None: a step saved before this was kept


class Metrics:
    """Append records to `metrics.jsonl`, from the step that the run stands at."""

    def __init__(self, path: Path, step: int):
        kept = []
        if step and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record.

        Raises:
            TrainingError: the file cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(f"{self._path} cannot be written: {error}") from None


def open_run(folder: Path, state: TrainState, settings: TrainConfig, resume: bool) -> Metrics:
    """Prepare a run's folder; when resuming, load the newest snapshot into the state.

    Raises:
        TrainingError: a run is there and not to be resumed, or there is none to resume.
    """
    present = _snapshots(folder)
    if resume and not present:
        raise TrainingError(f"{folder} has no step to resume from; start it without --resume")
    if present and not resume:
        raise TrainingError(f"{folder} already holds a run; resume it or choose another folder")
    if resume:
        load(present[-1], state, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Metrics(folder / "metrics.jsonl", state.step)
    except OSError as error:
        raise TrainingError(f"the folder {folder} cannot be written: {error}") from None


def save(folder: Path, state: TrainState, settings: TrainConfig) -> None:
    """Write `step-N/`, complete or not at all, and drop all but the newest two."""
    final = folder / f"step-{state.step:09d}"
    temporary = final.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(_tensors(state), temporary / "state.safetensors")
        best = state.best_bits if state.best_bits < float("inf") else None
        model = state.average.config
        progress = Progress(step=state.step, best_bits=best, settings=settings, model=model)
        (temporary / "state.json").write_text(progress.model_dump_json(), encoding="utf-8")
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(f"the step {final} cannot be written: {error}") from None
    for old in _snapshots(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load(path: Path, state: TrainState, settings: TrainConfig) -> None:
    """Fill the state from a snapshot.

    Raises:
        TrainingError: the snapshot is damaged, or was made with other settings or another model.
    """
    try:
        progress = parse_config(Progress, (path / "state.json").read_bytes(), str(path))
        stored = load_file(path / "state.safetensors")
    except (OSError, ConfigError, SafetensorError) as error:
        raise TrainingError(f"{path} is damaged: {error}; delete it to resume one before") from None
    changed = [
        n
        for n in TrainConfig.model_fields
        if n not in FREE and getattr(progress.settings, n) != getattr(settings, n)
    ]
    if changed:
        raise TrainingError(f"{path} was made with other settings of {', '.join(changed)}")
    if progress.model not in (None, state.average.config):
        raise TrainingError(f"{path} belongs to another model; choose another folder")
    state.make_moments()
    wanted = _tensors(state)
    if {n: t.shape for n, t in stored.items()} != {n: t.shape for n, t in wanted.items()}:
        raise TrainingError(f"{path} belongs to a model of another shape; choose another folder")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])
    state.step = progress.step
    state.best_bits = float("inf") if progress.best_bits is None else progress.best_bits


def spread(state: TrainState, ranks: Ranks) -> None:
    """Give the state of the first process to all others."""
    numbers = torch.tensor([state.step, state.best_bits], dtype=torch.float64)
    ranks.spread([numbers])
    step, state.best_bits = numbers.tolist()
    state.step = int(step)
    if state.step and not ranks.is_first:
        state.make_moments()
    ranks.spread(list(_tensors(state).values()))


def has_step(folder: Path) -> bool:
    """Whether there is a step to resume from."""
    return bool(_snapshots(folder))


def _tensors(state: TrainState) -> dict[str, Tensor]:
    """Name every tensor of the state; they are the live ones, not copies."""
    tensors = {f"model.{n}": t for n, t in state.model.state_dict().items()}
    tensors |= {f"average.{n}": t for n, t in state.average.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for optimizer in state.optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def _snapshots(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix != ".tmp")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line torn by a crash
