"""Plots of evaluations: every number is at the right position."""

import numpy as np
import pytest

from wavenet.evaluation.evaluation_plots import plot_accuracy, plot_bits, plot_nearest_distances


def heights_by_name(axes):
    """Return the y values of lines by name; lines without a name are intervals."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def test_bits_are_drawn_at_their_label_with_their_interval():
    def row(label, value, ours, theirs, interval):
        bits = {"model": ours, "bigram": theirs}
        return {"label": label, "value": value, "bits_per_sample": bits, "interval": interval}

    rows = [row(None, None, 3.0, 5.0, (2.5, 3.5)), row("digit", "7", 4.0, 6.0, None)]
    (axes,) = plot_bits(rows).axes
    found = heights_by_name(axes)
    assert (found["model"], found["bigram"]) == ([3.0, 4.0], [5.0, 6.0])
    unnamed = [heights for name, heights in found.items() if name.startswith("_")]
    assert unnamed == [[2.5, 3.5]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["all", "digit 7"]


def test_accuracies_are_drawn_at_their_value_and_within_the_axes():
    real = {"svm": {"digit": {"a": 1.0, "b": 0.9}}, "cnn": {"digit": {"a": 1.0, "b": 0.95}}}
    generated = {"svm": {"digit": {"a": 0.3}}, "cnn": {"digit": {"b": 0.8}}}
    (axes,) = plot_accuracy({"real": real, "generated": generated}).axes
    found = heights_by_name(axes)
    assert found["svm, real"] == [100, 90]
    assert found["cnn, generated"] == [pytest.approx(np.nan, nan_ok=True), 80]
    low, high = axes.get_ylim()
    assert low <= 30 - 5 and high > 100


def test_the_distance_axis_covers_zero_and_the_largest_distance():
    (axes,) = plot_nearest_distances({"real": [0.5, 0.7, 0.9], "generated": [0.0, 0.0]}).axes
    low, high = axes.get_xlim()
    assert low == 0 and high > 0.9
    assert axes.get_ylim()[1] > 100  # both generated clips in one bin
    plot_nearest_distances({"real": [0.0], "generated": [0.0]})
