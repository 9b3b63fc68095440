"""Write the files of a tiny voice of random weights."""

from pathlib import Path

import torch

from tests.speech.test_acoustic_model import CONFIG
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.model.wavenet import WaveNetConfig
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.voice_folder import copy_vocoder, save_acoustic_model


def save_voice(folder: Path) -> Path:
    """Save a voice of two speakers whose tokens have about 4 frames; return its folder."""
    torch.manual_seed(0)
    model = AcousticModel(CONFIG)
    with torch.no_grad():
        model.predictor.output.bias[0] = 1.6
    save_acoustic_model(folder, model)
    copy_vocoder(folder, save_vocoder(folder.parent / "wavenet"))
    return folder


def save_vocoder(folder: Path, hop: int = CONFIG.hop) -> Path:
    """Save a vocoder of random weights with pre-emphasis."""
    model = WaveNetConfig(
        residual_channels=8,
        gate_channels=8,
        skip_channels=8,
        dilations=(1, 2, 4),
        condition_channels=8,
        condition_hop=hop,
        conditions=(CONFIG.mel,),
    )
    config = CheckpointConfig(
        name="vocoder",
        audio=AudioConfig(sample_rate=CONFIG.sample_rate),
        codec=MuLawCodec(pre_emphasis=0.7),
        model=model,
    )
    torch.manual_seed(1)
    checkpoint.save(folder, config, checkpoint.build(config))
    return folder
