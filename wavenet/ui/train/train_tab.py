"""The widgets of the Train tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events, or the reason why training is disabled. Called
by `studio_app`.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.training import run_process
from wavenet.training.run_recipe import RunModel, read_recipe
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui.page import Page, given_value
from wavenet.ui.page_text import status_note
from wavenet.ui.page_widgets import make_audio_output, make_job_numbers
from wavenet.ui.server.host_check import is_only_local
from wavenet.ui.train import run_view, train_events, training_recordings
from wavenet.ui.train.recipe_choices import DEFAULT_RECIPE, describe_recipe, recipe_choices
from wavenet.ui.wiring import PRIVATE, UNQUEUED, by_name, numbered_job, pick

ALLOW_TRAIN = "WAVENET_TRAIN"
# One action on runs at a time. It is queued because Gradio shows errors only of queued events.
_RUN_QUEUE: dict[str, Any] = {"concurrency_id": "run", "concurrency_limit": 1, **PRIVATE}
_SCAN = numbered_job("train-stop-scan")
COLOURS = {run_view.TRAINING: "#0d9488", run_view.VALIDATION: "#ea580c"}
# Fields whose values the browser keeps; the recipe first, because it sets the steps.
KEPT = ("recipe", "folder", "pattern", "name", "steps")
SOURCE = ("folder", "uploads", "pattern", "table")
# What changes when recordings are inspected, and when the settings of a run change.
INSPECTION = ("report", "suggested", "suggestion", "stop_scan", "inspected")
DESCRIPTION = ("recipe", "about", "labels")


class TrainWidgets(dict[str, Any]):
    """The widgets by name; the id of each follows from its name."""

    def add(self, kind: Callable[..., Any], name: str, *values: Any, **options: Any) -> None:
        """Build a widget from the arguments of its class."""
        self[name] = kind(*values, elem_id=f"train-{name.replace('_', '-')}", **options)

    def add_button(self, name: str, label: str, min_width: int = 120, **options: Any) -> None:
        """Build a button."""
        self.add(gr.Button, name, label, min_width=min_width, **options)


def build_train_tab(page: Page, tab_item: gr.Tab, is_local: bool) -> TrainWidgets:
    """Build the widgets, or show why training is disabled.

    Args:
        page: what all tabs share.
        tab_item: the tab itself.
        is_local: whether only this machine can use the server.
    Returns:
        The widgets by name; none if training is disabled.
    """
    widgets = TrainWidgets()
    reason = disabled_reason(is_local)
    if reason:
        gr.HTML(status_note(reason), elem_id="train-disabled")
        return widgets
    widgets["tab"] = tab_item
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            _add_recordings(widgets)
            _add_run_settings(widgets, page)
        with gr.Column(scale=3, min_width=300):
            _add_run(widgets)
    choices = partial(train_events.initial_choices, page.root)
    page.list_models_in("start_from", widgets["start_from"], choices)
    kept = {f"train_{name}": widgets[name] for name in KEPT}
    page.kept |= kept
    page.add_dependents(kept, lambda _, settings: {k: given_value(settings, k) for k in kept})
    return widgets


def wire_train_tab(page: Page, widgets: TrainWidgets) -> None:
    """Connect the events of the widgets; call this after all tabs are built."""
    if not widgets:
        return
    worker = WarmWorker()
    setup = train_events.TrainSetup(page, Path.cwd() / "runs", worker)
    widgets["tab"].select(worker.ensure_started, None, None, **UNQUEUED)
    shown = pick(widgets, *run_view.OUTPUTS, "shown_view") | page.model_lists
    show = by_name(partial(train_events.show_run, setup), widgets, shown)
    _wire_recordings(setup, widgets)
    _wire_runs(setup, widgets, {**show, **UNQUEUED})
    listed = by_name(partial(train_events.show_runs, setup), {}, pick(widgets, "run"))
    page.load_events += [listed, show]
    # Also runs of the command line, and those of before a restart of the studio.
    relist = by_name(partial(train_events.list_other_runs, setup), widgets, pick(widgets, "run"))
    widgets["tab"].select(**relist, **UNQUEUED).then(**show, **UNQUEUED)


def _wire_recordings(setup: train_events.TrainSetup, widgets: TrainWidgets) -> None:
    """Inspect recordings when they change, and describe the run when its settings change."""

    def connect(callback: Callable[..., Any], *outputs: str) -> dict[str, Any]:
        return by_name(partial(callback, setup), widgets, pick(widgets, *outputs))

    # Gradio 6.31: a text box does not trigger `input` for its first change, such as a pasted path.
    changes = [widgets[name].change for name in SOURCE]
    gr.on(changes, None, js="pageEvents.inspectSoon", **UNQUEUED)
    # A new scan ends the earlier one of its page, so both run for a short time.
    inspect = partial(train_events.inspect_recordings, only_if_changed=False)
    widgets["inspect"].click(**connect(inspect, *INSPECTION, *DESCRIPTION), **_SCAN)
    end: dict[str, Any] = {"js": "pageEvents.stopScan", "trigger_mode": "multiple", **UNQUEUED}
    widgets["stop_scan"].click(setup.scans.stopped.add, widgets["job_number"], **end)
    use = by_name(train_events.use_suggestion, widgets, pick(widgets, "pattern", "suggestion"))
    widgets["suggestion"].click(**use, **UNQUEUED)
    describe = connect(train_events.show_recipe, "steps", *DESCRIPTION)
    gr.on([widgets["recipe"].input, widgets["start_from"].change], **describe, **UNQUEUED)
    widgets["labels"].input(**connect(train_events.show_labels, *DESCRIPTION), **UNQUEUED)


def _wire_runs(setup: train_events.TrainSetup, widgets: TrainWidgets, show: dict[str, Any]) -> None:
    """Start and control runs; `show` updates the widgets of the chosen run."""
    page, run = setup.page, pick(widgets, "run")
    inputs = {**widgets, "token": page.token}

    def connect(callback: Callable[..., Any], outputs: dict[str, Any]) -> dict[str, Any]:
        return {**by_name(partial(callback, setup), inputs, outputs), **_RUN_QUEUE}

    inspect = partial(train_events.inspect_recordings, setup, only_if_changed=True)
    inspected = by_name(inspect, widgets, pick(widgets, *INSPECTION, *DESCRIPTION))
    ready = widgets["start"].click(**inspected, **_SCAN)
    started = ready.success(**connect(train_events.start_run, run))
    example = widgets["example"].click(**connect(train_events.start_example, run))
    for event in (started, example):
        event.success(**show).success(None, js="pageEvents.showRun", **UNQUEUED)
    for name, action in (("pause", run_process.pause), ("stop", run_process.stop)):
        act = partial(train_events.control_run, action=action)
        widgets[name].click(**connect(act, {})).then(**show)
    widgets["resume"].click(**connect(train_events.resume_run, {})).then(**show)
    used = {**page.dependents, "tabs": page.tabs}
    widgets["use"].click(**connect(train_events.use_run_checkpoint, used)).success(**show)
    widgets["keep"].click(**connect(train_events.keep_previews, {"history": page.history}))
    widgets["run"].input(**show)
    widgets["timer"].tick(**show)


def _add_recordings(widgets: TrainWidgets) -> None:
    """Build the widgets that choose and describe recordings."""
    widgets |= {**make_job_numbers(), "inspected": gr.State(None), "suggested": gr.State(None)}
    label = "Folder of recordings on this machine"
    widgets.add(gr.Textbox, "folder", label=label, placeholder="~/recordings")
    # Any type of file: those that are not recordings are listed by name.
    files: dict[str, Any] = {"file_count": "multiple", "type": "filepath", "height": 170}
    label = f"Or drop up to {training_recordings.MAX_FILES} files of up to 20 MB"
    widgets.add(gr.File, "uploads", label=label, **files)
    gr.HTML(status_note("Dropped files are kept with the run, in runs/NAME/recordings."))
    label = "Labels in the file names (optional)"
    widgets.add(gr.Textbox, "pattern", label=label, placeholder="{word}_{voice}_{take}")
    widgets.add(gr.Button, "suggestion", "", visible=False, size="sm")
    types = list(training_recordings.TABLE_SUFFIXES)
    table: dict[str, Any] = {"file_types": types, "type": "filepath", "height": 120}
    widgets.add(gr.File, "table", label="Or a table of labels (optional)", **table)
    with gr.Row():
        widgets.add_button("inspect", "Inspect again")
        widgets.add_button("stop_scan", "Stop inspecting", interactive=False)
    widgets.add(gr.HTML, "report", train_events.REPORT_PLACEHOLDER)


def _add_run_settings(widgets: TrainWidgets, page: Page) -> None:
    """Build the widgets that define the model and the steps of a run."""
    label = "Labels to condition on (number of their values)"
    widgets.add(gr.CheckboxGroup, "labels", [], label=label, visible=False)
    choices = train_events.initial_choices(page.root)["choices"]
    widgets.add(gr.Dropdown, "start_from", choices, value="", label="Start from")
    label, recipes = "Recipe, smallest model first", recipe_choices(RunModel())
    widgets.add(gr.Radio, "recipe", recipes, value=DEFAULT_RECIPE, label=label)
    about = describe_recipe(Path.cwd() / "runs", DEFAULT_RECIPE, RunModel())
    widgets.add(gr.HTML, "about", about)
    with gr.Row():
        name: dict[str, Any] = {"label": "Name of the run", "placeholder": "my_voice"}
        widgets.add(gr.Textbox, "name", min_width=120, **name)
        steps = read_recipe(DEFAULT_RECIPE).train.steps
        number: dict[str, Any] = {"precision": 0, "minimum": 1, "min_width": 120}
        widgets.add(gr.Number, "steps", steps, label="Steps", **number)
    with gr.Row():
        widgets.add_button("start", "Start training", variant="primary")
        widgets.add_button("example", "Example")


def _add_run(widgets: TrainWidgets) -> None:
    """Build the widgets that show a run: the dropdown of runs, and `run_view.OUTPUTS`."""
    widgets["timer"] = gr.Timer(run_view.SHORT_INTERVAL, active=False)
    widgets["shown_view"] = gr.State(None)
    widgets.add(gr.Dropdown, "run", [], label="Run")
    widgets.add(gr.HTML, "state", run_view.PLACEHOLDER)
    widgets.add(gr.HTML, "facts")
    with gr.Row():
        for name in ("pause", "resume", "stop"):
            widgets.add_button(name, name.capitalize(), 90, interactive=False)
        widgets.add_button("use", "Use in Generate", interactive=False)
    label = "Resume also with changed recordings or settings (--accept-changes)"
    widgets.add(gr.Checkbox, "accept", False, label=label)
    axes = {"x": "step", "y": "bits", "color": "clips", "color_title": ""}
    axes |= {"x_title": "Step", "y_title": "Bits per sample"}
    hidden: dict[str, Any] = {"show_label": False, "visible": False, "height": 300}
    widgets.add(gr.LinePlot, "curves", color_map=COLOURS, **axes, **hidden)
    for n, name in enumerate(run_view.CLIP_NAMES):
        widgets[name] = make_audio_output(f"train-clip-{n + 1}", visible=False)
    widgets.add(gr.Button, "keep", "Add these previews to Clips", interactive=False, size="sm")


def disabled_reason(is_local: bool | None = None) -> str:
    """Return why training is disabled here; "" if it is enabled.

    Args:
        is_local: whether only this machine can use the server; None: decided by the environment.
    """
    if os.environ.get(ALLOW_TRAIN) == "1":
        return ""
    how = f"To enable it anyway, set {ALLOW_TRAIN}=1 in the environment."
    if "SPACE_ID" in os.environ:
        return (
            "Training is disabled on this Space: its visitors share one machine, and all visitors "
            f"would see the runs. Run the studio on your own machine. {how}"
        )
    if not (is_only_local() if is_local is None else is_local):
        return (
            "Training is disabled because this studio serves other machines: visitors could read "
            "folders of this machine. Start it for this machine only, without --host and "
            f"--allow-host. {how}"
        )
    return ""
