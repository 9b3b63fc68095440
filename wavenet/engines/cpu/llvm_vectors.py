"""Helpers that write LLVM vector instructions: loads, stores, constants, reductions.

Input: an LLVM builder and values. Output: values. All vectors have 16 lanes, a block, if nothing
else is said; LLVM splits them into the vectors of the machine. Called by `llvm_kernels` and
`int8_kernels`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

BLOCK_WIDTH = 16
FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOAT_BLOCK = ir.VectorType(FLOAT, BLOCK_WIDTH)
INT_BLOCK = ir.VectorType(INT32, BLOCK_WIDTH)

Builder = Any  # llvmlite and numba are not typed


def array_pointer(context: Any, builder: Builder, array_type: Any, array: Any) -> Any:
    """Return the pointer to an array's first element."""
    return context.make_array(array_type)(context, builder, array).data


def load(builder: Builder, base: Any, offset: Any, vector_type: Any) -> Any:
    pointer = builder.bitcast(builder.gep(base, [offset]), vector_type.as_pointer())
    return builder.load(pointer, align=4)


def store(builder: Builder, value: Any, base: Any, offset: Any) -> None:
    pointer = builder.bitcast(builder.gep(base, [offset]), value.type.as_pointer())
    builder.store(value, pointer, align=4)


def call_intrinsic(builder: Builder, name: str, *values: Any) -> Any:
    """Call an LLVM intrinsic whose arguments and result have the same vector type."""
    vector_type = values[0].type
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector_type, [vector_type] * len(values)),
        f"llvm.{name}.v{vector_type.count}f32",
    )
    return builder.call(function, values)


def splat(builder: Builder, scalar: Any, lanes: int) -> Any:
    """Repeat a scalar in every lane of a vector."""
    empty = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(INT32, 0))
    mask = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, empty, mask)


def float_constant(value: float, lanes: int = BLOCK_WIDTH) -> Any:
    # LLVM accepts only constants that float32 can represent
    return ir.Constant(ir.VectorType(FLOAT, lanes), [float(np.float32(value))] * lanes)


def int_constant(value: int, lanes: int = BLOCK_WIDTH) -> Any:
    return ir.Constant(ir.VectorType(INT32, lanes), [value] * lanes)


def add_offset(builder: Builder, offset: Any, more: int) -> Any:
    return builder.add(offset, ir.Constant(INT64, more)) if more else offset


def reduce(builder: Builder, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes of a block into one scalar, half with half."""
    lanes = BLOCK_WIDTH
    while lanes > 1:
        lanes //= 2
        half_type = ir.VectorType(INT32, lanes)
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(half_type, list(range(at, at + lanes)))
            )
            for at in (0, lanes)
        )
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(INT32, 0))
