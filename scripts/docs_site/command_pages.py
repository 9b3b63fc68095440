"""The page of all commands, from the command line itself.

Output: Markdown with each command, its arguments, options, defaults and help. Called by `hook`.
"""

from collections.abc import Iterator
from typing import Any

import typer
from markdown_text import code, escape, table

from wavenet.cli.main import app

INTRODUCTION = """# Commands

Data goes to stdout, messages go to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some
items failed, 130 interrupted. `wavenet COMMAND --help` prints the same options.
"""
WORDS = {"float": "number", "int": "whole number", "str": "text"}


def walk(command: Any, name: str = "wavenet") -> Iterator[tuple[str, Any]]:
    """Yield every command and group of a command tree, with its full name."""
    yield name, command
    for part, child in getattr(command, "commands", {}).items():
        yield from walk(child, f"{name} {part}")


def render_page() -> str:
    """Return the Markdown of the page."""
    commands = list(walk(typer.main.get_command(app)))
    lines = [INTRODUCTION]
    for name, command in commands:
        lines += render_command(name, command)
    return "\n".join(lines)


def render_command(name: str, command: Any) -> list[str]:
    """Return the lines of one command: help, usage, tables of its arguments and options."""
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", *escape(command.help or "").splitlines(), ""]
    lines += ["```text", usage, "```", ""]
    children = getattr(command, "commands", {})
    if children:
        rows = []
        for part, child in children.items():
            full = f"{name} {part}"
            summary = (child.help or "").split("\n\n")[0]
            rows.append((f"[{code(part)}](#{full.replace(' ', '-')})", escape(summary)))
        lines += table(("command", "purpose"), rows)
    panels: dict[str, list[Any]] = {}
    for parameter in command.get_params(context):
        if parameter.name != "help" and not getattr(parameter, "hidden", False):
            is_argument = parameter.param_type_name == "argument"
            title = "Arguments" if is_argument else "Options"
            title = getattr(parameter, "rich_help_panel", None) or title
            panels.setdefault(title, []).append(parameter)
    for title, parameters in panels.items():
        rows = [_row(parameter, context) for parameter in parameters]
        lines += [f"**{title}**", "", *table(("name", "value", "default", "meaning"), rows)]
    return lines


def _row(parameter: Any, context: Any) -> tuple[str, str, str, str]:
    """Return the cells of an argument or option."""
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.display_name_raw] if is_argument else list(parameter.opts)
    if parameter.secondary_opts:
        names[-1] += " / " + parameter.secondary_opts[0]
    value = (
        "" if is_argument or getattr(parameter, "is_flag", False) else _value(parameter, context)
    )
    return (
        ", ".join(code(name) for name in names),
        value,
        _default(parameter),
        escape(getattr(parameter, "help", None) or ""),
    )


def _value(parameter: Any, context: Any) -> str:
    """Return the kind of value, its choices or its range."""
    name = parameter.display_type(context).strip("<>[]")
    if name.startswith("list["):
        name = name.removeprefix("list[").rstrip("]")
    text = ", ".join(code(part) for part in name.split("|")) if "|" in name else name.lower()
    text = WORDS.get(text, text)
    low, high = parameter.min, parameter.max
    if low is not None and high is not None:
        text += f", {low} to {high}"
    elif low is not None or high is not None:
        text += f", at least {low}" if high is None else f", at most {high}"
    return text + (", repeatable" if parameter.multiple else "")


def _default(parameter: Any) -> str:
    """Return the default; empty if there is none, or if it is that a flag is off."""
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or callable(default) or default in ((), [], ""):
        return ""
    if isinstance(default, bool):
        names = parameter.opts if default else parameter.secondary_opts
        return code(names[-1]) if names and parameter.secondary_opts else ""
    return code(getattr(default, "value", default))
