"""Functions of one block of 16 numbers: the gate, and what drawing a class needs.

Flat arrays and offsets enter; a block is changed or a scalar leaves. Called by `layer_steps` and
`class_sampling`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from wavenet.engines.cpu.jit import intrinsic
from wavenet.engines.cpu.llvm_vectors import (
    BLOCK,
    BLOCK_INT,
    FLOAT,
    INT32,
    LANES,
    PANEL,
    Builder,
    call,
    constant,
    data,
    integers,
    load,
    plus,
    splat,
    store,
)


def _within(builder: Builder, v: Any, low: float, high: float) -> Any:
    """Hold v between two bounds; what is not a number stays so."""
    v = builder.select(builder.fcmp_ordered("<", v, constant(low)), constant(low), v)
    return builder.select(builder.fcmp_ordered(">", v, constant(high)), constant(high), v)


def _exp(builder: Builder, v: Any) -> Any:
    """Write e^v: 2^n times a polynomial of the rest, to 2 units in the last place.

    Arguments are held within -87 and 88, where the result is a normal number.
    """
    v = _within(builder, v, -87.0, 88.0)
    # adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits
    magic = constant(12582912.0)
    shifted = call(builder, "fmuladd", v, constant(1.4426950408889634), magic)
    n = builder.fsub(shifted, magic)
    # ln 2 in two parts, the first short enough that its product with n is exact
    rest = call(builder, "fmuladd", n, constant(-0.693359375), v)
    rest = call(builder, "fmuladd", n, constant(2.12194440e-4), rest)
    result = constant(_EXP[0])
    for coefficient in _EXP[1:]:
        result = call(builder, "fmuladd", result, rest, constant(coefficient))
    exponent = builder.shl(builder.bitcast(shifted, BLOCK_INT), integers(23))
    return builder.bitcast(builder.add(builder.bitcast(result, BLOCK_INT), exponent), BLOCK)


def _exp_coefficients() -> list[float]:
    """Fit e^r on |r| <= ln(2) / 2 at Chebyshev points for least relative error, exact at 0."""
    half = np.log(2) / 2
    r = half * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    powers = r[:, None] ** np.arange(6, 0, -1)
    fit, *_ = np.linalg.lstsq(powers / np.exp(r)[:, None], 1 - np.exp(-r), rcond=None)
    return [*fit.tolist(), 1.0]


_EXP = _exp_coefficients()


@intrinsic
def gate(context, z, z_at, g, g_at, frames, left, right, share):  # type: ignore[no-untyped-def]
    """z = tanh(a) sigmoid(b) for one block; a, b: g and the condition between two frames.

    g and the frames hold 16 of a, then the 16 of b that belong to them. share: 0 to 1.
    """
    index = types.intp
    signature = types.void(z, index, g, index, frames, index, index, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        z, z_at, g, g_at, frames, left, right, share = arguments
        z, g, frames = (
            data(context, builder, signature.args[n], array)
            for n, array in ((0, z), (2, g), (4, frames))
        )
        share = splat(builder, share, LANES)
        halves = []
        for more in (0, LANES):
            value = load(builder, g, plus(builder, g_at, more), BLOCK)
            first = load(builder, frames, plus(builder, left, more), BLOCK)
            second = load(builder, frames, plus(builder, right, more), BLOCK)
            between = call(builder, "fmuladd", builder.fsub(second, first), share, first)
            halves.append(builder.fadd(value, between))
        # tanh(a) sigmoid(b) = (1 - e^-2a) / ((1 + e^-2a) (1 + e^-b)), one division for both;
        # beyond 20 both are flat in float32, and the product of the two cannot overflow
        a = builder.fmul(_within(builder, halves[0], -20.0, 20.0), constant(-2.0))
        b = builder.fneg(_within(builder, halves[1], -40.0, 87.0))
        a, b = _exp(builder, a), _exp(builder, b)
        one = constant(1.0)
        under = builder.fmul(builder.fadd(one, a), builder.fadd(one, b))
        store(builder, builder.fdiv(builder.fsub(one, a), under), z, z_at)
        return context.get_dummy_value()

    return signature, codegen


def _make_block_operation(write: Callable[[Builder, Any, Any], Any]) -> Any:
    """Make y[block] = write(y[block], x[block]); numba's own loops check every index."""

    @intrinsic
    def operation(context, y, y_at, x, x_at):  # type: ignore[no-untyped-def]
        signature = types.void(y, types.intp, x, types.intp)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, y_at, x, x_at = arguments
            y = data(context, builder, signature.args[0], y)
            x = data(context, builder, signature.args[2], x)
            left, right = load(builder, y, y_at, BLOCK), load(builder, x, x_at, BLOCK)
            store(builder, write(builder, left, right), y, y_at)
            return context.get_dummy_value()

        return signature, codegen

    return operation


def _rectified(builder: Builder, _: Any, x: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", x, constant(0.0)), constant(0.0), x)


copy_block = _make_block_operation(lambda builder, _, x: x)
add_block = _make_block_operation(lambda builder, y, x: builder.fadd(y, x))
rectify_block = _make_block_operation(_rectified)


@intrinsic
def unpack_block(context, y, y_at, words, at):  # type: ignore[no-untyped-def]
    """Write the even weights of one block of packed words to y, the odd ones a panel further."""
    signature = types.void(y, types.intp, words, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, words, at = arguments
        y = data(context, builder, signature.args[0], y)
        words = data(context, builder, signature.args[2], words)
        both = load(builder, words, at, BLOCK_INT)
        even = builder.shl(both, integers(16))
        store(builder, builder.bitcast(even, BLOCK), y, y_at)
        store(builder, builder.bitcast(both, BLOCK), y, plus(builder, y_at, PANEL))
        return context.get_dummy_value()

    return signature, codegen


def _fold(builder: Builder, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes of a block, halves with halves, into one scalar."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(INT32, lanes), list(range(at, at + lanes)))
            )
            for at in (0, lanes)
        )
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(INT32, 0))


@intrinsic
def largest(context, x, at):  # type: ignore[no-untyped-def]
    """Give the largest number of one block of x."""
    signature = types.float32(x, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x = data(context, builder, signature.args[0], arguments[0])
        block = load(builder, x, arguments[1], BLOCK)
        return _fold(builder, block, lambda a, b: call(builder, "maxnum", a, b))

    return signature, codegen


@intrinsic
def exponentials(context, p, p_at, x, x_at, top, scale, least):  # type: ignore[no-untyped-def]
    """p = e^((x - top) * scale) for one block; give their sum.

    p is 0 where x is below `least`, and where p would be below e^-87.
    """
    index, number = types.intp, types.float32
    signature = number(p, index, x, index, number, number, number)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        p, p_at, x, x_at, top, scale, least = arguments
        p = data(context, builder, signature.args[0], p)
        x = data(context, builder, signature.args[2], x)
        top, scale, least = (splat(builder, value, LANES) for value in (top, scale, least))
        block = load(builder, x, x_at, BLOCK)
        power = builder.fmul(builder.fsub(block, top), scale)
        drawable = builder.and_(
            builder.fcmp_ordered(">", power, constant(-87.0)),
            builder.fcmp_ordered(">=", block, least),
        )
        value = builder.select(drawable, _exp(builder, power), constant(0.0))
        store(builder, value, p, p_at)
        return _fold(builder, value, builder.fadd)

    return signature, codegen


@intrinsic
def sum_above(context, p, at, threshold):  # type: ignore[no-untyped-def]
    """Give the sum of those numbers of one block of p that are above a threshold."""
    signature = types.float32(p, types.intp, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        p = data(context, builder, signature.args[0], arguments[0])
        block = load(builder, p, arguments[1], BLOCK)
        above = builder.fcmp_ordered(">", block, splat(builder, arguments[2], LANES))
        return _fold(builder, builder.select(above, block, constant(0.0)), builder.fadd)

    return signature, codegen


@intrinsic
def float_of_bits(context, bits):  # type: ignore[no-untyped-def]
    """Read the bits of an int32 as a float32."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), codegen
