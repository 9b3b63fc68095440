"""Callbacks by name, called as Gradio calls them: values by position."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr
import pytest
from gradio.helpers import special_args

from wavenet.ui.wiring import by_name

SKIPPED = gr.skip()


def add(scale: int, *, left: int, right: int) -> dict[str, Any]:
    return {"total": scale * (left + right)}


def test_values_arrive_by_name_and_outputs_leave_in_order() -> None:
    event = by_name(partial(add, 10), {"right": "R", "left": "L"}, {"note": "N", "total": "T"})
    assert event["inputs"] == ["R", "L"]
    assert event["outputs"] == ["N", "T"]
    note, total = event["fn"](1, 2)
    assert total == 30
    assert note == SKIPPED


def test_generators_yield_in_order() -> None:
    def count() -> Iterator[dict[str, Any] | None]:
        yield {"n": 1}
        yield None

    event = by_name(count, {}, {"n": "N"})
    assert list(event["fn"]()) == [1, SKIPPED]  # Gradio expects no list of one value


def test_a_callback_receives_the_inputs_that_it_has_parameters_for() -> None:
    components = {"other": "O", "right": "R", "left": "L"}
    assert by_name(partial(add, 1), components, {})["inputs"] == ["R", "L"]
    assert by_name(lambda **values: values, components, {})["inputs"] == ["O", "R", "L"]
    with pytest.raises(AssertionError, match="right"):
        by_name(partial(add, 1), {"left": "L"}, {})


def test_wrong_number_of_values_and_unknown_outputs_are_errors() -> None:
    event = by_name(partial(add, 1), {"left": "L", "right": "R"}, {"other": "O"})
    with pytest.raises(ValueError, match="argument"):
        event["fn"](1)
    with pytest.raises(AssertionError, match="total"):
        event["fn"](1, 2)


def test_each_update_is_a_new_object() -> None:
    update = gr.update(value=3)

    def repeat() -> Iterator[dict[str, Any]]:
        yield {"n": update}
        yield {"n": update}

    first, second = by_name(repeat, {}, {"n": "N"})["fn"]()
    first.pop("value")  # as Gradio does
    assert second["value"] == 3


@pytest.mark.parametrize("name", ["request", "event"])
def test_gradio_provides_request_and_event(name: str) -> None:
    found: dict[str, Any] = {}

    def with_request(request: gr.Request, token: str) -> None:
        found.update(request=request, token=token)

    def with_event(event: gr.EventData, token: str) -> None:
        found.update(event=event, token=token)

    callback = with_event if name == "event" else with_request
    event = by_name(callback, {"token": "T"}, {})
    provided = gr.EventData(None, {"action": "pin"}) if name == "event" else gr.Request()
    values, _, event_index, _ = special_args(
        event["fn"], ["token"], request=provided, event_data=provided
    )
    event["fn"](*values)
    assert found["token"] == "token"
    assert event_index == (0 if name == "event" else None)
    if name == "event":
        assert found["event"]._data == {"action": "pin"}
    else:
        assert found["request"] is provided
