"""Convert names and values of conditions as users write them to those of a model.

Input: names and values from options, manifests, links, the API or Python. Output: the same values
by the names of the model, labels as its values and numbers as floats; an unknown name or value is
an error that suggests the nearest one. Called by `autoregressive_model` for every model, and
earlier by all code that prints or stores condition values.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from wavenet.errors import ConditionError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import LabelCondition, NumberCondition
from wavenet.model.model_config import ModelConfig
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.equal_values import find_equal_value
from wavenet.user_input.typed_numbers import read_number, suggest_point

ValueT = TypeVar("ValueT")


def condition_names(config: ModelConfig) -> list[str]:
    """Return the names of the conditions that take a value: labels, numbers and vectors."""
    return [condition.name for condition in (*config.labels, *config.globals)]


def describe_conditions(config: ModelConfig) -> dict[str, Any]:
    """Return, by name, the values of label conditions, and the range or shape of the others."""
    facts: dict[str, Any] = {c.name: list(c.values) for c in config.labels}
    for condition in config.globals:
        if isinstance(condition, NumberCondition):
            facts[condition.name] = condition.choice_text
        else:
            facts[condition.name] = f"{condition.size} numbers"
    for local in config.locals:
        facts[local.name] = f"frames x {local.columns}, one every {config.condition_hop} samples"
    return facts


def resolve_condition_values(
    config: ModelConfig, values: Mapping[str, Any]
) -> dict[str, ConditionValue]:
    """Return condition values by the names of the model, without those that are None.

    Case and separators of a name do not matter. A label may differ from a value of the model in
    case and spaces, and a number stands for the equal text: 7 or 7.0 for "7".

    Raises:
        ConditionError: a name or a label is unknown, a name has two different values, or a value
            has the wrong type.
    """
    resolved: dict[str, ConditionValue] = {}
    conditions = {c.name: c for c in (*config.labels, *config.globals)}
    for given, value in values.items():
        name = _resolve_name(str(given), list(conditions), "condition")
        condition = conditions[name]
        if value is None:
            continue
        if isinstance(value, bool):
            raise ConditionError(f"{name} must be text or a number, found {value}")
        if isinstance(condition, LabelCondition):
            value = _resolve_label(condition, value)
        elif isinstance(condition, NumberCondition):
            value = _resolve_number(condition, value)
        if name in resolved and not np.array_equal(resolved[name], value):
            raise ConditionError(
                f"the condition {name} is set twice, to different values; keep one"
            )
        resolved[name] = value
    return resolved


def resolve_names(
    values: Mapping[str, ValueT], known: Sequence[str], what: str
) -> dict[str, ValueT]:
    """Return values by the known names that equal theirs apart from case and separators.

    Args:
        values: by name, as the user wrote it.
        known: names of conditions of one kind.
        what: the kind, for the message: "condition" or "local condition".
    Raises:
        ConditionError: a name is unknown, and the message suggests a close one; or a name occurs
            twice.
    """
    resolved: dict[str, ValueT] = {}
    for given, value in values.items():
        name = _resolve_name(str(given), known, what)
        if name in resolved:
            raise ConditionError(f"the {what} {name} is set twice; keep one value")
        resolved[name] = value
    return resolved


def _resolve_name(given: str, known: Sequence[str], what: str) -> str:
    name = find_equal_name(given, known)
    if name is not None:
        return name
    close = find_close_name(given, known)
    hint = "" if close is None else f", did you mean {close!r}"
    none = "it has none that takes a value" if what == "condition" else f"it has no {what}s"
    has = f"it has {', '.join(known)}" if known else none
    raise ConditionError(f"this model has no {what} {given!r}{hint}; {has}")


def _resolve_label(condition: LabelCondition, value: Any) -> str:
    """Return the value of a label."""
    text = value if isinstance(value, str) else _number_text(condition, value)
    equal = find_equal_value(text, condition.values)
    if equal is not None:
        return equal
    close = _find_close_word(text, condition.values)
    hint = "" if close is None else f", did you mean {close!r}"
    raise ConditionError(
        f"{condition.name} cannot be {text!r}{hint}; choose one of {condition.choice_text}"
    )


def _number_text(condition: LabelCondition, value: Any) -> str:
    """Return a number as text, a whole one without a fraction."""
    number = read_number(value)
    if number is None:
        raise ConditionError(f"{condition.name} must be text or a number, found {value!r}")
    is_whole = isinstance(number, float) and number.is_integer()
    return str(int(number) if is_whole else number)


def _resolve_number(condition: NumberCondition, value: Any) -> Any:
    """Return a float, infinity for a huge number; other values than text are unchanged."""
    number = read_number(value)
    if isinstance(value, str) and number is None:
        number = read_number(_remove_unit(value.strip(), condition.unit))
    if isinstance(value, str) and number is None:
        raise ConditionError(
            f"{condition.name}: expected a number from {condition.range_text}"
            f"{suggest_point(value)}; found {value!r}"
        )
    try:
        return value if number is None else float(number)
    except OverflowError:
        return math.inf  # out of every range


def _remove_unit(text: str, unit: str) -> str:
    has_unit = bool(unit) and text.casefold().endswith(unit.casefold())
    return text[: -len(unit)] if has_unit else text


@lru_cache(maxsize=4096)
def _find_close_word(text: str, words: tuple[str, ...]) -> str | None:
    """Return the most similar value; cached, because many rows may have the same wrong value."""
    return find_close_name(text, words)
