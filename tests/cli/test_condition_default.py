"""A number condition with a default, on the command line."""

import json

import torch

from audio_utils import io
from tests.batch.conftest import file_hashes, write_manifest
from tests.conftest import RATE, tiny_config
from wavenet.model.conditions import NumberCondition

LEVEL = NumberCondition(name="level", low=-40, high=0, unit="dB", dropout=0.1, default=-10)


def test_commands_apply_the_default_and_info_prints_it(make_checkpoint, run_command, tmp_path):
    config = tiny_config().model_copy(update={"conditions": (LEVEL,)})
    folder = make_checkpoint(config).folder
    chosen = ("--checkpoint", folder, "--engine", "cpu")
    for name, more in (("without", ()), ("given", ("--set", "level=-10"))):
        done = run_command("generate", *chosen, *more, "--out", tmp_path / f"{name}.wav")
        assert done[0] == 0, done[2]
    one, other = (io.read(tmp_path / f"{name}.wav", RATE) for name in ("without", "given"))
    assert torch.equal(one.waveform, other.waveform)
    rows = [{"id": "a", "seed": 1}, {"id": "b", "seed": 1, "level": -10}]
    table = write_manifest(tmp_path / "rows.jsonl", rows)
    done = run_command("batch", table, "--out-dir", tmp_path / "out", *chosen)
    assert done[0] == 0, done[2]
    assert len(file_hashes(tmp_path / "out")) == 2
    assert "-40 to 0 dB, default -10" in run_command("info", folder)[1]


def test_the_record_of_a_clip_has_the_default(make_checkpoint, run_command, tmp_path):
    config = tiny_config().model_copy(update={"conditions": (LEVEL,)})
    folder = make_checkpoint(config).folder
    arguments = ("--checkpoint", folder, "--engine", "reference", "--out", tmp_path / "a.wav")
    code, printed, messages = run_command("generate", *arguments, "--json")
    assert code == 0, messages
    assert json.loads(printed)["labels"] == {"level": -10.0}
