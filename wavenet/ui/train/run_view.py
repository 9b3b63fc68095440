"""The displayed data of a training run: state, facts, curves, clips, and the enabled buttons.

Input: the folder of a run. Output: a `RunView`, and updates of the changed widgets. The module also
copies the checkpoint of a run to the models of the studio. Called by the Train tab.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint_folders import list_in_studio
from wavenet.errors import ConditionError, WaveNetError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, staging_folder
from wavenet.sharing.local_models import mark_added
from wavenet.training.run_status import RunStatus, read_status
from wavenet.ui.page_text import error_sentence, format_duration
from wavenet.ui.templates import render

CLIPS = 3
DIGEST_FILE = "published.txt"  # in the folder of a run: digest of the copied checkpoint
COLUMNS = ["step", "bits", "clips"]
TRAINING, VALIDATION = "training clips, smoothed", "validation clips"
TYPES = {"step": "quantitative", "bits": "quantitative", "clips": "nominal"}
PLACEHOLDER = (
    "<p class='empty'>Curves, generated clips and the time left of a run appear here. Press "
    "Example to train on 20 synthetic notes for a few seconds.</p>"
)
# Interval between two updates: short if a run is starting or will end soon.
SHORT_INTERVAL, LONG_INTERVAL = 0.5, 2.0  # s
ENDS_SOON_SECONDS = 60


@dataclass(frozen=True)
class RunView:
    """The displayed data of a run; if the data are equal, the page needs no update.

    Attributes:
        state: HTML of one line; screen readers announce its changes.
        facts: HTML of progress bar and facts.
        curves: (step, bits per sample, name of the curve).
        clips: (step, path), the newest first.
        actions: names of the enabled buttons.
        interval: seconds between two updates; None if the data no longer change.
        is_complete: whether the run has ended with a checkpoint.
    """

    state: str = PLACEHOLDER
    facts: str = ""
    curves: tuple[tuple[int, float, str], ...] = ()
    clips: tuple[tuple[int, str], ...] = ()
    actions: frozenset[str] = frozenset()
    interval: float | None = None
    is_complete: bool = False


def view_run(runs_dir: Path, name: str | None, message: str = "") -> RunView:
    """Read the displayed data of a run.

    Args:
        runs_dir: folder of the runs.
        name: name of the run; None if no run is chosen.
        message: a sentence to add to the state.
    """
    if not name:
        return RunView()
    try:
        status = read_status(runs_dir / name)
    except WaveNetError as error:
        return RunView(state=_state_line(error_sentence(error), is_error=True))
    training = [(step, bits, TRAINING) for step, bits in status.loss_curve]
    validation = [(step, bits, VALIDATION) for step, bits in status.validation_curve]
    clips = tuple((step, str(path)) for step, path in reversed(status.preview_clips[-CLIPS:]))
    state = f"{describe_state(status)} {message}"
    return RunView(
        state=_state_line(state, is_error=status.state == "failed"),
        facts=run_facts(status),
        curves=(*training, *validation),
        clips=clips,
        actions=_enabled_actions(status),
        interval=_update_interval(status),
        is_complete=status.state in ("finished", "stopped") and status.has_checkpoint,
    )


def view_updates(new: RunView, old: RunView | None) -> dict[str, Any]:
    """Return updates by widget; unchanged widgets are skipped, so that a playing clip continues."""
    updates: dict[str, Any] = {"state": new.state, "facts": new.facts}
    updates["curves"] = gr.update(value=_plot_value(new), visible=bool(new.curves))
    for n in range(CLIPS):
        updates[f"clip{n + 1}"] = _clip_update(new.clips[n] if n < len(new.clips) else None)
    for name in ("pause", "resume", "stop", "use", "keep"):
        updates[name] = gr.update(interactive=name in new.actions)
    updates["timer"] = (
        gr.update(active=False)
        if new.interval is None
        else gr.update(active=True, value=new.interval)
    )
    if old is None:
        return updates
    same = {
        name for name in ("state", "facts", "curves") if getattr(new, name) == getattr(old, name)
    }
    if new.clips == old.clips:
        same |= {f"clip{n + 1}" for n in range(CLIPS)}
    if new.actions == old.actions:
        same |= {"pause", "resume", "stop", "use", "keep"}
    if new.interval == old.interval:
        same.add("timer")
    return {name: gr.skip() if name in same else value for name, value in updates.items()}


def describe_state(status: RunStatus) -> str:
    """Return the state of a run as a sentence."""
    step = f"{status.step:,}"
    if status.state == "starting":
        return f"Starting: {status.message or 'loading the program'} …"
    if status.state == "failed":
        origin = f"from step {status.saved_step:,}" if status.saved_step else "from the beginning"
        return f"{error_sentence(Exception(status.message))} Resume continues {origin}."
    return {
        "running": "Training.",
        "pausing": "Pausing after this step …",
        "stopping": "Stopping after this step …",
        "paused": f"Paused after step {step}; Resume continues from there.",
        "stopped": f"Stopped after step {step}.",
        "finished": f"Finished after step {step}.",
    }[status.state]


def run_facts(status: RunStatus) -> str:
    """Return HTML of the progress and the facts of a run."""
    steps = status.plan.steps
    facts = {"Time left": "–", "Speed": "–"}
    facts |= {"Training, bits per sample": "–", "Validation, bits per sample": "–"}
    if status.seconds_left is not None:
        facts["Time left"] = format_duration(status.seconds_left)
    if status.samples_per_second is not None:
        facts["Speed"] = f"{status.samples_per_second:,.0f} samples/s"
    for name, curve in (
        ("Training, bits per sample", status.loss_curve),
        ("Validation, bits per sample", status.validation_curve),
    ):
        if curve:
            facts[name] = f"{curve[-1][1]:.3f}"
    # fields that not every version of `RunStatus` has
    threads, note = getattr(status, "threads", None), getattr(status, "note", None)
    if threads:
        facts["Threads"] = str(threads)
    return render(
        "train/run_facts.html",
        label=f"Step {status.step:,} of {steps:,}",
        step=status.step,
        steps=steps,
        facts=facts,
        note=note,
    )


def copy_run_checkpoint(folder: Path, root: Path, replace_removed: bool = True) -> bool:
    """Copy the checkpoint of a run, under the run's name, to the models of the studio.

    Args:
        folder: folder of the run.
        root: folder of checkpoint folders.
        replace_removed: whether to copy a checkpoint again if it was copied before and has not
            changed since; a user may have removed the copy.
    Returns:
        Whether the checkpoint was copied.
    Raises:
        ConditionError: the run has no checkpoint, or another checkpoint has the name of the run.
        CheckpointError: the checkpoint cannot be loaded.
    """
    source, target, record = folder / "checkpoint", root / folder.name, folder / DIGEST_FILE
    if not all((source / name).is_file() for name in REQUIRED):
        raise ConditionError(f"the run {folder.name} has no checkpoint yet; wait for a validation")
    copied_digest = record.read_text(encoding="utf-8") if record.is_file() else ""
    if checkpoint_digest(source) == copied_digest and not replace_removed:
        return False
    existing = list_in_studio(root).get(folder.name, target)
    if existing.exists() and checkpoint_digest(existing) != copied_digest:
        raise ConditionError(
            f"the checkpoint {folder.name} exists and is not from this run, or was changed; move "
            "the existing folder, or copy the checkpoint of the run under another name"
        )
    with staging_folder(target, f"the run {folder.name}", overwrite=True) as staging:
        for name in filter(lambda name: (source / name).is_file(), MAX_BYTES):
            shutil.copyfile(source / name, staging / name)
        mark_added(staging)
        record.write_text(checkpoint_digest(staging), encoding="utf-8")
    return True


def is_listed(folder: Path, root: Path) -> bool:
    """Return whether the models of the studio include the checkpoint of a run."""
    return (folder / DIGEST_FILE).is_file() and (root / folder.name).is_dir()


def checkpoint_digest(folder: Path) -> str:
    """Compute the SHA-256 hash of a checkpoint from the hashes of its files."""
    digest = hashlib.sha256()
    for name in MAX_BYTES:
        if (folder / name).is_file():
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _state_line(text: str, is_error: bool) -> str:
    return render("train/run_state.html", text=text.strip(), is_error=is_error)


def _update_interval(status: RunStatus) -> float | None:
    if not status.is_active:
        return None
    is_long = status.seconds_left is not None and status.seconds_left > ENDS_SOON_SECONDS
    return LONG_INTERVAL if is_long else SHORT_INTERVAL


def _enabled_actions(status: RunStatus) -> frozenset[str]:
    actions = {
        "running": {"pause", "stop"},
        "paused": {"resume", "stop"},
        "stopped": {"resume"},
        "failed": {"resume"},
    }.get(status.state, set())
    if status.has_checkpoint:
        actions |= {"use"}
    return frozenset(actions | ({"keep"} if status.preview_clips else set()))


def _plot_value(view: RunView) -> Mapping[str, Any]:
    data: list[list[Any]] = [list(row) for row in view.curves]
    # Gradio 6.31 draws only curves that existed in the first value; an empty point is enough.
    data.append([1, None, VALIDATION])
    return {"columns": COLUMNS, "data": data, "datatypes": TYPES, "mark": "line"}


def _clip_update(clip: tuple[int, str] | None) -> Any:
    if clip is None:
        return gr.update(value=None, visible=False)
    return gr.update(value=clip[1], label=f"Step {clip[0]:,}", visible=True)
