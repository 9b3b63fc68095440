"""Many clips: as many at once as there is memory for.

Items enter; each clip leaves as soon as it is complete. Where a device has too little memory, what
is not complete yet is made again by half as many at once, down to one. Noise belongs to an item, so
that a clip is the same however many were made with it. Called by `cli` and `evaluation`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.config import SamplingConfig
from wavenet.devices import free_memory
from wavenet.engines.base import Engine
from wavenet.engines.registry import make_engine
from wavenet.errors import OutOfMemory
from wavenet.synthesis.generate import GUARD, Chunk, Item, generate
from wavenet.synthesis.guard import Guard, Rescue


@dataclass(frozen=True)
class Clip:
    """A complete clip.

    Attributes:
        item: its index among the items.
        waveform: (samples,) float32; codes: the same, int64.
        rescues: what the guard had drawn again.
    """

    item: int
    waveform: Tensor
    codes: Tensor
    rescues: Sequence[Rescue] = ()


def make_clips(
    checkpoint: Checkpoint,
    items: Sequence[Item],
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    guard: Guard | None = GUARD,
    report: Callable[[int], None] = lambda samples: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Clip]:
    """Generate all items; the work begins with the first clip asked for.

    Args:
        checkpoint, items, sampling, engine, guard: as for `generate`.
        report: called with the number of samples made; below 0 where some have to be made again.
        warn: called with a sentence when fewer clips are to be made at once.
    Raises:
        ConditionError, EngineUnavailable: before this returns, as `generate`.
        OutOfMemory: there is too little memory for one clip.
        DeviceError: the device is lost.
    """
    runner = make_engine(engine, checkpoint.model) if isinstance(engine, str) else engine
    # whatever it refuses is refused now; a part of the items is no worse than all of them
    first = generate(checkpoint, items, sampling, runner, guard=guard)

    def clips() -> Iterator[Clip]:
        waiting, together, chunks = list(range(len(items))), len(items), first
        while waiting:
            batch = waiting[:together]
            made = _Parts(batch, items)
            try:
                for chunk in chunks:
                    report(made.add(chunk))
                    yield from made.take_complete()
            except OutOfMemory as error:
                if len(batch) == 1:
                    raise OutOfMemory(
                        f"{error}; there was too little even for one clip at a time"
                    ) from None
                together = (len(batch) + 1) // 2
                warn(f"too little memory for {len(batch)} clips at once; going on with {together}")
            free_memory()
            report(-made.incomplete)
            waiting = [n for n in waiting if n not in made.complete]
            chunks = iter(())
            if waiting:
                chosen = [items[n] for n in waiting[:together]]
                chunks = generate(checkpoint, chosen, sampling, runner, guard=guard)

    return clips()


class _Parts:
    """What there is of the clips of a batch.

    Args:
        batch: indices of its items.
        items: all of them.
    """

    def __init__(self, batch: Sequence[int], items: Sequence[Item]):
        self.complete: set[int] = set()
        self._batch, self._items = batch, items
        self._waveforms: list[list[Tensor]] = [[] for _ in batch]
        self._codes: list[list[Tensor]] = [[] for _ in batch]
        self._rescues: list[list[Rescue]] = [[] for _ in batch]
        self._made = [0] * len(batch)

    @property
    def incomplete(self) -> int:
        """Count the samples of clips that are not complete."""
        pairs = zip(self._batch, self._made, strict=True)
        return sum(made for n, made in pairs if n not in self.complete)

    def add(self, chunk: Chunk) -> int:
        """Take a chunk; give the number of its samples."""
        before = sum(self._made)
        for k, (codes, waveform) in enumerate(zip(chunk.codes, chunk.waveforms, strict=True)):
            self._codes[k].append(codes)
            self._waveforms[k].append(waveform)
            self._made[k] += codes.numel()
        for rescue in chunk.rescues:
            self._rescues[rescue.item].append(rescue)
        return sum(self._made) - before

    def take_complete(self) -> Iterator[Clip]:
        """Yield the clips that are complete and were not before."""
        for k, n in enumerate(self._batch):
            if n not in self.complete and self._made[k] == self._items[n].samples:
                self.complete.add(n)
                waveform, codes = torch.cat(self._waveforms[k]), torch.cat(self._codes[k])
                yield Clip(n, waveform, codes, self._rescues[k])
