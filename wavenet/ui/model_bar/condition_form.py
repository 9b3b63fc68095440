"""A form with one field for each condition of a model: one component for any number of conditions.

Input: a model config, and values. Output: the message for `condition_form.js`; and condition values
by name from the message that the page sends back. Called by the model bar and all tabs.
"""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from wavenet.checkpoint import CheckpointConfig
from wavenet.errors import ConditionError
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.conditioning import ConditionValue, scale_value
from wavenet.model.conditions import LabelCondition, NumberCondition
from wavenet.model.model_config import ModelConfig
from wavenet.ui.templates import scripted_html

ELEMENT_ID = "conditions"
EMPTY: dict[str, Any] = {"fields": [], "values": {}, "examples": []}
MAX_CHIPS = 12  # a label with more values is a list
# A good first clip, if the model has these labels: some speakers of the digits were recorded 20 dB
# softer than others.
FIRST_LABELS = {"digit": "7", "speaker": "jackson"}


def make_condition_form() -> gr.HTML:
    """Build the component; its value is a message of `form_message`."""
    return scripted_html("model_bar/condition_form", ELEMENT_ID, EMPTY)


def form_message(
    config: CheckpointConfig, values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the fields of a model with their values, and the examples that set several at once.

    Args:
        config: of the checkpoint.
        values: by condition name; "" omits an optional label; defaults replace missing and
            unusable ones.
    """
    model, usage = config.model, config.usage
    values = values or {}
    usable, _ = resolve_each(model, values)
    usable |= {c.name: "" for c in model.labels if c.dropout and values.get(c.name) == ""}
    fields = [_label_field(condition) for condition in model.labels]
    fields += [_number_field(c) for c in model.globals if isinstance(c, NumberCondition)]
    filled = {field["name"]: usable.get(field["name"], field.pop("first")) for field in fields}
    examples = [example.model_dump() for example in (usage.examples if usage else ())]
    return {"fields": fields, "values": filled, "examples": examples}


def first_values(config: CheckpointConfig) -> dict[str, str | float]:
    """Return the first value of each condition that is not empty, by name."""
    return {k: v for k, v in form_message(config)["values"].items() if v != ""}


def form_values(model: ModelConfig, form: Any) -> dict[str, ConditionValue]:
    """Return the values of a form by condition name, without empty ones.

    Args:
        model: the config that declares the conditions.
        form: the message from the page, of any type; conditions of other models are ignored.
    Raises:
        ConditionError: a value does not fit its condition.
    """
    values = form.get("values") if isinstance(form, dict) else None
    if not isinstance(values, dict):
        raise ConditionError("the conditions have no values; reload the page")
    names = {condition.name for condition in (*model.labels, *model.globals)}
    given = {k: v for k, v in values.items() if k in names and v not in (None, "")}
    return resolve_condition_values(model, given)


def resolve_each(
    model: ModelConfig, values: Mapping[str, Any]
) -> tuple[dict[str, ConditionValue], list[str]]:
    """Return the values that fit the conditions of a model, and a sentence for each other one.

    Args:
        model: the config that declares the conditions.
        values: by condition name, from a link or from the browser, of any type.
    """
    usable: dict[str, ConditionValue] = {}
    problems = []
    for name, value in values.items():
        try:
            found = resolve_condition_values(model, {name: value})
            for condition in model.globals:
                if condition.name in found:
                    scale_value(condition, found[condition.name])  # checks the range
            usable |= found
        except ConditionError as error:
            problems.append(str(error))
    return usable, problems


def _label_field(condition: LabelCondition) -> dict[str, Any]:
    first = FIRST_LABELS.get(condition.name)
    return {
        "name": condition.name,
        "title": _title(condition.name),
        "options": list(condition.values),
        "isOptional": bool(condition.dropout),
        "isChips": len(condition.values) <= MAX_CHIPS,
        "first": first if first in condition.values else condition.values[0],
    }


def _number_field(condition: NumberCondition) -> dict[str, Any]:
    first: float | str = ""
    placeholder = ""
    if not condition.dropout:  # scoring needs a value
        middle = (condition.low + condition.high) / 2
        first = middle if condition.default is None else condition.default
    elif condition.default is not None:
        suffix = ", or as in the prompt" if condition.derived_from else ""
        placeholder = f"{condition.default:g}{suffix}"
    return {
        "name": condition.name,
        "title": f"{_title(condition.name)} ({condition.range_text})",
        "low": condition.low,
        "high": condition.high,
        "placeholder": placeholder,
        "first": first,
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
