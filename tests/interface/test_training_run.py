"""`wavenet.train`: the same training as the command, and a model that can be used at once."""

import json
import signal

import numpy as np
import pytest
import soundfile

import wavenet
from tests.conftest import RATE, sine
from wavenet.cli.main import run
from wavenet.errors import ConfigError, DataError, TrainingError

RECIPE = """
name = "tones"
[audio]
sample_rate = 8000
[model]
residual_channels = 8
gate_channels = 8
skip_channels = 8
dilations = [1, 2, 4]
[data]
validation_fraction = 0.34
[train]
steps = 6
samples_per_step = 2000
precision = "fp32"
validate_every = 3
save_every = 3
"""


@pytest.fixture
def recordings(tmp_path):
    """Write recordings with a label in their names; return the recipe and the folder."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for n in range(6):
        path = folder / f"{'ab'[n % 2]}_{n}.wav"
        soundfile.write(path, sine(0.3, 300 + 50 * n).numpy(), RATE)
    recipe = tmp_path / "tones.toml"
    recipe.write_text(RECIPE)
    return recipe, folder


def train(recordings, out, **options):
    recipe, folder = recordings
    return wavenet.train(recipe, folder, out=out, threads=1, device="cpu", quiet=True, **options)


def losses(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss_bits"] for line in lines]


def test_the_training_is_that_of_the_command(recordings, tmp_path, capfd):
    records = []
    model = train(recordings, tmp_path / "python", on_record=records.append)
    assert capfd.readouterr() == ("", ""), "quiet"
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert len(model.generate(seconds=0.01).waveform) == 80
    recipe, folder = recordings
    out = tmp_path / "command"
    arguments = ["--data", str(folder), "--out", str(out), "--threads", "1", "--device", "cpu"]
    assert run(["train", str(recipe), *arguments]) == 0
    assert losses(tmp_path / "python") == losses(out)
    assert (model.checkpoint.folder / "model.safetensors").read_bytes() == (
        out / "checkpoint" / "model.safetensors"
    ).read_bytes()
    assert model.checkpoint.config.rounding is not None, "the costs of rounding are stored"


def test_options_change_the_recipe(recordings, tmp_path):
    model = train(recordings, tmp_path / "run", labels=["voice"], pattern="{voice}_{n}", steps=3)
    assert model.conditions == {"voice": ["a", "b"]}
    assert len(losses(tmp_path / "run")) == 3


def test_an_interrupted_training_returns_the_model_so_far_and_resumes(recordings, tmp_path):
    def stop(record):
        if record["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    model = train(recordings, tmp_path / "run", on_record=stop)
    assert len(losses(tmp_path / "run")) < 6
    assert np.isfinite(model.generate(seconds=0.01).waveform).all()
    train(recordings, tmp_path / "run", resume=True)
    whole = tmp_path / "whole"
    train(recordings, whole)
    assert losses(tmp_path / "run") == losses(whole)


def test_what_cannot_be_trained_is_refused(recordings, tmp_path):
    recipe, folder = recordings
    with pytest.raises(ConfigError):
        wavenet.train("no-such-recipe", folder, quiet=True)
    with pytest.raises(ConfigError):
        train(recordings, tmp_path / "run", accept_changes=True)
    for wrong in (
        {"threads": 0},
        {"labels": "voice"},
        {"on_record": 3},
        {"resume": "yes"},
        {"initial_checkpoint": 3},
    ):
        with pytest.raises(ConfigError):
            wavenet.train(recipe, folder, **({"out": tmp_path / "run", "quiet": True} | wrong))
    with pytest.raises(ConfigError):
        wavenet.train(None, folder, quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError):
        wavenet.train(recipe, tmp_path / "none", out=tmp_path / "run", quiet=True)
    with pytest.raises(TrainingError):
        train(recordings, tmp_path / "run", resume=True)
