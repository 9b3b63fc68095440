"""The widgets of the Effects tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial
from typing import Any

import gradio as gr

from wavenet.ui.effects import effect_events, measure_events, null_test_events, render_events
from wavenet.ui.effects.effect_choices import MAX_KNOBS
from wavenet.ui.effects.null_test_events import NULL_TESTS, WET_MINUS_DRY
from wavenet.ui.effects.pair_training import build_pair_training
from wavenet.ui.effects.render_job import MAX_SECONDS
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate.live_player import make_player
from wavenet.ui.page import Page, given_value
from wavenet.ui.page_text import status_note
from wavenet.ui.page_widgets import make_audio_output, make_recording_input
from wavenet.ui.viewer.viewer import make_viewer
from wavenet.ui.wiring import MANY, PRIVATE, REPEATABLE, UNQUEUED, by_name, pick

PLAYER_ID = "effects-player"
RESULTS_ID = "effects-results"
PLACEHOLDER = (
    "Dry and wet spectrograms of the rendering appear here, on one axis and one colour scale."
)
EFFECT_SUFFIXES = [".nam", ".json"]
# Name -> lowest, highest, first value, step, label.
SLIDERS = {
    "input_gain": (-24, 24, 0, 0.5, "Input gain (dB): how hard the effect is driven"),
    "output_trim": (-24, 24, 0, 0.5, "Output (dB)"),
    "mix": (0, 1, 1, 0.01, "Mix (0: only dry, 1: only wet)"),
}
# Widgets that a rendering, a test or a measurement changes.
OUTPUTS = ("player", "rendered", "summary", "download", "viewer", "null_result", "null_sound")
KEPT = (*SLIDERS, "oversampling", "removes_offset")
Widgets = dict[str, Any]


def build_effects_tab(page: Page, tab_item: gr.Tab, training_reason: str) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab itself, whose opening lists the effects.
        training_reason: why training is disabled; "" if it is enabled.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            widgets = _effect() | _sound() | _settings()
        with gr.Column(scale=3, min_width=300):
            widgets |= _results()
    page.recordings["effect"] = "effect_recording"
    kept = {f"effect_{name}": widgets[name] for name in KEPT}
    page.kept |= kept
    dependents = {**kept, "effect_recording": widgets["recording"]}
    page.add_dependents(
        dependents, lambda _, settings: {k: given_value(settings, k) for k in dependents}
    )
    chosen = _wire_choice(page, widgets, tab_item)
    _wire_rendering(page, widgets)
    build_pair_training(page, chosen, tab_item, training_reason)


def _wire_choice(page: Page, widgets: Widgets, tab_item: gr.Tab) -> Widgets:
    """List the effects, and show the facts and knobs of the chosen one; return what changes."""
    knobs = [f"knob_{n}" for n in range(MAX_KNOBS)]
    outputs = pick(widgets, "about", "export", "upload", *knobs)
    show = by_name(partial(effect_events.show_effect, page), widgets, outputs)
    choices = partial(effect_events.list_effect_choices, page)
    listed = by_name(choices, widgets, pick(widgets, "effect"))
    page.load_events += [listed, show]
    tab_item.select(**listed, **UNQUEUED).then(**show, **UNQUEUED)
    tab_item.select(render_events.prepare_engine, **UNQUEUED)
    widgets["effect"].input(**show, **UNQUEUED)
    gr.on([widgets["upload"].upload, widgets["upload"].clear], **show, **UNQUEUED)
    return {**outputs, "effect": widgets["effect"]}


def _wire_rendering(page: Page, widgets: Widgets) -> None:
    """Connect the buttons."""
    stop_requests, job_number = StopRequests(), gr.Number(0, precision=0, visible=False)
    inputs = {"job_number": job_number, "token": page.token, **widgets}
    outputs = {**pick(widgets, *OUTPUTS), "history": page.history}
    job = by_name(partial(render_events.run_render, page, stop_requests), inputs, outputs)
    start = f"(...values) => pageEvents.startPlayerOf('{PLAYER_ID}', ...values)"
    started = widgets["render"].click(**job, **REPEATABLE, js=start)
    started.failure(None, js=f"() => pageEvents.failPlayerOf('{PLAYER_ID}')", **UNQUEUED)
    stop = {"js": f"() => pageEvents.stopPlayerOf('{PLAYER_ID}')", "trigger_mode": "multiple"}
    widgets["stop"].click(stop_requests.add, job_number, **stop, **UNQUEUED)
    null_test = by_name(partial(null_test_events.run_null_test, page), inputs, outputs)
    widgets["null_test"].click(**null_test, **MANY)
    measured = pick(widgets, "measured")
    measure = by_name(partial(measure_events.run_measurement, page), inputs, measured)
    widgets["measure"].click(**measure, **MANY)
    packaged = pick(widgets, "package")
    export = by_name(partial(effect_events.export_effect, page), inputs, packaged)
    exported = widgets["export"].click(**export, **PRIVATE)
    exported.success(None, js="() => pageEvents.press('effects-package')", **UNQUEUED)


def _effect() -> Widgets:
    gr.HTML("<h2>1. Effect</h2>", elem_classes="step-title")
    gr.HTML(status_note("A trained effect, or a capture: .nam, or .json of PedalNetRT."))
    widgets: Widgets = {
        "effect": gr.Dropdown([], label="Trained effect", elem_id="effects-choice"),
        "upload": gr.File(
            file_types=EFFECT_SUFFIXES,
            type="filepath",
            label="Or a file",
            height=140,
            elem_id="effects-upload",
        ),
        "about": gr.HTML(elem_id="effects-about"),
    }
    for n in range(MAX_KNOBS):
        widgets[f"knob_{n}"] = gr.Slider(
            0, 1, 0.5, step=0.01, label="Knob", visible=False, elem_id=f"effects-knob-{n}"
        )
    widgets["export"] = gr.Button(
        "Export .nam with these knobs", visible=False, size="sm", elem_id="effects-export"
    )
    widgets["package"] = gr.DownloadButton("File", visible="hidden", elem_id="effects-package")
    return widgets


def _sound() -> Widgets:
    gr.HTML("<h2>2. Dry sound</h2>", elem_classes="step-title")
    gr.HTML(
        status_note(
            "A guitar without effects, mono or stereo. Without a recording: a computed riff."
        )
    )
    label = f"Recording, up to {MAX_SECONDS:.0f} s"
    recording = make_recording_input(label, "effects-recording")
    return {"recording": recording}


def _settings() -> Widgets:
    gr.HTML("<h2>3. Settings</h2>", elem_classes="step-title")
    widgets: Widgets = {
        name: gr.Slider(
            low, high, value, step=step, label=label, elem_id=f"effects-{name.replace('_', '-')}"
        )
        for name, (low, high, value, step, label) in SLIDERS.items()
    }
    with gr.Accordion("Cabinet, oversampling, offset", open=False, elem_id="effects-more"):
        widgets["cabinet"] = make_recording_input(
            "Impulse response of a cabinet (.wav)", "effects-cabinet"
        )
        widgets["oversampling"] = gr.Radio(
            ["1", "2", "4"],
            value="1",
            label="Oversampling: less aliasing, more computation",
            elem_id="effects-oversampling",
        )
        widgets["removes_offset"] = gr.Checkbox(
            label="Remove an offset (DC): high-pass at 5 Hz", elem_id="effects-removes-offset"
        )
    return widgets


def _results() -> Widgets:
    widgets: Widgets = {}
    with gr.Row():
        widgets["render"] = gr.Button("Render", variant="primary", elem_id="effects-render")
        widgets["stop"] = gr.Button("Stop", elem_id="effects-stop")
    widgets |= {
        "player": make_player(
            48_000,
            PLAYER_ID,
            "Render",
            "#effects-render",
            RESULTS_ID,
            "effects/pair_switch.html",
            ("effects/pair_switch",),
            ("effects/pair_switch",),
        ),
        "rendered": gr.State(None),
    }
    with gr.Column(elem_id=RESULTS_ID):
        widgets["summary"] = gr.HTML(elem_id="effects-summary")
        widgets["download"] = gr.DownloadButton(
            "Download the wet sound (WAV, 24 bits)", interactive=False, elem_id="effects-download"
        )
        widgets["viewer"] = make_viewer("effects-viewer", PLACEHOLDER)
    with gr.Accordion("Null test: hear the difference", open=False, elem_id="effects-null-box"):
        widgets["kind"] = gr.Radio(
            list(NULL_TESTS), value=WET_MINUS_DRY, show_label=False, elem_id="effects-null-kind"
        )
        widgets["null_test"] = gr.Button("Subtract", elem_id="effects-null-test")
        widgets["null_result"] = gr.HTML(elem_id="effects-null-result")
        widgets["null_sound"] = make_audio_output(
            "effects-null-sound", label="Difference", visible=False
        )
    with gr.Accordion("Transfer curve and distortion", open=False, elem_id="effects-measure-box"):
        widgets["measure"] = gr.Button("Measure", elem_id="effects-measure")
        widgets["measured"] = gr.HTML(elem_id="effects-measured")
    return widgets
