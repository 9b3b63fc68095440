"""A run as the page shows it: words, figures, curves, clips, and which buttons can be pressed.

The folder of a run enters; a `View` leaves, and updates for what of it is new. Here too: what a run
has learnt, put where the other tabs find it. Called by the Train tab.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.errors import ConditionError, WaveNetError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, staging_folder
from wavenet.training.run_status import RunStatus, read_status
from wavenet.ui import jobs
from wavenet.ui.live import fact_list
from wavenet.ui.recordings import length, progress

CLIPS = 3
OFFERED = "offered.txt"  # in the folder of a run: the digest of what the other tabs were given
COLUMNS = ["step", "bits", "clips"]
TRAINING, HELD_OUT = "training clips, smoothed", "held-out clips"
TYPES = {"step": "quantitative", "bits": "quantitative", "clips": "nominal"}
NONE_YET = (
    "<p class='empty'>Curves, clips to hear and the time left of a run appear here. Press Example "
    "to train on 20 made-up notes for a few seconds.</p>"
)
# From one look at a run to the next: often while a person waits for it to begin, or to end soon.
OFTEN_SECONDS, SELDOM_SECONDS = 0.5, 2.0
SOON_SECONDS = 60


@dataclass(frozen=True)
class View:
    """What the page shows of a run; two that are equal look the same.

    Attributes:
        state: HTML of one line that is read aloud when it changes.
        facts: HTML of bar and figures.
        curves: (step, bits per sample, which clips).
        clips: (step, path), the newest first.
        can: names of the buttons that can be pressed.
        pace: seconds from one look at it to the next; None where it does not change by itself.
        is_done: whether it has a result to be offered.
    """

    state: str = NONE_YET
    facts: str = ""
    curves: tuple[tuple[int, float, str], ...] = ()
    clips: tuple[tuple[int, str], ...] = ()
    can: frozenset[str] = frozenset()
    pace: float | None = None
    is_done: bool = False


def view(runs: Path, name: str | None, news: str = "") -> View:
    """Look at a run.

    Args:
        runs: folder of the runs.
        name: of one; None where there is none.
        news: a sentence to be said behind the state.
    """
    if not name:
        return View()
    try:
        status = read_status(runs / name)
    except WaveNetError as error:
        return View(state=alert(jobs.sentence(error)))
    training = [(step, bits, TRAINING) for step, bits in status.loss_curve]
    held = [(step, bits, HELD_OUT) for step, bits in status.validation_curve]
    clips = tuple((step, str(path)) for step, path in reversed(status.sample_clips[-CLIPS:]))
    state = words(status)
    return View(
        state=alert(f"{state} {news}") if status.state == "failed" else note(f"{state} {news}"),
        facts=figures(status),
        curves=(*training, *held),
        clips=clips,
        can=_possible(status),
        pace=_pace(status),
        is_done=status.state in ("finished", "stopped") and status.has_checkpoint,
    )


def updates(new: View, old: View | None) -> dict[str, Any]:
    """Give updates by widget; what looks as before is left alone, a clip that plays above all."""
    made: dict[str, Any] = {"state": new.state, "facts": new.facts}
    made["curves"] = gr.update(value=_plot(new), visible=bool(new.curves))
    for n in range(CLIPS):
        made[f"clip{n + 1}"] = _clip(new.clips[n] if n < len(new.clips) else None)
    for name in ("pause", "resume", "stop", "use"):
        made[name] = gr.update(interactive=name in new.can)
    made["timer"] = (
        gr.update(active=False) if new.pace is None else gr.update(active=True, value=new.pace)
    )
    if old is None:
        return made
    same = {
        name for name in ("state", "facts", "curves") if getattr(new, name) == getattr(old, name)
    }
    if new.clips == old.clips:
        same |= {f"clip{n + 1}" for n in range(CLIPS)}
    if new.can == old.can:
        same |= {"pause", "resume", "stop", "use"}
    if new.pace == old.pace:
        same.add("timer")
    return {name: gr.skip() if name in same else value for name, value in made.items()}


def words(status: RunStatus) -> str:
    """Say in a sentence how a run stands."""
    step = f"{status.step:,}"
    if status.state == "starting":
        return f"Starting: {status.message or 'loading the program'} …"
    if status.state == "failed":
        again = f"from step {status.saved_step:,}" if status.saved_step else "from the beginning"
        return f"{jobs.sentence(Exception(status.message))} Resume goes on {again}."
    return {
        "running": "Training.",
        "pausing": "Ending after this step …",
        "paused": f"Paused after step {step}; Resume goes on from there.",
        "stopped": f"Stopped after step {step}.",
        "finished": f"Finished after step {step}.",
    }[status.state]


def figures(status: RunStatus) -> str:
    """Give the figures of a run."""
    steps = status.plan.steps
    facts = {"Time left": "–", "Learns from": "–", "Training clips": "–", "Held-out clips": "–"}
    if status.seconds_left is not None:
        facts["Time left"] = length(status.seconds_left)
    if status.samples_per_second is not None:
        facts["Learns from"] = f"{status.samples_per_second:,.0f} samples/s"
    for name, curve in (
        ("Training clips", status.loss_curve),
        ("Held-out clips", status.validation_curve),
    ):
        if curve:
            facts[name] = f"{curve[-1][1]:.3f} bits"
    bar = progress(f"Step {status.step:,} of {steps:,}", status.step, steps)
    return bar + fact_list(facts)


def offer(folder: Path, root: Path, again: bool = True) -> bool:
    """Put the checkpoint of a run among those that the other tabs offer, under the run's name.

    Args:
        folder: of the run.
        root: folder of checkpoint folders.
        again: also when what is there now was put there before; a person may have removed it.
    Returns:
        Whether that was done.
    Raises:
        ConditionError: there is a checkpoint of that name that is not this run's.
        CheckpointError: the run's cannot be loaded.
    """
    source, target, note_file = folder / "checkpoint", root / folder.name, folder / OFFERED
    if not all((source / name).is_file() for name in REQUIRED):
        raise ConditionError(f"the run {folder.name} has no checkpoint yet; wait for a validation")
    given = note_file.read_text(encoding="utf-8") if note_file.is_file() else ""
    if digest(source) == given and not again:
        return False
    if target.exists() and digest(target) != given:
        raise ConditionError(
            f"there is a checkpoint {folder.name} that is not this run's, or was changed since; "
            "move it away, or copy the folder by hand"
        )
    with staging_folder(target, f"the run {folder.name}", overwrite=True) as staging:
        for name in filter(lambda name: (source / name).is_file(), MAX_BYTES):
            shutil.copyfile(source / name, staging / name)
        note_file.write_text(digest(staging), encoding="utf-8")
    return True


def is_offered(folder: Path, root: Path) -> bool:
    """Tell whether the other tabs have something of a run."""
    return (folder / OFFERED).is_file() and (root / folder.name).is_dir()


def digest(folder: Path) -> str:
    """Tell one checkpoint from another by the bytes of its files."""
    found = hashlib.sha256()
    for name in MAX_BYTES:
        if (folder / name).is_file():
            found.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return found.hexdigest()


def note(text: str) -> str:
    """Put a sentence into HTML."""
    return f"<p role='status'>{escape(text.strip())}</p>"


def alert(text: str) -> str:
    """Put a sentence about a fault into HTML."""
    return f"<p class='fault' role='alert'>{escape(text.strip())}</p>"


def _pace(status: RunStatus) -> float | None:
    if not status.is_active:
        return None
    is_long = status.seconds_left is not None and status.seconds_left > SOON_SECONDS
    return SELDOM_SECONDS if is_long else OFTEN_SECONDS


def _possible(status: RunStatus) -> frozenset[str]:
    can = {
        "running": {"pause", "stop"},
        "paused": {"resume", "stop"},
        "stopped": {"resume"},
        "failed": {"resume"},
    }.get(status.state, set())
    return frozenset(can | ({"use"} if status.has_checkpoint else set()))


def _plot(shown: View) -> Mapping[str, Any]:
    data: list[list[Any]] = [list(row) for row in shown.curves]
    # Gradio 6.31 draws no curve that was not there at first: an empty point is enough.
    data.append([1, None, HELD_OUT])
    return {"columns": COLUMNS, "data": data, "datatypes": TYPES, "mark": "line"}


def _clip(clip: tuple[int, str] | None) -> Any:
    if clip is None:
        return gr.update(value=None, visible=False)
    return gr.update(value=clip[1], label=f"Step {clip[0]:,}", visible=True)
