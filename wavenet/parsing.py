"""Text or values -> a checked config, or one sentence.

JSON text, or what a person typed, enters; a config of `config` leaves, or `ConfigError` with one
sentence that names the field, what was found and what is allowed.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from wavenet.conditions import (
    FramesCondition,
    LabelCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    NumberCondition,
    PitchCondition,
    PositionCondition,
    VectorCondition,
)
from wavenet.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse(kind: type[ConfigT], text: str | bytes, source: str) -> ConfigT:
    """Read a config from JSON text.

    Args:
        kind: the config class.
        text: JSON.
        source: named in the error, usually the file's path.
    Raises:
        ConfigError: one sentence naming the field, what was found and what is allowed.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, kind)}") from None


def make(kind: type[ConfigT], source: str, /, **values: object) -> ConfigT:
    """Build a config from values that a person gave.

    Raises:
        ConfigError: as `parse`.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, kind)}") from None


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Put one fault of a validation into one sentence, an unknown key before all others."""
    faults = error.errors(include_url=False)
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    field = _plain(".".join(str(part) for part in first["loc"])) or "the whole"
    if first["type"] == "extra_forbidden":
        return f"the key {field} is not known ({_siblings(kind, first['loc'])})"
    message = _plain(first["msg"].removeprefix("Value error, "))
    if first["type"] == "missing":
        return f"the key {field} is missing"
    found = repr(first.get("input"))
    return f"{field}: {message}" + (f", found {found}" if len(found) <= 60 else "")


def _siblings(kind: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    kinds = (LabelCondition, PositionCondition, NumberCondition, VectorCondition)
    frames = (MelCondition, MfccCondition, PitchCondition, LoudnessCondition, FramesCondition)
    conditions = {str(c.model_fields["kind"].default): c for c in kinds + frames}
    fields = kind.model_fields
    for part in map(str, loc[:-1]):
        inner: object = fields[part].annotation if part in fields else conditions.get(part)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            fields = inner.model_fields
    return "known keys: " + ", ".join(fields)


def _plain(text: str) -> str:
    """Keep words that came from a file short, and in one line that a terminal can show."""
    short = text if len(text) <= 300 else text[:300] + ".."
    return "".join(c if c.isprintable() else "?" for c in short)
