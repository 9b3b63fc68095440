"""The widgets of the Watch sampling tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.likelihood.step_view import MAX_STEPS
from wavenet.ui.generate.generation_job import MAX_SECONDS, MAX_SEED, default_seconds
from wavenet.ui.page import Page, Settings, given_value
from wavenet.ui.page_text import status_note
from wavenet.ui.page_widgets import make_number, make_recording_input
from wavenet.ui.watch.step_viewer import make_step_viewer
from wavenet.ui.watch.watch_events import run_watch, show_recording
from wavenet.ui.wiring import MANY, PRIVATE, UNQUEUED, by_name

BUTTON_ID = "watch-button"
RECORDING_NOTE = status_note(
    "The model predicts each sample of the recording from the samples before it. Without a "
    "recording, it generates a clip."
)


def build_watch_tab(page: Page, tab_item: gr.Tab) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab itself; its first opening shows an example.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs = _inputs()
            watch = gr.Button("Watch", variant="primary", elem_id=BUTTON_ID, interactive=False)
            with gr.Accordion("Predict a recording", open=False) as recording_box:
                label = f"Recording, up to {MAX_SECONDS:.0f} s"
                inputs["recording"] = make_recording_input(label, "watch-recording")
                gr.HTML(RECORDING_NOTE)
        with gr.Column(scale=4, min_width=300):
            step_view = make_step_viewer()
    page.recordings["watch"] = "watch_recording"
    names = ("seconds", "seed", "start", "steps")
    numbers = {f"watch_{name}": inputs[name] for name in names}
    page.kept |= numbers
    dependents = {"watch": watch, **numbers, "watch_recording": inputs["recording"]}
    page.add_dependents(dependents, _apply_settings)
    run = by_name(partial(run_watch, page), page.inputs | inputs, {"step_view": step_view})
    # A press right after a result is not lost.
    event = watch.click(**run, **MANY, trigger_mode="always_last")
    event.failure(None, js="pageEvents.failWatch", **UNQUEUED)
    for name in names:
        inputs[name].submit(None, js=f"() => pageEvents.press('{BUTTON_ID}')")
    shown = by_name(show_recording, inputs, {"recording_box": recording_box})
    inputs["recording"].change(**shown, **UNQUEUED)
    tab_item.select(None, js="pageEvents.openWatch", **PRIVATE)


def _apply_settings(checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """Return the updates of the widgets for a checkpoint and settings."""
    is_generated = not checkpoint.config.model.locals
    seconds = settings.get("seconds", default_seconds(checkpoint))
    names = ("watch_seed", "watch_start", "watch_steps", "watch_recording")
    kept = {name: given_value(settings, name) for name in names}
    kept["watch_seed"]["visible"] = is_generated
    return {
        **kept,
        "watch": gr.update(interactive=True),
        "watch_seconds": gr.update(
            value=settings.get("watch_seconds", seconds), visible=is_generated
        ),
    }


def _inputs() -> dict[str, Any]:
    """Build the length and the seed of a generated clip, and which of its steps are shown."""
    with gr.Row():
        seconds = make_number("Length (s)", 1.0, "watch-seconds", 0.01, MAX_SECONDS, step=0.1)
        chosen: dict[str, Any] = {"precision": 0, "placeholder": "random"}
        seed = make_number("Seed", 0, "watch-seed", 0, MAX_SEED, **chosen)
    with gr.Row():
        start = make_number("First step at (s)", 0.05, "watch-start", 0, MAX_SECONDS, step=0.01)
        label = f"Steps (1 to {MAX_STEPS})"
        steps = make_number(label, 200, "watch-steps", 1, MAX_STEPS, precision=0)
    return {"seconds": seconds, "seed": seed, "start": start, "steps": steps}
