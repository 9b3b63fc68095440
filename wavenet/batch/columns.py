"""The columns of a manifest: what stands in them under which name, as the kind that it should be.

The values of a row enter; ids, labels, numbers and paths leave, or one sentence.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from wavenet.batch.rows import Row
from wavenet.errors import ConditionError
from wavenet.model.model_config import ModelConfig

# what other programs call a column; the first of each is ours
ALIASES = {
    "id": ("id",),
    "seed": ("seed",),
    "seconds": ("seconds", "duration"),
    "prompt": ("prompt",),
    "condition": ("condition", "cond"),
    "output": ("output", "file_name", "audio_filepath", "path", "audio_file"),
    "checkpoint": ("checkpoint",),
}
DRAWING = ("temperature", "top_k", "top_p", "greedy", "guidance")
_OURS = {"labels", *DRAWING, *(name for names in ALIASES.values() for name in names)}


def identity_of(row: Row) -> str:
    """Give the id; of a row without one, its line."""
    value = cell(row.values, "id")
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ConditionError(f"id must be a word or a number, found {value!r}")
    return f"{row.line:06d}" if value is None else str(value)


def cell(values: Mapping[str, Any], name: str) -> Any:
    """Give what stands in a column under any of its names."""
    found = [values[alias] for alias in ALIASES[name] if values.get(alias) not in (None, "")]
    return found[0] if found else None


def drawing_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick how samples are drawn."""
    found = {name: values.get(name) for name in DRAWING}
    return {name: _parsed(value) for name, value in found.items() if value not in (None, "")}


def labels_of(
    model: ModelConfig, values: Mapping[str, Any]
) -> tuple[dict[str, str | float], dict[str, Any]]:
    """Pick the labels and numbers of the model, and what means nothing here."""
    known = [condition.name for condition in (*model.labels, *model.globals)]
    labels: dict[str, str | float] = {}
    nested = values.get("labels") or {}
    if not isinstance(nested, Mapping):
        raise ConditionError(f"labels must be an object of names and values, found {nested!r}")
    for name, value in {**{n: values[n] for n in known if n in values}, **nested}.items():
        if value in (None, ""):
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConditionError(f"{name} must be a word or a number, found {value!r}")
        labels[str(name)] = value if isinstance(value, float) else str(value)
    extra = {name: v for name, v in values.items() if name not in _OURS and name not in known}
    return labels, extra


def path_of(values: Mapping[str, Any], name: str, base: str) -> str | None:
    """Give the path of a file, relative to the folder of the manifest."""
    value = cell(values, name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConditionError(f"{name} must be the path of a file, found {value!r}")
    path = os.path.join(base, value)
    if not os.path.isfile(path):
        raise ConditionError(f"{name}: there is no file {value}")
    return path


def number(value: Any, name: str, kind: type) -> Any:
    """Give a number, a whole one where kind is int."""
    found = _parsed(value)
    fits = not isinstance(found, bool) and isinstance(found, int | float)
    if not fits or (kind is int and isinstance(found, float) and not found.is_integer()):
        what = "a whole number" if kind is int else "a number"
        raise ConditionError(f"{name} must be {what}, found {value!r}")
    try:
        return kind(found)
    except (OverflowError, ValueError):
        raise ConditionError(f"{name} must be a finite number, found {value!r}") from None


def _parsed(value: Any) -> Any:
    """Turn a cell of a table into the number or truth value that it spells."""
    if isinstance(value, str):
        if re.fullmatch(r"(?i)true|false", value.strip()):
            return value.strip().lower() == "true"
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value
