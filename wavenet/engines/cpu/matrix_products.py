"""Products of rows with panels of weights, the sums kept in registers until the end.

Every sum runs over the inputs in one order, whatever the number of rows or threads: even inputs
into one sum, odd ones into another, the two added at the end. So a stream gives the same bits
alone and in a batch. `packed_weights` has the layout of panels, `layer_steps` calls these.
"""

from itertools import product
from typing import Any

from llvmlite import ir
from numba import types

from wavenet.engines.cpu.jit import intrinsic
from wavenet.engines.cpu.llvm_vectors import (
    FLOAT,
    INT32,
    INT64,
    LANES,
    PANEL,
    WIDE,
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

ROWS = 6 if WIDE else 3  # rows whose sums fit into the registers of the machine


def _make_panel(rows: int, columns: int, panels: int = 1) -> Any:
    """Make the product of some rows with one panel or more, `columns` of each at a time.

    The operation is y[r, c] += sum over k of x[r, k] * w[k, c], for 32 columns c of each panel.
    Weights are float32, or uint32 that each hold two weights of 16 bits (see `packed_weights`).
    """
    kind, kind_int = ir.VectorType(FLOAT, columns), ir.VectorType(INT32, columns)

    def weights(b: Builder, w: Any, at: Any, pair: Any, first: int, packed: bool, k: int) -> Any:
        """Load the weights of an even (k = 0) or the next odd (k = 1) input."""
        width = PANEL if packed else 2 * PANEL
        offset = plus(b, b.add(at, b.mul(pair, ir.Constant(INT64, width))), first)
        if not packed:
            return load(b, w, plus(b, offset, k * PANEL), kind)
        both = load(b, w, offset, kind_int)
        return b.bitcast(both if k else b.shl(both, integers(16, columns)), kind)

    def columns_from(builder: Builder, first: int, packed: bool, arguments: Any) -> None:
        """Write the loop over the inputs for one group of columns."""
        y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs = arguments
        panel_size = builder.mul(pairs, ir.Constant(INT64, PANEL if packed else 2 * PANEL))
        before = builder.block
        loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(INT64)
        pair.add_incoming(ir.Constant(INT64, 0), before)
        sums = [builder.phi(kind) for _ in range(2 * panels * rows)]
        for total in sums:
            total.add_incoming(constant(0.0, columns), before)
        new = list(sums)
        # first all even inputs, then all odd ones: one weight at a time, or registers run out
        for k, panel in product(range(2), range(panels)):
            at = builder.add(w_at, builder.mul(panel_size, ir.Constant(INT64, panel)))
            weight = weights(builder, w, at, pair, first, packed, k)
            for r in range(rows):
                row = builder.add(x_at, builder.mul(x_stride, ir.Constant(INT64, r)))
                row = plus(builder, builder.add(row, builder.shl(pair, ir.Constant(INT64, 1))), k)
                value = builder.load(builder.gep(x, [row]), align=4)
                factor = splat(builder, value, columns)
                n = 2 * (panel * rows + r) + k
                new[n] = call(builder, "fmuladd", weight, factor, sums[n])
        following = plus(builder, pair, 1)
        pair.add_incoming(following, builder.block)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, pairs), loop, after)
        builder.position_at_end(after)
        for panel, r in product(range(panels), range(rows)):
            offset = builder.add(y_at, builder.mul(y_stride, ir.Constant(INT64, r)))
            offset = plus(builder, offset, panel * PANEL + first)
            n = 2 * (panel * rows + r)
            total = builder.fadd(new[n], new[n + 1])
            old = load(builder, y, offset, kind)
            store(builder, builder.fadd(old, total), y, offset)

    @intrinsic
    def panel(context, y, y_at, y_stride, w, w_at, x, x_at, x_stride, pairs):  # type: ignore[no-untyped-def]
        index = types.intp
        signature = types.void(y, index, index, w, index, x, index, index, index)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments)
            for n in (0, 3, 5):
                values[n] = data(context, builder, signature.args[n], values[n])
            packed = signature.args[3].dtype != types.float32
            for first in range(0, PANEL, columns):
                columns_from(builder, first, packed, values)
            return context.get_dummy_value()

        return signature, codegen

    return panel


@intrinsic
def words_of(context, w):  # type: ignore[no-untyped-def]
    """Say how many elements of w hold one pair of inputs of one panel."""
    words = 2 * PANEL if w.dtype == types.float32 else PANEL

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return ir.Constant(INT64, words)

    return types.intp(w), codegen


panel_of_one = _make_panel(1, PANEL)
panels_of_one = _make_panel(1, PANEL, panels=2)
panel_of_two = _make_panel(2, PANEL if WIDE else LANES)
panel_of_three = _make_panel(3, PANEL if WIDE else LANES)
panel_of_rows = _make_panel(ROWS, PANEL if WIDE else LANES)
