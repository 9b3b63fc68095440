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
from wavenet.likelihood.effective_field import EffectiveField, bin_edges
from wavenet.likelihood.kernel_view import view_kernels
from wavenet.model.conditions import MelCondition
from wavenet.model.state_space import StateSpaceConfig
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.receptive_field import influence_measurement, kernel_plot, speed_measurement
from wavenet.ui.receptive_field.influence_measurement import (
    influence_message,
    measure_influence,
)
from wavenet.ui.receptive_field.kernel_plot import show_kernels
from wavenet.ui.receptive_field.network_facts import CAUSAL_DILATED, format_bytes
from wavenet.ui.receptive_field.network_settings import (
    CUSTOM,
    FIRST_PRESET,
    MODEL_ABOVE,
    PRESETS,
    WIDTHS,
    choose_network,
    doubling_dilations,
    read_network,
    slider_values,
)
from wavenet.ui.receptive_field.receptive_field_tab import (
    SPEED_PLACEHOLDER,
    build_receptive_field_tab,
    show_network,
)
from wavenet.ui.receptive_field.speed_measurement import measure_speed, speed_facts

from ..conftest import overflow, tiny_config
from .conftest import RATE
from .test_watch_tab import LABELS, make_page

NO_ROOT = Path("nowhere")
SMALL = {"residual": 8, "gate": 8, "skip": 8}


def controls(dilations: str, **changes: Any) -> dict[str, Any]:
    """Return the values of the controls for a custom network, some of them changed."""
    values = {"choice": CUSTOM, "name": None, "kernel_size": 2, "sample_rate": RATE, **SMALL}
    return values | {"dilations": dilations} | changes


def describe(
    dilations: str, convolution: str = CAUSAL_DILATED, root: Path = NO_ROOT, **changes: Any
) -> tuple[str, Any]:
    """Return the outputs after a change: HTML of the numbers, value of the plot or None."""
    values = controls(dilations, **changes)
    shown = show_network(make_page(root), convolution=convolution, **values)
    assert shown["speed"] == SPEED_PLACEHOLDER
    return shown["facts"], shown.get("plot")


def fact(html: str, name: str) -> str:
    found = re.search(f"<dt>{re.escape(name)}</dt><dd>(.*?)</dd>", html)
    assert found, f"no fact {name}: {html}"
    return found[1]


def sizes(value: Any) -> list[int]:
    return [newest - oldest + 1 for oldest, newest in value["spans"]]


def test_textbook_network_has_2047_samples() -> None:
    kernel_size, layers, cycles = PRESETS["Textbook: kernel 3, dilations 1 to 512"]
    dilations = doubling_dilations(layers, cycles)
    facts, value = describe(dilations, kernel_size=kernel_size, sample_rate=16_000)
    assert fact(facts, "Receptive field") == "2,047 samples (127.9 ms)"
    assert fact(facts, "Uncached / cached") == "2,047"
    assert value["dilations"] == [2**n for n in range(10)]
    assert sizes(value) == [2 ** (n + 1) - 1 for n in range(11)]
    cells = re.findall(r"<td>(.*?)</td>", facts)
    assert cells == ["2,047", "80", "2,047", "13", "21", "8,000"]


def test_thirteen_doubling_layers_reach_one_second() -> None:
    dilations = doubling_dilations(13, 1)
    facts, value = describe(dilations, kernel_size=3, sample_rate=16_000)
    assert sizes(value)[-1] == 16_383
    assert "1,023.9 ms" in facts
    facts, _ = describe("1", kernel_size=3, sample_rate=44_100)
    assert "Layers for 1 s at 44,100 Hz" in facts
    assert re.findall(r"<td>(.*?)</td>", facts)[3] == "15"


def test_cycles_add_their_receptive_fields() -> None:
    assert doubling_dilations(3, 2) == "1, 2, 4, 1, 2, 4"
    assert sizes(describe(doubling_dilations(3, 2))[1])[-1] == 15


def test_undilated_and_non_causal_networks_have_their_own_numbers() -> None:
    text = "1, 2, 4, 8"
    undilated, value = describe(text, "Causal, undilated", kernel_size=3)
    assert fact(undilated, "Receptive field") == "9 samples (1.1 ms)"
    assert fact(undilated, "Uncached / cached") == "9"
    assert (value["dilations"], value["causal"]) == ([1, 1, 1, 1], True)
    non_causal, value = describe(text, "Non-causal, dilated", kernel_size=3)
    assert fact(non_causal, "Receptive field") == "31 samples (3.9 ms)"
    assert fact(non_causal, "Future samples used") == "15 samples"
    assert "Cache" not in non_causal
    assert value["spans"][-1] == (-15, 15)
    facts, value = describe(text, kernel_size=3)
    assert "future" not in facts
    assert value["spans"][-1] == (-30, 0)


@pytest.mark.parametrize(
    ("dilations", "changes", "words"),
    [
        ("", {}, "Dilations: expected 1 to 1,000 numbers such as 1, 2, 4; found 0"),
        (None, {}, "Dilations: expected 1 to 1,000 numbers"),
        ("1, x", {}, "&#x27;x&#x27;"),
        ("<b>", {}, "&lt;b&gt;"),
        ("1, 0", {}, "whole numbers from 1 to 65,536"),
        ("-1", {}, "whole numbers from 1 to 65,536"),
        ("1, 2", {"kernel_size": 0}, "Kernel size: expected a number from 1 to 64, found 0"),
        ("1, 2", {"kernel_size": -3}, "Kernel size"),
        ("1, 2", {"kernel_size": 10**6}, "Kernel size"),
        ("1, 2", {"kernel_size": None}, "found nothing"),
        ("1 " * 1001, {}, "1,001"),
        ("999999999", {}, "65,536"),
        ("65536 " * 1000, {"kernel_size": 64}, "limit"),
        ("1, 2", {"sample_rate": 0}, "Sample rate: expected a number from 1 to 192,000"),
        ("1, 2", {"sample_rate": None}, "Sample rate"),
        ("1, 2", {"sample_rate": 10**9}, "Sample rate"),
        ("1, 2", {"residual": 0}, "Residual channels"),
        ("1, 2", {"gate": -1}, "Gate channels: expected a number from 1 to 4,096, found -1"),
        ("1, 2", {"skip": None}, "Skip channels"),
        ("1, 2", {"skip": 10**7}, "Skip channels"),
    ],
)
def test_invalid_network_is_an_error_and_the_plot_stays(
    dilations: Any, changes: dict[str, Any], words: str
) -> None:
    facts, value = describe(dilations, **changes)
    assert "role='alert'" in facts
    assert words in facts
    assert value is None
    *_, last = measure_speed(make_page(NO_ROOT), **controls(dilations, **changes))
    assert "role='alert'" in last["speed"]
    assert words in last["speed"]


def test_thousand_layers_are_supported() -> None:
    facts, value = describe("1 " * 1000)
    assert fact(facts, "Receptive field") == "1,001 samples (125.1 ms)"
    assert len(value["spans"]) == 1001


def test_the_model_above_and_presets_set_the_controls(root: Path) -> None:
    assert choose_network(root, choice=MODEL_ABOVE, name="digits") == {
        "layers": 5,
        "cycles": 1,
        "kernel_size": 2,
        "dilations": "1, 2, 4, 8, 16",
        "residual": 8,
        "gate": 8,
        "skip": 16,
        "sample_rate": RATE,
    }
    for name in ("../digits", "missing", None):
        assert choose_network(root, choice=MODEL_ABOVE, name=name) == {}
    assert choose_network(root, choice=CUSTOM, name="digits") == {}
    preset = choose_network(root, choice=FIRST_PRESET, name="digits")
    first = {"layers": 4, "cycles": 1, "kernel_size": 2, "dilations": "1, 2, 4, 8"}
    assert preset == first | WIDTHS


def test_sliders_show_cycles_and_ignore_other_dilations() -> None:
    assert slider_values((1, 2, 4) * 3) == {"layers": 3, "cycles": 3}
    for other in ((1, 2, 4, 1, 2), (1, 3), (2, 4), (1, 2, 2)):
        assert slider_values(other) == {}


@pytest.mark.parametrize("name", ["digits", "notes"])
def test_numbers_of_the_model_above_are_those_of_its_weights(root: Path, name: str) -> None:
    chosen = choose_network(root, choice=MODEL_ABOVE, name=name)
    values = {key: value for key, value in chosen.items() if key not in ("layers", "cycles")}
    values |= {"choice": MODEL_ABOVE, "name": name}
    facts, value = describe(root=root, **values)
    model = checkpoint.load(root / name).model
    rings = model.initial_memory(1).rings
    assert "Computed for the model above" in facts
    assert fact(facts, "Parameters") == f"{model.parameter_count:,}"
    milliseconds = 1000 * model.receptive_field / model.sample_rate
    field = f"{model.receptive_field:,} samples ({milliseconds:.1f} ms)"
    assert fact(facts, "Receptive field") == field
    assert fact(facts, "Cache per stream") == format_bytes(rings.nbytes)
    assert fact(facts, "Per sample, cached") == f"{model.macs_per_sample:,} MACs"
    uncached = model.macs_per_sample * model.receptive_field
    assert fact(facts, "Per sample, uncached") == f"{uncached:,} MACs"
    assert sizes(value)[-1] == model.receptive_field
    # With one control changed it is a custom network without conditions.
    other, _ = describe(root=root, **values | {"skip": 17})
    assert fact(other, "Parameters") != fact(facts, "Parameters")
    assert "without conditions" in other


def test_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    assert choose_network(tmp_path, choice=MODEL_ABOVE, name="bad") == {}
    facts, _ = describe("1", root=tmp_path, choice=MODEL_ABOVE, name="bad")
    assert "role='alert'>bad/config.json" in facts
    assert str(tmp_path) not in facts


def test_the_first_plot_is_drawn_without_an_event(root: Path) -> None:
    with gr.Blocks() as blocks:
        build_receptive_field_tab(make_page(root), gr.Tab())
    values = {block.elem_id: getattr(block, "value", None) for block in blocks.blocks.values()}
    assert fact(values["field-facts"], "Receptive field") == "16 samples (1.0 ms)"
    assert sizes(values["field-plot"])[-1] == 16


def test_speed_of_the_chosen_network_is_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_measurement, "RUN_SECONDS", 0.005)
    monkeypatch.setattr(speed_measurement, "_thread_counts", lambda: (1,))
    values = controls("1, 2, 4, 8, 16", skip=16, choice=MODEL_ABOVE, name="digits")
    *busy, end = measure_speed(make_page(root), **values)
    assert len(busy) == 1 + speed_measurement.RUNS
    assert all("role='status'" in part["speed"] for part in busy)
    last = end["speed"]
    assert float(fact(last, "Speed").removesuffix(" samples/s").replace(",", "")) > 0
    assert "kernel 2, layers 5, channels 8 · 8 · 16" in last


def test_facts_of_a_speed_follow_from_the_network() -> None:
    network = read_network(NO_ROOT, **controls("1, 2, 4", kernel_size=3, skip=16))
    facts = speed_facts(network, {1: 10_000.0, 2: 16_000.0})
    assert fact(facts, "Speed") == "16,000 samples/s"
    assert fact(facts, "At 8,000 Hz") == "2.00 × real time"
    assert fact(facts, "Time per sample") == "62.5 µs"
    throughput = 16_000 * network.cost.cached_macs / 1e9
    assert fact(facts, "Throughput") == f"{throughput:.2f} GMAC/s"
    assert fact(facts, "Without cache (estimate)") == f"{16_000 / 15:,.1f} samples/s"
    assert "2 threads (10,000 on 1)" in facts


def test_speed_of_a_too_large_network_is_not_measured() -> None:
    values = controls("1 " * 8, kernel_size=3, residual=1024, gate=1024, skip=256)
    *_, last = measure_speed(make_page(NO_ROOT), **values)
    assert "role='alert'" in last["speed"]
    assert "100.0 MB" in last["speed"]


def test_measurements_wait_for_their_turn(root: Path) -> None:
    page = make_page(root)
    form = {"values": LABELS}
    with page.turns.turn():
        speed = measure_speed(page, **controls("1, 2"))
        assert "Waiting: 1 job before you." in next(speed)["speed"]
        influence = measure_influence(page, name="digits", form=form, recording=None)
        assert next(influence) == {"influence": {"busy": "Waiting: 2 jobs before you."}}
        speed.close()
    assert next(influence)["influence"]["busy"].startswith("Generating 4 clips")
    influence.close()
    with page.turns.request() as turn:
        assert list(turn.wait()) == []


def influence_messages(root: Path, name: str | None, recording: Path | None = None) -> Any:
    """Measure the influence; return all messages."""
    path = None if recording is None else str(recording)
    form = {"values": LABELS}
    updates = measure_influence(make_page(root), name=name, form=form, recording=path)
    return [update["influence"] for update in updates]


def test_influence_is_measured_on_generated_clips_and_on_a_recording(
    root: Path, tmp_path: Path
) -> None:
    messages = influence_messages(root, "digits")
    assert list(messages[0]) == ["busy"]
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
        ("missing", None, "found 'missing'"),
        (None, None, "found nothing"),
        ("../digits", None, "Expected a model here"),
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
    assert 100 < len(edges) <= influence_measurement.BINS + 2
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
    edges = bin_edges(samples, influence_measurement.BINS)
    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (1, samples + 1)


def test_kernels_of_a_state_space_model_are_in_decibels(root: Path) -> None:
    shown = show_kernels(make_page(root), name="compare/state-space")["kernels"]
    checkpoint = load_checkpoint(root, "compare/state-space")
    found = view_kernels(checkpoint.model, kernel_plot.BINS)
    assert (shown["name"], shown["rate"], shown["field"]) == ("state-space", RATE, 4000)
    assert (shown["edges"], shown["channels"]) == (found.edges, 8)
    for layer, expected in zip(shown["layers"], found.layers, strict=True):
        sizes = {"mean": expected.mean, "largest": expected.largest}
        for name, size in sizes.items():
            levels = 20 * (size / expected.largest.max()).log10().clamp(min=-4)
            assert layer[name] == pytest.approx(levels.tolist(), abs=0.01)
        assert max(layer["largest"]) == 0
        constants = expected.time_constants
        ends = [float(constants[0]), float(constants.median()), float(constants[-1])]
        assert layer["constants"] == pytest.approx(ends, rel=1e-3)


@pytest.mark.parametrize("name", ["digits", "compare/transformer", "none", None])
def test_other_models_have_no_kernels(root: Path, name: str | None) -> None:
    assert show_kernels(make_page(root), name=name) == {"kernels": {}}


def test_kernels_that_are_not_finite_are_a_sentence(make_checkpoint: Any) -> None:
    config = StateSpaceConfig(channels=8, states=4, layers=2, output_channels=8)
    folder = make_checkpoint(config).folder
    overflow(folder)
    shown = show_kernels(make_page(folder.parent), name="tiny")["kernels"]
    assert "not finite" in shown["error"]
