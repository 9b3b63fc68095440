"""Snapshots, from which a run can be resumed bit for bit.

Input: a `TrainState`. Output: `step-N/`, with model, EMA and optimizers as safetensors, and
`state.json`. It is written under a temporary name and renamed when complete; the newest two are
kept. `metrics.jsonl` has one line per step. Called by `loop`.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavenet.checkpoint import load_config
from wavenet.config import StrictConfig, parse_config
from wavenet.disk_space import check_free_space
from wavenet.errors import CheckpointError, ConfigError, TrainingError
from wavenet.model.architectures import AnyModelConfig
from wavenet.model.model_config import ModelConfig
from wavenet.training.distributed import Ranks
from wavenet.training.recipe import TrainConfig
from wavenet.training.run_identity import (
    MAX_NAMED,
    Difference,
    RunIdentity,
    describe_changed_values,
    find_differences,
)
from wavenet.training.state import TrainState

MAX_SNAPSHOTS = 2
COPIES = 4  # of the weights in a snapshot: model, EMA and at most two moments of the optimizers
CHANGEABLE = ("accumulation_steps",)  # settings that a resumed run may change: same results


class SnapshotInfo(StrictConfig):
    """The content of `state.json`.

    Attributes:
        best_bits: None before the first validation.
        model, identity: None in older snapshots, which lack them.
        changes: as in `TrainState`.
    """

    step: int = Field(ge=1)
    best_bits: float | None
    settings: TrainConfig
    model: AnyModelConfig | None = None
    identity: RunIdentity | None = None
    changes: tuple[str, ...] = ()


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


def open_run(
    folder: Path,
    state: TrainState,
    settings: TrainConfig,
    resume: bool,
    accept_changes: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> MetricsFile:
    """Create the folder of a run; if resuming, load the newest snapshot into the state.

    Args:
        folder: of the run.
        state: new, with the identity of this run.
        settings: of this run.
        resume: continue from the newest snapshot.
        accept_changes: continue although recordings or settings differ from those of the snapshot.
            If recordings or settings of the data differ, the best validation starts again.
        report: receives sentences about the resumed run.
    Raises:
        TrainingError: a run exists but `resume` is false, there is no snapshot to resume from, or
            it belongs to another run.
        FolderError: the disk has too little space.
    """
    path = find_snapshot(folder, resume)
    _check_space(folder, state, is_new=path is None)
    if path is not None:
        info = read_info(path)
        if info.identity is None:
            report(
                f"{path} is of an earlier version: its recordings could not be compared with those "
                "of this run"
            )
        _check_model(path, info, state.ema_model.config)
        differences = compare(path, info, settings, state.identity, accept_changes)
        load(path, state, info.settings if accept_changes else settings)
        if differences:
            text = "; ".join(d.summary for d in differences)
            state.changes += (f"from step {state.step + 1:,}: {text}",)
            report(f"continuing from step {state.step:,} with {text}")
        if any(d.changes_validation for d in differences):
            state.best_bits = float("inf")
        if state.step >= settings.steps:
            report(
                f"the run is complete after step {state.step:,}; to train longer, add "
                "--accept-changes --steps NUMBER"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return MetricsFile(folder / "metrics.jsonl", state.step)
    except OSError as error:
        raise TrainingError(f"the folder {folder} cannot be written: {error}") from None


def _check_space(folder: Path, state: TrainState, is_new: bool) -> None:
    """Check that the disk has space for all snapshots that will exist at once, and a checkpoint."""
    weights = sum(t.numel() * t.element_size() for t in state.ema_model.state_dict().values())
    more = MAX_SNAPSHOTS + 1 if is_new else 1  # one is complete before the oldest is deleted
    check_free_space(folder, (more * COPIES + 1) * weights, "the snapshots of this run")


def find_snapshot(folder: Path, resume: bool) -> Path | None:
    """Return the newest snapshot of a run that is to be resumed; None for a new run.

    Raises:
        TrainingError: a run exists but `resume` is false, or there is no snapshot to resume from.
    """
    existing = _list_snapshots(folder)
    if resume and not existing:
        raise TrainingError(f"{folder} has no snapshot; start the run without --resume")
    if existing and not resume:
        raise TrainingError(f"{folder} already contains a run; resume it or choose another folder")
    for temporary in folder.glob("step-*.tmp"):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    return existing[-1] if resume else None


def read_info(path: Path) -> SnapshotInfo:
    """Read the `state.json` of a snapshot.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        return parse_config(SnapshotInfo, (path / "state.json").read_bytes(), str(path))
    except (OSError, ConfigError) as error:
        raise _damaged(path, error) from None


def saved_identity(path: Path, info: SnapshotInfo) -> RunIdentity | None:
    """Return the identity of a saved run; of an older one, rate and codec of its checkpoint."""
    if info.identity is not None:
        return info.identity
    try:
        config = load_config(path.parent / "checkpoint")
    except CheckpointError:
        return None
    return RunIdentity(audio=config.audio, codec=config.codec)


def compare(
    path: Path,
    info: SnapshotInfo,
    settings: TrainConfig,
    identity: RunIdentity | None,
    accept_changes: bool,
) -> list[Difference]:
    """Return the accepted differences between a run and a snapshot.

    Raises:
        TrainingError: differences that are not accepted, or with which no run can continue.
    """
    differences = find_changes(path, info, settings, identity)
    if differences and not accept_changes:
        raise TrainingError(
            f"{path} was saved with {'; '.join(d.text for d in differences)}; resume with the "
            "same values, choose another folder, or add --accept-changes to use the new values"
        )
    if differences and info.step >= settings.steps:
        raise TrainingError(
            f"{path} is complete after all {settings.steps:,} steps; to continue with the "
            "changes, add --steps with a larger number"
        )
    return differences


def find_changes(
    path: Path, info: SnapshotInfo, settings: TrainConfig, identity: RunIdentity | None
) -> list[Difference]:
    """Return the differences between a run and a snapshot that a user can accept.

    Raises:
        TrainingError: differences with which no run can continue.
    """
    differences = []
    saved = saved_identity(path, info)
    if saved is not None and identity is not None:
        differences += find_differences(saved, identity)
    names = [name for name in TrainConfig.model_fields if name not in CHANGEABLE]
    differences += describe_changed_values("train", names, info.settings, settings)
    fixed = [d.text for d in differences if d.is_fixed]
    uses_muon = [s.muon_learning_rate is not None for s in (info.settings, settings)]
    if uses_muon[0] != uses_muon[1]:
        fixed.append("another optimizer (muon_learning_rate)")
    if settings.steps < info.step:
        fixed.append(f"{info.step:,} steps done, more than the {settings.steps:,} of this run")
    if fixed:
        raise TrainingError(
            f"{path} was saved with {'; '.join(fixed)}; resume with the same values, or train a "
            "new run in another folder"
        )
    return differences


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
        info = SnapshotInfo(
            step=state.step,
            best_bits=best,
            settings=settings,
            model=model,
            identity=state.identity,
            changes=state.changes,
        )
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
        _delete_snapshot(old)


def load(path: Path, state: TrainState, settings: TrainConfig) -> None:
    """Load a snapshot into the state.

    Raises:
        TrainingError: the snapshot is damaged, or was saved with other settings or another model.
    """
    info = read_info(path)
    try:
        saved = load_file(path / "state.safetensors")
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    compare(path, info, settings, None, accept_changes=False)
    _check_model(path, info, state.ema_model.config)
    state.initialize_optimizers()
    tensors = state_tensors(state)
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in tensors.items()}:
        raise TrainingError(f"{path} belongs to a model of another shape; choose another folder")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(saved[name])
    state.step = info.step
    state.best_bits = float("inf") if info.best_bits is None else info.best_bits
    state.changes = info.changes


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
    if state.ema_model is not state.model:
        tensors |= {f"average.{n}": t for n, t in state.ema_model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for optimizer in state.optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def _check_model(path: Path, info: SnapshotInfo, model: ModelConfig) -> None:
    """Raise TrainingError if a snapshot belongs to another model; name what differs."""
    if info.model in (None, model):
        return
    before, now = dict(info.model), dict(model)
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    saved = {(c.name, value) for c in info.model.labels for value in c.values}
    wanted = {(c.name, value) for c in model.labels for value in c.values}
    texts = [f"{name} {value!r} is new" for name, value in sorted(wanted - saved)]
    texts += [f"{name} {value!r} is missing" for name, value in sorted(saved - wanted)]
    labels = (
        f" ({', '.join(texts[:MAX_NAMED])}{', ..' * (len(texts) > MAX_NAMED)})" if texts else ""
    )
    raise TrainingError(
        f"{path} belongs to another model, with other {', '.join(names)}{labels}; resume with "
        "the same values, or train a new run in another folder"
    )


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{path} is damaged: {error}; delete it to resume from the one before")


def _list_snapshots(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix != ".tmp")


def _delete_snapshot(path: Path) -> None:
    """Delete a snapshot; a process that is killed meanwhile leaves no incomplete one."""
    temporary = path.with_suffix(".tmp")
    try:
        os.replace(path, temporary)
    except OSError:
        return  # it stays complete; the next save tries again
    shutil.rmtree(temporary, ignore_errors=True)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")  # a line that is incomplete after a crash
