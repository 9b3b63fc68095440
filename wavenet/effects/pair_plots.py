"""Plots of the checks of a pair, one for each check.

Input: a `PairMeasures` and a check. Output: a matplotlib Figure, created without pyplot. Called by
the command `wavenet effects check`.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_utils.plots import FIGURE_SIZE_INCHES, LINE_COLOUR, MAX_COLUMNS, SECOND_COLOUR
from wavenet.effects.pair_latency import Samples
from wavenet.effects.pair_levels import (
    QUIET_DB,
    block_levels,
    find_full_scale,
    find_quiet_parts,
    find_runs,
)
from wavenet.effects.pair_measurement import PairMeasures
from wavenet.effects.pair_repeats import wet_copies
from wavenet.effects.pair_report import PairCheck

_COLOURS = {"dry": LINE_COLOUR, "wet": SECOND_COLOUR}
_MAX_POINTS = 5000
_MAX_MARKS = 200


def plot_check(measures: PairMeasures, check: PairCheck) -> Figure:
    """Draw what a check measured, with its name and verdict as the title.

    Args:
        measures: of the pair.
        check: one of `judge_pair`.
    Returns:
        A figure of 9 x 2.6 inches.
    """
    figure = Figure(figsize=FIGURE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    PLOTS[check.name](axes, measures)
    axes.set_title(f"{check.name}: {check.verdict.value}", loc="left", fontsize=10)
    return figure


def _draw_overview(axes: Axes, m: PairMeasures) -> None:
    """Draw both waveforms, and lines where samples are clipped or missing."""
    for name, offset, samples in (("dry", 1.1, m.dry), ("wet", -1.1, m.wet)):
        group = -(-len(samples) // MAX_COLUMNS)
        padded = np.pad(samples, (0, -len(samples) % group), mode="edge").reshape(-1, group)
        seconds = (np.arange(len(padded)) + 0.5) * group / m.rate
        edges = (offset + padded.min(axis=1), offset + padded.max(axis=1))
        axes.fill_between(seconds, *edges, color=_COLOURS[name], linewidth=0.5, label=name)
    for start, _ in m.gaps[:_MAX_MARKS]:
        axes.axvline(start / m.rate, color="black", linewidth=0.6)
    axes.set_xlabel("time (s)")
    axes.set_yticks([1.1, -1.1], ["dry", "wet"])
    axes.set_ylim(-2.3, 2.3)


def _draw_correlation(axes: Axes, m: PairMeasures) -> None:
    found = m.correlation
    axes.plot(found.lags, found.curve, marker=".", color=LINE_COLOUR, label="correlation")
    axes.axvline(found.lag, color=LINE_COLOUR, linewidth=0.8, linestyle="--")
    for n, lag in enumerate(m.clicks.lags[:_MAX_MARKS]):
        axes.axvline(lag, color=SECOND_COLOUR, linewidth=0.8, label="onset of a click" * (n == 0))
    axes.axhline(0, color="0.5", linewidth=0.4)
    axes.set_xlabel("lag (samples)")
    axes.set_ylabel("re the peak")
    axes.legend(loc="upper right", fontsize=8)


def _draw_sub_sample(axes: Axes, m: PairMeasures) -> None:
    _draw_correlation(axes, m)
    middle = round(m.correlation.lag)
    axes.set_xlim(middle - 6, middle + 6)


def _draw_scatter(axes: Axes, m: PairMeasures) -> None:
    dry, wet = m.aligned()
    step = max(1, len(dry) // _MAX_POINTS)
    axes.plot(dry[::step], wet[::step], ".", markersize=1.5, color=LINE_COLOUR)
    axes.set_xlabel("dry (aligned)")
    axes.set_ylabel("wet")
    axes.axhline(0, color="0.5", linewidth=0.4)
    axes.axvline(0, color="0.5", linewidth=0.4)


def _draw_levels(axes: Axes, m: PairMeasures) -> None:
    for name, samples in (("dry", m.dry), ("wet", m.wet)):
        levels = np.maximum(block_levels(samples, m.rate), -120)
        axes.hist(levels, bins=60, range=(-120, 0), color=_COLOURS[name], alpha=0.6, label=name)
    axes.set_xlabel("level of 10 ms (dB)")
    axes.set_ylabel("blocks")
    axes.legend(loc="upper left", fontsize=8)


def _draw_amplitudes(axes: Axes, m: PairMeasures) -> None:
    """Draw the histogram of sample values: clipping is a peak at its end."""
    for name, samples in (("dry", m.dry), ("wet", m.wet)):
        counts, edges = np.histogram(samples, bins=400, range=(-1, 1))
        axes.step(edges[:-1], np.maximum(counts, 0.5), where="post", color=_COLOURS[name])
        runs = find_runs(find_full_scale(samples), 1)
        axes.plot([], [], color=_COLOURS[name], label=f"{name}: {len(runs):,} runs at full scale")
    axes.set_yscale("log")
    axes.set_xlabel("sample value")
    axes.set_ylabel("samples")
    axes.legend(loc="upper right", fontsize=8)


def _draw_repeats(axes: Axes, m: PairMeasures) -> None:
    axes.set_xlabel("time in the part (s)")
    axes.set_ylabel("level of 10 ms (dB)")
    if not m.repeats:
        axes.text(0.5, 0.5, "no repeated part", ha="center", transform=axes.transAxes)
        return
    worst = max(m.repeats, key=lambda error: error.esr)
    first, second = wet_copies(m.wet, worst.part, m.latency, m.rate)
    _draw_block_levels(axes, first, m.rate, SECOND_COLOUR, "wet")
    _draw_block_levels(axes, first - second, m.rate, "black", "difference of both copies")
    axes.legend(loc="lower right", fontsize=8)


def _draw_offset(axes: Axes, m: PairMeasures) -> None:
    for name, samples in (("dry", m.dry), ("wet", m.wet)):
        group = max(1, len(samples) // 200)
        starts = np.arange(0, len(samples), group)
        counts = np.diff(np.append(starts, len(samples)))
        means = np.add.reduceat(samples, starts) / counts
        axes.plot(starts / m.rate, means, color=_COLOURS[name], label=name)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("mean")
    axes.legend(loc="upper right", fontsize=8)


def _draw_noise(axes: Axes, m: PairMeasures) -> None:
    dry, wet = m.aligned()
    _draw_block_levels(axes, dry, m.rate, LINE_COLOUR, "dry")
    _draw_block_levels(axes, wet, m.rate, SECOND_COLOUR, "wet")
    for start, end in find_quiet_parts(dry, m.rate)[:_MAX_MARKS]:
        axes.axvspan(start / m.rate, end / m.rate, color="0.85", zorder=0)
    axes.axhline(QUIET_DB, color="0.5", linewidth=0.4)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("level of 10 ms (dB)")
    axes.legend(loc="lower right", fontsize=8)


def _draw_lags(axes: Axes, m: PairMeasures) -> None:
    axes.plot(m.curve.starts / m.rate, m.curve.lags, ".", color=LINE_COLOUR)
    for place, _ in m.curve.jumps:
        axes.axvline(place / m.rate, color=SECOND_COLOUR, linewidth=0.8)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("lag re median (samples)")


def _draw_drift(axes: Axes, m: PairMeasures) -> None:
    _draw_lags(axes, m)
    if len(m.curve.starts):
        middle = float(np.mean(m.curve.starts))
        line = m.curve.slope * (m.curve.starts - middle) + float(np.median(m.curve.lags))
        axes.plot(m.curve.starts / m.rate, line, color="black", linewidth=0.8)


def _draw_block_levels(axes: Axes, samples: Samples, rate: int, colour: str, label: str) -> None:
    levels = np.maximum(block_levels(samples, rate), -120)
    step = -(-len(levels) // MAX_COLUMNS)
    seconds = np.arange(0, len(levels), step) * len(samples) / rate / max(1, len(levels))
    axes.plot(seconds, levels[::step], color=colour, linewidth=0.7, label=label)


PLOTS: dict[str, Callable[[Axes, PairMeasures], None]] = {
    "format": _draw_overview,
    "finite": _draw_overview,
    "silence": _draw_noise,
    "latency": _draw_correlation,
    "sub-sample": _draw_sub_sample,
    "order": _draw_scatter,
    "polarity": _draw_scatter,
    "level": _draw_levels,
    "clipping": _draw_amplitudes,
    "replicates": _draw_repeats,
    "DC": _draw_offset,
    "noise floor": _draw_noise,
    "dropped samples": _draw_lags,
    "clock drift": _draw_drift,
}
"""What each check draws, by its name."""
