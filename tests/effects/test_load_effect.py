"""One function loads an effect of any kind: a file, the folder of a trained effect, a name."""

import numpy as np
import pytest
import torch

from tests.effects.random_effects import array, encode, wavenet
from tests.effects.training.training_data import KNOB, make_effect_config
from wavenet.effects.load_effect import effect_digest, find_effects, load_effect
from wavenet.effects.training.trained_effect import TrainedEffect, save_effect_folder
from wavenet.errors import CheckpointError, ConditionError, EffectFileError


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """The folder of a trained effect with a knob, which has a name from the working folder."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_effect_folder(
        tmp_path / "checkpoints" / "drive", TrainedEffect(make_effect_config((KNOB,)))
    )
    return tmp_path / "checkpoints" / "drive"


def test_a_trained_effect_is_loaded_by_its_folder_and_by_its_name(drive, tmp_path):
    by_folder, by_name = load_effect(drive), load_effect(tmp_path.relative_to(tmp_path) / "drive")
    assert (by_folder.name, by_folder.file_format) == ("drive", "trained")
    assert by_folder.knobs == by_name.knobs == {"gain": 0.5}
    low, default, high = (by_name.model_at({"gain": g}).weights for g in (0.0, 0.5, 1.0))
    assert np.array_equal(default, by_folder.model_at().weights)
    assert not np.array_equal(low, default)
    assert not np.array_equal(high, default)
    with pytest.raises(ConditionError, match="no knob tone"):
        by_name.model_at({"tone": 0.5})
    with pytest.raises(ConditionError, match="0 to 1"):
        by_name.model_at({"gain": 2})


def test_effects_are_found_in_folders(drive, tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.nam").write_bytes(encode(wavenet(array(channels=2))))
    assert find_effects(drive) == [drive]
    assert find_effects(tmp_path / "a.nam") == [tmp_path / "a.nam"]
    assert find_effects(tmp_path) == [tmp_path / "a.nam", tmp_path / "b.nam"]
    assert [path.resolve() for path in find_effects(drive.relative_to(tmp_path))] == [drive]


def test_the_digest_changes_with_the_config_and_with_the_weights(drive):
    before = effect_digest(drive)
    assert effect_digest(drive) == before
    config = drive / "config.json"
    config.write_text(config.read_text().replace('"gain"', '"dirt"'))
    renamed = effect_digest(drive)
    torch.manual_seed(1)
    save_effect_folder(drive, TrainedEffect(make_effect_config((KNOB,))))
    assert len({before, renamed, effect_digest(drive)}) == 3


def test_wrong_paths_are_one_sentence(drive, tmp_path):
    with pytest.raises(EffectFileError, match=r"does not exist; .*: drive"):
        load_effect(tmp_path / "missing.nam")
    with pytest.raises(EffectFileError, match="does not exist"):
        find_effects(tmp_path / "missing")
    with pytest.raises(EffectFileError, match="has no trained effect"):
        load_effect(tmp_path)
    with pytest.raises(EffectFileError, match=r"no \.nam files"):
        find_effects(tmp_path / "checkpoints")
    (drive / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError):
        load_effect(drive)
