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

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from wavenet.engines.cpu.jit import intrinsic

PANEL_WIDTH = 32  # outputs per panel
BLOCK_WIDTH = 16  # half a panel

HAS_AVX512 = llvm.get_host_cpu_features().get("avx512f", False)
MAX_ROWS = 6 if HAS_AVX512 else 3  # rows whose sums fit into the registers of the machine

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOAT_BLOCK = ir.VectorType(_FLOAT, BLOCK_WIDTH)
_INT_BLOCK = ir.VectorType(_INT32, BLOCK_WIDTH)

_Builder = Any  # llvmlite and numba are not typed


def _array_pointer(context: Any, builder: _Builder, array_type: Any, array: Any) -> Any:
    """Return the pointer to an array's first element."""
    return context.make_array(array_type)(context, builder, array).data


def _load(builder: _Builder, base: Any, offset: Any, vector_type: Any) -> Any:
    pointer = builder.bitcast(builder.gep(base, [offset]), vector_type.as_pointer())
    return builder.load(pointer, align=4)


def _store(builder: _Builder, value: Any, base: Any, offset: Any) -> None:
    pointer = builder.bitcast(builder.gep(base, [offset]), value.type.as_pointer())
    builder.store(value, pointer, align=4)


def _call_intrinsic(builder: _Builder, name: str, *values: Any) -> Any:
    """Call an LLVM intrinsic whose arguments and result have the same vector type."""
    vector_type = values[0].type
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector_type, [vector_type] * len(values)),
        f"llvm.{name}.v{vector_type.count}f32",
    )
    return builder.call(function, values)


def _splat(builder: _Builder, scalar: Any, lanes: int) -> Any:
    """Repeat a scalar in every lane of a vector."""
    empty = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(_INT32, 0))
    mask = ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, empty, mask)


def _float_constant(value: float, lanes: int = BLOCK_WIDTH) -> Any:
    # LLVM accepts only constants that float32 can represent
    return ir.Constant(ir.VectorType(_FLOAT, lanes), [float(np.float32(value))] * lanes)


def _int_constant(value: int, lanes: int = BLOCK_WIDTH) -> Any:
    return ir.Constant(ir.VectorType(_INT32, lanes), [value] * lanes)


def _add_offset(builder: _Builder, offset: Any, more: int) -> Any:
    return builder.add(offset, ir.Constant(_INT64, more)) if more else offset


def _make_panel_product(rows: int, columns: int, panels: int = 1) -> Any:
    """Return the product of some rows with one panel or more, `columns` columns at a time.

    The operation is y[r, c] += sum over k of x[r, k] * w[k, c], for the 32 columns c of each
    panel. Weights are float32, or uint32 that each hold two 16-bit weights (see `packed_weights`).
    """
    vector, int_vector = ir.VectorType(_FLOAT, columns), ir.VectorType(_INT32, columns)

    def load_weights(
        b: _Builder, w: Any, at: Any, pair: Any, first: int, packed: bool, k: int
    ) -> Any:
        """Load the weights of the even (k = 0) or the odd (k = 1) input of a pair."""
        width = PANEL_WIDTH if packed else 2 * PANEL_WIDTH
        offset = _add_offset(b, b.add(at, b.mul(pair, ir.Constant(_INT64, width))), first)
        if not packed:
            return _load(b, w, _add_offset(b, offset, k * PANEL_WIDTH), vector)
        both = _load(b, w, offset, int_vector)
        return b.bitcast(both if k else b.shl(both, _int_constant(16, columns)), vector)

    def write_columns(builder: _Builder, first: int, packed: bool, arguments: Any) -> None:
        """Write the loop over the inputs for one group of columns."""
        y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs = arguments
        pair_size = ir.Constant(_INT64, PANEL_WIDTH if packed else 2 * PANEL_WIDTH)
        panel_size = builder.mul(pairs, pair_size)
        before = builder.block
        loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(_INT64)
        pair.add_incoming(ir.Constant(_INT64, 0), before)
        sums = [builder.phi(vector) for _ in range(2 * panels * rows)]
        for total in sums:
            total.add_incoming(_float_constant(0.0, columns), before)
        new = list(sums)
        # all even inputs before all odd ones, because two weights at a time need too many registers
        for k, panel in product(range(2), range(panels)):
            at = builder.add(w_at, builder.mul(panel_size, ir.Constant(_INT64, panel)))
            weight = load_weights(builder, w, at, pair, first, packed, k)
            for r in range(rows):
                row = builder.add(x_at, builder.mul(x_stride, ir.Constant(_INT64, r)))
                two = builder.shl(pair, ir.Constant(_INT64, 1))
                row = _add_offset(builder, builder.add(row, two), k)
                value = builder.load(builder.gep(x, [row]), align=4)
                factor = _splat(builder, value, columns)
                n = 2 * (panel * rows + r) + k
                new[n] = _call_intrinsic(builder, "fmuladd", weight, factor, sums[n])
        following = _add_offset(builder, pair, 1)
        pair.add_incoming(following, builder.block)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, pairs), loop, after)
        builder.position_at_end(after)
        for panel, r in product(range(panels), range(rows)):
            offset = builder.add(y_at, builder.mul(y_stride, ir.Constant(_INT64, r)))
            offset = _add_offset(builder, offset, panel * PANEL_WIDTH + first)
            n = 2 * (panel * rows + r)
            total = builder.fadd(new[n], new[n + 1])
            old = _load(builder, y, offset, vector)
            _store(builder, builder.fadd(old, total), y, offset)

    @intrinsic
    def panel_product(context, y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(y, index, index, w, index, x, index, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments)
            for n in (0, 3, 5):
                values[n] = _array_pointer(context, builder, signature.args[n], values[n])
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
        return ir.Constant(_INT64, words)

    return types.intp(w), codegen


@intrinsic
def unpack_block(context, y, y_at, words, at):  # type: ignore[no-untyped-def]
    """Write the even weights of one block of packed words to y, the odd weights one panel later."""
    signature = types.void(y, types.intp, words, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, words, at = arguments
        y = _array_pointer(context, builder, signature.args[0], y)
        words = _array_pointer(context, builder, signature.args[2], words)
        both = _load(builder, words, at, _INT_BLOCK)
        even = builder.shl(both, _int_constant(16))
        _store(builder, builder.bitcast(even, _FLOAT_BLOCK), y, y_at)
        odd_at = _add_offset(builder, y_at, PANEL_WIDTH)
        _store(builder, builder.bitcast(both, _FLOAT_BLOCK), y, odd_at)
        return context.get_dummy_value()

    return signature, codegen


def _clamp(builder: _Builder, v: Any, low: float, high: float) -> Any:
    """Limit v to low .. high; NaN stays NaN."""
    below = builder.fcmp_ordered("<", v, _float_constant(low))
    v = builder.select(below, _float_constant(low), v)
    above = builder.fcmp_ordered(">", v, _float_constant(high))
    return builder.select(above, _float_constant(high), v)


def _exp(builder: _Builder, v: Any) -> Any:
    """Write e^v: 2^n times a polynomial of the remainder, to 2 units in the last place.

    Arguments are limited to -87 .. 88, where the result is a normal number.
    """
    v = _clamp(builder, v, -87.0, 88.0)
    # adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits
    magic = _float_constant(12582912.0)
    shifted = _call_intrinsic(builder, "fmuladd", v, _float_constant(1.4426950408889634), magic)
    n = builder.fsub(shifted, magic)
    # ln 2 in two parts; the first has so few bits that its product with n is exact
    rest = _call_intrinsic(builder, "fmuladd", n, _float_constant(-0.693359375), v)
    rest = _call_intrinsic(builder, "fmuladd", n, _float_constant(2.12194440e-4), rest)
    result = _float_constant(_EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        result = _call_intrinsic(builder, "fmuladd", result, rest, _float_constant(coefficient))
    exponent = builder.shl(builder.bitcast(shifted, _INT_BLOCK), _int_constant(23))
    bits = builder.add(builder.bitcast(result, _INT_BLOCK), exponent)
    return builder.bitcast(bits, _FLOAT_BLOCK)


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
            _array_pointer(context, builder, signature.args[n], array)
            for n, array in ((0, z), (2, g), (4, frames))
        )
        fraction = _splat(builder, fraction, BLOCK_WIDTH)
        halves = []
        for more in (0, BLOCK_WIDTH):
            value = _load(builder, g, _add_offset(builder, g_at, more), _FLOAT_BLOCK)
            first = _load(builder, frames, _add_offset(builder, left, more), _FLOAT_BLOCK)
            second = _load(builder, frames, _add_offset(builder, right, more), _FLOAT_BLOCK)
            difference = builder.fsub(second, first)
            bias = _call_intrinsic(builder, "fmuladd", difference, fraction, first)
            halves.append(builder.fadd(value, bias))
        # tanh(a) sigmoid(b) = (1 - e^-2a) / ((1 + e^-2a) (1 + e^-b)), one division for both;
        # beyond these limits the result hardly changes, and the product cannot overflow
        a = builder.fmul(_clamp(builder, halves[0], -20.0, 20.0), _float_constant(-2.0))
        b = builder.fneg(_clamp(builder, halves[1], -40.0, 87.0))
        a, b = _exp(builder, a), _exp(builder, b)
        one = _float_constant(1.0)
        denominator = builder.fmul(builder.fadd(one, a), builder.fadd(one, b))
        _store(builder, builder.fdiv(builder.fsub(one, a), denominator), z, z_at)
        return context.get_dummy_value()

    return signature, codegen


def _make_block_operation(write: Callable[[_Builder, Any, Any], Any]) -> Any:
    """Return the operation y[block] = write(y[block], x[block]), without checks of indices."""

    @intrinsic
    def operation(context, y, y_at, x, x_at):  # type: ignore[no-untyped-def]
        signature = types.void(y, types.intp, x, types.intp)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, y_at, x, x_at = arguments
            y = _array_pointer(context, builder, signature.args[0], y)
            x = _array_pointer(context, builder, signature.args[2], x)
            left = _load(builder, y, y_at, _FLOAT_BLOCK)
            right = _load(builder, x, x_at, _FLOAT_BLOCK)
            _store(builder, write(builder, left, right), y, y_at)
            return context.get_dummy_value()

        return signature, codegen

    return operation


def _relu(builder: _Builder, _: Any, x: Any) -> Any:
    negative = builder.fcmp_ordered("<", x, _float_constant(0.0))
    return builder.select(negative, _float_constant(0.0), x)


copy_block = _make_block_operation(lambda builder, _, x: x)
add_block = _make_block_operation(lambda builder, y, x: builder.fadd(y, x))
relu_block = _make_block_operation(_relu)


def _reduce(builder: _Builder, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes of a block into one scalar, half with half."""
    lanes = BLOCK_WIDTH
    while lanes > 1:
        lanes //= 2
        half_type = ir.VectorType(_INT32, lanes)
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(half_type, list(range(at, at + lanes)))
            )
            for at in (0, lanes)
        )
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(_INT32, 0))


@intrinsic
def max_of_block(context, x, at):  # type: ignore[no-untyped-def]
    """Return the largest number of one block of x."""
    signature = types.float32(x, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x = _array_pointer(context, builder, signature.args[0], arguments[0])
        block = _load(builder, x, arguments[1], _FLOAT_BLOCK)
        return _reduce(builder, block, lambda a, b: _call_intrinsic(builder, "maxnum", a, b))

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
        p = _array_pointer(context, builder, signature.args[0], p)
        x = _array_pointer(context, builder, signature.args[2], x)
        top, scale, minimum = (
            _splat(builder, value, BLOCK_WIDTH) for value in (top, scale, minimum)
        )
        block = _load(builder, x, x_at, _FLOAT_BLOCK)
        power = builder.fmul(builder.fsub(block, top), scale)
        included = builder.and_(
            builder.fcmp_ordered(">", power, _float_constant(-87.0)),
            builder.fcmp_ordered(">=", block, minimum),
        )
        value = builder.select(included, _exp(builder, power), _float_constant(0.0))
        _store(builder, value, p, p_at)
        return _reduce(builder, value, builder.fadd)

    return signature, codegen


@intrinsic
def sum_above(context, p, at, threshold):  # type: ignore[no-untyped-def]
    """Return the sum of the numbers of one block of p that are above a threshold."""
    signature = types.float32(p, types.intp, types.float32)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        p = _array_pointer(context, builder, signature.args[0], arguments[0])
        block = _load(builder, p, arguments[1], _FLOAT_BLOCK)
        above = builder.fcmp_ordered(">", block, _splat(builder, arguments[2], BLOCK_WIDTH))
        return _reduce(builder, builder.select(above, block, _float_constant(0.0)), builder.fadd)

    return signature, codegen


@intrinsic
def bits_to_float(context, bits):  # type: ignore[no-untyped-def]
    """Reinterpret the bits of an int32 as a float32."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.int32), codegen
