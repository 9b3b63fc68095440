"""Numbers on the command line, read as in manifests, links and the API.

Input: a command of typer, whose own parser reports wrong numbers in the words of its libraries.
Output: the numeric options of that command accept every usual spelling, such as 7.0 for 7, and a
wrong value is an error of one sentence. Called by `main`.
"""

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any, get_args

from typer.models import ParameterInfo

from wavenet.errors import ConditionError
from wavenet.user_input.typed_numbers import parse_number


def accept_typed_numbers(command: Any) -> None:
    """Make the numeric options of a command, and of its subcommands, use `parse_number`."""
    for child in getattr(command, "commands", {}).values():
        accept_typed_numbers(child)
    parameters = inspect.signature(command.callback).parameters if command.callback else {}
    for option in command.params:
        if option.name not in parameters:  # --help
            continue
        parts = list(_parts(parameters[option.name].annotation))
        kind = next((part for part in parts if part in (int, float)), None)
        info = next((part for part in parts if isinstance(part, ParameterInfo)), None)
        if kind is not None and info is not None:
            parse = partial(_parse, option.opts[0], kind, info.min, info.max)
            option.process_value = partial(_process, parse, option.process_value)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the types and the metadata in an annotation such as `Annotated[list[int], option]`."""
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _process(parse: Any, process: Any, context: Any, value: Any) -> Any:
    """Parse the text, or the texts, of an option before typer processes its value."""
    is_list = isinstance(value, list | tuple)
    return process(context, [parse(item) for item in value] if is_list else parse(value))


def _parse(name: str, kind: type, low: float | None, high: float | None, value: Any) -> Any:
    """Return the number in a text, within bounds; other values, such as defaults, are unchanged."""
    if not isinstance(value, str):
        return value
    number = parse_number(value, name, kind)
    # not (number < low), which NaN would pass
    if not ((low is None or low <= number) and (high is None or number <= high)):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConditionError(f"{name} must be {bounds}, found {value}")
    return number
