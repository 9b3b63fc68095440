"""Training of a compressor: it learns, continues exactly, and shifts nothing in time."""

import numpy as np
import pytest
import torch

from wavenet.compression.compression_network import CompressionNetwork, CompressionNetworkConfig
from wavenet.compression.train_compressor import (
    CompressorSettings,
    draw_parts,
    measure_network,
    train_compressor,
)
from wavenet.compression.training_clips import prepare_clips
from wavenet.errors import TrainingError

CONFIG = CompressionNetworkConfig(channels=8, dilations=(1, 2, 4))
SETTINGS = CompressorSettings(steps=30, parts_per_step=4, part_samples=128, learning_rate=1e-2)


def _recording(name):
    rng = np.random.default_rng(int(name))
    noise = rng.laplace(0, 40, 900)
    return np.rint(3000 * np.sin(np.arange(900) / 9) + noise).astype(np.int64)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return prepare_clips(tmp_path_factory.mktemp("clips"), ["1", "2", "3"], _recording)


def _train(clips, folder, settings=SETTINGS, stop_at=None):
    last = []

    def report(step, bits):
        last.append(step)

    return train_compressor(
        CONFIG, settings, clips, clips, folder, lambda network: None, report,
        lambda: last != [] and last[-1] + 1 == stop_at,
    )  # fmt: skip


def test_the_network_learns(clips, tmp_path):
    torch.manual_seed(0)
    before = measure_network(CompressionNetwork(CONFIG), clips)
    after = measure_network(_train(clips, tmp_path), clips)
    assert after < before - 0.05


def test_an_interrupted_training_ends_with_the_same_weights(clips, tmp_path):
    whole = _train(clips, tmp_path / "a")
    _train(clips, tmp_path / "b", stop_at=12)
    continued = _train(clips, tmp_path / "b")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[name]), name
    with pytest.raises(TrainingError, match="part_samples"):
        _train(clips, tmp_path / "b", SETTINGS.model_copy(update={"part_samples": 64}))


def test_a_network_does_not_read_later_samples():
    torch.manual_seed(0)
    network = CompressionNetwork(CONFIG)
    features = torch.randn(1, CONFIG.features, 40, requires_grad=True)
    network(features)[0, :, 20].sum().backward()
    used = features.grad[0].abs().sum(0) > 0
    assert used.nonzero().flatten().tolist() == list(range(20 - CONFIG.receptive_field + 1, 21))


def test_parts_have_the_features_of_their_place(clips):
    generator = torch.Generator().manual_seed(0)
    features, errors = draw_parts(clips, SETTINGS, 7, generator)
    assert features.shape == (4, CONFIG.features, 135) and errors.shape == (4, 2, 135)
    whole = torch.from_numpy(np.asarray(clips.features, dtype=np.float32))
    for part in features:
        first = part[:, 7]
        places = (whole == first).all(1).nonzero().flatten().tolist()
        assert places
        assert any(torch.equal(whole[place : place + 128].T, part[:, 7:]) for place in places)


def test_features_are_computed_once(clips, tmp_path):
    calls = []

    def read(name):
        calls.append(name)
        return _recording(name)

    first = prepare_clips(tmp_path, ["4", "5"], read)
    again = prepare_clips(tmp_path, ["4", "5"], read)
    assert calls == ["4", "5"]
    assert np.array_equal(first.features, again.features)
    assert prepare_clips(tmp_path, ["6"], read).starts.tolist() == [0, 900]
