"""Detect fields whose values are not labels: mistakes in tables, patterns and file names.

Input: for each field the number of recordings with each value. Output: a `LabelDoubt` for each
sign, and sentences. Called by `dataset`, `dataset_report`, the command line and the studio.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from wavenet.user_input.equal_values import exact_number

MAX_EXAMPLES = 5
MAX_VALUE_LENGTH = 40
MAX_VALUES_PER_FILE = 1 / 3
_SHOWN_CHARACTERS = 24

MANY_VALUES = "many values"
MET_ONCE = "met once"
NOT_A_WORD = "not a word"
ALIKE = "alike"
EMPTY_VALUE = "empty"


@dataclass(frozen=True)
class LabelDoubt:
    """A sign that the values of a field are not labels.

    Attributes:
        field: its name.
        kind: one of the constants above.
        count: number of the doubtful values; of recordings if a value is empty.
        values: number of all values.
        files: number of recordings with the field.
        examples: the first doubtful values.
    """

    field: str
    kind: str
    count: int
    values: int
    files: int
    examples: tuple[str, ...]


def find_label_doubts(counts: Mapping[str, Mapping[str, int]]) -> tuple[LabelDoubt, ...]:
    """Return the signs for every field that has more than one value.

    Args:
        counts: field -> value -> number of recordings.
    """
    doubts = []
    for name, numbers in counts.items():
        files = sum(numbers.values())
        if len(numbers) < 2:
            continue
        values = sorted(numbers)
        found: dict[str, list[str]] = {}
        if len(values) > files * MAX_VALUES_PER_FILE:
            found[MANY_VALUES] = values
        if len(values) < files:  # otherwise every value occurs once
            found[MET_ONCE] = [value for value in values if numbers[value] == 1]
        found[NOT_A_WORD] = [value for value in values if value and not _is_word(value)]
        found[ALIKE] = _values_alike(values)
        doubts += [
            LabelDoubt(name, kind, len(some), len(values), files, tuple(some[:MAX_EXAMPLES]))
            for kind, some in found.items()
            if some
        ]
        if "" in numbers:
            empty = LabelDoubt(name, EMPTY_VALUE, numbers[""], len(values), files, ("",))
            doubts.append(empty)
    return tuple(doubts)


def describe_doubt(doubt: LabelDoubt) -> str:
    """Describe a sign in one line, with numbers and examples."""
    examples = ", ".join(
        repr(v if len(v) <= _SHOWN_CHARACTERS else f"{v[:_SHOWN_CHARACTERS]}..")
        for v in doubt.examples
    )
    more = ", .." if doubt.count > len(doubt.examples) else ""
    number = "1 value" if doubt.count == 1 else f"{doubt.count:,} values"
    text = {
        MANY_VALUES: f"{doubt.values:,} values in {doubt.files:,} recordings",
        MET_ONCE: f"{number} of {doubt.values:,} in only one recording",
        NOT_A_WORD: f"{number} with a space, a full stop or more than {MAX_VALUE_LENGTH} letters",
        ALIKE: f"{number} that differ only in case, spaces or the spelling of a number",
        EMPTY_VALUE: f"the value is empty in {doubt.count:,} of {doubt.files:,} recordings",
    }[doubt.kind]
    return f"{doubt.field}: {text}" + (f": {examples}{more}" if doubt.kind != EMPTY_VALUE else "")


def _is_word(value: str) -> bool:
    """Return whether a value is a number, or has no spaces, no full stops and a usual length."""
    if len(value) > MAX_VALUE_LENGTH or any(character.isspace() for character in value):
        return False
    return "." not in value or _is_number(value)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _values_alike(values: list[str]) -> list[str]:
    """Return the values that equal another one, apart from case, spaces and spelled numbers."""
    groups: dict[str | Decimal, set[str]] = {}
    for value in values:
        groups.setdefault("".join(value.split()).casefold(), set()).add(value)
        if (number := exact_number(value)) is not None:
            groups.setdefault(number, set()).add(value)
    alike = {value for group in groups.values() if len(group) > 1 for value in group}
    return [value for value in values if value in alike]
