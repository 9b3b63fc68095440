"""One press of Watch: a clip is written, or a recording read, and its steps are looked into.

What the controls hold enters; messages for `steps.js` leave. Called by the tab Watch it think.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from audio_utils.errors import AudioError
from wavenet.checkpoint import Checkpoint
from wavenet.config import StrictConfig, make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest, samples_from_seconds
from wavenet.likelihood.step_view import MAX_STEPS, draw_first_codes, view_steps
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features
from wavenet.ui import jobs
from wavenet.ui.controls import chosen_labels
from wavenet.ui.steps import busy_message, error_message, max_steps, steps_message

Message = dict[str, Any]


class View(StrictConfig):
    """Which steps of which clip are wanted.

    Attributes:
        seconds: of the clip.
        start: s, where the first step lies.
        steps: how many; fewer where the clip ends before.
    """

    seconds: float = Field(gt=0, le=jobs.MAX_SECONDS)
    seed: int = Field(default=0, ge=0, le=jobs.MAX_SEED)
    start: float = Field(default=0.0, ge=0, le=jobs.MAX_SECONDS)
    steps: int = Field(default=100, ge=1, le=MAX_STEPS)

    def samples(self, clip: int, rate: int) -> tuple[int, int]:
        """Give the first sample of the steps and that behind the last, in a clip of so many.

        Raises:
            ConditionError: the clip ends before the start.
        """
        first = round(self.start * rate)
        if first >= clip:
            raise ConditionError(
                f"the start, {self.start:g} s, must lie before the end at {clip / rate:g} s"
            )
        return first, min(first + self.steps, clip)


def run_slow(
    root: Path,
    name: str | None,
    seconds: float | None,
    seed: int | None,
    start: float | None,
    steps: int | None,
    recording: str | None,
    *chosen: Any,
) -> Iterator[Message]:
    """Check what the controls hold, then look; a fault is one sentence in the page.

    Args:
        root: folder of checkpoint folders.
        recording: path of an upload that the model is to read; None lets it write.
        chosen: see `controls.chosen_labels`.
    """
    try:
        checkpoint = jobs.load_named(root, name)
        labels = chosen_labels(checkpoint.config.model, chosen)
        is_given = bool(checkpoint.config.model.locals) or recording is not None
        # where a recording gives the length its field may be hidden, and what it holds of no use
        length = checkpoint.config.default_seconds if is_given else seconds
        view = make_view(checkpoint, seconds=length, seed=seed, start=start, steps=steps)
        if recording is None:
            yield from write_slowly(checkpoint, view, labels)
        else:
            yield from read_slowly(checkpoint, view, labels, recording)
    except (WaveNetError, AudioError) as error:
        yield error_message(jobs.sentence(error))
        with jobs.shown_errors():
            raise


def make_view(checkpoint: Checkpoint, **asked: object) -> View:
    """Check what is asked for.

    Raises:
        ConfigError: a number out of its range.
        ConditionError: more steps of this model than one message may hold.
    """
    view = make_config(View, "settings", **asked)
    if view.steps > (most := max_steps(checkpoint, view.steps)):
        raise ConditionError(
            f"at most {most} steps of this model fit into the page, found {view.steps}"
        )
    return view


def write_slowly(
    checkpoint: Checkpoint, view: View, labels: Mapping[str, ConditionValue]
) -> Iterator[Message]:
    """Let the model write a clip up to the last step, as Generate would with this seed.

    Raises:
        ConditionError: it cannot write without a recording, or by these labels.
    """
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    if config.model.locals:
        raise ConditionError(
            f"this model needs the {config.model.locals[0].name} frames of a recording: give it "
            "one under “Read a recording instead”"
        )
    item = GenerationRequest(samples_from_seconds(view.seconds, rate), labels, view.seed)
    first, last = view.samples(item.samples, rate)
    yield busy_message("Writing the clip …")
    parts = []
    for part in jobs.paced(draw_first_codes(checkpoint, item, last)):
        parts.append(part)
        share = sum(map(len, parts)) / last
        yield busy_message(f"Writing the clip up to these steps: {share:.0%}")
    codes = torch.cat(parts)
    noise = uniform_noise(item.seed, item.noise_stream, first, last - first)
    title = _title(config.name, labels, f"seed {view.seed}")
    yield steps_message(checkpoint, view_steps(checkpoint, item, codes, first), codes, noise, title)


def read_slowly(
    checkpoint: Checkpoint, view: View, labels: Mapping[str, ConditionValue], path: str
) -> Iterator[Message]:
    """Let the model predict every sample of a recording from those before it.

    Raises:
        AudioError: the recording cannot be read.
        ConditionError: it is too long, or this model takes more than it holds.
    """
    yield busy_message("Reading the recording …")
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    waveform = jobs.read_upload(path, rate, jobs.MAX_SECONDS).waveform
    first, last = view.samples(waveform.numel(), rate)
    local = compute_frame_features(config.model, rate, waveform) if config.model.locals else None
    item = GenerationRequest(waveform.numel(), labels, frame_features=local)
    codes = checkpoint.codec.encode(waveform)[:last]
    title = _title(config.name, labels, f"reading {Path(path).name}")
    yield steps_message(checkpoint, view_steps(checkpoint, item, codes, first), codes, None, title)


def _title(name: str, labels: Mapping[str, ConditionValue], what: str) -> str:
    return ", ".join([name, *(f"{key} {value}" for key, value in labels.items()), what])
