"""Numbers of tables, JSON and the API are one number, however they are written."""

from typing import Any

import numpy as np
import pytest

from wavenet.errors import ConditionError
from wavenet.user_input.typed_numbers import parse_number


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7.0 ", "7e0", np.int32(7), np.float64(7)])
def test_a_whole_number_has_several_spellings(value: Any) -> None:
    for kind in (int, float):
        number = parse_number(value, "seed", kind)
        assert (number, type(number)) == (7, kind)


def test_minus_may_be_the_typographic_one() -> None:
    assert parse_number("\u22121.5", "gain") == -1.5


@pytest.mark.parametrize(
    ("value", "point"), [("1,5", "1.5"), ("\u22120,25", "-0.25"), (",5", ".5")]
)
def test_a_decimal_comma_is_refused_with_the_point(value: str, point: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_number(value, "seconds")
    assert f"such as {point}, found" in str(caught.value)


@pytest.mark.parametrize("value", [True, "", "x", "1,5,0", None, [1], "0x7", b"7", 7.5])
def test_other_values_are_no_whole_number(value: Any) -> None:
    with pytest.raises(ConditionError, match="seed must be a whole number"):
        parse_number(value, "seed", int)
