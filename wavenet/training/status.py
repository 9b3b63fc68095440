"""What became of a run, read from its folder: by whoever comes, whenever, at little cost.

The folder of a run that `child` made enters; a `RunStatus` leaves. Called by the studio, which asks
twice a second.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from wavenet import folder_lock
from wavenet.training.child import LOG, PLAN, RunPlan, is_starting, read_mark, read_plan
from wavenet.training.history import History, Point

State = Literal["starting", "running", "pausing", "paused", "stopped", "finished", "failed"]

KILLED = "the process ended without a word: it was killed, or the machine went down"
_LOG_END = 8_000  # bytes of the log that are looked at
_SPOKEN = "wavenet: "  # before the sentence with which the command ends


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands.

    Attributes:
        step: the newest; 0 before the first.
        loss, bits, speed: see `History`.
        seconds_left: None when nothing goes on, or nothing is known.
        clips: (step, file) of what was made on the way to be heard, the newest last.
        words: the newest line of the log; the fault, when the run failed.
        saved: the step from which the run can go on; 0 if from the beginning.
        has_checkpoint: whether there is a model to use.
    """

    plan: RunPlan
    state: State
    step: int
    loss: Sequence[Point]
    bits: Sequence[Point]
    speed: float | None
    seconds_left: float | None
    clips: Sequence[tuple[int, Path]]
    words: str
    saved: int
    has_checkpoint: bool

    @property
    def is_alive(self) -> bool:
        """Whether a process works on it."""
        return self.state in ("starting", "running", "pausing")


def read_status(folder: Path) -> RunStatus:
    """See how a run stands.

    Raises:
        TrainingError: the folder holds no run that was started by `child`.
    """
    plan = read_plan(folder)
    # asked before what it leaves behind, or it could end in between and seem to have failed
    state = _living(folder)
    saved = max((step for step, _ in _numbered(folder, "step-*")), default=0)
    history = _history(folder.absolute())
    history.read()
    words, fault = _read_log(folder / LOG)
    if state in (None, "starting") and saved >= plan.steps:
        state = "finished"  # or about to leave
    state = state or _ended(folder, fault)
    left = None
    if state == "running" and history.speed:
        left = (plan.steps - history.step) * history.samples / history.speed
    return RunStatus(
        plan=plan,
        state=state,
        step=history.step,
        loss=tuple(history.loss),
        bits=tuple(history.bits),
        speed=history.speed,
        seconds_left=left,
        clips=_numbered(folder / "samples", "step-*.wav"),
        words=(fault or KILLED) if state == "failed" else words,
        saved=saved,
        has_checkpoint=(folder / "checkpoint" / "config.json").is_file(),
    )


def list_runs(root: Path) -> list[str]:
    """Name the runs in a folder, the newest first."""
    found = []
    for path in root.glob(f"*/{PLAN}"):
        with suppress(OSError):  # removed by a person, at this moment
            found.append((path.stat().st_mtime_ns, path.parent.name))
    return [name for _, name in sorted(found, reverse=True)]


@lru_cache(maxsize=16)
def _history(folder: Path) -> History:
    return History(folder / "metrics.jsonl")


def _living(folder: Path) -> State | None:
    """Give the state of a run that a process works on; None when there is no such process."""
    holder, mark = folder_lock.lock_holder(folder), read_mark(folder)
    if holder is None and not is_starting(folder):
        return None
    if mark is None or holder not in (None, mark.pid):
        return "running"  # by hand, from a command line
    if mark.wish != "run":
        return "pausing"
    with suppress(OSError):
        if holder and (folder / "metrics.jsonl").stat().st_mtime >= mark.started:
            return "running"
    return "starting"


def _ended(folder: Path, fault: str) -> State:
    mark = read_mark(folder)
    if fault or mark is None or mark.wish == "run":
        return "failed"
    return "paused" if mark.wish == "pause" else "stopped"


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """List what is named step-N, in order; what is still being written has another suffix."""
    paths = (
        (re.fullmatch(r"step-(\d+)", p.name.removesuffix(".wav")), p) for p in folder.glob(pattern)
    )
    return sorted((int(found[1]), path) for found, path in paths if found)


def _read_log(path: Path) -> tuple[str, str]:
    """Give the newest line of a log, and the fault that it tells of, "" where it tells of none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_END))
            text = file.read().decode(errors="replace")
    except OSError:
        return "", ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    newest = lines[-1] if lines else ""
    if newest.startswith(_SPOKEN):
        fault = newest.removeprefix(_SPOKEN)
        return newest, "" if fault == "interrupted" else fault
    # interrupted before the command could say so
    if newest != "KeyboardInterrupt" and any(line.startswith("Traceback (") for line in lines):
        return newest, f"the program failed ({newest}); please report it, with {LOG}"
    return newest, ""
