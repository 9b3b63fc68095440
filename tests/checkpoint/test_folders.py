"""Checkpoints: what was saved comes back, and what is no whole folder is one sentence."""

import json
import os

import pytest
import torch

from wavenet import checkpoint
from wavenet.checkpoint import CONFIG, WEIGHTS, CheckpointConfig
from wavenet.config import parse_config
from wavenet.errors import CheckpointError, ConfigError

from . import TINY, forward, make, refusal


def test_a_model_comes_back_with_the_same_forward_pass(tmp_path):
    config, model = make()
    checkpoint.save(tmp_path / "new" / "folder", config, model)
    loaded = checkpoint.load(str(tmp_path / "new" / "folder"))
    assert loaded.config == config
    assert loaded.folder == tmp_path / "new" / "folder"
    assert torch.equal(forward(loaded.model), forward(model))
    other = make()[1]
    with torch.no_grad():
        other.output.bias[3] += 1e-3
    assert not torch.equal(forward(loaded.model), forward(other))


def test_a_loaded_model_neither_trains_nor_keeps_gradients(folder):
    model = checkpoint.load(folder).model
    assert not any(module.training for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert not forward(model).requires_grad


def test_saving_replaces_what_was_there_and_leaves_nothing_else(folder):
    config, model = make()
    with torch.no_grad():
        model.output.bias.fill_(2)
    checkpoint.save(folder, config, model)
    assert (checkpoint.load(folder).model.output.bias == 2).all()
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS}


def test_the_config_alone_can_be_read_without_weights(folder):
    (folder / WEIGHTS).unlink()
    assert checkpoint.load_config(folder) == make()[0]


def test_a_missing_folder_is_named(tmp_path):
    assert "is not a checkpoint folder" in refusal(tmp_path / "nowhere")
    assert "is not a checkpoint folder" in refusal(tmp_path / ("x" * 200) / "\0")


def test_a_name_that_no_file_system_takes_is_refused(tmp_path):
    """It once ended in an OSError, as did a folder that must not be looked into."""
    assert "too long" in refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert f"has no {name}" in refusal(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refusal(folder)
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    refusal(folder)


@pytest.mark.parametrize(
    "change",
    [{"residual_channels": 8}, {"dilations": [1, 2]}, {"kernel_size": 3}, {"conditions": []}],
    ids=str,
)
def test_the_config_of_another_model_is_refused(folder, tmp_path, change):
    checkpoint.save(tmp_path / "other", *make(**change))
    (folder / CONFIG).write_bytes((tmp_path / "other" / CONFIG).read_bytes())
    assert "does not fit its config.json: the tensor" in refusal(folder)


@pytest.mark.parametrize(
    "text, words",
    [
        (json.dumps({**TINY, "layers": 3}), "the key layers is not known"),
        (json.dumps({**TINY, "format_version": 2}), "format_version"),
        (json.dumps({**TINY, "model": {**TINY["model"], "residual_channels": 10**7}}), "residual"),
        (json.dumps({**TINY, "a\nb": 3}), "is not known"),
        ("[" * 100_000, "recursion"),
        ('{"model":' * 50_000, "recursion"),
        (" " * (1 << 20) + "{}", "bytes"),
        ("", "JSON"),
        ("{}", "the key name is missing"),
        ("[]", "the whole"),
        (b"\xff\xfe\x00", "JSON"),
    ],
    ids=range(11),
)
def test_a_config_that_is_none_is_refused(folder, text, words):
    (folder / CONFIG).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in refusal(folder)


def test_the_sizes_are_checked_before_anything_is_built(folder, monkeypatch):
    def never(config):
        raise AssertionError("it was built")

    monkeypatch.setattr(checkpoint, "build", never)
    with pytest.raises(AssertionError):
        checkpoint.load(folder)  # the control
    model = {**TINY["model"], "residual_channels": 4096, "gate_channels": 4096}
    (folder / CONFIG).write_text(json.dumps({**TINY, "model": model}))
    assert "parameters; the limit is" in refusal(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="cannot be written") as caught:
            checkpoint.save(target, *make())
        assert len(str(caught.value).splitlines()) == 1
        assert str(target) in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_leaves_the_old_weights_whole(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*args):
        raise OSError(28, "No space left on device")

    config, model = make()
    with torch.no_grad():
        model.output.bias.fill_(2)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(folder, config, model)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["type", "keys", "values", "forward", "training", "_modules"])
def test_a_condition_may_not_bear_a_name_that_torch_has_taken(folder, name):
    """A label called "type" once ended in a KeyError of torch."""
    label = {"kind": "label", "name": name, "values": ["a"]}
    values = {**TINY, "model": {**TINY["model"], "conditions": [label]}}
    (folder / CONFIG).write_text(json.dumps(values))
    assert name in refusal(folder)
    with pytest.raises(ConfigError, match=name):
        checkpoint.build(parse_config(CheckpointConfig, json.dumps(values), "tiny"))
