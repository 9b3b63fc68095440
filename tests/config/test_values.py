"""Configs of wrong values: contradictions are told, and nothing absurd is ever built."""

import json

import pytest
import torch

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.config import parse_config
from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.model.model_config import ModelConfig
from wavenet.model.wavenet import WaveNetConfig
from wavenet.sampling import SamplingConfig
from wavenet.training.recipe import TrainConfig

from . import DIGIT, LEVEL, MODEL, TRAIN, WHOLE, changed, refusal

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
        (
            {"model": {**MODEL, "conditions": [{**LEVEL, "usual": 1}]}},
            "usual must be -60 to 0 dB, found 1",
        ),
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
    model = WaveNetConfig(**sizes, dilations=(1, 2), conditions=conditions)
    built = checkpoint.build(
        CheckpointConfig(
            name="x",
            audio=AudioConfig(sample_rate=8000),
            codec=MuLawCodec(bits=10, silence_code=512),
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
    assert parse_config(CheckpointConfig, json.dumps(fine), "here").sampling.top_p == 0.95
