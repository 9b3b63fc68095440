"""Prime, loop, yield chunks: the one generator behind the command line, the studio and Python.

A checkpoint and items enter; chunks of codes and waveforms leave as soon as they are made and, with
a guard, found sane. Closing the generator stops the work.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet import codec
from wavenet.checkpoint import Checkpoint
from wavenet.config import SamplingConfig
from wavenet.devices import device_errors
from wavenet.engines.base import Engine
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.generation.decoder import BatchDecoder, CommittedWindow
from wavenet.generation.guard import Guard, Retry
from wavenet.generation.request import GenerationRequest, example_request, prepare_clips

CHUNK_SECONDS = 0.1
DEFAULT_GUARD = Guard()


@dataclass(frozen=True)
class Chunk:
    """What was made since the chunk before.

    Attributes:
        start: generated samples before this chunk, the same for all items.
        codes: per item (n,) int64; shorter for an item that ends in this chunk, then empty.
        waveforms: per item (n,) float32.
        rescues: what the guard had drawn again, from a sample of this chunk on.
    """

    start: int
    codes: list[Tensor]
    waveforms: list[Tensor]
    rescues: Sequence[Retry] = ()


@device_errors()
def generate(
    checkpoint: Checkpoint,
    items: Sequence[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    chunk_samples: int | None = None,
    guard: Guard | None = DEFAULT_GUARD,
) -> Iterator[Chunk]:
    """Generate clips, yielding chunks as they are made.

    Everything is checked before this returns; the work begins with the first chunk asked for.

    Args:
        checkpoint: a loaded model.
        items: may differ in length, labels, seed and prompt; items that are complete retire.
        sampling: how samples are drawn; as the checkpoint says when left out.
        engine: a name of `engines.registry`, or an engine made before for this model.
        chunk_samples: longest chunk, a tenth of a second when left out; no effect on the audio.
        guard: when to go back and draw again with other noise; None for never. No effect on the
            audio of a clip that does not run away.
    Raises:
        ConditionError: a length, label or prompt that cannot be used, or a way to draw that the
            model does not have.
        EngineUnavailable: no such engine here.
        OutOfMemory, DeviceError: then or later, see `devices`.
    """
    if not items:
        raise ConditionError("nothing to generate: give at least one item")
    longest = chunk_samples or default_chunk_samples(checkpoint)
    runner = make_engine(engine, checkpoint.model) if isinstance(engine, str) else engine
    flow = make_decoder(checkpoint, runner, sampling or checkpoint.config.sampling, guard, longest)
    streams = prepare_clips(checkpoint, items, sampling or checkpoint.config.sampling, guard)

    def chunks() -> Iterator[Chunk]:
        with device_errors():
            flow.admit(streams)
            for first, released in _side_by_side(flow):
                yield from _cut(first, released, len(items), longest)

    return chunks()


def make_decoder(
    checkpoint: Checkpoint,
    runner: Engine[Any],
    sampling: SamplingConfig,
    guard: Guard | None,
    longest: int,
) -> BatchDecoder:
    """Make what draws clips of a checkpoint side by side.

    Args:
        longest: samples drawn at once where there is no guard; with one it is the guard's window.
    Raises:
        ConditionError: a way to draw that the model does not have.
    """
    checkpoint.model.distribution.check(sampling)
    alphabet, rate = checkpoint.config.codec, checkpoint.config.audio.sample_rate
    window = longest if guard is None else guard.samples(rate)
    return BatchDecoder(
        runner,
        sampling,
        window,
        lambda codes: codec.decode(codes, alphabet.bits, alphabet.rounding),
    )


def default_chunk_samples(checkpoint: Checkpoint) -> int:
    """Give the samples of a chunk where nobody asks for another length."""
    return max(1, round(CHUNK_SECONDS * checkpoint.config.audio.sample_rate))


def generate_waveforms(
    checkpoint: Checkpoint,
    items: Sequence[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    guard: Guard | None = DEFAULT_GUARD,
) -> list[Tensor]:
    """Generate clips to their end: per item (samples,) float32."""
    parts: list[list[Tensor]] = [[] for _ in items]
    for chunk in generate(checkpoint, items, sampling, engine, guard=guard):
        for part, waveform in zip(parts, chunk.waveforms, strict=True):
            part.append(waveform)
    return [torch.cat(part) for part in parts]


def warm_up(checkpoint: Checkpoint, engine: str | Engine[Any] = "auto") -> None:
    """Generate one sample, so that compiling is over before anybody waits for sound."""
    next(generate(checkpoint, [example_request(checkpoint.config.model)], engine=engine))


def _side_by_side(flow: BatchDecoder) -> Iterator[tuple[int, list[CommittedWindow]]]:
    """Draw to the end; yields what is out of all clips from a sample on, with that sample."""
    waiting: dict[int, list[CommittedWindow]] = {}
    while flow.streams:
        for released in flow.advance():
            waiting.setdefault(released.stretch.first, []).append(released)
        # a clip that ended is ahead of the others
        reached = min((stream.left for stream in flow.streams), default=sys.maxsize)
        for first in sorted(first for first in waiting if first < reached):
            yield first, waiting.pop(first)


def _cut(
    first: int, released: Sequence[CommittedWindow], count: int, longest: int
) -> Iterator[Chunk]:
    """Cut what is out of so many clips into chunks; what was drawn again is told with the first."""
    nothing = torch.empty(0, dtype=torch.int64)
    codes, waveforms = [nothing] * count, [nothing.float()] * count
    rescues: list[Retry] = []
    for stream, stretch, told in sorted(released, key=lambda one: one.stream.index):
        codes[stream.index], waveforms[stream.index] = stretch.codes, stretch.waveform
        rescues += told
    for at in range(0, max(part.numel() for part in codes), longest):
        cut = slice(at, at + longest)
        yield Chunk(
            first + at, [c[cut] for c in codes], [w[cut] for w in waveforms], () if at else rescues
        )
