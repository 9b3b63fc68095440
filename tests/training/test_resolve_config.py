"""The config of a checkpoint to be trained: what is taken from the dataset."""

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import RATE
from tests.training import make_config, make_settings, sine
from wavenet.checkpoint import WindowStatistics
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import DataConfig, RecipeConfig
from wavenet.training.resolve_config import MEASURED_CLIPS, measure_frames, resolve_config

CONDITIONS = MelCondition(n_mels=20, channels=4, context=2), FramesCondition(name="c", columns=2)


@pytest.fixture
def dataset(tmp_path):
    """Read three recordings with frames beside them."""
    for n in range(3):
        soundfile.write(tmp_path / f"{n}.wav", sine(900, noise=0.1, seed=n).numpy(), RATE)
        np.save(tmp_path / f"{n}.c.npy", np.full((91, 2), [n, 7.0]))
    data = DataConfig(folder=str(tmp_path), validation_fraction=0)
    return read_dataset(data, RATE, make_config(CONDITIONS).model)


def test_the_statistics_of_the_training_frames_are_in_their_unit(dataset):
    mel, own = measure_frames(dataset.train, make_config(CONDITIONS).model)
    frames = torch.cat([clip.frame_features for clip in dataset.train])[:, :20]
    decibels = (frames * 30 - 30).double()
    assert (mel.name, len(mel.mean)) == ("mel", 20)
    assert mel.mean == pytest.approx(decibels.mean(dim=0).tolist(), abs=0.01)
    assert mel.high == pytest.approx(decibels.amax(dim=0).tolist(), abs=0.01)
    assert (own.mean, own.low, own.high) == ((1.0, 7.0), (0.0, 7.0), (2.0, 7.0))


def test_only_some_clips_of_a_large_dataset_are_read(dataset):
    class Counted(list):
        read = 0

        def __getitem__(self, index):
            chosen = super().__getitem__(index)
            Counted.read = max(Counted.read, len(chosen))
            return chosen

    clips = Counted(dataset.train * MEASURED_CLIPS)
    _, own = measure_frames(clips, make_config(CONDITIONS).model)
    assert 0 < Counted.read <= MEASURED_CLIPS
    assert own.high[1] == 7.0
    assert measure_frames(clips, make_config().model) == ()


def test_the_config_has_the_statistics_of_the_dataset(dataset):
    config = make_config(CONDITIONS)
    recipe = RecipeConfig(
        name="x", audio=config.audio, codec=config.codec, model=config.model, train=make_settings()
    )
    found = resolve_config(recipe, dataset)
    assert found.frame_statistics == measure_frames(dataset.train, config.model)
    # three clips of 900 samples with one complete window each: quiet noise and a tone
    assert found.window_statistics == WindowStatistics(noisy=0.0, saturated=0.0, silent=0.0)
