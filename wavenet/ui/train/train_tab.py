"""The widgets of the Train tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events, or the reason why training is disabled. Called
by `studio_app`.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.training import run_process
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui.page import Page
from wavenet.ui.page_text import status_note
from wavenet.ui.server.host_check import is_only_local
from wavenet.ui.train import run_view, training_recordings
from wavenet.ui.train.recipe_choices import (
    DEFAULT_RECIPE,
    RunModel,
    describe_recipe,
    read_recipe,
    recipe_choices,
)
from wavenet.ui.train.train_events import (
    REPORT_PLACEHOLDER,
    TrainSetup,
    control_run,
    initial_choices,
    inspect_recordings,
    keep_previews,
    show_labels,
    show_recipe,
    show_run,
    show_runs,
    start_example,
    start_run,
    stop_scan,
    use_run_checkpoint,
    use_suggestion,
)
from wavenet.ui.wiring import PRIVATE, UNQUEUED, by_name

ALLOW_TRAIN = "WAVENET_TRAIN"
# One action on runs at a time. It is queued because Gradio shows errors only of queued events.
_RUN_QUEUE: dict[str, Any] = {"concurrency_id": "run", "concurrency_limit": 1, **PRIVATE}
# A new scan ends the earlier one of its page, so both run for a short time.
_SCAN_QUEUE: dict[str, Any] = {
    "trigger_mode": "multiple",
    "concurrency_limit": None,
    **PRIVATE,
}
# Looks at the recordings when a setting has not changed for a short time.
_INSPECT_SOON_JS = """() => {
  clearTimeout(window.wavenetInspect);
  window.wavenetInspect = setTimeout(() => document.getElementById('train-inspect').click(), 700);
}"""
COLOURS = {run_view.TRAINING: "#0d9488", run_view.VALIDATION: "#ea580c"}
CLIP_NAMES = tuple(f"clip{n + 1}" for n in range(run_view.CLIPS))
BUTTONS = ("pause", "resume", "stop", "use", "keep")
RUN_OUTPUTS = ("state", "facts", "curves", *CLIP_NAMES, *BUTTONS, "timer")
SOURCE = ("folder", "uploads", "pattern", "table")


def build_train_tab(page: Page, tab_item: gr.Tab, is_local: bool) -> dict[str, Any]:
    """Build the widgets, or show why training is disabled.

    Args:
        page: what all tabs share.
        tab_item: the tab itself.
        is_local: whether only this machine can use the server.
    Returns:
        The widgets by name; none if training is disabled.
    """
    reason = disabled_reason(is_local)
    if reason:
        gr.HTML(status_note(reason), elem_id="train-disabled")
        return {}
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            widgets = {"tab": tab_item, **_recording_widgets(), **_run_settings(page)}
        with gr.Column(scale=3, min_width=300):
            widgets |= _run()
    page.list_models_in("start_from", widgets["start_from"], partial(initial_choices, page.root))
    return widgets


def wire_train_tab(page: Page, widgets: dict[str, Any]) -> None:
    """Connect the events of the widgets; call this after all tabs are built."""
    if not widgets:
        return
    setup = TrainSetup(page, Path.cwd() / "runs", WarmWorker())
    assert setup.warm_worker is not None
    widgets["tab"].select(setup.warm_worker.ensure_started, None, None, **UNQUEUED)
    run = {"run": widgets["run"]}
    shown = {name: widgets[name] for name in (*RUN_OUTPUTS, "shown_view")}
    outputs = {**shown, **page.model_lists}
    inputs = {**run, "shown_view": widgets["shown_view"]}
    show = {**by_name(partial(show_run, setup), inputs, outputs), **UNQUEUED}
    _wire_recordings(setup, widgets)
    _wire_start(setup, widgets, show)
    _wire_run(setup, widgets, show)
    listed = by_name(partial(show_runs, setup), {}, run)
    page.load_events += [listed, by_name(partial(show_run, setup), inputs, outputs)]


def _wire_recordings(setup: TrainSetup, widgets: dict[str, Any]) -> None:
    """Inspect recordings when they change, and describe the run when its settings change."""
    # Gradio 6.31: a text box does not trigger `input` for its first change, such as a pasted path.
    changes = [widgets[name].change for name in SOURCE]
    gr.on(changes, None, js=_INSPECT_SOON_JS, **UNQUEUED)
    widgets["inspect"].click(**_inspection(setup, widgets, only_if_changed=False), **_SCAN_QUEUE)
    stop = by_name(partial(stop_scan, setup), {}, {}, "request")
    widgets["stop_scan"].click(**stop, **UNQUEUED)
    used = {name: widgets[name] for name in ("pattern", "suggestion")}
    use = by_name(use_suggestion, {"suggested": widgets["suggested"]}, used)
    widgets["suggestion"].click(**use, **UNQUEUED)
    described = {name: widgets[name] for name in ("recipe", "about", "steps", "labels")}
    chosen = {name: widgets[name] for name in ("recipe", "start_from", "inspected")}
    describe = by_name(partial(show_recipe, setup), chosen, described)
    gr.on([widgets["recipe"].input, widgets["start_from"].change], **describe, **UNQUEUED)
    labelled = {**chosen, "labels": widgets["labels"]}
    relabel = by_name(partial(show_labels, setup), labelled, described)
    widgets["labels"].input(**relabel, **UNQUEUED)


def _inspection(
    setup: TrainSetup, widgets: dict[str, Any], only_if_changed: bool
) -> dict[str, Any]:
    inputs = (*SOURCE, "recipe", "start_from", "inspected")
    outputs = ("report", "suggested", "suggestion", "stop_scan", "inspected", "recipe", "about")
    return by_name(
        partial(inspect_recordings, setup, only_if_changed),
        {name: widgets[name] for name in inputs},
        {name: widgets[name] for name in (*outputs, "labels")},
        "request",
    )


def _wire_start(setup: TrainSetup, widgets: dict[str, Any], show: dict[str, Any]) -> None:
    plan = (*SOURCE, "labels", "start_from", "recipe", "steps", "name")
    inputs, run = {name: widgets[name] for name in plan}, {"run": widgets["run"]}
    start = by_name(partial(start_run, setup), inputs, run)
    inspected = widgets["start"].click(
        **_inspection(setup, widgets, only_if_changed=True), **_SCAN_QUEUE
    )
    inspected.success(**start, **_RUN_QUEUE).success(**show)
    example = by_name(partial(start_example, setup), {}, run)
    widgets["example"].click(**example, **_RUN_QUEUE).success(**show)


def _wire_run(setup: TrainSetup, widgets: dict[str, Any], show: dict[str, Any]) -> None:
    page, run = setup.page, {"run": widgets["run"]}
    resume = partial(run_process.resume, warm_worker=setup.warm_worker)
    for name, action, options in (
        ("pause", run_process.pause, {}),
        ("resume", resume, {"accept_changes": widgets["accept"]}),
        ("stop", run_process.stop, {}),
    ):
        act = by_name(partial(control_run, setup, action), {**run, **options}, {})
        widgets[name].click(**act, **_RUN_QUEUE).then(**show)
    use = by_name(partial(use_run_checkpoint, setup), run, {**page.dependents, "tabs": page.tabs})
    widgets["use"].click(**use, **_RUN_QUEUE).success(**show)
    keep = by_name(
        partial(keep_previews, setup), {"token": page.token, **run}, {"history": page.history}
    )
    widgets["keep"].click(**keep, **_RUN_QUEUE)
    widgets["run"].input(**show)
    widgets["timer"].tick(**show)


def _recording_widgets() -> dict[str, Any]:
    """Build the widgets that choose and describe recordings."""
    widgets: dict[str, Any] = {"inspected": gr.State(None), "suggested": gr.State(None)}
    widgets["folder"] = gr.Textbox(
        label="Folder of recordings on this machine",
        placeholder="~/recordings",
        elem_id="train-folder",
    )
    # Any type of file: those that are not recordings are listed by name.
    widgets["uploads"] = gr.File(
        file_count="multiple",
        type="filepath",
        label=f"Or drop up to {training_recordings.MAX_FILES} files of up to 20 MB",
        height=170,
        elem_id="train-uploads",
    )
    gr.HTML(status_note("Dropped files are kept with the run, in runs/NAME/recordings."))
    widgets["pattern"] = gr.Textbox(
        label="Labels in the file names (optional)",
        placeholder="{word}_{voice}_{take}",
        elem_id="train-pattern",
    )
    widgets["suggestion"] = gr.Button("", visible=False, size="sm", elem_id="train-suggestion")
    widgets["table"] = gr.File(
        file_types=list(training_recordings.TABLE_SUFFIXES),
        type="filepath",
        label="Or a table of labels (optional)",
        height=120,
        elem_id="train-table",
    )
    with gr.Row():
        widgets["inspect"] = gr.Button("Inspect again", elem_id="train-inspect", min_width=120)
        widgets["stop_scan"] = gr.Button(
            "Stop inspecting", interactive=False, elem_id="train-stop-scan", min_width=120
        )
    widgets["report"] = gr.HTML(REPORT_PLACEHOLDER, elem_id="train-report")
    return widgets


def _run_settings(page: Page) -> dict[str, Any]:
    """Build the widgets that define the model and the steps of a run."""
    widgets: dict[str, Any] = {}
    widgets["labels"] = gr.CheckboxGroup(
        [],
        label="Labels to condition on (number of their values)",
        visible=False,
        elem_id="train-labels",
    )
    widgets["start_from"] = gr.Dropdown(
        initial_choices(page.root)["choices"],
        value="",
        label="Start from",
        elem_id="train-start-from",
    )
    widgets["recipe"] = gr.Radio(
        recipe_choices(RunModel()),
        value=DEFAULT_RECIPE,
        label="Recipe, smallest model first",
        elem_id="train-recipe",
    )
    about = describe_recipe(Path.cwd() / "runs", DEFAULT_RECIPE, RunModel())
    widgets["about"] = gr.HTML(about, elem_id="train-about")
    with gr.Row():
        widgets["name"] = gr.Textbox(
            label="Name of the run", placeholder="my_voice", min_width=120, elem_id="train-name"
        )
        widgets["steps"] = gr.Number(
            read_recipe(DEFAULT_RECIPE).train.steps,
            label="Steps",
            precision=0,
            minimum=1,
            min_width=120,
            elem_id="train-steps",
        )
    with gr.Row():
        widgets["start"] = gr.Button(
            "Start training", variant="primary", elem_id="train-start", min_width=120
        )
        widgets["example"] = gr.Button("Example", elem_id="train-example", min_width=120)
    return widgets


def _run() -> dict[str, Any]:
    """Build the widgets that show a run: the dropdown of runs, and `RUN_OUTPUTS`."""
    widgets: dict[str, Any] = {"timer": gr.Timer(run_view.SHORT_INTERVAL, active=False)}
    widgets["shown_view"] = gr.State(None)
    widgets["run"] = gr.Dropdown([], label="Run", elem_id="train-run")
    widgets["state"] = gr.HTML(run_view.PLACEHOLDER, elem_id="train-state")
    widgets["facts"] = gr.HTML(elem_id="train-facts")
    with gr.Row():
        for name, label in (("pause", "Pause"), ("resume", "Resume"), ("stop", "Stop")):
            widgets[name] = gr.Button(
                label, interactive=False, elem_id=f"train-{name}", min_width=90
            )
        widgets["use"] = gr.Button(
            "Use in Generate", interactive=False, elem_id="train-use", min_width=120
        )
    widgets["accept"] = gr.Checkbox(
        False,
        label="Resume also with changed recordings or settings (--accept-changes)",
        elem_id="train-accept",
    )
    widgets["curves"] = gr.LinePlot(
        x="step",
        y="bits",
        color="clips",
        x_title="Step",
        y_title="Bits per sample",
        color_title="",
        color_map=COLOURS,
        height=300,
        show_label=False,
        visible=False,
        elem_id="train-curves",
    )
    for n, name in enumerate(CLIP_NAMES):
        widgets[name] = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            visible=False,
            elem_id=f"train-clip-{n + 1}",
        )
    widgets["keep"] = gr.Button(
        "Add these previews to Clips", interactive=False, size="sm", elem_id="train-keep"
    )
    return widgets


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
