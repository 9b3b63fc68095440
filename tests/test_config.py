"""Configs: what is wrong in a file is named in one line, and nothing absurd is ever built."""

import json
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavenet import checkpoint
from wavenet.conditions import LabelCondition, PositionCondition, Strict
from wavenet.config import (
    AudioConfig,
    CheckpointConfig,
    CodecConfig,
    DataConfig,
    ModelConfig,
    RecipeConfig,
    SamplingConfig,
    TrainConfig,
)
from wavenet.errors import ConfigError
from wavenet.parsing import parse

# seeded, and however slow the machine is
RULES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

MODEL = {"residual_channels": 4, "gate_channels": 4, "skip_channels": 4, "dilations": [1, 2, 4]}
TRAIN = {"steps": 10}
DIGIT = {"kind": "label", "name": "digit", "values": ["0", "1"]}
WHOLE = {
    "format_version": 1,
    "name": "tiny",
    "audio": {"sample_rate": 8000},
    "codec": {"bits": 8},
    "model": MODEL,
}


def changed(base, **values):
    return {**base, **values}


def refusal(kind, value, limit_seconds=5.0):
    """Parse, and return the sentence of the refusal."""
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    began = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        parse(kind, text, "here.json")
    assert time.perf_counter() - began < limit_seconds
    sentence = str(caught.value)
    assert sentence.startswith("here.json: ")
    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    return sentence


def test_a_whole_config_is_read_and_written_without_loss():
    full = changed(
        WHOLE, model=changed(MODEL, conditions=[DIGIT, {"kind": "position", "harmonics": 2}])
    )
    config = parse(CheckpointConfig, json.dumps(full), "here.json")
    assert config.model.dilations == (1, 2, 4)
    assert config.model.conditions == (
        LabelCondition(name="digit", values=("0", "1")),
        PositionCondition(harmonics=2),
    )
    assert parse(CheckpointConfig, config.model_dump_json(), "again.json") == config


@pytest.mark.parametrize("kernel_size, dilations", [(3, [2**n for n in range(10)]), (2, [1, 2, 4])])
def test_the_receptive_field_counts_samples(kernel_size, dilations):
    model = parse(
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


LINEAR = {"law": "linear", "bits": 16, "silence_code": 32_768}
GAUSS = {"kind": "gaussian-mixture"}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"codec": {"bits": 8, "silence_code": 127}}, "silence_code must be 128 for 8 bits"),
        ({"codec": {"bits": 10}}, "silence_code must be 512 for 10 bits"),
        ({"codec": {"bits": 3, "silence_code": 4}}, "codec.bits: "),
        ({"codec": {"bits": 11, "silence_code": 1024}}, "the mu-law has 4 to 10 bits, found 11"),
        ({"codec": {"law": "linear"}}, "the linear law has 16 bits, found 8"),
        ({"codec": LINEAR}, "a categorical output needs codec.law 'mu-law', found 'linear'"),
        (
            {"model": {**MODEL, "output": {"kind": "logistic-mixture"}}},
            "a logistic-mixture output needs codec.law 'linear', found 'mu-law'",
        ),
        ({"codec": LINEAR, "model": {**MODEL, "output": {"kind": "x"}}}, "'gaussian-mixture'"),
        (
            {"codec": LINEAR, "model": {**MODEL, "output": {**GAUSS, "components": 65}}},
            "components: ",
        ),
        ({"codec": {"rounding": "down"}}, "silence_code must be 127 for 8 bits rounded 'down'"),
        ({"codec": {"rounding": "up"}}, "codec.rounding: "),
        (
            {"codec": {"rounding": "down-256", "bits": 9, "silence_code": 256}},
            "the rounding 'down-256' has 8 bits, found 9",
        ),
        (
            {"codec": {**LINEAR, "rounding": "down", "silence_code": 32_767}},
            "the linear law is rounded 'half-up', found 'down'",
        ),
        ({"codec": {"law": "a-law"}}, "codec.law: "),
        ({"model": {**MODEL, "conditions": [{**DIGIT, "values": ["0", "0"]}]}}, "must differ"),
        ({"model": {**MODEL, "conditions": [DIGIT, DIGIT]}}, "the same name"),
        ({"model": {**MODEL, "conditions": [{"kind": "position"}] * 2}}, "can be given once"),
        ({"model": {**MODEL, "conditions": [{**DIGIT, "values": []}]}}, "has no values"),
        ({"model": {**MODEL, "conditions": [{"kind": "smell"}]}}, "'label', 'position'"),
        ({"format_version": 2}, "format_version: "),
        ({"format_version": 0}, "format_version: "),
        ({"name": "../x"}, "name: "),
        ({"name": "a\n"}, "name: "),
        ({"audio": {"sample_rate": 3999}}, "audio.sample_rate: "),
        ({"audio": {"sample_rate": 192001}}, "audio.sample_rate: "),
    ],
)
def test_a_contradiction_or_a_value_out_of_bounds_is_refused(change, words):
    assert words in refusal(CheckpointConfig, changed(WHOLE, **change))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"layers": 10**9}, "the key layers is not known"),
        ({"dilations": [1] * 1001}, "dilations: "),
        ({"dilations": [1] * 200_000}, "dilations: "),
        ({"dilations": []}, "dilations: "),
        ({"dilations": [2**60]}, "dilations.0: "),
        ({"dilations": [1, 0]}, "dilations.1: "),
        ({"dilations": [True]}, "dilations.0: "),
        ({"kernel_size": 0}, "kernel_size: "),
        ({"kernel_size": 10**9}, "kernel_size: "),
        ({"residual_channels": 10**7}, "residual_channels: "),
        ({"condition_hop": 0}, "condition_hop: "),
        ({"conditions": [{"kind": "position", "harmonics": 10**6}]}, "harmonics: "),
        ({"conditions": [{"kind": "position"}] * 33}, "conditions: "),
        (
            {"residual_channels": 4096, "gate_channels": 4096, "skip_channels": 4096},
            "parameters; the limit is 100,000,000",
        ),
        (
            {"conditions": [{"kind": "position"}], "condition_channels": 4096,
             "dilations": [1] * 1000, "gate_channels": 100},
            "parameters; the limit is 100,000,000",
        ),
        (
            {"residual_channels": 64, "dilations": [65_536] * 20},
            "ring buffers of 83,886,080 values",
        ),
    ],
    ids=range(16),
)  # fmt: skip
def test_absurd_sizes_are_refused_at_once_and_nothing_is_built(change, words, monkeypatch):
    def never(*args, **options):
        raise AssertionError("a tensor was made")

    monkeypatch.setattr(torch, "empty", never)
    monkeypatch.setattr(checkpoint, "build", never)
    assert words in refusal(ModelConfig, changed(MODEL, **change))


@pytest.mark.parametrize(
    "conditions",
    [(), (PositionCondition(),), (PositionCondition(), LabelCondition(name="d", values=("a",) ))],
    ids=["none", "position", "both"],
)  # fmt: skip
@pytest.mark.parametrize(
    "sizes",
    [
        {"residual_channels": 1, "gate_channels": 1, "skip_channels": 1},
        {"residual_channels": 64, "gate_channels": 3, "skip_channels": 128, "kernel_size": 5},
        {"residual_channels": 1, "gate_channels": 64, "skip_channels": 1},
        {"residual_channels": 1, "gate_channels": 1, "skip_channels": 1, "condition_channels": 999},
    ],
    ids=str,
)
def test_the_estimate_of_the_parameters_is_never_below_the_weights_built(sizes, conditions):
    """The hidden layers of the frame-rate network, up to 80 million weights, were not counted."""
    model = ModelConfig(**sizes, dilations=(1, 2), conditions=conditions)
    built = checkpoint.build(
        CheckpointConfig(
            name="x",
            audio=AudioConfig(sample_rate=8000),
            codec=CodecConfig(bits=10, silence_code=512),
            model=model,
        )
    )
    weights = sum(p.numel() for n, p in built.named_parameters() if not n.endswith("bias"))
    assert weights <= model.approximate_parameters <= 2 * weights + 10_000


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"learning_rate": 0},
        {"ema_decay": 1},
        {"betas": [0.9]},
        {"betas": [0.9, 1.0]},
        {"betas": [-0.1, 0.9]},
        {"precision": "fp16"},
        {"seed": -1},
        {"seed": 2**64},
        {"gain_db": 25},
        {"save_every": 0},
    ],
    ids=str,
)
def test_a_setting_of_the_training_out_of_bounds_is_refused(change):
    """Betas of 1 and seeds beyond 64 bits once got as far as torch, which has its own words."""
    assert next(iter(change)) in refusal(TrainConfig, changed(TRAIN, **change))


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0}, {"temperature": 101}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.01},
     {"top_k": -1}, {"temperature": 1e-300}],
    ids=str,
)  # fmt: skip
def test_a_setting_of_the_sampling_out_of_bounds_is_refused(change):
    """At a temperature of 1e-300 every logit overflows and every probability was NaN."""
    assert next(iter(change)) in refusal(SamplingConfig, change)


@pytest.mark.parametrize(
    ("sampling", "word"),
    [
        ({"greedy": True}, "greedy"),
        ({"guidance": 2.0}, "left out"),
        ({"temperature": 0}, "temperature"),
        ({"warmth": 1}, "warmth"),
    ],
)
def test_a_checkpoint_cannot_draw_in_a_way_that_it_does_not_have(sampling, word):
    assert word in refusal(CheckpointConfig, changed(WHOLE, sampling=sampling))
    fine = changed(WHOLE, sampling={"temperature": 0.9, "top_p": 0.95})
    assert parse(CheckpointConfig, json.dumps(fine), "here").sampling.top_p == 0.95


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
    assert issubclass(kind, Strict)
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
        parse(ModelConfig, json.dumps({**MODEL, **values}), "here.json")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()
