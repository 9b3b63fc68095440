"""Curves: they show what they were given, line up with the other pictures, and bear units."""

import numpy as np
import pytest
import torch

from audio_utils import curves, plots

RATE = 16_000
SECONDS = 0.73


@pytest.fixture
def figures(voice):
    """Return every picture of one recording that has a time axis."""
    waveform = voice(RATE, SECONDS)
    seconds = len(waveform) / RATE
    hertz = torch.linspace(0, 300, 74)
    return {
        **{name: draw(waveform, RATE) for name, draw in plots.PICTURES.items()},
        "delta": curves.plot_deltas(waveform, RATE, 1),
        "delta-delta": curves.plot_deltas(waveform, RATE, 2),
        "levels": curves.plot_levels({"a": -hertz / 4, "b": -hertz / 5}, 0.01, seconds),
        "pitch": curves.plot_pitch(hertz, 0.01, seconds),
        "surprise": curves.plot_surprise(hertz, 100, seconds, {"mean": 3.0, "histogram": 7.0}),
    }


def test_all_time_axes_line_up_and_all_axes_have_units(figures):
    places, limits = set(), set()
    units = ("amplitude", "(Hz)", "(index)", "(dB", "bits per sample")
    for figure in figures.values():
        figure.draw_without_rendering()
        axes = figure.axes[0]
        places.add(axes.get_window_extent().bounds)
        limits.add(axes.get_xlim())
        assert axes.get_xlabel() == "time (s)"
        assert any(unit in axes.get_ylabel() for unit in units)
        assert axes.get_title(loc="left")
        assert all("(dB" in bar.get_ylabel() for bar in figure.axes[1:])
    assert len(places) == len(limits) == 1


def test_labels_stay_inside_the_picture(figures):
    histogram = curves.plot_histogram(torch.arange(256), 256)
    for figure in (*figures.values(), histogram):
        box = figure.get_tightbbox()
        assert box.x0 > 0
        assert box.y0 > 0
        assert box.x1 < plots.SIZE_INCHES[0]
        assert box.y1 < plots.SIZE_INCHES[1]


def test_only_frames_with_a_pitch_are_drawn_where_they_are():
    hertz = torch.tensor([0, 0, 440, 220, 0.0])
    figure = curves.plot_pitch(hertz, 0.01, 0.05)
    (points,) = figure.axes[0].lines
    assert np.allclose(points.get_xdata(), [0.02, 0.03])
    assert points.get_ydata().tolist() == [440, 220]
    assert not figure.axes[0].texts
    none = curves.plot_pitch(torch.zeros(5), 0.01, 0.05)
    assert none.axes[0].texts[0].get_text() == "no pitch found"


def test_the_surprise_is_the_mean_of_10_ms_at_its_time():
    bits = torch.full((8000,), 2.0)
    bits[4000:4080] = 9.0
    axes = curves.plot_surprise(bits, 8000, 1.0, {"mean": 2.07}).axes[0]
    values, edges, _ = axes.patches[0].get_data()
    assert len(values) == 100
    assert values.max() == 9
    assert edges[values.argmax()] == pytest.approx(0.5)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mean 2.07"]
    assert axes.get_ylim()[1] > 9
    long = curves.plot_surprise(torch.ones(960_001), 8000, 120.0, {}).axes[0]
    assert len(long.patches[0].get_data().values) <= 2000


def test_the_histogram_counts_in_percent():
    codes = torch.tensor([0, 128, 128, 255])
    axes = curves.plot_histogram(codes, 256).axes[0]
    values, edges, _ = axes.patches[0].get_data()
    assert (values[0], values[128], values[255], values.sum()) == (25, 50, 25, 100)
    assert edges[128] == 127.5
    assert axes.get_ylabel() == "samples (%)"
    assert "128 is silence" in axes.get_xlabel()


def test_deltas_of_a_steady_sound_are_zero_but_at_its_ends(sine):
    figure = curves.plot_deltas(sine(1000, RATE, RATE), RATE, 2)
    values = np.asarray(figure.axes[0].images[0].get_array())
    assert np.abs(values[:, 20:-20]).max() < 0.01
    assert np.abs(values).max() > 1
    assert "8 ms" in figure.axes[0].get_title(loc="left")
