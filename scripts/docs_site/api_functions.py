"""The public functions of the studio with their arguments, from their docstrings.

Output: Markdown with a heading and a table per function. Called by `hook`, which inserts it into
the page of the HTTP API.
"""

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_text import code, escape, table

WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false", dict: "object"}


def render_functions() -> str:
    """Return the Markdown of all functions."""
    # here, because they import gradio, which takes seconds
    from wavenet.ui.studio_api import make_functions
    from wavenet.ui.turns import Turns

    functions = make_functions(Path(), Turns())
    return "\n".join(line for item in functions.items() for line in render_function(*item))


def render_function(name: str, function: Callable[..., Any]) -> list[str]:
    """Return the lines of one function: its purpose, its arguments, and what it returns."""
    purpose, arguments, result = split_docstring(function.__doc__ or "")
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        text = escape(arguments[parameter.name])
        rows.append((code(parameter.name), _kind(parameter), _default(parameter), text))
    lines = [f"### {name}", "", escape(purpose), ""]
    lines += table(("argument", "value", "default", "meaning"), rows)
    return [*lines, f"Returns: {escape(result)}", ""]


def split_docstring(text: str) -> tuple[str, dict[str, str], str]:
    """Return the purpose, the descriptions of the arguments by name, and that of the result."""
    purpose, _, rest = text.partition("Args:\n")
    arguments, _, result = rest.partition("Returns:\n")
    pairs = (line.strip().partition(": ") for line in arguments.splitlines() if line.strip())
    return purpose.strip(), {name: meaning for name, _, meaning in pairs}, result.strip()


def _kind(parameter: inspect.Parameter) -> str:
    """Return the kind of value; a number may also be text."""
    annotation = parameter.annotation
    if isinstance(annotation, types.UnionType):  # with text, None or both, which follow
        annotation = typing.get_args(annotation)[0]
    return WORDS.get(typing.get_origin(annotation) or annotation, "upload")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    if isinstance(parameter.default, bool):
        return code(str(parameter.default).lower())
    return "none" if parameter.default is None else code(parameter.default)
