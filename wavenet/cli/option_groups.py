"""Groups of command-line options, written as dataclasses.

Expand the dataclass parameters of a command into single options, as typer requires. Input: a
command. Output: a command with one parameter per field. Called by `batch_command`.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin

from typer.models import OptionInfo


def expand_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a dataclass by its fields.

    Each field is annotated as a typer option. `--help` shows the options of a dataclass together,
    under the first line of its docstring.
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = group
        panel = inspect.getdoc(group).split("\n")[0].rstrip(".")  # type: ignore[union-attr]
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=_in_panel(field.type, panel),
            )
            for field in fields(group)
        ]

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    expanded.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters
    )
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _in_panel(annotation: Any, panel: str) -> Any:
    """Return an annotated type whose typer option is shown in a panel of the help."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *metadata = get_args(annotation)
    options = [copy.copy(item) for item in metadata]
    for option in options:
        if isinstance(option, OptionInfo):
            option.rich_help_panel = panel
    return Annotated[(kind, *options)]
