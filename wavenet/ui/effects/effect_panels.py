"""The pictures of a rendering: dry and wet sound on one time axis and one colour scale.

Input: waveforms. Output: panels for the viewer. Called by `render_events`.
"""

import torch
from torch import Tensor

from audio_utils.features import FeatureConfig
from wavenet.ui.viewer.panels import Panel, level_panel, spectrogram_panels, waveform_panel

LOWEST_RATE = 4000  # Hz, of a spectrogram


def pair_panels(wet: Tensor, dry: Tensor, sample_rate: int) -> list[Panel]:
    """Return the wet waveform, both spectrograms and both levels.

    Args:
        wet, dry: (T,) each, T >= 1; the dry one as loud as the wet one.
        sample_rate: Hz.
    """
    sounds = {"Wet": wet, "Dry": dry}
    return [
        waveform_panel(wet),
        *spectrogram_panels(sounds, FeatureConfig.default_for(sample_rate)),
        level_panel({name.lower(): sound for name, sound in sounds.items()}, sample_rate),
    ]


def mix_channels(rows: Tensor) -> Tensor:
    """Return the mean (T,) of the channels (channels, T)."""
    return rows[0] if len(rows) == 1 else torch.mean(rows, dim=0)
