"""Training of a voice: its result, interruptions in every step, bad clips, other settings."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from tests.speech import speech_files
from tests.speech.speech_files import SAMPLE_RATE
from tests.speech.voice_training import (
    RECIPE,
    make_callbacks,
    make_job,
    train_vocoder,
    work_in_this_process,
    write_corpus,
)
from wavenet import checkpoint, disk_space, network_training
from wavenet.cli.data_align_command import describe_result
from wavenet.errors import ConfigError, DataError, FolderError, FolderInUse, TrainingError
from wavenet.folder_lock import lock_folder
from wavenet.model.frame_scales import MEL_MIDDLE, MEL_SPAN
from wavenet.progress import CallbackProgress
from wavenet.speech import predicted_frames, spoken_example_files
from wavenet.speech import train_voice as module
from wavenet.speech.align_corpus import align_corpus
from wavenet.speech.train_voice import train_voice
from wavenet.speech.voice_clips import choose_held_out, read_clips
from wavenet.speech.voice_folder import load_voice
from wavenet.speech.voice_recipe import load_voice_recipe


class Killed(BaseException):
    """Ends a training as a killed process does: nothing handles it."""


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    work_in_this_process(monkeypatch)
    monkeypatch.setattr(network_training, "VALIDATE_EVERY", 2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("speech") / "anna")


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """Return the folder of a training without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        work_in_this_process(patch)
        train_voice(make_job(corpus, folder), make_callbacks())
    return folder


def files_of(voice: Path) -> dict[str, bytes]:
    files = (path for path in voice.rglob("*") if path.is_file())
    return {str(path.relative_to(voice)): path.read_bytes() for path in files}


def progress_that_kills(unit, after):
    """Return `open_progress` that ends the training after an amount of a unit."""
    done = 0

    def advance(amount):
        nonlocal done
        done += amount
        if done >= after:
            raise Killed

    @contextmanager
    def open_progress(opened, total):
        yield CallbackProgress(advance if opened == unit else lambda amount: None)

    return open_progress


def test_the_voice_speaks_and_has_a_card(whole):
    voice = load_voice(whole / "voice")
    assert (voice.name, voice.sample_rate, voice.acoustic.config.speakers) == (
        "tiny_voice",
        8000,
        ("anna",),
    )
    assert voice.acoustic.config.f0_mean[0] == pytest.approx(np.log(120), abs=0.05)
    plan = next(voice.plan("Go on."))
    assert len(plan.frames) > 0
    assert sorted(files_of(whole / "voice")) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "vocoder/config.json",
        "vocoder/model.safetensors",
    ]
    card = (whole / "voice" / "README.md").read_text()
    assert "| trained on | 4 clips, 0.1 minutes |" in card
    assert "errors on the training clips" in card
    assert str(whole) not in card


def kill_in_alignment(patch):
    calls = []

    def aligner(waveform, words):
        calls.append(words)
        if len(calls) == 3:
            raise Killed
        return speech_files.even_segments(waveform, words)

    return {"aligner": aligner}


def kill_in_examples(patch):
    original, calls = spoken_example_files.make_example, []

    def make_example(*values):
        calls.append(values)
        if len(calls) == 3:
            raise Killed
        return original(*values)

    patch.setattr(spoken_example_files, "make_example", make_example)
    return {}


def kill_in_acoustic_training(patch):
    return {"open_progress": progress_that_kills("steps", 3)}


def kill_in_vocoder_training(patch):
    def stop(record):
        if record["step"] == 3:
            raise Killed

    return {"train_vocoder": lambda *values: train_vocoder(*values, stop)}


def kill_while_frames_are_predicted(patch):
    original, calls = predicted_frames.predict_frames, []

    def predict_frames(*values):
        calls.append(values)
        if len(calls) == 2:
            raise Killed
        return original(*values)

    patch.setattr(predicted_frames, "predict_frames", predict_frames)
    return {}


def kill_in_adaptation(patch):
    def stop(record):
        if record["step"] == 3:
            raise Killed

    def train(setup, folder, resume):
        train_vocoder(setup, folder, resume, stop if folder.name == "adapted" else lambda r: None)

    return {"train_vocoder": train}


def kill_when_the_voice_is_written(patch):
    def fail(*values):
        raise Killed

    patch.setattr(module, "format_card", fail)
    return {}


@pytest.mark.parametrize(
    ("kill", "reached", "missing"),
    [
        (kill_in_alignment, "voice.json", "examples"),
        (kill_in_examples, "examples", "clips.jsonl"),
        (kill_in_acoustic_training, "acoustic/training.safetensors", "vocoder"),
        (kill_in_vocoder_training, "vocoder/step-000000002", "voice"),
        (kill_while_frames_are_predicted, "predicted/000000.mel.npy", "predicted/metadata.jsonl"),
        (kill_in_adaptation, "adapted/step-000000002", "voice"),
        (kill_when_the_voice_is_written, "voice.tmp", "voice"),
    ],
)
def test_a_killed_training_ends_with_the_same_voice(
    corpus, whole, tmp_path, kill, reached, missing
):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        train_voice(make_job(corpus, folder), make_callbacks(**kill(patch)))
    assert (folder / reached).exists()
    assert not (folder / missing).exists()
    voice = train_voice(make_job(corpus, folder, resume=True), make_callbacks())
    assert voice == folder / "voice"
    assert files_of(voice) == files_of(whole / "voice")
    assert not (folder / "voice.tmp").exists()


def test_another_seed_makes_another_voice(corpus, whole, tmp_path):
    """Negative control of the test above."""
    text = RECIPE.replace("clips_per_step = 2", "clips_per_step = 2\nseed = 1")
    voice = train_voice(make_job(corpus, tmp_path / "run", text), make_callbacks())
    other, first = files_of(voice), files_of(whole / "voice")
    assert other["model.safetensors"] != first["model.safetensors"]
    # the vocoder is adapted to the frames of the acoustic model
    assert other["vocoder/model.safetensors"] != first["vocoder/model.safetensors"]
    before = [
        (folder / "vocoder" / "checkpoint" / "model.safetensors").read_bytes()
        for folder in (tmp_path / "run", whole)
    ]
    assert before[0] == before[1]


def test_finished_steps_are_not_repeated(corpus, whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    lines = []
    never = make_callbacks(
        aligner=speech_files.never_called, train_vocoder=None, report=lines.append
    )
    job = make_job(corpus, folder, resume=True)
    assert train_voice(job, never) == folder / "voice"
    assert lines == ["the voice is complete"]
    shutil.rmtree(folder / "voice")
    monkeypatch.setattr(spoken_example_files, "make_example", None)
    steps = []
    with_vocoder = make_callbacks(
        aligner=speech_files.never_called,
        train_vocoder=lambda *values: train_vocoder(*values, steps.append),
    )
    voice = train_voice(job, with_vocoder)
    assert steps == []
    assert files_of(voice) == files_of(whole / "voice")


def test_ctrl_c_in_the_acoustic_training_saves_it(corpus, whole, tmp_path, monkeypatch):
    @contextmanager
    def stop_at_once(report):
        yield lambda: True

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stop_on_interrupt", stop_at_once)
        assert train_voice(make_job(corpus, folder), make_callbacks()) is None
    assert (folder / "acoustic" / "training.safetensors").is_file()
    voice = train_voice(make_job(corpus, folder, resume=True), make_callbacks())
    assert files_of(voice) == files_of(whole / "voice")


def test_clips_that_cannot_be_used_are_named_and_left_out(tmp_path, monkeypatch):
    texts = {name: "See saw." for name in ("a", "b", "c", "d", "e", "loud")}
    corpus = write_corpus(tmp_path / "anna", {**texts, "cut": "A saw.", "none": "", "bad": "Go."})
    noise = np.random.default_rng(0).normal(0, 0.5, SAMPLE_RATE)
    soundfile.write(corpus / "wavs" / "loud.wav", noise.clip(-1, 1), SAMPLE_RATE)
    (corpus / "wavs" / "bad.wav").write_bytes(b"RIFF")
    original = spoken_example_files.io.read

    def read(path, *values, **named):
        found = original(path, *values, **named)
        if path.stem == "cut":  # as if it had become shorter after the alignment
            return type(found)(**{**vars(found), "waveform": found.waveform[: 2 * 800]})
        return found

    monkeypatch.setattr(spoken_example_files.io, "read", read)

    def aligner(waveform, words):  # the score of a clip is far below the others if it is loud
        found = speech_files.even_segments(waveform, words)
        return [replace(segment, score=30 * segment.score) for segment in found]

    lines = []
    callbacks = make_callbacks(
        aligner=aligner, report=lines.append, describe_alignment=describe_result
    )
    folder = tmp_path / "run"
    train_voice(make_job(corpus, folder), callbacks)
    assert [clip.clip for clip in read_clips(folder / "clips.jsonl")] == ["a", "b", "c", "d", "e"]
    text = "\n".join(lines)
    assert "doubtful: loud: " in text
    assert "1 doubtful clip is left out" in text
    assert "the text of 'none' is empty" in text
    assert "failed: bad: " in text
    assert "left out: cut: the recording has 0.20 s, its alignment" in text


def test_one_clip_is_enough(tmp_path):
    corpus = write_corpus(tmp_path / "anna", {"only": "See saw. So go on."})
    voice = train_voice(make_job(corpus, tmp_path / "run"), make_callbacks())
    assert load_voice(voice).name == "tiny_voice"


def test_a_corpus_without_a_usable_clip_is_refused(tmp_path):
    corpus = write_corpus(tmp_path / "anna", {"only": "Go."})
    with pytest.raises(DataError, match=r"anna has no clip.*does not match the recording"):
        train_voice(
            make_job(corpus, tmp_path / "run"),
            make_callbacks(aligner=speech_files.refuse_short_texts),
        )
    with pytest.raises(DataError, match=r"has no metadata\.csv"):
        train_voice(make_job(tmp_path, tmp_path / "other"), make_callbacks())
    assert not (tmp_path / "other").exists()


def test_the_alignment_of_the_corpus_is_used(tmp_path):
    corpus = write_corpus(tmp_path / "anna")
    own = {"saw": "Z IH1 B"}  # a pronunciation that the training is not told
    align_corpus(
        corpus,
        corpus / "alignment.jsonl",
        own,
        aligner=speech_files.even_segments,
        version=speech_files.fake_version,
    )
    with (corpus / "metadata.csv").open("a") as file:
        file.write("e|A new line.\n")
    shutil.copy(corpus / "wavs" / "a.wav", corpus / "wavs" / "e.wav")
    lines = []
    callbacks = make_callbacks(
        report=lines.append,
        describe_alignment=describe_result,
        aligner=speech_files.never_called,
    )
    folder = tmp_path / "run"
    train_voice(make_job(corpus, folder), callbacks)
    assert len(read_clips(folder / "clips.jsonl")) == 4
    assert any(line.startswith("failed: e: it is not in alignment.jsonl") for line in lines)
    assert not any(line.startswith("left out: a") for line in lines)


def test_a_trained_vocoder_is_used_as_it_is(corpus, whole, tmp_path):
    vocoder = checkpoint.load(whole / "voice" / "vocoder")
    job = make_job(corpus, tmp_path / "run", vocoder=vocoder)
    voice = train_voice(job, make_callbacks(train_vocoder=None))
    assert files_of(voice) == files_of(whole / "voice")
    with pytest.raises(TrainingError, match=r"other values of vocoder \(tiny_vocoder"):
        train_voice(make_job(corpus, tmp_path / "run", resume=True), make_callbacks())


def test_other_settings_or_no_training_to_resume_are_refused(corpus, whole, tmp_path):
    with pytest.raises(TrainingError, match="already contains a run"):
        train_voice(make_job(corpus, whole), make_callbacks())
    text = RECIPE.replace("channels = 8", "channels = 12", 1)
    job = make_job(corpus, whole, text, resume=True)
    with pytest.raises(TrainingError, match=r"recipe\.acoustic_model\.channels \(8, now 12\)"):
        train_voice(job, make_callbacks())
    with pytest.raises(TrainingError, match="has no training of a voice"):
        train_voice(make_job(corpus, tmp_path / "run", resume=True), make_callbacks())
    assert not (tmp_path / "run").exists()


def test_a_damaged_example_is_named_and_computed_again(corpus, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "voice")
    example = next((folder / "examples").iterdir())
    example.write_bytes(b"damaged")
    job = make_job(corpus, folder, resume=True)
    with pytest.raises(TrainingError, match=rf"{example.name} is missing or damaged"):
        train_voice(job, make_callbacks())
    example.unlink()
    (folder / "clips.jsonl").unlink()
    assert files_of(train_voice(job, make_callbacks())) == files_of(whole / "voice")


def test_a_folder_in_use_is_refused(corpus, tmp_path):
    with lock_folder(tmp_path / "run"), pytest.raises(FolderInUse):
        train_voice(make_job(corpus, tmp_path / "run"), make_callbacks())


def test_a_full_disk_is_reported_before_the_examples_are_computed(corpus, tmp_path, monkeypatch):
    usage = type("Usage", (), {"total": 1000, "free": 10})
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FolderError, match="the examples of the recordings need"):
        train_voice(make_job(corpus, tmp_path / "run"), make_callbacks())
    assert not (tmp_path / "run" / "examples").exists()


def test_a_full_disk_while_an_example_is_written_is_one_sentence(corpus, tmp_path, monkeypatch):
    def fail(*values):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(spoken_example_files, "atomic_file", fail)
    with pytest.raises(FolderError, match="examples cannot be written"):
        train_voice(make_job(corpus, tmp_path / "run"), make_callbacks())


def test_both_models_hold_out_the_same_clips(tmp_path):
    corpus = write_corpus(tmp_path / "anna", {f"c{n}": "See saw." for n in range(11)})
    found = []

    def train(setup, folder, resume):
        train_vocoder(setup, folder, resume)
        data = setup.recipe.data
        dataset = module_read_dataset(data, setup.recipe)
        found.extend({clip.source for clip in dataset.validation})

    train_voice(make_job(corpus, tmp_path / "run"), make_callbacks(train_vocoder=train))
    table = read_clips(tmp_path / "run" / "clips.jsonl")
    held_out = [clip.clip for clip in table if clip.part == "validation"]
    assert held_out == ["c5"]
    assert found == ["c5.wav", "000005.flac"]  # the second has predicted frames


def module_read_dataset(data, recipe):
    from wavenet.training.dataset import read_dataset

    return read_dataset(data, recipe.audio.sample_rate, recipe.model)


def test_held_out_clips_are_spread_evenly():
    assert choose_held_out(9, 0.05) == set()
    assert choose_held_out(10, 0.01) == {5}
    assert choose_held_out(100, 0.04) == {12, 37, 62, 87}
    assert choose_held_out(100, 0.0) == set()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "tiny_voice"', 'name = "tiny_voice"\nstep = 1', "key step is not known"),
        ("kernel_size = 3", "kernel_size = 4", "kernel_size must be odd, found 4"),
        ("channels = 8", "channels = 9", "a multiple of heads"),
        ("max_seconds = 0.2", 'pattern = "{a}"', r"vocoder\.data\.pattern cannot be used"),
        ("max_seconds = 0.2", "stored_frames = true", r"vocoder\.data\.stored_frames cannot"),
        ('kind = "mel", n_mels = 6', 'kind = "mfcc"', "condition mel only, found mfcc"),
        ("[vocoder.train]\nsteps = 6", "[vocoder.train]\nsteps = 0", r"vocoder\.train\.steps"),
    ],
)
def test_a_contradiction_in_a_recipe_is_named(tmp_path, old, new, words):
    assert old in RECIPE
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        load_voice_recipe(str(path))


def test_the_shipped_recipe_loads():
    recipe = load_voice_recipe("voice")
    assert recipe.vocoder.audio.sample_rate == 16_000
    with pytest.raises(ConfigError, match=r"expected a \.toml file or one of voice"):
        load_voice_recipe("voices")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flite") is None, reason="needs the program flite")
def test_a_voice_learns_from_synthetic_speech_with_worker_processes(tmp_path, monkeypatch):
    pytest.importorskip("pocketsphinx")
    monkeypatch.undo()
    texts = {"one": "The river is wide today.", "two": "She opened the old window."}
    corpus = write_corpus(tmp_path / "anna", texts)
    for name, text in texts.items():
        path = corpus / "wavs" / f"{name}.wav"
        subprocess.run(["flite", "-t", text, "-o", str(path)], check=True)
    job = make_job(corpus, tmp_path / "run")
    callbacks = module.VoiceCallbacks(train_vocoder)
    assert load_voice(train_voice(job, callbacks)).name == "tiny_voice"


def test_the_vocoder_is_adapted_to_predicted_frames(corpus, whole, tmp_path):
    table = (whole / "predicted" / "metadata.jsonl").read_text()
    rows = [json.loads(line) for line in table.splitlines()]
    assert [row["file_name"] for row in rows] == [f"{n:06}.flac" for n in range(4)]
    model = load_voice(whole / "voice").acoustic
    for row, clip in zip(rows, read_clips(whole / "clips.jsonl"), strict=True):
        path = whole / "predicted" / row["file_name"]
        spoken, rate = soundfile.read(path)
        frames = np.load(path.with_suffix(".mel.npy"))
        assert rate == 8000
        assert 1 + len(spoken) // model.config.hop == len(frames)
        example = spoken_example_files.read_example(
            whole / "examples" / f"{clip.example}.safetensors", clip.clip
        )
        recording = io.read(corpus / clip.file_name, 8000).waveform[example.start * 80 :]
        np.testing.assert_allclose(spoken, recording[: len(spoken)], atol=1e-4)
        expected = predicted_frames.predict_frames(model, example)
        assert np.abs(frames - expected.numpy()).max() < 0.1  # dB; the weights were rounded
        own = example.frames * MEL_SPAN + MEL_MIDDLE
        assert np.abs(frames - own.numpy()).max() > 1  # negative control
    first, second = (
        checkpoint.load(whole / name / "checkpoint").model.state_dict()
        for name in ("vocoder", "adapted")
    )
    assert any(not torch.equal(second[name], value) for name, value in first.items())
    shipped = checkpoint.load(whole / "voice" / "vocoder").model.state_dict()
    assert all(torch.equal(shipped[name], value) for name, value in second.items())


def test_a_recipe_may_have_no_adaptation(corpus, tmp_path):
    text = RECIPE.replace("[adaptation]\nsteps = 4", "[adaptation]\nsteps = 0")
    folder = tmp_path / "run"
    train_voice(make_job(corpus, folder, text), make_callbacks())
    assert not (folder / "predicted").exists()
    shipped = (folder / "voice" / "vocoder" / "model.safetensors").read_bytes()
    assert shipped == (folder / "vocoder" / "checkpoint" / "model.safetensors").read_bytes()


def test_both_models_start_from_another_voice(whole, corpus, tmp_path):
    first = load_voice(whole / "voice")
    settings = "steps = 1\nlearning_rate = 1e-6\nseed = 5\nclips_per_step"
    gentle = RECIPE.replace("steps = 6\nclips_per_step", settings)
    other = gentle.replace("channels = 8\nencoder", "channels = 16\nencoder")
    config = first.acoustic.config
    # the channels of the mel condition belong to the vocoder, and do not change the frames
    mel = config.mel.model_copy(update={"channels": config.mel.channels + 1})
    first.acoustic.config = config.model_copy(update={"mel": mel})
    start = {"initial_acoustic": first.acoustic}
    train_voice(make_job(corpus, tmp_path / "run", other, **start), make_callbacks())
    trained = load_voice(tmp_path / "run" / "voice").acoustic
    assert trained.config.channels == 8  # not that of the recipe
    assert trained.config.speakers == ("anna",)
    for name, weight in first.acoustic.state_dict().items():
        if name.startswith("output."):  # its variance is matched again
            continue
        torch.testing.assert_close(trained.state_dict()[name], weight, atol=2e-3, rtol=2e-3)
    train_voice(make_job(corpus, tmp_path / "random", gentle), make_callbacks())
    random = load_voice(tmp_path / "random" / "voice").acoustic
    assert not torch.allclose(random.symbols.weight, first.acoustic.symbols.weight, atol=0.1)
    shutil.rmtree(tmp_path / "run" / "voice")
    with pytest.raises(TrainingError, match="initial_acoustic"):
        train_voice(make_job(corpus, tmp_path / "run", other, resume=True), make_callbacks())


def test_a_voice_of_other_frames_is_no_start(whole, corpus, tmp_path):
    first = load_voice(whole / "voice").acoustic
    other = RECIPE.replace("condition_hop = 80", "condition_hop = 40")
    with pytest.raises(ConfigError, match=r"another hop \(80\)"):
        train_voice(
            make_job(corpus, tmp_path / "run", other, initial_acoustic=first), make_callbacks()
        )
    assert not (tmp_path / "run").exists()
