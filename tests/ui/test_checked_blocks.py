"""Invalid inputs of events cause one sentence in the page, and no traceback in the log."""

import asyncio
import json
import math
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from wavenet.bench import configurations
from wavenet.errors import ConditionError, EngineUnavailable
from wavenet.training import run_process
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui.server import checked_blocks
from wavenet.ui.server.checked_blocks import check_input
from wavenet.ui.studio_app import build_studio

MALFORMED = [
    ("upload", b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nno file\r\n--x--\r\n'),
    ("upload", b"no form"),
    ("queue/join", b'{"data": [], "fn_index": 9999, "session_hash": "a"}'),
    ("queue/join", b'{"data": [], "fn_index": 1e999, "session_hash": "a"}'),
    ("queue/join", b'{"data": ["\\ud800"], "fn_index": 0, "session_hash": "a"}'),
    ("call/nothing", b'{"data": []}'),
    ("call/v2/generate", b'{"data": null}'),
]


@pytest.fixture(scope="module")
def config(shared_url: str) -> dict[str, Any]:
    """Return the layout of the page and its events."""
    found: dict[str, Any] = httpx.get(f"{shared_url}/config").json()
    return found


def tracebacks(root: Path) -> int:
    return (root.parent / "studio.log").read_text().count("Traceback")


def run_event(url: str, number: int, data: str) -> dict[str, Any]:
    """Run an event of the page, also a private one; return its answer."""
    session = uuid.uuid4().hex
    body = f'{{"data": {data}, "fn_index": {number}, "session_hash": "{session}"}}'
    headers = {"Content-Type": "application/json"}
    join = httpx.post(f"{url}/gradio_api/queue/join", content=body, headers=headers)
    assert join.status_code == 200
    address = f"{url}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", address, timeout=120) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line else {}
            if message.get("msg") == "process_completed":
                return dict(message)
    raise AssertionError("the event was not completed")


def event_with(config: dict[str, Any], elem_id: str) -> tuple[int, list[str], int]:
    """Return the first event with a field: its number, its inputs as JSON, and which it is."""
    fields = {block["id"]: block for block in config["components"]}
    for event in config["dependencies"]:
        names = [fields[n]["props"].get("elem_id") for n in event["inputs"]]
        if elem_id in names and event["backend_fn"]:
            values = [fields[n]["props"].get("value") for n in event["inputs"]]
            return event["id"], [json.dumps(value) for value in values], names.index(elem_id)
    raise AssertionError(f"no event has the field {elem_id}")


@pytest.mark.parametrize("elem_id", ["seed", "seconds", "temperature", "watch-seed", "field-rate"])
@pytest.mark.parametrize("value", ["-7", "1e999", '"abc"', '""', "[]", "1e30", "9" * 400, "true"])
def test_bad_numbers_are_one_sentence(
    url: str, root: Path, config: dict[str, Any], elem_id: str, value: str
) -> None:
    number, inputs, position = event_with(config, elem_id)
    inputs[position] = value
    before = tracebacks(root)
    answer = run_event(url, number, f"[{','.join(inputs)}]")
    if (elem_id, value) == ("field-rate", "-7"):  # a note in the page
        assert "role='alert'" in json.dumps(answer["output"]["data"])
    else:
        assert answer["success"] is False
        assert answer["output"]["error"].endswith(".")
        assert answer["output"]["error"].count("\n") == 0
    assert tracebacks(root) == before


@pytest.mark.parametrize("elem_id", ["model", "preset", "dilations", "train-recipe"])
@pytest.mark.parametrize("value", ["5", "[]", '{"path": "/etc/passwd"}', "null"])
def test_values_of_another_type_leave_no_traceback(
    url: str, root: Path, config: dict[str, Any], elem_id: str, value: str
) -> None:
    number, inputs, position = event_with(config, elem_id)
    inputs[position] = value
    before = tracebacks(root)
    run_event(url, number, f"[{','.join(inputs)}]")
    assert tracebacks(root) == before


@pytest.mark.parametrize(("path", "body"), MALFORMED)
def test_malformed_requests_leave_no_traceback(
    url: str, root: Path, path: str, body: bytes
) -> None:
    before = tracebacks(root)
    kind = "multipart/form-data; boundary=x" if path == "upload" else "application/json"
    headers = {"Content-Type": kind}
    answer = httpx.post(f"{url}/gradio_api/{path}", content=body, headers=headers)
    assert answer.status_code in (200, 400, 404, 422, 500)
    assert tracebacks(root) == before
    assert httpx.get(url).status_code == 200


def test_broken_off_upload_leaves_no_traceback(url: str, root: Path) -> None:
    before = tracebacks(root)
    host = url.removeprefix("http://")
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2])), 30) as connection:
        connection.sendall(head.encode())
    assert httpx.get(url).status_code == 200
    assert tracebacks(root) == before


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "a number from 0 to 2"),
        (-0.5, "a number from 0 to 2"),
        (math.inf, "a number from 0 to 2, found inf"),
        (math.nan, "found nan"),
        ("1", "found '1'"),
        (True, "found True"),
        ("\x1b[2J", r"found '\\x1b\[2J'"),
        (10**400, "found 1000"),
    ],
)
def test_numbers_have_the_range_of_their_field(value: Any, words: str) -> None:
    field = gr.Number(minimum=0, maximum=2, label="Length")
    with pytest.raises(ConditionError, match=f"^Length: expected .*{words}"):
        check_input(field, value)
    for valid in (0, 2, 1.5, None):
        check_input(field, valid)


def test_open_ranges_and_whole_numbers() -> None:
    check_input(gr.Number(), -1e300)
    with pytest.raises(ConditionError, match="expected a number, found 1e"):
        check_input(gr.Number(precision=0), 1e300)
    with pytest.raises(ConditionError, match="a number of at least 1, found 0"):
        check_input(gr.Number(minimum=1), 0)
    with pytest.raises(ConditionError, match="a number from -1 to 9,007,199,254,740,991, found -3"):
        check_input(gr.Number(minimum=-1, maximum=2**53 - 1, precision=0), -3)
    with pytest.raises(ConditionError, match="a number of at most 1, found 2"):
        check_input(gr.Number(maximum=1), 2)
    with pytest.raises(ConditionError, match="one of its choices"):
        check_input(gr.Dropdown(["a"]), 1)
    with pytest.raises(ConditionError, match="one of its choices, found nothing"):
        check_input(gr.Radio(["a"]), None)
    check_input(gr.Dropdown(["a"]), None)


@pytest.mark.parametrize(
    ("field", "valid", "invalid"),
    [
        (gr.Textbox(), ["", "a", "x" * 10_000, None], [1, [], True, "x" * 10_001, "\ud800"]),
        (gr.Textbox(max_length=3), ["abc"], ["abcd"]),
        (gr.Dropdown(["a"], allow_custom_value=True), ["a", "b", None], [1, ["a"], "\ud800"]),
        (gr.Dropdown(["a"]), ["a", None], ["b", ["a"], {}]),
        (gr.Radio(["a"]), ["a"], ["b", None]),
        (gr.Checkbox(), [True, False], [None, 0, "true"]),
        (gr.CheckboxGroup(["a", "b"]), [[], ["a"], ["a", "b"]], [None, "a", ["c"], [["a"]], {}]),
    ],
)
def test_values_have_the_type_of_their_field(
    field: Any, valid: list[Any], invalid: list[Any]
) -> None:
    for value in valid:
        check_input(field, value)
    for value in invalid:
        with pytest.raises(ConditionError, match=": expected "):
            check_input(field, value)


HOSTILE = {
    "null": None,
    "list": [],
    "object": {"\ud800": "\ud800"},
    "file": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    "infinite": math.inf,
    "surrogate": "\ud800",
    "nul": "\0",
    "megabyte": "x" * 10**6,
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """Return a studio without checkpoints, which starts no run and no engine."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        patch.setattr(WarmWorker, "ensure_started", lambda _: None)
        patch.setattr(run_process, "start", lambda plan, *_: None)
        patch.setattr(configurations, "build_random_model", _raise_unavailable)
        (folder / "checkpoints").mkdir()
        yield build_studio(folder / "checkpoints")


def _raise_unavailable(*_: Any) -> None:
    raise EngineUnavailable("no engine in this test")


def answer_in_process(studio: gr.Blocks, function: BlockFunction, inputs: list[Any]) -> str | None:
    """Run the first step of an event; return the sentence of its error, or None.

    All other errors would print a traceback.
    """
    request = gr.Request(query_params={}, session_hash="a")
    state = SessionState(studio)
    try:
        answer = asyncio.run(studio.process_api(function, inputs, state, request))
    except gr.Error as error:
        assert not error.print_exception
        return error.message
    json.dumps(answer["data"], ensure_ascii=False).encode()
    return None


def fields_of_events(studio: gr.Blocks) -> Iterator[tuple[BlockFunction, list[Any], int]]:
    """Yield each different event with its initial inputs, and the position of each field."""
    seen = set()
    for function in studio.fns.values():
        if function.fn is None:
            continue
        inputs = [getattr(field, "value", None) for field in function.inputs]
        inputs = [None if callable(value) else value for value in inputs]
        for position, field in enumerate(function.inputs):
            key = function.name, type(field), getattr(field, "label", None)
            if key not in seen:
                seen.add(key)
                yield function, inputs, position


# each kind needs ten seconds; the others are checked in the same way
QUICK_KINDS = ("null",)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k in QUICK_KINDS else pytest.mark.slow) for k in HOSTILE],
)
def test_no_event_fails_with_a_traceback(studio: gr.Blocks, kind: str) -> None:
    sentences = []
    for function, inputs, position in fields_of_events(studio):
        values = [*inputs[:position], HOSTILE[kind], *inputs[position + 1 :]]
        sentences.append(answer_in_process(studio, function, values))
    errors = [sentence for sentence in sentences if sentence is not None]
    assert len(errors) > len(sentences) / 4
    for sentence in errors:
        assert len(sentence) < 1010
        assert sentence.isprintable()
        assert sentence.endswith(".")


def test_events_without_a_function_answer_in_one_sentence(studio: gr.Blocks) -> None:
    functions = [function for function in studio.fns.values() if function.fn is None]
    assert functions
    for function in functions:
        for inputs in ([], [None], ["\ud800"]):
            sentence = answer_in_process(studio, function, inputs)
            assert sentence == checked_blocks.NO_FUNCTION
