"""Sums over 16 lanes at once, written as LLVM vector instructions.

A lane is one stream of samples. Arrays of lanes have the shape (..., 16) and are contiguous. Every
lane is a separate sum: its terms are multiplied, rounded, then added one after the other. No
multiply-add is fused and no sum is reordered, so a lane has the same bits on every processor of
IEEE 754, whatever the width of its vectors. Nothing is checked. Called by `linear_predictors` and
`network_step`.
"""

from typing import Any

from llvmlite import ir
from numba import types

from wavenet.engines.cpu.jit import intrinsic, target_features
from wavenet.engines.cpu.llvm_vectors import (
    FLOAT,
    INT64,
    Builder,
    add_offset,
    array_pointer,
    splat,
)

LANES = 16
# Outputs of a product whose sums are in registers together: 16 lanes of float32 are one register of
# AVX-512, or two of AVX2. The number does not change the result.
OUTPUTS_TOGETHER = 8 if target_features().get("avx512f", False) else 4
_DOUBLE = ir.DoubleType()


def _vector_at(builder: Builder, base: Any, offset: Any, element: Any) -> Any:
    """Return a pointer to the 16 lanes that begin at an offset in elements."""
    vector = ir.VectorType(element, LANES)
    return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())


def _load(builder: Builder, base: Any, offset: Any, element: Any) -> Any:
    align = 8 if element is _DOUBLE else 4
    return builder.load(_vector_at(builder, base, offset, element), align=align)


def _store(builder: Builder, value: Any, base: Any, offset: Any, element: Any) -> None:
    align = 8 if element is _DOUBLE else 4
    builder.store(value, _vector_at(builder, base, offset, element), align=align)


class _Loop:
    """A loop of LLVM over 0 to n - 1 that carries vectors; n may be 0."""

    def __init__(self, builder: Builder, n: Any, initial: list[Any]) -> None:
        self.builder = builder
        before = builder.block
        self._head = builder.append_basic_block("head")
        self._body = builder.append_basic_block("body")
        self._after = builder.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = builder.phi(INT64)
        self.index.add_incoming(ir.Constant(INT64, 0), before)
        self.carried = [builder.phi(value.type) for value in initial]
        for phi, value in zip(self.carried, initial, strict=True):
            phi.add_incoming(value, before)
        more = builder.icmp_signed("<", self.index, n)
        builder.cbranch(more, self._body, self._after)
        builder.position_at_end(self._body)

    def finish(self, new: list[Any]) -> None:
        """End the body with the new values; the code continues after the loop."""
        builder = self.builder
        self.index.add_incoming(add_offset(builder, self.index, 1), builder.block)
        for phi, value in zip(self.carried, new, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._after)


@intrinsic
def subtract_products(context, y, y_at, a, a_at, a_stride, b, b_at, b_stride, n):  # type: ignore[no-untyped-def]
    """Compute y[l] -= sum over k < n of a[k, l] * b[k, l], in float64, in the order of k.

    Offsets and strides are in elements.
    """
    index = types.intp
    signature = types.void(y, index, a, index, index, b, index, index, index)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, a, a_at, a_stride, b, b_at, b_stride, n = arguments
        y = array_pointer(context, builder, signature.args[0], y)
        a = array_pointer(context, builder, signature.args[2], a)
        b = array_pointer(context, builder, signature.args[5], b)
        loop = _Loop(builder, n, [_load(builder, y, y_at, _DOUBLE)])
        one = builder.add(a_at, builder.mul(loop.index, a_stride))
        two = builder.add(b_at, builder.mul(loop.index, b_stride))
        term = builder.fmul(_load(builder, a, one, _DOUBLE), _load(builder, b, two, _DOUBLE))
        loop.finish([builder.fsub(loop.carried[0], term)])
        _store(builder, loop.carried[0], y, y_at, _DOUBLE)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def decayed_products(context, y, y_at, old, old_at, decay, a, a_at, b, b_at, n):  # type: ignore[no-untyped-def]
    """Compute y[k, l] = decay * old[k, l] + a[l] * b[k, l] for k < n, in float64."""
    index = types.intp
    signature = types.void(y, index, old, index, types.float64, a, index, b, index, index)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        y, y_at, old, old_at, decay, a, a_at, b, b_at, n = arguments
        y = array_pointer(context, builder, signature.args[0], y)
        old = array_pointer(context, builder, signature.args[2], old)
        a = array_pointer(context, builder, signature.args[5], a)
        b = array_pointer(context, builder, signature.args[7], b)
        factor = _load(builder, a, a_at, _DOUBLE)
        decays = splat(builder, decay, LANES)
        loop = _Loop(builder, n, [])
        step = builder.mul(loop.index, ir.Constant(INT64, LANES))
        kept = builder.fmul(decays, _load(builder, old, builder.add(old_at, step), _DOUBLE))
        term = builder.fmul(factor, _load(builder, b, builder.add(b_at, step), _DOUBLE))
        _store(builder, builder.fadd(kept, term), y, builder.add(y_at, step), _DOUBLE)
        loop.finish([])
        return context.get_dummy_value()

    return signature, codegen


def _make_matrix_product(outputs: int) -> Any:
    """Return y[o, l] += sum over i of w[i, o] * x[i, l], in float32, for some outputs o.

    Weights of one group of outputs are contiguous: (inputs, outputs).
    """

    @intrinsic
    def matrix_product(context, y, y_at, w, w_at, x, x_at, inputs):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(y, index, w, index, x, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, y_at, w, w_at, x, x_at, inputs = arguments
            y = array_pointer(context, builder, signature.args[0], y)
            w = array_pointer(context, builder, signature.args[2], w)
            x = array_pointer(context, builder, signature.args[4], x)
            places = [add_offset(builder, y_at, o * LANES) for o in range(outputs)]
            loop = _Loop(builder, inputs, [_load(builder, y, at, FLOAT) for at in places])
            row = builder.mul(loop.index, ir.Constant(INT64, LANES))
            value = _load(builder, x, builder.add(x_at, row), FLOAT)
            first = builder.add(w_at, builder.mul(loop.index, ir.Constant(INT64, outputs)))
            sums = []
            for o in range(outputs):
                pointer = builder.gep(w, [add_offset(builder, first, o)])
                weight = splat(builder, builder.load(pointer, align=4), LANES)
                sums.append(builder.fadd(loop.carried[o], builder.fmul(weight, value)))
            loop.finish(sums)
            for at, total in zip(places, loop.carried, strict=True):
                _store(builder, total, y, at, FLOAT)
            return context.get_dummy_value()

        return signature, codegen

    return matrix_product


matrix_product = _make_matrix_product(OUTPUTS_TOGETHER)
