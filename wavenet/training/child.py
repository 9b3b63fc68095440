"""A training run as a folder and a process of its own, which outlives whoever started it.

A plan enters; `wavenet train` runs on its own, its words in `run.log`. Nothing of a run is kept in
memory: what became of it is read from its folder by `status`. Called by the studio.
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

from audio_utils.files import atomic_file, reason
from wavenet import locks
from wavenet.config import Name, StrictConfig, parse_config
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.training.recipe import BUILT_IN
from wavenet.training.standby import Order, Standby, launch

PLAN = "run.json"
MARK = "asked.json"
LOG = "run.log"
RECIPE = "recipe.toml"
RECORDINGS = "recordings"
PROGRAM = (sys.executable, "-m", "wavenet", "train")

_PROCESSES = Path("/proc/self")  # where it is, a process can be told by its words

Wish = Literal["run", "pause", "stop"]


class RunPlan(StrictConfig):
    """The content of `run.json`: all that is needed to go on with a run.

    Attributes:
        name: of the run, its folder and its model.
        data: folder of audio; None: the run's own `recordings`.
        labels: fields to condition on; only for a recipe without conditions of its own.
        listen: seconds of the clip that is made after every validation.
        threads: of the CPU; None for as many as torch takes.
    """

    name: Name
    data: str | None = None
    pattern: str | None = Field(default=None, min_length=1, max_length=200)
    labels: tuple[Name, ...] = Field(default=(), max_length=32)
    recipe: Name = "small"
    steps: int = Field(ge=1, le=100_000_000)
    listen: float = Field(default=1.0, gt=0, le=30)
    threads: int | None = Field(default=None, ge=1, le=1024)


class Mark(StrictConfig):
    """The content of `asked.json`: what was asked for last, and of which process.

    Attributes:
        started: when that process was, in seconds since 1970.
        word: of its command line, by which it is told from a later one with its number; None for
            that which names the folder.
    """

    wish: Wish
    pid: int = Field(ge=1)
    started: float
    word: str | None = Field(default=None, min_length=1, max_length=200)


def start(
    plan: RunPlan,
    root: Path,
    fill: Callable[[Path], None] | None = None,
    standby: Standby | None = None,
) -> Path:
    """Make the folder of a run and start its process.

    Args:
        root: the folder of the run is made in it.
        fill: puts audio into the run's own folder of recordings, where the plan names no other.
        standby: its process becomes the run, where one waits.
    Returns:
        The folder of the run.
    Raises:
        TrainingError: there is such a run already.
        ConfigError: no such recipe.
        FolderError: the folder cannot be written.
    """
    recipe = BUILT_IN / f"{plan.recipe}.toml"
    if not recipe.is_file():
        raise ConfigError(f"there is no recipe {plan.recipe}")
    folder = root / plan.name
    if os.path.lexists(folder):
        raise TrainingError(
            f"there is a run {plan.name} already; go on with it, or choose another name"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise FolderError(f"the folder {folder} cannot be made: {reason(error)}") from None
    try:
        if fill is not None:
            (folder / RECORDINGS).mkdir()
            fill(folder / RECORDINGS)
        # of its own, so that the run stays what it is when the project's recipe changes
        text = recipe.read_text(encoding="utf-8")
        named = re.sub(r"(?m)^name = .*$", f'name = "{plan.name}"', text, count=1)
        _write(folder / RECIPE, named)
        _write(folder / PLAN, plan.model_dump_json(indent=2))
        _begin(plan, folder, standby)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def resume(folder: Path, standby: Standby | None = None) -> None:
    """Go on from the newest step that was saved, or from the beginning where there is none.

    Args:
        standby: as for `start`.
    Raises:
        TrainingError: the run goes on already, or its plan is missing or damaged.
        FolderError: its folder cannot be written.
    """
    plan = read_plan(folder)
    if locks.is_held(folder) is not None or is_starting(folder):
        raise TrainingError(f"the run {plan.name} goes on already")
    _begin(plan, folder, standby)


def pause(folder: Path) -> None:
    """Ask a run to save its step and end; it does so after the step it is at.

    Raises:
        TrainingError: there is no process that is known to be this run.
    """
    pid = _process(folder)
    if not pid:
        raise TrainingError(
            f"the run {folder.name} does not train at this moment; if it is about to, ask again "
            "when it does"
        )
    _ask(folder, pid, "pause")


def stop(folder: Path) -> None:
    """Pause for good: what is there is kept as the result. `resume` still goes on with it.

    Raises:
        TrainingError: the run is about to begin, and its process is not known for sure.
    """
    pid, mark = _process(folder), read_mark(folder)
    if pid:
        _ask(folder, pid, "stop")
    elif mark is None or is_starting(folder):
        raise TrainingError(f"the run {folder.name} is about to begin; stop it when it trains")
    else:
        _note(folder, "stop", mark.pid, mark.started, mark.word)


def read_plan(folder: Path) -> RunPlan:
    """Read the plan of a run.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        return parse_config(RunPlan, (folder / PLAN).read_bytes(), PLAN)
    except OSError:
        raise TrainingError(f"{folder.name} is no run that was started here") from None
    except ConfigError as error:
        raise TrainingError(f"the run {folder.name} cannot be used: {error}") from None


def read_mark(folder: Path) -> Mark | None:
    """Read what was asked for last; None where that is not known."""
    with suppress(OSError, ConfigError):
        return parse_config(Mark, (folder / MARK).read_bytes(), MARK)
    return None


def is_asked_to_end(folder: Path) -> bool:
    """Tell whether this process is a run that was asked to end.

    An interrupt alone is not enough: one that comes in the middle of an import can be lost there.
    """
    mark = read_mark(folder)
    return mark is not None and mark.pid == os.getpid() and mark.wish != "run"


def _process(folder: Path) -> int | None:
    """Find the process of a run: who holds its folder, or who reads its recordings, for sure."""
    holder, mark = locks.is_held(folder), read_mark(folder)
    if holder or mark is None:
        return holder
    return mark.pid if _PROCESSES.exists() and is_starting(folder) else None


def is_starting(folder: Path) -> bool:
    """Tell whether a process that we know of reads its recordings, and may yet take the folder."""
    mark = read_mark(folder)
    if mark is None:
        return False
    try:
        if not _PROCESSES.exists():
            os.kill(mark.pid, 0)  # asks whether it is there; sends nothing
            return True
        # of an ended process nothing, of a later one with its number other words
        words = Path(f"/proc/{mark.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(mark.word or _out(folder.absolute())) in words


def arguments(plan: RunPlan, folder: Path) -> list[str]:
    """Write what `wavenet train` is given in an absolute folder; it goes on where it saved."""
    # joined by "=", for a value may begin with a dash
    words = [str(folder / RECIPE), f"--data={plan.data or folder / RECORDINGS}", _out(folder)]
    words += [f"--steps={plan.steps}", f"--listen={plan.listen:g}"]
    words += [f"--pattern={plan.pattern}"] if plan.pattern else []
    words += [f"--label={name}" for name in plan.labels]
    words += [f"--threads={plan.threads}"] if plan.threads else []
    return words + (["--resume"] if any(folder.glob("step-*[0-9]")) else [])


def _out(folder: Path) -> str:
    return f"--out={folder}"


def _begin(plan: RunPlan, folder: Path, standby: Standby | None) -> None:
    words = arguments(plan, folder.absolute())
    try:
        with (folder / LOG).open("wb") as log:
            order = Order(arguments=tuple(words), log=str((folder / LOG).absolute()))
            if standby and standby.give(order, partial(_note_begun, folder)):
                return
            process = launch((*PROGRAM, *words), subprocess.DEVNULL, log.fileno())
    except OSError as error:
        raise TrainingError(f"the run {plan.name} cannot be started: {reason(error)}") from None
    _note_begun(folder, process.pid)


def _ask(folder: Path, pid: int, wish: Wish) -> None:
    """Note a wish, and interrupt the process that holds the folder, once."""
    mark = read_mark(folder)
    # a second interrupt would end it at once, and lose what it learnt since it saved
    asked = mark is not None and mark.pid == pid and mark.wish != "run"
    if mark and mark.pid == pid:
        _note(folder, wish, pid, mark.started, mark.word)
    else:
        _note(folder, wish, pid, time.time())
    if not asked:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def _note_begun(folder: Path, pid: int, word: str | None = None) -> None:
    _note(folder, "run", pid, time.time(), word)


def _note(folder: Path, wish: Wish, pid: int, started: float, word: str | None = None) -> None:
    mark = Mark(wish=wish, pid=pid, started=started, word=word)
    _write(folder / MARK, mark.model_dump_json())


def _write(path: Path, text: str) -> None:
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {reason(error)}") from None
