"""The public functions: called as Gradio calls them, by its client, and as tools over MCP."""

import asyncio
import base64
import importlib.util
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from torch import Tensor

from wavenet.errors import ConfigError
from wavenet.generation.mel_filter import match_request_mel
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.ui import jobs, live, studio, uploads
from wavenet.ui.api import make_continue, make_generate, make_vocode
from wavenet.ui.player import pcm16

from .conftest import RATE, SPEAKERS, save_checkpoint
from .stage import studio as serve

LABELS = {"digit": "7", "speaker": "jackson"}
NAMES = ["generate", "continue", "vocode", "analyse", "score"]
HAS_MCP = importlib.util.find_spec("mcp") is not None
needs_mcp = pytest.mark.skipif(not HAS_MCP, reason='mcp is not installed: pip install "mcp>=1.21"')


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a checkpoint that writes, one that says again, one of own frames."""
    folder = tmp_path_factory.mktemp("api")
    checkpoints = folder / "checkpoints"
    save_checkpoint(checkpoints, "digits", RATE, {"digit": ("6", "7"), "speaker": SPEAKERS})
    save_checkpoint(checkpoints, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=256))
    save_checkpoint(checkpoints, "curves", RATE, {}, FramesCondition(name="curve", columns=2))
    sine = 0.5 * np.sin(0.2 * np.arange(2000))
    soundfile.write(folder / "sine.wav", sine, RATE)
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """The studio in a process of its own, with MCP where it is installed."""
    with serve(home, OMP_NUM_THREADS="1", WAVENET_MCP="1" if HAS_MCP else "0") as url:
        yield url


@pytest.fixture
def sine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An upload, as Gradio hands it to a function."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    copy = Path(get_upload_folder()) / "sine.wav"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((home / "sine.wav").read_bytes())
    return {"path": str(copy), "meta": {"_type": "gradio.FileData"}}


def sound(path: Any) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    return samples


def quantised(waveform: Tensor) -> np.ndarray:
    return np.frombuffer(pcm16(waveform), "<i2")


def test_five_functions_are_public_and_no_more(address: str) -> None:
    with urllib.request.urlopen(f"{address}/gradio_api/info") as answer:
        endpoints = json.load(answer)["named_endpoints"]
    assert sorted(endpoints) == sorted(f"/{name}" for name in NAMES)
    given = {
        name: [p["parameter_name"] for p in endpoints[f"/{name}"]["parameters"]] for name in NAMES
    }
    assert (given["analyse"], given["score"]) == (
        ["recording"],
        ["recording", *given["generate"][:2]],
    )
    drawing = ["seed", "temperature", "top_k", "top_p"]
    assert given["continue"] == [
        *("recording", "checkpoint", "labels", "seconds"),
        *(*drawing, "with_prompt"),
    ]
    assert given["vocode"] == ["recording", "checkpoint", "labels", *drawing, "match"]


def test_a_recording_is_continued(home: Path, sine: dict[str, Any]) -> None:
    go_on = make_continue(home / "checkpoints")
    answer = go_on(sine, labels=LABELS, seconds=0.1, seed=3)
    assert Path(answer["path"]).name == "digits_7_jackson_seed3.wav"
    whole = sound(answer["path"])
    alone = sound(go_on(sine, labels=LABELS, seconds=0.1, seed=3, with_prompt=False)["path"])
    assert np.array_equal(whole[:2000], sound(sine["path"]))
    assert np.array_equal(whole[2000:], alone)
    wish = jobs.Wish(seconds=0.1, seed=3, labels=LABELS)
    checkpoint = jobs.load_named(home / "checkpoints", "digits")
    expected = jobs.make_job(checkpoint, wish, prompt=sine["path"]).waveform()
    assert np.array_equal(whole, quantised(expected))
    calm = go_on(sine, labels=LABELS, seconds=0.1, seed=3, with_prompt=False, temperature=0.1)
    assert not np.array_equal(sound(calm["path"]), alone)


def test_a_recording_is_said_again_and_matched_unless_told_not_to(
    home: Path, sine: dict[str, Any]
) -> None:
    vocode = make_vocode(home / "checkpoints")
    drawn = sound(vocode(sine, seed=3, match=False)["path"])
    checkpoint = jobs.load_named(home / "checkpoints", "vocoder")
    job = jobs.make_job(checkpoint, jobs.Wish(seconds=1.0, seed=3), source=sine["path"])
    expected = job.waveform()
    assert len(drawn) == 2000
    assert np.array_equal(drawn, quantised(expected))
    local = job.items[0].local
    assert local is not None
    matched = sound(vocode(sine, seed=3)["path"])
    assert np.array_equal(matched, quantised(match_request_mel(checkpoint, expected, local)))
    assert not np.array_equal(matched, drawn)
    # the page gives both, where there is a mel to match
    for output in live.perform(job, 1, live.Stops()):
        on_page = dict(zip(live.OUTPUTS, output, strict=True))
        if "value" in on_page["audio1"]:
            assert np.array_equal(sound(on_page["audio1"]["value"]), drawn)
            assert np.array_equal(sound(on_page["matched"]["value"]), matched)
    assert on_page["matched"]["visible"]
    digits = jobs.load_named(home / "checkpoints", "digits")
    plain = jobs.make_job(digits, jobs.Wish(seconds=0.1, seed=3, labels=LABELS))
    *_, last = live.perform(plain, 1, live.Stops())
    assert not dict(zip(live.OUTPUTS, last, strict=True))["matched"]["visible"]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("continue", {"recording": {"path": "/etc/passwd"}}, "uploaded file"),
        ("continue", {"recording": "sine.wav"}, "uploaded file"),
        ("continue", {"checkpoint": "vocoder"}, "call vocode"),
        ("continue", {"checkpoint": ["digits"]}, "checkpoint"),
        ("continue", {"checkpoint": "../digits"}, "no checkpoint"),
        ("continue", {"labels": {}}, "'digit' is missing"),
        ("continue", {"labels": 3}, "labels"),
        ("continue", {"seconds": 30.1}, "seconds"),
        ("continue", {"seconds": None}, "seconds"),
        ("continue", {"with_prompt": 1}, "with_prompt"),
        ("continue", {"seed": 0.5}, "seed"),
        ("continue", {"top_k": -1}, "top_k"),
        ("vocode", {"recording": None}, "uploaded file"),
        ("vocode", {"checkpoint": "digits"}, "takes no frames"),
        ("vocode", {"checkpoint": "curves"}, "'curve' is missing"),
        ("vocode", {"match": "yes"}, "match"),
        ("vocode", {"top_p": 2.0}, "top_p"),
        ("vocode", {"labels": {"digit": "7"}}, "digit"),
        ("generate", {"checkpoint": "vocoder"}, "call vocode"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(
    home: Path, sine: dict[str, Any], name: str, changes: dict[str, Any], words: str
) -> None:
    makers: dict[str, Callable[..., Any]] = {
        "generate": make_generate,
        "continue": make_continue,
        "vocode": make_vocode,
    }
    good: dict[str, Any] = {"seed": 3}
    good |= {} if name == "generate" else {"recording": sine}
    good |= {} if name == "vocode" else {"labels": LABELS, "seconds": 0.01}
    function = makers[name](home / "checkpoints")
    function(**good)
    with pytest.raises(gr.Error) as caught:
        function(**(good | changes))
    assert words in caught.value.message
    assert caught.value.message.endswith(".")
    assert str(home) not in caught.value.message


def test_a_long_recording_is_refused(home: Path, sine: dict[str, Any]) -> None:
    for limit, call in ((120, make_continue), (30, make_vocode)):
        soundfile.write(sine["path"], np.zeros((limit + 1) * RATE), RATE)
        with pytest.raises(gr.Error, match=f"at most {limit} s"):
            call(home / "checkpoints")(sine, labels=LABELS if limit == 120 else None)


def test_only_addresses_of_our_own_files_are_taken(sine: dict[str, Any]) -> None:
    url = f"http://127.0.0.1:7860/gradio_api/file={sine['path']}"
    assert asyncio.run(uploads.find_served(url, "")) == sine["path"]
    for other in (
        "http://127.0.0.1:7860/gradio_api/file=/etc/passwd",
        f"http://127.0.0.1:7860/gradio_api/file={sine['path']}/../../../../etc/passwd",
        f"http://127.0.0.1:7860{sine['path']}",
        "https://example.com/sound.wav",
    ):
        with pytest.raises(gr.Error, match="uploaded file"):
            asyncio.run(uploads.find_served(other, ""))


class Elsewhere(BaseHTTPRequestHandler):
    """Another server, which counts who asks."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)


def test_programs_call_all_five_and_get_files_numbers_and_sentences(
    address: str, home: Path, tmp_path: Path
) -> None:
    client = Client(address, verbose=False, download_files=str(tmp_path), analytics_enabled=False)
    recording = handle_file(home / "sine.wav")
    common = {"labels": LABELS, "seconds": 0.1, "seed": 3}
    made = client.predict(**common, api_name="/generate")
    assert len(sound(made)) == 0.1 * RATE
    longer = client.predict(recording=recording, **common, api_name="/continue")
    assert Path(longer).name == "digits_7_jackson_seed3.wav"
    assert np.array_equal(sound(longer)[:2000], sound(home / "sine.wav"))
    assert len(sound(client.predict(recording=recording, api_name="/vocode"))) == 2000
    assert client.predict(recording=recording, api_name="/analyse")["samples"] == 2000
    bits = client.predict(recording=recording, labels=LABELS, api_name="/score")
    assert bits["samples"] == 2000
    with pytest.raises(AppError, match="'digit' is missing"):
        client.predict(recording=recording, api_name="/continue")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{other.server_address[1]}/a.wav"
        with pytest.raises(AppError, match="uploaded file"):
            client.predict(
                recording={"path": url, "meta": {"_type": "gradio.FileData"}}, api_name="/analyse"
            )
        other.shutdown()
        thread.join()
    assert Elsewhere.asked == []
    client.close()


async def use_tools(address: str, sine: bytes) -> tuple[dict[str, Any], list[Any]]:
    """List the tools, and call some: what they are, what they answer."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    url = f"{address}/gradio_api/mcp/"
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as tools:
        await tools.initialize()
        assert (await tools.list_resources()).resources == []
        assert (await tools.list_prompts()).prompts == []
        listed = {tool.name: tool for tool in (await tools.list_tools()).tools}
        given = f"data:audio/wav;base64,{base64.b64encode(sine).decode()}"
        order = {"recording": given, "labels": LABELS, "seconds": 0.1}
        made = await tools.call_tool("continue", order)
        # The address that one tool answers with is a recording for the next.
        heard = await tools.call_tool("analyse", {"recording": made.content[0].text})
        fault = await tools.call_tool("generate", {"checkpoint": "none"})
        return listed, [made, heard, fault]


@needs_mcp
def test_the_same_five_are_the_tools_of_mcp(address: str, home: Path) -> None:
    listed, (made, heard, fault) = asyncio.run(use_tools(address, (home / "sine.wav").read_bytes()))
    assert list(listed) == NAMES
    assert listed["continue"].description.startswith("Continue a recording with a WaveNet")
    given = listed["continue"].inputSchema
    assert given["required"] == ["recording"]
    assert given["properties"]["seconds"]["description"].startswith("length of what is added")
    assert not made.isError
    assert not heard.isError
    assert "'samples': 2800" in heard.content[0].text
    assert fault.isError
    assert "no checkpoint 'none'" in fault.content[0].text


@needs_mcp
def test_the_addresses_of_private_events_are_no_tools(address: str) -> None:
    with urllib.request.urlopen(f"{address}/gradio_api/mcp/schema") as answer:
        assert [tool["name"] for tool in json.load(answer)] == NAMES


def test_mcp_is_served_when_asked_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(studio.WITH_MCP, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert not studio.launch_options()["mcp_server"]
    assert studio.launch_options(with_mcp=True)["mcp_server"]
    monkeypatch.setenv(studio.WITH_MCP, "1")
    assert studio.launch_options()["mcp_server"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "wavenet-studio\[mcp\]"'):
        studio.launch_options()
