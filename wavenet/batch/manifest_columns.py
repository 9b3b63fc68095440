"""Read the columns of a manifest row: their names, aliases and types.

Input: the values of a row. Output: ids, condition values, numbers and paths, or an error of one
sentence. Called by `tasks`.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from wavenet.batch.manifest import ManifestRow
from wavenet.errors import ConditionError
from wavenet.model.model_config import ModelConfig

# accepted names of a column; the first is the name in this project
COLUMN_ALIASES = {
    "id": ("id",),
    "seed": ("seed",),
    "seconds": ("seconds", "duration"),
    "prompt": ("prompt",),
    "condition": ("condition", "cond"),
    "output": ("output", "file_name", "audio_filepath", "path", "audio_file"),
    "checkpoint": ("checkpoint",),
}
SAMPLING_COLUMNS = ("temperature", "top_k", "top_p", "greedy", "guidance")
_KNOWN_COLUMNS = {
    "labels",
    *SAMPLING_COLUMNS,
    *(name for names in COLUMN_ALIASES.values() for name in names),
}


def row_id(row: ManifestRow) -> str:
    """Return the id of a row; by default the number of its line."""
    value = column_value(row.values, "id")
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ConditionError(f"id must be text or a number, found {value!r}")
    return f"{row.line:06d}" if value is None else str(value)


def column_value(values: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column by any of its names, or None if it is absent or empty."""
    for alias in COLUMN_ALIASES[name]:
        if values.get(alias) not in (None, ""):
            return values[alias]
    return None


def sampling_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling settings of a row."""
    found = {name: values.get(name) for name in SAMPLING_COLUMNS}
    return {name: _parse_cell(value) for name, value in found.items() if value not in (None, "")}


def row_condition_values(
    model: ModelConfig, values: Mapping[str, Any]
) -> tuple[dict[str, str | float], dict[str, Any]]:
    """Return the values of the model's conditions, and the columns that nothing uses.

    These are the columns that neither the batch nor the model uses. The column "labels" may contain
    an object of condition values, numbers included.
    """
    known = [condition.name for condition in (*model.labels, *model.globals)]
    conditions: dict[str, str | float] = {}
    nested = values.get("labels") or {}
    if not isinstance(nested, Mapping):
        raise ConditionError(f"labels must be an object of names and values, found {nested!r}")
    for name, value in {**{n: values[n] for n in known if n in values}, **nested}.items():
        if value in (None, ""):
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConditionError(f"{name} must be text or a number, found {value!r}")
        conditions[str(name)] = value if isinstance(value, float) else str(value)
    extra = {n: v for n, v in values.items() if n not in _KNOWN_COLUMNS and n not in known}
    return conditions, extra


def input_path(values: Mapping[str, Any], name: str, base_folder: str) -> str | None:
    """Return the path of an input file; in the row it is relative to a base folder.

    Raises:
        ConditionError: the value is not text, or the file does not exist.
    """
    value = column_value(values, name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConditionError(f"{name} must be the path of a file, found {value!r}")
    path = os.path.join(base_folder, value)
    if not os.path.isfile(path):
        raise ConditionError(f"{name}: the file {value} does not exist")
    return path


def parse_number(value: Any, name: str, kind: type) -> Any:
    """Return a finite number of a type, int or float.

    Raises:
        ConditionError: the value has another type, or an int is required and it has a fraction.
    """
    number = _parse_cell(value)
    fits = not isinstance(number, bool) and isinstance(number, int | float)
    if not fits or (kind is int and isinstance(number, float) and not number.is_integer()):
        what = "a whole number" if kind is int else "a number"
        raise ConditionError(f"{name} must be {what}, found {value!r}")
    try:
        return kind(number)
    except (OverflowError, ValueError):
        raise ConditionError(f"{name} must be a finite number, found {value!r}") from None


def _parse_cell(value: Any) -> Any:
    """Convert text to a number or a boolean if it is one; return other values unchanged."""
    if isinstance(value, str):
        if re.fullmatch(r"(?i)true|false", value.strip()):
            return value.strip().lower() == "true"
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value
