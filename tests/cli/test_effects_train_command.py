"""`wavenet effects train` and `export`: their files, their messages, their errors."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from tests.cli.conftest import assert_refused
from tests.effects.pair_sounds import RATE, delayed, overdrive, plucked
from wavenet.cli.effects_train_command import parse_loss
from wavenet.effects.effect_engine import load_engine
from wavenet.effects.nam_file import read_nam
from wavenet.effects.training.effect_losses import LossWeights
from wavenet.effects.training.trained_effect import load_effect_folder
from wavenet.errors import ConfigError

RECIPE = """\
kind = "effect"
name = "tiny"
[architecture]
kind = "custom"
head_scale = 0.3
arrays = [{ channels = 4, dilations = [1, 2, 4] }]
[training]
steps = 4
windows_per_step = 2
window_samples = 256
validate_every = 2
"""


@pytest.fixture
def files(tmp_path):
    """Write a dry recording, three wet ones, a table of two of them and a recipe."""
    dry = plucked(6)
    soundfile.write(tmp_path / "dry.wav", dry, RATE, subtype="PCM_24")
    for name, gain in (("low", 1), ("high", 6)):
        wet = delayed(overdrive(dry, gain), 7)
        soundfile.write(tmp_path / f"{name}.wav", wet, RATE, subtype="PCM_24")
    (tmp_path / "pairs.csv").write_text("dry,wet,gain\ndry.wav,low.wav,0\ndry.wav,high.wav,1\n")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def train(run_command, files):
    """Return a function that runs the training with the tiny recipe."""

    def call(*arguments):
        return run_command("effects", "train", *arguments, "--recipe", files / "tiny.toml")

    return call


def test_a_pair_becomes_a_folder_and_a_file(train, run_command, files):
    out = files / "drive"
    code, printed, err = train(files / "dry.wav", files / "high.wav", "--out", out)
    assert (code, printed) == (0, f"{out}\n")
    assert "step 4: ESR" in err and "linear" in err
    effect = load_effect_folder(out)
    assert (effect.config.name, effect.config.sample_rate) == ("drive", RATE)
    results = json.loads((out / "results.json").read_text())
    assert results["pairs"][0]["latency"] == 7
    nam = files / "drive.nam"
    code, printed, _ = run_command(
        "effects", "export", out, "--out", nam, "--name", "My drive", "--gear-type", "pedal"
    )
    assert (code, printed) == (0, f"{nam}\n")
    model = read_nam(nam)
    assert (model.metadata["name"], model.metadata["gear_type"]) == ("My drive", "pedal")
    waveform = io.read(files / "dry.wav").waveform
    engine = load_engine(model)
    found = engine.process(engine.initial_state(), waveform.numpy())
    with torch.no_grad():
        expected = effect.network(waveform[None, None])[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_a_table_becomes_an_effect_with_a_knob(train, run_command, files):
    out = files / "knob"
    code, _, err = train("--data", files / "pairs.csv", "--out", out, "--test-share", 0.1)
    assert code == 0
    assert "gain=0 " in err and "gain=1 " in err
    (knob,) = load_effect_folder(out).config.knobs
    assert (knob.name, knob.settings) == ("gain", (0.0, 1.0))
    paths = [files / f"{n}.nam" for n in range(2)]
    for path, value in zip(paths, ("0", "0.5"), strict=True):
        arguments = ("effects", "export", out, "--out", path, "--set", f"gain={value}")
        code, _, err = run_command(*arguments)
        assert (code, err) == (0, f"setting: gain={value}\n")
    models = [read_nam(path) for path in paths]
    assert not np.array_equal(models[0].weights, models[1].weights)
    assert models[0].metadata["training"]["validation_esr"] > 0
    assert "validation_esr" not in models[1].metadata["training"]
    assert_refused(
        run_command("effects", "export", out, "--out", files / "x.nam", "--set", "gain=2"),
        "from 0 to 1",
    )
    assert_refused(
        run_command("effects", "export", out, "--out", files / "x.nam", "--set", "tone=1"),
        "no knob tone",
    )


def test_a_student_learns_from_a_file(train, run_command, files):
    out = files / "teacher"
    train(files / "dry.wav", files / "high.wav", "--out", out, "-q")
    run_command("effects", "export", out, "--out", files / "t.nam")
    code, printed, _ = train(
        files / "dry.wav", "--teacher", files / "t.nam", "--out", files / "student", "--seed", 1
    )
    assert (code, printed) == (0, f"{files / 'student'}\n")
    results = json.loads((files / "student" / "results.json").read_text())
    assert results["teacher"] and results["pairs"][0]["latency"] == 0


def test_the_options_change_the_recipe(train, files):
    out = files / "a"
    code, _, _ = train(
        *(files / "dry.wav", files / "high.wav", "--out", out, "--model", "nano", "--steps", 2),
        *("--loss", "mse=2,spectral=0.1", "--latency", 3, "--clip-samples", 4800, "--threads", 2),
    )
    assert code == 0
    effect = load_effect_folder(out)
    assert effect.config.architecture.kind == "nano"
    assert effect.config.architecture.head_scale == 0.3
    assert json.loads((out / "results.json").read_text())["pairs"][0]["latency"] == 3
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2]


def test_a_failed_check_refuses_and_a_warning_is_shown(train, files):
    dry, wet = files / "dry.wav", files / "high.wav"
    refused = train(wet, dry, "--out", files / "a")
    assert_refused(refused, "order", "--no-check", code=1)
    assert not (files / "a").exists()
    soundfile.write(files / "inverted.wav", -soundfile.read(wet)[0], RATE, subtype="PCM_24")
    code, _, err = train(dry, files / "inverted.wav", "--out", files / "b")
    assert code == 0
    assert "polarity: the wet recording is inverted" in err
    assert train(wet, dry, "--out", files / "c", "--no-check", "--latency", 0)[0] == 0


def test_a_training_is_continued_only_with_resume(train, files):
    pair = (files / "dry.wav", files / "high.wav", "--out", files / "a")
    assert_refused(train(*pair, "--resume"), "no training to continue")
    assert train(*pair)[0] == 0
    assert_refused(train(*pair), "exists already")
    assert train(*pair, "--resume")[0] == 0
    assert_refused(train(*pair, "--resume", "--steps", 9, "-q"), "steps 4, found 9", code=1)


def test_ctrl_c_keeps_the_weights(train, files, monkeypatch):
    from contextlib import contextmanager

    from wavenet.cli import effects_train_command

    @contextmanager
    def interrupted():
        yield lambda: True

    monkeypatch.setattr(effects_train_command, "stop_on_interrupt", interrupted)
    pair = (files / "dry.wav", files / "high.wav", "--out", files / "a")
    code, printed, err = train(*pair)
    assert (code, printed) == (130, "")
    assert "--resume" in err
    load_effect_folder(files / "a")
    monkeypatch.undo()
    assert train(*pair, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no recordings"),
        (["dry.wav"], "the wet recording is missing"),
        (["dry.wav", "low.wav", "--data", "pairs.csv"], "--data names all files"),
        (["dry.wav", "low.wav", "--teacher", "x.nam"], "omit WET"),
        (["dry.wav", "low.wav", "--steps", "3", "--minutes", "1"], "exclude each other"),
        (["dry.wav", "low.wav", "--model", "huge"], "standard"),
        (["dry.wav", "low.wav", "--loss", "mae"], "mae is not known"),
        (["dry.wav", "low.wav", "--loss", "mae"], "expected mse, esr, emphasised-mse"),
        (["dry.wav", "low.wav", "--loss", "esr,esr"], "names esr twice"),
        (["dry.wav", "low.wav", "--loss", "esr=x"], "expected a number after esr="),
        (["dry.wav", "low.wav", "--latency", "soon"], "expected auto or a number"),
        (["dry.wav", "low.wav", "--clip-past", "noise"], "silence"),
        (["dry.wav", "low.wav", "--validation-share", "2"], "from 0 to 0.5"),
        (["dry.wav", "low.wav", "--steps", "0"], "from 1 to"),
    ],
)
def test_options_that_are_refused(train, files, arguments, words):
    paths = [files / a if a.endswith((".wav", ".csv", ".nam")) else a for a in arguments]
    assert_refused(train(*paths, "--out", files / "a"), words)
    assert not (files / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "none.nam"], "does not exist"),
        (["--teacher", "dry.wav"], "dry.wav"),
        (["none.wav"], "Cannot read"),
    ],
)
def test_files_that_are_refused(train, files, arguments, words):
    paths = [a if a.startswith("--") else files / a for a in arguments]
    assert_refused(train(files / "dry.wav", *paths, "-q", "--out", files / "a"), words, code=1)


def test_exports_that_are_refused(run_command, files):
    assert_refused(
        run_command("effects", "export", files, "--out", files / "a.nam"),
        "not a trained effect",
        code=1,
    )
    assert_refused(
        run_command("effects", "export", files, "--out", files / "a.wav"), "ends with .nam"
    )
    (files / "a.nam").write_text("kept")
    assert_refused(
        run_command("effects", "export", files, "--out", files / "a.nam"), "exists already"
    )
    assert_refused(
        run_command("effects", "export", files, "--out", files / "b.nam", "--gear-type", "drum"),
        "gear_type",
    )


def test_losses_are_parsed():
    assert parse_loss("esr") == LossWeights()
    assert parse_loss("mse=0.5, emphasised-esr=2") == LossWeights(
        esr=0.0, mse=0.5, emphasised_esr=2.0
    )
    assert parse_loss("esr=1,spectral=0.001,pre-emphasis=0.95").pre_emphasis == 0.95
    with pytest.raises(ConfigError, match="above 0"):
        parse_loss("esr=0")
