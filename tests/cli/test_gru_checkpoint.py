"""The commands with a checkpoint of another architecture than WaveNet."""

import json

import pytest
import soundfile
import torch

from tests.cli.conftest import assert_refused
from wavenet.model.conditions import LabelCondition
from wavenet.model.recurrent import GRUConfig


@pytest.fixture
def gru(make_checkpoint):
    """Return the folder of a tiny GRU with the label digit, a to c."""
    digit = LabelCondition(name="digit", values=("a", "b", "c"), channels=4)
    config = GRUConfig(
        embedding_channels=8,
        hidden_channels=8,
        output_channels=8,
        condition_hop=7,
        conditions=(digit,),
    )
    return make_checkpoint(config, name="gru").folder


def test_info_says_that_the_receptive_field_is_unlimited(run_command, gru):
    facts = json.loads(run_command("info", gru, "--json")[1])
    assert facts["architecture"] == "gru"
    assert facts["receptive_field"] is None
    lines = [" ".join(line.split()) for line in run_command("info", gru)[1].splitlines()]
    assert "receptive field unlimited" in lines


def test_a_gru_generates_and_scores(run_command, gru, tmp_path):
    options = ("--checkpoint", gru, "--set", "digit=b")
    path = tmp_path / "b.wav"
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run_command("generate", *options, "--seconds", "0.05", "--out", path)[0] == 0
        assert torch.get_num_threads() == 1  # two threads take longer for small products
    finally:
        torch.set_num_threads(threads)
    assert soundfile.info(path).frames == 400
    score = json.loads(run_command("score", path, *options, "--json")[1].splitlines()[-1])
    assert 0 < score["bits_per_sample"] < 20


@pytest.mark.parametrize("engine", ["cpu"])
def test_an_engine_for_wavenets_refuses_a_gru(run_command, gru, tmp_path, engine):
    path = tmp_path / "b.wav"
    options = ("--checkpoint", gru, "--set", "digit=b", "--engine", engine, "--out", path)
    assert_refused(run_command("generate", *options), "found gru", "use the engine cached")
    assert not path.exists()
