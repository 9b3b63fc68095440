"""Read numbers as users and programs write them: 7, 7.0, "7", " 7" and "−7".

Input: a value from a manifest, an option, a link or the API. Output: a number, or an error of one
sentence. Called wherever a number is not read by typer or from a config file.
"""

import re
from numbers import Integral, Real
from typing import Any

from wavenet.errors import ConditionError

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def parse_number(value: Any, name: str, kind: type = float) -> Any:
    """Return a number of a type, int or float.

    Args:
        value: text, or a number; true and false are no numbers.
        name: of the setting, for the message.
        kind: int or float; a whole number such as 7.0 is also an int.
    Raises:
        ConditionError: the value has another type, or an int is required and it has a fraction.
    """
    number = read_number(value)
    fits = number is not None
    if fits and kind is int and isinstance(number, float):
        fits = number.is_integer()
    if not fits:
        what = "a whole number" if kind is int else f"a number{suggest_point(value)}"
        raise ConditionError(f"{name} must be {what}, found {value!r}")
    try:
        return kind(number)
    except (OverflowError, ValueError):
        raise ConditionError(f"{name} must be a finite number, found {value!r}") from None


def read_number(value: Any) -> int | float | None:
    """Return a number, or the number in a text; None for all other values."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):  # NumPy's numbers are registered too
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str):
        text = value.replace("\N{MINUS SIGN}", "-")
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return None


def suggest_point(value: Any) -> str:
    """Return a hint for messages if a text has a decimal comma instead of a point, or ""."""
    text = value.strip().replace("\N{MINUS SIGN}", "-") if isinstance(value, str) else ""
    if not _DECIMAL_COMMA.fullmatch(text):
        return ""
    return f" with a decimal point, such as {text.replace(',', '.')}"
