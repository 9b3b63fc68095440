"""Words for writing LLVM instructions: the CPU engine's innermost operations are spelled in them.

numba turns Python loops into vector code as it sees fit, and checks the sign of every index. Nine
tenths of the time go into a few loops, so these are written out; LLVM cuts their blocks into the
vectors of the machine it runs on (AVX2, AVX-512, NEON). Flat arrays and offsets enter; nothing is
checked. `matrix_products` and `block_operations` are written with this.
"""

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils

PANEL = 32  # outputs that are summed together; weights lie in panels of this width
LANES = 16  # half a panel: channels of one gate, classes of one block

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
BLOCK, BLOCK_INT = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
WIDE = llvm.get_host_cpu_features().get("avx512f", False)

Builder = Any  # llvmlite and numba are not typed


def data(context: Any, builder: Builder, kind: Any, array: Any) -> Any:
    """Give the pointer to an array's first element."""
    return context.make_array(kind)(context, builder, array).data


def load(builder: Builder, base: Any, offset: Any, kind: Any) -> Any:
    pointer = builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())
    return builder.load(pointer, align=4)


def store(builder: Builder, value: Any, base: Any, offset: Any) -> None:
    pointer = builder.bitcast(builder.gep(base, [offset]), value.type.as_pointer())
    builder.store(value, pointer, align=4)


def call(builder: Builder, name: str, *values: Any) -> Any:
    """Call an LLVM intrinsic whose arguments and result are of one vector type."""
    kind = values[0].type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.v{kind.count}f32"
    )
    return builder.call(function, values)


def splat(builder: Builder, scalar: Any, lanes: int) -> Any:
    """Repeat a scalar in every lane."""
    empty = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes))


def constant(value: float, lanes: int = LANES) -> Any:
    # as float32, or LLVM refuses the constant
    return ir.Constant(ir.VectorType(FLOAT, lanes), [float(np.float32(value))] * lanes)


def integers(value: int, lanes: int = LANES) -> Any:
    return ir.Constant(ir.VectorType(INT32, lanes), [value] * lanes)


def plus(builder: Builder, offset: Any, more: int) -> Any:
    return builder.add(offset, ir.Constant(INT64, more)) if more else offset
