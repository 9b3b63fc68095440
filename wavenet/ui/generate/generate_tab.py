"""The widgets of the Generate tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial
from typing import Any

import gradio as gr

from audio_utils.audio_formats import readable_formats
from wavenet.checkpoint import Checkpoint
from wavenet.generation.spoken_number import can_say_numbers
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate import generate_events
from wavenet.ui.generate.generation_job import (
    ENGINES,
    MAX_SECONDS,
    MAX_SEED,
    MAX_VARIANTS,
    default_sampling,
    default_seconds,
)
from wavenet.ui.generate.live_player import make_player, start_message
from wavenet.ui.page import Page, Settings, given_value
from wavenet.ui.page_widgets import make_number, make_recording_input
from wavenet.ui.speak.speech_controls import (
    build_speech_controls,
    is_voice_part,
    make_speech_view,
    wire_speech,
)
from wavenet.ui.viewer.viewer import make_viewer
from wavenet.ui.wiring import REPEATABLE, UNQUEUED, by_name, pick

PLACEHOLDER = "The pictures of the finished clip appear here."
_TOP_P = (
    "Top-p: sample from the smallest set of most likely codes whose total probability is at least "
    "p (1: off)"
)
# Settings that a change of the model keeps, unless they are given.
_GIVEN = ("prompt", "with_prompt", "source", "number")
# Name -> lowest value, highest value, first value, step, label.
SLIDERS = {
    "guidance": (1, 4, 1, 0.1, "Guidance: strength of the conditions (1: off)"),
    "variants": (1, MAX_VARIANTS, 1, 1, "Variants: number of clips"),
    "temperature": (0.1, 2, 1, 0.05, "Temperature (below 1: less random)"),
    "top_k": (0, 256, 0, 1, "Top-k: sample from the k most likely codes (0: off)"),
    "top_p": (0.05, 1, 1, 0.01, _TOP_P),
}


def build_generate_tab(page: Page, start: generate_events.Start) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        start: generates the clips of a job.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            speech = build_speech_controls(page)
            settings, controls = _settings(), _buttons()
            settings |= _sampling_settings()
            controls |= _recordings()
        with gr.Column(scale=3, min_width=300):
            outputs = _results()
    stops, resynthesise = (controls.pop("stop"), speech["stop"]), controls["resynthesise"]
    page.recordings |= {"continue": "prompt", "resynthesise": "source"}
    page.kept |= settings
    page.add_dependents({**settings, **controls, **pick(outputs, "player")}, _apply_settings)
    outputs["history"] = page.history
    job_number = gr.Number(0, precision=0, visible=False)
    inputs = {"job_number": job_number, **page.inputs, **settings}  # `startPlayer` sets the first
    stop_requests = StopRequests()
    generate = by_name(
        partial(generate_events.run_generation, page, start, stop_requests),
        inputs | pick(controls, "prompt", "with_prompt", "source"),
        outputs,
    )
    say_number = partial(generate_events.say_number, page, start)
    say = by_name(say_number, inputs | pick(controls, "number"), outputs)
    presses = (
        (controls["generate"].click, generate),
        (resynthesise.click, generate),
        (controls["say"].click, say),
        (controls["number"].submit, say),
    )
    for press, job in presses:
        started = press(**job, **REPEATABLE, js="pageEvents.startPlayer")
        started.failure(None, js="pageEvents.failPlayer", **UNQUEUED)
    end = {"js": "pageEvents.stopPlayer", "trigger_mode": "multiple", **UNQUEUED}
    for stop in stops:
        stop.click(stop_requests.add, job_number, **end)
    check = by_name(
        partial(generate_events.check_length, page), inputs, pick(controls, "length_note")
    )
    wire_speech(page, speech, settings, outputs, job_number, stop_requests)
    settings["seconds"].input(**check, **UNQUEUED)
    for name in ("seconds", "seed"):
        settings[name].submit(None, js="() => pageEvents.pressShown('generate', 'speak')")
    first = partial(generate_events.show_first_clip, page, start)
    page.load_events.append(by_name(first, page.inputs, outputs))


def _apply_settings(checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """Return the updates of the widgets for a checkpoint and settings."""
    model, speaks = checkpoint.config.model, is_voice_part(checkpoint)
    values: dict[str, Any] = {"seconds": default_seconds(checkpoint), "seed": -1, "variants": 1}
    values |= {"engine": "auto", **default_sampling(checkpoint)}
    values |= {name: settings[name] for name in values if name in settings}
    has_optional = any(condition.dropout for condition in (*model.labels, *model.globals))
    needs_recording = bool(model.locals)
    given = {name: given_value(settings, name) for name in _GIVEN}
    return {
        **values,
        "seconds": gr.update(value=values["seconds"], visible=not needs_recording),
        "guidance": gr.update(value=values["guidance"], visible=has_optional),
        "source": {**given["source"], "visible": needs_recording},
        "source_box": gr.update(
            visible=needs_recording, open=bool(settings.get("source")) or not speaks
        ),
        "resynthesise": gr.update(visible=speaks),
        "prompt": {**given["prompt"], "visible": not needs_recording},
        "with_prompt": {**given["with_prompt"], "visible": not needs_recording},
        "prompt_box": show_prompt(settings.get("prompt"), not needs_recording),
        "player": start_message(
            checkpoint.config.audio.sample_rate, "Speak" if speaks else "Generate"
        ),
        "generate": gr.update(interactive=True),
        "generate_box": gr.update(visible=not speaks),
        "number": {**given["number"], "visible": can_say_numbers(model)},
        "say": gr.update(visible=can_say_numbers(model)),
        "number_box": gr.update(visible=can_say_numbers(model)),
        "length_note": (
            "" if needs_recording else generate_events.length_note(checkpoint, values["seconds"])
        ),
    }


def show_prompt(prompt: str | None, is_visible: bool) -> Any:
    """Return the update of the box of the prompt: it is open if there is one."""
    if prompt:
        return gr.update(open=True, visible=is_visible)
    return gr.update(visible=is_visible)


def _settings() -> dict[str, Any]:
    with gr.Row():
        return {
            "seconds": make_number("Length (s)", 1.0, "seconds", 0.01, MAX_SECONDS, step=0.1),
            "seed": make_number("Seed (−1: random)", -1, "seed", -1, MAX_SEED, precision=0),
        }


def _buttons() -> dict[str, Any]:
    """Build the note on the length, the buttons, and the field of a number to say."""
    widgets: dict[str, Any] = {"length_note": gr.HTML(elem_id="length-note")}
    with gr.Row() as widgets["generate_box"]:
        widgets["generate"] = gr.Button(
            "Generate", variant="primary", elem_id="generate", interactive=False
        )
        widgets["stop"] = gr.Button("Stop", elem_id="stop")
    with gr.Row(equal_height=True, visible=False) as widgets["number_box"]:
        size: dict[str, Any] = {"max_length": 40, "min_width": 120}
        size["placeholder"] = "for example 1984"
        widgets["number"] = gr.Textbox(
            label="Number to say", visible=False, elem_id="number", **size
        )
        widgets["say"] = gr.Button("Say", visible=False, elem_id="say", min_width=90, scale=0)
    return widgets


def _sampling_settings() -> dict[str, Any]:
    """Build the widgets that few users change."""
    with gr.Accordion("Sampling", open=False, elem_id="sampling"):
        widgets: dict[str, Any] = {
            name: gr.Slider(
                low, high, value, step=step, label=label, visible=name != "guidance", elem_id=name
            )
            for name, (low, high, value, step, label) in SLIDERS.items()
        }
        engines = list(ENGINES)
        widgets["engine"] = gr.Dropdown(engines, value="auto", label="Engine", elem_id="engine")
    return widgets


def _recordings() -> dict[str, Any]:
    formats = readable_formats()
    with gr.Accordion(
        "Resynthesise a recording", visible=False, elem_id="source-box"
    ) as source_box:
        source = make_recording_input(
            f"Recording to resynthesise: {formats}", "source", visible=False
        )
        resynthesise = gr.Button("Resynthesise", visible=False, elem_id="resynthesise")
    with gr.Accordion("Continue a recording", open=False, elem_id="prompt-box") as prompt_box:
        prompt = make_recording_input(f"Prompt: {formats}", "prompt")
        with_prompt = gr.Checkbox(True, label="Include the prompt in the output")
    controls = {"source": source, "prompt": prompt, "with_prompt": with_prompt}
    controls |= {"source_box": source_box, "resynthesise": resynthesise}
    return {**controls, "prompt_box": prompt_box}


def _results() -> dict[str, Any]:
    widgets: dict[str, Any] = {"player": make_player(sample_rate=16_000)}
    widgets["view"] = make_speech_view()
    with gr.Column(elem_id="results"):
        widgets["viewer"] = make_viewer("viewer", PLACEHOLDER)
        with gr.Accordion("Details", open=False):
            widgets["summary"] = gr.HTML(elem_id="summary")
        with gr.Accordion("Reproduce this clip: command, settings, link", open=False):
            for name, label in (("command", "Command line"), ("settings", "Settings (JSON)")):
                widgets[name] = gr.Textbox(
                    label=label, interactive=False, buttons=["copy"], elem_id=name, lines=2
                )
            widgets["link"] = gr.HTML(elem_id="link")
    return widgets
