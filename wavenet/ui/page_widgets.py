"""Widgets that several tabs have: fields of numbers, inputs of recordings, players of results.

Called by the tabs while they are built.
"""

from typing import Any

import gradio as gr

# Files stay as they are; Gradio would convert them.
_AUDIO: dict[str, Any] = {"type": "filepath", "format": None, "buttons": ["download"]}


def make_number(
    label: str, value: float, elem_id: str, low: float, high: float, **options: Any
) -> gr.Number:
    """Build a field of a number from `low` to `high`."""
    return gr.Number(
        value, label=label, minimum=low, maximum=high, min_width=120, elem_id=elem_id, **options
    )


def make_job_numbers() -> dict[str, gr.Number]:
    """Build hidden fields: the first inputs of an event, which `pageEvents.startJob` sets."""
    names = ("job_number", "previous_job")
    return {name: gr.Number(None, precision=0, visible=False) for name in names}


def make_recording_input(label: str, elem_id: str, visible: bool = True) -> gr.Audio:
    """Build an input for a recording: a file, or the microphone."""
    options: dict[str, Any] = {"sources": ["upload", "microphone"], "visible": visible}
    return gr.Audio(label=label, elem_id=elem_id, **options, **_AUDIO)


def make_audio_output(elem_id: str, **options: Any) -> gr.Audio:
    """Build a player of a file that the studio has written."""
    return gr.Audio(interactive=False, elem_id=elem_id, **_AUDIO, **options)
