"""Curves with axes as SVG, in the colours of the page.

Input: curves and ticks in units of the axes. Output: HTML. Called by the tabs Effects and Compress.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wavenet.ui.templates import render

WIDTH, HEIGHT = 320, 240  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 34  # margins


@dataclass(frozen=True)
class PlotAxis:
    """One axis.

    Attributes:
        label: with the unit.
        low, high: ends.
        ticks: positions with their text.
        is_log: whether it is logarithmic.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return the place of a value: 0 at the low end, 1 at the high one; limited to the axis."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def curve_plot(
    title: str,
    x_axis: PlotAxis,
    y_axis: PlotAxis,
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]],
) -> str:
    """Return HTML of a plot.

    Args:
        title: shown above it.
        x_axis, y_axis: the axes.
        curves: name and points of each; points that are not finite are left out. Names are shown if
            there are several curves.
    """

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x_axis.share(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y_axis.share(y) * (HEIGHT - TOP - BOTTOM),
        )

    drawn = []
    for name, points in curves:
        places = [place(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        drawn.append((name, " ".join(f"{x:.1f},{y:.1f}" for x, y in places)))
    x_ticks = [(place(value, y_axis.low)[0], text) for value, text in x_axis.ticks]
    y_ticks = [(place(x_axis.low, value)[1], text) for value, text in y_axis.ticks]
    sizes = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT}
    return render(
        "templates/curve_plot.html",
        title=title,
        x_label=x_axis.label,
        y_label=y_axis.label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        curves=drawn,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        **sizes,
    )
