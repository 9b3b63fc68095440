"""The pictures of a clip as data: waveform, spectrogram, mel, MFCC, deltas, level, F0, surprise.

Input: a waveform. Output: panels, each a curve or a grid of cells over time, ready for JSON. Called
by the tabs, which send panels to the viewer.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_utils import analysis
from audio_utils.features import (
    FLOOR_POWER,
    FeatureConfig,
    hz_to_mel,
    log_mel,
    mel_row,
    mel_to_hz,
    mfcc,
    rms_level,
    stft_magnitude,
)
from wavenet.ui.clip_history.clip_store import Clip

MAX_COLUMNS = 1200  # of a grid: more than a screen shows; limits the message to about 1 MB
MAX_ROWS = 256
MAX_POINTS = 6000  # of a curve
RANGE_DB = 100.0  # of the levels in a message, below the maximum
LOWEST_LEVEL_DB = -100.0
_STEPS = 65_535  # of a value in a message; a curve uses the highest for "no value"
_TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16_000)
_TICK_DISTANCE = 0.08  # of two labels, as a share of the axis
_PITCH_TICKS_HZ = (100, 200, 400, 800)  # octaves


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: shown above the picture.
        kind: "waveform" (drawn from the audio), "line", "heatmap" or "intervals".
        values: (rows, F), NaN where there is no value; a line has a curve per row; intervals have
            one row with their bounds, s.
        step: seconds from cell to cell.
        start: time at the left edge of the first cell, s.
        low, high: range of the values; other values are clipped.
        unit: of the values.
        names: of a heatmap, from the lowest row; of the curves, if there are several; of the
            intervals.
        ticks: positions on the vertical axis, with their text.
        limit: of a heatmap with values of both signs: the colours range from -limit
            to limit; 0 if all values have one sign.
        hidden: whether the user must switch the picture on.
        log: of a line, whether the vertical axis is logarithmic.
    """

    title: str
    kind: str
    values: Tensor
    step: float = 0.0
    start: float = 0.0
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    names: Sequence[str] = ()
    ticks: Sequence[tuple[float, str]] = ()
    limit: float = 0.0
    hidden: bool = False
    log: bool = False

    def message(self) -> dict[str, Any]:
        """Return the panel for JSON; the values are 16-bit steps between `low` and `high`."""
        values = self.values.numpy().astype(np.float64)
        scaled = (values - self.low) / ((self.high - self.low) or 1) * (_STEPS - 1)
        steps = np.where(np.isnan(scaled), _STEPS, np.clip(np.rint(scaled), 0, _STEPS - 1))
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "values"}
        data = base64.b64encode(steps.astype("<u2").tobytes()).decode("ascii")
        return {**shown, "rows": self.values.shape[0], "data": data}


def signal_panels(waveform: Tensor, sample_rate: int) -> list[Panel]:
    """Return waveform, spectrogram, mel spectrogram, and MFCC with deltas.

    Args:
        waveform: (T,), floating point, finite, T >= 1.
        sample_rate: Hz, 4,000 or more.
    Raises:
        AudioError: an invalid waveform or sample rate.
    """
    default = FeatureConfig.default_for(sample_rate)
    config = default.with_hop(max(default.hop_length, -(-len(waveform) // MAX_COLUMNS)))
    coefficients = mfcc(waveform, config)
    slopes = analysis.deltas(coefficients)
    return [
        waveform_panel(waveform),
        _spectrogram(waveform, config),
        _mel(waveform, config),
        _coefficients("MFCC", coefficients, config),
        _coefficients("MFCC delta", slopes, config, unit="dB/frame", hidden=True),
        _coefficients("MFCC delta-delta", analysis.deltas(slopes), config, "dB/frame²", True),
    ]


def waveform_panel(waveform: Tensor) -> Panel:
    """Return the panel that the page draws from the audio itself."""
    peak = max(0.01, 1.05 * float(waveform.abs().max()))
    return Panel("Waveform", "waveform", torch.empty(0, 0), low=-peak, high=peak)


def surprise_panel(surprise: Tensor, sample_rate: int) -> Panel:
    """Return the surprise of (T,) samples in bits; long clips as means of equal intervals."""
    size = -(-len(surprise) // MAX_POINTS)
    means = analysis.group_means(surprise, size)
    high = max(1.0, 1.05 * float(means.nan_to_num().max()))
    step = size / sample_rate
    return Panel("Surprise", "line", means[None], step, high=high, unit="bits/sample")


def pitch_panel(hertz: Tensor, hop_seconds: float) -> Panel:
    """Return the pitch; (F,) Hz, 0 where unvoiced, one value every `hop_seconds`."""
    values = torch.where(hertz > 0, hertz, torch.nan)[None]
    low, high = analysis.PITCH_RANGE_HZ
    ticks = [(float(hz), str(hz)) for hz in _PITCH_TICKS_HZ]
    return _frames(
        "Pitch (F0)", "line", values, hop_seconds, (low, high), "Hz", ticks=ticks, log=True
    )


def pending(panel: Panel) -> Panel:
    """Return a panel without values, which keeps the place of one that is computed later."""
    return replace(panel, values=torch.full((1, 1), torch.nan))


def level_panel(waveforms: Mapping[str, Tensor], sample_rate: int) -> Panel:
    """Return the RMS levels of waveforms (T,) of one length, by name."""
    config = FeatureConfig.default_for(sample_rate)
    samples = max(map(len, waveforms.values()))
    hop = max(config.hop_length, -(-samples // MAX_COLUMNS))
    levels = torch.stack([rms_level(x, config.win_length, hop) for x in waveforms.values()])
    step, bounds = hop / sample_rate, (LOWEST_LEVEL_DB, 3.0)
    return _frames("Level", "line", levels, step, bounds, "dBFS", names=list(waveforms))


def viewer_message(panels: Iterable[Panel], clip: Clip) -> dict[str, Any]:
    """Return the message for `viewer.js`: the panels of a clip, from top to bottom."""
    return {
        "name": clip.title,
        "url": clip.url,
        "samples": round(clip.seconds * clip.sample_rate),
        "rate": clip.sample_rate,
        "panels": [panel.message() for panel in panels],
        "partial": clip.is_partial,
    }


def panel_update(panel: Panel, url: str) -> dict[str, Any]:
    """Return the message that replaces the panel of this title, if the viewer shows this file."""
    return {"update": panel.message(), "url": url}


def spectrogram_panels(waveforms: Mapping[str, Tensor], config: FeatureConfig) -> list[Panel]:
    """Return the spectrograms of waveforms (T,) of one length, by name, on one scale of colours."""
    samples = max(map(len, waveforms.values()))
    config = config.with_hop(max(config.hop_length, -(-samples // MAX_COLUMNS)))
    levels = {name: _spectrogram_levels(x, config) for name, x in waveforms.items()}
    loudest = max(float(grid.max()) for grid in levels.values())
    return [
        _spectrogram_grid(f"{name} spectrogram", grid - loudest, config)
        for name, grid in levels.items()
    ]


def _spectrogram(waveform: Tensor, config: FeatureConfig) -> Panel:
    levels = _spectrogram_levels(waveform, config)
    return _spectrogram_grid("Spectrogram", levels - levels.max(), config)


def _spectrogram_levels(waveform: Tensor, config: FeatureConfig) -> Tensor:
    """Return levels in dB (rows, F), at most `MAX_ROWS` rows."""
    power = stft_magnitude(waveform, config) ** 2
    size = -(-power.shape[0] // MAX_ROWS)
    # The maximum of neighbouring rows keeps narrow partials visible.
    padded = torch.nn.functional.pad(power, (0, 0, 0, -power.shape[0] % size))
    rows = padded.reshape(-1, size, power.shape[1]).amax(1)
    return 10 * rows.clamp(min=FLOOR_POWER).log10()


def _spectrogram_grid(title: str, relative: Tensor, config: FeatureConfig) -> Panel:
    """Return the panel of levels relative to a maximum."""
    size = -(-(config.n_fft // 2 + 1) // MAX_ROWS)
    bin_hz = config.sample_rate / config.n_fft
    names = [f"{bin_hz * (size * n + (size - 1) / 2):,.0f} Hz" for n in range(len(relative))]
    ticks: list[tuple[float, str]] = []
    for hz in reversed(_TICKS_HZ[1:]):
        place = (hz / bin_hz + 0.5) / size  # the middle of the lowest bin is at 0.5 / size
        has_space = not ticks or ticks[0][0] - place >= _TICK_DISTANCE * len(relative)
        if hz <= config.sample_rate / 2 and has_space:
            ticks.insert(0, (place, f"{hz:,}"))
    return _levels(title, relative, config, names, ticks)


def _mel(waveform: Tensor, config: FeatureConfig) -> Panel:
    edges = np.linspace(hz_to_mel(config.f_min), hz_to_mel(config.upper_edge_hz), config.n_mels + 2)
    names = [f"{mel_to_hz(float(mel)):,.0f} Hz" for mel in edges[1:-1]]
    ticks = [
        (mel_row(hz, config) + 0.5, f"{hz:,}")
        for hz in _TICKS_HZ
        if 0 <= mel_row(hz, config) <= config.n_mels - 1
    ]
    levels = log_mel(waveform, config)
    return _levels("Mel spectrogram", levels - levels.max(), config, names, ticks)


def _levels(
    title: str,
    relative: Tensor,
    config: FeatureConfig,
    names: Sequence[str],
    ticks: Sequence[tuple[float, str]],
) -> Panel:
    """Return a heatmap of levels relative to a maximum."""
    step, bounds = config.hop_length / config.sample_rate, (-RANGE_DB, 0.0)
    return _frames(title, "heatmap", relative, step, bounds, "dB", names=names, ticks=ticks)


def _coefficients(
    title: str, values: Tensor, config: FeatureConfig, unit: str = "dB", hidden: bool = False
) -> Panel:
    """Return a heatmap of coefficients.

    The colours ignore the first coefficient, which is the level and exceeds the others.
    """
    return _frames(
        title,
        "heatmap",
        values,
        config.hop_length / config.sample_rate,
        (float(values.min()), float(values.max())),
        unit,
        names=[f"coefficient {n}" for n in range(len(values))],
        ticks=[(n + 0.5, str(n)) for n in range(0, len(values), 5)],
        limit=max(0.1, float(values[1:].abs().flatten().quantile(0.98))),
        hidden=hidden,
    )


def _frames(
    title: str,
    kind: str,
    values: Tensor,
    step: float,
    bounds: tuple[float, float],
    unit: str,
    **more: Any,
) -> Panel:
    """Return a panel of frames, each at the middle of its cell; `bounds` are low and high."""
    return Panel(title, kind, values, step, -step / 2, *bounds, unit, **more)
