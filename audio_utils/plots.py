"""Plots of a recording over time, with aligned time axes.

Input: a waveform (T,) and its sample rate. Output: a matplotlib Figure, created without pyplot and
therefore without global state. Called by the command line and the evaluations.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.errors import AudioError
from audio_utils.features import (
    FLOOR_POWER,
    FeatureConfig,
    log_mel,
    mel_row,
    mfcc,
    stft_magnitude,
)

FIGURE_SIZE_INCHES = (9.0, 2.6)
# Fixed boxes (left, bottom, width, height): a layout engine would shift the time axis with the
# width of the tick labels.
_AXES_BOX = (0.085, 0.2, 0.8, 0.68)
_COLOURBAR_BOX = (0.9, 0.2, 0.014, 0.68)
# More than the width of the plot in pixels: more columns would not be visible.
MAX_COLUMNS = 2000
_RANGE_DB = 80.0
_MEL_TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
_DPI = 150
_ROW_INCHES = 1.9  # of spectrograms one above the other
_INCHES_PER_SECOND = 2.5  # of a plot of segments, so that the labels of phones have space
_MAX_WIDTH_INCHES = 60.0
_SEGMENT_HEIGHTS = (1.02, 1.1)  # of labels, relative to the height of the spectrogram
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
    _add_frequency_ticks(axes, config)
    _add_level_colourbar(figure, image)
    return figure


def plot_sound_image(levels: Tensor, seconds: float, config: FeatureConfig) -> Figure:
    """Draw the levels of an image of sound, with ticks in Hz at the centres of the bands.

    Args:
        levels: (bands, frames), 0 to 15, the lowest band first.
        seconds: duration of the image.
        config: of its mel spectrogram.
    Returns:
        A figure of 9 x 2.6 inches.
    """
    figure, axes = _make_figure("Image of sound", "mel frequency (Hz)", seconds)
    image = axes.imshow(
        levels.numpy(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, seconds, -0.5, len(levels) - 0.5),
        cmap="magma",
    )
    _add_frequency_ticks(axes, config)
    image.set_clim(0, 15)
    figure.colorbar(image, cax=figure.add_axes(_COLOURBAR_BOX), label="level")
    return figure


def plot_pixels(levels: Tensor) -> Figure:
    """Draw the levels of any image, without axes.

    Args:
        levels: (rows, columns), 0 to 15, row 0 at the top.
    Returns:
        A figure in which every pixel is a square; the longer side has 2.6 inches or a little less,
        or one dot per pixel.
    """
    rows, columns = levels.shape
    dots = max(1, int(FIGURE_SIZE_INCHES[1] * _DPI) // max(rows, columns))
    figure = Figure(figsize=(columns * dots / _DPI, rows * dots / _DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    shown = axes.imshow(levels.numpy(), aspect="auto", interpolation="nearest", cmap="gray")
    shown.set_clim(0, 15)
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


def plot_mel_rows(
    waveforms: Mapping[str, Tensor], sample_rate: int, config: FeatureConfig | None = None
) -> Figure:
    """Draw the mel spectrograms of waveforms of any lengths, one above the other.

    Args:
        waveforms: (T,) each, by title; the levels are relative to the maximum of each.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 1.9 inches per waveform; all have one time axis.
    Raises:
        AudioError: an invalid waveform, sample rate or config.
    """
    width, height = FIGURE_SIZE_INCHES[0], _ROW_INCHES * len(waveforms)
    figure = Figure(figsize=(width, height))
    seconds = max(map(len, waveforms.values())) / sample_rate
    left, _, axes_width, _ = _AXES_BOX
    for n, (title, waveform) in enumerate(waveforms.items()):
        samples, settings = _prepare(waveform, sample_rate, config)
        bottom = (_ROW_INCHES * (len(waveforms) - 1 - n) + 0.45) / height
        axes = figure.add_axes((left, bottom, axes_width, 1.2 / height))
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(0, seconds)
        axes.set_ylabel("Hz")
        values = _relative_to_maximum(log_mel(samples, settings))
        rows = (-0.5, settings.n_mels - 0.5)
        _draw_frames(axes, values, settings, rows, "magma").set_clim(-_RANGE_DB, 0)
        _add_frequency_ticks(axes, settings)
    axes.set_xlabel("time (s)")
    return figure


def plot_segments(
    waveform: Tensor,
    sample_rate: int,
    segments: Sequence[tuple[str, float, float]],
    groups: Sequence[tuple[str, float, float]] = (),
) -> Figure:
    """Draw the mel spectrogram with the boundaries and labels of segments, such as phones.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        segments: (label, start, end), seconds; the labels stand above the spectrogram.
        groups: the same for groups of segments, such as words; their labels stand above.
    Returns:
        A figure of 2.6 inches, at least 9 inches wide, wider for a recording above 4 s.
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    samples, config = _prepare(waveform, sample_rate, None)
    seconds = len(samples) / sample_rate
    width = min(max(FIGURE_SIZE_INCHES[0], _INCHES_PER_SECOND * seconds), _MAX_WIDTH_INCHES)
    figure = Figure(figsize=(width, FIGURE_SIZE_INCHES[1]))
    margin = 0.7 / width
    axes = figure.add_axes((margin, 0.2, 1 - 1.3 * margin, 0.6))
    axes.set_xlim(0, seconds)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("mel frequency (Hz)")
    values = _relative_to_maximum(log_mel(samples, config))
    image = _draw_frames(axes, values, config, (-0.5, config.n_mels - 0.5), "magma")
    image.set_clim(-_RANGE_DB, 0)
    _add_frequency_ticks(axes, config)
    edges = {edge for _, start, end in segments for edge in (start, end)}
    axes.vlines(sorted(edges), -0.5, config.n_mels - 0.5, linewidth=0.6, color="white", alpha=0.7)
    # neighbouring labels have different heights, because short segments have little space
    heights = [_SEGMENT_HEIGHTS[n % 2] for n in range(len(segments))] + [1.2] * len(groups)
    for height, (label, start, end) in zip(heights, [*segments, *groups], strict=True):
        place = ((start + end) / 2, height)
        transform = axes.get_xaxis_transform()
        axes.text(*place, label, transform=transform, ha="center", fontsize=7)
    return figure


RECORDING_PLOTS = {
    "waveform": plot_waveform,
    "spectrogram": plot_spectrogram,
    "mel": plot_mel,
    "mfcc": plot_mfcc,
}
"""The plots of `wavenet analyse` by name, all with the same time axis."""


def save_figure(figure: Figure, path: str | Path, replace: bool = True) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: any matplotlib figure.
        path: ends in .png, in an existing folder.
        replace: whether an existing file may be replaced.
    Raises:
        AudioError: another suffix, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise AudioError(f"{path}: expected a name ending in .png.")
    try:
        with atomic_file(path, replace) as temporary:
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


def _add_frequency_ticks(axes: Axes, config: FeatureConfig) -> None:
    rows = {hz: mel_row(hz, config) for hz in _MEL_TICKS_HZ}
    visible = {hz: row for hz, row in rows.items() if -0.5 <= row <= config.n_mels - 0.5}
    axes.set_yticks(list(visible.values()), [str(hz) for hz in visible])


def _relative_to_maximum(decibels: Tensor) -> Tensor:
    """Return decibels relative to their maximum; silence becomes the lowest value of the range."""
    maximum, floor = float(decibels.max()), 10 * math.log10(FLOOR_POWER)
    return decibels - (maximum if maximum > floor else floor + _RANGE_DB)


def _add_level_colourbar(figure: Figure, image: AxesImage) -> None:
    image.set_clim(-_RANGE_DB, 0)
    bar_axes = figure.add_axes(_COLOURBAR_BOX)
    figure.colorbar(image, cax=bar_axes, label="level (dB re maximum)")
