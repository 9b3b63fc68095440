"""Connect callbacks to events of the page by name.

Gradio passes the values of inputs by position, and expects one value per output. The callbacks of
the studio receive inputs as keyword arguments, and return or yield outputs in a dict. Called by
`studio_app` and all tabs.
"""

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import gradio as gr

# Options of event listeners. An event of the page is not part of the public API.
PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
UNQUEUED: dict[str, Any] = {"queue": False, **PRIVATE}
# Arguments that Gradio itself provides, by the name of the parameter that receives them.
_PROVIDED: dict[str, type] = {"request": gr.Request, "event": gr.EventData}
Values = dict[str, Any]


def by_name(
    callback: Callable[..., Any],
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    provided: str | None = None,
) -> dict[str, Any]:
    """Return the arguments `fn`, `inputs` and `outputs` of an event listener.

    Args:
        callback: a function or a generator function; it returns or yields dicts of outputs by name,
            or None. Outputs that it does not name stay unchanged.
        inputs: components by the names of the parameters of the callback.
        outputs: components by name.
        provided: a parameter of the callback that Gradio provides: "request" or "event".
    """
    inputs, outputs = inputs or {}, outputs or {}

    def arguments(values: tuple[Any, ...]) -> Values:
        names = [provided, *inputs] if provided else list(inputs)
        if provided == "event" and len(values) == len(inputs):  # a request without event data
            values = (gr.EventData(None, None), *values)
        return dict(zip(names, values, strict=True))

    def in_order(result: Values | None) -> Any:
        found = result or {}
        unknown = found.keys() - outputs.keys()
        assert not unknown, f"no output is named {', '.join(sorted(unknown))}"
        # Copies, because Gradio removes the value from the update that it sends.
        values = [copy(found.get(name, gr.skip())) for name in outputs]
        return values[0] if len(values) == 1 else values

    if inspect.isgeneratorfunction(inspect.unwrap(_function(callback))):

        def call(*values: Any) -> Any:
            for result in callback(**arguments(values)):
                yield in_order(result)

    else:

        def call(*values: Any) -> Any:
            return in_order(callback(**arguments(values)))

    call.__name__ = getattr(_function(callback), "__name__", "call")  # in logs and tests
    if provided:
        _declare_provided(call, provided)
    return {"fn": call, "inputs": list(inputs.values()), "outputs": list(outputs.values())}


def _function(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside `functools.partial` objects."""
    while hasattr(callback, "func"):
        callback = callback.func
    return callback


def _declare_provided(call: Callable[..., Any], name: str) -> None:
    """Declare the first parameter of a function, from whose type Gradio decides what to provide."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    first = inspect.Parameter(name, kind, annotation=_PROVIDED[name])
    rest = inspect.Parameter("values", inspect.Parameter.VAR_POSITIONAL)
    call.__signature__ = inspect.Signature([first, rest])  # type: ignore[attr-defined]
    call.__annotations__ = {name: _PROVIDED[name]}
