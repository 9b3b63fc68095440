"""Refuse options on the command line that have no effect together with the others.

Input: the context of a command and names of its parameters. Output: an error of one sentence. A
default from the settings file of the user is no error. Called by the commands that generate.
"""

from collections.abc import Collection
from typing import Any

import typer

from wavenet.errors import ConfigError

SAMPLING = ("temperature", "top_k", "top_p")


def refuse_unused(context: typer.Context, names: Collection[str], reason: str) -> None:
    """Refuse parameters that are given on the command line.

    Args:
        context: of the command.
        names: of the parameters that have no effect.
        reason: the end of the sentence, after the option.
    Raises:
        ConfigError: one of them is given.
    """
    for parameter in context.command.params:
        if parameter.name in names and is_given(context, parameter.name):
            raise ConfigError(f"{_option(parameter, context.params[parameter.name])} {reason}")


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter is on the command line, not only in the settings file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_unused_settings(context: typer.Context) -> None:
    """Refuse settings of sampling and of the engine that the sampling rule or the engine ignores.

    Raises:
        ConfigError: such a setting is given.
    """
    if context.params["greedy"]:
        reason = "has no effect with --greedy, which selects the most likely code; omit one of them"
        refuse_unused(context, SAMPLING, reason)
    refuse_unused_threads(context, context.params["engine_name"])


def refuse_unused_threads(context: typer.Context, engine: str) -> None:
    """Refuse --threads for an engine that ignores it.

    Raises:
        ConfigError: --threads is given.
    """
    if engine not in ("auto", "cpu"):
        refuse_unused(context, ("threads",), f"is for the engine cpu, found {engine}; omit it")


def _option(parameter: Any, value: Any) -> str:
    """Return the option as it is written; a flag that is off has its second name."""
    names = parameter.secondary_opts if value is False and parameter.secondary_opts else None
    return str((names or parameter.opts)[0])
