"""Snapshots, from which a run can be resumed bit for bit.

Input: a `TrainState`. Output: `step-N/`, with model, EMA and optimizers as safetensors, and
`state.json`. It is written under a temporary name and renamed when complete; the newest two are
kept. `metrics.jsonl` has one line per step. Called by `loop`.
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
from wavenet.model.architectures import AnyModelConfig
from wavenet.training.distributed import Ranks
from wavenet.training.recipe import TrainConfig
from wavenet.training.state import TrainState

MAX_SNAPSHOTS = 2
CHANGEABLE = ("accumulation_steps",)  # settings that a resumed run may change: same results


class SnapshotInfo(StrictConfig):
    """The content of `state.json`.

    Attributes:
        best_bits: None before the first validation.
        model: None in older snapshots, which lack it.
    """

    step: int = Field(ge=1)
    best_bits: float | None
    settings: TrainConfig
    model: AnyModelConfig | None = None


class MetricsFile:
    """`metrics.jsonl`, open for appending.

    Args:
        path: of the file; records of steps after `step` are deleted.
        step: of the state from which the run continues; 0 deletes all.
    """

    def __init__(self, path: Path, step: int):
        lines = []
        if step and path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            lines = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
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


def open_run(folder: Path, state: TrainState, settings: TrainConfig, resume: bool) -> MetricsFile:
    """Create the folder of a run; if resuming, load the newest snapshot into the state.

    Raises:
        TrainingError: a run exists but `resume` is false, or there is no snapshot to resume from.
    """
    existing = _list_snapshots(folder)
    if resume and not existing:
        raise TrainingError(f"{folder} has no snapshot; start the run without --resume")
    if existing and not resume:
        raise TrainingError(f"{folder} already contains a run; resume it or choose another folder")
    if resume:
        load(existing[-1], state, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return MetricsFile(folder / "metrics.jsonl", state.step)
    except OSError as error:
        raise TrainingError(f"the folder {folder} cannot be written: {error}") from None


def save(folder: Path, state: TrainState, settings: TrainConfig) -> None:
    """Write `step-N/`, completely or not at all, and delete all but the newest two.

    Raises:
        TrainingError: it cannot be written.
    """
    final = folder / f"step-{state.step:09d}"
    temporary = final.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(state_tensors(state), temporary / "state.safetensors")
        best = state.best_bits if state.best_bits < float("inf") else None
        model = state.ema_model.config
        info = SnapshotInfo(step=state.step, best_bits=best, settings=settings, model=model)
        (temporary / "state.json").write_text(info.model_dump_json(), encoding="utf-8")
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(f"the snapshot {final} cannot be written: {error}") from None
    for old in _list_snapshots(folder)[:-MAX_SNAPSHOTS]:
        shutil.rmtree(old, ignore_errors=True)


def load(path: Path, state: TrainState, settings: TrainConfig) -> None:
    """Load a snapshot into the state.

    Raises:
        TrainingError: the snapshot is damaged, or was saved with other settings or another model.
    """
    try:
        info = parse_config(SnapshotInfo, (path / "state.json").read_bytes(), str(path))
        saved = load_file(path / "state.safetensors")
    except (OSError, ConfigError, SafetensorError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it to resume from the one before"
        ) from None
    changed = [
        name
        for name in TrainConfig.model_fields
        if name not in CHANGEABLE and getattr(info.settings, name) != getattr(settings, name)
    ]
    if changed:
        raise TrainingError(
            f"{path} was saved with other values of {', '.join(changed)}; resume with the same "
            "values, or choose another folder"
        )
    if info.model not in (None, state.ema_model.config):
        raise TrainingError(f"{path} belongs to another model; choose another folder")
    state.initialize_optimizers()
    tensors = state_tensors(state)
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in tensors.items()}:
        raise TrainingError(f"{path} belongs to a model of another shape; choose another folder")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(saved[name])
    state.step = info.step
    state.best_bits = float("inf") if info.best_bits is None else info.best_bits


def broadcast(state: TrainState, ranks: Ranks) -> None:
    """Copy the state of the first process to all others."""
    numbers = torch.tensor([state.step, state.best_bits], dtype=torch.float64)
    ranks.broadcast([numbers])
    step, state.best_bits = numbers.tolist()
    state.step = int(step)
    if state.step and not ranks.is_main:
        state.initialize_optimizers()
    ranks.broadcast(list(state_tensors(state).values()))


def has_snapshot(folder: Path) -> bool:
    """Return whether there is a snapshot to resume from."""
    return bool(_list_snapshots(folder))


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return all tensors of the state by their names in the file, not copied."""
    tensors = {f"model.{n}": t for n, t in state.model.state_dict().items()}
    tensors |= {f"average.{n}": t for n, t in state.ema_model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for optimizer in state.optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def _list_snapshots(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix != ".tmp")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")  # a line that is incomplete after a crash
