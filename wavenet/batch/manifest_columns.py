"""Read the columns of a manifest row: their names, aliases and types.

Input: the values of a row. Output: ids, condition values, numbers and paths, or an error of one
sentence. Case and separators of a name do not matter; a name that is close to a known one is an
error. Called by `tasks` and `manifest_check`.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from wavenet.errors import ConditionError
from wavenet.model.condition_values import (
    condition_names,
    resolve_condition_values,
    resolve_names,
)
from wavenet.model.model_config import ModelConfig
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.typed_numbers import parse_number, read_number

# accepted names of a column; the first is the name in this project
COLUMN_ALIASES = {
    "id": ("id",),
    "seed": ("seed",),
    "seconds": ("seconds", "duration"),
    "prompt": ("prompt",),
    "condition": ("condition", "cond"),
    "output": ("output", "file_name", "audio_filepath", "path", "audio_file"),
    "checkpoint": ("checkpoint",),
    "labels": ("labels",),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "greedy": ("greedy",),
    "guidance": ("guidance",),
}
SAMPLING_COLUMNS = {"temperature": float, "top_k": int, "top_p": float, "guidance": float}
_NAMES = {alias: name for name, aliases in COLUMN_ALIASES.items() for alias in aliases}


class _ColumnUse(NamedTuple):
    """The meaning of a column; unused attributes are None.

    Attributes:
        setting: name of a setting of the batch.
        condition: name of a condition of the model.
        close: the known name that is close, if the column sets neither.
    """

    setting: str | None
    condition: str | None
    close: str | None


@lru_cache(maxsize=4096)
def _column_use(column: str, conditions: tuple[str, ...]) -> _ColumnUse:
    alias = find_equal_name(column, _NAMES)
    condition = find_equal_name(column, conditions)
    # an exact name comes first
    if alias != column and condition == column:
        alias = None
    if condition != column and alias == column:
        condition = None
    if alias is None and condition is None:
        return _ColumnUse(None, None, find_close_name(column, (*conditions, *_NAMES)))
    return _ColumnUse(None if alias is None else _NAMES[alias], condition, None)


def read_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the columns that the batch knows, by their names in this project.

    Raises:
        ConditionError: two columns set different values for one setting.
    """
    columns = [(column, _column_use(column, ()).setting, value) for column, value in values.items()]
    return _gather(columns, _is_same_setting)


def read_conditions(
    model: ModelConfig,
    values: Mapping[str, Any],
    settings: Mapping[str, Any],
    ignore_unknown: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the model's conditions, and the columns that nothing uses.

    Labels are values of the model; numbers are unchanged. The column "labels" may contain
    an object of condition values, numbers included.

    Args:
        settings: from `read_settings`.
        ignore_unknown: whether the name of an unknown column may be close to a known one.
    Raises:
        ConditionError: a name or a value is unknown.
    """
    known = tuple(condition_names(model))
    uses, columns = _use_columns(values, known)
    nested = settings.get("labels", {})
    if not isinstance(nested, Mapping):
        raise ConditionError(f"labels must be an object of names and values, found {nested!r}")
    for given, value in nested.items():
        (name,) = resolve_names({given: value}, known, "condition")
        columns.append((f"labels.{given}", name, value))

    def is_same(name: str, *both: Any) -> bool:
        first, second = (_as_text(model, {name: value}) for value in both)
        return resolve_condition_values(model, first) == resolve_condition_values(model, second)

    found = _gather(columns, is_same)
    extra = _unused_columns(uses, values, {*found, *settings}, ignore_unknown)
    return _as_text(model, found), extra


def read_columns(
    names: tuple[str, ...],
    values: Mapping[str, Any],
    settings: Mapping[str, Any],
    ignore_unknown: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the columns with these names, and the columns that nothing uses.

    Args:
        settings, ignore_unknown: as for `read_conditions`.
    Raises:
        ConditionError: a name is unknown, or two columns set different values.
    """
    uses, columns = _use_columns(values, names)
    found = _gather(columns, _is_same_setting)
    return found, _unused_columns(uses, values, {*found, *settings}, ignore_unknown)


def _use_columns(
    values: Mapping[str, Any], known: tuple[str, ...]
) -> tuple[dict[str, _ColumnUse], list[tuple[str, str | None, Any]]]:
    """Return the use of each column, and the columns for `_gather`.

    Args:
        known: names that the model adds to those of the batch.
    """
    uses = {column: _column_use(column, known) for column in values}
    return uses, [(column, use.condition, values[column]) for column, use in uses.items()]


def _unused_columns(
    uses: Mapping[str, _ColumnUse], values: Mapping[str, Any], used: set[str], ignore_unknown: bool
) -> dict[str, Any]:
    """Return the columns that nothing uses; check their names unless these are ignored."""
    extra = {c: values[c] for c, use in uses.items() if use[:2] == (None, None)}
    if extra and not ignore_unknown:
        _check_no_close_name(uses, extra, used)
    return extra


def _gather(
    columns: Iterable[tuple[str, str | None, Any]], is_same: Callable[[str, Any, Any], bool]
) -> dict[str, Any]:
    """Return the values that are not empty, by name.

    Args:
        columns: the column, the name of what it sets or None, and the value.
        is_same: whether two values of a name are the same, however they are written.
    Raises:
        ConditionError: two columns have the same name, and different values.
    """
    found: dict[str, Any] = {}
    first: dict[str, str] = {}  # column of each name
    for column, name, value in columns:
        if name is None or _is_empty(value):
            continue
        if name in found and found[name] != value and not is_same(name, found[name], value):
            raise ConditionError(
                f"the columns {first[name]!r} and {column!r} both set {name}; keep one of them"
            )
        found.setdefault(name, value)
        first.setdefault(name, column)
    return found


def _is_same_setting(name: str, first: Any, second: Any) -> bool:
    """Return whether two values are the same text, or, except as ids, the same number."""
    number = None if name == "id" else read_number(first)
    return str(first) == str(second) or (number is not None and number == read_number(second))


def _check_no_close_name(
    uses: Mapping[str, _ColumnUse], extra: Mapping[str, Any], found: set[str]
) -> None:
    """Raise ConditionError for an unused column whose name is close to one that is not set."""
    for column, value in extra.items():
        close = uses[column].close
        if close is None or _is_empty(value) or _NAMES.get(close, close) in found:
            continue
        raise ConditionError(
            f"the column {column[:100]!r} is unknown, did you mean {close!r}; rename it, or add "
            "--ignore-unknown-columns"
        )


def _as_text(model: ModelConfig, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return condition values with labels as values of the model, and numbers unchanged."""
    given: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConditionError(f"{name} must be text or a number, found {value!r}")
        given[name] = value if isinstance(value, float) else str(value)
    resolved = resolve_condition_values(model, given)
    # A number keeps its spelling, which is part of file names and of the params hash.
    return {n: r if isinstance(r, str) else given[n] for n, r in resolved.items()}


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def row_id(settings: Mapping[str, Any], line: int) -> str:
    """Return the id of a row, from `read_settings`; by default the number of its line."""
    value = settings.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ConditionError(f"id must be text or a number, found {value!r}")
    return f"{line:06d}" if value is None else str(value)


def find_row_id(values: Mapping[str, Any], line: int) -> str | None:
    """Return the id of a row whose other columns may be invalid; None if the id is invalid."""
    column = find_column(values, "id")
    try:
        return row_id({} if column is None else {"id": values[column]}, line)
    except ConditionError:
        return None


def find_column(values: Mapping[str, Any], name: str) -> str | None:
    """Return the first column of a row that sets a setting of the batch, or None."""
    columns = (
        column
        for column, value in values.items()
        if _column_use(column, ()).setting == name and not _is_empty(value)
    )
    return next(columns, None)


def is_own_name(column: str, name: str) -> bool:
    """Return whether a column has the name of a setting in this project, not one of its aliases."""
    return find_equal_name(column, _NAMES) == name


def sampling_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling settings of a row, from `read_settings`."""
    options = {
        name: parse_number(settings[name], name, kind)
        for name, kind in SAMPLING_COLUMNS.items()
        if name in settings
    }
    if "greedy" in settings:
        options["greedy"] = _parse_flag(settings["greedy"])
    return options


def input_path(settings: Mapping[str, Any], name: str, base_folder: str) -> str | None:
    """Return the path of an input file; in the row it is relative to a base folder.

    An accented letter may be composed in the manifest and decomposed in the file name, as on files
    copied from a Mac, or conversely.

    Raises:
        ConditionError: the value is not text, or the file does not exist.
    """
    value = settings.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConditionError(f"{name} must be the path of a file, found {value!r}")
    spellings = (value, unicodedata.normalize("NFC", value), unicodedata.normalize("NFD", value))
    for spelling in spellings:
        path = os.path.join(base_folder, spelling)
        if os.path.isfile(path):
            return path
    raise ConditionError(f"{name}: the file {value} does not exist")


def _parse_flag(value: Any) -> Any:
    """Return the text true or false as a boolean, and other values unchanged."""
    if isinstance(value, str) and re.fullmatch(r"(?i)true|false", value.strip()):
        return value.strip().lower() == "true"
    return value
