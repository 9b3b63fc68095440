"""Configs as texts: read without loss, or what is wrong in the text is named in one line."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavenet.checkpoint import CheckpointConfig
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.model.model_config import ModelConfig
from wavenet.sampling import SamplingConfig
from wavenet.training.recipe import DataConfig, RecipeConfig, TrainConfig

from . import DIGIT, MODEL, TRAIN, WHOLE, changed, refusal

# seeded, and however slow the machine is
RULES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_whole_config_is_read_and_written_without_loss():
    full = changed(
        WHOLE, model=changed(MODEL, conditions=[DIGIT, {"kind": "position", "harmonics": 2}])
    )
    config = parse_config(CheckpointConfig, json.dumps(full), "here.json")
    assert config.model.dilations == (1, 2, 4)
    assert config.model.conditions == (
        LabelCondition(name="digit", values=("0", "1")),
        PositionCondition(harmonics=2),
    )
    assert parse_config(CheckpointConfig, config.model_dump_json(), "again.json") == config


@pytest.mark.parametrize("kernel_size, dilations", [(3, [2**n for n in range(10)]), (2, [1, 2, 4])])
def test_the_receptive_field_counts_samples(kernel_size, dilations):
    model = parse_config(
        ModelConfig, json.dumps(changed(MODEL, kernel_size=kernel_size, dilations=dilations)), "x"
    )
    assert model.receptive_field == {3: 2047, 2: 8}[kernel_size]


def test_an_unknown_key_is_named_beside_the_known_ones():
    sentence = refusal(ModelConfig, changed(MODEL, residual_chanels=4))
    assert "the key residual_chanels is not known" in sentence
    for name in ModelConfig.model_fields:
        assert name in sentence


def test_an_unknown_key_of_a_part_is_named_beside_the_keys_of_that_part():
    sentence = refusal(CheckpointConfig, changed(WHOLE, audio={"sample_rate": 8000, "rate": 1}))
    assert "audio.rate is not known (known keys: sample_rate)" in sentence


def test_an_unknown_key_of_a_condition_is_named_beside_the_keys_of_its_kind():
    condition = changed(DIGIT, chanels=16)
    sentence = refusal(ModelConfig, changed(MODEL, conditions=[condition]))
    assert "chanels is not known (known keys: kind, name, values, channels, dropout)" in sentence


def test_a_missing_key_is_named():
    cases = [(ModelConfig, MODEL, "dilations"), (CheckpointConfig, WHOLE, "audio")]
    for kind, whole, name in cases:
        without = {key: value for key, value in whole.items() if key != name}
        assert f"the key {name} is missing" in refusal(kind, without)


@pytest.mark.parametrize("value", ["1e9", "4", True, 4.5, None, [], {}, 0, -1, 10**7, 10**400])
def test_a_width_of_the_wrong_type_or_size_is_refused(value):
    text = json.dumps(changed(MODEL, residual_channels=value))
    assert "residual_channels: " in refusal(ModelConfig, text)


@pytest.mark.parametrize("value", ["1.0", True, None, []])
def test_a_number_of_the_wrong_type_is_refused(value):
    assert "learning_rate: " in refusal(TrainConfig, changed(TRAIN, learning_rate=value))
    assert "default_seconds: " in refusal(CheckpointConfig, changed(WHOLE, default_seconds=value))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("kind, base, name", [
    (TrainConfig, TRAIN, "learning_rate"),
    (TrainConfig, TRAIN, "gradient_clip"),
    (CheckpointConfig, WHOLE, "default_seconds"),
    (SamplingConfig, {}, "temperature"),
])  # fmt: skip
def test_nan_and_infinity_are_refused(kind, base, name, value):
    text = json.dumps(changed(base, **{name: "HERE"})).replace('"HERE"', value)
    assert f"{name}: " in refusal(kind, text)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "1", "{", '{"a": 1,}', b"\xff\xfe", "\ud800", "\x00", "[" * 100_000,
        '{"a":' * 50_000, '{"a\\nb": 1}', '{"\\u001b[2J": 1}', '{"steps": ' + "9" * 5000 + "}",
        json.dumps({"steps": 1, "x" * 100_000: 1}),
    ],
)  # fmt: skip
def test_text_that_is_no_config_is_refused_in_one_short_line(text):
    """An unknown key with a line break, or a very long one, once came out as it was."""
    assert len(refusal(TrainConfig, text)) < 1000


def test_a_line_break_in_a_kind_does_not_break_the_sentence():
    refusal(ModelConfig, changed(MODEL, conditions=[{"kind": "a\nb\x1b[2J"}]))


@pytest.mark.parametrize("kind", [TrainConfig, CheckpointConfig, RecipeConfig, DataConfig])
def test_every_config_is_frozen_strict_and_closed(kind):
    assert issubclass(kind, StrictConfig)
    rules = kind.model_config
    assert rules["frozen"] and rules["strict"]
    assert rules["extra"] == "forbid"
    assert rules["allow_inf_nan"] is False


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
keys = st.sampled_from([*ModelConfig.model_fields, "kind", "name", "values"])


@RULES
@given(st.dictionaries(keys, json_values, max_size=4))
def test_whatever_stands_in_a_model_config_it_is_accepted_or_refused_in_one_line(values):
    try:
        parse_config(ModelConfig, json.dumps({**MODEL, **values}), "here.json")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()
