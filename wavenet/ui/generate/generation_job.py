"""Settings of a generation -> a checked job -> its clips, collected while they are generated.

Input: values from the page or the API. Output: a `GenerationJob` or an error of one sentence; a
`GenerationResult` collects the waveforms. Called by the Generate tab and the public API.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.config import StrictConfig, make_config
from wavenet.engines.engine import Engine
from wavenet.engines.registry import NON_GPU_NAMES, device_for
from wavenet.errors import ConditionError
from wavenet.generation.clip_mel_matching import match_clip_mel
from wavenet.generation.generate import Chunk, generate
from wavenet.generation.guard import Retry
from wavenet.generation.request import (
    GenerationRequest,
    clip_name,
    samples_from_seconds,
    with_defaults,
)
from wavenet.likelihood.score import SMALL_WINDOW, score_clip
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig
from wavenet.ui.checkpoint_library import load_engine, move_to_device
from wavenet.ui.server.uploads import read_upload

# Without the reference engine, which recomputes the whole past for every sample.
ENGINES = ("auto", *(name for name in NON_GPU_NAMES if name != "reference"))
MAX_SECONDS = 30.0  # of a generated clip
MAX_PROMPT_SECONDS = 120.0
MAX_VARIANTS = 4
MAX_SEED = (1 << 53) - 1  # the largest integer that a browser keeps exactly
RANDOM_SEEDS = 1 << 31  # random seeds are 0 to this number - 1
# The numbers of `GenerateSettings`, which may also come as text; those of type int are whole.
NUMBER_TYPES: dict[str, type] = {
    **dict.fromkeys(("seconds", "temperature", "top_p", "guidance"), float),
    **dict.fromkeys(("seed", "top_k", "variants"), int),
}


class GenerateSettings(StrictConfig):
    """The settings of one to four clips.

    Seed -1 selects a random seed. The values top_k 0, top_p 1 and guidance 1 disable these
    settings. None selects the checkpoint's default. A recording to resynthesise determines the
    length.

    Attributes:
        variants: number of clips; their seeds count up.
        conditions: label or number by condition name; optional ones may be missing.
    """

    seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    temperature: float | None = Field(default=None, gt=0, le=10)
    top_k: int | None = Field(default=None, ge=0, le=1024)
    top_p: float | None = Field(default=None, gt=0, le=1)
    guidance: float | None = Field(default=None, ge=0, le=10)
    variants: int = Field(default=1, ge=1, le=MAX_VARIANTS)
    conditions: dict[str, str | int | float] = Field(default_factory=dict)


@dataclass(frozen=True)
class GenerationJob:
    """Clips that differ only in their seeds, checked and ready to generate.

    Attributes:
        settings: the user's settings, with seed -1 and every None but the length replaced, and the
            condition values by the names and with the words of the model.
        requests: one per clip.
        prefix: (T,) the samples of the output before the generated ones: the prompt, or none.
        recording: path of the prompt or of the recording to resynthesise; "" if there is none.
        requested_engine: one of `ENGINES`.
    """

    checkpoint: Checkpoint
    engine: Engine[Any]
    settings: GenerateSettings
    requests: tuple[GenerationRequest, ...]
    prefix: Tensor
    recording: str = ""
    requested_engine: str = "auto"

    @property
    def recording_name(self) -> str:
        """File name of the recording; "" if there is none."""
        return Path(self.recording).name

    @property
    def sampling(self) -> SamplingConfig:
        """Sampling settings."""
        chosen = self.settings
        return make_config(
            SamplingConfig,
            "sampling",
            temperature=chosen.temperature,
            guidance=chosen.guidance,
            top_k=chosen.top_k or None,
            top_p=None if chosen.top_p == 1 else chosen.top_p,
        )

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.checkpoint.config.audio.sample_rate

    @property
    def samples(self) -> int:
        """Length of an output clip, including the prefix."""
        return self.prefix.numel() + self.requests[0].samples

    @property
    def file_names(self) -> list[str]:
        """Name of each output file, checkpoint_conditions_seed.wav, valid on every system."""
        name = self.checkpoint.config.name
        return [
            clip_name(name, request.conditions, request.seed) + ".wav" for request in self.requests
        ]

    def start(self) -> Iterator[Chunk]:
        """Check everything, then yield the chunks of all clips while they are generated."""
        return generate(self.checkpoint, self.requests, self.sampling, self.engine)

    def first_waveform(self) -> Tensor:
        """Generate the first clip completely; return it with its prefix, (T,)."""
        return torch.cat([self.prefix, *(chunk.waveforms[0].cpu() for chunk in self.start())])


def make_generation_job(
    checkpoint: Checkpoint,
    settings: GenerateSettings,
    engine: str = "auto",
    prompt: str | None = None,
    with_prompt: bool = True,
    source: str | None = None,
) -> GenerationJob:
    """Check settings and recordings, and build the job.

    Args:
        engine: one of `ENGINES`.
        prompt: path of an uploaded recording to continue, or None.
        with_prompt: whether the output begins with the prompt.
        source: path of an uploaded recording to resynthesise from its frame features, for a
            checkpoint with local conditions; the clip has the same length.
    Raises:
        AudioError: the prompt or the source cannot be read.
        WaveNetError: this checkpoint does not support a condition, the length or the engine.
    """
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    prompt_waveform = (
        None if prompt is None else read_upload(prompt, rate, MAX_PROMPT_SECONDS).waveform
    )
    seconds = default_seconds(checkpoint) if settings.seconds is None else settings.seconds
    samples, frame_features = samples_from_seconds(seconds, rate), None
    if model.locals:
        if source is None:
            raise ConditionError(
                f"{checkpoint.config.name} resynthesises a recording: upload one, up to "
                f"{MAX_SECONDS:g} s"
            )
        waveform = read_upload(source, rate, MAX_SECONDS).waveform
        frame_features, samples = compute_frame_features(model, rate, waveform), waveform.numel()
    settings = _with_defaults(settings, checkpoint)
    recordings: dict[str, Any] = {"prompt": prompt_waveform, "frame_features": frame_features}
    first = GenerationRequest(samples, settings.conditions, settings.seed, **recordings)
    requests = tuple(replace(first, seed=settings.seed + n) for n in range(settings.variants))
    prefix = prompt_waveform if with_prompt and prompt_waveform is not None else torch.empty(0)
    recording = source if frame_features is not None and source else prompt or ""
    on_device = move_to_device(checkpoint, device_for(engine))
    job_engine = load_engine(on_device, engine)
    return GenerationJob(on_device, job_engine, settings, requests, prefix, recording, engine)


def default_seconds(checkpoint: Checkpoint) -> float:
    """Return the checkpoint's default clip length, at most `MAX_SECONDS`."""
    return min(checkpoint.config.default_seconds, MAX_SECONDS)


def default_sampling(checkpoint: Checkpoint) -> dict[str, float]:
    """Return the checkpoint's sampling defaults in the form of `GenerateSettings`."""
    default = checkpoint.config.sampling
    return {
        "temperature": default.temperature,
        "top_k": default.top_k or 0,
        "top_p": 1.0 if default.top_p is None else default.top_p,
        "guidance": default.guidance,
    }


class GenerationResult:
    """The clips of a job, collected while they are generated.

    Attributes:
        compute_seconds: compute time of the model so far, without waiting for the page.
        retries: degenerate windows that the guard found, with the index of their clip and the
            number of new draws; 0 if a window was only reported.
        generated_samples: of the first clip so far, without its prefix.
        sent_chunks: number of chunks that the page has received.
    """

    def __init__(
        self,
        job: GenerationJob,
        start: Callable[[GenerationJob], Iterator[Chunk]] = GenerationJob.start,
    ) -> None:
        self.job = job
        self.compute_seconds = 0.0
        self.retries: list[Retry] = []
        self.generated_samples = 0
        self.sent_chunks = 0
        self._start = start
        self._waveforms: list[list[Tensor]] = [[job.prefix] for _ in job.requests]
        self._codes: list[list[Tensor]] = [[] for _ in job.requests]

    def stream(self) -> Iterator[Tensor]:
        """Generate all clips, and yield the first one chunk by chunk, its prefix first."""
        chunks = self._start(self.job)
        if self.job.prefix.numel():
            yield self.job.prefix
        while True:
            began = time.perf_counter()
            chunk = next(chunks, None)
            self.compute_seconds += time.perf_counter() - began
            if chunk is None:
                return
            self.retries += chunk.retries
            for n, waveform in enumerate(chunk.waveforms):
                self._waveforms[n].append(waveform.cpu())
                self._codes[n].append(chunk.codes[n].cpu())
            self.generated_samples += chunk.waveforms[0].numel()
            yield chunk.waveforms[0].cpu()

    def complete(self) -> "GenerationResult":
        """Generate all clips to their end, and return this result."""
        for _ in self.stream():
            pass
        return self

    @property
    def speed(self) -> float:
        """Generated duration of the first clip divided by compute time: a multiple of real time."""
        generated_seconds = self.generated_samples / self.job.sample_rate
        return generated_seconds / max(self.compute_seconds, 1e-9)

    def waveform(self, n: int = 0) -> Tensor:
        """Return clip `n` with its prefix, (T,)."""
        return torch.cat(self._waveforms[n])

    def surprise(self) -> Tensor:
        """Return the bits of every sample of the first clip under its own model, (T,)."""
        checkpoint = self.job.checkpoint
        request = with_defaults(self.job.requests[0], checkpoint.config.model)
        generated = self.waveform()[self.job.prefix.numel() :]
        codes = torch.cat(self._codes[0])
        given = request.prompt, request.conditions, request.frame_features
        score = score_clip(checkpoint, generated, codes, *given, SMALL_WINDOW)
        return score.surprise[-self.waveform().numel() :]


def match_mel(job: GenerationJob, waveform: Tensor) -> Tensor | None:
    """Filter a clip (T,) until its mel frames match the job; None if the job has no mel frames."""
    frame_features = job.requests[0].frame_features
    conditions = job.checkpoint.config.model.locals
    if frame_features is None or all(condition.kind != "mel" for condition in conditions):
        return None
    return match_clip_mel(job.checkpoint, waveform, frame_features).clamp(-1, 1)


def _with_defaults(settings: GenerateSettings, checkpoint: Checkpoint) -> GenerateSettings:
    """Replace every None by the checkpoint's default, and seed -1 by a random seed.

    Raises:
        ConditionError: a condition value is unknown.
    """
    filled: dict[str, Any] = {
        name: value
        for name, value in default_sampling(checkpoint).items()
        if getattr(settings, name) is None
    }
    filled["conditions"] = resolve_condition_values(checkpoint.config.model, settings.conditions)
    if settings.seed < 0:
        filled["seed"] = SystemRandom().randrange(RANDOM_SEEDS)
    return settings.model_copy(update=filled)
