"""Classes of the commands and of the groups: their help shows flags without a value.

typer shows them as options with a value, <bool>. Called by `main` for the whole tree of commands.
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class StudioCommand(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> Any:
        """Return all parameters, including --help, which typer adds."""
        return _without_flag_types(super().get_params(ctx))


class StudioGroup(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> Any:
        """Return all parameters, as `StudioCommand`."""
        return _without_flag_types(super().get_params(ctx))


def set_classes(app: typer.Typer) -> None:
    """Set the classes of an app, and of all its commands and groups."""
    app.info.cls = StudioGroup
    for command in app.registered_commands:
        command.cls = StudioCommand
    for group in app.registered_groups:
        assert group.typer_instance is not None
        set_classes(group.typer_instance)


def _without_flag_types(parameters: Any) -> Any:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters
