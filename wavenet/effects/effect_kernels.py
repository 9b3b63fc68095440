"""The innermost operations of the engine of effects, written as LLVM vector instructions.

The lanes of a vector are 16 samples of one channel: every model, of any width, uses all lanes. A
row is one channel in one flat array, the arena. Nothing is checked. Called by `effect_loop`.

    row_product_N  N rows of outputs, each bias + sum over k of weight * row k; the sums of 2 to 4
                   vectors per row stay in registers; a weight is read once and multiplied with them
    long_row_product_N
                   the same for longer blocks: more sums in registers
    activations    `PRODUCT_WIDTH` samples of one row, a tile, in place or to another row
    combinations   a tile of a row from up to three tiles
    flush_denormals, restore_denormals
                   numbers below 1e-38 become zero: the x86 processors multiply them slowly

Every output is summed in the same order whatever the length of a block, so blocks of any lengths
give the same bits. Between machines the last bits differ, because of the division of `Tanh`.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from wavenet.effects.activations import FASTTANH
from wavenet.engines.cpu.jit import intrinsic, target_features
from wavenet.engines.cpu.llvm_vectors import (
    BLOCK_WIDTH,
    FLOAT_BLOCK,
    INT32,
    INT64,
    Builder,
    add_offset,
    array_pointer,
    call_intrinsic,
    float_constant,
    load,
    splat,
    store,
)

FEATURES = target_features()
HAS_AVX512 = FEATURES.get("avx512f", False)
IS_X86 = "sse2" in FEATURES

# Outputs whose sums fit into the registers: of 32 registers of 16 numbers, or of 16 of 8 numbers.
MAX_OUTPUTS = 8 if HAS_AVX512 else 4
PRODUCT_WIDTH = 4 * BLOCK_WIDTH if HAS_AVX512 else BLOCK_WIDTH  # samples at once, at most

# x P(x^2) / Q(x^2), fitted to tanh on [0, 7.8], beyond which the result is that of 7.8: the largest
# error is 5e-7. Coefficients of P, of Q after the first, which is 1; ascending powers.
TANH_LIMIT = 7.8
TANH_P = (0.99999988, 0.12942423, 0.002969177, 1.1628645e-05)
TANH_Q = (0.46275654, 0.023889402, 0.00024125776, 2.5240851e-07)
FLUSH_BITS = 0x8040  # of the control register of x86: results, and inputs that are denormal


def product_width(outputs: int, is_long: bool = False) -> int:
    """Return how many samples a product computes at once; is_long: of the `long_row_product`s."""
    if not HAS_AVX512 or outputs <= 4:
        return PRODUCT_WIDTH
    return (3 if is_long else 2) * BLOCK_WIDTH


def _make_row_product(outputs: int, is_long: bool = False) -> Any:
    """Return the product of weights with rows for some outputs.

    The operation, for outputs o and samples t of a tile:
    dest[o, t] = residual[o, t] + bias[o] + sum over k of weight[k, o] * source[k, t].
    """
    vectors = product_width(outputs, is_long) // BLOCK_WIDTH

    def multiply_row(b: Builder, arena: Any, row: Any, w: Any, w_at: Any, sums: list[Any]) -> None:
        """Add the products of one row of the source to the sums."""
        inputs = [
            load(b, arena, add_offset(b, row, v * BLOCK_WIDTH), FLOAT_BLOCK) for v in range(vectors)
        ]
        for o in range(outputs):
            value = b.load(b.gep(w, [add_offset(b, w_at, o)]), align=4)
            weight = splat(b, value, BLOCK_WIDTH)
            for v in range(vectors):
                n = o * vectors + v
                sums[n] = call_intrinsic(b, "fma", weight, inputs[v], sums[n])

    def sum_segments(b: Builder, arena: Any, w: Any, w_at: Any, segments: Any, t: Any) -> list[Any]:
        """Write the loops over the segments and their rows; return the sums."""
        table, first, count = segments
        sums = []
        for o in range(outputs):
            bias = b.load(b.gep(w, [add_offset(b, w_at, o)]), align=4)
            sums += [splat(b, bias, BLOCK_WIDTH)] * vectors
        w_at = add_offset(b, w_at, outputs)
        before = b.block
        outer, inner, next_segment, after = (
            b.append_basic_block(name) for name in ("segments", "rows", "next", "sums")
        )
        b.branch(outer)
        b.position_at_end(outer)
        segment, outer_w = b.phi(INT64), b.phi(INT64)
        outer_sums = [b.phi(FLOAT_BLOCK) for _ in sums]
        segment.add_incoming(ir.Constant(INT64, 0), before)
        outer_w.add_incoming(w_at, before)
        for phi, value in zip(outer_sums, sums, strict=True):
            phi.add_incoming(value, before)
        entry = b.mul(b.add(first, segment), ir.Constant(INT64, 3))
        start, rows, stride = (
            b.load(b.gep(table, [add_offset(b, entry, more)]), align=8) for more in range(3)
        )
        start = b.add(start, t)
        b.branch(inner)
        b.position_at_end(inner)
        left, row, inner_w = b.phi(INT64), b.phi(INT64), b.phi(INT64)
        inner_sums = [b.phi(FLOAT_BLOCK) for _ in sums]
        for phi, value in zip(
            (left, row, inner_w, *inner_sums), (rows, start, outer_w, *outer_sums), strict=True
        ):
            phi.add_incoming(value, outer)
        new = list(inner_sums)
        multiply_row(b, arena, row, w, inner_w, new)
        new_w = add_offset(b, inner_w, outputs)
        fewer = b.sub(left, ir.Constant(INT64, 1))
        for phi, value in zip(
            (left, row, inner_w, *inner_sums), (fewer, b.add(row, stride), new_w, *new), strict=True
        ):
            phi.add_incoming(value, inner)
        b.cbranch(b.icmp_signed(">", fewer, ir.Constant(INT64, 0)), inner, next_segment)
        b.position_at_end(next_segment)
        following = add_offset(b, segment, 1)
        for phi, value in zip(
            (segment, outer_w, *outer_sums), (following, new_w, *new), strict=True
        ):
            phi.add_incoming(value, next_segment)
        b.cbranch(b.icmp_signed("<", following, count), outer, after)
        b.position_at_end(after)
        return new

    def write_rows(b: Builder, arena: Any, dest: Any, residual: Any, sums: list[Any]) -> None:
        """Store the sums, with the residual rows if their offset is not negative."""
        (dest_at, dest_stride), (residual_at, residual_stride) = dest, residual

        def write(is_added: bool) -> None:
            for o in range(outputs):
                number = ir.Constant(INT64, o)
                at = b.add(dest_at, b.mul(dest_stride, number))
                old = b.add(residual_at, b.mul(residual_stride, number))
                for v in range(vectors):
                    value = sums[o * vectors + v]
                    if is_added:
                        more = add_offset(b, old, v * BLOCK_WIDTH)
                        value = b.fadd(value, load(b, arena, more, FLOAT_BLOCK))
                    store(b, value, arena, add_offset(b, at, v * BLOCK_WIDTH))

        has_residual = b.icmp_signed(">=", residual_at, ir.Constant(INT64, 0))
        with b.if_else(has_residual) as (then, otherwise):
            with then:
                write(True)
            with otherwise:
                write(False)

    @intrinsic
    def row_product(  # type: ignore[no-untyped-def]
        context, arena, dest, dest_stride, residual, residual_stride, weights, w_at, table, first,
        count, t,
    ):  # fmt: skip
        index = types.intp
        signature = types.void(
            *(arena, index, index, index, index, weights, index, table, index, index, index)
        )

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            arena, dest, dest_stride, old, old_stride, w, w_at, table, first, count, t = arguments
            arena, w, table = (
                array_pointer(context, builder, signature.args[n], array)
                for n, array in ((0, arena), (5, w), (7, table))
            )
            sums = sum_segments(builder, arena, w, w_at, (table, first, count), t)
            write_rows(builder, arena, (dest, dest_stride), (old, old_stride), sums)
            return context.get_dummy_value()

        return signature, codegen

    return row_product


row_product_1 = _make_row_product(1)
row_product_2 = _make_row_product(2)
row_product_3 = _make_row_product(3)
row_product_4 = _make_row_product(4)
row_product_5 = _make_row_product(min(5, MAX_OUTPUTS))
row_product_6 = _make_row_product(min(6, MAX_OUTPUTS))
row_product_7 = _make_row_product(min(7, MAX_OUTPUTS))
row_product_8 = _make_row_product(min(8, MAX_OUTPUTS))
long_row_product_5 = _make_row_product(min(5, MAX_OUTPUTS), is_long=True)
long_row_product_6 = _make_row_product(min(6, MAX_OUTPUTS), is_long=True)
long_row_product_7 = _make_row_product(min(7, MAX_OUTPUTS), is_long=True)
long_row_product_8 = _make_row_product(min(8, MAX_OUTPUTS), is_long=True)


def _clamp(b: Builder, v: Any, low: Any, high: Any) -> Any:
    """Limit v to low .. high; NaN stays NaN."""
    v = b.select(b.fcmp_ordered("<", v, low), low, v)
    return b.select(b.fcmp_ordered(">", v, high), high, v)


def _absolute(b: Builder, v: Any) -> Any:
    return call_intrinsic(b, "fabs", v)


def _polynomial(b: Builder, v: Any, coefficients: tuple[float, ...]) -> Any:
    """Compute a polynomial of v; coefficients in ascending powers."""
    result = float_constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = call_intrinsic(b, "fma", result, v, float_constant(coefficient))
    return result


def _divide(b: Builder, x: Any, y: Any) -> Any:
    """Compute x / y, y a normal number: with AVX-512 by a fast estimate and a Newton step."""
    if not HAS_AVX512:
        return b.fdiv(x, y)
    mask = ir.IntType(16)
    function = cgutils.get_or_insert_function(
        b.module,
        ir.FunctionType(FLOAT_BLOCK, [FLOAT_BLOCK, FLOAT_BLOCK, mask]),
        "llvm.x86.avx512.rcp14.ps.512",
    )
    estimate = b.call(function, [y, float_constant(0.0), ir.Constant(mask, 0xFFFF)])
    quotient = b.fmul(x, estimate)
    error = call_intrinsic(b, "fma", b.fneg(y), quotient, x)
    return call_intrinsic(b, "fma", error, estimate, quotient)


def _tanh(b: Builder, x: Any, _: Any) -> Any:
    x = _clamp(b, x, float_constant(-TANH_LIMIT), float_constant(TANH_LIMIT))
    square = b.fmul(x, x)
    numerator = b.fmul(x, _polynomial(b, square, TANH_P))
    return _divide(b, numerator, _polynomial(b, square, (1.0, *TANH_Q)))


def _sigmoid(b: Builder, x: Any, parameters: Any) -> Any:
    half = float_constant(0.5)
    return call_intrinsic(b, "fma", _tanh(b, b.fmul(x, half), parameters), half, half)


def _silu(b: Builder, x: Any, parameters: Any) -> Any:
    return b.fmul(x, _sigmoid(b, x, parameters))


def _leaky_relu(b: Builder, x: Any, parameters: Any) -> Any:
    """x above 0; below, x times the parameter of the row: of ReLU 0."""
    positive = b.fcmp_ordered(">", x, float_constant(0.0))
    return b.select(positive, x, b.fmul(x, parameters[0]))


def _leaky_hardtanh(b: Builder, x: Any, parameters: Any) -> Any:
    """Parameters: low, high, slope below, slope above; of Hardtanh -1, 1, 0, 0."""
    low, high, low_slope, high_slope = parameters
    inside = _clamp(b, x, low, high)
    zero = float_constant(0.0)
    below, above = b.fsub(x, low), b.fsub(x, high)
    below = b.select(b.fcmp_ordered("<", below, zero), below, zero)
    above = b.select(b.fcmp_ordered(">", above, zero), above, zero)
    inside = b.fadd(inside, b.fmul(below, low_slope))
    return b.fadd(inside, b.fmul(above, high_slope))


def _fasttanh(b: Builder, x: Any, _: Any) -> Any:
    a, c, d, e, f = FASTTANH
    size, square = _absolute(b, x), b.fmul(x, x)
    upper = b.fmul(_polynomial(b, size, (c, d)), square)
    upper = b.fadd(call_intrinsic(b, "fma", size, float_constant(a), float_constant(a)), upper)
    lower = _absolute(b, b.fadd(x, b.fmul(b.fmul(x, size), float_constant(f))))
    lower = b.fadd(b.fmul(b.fadd(square, float_constant(e)), lower), float_constant(e))
    return b.fdiv(b.fmul(x, upper), lower)


def _hardswish(b: Builder, x: Any, _: Any) -> Any:
    shifted = b.fadd(x, float_constant(3.0))
    shifted = _clamp(b, shifted, float_constant(0.0), float_constant(6.0))
    return b.fmul(b.fmul(x, shifted), float_constant(1 / 6))


def _softsign(b: Builder, x: Any, _: Any) -> Any:
    return b.fdiv(x, b.fadd(_absolute(b, x), float_constant(1.0)))


def _make_activation(write: Callable[[Builder, Any, Any], Any], is_summed: bool = False) -> Any:
    """Return the operation dest = write(source) for one tile; if is_summed, total += dest."""

    @intrinsic
    def activation(context, arena, dest, source, total, parameters, p_at):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(arena, index, index, index, parameters, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            arena, dest, source, total, parameters, p_at = arguments
            arena = array_pointer(context, builder, signature.args[0], arena)
            parameters = array_pointer(context, builder, signature.args[4], parameters)
            numbers = [
                builder.load(builder.gep(parameters, [add_offset(builder, p_at, n)]), align=4)
                for n in range(PARAMETERS)
            ]
            splats = [splat(builder, number, BLOCK_WIDTH) for number in numbers]
            for more in range(0, PRODUCT_WIDTH, BLOCK_WIDTH):
                at = add_offset(builder, source, more)
                value = write(builder, load(builder, arena, at, FLOAT_BLOCK), splats)
                store(builder, value, arena, add_offset(builder, dest, more))
                if is_summed:
                    at = add_offset(builder, total, more)
                    old = load(builder, arena, at, FLOAT_BLOCK)
                    store(builder, builder.fadd(old, value), arena, at)
            return context.get_dummy_value()

        return signature, codegen

    return activation


PARAMETERS = 4  # per row and activation
tanh_block = _make_activation(_tanh)
summed_tanh_block = _make_activation(_tanh, is_summed=True)
leaky_relu_block = _make_activation(_leaky_relu)
summed_leaky_relu_block = _make_activation(_leaky_relu, is_summed=True)
leaky_hardtanh_block = _make_activation(_leaky_hardtanh)
fasttanh_block = _make_activation(_fasttanh)
sigmoid_block = _make_activation(_sigmoid)
silu_block = _make_activation(_silu)
hardswish_block = _make_activation(_hardswish)
softsign_block = _make_activation(_softsign)


def _make_combination(write: Callable[[Builder, Any, Any, Any], Any], inputs: int) -> Any:
    """Return the operation dest = write(x, y, z) for one tile; unused inputs are not read."""

    @intrinsic
    def combination(context, arena, dest, x, y, z):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(arena, index, index, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            arena = array_pointer(context, builder, signature.args[0], arguments[0])
            for more in range(0, PRODUCT_WIDTH, BLOCK_WIDTH):
                values = [
                    load(builder, arena, add_offset(builder, at, more), FLOAT_BLOCK)
                    if n < inputs
                    else None
                    for n, at in enumerate(arguments[2:])
                ]
                at = add_offset(builder, arguments[1], more)
                store(builder, write(builder, *values), arena, at)
            return context.get_dummy_value()

        return signature, codegen

    return combination


def _blend(b: Builder, x: Any, y: Any, z: Any) -> Any:
    """y x + (1 - y) z."""
    rest = b.fmul(b.fsub(float_constant(1.0), y), z)
    return call_intrinsic(b, "fma", y, x, rest)


copy_rows = _make_combination(lambda b, x, y, z: x, 1)
add_rows = _make_combination(lambda b, x, y, z: b.fadd(x, y), 2)
multiply_rows = _make_combination(lambda b, x, y, z: b.fmul(x, y), 2)
modulate_rows = _make_combination(lambda b, x, y, z: call_intrinsic(b, "fma", x, y, z), 3)
blend_rows = _make_combination(_blend, 3)


@intrinsic
def copy_block(context, arena, dest, source):  # type: ignore[no-untyped-def]
    """Copy one vector."""
    signature = types.void(arena, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arena = array_pointer(context, builder, signature.args[0], arguments[0])
        store(builder, load(builder, arena, arguments[2], FLOAT_BLOCK), arena, arguments[1])
        return context.get_dummy_value()

    return signature, codegen


def _control_register(builder: Builder, name: str, slot: Any) -> None:
    """Read the register of floating point settings into a slot, or write it."""
    pointer = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [pointer]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(slot, pointer)])


@intrinsic
def flush_denormals(context):  # type: ignore[no-untyped-def]
    """Set the processor to treat denormal numbers as zero in this thread; return what was set.

    Only on x86: processors with NEON multiply denormal numbers as fast as others.
    """

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if not IS_X86:
            return ir.Constant(INT32, 0)
        slot = cgutils.alloca_once(builder, INT32)
        _control_register(builder, "stmxcsr", slot)
        before = builder.load(slot)
        builder.store(builder.or_(before, ir.Constant(INT32, FLUSH_BITS)), slot)
        _control_register(builder, "ldmxcsr", slot)
        return before

    return types.int32(), codegen


@intrinsic
def restore_denormals(context, before):  # type: ignore[no-untyped-def]
    """Restore the settings that `flush_denormals` returned."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if IS_X86:
            slot = cgutils.alloca_once_value(builder, arguments[0])
            _control_register(builder, "ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(types.int32), codegen
