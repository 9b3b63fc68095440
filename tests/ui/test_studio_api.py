"""The public functions: called as Gradio calls them, by its client, and as MCP tools."""

import asyncio
import base64
import importlib.util
import inspect
import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.utils import get_function_description, get_upload_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from torch import Tensor

from audio_utils import io
from tests.conftest import overflow
from wavenet.errors import ConditionError, ConfigError
from wavenet.generation.clip_mel_matching import match_clip_mel
from wavenet.likelihood.score import score
from wavenet.model.conditions import FramesCondition, LabelCondition, MelCondition
from wavenet.ui import studio_app
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generation_job import GenerateSettings, make_generation_job
from wavenet.ui.generate.live_player import encode_pcm16
from wavenet.ui.server import uploads
from wavenet.ui.studio_api import (
    make_analyse,
    make_continue,
    make_generate,
    make_score,
    make_vocode,
    register_api,
)
from wavenet.ui.turns import Turns

from .conftest import RATE, SPEAKERS, bare_page, save_checkpoint, tone
from .studio_process import studio_process

CONDITIONS = {"digit": "7", "speaker": "jackson"}
NAMES = [
    "generate",
    "continue",
    "vocode",
    "speak",
    "analyse",
    "score",
    "apply_effect",
    "check_effect_recordings",
    "find_improbable_places",
    "compress",
    "decompress",
]
HAS_MCP = importlib.util.find_spec("mcp") is not None
needs_mcp = pytest.mark.skipif(not HAS_MCP, reason='mcp is not installed: pip install "mcp>=1.21"')


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with checkpoints of labels, optional labels, mel frames, and own frames."""
    folder = tmp_path_factory.mktemp("api")
    checkpoints = folder / "checkpoints"
    save_checkpoint(checkpoints, "digits", RATE, {"digit": ("6", "7"), "speaker": SPEAKERS})
    save_checkpoint(checkpoints, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=256))
    tone = LabelCondition(name="tone", values=("a", "b"), dropout=0.1)
    save_checkpoint(checkpoints, "optional", RATE, {}, tone)
    save_checkpoint(checkpoints, "curves", RATE, {}, FramesCondition(name="curve", columns=2))
    sine = 0.5 * np.sin(0.2 * np.arange(2000))
    soundfile.write(folder / "sine.wav", sine, RATE)
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A studio in its own process, with MCP if it is installed."""
    mcp = "1" if HAS_MCP else "0"
    with studio_process(home, OMP_NUM_THREADS="1", WAVENET_MCP=mcp) as url:
        yield url


def upload(path: str | Path) -> dict[str, Any]:
    """Return an upload as Gradio passes it to a public function: its own copy."""
    copy = Path(get_upload_folder()) / Path(path).name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(Path(path).read_bytes())
    return {"path": str(copy), "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def sine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An uploaded recording."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return upload(home / "sine.wav")


def read_samples(path: Any) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    return samples


def quantised(waveform: Tensor) -> np.ndarray:
    return np.frombuffer(encode_pcm16(waveform), "<i2")


def test_only_the_named_functions_are_public(address: str) -> None:
    with urllib.request.urlopen(f"{address}/gradio_api/info") as answer:
        endpoints = json.load(answer)["named_endpoints"]
    assert sorted(endpoints) == sorted(f"/{name}" for name in NAMES)
    parameters = {
        name: [p["parameter_name"] for p in endpoints[f"/{name}"]["parameters"]] for name in NAMES
    }
    model, sampling = (
        ["checkpoint", "conditions"],
        ["seed", "temperature", "top_k", "top_p", "guidance"],
    )
    assert parameters == {
        "generate": [*model, "seconds", *sampling],
        "continue": ["recording", *model, "seconds", *sampling, "with_prompt"],
        "vocode": ["recording", *model, *sampling, "mel_matching"],
        "speak": [
            *("text", "voice", "speaker", "speed", "pitch", "loudness", "melody"),
            *("seed", "temperature", "pronunciations"),
        ],
        "analyse": ["recording"],
        "score": ["recording", *model],
        "apply_effect": [
            *("recording", "effect", "model", "knobs", "input_gain_db", "output_db"),
            *("mix", "oversampling", "cabinet", "remove_offset"),
        ],
        "check_effect_recordings": ["dry", "wet"],
        "find_improbable_places": ["recording", *model, "false_alarms_per_hour"],
        "compress": ["recording"],
        "decompress": ["compressed"],
    }


def test_generate_returns_the_clip_of_the_page(root: Path) -> None:
    answer = make_generate(root, Turns())("digits", CONDITIONS, seconds=0.15, seed=3)
    settings = GenerateSettings(seconds=0.15, seed=3, conditions=CONDITIONS)
    job = make_generation_job(load_checkpoint(root, "digits"), settings)
    assert np.array_equal(read_samples(answer["path"]), quantised(job.first_waveform()))


@pytest.mark.parametrize("digit", [7, 7.0, "7", " 7"])
@pytest.mark.parametrize("seed", [3, 3.0, "3"])
def test_one_meaning_has_several_spellings(root: Path, digit: Any, seed: Any) -> None:
    """Regression: 7 was converted to 7.0 and refused."""
    generate = make_generate(root, Turns())
    conditions = {"Digit": digit, "speaker": "Jackson"}
    answer = generate("digits", conditions, "0.02", seed, temperature="0.5", top_k=5.0)
    assert Path(answer["path"]).name == "digits_7_jackson_seed3.wav"
    expected = generate("digits", CONDITIONS, 0.02, 3, temperature=0.5, top_k=5)
    assert np.array_equal(read_samples(answer["path"]), read_samples(expected["path"]))


def test_continue_starts_with_the_recording(home: Path, sine: dict[str, Any]) -> None:
    continue_recording = make_continue(home / "checkpoints", Turns())
    request: dict[str, Any] = {"conditions": CONDITIONS, "seconds": 0.1, "seed": 3}
    answer = continue_recording(sine, **request)
    assert Path(answer["path"]).name == "digits_7_jackson_seed3.wav"
    whole = read_samples(answer["path"])
    alone = read_samples(continue_recording(sine, **request, with_prompt=False)["path"])
    assert np.array_equal(whole[:2000], read_samples(sine["path"]))
    assert np.array_equal(whole[2000:], alone)
    checkpoint = load_checkpoint(home / "checkpoints", "digits")
    job = make_generation_job(checkpoint, GenerateSettings(**request), prompt=sine["path"])
    assert np.array_equal(whole, quantised(job.first_waveform()))
    cold = continue_recording(sine, **request, with_prompt=False, temperature=0.1)
    assert not np.array_equal(read_samples(cold["path"]), alone)


def test_vocode_matches_the_mel_by_default(home: Path, sine: dict[str, Any]) -> None:
    vocode = make_vocode(home / "checkpoints", Turns())
    unmatched = read_samples(vocode(sine, seed=3, mel_matching=False)["path"])
    checkpoint = load_checkpoint(home / "checkpoints", "vocoder")
    settings = GenerateSettings(seconds=1.0, seed=3)
    job = make_generation_job(checkpoint, settings, source=sine["path"])
    expected = job.first_waveform()
    assert len(unmatched) == 2000
    assert np.array_equal(unmatched, quantised(expected))
    frame_features = job.requests[0].frame_features
    assert frame_features is not None
    matched = read_samples(vocode(sine, seed=3)["path"])
    assert np.array_equal(matched, quantised(match_clip_mel(checkpoint, expected, frame_features)))
    assert not np.array_equal(matched, unmatched)


def test_defaults_are_those_of_the_checkpoint(root: Path) -> None:
    answer = make_generate(root, Turns())("digits", CONDITIONS, seed=3)
    assert len(read_samples(answer["path"])) == 0.5 * RATE


def test_guidance_reaches_the_model(home: Path, sine: dict[str, Any]) -> None:
    turns, folder = Turns(), home / "checkpoints"
    request: dict[str, Any] = {"checkpoint": "optional", "conditions": {"tone": "a"}, "seed": 3}
    generate = partial(make_generate(folder, turns), **request, seconds=0.1)
    continue_recording = partial(make_continue(folder, turns), sine, **request, seconds=0.1)
    for function in (generate, continue_recording):
        plain = read_samples(function()["path"])
        assert np.array_equal(plain, read_samples(function(guidance=1)["path"]))
        assert not np.array_equal(plain, read_samples(function(guidance="3")["path"]))
    with pytest.raises(gr.Error, match="guidance"):
        make_vocode(folder, turns)(sine, guidance=2.0)


@pytest.mark.parametrize("name", ["generate", "continue", "vocode", "score"])
def test_programs_wait_for_the_turn_of_the_page(
    home: Path, sine: dict[str, Any], name: str
) -> None:
    page = bare_page(home / "checkpoints")
    makers = {"continue": make_continue, "vocode": make_vocode, "score": make_score}
    make_function: Callable[..., Any] = makers.get(name, make_generate)
    arguments: dict[str, Any] = {} if name == "generate" else {"recording": sine}
    arguments |= {} if name == "vocode" else {"conditions": CONDITIONS}
    answers: list[Any] = []

    def call() -> None:
        answers.append(make_function(page.root, page.turns)(**arguments))

    with page.turns.request() as first:
        list(first.wait())
        thread = threading.Thread(target=call)
        thread.start()
        while page.turns.waiting() < 2 and thread.is_alive():
            thread.join(0.01)
        assert thread.is_alive()
        assert answers == []
    thread.join(60)
    assert len(answers) == 1


def test_too_many_waiting_programs_are_refused_in_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavenet.ui.turns.MAX_WAITING", 0)
    page = bare_page(root)
    with page.turns.request(), pytest.raises(gr.Error, match="The studio is busy"):
        make_generate(page.root, page.turns)("digits", CONDITIONS)


def test_analyse_and_score_return_plain_numbers(
    root: Path, save_wav: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = save_wav(tone())
    numbers = json.loads(json.dumps(make_analyse()(upload(path)), allow_nan=False))
    assert numbers["pitch_hz"] == pytest.approx(440, rel=0.01)
    assert numbers["peak_db"] == pytest.approx(-6.02, abs=0.01)
    assert numbers["crest_db"] == pytest.approx(3.01, abs=0.01)
    assert numbers["mu_law_snr_db"] > 30
    answer = make_score(root, Turns())(upload(path), "digits", CONDITIONS)
    answer = json.loads(json.dumps(answer, allow_nan=False))
    expected = score(load_checkpoint(root, "digits"), io.read(path, RATE).waveform, CONDITIONS)
    assert answer["bits_per_sample"] == pytest.approx(expected.bits_per_sample)
    assert len(answer["mean_surprise"]) == 100
    assert np.mean(answer["mean_surprise"]) == pytest.approx(expected.bits_per_sample, abs=1e-3)
    assert answer["interval_seconds"] == 0.01
    silent = make_analyse()(upload(save_wav(np.zeros(RATE), name="silent")))
    assert json.loads(json.dumps(silent, allow_nan=False))["peak_db"] is None


@pytest.mark.parametrize(
    "recording", [None, 3, "x.wav", {}, {"path": 3}, {"path": "x\0y"}, {"path": "/etc/passwd"}]
)
def test_only_uploads_are_read(
    root: Path, recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    score_function = partial(make_score(root, Turns()), checkpoint="digits", conditions=CONDITIONS)
    for function in (make_analyse(), score_function):
        with pytest.raises(gr.Error, match="uploaded file"):
            function(recording)


@pytest.fixture(scope="module")
def checked_names() -> set[str]:
    """The functions that have accepted their valid arguments."""
    return set()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("generate", {"checkpoint": "vocoder"}, "call vocode"),
        ("generate", {"conditions": {}}, "'digit'"),
        ("generate", {"seconds": "0,1"}, "such as 0.1"),
        ("generate", {"seconds": "one"}, "seconds"),
        ("generate", {"conditions": {"digit": True, "speaker": "jackson"}}, "digit"),
        ("generate", {"conditions": {"digti": 7}}, "did you mean 'digit'"),
        ("generate", {"conditions": {"digit": 7, "speaker": "jacksn"}}, "did you mean 'jackson'"),
        ("generate", {"seed": True}, "seed"),
        ("continue", {"recording": {"path": "/etc/passwd"}}, "uploaded file"),
        ("continue", {"recording": "sine.wav"}, "uploaded file"),
        ("continue", {"checkpoint": "vocoder"}, "call vocode"),
        ("continue", {"checkpoint": ["digits"]}, "checkpoint"),
        ("continue", {"checkpoint": "../digits"}, "xpected a model here"),
        ("continue", {"conditions": {}}, "'digit'"),
        ("continue", {"conditions": 3}, "conditions"),
        ("continue", {"seconds": 30.1}, "seconds"),
        ("continue", {"seconds": 0}, "seconds: expected a number above 0, at most 30, found 0"),
        ("continue", {"guidance": 11}, "guidance: expected a number from 0 to 10"),
        ("generate", {"guidance": "strong"}, "guidance must be a number"),
        ("generate", {"guidance": 2}, "dropout"),
        ("continue", {"with_prompt": 1}, "with_prompt"),
        ("continue", {"seed": 0.5}, "seed"),
        ("continue", {"top_k": -1}, "top_k"),
        ("vocode", {"recording": None}, "uploaded file"),
        ("vocode", {"checkpoint": "digits"}, "no local conditions"),
        ("vocode", {"checkpoint": "curves"}, "'curve'"),
        ("vocode", {"mel_matching": "yes"}, "mel_matching"),
        ("vocode", {"top_p": 2.0}, "top_p"),
        ("vocode", {"conditions": {"digit": "7"}}, "digit"),
        ("score", {"checkpoint": ["digits"]}, "checkpoint"),
        ("score", {"checkpoint": "../digits"}, "xpected a model here"),
        ("score", {"conditions": 3}, "conditions"),
    ],
)
def test_invalid_arguments_are_an_error_of_one_sentence(
    home: Path,
    sine: dict[str, Any],
    checked_names: set[str],
    name: str,
    changes: dict[str, Any],
    words: str,
) -> None:
    makers: dict[str, Callable[..., Any]] = {
        "generate": make_generate,
        "continue": make_continue,
        "vocode": make_vocode,
        "score": make_score,
    }
    valid: dict[str, Any] = {} if name == "score" else {"seed": 3}
    valid |= {} if name == "generate" else {"recording": sine}
    valid |= {} if name == "vocode" else {"conditions": CONDITIONS}
    valid |= {"seconds": 0.01} if name in ("generate", "continue") else {}
    function = makers[name](home / "checkpoints", Turns())
    if name not in checked_names:
        function(**valid)
        checked_names.add(name)
    with pytest.raises(gr.Error) as caught:
        function(**(valid | changes))
    assert words in caught.value.message
    assert caught.value.message.endswith(".")
    assert str(home) not in caught.value.message


def test_weights_that_overflow_are_an_error_of_one_sentence(
    home: Path, sine: dict[str, Any], tmp_path: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(home / "checkpoints", checkpoints)
    for name in ("digits", "vocoder"):
        overflow(checkpoints / name)
    calls: list[Callable[[], Any]] = [
        lambda: make_generate(checkpoints, Turns())("digits", CONDITIONS, 0.1, 3),
        lambda: make_continue(checkpoints, Turns())(sine, "digits", CONDITIONS, 0.1, 3),
        lambda: make_vocode(checkpoints, Turns())(sine, "vocoder"),
        lambda: make_score(checkpoints, Turns())(sine, "digits", CONDITIONS),
    ]
    for call in calls:
        with pytest.raises(gr.Error, match="not finite") as caught:
            call()
        assert str(tmp_path) not in caught.value.message


def test_too_long_recordings_are_an_error(home: Path, sine: dict[str, Any]) -> None:
    for limit, make_function in ((120, make_continue), (30, make_vocode)):
        soundfile.write(sine["path"], np.zeros((limit + 1) * RATE), RATE)
        conditions = CONDITIONS if limit == 120 else None
        with pytest.raises(gr.Error, match=f"at most {limit} s"):
            make_function(home / "checkpoints", Turns())(sine, conditions=conditions)


def test_only_urls_of_own_files_are_resolved(sine: dict[str, Any]) -> None:
    url = f"http://127.0.0.1:7860/gradio_api/file={sine['path']}"
    assert uploads.resolve_served_file(url) == sine["path"]
    for other in (
        "http://127.0.0.1:7860/gradio_api/file=/etc/passwd",
        f"http://127.0.0.1:7860/gradio_api/file={sine['path']}/../../../../etc/passwd",
        f"http://127.0.0.1:7860{sine['path']}",
        "https://example.com/sound.wav",
    ):
        with pytest.raises(ConditionError, match="uploaded file"):
            uploads.resolve_served_file(other)


class OtherServer(BaseHTTPRequestHandler):
    """Another server, which records the requests that it receives."""

    requested: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.requested.append(self.path)
        self.send_error(404)


def test_client_calls_all_functions(address: str, home: Path, tmp_path: Path) -> None:
    client = Client(address, verbose=False, download_files=str(tmp_path), analytics_enabled=False)
    recording = handle_file(home / "sine.wav")
    common = {"conditions": CONDITIONS, "seconds": 0.1, "seed": 3}
    generated = client.predict(**common, api_name="/generate")
    assert len(read_samples(generated)) == 0.1 * RATE
    typed = {"conditions": {"digit": 7, "Speaker": "Jackson"}, "seconds": "0.1", "seed": 3.0}
    same = client.predict(**typed, api_name="/generate")
    assert np.array_equal(read_samples(same), read_samples(generated))
    continued = client.predict(recording=recording, **common, api_name="/continue")
    assert Path(continued).name == "digits_7_jackson_seed3.wav"
    assert np.array_equal(read_samples(continued)[:2000], read_samples(home / "sine.wav"))
    assert len(read_samples(client.predict(recording=recording, api_name="/vocode"))) == 2000
    assert client.predict(recording=recording, api_name="/analyse")["samples"] == 2000
    scored = client.predict(recording=recording, conditions=CONDITIONS, api_name="/score")
    assert scored["samples"] == 2000
    with pytest.raises(AppError, match="'digit'"):
        client.predict(recording=recording, api_name="/continue")
    with HTTPServer(("127.0.0.1", 0), OtherServer) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{other.server_address[1]}/a.wav"
        with pytest.raises(AppError, match="uploaded file"):
            client.predict(
                recording={"path": url, "meta": {"_type": "gradio.FileData"}}, api_name="/analyse"
            )
        other.shutdown()
        thread.join()
    assert OtherServer.requested == []
    client.close()


async def call_tools(address: str, sine: bytes) -> tuple[dict[str, Any], list[Any]]:
    """List the MCP tools and call some; return the tools by name, and the answers."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    url = f"{address}/gradio_api/mcp/"
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as tools:
        await tools.initialize()
        assert (await tools.list_resources()).resources == []
        assert (await tools.list_prompts()).prompts == []
        listed = {tool.name: tool for tool in (await tools.list_tools()).tools}
        data = f"data:audio/wav;base64,{base64.b64encode(sine).decode()}"
        arguments = {"recording": data, "conditions": CONDITIONS, "seconds": 0.1}
        continued = await tools.call_tool("continue", arguments)
        # The URL in the answer of one tool is a recording for the next.
        analysed = await tools.call_tool("analyse", {"recording": continued.content[0].text})
        failed = await tools.call_tool("generate", {"checkpoint": "none"})
        typed = {"conditions": {"digit": 7, "speaker": "jackson"}, "seconds": "0.1", "seed": "3"}
        generated = await tools.call_tool("generate", typed)
        return listed, [continued, analysed, failed, generated]


@needs_mcp
def test_mcp_tools_are_the_named_functions(address: str, home: Path) -> None:
    listed, answers = asyncio.run(call_tools(address, (home / "sine.wav").read_bytes()))
    continued, analysed, failed, generated = answers
    assert list(listed) == NAMES
    assert listed["continue"].description.startswith("Continue a recording with a WaveNet")
    schema = listed["continue"].inputSchema
    assert schema["required"] == ["recording"]
    descriptions = {name: p.get("description") for name, p in schema["properties"].items()}
    assert descriptions["seconds"].startswith("length of the continuation")
    assert descriptions["top_p"].endswith("the checkpoint's.")
    assert not continued.isError
    assert not analysed.isError
    assert "'samples': 2800" in analysed.content[0].text
    assert not generated.isError
    assert failed.isError
    assert "found 'none'" in failed.content[0].text


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([[1000.0], [0.5]], "expected -1 to 1; scale it and export it again."),
        ([[0.5, -0.5], [-0.25, 0.25]], "cancel each other, so their mix is silence."),
    ],
)
def test_errors_name_no_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: list[list[float]], reason: str
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    soundfile.write(tmp_path / "a.wav", np.tile(samples, (500, 1)), RATE, subtype="FLOAT")
    with pytest.raises(gr.Error) as caught:
        make_analyse()(upload(tmp_path / "a.wav"))
    assert caught.value.message.endswith(reason)


def test_descriptions_of_parameters_are_whole_sentences(home: Path) -> None:
    """Gradio reads the first line of a description only, for the page and for MCP."""
    with gr.Blocks() as studio:
        register_api(bare_page(home / "checkpoints"))
    functions = {str(event.api_name): event.fn for event in studio.fns.values()}
    assert sorted(functions) == sorted(NAMES)
    for name, function in functions.items():
        assert function is not None
        description, parameters, returns = get_function_description(function)
        texts = [description, *parameters.values(), *returns]
        assert all(text.endswith(".") for text in texts), name
        assert parameters.keys() == inspect.signature(function).parameters.keys()
    assert get_function_description(functions["generate"])[1]["top_p"] == (
        "sample from the smallest set of most likely codes whose total probability is at least p; "
        "1 is off; default: the checkpoint's."
    )


@needs_mcp
def test_private_events_are_no_mcp_tools(address: str) -> None:
    with urllib.request.urlopen(f"{address}/gradio_api/mcp/schema") as answer:
        assert [tool["name"] for tool in json.load(answer)] == NAMES


def test_mcp_is_served_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(studio_app.WITH_MCP, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert not studio_app.launch_options()["mcp_server"]
    assert studio_app.launch_options(with_mcp=True)["mcp_server"]
    monkeypatch.setenv(studio_app.WITH_MCP, "1")
    assert studio_app.launch_options()["mcp_server"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"-m pip install 'mcp>="):
        studio_app.launch_options()


def test_a_long_recording_is_refused_before_it_is_decoded(
    home: Path, sine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "audio_utils.verified_file.VerifiedFile.read", lambda *_: pytest.fail("decoded")
    )
    with soundfile.SoundFile(sine["path"], "w", RATE, 2, format="FLAC") as file:
        for _ in range(29):
            file.write(np.zeros((60 * RATE, 2), np.int16))
    for make_function in (make_continue, make_score, make_vocode):
        conditions = None if make_function is make_vocode else CONDITIONS
        with pytest.raises(gr.Error, match="lasts 1,740 s"):
            make_function(home / "checkpoints", Turns())(sine, conditions=conditions)
