"""The Receptive field tab without a browser: the geometry, the numbers, and what runs a model."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import soundfile
import torch

from audio_utils.example_sound import make_example_sound
from wavenet import checkpoint
from wavenet.engines.rings import empty_state
from wavenet.likelihood.effective_field import EffectiveField
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import example_conditions
from wavenet.ui import influence, jobs, networks
from wavenet.ui import receptive_field as tab
from wavenet.ui.controls import MAX_LABEL_SETS, MAX_NUMBERS

from ..conftest import tiny_config
from .conftest import RATE

NONE = [None] * (MAX_NUMBERS + MAX_LABEL_SETS)
NO_ROOT = Path("nowhere")


def describe(
    kernel_size: Any,
    dilations: str,
    rate: Any,
    widths: tuple[Any, ...] = (8, 8, 8),
    drawing: str = networks.CAUSAL,
    root: Path = NO_ROOT,
    name: str = networks.OWN,
) -> tuple[str, Any]:
    """Do as the page when a control changes: HTML of the numbers, value of the picture."""
    picture, facts, speed = tab.describe(root, drawing, name, kernel_size, dilations, *widths, rate)
    assert speed == tab.NOT_MEASURED
    return facts, picture


def fact(html: str, name: str) -> str:
    found = re.search(f"<dt>{re.escape(name)}</dt><dd>(.*?)</dd>", html)
    assert found, f"{name} is not among the facts: {html}"
    return found[1]


def sizes(value: Any) -> list[int]:
    return [newest - oldest + 1 for oldest, newest in value["spans"]]


def test_the_book_example_counts_2047_samples() -> None:
    kernel_size, layers, cycles = networks.PRESETS["The book example: kernel 3, dilations 1 to 512"]
    facts, value = describe(kernel_size, networks.doublings(layers, cycles), 16_000)
    assert fact(facts, "Receptive field") == "2,047 samples"
    assert fact(facts, "At 16,000 Hz") == "127.9 ms"
    assert fact(facts, "Saved by the cache") == "2,047 times"
    assert value["dilations"] == [2**n for n in range(10)]
    assert sizes(value) == [2 ** (n + 1) - 1 for n in range(11)]
    cells = re.findall(r"<td>(.*?)</td>", facts)
    assert cells == ["2,047", "80", "2,047", "13", "21", "8,000"]


def test_thirteen_doublings_reach_one_second() -> None:
    facts, value = describe(3, networks.doublings(13, 1), 16_000)
    assert sizes(value)[-1] == 16_383
    assert "1,023.9 ms" in facts
    assert "Layers for 1 s at 44,100 Hz" in (facts := describe(3, "1", 44_100)[0])
    assert re.findall(r"<td>(.*?)</td>", facts)[3] == "15"


def test_cycles_add_and_do_not_multiply() -> None:
    assert networks.doublings(3, 2) == "1, 2, 4, 1, 2, 4"
    assert sizes(describe(2, networks.doublings(3, 2), 8000)[1])[-1] == 15


def test_a_drawing_that_is_plain_or_looks_ahead_has_its_own_numbers() -> None:
    text = "1, 2, 4, 8"
    plain, value = describe(3, text, 8000, drawing="Causal, plain")
    assert fact(plain, "Receptive field") == "9 samples"
    assert fact(plain, "Saved by the cache") == "9 times"
    assert (value["dilations"], value["causal"]) == ([1, 1, 1, 1], True)
    ahead, value = describe(3, text, 8000, drawing="Non-causal, dilated")
    assert fact(ahead, "Receptive field") == "31 samples"
    assert fact(ahead, "Of it in the future") == "15 samples"
    assert "Cache" not in ahead
    assert value["spans"][-1] == (-15, 15)
    facts, value = describe(3, text, 8000)
    assert "future" not in facts
    assert value["spans"][-1] == (-30, 0)


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "rate", "widths", "words"),
    [
        (2, "", 8000, (8, 8, 8), "dilations"),
        (2, "1, x", 8000, (8, 8, 8), "&#x27;x&#x27;"),
        (2, "<b>", 8000, (8, 8, 8), "&lt;b&gt;"),
        (2, "1, 0", 8000, (8, 8, 8), "dilations"),
        (2, "-1", 8000, (8, 8, 8), "whole number"),
        (0, "1, 2", 8000, (8, 8, 8), "kernel_size"),
        (-3, "1, 2", 8000, (8, 8, 8), "kernel_size"),
        (10**6, "1, 2", 8000, (8, 8, 8), "kernel_size"),
        (None, "1, 2", 8000, (8, 8, 8), "kernel_size"),
        (2, "1 " * 1001, 8000, (8, 8, 8), "1001"),
        (2, "999999999", 8000, (8, 8, 8), "65536"),
        (64, "65536 " * 1000, 8000, (8, 8, 8), "limit"),
        (2, "1, 2", 0, (8, 8, 8), "sample rate"),
        (2, "1, 2", None, (8, 8, 8), "sample rate"),
        (2, "1, 2", 10**9, (8, 8, 8), "sample rate"),
        (2, "1, 2", 8000, (0, 8, 8), "residual_channels"),
        (2, "1, 2", 8000, (8, -1, 8), "gate_channels"),
        (2, "1, 2", 8000, (8, 8, None), "skip_channels"),
        (2, "1, 2", 8000, (8, 8, 10**7), "skip_channels"),
    ],
)
def test_a_fault_is_a_sentence_and_the_picture_stays(
    kernel_size: Any, dilations: str, rate: Any, widths: Any, words: str
) -> None:
    facts, value = describe(kernel_size, dilations, rate, widths)
    assert "role='alert'" in facts
    assert words in facts
    assert value == gr.skip()
    values = (networks.OWN, kernel_size, dilations, *widths, rate)
    *_, last = influence.run_speed(NO_ROOT, *values)
    assert "role='alert'" in last
    assert words in last


def test_a_thousand_layers_are_counted() -> None:
    facts, value = describe(2, "1 " * 1000, 8000)
    assert fact(facts, "Receptive field") == "1,001 samples"
    assert len(value["spans"]) == 1001


def test_a_checkpoint_brings_its_own_network(root: Path) -> None:
    chosen = tab.choose(root, networks.CHECKPOINT + "digits")
    assert chosen == [5, 1, 2, "1, 2, 4, 8, 16", 8, 8, 16, RATE, "digits"]
    assert tab.choose(root, networks.CHECKPOINT + "../digits") == [gr.skip()] * 9
    preset = tab.choose(root, networks.FIRST)
    assert preset == [4, 1, 2, "1, 2, 4, 8", *networks.WIDTHS, gr.skip(), gr.skip()]


def test_sliders_say_cycles_and_leave_other_dilations_alone() -> None:
    assert networks.sliders_for((1, 2, 4) * 3) == [3, 3]
    for other in ((1, 2, 4, 1, 2), (1, 3), (2, 4), (1, 2, 2)):
        assert networks.sliders_for(other) == [gr.skip()] * 2


@pytest.mark.parametrize("name", ["digits", "notes"])
def test_the_numbers_of_a_checkpoint_are_its_models_own(root: Path, name: str) -> None:
    _, _, kernel_size, dilations, *widths, rate, _ = tab.choose(root, networks.CHECKPOINT + name)
    settings = (kernel_size, dilations, rate, tuple(widths))
    facts, value = describe(*settings, root=root, name=networks.CHECKPOINT + name)
    model = checkpoint.load(root / name).model
    given, local = example_conditions(model.config)
    rings = empty_state(model, model.conditioning([given], [1], [local])).rings
    assert "checkpoint itself" in facts
    assert fact(facts, "Parameters") == f"{model.parameter_count:,}"
    assert fact(facts, "Receptive field") == f"{model.receptive_field:,} samples"
    assert fact(facts, "Cache of a stream") == networks.memory(rings.nbytes)
    assert fact(facts, "Work a sample, cached") == f"{model.macs_per_sample:,} MACs"
    naive = model.macs_per_sample * model.receptive_field
    assert fact(facts, "Work a sample, naive") == f"{naive:,} MACs"
    assert sizes(value)[-1] == model.receptive_field
    # one control moved, and it is a network without those conditions
    other, _ = describe(
        kernel_size, dilations, rate, (8, 8, 17), root=root, name=networks.CHECKPOINT + name
    )
    assert fact(other, "Parameters") != fact(facts, "Parameters")
    assert "no conditions" in other


def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    with pytest.raises(gr.Error) as caught:
        tab.choose(tmp_path, networks.CHECKPOINT + "bad")
    assert caught.value.message.startswith("bad/config.json")
    facts, _ = describe(2, "1", 8000, root=tmp_path, name=networks.CHECKPOINT + "bad")
    assert "role='alert'" in facts
    assert str(tmp_path) not in facts


def test_speed_is_measured_of_what_is_chosen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influence, "RUN_SECONDS", 0.005)
    monkeypatch.setattr(influence, "_threads", lambda: (1,))
    values = (networks.CHECKPOINT + "digits", 2, "1, 2, 4, 8, 16", 8, 8, 16, RATE)
    *busy, last = influence.run_speed(root, *values)
    assert len(busy) == 1 + influence.RUNS
    assert all("role='status'" in part for part in busy)
    assert float(fact(last, "Samples a second").replace(",", "")) > 100
    assert "kernel 2, layers 5, channels 8 · 8 · 16" in last


def test_what_a_speed_means_is_reckoned_from_the_network() -> None:
    network = networks.read_network(NO_ROOT, networks.OWN, 3, "1, 2, 4", 8, 8, 16, 8000)
    facts = influence.speed_facts(network, {1: 10_000.0, 2: 16_000.0})
    assert fact(facts, "Samples a second") == "16,000"
    assert fact(facts, "At 8,000 Hz") == "2.00 × real time"
    assert fact(facts, "Time for a sample") == "62.5 µs"
    work = 16_000 * network.cost.cached_macs / 1e9
    assert fact(facts, "Work a second") == f"{work:.2f} GMACs"
    assert fact(facts, "Without a cache, about") == f"{16_000 / 15:,.1f} a second"
    assert "2 threads (10,000 on 1)" in facts


def test_a_network_that_takes_too_long_is_not_measured() -> None:
    *_, last = influence.run_speed(NO_ROOT, networks.OWN, 3, "1 " * 8, 1024, 1024, 256, 8000)
    assert "role='alert'" in last
    assert "100.0 MB" in last


def listen(root: Path, name: str | None, recording: Path | None = None) -> Any:
    """Press Listen; gives all messages."""
    path = None if recording is None else str(recording)
    chosen = [None] * MAX_NUMBERS + ["3", "george"]
    return list(influence.run_field(root, name, path, *chosen))


def test_a_model_listens_to_its_own_clips_and_to_a_recording(root: Path, tmp_path: Path) -> None:
    messages = listen(root, "digits")
    assert [list(part) for part in messages[:2]] == [["busy"]] * 2
    last = messages[-1]
    assert (last["name"], last["rate"], last["field"]) == ("digits", RATE, 32)
    assert last["edges"] == list(range(1, 34))
    assert last["outputs"] == last["planned"] == 96
    assert max(last["level"]) == 0
    assert last["held"][-1] == 1
    assert "4 clips" in last["source"]
    soundfile.write(tmp_path / "song.wav", make_example_sound(RATE).numpy(), RATE)
    heard = listen(root, "digits", tmp_path / "song.wav")[-1]
    assert heard["source"] == "song.wav"
    assert heard["level"] != last["level"]


def test_a_model_that_says_recordings_again_reads_the_example(
    tmp_path: Path, make_checkpoint: Callable[..., Any]
) -> None:
    config = tiny_config(conditions="none").model_copy(
        update={"conditions": (MelCondition(n_mels=20, win_length=256),)}
    )
    make_checkpoint(config)
    last = listen(tmp_path, "tiny")[-1]
    assert last["source"] == "the example sound"
    assert last["outputs"] == 96


def test_what_cannot_be_listened_with_is_one_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "short.wav", torch.zeros(32).numpy(), RATE)
    for name, recording, words in (
        ("missing", None, "no checkpoint 'missing'"),
        (None, None, "no checkpoint"),
        ("../digits", None, "no checkpoint"),
        ("digits", tmp_path / "notes.wav", "notes.wav is not audio"),
        ("digits", tmp_path / "short.wav", "at least 33 samples"),
    ):
        last = listen(root, name, recording)[-1]
        assert list(last) == ["error"]
        assert words in last["error"]
        assert str(tmp_path) not in last["error"]


def test_a_curve_of_bins_keeps_all_influence(root: Path) -> None:
    loaded = jobs.load_named(root, "digits")
    torch.manual_seed(0)
    field = EffectiveField(torch.rand(5000, dtype=torch.float64) + 0.5, 8, 16)
    message = influence.field_message(loaded, field, "x")
    edges = message["edges"]
    assert (edges[0], edges[-1]) == (1, 5001)
    assert 100 < len(edges) <= influence.BINS + 2
    for n in (0, 7, len(edges) - 2):
        part = field.influence[edges[n] - 1 : edges[n + 1] - 1]
        level = float(20 * (part.mean() / field.influence.max()).log10())
        assert message["level"][n] == pytest.approx(level, abs=0.01)
        share = float(field.influence[: edges[n + 1] - 1].sum() / field.influence.sum())
        assert message["held"][n] == pytest.approx(share, abs=1e-5)
    assert message["spans"][1] == [0.9, field.span(0.9)]
    assert (message["outputs"], message["planned"]) == (8, 16)
    assert influence.field_message(loaded, field, "x", is_last=True)["planned"] == 8


@pytest.mark.parametrize("samples", [1, 2, 5, 241, 100_000])
def test_bins_rise_and_hold_every_sample_once(samples: int) -> None:
    edges = influence.bin_edges(samples)
    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (1, samples + 1)
