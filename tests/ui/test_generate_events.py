"""The callbacks of the Generate tab: audio, kept clips, texts, pictures, turns and errors."""

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.errors import DeviceError
from wavenet.generation.generate import Chunk
from wavenet.generation.guard import Retry
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui import turns as turns_module
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate.generate_events import (
    check_length,
    run_generation,
    show_first_clip,
    start_here,
    summarise,
)
from wavenet.ui.generate.generation_job import (
    MAX_SECONDS,
    MAX_SEED,
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    make_generation_job,
)
from wavenet.ui.page import Page

from .conftest import RATE, SPEAKERS, bare_page, save_checkpoint

pytestmark = pytest.mark.usefixtures("uploads")
SETTINGS: dict[str, Any] = {
    "job_number": 5,
    "name": "digits",
    "engine": "auto",
    "prompt": None,
    "with_prompt": True,
    "source": None,
    "seconds": 0.15,
    "seed": 3,
    "variants": 1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "guidance": 1.0,
}
LABELS = {"digit": "7", "speaker": "jackson"}


def press_generate(
    page: Page,
    token: Any = None,
    stop_requests: StopRequests | None = None,
    start: Any = start_here,
    conditions: dict[str, Any] | None = None,
    **changes: Any,
) -> Iterator[dict[str, Any]]:
    """Start a job with `SETTINGS`, some of them changed."""
    form = {"values": LABELS if conditions is None else conditions}
    values = SETTINGS | {"token": token, "form": form} | changes
    return run_generation(page, start, stop_requests or StopRequests(), **values)


def played_samples(outputs: list[dict[str, Any]]) -> np.ndarray:
    """Return the samples of the player, as int16."""
    messages = [o["player"] for o in outputs if "pcm" in o.get("player", {})]
    assert [message["sequence"] for message in messages] == list(range(len(messages)))
    return np.frombuffer(b"".join(base64.b64decode(m["pcm"]) for m in messages), "<i2")


def run(root: Path, **changes: Any) -> tuple[np.ndarray, list[Clip], dict[str, Any]]:
    """Run to the end; return played samples, the clips, and the last value of each output."""
    page = bare_page(root)
    token = page.clips.visitor(None)
    outputs = list(press_generate(page, token, **changes))
    last: dict[str, Any] = {}
    for output in outputs:
        last |= output
    return played_samples(outputs), page.clips.clips(token)[::-1], last


def samples(clip: Clip) -> np.ndarray:
    return soundfile.read(clip.path, dtype="int16")[0]


def saved(root: Path, **changes: Any) -> np.ndarray:
    return samples(run(root, **changes)[1][0])


def error_of(root: Path, **changes: Any) -> str:
    """Return the sentence in the player; check that the message of the page is the same."""
    outputs = press_generate(bare_page(root), **changes)
    shown = str(next(outputs)["player"]["error"])
    with pytest.raises(gr.Error) as caught:
        next(outputs)
    assert caught.value.message == shown
    return shown


def test_player_and_file_get_the_same_samples(root: Path) -> None:
    played, (clip,), last = run(root)
    assert len(played) == round(0.15 * RATE)
    assert np.array_equal(played, samples(clip))
    assert (clip.path.name, clip.sample_rate) == ("digits_7_jackson_seed3.wav", RATE)
    assert (clip.title, clip.is_partial) == ("digits · 7 · jackson · seed 3", False)
    assert (clip.settings["seed"], clip.settings["conditions"]) == (3, LABELS)
    end = last["player"]
    assert end == {"job": 5, "sequence": end["sequence"], "end": True, "error": None}
    assert clip.clip_id in last["history"]
    json.dumps(last["viewer"], allow_nan=False)


def test_the_pictures_are_those_of_the_clip_with_its_surprise(root: Path) -> None:
    _, (clip,), last = run(root)
    viewer = last["viewer"]
    assert (viewer["samples"], viewer["rate"], viewer["partial"]) == (1200, RATE, False)
    assert viewer["url"].endswith(f"{clip.clip_id}/{clip.path.name}")
    assert viewer["name"] == clip.title
    titles = [panel["title"] for panel in viewer["panels"]]
    assert titles[:4] == ["Waveform", "Surprise", "Spectrogram", "Mel spectrogram"]


def test_the_turn_ends_before_the_pictures_are_drawn(root: Path) -> None:
    page = bare_page(root)
    outputs = press_generate(page)
    for output in outputs:
        if output.get("player", {}).get("end"):
            break
    assert output["viewer"].keys() == {"dim"}, "the pictures before look current"
    with page.turns.request() as turn:
        assert list(turn.wait()) == [], "the job still has its turn"
    assert list(next(outputs)) == ["viewer"]


@pytest.mark.slow
def test_stop_keeps_a_partial_clip(root: Path) -> None:
    page, stop_requests = bare_page(root), StopRequests()
    token = page.clips.visitor(None)
    stop_requests.add(4)
    stop_requests.add(None)
    outputs = press_generate(page, token, stop_requests, seconds=MAX_SECONDS)
    received = [next(outputs)]
    assert "pcm" in received[0]["player"], "the stop of another job ended this one"
    stop_requests.add(5)
    received += outputs
    (clip,) = page.clips.clips(token)
    assert 0 < clip.seconds < MAX_SECONDS
    assert clip.is_partial
    assert clip.settings["seconds"] == MAX_SECONDS
    assert ", partial" in received[-2]["history"]
    assert (received[-1]["viewer"]["partial"], received[-1]["viewer"]["name"]) == (True, clip.title)
    kept = samples(clip)
    assert np.array_equal(kept, saved(root, seconds=MAX_SECONDS)[: len(kept)])


def test_a_job_that_is_stopped_before_its_start_generates_nothing(root: Path) -> None:
    page, stop_requests = bare_page(root), StopRequests()
    stop_requests.add(5)
    token = page.clips.visitor(None)
    outputs = list(press_generate(page, token, stop_requests))
    assert not any("pcm" in output.get("player", {}) for output in outputs)
    assert page.clips.clips(token) == []


def fail_after(chunks: int) -> Any:
    """Return a start of jobs that fails after some chunks."""

    def start(job: GenerationJob) -> Iterator[Chunk]:
        for n, chunk in enumerate(job.start()):
            if n == chunks:
                raise DeviceError("the GPU was lost; generate again")
            yield chunk

    return start


def test_an_error_in_the_middle_keeps_what_was_generated(root: Path) -> None:
    page = bare_page(root)
    token, outputs = page.clips.visitor(None), []
    with pytest.raises(gr.Error, match="The GPU was lost"):
        for output in press_generate(page, token, start=fail_after(1), seconds=5):
            outputs.append(output)
    (clip,) = page.clips.clips(token)
    assert clip.is_partial
    assert outputs[-1]["player"]["error"] == "The GPU was lost; generate again."
    assert clip.clip_id in outputs[-1]["history"]
    assert not any("viewer" in output for output in outputs), "old pictures would look current"
    with page.turns.request() as turn:
        assert list(turn.wait()) == [], "the failed job still has its turn"


def test_a_closed_page_keeps_what_was_generated(root: Path) -> None:
    page = bare_page(root)
    token = page.clips.visitor(None)
    outputs = press_generate(page, token, seconds=MAX_SECONDS)
    next(outputs)
    outputs.close()  # type: ignore[attr-defined]
    (clip,) = page.clips.clips(token)
    assert clip.is_partial
    with page.turns.request() as turn:
        assert list(turn.wait()) == []


def test_an_error_before_the_first_sample_keeps_nothing(root: Path) -> None:
    page = bare_page(root)
    token = page.clips.visitor(None)
    with pytest.raises(gr.Error, match="The GPU was lost"):
        list(press_generate(page, token, start=fail_after(0)))
    assert page.clips.clips(token) == []


def test_of_two_jobs_the_second_knows_its_place_and_both_finish(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "UPDATE_SECONDS", 0.01)
    page = bare_page(root)
    tokens = [page.clips.visitor(None) for _ in range(2)]
    list(press_generate(page, tokens[0]))  # the estimate needs an earlier job
    page.turns._durations[-1] = 600.0  # longer than the first job, else the time is unknown
    first = press_generate(page, tokens[0], job_number=1)
    next(first)
    waits, second_outputs = Event(), []

    def run_second() -> None:
        for output in press_generate(page, tokens[1], job_number=2, seed=4):
            second_outputs.append(output)
            waits.set()

    thread = Thread(target=run_second)
    thread.start()
    assert waits.wait(30)
    waiting = second_outputs[0]["player"]
    assert (waiting["job"], waiting["waiting"]) == (2, 1)
    assert 0 < waiting["seconds"] <= 600
    list(first)
    thread.join(60)
    assert [len(page.clips.clips(token)) for token in tokens] == [2, 1]
    assert "viewer" in second_outputs[-1]


def test_a_waiting_job_can_be_stopped(root: Path) -> None:
    page, stop_requests = bare_page(root), StopRequests()
    with page.turns.request() as turn:
        list(turn.wait())
        waiting = press_generate(page, stop_requests=stop_requests)
        assert next(waiting)["player"]["waiting"] == 1
        stop_requests.add(5)
        assert list(waiting) == []


def test_too_many_waiting_jobs_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_WAITING", 1)
    page = bare_page(root)
    with page.turns.request() as turn:
        list(turn.wait())
        waiting = press_generate(page)
        next(waiting)
        refused = press_generate(page)
        assert next(refused)["player"]["error"].startswith("The studio is busy: 1 jobs wait")
        waiting.close()  # type: ignore[attr-defined]


def test_seed_repeats_a_clip_and_an_empty_one_is_any(root: Path) -> None:
    first, same, other = saved(root), saved(root), saved(root, seed=4)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    for seed in (-1, None):
        drawn = [run(root, seed=seed, seconds=0.01)[1][0].settings["seed"] for _ in range(2)]
        assert min(drawn) >= 0
        assert drawn[0] != drawn[1]


def test_labels_and_sampling_reach_the_model(root: Path) -> None:
    default = saved(root)
    for changes in (
        {"conditions": LABELS | {"digit": "8"}},
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_p": 0.3},
    ):
        assert not np.array_equal(default, saved(root, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 0}, "seconds: expected a number above 0, at most 30, found 0"),
        ({"seconds": MAX_SECONDS + 1}, "seconds: expected a number above 0, at most 30, found 31"),
        ({"seconds": None}, "Length: expected 0.01 to 30 s, found nothing"),
        ({"seconds": math.nan}, "seconds: expected a finite number"),
        ({"seed": -2}, "seed: expected a number from -1 to"),
        ({"seed": 1.5}, "seed: expected a whole number, found 1.5"),
        ({"seed": MAX_SEED + 1}, "seed: expected a number from -1 to"),
        ({"temperature": 0}, "temperature: expected a number above 0, at most 10"),
        ({"top_k": -1}, "top_k: expected a number from 0 to 1024"),
        ({"top_p": 0.0}, "top_p: expected a number above 0, at most 1"),
        ({"guidance": -1}, "guidance: expected a number from 0 to 10"),
        ({"guidance": 2.0}, "dropout"),
        ({"variants": 5}, "variants: expected a number from 1 to 4"),
        ({"engine": "warp"}, "'warp'"),
        ({"name": "../digits"}, "found '../digits'"),
        ({"name": None}, "found nothing"),
        ({"conditions": LABELS | {"digit": "x"}}, "Digit cannot be 'x'"),
        ({"form": None}, "reload the page"),
    ],
)
def test_invalid_setting_is_an_error_of_one_sentence(
    root: Path, changes: dict[str, Any], words: str
) -> None:
    shown = error_of(root, **changes)
    assert words in shown
    assert "Input should" not in shown


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
    shown = error_of(root, prompt=save_prompt(tmp_path, kind))
    assert words in shown
    assert str(tmp_path) not in shown


def test_output_begins_with_the_prompt_unless_it_is_excluded(root: Path, tmp_path: Path) -> None:
    prompt = save_prompt(tmp_path, "sine")
    prompt_samples, _ = soundfile.read(prompt, dtype="int16")
    played, (clip,), _ = run(root, prompt=prompt)
    whole = samples(clip)
    assert np.array_equal(played, whole)
    assert np.array_equal(whole[:4000], prompt_samples)
    alone = saved(root, prompt=prompt, with_prompt=False)
    assert np.array_equal(whole[4000:], alone)
    assert not np.array_equal(alone, saved(root)), "the prompt changed nothing"


def test_labels_are_escaped_in_html(root: Path) -> None:
    conditions = {"digit": "7", "speaker": SPEAKERS[2]}
    _, _, last = run(root, conditions=conditions, seconds=0.01)
    for name in ("summary", "history"):
        assert "&lt;img" in last[name]
        assert "<img" not in last[name]


def test_variants_are_the_clips_of_consecutive_seeds(root: Path) -> None:
    _, clips, _ = run(root, variants=3)
    assert [clip.settings["seed"] for clip in clips] == [3, 4, 5]
    assert [clip.settings["variants"] for clip in clips] == [1, 1, 1]
    for n, clip in enumerate(clips):
        assert np.array_equal(samples(clip), saved(root, seed=3 + n))
    assert not np.array_equal(samples(clips[0]), samples(clips[1]))


def test_summary_describes_retries(root: Path) -> None:
    checkpoint = load_checkpoint(root, "digits")
    settings = GenerateSettings(seconds=0.15, seed=3, variants=2, conditions=LABELS)
    result = GenerationResult(make_generation_job(checkpoint, settings))
    result.retries = [
        Retry(1, 400, 800, "white noise", 2, True),
        Retry(0, 0, 80, "white noise", 3, False),
    ]
    summary = summarise(result)
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


def test_omitted_labels_numbers_and_guidance_reach_the_model(tmp_path: Path) -> None:
    save_conditioned(tmp_path)

    def played(tone: str, level: float | str, **changes: Any) -> np.ndarray:
        conditions = {"tone": tone, "level": level}
        return run(tmp_path, name="global", conditions=conditions, **changes)[0]

    first = played("a", -30.0)
    assert np.array_equal(first, played("a", -30.0))
    for other in (played("", -30.0), played("a", -3.0), played("a", -30.0, guidance=3.0)):
        assert not np.array_equal(first, other)
    with pytest.raises(gr.Error, match="'level'"):
        played("a", "")


def test_vocoder_resynthesises_a_recording(tmp_path: Path) -> None:
    save_conditioned(tmp_path)
    source = save_prompt(tmp_path, "sine")
    common: dict[str, Any] = {"name": "vocoder", "conditions": {"level": -30.0}}

    def played(**changes: Any) -> np.ndarray:
        return run(tmp_path, **common, **changes)[0]

    clip = played(source=source)
    assert len(clip) == 4000, "the clip is not as long as the recording"
    softer = tmp_path / "softer.wav"
    io.write(softer, io.read(source, RATE).waveform / 100, RATE)
    assert not np.array_equal(clip, played(source=str(softer)))
    # The prompt and the length, whose controls are hidden, are ignored.
    assert np.array_equal(clip, played(source=source, prompt=save_prompt(tmp_path, "text")))
    assert len(played(source=source, seconds=1000)) == 4000
    with pytest.raises(gr.Error, match="resynthesises a recording"):
        played()
    with pytest.raises(gr.Error, match="not audio"):
        played(source=save_prompt(tmp_path, "text"))


def test_a_resynthesised_clip_is_also_offered_matched_to_its_mel(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=256))
    source = save_prompt(tmp_path, "sine")
    played, clips, _ = run(tmp_path, name="vocoder", conditions={}, source=source)
    plain, matched = clips
    assert np.array_equal(played, samples(plain))
    assert (plain.source, matched.source) == ("generated", "matched")
    assert matched.path.name == plain.path.name.replace(".wav", "_matched.wav")
    assert len(samples(matched)) == len(played)
    assert not np.array_equal(samples(matched), played)


def test_the_first_clip_is_ready_once_and_is_that_of_seed_0(root: Path) -> None:
    page = bare_page(root)
    token = page.clips.visitor(None)
    shown = show_first_clip(page, start_here, token=token, name="digits")
    (clip,) = page.clips.clips(token)
    assert np.array_equal(samples(clip), saved(root, seed=0, seconds=0.5))
    assert clip.clip_id in shown["history"]
    assert shown["viewer"]["url"].endswith(clip.path.name)
    assert "player" not in shown, "it must not play by itself"
    assert show_first_clip(page, start_here, token=token, name="digits") == {}
    assert len(page.clips.clips(token)) == 1


@pytest.mark.parametrize("name", ["none", None, "../digits"])
def test_without_a_usable_model_no_first_clip_is_shown(root: Path, name: str | None) -> None:
    page = bare_page(root)
    token = page.clips.visitor(None)
    assert show_first_clip(page, start_here, token=token, name=name) == {}


def test_a_vocoder_shows_no_first_clip(tmp_path: Path) -> None:
    save_conditioned(tmp_path)
    page = bare_page(tmp_path)
    assert show_first_clip(page, start_here, token=None, name="vocoder") == {}


@pytest.mark.parametrize(
    ("seconds", "has_note"), [(0.2, False), (0.1, True), (0.7, False), (0.8, True), (None, False)]
)
def test_a_length_outside_the_usual_ones_has_a_note(
    root: Path, monkeypatch: pytest.MonkeyPatch, seconds: float | None, has_note: bool
) -> None:
    checkpoint = load_checkpoint(root, "digits")
    usage = {"summary": "one digit", "shortest_seconds": 0.2, "longest_seconds": 0.7}
    config = type(checkpoint.config).model_validate_json(
        json.dumps(json.loads(checkpoint.config.model_dump_json()) | {"usage": usage})
    )
    monkeypatch.setattr(
        "wavenet.ui.generate.generate_events.load_checkpoint",
        lambda *_: replace(checkpoint, config=config),
    )
    note = check_length(bare_page(root), name="digits", seconds=seconds)["length_note"]
    assert ("it works best from 0.2 to 0.7 s" in note) == has_note


def test_an_unknown_model_has_no_length_note(root: Path) -> None:
    assert check_length(bare_page(root), name="none", seconds=99) == {}
