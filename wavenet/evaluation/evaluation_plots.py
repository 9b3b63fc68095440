"""Plots of evaluations: bits and accuracy by label, distances, the sampling trade-off.

Input: rows and values of an evaluation. Output: matplotlib figures. Called by the commands `wavenet
evaluate`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_utils.plots import LINE_COLOUR, SECOND_COLOUR
from wavenet.evaluation.bits_per_sample import MODEL_METHOD

SIZE_INCHES = (9.0, 3.6)
COLOURS = (LINE_COLOUR, SECOND_COLOUR, "#7a9a01", "#b06f00")
BINS = 40


def plot_bits(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw bits per sample by label: the model with confidence intervals, and the baselines.

    Args:
        rows: from `bits_per_sample.summarise_bits`.
    """
    figure, axes = _make_figure("Bits per sample (lower is better)", "bits per sample")
    methods = list(rows[0]["bits_per_sample"])
    for colour, method in zip(COLOURS, methods, strict=False):
        values = [row["bits_per_sample"][method] for row in rows]
        axes.plot(values, linestyle="", marker="o", markersize=4, color=colour, label=method)
        if method == MODEL_METHOD:
            for x, row in enumerate(rows):
                if row["interval"] is not None:
                    axes.plot([x] * 2, row["interval"], linewidth=1.5, color=colour)
    _set_category_ticks(axes, [row_label(row) for row in rows])
    axes.set_ylim(bottom=0)
    _add_legend(axes)
    return figure


def plot_accuracy(values: Mapping[str, Any]) -> Figure:
    """Draw the accuracy for each label value: hollow markers for real clips, filled for generated.

    Args:
        values: "accuracy_by_value" of `ClipEvaluator.compare`: by real or generated, classifier,
            label and value.
    """
    figure, axes = _make_figure("Label accuracy", "clips (%)")
    categories: list[str] = []
    lowest = 100.0
    for n, (colour, classifier) in enumerate(zip(COLOURS, values["real"], strict=False)):
        offset = 0.24 * n - 0.12  # the classifiers are drawn side by side
        for kind, fill in (("real", "none"), ("generated", colour)):
            accuracies = {
                f"{name} {value}": accuracy
                for name, by_value in values[kind][classifier].items()
                for value, accuracy in by_value.items()
            }
            categories = categories or list(accuracies)
            percentages = [100 * accuracies.get(name, float("nan")) for name in categories]
            axes.plot(
                [x + offset for x in range(len(categories))],
                percentages,
                linestyle="",
                marker="o",
                markersize=5,
                markerfacecolor=fill,
                color=colour,
                label=f"{classifier}, {kind}",
            )
            lowest = min([lowest, *(value for value in percentages if not math.isnan(value))])
    _set_category_ticks(axes, categories)
    axes.set_ylim(10 * math.floor((lowest - 5) / 10), 102)
    _add_legend(axes)
    return figure


def plot_nearest_distances(distances: Mapping[str, Sequence[float]]) -> Figure:
    """Draw histograms of the distance to the nearest training clip; a copy has the distance 0.

    Args:
        distances: of "real" and "generated" clips.
    """
    figure, axes = _make_figure("Distance to the nearest training clip", "clips (%)")
    highest = 1.02 * max(max(values) for values in distances.values()) or 1.0
    for colour, (name, values) in zip(COLOURS, distances.items(), strict=False):
        weights = [100 / len(values)] * len(values)
        axes.hist(
            values,
            bins=BINS,
            range=(0, highest),
            weights=weights,
            histtype="step",
            linewidth=1.5,
            color=colour,
            label=name,
        )
    axes.set_xlim(0, highest)
    axes.set_xlabel("distance (root mean square, in standard deviations)")
    _add_legend(axes)
    return figure


def plot_trade_off(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot accuracy against diversity, with one line for each sampling setting.

    Args:
        rows: from `trade_off.evaluate_variants`.
    """
    title = "Accuracy and diversity by sampling setting"
    figure, axes = _make_figure(title, "all labels correct (% of clips)")
    names = list(dict.fromkeys(row["setting"] for row in rows))
    for colour, name in zip(COLOURS, names, strict=False):
        line = [row for row in rows if row["setting"] == name and row["diversity"] is not None]
        points = [(100 * row["diversity"], 100 * row["accuracy"]) for row in line]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=name)
        for row, point in zip(line, points, strict=True):
            if row["value"] != 1:
                axes.annotate(
                    f"{row['value']:g}",
                    point,
                    xytext=(4, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=colour,
                )
    axes.set_xlabel("diversity within a class (% of real clips)")
    left, right = axes.get_xlim()  # a wide range, so that small differences look small
    axes.set_xlim(min(left, 80), max(right, 102))
    axes.set_ylim(top=102)
    _add_legend(axes)
    return figure


def row_label(row: Mapping[str, Any]) -> str:
    """Return the name of a row of `bits_per_sample.summarise_bits`."""
    return "all" if row["label"] is None else f"{row['label']} {row['value']}"


def _make_figure(title: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(y_label)
    axes.grid(axis="y", linewidth=0.4, color="0.85")
    axes.set_axisbelow(True)
    return figure, axes


def _add_legend(axes: Axes) -> None:
    """Add a legend above the axes, beside the title, where it covers no point."""
    columns = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 0.99),
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0,
    )


def _set_category_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Label the positions 0, 1, .. of the x axis."""
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_xlim(-0.7, len(names) - 0.3)
