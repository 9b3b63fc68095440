"""Folders of compressors: saved, found by the hash of their weights, refused if they differ."""

import json

import numpy as np
import pytest
import torch

from wavenet.checkpoint_folders import is_compressor, list_compressors, list_known
from wavenet.compression import compressor_folder
from wavenet.compression.blocks import Block
from wavenet.compression.compression_network import CompressionNetwork, CompressionNetworkConfig
from wavenet.compression.compressor_folder import (
    load_block_coder,
    load_compressor,
    save_compressor,
    weights_hash,
)
from wavenet.errors import CheckpointError, CompressedFileError

BLOCK = Block(np.arange(-200, 200, dtype=np.int32)[None], 16)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a compressor among the checkpoints of the working folder."""
    monkeypatch.chdir(tmp_path)
    load_block_coder.cache_clear()
    torch.manual_seed(0)
    path = tmp_path / "checkpoints/mine"
    save_compressor(
        path, CompressionNetwork(CompressionNetworkConfig(channels=8, dilations=(1, 2)))
    )
    yield path
    load_block_coder.cache_clear()


def test_a_compressor_is_listed_and_is_not_a_checkpoint_that_generates(folder):
    assert is_compressor(folder)
    assert "mine" in list_compressors() and "lossless" in list_compressors()
    assert "mine" not in list_known() and "lossless" not in list_known()


def test_a_file_is_decoded_by_the_compressor_that_it_names(folder):
    coder = load_compressor("mine")
    (payload,) = coder.encode([BLOCK])
    found = load_block_coder(coder.sha256[:32])
    assert found is load_block_coder(coder.sha256[:32])
    assert (found.name, found.sha256) == ("mine", coder.sha256)
    assert np.array_equal(found.decode([payload], [BLOCK.form])[0], BLOCK.samples)


def test_other_weights_are_refused(folder):
    """One weight differs by one unit in the last place, so the file names another compressor."""
    known = load_compressor("mine").sha256
    network = CompressionNetwork(CompressionNetworkConfig(channels=8, dilations=(1, 2)))
    torch.manual_seed(0)
    network = CompressionNetwork(network.config)
    with torch.no_grad():
        weight = network.hidden.weight
        weight[0, 0, 0] = torch.nextafter(weight[0, 0, 0], torch.tensor(9.0))
    save_compressor(folder, network)
    assert weights_hash(folder) != known
    with pytest.raises(CompressedFileError, match=known[:12]):
        load_block_coder(known)


def test_the_default_is_the_shipped_compressor(folder):
    coder = load_compressor()
    assert (coder.name, coder.profile) == ("lossless", "exact-1")
    assert load_block_coder(coder.sha256).sha256 == coder.sha256


@pytest.mark.parametrize(
    ("name", "value"),
    [("channels", 12), ("components", 9), ("features", 22), ("dilations", []), ("more", 1)],
)
def test_impossible_configs_are_refused(folder, name, value):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}, indent=2))
    with pytest.raises(CheckpointError, match=name):
        load_compressor(folder)


def test_folders_of_other_models_are_refused(folder):
    with pytest.raises(CheckpointError, match="another model"):
        load_compressor("digits")
    with pytest.raises(CheckpointError, match="not a compressor"):
        load_compressor(folder / "missing")
    assert compressor_folder.DEFAULT == "lossless"
