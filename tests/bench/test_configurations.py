"""Models to measure: named ones and checkpoints."""

import pytest
import torch

from wavenet.bench.configurations import (
    CONFIGURATIONS,
    VARIANTS,
    build_named_model,
    load_checkpoint_model,
)
from wavenet.bench.measurement import BenchmarkCase, measure_case
from wavenet.errors import CheckpointError, ConfigError


@pytest.mark.parametrize(
    ("name", "layers", "weights", "receptive_field"),
    # number of weights: layers * 2G * K * R, (layers - 1) * G * R, layers * G * S, S * S, S * 256
    [
        ("A", 20, 20 * 16384 + 19 * 4096 + 20 * 16384 + 65536 + 65536, 2047),
        ("B", 30, 30 * 98304 + 29 * 16384 + 30 * 16384 + 16384 + 32768, 6139),
        ("S", 24, 24 * 4096 + 23 * 1024 + 24 * 4096 + 16384 + 32768, 766),
    ],
)
def test_named_models_have_the_documented_sizes(name, layers, weights, receptive_field):
    subject = build_named_model(name)
    assert len(subject.model.config.dilations) == layers
    assert subject.model.receptive_field == receptive_field
    assert subject.model.n_classes == 256
    assert subject.matrix_weights == weights
    assert (subject.weight_bytes("fp32"), subject.weight_bytes("bf16")) == (
        4 * weights,
        2 * weights,
    )


def test_a_named_model_always_has_the_same_weights_and_keeps_the_random_state():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = build_named_model("S").model
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    second = build_named_model("S").model
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match="'C'; expected one of A, B, S"):
        build_named_model("C")
    assert list(CONFIGURATIONS) == ["A", "B", "S"]


def test_a_checkpoint_is_loaded_under_its_name(make_checkpoint, tmp_path):
    subject = load_checkpoint_model(make_checkpoint().folder)
    assert subject.name == "tiny"
    with pytest.raises(CheckpointError, match="none"):
        load_checkpoint_model(tmp_path / "none")


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_from_a_by_one_thing(name):
    config = build_named_model(name).model.config
    changed = {
        field
        for field in type(config).model_fields
        if getattr(config, field) != getattr(CONFIGURATIONS["A"], field)
    }
    assert changed in ({"conditions"}, {"output"})


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_can_be_measured(name):
    case = BenchmarkCase("cpu", name, 2, "bf16", 1)
    assert measure_case(case, build_named_model(name), runs=1, seconds=0.01)[0] > 0
