"""Plots: values, units and aligned time axes, without global state."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from audio_utils import plots
from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, hz_to_mel, mel_row
from audio_utils.sound_images import ImageSettings

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
ALL = list(plots.RECORDING_PLOTS.values())
IMAGES = ALL[1:]


def image_of(figure):
    return figure.axes[0].images[0]


@pytest.mark.slow
def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys, torch, audio_utils.plots as plots;"
        "plots.save_figure(plots.plot_mel(torch.zeros(2000), 16000), sys.argv[1]);"
        "print('matplotlib.figure' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("plot", ALL)
def test_every_axis_has_a_unit_and_the_whole_duration(make_speech, plot):
    waveform = make_speech(RATE, 0.73)
    figure = plot(waveform, RATE)
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == plots.FIGURE_SIZE_INCHES
    axes = figure.axes[0]
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_xlim() == (0, len(waveform) / RATE)
    assert any(unit in axes.get_ylabel() for unit in ("amplitude", "(Hz)", "(index)"))
    assert axes.get_title(loc="left")
    if plot in IMAGES:
        assert "(dB" in figure.axes[1].get_ylabel()


@pytest.mark.parametrize("samples", [1, 300, 16_000, 400_000])
def test_the_time_axes_are_aligned_at_every_length(samples):
    places, limits = set(), set()
    for plot in ALL:
        figure = plot(torch.full((samples,), 0.1), RATE)
        figure.draw_without_rendering()
        places.add(figure.axes[0].get_window_extent().bounds)
        limits.add(figure.axes[0].get_xlim())
    assert len(places) == len(limits) == 1


def assert_labels_inside(figure):
    """Check that no text exceeds the figure."""
    box = figure.get_tightbbox()
    assert box.x0 > 0
    assert box.y0 > 0
    assert box.x1 < plots.FIGURE_SIZE_INCHES[0]
    assert box.y1 < plots.FIGURE_SIZE_INCHES[1]


@pytest.mark.parametrize("plot", ALL)
def test_labels_stay_inside_the_figure_at_a_high_sample_rate(make_speech, plot):
    assert_labels_inside(plot(make_speech(48_000, 0.5), 48_000))


def test_a_sine_is_at_its_frequency_and_a_click_at_its_time(make_sine):
    figure = plots.plot_spectrogram(make_sine(3000, RATE, RATE), RATE)
    image = image_of(figure)
    left, right, low, high = image.get_extent()
    values = np.asarray(image.get_array())
    row = values[:, 50].argmax()
    assert low + (row + 0.5) * (high - low) / len(values) == pytest.approx(3000, abs=20)
    assert values.max() == 0

    click = torch.zeros(RATE)
    click[RATE // 4] = 1
    for plot in IMAGES[:2]:
        image = image_of(plot(click, RATE))
        left, right, _, _ = image.get_extent()
        values = np.asarray(image.get_array())
        column = values.max(0).argmax()
        assert left + (column + 0.5) * (right - left) / values.shape[1] == pytest.approx(
            0.25, abs=0.005
        )


def test_mel_ticks_are_at_their_filters(make_sine):
    axes = plots.plot_mel(torch.ones(RATE), RATE).axes[0]
    ticks = {
        int(label.get_text()): row
        for row, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert {500, 1000, 2000, 4000} <= ticks.keys()
    for hz in (500, 1000, 2000, 4000):
        values = np.asarray(image_of(plots.plot_mel(make_sine(hz, RATE, RATE), RATE)).get_array())
        assert abs(values[:, 60].argmax() - ticks[hz]) <= 0.51
    config = FeatureConfig.default_for(RATE)
    step = hz_to_mel(RATE / 2) / (config.n_mels + 1)
    assert ticks[1000] == pytest.approx(15 / step - 1)


def test_silence_is_dark_and_quiet_speech_is_not(make_speech):
    for plot in IMAGES[:2]:
        assert np.asarray(image_of(plot(torch.zeros(RATE), RATE)).get_array()).max() <= -80
        quiet = np.asarray(image_of(plot(0.001 * make_speech(RATE), RATE)).get_array())
        assert quiet.max() == 0


def test_a_long_recording_is_drawn_as_an_envelope_with_every_peak():
    waveform = torch.zeros(3_000_001)
    waveform[1_234_567], waveform[-1] = 0.9, -0.8
    figure = plots.plot_waveform(waveform, RATE)
    figure.draw_without_rendering()
    points = figure.axes[0].collections[0].get_paths()[0].vertices
    assert len(points) < 3 * 2000 + 10
    assert points[:, 1].max() == pytest.approx(0.9)
    assert points[:, 1].min() == pytest.approx(-0.8)
    peak = points[points[:, 1].argmax(), 0]
    assert peak == pytest.approx(1_234_567 / RATE, abs=3_000_001 / RATE / 2000)


def test_images_of_long_recordings_have_a_limited_number_of_columns():
    for plot in IMAGES:
        image = image_of(plot(torch.ones(1_000_000), RATE))
        columns = np.asarray(image.get_array()).shape[1]
        assert 1900 <= columns <= 2002
        assert image.get_extent()[1] >= 1_000_000 / RATE


@pytest.mark.parametrize("plot", ALL)
@pytest.mark.parametrize(
    ("waveform", "rate", "words"),
    [
        (torch.zeros(0), RATE, r"shape \(T,\)"),
        (torch.zeros(2, 10), RATE, r"shape \(T,\)"),
        (torch.zeros(10, dtype=torch.int64), RATE, "floating point"),
        (torch.tensor([0.0, math.nan]), RATE, "not finite"),
        (torch.zeros(10), 0, "at least 1 Hz"),
    ],
)
def test_invalid_waveforms_and_sample_rates_raise(plot, waveform, rate, words):
    with pytest.raises(AudioError, match=words):
        plot(waveform, rate)


@pytest.mark.parametrize("plot", IMAGES)
def test_settings_for_another_sample_rate_raise(plot):
    with pytest.raises(AudioError, match="settings are for 8000 Hz"):
        plot(torch.zeros(100), RATE, FeatureConfig.default_for(8000))


def test_all_time_axes_are_aligned_and_all_axes_have_units(make_speech):
    waveform = make_speech(RATE, 0.73)
    places, limits = set(), set()
    units = ("amplitude", "(Hz)", "(index)", "(dB")
    for plot in ALL:
        figure = plot(waveform, RATE)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        places.add(axes.get_window_extent().bounds)
        limits.add(axes.get_xlim())
        assert axes.get_xlabel() == "time (s)"
        assert any(unit in axes.get_ylabel() for unit in units)
        assert axes.get_title(loc="left")
        assert all("(dB" in bar.get_ylabel() for bar in figure.axes[1:])
    assert len(places) == len(limits) == 1


def test_a_saved_figure_is_a_png_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    plots.save_figure(plots.plot_waveform(torch.zeros(100), RATE), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_figure_that_cannot_be_saved_leaves_no_file(tmp_path, monkeypatch):
    figure = plots.plot_waveform(torch.zeros(100), RATE)
    with pytest.raises(AudioError, match=r"ending in \.png"):
        plots.save_figure(figure, tmp_path / "a.jpg")
    with pytest.raises(AudioError, match="does not exist"):
        plots.save_figure(figure, tmp_path / "missing" / "a.png")

    def half(path, **options):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(AudioError, match="disk is full"):
        plots.save_figure(figure, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_sound_shows_its_levels():
    settings = ImageSettings()
    levels = torch.arange(32 * 24).reshape(32, 24) % 16
    figure = plots.plot_sound_image(levels, settings.seconds, settings.features)
    image = image_of(figure)
    assert np.array_equal(image.get_array(), levels)
    assert image.get_extent()[:2] == [0, 0.72] and image.get_clim() == (0, 15)
    ticks = dict(zip(figure.axes[0].get_yticks(), figure.axes[0].get_yticklabels(), strict=True))
    row = min(ticks, key=lambda y: abs(y - mel_row(1000, settings.features)))
    assert ticks[row].get_text() == "1000" and row == mel_row(1000, settings.features)


@pytest.mark.parametrize("seconds", [0.5, 6.0])
def test_segments_have_their_boundaries_and_labels_at_their_times(make_speech, seconds):
    waveform = make_speech(RATE, seconds)
    segments = [("HH", 0.1, 0.2), ("AY1", 0.2, 0.4)]
    figure = plots.plot_segments(waveform, RATE, segments, [("hi", 0.1, 0.4)])
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, len(waveform) / RATE)
    (lines,) = axes.collections
    assert [line[0][0] for line in lines.get_segments()] == [0.1, 0.2, 0.4]
    labels = {text.get_text(): text.get_position() for text in axes.texts}
    assert {name: x for name, (x, _) in labels.items()} == pytest.approx(
        {"HH": 0.15, "AY1": 0.3, "hi": 0.25}
    )
    # neighbours do not overlap
    assert labels["HH"][1] < labels["AY1"][1] < labels["hi"][1]
    width, height = figure.get_size_inches()
    assert (width, height) == (max(9, 2.5 * seconds), 2.6)
    assert figure.get_tightbbox().x0 > 0
    assert figure.get_tightbbox().y1 < height


def test_mel_rows_of_different_lengths_share_the_time_axis():
    tone = torch.sin(0.1 * torch.arange(RATE))
    figure = plots.plot_mel_rows({"long": tone, "short": tone[: RATE // 2]}, RATE)
    long, short = figure.axes
    assert (long.get_title("left"), short.get_title("left")) == ("long", "short")
    assert long.get_xlim() == short.get_xlim() == (0, 1)
    assert short.images[0].get_extent()[1] == pytest.approx(0.5, abs=0.05)
    assert long.get_position().y0 > short.get_position().y1
