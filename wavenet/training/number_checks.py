"""Check the numbers of a table before training: every recording with a wrong one is named.

Input: the number conditions of a model, and the fields of recordings. Output: one error that names
the first recording with a wrong number, and how many others have one. Called by `dataset`, when it
has listed a folder or opened a corpus.
"""

from collections.abc import Iterable, Mapping

from wavenet.errors import ConditionError, DataError
from wavenet.model.conditioning import scale_value
from wavenet.model.conditions import NumberCondition
from wavenet.model.model_config import ModelConfig

MAX_NAMED = 3  # further recordings that the message names


def numbers_from_fields(model: ModelConfig) -> list[NumberCondition]:
    """Return the number conditions whose values are fields of the recordings."""
    return [
        condition
        for condition in model.globals
        if isinstance(condition, NumberCondition) and condition.derived_from is None
    ]


def check_numbers(
    model: ModelConfig, recordings: Iterable[tuple[str, Mapping[str, str]]], source: str
) -> None:
    """Check the fields that are numbers of the model; a missing field is not examined.

    Args:
        model: its number conditions.
        recordings: for each its name, with the row of the table if there is one, and its fields.
        source: of the fields, such as metadata.csv.
    Raises:
        DataError: a value is not a number, or is out of the range of its condition.
    """
    conditions = numbers_from_fields(model)
    if not conditions:
        return
    reasons: dict[tuple[str, str], str] = {}  # of each value, "" for a right one
    wrong: list[tuple[str, str]] = []
    for name, fields in recordings:
        for condition in conditions:
            if condition.name not in fields:
                continue
            key = (condition.name, fields[condition.name])
            if key not in reasons:
                reasons[key] = _find_problem(condition, key[1])
            if reasons[key]:
                wrong.append((name, reasons[key]))
                break
    if not wrong:
        return
    others = [name for name, _ in wrong[1:]]
    more = ""
    if others:
        names = ", ".join(others[:MAX_NAMED]) + (", .." if len(others) > MAX_NAMED else "")
        verb = "recording has" if len(others) == 1 else "recordings have"
        more = f"; {len(others):,} more {verb} a wrong number: {names}"
    raise DataError(f"{wrong[0][0]}: {wrong[0][1]}{more}; correct the values in {source}")


def _find_problem(condition: NumberCondition, value: str) -> str:
    try:
        scale_value(condition, value)
    except ConditionError as error:
        return str(error)
    return ""
