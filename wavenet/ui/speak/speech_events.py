"""What a press of Speak does: check the settings, plan, wait for a turn, stream, keep, draw.

Input: the values of the widgets by name. Output: updates of the player, the text, the history, the
facts and the viewer. A clip that was stopped, or whose job failed, is kept as far as it was
generated. Called by `speech_controls`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from audio_utils.errors import AudioError
from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate import live_player
from wavenet.ui.generate.generate_events import DRAWING, stream_chunks
from wavenet.ui.generate.share_settings import MAX_QUERY_LENGTH
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_sentence, facts_html
from wavenet.ui.speak.speech_job import (
    SpeechJob,
    SpeechResult,
    SpeechSettings,
    make_speech_job,
)
from wavenet.ui.speak.speech_link import FIELDS, format_speech_link
from wavenet.ui.speak.speech_message import phone_panel, speech_message, style_key
from wavenet.ui.templates import render
from wavenet.ui.viewer.panels import signal_panels, viewer_message

STYLE = ("speed", "pitch", "loudness", "melody")
CHANGES_DROPPED = (
    "Your changes of melody and durations were left out, because the text, the voice or the style "
    "is another one now."
)
Values = dict[str, Any]


def run_speech(
    page: Page,
    stop_requests: StopRequests,
    *,
    job_number: int,
    token: Any,
    name: str | None,
    text: str | None,
    speaker: str | None,
    view: Any,
    seed: int | None,
    temperature: float | None,
    engine: str,
    **style: float | None,
) -> Iterator[Values]:
    """Speak a text.

    Args:
        page: what all tabs share.
        stop_requests: checked between two chunks.
        job_number: from the browser.
        token: of the visitor.
        name: of the voice.
        text, speaker, seed, temperature: as in `SpeechSettings`.
        view: the message of the view of the text with the changes of the user, of any type.
        engine: as in `make_speech_job`.
        style: speed, pitch, loudness and melody.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        if not (text or "").strip():
            raise ConditionError("the text is empty; write an English sentence")
        view = view if isinstance(view, Mapping) else {}
        values: Values = {"text": text, "speaker": speaker or None, "seed": seed, **style}
        values = {key: value for key, value in values.items() if value is not None}
        values["pronunciations"] = view.get("pronunciations") or {}
        settings = make_config(SpeechSettings, "settings", **values, temperature=temperature)
        job, dropped = _apply_changes(page, name, settings, engine, view)
        message = speech_message(job, job_number)
        message["notices"] += [CHANGES_DROPPED] * dropped
        yield {"view": message}
        yield from run_speech_job(page, stop_requests, job, job_number, token, engine)
    except (WaveNetError, AudioError) as error:
        shown = live_player.end_message(job_number, 0, error_sentence(error))
        yield {"player": shown, **show_history(page.clips, token)}
        with convert_user_errors():
            raise


def _apply_changes(
    page: Page, name: str | None, settings: SpeechSettings, engine: str, view: Mapping[str, Any]
) -> tuple[SpeechJob, bool]:
    """Return the job with the changes of the page, and whether they were dropped."""
    changes = view.get("changes")
    if not changes:
        return make_speech_job(page.root, name, settings, engine), False
    is_same = view.get("text") == settings.text and view.get("style") == style_key(name, settings)
    if is_same:
        changed = {**settings.model_dump(), "changes": changes}
        settings = make_config(SpeechSettings, "changes", **changed)
    return make_speech_job(page.root, name, settings, engine), not is_same


def run_speech_job(
    page: Page,
    stop_requests: StopRequests,
    job: SpeechJob,
    job_number: int,
    token: Any,
    engine: str,
) -> Iterator[Values]:
    """Wait for a turn, stream the sound of a job, keep its clip, then draw it."""
    result, clip = SpeechResult(job), None
    with page.turns.request() as turn:
        for place, seconds in turn.wait():
            if job_number in stop_requests:
                return
            yield {"player": live_player.waiting_message(job_number, place, seconds)}
        if job_number in stop_requests:
            return
        try:
            yield from stream_chunks(result, stop_requests, job_number)
        finally:  # also after an error, and if the page was closed
            clip = keep_clip(page, token, result, engine)
    if clip is None:
        return
    yield {
        **_texts(result, engine),
        **show_history(page.clips, token),
        "player": live_player.end_message(job_number, result.sent_chunks),
        "viewer": DRAWING,
    }
    yield {"viewer": draw_speech(result, clip) | {"job": job_number}}


def keep_clip(page: Page, token: Any, result: SpeechResult, engine: str) -> Clip | None:
    """Store the sound as far as it is generated; None if there is nothing."""
    job, waveform = result.job, result.waveform
    if not waveform.numel():
        return None
    chosen = job.settings
    settings = {"model": job.name, "conditions": {}, "seed": chosen.seed, "engine": engine}
    settings |= {name: getattr(chosen, name) for name in ("text", "speaker", *STYLE)}
    settings |= chosen.model_dump(include=set(FIELDS))
    if chosen.temperature is not None:
        settings["temperature"] = chosen.temperature
    words = " ".join(chosen.text.split())
    title = f"{job.name} · {words[:60]}{'…' * (len(words) > 60)} · seed {chosen.seed}"
    is_partial = waveform.numel() < job.samples
    facts: Values = {"settings": settings, "is_partial": is_partial}
    return page.clips.add(token, waveform, job.sample_rate, job.file_name, title, **facts)


def draw_speech(result: SpeechResult, clip: Clip) -> Values:
    """Return the message for the viewer: the pictures of the clip, with the times of the phones."""
    job = result.job
    waveform, spectrogram, *others = signal_panels(result.waveform, job.sample_rate)
    return viewer_message([waveform, spectrogram, phone_panel(job), *others], clip)


def _texts(result: SpeechResult, engine: str) -> Values:
    job, speed = result.job, result.speed
    link, left_out = format_speech_link(job, MAX_QUERY_LENGTH)
    facts = {
        "Length": f"{result.waveform.numel() / job.sample_rate:.2f} s",
        "Sentences": f"{len(job.plans):,}",
        "Sample rate": f"{job.sample_rate:,} Hz",
        "Speed": f"{speed:.1f} × real time",
        "Engine": f"{job.engine.name}, weights in {job.engine.precision}",
        "Seed": str(job.settings.seed),
    }
    shown = job.settings.model_dump(mode="json", exclude_defaults=True)
    return {
        "summary": facts_html(facts, list(job.notices)),
        "command": format_command(job),
        "settings": json.dumps({"voice": job.name, **shown}, indent=2, ensure_ascii=False),
        "link": render("generate/share_link.html", link=link, note=left_out),
    }


def format_command(job: SpeechJob) -> str:
    """Return the command that writes the same file; "" if curves or pronunciations were changed."""
    chosen = job.settings
    if chosen.changes or chosen.pronunciations:
        return ""
    words = ["wavenet", "speak", chosen.text, "--voice", job.name]
    if chosen.speaker is not None:
        words += ["--speaker", chosen.speaker]
    default = SpeechSettings(text="")
    for name in STYLE:
        value = getattr(chosen, name)
        if value != getattr(default, name):
            words += [f"--{name}", f"{value:g}"]
    if chosen.temperature is not None:
        words += ["--temperature", f"{chosen.temperature:g}"]
    return shlex.join([*words, "--seed", str(chosen.seed), "--out", job.file_name])
