"""Say a number with a model of single digits: one clip per digit in one voice, joined.

Input: the digits, and the settings of the Generate tab. Output: one clip. Called by `generate_tab`
for models that have the label `digit` with the values 0 to 9.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import librosa
import torch
from torch import Tensor

from audio_utils.errors import AudioError
from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.model.model_config import ModelConfig
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.history_panel import file_url, history_html
from wavenet.ui.generate.generate_events import Start
from wavenet.ui.generate.generation_job import (
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    make_generation_job,
)
from wavenet.ui.generate.live_player import chunk_message, end_message, waiting_message
from wavenet.ui.model_bar.condition_form import form_values
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_sentence
from wavenet.ui.viewer.panels import signal_panels, viewer_message

LABEL = "digit"
DIGITS = "0123456789"
MAX_DIGITS = 12
DIGIT_SECONDS = 0.5  # of each clip before its silence is cut
SILENCE_DB = 35.0  # below the maximum of a clip
FRAME = 512  # samples, of the level that finds silence
FADE_SECONDS = 0.03
Values = dict[str, Any]


def can_say_numbers(model: ModelConfig) -> bool:
    """Return whether a model has a label for each digit."""
    return any(c.name == LABEL and set(DIGITS) <= set(c.values) for c in model.labels)


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
        digits = read_digits(number)
        checkpoint = load_checkpoint(page.root, name)
        conditions = form_values(checkpoint.config.model, form) | {LABEL: digits[0]}
        values = {"seed": -1 if seed is None else seed, "conditions": conditions}
        settings = make_config(GenerateSettings, "settings", seconds=DIGIT_SECONDS, **values)
        job = spell(make_generation_job(checkpoint, settings, engine), digits)
        with page.turns.request() as turn:
            for place, seconds in turn.wait():
                yield {"player": waiting_message(job_number, place, seconds)}
            result = GenerationResult(job, start)
            for _ in result.stream():
                pass
        yield from _show(page, token, job_number, result, digits)
    except (WaveNetError, AudioError) as error:
        yield {"player": end_message(job_number, 0, error_sentence(error))}
        with convert_user_errors():
            raise


def read_digits(number: str | None) -> str:
    """Return the digits of a typed number; spaces between them are ignored.

    Raises:
        ConditionError: there are none, too many, or other characters.
    """
    digits = "".join((number or "").split())
    if not digits or set(digits) - set(DIGITS) or len(digits) > MAX_DIGITS:
        raise ConditionError(
            f"Number to say: expected 1 to {MAX_DIGITS} digits, found {(number or '')[:40]!r}"
        )
    return digits


def spell(job: GenerationJob, digits: str) -> GenerationJob:
    """Return a job with one request per digit; the seeds count up."""
    first = job.requests[0]
    requests = tuple(
        replace(first, conditions={**first.conditions, LABEL: digit}, seed=first.seed + n)
        for n, digit in enumerate(digits)
    )
    return replace(job, requests=requests)


def join_clips(waveforms: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Cut the silence around each clip, and join them with short cross-fades.

    Args:
        waveforms: (T,) each.
        sample_rate: Hz.
    Returns:
        (T,).
    """
    fade = round(FADE_SECONDS * sample_rate)
    joined = torch.zeros(0)
    for waveform in waveforms:
        _, (first, last) = librosa.effects.trim(
            waveform.numpy(), top_db=SILENCE_DB, frame_length=FRAME, hop_length=FRAME // 4
        )
        clip = waveform[max(0, first - fade) : last + fade]
        size = min(fade, len(joined), len(clip))
        ramp = torch.linspace(0, 1, size)
        overlap = joined[len(joined) - size :] * (1 - ramp) + clip[:size] * ramp
        joined = torch.cat([joined[: len(joined) - size], overlap, clip[size:]])
    return joined


def _show(
    page: Page, token: Any, job_number: int, result: GenerationResult, digits: str
) -> Iterator[Values]:
    job, rate = result.job, result.job.sample_rate
    waveform = join_clips([result.waveform(n) for n in range(len(digits))], rate)
    others = [str(v) for k, v in job.settings.conditions.items() if k != LABEL]
    title = " · ".join([job.checkpoint.config.name, digits, *others, f"seed {job.settings.seed}"])
    clip = page.clips.add(token, waveform, rate, f"{digits}_seed{job.settings.seed}.wav", title)
    yield {"player": chunk_message(job_number, 0, rate, waveform.numel(), result.speed, waveform)}
    yield {"player": end_message(job_number, 1), "history": history_html(page.clips.clips(token))}
    panels = signal_panels(waveform, rate)
    yield {"viewer": viewer_message(panels, title, file_url(clip), waveform.numel(), rate)}
