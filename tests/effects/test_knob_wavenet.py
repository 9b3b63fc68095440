"""A WaveNet with knobs, and its models at fixed settings."""

from dataclasses import replace

import pytest
import torch

from tests.effects.random_effects import WAVENETS, parse
from wavenet.effects.effect_builder import build_effect, export_effect
from wavenet.effects.effect_shapes import FILM_SLOTS, FilmShape
from wavenet.effects.feedforward_wavenet import FeedForwardWaveNet
from wavenet.effects.knob_wavenet import KnobWaveNet, fold_knobs
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.errors import ConfigError

KNOBS = ("gain", "tone")
SETTING = {"gain": 0.3, "tone": 0.9}
FOLDED = ("plain", "two arrays", "gated", "blended", "head1x1", "post-stack head", "groups")


def make_model(name, films=()):
    """Return a model with knobs; some slots of its first array have a FiLM."""
    torch.manual_seed(0)
    shape = parse(WAVENETS[name]).shape
    slots = tuple(FilmShape(has_shift=len(s) % 2 > 0) if s in films else None for s in FILM_SLOTS)
    first = replace(shape.arrays[0], films=slots)
    return KnobWaveNet(replace(shape, arrays=(first, *shape.arrays[1:])), KNOBS).eval()


def values_of(setting, batch=1):
    return torch.tensor([[setting[name] for name in KNOBS]]).repeat(batch, 1)


def make_waveform(batch=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(batch, 1, 300, generator=generator) * 2 - 1


@pytest.mark.parametrize("name", FOLDED)
def test_a_folded_model_has_the_output_of_its_setting(name):
    model, x = make_model(name), make_waveform()
    with torch.no_grad():
        expected = model(x, values_of(SETTING))
        folded = fold_knobs(model, SETTING)
        assert type(folded) is FeedForwardWaveNet
        assert (folded(x) - expected).abs().max() <= 1e-6
        other = fold_knobs(model, SETTING | {"gain": 0.8})
        assert (other(x) - expected).abs().max() > 1e-4


def test_films_are_folded():
    films = ("conv_pre_film", "activation_pre_film", "activation_post_film", "layer1x1_post_film")
    model, x = make_model("gated", films), make_waveform()
    with torch.no_grad():
        expected = model(x, values_of(SETTING))
        assert (fold_knobs(model, SETTING)(x) - expected).abs().max() <= 1e-6


def test_a_folded_model_is_an_ordinary_file():
    model, x = make_model("two arrays"), make_waveform()
    folded = fold_knobs(model, SETTING)
    content = format_nam(export_effect(folded, 44100, {"name": "0.3"}))
    again = build_effect(parse_nam(content, "x"))
    with torch.no_grad():
        assert torch.equal(again(x), folded(x))


def test_each_clip_of_a_batch_has_its_setting():
    model, x = make_model("plain"), make_waveform(2)
    settings = torch.cat([values_of(SETTING), values_of({"gain": 1.0, "tone": 0.0})])
    with torch.no_grad():
        both = model(x, settings)
        assert (both[1:] - model(x[1:], settings[1:])).abs().max() < 1e-6
        valid = model.valid_outputs(x, settings)
    field = model.network.receptive_field
    assert (valid - both[:, :, field - 1 :]).abs().max() < 1e-6


def test_the_output_depends_on_the_knobs_and_has_gradients():
    model, x = make_model("plain"), make_waveform()
    model.valid_outputs(x, values_of(SETTING)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.features.parameters())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"gain": 0.5}, "gain, tone"),
        ({"gain": 0.5, "tone": 0.5, "bass": 0.5}, "bass"),
        ({"gain": 0.5, "tone": 1.5}, "from 0 to 1"),
        ({"gain": float("nan"), "tone": 0.5}, "from 0 to 1"),
    ],
)
def test_settings_that_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        fold_knobs(make_model("plain"), values)


@pytest.mark.parametrize(
    "slot", ["conv_post_film", "input_mixin_pre_film", "input_mixin_post_film"]
)
def test_some_films_cannot_be_folded(slot):
    with pytest.raises(ConfigError, match=slot):
        fold_knobs(make_model("plain", (slot,)), SETTING)
