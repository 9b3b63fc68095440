"""What a press of Render does: check the settings, wait for a turn, stream, keep, draw.

Also: the choice of an effect, and the null test of what was rendered. Input: values of the widgets by
name. Output: updates by name. A rendering that was stopped is kept as far as it went. Called by
`effects_tab`.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from audio_utils.errors import AudioError
from wavenet.effects.example_riff import make_riff
from wavenet.effects.nam_file import SUFFIX, write_nam
from wavenet.effects.null_test import NullTest, subtract
from wavenet.effects.training.nam_export import export_nam
from wavenet.effects.training.training_results import load_results
from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.effects import effect_choices
from wavenet.ui.effects.effect_panels import mix_channels, pair_panels
from wavenet.ui.effects.render_job import (
    RenderJob,
    RenderResult,
    make_chain_settings,
    make_render_job,
    read_recording,
)
from wavenet.ui.event_handling import StopRequests, pace_chunks
from wavenet.ui.generate import live_player
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_note, error_sentence, facts_html, status_note
from wavenet.ui.server.low_priority import run_with_low_priority
from wavenet.ui.viewer.panels import viewer_message

DRAWING = {"dim": "The pictures of the new rendering are being drawn …"}  # for the viewer
SOURCE = "effect"  # of a clip
SUBTYPE = "PCM_24"
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


def show_effect(page: Page, *, effect: str | None, upload: str | None) -> Values:
    """Return the facts and the knobs of the chosen effect; an invalid file is removed."""
    try:
        chosen = effect_choices.choose_effect(page.root, effect, upload)
        about = effect_choices.describe_effect(chosen)
    except WaveNetError as error:
        updates = effect_choices.knob_updates(None)
        note = error_note(error) if upload or effect else ""
        found: Values = {"about": note, "export": gr.update(visible=False)}
        if upload:
            found["upload"] = None
        return found | name_knobs(updates)
    updates = effect_choices.knob_updates(chosen)
    shown = {"about": about, "export": gr.update(visible=chosen.trained is not None)}
    return shown | name_knobs(updates)


def name_knobs(values: list[Any]) -> Values:
    """Return values of the sliders by their names."""
    return {f"knob_{n}": value for n, value in enumerate(values)}


def knob_values(values: Values) -> list[float | None]:
    """Return the values of the sliders in their order."""
    return [values.get(f"knob_{n}") for n in range(effect_choices.MAX_KNOBS)]


def list_effect_choices(page: Page, *, effect: str | None) -> Values:
    """Return an update of the list of effects; the chosen one stays, or else the first is chosen."""
    names = list(effect_choices.list_studio_effects(page.root))
    chosen = effect if effect in names else next(iter(names), None)
    return {"effect": gr.update(choices=names, value=chosen)}


def run_render(
    page: Page,
    stop_requests: StopRequests,
    *,
    job_number: int,
    token: Any,
    effect: str | None,
    upload: str | None,
    recording: str | None,
    cabinet: str | None,
    input_gain: float | None,
    output_trim: float | None,
    mix: float | None,
    oversampling: str | None,
    rendered: tuple[Rendering, ...] | None,
    **knobs: Any,
) -> Iterator[Values]:
    """Render a recording.

    Args:
        page: what all tabs share.
        stop_requests: checked between two blocks.
        job_number: from the browser.
        token: of the visitor.
        effect: name in the list.
        upload: path of a dropped effect.
        recording: path of the dry recording; None for the example.
        cabinet: path of an impulse response, or None.
        input_gain, output_trim, mix, oversampling: values of the widgets.
        rendered: the renderings before, the newest first.
        knobs: values of the sliders of knobs.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        chosen = effect_choices.choose_effect(page.root, effect, upload)
        model, setting = chosen.model_at(knob_values(knobs))
        settings = make_chain_settings(input_gain, output_trim, mix, oversampling)
        job = make_render_job(chosen.name, model, setting, settings, recording, cabinet)
        yield from _run_job(page, stop_requests, job, job_number, token, rendered or ())
    except (WaveNetError, AudioError) as error:
        message = live_player.end_message(job_number, 0, error_sentence(error))
        yield {"player": message, **show_history(page.clips, token)}
        with convert_user_errors():
            raise


def _run_job(
    page: Page,
    stop_requests: StopRequests,
    job: RenderJob,
    job_number: int,
    token: Any,
    rendered: tuple[Rendering, ...],
) -> Iterator[Values]:
    """Wait for a turn, stream the sound of a job, keep its clip, then draw it."""
    result, clip = RenderResult(job), None
    with page.turns.request() as turn:
        for place, seconds in turn.wait():
            if job_number in stop_requests:
                return
            yield {"player": live_player.waiting_message(job_number, place, seconds)}
        try:
            yield from _stream(result, stop_requests, job_number)
        finally:  # also after an error, and if the page was closed
            clip = keep_rendering(page, token, result)
    if clip is None:
        return
    new = Rendering(str(clip.path), clip.title, job.sample_rate, job.source)
    yield {
        "summary": summarise(result),
        "rendered": (new, *rendered[:1]),
        "download": gr.update(value=str(clip.path), interactive=True),
        "player": live_player.end_message(job_number, result.sent_chunks),
        "viewer": DRAWING,
        "null_result": "",
        "null_sound": gr.update(value=None, visible=False),
        **show_history(page.clips, token),
    }
    yield {"viewer": draw_rendering(result, clip)}


def _stream(
    result: RenderResult, stop_requests: StopRequests, job_number: int
) -> Iterator[Values]:
    """Yield messages for the player until the sound ends or is stopped."""
    job = result.job
    channels = 2 * job.chain.count_outputs(len(job.dry))
    first_values = channels * round(live_player.FIRST_CHUNK_SECONDS * job.sample_rate)

    def until_stopped() -> Iterator[torch.Tensor]:
        for block in result.stream():
            if job_number in stop_requests:
                return
            yield block

    for chunk in pace_chunks(until_stopped(), first_samples=first_values):
        sequence, result.sent_chunks = result.sent_chunks, result.sent_chunks + 1
        message = live_player.chunk_message(
            job_number, sequence, job.sample_rate, job.samples, result.speed, chunk
        )
        yield {"player": message | {"gains": result.gains}}


def keep_rendering(page: Page, token: Any, result: RenderResult) -> Clip | None:
    """Store the wet sound as far as it is rendered; None if there is nothing."""
    job, wet = result.job, result.wet
    if not wet.shape[1]:
        return None
    return page.clips.add(
        token,
        torch.from_numpy(wet),
        job.sample_rate,
        job.file_name,
        job.title,
        SOURCE,
        is_partial=wet.shape[1] < job.samples,
        subtype=SUBTYPE,
    )


def draw_rendering(result: RenderResult, clip: Clip) -> Values:
    """Return the message for the viewer; the dry sound is shown as loud as the wet one."""

    def draw() -> Values:
        ratio = result.gains["dry"] / result.gains["wet"]
        wet = mix_channels(torch.from_numpy(result.wet)).clamp(-1, 1)
        dry = mix_channels(torch.from_numpy(result.dry)) * ratio
        return viewer_message(pair_panels(wet, dry, result.job.sample_rate), clip)

    return run_with_low_priority(draw)


def summarise(result: RenderResult) -> str:
    """Return HTML with the facts of a rendering."""
    job = result.job
    facts = {
        "length": f"{result.seconds:.2f} s",
        "sample rate": f"{job.sample_rate:,} Hz",
        "channels": str(len(result.wet)),
        "CPU load": f"{100 * result.load:.1f} % of one core",
        "speed": f"{result.speed:.0f} × real time",
        "loudness, wet re dry": f"{result.loudness_gain_db():+.1f} dB",
    }
    notes = []
    if job.chain.resamples:
        notes.append(
            f"The recording was resampled to the {job.model.rate:,.0f} Hz of the effect and back."
        )
    if result.clipping_note():
        notes.append(result.clipping_note())
    return facts_html(facts, notes)


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
            token, sound, new.sample_rate, "difference.wav", title, SOURCE, subtype=SUBTYPE
        )
        shown = gr.update(value=str(clip.path), visible=True)
        return {"null_result": status_note(text), "null_sound": shown, **show_history(page.clips, token)}


def describe_added(found: NullTest) -> str:
    """Return a sentence about wet minus dry."""
    if math.isnan(found.level_db):
        return "The wet sound is silent."
    if found.is_silent:
        return "−∞ dB: the effect is only a volume control."
    return (
        f"{_level(found.level_db)} re the wet sound is left when {found.gain:.2f} × dry is "
        "subtracted: the distortion and the filter of the effect. A volume control alone would leave "
        "nothing (−∞ dB); 0 dB means that the sounds have nothing in common."
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


def export_effect(
    page: Page, *, effect: str | None, upload: str | None, **knobs: Any
) -> Values:
    """Write the trained effect with the knobs of the page as a `.nam` file; return its download."""
    with convert_user_errors():
        chosen = effect_choices.choose_effect(page.root, effect, upload)
        if chosen.trained is None or chosen.folder is None:
            raise ConditionError("this effect is a file already; only a trained effect is exported")
        _, setting = chosen.model_at(knob_values(knobs))
        model = export_nam(chosen.trained, setting, results=load_results(chosen.folder))
        knob_text = "".join(f"_{name}{value:.2g}" for name, value in setting.items())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{chosen.name}{knob_text}{SUFFIX}"
            write_nam(model, path)
            stored = save_file_to_cache(path, get_upload_folder())
        return {"package": gr.update(value=stored)}


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

