"""What one press of Watch does: make or read a clip, and inspect some of its steps.

Input: the values of the widgets by name. Output: messages for `step_viewer.js`. Called by
`watch_tab`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import SystemRandom
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from audio_utils.errors import AudioError
from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest, samples_from_seconds
from wavenet.likelihood.attention_map import MAX_PAST, has_attention, view_attention
from wavenet.likelihood.step_view import draw_first_codes, view_steps
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.event_handling import pace_chunks
from wavenet.ui.generate.generation_job import MAX_SECONDS, RANDOM_SEEDS
from wavenet.ui.model_bar.condition_form import form_values
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_sentence
from wavenet.ui.server.uploads import read_upload
from wavenet.ui.turns import describe_place
from wavenet.ui.watch.attention_message import attention_message
from wavenet.ui.watch.step_viewer import busy_message, error_message, max_steps, steps_message

Message = dict[str, Any]
# Time of the first step, s; number of steps.
Steps = tuple[float, int]
Conditions = Mapping[str, ConditionValue]


def show_recording(*, recording: str | None) -> dict[str, Any]:
    """Open the box of the recording if it has one, because the recording is then predicted."""
    return {"recording_box": gr.update(open=True)} if recording else {}


def run_watch(
    page: Page,
    *,
    name: str | None,
    form: Any,
    seconds: float | None,
    seed: int | None,
    start: float | None,
    steps: int | None,
    recording: str | None,
) -> Iterator[dict[str, Message]]:
    """Check the values of the widgets, wait for a turn, then inspect the steps.

    Args:
        page: what all tabs share.
        name: of the checkpoint.
        form: the message of the condition form.
        seconds: length of a generated clip.
        seed: of a generated clip; None: random.
        start: time of the first step, s.
        steps: number of steps.
        recording: path of an upload to predict; None generates a clip.
    Yields:
        Messages for `step_viewer.js`.
    Raises:
        gr.Error: a setting is invalid; the last message shows the same sentence.
    """
    try:
        checkpoint = load_checkpoint(page.root, name)
        conditions = form_values(checkpoint.config.model, form)
        chosen = check_steps(checkpoint, start, steps)
        if recording is None:
            request = make_request(checkpoint, conditions, seconds, seed)
            messages = watch_generation(checkpoint, request, chosen)
        else:
            messages = watch_recording(checkpoint, conditions, recording, chosen)
        with page.turns.request() as turn:
            for place, wait in turn.wait():
                yield {"step_view": busy_message(describe_place(place, wait))}
            for message in messages:
                yield {"step_view": message}
    except (WaveNetError, AudioError) as error:
        yield {"step_view": error_message(error_sentence(error))}
        with convert_user_errors():
            raise


def check_steps(checkpoint: Checkpoint, start: float | None, steps: int | None) -> Steps:
    """Return the steps to show; the page has checked the ranges of the numbers.

    Raises:
        ConditionError: a number is missing, or one message cannot contain so many steps.
    """
    if start is None or steps is None:
        field = "First step" if start is None else "Steps"
        raise ConditionError(f"{field}: expected a number, found nothing")
    if steps > (limit := max_steps(checkpoint, steps)):
        raise ConditionError(f"Steps: expected 1 to {limit} for this model, found {steps}")
    return start, steps


def sample_range(chosen: Steps, samples: int, sample_rate: int) -> tuple[int, int]:
    """Return the first sample of the steps, and the sample after the last.

    Args:
        chosen: the steps; fewer are shown if the clip ends before the last.
        samples: length of the clip.
        sample_rate: Hz.
    Raises:
        ConditionError: the clip ends before the first step.
    """
    start, steps = chosen
    first = round(start * sample_rate)
    if first >= samples:
        raise ConditionError(
            f"First step: expected a time before the end of the clip at "
            f"{samples / sample_rate:g} s, found {start:g} s"
        )
    return first, min(first + steps, samples)


def make_request(
    checkpoint: Checkpoint, conditions: Conditions, seconds: float | None, seed: int | None
) -> GenerationRequest:
    """Return the request of a clip to generate.

    Raises:
        ConditionError: the model needs a recording, or the length is missing or too small.
    """
    config = checkpoint.config
    if config.model.locals:
        raise ConditionError(
            f"this model needs the {config.model.locals[0].name} frames of a recording; upload "
            "a recording under “Predict a recording”"
        )
    if seconds is None:
        raise ConditionError("Length: expected a number, found nothing")
    samples = samples_from_seconds(seconds, config.audio.sample_rate)
    chosen = SystemRandom().randrange(RANDOM_SEEDS) if seed is None else seed
    return GenerationRequest(samples, conditions, chosen)


def watch_generation(
    checkpoint: Checkpoint, request: GenerationRequest, chosen: Steps
) -> Iterator[Message]:
    """Generate a clip by plain sampling up to the last step, and inspect the steps.

    Raises:
        ConditionError: the model does not have these conditions, or the clip ends too early.
    """
    config = checkpoint.config
    first, end = sample_range(chosen, request.samples, config.audio.sample_rate)
    yield busy_message("Generating the clip …")
    parts = []
    for part in pace_chunks(draw_first_codes(checkpoint, request, end)):
        parts.append(part)
        share = sum(map(len, parts)) / end
        yield busy_message(f"Generating the clip up to the last step: {share:.0%}")
    codes = torch.cat(parts)
    noise = uniform_noise(request.seed, request.noise_stream, first, end - first)
    title = _title(config.name, request.conditions, f"seed {request.seed}")
    yield inspect_steps(checkpoint, request, codes, first, title, noise)


def watch_recording(
    checkpoint: Checkpoint, conditions: Conditions, path: str, chosen: Steps
) -> Iterator[Message]:
    """Predict every sample of a recording from the samples before it, and inspect some steps.

    Raises:
        AudioError: the recording cannot be read.
        ConditionError: the recording is too long, or a condition of the model has no value.
    """
    yield busy_message("Reading the recording …")
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    waveform = read_upload(path, rate, MAX_SECONDS).waveform
    first, end = sample_range(chosen, waveform.numel(), rate)
    frame_features = (
        compute_frame_features(config.model, rate, waveform) if config.model.locals else None
    )
    request = GenerationRequest(waveform.numel(), conditions, frame_features=frame_features)
    codes = checkpoint.codec.encode(waveform)[:end]
    title = _title(config.name, conditions, f"recording {Path(path).name}")
    yield inspect_steps(checkpoint, request, codes, first, title)


def inspect_steps(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    codes: Tensor,
    first: int,
    title: str,
    noise: Tensor | None = None,
) -> Message:
    """Return the message of the steps from `first` to the end of the codes.

    Args:
        checkpoint, request, codes, first: as in `view_steps`.
        title, noise: as in `steps_message`.
    Raises:
        ConditionError, CheckpointError: as in `view_steps`.
    """
    steps, attention = view_steps(checkpoint, request, codes, first), None
    if has_attention(checkpoint.model):
        past = min(MAX_PAST, codes.numel())
        attention = attention_message(view_attention(checkpoint, request, codes, first, past))
    return steps_message(checkpoint, steps, codes, noise, title, attention)


def _title(name: str, conditions: Conditions, source: str) -> str:
    return ", ".join([name, *(f"{key} {value}" for key, value in conditions.items()), source])
