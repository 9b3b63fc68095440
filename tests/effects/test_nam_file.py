"""Files of effects: keys of all versions, traps of the format, what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.effects.random_effects import (
    EFFECTS,
    WAVENETS,
    array,
    container,
    document_of,
    encode,
    film,
    linear,
    parse,
    series,
    wavenet,
)
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.knob_wavenet import with_knob_channels
from wavenet.effects.nam_file import (
    check_parts,
    format_nam,
    is_newer_version,
    parse_nam,
    read_nam,
    write_nam,
)
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import count_weights, join_weights
from wavenet.effects.standard_shapes import HEAD_SCALES, STANDARD_NAMES, make_standard_shape
from wavenet.errors import EffectFileError

COUNTS = {
    "standard": 13_802, "lite": 6_554, "feather": 3_026, "nano": 842,
    "a2-full": 12_146, "a2-lite": 1_871,
}  # fmt: skip


def refusal(document):
    with pytest.raises(EffectFileError) as caught:
        parse(document)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", EFFECTS)
def test_a_written_file_is_read_and_written_alike(name):
    model = parse(EFFECTS[name] | {"metadata": {"name": "é", "gain": 0.1}})
    first = format_nam(model)
    again = parse_nam(first, "again")
    assert format_nam(again) == first
    assert again.shape == model.shape
    assert again.metadata == model.metadata
    x = torch.linspace(-1, 1, 40).repeat(1, model.in_channels, 1)
    assert torch.equal(build_effect(model)(x), build_effect(again)(x))


def test_a_file_is_written_completely(tmp_path):
    path = tmp_path / "a.nam"
    model = parse(WAVENETS["plain"])
    write_nam(model, path)
    assert format_nam(read_nam(path)) == path.read_bytes() == format_nam(model)
    with pytest.raises(EffectFileError, match="exists already"):
        write_nam(model, path, replace=False)
    with pytest.raises(EffectFileError, match="does not exist"):
        write_nam(model, tmp_path / "no" / "a.nam")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nam"]


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_standard_shapes_have_the_known_numbers_of_weights(name):
    shape = make_standard_shape(name)
    assert count_weights(shape) == COUNTS[name]
    assert shape.own_receptive_field == (6347 if name.startswith("a2") else 4093)
    weights = np.full(COUNTS[name], 0.1, np.float32)
    document = json.loads(format_nam(NamModel(shape, weights)))
    assert document["sample_rate"] == 48000
    assert document["version"] == ("0.7.0" if name.startswith("a2") else "0.5.4")
    keys = document["config"]["layers"][0].keys()
    assert ("head_size" in keys) != ("head" in keys)
    assert set(HEAD_SCALES) == set(STANDARD_NAMES)
    assert parse(document).shape == shape


def test_keys_decide_and_not_the_version():
    old = WAVENETS["everything"] | {"version": "0.5.4"}
    assert parse(old).shape == parse(WAVENETS["everything"]).shape
    assert json.loads(format_nam(parse(old)))["version"] == "0.7.0"
    new = WAVENETS["legacy gated"] | {"version": "0.7.0"}
    assert parse(new).shape.arrays[0].layers[0].gating == "gated"
    both = wavenet(array(head_size=7, head_bias=False))
    assert parse(both).shape.arrays[0].head_size == 1  # the object wins


@pytest.mark.parametrize("version", ["0.5.0", "0.5.4", "0.6.3", "0.7.0", "0.7.12"])
def test_versions_that_are_read(version):
    model = parse(WAVENETS["plain"] | {"version": version})
    assert model.version == version
    assert is_newer_version(model) == (version == "0.7.12")


@pytest.mark.parametrize(
    "version", ["0.4.9", "0.8.0", "1.0.0", "0.5", "0.5.4b", "0.5.4\n", "", None, 5, "0.٥.0"]
)
def test_versions_that_are_refused(version):
    assert "version" in refusal(WAVENETS["plain"] | {"version": version})


def test_the_last_weight_is_the_head_scale():
    document = wavenet(array(), head_scale=123.0)
    document["weights"][-1] = 0.25
    assert json.loads(format_nam(parse(document)))["config"]["head_scale"] == 0.25


def test_unknown_keys_are_ignored():
    document = WAVENETS["plain"] | {"notes": ["x"]}
    document["config"] = document["config"] | {"extra": {"a": 1}}
    assert parse(document).shape == parse(WAVENETS["plain"]).shape


@pytest.mark.parametrize("slot", [False, None, {"active": False}, {"active": False, "groups": 3}])
def test_an_inactive_film_is_none(slot):
    config = WAVENETS["plain"]["config"]["layers"][0] | {"conv_pre_film": slot}
    assert parse(wavenet(config)).shape.arrays[0].films == (None,) * 8


def test_a_film_without_active_is_active_and_is_written_so():
    model = parse(wavenet(array(conv_post_film={"shift": False})))
    assert model.shape.arrays[0].films[1] is not None
    layer = json.loads(format_nam(model))["config"]["layers"][0]
    assert layer["conv_post_film"] == {"active": True, "shift": False, "groups": 1}
    assert None not in layer["head1x1"].values()


def test_a_missing_sample_rate_is_that_of_most_captures():
    model = parse({k: v for k, v in WAVENETS["plain"].items() if k != "sample_rate"})
    assert (model.sample_rate, model.rate) == (None, 48000)
    assert json.loads(format_nam(model))["sample_rate"] == 48000
    assert parse(WAVENETS["plain"] | {"sample_rate": 44099.5}).rate == 44099.5


@pytest.mark.parametrize("rate", [0, -2, "48000", True, 1e9, [48000]])
def test_impossible_sample_rates_are_refused(rate):
    assert "sample_rate" in refusal(WAVENETS["plain"] | {"sample_rate": rate})


def test_models_inside_have_the_same_rate():
    other = linear() | {"sample_rate": 44100}
    for document in (
        container(other), series(other), wavenet(array(), condition_dsp=other)
    ):  # fmt: skip
        assert "another sample rate" in refusal(document)
    other["sample_rate"] = None
    assert parse(container(other)).parts[0].sample_rate is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_size": 2}, "input_size is 2, expected 1"),
        ({"condition_size": 3}, "condition_size is 3"),
        ({"groups_input": 3}, "groups do not divide"),
        ({"kernel_sizes": [3, 3, 3]}, "found both"),
        ({"kernel_size": None, "kernel_sizes": [3, 3]}, "kernel_sizes has 2 items"),
        ({"kernel_size": None}, "kernel_sizes is missing"),
        ({"activation": ["Tanh"]}, "activation has 1 items"),
        ({"activation": "Softsigmoid"}, "expected 'Tanh'"),
        ({"activation": {"type": "PReLU", "negative_slopes": [1.0, 2.0]}}, "one per channel"),
        ({"gating_mode": "both"}, "gating_mode"),
        ({"head": None}, "head is missing"),
        ({"head": None, "head_size": 1}, "head.bias is missing"),
        ({"layer1x1": {"active": False}, "layer1x1_post_film": film()}, "layer1x1 is not"),
        ({"head1x1_post_film": film()}, "head1x1 is not"),
        ({"head1x1": {"active": True, "groups": 3}}, "groups do not divide"),
        ({"conv_pre_film": True}, "conv_pre_film"),
        ({"conv_pre_film": film(groups=2)}, "groups do not divide"),
        ({"dilations": []}, "dilations"),
        ({"dilations": [1 << 20] * 3}, "receptive field"),
        ({"channels": 0}, "channels"),
        ({"channels": 2.0}, "whole number"),
        ({"channels": 1 << 40}, "channels"),
        ({"slimmable": {"method": "other"}}, "slimmable.method"),
        (
            {
                "slimmable": {
                    "method": "slice_channels_uniform",
                    "kwargs": {"allowed_channels": [2]},
                }
            },
            "end with 4",
        ),
    ],
)
def test_configs_that_are_refused(change, words):
    config = array() | change
    config = {key: value for key, value in config.items() if value is not None}
    document = document_of("WaveNet", {"layers": [config], "head_scale": 1.0}, weights=[])
    assert words in refusal(document)


def test_widths_of_arrays_must_fit():
    wide = array(4, head={"out_channels": 4, "kernel_size": 1, "bias": True})
    narrow = array(3, input_size=4)
    config = {"layers": [wide, narrow], "head_scale": 1.0}
    assert "head of 4 outputs" in refusal(document_of("WaveNet", config, weights=[]))
    added = array(4, input_size=4, bottleneck=2)
    config = {"layers": [wide, added], "head_scale": 1.0}
    assert "its layers add 2 channels" in refusal(document_of("WaveNet", config, weights=[]))


def test_containers_that_are_refused():
    parts = container(linear(), linear())
    for limits in ((0.5, 0.9), (1.0, 1.0), (1.0, 0.5)):
        rows = [
            row | {"max_value": limit}
            for row, limit in zip(parts["config"]["submodels"], limits, strict=True)
        ]
        changed = parts | {"config": {"submodels": rows}}
        assert "ascending max_value" in refusal(changed)
    two = wavenet(array(head={"out_channels": 2, "kernel_size": 1, "bias": True}))
    assert "2 outputs" in refusal(series(two, linear()))
    assert "different numbers of channels" in refusal(container(linear(), two))
    assert "surplus" in refusal(series(linear()) | {"weights": [1.0]})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([], "missing"),
        ([0.5] * 3, "missing"),
        ([0.5] * 1000, "surplus"),
        ([0.5] * 9 + [None], "weight 9"),
        ([0.5] * 9 + [True], "weight 9"),
        ([0.5] * 9 + ["1"], "weight 9"),
        ([0.5] * 9 + [[1.0]], "weight 9"),
        ([0.5] * 9 + [1e39], "weight 9 is not finite"),
        ([0.5] * 9 + [10**400], "not finite"),
        ({"a": 1}, "expected a list"),
        ("0.5", "expected a list"),
    ],
)
def test_weights_that_are_refused(weights, words):
    assert words in refusal(linear() | {"weights": weights})


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_weights_that_are_not_finite_are_refused(word):
    content = encode(linear() | {"weights": [0.5] * 9 + [7]}).replace(
        b" 7]", b" %s]" % word.encode()
    )
    with pytest.raises(EffectFileError):
        parse_nam(content, "x")


def test_a_model_that_is_not_finite_is_not_written():
    model = parse(linear())
    with pytest.raises(EffectFileError, match="not finite"):
        format_nam(replace(model, weights=model.weights * np.float32("nan")))


def test_a_model_with_knobs_is_not_written():
    model = parse(WAVENETS["plain"])
    shape = with_knob_channels(model.shape, 2)
    knobs = replace(model, shape=shape, weights=np.zeros(count_weights(shape), np.float32))
    check_parts(knobs, "x")
    with pytest.raises(EffectFileError, match="fold them"):
        format_nam(knobs)


def test_tensors_are_joined_in_the_order_of_the_file():
    model = parse(WAVENETS["everything"])
    assert np.array_equal(join_weights(model.shape, model.tensors()), model.weights)
    tensors = model.tensors()
    tensors["head_scale"] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="head_scale"):
        join_weights(model.shape, tensors)
