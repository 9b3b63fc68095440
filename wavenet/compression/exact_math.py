"""Logarithm, powers of two and the logistic function, equal bit by bit on every processor.

Mathematical libraries differ in the last bit, and one different bit would ruin the rest of a coded
stream. So these functions use only additions, multiplications, divisions, comparisons and the bits
of a number, in one fixed order. Called by `coding_features` and `value_distribution`.
"""

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from wavenet.engines.cpu.jit import inlined, intrinsic

LOGISTIC_RANGE = 24  # the logistic function is 0 below -24, and 1 above 24
LOGISTIC_STEPS = 32  # table entries per unit
LOGISTIC_BITS = 36  # its value 1 is 2**36
_TABLE_BITS = 30
_FRACTION_BITS = 24
_LAST = 2 * LOGISTIC_RANGE * LOGISTIC_STEPS << _FRACTION_BITS
_FRACTION_MASK = (1 << _FRACTION_BITS) - 1

_EXPONENT_ONE = 1023
_MANTISSA_BITS = 52
_MANTISSA_MASK = (1 << _MANTISSA_BITS) - 1
_ONE = _EXPONENT_ONE << _MANTISSA_BITS


def _logistic_table() -> np.ndarray:
    """Return round(2**30 / (1 + exp(-u))) for u = -24, -24 + 1/32, ..., 24, and the last again."""
    with localcontext() as context:
        context.prec = 40
        steps = range(-LOGISTIC_RANGE * LOGISTIC_STEPS, LOGISTIC_RANGE * LOGISTIC_STEPS + 1)
        values = [
            int((2**_TABLE_BITS / (1 + (Decimal(-n) / LOGISTIC_STEPS).exp())).to_integral_value())
            for n in steps
        ]
    return np.array([*values, values[-1]], dtype=np.int64)


LOGISTIC_TABLE = _logistic_table()
"""int64 (1538,). Compiled functions receive it as an argument, so their code has no copy of it."""


def _bit_cast(source: Any, target: Any, name: str) -> Any:
    @intrinsic
    def cast(context, value):  # type: ignore[no-untyped-def]
        signature = target(source)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            to = ir.DoubleType() if target is types.float64 else ir.IntType(64)
            return builder.bitcast(arguments[0], to)

        return signature, codegen

    cast.__name__ = name
    return cast


bits_of = _bit_cast(types.float64, types.int64, "bits_of")
number_of = _bit_cast(types.int64, types.float64, "number_of")


@inlined
def log2(value):  # type: ignore[no-untyped-def]
    """Return log2 of a normal float64 above 0, with an error below 1e-5."""
    bits = bits_of(value)
    exponent = (bits >> _MANTISSA_BITS) - _EXPONENT_ONE
    m = number_of((bits & _MANTISSA_MASK) | _ONE)  # 1 <= m < 2
    # log2(m) = 2 / ln 2 artanh(z), z = (m - sqrt 2) / (m + sqrt 2), plus 1/2; |z| < 0.172
    z = (m - 1.4142135623730951) / (m + 1.4142135623730951)
    square = z * z
    series = 0.4121985831 * square + 0.5770780164
    series = series * square + 0.9617966939
    series = series * square + 2.8853900818
    return float(exponent) + 0.5 + z * series


@inlined
def exp2(value):  # type: ignore[no-untyped-def]
    """Return 2**value of a float64, limited to 2**-1000 .. 2**1000; relative error below 1e-7."""
    value = min(max(value, -1000.0), 1000.0)
    whole = int(value + 1024.0) - 1024  # towards minus infinity
    part = value - float(whole)
    # Taylor series of 2**(part - 1/2), |part - 1/2| <= 1/2
    x = (part - 0.5) * 0.6931471805599453
    series = x * (1.0 / 5040.0) + 1.0 / 720.0
    series = series * x + 1.0 / 120.0
    series = series * x + 1.0 / 24.0
    series = series * x + 1.0 / 6.0
    series = series * x + 0.5
    series = series * x + 1.0
    series = series * x + 1.0
    power = number_of((whole + _EXPONENT_ONE) << _MANTISSA_BITS)
    return power * (series * 1.4142135623730951)


@inlined
def logistic(u, table):  # type: ignore[no-untyped-def]
    """Return 2**36 / (1 + exp(-u)) as int64: a table and straight lines, so it never falls.

    Args:
        u: float64, not NaN.
        table: LOGISTIC_TABLE.
    """
    u = min(max(u, -float(LOGISTIC_RANGE)), float(LOGISTIC_RANGE))
    place = int((u + float(LOGISTIC_RANGE)) * float(LOGISTIC_STEPS << _FRACTION_BITS))
    at, fraction = place >> _FRACTION_BITS, place & _FRACTION_MASK
    low = table[at]
    slope = table[at + 1] - low
    return (low << (LOGISTIC_BITS - _TABLE_BITS)) + (
        slope * fraction >> (_TABLE_BITS + _FRACTION_BITS - LOGISTIC_BITS)
    )


@inlined
def squashed(x):  # type: ignore[no-untyped-def]
    """Return x / (1 + |x|), between -1 and 1."""
    return x / (1.0 + math.fabs(x))
