"""Pictures of an evaluation: points with their intervals by label, and where distances lie."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_utils.plots import LINE_COLOUR, SECOND_COLOUR
from wavenet.evaluation.likelihood import MODEL

SIZE_INCHES = (9.0, 3.6)
COLOURS = (LINE_COLOUR, SECOND_COLOUR, "#7a9a01", "#b06f00")
BINS = 40


def plot_bits(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw bits per sample by label: the model's with intervals, those of the baselines.

    Args:
        rows: of `likelihood.summarise`.
    """
    figure, axes = _make("Bits per sample (lower is better)", "bits per sample")
    methods = list(rows[0]["bits_per_sample"])
    for colour, method in zip(COLOURS, methods, strict=False):
        values = [row["bits_per_sample"][method] for row in rows]
        axes.plot(values, linestyle="", marker="o", markersize=4, color=colour, label=method)
        if method == MODEL:
            for place, row in enumerate(rows):
                if row["interval"] is not None:
                    axes.plot([place] * 2, row["interval"], linewidth=1.5, color=colour)
    _name_places(axes, [row_name(row) for row in rows])
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def plot_accuracy(values: Mapping[str, Any]) -> Figure:
    """Draw what was heard right of each value: real clips hollow, generated ones filled.

    Args:
        values: of `Reference.compare`: by real or generated, judge, label and value.
    """
    figure, axes = _make("Heard as asked for", "clips (%)")
    places: list[str] = []
    lowest = 100.0
    for n, (colour, judge) in enumerate(zip(COLOURS, values["real"], strict=False)):
        aside = 0.24 * n - 0.12  # one judge beside the other
        for kind, filled in (("real", "none"), ("generated", colour)):
            by_label = values[kind][judge]
            found = {
                f"{name} {v}": share for name, of in by_label.items() for v, share in of.items()
            }
            places = places or list(found)
            shares = [100 * found.get(place, float("nan")) for place in places]
            axes.plot(
                [place + aside for place in range(len(places))],
                shares,
                linestyle="",
                marker="o",
                markersize=5,
                markerfacecolor=filled,
                color=colour,
                label=f"{judge}, {kind}",
            )
            lowest = min([lowest, *(share for share in shares if not math.isnan(share))])
    _name_places(axes, places)
    axes.set_ylim(10 * math.floor((lowest - 5) / 10), 102)
    _legend(axes)
    return figure


def plot_nearest(distances: Mapping[str, Sequence[float]]) -> Figure:
    """Draw how far clips lie from the nearest recording that was learnt from; a copy lies at 0.

    Args:
        distances: of "real" and "generated" clips.
    """
    figure, axes = _make("Distance to the nearest recording learnt from", "clips (%)")
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
    axes.set_xlabel("distance (deviations, root mean square)")
    _legend(axes)
    return figure


def plot_trade_off(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw how clear and how varied clips are, a line for each setting that is moved.

    Args:
        rows: of `trade_off.compare_settings`.
    """
    figure, axes = _make("Clear or varied: how to draw", "all labels heard (% of clips)")
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
    left, right = axes.get_xlim()  # differences of a hundredth are to look like that
    axes.set_xlim(min(left, 80), max(right, 102))
    axes.set_ylim(top=102)
    _legend(axes)
    return figure


def row_name(row: Mapping[str, Any]) -> str:
    """Name a row of `likelihood.summarise`."""
    return "all" if row["label"] is None else f"{row['label']} {row['value']}"


def _make(title: str, ordinate: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(ordinate)
    axes.grid(axis="y", linewidth=0.4, color="0.85")
    axes.set_axisbelow(True)
    return figure, axes


def _legend(axes: Axes) -> None:
    """Put the names above the picture, beside its title, where no point lies."""
    columns = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 0.99),
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0,
    )


def _name_places(axes: Axes, names: Sequence[str]) -> None:
    """Write a name under every place from 0 on."""
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_xlim(-0.7, len(names) - 0.3)
