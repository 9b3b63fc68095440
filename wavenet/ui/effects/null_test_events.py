"""What a press of Subtract does: the difference of two sounds, as a sentence and as sound.

Input: the renderings of the page. Output: updates by name. Called by `effects_tab`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch

from wavenet.effects.example_riff import make_riff
from wavenet.effects.null_test import NullTest, subtract
from wavenet.errors import ConditionError
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.effects.render_job import CLIP_SOURCE, CLIP_SUBTYPE, read_recording
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, status_note

WET_MINUS_DRY = "wet minus dry"
NEW_MINUS_OLD = "this rendering minus the one before"
NULL_TESTS = (
    ("What the effect adds: wet − dry, dry at its best gain", WET_MINUS_DRY),
    ("What a setting changes: this rendering − the one before", NEW_MINUS_OLD),
)
SILENT_DB = -90.0  # a difference below it cannot be heard
Values = dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """A rendering that the page remembers for null tests.

    Attributes:
        path: of its file.
        title: of its clip.
        sample_rate: Hz.
        source: path of the recording; None for the example.
    """

    path: str
    title: str
    sample_rate: int
    source: str | None


def run_null_test(
    page: Page, *, token: Any, kind: str, rendered: tuple[Rendering, ...] | None
) -> Values:
    """Subtract, describe what is left, and add it to the clips of the visitor."""
    with convert_user_errors():
        if not rendered:
            raise ConditionError("nothing is rendered yet; press Render first")
        new = rendered[0]
        wet = _read_rendering(new)
        if kind == WET_MINUS_DRY:
            found = subtract(wet, _read_dry(new)[:, : wet.shape[1]], is_scaled=True)
            text = describe_added(found)
        else:
            found, text = _subtract_before(wet, rendered)
        title = f"{new.title} · {kind}"
        sound = torch.from_numpy(np.clip(found.difference, -1, 1))
        clip = page.clips.add(
            token,
            sound,
            new.sample_rate,
            "difference.wav",
            title,
            CLIP_SOURCE,
            subtype=CLIP_SUBTYPE,
        )
        shown = gr.update(value=str(clip.path), visible=True)
        return {
            "null_result": status_note(text),
            "null_sound": shown,
            **show_history(page.clips, token),
        }


def describe_added(found: NullTest) -> str:
    """Return a sentence about wet minus dry."""
    if math.isnan(found.level_db):
        return "The wet sound is silent."
    if found.is_silent:
        return "−∞ dB: the effect is only a volume control."
    gain = f"{found.gain:.2f}".replace("-", "−")
    return (
        f"{_level(found.level_db)} re the wet sound is left when {gain} × dry is "
        "subtracted: the distortion and the filter of the effect. A volume control alone would "
        "leave nothing (−∞ dB); 0 dB means that the sounds have nothing in common."
    )


def describe_change(found: NullTest, before: str) -> str:
    """Return a sentence about two renderings."""
    if math.isnan(found.level_db):
        return "This rendering is silent."
    if found.is_silent:
        return f"−∞ dB: this rendering and the one before ({before}) are equal, bit for bit."
    audible = " This cannot be heard." if found.level_db < SILENT_DB else ""
    return (
        f"{_level(found.level_db)} re this rendering is left when the one before ({before}) is "
        f"subtracted: what the changed setting or effect does.{audible}"
    )


def _subtract_before(wet: Any, rendered: tuple[Rendering, ...]) -> tuple[NullTest, str]:
    if len(rendered) < 2:
        raise ConditionError(
            "there is one rendering only; change a setting, press Render again, then compare"
        )
    old = _read_rendering(rendered[1])
    if old.shape != wet.shape or rendered[0].sample_rate != rendered[1].sample_rate:
        raise ConditionError(
            "both renderings must be of the same recording, as long and with as many channels"
        )
    found = subtract(wet, old, is_scaled=False)
    return found, describe_change(found, rendered[1].title)


def _read_rendering(rendering: Rendering) -> Any:
    if not Path(rendering.path).is_file():
        raise ConditionError("the rendering has expired; press Render again")
    return read_recording(rendering.path)[0]


def _read_dry(rendering: Rendering) -> Any:
    if rendering.source is None:
        return make_riff(rendering.sample_rate)[None]
    if not Path(rendering.source).is_file():
        raise ConditionError("the recording is no longer stored; drop it again and press Render")
    return read_recording(rendering.source)[0]


def _level(decibels: float) -> str:
    return f"{decibels:.1f} dB".replace("-", "−")
