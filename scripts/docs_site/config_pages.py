"""The page of all keys of recipes, checkpoints and the settings file, from the config classes.

Output: Markdown with each key: type, range, default and description. pydantic's JSON schema has
types, ranges and defaults; descriptions are in the docstrings, under `Attributes`. Called
by `hook`.
"""

import inspect
import json
import re
from typing import Any

from markdown_text import code, escape, table
from pydantic import BaseModel

from wavenet.checkpoint import CheckpointConfig
from wavenet.cli.settings_config import UserSettings
from wavenet.config import StrictConfig, config_classes
from wavenet.training.recipe import RecipeConfig

ROOTS: dict[type[BaseModel], str] = {
    RecipeConfig: "Recipe",
    CheckpointConfig: "Checkpoint",
    UserSettings: "Settings of the user",
}
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "none",
    "object": "object",
}
INTRODUCTION = """# Recipes, checkpoints, settings

A recipe is a TOML file, a checkpoint has a `config.json`, and the settings of the user are in
`config.toml`. An unknown key, a wrong type, or a value out of its range is refused with one
sentence. "required": the key has no default.
"""


def render_page() -> str:
    """Return the Markdown of the page."""
    lines = [INTRODUCTION]
    for kind, users in find_classes().items():
        lines += render_class(kind, users)
    return "\n".join(lines)


def find_classes() -> dict[type[BaseModel], list[str]]:
    """Return all config classes, those of files first, with the keys whose values they describe."""
    found: dict[type[BaseModel], list[str]] = {kind: [] for kind in ROOTS}
    for kind in found.copy():
        waiting = [kind]
        while waiting:
            owner = waiting.pop(0)
            for name, field in owner.model_fields.items():
                for inner in config_classes(field.annotation):
                    if inner not in found:
                        found[inner] = []
                        waiting.append(inner)
                    use = f"{code(name)} of [{title_of(owner)}](#{anchor_of(owner)})"
                    if use not in found[inner]:
                        found[inner].append(use)
    return found


def title_of(kind: type[BaseModel]) -> str:
    """Return the heading of a class."""
    return ROOTS.get(kind, kind.__name__)


def anchor_of(kind: type[BaseModel]) -> str:
    """Return the anchor of the heading."""
    return title_of(kind).lower().replace(" ", "-")


def describe_fields(kind: type[BaseModel]) -> dict[str, str]:
    """Return the descriptions of fields from the docstrings of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, StrictConfig):
            found |= _read_docstring(base)[1]
    return found


def _read_docstring(kind: type) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring, and the descriptions under `Attributes` by name.

    A description can belong to several names: "low, high: ..".
    """
    text, _, attributes = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition(
        "Attributes:\n"
    )
    found: dict[str, str] = {}
    for entry in re.split(r"\n {4}(?=\w)", f"\n{attributes}"):
        names, colon, description = " ".join(entry.split()).partition(": ")
        if colon:
            found |= dict.fromkeys(names.split(", "), description)
    return text, found


def render_class(kind: type[BaseModel], users: list[str]) -> list[str]:
    """Return the lines of one class: its docstring and a table of its keys."""
    schema = kind.model_json_schema()
    lines = [f"## {title_of(kind)}", "", *_read_docstring(kind)[0].splitlines(), ""]
    if users:
        lines += [f"Value of {', '.join(users)}.", ""]
    descriptions = describe_fields(kind)
    rows = []
    for name, entry in schema.get("properties", {}).items():
        default = "required" if name in schema.get("required", ()) else _default(entry)
        text = escape(descriptions.get(name, ""))
        rows.append((code(name), _type(entry), default, text))
    return lines + table(("key", "value", "default", "meaning"), rows)


def _default(entry: dict[str, Any]) -> str:
    """Return the default of a key as JSON."""
    if "default" not in entry:
        return "computed"
    if entry["default"] is None:
        return "none"
    if isinstance(entry["default"], dict):
        return "its defaults"
    return code(json.dumps(entry["default"]))


def _type(entry: dict[str, Any]) -> str:
    """Return the type of a value and its range, in words."""
    if "$ref" in entry:
        name = entry["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in entry:
        return code(entry["const"])
    if "enum" in entry:
        return ", ".join(code(value) for value in entry["enum"])
    for key in ("anyOf", "oneOf"):
        if key in entry:
            return " or ".join(_type(option) for option in entry[key])
    if entry.get("type") == "array":
        return _list_type(entry)
    if isinstance(entry.get("additionalProperties"), dict):
        return f"object of {_type(entry['additionalProperties'])}"
    return WORDS[entry["type"]] + _range(entry)


def _list_type(entry: dict[str, Any]) -> str:
    if "prefixItems" in entry:
        items = entry["prefixItems"]
        return f"list of {len(items)}: " + "; ".join(_type(item) for item in items)
    low, high = entry.get("minItems"), entry.get("maxItems")
    bounds = ", ".join(
        text
        for text in (f"at least {low}" if low else "", f"at most {high}" if high else "")
        if text
    )
    return f"list of {_type(entry['items'])}" + (f" ({bounds})" if bounds else "")


def _range(entry: dict[str, Any]) -> str:
    """Return the range of a number, or the form or length of a text."""
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "minLength": "length at least",
        "maxLength": "length at most",
    }
    parts = [f"{text} {entry[key]:,}" for key, text in words.items() if key in entry]
    if "pattern" in entry:
        parts.append(f"of the form {code(entry['pattern'])}")
    return "".join(f", {part}" for part in parts)
