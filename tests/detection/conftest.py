"""Fixtures of the detection tests: noise that a histogram describes, and that calibrated model."""

import numpy as np
import pytest
import torch

from tests.conftest import RATE
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, Checkpoint, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.detection.calibration import calibrate, write_calibration
from wavenet.model.ngram import NGramConfig


def even_noise(seconds: float, seed: int) -> torch.Tensor:
    """Return white noise, evenly distributed in -0.2 to 0.2: (T,)."""
    noise = np.random.default_rng(seed).uniform(-0.2, 0.2, round(seconds * RATE))
    return torch.from_numpy(noise.astype(np.float32))


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory) -> Checkpoint:
    """Save a histogram of the noise, calibrated on 90 s of it; return it."""
    folder = tmp_path_factory.mktemp("models") / "noise"
    config = CheckpointConfig(
        name="noise",
        audio=AudioConfig(sample_rate=RATE),
        codec=MuLawCodec(bits=6),
        model=NGramConfig(context_bits=()),
    )
    model = checkpoint.build(config)
    codes = config.codec.encode(even_noise(30, seed=1))[None]
    conditioning = model.conditioning([{}], [codes.shape[1]])
    model.observe(codes, torch.ones_like(codes, dtype=torch.bool), conditioning)
    checkpoint.save(folder, config, model)
    loaded = checkpoint.load(folder)
    clean = (even_noise(10, seed) for seed in range(10, 19))
    write_calibration(folder, calibrate(loaded, clean))
    return loaded
