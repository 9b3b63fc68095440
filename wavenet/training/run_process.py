"""A training run as a folder and a separate process, which outlives the process that started it.

Input: a `RunPlan`. Output: a folder with plan, recipe and recordings, and a `wavenet train` process
that writes its output to `run.log`. Nothing about a run is kept in memory: `run_status` reads it
from the folder. Called by the studio.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet import folder_lock
from wavenet.checkpoint import CONFIG
from wavenet.config import Name, StrictConfig, parse_config
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.training.recipe import BUILT_IN
from wavenet.training.warm_worker import TrainCommand, WarmWorker, spawn_detached
from wavenet.weights_file import WEIGHTS

PLAN_FILE = "run.json"
CONTROL_FILE = "control.json"
LOG_FILE = "run.log"
RECIPE_FILE = "recipe.toml"
RECORDINGS_FOLDER = "recordings"
INITIAL_FOLDER = "initial"  # a copy of the checkpoint that the run starts from
TRAIN_COMMAND = (sys.executable, "-m", "wavenet", "train")

_PROC = Path("/proc/self")  # exists where a process can be identified by its command line

RunAction = Literal["run", "pause", "stop"]


class RunPlan(StrictConfig):
    """The content of `run.json`, sufficient to start or resume a run.

    Attributes:
        name: of the run, its folder and its model.
        data: folder of audio; None: the run's own `recordings`.
        metadata: name of a table in the run's folder; None: the fields come from the pattern, or
            from a table in the folder of audio.
        labels: fields that become label conditions, besides the conditions of the recipe.
        sample_seconds: length of the preview clip that is generated after every validation.
        threads: of the CPU; None: chosen by measurement.
        initial: name of the checkpoint that the run starts from, which is copied into the run's
            folder; None: random weights.
    """

    name: Name
    data: str | None = None
    pattern: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: str | None = Field(default=None, pattern=r"^table\.[a-z]{3,5}$")
    labels: tuple[Name, ...] = Field(default=(), max_length=32)
    recipe: Name = "small"
    steps: int = Field(ge=1, le=100_000_000)
    sample_seconds: float = Field(default=1.0, gt=0, le=30)
    threads: int | None = Field(default=None, ge=1, le=1024)
    initial: str | None = Field(default=None, min_length=1, max_length=255)


class RunControl(StrictConfig):
    """The content of `control.json`: the newest requested action, and the process of the run.

    Attributes:
        action: "pause" and "stop" both save and end the process; they differ in the state that the
            ended run has, "paused" or "stopped". Both can be resumed.
        pid: of the process.
        started: when the process started, in seconds since 1970.
        process_tag: an argument of its command line that distinguishes it from a later process
            with the same id; None: the process is identified by its argument --out.
    """

    action: RunAction
    pid: int = Field(ge=1)
    started: float
    process_tag: str | None = Field(default=None, min_length=1, max_length=200)


def start(
    plan: RunPlan,
    root: Path,
    write_recordings: Callable[[Path], object] | None = None,
    warm_worker: WarmWorker | None = None,
    table: Path | None = None,
    initial: Path | None = None,
) -> Path:
    """Create the folder of a run and start its process.

    Args:
        root: folder in which the folder of the run is created.
        write_recordings: writes audio into the run's own folder of recordings; for a plan without
            a folder of audio.
        warm_worker: its process, if one is ready, becomes the process of the run.
        table: copied into the folder of the run as `plan.metadata`.
        initial: folder of the checkpoint `plan.initial`; copied, so that the run can be resumed
            when that checkpoint is changed or deleted.
    Returns:
        The folder of the run.
    Raises:
        TrainingError: there is a run of that name.
        ConfigError: there is no such recipe.
        FolderError: the folder cannot be written.
    """
    recipe = BUILT_IN / f"{plan.recipe}.toml"
    if not recipe.is_file():
        raise ConfigError(f"there is no recipe {plan.recipe}")
    folder = root / plan.name
    if os.path.lexists(folder):
        raise TrainingError(
            f"there is a run {plan.name} already; resume it, or choose another name"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be created: {os_error_reason(error)}"
        ) from None
    try:
        if write_recordings is not None:
            (folder / RECORDINGS_FOLDER).mkdir()
            write_recordings(folder / RECORDINGS_FOLDER)
        if table is not None and plan.metadata is not None:
            _copy(table, folder / plan.metadata)
        if initial is not None:
            (folder / INITIAL_FOLDER).mkdir()
            for name in (CONFIG, WEIGHTS):
                _copy(initial / name, folder / INITIAL_FOLDER / name)
        # a copy: the run does not change if the built-in recipe does
        text = recipe.read_text(encoding="utf-8")
        named = re.sub(r"(?m)^name = .*$", f'name = "{plan.name}"', text, count=1)
        _write(folder / RECIPE_FILE, named)
        _write(folder / PLAN_FILE, plan.model_dump_json(indent=2))
        _start_process(plan, folder, warm_worker)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def resume(
    folder: Path, accept_changes: bool = False, warm_worker: WarmWorker | None = None
) -> None:
    """Continue from the newest snapshot, or from the beginning if there is none.

    Args:
        accept_changes: continue although recordings or settings have changed.
        warm_worker: as for `start`.
    Raises:
        TrainingError: the run is running already, or its plan is missing or damaged.
        FolderError: its folder cannot be written.
    """
    plan = read_plan(folder)
    if folder_lock.lock_holder(folder) is not None or is_starting(folder):
        raise TrainingError(f"the run {plan.name} is running already")
    _start_process(plan, folder, warm_worker, accept_changes)


def pause(folder: Path) -> None:
    """Request that a run saves and ends after its current step; its state is then "paused".

    Raises:
        TrainingError: the process of this run is not known for certain.
    """
    pid = _find_process(folder)
    if not pid:
        raise TrainingError(
            f"the run {folder.name} is not training at this moment; if it is starting, try again "
            "when it trains"
        )
    _request(folder, pid, "pause")


def stop(folder: Path) -> None:
    """Do the same as `pause`, but the state is then "stopped"; `resume` can still continue it.

    A run that is paused or has ended only gets the other state.

    Raises:
        TrainingError: the run is starting, and its process is not known for certain.
    """
    pid, control = _find_process(folder), read_control(folder)
    if pid:
        _request(folder, pid, "stop")
    elif control is None or is_starting(folder):
        raise TrainingError(f"the run {folder.name} is starting; stop it when it trains")
    else:
        _write_control(folder, _with_action(control, "stop"))


def read_plan(folder: Path) -> RunPlan:
    """Read the plan of a run.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        return parse_config(RunPlan, (folder / PLAN_FILE).read_bytes(), PLAN_FILE)
    except OSError:
        raise TrainingError(f"{folder.name} is not a run of this studio") from None
    except ConfigError as error:
        raise TrainingError(f"the run {folder.name} cannot be used: {error}") from None


def read_control(folder: Path) -> RunControl | None:
    """Read the newest requested action; None if it is unknown."""
    with suppress(OSError, ConfigError):
        return parse_config(RunControl, (folder / CONTROL_FILE).read_bytes(), CONTROL_FILE)
    return None


def is_end_requested(folder: Path) -> bool:
    """Return whether this process is a run that was asked to pause or stop.

    The interrupt signal alone is not enough, because it can be lost during an import.
    """
    control = read_control(folder)
    return control is not None and control.pid == os.getpid() and control.action != "run"


def is_starting(folder: Path) -> bool:
    """Return whether a known process may be reading recordings, before it locks the folder."""
    control = read_control(folder)
    if control is None:
        return False
    try:
        if not _PROC.exists():
            os.kill(control.pid, 0)  # sends nothing; raises if there is no such process
            return True
        # empty for an ended process; another command line for a later process with the same id
        arguments = Path(f"/proc/{control.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(control.process_tag or _out_argument(folder.absolute())) in arguments


def train_arguments(plan: RunPlan, folder: Path, accept_changes: bool = False) -> list[str]:
    """Return the arguments of `wavenet train` for a run in an absolute folder.

    `--resume` is included if there is a snapshot, then with `--accept-changes` on request.
    """
    # joined by "=", because a value may begin with a dash
    arguments = [
        str(folder / RECIPE_FILE),
        f"--data={plan.data or folder / RECORDINGS_FOLDER}",
        _out_argument(folder),
        f"--steps={plan.steps}",
        f"--sample-seconds={plan.sample_seconds:g}",
    ]
    arguments += [f"--pattern={plan.pattern}"] if plan.pattern else []
    arguments += [f"--metadata={folder / plan.metadata}"] if plan.metadata else []
    arguments += [f"--label={name}" for name in plan.labels]
    arguments += [f"--threads={plan.threads}"] if plan.threads else []
    arguments += [f"--from={folder / INITIAL_FOLDER}"] if plan.initial else []
    if any(folder.glob("step-*[0-9]")):
        arguments += ["--resume", "--accept-changes"] if accept_changes else ["--resume"]
    return arguments


def _out_argument(folder: Path) -> str:
    return f"--out={folder}"


def _start_process(
    plan: RunPlan, folder: Path, warm_worker: WarmWorker | None, accept_changes: bool = False
) -> None:
    arguments = train_arguments(plan, folder.absolute(), accept_changes)
    log_path = folder / LOG_FILE
    try:
        with log_path.open("wb") as log:
            command = TrainCommand(arguments=tuple(arguments), log=str(log_path.absolute()))
            if warm_worker and warm_worker.assign(command, partial(_note_started, folder)):
                return
            process = spawn_detached((*TRAIN_COMMAND, *arguments), subprocess.DEVNULL, log.fileno())
    except OSError as error:
        raise TrainingError(
            f"the run {plan.name} cannot be started: {os_error_reason(error)}"
        ) from None
    _note_started(folder, process.pid)


def _find_process(folder: Path) -> int | None:
    """Return the process of a run, if known for certain: it locks the folder or is starting."""
    holder, control = folder_lock.lock_holder(folder), read_control(folder)
    if holder or control is None:
        return holder
    return control.pid if _PROC.exists() and is_starting(folder) else None


def _request(folder: Path, pid: int, action: RunAction) -> None:
    """Record an action, and interrupt the process of the run once."""
    control = read_control(folder)
    if control is None or control.pid != pid:
        control = RunControl(action="run", pid=pid, started=time.time())
    _write_control(folder, _with_action(control, action))
    # a second interrupt would end the process at once, without saving
    if control.action == "run":
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def _note_started(folder: Path, pid: int, process_tag: str | None = None) -> None:
    control = RunControl(action="run", pid=pid, started=time.time(), process_tag=process_tag)
    _write_control(folder, control)


def _with_action(control: RunControl, action: RunAction) -> RunControl:
    return RunControl(
        action=action,
        pid=control.pid,
        started=control.started,
        process_tag=control.process_tag,
    )


def _write_control(folder: Path, control: RunControl) -> None:
    _write(folder / CONTROL_FILE, control.model_dump_json())


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise FolderError(f"{target} cannot be written: {os_error_reason(error)}") from None


def _write(path: Path, text: str) -> None:
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None
