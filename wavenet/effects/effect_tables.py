"""The tables of an effect's program, and the builder that collects them.

A program is a list of operations on rows of one array, the arena; `effect_loop` describes the
columns. The builder allocates rows and weights, and adds one operation per call. Called by
`effect_program`, and by `effect_engine` for the sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavenet.effects import effect_loop as loop
from wavenet.effects.effect_kernels import MAX_OUTPUTS, PARAMETERS, product_width
from wavenet.effects.effect_shapes import EffectActivation
from wavenet.effects.nam_weights import Weights
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH

Table = NDArray[np.int64]

# Rows of a ring are read together. Their distance modulo the size of a set of the cache, in
# samples, is such that a sub-block of 16 rows does not compete for the same lines.
_CACHE_SETS, _ROW_SHIFT = 1024, 208
_KINDS = {
    "Tanh": loop.TANH,
    "Hardtanh": loop.LEAKY_HARDTANH,
    "Fasttanh": loop.FASTTANH,
    "ReLU": loop.LEAKY_RELU,
    "LeakyReLU": loop.LEAKY_RELU,
    "PReLU": loop.LEAKY_RELU,
    "Sigmoid": loop.SIGMOID,
    "SiLU": loop.SILU,
    "Hardswish": loop.HARDSWISH,
    "LeakyHardtanh": loop.LEAKY_HARDTANH,
    "Softsign": loop.SOFTSIGN,
}
_SUMMED = {loop.TANH: loop.SUMMED_TANH, loop.LEAKY_RELU: loop.SUMMED_LEAKY_RELU}


class Rows(NamedTuple):
    """Some channels of a buffer."""

    buffer: int
    first: int
    channels: int

    def part(self, index: int, parts: int) -> "Rows":
        """Return one of equal parts of the rows."""
        width = self.channels // parts
        return Rows(self.buffer, self.first + index * width, width)


class ProductSource(NamedTuple):
    """Rows that a product reads: those of `delay` samples ago, and the columns of their weights."""

    rows: Rows
    delay: int
    weight: Weights  # (outputs, rows)
    stride: int = 0  # between rows; 0 for that of the buffer


@dataclass(frozen=True)
class EffectProgram:
    """A model as tables; see `effect_loop` for their columns.

    Attributes:
        operations, segments, buffers: flat tables.
        weights: (N,).
        fill: (buffer, first row, values): pasts that are not zero before the first sample.
        arena_size: numbers in all buffers.
        largest_product: segments of the product that has most.
    """

    operations: Table
    segments: Table
    buffers: Table
    weights: Weights
    fills: tuple[tuple[Rows, tuple[float, ...]], ...]
    arena_size: int
    largest_product: int

    @property
    def buffer_count(self) -> int:
        """Number of buffers."""
        return len(self.buffers) // loop.BUFFER_COLUMNS

    def rows_of(self, arena: Weights, buffer: int) -> Weights:
        """Return the part of an arena that is a buffer: (rows, samples)."""
        base, stride, _, _, rows = self.buffers.reshape(-1, loop.BUFFER_COLUMNS)[buffer]
        return arena[base : base + rows * stride].reshape(rows, stride)


class ProgramBuilder:
    """Collects operations, weights and buffers."""

    def __init__(self) -> None:
        self.operations: list[list[int]] = []
        self.segments: list[list[int]] = []
        self.buffers: list[list[int]] = []
        self.weights: list[Weights] = []
        self.weight_count = 0
        self.arena_size = 0
        self.largest_product = 0
        self.fills: list[tuple[Rows, tuple[float, ...]]] = []

    def work(self, rows: int) -> Rows:
        """Return new rows that hold one sub-block."""
        return self._add_buffer(rows, loop.LONG_SUB_BLOCK + loop.PAD, 0, 0)

    def stage(self, rows: int) -> Rows:
        """Return new rows that hold all samples of a call: the input or the output."""
        return self._add_buffer(rows, loop.STAGE + loop.PAD, 0, 0)

    def history(self, rows: int, past: int, is_one_window: bool = False) -> Rows:
        """Return new rows that hold the past too.

        Args:
            rows: number.
            past: samples that are read.
            is_one_window: whether all of them are read at once.
        """
        if past == 0:
            return self.work(rows)
        mirror = loop.LONG_SUB_BLOCK + loop.PAD
        ring = -(-(past + mirror) // BLOCK_WIDTH) * BLOCK_WIDTH
        if is_one_window:
            mirror = ring
        stride = ring + mirror + BLOCK_WIDTH
        if rows > 1:
            stride += (_ROW_SHIFT - stride) % _CACHE_SETS
        return self._add_buffer(rows, stride, ring, mirror)

    def product(
        self,
        dest: Rows,
        sources: Sequence[ProductSource],
        bias: Weights | None,
        residual: Rows | None,
    ) -> None:
        """Add dest = residual + bias + the products of all sources."""
        outputs = dest.channels
        columns = np.concatenate([source.weight for source in sources], axis=1)
        bias = np.zeros(outputs, np.float32) if bias is None else bias
        at_once = _outputs_at_once(outputs)
        tiles = []
        for first in range(0, outputs, at_once):
            part = slice(first, first + at_once)
            tiles += [bias[part], np.ascontiguousarray(columns[part].T).reshape(-1)]
        w_at = self._add_weights(np.concatenate(tiles))
        first_segment = len(self.segments)
        for rows, delay, weight, stride in sources:
            self.segments.append([rows.buffer, rows.first, delay, weight.shape[1], stride])
        self.largest_product = max(self.largest_product, len(sources))
        old = (-1, 0) if residual is None else residual[:2]
        numbers = [*dest, *old, w_at, first_segment, len(sources), columns.shape[1], at_once]
        widths = (product_width(at_once), product_width(at_once, is_long=True))
        self._add_operation(loop.PRODUCT, *numbers, *widths)

    def convolve(
        self,
        dest: Rows,
        source: Rows,
        weight: Weights,
        bias: Weights | None = None,
        dilation: int = 1,
        groups: int = 1,
        more: Sequence[ProductSource] = (),
        residual: Rows | None = None,
    ) -> None:
        """Add a convolution; weight (out, in / groups, taps), `more` only with one group."""
        taps = weight.shape[2]
        for group in range(groups):
            rows, to = source.part(group, groups), dest.part(group, groups)
            part = slice(group * to.channels, (group + 1) * to.channels)
            sources = [
                ProductSource(rows, (taps - 1 - tap) * dilation, weight[part, :, tap])
                for tap in range(taps)
            ]
            old = None if residual is None else residual.part(group, groups)
            self.product(to, [*sources, *more], None if bias is None else bias[part], old)

    def activate(
        self, activation: EffectActivation, dest: Rows, source: Rows, total: Rows | None = None
    ) -> None:
        """Add dest = activation(source); with a total, total += dest."""
        kind = _KINDS[activation.kind]
        at = self._add_weights(_activation_parameters(activation, source.channels))
        if total is not None and kind in _SUMMED:
            sum_at = total[:2]
            self._add_operation(loop.ACTIVATE, *dest, *source[:2], _SUMMED[kind], at, *sum_at)
            return
        self._add_operation(loop.ACTIVATE, *dest, *source[:2], kind, at, *dest[:2])
        if total is not None:
            self.combine(loop.ADD, total, total, dest)

    def combine(
        self, kind: int, dest: Rows, x: Rows, y: Rows | None = None, z: Rows | None = None
    ) -> None:
        """Add a combination of rows; see `effect_kernels`."""
        inputs = [rows[:2] for rows in (x, y or x, z or x)]
        numbers = [number for pair in inputs for number in pair]
        self._add_operation(loop.COMBINE, *dest, kind, *numbers)

    def mirror(self, rows: Rows) -> None:
        """Add the copies of a ring, after all writes to it."""
        if self.buffers[rows.buffer][loop.RING]:
            self._add_operation(loop.COMMIT, rows.buffer)

    def finish(self) -> EffectProgram:
        """Return the tables."""
        return EffectProgram(
            _flatten(self.operations),
            _flatten(self.segments),
            _flatten(self.buffers),
            np.concatenate(self.weights) if self.weights else np.zeros(1, np.float32),
            tuple(self.fills),
            self.arena_size,
            self.largest_product,
        )

    def _add_buffer(self, rows: int, stride: int, ring: int, mirror: int) -> Rows:
        base = self.arena_size
        self.buffers.append([base, stride, ring, mirror, rows])
        self.arena_size += -(-rows * stride // BLOCK_WIDTH) * BLOCK_WIDTH
        return Rows(len(self.buffers) - 1, 0, rows)

    def _add_weights(self, weights: Weights) -> int:
        at: int = self.weight_count
        self.weights.append(np.asarray(weights, np.float32))
        self.weight_count += len(weights)
        return at

    def _add_operation(self, *numbers: int) -> None:
        padding = loop.OPERATION_COLUMNS - len(numbers)
        self.operations.append([*numbers, *[0] * padding])


def _outputs_at_once(outputs: int) -> int:
    """Return how many outputs a product computes at once, as equal as possible.

    The rest needs the same width in samples: a wider one would add its residual twice.
    """
    equal = -(-outputs // -(-outputs // MAX_OUTPUTS))
    choices: list[int] = [equal, *range(MAX_OUTPUTS, 1, -1)]
    for at_once in choices:
        rest: int = outputs % at_once or at_once
        if product_width(rest) == product_width(at_once):
            return at_once
    return 1


def _flatten(table: list[list[int]]) -> Table:
    return np.array(table, np.int64).reshape(-1)


def _activation_parameters(activation: EffectActivation, rows: int) -> Weights:
    """Return the parameters of every row: (rows * PARAMETERS,)."""
    parameters = np.zeros((rows, PARAMETERS), np.float32)
    match activation.kind:
        case "LeakyReLU" | "PReLU":
            parameters[:, 0] = activation.slopes
        case "Hardtanh":
            parameters[:, :2] = (-1, 1)
        case "LeakyHardtanh":
            ends = (activation.low, activation.high)
            parameters[:] = (*ends, activation.low_slope, activation.high_slope)
    return parameters.reshape(-1)
