"""The folder of a trained effect, its settings, and its models at fixed settings of the knobs."""

import pytest
import torch
from pydantic import ValidationError

from tests.effects.training.training_data import KNOB, equal_weights, make_effect_config
from wavenet import checkpoint, checkpoint_folders
from wavenet.effects.effect_engine import load_engine
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.effects.standard_shapes import STANDARD_NAMES, make_standard_shape
from wavenet.effects.training.effect_architecture import ArraySizes, EffectArchitecture
from wavenet.effects.training.trained_effect import (
    EffectKnob,
    TrainedEffect,
    load_effect_folder,
    save_effect_folder,
)
from wavenet.errors import CheckpointError, ConfigError


@pytest.fixture
def effect():
    torch.manual_seed(0)
    return TrainedEffect(make_effect_config((KNOB,))).eval()


def test_a_folder_is_read_as_it_was_written(effect, tmp_path):
    save_effect_folder(tmp_path / "a", effect)
    loaded = load_effect_folder(tmp_path / "a")
    assert loaded.config == effect.config
    assert equal_weights(loaded, effect)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert checkpoint_folders.is_effect(tmp_path / "a")
    assert not checkpoint_folders.is_effect(tmp_path)


def test_an_effect_is_no_checkpoint(effect, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_effect_folder(tmp_path / "checkpoints" / "drive", effect)
    with pytest.raises(CheckpointError, match="wavenet effects"):
        checkpoint.load("drive")
    assert "drive" not in checkpoint_folders.list_known()
    assert equal_weights(load_effect_folder("drive"), effect)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "not a trained effect"),
        (lambda f: (f / "config.json").write_text('{"kind": "voice"}'), "another model"),
        (lambda f: (f / "config.json").write_text('{"kind": "trained-effect"}'), "sample_rate"),
        (lambda f: (f / "model.safetensors").write_bytes(b"PK"), "pickle"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    ],
)
def test_damaged_folders_are_one_sentence(effect, tmp_path, change, words):
    save_effect_folder(tmp_path, effect)
    change(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        load_effect_folder(tmp_path)


def test_weights_of_other_sizes_are_refused(effect, tmp_path):
    save_effect_folder(tmp_path, effect)
    text = (tmp_path / "config.json").read_text().replace('"channels": 6', '"channels": 5')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_effect_folder(tmp_path)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_exported_file_equals_the_folder(effect, value, tmp_path):
    save_effect_folder(tmp_path, effect)
    loaded = load_effect_folder(tmp_path)
    waveform = torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = loaded.network(waveform, torch.tensor([[value]]))[0, 0]
        other = loaded.network(waveform, torch.tensor([[0.5]]))[0, 0]
    engine = load_engine(parse_nam(format_nam(loaded.nam_model({"gain": value})), "x"))
    found = torch.from_numpy(engine.process(engine.initial_state(), waveform[0, 0].numpy()))
    assert (found - expected).abs().max() < 1e-5
    assert (other - expected).abs().max() > 1e-4
    assert engine.sample_rate == 8000


def test_an_effect_without_knobs_is_exported_as_it_is(tmp_path):
    effect = TrainedEffect(make_effect_config()).eval()
    waveform = torch.randn(1, 1, 200)
    engine = load_engine(effect.nam_model())
    with torch.no_grad():
        expected = effect.network(waveform)[0, 0]
    found = torch.from_numpy(engine.process(engine.initial_state(), waveform[0, 0].numpy()))
    assert (found - expected).abs().max() < 1e-5


def test_missing_knobs_have_their_default(effect):
    assert effect.complete_setting() == {"gain": 0.5}
    assert effect.complete_setting({"gain": 0.1}) == {"gain": 0.1}
    with pytest.raises(ConfigError, match="no knob tone; its knobs are gain"):
        effect.complete_setting({"tone": 0.1})
    with pytest.raises(ConfigError, match="it has no knobs"):
        TrainedEffect(make_effect_config()).complete_setting({"tone": 0.1})
    with pytest.raises(ConfigError, match="from 0 to 1"):
        effect.nam_model({"gain": 1.5})


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_the_standard_architectures_have_their_shapes_and_factors(name):
    effect = TrainedEffect(make_effect_config(architecture=EffectArchitecture(kind=name)))
    assert effect.wavenet.shape == make_standard_shape(name)
    factor = 0.01 if name.startswith("a2") else 0.02
    assert effect.wavenet.get_buffer("head_scale").item() == pytest.approx(factor)
    chosen = EffectArchitecture(kind=name, head_scale=0.3)
    effect = TrainedEffect(make_effect_config(architecture=chosen))
    assert effect.nam_model().weights[-1] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "custom"}, "needs arrays"),
        ({"kind": "lite", "gating": "gated"}, "need the kind custom"),
        ({"kind": "huge"}, "standard"),
        (
            {"kind": "custom", "arrays": (ArraySizes(channels=2, dilations=(65_536, 65_536)),)},
            "receptive field",
        ),
        (
            {"kind": "custom", "arrays": (ArraySizes(channels=256, dilations=(1,) * 20),)},
            "weights",
        ),
    ],
)
def test_architectures_that_are_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        EffectArchitecture(**values)


def test_two_knobs_with_one_name_are_refused():
    with pytest.raises(ValidationError, match="one name"):
        make_effect_config((KNOB, EffectKnob(name="gain", settings=(0.0, 1.0))))
