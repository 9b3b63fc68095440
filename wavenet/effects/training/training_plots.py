"""Plots of a trained effect: waveforms, the spectrum of the error, the error by step.

Input: a wet recording and the output of the effect, or the rows of the metrics. Output: a
matplotlib Figure, created without pyplot. Called by `wavenet effects train`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audio_utils.features import FLOOR_POWER, FeatureConfig, stft_magnitude
from audio_utils.plots import FIGURE_SIZE_INCHES, LINE_COLOUR, MAX_COLUMNS, SECOND_COLOUR

ZOOM_SECONDS = 0.01
_N_FFT = 1024
_RANGE_DB = 100.0


def plot_waveforms(wet: Tensor, outputs: Tensor, rate: int) -> Figure:
    """Draw both waveforms and their difference around the largest sample of the wet one.

    Args:
        wet, outputs: (T,).
        rate: Hz.
    Returns:
        A figure of 9 x 2.6 inches.
    """
    length = max(2, round(ZOOM_SECONDS * rate))
    start = max(0, min(int(wet.abs().argmax()) - length // 2, len(wet) - length))
    part = slice(start, start + length)
    milliseconds = 1000 * torch.arange(len(wet[part])) / rate
    figure = Figure(figsize=FIGURE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(milliseconds, wet[part], color=LINE_COLOUR, linewidth=1.2, label="wet recording")
    axes.plot(
        milliseconds, outputs[part], color=SECOND_COLOUR, linewidth=1, linestyle="--", label="model"
    )
    axes.plot(milliseconds, (wet - outputs)[part], color="black", linewidth=0.7, label="difference")
    axes.set_title("Waveforms around the largest sample", loc="left", fontsize=10)
    axes.set_xlabel("time (ms)")
    axes.legend(loc="upper right", fontsize=8)
    return figure


def plot_error_spectrum(wet: Tensor, outputs: Tensor, rate: int) -> Figure:
    """Draw the spectrograms of the wet recording and of the error on one scale.

    Args:
        wet, outputs: (T,).
        rate: Hz.
    Returns:
        A figure of 9 x 2.6 inches.
    """
    hop = max(256, -(-len(wet) // MAX_COLUMNS))
    config = FeatureConfig(rate, _N_FFT, _N_FFT, hop, n_mels=1, n_mfcc=1)
    powers = [stft_magnitude(x, config) ** 2 for x in (wet, wet - outputs)]
    levels = [10 * power.clamp(min=FLOOR_POWER).log10() for power in powers]
    top = float(levels[0].max())
    figure = Figure(figsize=FIGURE_SIZE_INCHES, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, values in zip(panels, ("wet recording", "error"), levels, strict=True):
        image = axes.imshow(
            (values - top).numpy(),
            origin="lower",
            aspect="auto",
            extent=(0, len(wet) / rate, 0, rate / 2000),
            cmap="magma",
            vmin=-_RANGE_DB,
            vmax=0,
        )
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("time (s)")
    panels[0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=list(panels), label="dB re the wet maximum")
    return figure


def plot_error_history(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """Draw the ESR of the validation parts by step.

    Args:
        rows: of the metrics.
        names: of the pairs.
    Returns:
        A figure of 9 x 2.6 inches.
    """
    figure = Figure(figsize=FIGURE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    for n, name in enumerate(names):
        values = [row["esr"][n] for row in rows]
        if None not in values:
            axes.plot(steps, values, marker=".", linewidth=1, label=name)
    axes.set_yscale("log")
    axes.set_title("Error of the validation part (ESR)", loc="left", fontsize=10)
    axes.set_xlabel("step")
    if len(names) <= 12:
        axes.legend(loc="upper right", fontsize=8)
    return figure
