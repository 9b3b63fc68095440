"""Values of labels that are equal although their spelling differs: Theo and theo, 7 and 7.0.

Input: values from tables, names of files, recipes, options and requests. Output: the known value
that a text stands for; and, for the values of one column, the spellings of one whole number. Called
wherever values of labels come from a person or a table.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache

MAX_NUMBER_LENGTH = 100  # characters
MAX_NAMED = 5  # spellings that a sentence names
# Without an exponent and leading zeros, which may distinguish names: 007 and 7, 1e3 and 1000. A
# fraction other than zero may belong to a version: 1.1 and 1.10.
_WHOLE_NUMBER = re.compile(r"\s*(-?(?:0|[1-9][0-9]*))(?:\.0*)?\s*")


def find_equal_value(text: str, known: tuple[str, ...]) -> str | None:
    """Return the known value that a text stands for, or None.

    An identical value comes first, then the only one that differs in case and spaces, then the only
    one that is the same number.
    """
    if text in known:
        return str(text)
    by_text, by_number = _values_by_form(known)
    number = exact_number(text)
    for values in (by_text.get(_form(text)), None if number is None else by_number.get(number)):
        if values is not None and len(values) == 1:
            return values[0]
    return None


def exact_number(text: str) -> Decimal | None:
    """Return the exact number of a text of digits; None for any other text."""
    if len(text) > MAX_NUMBER_LENGTH or "_" in text:  # Decimal reads 1_0 as 10
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def merge_number_spellings(values: Iterable[str]) -> dict[str, str]:
    """Return the spellings of whole numbers that occur in another spelling, with the plain one.

    If one column contains "3" and "3.0", the result is {"3.0": "3"}. Values that only may be the
    same number, such as "03" and "3", are not in the result.
    """
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for value in values:
        match = _WHOLE_NUMBER.fullmatch(value)
        if match:
            spellings[match[1]].append(value)
    return {
        value: plain
        for plain, found in spellings.items()
        if len(found) > 1
        for value in sorted(found)
        if value != plain
    }


def describe_merged(field: str, merged: Mapping[str, str]) -> str:
    """Describe in one line the spellings that `merge_number_spellings` found in a column."""
    pairs = [f"{value!r} is used as {plain!r}" for value, plain in sorted(merged.items())]
    more = f" and {len(pairs) - MAX_NAMED:,} more" if len(pairs) > MAX_NAMED else ""
    return f"{field} has equal numbers in several spellings: {', '.join(pairs[:MAX_NAMED])}{more}"


@lru_cache(maxsize=64)
def _values_by_form(
    values: tuple[str, ...],
) -> tuple[Mapping[str, list[str]], Mapping[Decimal, list[str]]]:
    """Return the values by their form without case and spaces, and by their number."""
    by_text: defaultdict[str, list[str]] = defaultdict(list)
    by_number: defaultdict[Decimal, list[str]] = defaultdict(list)
    for value in values:
        by_text[_form(value)].append(value)
        if (number := exact_number(value)) is not None:
            by_number[number].append(value)
    return dict(by_text), dict(by_number)


def _form(text: str) -> str:
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return unicodedata.normalize("NFC", composed.casefold())
