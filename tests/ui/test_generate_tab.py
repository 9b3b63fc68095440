"""The Generate tab without a browser: its callbacks, called as Gradio calls them."""

import base64
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

from audio_utils import io
from wavenet.generation.guard import Retry
from wavenet.likelihood.score import score
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui import generate_tab
from wavenet.ui.checkpoint_controls import MAX_LABELS, MAX_NUMBERS, show_checkpoint
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.event_handling import StopRequests, pace_chunks
from wavenet.ui.generation_job import (
    MAX_SECONDS,
    MAX_SEED,
    GenerateSettings,
    GenerationResult,
    make_generation_job,
)
from wavenet.ui.live_player import encode_pcm16
from wavenet.ui.server.uploads import read_upload
from wavenet.ui.studio_app import build_studio, launch_options

from .conftest import RATE, SPEAKERS, save_checkpoint

CONDITIONS: dict[str, str | float] = {"digit": "7", "speaker": "jackson"}
SETTINGS: dict[str, Any] = {
    "job_number": 5,
    "name": "digits",
    "seconds": 0.15,
    "seed": 3,
    "variants": 1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "guidance": 1.0,
    "engine": "auto",
    "prompt": None,
    "with_prompt": True,
    "source": None,
}


def press_generate(
    root: Path, *labels: str, stop_requests: StopRequests | None = None, **changes: Any
) -> Iterator[tuple[Any, ...]]:
    """Start a job with `SETTINGS`, some of them changed."""
    return generate_tab.run_generation(
        root,
        stop_requests or StopRequests(),
        *(SETTINGS | changes).values(),
        *[None] * MAX_NUMBERS,
        *(labels or ("7", "jackson")),
        *[None] * MAX_LABELS,
    )


def played_samples(outputs: list[tuple[Any, ...]]) -> np.ndarray:
    """Return the samples of the player, as int16."""
    messages = [output[0] for output in outputs if "pcm" in output[0]]
    assert [message["sequence"] for message in messages] == list(range(len(messages)))
    return np.frombuffer(b"".join(base64.b64decode(m["pcm"]) for m in messages), "<i2")


def run(root: Path, *labels: str, **changes: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Run to the end; return played samples, saved samples, and the last outputs by name."""
    outputs, saved = [], np.empty(0)
    for output in press_generate(root, *labels, **changes):
        outputs.append(output)
        named = dict(zip(generate_tab.OUTPUTS, output, strict=True))
        if "waveform" in named and isinstance(named["waveform"], Figure):
            saved, rate = soundfile.read(named["audio1"]["value"], dtype="int16")
            assert rate == outputs[0][0]["rate"]
    return played_samples(outputs), saved, named


def test_player_and_file_get_the_same_samples(root: Path) -> None:
    played, saved, last = run(root)
    assert len(saved) == round(0.15 * RATE)
    assert np.array_equal(played, saved)
    file = Path(last["audio1"]["value"])
    assert file.name == "digits_7_jackson_seed3.wav"
    assert not file.exists(), "the temporary file was not deleted"
    assert all(isinstance(last[name], Figure) for name in generate_tab.PLOTS)
    end = last["player"]
    assert end == {"job": 5, "sequence": end["sequence"], "end": True, "error": None}
    assert [last[f"audio{n}"]["visible"] for n in (2, 3, 4)] == [False] * 3


def test_stopped_run_sends_no_more_chunks_and_no_file(root: Path) -> None:
    stop_requests = StopRequests()
    stop_requests.add(4)
    stop_requests.add(None)
    outputs = press_generate(root, stop_requests=stop_requests, seconds=MAX_SECONDS)
    received = [next(outputs)]
    assert "pcm" in received[0][0], "the stop of another job ended this one"
    stop_requests.add(5)
    received += outputs
    assert len(played_samples(received)) < MAX_SECONDS * RATE, "the clip was completed"
    assert all("pcm" in output[0] for output in received)
    restarted = press_generate(root, stop_requests=stop_requests)
    assert list(restarted) == [], "a job stopped before its start was started"


def test_old_stop_requests_are_removed() -> None:
    stop_requests = StopRequests()
    for run_number in range(stop_requests.MAX_KEPT + 5):
        stop_requests.add(run_number)
    assert 4 not in stop_requests
    assert 5 in stop_requests
    assert stop_requests.MAX_KEPT + 4 in stop_requests


def test_seed_repeats_a_clip_and_minus_one_draws_and_shows_a_seed(root: Path) -> None:
    first, same, other = run(root)[1], run(root)[1], run(root, seed=4)[1]
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    random = [run(root, seed=-1, seconds=0.01)[2]["used_seed"] for _ in range(2)]
    assert min(random) >= 0
    assert random[0] != random[1]


def test_labels_and_sampling_reach_the_model(root: Path) -> None:
    default = run(root)[1]
    assert not np.array_equal(default, run(root, "8", "jackson")[1])
    assert not np.array_equal(default, run(root, temperature=0.5)[1])
    assert not np.array_equal(default, run(root, top_k=3)[1])
    assert not np.array_equal(default, run(root, top_p=0.3)[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 0}, "seconds"),
        ({"seconds": MAX_SECONDS + 1}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"seconds": math.nan}, "seconds"),
        ({"seed": -2}, "seed"),
        ({"seed": None}, "seed"),
        ({"seed": MAX_SEED + 1}, "seed"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": 2.0}, "dropout"),
        ({"variants": 5}, "variants"),
        ({"engine": "warp"}, "'warp'"),
        ({"name": "../digits"}, "no checkpoint '../digits'"),
        ({"name": None}, "no checkpoint"),
    ],
)
def test_invalid_setting_is_an_error_of_one_sentence(
    root: Path, changes: dict[str, Any], words: str
) -> None:
    outputs = press_generate(root, **changes)
    shown = next(outputs)[0]["error"]
    assert words in shown
    with pytest.raises(gr.Error) as caught:
        next(outputs)
    assert caught.value.message == shown


def test_unknown_label_is_an_error(root: Path) -> None:
    shown = next(press_generate(root, "x", "jackson"))[0]["error"]
    assert "Digit" in shown and "'x'" in shown


def save_prompt(folder: Path, kind: str) -> str:
    path = folder / f"{kind}.wav"
    if kind == "text":
        path.write_text("not audio")
    else:
        length = 3 if kind == "short" else 4000
        sine = 0.5 * torch.sin(torch.arange(length) * 0.2)
        io.write(path, sine * (kind != "silent"), RATE)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("text", "not audio"), ("silent", "silent"), ("short", "3 samples")],
)
def test_invalid_prompt_is_an_error_without_server_paths(
    root: Path, tmp_path: Path, kind: str, words: str
) -> None:
    shown = next(press_generate(root, prompt=save_prompt(tmp_path, kind)))[0]["error"]
    assert words in shown
    assert str(tmp_path) not in shown


def test_output_begins_with_the_prompt_unless_it_is_excluded(root: Path, tmp_path: Path) -> None:
    prompt = save_prompt(tmp_path, "sine")
    prompt_samples, _ = soundfile.read(prompt, dtype="int16")
    played, saved, _ = run(root, prompt=prompt)
    assert np.array_equal(played, saved)
    assert np.array_equal(saved[:4000], prompt_samples)
    alone = run(root, prompt=prompt, with_prompt=False)[1]
    assert np.array_equal(saved[4000:], alone)
    assert not np.array_equal(alone, run(root)[1]), "the prompt changed nothing"


def test_labels_are_escaped_in_html(root: Path) -> None:
    summary = run(root, "7", SPEAKERS[2], seconds=0.01)[2]["summary"]
    assert "&lt;img" in summary
    assert "<img" not in summary


def test_variants_are_the_clips_of_consecutive_seeds(root: Path) -> None:
    saved = []
    for output in press_generate(root, variants=3):
        named = dict(zip(generate_tab.OUTPUTS, output, strict=True))
        if isinstance(named["waveform"], Figure):
            files = [named[f"audio{n}"] for n in (1, 2, 3, 4)]
            assert [file["visible"] for file in files] == [True] * 3 + [False]
            saved = [soundfile.read(file["value"], dtype="int16")[0] for file in files[:3]]
    for n in range(3):
        assert np.array_equal(saved[n], run(root, seed=3 + n)[1])
    assert not np.array_equal(saved[0], saved[1])


def test_surprise_is_the_score_of_the_output(root: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(root, "digits")
    settings = GenerateSettings(seconds=0.15, seed=3, conditions=CONDITIONS)
    prompt = save_prompt(tmp_path, "sine")
    for with_prompt in (True, False):
        result = GenerationResult(
            make_generation_job(checkpoint, settings, "auto", prompt, with_prompt)
        )
        list(result.stream())
        assert result.surprise().shape == result.waveform().shape
        continuation = result.waveform()[-1200:]
        whole = torch.cat([read_upload(prompt, RATE, 10).waveform, continuation])
        expected = score(checkpoint, whole, CONDITIONS).surprise[-result.job.samples :]
        torch.testing.assert_close(result.surprise(), expected)


def test_summary_describes_retries(root: Path) -> None:
    checkpoint = load_checkpoint(root, "digits")
    settings = GenerateSettings(seconds=0.15, seed=3, variants=2, conditions=CONDITIONS)
    result = GenerationResult(make_generation_job(checkpoint, settings))
    result.retries = [
        Retry(1, 400, 800, "white noise", 2, True),
        Retry(0, 0, 80, "white noise", 3, False),
    ]
    summary = generate_tab.summarise(result)
    assert "Clip 2 degenerated to white noise before 0.10 s" in summary
    assert "drawn again from 0.05 s." in summary
    assert "from 0.00 s, without success" in summary


def save_conditioned(folder: Path) -> None:
    """Save a checkpoint with an optional label and a number, and one that also has mel frames."""
    for name, frames in (("global", ()), ("vocoder", (MelCondition(n_mels=4, win_length=64),))):
        conditions = (
            LabelCondition(name="tone", values=("a", "b"), dropout=0.1),
            NumberCondition(name="level", low=-60, high=0, unit="dB"),
            *frames,
        )
        save_checkpoint(folder, name, RATE, {}, *conditions)


def test_controls_follow_the_checkpoint(root: Path) -> None:
    about, seconds, player, guidance, source, prompt, *rest = show_checkpoint(root, "digits")
    sampling, rest = rest[:3], rest[3:]
    assert sampling == [1.0, 0, 1.0]
    numbers, dropdowns = rest[:MAX_NUMBERS], rest[MAX_NUMBERS:]
    assert "8,000 Hz" in about
    assert "receptive field: 32 samples" in about
    assert (seconds["value"], player) == (0.5, {"rate": RATE})
    assert (seconds["visible"], prompt["visible"]) == (True, True)
    assert not any(update["visible"] for update in (guidance, source, *numbers))
    assert [d["value"] for d in dropdowns[:2]] == ["7", "jackson"]
    assert [d["visible"] for d in dropdowns] == [True] * 2 + [False] * 6
    _, _, player, *rest = show_checkpoint(root, "notes")
    dropdowns = rest[-MAX_LABELS:]
    assert player == {"rate": 2 * RATE}
    assert dropdowns[0]["choices"] == [("flute", "flute"), ("horn", "horn")]
    assert [d["visible"] for d in dropdowns] == [True] + [False] * 7


def test_every_kind_of_condition_has_a_control(tmp_path: Path) -> None:
    save_conditioned(tmp_path)
    _, _, _, guidance, source, prompt, *rest = show_checkpoint(tmp_path, "global")
    assert (guidance["visible"], source["visible"], prompt["visible"]) == (True, False, True)
    level, *_ = rest = rest[3:]  # after the sampling settings
    assert (level["label"], level["value"]) == ("Level (-60 to 0 dB)", -30)
    tone = rest[MAX_NUMBERS]
    assert (tone["choices"][0], tone["value"]) == (("any", ""), "")
    _, seconds, _, _, source, prompt, *_ = show_checkpoint(tmp_path, "vocoder")
    assert (seconds["visible"], source["visible"], prompt["visible"]) == (False, True, False)


def test_placeholder_shows_the_default_of_a_number(tmp_path: Path) -> None:
    default = {"default": -15}
    optional = (
        ("none", {}),
        ("plain", default),
        ("derived", default | {"derived_from": "loudness"}),
    )
    for name, options in optional:
        number = NumberCondition(name="level", low=-60, high=0, dropout=0.1, **options)
        save_checkpoint(tmp_path, name, RATE, {}, number)
    required = NumberCondition(name="level", low=-60, high=0, **default)
    save_checkpoint(tmp_path, "required", RATE, {}, required)
    names = ("none", "plain", "derived", "required")
    fields = [show_checkpoint(tmp_path, name)[9] for name in names]
    assert [field["value"] for field in fields] == [None, None, None, -15]
    expected = ["", "-15", "-15, or as in the prompt", ""]
    assert [field["placeholder"] for field in fields] == expected


def test_empty_number_field_uses_the_default_for_audio_and_score(tmp_path: Path) -> None:
    number = NumberCondition(name="level", low=-60, high=0, default=-15)
    save_checkpoint(tmp_path, "numbered", RATE, {}, number)
    checkpoint = load_checkpoint(tmp_path, "numbered")
    results = []
    for conditions in ({}, {"level": -15.0}, {"level": -50.0}):
        settings = GenerateSettings(seconds=0.1, seed=1, conditions=conditions)
        results.append(GenerationResult(make_generation_job(checkpoint, settings)))
        list(results[-1].stream())
    empty, same, other = (result.surprise() for result in results)
    assert torch.equal(empty, same)
    assert not torch.equal(empty, other)


def test_omitted_labels_numbers_and_guidance_reach_the_model(tmp_path: Path) -> None:
    save_conditioned(tmp_path)

    def samples(tone: str, level: float | None, **changes: Any) -> np.ndarray:
        values = (SETTINGS | {"name": "global"} | changes).values()
        conditions = [level, None, None, None, tone]
        run_outputs = generate_tab.run_generation(tmp_path, StopRequests(), *values, *conditions)
        return played_samples(list(run_outputs))

    first = samples("a", -30.0)
    assert np.array_equal(first, samples("a", -30.0))
    for other in (samples("", -30.0), samples("a", -3.0), samples("a", -30.0, guidance=3.0)):
        assert not np.array_equal(first, other)
    with pytest.raises(gr.Error, match="'level'"):
        samples("a", None)


def test_vocoder_resynthesises_a_recording(tmp_path: Path) -> None:
    save_conditioned(tmp_path)
    source = save_prompt(tmp_path, "sine")

    def samples(**changes: Any) -> np.ndarray:
        values = (SETTINGS | {"name": "vocoder"} | changes).values()
        outputs = generate_tab.run_generation(tmp_path, StopRequests(), *values, -30.0)
        return played_samples(list(outputs))

    clip = samples(source=source)
    assert len(clip) == 4000, "the clip is not as long as the recording"
    softer = tmp_path / "softer.wav"
    io.write(softer, io.read(source, RATE).waveform / 100, RATE)
    assert not np.array_equal(clip, samples(source=str(softer)))
    # The prompt, whose control is hidden, is ignored.
    assert np.array_equal(clip, samples(source=source, prompt=save_prompt(tmp_path, "text")))
    with pytest.raises(gr.Error, match="resynthesises a recording"):
        samples()
    with pytest.raises(gr.Error, match="not audio"):
        samples(source=save_prompt(tmp_path, "text"))


@pytest.mark.parametrize(("seconds", "shown"), [("0.5", 0.5), ("45.0", MAX_SECONDS)])
def test_default_length_stays_within_the_limit_of_the_page(
    tmp_path: Path, seconds: str, shown: float
) -> None:
    save_conditioned(tmp_path)
    config = tmp_path / "vocoder" / "config.json"
    text = config.read_text()
    assert '"default_seconds": 0.5' in text
    config.write_text(text.replace('"default_seconds": 0.5', f'"default_seconds": {seconds}'))
    assert show_checkpoint(tmp_path, "vocoder")[1]["value"] == shown
    # A vocoder ignores the field of the length.
    source, hidden = save_prompt(tmp_path, "sine"), {"seconds": 1000}
    values = (SETTINGS | {"name": "vocoder", "source": source} | hidden).values()
    outputs = generate_tab.run_generation(tmp_path, StopRequests(), *values, -30.0)
    assert len(played_samples(list(outputs))) == 4000


def test_changed_checkpoint_is_loaded_again(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "one", RATE, {"digit": ("a", "b")})
    before = load_checkpoint(tmp_path, "one")
    assert load_checkpoint(tmp_path, "one") is before
    save_checkpoint(tmp_path, "one", 2 * RATE, {"digit": ("a", "b")})
    assert load_checkpoint(tmp_path, "one").config.audio.sample_rate == 2 * RATE


@pytest.mark.parametrize("is_damaged", [False, True])
def test_studio_opens_without_a_usable_checkpoint(tmp_path: Path, is_damaged: bool) -> None:
    if is_damaged:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "config.json").write_text("{}")
    build_studio(tmp_path)
    about = generate_tab.show_page(tmp_path, "")[1]
    assert "role='alert'" in about
    assert str(tmp_path) + "/" not in about
    generate_tab.prepare_engine(tmp_path, "bad")
    assert generate_tab.show_description(tmp_path, "bad") == gr.skip()


def test_fast_chunks_are_joined_and_none_is_lost() -> None:
    chunks = list(torch.arange(12.0).split(2))
    joined = list(pace_chunks(iter(chunks), seconds=60))
    assert [len(chunk) for chunk in joined] == [2, 10]
    assert torch.equal(torch.cat(joined), torch.arange(12.0))
    for first_samples, expected in ((3, [4, 8]), (99, [12])):
        paced = pace_chunks(iter(chunks), seconds=60, first_samples=first_samples)
        assert [len(chunk) for chunk in paced] == expected

    def slow_chunks() -> Iterator[torch.Tensor]:
        for chunk in chunks:
            time.sleep(0.01)
            yield chunk

    assert len(list(pace_chunks(slow_chunks(), seconds=0.001))) == len(chunks)


def test_player_quantises_as_files_do(tmp_path: Path) -> None:
    waveform = torch.cat([torch.linspace(-1, 1, 70_001), torch.tensor([0.5 / 32768, 1.5 / 32768])])
    io.write(tmp_path / "a.wav", waveform, RATE)
    saved, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert np.array_equal(np.frombuffer(encode_pcm16(waveform), "<i2"), saved)


def test_studio_serves_only_this_machine_except_on_a_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = launch_options(8000)
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 8000)
    assert not options["share"]
    assert not options["show_error"]
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert launch_options()["server_name"] == "0.0.0.0"
