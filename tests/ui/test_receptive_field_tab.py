"""The Receptive field tab without a browser: geometry, costs, speed, influence."""

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
from wavenet.likelihood.effective_field import EffectiveField
from wavenet.model.conditions import MelCondition
from wavenet.ui import network_settings, receptive_field_tab
from wavenet.ui.checkpoint_controls import MAX_NUMBERS
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.network_settings import (
    CAUSAL_DILATED,
    CHECKPOINT_PREFIX,
    CUSTOM,
    PRESETS,
    doubling_dilations,
    format_bytes,
    read_network,
    slider_values,
)
from wavenet.ui.receptive_field_tab import (
    bin_edges,
    choose_network,
    influence_message,
    measure_influence,
    measure_speed,
    speed_facts,
)

from ..conftest import tiny_config
from .conftest import RATE

NO_ROOT = Path("nowhere")


def describe(
    kernel_size: Any,
    dilations: str,
    rate: Any,
    widths: tuple[Any, ...] = (8, 8, 8),
    convolution: str = CAUSAL_DILATED,
    root: Path = NO_ROOT,
    choice: str = CUSTOM,
) -> tuple[str, Any]:
    """Return the outputs after a change: HTML of the numbers, value of the plot."""
    values = (choice, kernel_size, dilations, *widths, rate)
    plot, facts, speed = receptive_field_tab.show_network(root, convolution, *values)
    assert speed == receptive_field_tab.SPEED_PLACEHOLDER
    return facts, plot


def fact(html: str, name: str) -> str:
    found = re.search(f"<dt>{re.escape(name)}</dt><dd>(.*?)</dd>", html)
    assert found, f"no fact {name}: {html}"
    return found[1]


def sizes(value: Any) -> list[int]:
    return [newest - oldest + 1 for oldest, newest in value["spans"]]


def test_textbook_network_has_2047_samples() -> None:
    kernel_size, layers, cycles = PRESETS["Textbook: kernel 3, dilations 1 to 512"]
    facts, value = describe(kernel_size, doubling_dilations(layers, cycles), 16_000)
    assert fact(facts, "Receptive field") == "2,047 samples"
    assert fact(facts, "At 16,000 Hz") == "127.9 ms"
    assert fact(facts, "Uncached / cached") == "2,047"
    assert value["dilations"] == [2**n for n in range(10)]
    assert sizes(value) == [2 ** (n + 1) - 1 for n in range(11)]
    cells = re.findall(r"<td>(.*?)</td>", facts)
    assert cells == ["2,047", "80", "2,047", "13", "21", "8,000"]


def test_thirteen_doubling_layers_reach_one_second() -> None:
    facts, value = describe(3, doubling_dilations(13, 1), 16_000)
    assert sizes(value)[-1] == 16_383
    assert "1,023.9 ms" in facts
    assert "Layers for 1 s at 44,100 Hz" in (facts := describe(3, "1", 44_100)[0])
    assert re.findall(r"<td>(.*?)</td>", facts)[3] == "15"


def test_cycles_add_their_receptive_fields() -> None:
    assert doubling_dilations(3, 2) == "1, 2, 4, 1, 2, 4"
    assert sizes(describe(2, doubling_dilations(3, 2), 8000)[1])[-1] == 15


def test_undilated_and_non_causal_networks_have_their_own_numbers() -> None:
    text = "1, 2, 4, 8"
    undilated, value = describe(3, text, 8000, convolution="Causal, undilated")
    assert fact(undilated, "Receptive field") == "9 samples"
    assert fact(undilated, "Uncached / cached") == "9"
    assert (value["dilations"], value["causal"]) == ([1, 1, 1, 1], True)
    non_causal, value = describe(3, text, 8000, convolution="Non-causal, dilated")
    assert fact(non_causal, "Receptive field") == "31 samples"
    assert fact(non_causal, "Future samples used") == "15 samples"
    assert "Cache" not in non_causal
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
def test_invalid_network_is_an_error_and_the_plot_stays(
    kernel_size: Any, dilations: str, rate: Any, widths: Any, words: str
) -> None:
    facts, value = describe(kernel_size, dilations, rate, widths)
    assert "role='alert'" in facts
    assert words in facts
    assert value == gr.skip()
    values = (CUSTOM, kernel_size, dilations, *widths, rate)
    *_, last = measure_speed(NO_ROOT, *values)
    assert "role='alert'" in last
    assert words in last


def test_thousand_layers_are_supported() -> None:
    facts, value = describe(2, "1 " * 1000, 8000)
    assert fact(facts, "Receptive field") == "1,001 samples"
    assert len(value["spans"]) == 1001


def test_checkpoint_sets_all_controls_of_its_network(root: Path) -> None:
    chosen = choose_network(root, CHECKPOINT_PREFIX + "digits")
    assert chosen == [5, 1, 2, "1, 2, 4, 8, 16", 8, 8, 16, RATE, "digits"]
    assert choose_network(root, CHECKPOINT_PREFIX + "../digits") == [gr.skip()] * 9
    preset = choose_network(root, network_settings.FIRST_PRESET)
    widths = network_settings.WIDTHS
    assert preset == [4, 1, 2, "1, 2, 4, 8", *widths, gr.skip(), gr.skip()]


def test_sliders_show_cycles_and_ignore_other_dilations() -> None:
    assert slider_values((1, 2, 4) * 3) == [3, 3]
    for other in ((1, 2, 4, 1, 2), (1, 3), (2, 4), (1, 2, 2)):
        assert slider_values(other) == [gr.skip()] * 2


@pytest.mark.parametrize("name", ["digits", "notes"])
def test_numbers_of_a_checkpoint_are_those_of_its_model(root: Path, name: str) -> None:
    _, _, kernel_size, dilations, *widths, rate, _ = choose_network(root, CHECKPOINT_PREFIX + name)
    settings = (kernel_size, dilations, rate, tuple(widths))
    facts, value = describe(*settings, root=root, choice=CHECKPOINT_PREFIX + name)
    model = checkpoint.load(root / name).model
    rings = model.initial_memory(1).rings
    assert "the network of the checkpoint" in facts
    assert fact(facts, "Parameters") == f"{model.parameter_count:,}"
    assert fact(facts, "Receptive field") == f"{model.receptive_field:,} samples"
    assert fact(facts, "Cache per stream") == format_bytes(rings.nbytes)
    assert fact(facts, "Per sample, cached") == f"{model.macs_per_sample:,} MACs"
    uncached = model.macs_per_sample * model.receptive_field
    assert fact(facts, "Per sample, uncached") == f"{uncached:,} MACs"
    assert sizes(value)[-1] == model.receptive_field
    # With one control changed it is a custom network without conditions.
    other, _ = describe(
        kernel_size, dilations, rate, (8, 8, 17), root=root, choice=CHECKPOINT_PREFIX + name
    )
    assert fact(other, "Parameters") != fact(facts, "Parameters")
    assert "without conditions" in other


def test_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    with pytest.raises(gr.Error) as caught:
        choose_network(tmp_path, CHECKPOINT_PREFIX + "bad")
    assert caught.value.message.startswith("bad/config.json")
    facts, _ = describe(2, "1", 8000, root=tmp_path, choice=CHECKPOINT_PREFIX + "bad")
    assert "role='alert'" in facts
    assert str(tmp_path) not in facts


def test_speed_of_the_chosen_network_is_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receptive_field_tab, "RUN_SECONDS", 0.005)
    monkeypatch.setattr(receptive_field_tab, "_thread_counts", lambda: (1,))
    values = (CHECKPOINT_PREFIX + "digits", 2, "1, 2, 4, 8, 16", 8, 8, 16, RATE)
    *busy, last = measure_speed(root, *values)
    assert len(busy) == 1 + receptive_field_tab.SPEED_RUNS
    assert all("role='status'" in part for part in busy)
    assert float(fact(last, "Speed").removesuffix(" samples/s").replace(",", "")) > 100
    assert "kernel 2, layers 5, channels 8 · 8 · 16" in last


def test_facts_of_a_speed_follow_from_the_network() -> None:
    network = read_network(NO_ROOT, CUSTOM, 3, "1, 2, 4", 8, 8, 16, 8000)
    facts = speed_facts(network, {1: 10_000.0, 2: 16_000.0})
    assert fact(facts, "Speed") == "16,000 samples/s"
    assert fact(facts, "At 8,000 Hz") == "2.00 × real time"
    assert fact(facts, "Time per sample") == "62.5 µs"
    throughput = 16_000 * network.cost.cached_macs / 1e9
    assert fact(facts, "Throughput") == f"{throughput:.2f} GMAC/s"
    assert fact(facts, "Without cache (estimate)") == f"{16_000 / 15:,.1f} samples/s"
    assert "2 threads (10,000 on 1)" in facts


def test_speed_of_a_too_large_network_is_not_measured() -> None:
    *_, last = measure_speed(NO_ROOT, CUSTOM, 3, "1 " * 8, 1024, 1024, 256, 8000)
    assert "role='alert'" in last
    assert "100.0 MB" in last


def influence_messages(root: Path, name: str | None, recording: Path | None = None) -> Any:
    """Measure the influence; return all messages."""
    path = None if recording is None else str(recording)
    conditions = [None] * MAX_NUMBERS + ["3", "george"]
    return list(measure_influence(root, name, path, *conditions))


def test_influence_is_measured_on_generated_clips_and_on_a_recording(
    root: Path, tmp_path: Path
) -> None:
    messages = influence_messages(root, "digits")
    assert [list(part) for part in messages[:2]] == [["busy"]] * 2
    last = messages[-1]
    assert (last["name"], last["rate"], last["field"]) == ("digits", RATE, 32)
    assert last["edges"] == list(range(1, 34))
    assert last["predictions"] == last["planned"] == 96
    assert max(last["level"]) == 0
    assert last["cumulative"][-1] == 1
    assert last["source"] == "4 generated clips"
    soundfile.write(tmp_path / "song.wav", make_example_sound(RATE).numpy(), RATE)
    recorded = influence_messages(root, "digits", tmp_path / "song.wav")[-1]
    assert recorded["source"] == "song.wav"
    assert recorded["level"] != last["level"]


def test_influence_of_a_vocoder_is_measured_on_the_example(
    tmp_path: Path, make_checkpoint: Callable[..., Any]
) -> None:
    config = tiny_config(conditions="none").model_copy(
        update={"conditions": (MelCondition(n_mels=20, win_length=256),)}
    )
    make_checkpoint(config)
    last = influence_messages(tmp_path, "tiny")[-1]
    assert last["source"] == "the example recording"
    assert last["predictions"] == 96


def test_influence_with_an_invalid_model_or_recording_is_an_error(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.wav").write_text("not audio")
    soundfile.write(tmp_path / "short.wav", torch.zeros(32).numpy(), RATE)
    for name, recording, words in (
        ("missing", None, "no checkpoint 'missing'"),
        (None, None, "no checkpoint"),
        ("../digits", None, "no checkpoint"),
        ("digits", tmp_path / "notes.wav", "notes.wav is not audio"),
        ("digits", tmp_path / "short.wav", "at least 33 samples"),
    ):
        last = influence_messages(root, name, recording)[-1]
        assert list(last) == ["error"]
        assert words in last["error"]
        assert str(tmp_path) not in last["error"]


def test_bins_of_the_curve_keep_all_influence(root: Path) -> None:
    checkpoint = load_checkpoint(root, "digits")
    torch.manual_seed(0)
    field = EffectiveField(torch.rand(5000, dtype=torch.float64) + 0.5, 8, 16)
    message = influence_message(checkpoint, field, "x")
    edges = message["edges"]
    assert (edges[0], edges[-1]) == (1, 5001)
    assert 100 < len(edges) <= receptive_field_tab.BINS + 2
    for n in (0, 7, len(edges) - 2):
        part = field.influence[edges[n] - 1 : edges[n + 1] - 1]
        level = float(20 * (part.mean() / field.influence.max()).log10())
        assert message["level"][n] == pytest.approx(level, abs=0.01)
        share = float(field.influence[: edges[n + 1] - 1].sum() / field.influence.sum())
        assert message["cumulative"][n] == pytest.approx(share, abs=1e-5)
    assert message["lag_by_fraction"][1] == [0.9, field.span(0.9)]
    assert (message["predictions"], message["planned"]) == (8, 16)
    assert influence_message(checkpoint, field, "x", is_early_end=True)["planned"] == 8


@pytest.mark.parametrize("samples", [1, 2, 5, 241, 100_000])
def test_bin_edges_increase_and_cover_every_sample(samples: int) -> None:
    edges = bin_edges(samples)
    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (1, samples + 1)
