"""What a press of Render does: check the settings, wait for a turn, stream, keep, draw.

Input: values of the widgets by name. Output: updates by name. A rendering that was stopped is kept
as far as it went. Called by `effects_tab`.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch

from audio_utils.errors import AudioError
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import count_weights
from wavenet.effects.standard_shapes import make_standard_shape
from wavenet.errors import WaveNetError
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.effects.effect_choices import choose_effect, knob_values
from wavenet.ui.effects.effect_panels import mix_channels, pair_panels
from wavenet.ui.effects.null_test_events import Rendering
from wavenet.ui.effects.render_job import (
    CLIP_SOURCE,
    CLIP_SUBTYPE,
    RenderJob,
    RenderResult,
    make_chain_settings,
    make_render_job,
)
from wavenet.ui.event_handling import StopRequests, pace_chunks
from wavenet.ui.generate import live_player
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_sentence, facts_html
from wavenet.ui.server.low_priority import run_with_low_priority
from wavenet.ui.viewer.panels import viewer_message

DRAWING = {"dim": "The pictures of the new rendering are being drawn …"}  # for the viewer
Values = dict[str, Any]


def prepare_engine() -> None:
    """Compile the engine and load what a rendering needs, before the first press of Render."""
    shape = make_standard_shape("nano")
    model = NamModel(shape, np.zeros(count_weights(shape), np.float32))
    settings = make_chain_settings(0, 0, 1, "1")
    RenderResult(make_render_job("nano", model, {}, settings, None)).complete()


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
    removes_offset: bool | None,
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
        input_gain, output_trim, mix, oversampling, removes_offset: values of the widgets.
        rendered: the renderings before, the newest first.
        knobs: values of the sliders of knobs.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        chosen = choose_effect(page.root, effect, upload)
        model, setting = chosen.model_at(knob_values(knobs))
        settings = make_chain_settings(input_gain, output_trim, mix, oversampling, removes_offset)
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
        if job_number in stop_requests:
            return
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


def _stream(result: RenderResult, stop_requests: StopRequests, job_number: int) -> Iterator[Values]:
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
        CLIP_SOURCE,
        is_partial=wet.shape[1] < job.samples,
        subtype=CLIP_SUBTYPE,
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
