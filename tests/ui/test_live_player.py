"""The messages of the live player."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from audio_utils import io
from wavenet.ui.generate.live_player import encode_pcm16

from .conftest import RATE


def test_player_quantises_as_files_do(tmp_path: Path) -> None:
    waveform = torch.cat([torch.linspace(-1, 1, 70_001), torch.tensor([0.5 / 32768, 1.5 / 32768])])
    io.write(tmp_path / "a.wav", waveform, RATE)
    saved, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert np.array_equal(np.frombuffer(encode_pcm16(waveform), "<i2"), saved)
