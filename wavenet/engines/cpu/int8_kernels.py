"""Products of int8 weights with 16-bit activations, as LLVM vector instructions.

The sums are exact integers, so they depend neither on their order nor on the machine. All floating
point operations around them are written one by one, in one order, with explicit fused
multiply-adds. Every machine therefore computes the same bits. Input: flat arrays and offsets.
Output: arrays changed in place. Nothing is checked. Called by `int8_loop`.

Activation q  an integer of -32,512 to 32,512 times a step. The step of a row is max |x| / 32,512;
              that of a gate output, which is between -1 and 1, is 1 / 32,512.
Row           the activations of one stream, padded to `width`, in 2 * width bytes, then the step
              (float32) in 32 bytes. The activations are, depending on the machine, all high bytes,
              then all low bytes ("planes"); or 16-bit integers.
Slab          up to 512 inputs of a matrix. Their sum cannot overflow 32 bits, since
              512 * 127 * 32,512 < 2^31.
Strip         2 or 4 blocks of 16 outputs of a slab: the sum of the weights of each output (int32),
              the scale of each output (float32), then 4 weights of each output for 4 inputs after
              the other (int8).

Instruction sets (`SCHEME`). Planes: AVX-512 VNNI and AVX-VNNI multiply unsigned by signed bytes
(`vpdpbusd`), ARM signed by signed bytes (`sdot`). Others multiply 16-bit integers, AVX2 by
`vpmaddwd`; without it LLVM writes what the machine has.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from wavenet.engines.cpu.jit import intrinsic, target_features
from wavenet.engines.cpu.llvm_vectors import (
    BLOCK_WIDTH,
    FLOAT,
    FLOAT_BLOCK,
    INT32,
    INT64,
    INT_BLOCK,
    Builder,
    add_offset,
    array_pointer,
    call_intrinsic,
    float_constant,
    int_constant,
    load,
    reduce,
    splat,
    store,
)

TOP = 32_512  # the largest activation
LARGEST_WEIGHT = 127
STEP_BYTES = 32  # of a row, for its step
MAX_SUM_INPUTS = 512  # inputs of an integer sum
STRIP_BLOCKS = 4
# Adding it to a number of at most 2^15 rounds the number to an integer n, to nearest, ties to even;
# the lowest 16 bits of the sum are then n + 32,768.
ROUNDER = 12_582_912.0 + 32_768.0
EXP2_ROUNDER = 12_582_912.0  # 1.5 * 2^23, the same without an offset
# 2^r for |r| <= 0.5, to 2e-7
EXP2_COEFFICIENTS = (1.33335581e-3, 9.61812910e-3, 5.55041087e-2, 2.40226507e-1, 6.93147181e-1, 1.0)
# Bounds of exponents: 2^-126 is the smallest normal number; the product of two 2^60 is finite.
MIN_EXPONENT, MAX_EXPONENT = -126.0, 60.0
SMALLEST_MAXIMUM = 1e-20  # of a row; smaller rows are zeros

_INT8, _INT16 = ir.IntType(8), ir.IntType(16)
_BYTES = ir.VectorType(_INT8, BLOCK_WIDTH)
_SHORTS = ir.VectorType(_INT16, BLOCK_WIDTH)


def choose_scheme(features: dict[str, bool]) -> str:
    """Return how products are computed: vnni512, vnni256, sdot, maddwd or portable."""
    if features.get("avx512vnni") and features.get("avx512bw"):
        return "vnni512"
    if features.get("avxvnni"):
        return "vnni256"
    if features.get("dotprod"):
        return "sdot"
    return "maddwd" if features.get("avx2") else "portable"


SCHEME = choose_scheme(target_features())
INSTRUCTIONS = {
    "vnni512": "AVX-512 VNNI",
    "vnni256": "AVX-VNNI",
    "sdot": "ARM dot products",
    "maddwd": "AVX2",
    "portable": "no instructions for sums of products, slow",
}


def row_bytes(width: int) -> int:
    """Return the size of a row of `width` activations and their step."""
    return 2 * width + STEP_BYTES


def has_planes(scheme: str) -> bool:
    """Return whether rows have a plane of high bytes and a plane of low bytes."""
    return scheme in ("vnni512", "vnni256", "sdot")


def _constant(value: int) -> Any:
    return ir.Constant(INT64, value)


def _row_start(builder: Builder, row: Any, width: Any) -> Any:
    """Return the offset of a row in bytes."""
    size = builder.add(builder.shl(width, _constant(1)), _constant(STEP_BYTES))
    return builder.mul(row, size)


def _step_place(builder: Builder, start: Any, width: Any) -> Any:
    """Return the offset of the step of a row that begins at `start`."""
    return builder.add(start, builder.shl(width, _constant(1)))


def _part(builder: Builder, vector: Any, first: int, count: int) -> Any:
    """Return `count` lanes of a vector from `first` on."""
    mask = ir.Constant(ir.VectorType(INT32, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, vector, mask)


def _join(builder: Builder, parts: list[Any]) -> Any:
    """Return one vector with the lanes of 2^n vectors of equal size."""
    while len(parts) > 1:
        lanes = 2 * parts[0].type.count
        mask = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(a, b, mask) for a, b in pairs]
    return parts[0]


def _call(builder: Builder, name: str, result: Any, *values: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [value.type for value in values]), name
    )
    return builder.call(function, values)


def write_dot(builder: Builder, scheme: str, total: Any, x: Any, weights: Any) -> Any:
    """Add to 16 sums the products of 4 bytes each of x and of the weights, all in 32-bit lanes."""
    name, lanes = {
        "vnni512": ("llvm.x86.avx512.vpdpbusd.512", 16),
        "vnni256": ("llvm.x86.avx512.vpdpbusd.256", 8),
        "sdot": ("llvm.aarch64.neon.sdot.v4i32.v16i8", 4),
    }[scheme]
    parts = []
    for first in range(0, BLOCK_WIDTH, lanes):
        values = [_part(builder, v, first, lanes) for v in (total, x, weights)]
        if scheme == "sdot":
            sixteen = [builder.bitcast(v, ir.VectorType(_INT8, 16)) for v in values[1:]]
            parts.append(_call(builder, name, values[0].type, values[0], *sixteen))
        else:
            parts.append(_call(builder, name, values[0].type, *values))
    return _join(builder, parts)


def write_pair_sums(builder: Builder, scheme: str, x: Any, weights: Any) -> Any:
    """Return the sums of products of neighbours, 8 of int32, of two vectors of 16 int16."""
    result = ir.VectorType(INT32, 8)
    if scheme == "maddwd":
        return _call(builder, "llvm.x86.avx2.pmadd.wd", result, x, weights)
    wide = [builder.sext(v, INT_BLOCK) for v in (x, weights)]
    product = builder.mul(*wide)
    even, odd = (
        builder.shuffle_vector(product, product, ir.Constant(result, list(range(first, 16, 2))))
        for first in (0, 1)
    )
    return builder.add(even, odd)


def _loop(builder: Builder, count: Any, initial: list[Any], write: Any) -> list[Any]:
    """Write a loop of at least one pass; `write(n, values)` returns the values after pass n."""
    before = builder.block
    loop, after = builder.append_basic_block("inputs"), builder.append_basic_block("sums")
    builder.branch(loop)
    builder.position_at_end(loop)
    n = builder.phi(INT64)
    n.add_incoming(_constant(0), before)
    values = [builder.phi(value.type) for value in initial]
    for phi, value in zip(values, initial, strict=True):
        phi.add_incoming(value, before)
    new = write(n, values)
    following = builder.add(n, _constant(1))
    n.add_incoming(following, builder.block)
    for phi, value in zip(values, new, strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return list(new)


class _Strip:
    """Writes the integer sums of some rows and one strip; addresses are bytes.

    Attributes:
        weights: pointer to the strip.
        activations: pointers to the first input of each row.
        width: of a row, between its planes.
        fours: number of inputs / 4.
        blocks: of the strip.
    """

    def __init__(self, weights: Any, activations: list[Any], width: Any, fours: Any, blocks: int):
        self.weights, self.activations, self.width = weights, activations, width
        self.fours, self.blocks = fours, blocks

    def header(self, builder: Builder, place: int, vector: Any) -> Any:
        """Load 64 bytes before the weights: sums of the blocks, then scales."""
        return load(builder, self.weights, _constant(64 * place), vector)

    def sums(self, builder: Builder, scheme: str) -> list[list[Any]]:
        """Return for each row the exact sums of each block."""
        if has_planes(scheme):
            return self._sums_of_planes(builder, scheme)
        columns = [self._sums_of_pairs(builder, scheme, block) for block in range(self.blocks)]
        return [list(row) for row in zip(*columns, strict=True)]

    def _weights_at(self, builder: Builder, four: Any, byte: int) -> Any:
        size = 64 * self.blocks
        at = builder.mul(four, _constant(size))
        return add_offset(builder, at, 2 * size + byte)

    def _sums_of_planes(self, builder: Builder, scheme: str) -> list[list[Any]]:
        rows, blocks = len(self.activations), self.blocks

        def write(four: Any, sums: list[Any]) -> list[Any]:
            at = builder.shl(four, _constant(2))
            places = (at, builder.add(at, self.width))
            loaded = [
                load(builder, self.weights, self._weights_at(builder, four, 64 * i), INT_BLOCK)
                for i in range(blocks)
            ]
            new = list(sums)
            for r in range(rows):
                for plane, place in enumerate(places):
                    x = splat(
                        builder, load(builder, self.activations[r], place, INT32), BLOCK_WIDTH
                    )
                    for i in range(blocks):
                        n = (2 * r + plane) * blocks + i
                        new[n] = write_dot(builder, scheme, sums[n], x, loaded[i])
            return new

        sums = _loop(builder, self.fours, [int_constant(0)] * (2 * rows * blocks), write)
        # With unsigned planes, q is 256 high + low - 32,768; with signed ones 256 high + low + 128.
        shift = int_constant(7 if scheme == "sdot" else 15)
        combine = builder.add if scheme == "sdot" else builder.sub
        joined: list[list[Any]] = []
        for r in range(rows):
            joined.append([])
            for i in range(blocks):
                high, low = (sums[(2 * r + plane) * blocks + i] for plane in range(2))
                both = builder.add(builder.shl(high, int_constant(8)), low)
                offset = builder.shl(self.header(builder, i, INT_BLOCK), shift)
                joined[r].append(combine(both, offset))
        return joined

    def _sums_of_pairs(self, builder: Builder, scheme: str, block: int) -> list[Any]:
        rows, eight = len(self.activations), ir.VectorType(INT32, 8)
        zero = ir.Constant(eight, [0] * 8)

        def write(four: Any, sums: list[Any]) -> list[Any]:
            at = builder.shl(four, _constant(3))
            new = list(sums)
            xs = []
            for r in range(rows):
                x = splat(builder, load(builder, self.activations[r], at, INT64), 4)
                xs.append(builder.bitcast(x, _SHORTS))
            for quarter in range(4):
                place = self._weights_at(builder, four, 64 * block + 16 * quarter)
                weights = builder.sext(load(builder, self.weights, place, _BYTES), _SHORTS)
                for r in range(rows):
                    n = 4 * r + quarter
                    pairs = write_pair_sums(builder, scheme, xs[r], weights)
                    new[n] = builder.add(sums[n], pairs)
            return new

        sums = _loop(builder, self.fours, [zero] * (4 * rows), write)
        totals = []
        for r in range(rows):
            both = _join(builder, sums[4 * r : 4 * r + 4])
            even, odd = (
                builder.shuffle_vector(
                    both, both, ir.Constant(INT_BLOCK, list(range(first, 32, 2)))
                )
                for first in (0, 1)
            )
            totals.append(builder.add(even, odd))
        return totals


def _make_strip_product(rows: int, blocks: int) -> Any:
    """Return the product of some rows with one strip: y += step * scale * sum."""

    @intrinsic
    def strip_product(context, y, y_at, y_stride, w, w_at, q, row, first, width, fours):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(y, index, index, w, index, q, index, index, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments)
            for n in (0, 3, 5):
                values[n] = array_pointer(context, builder, signature.args[n], values[n])
            y, y_at, y_stride, w, w_at, q, row, first, width, fours = values
            bytes_first = first if has_planes(SCHEME) else builder.shl(first, _constant(1))
            starts, steps = [], []
            for r in range(rows):
                at = _row_start(builder, builder.add(row, _constant(r)), width)
                starts.append(builder.gep(q, [builder.add(at, bytes_first)]))
                steps.append(load(builder, q, _step_place(builder, at, width), FLOAT))
            strip = _Strip(builder.gep(w, [w_at]), starts, width, fours, blocks)
            sums = strip.sums(builder, SCHEME)
            for r in range(rows):
                step = splat(builder, steps[r], BLOCK_WIDTH)
                line = builder.add(y_at, builder.mul(y_stride, _constant(r)))
                for i in range(blocks):
                    scale = builder.fmul(strip.header(builder, blocks + i, FLOAT_BLOCK), step)
                    total = builder.sitofp(sums[r][i], FLOAT_BLOCK)
                    at = add_offset(builder, line, BLOCK_WIDTH * i)
                    old = load(builder, y, at, FLOAT_BLOCK)
                    store(builder, call_intrinsic(builder, "fma", total, scale, old), y, at)
            return context.get_dummy_value()

        return signature, codegen

    return strip_product


strip_product_1_row = _make_strip_product(1, STRIP_BLOCKS)
strip_product_2_rows = _make_strip_product(2, STRIP_BLOCKS)
strip_product_3_rows = _make_strip_product(3, STRIP_BLOCKS)
half_strip_product_1_row = _make_strip_product(1, STRIP_BLOCKS // 2)
half_strip_product_2_rows = _make_strip_product(2, STRIP_BLOCKS // 2)
half_strip_product_3_rows = _make_strip_product(3, STRIP_BLOCKS // 2)


def _store_activations(
    builder: Builder, rounded: Any, q: Any, row: Any, at: Any, width: Any
) -> None:
    """Write the activations of one block, given as floats to which `ROUNDER` was added."""
    bits = builder.bitcast(rounded, INT_BLOCK)
    start = _row_start(builder, row, width)
    if not has_planes(SCHEME):
        shorts = builder.trunc(builder.xor(bits, int_constant(0x8000)), _SHORTS)
        store(builder, shorts, q, builder.add(start, builder.shl(at, _constant(1))))
        return
    if SCHEME == "sdot":
        bits = builder.xor(bits, int_constant(0x8080))
    high = builder.trunc(builder.lshr(bits, int_constant(8)), _BYTES)
    place = builder.add(start, at)
    store(builder, high, q, place)
    store(builder, builder.trunc(bits, _BYTES), q, builder.add(place, width))


def _make_quantise(is_rectified: bool) -> Any:
    """Return the operation that rounds one row to activations; optionally after the ReLU."""

    def prepare(builder: Builder, value: Any) -> Any:
        if not is_rectified:
            return value
        positive = builder.fcmp_ordered(">", value, float_constant(0.0))
        return builder.select(positive, value, float_constant(0.0))

    @intrinsic
    def quantise(context, q, row, width, x, x_at):  # type: ignore[no-untyped-def]
        signature = types.void(q, types.intp, types.intp, x, types.intp)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments)
            for n in (0, 3):
                values[n] = array_pointer(context, builder, signature.args[n], values[n])
            q, row, width, x, x_at = values
            blocks = builder.lshr(width, _constant(4))

            def block_at(n: Any) -> Any:
                at = builder.add(x_at, builder.shl(n, _constant(4)))
                return prepare(builder, load(builder, x, at, FLOAT_BLOCK))

            def larger(a: Any, b: Any) -> Any:
                return builder.select(builder.fcmp_ordered(">", a, b), a, b)

            def find_top(n: Any, tops: list[Any]) -> list[Any]:
                return [larger(tops[0], call_intrinsic(builder, "fabs", block_at(n)))]

            (tops,) = _loop(builder, blocks, [float_constant(SMALLEST_MAXIMUM)], find_top)
            top = reduce(builder, tops, larger)
            step = builder.fmul(top, ir.Constant(FLOAT, float(np.float32(1 / TOP))))
            store(builder, step, q, _step_place(builder, _row_start(builder, row, width), width))
            inverse = builder.fdiv(ir.Constant(FLOAT, float(TOP)), top)
            factor = splat(builder, inverse, BLOCK_WIDTH)

            def write(n: Any, _: list[Any]) -> list[Any]:
                rounder = float_constant(ROUNDER)
                rounded = call_intrinsic(builder, "fma", block_at(n), factor, rounder)
                _store_activations(builder, rounded, q, row, builder.shl(n, _constant(4)), width)
                return []

            _loop(builder, blocks, [], write)
            return context.get_dummy_value()

        return signature, codegen

    return quantise


quantise_row = _make_quantise(is_rectified=False)
quantise_rectified_row = _make_quantise(is_rectified=True)


def _exp2(builder: Builder, v: Any) -> Any:
    """Write 2^v for v from MIN_EXPONENT to MAX_EXPONENT; other values are limited to these."""
    for symbol, bound in (("<", MIN_EXPONENT), (">", MAX_EXPONENT)):
        beyond = builder.fcmp_ordered(symbol, v, float_constant(bound))
        v = builder.select(beyond, float_constant(bound), v)
    shifted = builder.fadd(v, float_constant(EXP2_ROUNDER))
    rest = builder.fsub(v, builder.fsub(shifted, float_constant(EXP2_ROUNDER)))
    result = float_constant(EXP2_COEFFICIENTS[0])
    for coefficient in EXP2_COEFFICIENTS[1:]:
        result = call_intrinsic(builder, "fma", result, rest, float_constant(coefficient))
    exponent = builder.shl(builder.bitcast(shifted, INT_BLOCK), int_constant(23))
    return builder.bitcast(builder.add(builder.bitcast(result, INT_BLOCK), exponent), FLOAT_BLOCK)


@intrinsic
def int8_gate_block(context, q, row, at, width, g, g_at, frames, left, right, fraction):  # type: ignore[no-untyped-def]
    """Write the activations of tanh(a) sigmoid(b) for one block of channels.

    g and the frames contain 16 numbers of -2 log2(e) a, then the 16 of -log2(e) b of the same
    channels; the numbers of g, plus those between two frames, give a and b.
    """
    index = types.intp
    signature = types.void(q, index, index, index, g, index, frames, index, index, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values = list(arguments)
        for n in (0, 4, 6):
            values[n] = array_pointer(context, builder, signature.args[n], values[n])
        q, row, at, width, g, g_at, frames, left, right, fraction = values
        fraction = splat(builder, fraction, BLOCK_WIDTH)
        powers = []
        for more in (0, BLOCK_WIDTH):
            value = load(builder, g, add_offset(builder, g_at, more), FLOAT_BLOCK)
            first = load(builder, frames, add_offset(builder, left, more), FLOAT_BLOCK)
            second = load(builder, frames, add_offset(builder, right, more), FLOAT_BLOCK)
            difference = builder.fsub(second, first)
            bias = call_intrinsic(builder, "fma", difference, fraction, first)
            powers.append(_exp2(builder, builder.fadd(value, bias)))
        one = float_constant(1.0)
        denominator = builder.fmul(builder.fadd(one, powers[0]), builder.fadd(one, powers[1]))
        z = builder.fdiv(builder.fsub(one, powers[0]), denominator)
        rounder = float_constant(ROUNDER)
        rounded = call_intrinsic(builder, "fma", z, float_constant(float(TOP)), rounder)
        _store_activations(builder, rounded, q, row, at, width)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_32_bytes(context, y, y_at, x, x_at):  # type: ignore[no-untyped-def]
    """Copy 32 bytes; rows consist of such parts."""
    signature = types.void(y, types.intp, x, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, x, x_at = arguments
        y = array_pointer(context, builder, signature.args[0], y)
        x = array_pointer(context, builder, signature.args[2], x)
        store(builder, load(builder, x, x_at, ir.VectorType(INT32, 8)), y, y_at)
        return context.get_dummy_value()

    return signature, codegen
