"""Plots of a recording over time, with aligned time axes.

Input: a waveform (T,) and its sample rate, or values per frame and their time step. Output: a
matplotlib Figure, created without pyplot and therefore without global state. Called by the command
line, the studio and the evaluations.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from audio_utils.analysis import PITCH_RANGE_HZ, deltas, group_means
from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.errors import AudioError
from audio_utils.features import (
    FLOOR_POWER,
    FeatureConfig,
    hz_to_mel,
    log_mel,
    mfcc,
    stft_magnitude,
)
from audio_utils.levels import BLOCK_SECONDS

FIGURE_SIZE_INCHES = (9.0, 2.6)
# Fixed boxes (left, bottom, width, height): a layout engine would shift the time axis with the
# width of the tick labels.
_AXES_BOX = (0.085, 0.2, 0.8, 0.68)
_COLOURBAR_BOX = (0.9, 0.2, 0.014, 0.68)
# More than the width of the plot in pixels: more columns would not be visible.
MAX_COLUMNS = 2000
_RANGE_DB = 80.0
_MEL_TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
_PITCH_TICKS_HZ = (65, 100, 200, 400, 800)
_LOWEST_LEVEL_DB = -100.0
_DPI = 150
LINE_COLOUR = "#31688e"
SECOND_COLOUR = "#b5367a"


def plot_waveform(waveform: Tensor, sample_rate: int) -> Figure:
    """Draw amplitude over time; a long recording as the range between minimum and maximum.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    samples = _check_samples(waveform, sample_rate)
    figure, axes = _make_figure("Waveform", "amplitude", len(samples) / sample_rate)
    if len(samples) <= 2 * MAX_COLUMNS:
        seconds = torch.arange(len(samples)) / sample_rate
        marker = "." if len(samples) < 64 else ""
        axes.plot(seconds.numpy(), samples.numpy(), linewidth=0.8, marker=marker, color=LINE_COLOUR)
    else:
        seconds, low, high = _envelope(samples, sample_rate)
        # With an outline, because a thin range could vanish between two pixels.
        edges = (low.numpy(), high.numpy())
        axes.fill_between(seconds.numpy(), *edges, linewidth=0.5, color=LINE_COLOUR)
    peak = max(0.01, 1.05 * float(samples.abs().max()))
    axes.set_ylim(-peak, peak)
    axes.axhline(0, linewidth=0.4, color="0.5")
    return figure


def plot_spectrogram(
    waveform: Tensor, sample_rate: int, config: FeatureConfig | None = None
) -> Figure:
    """Draw the level of every frequency over time, down to 80 dB below the maximum.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        config: window and transform; None for the defaults at this sample rate. The hop grows with
            the length of the recording, for at most 2000 columns.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform, sample rate or config.
    """
    samples, config = _prepare(waveform, sample_rate, config)
    energy = stft_magnitude(samples, config) ** 2
    values = _relative_to_maximum(10 * energy.clamp(min=FLOOR_POWER).log10())
    figure, axes = _make_figure("Spectrogram", "frequency (Hz)", len(samples) / sample_rate)
    step = sample_rate / config.n_fft
    rows = (-step / 2, sample_rate / 2 + step / 2)
    image = _draw_frames(axes, values, config, rows, "magma")
    axes.set_ylim(0, sample_rate / 2)
    _add_level_colourbar(figure, image)
    return figure


def plot_mel(waveform: Tensor, sample_rate: int, config: FeatureConfig | None = None) -> Figure:
    """Draw the level in every mel filter over time, with ticks in Hz at the filter centres.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform, sample rate or config.
    """
    samples, config = _prepare(waveform, sample_rate, config)
    values = _relative_to_maximum(log_mel(samples, config))
    figure, axes = _make_figure("Mel spectrogram", "mel frequency (Hz)", len(samples) / sample_rate)
    image = _draw_frames(axes, values, config, (-0.5, config.n_mels - 0.5), "magma")
    rows = {hz: _mel_row(hz, config) for hz in _MEL_TICKS_HZ}
    visible = {hz: row for hz, row in rows.items() if -0.5 <= row <= config.n_mels - 0.5}
    axes.set_yticks(list(visible.values()), [str(hz) for hz in visible])
    _add_level_colourbar(figure, image)
    return figure


def plot_mfcc(waveform: Tensor, sample_rate: int, config: FeatureConfig | None = None) -> Figure:
    """Draw the cepstral coefficients over time.

    The colour scale ignores the first coefficient, which is the level and exceeds the others.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform, sample rate or config.
    """
    samples, config = _prepare(waveform, sample_rate, config)
    values = mfcc(samples, config)
    figure, axes = _make_figure("MFCC", "coefficient (index)", len(samples) / sample_rate)
    image = _draw_frames(axes, values, config, (-0.5, config.n_mfcc - 0.5), "viridis")
    scaled = values[1:] if config.n_mfcc > 1 else values
    limit = max(1.0, float(scaled.abs().flatten().quantile(0.98)))
    image.set_clim(-limit, limit)
    figure.colorbar(image, cax=figure.add_axes(_COLOURBAR_BOX), label="value (dB)", extend="both")
    return figure


def plot_deltas(waveform: Tensor, sample_rate: int, order: int = 1) -> Figure:
    """Draw the deltas of the cepstral coefficients, or the deltas of these deltas.

    Args:
        waveform: (T,), floating point, finite, T >= 1.
        sample_rate: Hz.
        order: 1 for the deltas, 2 for the deltas of the deltas.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    samples, config = _prepare(waveform, sample_rate, None)
    values = mfcc(samples, config)
    for _ in range(order):
        values = deltas(values)
    name, unit = ("delta", "dB/frame") if order == 1 else ("delta-delta", "dB/frame²")
    hop_milliseconds = 1000 * config.hop_length / config.sample_rate
    title = f"MFCC {name}, one frame every {hop_milliseconds:.0f} ms"
    figure, axes = _make_figure(title, "coefficient (index)", len(samples) / sample_rate)
    image = _draw_frames(axes, values, config, (-0.5, config.n_mfcc - 0.5), "viridis")
    limit = max(0.1, float(values[1:].abs().flatten().quantile(0.98)))
    image.set_clim(-limit, limit)
    bar_axes = figure.add_axes(_COLOURBAR_BOX)
    figure.colorbar(image, cax=bar_axes, label=f"change ({unit})", extend="both")
    return figure


def plot_mel_comparison(
    waveforms: Mapping[str, Tensor], sample_rate: int, config: FeatureConfig | None = None
) -> Figure:
    """Draw the mel spectrograms of several waveforms of equal length, with one colour scale.

    Args:
        waveforms: (T,) each, by title; levels are relative to the maximum of the first.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: an invalid waveform, sample rate or config.
    """
    figure = Figure(figsize=FIGURE_SIZE_INCHES)
    left, bottom, width, height = _AXES_BOX
    gap = 0.02
    panel_width = (width + gap) / len(waveforms) - gap
    maximum = None
    for n, (title, waveform) in enumerate(waveforms.items()):
        samples, settings = _prepare(waveform, sample_rate, config)
        values = log_mel(samples, settings)
        maximum = float(values.max()) if maximum is None else maximum
        axes = figure.add_axes((left + n * (panel_width + gap), bottom, panel_width, height))
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(0, len(samples) / sample_rate)
        rows = (-0.5, settings.n_mels - 0.5)
        image = _draw_frames(axes, values - maximum, settings, rows, "magma")
        image.set_clim(-_RANGE_DB, 0)
        axes.set_xlabel("time (s)")
        if n == 0:
            axes.set_ylabel("mel band")
        else:
            axes.set_yticks([])
    _add_level_colourbar(figure, image)
    return figure


def plot_levels(levels: Mapping[str, Tensor], hop_seconds: float, duration: float) -> Figure:
    """Draw levels over time.

    Args:
        levels: (F,) dB re full scale each, by the name for the legend; at most two.
        hop_seconds: from frame to frame; the first frame is at 0.
        duration: of the recording, seconds.
    """
    figure, axes = _make_figure("Level (RMS)", "level (dB re full scale)", duration)
    for colour, (name, values) in zip((LINE_COLOUR, SECOND_COLOUR), levels.items(), strict=False):
        seconds = torch.arange(len(values)) * hop_seconds
        axes.plot(seconds.numpy(), values.numpy(), linewidth=1, color=colour, label=name)
    axes.set_ylim(_LOWEST_LEVEL_DB, 3)
    _add_grid(axes)
    _add_legend(axes, len(levels))
    return figure


def plot_pitch(hertz: Tensor, hop_seconds: float, duration: float) -> Figure:
    """Draw the pitch of the voiced frames, on a scale of octaves.

    Args:
        hertz: (F,), 0 for unvoiced frames.
        hop_seconds, duration: as for `plot_levels`.
    """
    figure, axes = _make_figure("Pitch (F0)", "frequency (Hz)", duration)
    is_voiced = hertz > 0
    seconds = torch.arange(len(hertz)) * hop_seconds
    axes.plot(
        seconds[is_voiced].numpy(),
        hertz[is_voiced].numpy(),
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
    _add_grid(axes)
    if not is_voiced.any():
        axes.text(0.5, 0.5, "no pitch found", transform=axes.transAxes, ha="center", color="0.4")
    return figure


def plot_surprise(
    bits: Tensor, sample_rate: int, duration: float, marks: Mapping[str, float]
) -> Figure:
    """Draw bits per sample over time, averaged over 10 ms or more.

    Args:
        bits: (T,), -log2 of the probability of each sample.
        sample_rate: Hz, of the scored samples.
        duration: of the recording, seconds.
        marks: bits per sample by name, at most two; drawn as horizontal lines.
    """
    group = max(round(BLOCK_SECONDS * sample_rate), math.ceil(len(bits) / MAX_COLUMNS))
    means = group_means(bits, group)
    title = f"Surprise (mean of {1000 * group / sample_rate:.0f} ms)"
    figure, axes = _make_figure(title, "bits per sample", duration)
    edges = torch.arange(len(means) + 1) * group / sample_rate
    axes.stairs(means.numpy(), edges.numpy(), fill=True, color=LINE_COLOUR, alpha=0.25)
    axes.stairs(means.numpy(), edges.numpy(), baseline=None, color=LINE_COLOUR, linewidth=1)
    for style, (name, value) in zip(("-", "--"), marks.items(), strict=False):
        label = f"{name} {value:.2f}"
        axes.axhline(value, color=SECOND_COLOUR, linewidth=1, linestyle=style, label=label)
    highest = max([float(means.max()), *marks.values(), 1.0])
    axes.set_ylim(0, 1.25 * highest)
    _add_grid(axes)
    _add_legend(axes, len(marks))
    return figure


def plot_histogram(codes: Tensor, n_classes: int) -> Figure:
    """Draw the frequency of every code, on a logarithmic scale because silence is so frequent.

    Args:
        codes: (T,) mu-law codes with the rounding "half-up", below n_classes, T >= 1.
        n_classes: number of codes; the silence code is half of it.
    """
    percentages = 100 * torch.bincount(codes, minlength=n_classes) / len(codes)
    figure, axes = _make_figure("Mu-law histogram", "samples (%)", n_classes)
    edges = torch.arange(n_classes + 1) - 0.5
    lowest = 80 / len(codes)  # below the bar of a code that occurs once
    axes.stairs(percentages.numpy(), edges.numpy(), baseline=lowest, fill=True, color=LINE_COLOUR)
    axes.set_yscale("log")
    axes.set_ylim(lowest, 150)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(-0.5, n_classes - 0.5)
    axes.set_xticks([*range(0, n_classes, n_classes // 8), n_classes - 1])
    axes.set_xlabel(f"code (index; {n_classes // 2} is silence)")
    _add_grid(axes)
    return figure


RECORDING_PLOTS = {
    "waveform": plot_waveform,
    "spectrogram": plot_spectrogram,
    "mel": plot_mel,
    "mfcc": plot_mfcc,
}
"""The plots of `wavenet analyse` by name, all with the same time axis."""


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: any matplotlib figure.
        path: ends in .png, in an existing folder; an existing file is replaced.
    Raises:
        AudioError: another suffix, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise AudioError(f"{path}: expected a name ending in .png.")
    try:
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {os_error_reason(error)}.") from error


def _check_samples(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the samples (T,) as float32 on the CPU; raise AudioError if they cannot be drawn."""
    if waveform.ndim != 1 or not len(waveform) or not waveform.is_floating_point():
        found = f"{waveform.dtype} of shape {tuple(waveform.shape)}"
        raise AudioError(f"Expected floating point samples of shape (T,), got {found}.")
    if sample_rate < 1:
        raise AudioError(f"sample_rate must be at least 1 Hz, not {sample_rate}.")
    samples = waveform.detach().to("cpu", torch.float32)
    if not samples.isfinite().all():
        raise AudioError("The waveform has samples that are not finite (NaN or infinite).")
    return samples


def _prepare(
    waveform: Tensor, sample_rate: int, config: FeatureConfig | None
) -> tuple[Tensor, FeatureConfig]:
    """Return checked samples, and settings with a hop for at most about `MAX_COLUMNS` frames."""
    samples = _check_samples(waveform, sample_rate)
    config = config or FeatureConfig.default_for(sample_rate)
    if config.sample_rate != sample_rate:
        raise AudioError(
            f"The feature settings are for {config.sample_rate} Hz, the waveform has "
            f"{sample_rate} Hz."
        )
    return samples, config.with_hop(max(config.hop_length, math.ceil(len(samples) / MAX_COLUMNS)))


def _make_figure(title: str, y_label: str, duration: float) -> tuple[Figure, Axes]:
    """Return an empty figure with labels and a time axis of `duration` seconds."""
    figure = Figure(figsize=FIGURE_SIZE_INCHES)
    axes = figure.add_axes(_AXES_BOX)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("time (s)")
    axes.set_ylabel(y_label)
    axes.yaxis.set_label_coords(-0.075, 0.5)
    axes.set_xlim(0, duration)
    return figure, axes


def _envelope(samples: Tensor, sample_rate: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return seconds, minimum and maximum of equal groups; the last one is padded by repetition."""
    group = math.ceil(len(samples) / MAX_COLUMNS)
    missing = -len(samples) % group
    groups = torch.cat([samples, samples[-1:].expand(missing)]).reshape(-1, group)
    seconds = (torch.arange(len(groups)) + 0.5) * group / sample_rate
    return seconds, groups.amin(1), groups.amax(1)


def _draw_frames(
    axes: Axes, values: Tensor, config: FeatureConfig, rows: tuple[float, float], colours: str
) -> AxesImage:
    """Draw values (rows, frames), with every frame centred on its time."""
    # Up to half a hop at the end may have no frame; the last frame is repeated there.
    values = torch.cat([values, values[:, -1:]], dim=1)
    hop = config.hop_length / config.sample_rate
    left, right = -hop / 2, (values.shape[1] - 0.5) * hop
    # The limits of the time axis are set already; imshow keeps them.
    return axes.imshow(
        values.numpy(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(left, right, *rows),
        cmap=colours,
    )


def _relative_to_maximum(decibels: Tensor) -> Tensor:
    """Return decibels relative to their maximum; silence becomes the lowest value of the range."""
    maximum, floor = float(decibels.max()), 10 * math.log10(FLOOR_POWER)
    return decibels - (maximum if maximum > floor else floor + _RANGE_DB)


def _add_level_colourbar(figure: Figure, image: AxesImage) -> None:
    image.set_clim(-_RANGE_DB, 0)
    bar_axes = figure.add_axes(_COLOURBAR_BOX)
    figure.colorbar(image, cax=bar_axes, label="level (dB re maximum)")


def _mel_row(frequency: float, config: FeatureConfig) -> float:
    """Return the position of a frequency among the filter centres, which are equidistant in mel."""
    low, high = hz_to_mel(config.f_min), hz_to_mel(config.upper_edge_hz)
    return (hz_to_mel(frequency) - low) / (high - low) * (config.n_mels + 1) - 1


def _add_grid(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.4, color="0.85")
    axes.set_axisbelow(True)


def _add_legend(axes: Axes, columns: int) -> None:
    """Add a legend above the axes, beside the title, where it covers no curve."""
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
