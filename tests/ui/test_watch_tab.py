"""The tab Watch it think without a browser."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from audio_utils import io
from wavenet import codec
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.step_view import StepView, view_steps
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import LogisticOutput
from wavenet.sampling import SamplingConfig, draw_codes, probabilities
from wavenet.ui import jobs, slow, steps, watch
from wavenet.ui.controls import MAX_LABEL_SETS, MAX_NUMBERS

from ..conftest import tiny_config
from .conftest import RATE

NONE = [None] * MAX_NUMBERS
SETTINGS = {"seconds": 0.2, "seed": 5, "start": 0.05, "steps": 30, "recording": None}


def look(root: Path, name: str = "digits", chosen: Any = ("3", "george"), **changed: Any) -> Any:
    """Press Watch; gives all messages."""
    values = list((SETTINGS | changed).values())
    return list(slow.run_slow(root, name, *values, *NONE, *chosen))


def refused(root: Path, words: str, name: str = "digits", **changed: Any) -> None:
    """Press it with something wrong: one sentence, in the page and in the toast."""
    values = list((SETTINGS | changed).values())
    messages = []
    with pytest.raises(gr.Error) as caught:
        for message in slow.run_slow(root, name, *values, *NONE, "3", "george"):
            messages.append(message)
    assert words in str(caught.value.message)
    assert messages[-1] == {"error": caught.value.message}


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def logits_of(message: dict[str, Any]) -> torch.Tensor:
    """What the page makes of a message: (n, P) float64."""
    levels = unpack(message["levels"], "<u2").reshape(message["count"], -1)
    low, height = (unpack(message[key], "<f4")[:, None].astype("f8") for key in ("low", "height"))
    return torch.from_numpy(low + height * levels)


def test_the_page_gets_the_clip_that_generate_makes(root: Path) -> None:
    *busy, message = look(root)
    assert all(list(part) == ["busy"] for part in busy)
    assert message["title"] == "digits, digit 3, speaker george, seed 5"
    assert (message["first"], message["count"], message["past"]) == (400, 30, 32)
    checkpoint = jobs.load_named(root, "digits")
    item = GenerationRequest(1600, {"digit": "3", "speaker": "george"}, 5)
    whole = torch.cat([c.codes[0] for c in generate(checkpoint, [item], guard=None)])
    codes = torch.from_numpy(unpack(message["codes"], "<u2").astype("i8"))
    assert torch.equal(codes, whole[400:430])
    heard = unpack(message["waveform"], "<f4")
    assert np.array_equal(heard, codec.decode(whole[400 - 32 : 430]).numpy())
    uniforms = torch.from_numpy(unpack(message["noise"], "<f4").copy())
    assert torch.equal(draw_codes(logits_of(message), uniforms, SamplingConfig()), codes)


def test_quantised_logits_keep_to_the_stated_tolerance() -> None:
    """Half a level in every logit: a share of 2 * half / T in every probability."""
    torch.manual_seed(0)
    logits = torch.randn(50, 256) * torch.linspace(0.1, 12, 50)[:, None]
    levels, low, height = steps.quantise(logits)
    given = torch.from_numpy(low[:, None].astype("f8") + height[:, None] * levels.astype("f8"))
    half = (logits.amax(1) - logits.amin(1)).double() / (2 * 65_535)
    assert ((given - logits).abs().amax(1) <= half * 1.01 + 1e-6).all()
    for temperature in (0.1, 1.0, 2.0):
        config = SamplingConfig(temperature=temperature)
        exact, seen = (probabilities(rows, config) for rows in (logits, given))
        off = (seen / exact).log().abs().amax(1)
        assert (off <= 2 * (half * 1.01 + 1e-6) / temperature).all()
    assert (steps.quantise(torch.ones(2, 5))[0] == 0).all()


def test_the_largest_message_stays_below_a_megabyte(make_checkpoint: Callable[..., Any]) -> None:
    checkpoint = make_checkpoint(tiny_config(dilations=(1,) * 200, conditions="none"))
    assert steps.max_steps(checkpoint, 400) == 400
    n, layers = 400, 200
    found = StepView(
        5000,
        torch.zeros(n, dtype=torch.int64),
        torch.randn(n, 256),
        torch.rand(n, layers),
        torch.rand(n, layers),
    )
    codes = torch.zeros(5400, dtype=torch.int64)
    message = steps.steps_message(checkpoint, found, codes, torch.rand(n))
    assert len(json.dumps(message)) < 400_000
    wide = make_checkpoint(tiny_config(conditions="none"), bits=10, name="wide")
    assert steps.max_steps(wide, 400) == 312
    assert steps.MAX_VALUES * 2 * 4 / 3 < 900_000


def test_deep_networks_share_rows_and_the_scale_is_told(
    make_checkpoint: Callable[..., Any],
) -> None:
    checkpoint = make_checkpoint(tiny_config(dilations=(1,) * 130, conditions="none"))
    codes = torch.arange(100, 140)
    found = view_steps(checkpoint, GenerationRequest(40), codes, 10)
    layers = steps.steps_message(checkpoint, found, codes)["layers"]
    assert layers["share"] == 3
    gates = unpack(layers["gates"], "u1").reshape(-1, 30) / 255 * layers["gatesMax"]
    expected = np.stack([part.mean(1).numpy() for part in found.gates.split(3, dim=1)])
    assert gates.shape == (44, 30)
    assert np.allclose(gates, expected, atol=layers["gatesMax"] / 500)


def test_cells_of_a_mixture_hold_every_code_once(make_checkpoint: Callable[..., Any]) -> None:
    output = LogisticOutput(components=2)
    checkpoint = make_checkpoint(tiny_config(conditions="none", output=output), bits=16)
    codes = torch.arange(30_000, 30_020)
    found = view_steps(checkpoint, GenerationRequest(20), codes, 5)
    message = steps.steps_message(checkpoint, found, codes, torch.zeros(15))
    edges = unpack(message["edges"], "<f8")
    values = codec.decode(torch.arange(65_536), 16).double().numpy()
    cells = codec.encode(torch.from_numpy(values).float(), 8).numpy()
    assert np.array_equal(np.searchsorted(edges, values), cells)
    assert unpack(message["params"], "<f4").reshape(15, 6) == pytest.approx(found.params.numpy())


def test_a_recording_is_read_and_has_no_noise(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "<b>.wav"
    io.write(path, 0.3 * torch.sin(torch.arange(4000) * 0.2), RATE)
    message = look(root, recording=str(path), seconds=None, start=0.1)[-1]
    assert message["noise"] is None
    assert message["title"].endswith("reading <b>.wav")
    given = codec.encode(io.read(path, RATE).waveform)
    assert np.array_equal(unpack(message["codes"], "<u2"), given[800:830].numpy())


def test_a_vocoder_reads_a_recording_and_asks_for_one(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    mel = MelCondition(n_mels=8, win_length=64)
    config = tiny_config(conditions="none").model_copy(update={"conditions": (mel,)})
    make_checkpoint(config, name="vocoder")
    refused(tmp_path, "This model needs the mel frames of a recording: give it one", "vocoder")
    path = tmp_path / "voice.wav"
    io.write(path, 0.3 * torch.sin(torch.arange(4000) * 0.2), RATE)
    assert look(tmp_path, "vocoder", recording=str(path))[-1]["count"] == 30


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "../digits"}, "no checkpoint"),
        ({"name": None}, "no checkpoint"),
        ({"steps": 401}, "steps: Input should be less than or equal to 400"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
        ({"start": float("nan")}, "start"),
        ({"start": -1.0}, "start"),
        ({"start": 0.2}, "must lie before the end at 0.2 s"),
        ({"seconds": float("inf")}, "seconds"),
        ({"seconds": 31.0}, "seconds"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 53}, "seed"),
        ({"recording": "nowhere.wav"}, "nowhere.wav"),
    ],
)
def test_a_fault_is_one_sentence(root: Path, changed: dict[str, Any], words: str) -> None:
    refused(root, words, **changed)


def test_steps_end_with_the_clip(root: Path) -> None:
    message = look(root, start=0.199)[-1]
    assert (message["first"], message["count"]) == (1592, 8)
    assert unpack(message["noise"], "<f4").size == 8


def test_too_many_steps_of_a_wide_alphabet_are_refused(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    make_checkpoint(tiny_config(conditions="none"), bits=10, name="wide")
    refused(tmp_path, "At most 312 steps of this model fit", "wide", steps=400)


def test_a_label_that_does_not_exist_is_refused(root: Path) -> None:
    with pytest.raises(gr.Error, match="Digit cannot be"):
        look(root, chosen=("x", "george"))


def test_the_controls_fit_the_checkpoint(root: Path) -> None:
    names, about, seconds, *others = watch.show_page(root)
    assert names["value"] == "digits"
    assert "8,000 Hz" in about
    assert seconds["value"] == 0.5
    assert len(others) == MAX_NUMBERS + MAX_LABEL_SETS
    assert [o["visible"] for o in others].count(True) == 2
