"""Pictures of a waveform that line up under each other.

Enters: a waveform (T,) and its rate. Leaves: a matplotlib Figure, made without pyplot and so
without global state. Callers: the command line, the studio, training reports.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import (
    FLOOR_POWER,
    FeatureConfig,
    hz_to_mel,
    log_mel,
    mfcc,
    stft_magnitude,
)
from audio_utils.files import atomic_file, reason

SIZE_INCHES = (9.0, 2.6)
# Fixed places, not a layout engine: it would move the time axis with the width of the labels.
_PLOT = (0.085, 0.2, 0.8, 0.68)
BAR = (0.9, 0.2, 0.014, 0.68)
# More than the pixels across; what lies between columns would not be seen.
MAX_COLUMNS = 2000
_RANGE_DB = 80.0
_MEL_TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
_DPI = 150
LINE_COLOUR = "#31688e"


def plot_waveform(waveform: Tensor, sample_rate: int) -> Figure:
    """Draw amplitude over time; a long recording as the range between minimum and maximum.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: the waveform or the rate cannot be drawn.
    """
    samples = checked(waveform, sample_rate)
    figure, axes = make_figure("Waveform", "amplitude", len(samples) / sample_rate)
    if len(samples) <= 2 * MAX_COLUMNS:
        seconds = torch.arange(len(samples)) / sample_rate
        marker = "." if len(samples) < 64 else ""
        axes.plot(seconds.numpy(), samples.numpy(), linewidth=0.8, marker=marker, color=LINE_COLOUR)
    else:
        seconds, low, high = _envelope(samples, sample_rate)
        # A line as well, for a thin range would vanish between two pixels.
        edges = (low.numpy(), high.numpy())
        axes.fill_between(seconds.numpy(), *edges, linewidth=0.5, color=LINE_COLOUR)
    peak = max(0.01, 1.05 * float(samples.abs().max()))
    axes.set_ylim(-peak, peak)
    axes.axhline(0, linewidth=0.4, color="0.5")
    return figure


def plot_spectrogram(
    waveform: Tensor, sample_rate: int, config: FeatureConfig | None = None
) -> Figure:
    """Draw the level of every frequency over time, 80 dB down from the loudest point.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        config: window and transform; None for the defaults at this rate. The hop grows with long
            recordings, to at most 2000 columns.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: the waveform, the rate or the settings cannot be used.
    """
    samples, config = prepared(waveform, sample_rate, config)
    energy = stft_magnitude(samples, config) ** 2
    values = _below_loudest(10 * energy.clamp(min=FLOOR_POWER).log10())
    figure, axes = make_figure("Spectrogram", "frequency (Hz)", len(samples) / sample_rate)
    step = sample_rate / config.n_fft
    image = draw_frames(axes, values, config, (-step / 2, sample_rate / 2 + step / 2), "magma")
    axes.set_ylim(0, sample_rate / 2)
    _level_bar(figure, image)
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
        AudioError: the waveform, the rate or the settings cannot be used.
    """
    samples, config = prepared(waveform, sample_rate, config)
    values = _below_loudest(log_mel(samples, config))
    figure, axes = make_figure("Mel spectrogram", "mel frequency (Hz)", len(samples) / sample_rate)
    image = draw_frames(axes, values, config, (-0.5, config.n_mels - 0.5), "magma")
    rows = {hz: _row_of(hz, config) for hz in _MEL_TICKS_HZ}
    shown = {hz: row for hz, row in rows.items() if -0.5 <= row <= config.n_mels - 0.5}
    axes.set_yticks(list(shown.values()), [str(hz) for hz in shown])
    _level_bar(figure, image)
    return figure


def plot_mfcc(waveform: Tensor, sample_rate: int, config: FeatureConfig | None = None) -> Figure:
    """Draw the cepstral coefficients over time; the first, loudness, leaves the colour scale.

    Args:
        waveform: (T,), floating point, finite, T >= 1, any device.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: the waveform, the rate or the settings cannot be used.
    """
    samples, config = prepared(waveform, sample_rate, config)
    values = mfcc(samples, config)
    figure, axes = make_figure("MFCC", "coefficient (index)", len(samples) / sample_rate)
    image = draw_frames(axes, values, config, (-0.5, config.n_mfcc - 0.5), "viridis")
    shape = values[1:] if config.n_mfcc > 1 else values
    limit = max(1.0, float(shape.abs().flatten().quantile(0.98)))
    image.set_clim(-limit, limit)
    figure.colorbar(image, cax=figure.add_axes(BAR), label="value (dB)", extend="both")
    return figure


def plot_side_by_side(
    waveforms: Mapping[str, Tensor], sample_rate: int, config: FeatureConfig | None = None
) -> Figure:
    """Draw the mel spectrograms of several waveforms of one length, one shared scale of level.

    Args:
        waveforms: (T,) each, by the title that it is to have; the first is what levels refer to.
        sample_rate: Hz.
        config: as for `plot_spectrogram`.
    Returns:
        A figure of 9 x 2.6 inches.
    Raises:
        AudioError: a waveform, the rate or the settings cannot be used.
    """
    figure = Figure(figsize=SIZE_INCHES)
    left, bottom, width, height = _PLOT
    gap = 0.02
    wide = (width + gap) / len(waveforms) - gap
    loudest = None
    for n, (title, waveform) in enumerate(waveforms.items()):
        samples, settings = prepared(waveform, sample_rate, config)
        values = log_mel(samples, settings)
        loudest = float(values.max()) if loudest is None else loudest
        axes = figure.add_axes((left + n * (wide + gap), bottom, wide, height))
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(0, len(samples) / sample_rate)
        rows = (-0.5, settings.n_mels - 0.5)
        image = draw_frames(axes, values - loudest, settings, rows, "magma")
        image.set_clim(-_RANGE_DB, 0)
        axes.set_xlabel("time (s)")
        if n == 0:
            axes.set_ylabel("mel band")
        else:
            axes.set_yticks([])
    figure.colorbar(image, cax=figure.add_axes(BAR), label="level (dB re loudest)")
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: any matplotlib figure.
        path: ends in .png, in a folder that exists; an existing file is replaced.
    Raises:
        AudioError: another suffix, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise AudioError(f"{path}: expected a name ending in .png.")
    try:
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
    except OSError as error:
        raise AudioError(f"Cannot write {path}: {reason(error)}.") from error


def checked(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return samples (T,) as float32 on the CPU; refuse what cannot be drawn."""
    if waveform.ndim != 1 or not len(waveform) or not waveform.is_floating_point():
        found = f"{waveform.dtype} of shape {tuple(waveform.shape)}"
        raise AudioError(f"Expected floating point samples of shape (T,), got {found}.")
    if sample_rate < 1:
        raise AudioError(f"sample_rate must be at least 1 Hz, not {sample_rate}.")
    samples = waveform.detach().to("cpu", torch.float32)
    if not samples.isfinite().all():
        raise AudioError("The waveform has samples that are not finite (NaN or infinite).")
    return samples


def prepared(
    waveform: Tensor, sample_rate: int, config: FeatureConfig | None
) -> tuple[Tensor, FeatureConfig]:
    """Return the samples and settings whose frames are at most about `MAX_COLUMNS`."""
    samples = checked(waveform, sample_rate)
    config = config or FeatureConfig.default_for(sample_rate)
    if config.sample_rate != sample_rate:
        raise AudioError(
            f"The feature settings are for {config.sample_rate} Hz, the waveform has "
            f"{sample_rate} Hz."
        )
    return samples, config.with_hop(max(config.hop_length, math.ceil(len(samples) / MAX_COLUMNS)))


def make_figure(title: str, label: str, duration: float) -> tuple[Figure, Axes]:
    """Make an empty picture: a title, what its ordinate is, and `duration` seconds of time."""
    figure = Figure(figsize=SIZE_INCHES)
    axes = figure.add_axes(_PLOT)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("time (s)")
    axes.set_ylabel(label)
    axes.yaxis.set_label_coords(-0.075, 0.5)
    axes.set_xlim(0, duration)
    return figure, axes


def _envelope(samples: Tensor, sample_rate: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the seconds, minimum and maximum of equal groups; the last sample fills the last."""
    group = math.ceil(len(samples) / MAX_COLUMNS)
    missing = -len(samples) % group
    groups = torch.cat([samples, samples[-1:].expand(missing)]).reshape(-1, group)
    seconds = (torch.arange(len(groups)) + 0.5) * group / sample_rate
    return seconds, groups.amin(1), groups.amax(1)


def draw_frames(
    axes: Axes, values: Tensor, config: FeatureConfig, rows: tuple[float, float], colours: str
) -> AxesImage:
    """Draw (rows, frames) with every frame centred on its time."""
    # Half a hop at the end may have no frame of its own; the last one is shown there.
    values = torch.cat([values, values[:, -1:]], dim=1)
    hop = config.hop_length / config.sample_rate
    left, right = -hop / 2, (values.shape[1] - 0.5) * hop
    # The limits of time are set already, and matplotlib keeps them.
    return axes.imshow(
        values.numpy(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(left, right, *rows),
        cmap=colours,
    )


def _below_loudest(decibels: Tensor) -> Tensor:
    """Refer decibels to the loudest point; silence has none and is drawn dark."""
    loudest, floor = float(decibels.max()), 10 * math.log10(FLOOR_POWER)
    return decibels - (loudest if loudest > floor else floor + _RANGE_DB)


def _level_bar(figure: Figure, image: AxesImage) -> None:
    image.set_clim(-_RANGE_DB, 0)
    figure.colorbar(image, cax=figure.add_axes(BAR), label="level (dB re loudest)")


def _row_of(frequency: float, config: FeatureConfig) -> float:
    """Return the place of a frequency between the filter centres, which are equal steps in mel."""
    low, high = hz_to_mel(config.f_min), hz_to_mel(config.highest)
    return (hz_to_mel(frequency) - low) / (high - low) * (config.n_mels + 1) - 1


PICTURES = {
    "waveform": plot_waveform,
    "spectrogram": plot_spectrogram,
    "mel": plot_mel,
    "mfcc": plot_mfcc,
}
"""The pictures of a recording by name, all on the same time axis."""
