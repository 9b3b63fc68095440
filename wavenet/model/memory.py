"""Memory: what a model stores of the past of a batch of streams, as an explicit value.

A model reads and updates its memory in `hidden_states` and `step`. An engine stores it in its
state and selects, joins and copies its rows by the methods of `Memory`. Rows are independent, and
the first axis of every tensor is the row. Called by models and engines.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


class Memory(ABC):
    """Base of all memories."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> Self:
        """Return a copy of some rows, in the given order; a row may occur several times."""

    @abstractmethod
    def join(self, other: Self) -> Self:
        """Return the rows of this memory followed by those of another of the same model."""

    @abstractmethod
    def clone(self) -> Self:
        """Return a copy that shares nothing with this memory."""

    @abstractmethod
    def set_row(self, row: int, source: Self) -> None:
        """Replace a row by the single row of another memory, whose width may be smaller."""

    @abstractmethod
    def move_cursor(self, samples: int) -> None:
        """Move the cursor by the samples that were written into the tensors."""

    @abstractmethod
    def with_device_cursor(self) -> "Memory":
        """Return a memory over the same tensors that also keeps its counters in tensors.

        A CUDA graph replays the same operations, so it cannot change Python numbers.
        """

    @abstractmethod
    def synchronize(self, source: "Memory") -> None:
        """Copy the counters of the source into this memory, which `with_device_cursor` returned."""


@dataclass
class TensorMemory(Memory):
    """Tensors that a model replaces in place at every step, such as a hidden state.

    Attributes:
        tensors: each (B, ..).
    """

    tensors: list[Tensor]

    def select(self, rows: Sequence[int]) -> Self:
        """Return a copy of some rows."""
        return type(self)([tensor[list(rows)] for tensor in self.tensors])

    def join(self, other: Self) -> Self:
        """Return the rows of both."""
        pairs = zip(self.tensors, other.tensors, strict=True)
        return type(self)([torch.cat(pair) for pair in pairs])

    def clone(self) -> Self:
        """Return a copy."""
        return type(self)([tensor.clone() for tensor in self.tensors])

    def set_row(self, row: int, source: Self) -> None:
        """Replace a row."""
        for tensor, new in zip(self.tensors, source.tensors, strict=True):
            tensor[row] = new[0]

    def move_cursor(self, samples: int) -> None:
        """Do nothing: this memory has no cursor."""

    def with_device_cursor(self) -> "TensorMemory":
        """Return this memory: it has no counters."""
        return self

    def synchronize(self, source: Memory) -> None:
        """Do nothing: the tensors are shared."""


@dataclass
class RingMemory(Memory):
    """One ring buffer per layer: the last (kernel_size - 1) * dilation inputs of the layer.

    In a ring of length n, slot (cursor - 1) % n holds the newest input, and slot cursor % n the
    oldest, which is overwritten next.

    Attributes:
        rings: (B, sum of ring lengths, channels or wider); zeros before a clip. An engine may pad
            the channels.
        edges: the first slot of each layer's ring, and the end of the last ring.
        cursor: inputs since the start, the same for all rows.
    Source: Le Paine et al. 2016, "Fast Wavenet Generation Algorithm".
    """

    rings: Tensor
    edges: tuple[int, ...]
    cursor: int = 0

    def past(self, layer: int) -> Tensor:
        """Return the inputs in the ring of a layer, the oldest first: (B, n, width)."""
        ring = self._ring(layer)
        return ring.roll(-(self.cursor % ring.shape[1]), dims=1) if ring.shape[1] else ring

    def extend(self, layer: int, inputs: Tensor) -> None:
        """Append inputs (B, T, channels) to the ring of a layer; `move_cursor` moves the cursor."""
        ring = self._ring(layer)
        length, samples = ring.shape[1], inputs.shape[1]
        kept = min(length, samples)
        if kept:
            first = self.cursor + samples - kept
            slots = torch.arange(first, first + kept, device=ring.device) % length
            ring[:, slots, : inputs.shape[2]] = inputs[:, -kept:].detach().to(ring.dtype)

    def taps(self, layer: int, dilation: int, count: int) -> list[Tensor]:
        """Return the inputs of a layer's past taps, the oldest first: count x (B, width)."""
        # Slots of the whole tensor: a view of one ring costs 2 microseconds per call.
        begin, end = self.edges[layer : layer + 2]
        slots = [begin + (self.cursor + k * dilation) % (end - begin) for k in range(count)]
        return [self.rings.select(1, slot) for slot in slots]

    def push(self, layer: int, x: Tensor) -> None:
        """Write one input (B, channels) of a layer; `move_cursor` moves the cursor."""
        begin, end = self.edges[layer : layer + 2]
        if end > begin:
            self.rings.select(1, begin + self.cursor % (end - begin)).copy_(x)

    def select(self, rows: Sequence[int]) -> Self:
        """Return a copy of some rows."""
        return replace(self, rings=self.rings[list(rows)])

    def join(self, other: Self) -> Self:
        """Return the rows of both, at the cursor of this memory."""
        turned = [
            ring.roll(self.cursor - other.cursor, dims=1) if ring.shape[1] else ring
            for ring in (other._ring(layer) for layer in range(len(self.edges) - 1))
        ]
        return replace(self, rings=torch.cat([self.rings, torch.cat(turned, dim=1)]))

    def clone(self) -> Self:
        """Return a copy."""
        return replace(self, rings=self.rings.clone())

    def set_row(self, row: int, source: Self) -> None:
        """Replace a row."""
        for layer in range(len(self.edges) - 1):
            past, ring = source.past(layer)[0], self._ring(layer)[row]
            if len(ring):
                slots = (self.cursor + torch.arange(len(ring), device=ring.device)) % len(ring)
                ring[slots, : past.shape[1]] = past

    def move_cursor(self, samples: int) -> None:
        """Move the cursor."""
        self.cursor += samples

    def with_device_cursor(self) -> "DeviceRingMemory":
        """Return a view of the rings with the cursor in a tensor."""
        cursor = torch.tensor([self.cursor], dtype=torch.int64, device=self.rings.device)
        return DeviceRingMemory(self.rings, self.edges, self.cursor, cursor)

    def synchronize(self, source: Memory) -> None:
        """Copy the cursor of the source."""
        assert isinstance(source, RingMemory)
        self.cursor = source.cursor

    def _ring(self, layer: int) -> Tensor:
        return self.rings[:, self.edges[layer] : self.edges[layer + 1]]


@dataclass
class DeviceRingMemory(RingMemory):
    """Rings for a CUDA graph: `taps`, `push` and `move_cursor` read the cursor from the device.

    For steps only: rows are selected, joined and copied from the source, whose `cursor` is exact.

    Attributes:
        device_cursor: (1,) int64, the cursor.
    """

    device_cursor: Tensor | None = None

    def taps(self, layer: int, dilation: int, count: int) -> list[Tensor]:
        """Return the inputs of a layer's past taps."""
        assert self.device_cursor is not None
        ring = self._ring(layer)
        slots = [(self.device_cursor + k * dilation) % ring.shape[1] for k in range(count)]
        return [ring.index_select(1, slot)[:, 0] for slot in slots]

    def push(self, layer: int, x: Tensor) -> None:
        """Write one input of a layer."""
        assert self.device_cursor is not None
        ring = self._ring(layer)
        if ring.shape[1]:
            ring.index_copy_(1, self.device_cursor % ring.shape[1], x[:, None].to(ring.dtype))

    def synchronize(self, source: Memory) -> None:
        """Copy the cursor of the source to the device."""
        assert isinstance(source, RingMemory) and self.device_cursor is not None
        self.device_cursor.fill_(source.cursor)

    def move_cursor(self, samples: int) -> None:
        """Move the cursor on the device."""
        assert self.device_cursor is not None
        self.device_cursor.add_(samples)
