"""Pictures of what changes over time as a curve, beside those of `plots` and like them.

Enters: values a frame, and how far frames and the end of the recording lie. Leaves: a Figure whose
time axis stands where that of every picture in `plots` does. Callers: the studio.
"""

import math
from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from audio_utils.analysis import BLOCK_SECONDS, PITCH_RANGE_HZ, deltas, group_means
from audio_utils.features import FeatureConfig, mfcc
from audio_utils.plots import BAR, LINE_COLOUR, MAX_COLUMNS, draw_frames, make_figure, prepared

SECOND_COLOUR = "#b5367a"
_PITCH_TICKS_HZ = (65, 100, 200, 400, 800)
_LOWEST_DB = -100.0


def plot_deltas(waveform: Tensor, sample_rate: int, order: int = 1) -> Figure:
    """Draw how the cepstral coefficients change, or how their change does.

    Args:
        waveform: (T,), floating point, finite, T >= 1.
        sample_rate: Hz.
        order: 1 for the deltas, 2 for the deltas of the deltas.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: the waveform or the rate cannot be drawn.
    """
    samples, config = prepared(waveform, sample_rate, None)
    values = mfcc(samples, config)
    for _ in range(order):
        values = deltas(values)
    title, unit = ("delta", "dB/frame") if order == 1 else ("delta-delta", "dB/frame²")
    figure, axes = make_figure(
        f"MFCC {title}, frames of {_milliseconds(config)} ms",
        "coefficient (index)",
        len(samples) / sample_rate,
    )
    rows = (-0.5, config.n_mfcc - 0.5)
    image = draw_frames(axes, values, config, rows, "viridis")
    limit = max(0.1, float(values[1:].abs().flatten().quantile(0.98)))
    image.set_clim(-limit, limit)
    figure.colorbar(image, cax=figure.add_axes(BAR), label=f"change ({unit})", extend="both")
    return figure


def plot_levels(levels: Mapping[str, Tensor], hop_seconds: float, duration: float) -> Figure:
    """Draw levels over time.

    Args:
        levels: (F,) dB re full scale each, by what it is the level of; at most two.
        hop_seconds: from frame to frame; the first stands at 0.
        duration: of the recording, seconds.
    """
    figure, axes = make_figure("Loudness (RMS of 32 ms)", "level (dB re full scale)", duration)
    for colour, (name, values) in zip((LINE_COLOUR, SECOND_COLOUR), levels.items(), strict=False):
        seconds = torch.arange(len(values)) * hop_seconds
        axes.plot(seconds.numpy(), values.numpy(), linewidth=1, color=colour, label=name)
    axes.set_ylim(_LOWEST_DB, 3)
    _lines(axes)
    _legend(axes, len(levels))
    return figure


def plot_pitch(hertz: Tensor, hop_seconds: float, duration: float) -> Figure:
    """Draw the pitch where there is one, on a scale of octaves.

    Args:
        hertz: (F,), 0 where there is no pitch.
        hop_seconds, duration: as for `plot_levels`.
    """
    figure, axes = make_figure("Pitch (F0)", "frequency (Hz)", duration)
    voiced = hertz > 0
    seconds = torch.arange(len(hertz)) * hop_seconds
    axes.plot(
        seconds[voiced].numpy(),
        hertz[voiced].numpy(),
        linestyle="",
        marker=".",
        markersize=3,
        color=LINE_COLOUR,
    )
    axes.set_yscale("log", base=2)
    axes.set_ylim(PITCH_RANGE_HZ[0] / 1.05, PITCH_RANGE_HZ[1] * 1.05)
    axes.set_yticks(_PITCH_TICKS_HZ)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    _lines(axes)
    if not voiced.any():
        axes.text(0.5, 0.5, "no pitch found", transform=axes.transAxes, ha="center", color="0.4")
    return figure


def plot_surprise(
    bits: Tensor, sample_rate: int, duration: float, marks: Mapping[str, float]
) -> Figure:
    """Draw bits per sample over time, averaged over 10 ms or more.

    Args:
        bits: (T,), -log2 of the probability of each sample.
        sample_rate: Hz, of the samples that were scored.
        duration: of the recording, seconds.
        marks: levels in bits to compare with, by name; at most two.
    """
    group = max(round(BLOCK_SECONDS * sample_rate), math.ceil(len(bits) / MAX_COLUMNS))
    means = group_means(bits, group)
    title = f"Surprise (mean of {1000 * group / sample_rate:.0f} ms)"
    figure, axes = make_figure(title, "bits per sample", duration)
    edges = torch.arange(len(means) + 1) * group / sample_rate
    axes.stairs(means.numpy(), edges.numpy(), fill=True, color=LINE_COLOUR, alpha=0.25)
    axes.stairs(means.numpy(), edges.numpy(), baseline=None, color=LINE_COLOUR, linewidth=1)
    for style, (name, value) in zip(("-", "--"), marks.items(), strict=False):
        label = f"{name} {value:.2f}"
        axes.axhline(value, color=SECOND_COLOUR, linewidth=1, linestyle=style, label=label)
    highest = max([float(means.max()), *marks.values(), 1.0])
    axes.set_ylim(0, 1.25 * highest)
    _lines(axes)
    _legend(axes, len(marks))
    return figure


def plot_histogram(codes: Tensor, n_classes: int) -> Figure:
    """Draw how often every code occurs, on a scale of decades: silence would dwarf all others.

    Args:
        codes: (T,) integers below n_classes, T >= 1.
        n_classes: size of the alphabet.
    """
    shares = 100 * torch.bincount(codes, minlength=n_classes) / len(codes)
    figure, axes = make_figure("Mu-law histogram", "samples (%)", n_classes)
    edges = torch.arange(n_classes + 1) - 0.5
    lowest = 80 / len(codes)  # a code that occurs once is seen, one that does not is not
    axes.stairs(shares.numpy(), edges.numpy(), baseline=lowest, fill=True, color=LINE_COLOUR)
    axes.set_yscale("log")
    axes.set_ylim(lowest, 150)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(-0.5, n_classes - 0.5)
    axes.set_xticks([*range(0, n_classes, n_classes // 8), n_classes - 1])
    axes.set_xlabel(f"code (index; {n_classes // 2} is silence)")
    _lines(axes)
    return figure


def _milliseconds(config: FeatureConfig) -> str:
    return f"{1000 * config.hop_length / config.sample_rate:.0f}"


def _lines(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.4, color="0.85")
    axes.set_axisbelow(True)


def _legend(axes: Axes, columns: int) -> None:
    """Put the names above the picture, beside its title, where no curve runs."""
    if not columns:
        return
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 0.99),
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0,
    )
