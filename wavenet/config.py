"""The base of every config class, and functions that read a config from text or from values.

A config is a frozen pydantic class with bounds. Input: JSON text, a TOML file, or values of a user.
Output: a config, or a `ConfigError` with one sentence: the field, what was expected, what was
found. A config class is in the file of the class that it configures. Called by every module with a
config class.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, ValidationError
from pydantic_core import ErrorDetails

from wavenet.errors import ConfigError, DataError
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.json_objects import unique_object

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
Width = Annotated[int, Field(ge=1, le=4096)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

MAX_TOML_BYTES = 1 << 20
# Far above every key of a config. tomllib needs memory in proportion to the square of this number.
MAX_KEY_PARTS = 8
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_KEY_PART}\.[ \t]*+){{{MAX_KEY_PARTS}}}")

MAX_SHOWN_VALUE = 60  # characters of a wrong value in a message
MAX_SHOWN_TEXT = 300
# prefix of pydantic's error type if the key that selects a class has an unknown value
UNKNOWN_PREFIX = "unknown_"
# What was expected, by pydantic's error type; braces contain the details of the error.
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "string_type": "a text",
    "string_unicode": "a text in UTF-8",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "literal_error": "{expected}",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "{min_length} or more items, found {actual_length}",
    "too_long": "at most {max_length} items, found {actual_length}",
    "dict_type": "an object",
    "model_type": "an object",
    "dataclass_type": "an object",
    "invalid_key": "texts as keys",
}


class StrictConfig(BaseModel):
    """Base of every config: frozen, no coercion, no unknown keys, no NaN."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True
    )


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse_config(kind: type[ConfigT], text: str | bytes, source: str) -> ConfigT:
    """Read a config from JSON text.

    Args:
        kind: the config class.
        text: JSON.
        source: named in the error, usually the path of the file.
    Raises:
        ConfigError: one sentence: the field, what is allowed, what was found.
    """
    try:
        json.loads(text, object_pairs_hook=unique_object)
    except DataError as error:
        raise ConfigError(f"{source}: an object {error}") from None
    except (ValueError, RecursionError):
        pass  # reported below, with the position
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        try:
            reason = describe_error(error, kind)
        except RecursionError:  # while a value of the message is printed
            reason = "it is nested too deeply"
        raise ConfigError(f"{source}: {reason}") from None


def load_toml(kind: type[ConfigT], path: Path) -> ConfigT:
    """Read a config from a TOML file.

    Raises:
        ConfigError: the file cannot be read, or as `parse_config`.
    """
    try:
        # through JSON: a strict config accepts a JSON list as a tuple, but not a Python list
        text = json.dumps(read_toml(path), default=str)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} cannot be read as TOML: it is nested too deeply") from None
    return parse_config(kind, text, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size, whose keys have a bounded number of parts.

    Raises:
        OSError: the file cannot be read.
        ValueError, RecursionError: it is not TOML, or too large.
    """
    with path.open("rb") as file:
        content = file.read(MAX_TOML_BYTES + 1)
    if len(content) > MAX_TOML_BYTES:
        raise ValueError(f"it has more than {MAX_TOML_BYTES:,} bytes")
    text = content.decode("utf-8-sig")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {MAX_KEY_PARTS} parts between dots")
    return tomllib.loads(text)


def name_of_folder(folder: Path, prefix: str) -> str:
    """Return the name of a folder as a `Name`.

    Args:
        prefix: added if the name does not begin with a letter.
    """
    name = re.sub(r"[^A-Za-z0-9_-]", "_", folder.resolve().name)[:60]
    return name if re.match(r"[A-Za-z_]", name) else f"{prefix}_{name}"[:60]


def make_config(kind: type[ConfigT], source: str, /, **values: object) -> ConfigT:
    """Build and check a config from values of a user.

    Raises:
        ConfigError: as `parse_config`.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {describe_error(error, kind)}") from None


def select_by(key: str, default: str, known: Sequence[str]) -> Discriminator:
    """Return the rule that selects a class of a union by one of its keys.

    Args:
        key: name of the field, a literal in every class of the union.
        default: the value of an object without this key.
        known: all values, for the message.
    """

    def read_tag(value: Any) -> str:
        if isinstance(value, dict):
            return str(value.get(key, default))
        return str(getattr(value, key, None))

    return Discriminator(
        read_tag,
        custom_error_type=f"{UNKNOWN_PREFIX}{key}",
        custom_error_message=f"expected an object whose {key} is one of {', '.join(known)}",
    )


def describe_error(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return one sentence for a failed validation; an unknown key is reported first."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    is_unknown_key = first["type"] == "extra_forbidden"
    path, owner = _resolve(kind, first["loc"], is_unknown_key)
    siblings = list(owner.model_fields)
    value, message = first.get("input"), _expectation(first, owner)
    selector = first["type"].removeprefix(UNKNOWN_PREFIX)
    advice = ""
    if selector != first["type"] and isinstance(value, dict) and selector in value:
        path, value = [*path, selector], value[selector]
        message = message.replace(f"an object whose {selector} is ", "")
        close = find_close_name(str(value), message.removeprefix("expected one of ").split(", "))
        advice = f"; did you mean {close}?" if close else "; a newer version may know it"
    field = _shorten(".".join(path)) or "the content"
    if is_unknown_key:
        close = find_equal_name(path[-1], siblings) or find_close_name(path[-1], siblings)
        question = f"; did you mean {close}?" if close else ""
        return f"the key {field} is not known (known keys: {', '.join(siblings)}){question}"
    if first["type"] == "missing":
        return f"the key {field} is missing"
    found = "nothing" if value is None else repr(value)
    is_complete = ", found " in message or len(found) > MAX_SHOWN_VALUE
    return f"{field}: {_shorten(message)}" + ("" if is_complete else f", found {found}") + advice


def _expectation(error: ErrorDetails, owner: type[BaseModel]) -> str:
    """Return what was expected, in the words of this project.

    Args:
        error: as pydantic reports it.
        owner: the class of the field.
    """
    if error["type"] not in EXPECTED:
        return error["msg"].removeprefix("Value error, ")
    found = error.get("ctx", {}) | _bounds(error, owner)
    details = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in found.items()
    }
    if details.keys() >= {"ge", "le"}:
        return "expected a number from {ge} to {le}".format(**details)
    if details.keys() >= {"gt", "le"}:
        return "expected a number above {gt}, at most {le}".format(**details)
    return f"expected {EXPECTED[error['type']].format(**details)}"


def _bounds(error: ErrorDetails, owner: type[BaseModel]) -> dict[str, Any]:
    """Return all bounds of a number by name if it is outside one of them; {} for other errors."""
    field = owner.model_fields.get(str(error["loc"][-1])) if error["loc"] else None
    names = ("gt", "ge", "lt", "le")
    found = {
        n: getattr(m, n) for m in (field.metadata if field else ()) for n in names if hasattr(m, n)
    }
    context = error.get("ctx", {})
    return found if context and context.items() <= found.items() else {}


def _resolve(
    kind: type[BaseModel], loc: tuple[int | str, ...], is_unknown_key: bool
) -> tuple[list[str], type[BaseModel]]:
    """Return the path of a field without the tags of unions, and the class at its level.

    Args:
        kind: the class of the whole config.
        loc: the path as pydantic reports it; after a field that is a union it contains the tag.
        is_unknown_key: whether the last entry is an unknown key, which may look like a tag.
    """
    path: list[str] = []
    classes, may_be_tag = [kind], False
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(part, int):
            path.append(str(part))
            continue
        tagged = [c for c in classes if part in _tags(c)]
        if may_be_tag and tagged and not (is_last and is_unknown_key):
            classes, may_be_tag = tagged, False
            continue
        path.append(part)
        if not is_last:
            fields = [c.model_fields[part] for c in classes if part in c.model_fields]
            inner = [c for f in fields for c in config_classes(f.annotation)]
            classes, may_be_tag = inner or classes, bool(inner)
    return path, classes[0]


def config_classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the config classes inside an annotation, such as those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from config_classes(inner)


def _tags(kind: type[BaseModel]) -> set[Any]:
    """Return the values of the literal fields of a class; one of them is its tag in a union."""
    literals = (f.annotation for f in kind.model_fields.values())
    return {value for a in literals if get_origin(a) is Literal for value in get_args(a)}


def _shorten(text: str) -> str:
    """Shorten text from a file, and replace characters that a terminal cannot print."""
    short = text if len(text) <= MAX_SHOWN_TEXT else text[:MAX_SHOWN_TEXT] + ".."
    return "".join(c if c.isprintable() else "?" for c in short)
