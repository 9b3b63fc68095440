"""The widgets of the Generate tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from audio_utils.audio_formats import readable_formats
from wavenet.checkpoint import Checkpoint
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate.generate_events import (
    Start,
    check_length,
    length_note,
    run_generation,
    show_first_clip,
)
from wavenet.ui.generate.generation_job import (
    ENGINES,
    MAX_SECONDS,
    MAX_SEED,
    MAX_VARIANTS,
    default_sampling,
    default_seconds,
)
from wavenet.ui.generate.live_player import (
    FAIL_JS,
    START_JS,
    STOP_JS,
    make_player,
    rate_message,
)
from wavenet.ui.generate.spoken_number import can_say_numbers, say_number
from wavenet.ui.page import Page, Settings
from wavenet.ui.viewer.viewer import make_viewer
from wavenet.ui.wiring import PRIVATE, UNQUEUED, by_name

# Options of the events that start a job. The player disables the button during a job; the default
# trigger mode of Gradio would also ignore the first press after Stop, until the server has
# answered. Jobs wait in `page.turns`, which tells them their place.
_JOB: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": None, **PRIVATE}
PLACEHOLDER = "The pictures of the finished clip appear here."


@dataclass(frozen=True)
class GenerateWidgets:
    """What other parts of the page use: the button, and the settings by name."""

    button: gr.Button
    settings: dict[str, Any]


def build_generate_tab(page: Page, start: Start) -> GenerateWidgets:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        start: generates the clips of a job.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            settings = _clip_settings()
            note = gr.HTML(elem_id="length-note")
            with gr.Row():
                button = gr.Button(
                    "Generate", variant="primary", elem_id="generate", interactive=False
                )
                stop = gr.Button("Stop", elem_id="stop")
            number, say = _number_to_say()
            settings |= _sampling_settings()
            recordings = _recordings()
        with gr.Column(scale=3, min_width=300):
            outputs = _results()
    page.recordings |= {"continue": recordings["prompt"], "resynthesise": recordings["source"]}
    page.kept |= settings
    page.add_dependents(
        {
            **settings,
            **recordings,
            "player": outputs["player"],
            "generate": button,
            "length_note": note,
            "number": number,
            "say": say,
        },
        _apply_settings,
    )
    check = partial(check_length, page)
    named = {"name": page.model, "seconds": settings["seconds"]}
    settings["seconds"].input(**by_name(check, named, {"length_note": note}), **UNQUEUED)
    for name in ("seconds", "seed"):
        settings[name].submit(None, js="() => document.getElementById('generate').click()")
    job_number = gr.Number(0, precision=0, visible=False)
    common = {"job_number": job_number, "token": page.token, "name": page.model}
    common |= {"form": page.conditions}
    outputs |= {"history": page.history}
    _wire(page, start, button, stop, common | settings | recordings, outputs)
    first = {"token": page.token, "name": page.model}
    page.load_events.append(by_name(partial(show_first_clip, page, start), first, outputs))
    spoken = {**common, "number": number, "seed": settings["seed"], "engine": settings["engine"]}
    for press in (say.click, number.submit):
        said = press(
            **by_name(partial(say_number, page, start), spoken, outputs), **_JOB, js=START_JS
        )
        said.failure(None, js=FAIL_JS, **UNQUEUED)
    return GenerateWidgets(button, settings)


def _wire(
    page: Page,
    start: Start,
    button: gr.Button,
    stop: gr.Button,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
) -> None:
    stop_requests = StopRequests()
    callback = partial(run_generation, page, start, stop_requests)
    event = button.click(**by_name(callback, inputs, outputs), **_JOB, js=START_JS)
    event.failure(None, js=FAIL_JS, **UNQUEUED)
    job_number = inputs["job_number"]
    stop.click(stop_requests.add, job_number, js=STOP_JS, trigger_mode="multiple", **UNQUEUED)


def _apply_settings(checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """Return the updates of the widgets for a checkpoint and settings."""
    model = checkpoint.config.model
    values: dict[str, Any] = {"seconds": default_seconds(checkpoint), "seed": -1}
    values |= {"variants": 1, "engine": "auto"}
    values |= default_sampling(checkpoint)
    values |= {name: settings[name] for name in values if name in settings}
    has_optional = any(condition.dropout for condition in (*model.labels, *model.globals))
    resynthesises = bool(model.locals)
    return {
        **values,
        "seconds": gr.update(value=values["seconds"], visible=not resynthesises),
        "guidance": gr.update(value=values["guidance"], visible=has_optional),
        "source": gr.update(value=None, visible=resynthesises),
        "prompt": gr.update(visible=not resynthesises),
        "with_prompt": gr.update(visible=not resynthesises),
        "player": rate_message(checkpoint.config.audio.sample_rate),
        "generate": gr.update(interactive=True),
        "number": gr.update(visible=can_say_numbers(model)),
        "say": gr.update(visible=can_say_numbers(model)),
        "length_note": "" if resynthesises else length_note(checkpoint, values["seconds"]),
    }


def _clip_settings() -> dict[str, Any]:
    with gr.Row():
        seconds = gr.Number(
            1.0,
            label="Length (s)",
            minimum=0.01,
            maximum=MAX_SECONDS,
            step=0.1,
            min_width=120,
            elem_id="seconds",
        )
        seed = gr.Number(
            -1,
            label="Seed (−1: random)",
            precision=0,
            minimum=-1,
            maximum=MAX_SEED,
            min_width=120,
            elem_id="seed",
        )
    return {"seconds": seconds, "seed": seed}


def _number_to_say() -> tuple[gr.Textbox, gr.Button]:
    with gr.Row(equal_height=True):
        number = gr.Textbox(
            label="Number to say",
            placeholder="1984",
            max_length=40,
            visible=False,
            min_width=120,
            elem_id="number",
        )
        say = gr.Button("Say", visible=False, elem_id="say", min_width=90, scale=0)
    return number, say


def _sampling_settings() -> dict[str, Any]:
    """Build the widgets that few users change."""
    with gr.Accordion("Sampling", open=False, elem_id="sampling"):
        return {
            "guidance": gr.Slider(
                1,
                4,
                1,
                step=0.1,
                label="Guidance: strength of the conditions (1: off)",
                visible=False,
                elem_id="guidance",
            ),
            "variants": gr.Slider(
                1, MAX_VARIANTS, 1, step=1, label="Variants: number of clips", elem_id="variants"
            ),
            "temperature": gr.Slider(
                0.1,
                2,
                1,
                step=0.05,
                label="Temperature (below 1: less random)",
                elem_id="temperature",
            ),
            "top_k": gr.Slider(
                0, 256, 0, step=1, label="Top-k: sample from the k most likely codes (0: off)"
            ),
            "top_p": gr.Slider(
                0.05,
                1,
                1,
                step=0.01,
                label="Top-p: sample from the smallest set of most likely codes whose total "
                "probability is at least p (1: off)",
            ),
            "engine": gr.Dropdown(list(ENGINES), value="auto", label="Engine", elem_id="engine"),
        }


def _recordings() -> dict[str, Any]:
    source = make_recording_input(
        f"Recording to resynthesise: {readable_formats()}", "source", visible=False
    )
    with gr.Accordion("Continue a recording", open=False):
        prompt = make_recording_input(f"Prompt: {readable_formats()}", "prompt")
        with_prompt = gr.Checkbox(True, label="Include the prompt in the output")
    return {"source": source, "prompt": prompt, "with_prompt": with_prompt}


def make_recording_input(label: str, elem_id: str, visible: bool = True) -> gr.Audio:
    """Build an input for a recording: a file, or the microphone."""
    return gr.Audio(
        type="filepath",
        sources=["upload", "microphone"],
        format=None,
        buttons=["download"],
        label=label,
        elem_id=elem_id,
        visible=visible,
    )


def _results() -> dict[str, Any]:
    widgets: dict[str, Any] = {"player": make_player(sample_rate=16_000)}
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
