"""The displayed data of a training run: state, facts, curves, clips, and the enabled buttons.

Input: the folder of a run. Output: a `RunView`, and updates of the changed widgets. Called by the
Train tab.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.errors import WaveNetError
from wavenet.training.metrics_history import Point
from wavenet.training.run_status import RunStatus, read_status
from wavenet.ui.page_text import error_sentence, format_duration
from wavenet.ui.templates import render

CLIPS = 3
# Widgets of a run, by name.
CLIP_NAMES = tuple(f"clip{n + 1}" for n in range(CLIPS))
BUTTONS = ("pause", "resume", "stop", "use", "keep")
OUTPUTS = ("state", "facts", "curves", *CLIP_NAMES, *BUTTONS, "timer")
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
    updates, before = _all_updates(new), {} if old is None else _all_updates(old)
    return {
        name: gr.skip() if before.get(name) == update else update
        for name, update in updates.items()
    }


def _all_updates(view: RunView) -> dict[str, Any]:
    curves = gr.update(value=_plot_value(view), visible=bool(view.curves))
    updates: dict[str, Any] = {"state": view.state, "facts": view.facts, "curves": curves}
    for n, name in enumerate(CLIP_NAMES):
        updates[name] = _clip_update(view.clips[n] if n < len(view.clips) else None)
    for name in BUTTONS:
        updates[name] = gr.update(interactive=name in view.actions)
    # Without an interval, the timer keeps its value.
    interval: dict[str, Any] = {} if view.interval is None else {"value": view.interval}
    return updates | {"timer": gr.update(active=view.interval is not None, **interval)}


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
    speed, left = status.samples_per_second, status.seconds_left
    facts = {
        "Time left": "–" if left is None else format_duration(left),
        "Speed": "–" if speed is None else f"{speed:,.0f} samples/s",
        "Training, bits per sample": _newest(status.loss_curve),
        "Validation, bits per sample": _newest(status.validation_curve),
    }
    if status.threads:
        facts["Threads"] = str(status.threads)
    return render(
        "train/run_facts.html",
        label=f"Step {status.step:,} of {status.plan.steps:,}",
        step=status.step,
        steps=status.plan.steps,
        facts=facts,
        note=status.note,
    )


def _newest(curve: Sequence[Point]) -> str:
    return f"{curve[-1][1]:.3f}" if curve else "–"


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
