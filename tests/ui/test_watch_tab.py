"""The Watch sampling tab without a browser: its callbacks and the messages for the page."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from audio_utils import io
from wavenet.codec import MuLawCodec
from wavenet.errors import ConditionError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.step_view import LayerActivations, StepView, view_steps
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import LogisticOutput
from wavenet.sampling import SamplingConfig, draw_codes, probabilities
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.page import Page
from wavenet.ui.server.checked_blocks import check_input
from wavenet.ui.turns import Turns
from wavenet.ui.watch.step_viewer import MAX_VALUES, max_steps, quantise_rows, steps_message
from wavenet.ui.watch.watch_events import run_watch, show_recording
from wavenet.ui.watch.watch_tab import build_watch_tab

from ..conftest import tiny_config
from .conftest import RATE

LABELS = {"digit": "3", "speaker": "george"}
SETTINGS = {"seconds": 0.2, "seed": 5, "start": 0.05, "steps": 30, "recording": None}


def make_page(root: Path) -> Page:
    """Return what all tabs share, for callbacks, and inside `gr.Blocks` for a tab."""
    widgets: dict[str, Any] = {name: gr.HTML() for name in ("about", "conditions", "history")}
    states: dict[str, Any] = {name: gr.BrowserState() for name in ("token", "saved")}
    tabs, model = gr.Tabs(), gr.Dropdown()
    common: dict[str, Any] = {"root": root, "clips": ClipStore(), "turns": Turns()}
    return Page(**common, **states, **widgets, tabs=tabs, model=model)


def watch(
    root: Path, name: str | None = "digits", labels: dict[str, str] | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """Run with `SETTINGS`, some of them changed; return all messages."""
    form = {"values": LABELS if labels is None else labels}
    values = SETTINGS | changes
    found = list(run_watch(make_page(root), name=name, form=form, **values))
    assert all(list(update) == ["step_view"] for update in found)
    return [update["step_view"] for update in found]


def check_error(root: Path, words: str, name: str | None = "digits", **changes: Any) -> None:
    """Check that invalid settings are an error of one sentence, in the page and in the toast."""
    messages = []
    with pytest.raises(gr.Error) as caught:
        form = {"values": LABELS}
        for update in run_watch(make_page(root), name=name, form=form, **(SETTINGS | changes)):
            messages.append(update["step_view"])
    assert words in str(caught.value.message)
    assert messages[-1] == {"error": caught.value.message}


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def logits_of(message: dict[str, Any]) -> torch.Tensor:
    """Decode the logits of a message as the page does: (n, P) float64."""
    levels = unpack(message["levels"], "<u2").reshape(message["count"], -1)
    low, height = (unpack(message[key], "<f4")[:, None].astype("f8") for key in ("low", "height"))
    return torch.from_numpy(low + height * levels)


def test_watched_clip_is_drawn_from_the_predictions_that_are_shown(root: Path) -> None:
    *busy, message = watch(root)
    assert all(list(part) == ["busy"] for part in busy)
    assert message["title"] == "digits, digit 3, speaker george, seed 5"
    assert (message["first"], message["count"], message["context"]) == (400, 30, 32)
    checkpoint = load_checkpoint(root, "digits")
    request = GenerationRequest(1600, {"digit": "3", "speaker": "george"}, 5)
    whole = torch.cat(
        [c.codes[0] for c in generate(checkpoint, [request], SamplingConfig(), guard=None)]
    )
    codes = torch.from_numpy(unpack(message["codes"], "<u2").astype("i8"))
    assert torch.equal(codes, whole[400:430])
    waveform = unpack(message["waveform"], "<f4")
    assert np.array_equal(waveform, MuLawCodec().decode(whole[400 - 32 : 430]).numpy())
    uniforms = torch.from_numpy(unpack(message["noise"], "<f4").copy())
    assert torch.equal(draw_codes(logits_of(message), uniforms, SamplingConfig()), codes)


def test_quantised_logits_stay_within_the_stated_tolerance() -> None:
    """An error of half a level per logit is a relative error of 2 * half / T per probability."""
    torch.manual_seed(0)
    logits = torch.randn(50, 256) * torch.linspace(0.1, 12, 50)[:, None]
    levels, low, height = quantise_rows(logits)
    restored = torch.from_numpy(low[:, None].astype("f8") + height[:, None] * levels.astype("f8"))
    half = (logits.amax(1) - logits.amin(1)).double() / (2 * 65_535)
    assert ((restored - logits).abs().amax(1) <= half * 1.01 + 1e-6).all()
    for temperature in (0.1, 1.0, 2.0):
        config = SamplingConfig(temperature=temperature)
        exact, seen = (probabilities(rows, config) for rows in (logits, restored))
        off = (seen / exact).log().abs().amax(1)
        assert (off <= 2 * (half * 1.01 + 1e-6) / temperature).all()
    assert (quantise_rows(torch.ones(2, 5))[0] == 0).all()


def test_largest_message_is_below_one_megabyte(make_checkpoint: Callable[..., Any]) -> None:
    checkpoint = make_checkpoint(tiny_config(dilations=(1,) * 200, conditions="none"))
    assert max_steps(checkpoint, 400) == 400
    n, layers = 400, 200
    found = StepView(
        5000,
        torch.zeros(n, dtype=torch.int64),
        torch.randn(n, 256),
        LayerActivations(torch.rand(n, layers), torch.rand(n, layers)),
    )
    codes = torch.zeros(5400, dtype=torch.int64)
    message = steps_message(checkpoint, found, codes, torch.rand(n))
    assert len(json.dumps(message)) < 400_000
    wide = make_checkpoint(tiny_config(conditions="none"), bits=10, name="wide")
    assert max_steps(wide, 400) == 312
    assert MAX_VALUES * 2 * 4 / 3 < 900_000


def test_rows_of_deep_networks_are_means_of_layers(
    make_checkpoint: Callable[..., Any],
) -> None:
    checkpoint = make_checkpoint(tiny_config(dilations=(1,) * 130, conditions="none"))
    codes = torch.arange(100, 140)
    found = view_steps(checkpoint, GenerationRequest(40), codes, 10)
    layers = steps_message(checkpoint, found, codes)["layers"]
    assert layers["layersPerRow"] == 3
    gates = unpack(layers["gates"], "u1").reshape(-1, 30) / 255 * layers["gatesMax"]
    expected = np.stack(
        [part.mean(1).numpy() for part in found.activations.gated_magnitude.split(3, dim=1)]
    )
    assert gates.shape == (44, 30)
    assert np.allclose(gates, expected, atol=layers["gatesMax"] / 500)


def test_bins_of_a_mixture_partition_the_codes(make_checkpoint: Callable[..., Any]) -> None:
    output = LogisticOutput(components=2)
    checkpoint = make_checkpoint(tiny_config(conditions="none", output=output), bits=16)
    codes = torch.arange(30_000, 30_020)
    found = view_steps(checkpoint, GenerationRequest(20), codes, 5)
    message = steps_message(checkpoint, found, codes, torch.zeros(15))
    edges = unpack(message["edges"], "<f8")
    values = checkpoint.codec.decode(torch.arange(65_536)).double().numpy()
    bins = MuLawCodec().encode(torch.from_numpy(values).float()).numpy()
    assert np.array_equal(np.searchsorted(edges, values), bins)
    assert unpack(message["params"], "<f4").reshape(15, 6) == pytest.approx(found.params.numpy())


def test_recording_is_predicted_without_noise(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "<b>.wav"
    io.write(path, 0.3 * torch.sin(torch.arange(4000) * 0.2), RATE)
    message = watch(root, recording=str(path), seconds=None, start=0.1)[-1]
    assert message["noise"] is None
    assert message["title"].endswith("recording <b>.wav")
    expected = MuLawCodec().encode(io.read(path, RATE).waveform)
    assert np.array_equal(unpack(message["codes"], "<u2"), expected[800:830].numpy())


def test_vocoder_requires_and_predicts_a_recording(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    mel = MelCondition(n_mels=8, win_length=64)
    config = tiny_config(conditions="none").model_copy(update={"conditions": (mel,)})
    make_checkpoint(config, name="vocoder")
    check_error(tmp_path, "mel frames of a recording", "vocoder")
    path = tmp_path / "voice.wav"
    io.write(path, 0.3 * torch.sin(torch.arange(4000) * 0.2), RATE)
    assert watch(tmp_path, "vocoder", recording=str(path))[-1]["count"] == 30


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../digits"}, "Expected a model here"),
        ({"name": None}, "found nothing"),
        ({"steps": None}, "Steps: expected a number, found nothing"),
        ({"start": None}, "First step: expected a number, found nothing"),
        ({"seconds": None}, "Length: expected a number, found nothing"),
        ({"start": 0.2}, "end of the clip at 0.2 s, found 0.2 s"),
        ({"recording": "nowhere.wav"}, "nowhere.wav"),
    ],
)
def test_invalid_setting_is_an_error_of_one_sentence(
    root: Path, changes: dict[str, Any], words: str
) -> None:
    check_error(root, words, **changes)


@pytest.fixture
def built(root: Path) -> tuple[Page, dict[str, Any]]:
    """A page with the built tab, and its components by elem_id."""
    with gr.Blocks() as blocks:
        page = make_page(root)
        build_watch_tab(page, gr.Tab())
    return page, {block.elem_id: block for block in blocks.blocks.values() if block.elem_id}


@pytest.mark.parametrize(
    ("elem_id", "value", "words"),
    [
        ("watch-steps", 401, "Steps (1 to 400): expected a number from 1 to 400, found 401"),
        ("watch-steps", 0, "from 1 to 400"),
        ("watch-steps", 2.5, "whole number"),
        ("watch-start", float("nan"), "First step at (s)"),
        ("watch-start", -1.0, "from 0 to 30"),
        ("watch-seconds", float("inf"), "Length (s)"),
        ("watch-seconds", 0.0, "from 0.01 to 30"),
        ("watch-seconds", 31.0, "from 0.01 to 30"),
        ("watch-seed", -1, "Seed"),
        ("watch-seed", 1 << 53, "Seed"),
    ],
)
def test_fields_state_their_range(built: Any, elem_id: str, value: Any, words: str) -> None:
    _, fields = built
    with pytest.raises(ConditionError, match=re.escape(words)):
        check_input(fields[elem_id], value)


def test_steps_end_at_the_end_of_the_clip(root: Path) -> None:
    message = watch(root, start=0.199)[-1]
    assert (message["first"], message["count"]) == (1592, 8)
    assert unpack(message["noise"], "<f4").size == 8


def test_too_many_steps_of_many_classes_are_an_error(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    make_checkpoint(tiny_config(conditions="none"), bits=10, name="wide")
    check_error(tmp_path, "Steps: expected 1 to 312", "wide", steps=400)


def test_unknown_label_is_an_error(root: Path) -> None:
    with pytest.raises(gr.Error, match="Digit cannot be 'x'"):
        watch(root, labels=LABELS | {"digit": "x"})


def test_empty_seed_is_random_and_the_title_names_it(root: Path) -> None:
    titles = {watch(root, seed=None)[-1]["title"] for _ in range(2)}
    assert len(titles) == 2  # equal seeds have a probability of 2**-31
    seeds = {title.partition("seed ")[2] for title in titles}
    assert all(0 <= int(seed) < 1 << 31 for seed in seeds)


def test_a_waiting_job_shows_its_place_and_ends_its_turn(root: Path) -> None:
    page = make_page(root)
    with page.turns.turn():
        job = run_watch(page, name="digits", form={"values": LABELS}, **SETTINGS)
        assert next(job) == {"step_view": {"busy": "Waiting: 1 job before you."}}
    assert next(job) == {"step_view": {"busy": "Generating the clip …"}}
    with page.turns.request() as turn:
        assert next(turn.wait())[0] == 1  # the job has its turn
        job.close()
        assert list(turn.wait()) == []


def test_the_widgets_follow_the_model_and_the_settings(
    built: Any, make_checkpoint: Callable[..., Any]
) -> None:
    page, _ = built
    (apply,) = page.appliers
    digits = load_checkpoint(page.root, "digits")
    updates = apply(digits, {})
    assert {"watch", "watch_seconds", "watch_seed"} <= updates.keys() <= page.dependents.keys()
    kept = {f"watch_{name}": 5 for name in ("seconds", "seed", "start", "steps")}
    updated = apply(digits, kept)
    assert {name: updated[name]["value"] for name in kept} == kept
    assert updates["watch"]["interactive"]
    assert updates["watch_seconds"]["value"] == 0.5
    assert updates["watch_seconds"]["visible"] and updates["watch_seed"]["visible"]
    assert apply(digits, {"seconds": 0.3})["watch_seconds"]["value"] == 0.3
    mel = MelCondition(n_mels=8, win_length=64)
    config = tiny_config(conditions="none").model_copy(update={"conditions": (mel,)})
    vocoder = apply(make_checkpoint(config, name="vocoder"), {})
    assert not vocoder["watch_seconds"]["visible"] and not vocoder["watch_seed"]["visible"]


def test_a_recording_is_shown_because_it_is_predicted() -> None:
    assert show_recording(recording="a.wav")["recording_box"]["open"] is True
    assert show_recording(recording=None) == {}
