"""A compressor on the command line: no model that generates, but described and chosen by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import assert_refused
from wavenet import checkpoint
from wavenet.checkpoint_folders import list_compressors, list_in_studio, list_known, list_members
from wavenet.compression.compression_network import CompressionNetwork, CompressionNetworkConfig
from wavenet.compression.compressor_folder import save_compressor, weights_hash
from wavenet.errors import CheckpointError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of a compressor that is installed with the name small."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = CompressionNetwork(CompressionNetworkConfig(channels=8, dilations=(1, 2)))
    save_compressor(tmp_path / "checkpoints/small", network)
    return tmp_path / "checkpoints/small"


def test_a_compressor_is_not_listed_as_a_model(folder):
    assert "small" in list_compressors()
    for known in (list_known(), list_in_studio(folder.parent), list_members(folder.parent)):
        assert "small" not in known


def test_commands_of_models_say_what_it_is(folder, run_command):
    for command in (["generate", "-c", "small"], ["bench", "-c", "small"]):
        assert_refused(run_command(*command), "is a compressor", "wavenet compress", code=1)
    with pytest.raises(CheckpointError, match="is a compressor"):
        checkpoint.load(folder)


def test_info_describes_a_compressor(folder, run_command):
    code, out, _ = run_command("info", "small", "--json")
    facts = json.loads(out)
    assert (code, facts["name"], facts["layers"]) == (0, "small", 2)
    assert facts["weights_sha256"] == weights_hash(folder)
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert_refused(run_command("info", "small"), "model.safetensors", code=1)


def test_models_skips_compressors(folder, run_command):
    code, out, _ = run_command("models", "--json")
    assert code == 0
    assert "small" not in [json.loads(line)["name"] for line in out.splitlines()]


def test_a_missing_compressor_is_one_sentence(folder, run_command):
    shutil.rmtree(folder)
    (folder.parent / "a.wav").write_bytes(b"")
    source = str(folder.parent / "a.wav")
    assert_refused(run_command("compress", source, "--compressor", "small"), "small", code=1)
    assert not Path("a.wnc").exists()
