"""The innermost operations of the CPU engine, written as LLVM vector instructions.

numba does not vectorise all Python loops, and checks the sign of every index. A few loops need nine
tenths of the time, so they are written here as vector instructions; LLVM splits their vectors into
the vectors of the machine (AVX2, AVX-512, NEON). Input: flat arrays and offsets. Output: arrays
changed in place, or a scalar. Nothing is checked. Called by `sample_loop` and `numba_sampling`.

Two units of work:

panel   32 outputs of a matrix. A panel product adds x @ panel to y for one row of x or several,
        with all sums in registers. Every sum has the same order for any number of rows and threads:
        even inputs in one sum, odd inputs in another, both added at the end. So a stream has the
        same bits alone and in a batch. `packed_weights` describes the layout of panels.
block   16 numbers: the gate of 16 channels, or 16 classes of a distribution.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

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

PANEL_WIDTH = 32  # outputs per panel

HAS_AVX512 = target_features().get("avx512f", False)
MAX_ROWS = 6 if HAS_AVX512 else 3  # rows whose sums fit into the registers of the machine


def _make_panel_product(rows: int, columns: int, panels: int = 1) -> Any:
    """Return the product of some rows with one panel or more, `columns` columns at a time.

    The operation is y[r, c] += sum over k of x[r, k] * w[k, c], for the 32 columns c of each
    panel. Weights are float32, or uint32 that each hold two 16-bit weights (see `packed_weights`).
    """
    vector, int_vector = ir.VectorType(FLOAT, columns), ir.VectorType(INT32, columns)

    def load_weights(
        b: Builder, w: Any, at: Any, pair: Any, first: int, packed: bool, k: int
    ) -> Any:
        """Load the weights of the even (k = 0) or the odd (k = 1) input of a pair."""
        width = PANEL_WIDTH if packed else 2 * PANEL_WIDTH
        offset = add_offset(b, b.add(at, b.mul(pair, ir.Constant(INT64, width))), first)
        if not packed:
            return load(b, w, add_offset(b, offset, k * PANEL_WIDTH), vector)
        both = load(b, w, offset, int_vector)
        return b.bitcast(both if k else b.shl(both, int_constant(16, columns)), vector)

    def write_columns(builder: Builder, first: int, packed: bool, arguments: Any) -> None:
        """Write the loop over the inputs for one group of columns."""
        y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs = arguments
        pair_size = ir.Constant(INT64, PANEL_WIDTH if packed else 2 * PANEL_WIDTH)
        panel_size = builder.mul(pairs, pair_size)
        before = builder.block
        loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(INT64)
        pair.add_incoming(ir.Constant(INT64, 0), before)
        sums = [builder.phi(vector) for _ in range(2 * panels * rows)]
        for total in sums:
            total.add_incoming(float_constant(0.0, columns), before)
        new = list(sums)
        # all even inputs before all odd ones, because two weights at a time need too many registers
        for k, panel in product(range(2), range(panels)):
            at = builder.add(w_at, builder.mul(panel_size, ir.Constant(INT64, panel)))
            weight = load_weights(builder, w, at, pair, first, packed, k)
            for r in range(rows):
                row = builder.add(x_at, builder.mul(x_stride, ir.Constant(INT64, r)))
                two = builder.shl(pair, ir.Constant(INT64, 1))
                row = add_offset(builder, builder.add(row, two), k)
                value = builder.load(builder.gep(x, [row]), align=4)
                factor = splat(builder, value, columns)
                n = 2 * (panel * rows + r) + k
                new[n] = call_intrinsic(builder, "fmuladd", weight, factor, sums[n])
        following = add_offset(builder, pair, 1)
        pair.add_incoming(following, builder.block)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, pairs), loop, after)
        builder.position_at_end(after)
        for panel, r in product(range(panels), range(rows)):
            offset = builder.add(y_at, builder.mul(y_stride, ir.Constant(INT64, r)))
            offset = add_offset(builder, offset, panel * PANEL_WIDTH + first)
            n = 2 * (panel * rows + r)
            total = builder.fadd(new[n], new[n + 1])
            old = load(builder, y, offset, vector)
            store(builder, builder.fadd(old, total), y, offset)

    @intrinsic
    def panel_product(context, y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(y, index, index, w, index, x, index, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments)
            for n in (0, 3, 5):
                values[n] = array_pointer(context, builder, signature.args[n], values[n])
            packed = signature.args[3].dtype != types.float32
            for first in range(0, PANEL_WIDTH, columns):
                write_columns(builder, first, packed, values)
            return context.get_dummy_value()

        return signature, codegen

    return panel_product


_COLUMNS = PANEL_WIDTH if HAS_AVX512 else BLOCK_WIDTH
panel_product_1_row = _make_panel_product(1, PANEL_WIDTH)
two_panels_product_1_row = _make_panel_product(1, PANEL_WIDTH, panels=2)
panel_product_2_rows = _make_panel_product(2, _COLUMNS)
panel_product_3_rows = _make_panel_product(3, _COLUMNS)
panel_product_max_rows = _make_panel_product(MAX_ROWS, _COLUMNS)


@intrinsic
def words_per_pair(context, w):  # type: ignore[no-untyped-def]
    """Return the number of elements of w for one pair of inputs of one panel."""
    words = 2 * PANEL_WIDTH if w.dtype == types.float32 else PANEL_WIDTH

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return ir.Constant(INT64, words)

    return types.intp(w), codegen


@intrinsic
def unpack_block(context, y, y_at, words, at):  # type: ignore[no-untyped-def]
    """Write the even weights of one block of packed words to y, the odd weights one panel later."""
    signature = types.void(y, types.intp, words, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, words, at = arguments
        y = array_pointer(context, builder, signature.args[0], y)
        words = array_pointer(context, builder, signature.args[2], words)
        both = load(builder, words, at, INT_BLOCK)
        even = builder.shl(both, int_constant(16))
        store(builder, builder.bitcast(even, FLOAT_BLOCK), y, y_at)
        odd_at = add_offset(builder, y_at, PANEL_WIDTH)
        store(builder, builder.bitcast(both, FLOAT_BLOCK), y, odd_at)
        return context.get_dummy_value()

    return signature, codegen


def _clamp(builder: Builder, v: Any, low: float, high: float) -> Any:
    """Limit v to low .. high; NaN stays NaN."""
    below = builder.fcmp_ordered("<", v, float_constant(low))
    v = builder.select(below, float_constant(low), v)
    above = builder.fcmp_ordered(">", v, float_constant(high))
    return builder.select(above, float_constant(high), v)


def _exp(builder: Builder, v: Any) -> Any:
    """Write e^v: 2^n times a polynomial of the remainder, to 2 units in the last place.

    Arguments are limited to -87 .. 88, where the result is a normal number.
    """
    v = _clamp(builder, v, -87.0, 88.0)
    # adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits
    magic = float_constant(12582912.0)
    shifted = call_intrinsic(builder, "fma", v, float_constant(1.4426950408889634), magic)
    n = builder.fsub(shifted, magic)
    # ln 2 in two parts; the first has so few bits that its product with n is exact
    rest = call_intrinsic(builder, "fma", n, float_constant(-0.693359375), v)
    rest = call_intrinsic(builder, "fma", n, float_constant(2.12194440e-4), rest)
    result = float_constant(_EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        result = call_intrinsic(builder, "fma", result, rest, float_constant(coefficient))
    exponent = builder.shl(builder.bitcast(shifted, INT_BLOCK), int_constant(23))
    bits = builder.add(builder.bitcast(result, INT_BLOCK), exponent)
    return builder.bitcast(bits, FLOAT_BLOCK)


def _fit_exp() -> list[float]:
    """Fit e^r on |r| <= ln(2) / 2 at Chebyshev points for least relative error, exact at 0."""
    half = np.log(2) / 2
    r = half * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    powers = r[:, None] ** np.arange(6, 0, -1)
    fit, *_ = np.linalg.lstsq(powers / np.exp(r)[:, None], 1 - np.exp(-r), rcond=None)
    return [*fit.tolist(), 1.0]


_EXP_COEFFICIENTS = _fit_exp()


@intrinsic
def gate_block(context, z, z_at, g, g_at, frames, left, right, fraction):  # type: ignore[no-untyped-def]
    """Compute z = tanh(a) sigmoid(b) for one block; a, b: g plus the bias between two frames.

    g and the frames contain 16 numbers of a, then the 16 of b of the same channels. fraction: 0 to
    1, from the left to the right frame.
    """
    index = types.intp
    signature = types.void(z, index, g, index, frames, index, index, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        z, z_at, g, g_at, frames, left, right, fraction = arguments
        z, g, frames = (
            array_pointer(context, builder, signature.args[n], array)
            for n, array in ((0, z), (2, g), (4, frames))
        )
        fraction = splat(builder, fraction, BLOCK_WIDTH)
        halves = []
        for more in (0, BLOCK_WIDTH):
            value = load(builder, g, add_offset(builder, g_at, more), FLOAT_BLOCK)
            first = load(builder, frames, add_offset(builder, left, more), FLOAT_BLOCK)
            second = load(builder, frames, add_offset(builder, right, more), FLOAT_BLOCK)
            difference = builder.fsub(second, first)
            bias = call_intrinsic(builder, "fmuladd", difference, fraction, first)
            halves.append(builder.fadd(value, bias))
        # tanh(a) sigmoid(b) = (1 - e^-2a) / ((1 + e^-2a) (1 + e^-b)), one division for both;
        # beyond these limits the result hardly changes, and the product cannot overflow
        a = builder.fmul(_clamp(builder, halves[0], -20.0, 20.0), float_constant(-2.0))
        b = builder.fneg(_clamp(builder, halves[1], -40.0, 87.0))
        a, b = _exp(builder, a), _exp(builder, b)
        one = float_constant(1.0)
        denominator = builder.fmul(builder.fadd(one, a), builder.fadd(one, b))
        store(builder, builder.fdiv(builder.fsub(one, a), denominator), z, z_at)
        return context.get_dummy_value()

    return signature, codegen


def _make_block_operation(write: Callable[[Builder, Any, Any], Any]) -> Any:
    """Return the operation y[block] = write(y[block], x[block]), without checks of indices."""

    @intrinsic
    def operation(context, y, y_at, x, x_at):  # type: ignore[no-untyped-def]
        signature = types.void(y, types.intp, x, types.intp)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, y_at, x, x_at = arguments
            y = array_pointer(context, builder, signature.args[0], y)
            x = array_pointer(context, builder, signature.args[2], x)
            left = load(builder, y, y_at, FLOAT_BLOCK)
            right = load(builder, x, x_at, FLOAT_BLOCK)
            store(builder, write(builder, left, right), y, y_at)
            return context.get_dummy_value()

        return signature, codegen

    return operation


def _relu(builder: Builder, _: Any, x: Any) -> Any:
    negative = builder.fcmp_ordered("<", x, float_constant(0.0))
    return builder.select(negative, float_constant(0.0), x)


copy_block = _make_block_operation(lambda builder, _, x: x)
add_block = _make_block_operation(lambda builder, y, x: builder.fadd(y, x))
relu_block = _make_block_operation(_relu)


@intrinsic
def max_of_block(context, x, at):  # type: ignore[no-untyped-def]
    """Return the largest number of one block of x."""
    signature = types.float32(x, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x = array_pointer(context, builder, signature.args[0], arguments[0])
        block = load(builder, x, arguments[1], FLOAT_BLOCK)
        return reduce(builder, block, lambda a, b: call_intrinsic(builder, "maxnum", a, b))

    return signature, codegen


@intrinsic
def exp_block(context, p, p_at, x, x_at, top, scale, minimum):  # type: ignore[no-untyped-def]
    """Set p = e^((x - top) * scale) for one block; return the sum.

    p is 0 if x is below `minimum`, or if p would be below e^-87.
    """
    index, number = types.intp, types.float32
    signature = number(p, index, x, index, number, number, number)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        p, p_at, x, x_at, top, scale, minimum = arguments
        p = array_pointer(context, builder, signature.args[0], p)
        x = array_pointer(context, builder, signature.args[2], x)
        top, scale, minimum = (
            splat(builder, value, BLOCK_WIDTH) for value in (top, scale, minimum)
        )
        block = load(builder, x, x_at, FLOAT_BLOCK)
        power = builder.fmul(builder.fsub(block, top), scale)
        included = builder.and_(
            builder.fcmp_ordered(">", power, float_constant(-87.0)),
            builder.fcmp_ordered(">=", block, minimum),
        )
        value = builder.select(included, _exp(builder, power), float_constant(0.0))
        store(builder, value, p, p_at)
        return reduce(builder, value, builder.fadd)

    return signature, codegen


@intrinsic
def sum_above(context, p, at, threshold):  # type: ignore[no-untyped-def]
    """Return the sum of the numbers of one block of p that are above a threshold."""
    signature = types.float32(p, types.intp, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        p = array_pointer(context, builder, signature.args[0], arguments[0])
        block = load(builder, p, arguments[1], FLOAT_BLOCK)
        above = builder.fcmp_ordered(">", block, splat(builder, arguments[2], BLOCK_WIDTH))
        return reduce(builder, builder.select(above, block, float_constant(0.0)), builder.fadd)

    return signature, codegen


@intrinsic
def bits_to_float(context, bits):  # type: ignore[no-untyped-def]
    """Reinterpret the bits of an int32 as a float32."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), codegen
