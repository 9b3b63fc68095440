"""The widgets of text to speech in the Generate tab, shown for a voice.

Input: the page. Output: widgets with their events. Called by `generate_tab`.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.checkpoint_folders import named_folder, studio_name
from wavenet.errors import WaveNetError
from wavenet.speech.voice_folder import load_acoustic_model
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.page import Page, Settings, given_value
from wavenet.ui.speak.speech_events import STYLE, run_speech
from wavenet.ui.speak.speech_job import MAX_CHARACTERS, STYLE_RANGES
from wavenet.ui.speak.speech_link import FIELDS, plan_view
from wavenet.ui.templates import scripted_html
from wavenet.ui.wiring import REPEATABLE, UNQUEUED, by_name, pick

EXAMPLE = "Hello! Type a sentence, and I will speak it."
# Name -> first value, step, label.
SLIDERS = {
    "speed": (1, 0.05, "Speed (2: twice as fast)"),
    "pitch": (0, 0.5, "Pitch (semitones)"),
    "melody": (1, 0.1, "Melody: movement of the pitch (0: monotonous)"),
    "loudness": (0, 0.5, "Loudness (dB)"),
}


def is_voice_part(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is the vocoder of a voice."""
    folder = Path(checkpoint.folder)
    return named_folder(folder) != folder


def build_speech_controls(page: Page) -> dict[str, Any]:
    """Build the text, the button and the style; all hidden until a voice is chosen."""
    with gr.Column(visible=False, elem_id="speech-controls") as box:
        text = gr.Textbox(
            EXAMPLE,
            label="Text to speak (English)",
            lines=3,
            max_lines=12,
            max_length=MAX_CHARACTERS,
            elem_id="speech-text",
            info="Shift+Enter speaks it. A pronunciation can be written in it: [[HH AH0 L OW1]].",
        )
        with gr.Row():
            speak = gr.Button("Speak", variant="primary", elem_id="speak", min_width=120)
            stop = gr.Button("Stop", elem_id="speech-stop", min_width=120)
        with gr.Accordion("Style", open=False, elem_id="speech-style") as style:
            # The choices of this component are those of no voice, so it must accept any value.
            speaker = gr.Dropdown(
                [], label="Speaker", visible=False, allow_custom_value=True, elem_id="speaker"
            )
            sliders = {
                name: gr.Slider(*STYLE_RANGES[name], value, step=step, label=label, elem_id=name)
                for name, (value, step, label) in SLIDERS.items()
            }
    widgets: dict[str, Any] = {"text": text, "speaker": speaker, **sliders}
    page.kept |= widgets
    page.add_dependents({**widgets, "speech_box": box, "style": style}, _apply_settings)
    return {**widgets, "speak": speak, "stop": stop}


def make_speech_view() -> gr.HTML:
    """Build the view of the spoken text; its value is a message of `speech_message`."""
    return scripted_html("speak/speech_view", "speech-view", scripts=("svg_plots",))


def wire_speech(
    page: Page,
    controls: Mapping[str, Any],
    settings: Mapping[str, Any],
    outputs: Mapping[str, Any],
    job_number: gr.Number,
    stop_requests: StopRequests,
) -> None:
    """Connect Speak.

    Args:
        page: what all tabs share.
        controls: of `build_speech_controls`.
        settings: the seed, the temperature and the engine, by name.
        outputs: of the Generate tab, with the view of the text.
        job_number: set by the browser.
        stop_requests: of the Generate tab, whose button stops also this job.
    """
    inputs = {"job_number": job_number, "view": outputs["view"]}
    inputs |= pick(page.inputs, "token", "name")
    inputs |= pick(controls, "text", "speaker", *STYLE)
    inputs |= pick(settings, "seed", "temperature", "engine")
    page.add_dependents({"view": outputs["view"]}, partial(_apply_view, page.root))
    job = by_name(partial(run_speech, page, stop_requests), inputs, outputs)
    for press in (controls["speak"].click, controls["text"].submit):
        started = press(**job, **REPEATABLE, js="pageEvents.startPlayer")
        started.failure(None, js="pageEvents.failPlayer", **UNQUEUED)


def _apply_settings(checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """Return the updates of the widgets for a checkpoint and settings."""
    shown = is_voice_part(checkpoint)
    updates: dict[str, Any] = {"speech_box": gr.update(visible=shown)}
    firsts = {name: first for name, (first, _, _) in SLIDERS.items()}
    updates |= {name: settings.get(name, first) for name, first in firsts.items()}
    is_changed = any(updates[name] != first for name, first in firsts.items())
    updates["style"] = gr.update(open=True) if is_changed else gr.update()
    updates["text"] = given_value(settings, "text")
    speakers = _speakers(checkpoint) if shown else []
    chosen = settings.get("speaker")
    updates["speaker"] = gr.update(
        choices=speakers,
        value=chosen if chosen in speakers else next(iter(speakers), None),
        visible=len(speakers) > 1,
    )
    return updates


def _apply_view(root: Path, checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """Return the update of the view: empty, or the words and curves of a text not spoken yet."""
    view = settings.get("view")
    is_changed = any(settings.get(field) for field in FIELDS)
    if view is None and is_changed and is_voice_part(checkpoint):
        with suppress(WaveNetError):  # Speak reports it
            view = plan_view(root, studio_name(checkpoint.folder), settings)
    return {"view": view}


def _speakers(checkpoint: Checkpoint) -> list[str]:
    model = load_acoustic_model(named_folder(Path(checkpoint.folder)))
    return list(model.config.speakers)
