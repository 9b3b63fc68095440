"""A small autoencoder, frames of recordings, and a small vocoder."""

import pytest
import torch

from tests.conftest import RATE, tiny_config
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig
from wavenet.autoencoder.train_autoencoder import AutoencoderSettings
from wavenet.autoencoder.vector_quantizer import VectorQuantizerConfig
from wavenet.model.conditions import MelCondition

BANDS, HOP = 8, 80
MEL = MelCondition(n_mels=BANDS, win_length=160, channels=4, context=0)


def mel_only(mel):
    """Return the config of a small vocoder."""
    return tiny_config(conditions="none", hop=HOP).model_copy(update={"conditions": (mel,)})


@pytest.fixture
def config():
    return AutoencoderConfig(
        name="small",
        sample_rate=RATE,
        hop=HOP,
        mel=MEL,
        channels=8,
        blocks=1,
        kernel_size=3,
        quantizer=VectorQuantizerConfig(n_codes=16, dimension=4),
    )


@pytest.fixture
def settings():
    return AutoencoderSettings(steps=6, clips_per_step=4, frames=6)


@pytest.fixture
def frames():
    """Return frames of five recordings of different lengths, which lie near two planes."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(2, BANDS, generator=generator)
    lengths = (3, 6, 9, 12, 20)
    return [torch.randn(n, 2, generator=generator).tanh() @ basis for n in lengths]


@pytest.fixture
def vocoder(make_checkpoint):
    """Return a checkpoint whose only condition is mel, with the frames of the autoencoder."""
    return make_checkpoint(mel_only(MEL), name="voc")
