"""The training of an effect as a folder and a separate process, which outlives the studio.

Input: an `EffectRunPlan` and two recordings. Output: a folder `runs/NAME` with the plan, copies of
the recordings, and a process `wavenet effects train`, which writes the effect there and its output
to `run.log`. Nothing about a run is kept in memory: `read_effect_run` reads it from the folder. The
folder is that of the effect itself, which is listed from its first validation on. Called by
`pair_training_events`.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet import folder_lock
from wavenet.config import Name, StrictConfig, parse_config
from wavenet.effects.training.effect_job import saved_steps
from wavenet.effects.training.train_effect import read_metrics
from wavenet.effects.training.training_results import TrainingResults, load_results
from wavenet.errors import ConfigError, FolderError, TrainingError, WaveNetError
from wavenet.training.warm_worker import spawn_detached

PLAN_FILE = "effect_run.json"
PROCESS_FILE = "effect_process.json"
LOG_FILE = "run.log"
RECORDINGS = "recordings"
DRY, WET = "dry", "wet"  # files in that folder; their content decides their format
COMMAND = (sys.executable, "-m", "wavenet", "effects", "train")
MODELS = ("nano", "feather", "lite", "standard")
_MAX_LOG_BYTES = 1 << 16
_PROC = Path("/proc/self")

RunState = Literal["starting", "running", "finished", "stopped", "failed"]


class EffectRunPlan(StrictConfig):
    """What is trained.

    Attributes:
        name: of the effect and of its folder.
        model: name of a standard model.
        minutes: time of the training.
    """

    name: Name
    model: Literal["nano", "feather", "lite", "standard"] = "feather"
    minutes: float = Field(default=10, ge=0.01, le=1440)


class _RunProcess(StrictConfig):
    """The process that was started last."""

    pid: int = Field(ge=1)


@dataclass(frozen=True)
class EffectRun:
    """A run as its folder shows it.

    Attributes:
        plan: what is trained.
        state: of the process and of the results.
        message: last line of the log of a failed run.
        step: number of steps of the newest validation.
        steps: of the whole training; None if not known yet.
        curve: (step, mean ESR) of the validations.
        results: after the training.
    """

    plan: EffectRunPlan
    state: RunState
    message: str
    step: int
    steps: int | None
    curve: tuple[tuple[int, float], ...]
    results: TrainingResults | None

    @property
    def is_active(self) -> bool:
        """Whether a process works on it."""
        return self.state in ("starting", "running")


def list_effect_runs(runs_dir: Path) -> list[str]:
    """Return the names of the runs, the newest first."""
    found = [path for path in runs_dir.glob(f"*/{PLAN_FILE}") if path.is_file()]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in found]


def start_effect_run(plan: EffectRunPlan, runs_dir: Path, dry: Path, wet: Path) -> Path:
    """Create the folder of a run and start its process.

    Args:
        plan: what is trained.
        runs_dir: in which the folder is created.
        dry, wet: the recordings, which are copied.
    Raises:
        TrainingError: the name is in use, or the process cannot be started.
        FolderError: the folder cannot be written.
    """
    folder = runs_dir / plan.name
    if os.path.lexists(folder):
        raise TrainingError(
            f"there is a run {plan.name} already; resume it, or choose another name"
        )
    try:
        (folder / RECORDINGS).mkdir(parents=True)
        shutil.copyfile(dry, folder / RECORDINGS / DRY)
        shutil.copyfile(wet, folder / RECORDINGS / WET)
        _write(folder / PLAN_FILE, plan.model_dump_json(indent=2))
        _start_process(plan, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise FolderError(f"cannot write {folder}: {os_error_reason(error)}") from None
        raise
    return folder


def resume_effect_run(folder: Path) -> None:
    """Continue a run that was stopped or that failed.

    Raises:
        TrainingError: it is running already, or its plan is damaged.
    """
    plan = read_effect_plan(folder)
    if _find_process(folder) is not None:
        raise TrainingError(f"the run {plan.name} is running already")
    _start_process(plan, folder)


def stop_effect_run(folder: Path) -> None:
    """Request that a run ends after its current step; the best weights so far stay.

    Raises:
        TrainingError: it is not running.
    """
    pid = _find_process(folder)
    if not pid:
        raise TrainingError(f"the run {folder.name} is not running")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def read_effect_plan(folder: Path) -> EffectRunPlan:
    """Read the plan of a run.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        return parse_config(EffectRunPlan, (folder / PLAN_FILE).read_bytes(), PLAN_FILE)
    except OSError:
        raise TrainingError(f"{folder.name} is not a training of an effect") from None
    except ConfigError as error:
        raise TrainingError(f"the run {folder.name} cannot be used: {error}") from None


def read_effect_run(folder: Path) -> EffectRun:
    """Read a run.

    Raises:
        TrainingError: its plan or a file of its state is damaged.
    """
    plan, results = read_effect_plan(folder), None
    with suppress(WaveNetError):  # a file that is just being written
        results = load_results(folder)
    rows = read_metrics(folder)
    curve = tuple((row["step"], row["mean_esr"]) for row in rows)
    state: RunState
    if folder_lock.lock_holder(folder) is not None:
        state = "running"
    elif _find_process(folder) is not None:
        state = "starting"
    elif results is not None:
        state = "finished"
    else:
        state = "stopped" if _was_stopped(folder) else "failed"
    message = _last_line(folder) if state == "failed" else ""
    step = curve[-1][0] if curve else 0
    return EffectRun(plan, state, message, step, saved_steps(folder), curve, results)


def _start_process(plan: EffectRunPlan, folder: Path) -> None:
    folder = folder.absolute()
    recordings = folder / RECORDINGS
    arguments = [
        *(str(recordings / DRY), str(recordings / WET)),
        *(_out_argument(folder), f"--model={plan.model}", f"--minutes={plan.minutes:g}"),
        "--resume",  # the folder exists; without a state, the training begins
    ]
    try:
        with (folder / LOG_FILE).open("wb") as log:
            process = spawn_detached((*COMMAND, *arguments), subprocess.DEVNULL, log.fileno())
    except OSError as error:
        raise TrainingError(
            f"the run {plan.name} cannot be started: {os_error_reason(error)}"
        ) from None
    _write(folder / PROCESS_FILE, _RunProcess(pid=process.pid).model_dump_json())


def _find_process(folder: Path) -> int | None:
    """Return the process of a run, if known for certain: it locks the folder, or is starting."""
    holder = folder_lock.lock_holder(folder)
    if holder is not None:
        return holder
    with suppress(OSError, ConfigError):
        path = folder / PROCESS_FILE
        pid = parse_config(_RunProcess, path.read_bytes(), PROCESS_FILE).pid
        if not _PROC.exists():
            return None
        # empty for an ended process; another command line for a later process with the same id
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(_out_argument(folder.absolute())) in arguments:
            return pid
    return None


def _out_argument(folder: Path) -> str:
    return f"--out={folder}"


def _was_stopped(folder: Path) -> bool:
    """Return whether the last process ended by a request, or was lost without a message."""
    line = _last_line(folder)
    return not line or line.startswith("stopped") or "stopping" in line


def _last_line(folder: Path) -> str:
    """Return the last line of the log without control characters; "" if there is none."""
    try:
        with (folder / LOG_FILE).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _MAX_LOG_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    text = text.replace(f"{folder.absolute() / RECORDINGS}{os.sep}", "").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("wavenet: ") if lines else ""


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
