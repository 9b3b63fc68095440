"""The data of the viewer's panels: the same values as `audio_utils`, at any length of a clip."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audio_utils import analysis
from audio_utils.features import FeatureConfig, log_mel, mfcc, rms_level, stft_magnitude
from wavenet.codec import MuLawCodec
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.viewer.panels import (
    MAX_COLUMNS,
    MAX_POINTS,
    MAX_ROWS,
    RANGE_DB,
    Panel,
    level_panel,
    panel_update,
    pending,
    pitch_panel,
    signal_panels,
    surprise_panel,
    viewer_message,
)
from wavenet.ui.viewer.viewer import COLOUR_MAPS, colour_tables, viewer_head

from .conftest import RATE, tone

STEPS = 65_534  # between the lowest and the highest value of a message


def decoded(panel: Panel) -> Any:
    """Return the values of a panel as the page computes them from its message."""
    message = panel.message()
    steps = np.frombuffer(base64.b64decode(message["data"]), "<u2").reshape(message["rows"], -1)
    values = message["low"] + steps * (message["high"] - message["low"]) / STEPS
    return np.where(steps == STEPS + 1, np.nan, values)


def noisy_tone(seconds: float = 1.0, rate: int = RATE) -> Tensor:
    noise = 0.01 * torch.randn(round(seconds * rate), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(tone(seconds, rate, peak=0.5)).float() + noise


def by_title(panels: list[Panel]) -> dict[str, Panel]:
    return {panel.title: panel for panel in panels}


def test_values_are_those_of_the_features() -> None:
    waveform = noisy_tone()
    config = FeatureConfig.default_for(RATE)
    coefficients = mfcc(waveform, config)
    slopes = analysis.deltas(coefficients)
    power = stft_magnitude(waveform, config) ** 2
    expected = {
        "Spectrogram": 10 * power.clamp(min=1e-10).log10(),
        "Mel spectrogram": log_mel(waveform, config),
        "MFCC": coefficients,
        "MFCC delta": slopes,
        "MFCC delta-delta": analysis.deltas(slopes),
    }
    panels = by_title(signal_panels(waveform, RATE))
    assert list(panels) == ["Waveform", *expected]
    for title, values in expected.items():
        panel = panels[title]
        if panel.unit == "dB" and title != "MFCC":
            values = (values - values.max()).clamp(min=-RANGE_DB)
        rounding = (panel.high - panel.low) / STEPS / 2
        assert decoded(panel).shape[1] == values.shape[1]
        if title == "Spectrogram":
            assert panel.values.shape[0] == 129 and len(panel.names) == 129
        error = np.abs(decoded(panel) - values.numpy()).max()
        assert error <= 1.01 * rounding + 1e-4, title


def test_neighbouring_rows_are_joined_by_their_maximum() -> None:
    rate = 48_000
    waveform = noisy_tone(0.5, rate)
    panel = by_title(signal_panels(waveform, rate))["Spectrogram"]
    config = FeatureConfig.default_for(rate)
    levels = 20 * stft_magnitude(waveform, config).clamp(min=1e-5).log10()
    size = -(-levels.shape[0] // MAX_ROWS)
    assert size > 1 and panel.values.shape[0] <= MAX_ROWS
    row = 440 * config.n_fft // rate // size
    expected = levels[size * row : size * (row + 1)].amax(0) - levels.max()
    assert np.allclose(decoded(panel)[row], expected.clamp(min=-RANGE_DB), atol=0.01)


@pytest.mark.parametrize(("rate", "hertz"), [(RATE, 1000), (RATE, 2000), (48_000, 4000)])
@pytest.mark.parametrize("title", ["Spectrogram", "Mel spectrogram"])
def test_tick_of_a_frequency_is_at_the_peak_of_its_tone(rate: int, hertz: int, title: str) -> None:
    waveform = torch.from_numpy(tone(0.5, rate, hertz)).float()
    panel = by_title(signal_panels(waveform, rate))[title]
    peak = int(panel.values[:, panel.values.shape[1] // 2].argmax())
    (position,) = [row for row, text in panel.ticks if text == f"{hertz:,}"]
    assert position == pytest.approx(peak + 0.5, abs=1.0)
    name = float(panel.names[peak].removesuffix(" Hz").replace(",", ""))
    assert name == pytest.approx(hertz, rel=0.05)


def test_levels_are_those_of_the_recording_and_of_its_quantisation_error() -> None:
    waveform = noisy_tone()
    codec = MuLawCodec()
    error = waveform - codec.decode(codec.encode(waveform))
    panel = level_panel({"recording": waveform, "error": error}, RATE)
    config = FeatureConfig.default_for(RATE)
    expected = [rms_level(x, config.win_length, config.hop_length) for x in (waveform, error)]
    assert np.allclose(decoded(panel), torch.stack(expected), atol=0.002)
    assert panel.message()["names"] == ["recording", "error"]
    # The widest interval of 8-bit mu-law is 4.4 % of full scale; half of it bounds the error.
    assert decoded(panel)[1].max() < 20 * np.log10(0.022)
    assert decoded(panel)[0, 30] == pytest.approx(-9.03, abs=0.1)


def test_unvoiced_frames_have_no_value() -> None:
    hertz = torch.tensor([0.0, 220.0, 440.0, 0.0])
    panel = pitch_panel(hertz, 0.01)
    values = decoded(panel)[0]
    assert np.isnan(values).tolist() == [True, False, False, True]
    assert np.allclose(values[1:3], [220, 440], atol=0.02)
    # The page draws a value in the middle of its cell, here at the time of its frame.
    assert panel.start + (1 + 0.5) * panel.step == pytest.approx(0.01)


def test_surprise_of_a_long_clip_is_a_mean() -> None:
    surprise = torch.arange(3.0 * MAX_POINTS)
    panel = surprise_panel(surprise, RATE)
    assert panel.values.shape == (1, MAX_POINTS)
    assert panel.step == 3 / RATE
    assert np.allclose(decoded(panel)[0, :2], [1, 4], atol=panel.high / STEPS)
    short = surprise_panel(torch.tensor([0.25, 8.0]), RATE)
    assert np.allclose(decoded(short)[0], [0.25, 8.0], atol=1e-3)


def test_panel_that_is_computed_later_has_no_values_yet() -> None:
    panel = pending(surprise_panel(torch.ones(9), RATE))
    assert np.isnan(decoded(panel)).all()
    assert panel.title == "Surprise"
    update = panel_update(panel, "file=a.wav")
    assert update["url"] == "file=a.wav"
    assert update["update"]["title"] == "Surprise"


def make_clip(samples: int, rate: int) -> Clip:
    return Clip("id", Path("/a.wav"), "recording", "a", {}, samples / rate, rate, 0.1, 0.0)


@pytest.mark.parametrize("samples", [1, 2, 100])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_very_short_and_silent_clips_have_finite_panels(samples: int, value: float) -> None:
    waveform = torch.full((samples,), value)
    panels = signal_panels(waveform, RATE)
    panels.append(level_panel({"recording": waveform}, RATE))
    assert not any(np.isnan(decoded(panel)).any() for panel in panels[1:])
    json.dumps(viewer_message(panels, make_clip(samples, RATE)), allow_nan=False)


def test_message_of_the_longest_recording_stays_small() -> None:
    rate, seconds = 48_000, 120
    waveform = noisy_tone(seconds, rate)
    panels = signal_panels(waveform, rate)
    panels += [level_panel({"recording": waveform, "error": waveform}, rate)]
    panels += [surprise_panel(waveform.abs(), rate)]
    message = viewer_message(panels, make_clip(len(waveform), rate))
    assert len(json.dumps(message)) < 1_500_000
    for panel in panels[1:]:
        rows, columns = panel.values.shape
        assert columns <= (MAX_POINTS if panel.kind == "line" else MAX_COLUMNS + 1)
        assert rows <= MAX_ROWS
        end = panel.start + columns * panel.step
        assert seconds <= end <= seconds + 2 * panel.step, panel.title


def test_colours_and_scripts_are_part_of_the_page() -> None:
    tables = colour_tables()
    assert set(tables) == set(COLOUR_MAPS)
    assert tables["gray"].startswith("000000010101")
    assert all(len(digits) == 256 * 6 for digits in tables.values())
    head = viewer_head()
    assert all(name in head for name in ("uPlot=", "window.panelDrawing", "window.clipFiles"))
    assert "src=" not in head and "@import" not in head
