"""Configs: valid text is read without loss, invalid text is refused in one sentence."""

import json
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.config import StrictConfig, make_config, parse_config
from wavenet.errors import ConfigError
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.model.wavenet import WaveNetConfig
from wavenet.sampling import SamplingConfig
from wavenet.training.recipe import DataConfig, RecipeConfig, TrainConfig

MODEL = {"residual_channels": 4, "gate_channels": 4, "skip_channels": 4, "dilations": [1, 2, 4]}
TRAIN = {"steps": 10}
DIGIT = {"kind": "label", "name": "digit", "values": ["0", "1"]}
LEVEL = {"kind": "number", "name": "level", "low": -60, "high": 0, "unit": "dB"}
CHECKPOINT = {
    "format_version": 1,
    "name": "tiny",
    "audio": {"sample_rate": 8000},
    "codec": {"bits": 8},
    "model": MODEL,
}
LINEAR = {"law": "linear", "bits": 16, "silence_code": 32_768}
PCM16 = {"law": "pcm16"}
LOGISTIC = {"kind": "logistic-mixture"}
GAUSSIAN = {"kind": "gaussian-mixture"}


def parse(kind, values):
    return parse_config(kind, json.dumps(values), "here.json")


def refusal(kind, content, limit_seconds=5.0):
    """Parse a dict or text that must be refused, and return the sentence of the error."""
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    began = time.process_time()  # of this process only: other load does not count
    with pytest.raises(ConfigError) as caught:
        parse_config(kind, text, "here.json")
    assert time.process_time() - began < limit_seconds
    sentence = str(caught.value)
    assert sentence.startswith("here.json: ")
    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    assert " should " not in sentence  # the word of pydantic's messages
    return sentence.removeprefix("here.json: ")


def field_of(sentence):
    """Return the path of the field at the beginning of a sentence."""
    return sentence.partition(": ")[0]


def test_a_complete_config_survives_writing_and_reading():
    conditions = [DIGIT, {"kind": "position", "harmonics": 2}]
    config = parse(CheckpointConfig, {**CHECKPOINT, "model": {**MODEL, "conditions": conditions}})
    assert config.model.dilations == (1, 2, 4)
    assert config.model.conditions == (
        LabelCondition(name="digit", values=("0", "1")),
        PositionCondition(harmonics=2),
    )
    assert parse_config(CheckpointConfig, config.model_dump_json(), "again.json") == config


@pytest.mark.parametrize("kernel_size, dilations", [(3, [2**n for n in range(10)]), (2, [1, 2, 4])])
def test_the_receptive_field_is_counted_in_samples(kernel_size, dilations):
    model = parse(WaveNetConfig, {**MODEL, "kernel_size": kernel_size, "dilations": dilations})
    assert model.receptive_field == {3: 2047, 2: 8}[kernel_size]


def test_a_model_without_architecture_is_a_wavenet():
    """Checkpoints written before there were other architectures have no such key."""
    plain = parse(CheckpointConfig, CHECKPOINT)
    named = parse(CheckpointConfig, {**CHECKPOINT, "model": {**MODEL, "architecture": "wavenet"}})
    assert plain == named
    assert isinstance(plain.model, WaveNetConfig)
    assert json.loads(plain.model_dump_json())["model"]["architecture"] == "wavenet"


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (SamplingConfig, {"temperature": "hot"}, "temperature: expected a number, found 'hot'"),
        (
            SamplingConfig,
            {"temperature": 0},
            "temperature: expected a number from 1e-06 to 100, found 0",
        ),
        (SamplingConfig, {"top_p": 2}, "top_p: expected a number above 0, at most 1, found 2"),
        (SamplingConfig, {"top_k": 1.5}, "top_k: expected a whole number, found 1.5"),
        (SamplingConfig, {"greedy": "yes"}, "greedy: expected true or false, found 'yes'"),
        (WaveNetConfig, {**MODEL, "dilations": 3}, "dilations: expected a list, found 3"),
        (WaveNetConfig, {**MODEL, "dilations": []}, "dilations: expected 1 or more items, found 0"),
        (CheckpointConfig, {**CHECKPOINT, "name": 7}, "name: expected a text, found 7"),
        (CheckpointConfig, {**CHECKPOINT, "audio": 7}, "audio: expected an object, found 7"),
    ],
)
def test_a_wrong_value_is_reported_in_the_words_of_this_project(kind, values, expected):
    assert refusal(kind, values) == expected


@pytest.mark.parametrize("kind", [CheckpointConfig, RecipeConfig])
@pytest.mark.parametrize("name", ["unheard-of", "WaveNet", "", None, 5, ["wavenet"]])
def test_an_unknown_architecture_is_refused_with_the_known_names(kind, name):
    values = {**CHECKPOINT, "model": {**MODEL, "architecture": name}}
    if kind is RecipeConfig:
        values = {**values, "train": TRAIN}
        del values["format_version"]
    sentence = refusal(kind, values)
    assert field_of(sentence) == "model.architecture"
    assert all(known in sentence for known in ARCHITECTURES)
    assert f"found {'nothing' if name is None else repr(name)}" in sentence
    values["model"] = {**MODEL, "architecture": "wavenet"}  # control: a known one
    assert parse(kind, values).model.architecture == "wavenet"


@pytest.mark.parametrize(
    "name, advice",
    [
        ("wavnet", "; did you mean wavenet?"),
        ("linear_attention", "; did you mean linear-attention?"),
        ("hyena", "; a newer version may know it"),
    ],
)
def test_an_unknown_architecture_has_advice(name, advice):
    values = {**CHECKPOINT, "model": {**MODEL, "architecture": name}}
    assert refusal(CheckpointConfig, values).endswith(f", found {name!r}{advice}")


@pytest.mark.parametrize("value", [5, None, "wavenet", [MODEL]])
def test_a_model_that_is_not_an_object_is_refused(value):
    assert field_of(refusal(CheckpointConfig, {**CHECKPOINT, "model": value})) == "model"


def test_an_unknown_key_is_named_with_the_known_keys():
    sentence = refusal(WaveNetConfig, {**MODEL, "residual_chanels": 4})
    assert "the key residual_chanels is not known" in sentence
    for name in WaveNetConfig.model_fields:
        assert name in sentence


@pytest.mark.parametrize(
    ("change", "path", "known"),
    [
        ({"audio": {"sample_rate": 8000, "rate": 1}}, "audio.rate", "sample_rate"),
        ({"codec": {"bitz": 8}}, "codec.bitz", "law, bits, rounding, silence_code"),
        (
            {"codec": {**LINEAR, "bitz": 8}, "model": {**MODEL, "output": GAUSSIAN}},
            "codec.bitz",
            "law, bits, rounding, silence_code",
        ),
        ({"model": {**MODEL, "layers": 3}}, "model.layers", "architecture, output, conditions,"),
        (
            {"model": {**MODEL, "output": {**GAUSSIAN, "component": 2}}},
            "model.output.component",
            "kind, components",
        ),
        (
            {"model": {**MODEL, "conditions": [LEVEL, {**DIGIT, "chanels": 16}]}},
            "model.conditions.1.chanels",
            "kind, name, values, channels, dropout",
        ),
        # keys that look like the tag of the union above them
        (
            {"model": {**MODEL, "conditions": [{**DIGIT, "label": 1}]}},
            "model.conditions.0.label",
            "kind, name, values, channels, dropout",
        ),
        ({"codec": {"mu-law": 1}}, "codec.mu-law", "law, bits, rounding, silence_code"),
        # keys that only another class of the union has
        (
            {"model": {**MODEL, "conditions": [{**DIGIT, "unit": "dB"}]}},
            "model.conditions.0.unit",
            "kind, name, values, channels, dropout",
        ),
    ],
)
def test_an_unknown_key_inside_a_config_is_named_with_the_keys_at_its_level(change, path, known):
    """The sentence contains neither the names of the classes of a union nor their other keys."""
    sentence = refusal(CheckpointConfig, {**CHECKPOINT, **change})
    assert f"the key {path} is not known (known keys: {known}" in sentence


def test_an_unknown_key_that_is_a_value_of_another_field_is_named():
    """`auto` is a precision, not a class of a union."""
    values = {**CHECKPOINT, "train": {**TRAIN, "auto": 1}}
    del values["format_version"]
    assert "the key train.auto is not known (known keys: steps," in refusal(RecipeConfig, values)


def test_an_error_inside_a_union_is_reported_without_the_tag_of_its_class():
    values = {**CHECKPOINT, "model": {**MODEL, "conditions": [{**DIGIT, "channels": 0}]}}
    assert field_of(refusal(CheckpointConfig, values)) == "model.conditions.0.channels"
    values = {**CHECKPOINT, "codec": {"law": "mu-law", "bits": "8"}}
    assert field_of(refusal(CheckpointConfig, values)) == "codec.bits"


def test_a_missing_key_is_named():
    cases = [(WaveNetConfig, MODEL, "dilations"), (CheckpointConfig, CHECKPOINT, "audio")]
    for kind, values, name in cases:
        without = {key: value for key, value in values.items() if key != name}
        assert f"the key {name} is missing" in refusal(kind, without)


@pytest.mark.parametrize("value", ["1e9", "4", True, 4.5, None, [], {}, 0, -1, 10**7, 10**400])
def test_a_width_of_the_wrong_type_or_size_is_refused(value):
    sentence = refusal(WaveNetConfig, {**MODEL, "residual_channels": value})
    assert field_of(sentence) == "residual_channels"


@pytest.mark.parametrize("value", ["1.0", True, None, []])
def test_a_number_of_the_wrong_type_is_refused(value):
    sentence = refusal(TrainConfig, {**TRAIN, "learning_rate": value})
    assert field_of(sentence) == "learning_rate"
    sentence = refusal(CheckpointConfig, {**CHECKPOINT, "default_seconds": value})
    assert field_of(sentence) == "default_seconds"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("kind, base, name", [
    (TrainConfig, TRAIN, "learning_rate"),
    (TrainConfig, TRAIN, "gradient_clip"),
    (CheckpointConfig, CHECKPOINT, "default_seconds"),
    (SamplingConfig, {}, "temperature"),
])  # fmt: skip
def test_nan_and_infinity_are_refused(kind, base, name, value):
    text = json.dumps({**base, name: "HERE"}).replace('"HERE"', value)
    assert field_of(refusal(kind, text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "1", "{", '{"a": 1,}', b"\xff\xfe", "\ud800", "\x00", "[" * 100_000,
        '{"a":' * 50_000, '{"a\\nb": 1}', '{"\\u001b[2J": 1}', '{"steps": ' + "9" * 5000 + "}",
        json.dumps({"steps": 1, "x" * 100_000: 1}),
    ],
)  # fmt: skip
def test_text_that_is_not_a_config_is_refused_in_one_short_line(text):
    """Regression: an unknown key with a line break, or a very long key, was printed unchanged."""
    assert len(refusal(TrainConfig, text)) < 1000


@pytest.mark.parametrize("word", ["a\nb\x1b[2J", "x" * 100_000])
def test_a_tag_from_a_file_cannot_break_the_sentence(word):
    changes = [
        {"model": {**MODEL, "conditions": [{"kind": word}]}},
        {"model": {**MODEL, "architecture": word}},
        {"codec": {"law": word}},
    ]
    for change in changes:
        assert len(refusal(CheckpointConfig, {**CHECKPOINT, **change})) < 1000


def all_configs(kind=StrictConfig):
    """Return all config classes that are imported here."""
    return {kind}.union(*map(all_configs, kind.__subclasses__()))


def test_every_config_is_frozen_strict_and_closed():
    kinds = all_configs()
    assert {TrainConfig, CheckpointConfig, RecipeConfig, DataConfig, WaveNetConfig} <= kinds
    for kind in kinds:
        rules = kind.model_config
        assert rules["frozen"] and rules["strict"], kind
        assert rules["extra"] == "forbid", kind
        assert rules["allow_inf_nan"] is False, kind


def test_values_of_a_user_are_checked_as_those_of_a_file():
    assert make_config(SamplingConfig, "sampling", top_k=3) == SamplingConfig(top_k=3)
    with pytest.raises(ConfigError, match=r"^sampling: top_k: .*found 0$"):
        make_config(SamplingConfig, "sampling", top_k=0)
    with pytest.raises(ConfigError, match=r"^sampling: the key warmth is not known"):
        make_config(SamplingConfig, "sampling", warmth=1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
model_keys = st.sampled_from([*WaveNetConfig.model_fields, "kind", "name", "values"])
codec_keys = st.sampled_from([*MuLawCodec.model_fields, "mu-law", "kind"])


def check_any_content(kind, values):
    """Check that values are accepted, or refused in one printable line."""
    try:
        parse(kind, values)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()


@given(st.dictionaries(model_keys, json_values, max_size=4))
def test_any_content_of_a_model_config_is_accepted_or_refused_in_one_line(values):
    check_any_content(WaveNetConfig, {**MODEL, **values})
    check_any_content(CheckpointConfig, {**CHECKPOINT, "model": {**MODEL, **values}})


@given(json_values | st.dictionaries(codec_keys, json_values, max_size=4))
def test_any_content_of_a_codec_is_accepted_or_refused_in_one_line(codec):
    check_any_content(CheckpointConfig, {**CHECKPOINT, "codec": codec})


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"codec": {"bits": 8, "silence_code": 127}}, "codec", "silence_code must be 128 for 8"),
        ({"codec": {"bits": 10, "silence_code": 128}}, "codec", "silence_code must be 512 for 10"),
        ({"codec": {"bits": 3}}, "codec.bits", "found 3"),
        ({"codec": {"bits": 11}}, "codec.bits", "found 11"),
        ({"codec": {"bits": 16}}, "codec.bits", "found 16"),
        ({"codec": {**LINEAR, "bits": 8}}, "codec.bits", "16, found 8"),
        ({"codec": {**PCM16, "bits": 8}}, "codec.bits", "16, found 8"),
        ({"codec": {**PCM16, "silence_code": 32_767}}, "codec.silence_code", "32768, found 32767"),
        ({"codec": LINEAR}, "the content", "a categorical output needs codec.law 'mu-law'"),
        ({"codec": PCM16}, "the content", "needs codec.law 'mu-law', found 'pcm16'"),
        (
            {"model": {**MODEL, "output": LOGISTIC}},
            "the content",
            "a logistic-mixture output needs codec.law 'pcm16', found 'mu-law'",
        ),
        (
            {"codec": LINEAR, "model": {**MODEL, "output": {"kind": "x"}}},
            "model.output",
            "'gaussian-mixture'",
        ),
        (
            {"codec": LINEAR, "model": {**MODEL, "output": {**GAUSSIAN, "components": 65}}},
            "model.output.components",
            "found 65",
        ),
        (
            {"codec": {"rounding": "down", "silence_code": 128}},
            "codec",
            "silence_code must be 127 for 8 bits with rounding 'down', found 128",
        ),
        ({"codec": {"rounding": "up"}}, "codec.rounding", "found 'up'"),
        ({"codec": {"rounding": "down-256", "bits": 9}}, "codec", "8 bits, found 9"),
        ({"codec": {**LINEAR, "rounding": "down"}}, "codec.rounding", "'half-up', found 'down'"),
        ({"codec": {**PCM16, "rounding": "down"}}, "codec.rounding", "'half-up', found 'down'"),
        ({"codec": {"law": "a-law"}}, "codec.law", "mu-law, pcm16, linear, found 'a-law'"),
        (
            {"model": {**MODEL, "conditions": [{**DIGIT, "values": ["0", "0"]}]}},
            "model.conditions.0",
            "must differ",
        ),
        ({"model": {**MODEL, "conditions": [DIGIT, DIGIT]}}, "model", "the same name"),
        (
            {"model": {**MODEL, "conditions": [{"kind": "position"}] * 2}},
            "model",
            "only one position condition",
        ),
        (
            {"model": {**MODEL, "conditions": [{"kind": "raster"}] * 2, "condition_hop": 1}},
            "model",
            "only one raster condition",
        ),
        (
            {"model": {**MODEL, "conditions": [{"kind": "raster"}], "condition_hop": 2}},
            "model",
            "a raster condition needs condition_hop = 1",
        ),
        ({"model": {**MODEL, "conditions": [{**DIGIT, "values": []}]}}, "the content", "no values"),
        (
            {"model": {**MODEL, "conditions": [{"kind": "smell"}]}},
            "model.conditions.0",
            "'label', 'position'",
        ),
        (
            {"model": {**MODEL, "conditions": [{**LEVEL, "default": 1}]}},
            "model.conditions.0",
            "default must be -60 to 0 dB, found 1",
        ),
        ({"format_version": 2}, "format_version", "found 2"),
        ({"format_version": 0}, "format_version", "found 0"),
        ({"name": "../x"}, "name", "found '../x'"),
        ({"name": "a\n"}, "name", r"found 'a\n'"),
        ({"audio": {"sample_rate": 3999}}, "audio.sample_rate", "found 3999"),
        ({"audio": {"sample_rate": 192001}}, "audio.sample_rate", "found 192001"),
    ],
)
def test_a_contradiction_or_a_value_out_of_bounds_is_refused(change, field, words):
    sentence = refusal(CheckpointConfig, {**CHECKPOINT, **change})
    assert field_of(sentence) == field
    assert words in sentence
    assert sentence.count("found ") <= 1 + ("found using" in sentence)


def test_the_silence_code_of_a_codec_need_not_be_given():
    codecs = {
        128: {},
        512: {"bits": 10},
        127: {"rounding": "down"},
        511: {"bits": 10, "rounding": "down"},
    }
    for expected, codec in codecs.items():
        config = parse(CheckpointConfig, {**CHECKPOINT, "codec": codec})
        assert config.codec.silence_code == expected


@pytest.mark.parametrize("codec", [LINEAR, PCM16, {"law": "linear"}])
@pytest.mark.parametrize("output", [LOGISTIC, GAUSSIAN])
def test_a_mixture_fits_both_laws_of_16_bits(codec, output):
    values = {**CHECKPOINT, "codec": codec, "model": {**MODEL, "output": output}}
    config = parse(CheckpointConfig, values)
    assert (config.codec.law, config.codec.bits) == (codec["law"], 16)
    assert parse_config(CheckpointConfig, config.model_dump_json(), "again.json") == config


def refuse_to_build(*args, **options):
    raise AssertionError("something was built")


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
            "83,886,080 values per stream; the limit is 50,000,000",
        ),
    ],
    ids=range(16),
)  # fmt: skip
def test_absurd_sizes_are_refused_at_once_and_nothing_is_built(change, words, monkeypatch):
    monkeypatch.setattr(torch, "empty", refuse_to_build)
    monkeypatch.setattr(checkpoint, "build", refuse_to_build)
    assert words in refusal(WaveNetConfig, {**MODEL, **change})


@pytest.mark.parametrize(
    "conditions",
    [(), (PositionCondition(),), (PositionCondition(), LabelCondition(name="d", values=("a",)))],
    ids=["none", "position", "both"],
)
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
    """Regression: the hidden layers of the condition network were not counted: up to 80 million."""
    model = WaveNetConfig(**sizes, dilations=(1, 2), conditions=conditions)
    built = checkpoint.build(
        CheckpointConfig(
            name="x",
            audio=AudioConfig(sample_rate=8000),
            codec=MuLawCodec(bits=10),
            model=model,
        )
    )
    weights = sum(p.numel() for n, p in built.named_parameters() if not n.endswith("bias"))
    assert weights <= model.approximate_parameters <= 2 * weights + 10_000
    memory = built.initial_memory(1)
    assert memory.rings.numel() == model.memory_values


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
def test_a_training_setting_out_of_bounds_is_refused(change):
    """Regression: betas of 1 and seeds of more than 64 bits were passed to torch."""
    assert next(iter(change)) in field_of(refusal(TrainConfig, {**TRAIN, **change}))


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0}, {"temperature": 101}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.01},
     {"top_k": -1}, {"temperature": 1e-300}],
    ids=str,
)  # fmt: skip
def test_a_sampling_setting_out_of_bounds_is_refused(change):
    """Regression: at a temperature of 1e-300 every logit overflowed; probabilities were NaN."""
    assert field_of(refusal(SamplingConfig, change)) == next(iter(change))


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"greedy": True}, "sampling.greedy"),
        ({"guidance": 2.0}, "sampling.guidance needs a condition with dropout"),
        ({"temperature": 0}, "sampling.temperature"),
        ({"warmth": 1}, "sampling.warmth"),
    ],
)
def test_a_checkpoint_with_impossible_default_sampling_is_refused(sampling, words):
    assert words in refusal(CheckpointConfig, {**CHECKPOINT, "sampling": sampling})
    possible = {**CHECKPOINT, "sampling": {"temperature": 0.9, "top_p": 0.95}}
    assert parse(CheckpointConfig, possible).sampling.top_p == 0.95


def test_only_conditions_with_dropout_allow_guidance_as_a_default():
    sampling = {"guidance": 2.0}
    for dropout, is_allowed in ((0.1, True), (0.0, False)):
        model = {**MODEL, "conditions": [{**DIGIT, "dropout": dropout}]}
        values = {**CHECKPOINT, "model": model, "sampling": sampling}
        if is_allowed:
            assert parse(CheckpointConfig, values).sampling.guidance == 2.0
        else:
            assert "dropout" in refusal(CheckpointConfig, values)


@pytest.mark.parametrize("sampling", [{"top_k": 5}, {"top_p": 0.9}])
def test_a_mixture_has_the_temperature_only_as_a_default(sampling):
    values = {**CHECKPOINT, "codec": PCM16, "model": {**MODEL, "output": GAUSSIAN}}
    assert "temperature only" in refusal(CheckpointConfig, {**values, "sampling": sampling})
    parse(CheckpointConfig, {**values, "sampling": {"temperature": 0.7}})  # control
