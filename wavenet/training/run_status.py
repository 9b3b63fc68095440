"""The status of a run, read from its folder: by any process, at any time, at little cost.

Input: the folder of a run that `run_process` created. Output: a `RunStatus`. Called by the studio
every 0.5 to 2 s while a run is active.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from wavenet import folder_lock
from wavenet.training.metrics_history import MetricsHistory, Point
from wavenet.training.progress_report import estimate_seconds_left
from wavenet.training.run_process import (
    LOG_FILE,
    PLAN_FILE,
    RunPlan,
    is_starting,
    read_control,
    read_plan,
)

RunState = Literal[
    "starting", "running", "pausing", "stopping", "paused", "stopped", "finished", "failed"
]

KILLED = "the process ended without a message: it was killed, or the machine was switched off"
_LOG_TAIL = 8_000  # bytes of the log that are read
_ERROR_PREFIX = "wavenet: "  # of the last line of the command, if it failed


@dataclass(frozen=True)
class RunStatus:
    """A run as it is now.

    Attributes:
        step: the newest; 0 before the first.
        loss_curve, validation_curve, samples_per_second, threads, note: see
            `MetricsHistory`.
        seconds_left: at the speed of the last minute; None if the run is not running, or its speed
            is unknown.
        preview_clips: (step, file) of the preview clips generated in training, the newest last.
        message: the newest line of the log; the error if the run failed.
        saved_step: the step from which the run can be resumed; 0: from the beginning.
        has_checkpoint: whether the run has saved a model.
    """

    plan: RunPlan
    state: RunState
    step: int
    loss_curve: Sequence[Point]
    validation_curve: Sequence[Point]
    samples_per_second: float | None
    seconds_left: float | None
    threads: int | None
    note: str
    preview_clips: Sequence[tuple[int, Path]]
    message: str
    saved_step: int
    has_checkpoint: bool

    @property
    def is_active(self) -> bool:
        """Whether the run has a process."""
        return self.state in ("starting", "running", "pausing", "stopping")


def read_status(folder: Path) -> RunStatus:
    """Read the status of a run.

    Raises:
        TrainingError: the folder is not that of a run that `run_process` started.
    """
    plan = read_plan(folder)
    # read first: otherwise a run that ends in between would seem to have failed
    state = _active_state(folder)
    saved_step = max((step for step, _ in _numbered(folder, "step-*")), default=0)
    history = _history(folder.absolute())
    history.read()
    last_line, error = _read_log(folder / LOG_FILE)
    if state in (None, "starting") and saved_step >= plan.steps:
        state = "finished"  # or its process is about to end
    state = state or _ended_state(folder, error)
    seconds_left = None
    if state == "running" and history.samples_per_second:
        seconds_left = estimate_seconds_left(
            plan.steps - history.step, history.step_samples, history.samples_per_second
        )
    return RunStatus(
        plan=plan,
        state=state,
        step=history.step,
        loss_curve=tuple(history.loss_curve),
        validation_curve=tuple(history.validation_curve),
        samples_per_second=history.samples_per_second,
        seconds_left=seconds_left,
        threads=history.threads,
        note=history.note,
        preview_clips=_numbered(folder / "samples", "step-*.wav"),
        message=(error or KILLED) if state == "failed" else last_line,
        saved_step=saved_step,
        has_checkpoint=(folder / "checkpoint" / "config.json").is_file(),
    )


def list_runs(root: Path) -> list[str]:
    """Return the names of the runs in a folder, the newest first."""
    found = []
    for path in root.glob(f"*/{PLAN_FILE}"):
        with suppress(OSError):  # deleted at this moment
            found.append((path.stat().st_mtime_ns, path.parent.name))
    return [name for _, name in sorted(found, reverse=True)]


@lru_cache(maxsize=16)
def _history(folder: Path) -> MetricsHistory:
    return MetricsHistory(folder / "metrics.jsonl")


def _active_state(folder: Path) -> RunState | None:
    """Return the state of a run that has a process; None if it has none."""
    holder, control = folder_lock.lock_holder(folder), read_control(folder)
    if holder is None and not is_starting(folder):
        return None
    if control is None or holder not in (None, control.pid):
        return "running"  # started from a command line
    if control.action != "run":
        return "pausing" if control.action == "pause" else "stopping"
    with suppress(OSError):
        if holder and (folder / "metrics.jsonl").stat().st_mtime >= control.started:
            return "running"
    return "starting"


def _ended_state(folder: Path, error: str) -> RunState:
    control = read_control(folder)
    if error or control is None or control.action == "run":
        return "failed"
    return "paused" if control.action == "pause" else "stopped"


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """Return the files named step-N, sorted by N; incomplete ones have another suffix."""
    paths = (
        (re.fullmatch(r"step-(\d+)", p.name.removesuffix(".wav")), p) for p in folder.glob(pattern)
    )
    return sorted((int(match[1]), path) for match, path in paths if match)


def _read_log(path: Path) -> tuple[str, str]:
    """Return the newest line of a log, and the error in it, or "" if it has no error."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return "", ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    newest = lines[-1] if lines else ""
    if newest.startswith(_ERROR_PREFIX):
        error = newest.removeprefix(_ERROR_PREFIX)
        return newest, "" if error == "interrupted" else error
    # a bare KeyboardInterrupt: interrupted before the command could report it
    if newest != "KeyboardInterrupt" and any(line.startswith("Traceback (") for line in lines):
        return newest, f"the program failed ({newest}); please report it, with {LOG_FILE}"
    return newest, ""
