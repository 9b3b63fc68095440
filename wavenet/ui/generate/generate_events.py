"""What one press of Generate or Say does: check the settings, wait for a turn, stream, keep, draw.

Input: the values of the widgets by name. Output: updates of the player, the history, the facts and
the viewer. A clip that was stopped, or whose job failed, is kept as far as it was generated. Called
by `generate_tab`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from audio_utils.errors import AudioError
from wavenet.checkpoint import Checkpoint
from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation import spoken_number
from wavenet.generation.generate import Chunk
from wavenet.generation.guard import Retry
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.event_handling import StopRequests, pace_chunks
from wavenet.ui.generate import live_player, share_settings
from wavenet.ui.generate.generation_job import (
    MAX_SECONDS,
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    make_generation_job,
    match_mel,
)
from wavenet.ui.model_bar.condition_form import first_values, form_values
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_sentence, facts_html, status_note
from wavenet.ui.server.low_priority import run_with_low_priority
from wavenet.ui.templates import render
from wavenet.ui.viewer.panels import signal_panels, surprise_panel, viewer_message

NO_COMMAND = "No command or link repeats a spoken number; press Again beside the clip in the list."
DRAWING = {"dim": "The pictures of the new clip are being drawn …"}  # for the viewer
DIGIT_SECONDS = 0.5  # of each clip of a spoken number before its silence is cut
Start = Callable[[GenerationJob], Iterator[Chunk]]
Values = dict[str, Any]


class StreamedJob(Protocol):
    """What is known of a job before its sound: `samples` in all, at `sample_rate` Hz."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def samples(self) -> int: ...


class StreamedResult(Protocol):
    """The sound of a job, which yields (n,) samples while they are generated."""

    sent_chunks: int

    @property
    def job(self) -> StreamedJob: ...

    @property
    def speed(self) -> float: ...

    def stream(self) -> Iterator[Tensor]: ...


def start_here(job: GenerationJob) -> Iterator[Chunk]:
    """Generate the clips of a job in this process."""
    return job.start()


def run_generation(
    page: Page,
    start: Start,
    stop_requests: StopRequests,
    *,
    job_number: int,
    token: Any,
    name: str | None,
    form: Any,
    engine: str,
    prompt: str | None,
    with_prompt: bool,
    source: str | None,
    **settings: Any,
) -> Iterator[Values]:
    """Generate clips from the values of the widgets.

    Args:
        page: what all tabs share.
        start: generates the clips of a job.
        stop_requests: checked between two chunks.
        job_number: from the browser.
        token: of the visitor.
        name: of the checkpoint.
        form: the message of the condition form.
        engine, prompt, with_prompt, source: as in `make_generation_job`.
        settings: those of `GenerateSettings` without the conditions.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        checkpoint = load_checkpoint(page.root, name)
        model = checkpoint.config.model
        if model.locals:
            # The recording determines the length; the hidden length field may have any value.
            settings["seconds"], prompt = None, None
        elif settings["seconds"] is None:
            raise ConditionError(f"Length: expected 0.01 to {MAX_SECONDS:g} s, found nothing")
        if settings["seed"] is None:
            settings["seed"] = -1  # an empty field: any seed
        conditions = form_values(model, form)
        checked = make_config(GenerateSettings, "settings", **settings, conditions=conditions)
        job = make_generation_job(checkpoint, checked, engine, prompt, with_prompt, source)
        yield from run_job(page, start, stop_requests, job, job_number, token)
    except (WaveNetError, AudioError) as error:
        message = live_player.end_message(job_number, 0, error_sentence(error))
        yield {"player": message, **show_history(page.clips, token)}
        with convert_user_errors():
            raise


def check_length(page: Page, *, name: str | None, seconds: float | None) -> Values:
    """Return a note if a length is outside the usual lengths of the model."""
    try:
        return {"length_note": length_note(load_checkpoint(page.root, name), seconds)}
    except WaveNetError:
        return {}


def length_note(checkpoint: Checkpoint, seconds: float | None) -> str:
    """Return HTML that names the usual lengths if `seconds` is outside; else ""."""
    usage = checkpoint.config.usage
    if usage is None or seconds is None:
        return ""
    if usage.shortest_seconds <= seconds <= usage.longest_seconds:
        return ""
    low, high = usage.shortest_seconds, usage.longest_seconds
    about = f"generates {usage.summary}" if usage.summary else "was trained on short clips"
    return status_note(
        f"{checkpoint.config.name} {about}; it works best from {low:g} to {high:g} s."
    )


def run_job(
    page: Page,
    start: Start,
    stop_requests: StopRequests,
    job: GenerationJob,
    job_number: int,
    token: Any,
) -> Iterator[Values]:
    """Wait for a turn, stream the audio of a job, keep its clips, then draw the first one."""
    result, clips = GenerationResult(job, start), []
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
            clips = keep_clips(page, token, result)
    if not clips:
        return
    yield {
        **_texts(result),
        **show_history(page.clips, token),
        "player": live_player.end_message(job_number, result.sent_chunks),
        "viewer": DRAWING,
    }
    yield {"viewer": draw_clip(result, clips[0])}


def stream_chunks(
    result: StreamedResult, stop_requests: StopRequests, job_number: int
) -> Iterator[Values]:
    """Yield messages for the player with the sound of a job, until it ends or is stopped."""
    job = result.job
    first_samples = round(live_player.FIRST_CHUNK_SECONDS * job.sample_rate)

    def until_stopped() -> Iterator[Any]:
        for chunk in result.stream():
            if job_number in stop_requests:
                return
            yield chunk

    for chunk in pace_chunks(until_stopped(), first_samples=first_samples):
        sequence, result.sent_chunks = result.sent_chunks, result.sent_chunks + 1
        yield {
            "player": live_player.chunk_message(
                job_number, sequence, job.sample_rate, job.samples, result.speed, chunk
            )
        }


def keep_clips(page: Page, token: Any, result: GenerationResult) -> list[Clip]:
    """Store the clips of a job as far as they are generated, and the first one matched to its mel.

    Returns:
        The stored clips in the order of the requests; empty if nothing was generated.
    """
    job = result.job
    if not result.generated_samples:
        return []
    is_partial = result.waveform().numel() < job.samples
    clips = []
    for n, (request, file_name) in enumerate(zip(job.requests, job.file_names, strict=True)):
        settings = share_settings.page_settings(job) | {"seed": request.seed, "variants": 1}
        values = [*map(str, request.conditions.values()), f"seed {request.seed}"]
        if job.recording:
            values.append(f"{'continues' if settings['prompt'] else 'from'} {job.recording_name}")
        title = " · ".join([job.checkpoint.config.name, *values])
        facts: Values = {"settings": settings, "is_partial": is_partial}
        waveform = result.waveform(n)
        clips.append(page.clips.add(token, waveform, job.sample_rate, file_name, title, **facts))
    matched = None if is_partial else _match_first_clip(result)
    if matched is not None:
        name = job.file_names[0].replace(".wav", "_matched.wav")
        title = f"{clips[0].title} · filtered to match the mel spectrogram of the recording"
        page.clips.add(token, matched, job.sample_rate, name, title, source="matched")
    return clips


def say_number(
    page: Page,
    start: Start,
    *,
    job_number: int,
    token: Any,
    name: str | None,
    form: Any,
    number: str | None,
    seed: int | None,
    engine: str,
) -> Iterator[Values]:
    """Generate the digits of a number together, and join them.

    Args:
        page: what all tabs share.
        start: generates the clips of a job.
        job_number: from the browser.
        token: of the visitor.
        name: of the checkpoint.
        form: the message of the condition form; its digit is not used.
        number: up to `MAX_DIGITS` digits, as the user typed them.
        seed: of the first digit; the others count up.
        engine: as in `make_generation_job`.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        digits = spoken_number.read_digits(number)
        checkpoint = load_checkpoint(page.root, name)
        conditions = form_values(checkpoint.config.model, form) | {spoken_number.LABEL: digits[0]}
        values = {"seed": -1 if seed is None else seed, "conditions": conditions}
        settings = make_config(GenerateSettings, "settings", seconds=DIGIT_SECONDS, **values)
        job = make_generation_job(checkpoint, settings, engine)
        job = replace(job, requests=spoken_number.spell(job.requests[0], digits))
        with page.turns.request() as turn:
            for place, seconds in turn.wait():
                yield {"player": live_player.waiting_message(job_number, place, seconds)}
            result = GenerationResult(job, start).complete()
        yield from _show_number(page, token, job_number, result, digits)
    except (WaveNetError, AudioError) as error:
        yield {"player": live_player.end_message(job_number, 0, error_sentence(error))}
        with convert_user_errors():
            raise


def _show_number(
    page: Page, token: Any, job_number: int, result: GenerationResult, digits: str
) -> Iterator[Values]:
    job, rate = result.job, result.job.sample_rate
    waveforms = [result.waveform(n) for n in range(len(digits))]
    waveform = spoken_number.join_clips(waveforms, rate)
    conditions = job.settings.conditions.items()
    others = [str(value) for label, value in conditions if label != spoken_number.LABEL]
    title = " · ".join([job.checkpoint.config.name, digits, *others, f"seed {job.settings.seed}"])
    given = share_settings.page_settings(job)
    settings = {name: given[name] for name in ("model", "seed", "conditions", "engine")}
    settings["number"] = digits
    name = f"{digits}_seed{job.settings.seed}.wav"
    clip = page.clips.add(token, waveform, rate, name, title, settings=settings)
    numbers = rate, waveform.numel(), result.speed
    yield {"player": live_player.chunk_message(job_number, 0, *numbers, waveform)}
    shown = _number_texts(result, waveform, digits) | show_history(page.clips, token)
    yield {**shown, "player": live_player.end_message(job_number, 1), "viewer": DRAWING}
    yield {"viewer": viewer_message(signal_panels(waveform, rate), clip)}


def _number_texts(result: GenerationResult, waveform: Tensor, digits: str) -> Values:
    job = result.job
    settings = share_settings.settings_of(job)
    names = ("checkpoint", "seed", "seconds", "engine", "precision")
    conditions = {k: v for k, v in job.settings.conditions.items() if k != spoken_number.LABEL}
    kept: Values = {"number": digits, **{name: settings[name] for name in names}}
    kept["conditions"] = conditions
    return {
        "summary": summarise(result, waveform, {"number": digits, **conditions}),
        "command": "",
        "settings": json.dumps(kept, indent=2, ensure_ascii=False),
        "link": status_note(NO_COMMAND),
    }


def show_first_clip(page: Page, start: Start, *, token: Any, name: str | None) -> Values:
    """Generate a clip with seed 0 for a visitor who has none, so that there is one to play."""
    if page.clips.clips(token):
        return {}
    with suppress(WaveNetError, AudioError):
        checkpoint = load_checkpoint(page.root, name)
        if not checkpoint.config.model.locals:
            settings = GenerateSettings(seed=0, conditions=first_values(checkpoint.config))
            job = make_generation_job(checkpoint, settings)
            with page.turns.turn():
                result = GenerationResult(job, start).complete()
            clip = keep_clips(page, token, result)[0]
            viewer = draw_clip(result, clip)
            # Last, because the visitor may have made other clips meanwhile.
            return {**_texts(result), "viewer": viewer, **show_history(page.clips, token)}
    return {}


def _match_first_clip(result: GenerationResult) -> Any:
    """Return the first clip matched to its mel frames.

    None if the model has no mel frames, or mel frames that are too coarse for matching.
    """
    with suppress(WaveNetError, AudioError):
        return match_mel(result.job, result.waveform())
    return None


def draw_clip(result: GenerationResult, clip: Clip) -> Values:
    """Return the message for the viewer: the pictures of the first clip, with its surprise."""
    waveform, rate = result.waveform(), result.job.sample_rate
    waveform_panel, *others = signal_panels(waveform, rate)
    surprise = run_with_low_priority(result.surprise)
    panels = [waveform_panel, surprise_panel(surprise, rate), *others]
    return viewer_message(panels, clip)


def _texts(result: GenerationResult) -> Values:
    job = result.job
    return {
        "summary": summarise(result),
        "command": share_settings.format_command(job),
        "settings": share_settings.format_json(job),
        "link": render("generate/share_link.html", link=share_settings.format_link(job), note=""),
    }


def summarise(
    result: GenerationResult, waveform: Tensor | None = None, conditions: Values | None = None
) -> str:
    """Return HTML with the facts of a job and the retries of the guard.

    Args:
        result: the clips of the job.
        waveform: (T,), the clip of the visitor; None: the first one of the job.
        conditions: values by name; None: those of the job.
    """
    job, speed = result.job, result.speed
    waveform = result.waveform() if waveform is None else waveform
    facts = {
        "Length": f"{waveform.numel() / job.sample_rate:.2f} s",
        "Samples": f"{waveform.numel():,}",
        "Sample rate": f"{job.sample_rate:,} Hz",
        "Real-time factor": f"{1 / max(speed, 1e-9):.2f}",
        "Speed": f"{speed:.1f} × real time",
        "Engine": f"{job.engine.name}, weights in {job.engine.precision}",
        "Seed": str(job.settings.seed),
        **{name: str(value) for name, value in (conditions or job.settings.conditions).items()},
    }
    notes = [describe_retry(job, retry) for retry in result.retries]
    return facts_html(facts, notes)


def describe_retry(job: GenerationJob, retry: Retry) -> str:
    """Return a sentence about a window that degenerated."""
    clip = "The clip" if len(job.requests) == 1 else f"Clip {retry.index + 1}"
    start, end = retry.first / job.sample_rate, retry.last / job.sample_rate
    text = f"{clip} degenerated to {retry.reason} before {end:.2f} s"
    if retry.stopped:
        return f"{text} again; the guard stopped, because the clip had too many attempts."
    if not retry.attempts:
        return f"{text}."
    outcome = "" if retry.solved else ", without success; try another seed"
    return f"{text} and was drawn again from {start:.2f} s{outcome}."
