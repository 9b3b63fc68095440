"""`wavenet train --sample-seconds`: a generated clip after every validation."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet import checkpoint
from wavenet.cli.training_samples import choose_request, with_preview_clips
from wavenet.folder_lock import LOCK_NAME, lock_folder
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.model.conditions import LabelCondition, MelCondition
from wavenet.model.frame_features import compute_frame_features, frame_count
from wavenet.model.wavenet import WaveNetConfig
from wavenet.training.dataset import Dataset, read_dataset
from wavenet.training.recipe import DataConfig

RECIPE = """
name = "tones"
[audio]
sample_rate = 8000
[model]
residual_channels = 8
gate_channels = 8
skip_channels = 16
dilations = [1, 2, 4]
[[model.conditions]]
kind = "label"
name = "tone"
[data]
pattern = "{tone}_{index}"
validation = { index = ["0"] }
[train]
steps = 5
samples_per_step = 800
validate_every = 2
save_every = 2
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Work in a folder with a recipe and two tones, four clips of each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for n in range(8):
        path = tmp_path / "data" / f"{'ba'[n % 2]}_{n // 2}.wav"
        soundfile.write(path, sine(0.1, 300 + 300 * (n % 2)), RATE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def read_metrics(folder):
    """Return the records of a run, without times."""
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    timed = "samples_per_second"
    return [{k: v for k, v in json.loads(line).items() if k != timed} for line in lines]


def test_a_clip_is_written_after_every_validation_and_changes_nothing_else(run_command, project):
    common = ("train", "recipe.toml", "--data", "data", "--device", "cpu", "--threads", 1)
    code, out, err = run_command(*common, "--sample-seconds", 0.05)
    assert (code, out) == (0, "runs/tones/checkpoint\n"), err
    samples = Path("runs/tones/samples")
    names = sorted(path.name for path in samples.iterdir())
    assert names == ["step-000002.wav", "step-000004.wav", "step-000005.wav"]
    assert f"step 4: {samples}/step-000004.wav\n" in err
    info = soundfile.info(samples / names[0])
    assert (info.frames, info.samplerate, info.subtype) == (400, RATE, "PCM_16")
    # the last clip is what the checkpoint generates with the first label and seed 0
    (expected,) = generate_waveforms(
        checkpoint.load(Path("runs/tones/checkpoint")),
        [GenerationRequest(400, {"tone": "a"}, 0)],
        guard=None,
    )
    found = soundfile.read(samples / names[-1])[0]
    assert np.abs(found - expected.numpy()).max() <= 1 / 32768  # rounded to 16 bits
    assert run_command(*common, "--out", "runs/silent")[0] == 0
    assert not Path("runs/silent/samples").exists()
    assert read_metrics("runs/silent") == read_metrics("runs/tones")


def test_a_clip_that_fails_is_reported_in_a_line(run_command, project, monkeypatch):
    (project / "runs/tones").mkdir(parents=True)
    (project / "runs/tones/samples").write_text("in the way")
    common = ("train", "recipe.toml", "--data", "data", "--steps", 2)
    code, _, err = run_command(*common, "--sample-seconds", 0.01)
    assert code == 0
    (line,) = [line for line in err.splitlines() if "no clip could be generated" in line]
    assert line.startswith("step 2: ") and "runs/tones/samples" in line
    assert Path("runs/tones/samples").read_text() == "in the way"

    def fail(*arguments, **keywords):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("wavenet.generation.generate.generate", fail)
    code, _, err = run_command(*common, "--sample-seconds", 0.01, "--out", "runs/more")
    assert code == 0
    assert "step 2: no clip could be generated: first line" in err.splitlines()
    assert "second line" not in err


@pytest.mark.parametrize(("seconds", "words"), [(0, "at least 0.001"), (3600, "at most 600")])
def test_a_length_out_of_range_is_refused_before_anything_is_read(
    run_command, project, seconds, words
):
    for path in Path("data").iterdir():
        path.write_bytes(b"never read")
    assert_refused(
        run_command("train", "recipe.toml", "--data", "data", "--sample-seconds", seconds), words
    )
    assert not Path("runs").exists()


def test_a_folder_that_is_trained_into_is_refused_before_anything_is_read(run_command, project):
    folder = project / "runs" / "tones"
    with lock_folder(folder):
        result = run_command("train", "recipe.toml", "--data", "data")
        assert_refused(result, "runs/tones is in use by another process", code=1)
        assert [path.name for path in folder.iterdir()] == [LOCK_NAME]


def test_a_stop_does_not_wait_for_a_clip(tmp_path, make_checkpoint, capsys):
    loaded = make_checkpoint(name="checkpoint")
    calls, records = [], []

    def should_stop():
        calls.append(None)
        return len(calls) > 2  # while the second chunk is generated

    settings = type("Settings", (), {"steps": 9, "validate_every": 3})()
    on_record = with_preview_clips(
        records.append, tmp_path, settings, Dataset(), 4000, "cpu", should_stop
    )
    for step in (2, 3):
        on_record({"step": step})
    shutil.rmtree(loaded.folder)
    on_record({"step": 6})
    assert [record["step"] for record in records] == [2, 3, 6]
    assert len(calls) == 4  # none at step 2; the clip of step 6 is not started
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "samples").exists()


def vocoder(folder, **data):
    """Return a model with mel frames and a label, and its dataset."""
    mel = MelCondition(n_mels=8)
    voice = LabelCondition(name="voice", values=("a", "b"))
    model = WaveNetConfig(**{**dict(tiny_config(hop=80)), "conditions": (mel, voice)})
    settings = DataConfig(folder=str(folder), pattern="{voice}_{take}", **data)
    return model, read_dataset(settings, RATE, model)


@pytest.mark.parametrize("whole", [False, True])
def test_a_vocoder_resynthesises_a_held_out_clip(tmp_path, whole):
    """A whole recording is held out, or the end of each recording; the clip then has context."""
    waveforms = {}
    for n in range(3):
        path = tmp_path / f"{'bab'[n]}_{n}.wav"
        generator = np.random.default_rng(n)
        waveforms[n] = generator.uniform(-0.5, 0.5, 4321).astype(np.float32)
        soundfile.write(path, waveforms[n], RATE, subtype="FLOAT")
    held = {"validation": {"take": ("2",)}} if whole else {}
    model, dataset = vocoder(tmp_path, max_seconds=0.1, **held)
    assert len(dataset.validation) == (6 if whole else 3)
    request = choose_request(model, dataset, 100_000)
    number = {"a_1.wav": 1, "b_0.wav": 0, "b_2.wav": 2}[dataset.validation[0].source]
    frames = compute_frame_features(model, RATE, torch.from_numpy(waveforms[number]))
    clip = dataset.validation[0]
    first = -(-(clip.start + clip.context) // 80)
    assert request.conditions == {"voice": "bab"[number]}
    # all six segments of a recording, or only the last one
    assert request.samples == (4321 if whole else clip.start + clip.samples - first * 80)
    assert whole or request.samples < 800
    count = frame_count(request.samples, 80)
    assert torch.equal(request.frame_features, frames[first : first + count])
    assert request.frame_features.shape[0] == count
    short = choose_request(model, dataset, 160)
    assert short.samples == 160
    assert torch.equal(short.frame_features, frames[first : first + 3])
    others = [clip, *(replace(more, source="other.wav") for more in dataset.validation[1:])]
    cut = choose_request(model, replace(dataset, validation=others), 100_000)
    assert cut.samples == clip.start + clip.samples - first * 80
    alone = choose_request(model, replace(dataset, validation=[]), 160)
    assert alone.frame_features.shape == (3, 8)
