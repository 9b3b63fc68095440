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

Values = dict[str, Any]
# Options of event listeners. An event of the page is not part of the public API.
PRIVATE: Values = {"show_progress": "hidden", "api_visibility": "private"}
UNQUEUED: Values = {"queue": False, **PRIVATE}
# Queued, because Gradio shows errors only of queued events; many at once, because jobs that need a
# model wait in `Page.turns`, which tells them their place.
MANY: Values = {"concurrency_limit": None, **PRIVATE}
# A press during a job starts another one; Gradio would ignore it by default.
REPEATABLE: Values = {"trigger_mode": "multiple", **MANY}
# Arguments that Gradio itself provides, by the name of the parameter that receives them.
_PROVIDED: dict[str, type] = {"request": gr.Request, "event": gr.EventData}


def by_name(
    callback: Callable[..., Any],
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the arguments `fn`, `inputs` and `outputs` of an event listener.

    Args:
        callback: a function or a generator function; it returns or yields dicts of outputs by name,
            or None. Outputs that it does not name stay unchanged. Gradio provides its parameter
            "request" or "event".
        inputs: components by name; the callback receives those that it has a parameter for.
        outputs: components by name.
    """
    named = inspect.signature(callback).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in named.values())
    inputs = {k: v for k, v in (inputs or {}).items() if takes_all or k in named}
    outputs = outputs or {}
    provided = next((name for name in _PROVIDED if name in named), None)
    missing = [
        name
        for name, p in named.items()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and name not in (*inputs, provided)
    ]
    assert not missing, f"no input is named {', '.join(missing)}"

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


def numbered_job(stop_id: str) -> dict[str, Any]:
    """Return the options of an event that starts a job, which the button with an id stops.

    The first two inputs are those of `page_widgets.make_job_numbers`.
    """
    js = f"(...values) => pageEvents.startJob('{stop_id}', ...values)"
    return {"js": js, **REPEATABLE}


def pick(components: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return some of the components by name."""
    return {name: components[name] for name in names}


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
