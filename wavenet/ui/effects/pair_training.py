"""The widgets of the training of effects, below those of the rendering.

Input: the page, and the list of effects. Output: widgets with their events, or the reason why
training is disabled. Called by `effects_tab`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.ui.effects import effect_events, pair_training_events
from wavenet.ui.effects.effect_choices import RUNS_DIR
from wavenet.ui.effects.effect_run import MODELS
from wavenet.ui.effects.pair_training_events import REPORT_PLACEHOLDER, RUN_PLACEHOLDER
from wavenet.ui.page import Page
from wavenet.ui.page_text import status_note
from wavenet.ui.page_widgets import make_number, make_recording_input
from wavenet.ui.templates import render
from wavenet.ui.wiring import MANY, PRIVATE, UNQUEUED, by_name, pick

REFRESH_SECONDS = 1.0
SHOWN = ("state", "timer", "stop", "resume", "listen")
# One action on runs at a time. It is queued because Gradio shows errors only of queued events.
_RUN_QUEUE: dict[str, Any] = {"concurrency_id": "effect-run", "concurrency_limit": 1, **PRIVATE}
Widgets = dict[str, Any]


def build_pair_training(page: Page, effects: Widgets, tab_item: gr.Tab, reason: str) -> None:
    """Build the widgets and connect their events.

    Args:
        page: what all tabs share.
        effects: the list of effects, and what the choice of an effect changes.
        tab_item: the tab, whose opening lists the runs.
        reason: why training is disabled; "" if it is enabled.
    """
    gr.HTML(render("effects/about_training.html"), elem_classes="section")
    if reason:
        gr.HTML(status_note(reason), elem_id="effects-training-disabled")
        return
    label = "Train an effect from two recordings"
    with gr.Accordion(label, open=False, elem_id="effects-train"), gr.Row():
        with gr.Column(scale=2, min_width=300):
            widgets = _recordings() | _training()
        with gr.Column(scale=3, min_width=300):
            widgets["report"] = gr.HTML(REPORT_PLACEHOLDER, elem_id="effects-report")
            widgets |= _run()
    _wire(page, widgets, effects, tab_item)


def _wire(page: Page, widgets: Widgets, effects: Widgets, tab_item: gr.Tab) -> None:
    runs_dir = Path.cwd() / RUNS_DIR
    events = pair_training_events
    shown = {**by_name(partial(events.show_run, runs_dir), widgets, pick(widgets, *SHOWN))}
    show = {**shown, **UNQUEUED}
    check = by_name(events.check_pair, widgets, pick(widgets, "report", "start"))
    recordings = [widgets["dry"].change, widgets["wet"].change]
    gr.on(recordings, **check, **{**MANY, "trigger_mode": "always_last"})
    start = partial(events.start_run, page, runs_dir)
    started = widgets["start"].click(**by_name(start, widgets, pick(widgets, "run")), **_RUN_QUEUE)
    started.success(**show)
    for name, action in (("stop", events.stop_run), ("resume", events.resume_run)):
        act = by_name(partial(action, runs_dir), widgets)
        widgets[name].click(**act, **_RUN_QUEUE).then(**show)
    widgets["run"].input(**show)
    widgets["timer"].tick(**show)
    listed = by_name(partial(events.list_runs, runs_dir), widgets, pick(widgets, "run"))
    tab_item.select(**listed, **UNQUEUED).then(**show)
    choose = by_name(partial(effect_events.use_trained_effect, page), widgets, effects)
    widgets["listen"].click(**choose, **PRIVATE)


def _recordings() -> Widgets:
    return {
        "dry": make_recording_input("Dry: what was played into the device", "effects-dry"),
        "wet": make_recording_input("Wet: what came out of it", "effects-wet"),
    }


def _training() -> Widgets:
    widgets: Widgets = {}
    label = "Name of the effect"
    with gr.Row():
        widgets["name"] = gr.Textbox(
            label=label,
            placeholder="my_pedal",
            min_width=120,
            max_length=64,
            elem_id="effects-name",
        )
        widgets["minutes"] = make_number("Minutes", 10, "effects-minutes", 0.01, 1440)
    widgets["model"] = gr.Radio(
        list(MODELS),
        value="feather",
        label="Size: nano is fastest, standard is most exact",
        elem_id="effects-model",
    )
    widgets["start"] = gr.Button(
        "Train", variant="primary", interactive=False, elem_id="effects-start"
    )
    return widgets


def _run() -> Widgets:
    widgets: Widgets = {"timer": gr.Timer(REFRESH_SECONDS, active=False)}
    widgets["run"] = gr.Dropdown([], label="Training", visible=False, elem_id="effects-run")
    widgets["state"] = gr.HTML(RUN_PLACEHOLDER, elem_id="effects-state")
    with gr.Row():
        for name, text in (("stop", "Stop"), ("resume", "Resume"), ("listen", "Use this effect")):
            widgets[name] = gr.Button(
                text, interactive=False, min_width=90, elem_id=f"effects-train-{name}"
            )
    return widgets
