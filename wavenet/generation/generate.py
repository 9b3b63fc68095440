"""Generate clips: streamed in chunks, or many clips, each returned when it is complete.

Input: a checkpoint and requests. Output: chunks, or clips. A `ContinuousBatch` draws clips
side by side. Complete clips leave it, and in `generate_many` new clips join. The noise of a
clip depends on its request only, so the clip does not depend on the other clips. Called by the
command line, the studio, batches and Python.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors, release_cached_memory
from wavenet.engines.engine import Engine
from wavenet.errors import ConditionError, OutOfMemory
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.generation.guard import GuardConfig, Retry
from wavenet.generation.request import GenerationRequest, example_request, prepare_clips
from wavenet.generation.window_sampler import ActiveClip, CommittedWindow, WindowSampler
from wavenet.progress import NoProgress, Progress
from wavenet.sampling import SamplingConfig

CHUNK_SECONDS = 0.1
DEFAULT_GUARD = GuardConfig()


@dataclass(frozen=True)
class Chunk:
    """The samples of all requests since the previous chunk.

    Attributes:
        first: generated samples before this chunk, the same for all requests.
        codes: per request (n,) int64; shorter if the clip ends in this chunk, empty afterwards.
        waveforms: per request (n,) float32.
        retries: those since the previous chunk; they may concern the window that is held back.
    """

    first: int
    codes: list[Tensor]
    waveforms: list[Tensor]
    retries: Sequence[Retry] = ()


@dataclass(frozen=True)
class GeneratedClip:
    """A complete clip.

    Attributes:
        index: of its request.
        codes: (samples,) int64, without the prompt; waveform: the same, float32.
        retries: the degenerate windows, and the attempts to draw them again.
        log_prob: of all codes, nats; only beam search computes it.
        precision: of the weights that generated it.
    """

    index: int
    codes: Tensor
    waveform: Tensor
    retries: Sequence[Retry] = ()
    log_prob: float | None = None
    precision: str = "fp32"

    @property
    def bits_per_sample(self) -> float | None:
        """Mean surprise of a sample; None without `log_prob`."""
        if self.log_prob is None:
            return None
        return -self.log_prob / (self.codes.numel() * math.log(2))


@device_errors()
def generate(
    checkpoint: Checkpoint,
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    chunk_samples: int | None = None,
    guard: GuardConfig | None = DEFAULT_GUARD,
) -> Iterator[Chunk]:
    """Generate clips side by side and yield chunks; closing the iterator stops the work.

    All arguments are checked before this function returns; generation begins with the first chunk.

    Args:
        checkpoint: a loaded model.
        requests: may differ in length, conditions, seed and prompt.
        sampling: how codes are selected; by default the settings of the checkpoint.
        engine: a name of `engines.registry`, or an engine of this model.
        chunk_samples: longest chunk, 0.1 s by default; no effect on the audio.
        guard: limits for windows that are drawn again with other noise; None: no guard. No effect
            on a clip that does not degenerate.
    Raises:
        ConditionError: a length, condition value or prompt is invalid, or the model does not
            support a sampling rule.
        EngineUnavailable: the engine is not available here.
        OutOfMemory, DeviceError: also while iterating; see `devices`.
        PredictionsNotFinite: while iterating; a prediction overflowed.
    """
    if not requests:
        raise ConditionError("nothing to generate: at least one request is required")
    batch = ContinuousBatch(checkpoint, sampling, engine, guard, chunk_samples)
    clips = batch.prepare(requests)

    def chunks() -> Iterator[Chunk]:
        with device_errors():
            batch.add(clips)
            for first, windows in _group_by_start(batch):
                yield from _cut_chunks(first, windows, len(requests), batch.chunk_samples)

    return chunks()


def generate_many(
    checkpoint: Checkpoint,
    requests: Iterable[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    guard: GuardConfig | None = DEFAULT_GUARD,
    progress: Progress | None = None,
    max_active: int | None = None,
) -> Iterator[GeneratedClip]:
    """Generate many clips and yield each one when it is complete.

    If the memory of the device is too small, the incomplete clips are generated again, half as many
    simultaneously, down to one.

    Args:
        checkpoint, sampling, engine, guard: as for `generate`.
        requests: a sequence is checked immediately; another iterable is read lazily, each request
            when the batch has room for its clip.
        progress: counts generated samples.
        max_active: maximum of clips that are generated simultaneously; all by default.
    Raises:
        ConditionError, EngineUnavailable: as in `generate`; for a lazily read request while
            iterating.
        OutOfMemory: the memory is too small even for one clip.
        DeviceError: the device is lost.
        PredictionsNotFinite: a prediction overflowed.
    """
    if isinstance(requests, Sequence) and not requests:
        raise ConditionError("nothing to generate: at least one request is required")
    if max_active is not None and max_active < 1:
        raise ConditionError(f"max_active must be at least 1, found {max_active}")
    batch = ContinuousBatch(checkpoint, sampling, engine, guard)
    if isinstance(requests, Sequence):
        prepared = dict(enumerate(batch.prepare(requests)))
    else:
        prepared = {}
    return _generate_until_complete(
        batch, enumerate(requests), prepared, max_active, progress or NoProgress()
    )


def generate_waveforms(
    checkpoint: Checkpoint,
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    guard: GuardConfig | None = DEFAULT_GUARD,
) -> list[Tensor]:
    """Generate complete clips: per request (samples,) float32."""
    clips = generate_many(checkpoint, requests, sampling, engine, guard)
    by_index = {clip.index: clip.waveform for clip in clips}
    return [by_index[n] for n in range(len(requests))]


def warm_up(checkpoint: Checkpoint, engine: str | Engine[Any] = "auto") -> None:
    """Generate one sample, so that the engine is compiled before the first clip."""
    next(generate(checkpoint, [example_request(checkpoint.config.model)], engine=engine))


def default_chunk_samples(checkpoint: Checkpoint) -> int:
    """Return the default length of a chunk in samples."""
    return max(1, round(CHUNK_SECONDS * checkpoint.sample_rate))


class ContinuousBatch:
    """Clips that are generated side by side, window by window; clips may join before any window.

    Args:
        checkpoint, sampling, engine, guard: as for `generate`.
        chunk_samples: longest chunk; without a guard also the length of a window.
    Raises:
        ConditionError: the model does not support a sampling rule.
        EngineUnavailable: the engine is not available here.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sampling: SamplingConfig | None,
        engine: str | Engine[Any],
        guard: GuardConfig | None,
        chunk_samples: int | None = None,
    ):
        self.chunk_samples = chunk_samples or default_chunk_samples(checkpoint)
        model = checkpoint.model
        self._checkpoint, self._guard = checkpoint, guard
        self._engine = (
            make_checkpoint_engine(engine, checkpoint) if isinstance(engine, str) else engine
        )
        self._sampling = sampling or checkpoint.config.sampling
        model.distribution.check(self._sampling)
        self._sampler = self._make_sampler()

    @property
    def precision(self) -> str:
        """The precision of the weights."""
        return self._engine.precision

    @property
    def clips(self) -> list[ActiveClip]:
        """The clips that are not complete."""
        return self._sampler.clips

    def prepare(
        self, requests: Sequence[GenerationRequest], first_index: int = 0
    ) -> list[ActiveClip]:
        """Check requests and build their active clips.

        Raises:
            ConditionError: a request is invalid.
        """
        checkpoint, guard = self._checkpoint, self._guard
        return prepare_clips(checkpoint, requests, self._sampling, guard, first_index)

    def add(self, clips: Sequence[ActiveClip]) -> None:
        """Add prepared clips; they begin with the next window."""
        self._sampler.add(clips)

    def draw_windows(self) -> list[CommittedWindow]:
        """Draw one window of every clip and return the final windows."""
        return self._sampler.draw_windows()

    def clear(self) -> None:
        """Drop all clips and release the memory of the device."""
        self._sampler = self._make_sampler()
        release_cached_memory()

    def _make_sampler(self) -> WindowSampler:
        window, rate = self.chunk_samples, self._checkpoint.sample_rate
        if self._guard is not None:
            window = self._guard.window_samples(rate)
        checkpoint = self._checkpoint
        return WindowSampler(
            self._engine, self._sampling, window, checkpoint.codec.decode, checkpoint.config.name
        )


def _group_by_start(batch: ContinuousBatch) -> Iterator[tuple[int, list[CommittedWindow]]]:
    """Draw all clips to the end; yield the windows that begin at a sample, with that sample."""
    waiting: dict[int, list[CommittedWindow]] = {}
    while batch.clips:
        for committed in batch.draw_windows():
            waiting.setdefault(committed.window.first, []).append(committed)
        # only incomplete clips delay a chunk
        reached = min((clip.committed for clip in batch.clips), default=sys.maxsize)
        for first in sorted(first for first in waiting if first < reached):
            yield first, waiting.pop(first)


def _cut_chunks(
    first: int, windows: Sequence[CommittedWindow], count: int, longest: int
) -> Iterator[Chunk]:
    """Cut the windows of `count` clips into chunks; the first chunk has their retries."""
    nothing = torch.empty(0, dtype=torch.int64)
    codes, waveforms = [nothing] * count, [nothing.float()] * count
    retries: list[Retry] = []
    for clip, window, clip_retries in sorted(windows, key=lambda committed: committed.clip.index):
        codes[clip.index], waveforms[clip.index] = window.codes, window.waveform
        retries += clip_retries
    for at in range(0, max(part.numel() for part in codes), longest):
        cut = slice(at, at + longest)
        yield Chunk(
            first + at, [c[cut] for c in codes], [w[cut] for w in waveforms], () if at else retries
        )


def _generate_until_complete(
    batch: ContinuousBatch,
    source: Iterator[tuple[int, GenerationRequest]],
    prepared: dict[int, ActiveClip],
    max_active: int | None,
    progress: Progress,
) -> Iterator[GeneratedClip]:
    """Generate all clips to the end; yield each one when it is complete.

    Args:
        source: indices and requests.
        prepared: clips of requests that were checked before, by index.
    """
    active: dict[int, GenerationRequest] = {}
    parts: dict[int, list[CommittedWindow]] = {}
    repeat: list[tuple[int, GenerationRequest]] = []
    while True:
        room = None if max_active is None else max_active - len(active)
        new = [
            *repeat[:room],
            *islice(source, None if room is None else max(0, room - len(repeat))),
        ]
        if not new and not active:
            return
        repeat = repeat[len(new) :]
        active.update(new)
        parts.update((n, []) for n, _ in new)
        try:
            with device_errors():
                # one by one, because a lazily read prompt may be long
                batch.add([_prepare_clip(batch, prepared, n, request) for n, request in new])
                windows = batch.draw_windows()
        except OutOfMemory as error:
            if len(active) == 1:
                raise OutOfMemory(f"{error}; the memory is too small even for one clip") from None
            max_active = (len(active) + 1) // 2
            progress.message(
                f"too little memory for {len(active)} simultaneous clips; continuing with "
                f"{max_active}"
            )
            done = [part.window.codes.numel() for clip in parts.values() for part in clip]
            repeat = [*active.items(), *repeat]
            active.clear()
            parts.clear()
            batch.clear()
            progress.advance(-sum(done))
            continue
        complete = []
        for committed in windows:
            n = committed.clip.index
            parts[n].append(committed)
            progress.advance(committed.window.codes.numel())
            if committed.window.last == committed.clip.samples:
                del active[n]
                clip = _join_windows(n, parts.pop(n))
                complete.append(replace(clip, precision=batch.precision))
        yield from complete


def _prepare_clip(
    batch: ContinuousBatch, prepared: dict[int, ActiveClip], n: int, request: GenerationRequest
) -> ActiveClip:
    """Return the clip of a request; prepare it unless it is prepared."""
    return prepared.pop(n, None) or batch.prepare([request], n)[0]


def _join_windows(index: int, windows: Sequence[CommittedWindow]) -> GeneratedClip:
    """Join all windows of a clip."""
    return GeneratedClip(
        index,
        torch.cat([committed.window.codes for committed in windows]),
        torch.cat([committed.window.waveform for committed in windows]),
        [retry for committed in windows for retry in committed.retries],
    )
