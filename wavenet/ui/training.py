"""Behind the buttons of the Train tab: look at recordings, start a run, show it, steer it.

What the widgets hold enters; updates of widgets leave. Runs are processes of their own
(`training.child`): here their folders are looked at, and nothing of them is kept.
"""

import ipaddress
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.training import run_process
from wavenet.training.dataset_report import DatasetReport, scan_dataset
from wavenet.training.run_status import list_runs
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui import jobs, recipes, recordings, runs

ALLOW_TRAIN = "WAVENET_TRAIN"
EXAMPLE = "notes"
EXAMPLE_RECIPE, EXAMPLE_STEPS = "tiny", 100
REPORT_SECONDS = 0.3  # from one state of the report to the next
SHOWN = (
    *("state", "facts", "curves"),
    *(f"clip{n + 1}" for n in range(runs.CLIPS)),
    *("pause", "resume", "stop", "use", "timer"),
)


def refusal() -> str:
    """Say why there is no training here; "" where there is."""
    if os.environ.get(ALLOW_TRAIN) == "1":
        return ""
    how = f"Set {ALLOW_TRAIN}=1 in its environment to switch it on all the same."
    if "SPACE_ID" in os.environ:
        return (
            "Training is off here: this is a Space, whose machine its visitors share, and what one "
            f"trains all would see. Run the studio on your own machine. {how}"
        )
    if not _is_local(os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")):
        return (
            "Training is off here: this studio answers other machines, and whoever trains names "
            f"folders of this one. Start it without GRADIO_SERVER_NAME. {how}"
        )
    return ""


def look_at(
    folder: str | None, dropped: list[str] | None, pattern: str | None
) -> Iterator[tuple[Any, ...]]:
    """Report on recordings while they are read.

    Yields:
        the report, the labels to choose from, the recipes that fit, and what was looked at.
    """
    with jobs.shown_errors(), recordings.gathered(folder, dropped) as source:
        due = 0.0
        for found in _survey(source, pattern, bool(dropped)):
            if time.monotonic() > due and found.done < found.files:
                yield recordings.describe(found), gr.skip(), gr.skip(), None
                due = time.monotonic() + REPORT_SECONDS
        report = recordings.describe(found, recordings.suggest(source))
        choices = recordings.label_choices(found)
        labels = gr.update(choices=choices, value=recordings.likely_labels(found))
        fitting = gr.update(choices=recipes.choices(found.fields))
        looked = [folder, dropped, pattern, bool(choices)]
        yield report.replace(f"{source}{os.sep}", ""), labels, fitting, looked


def show_recipe(place: Path, name: str, looked: list[Any] | None) -> tuple[Any, ...]:
    """Describe a recipe, give its steps, and show the labels where it can learn any there are.

    Args:
        place: folder of the runs.
    """
    found = recipes.recipe(name)
    can_learn = bool(looked and looked[-1]) and not found.model.conditions
    return recipes.describe(place, name), found.train.steps, gr.update(visible=can_learn)


def begin(
    place: Path,
    root: Path,
    folder: str | None,
    dropped: list[str] | None,
    pattern: str | None,
    labels: list[str],
    recipe: str,
    steps: float | None,
    name: str | None,
    looked: list[Any] | None,
    standby: WarmWorker | None = None,
) -> Any:
    """Start a run of what the controls hold, and choose it."""
    with jobs.shown_errors():
        if not looked or looked[:3] != [folder, dropped, pattern]:
            raise ConditionError("press “Look at the recordings” first: what is in them matters")
        brings_own = bool(recipes.recipe(recipe).model.conditions)
        plan = make_config(
            run_process.RunPlan,
            "the run",
            name=check_name(root, name),
            data=None if dropped else str(recordings.typed_folder(folder)),
            pattern=pattern or None,
            labels=() if brings_own else tuple(labels),
            recipe=recipe,
            steps=steps,
        )
        fill = partial(recordings.bring, dropped) if dropped else None
        run_process.start(plan, place, fill, standby)
        return gr.update(choices=list_runs(place), value=plan.name)


def begin_example(place: Path, root: Path, standby: WarmWorker | None = None) -> Any:
    """Start a short run on made-up notes, and choose it."""
    with jobs.shown_errors():
        names = (EXAMPLE if n == 1 else f"{EXAMPLE}-{n}" for n in count(1))
        name = next(n for n in names if not ((place / n).exists() or (root / n).exists()))
        plan = run_process.RunPlan(
            name=name,
            pattern=recordings.NOTE_PATTERN,
            labels=("note",),
            recipe=EXAMPLE_RECIPE,
            steps=EXAMPLE_STEPS,
            sample_seconds=recordings.NOTE_SECONDS,
            # a step has one short clip: a second thread has little to do but to wait
            threads=1,
        )
        run_process.start(plan, place, recordings.write_notes, standby)
        return gr.update(choices=list_runs(place), value=name)


def check_name(root: Path, name: str | None) -> str:
    """Give the name of a new run, if it can be one.

    Raises:
        ConditionError: it is missing or not plain, or a checkpoint has it already.
    """
    text = (name or "").strip()
    if not text:
        raise ConditionError("the run has no name yet; its model will be offered under it")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", text):
        raise ConditionError(
            "a name begins with a letter and has letters, digits, - and _ only, up to 64; found "
            f"{text[:80]!r}"
        )
    if (root / text).exists():
        raise ConditionError(f"there is a checkpoint {text} already; choose another name")
    return text


def steer(place: Path, act: Callable[[Path], None], name: str | None) -> None:
    """Pause, resume or stop the run that is chosen."""
    with jobs.shown_errors():
        act(_chosen(place, name))


def use(place: Path, root: Path, pickers: int, name: str | None) -> Any:
    """Offer what the run that is chosen has learnt so far to the other tabs."""
    with jobs.shown_errors():
        runs.offer(_chosen(place, name), root)
    return _listed(root, pickers)


def show(
    place: Path, root: Path, pickers: int, name: str | None, seen: runs.View | None
) -> list[Any]:
    """Show the run that is chosen; a run that is done offers its result by itself.

    Args:
        pickers: how many of other tabs are to be kept up to date.
        seen: what the page shows already.
    Returns:
        Updates of `SHOWN`, what the page shows now, updates of the pickers.
    """
    new, news, is_new = runs.view(place, name), "", False
    if new.is_done and name:
        try:
            is_new = runs.offer(place / name, root, again=False)
        except WaveNetError as error:
            news = jobs.sentence(error)
    if name and (is_new or runs.is_offered(place / name, root)):
        news = f"Generate, Analyse and Watch it think offer it as {name}."
    new = runs.view(place, name, news) if news else new
    made = runs.updates(new, seen)
    others = _listed(root, pickers) if is_new else [gr.skip()] * pickers
    return [*(made[part] for part in SHOWN), new, *others]


def show_runs(place: Path) -> Any:
    """List the runs that there are now, and choose the newest."""
    names = list_runs(place)
    return gr.update(choices=names, value=names[0] if names else None)


def _survey(source: Path, pattern: str | None, is_ours: bool) -> Iterator[DatasetReport]:
    """Survey a folder; a fault names files, and a folder of ours, as the person knows them."""
    try:
        yield from scan_dataset(source, pattern or None)
    except WaveNetError as error:
        text = str(error).replace(f"{source}{os.sep}", "")
        text = text.replace(str(source), "what was dropped") if is_ours else text
        raise type(error)(text) from None


def _chosen(place: Path, name: str | None) -> Path:
    if name not in list_runs(place):
        raise ConditionError("there is no such run any more; load the page again")
    return place / str(name)


def _listed(root: Path, pickers: int) -> list[Any]:
    return [gr.update(choices=jobs.list_checkpoints(root)) for _ in range(pickers)]


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
