"""Many clips: as many at once as there is memory for, and the next one whenever one is complete.

Items enter; each clip leaves as soon as it is complete. Where a device has too little memory, what
is not complete yet is made again by half as many at once, down to one. Noise belongs to an item, so
that a clip is the same however many were made with it. Called by `cli`, `batch` and `evaluation`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.config import SamplingConfig
from wavenet.devices import device_errors, release_cached_memory
from wavenet.engines.base import Engine
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError, OutOfMemory
from wavenet.generation.decoder import BatchDecoder, CommittedWindow
from wavenet.generation.guard import Guard, Retry
from wavenet.generation.request import GenerationRequest, prepare_clips
from wavenet.generation.streaming import DEFAULT_GUARD, default_chunk_samples, make_decoder


@dataclass(frozen=True)
class GeneratedClip:
    """A complete clip.

    Attributes:
        item: its index among the items.
        waveform: (samples,) float32; codes: the same, int64.
        rescues: what the guard had drawn again.
    """

    item: int
    waveform: Tensor
    codes: Tensor
    rescues: Sequence[Retry] = ()


def generate_many(
    checkpoint: Checkpoint,
    items: Iterable[GenerationRequest],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    guard: Guard | None = DEFAULT_GUARD,
    report: Callable[[int], None] = lambda samples: None,
    warn: Callable[[str], None] = lambda sentence: None,
    together: int | None = None,
) -> Iterator[GeneratedClip]:
    """Generate all items; the work begins with the first clip asked for.

    Args:
        checkpoint, sampling, engine, guard: as for `generate`.
        items: a sequence is checked now; of others each item is asked for when there is room.
        report: called with the number of samples made; below 0 where some have to be made again.
        warn: called with a sentence when fewer clips are to be made at once.
        together: most clips at once; all that there are when left out.
    Raises:
        ConditionError, EngineUnavailable: before this returns, as `generate`; for an item that is
            asked for later, then.
        OutOfMemory: there is too little memory for one clip.
        DeviceError: the device is lost.
    """
    if isinstance(items, Sequence) and not items:
        raise ConditionError("nothing to generate: give at least one item")
    if together is not None and together < 1:
        raise ConditionError(f"at least one clip must be made at once, found {together}")
    runner = make_engine(engine, checkpoint.model) if isinstance(engine, str) else engine
    settings = sampling or checkpoint.config.sampling
    line = _Line(checkpoint, runner, settings, guard, report)
    if isinstance(items, Sequence):
        for item in items:
            prepare_clips(checkpoint, [item], settings, guard)
    return _make(line, enumerate(items), together, warn)


def _make(
    line: "_Line",
    source: Iterator[tuple[int, GenerationRequest]],
    together: int | None,
    warn: Callable[[str], None],
) -> Iterator[GeneratedClip]:
    again: list[tuple[int, GenerationRequest]] = []
    while True:
        room = None if together is None else together - len(line.under_way)
        new = [*again[:room], *islice(source, None if room is None else max(0, room - len(again)))]
        if not new and not line.under_way:
            return
        again = again[len(new) :]
        try:
            with device_errors():
                complete = line.go_on(new)
        except OutOfMemory as error:
            stopped = line.restart()
            if len(stopped) == 1:
                raise OutOfMemory(
                    f"{error}; there was too little even for one clip at a time"
                ) from None
            together = (len(stopped) + 1) // 2
            warn(f"too little memory for {len(stopped)} clips at once; going on with {together}")
            again = [*stopped, *again]
            continue
        yield from complete


class _Line:
    """Clips under way, and what there is of them.

    Attributes:
        under_way: items that are not complete, by index.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runner: Engine[Any],
        sampling: SamplingConfig,
        guard: Guard | None,
        report: Callable[[int], None],
    ):
        self.under_way: dict[int, GenerationRequest] = {}
        self._checkpoint, self._runner = checkpoint, runner
        self._sampling, self._guard, self._report = sampling, guard, report
        self._parts: dict[int, list[CommittedWindow]] = {}
        self._flow = self._begin()

    def _begin(self) -> BatchDecoder:
        longest = default_chunk_samples(self._checkpoint)
        return make_decoder(self._checkpoint, self._runner, self._sampling, self._guard, longest)

    def go_on(self, new: Sequence[tuple[int, GenerationRequest]]) -> list[GeneratedClip]:
        """Take items in and draw a window; gives the clips that are complete."""
        for n, item in new:
            self.under_way[n] = item
            self._parts[n] = []
        # one by one: a prompt that is read late may be long
        streams = [
            stream
            for n, item in new
            for stream in prepare_clips(self._checkpoint, [item], self._sampling, self._guard, n)
        ]
        self._flow.admit(streams)
        complete = []
        for released in self._flow.advance():
            stream, parts = released.stream, self._parts[released.stream.index]
            parts.append(released)
            self._report(released.stretch.codes.numel())
            if released.stretch.last == stream.samples:
                complete.append(self._finish(stream.index))
        return complete

    def _finish(self, n: int) -> GeneratedClip:
        del self.under_way[n]
        parts = self._parts.pop(n)
        return GeneratedClip(
            n,
            torch.cat([part.stretch.waveform for part in parts]),
            torch.cat([part.stretch.codes for part in parts]),
            [rescue for part in parts for rescue in part.rescues],
        )

    def restart(self) -> list[tuple[int, GenerationRequest]]:
        """Forget what is not complete; gives its items."""
        stopped = list(self.under_way.items())
        made = sum(part.stretch.codes.numel() for parts in self._parts.values() for part in parts)
        self.under_way.clear()
        self._parts.clear()
        self._flow = self._begin()
        release_cached_memory()
        self._report(-made)
        return stopped
