"""Speed perturbation: recordings for training are played at other speeds, held-out ones are not."""

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from wavenet.corpus.prepare import prepare_corpus
from wavenet.errors import DataError
from wavenet.evaluation.labelled_clips import read_uncut_dataset
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import DataConfig, RecipeConfig

from . import RATE, make_config, sine

TONE = 400.0  # Hz


def pitch(clip):
    """Return the strongest frequency of a clip, Hz."""
    waveform = clip.waveform.numpy()
    return np.argmax(np.abs(np.fft.rfft(waveform, 1 << 16))) * RATE / (1 << 16)


@pytest.fixture
def folder(tmp_path):
    """Write a tone of one second four times, `{part}_{n}`: 0 for validation, 1 for the test."""
    audio = tmp_path / "audio"
    audio.mkdir()
    for n in range(4):
        soundfile.write(audio / f"{n}_x.wav", sine(RATE, TONE).numpy(), RATE)
    return audio


def read(folder, model=None, **changes):
    """Read the folder at three speeds."""
    settings = {
        "pattern": "{part}_{name}",
        "validation": {"part": ("0",)},
        "test": {"part": ("1",)},
        "speed_perturbation": (0.8, 1.25),
    }
    data = DataConfig(folder=str(folder), **settings | changes)
    return read_dataset(data, RATE, model or make_config().model)


def test_only_recordings_for_training_are_played_at_every_speed(folder):
    dataset = read(folder)
    found = [(round(pitch(clip)), clip.samples) for clip in dataset.train]
    expected = [(400, RATE), (320, round(RATE / 0.8)), (500, round(RATE / 1.25))]
    for (hertz, samples), (right_hertz, right_samples) in zip(found, expected * 2, strict=True):
        assert hertz == pytest.approx(right_hertz, abs=2)
        assert samples == pytest.approx(right_samples, abs=2)
    for held_out in (dataset.validation, dataset.test):
        assert [(round(pitch(clip)), clip.samples) for clip in held_out] == [(400, RATE)]
    assert dataset.n_speeds == 3
    assert read(folder, speed_perturbation=()).n_speeds == 1


def test_a_slow_recording_keeps_the_treble_of_its_file(folder):
    """A file of a higher rate: resampled to the model's rate first, it would lose its treble."""
    soundfile.write(folder / "2_x.wav", sine(4 * RATE, 0.15 * RATE).numpy(), 4 * RATE)
    clips = read(folder, speed_perturbation=(0.5,)).train[:2]
    # 0.6 of the rate is above half of the model's rate, and at half the speed below it
    assert np.abs(clips[0].waveform.numpy()[500:-500]).max() < 0.01
    assert clips[1].waveform.numpy()[500:-500].max() > 0.3


def test_the_end_of_a_long_recording_is_held_out_at_every_speed(tmp_path):
    rising = np.linspace(0, 0.9, 8 * RATE)  # the value of a sample shows its time
    soundfile.write(tmp_path / "long.wav", rising, RATE, subtype="FLOAT")
    data = DataConfig(folder=str(tmp_path), max_seconds=0.5, validation_fraction=0.25)
    data = data.model_copy(update={"speed_perturbation": (0.9, 1.1)})
    dataset = read_dataset(data, RATE, make_config().model)
    held_out = min(clip.waveform[clip.context :].min() for clip in dataset.validation)
    assert held_out == pytest.approx(0.9 * 0.75, abs=0.01)
    assert max(clip.waveform.max() for clip in dataset.train) <= held_out + 1e-4
    for speed in (1, 0.9, 1.1):
        samples = 8 * RATE / speed
        targets = sum(
            clip.samples - clip.context
            for clip in dataset.train
            if clip.total_samples == pytest.approx(samples, abs=8)
        )
        assert 0.68 * samples < targets <= 0.7501 * samples


def test_frames_are_those_of_the_recording_at_its_speed(folder):
    config = make_config((MelCondition(name="mel", n_mels=16, win_length=80, channels=4),))
    plain, slow, fast = read(folder, config.model).train[:3]
    frames = [clip.frame_features for clip in (slow, plain, fast)]
    assert len(frames[0]) > len(frames[1]) > len(frames[2])
    loudest = [int(mel[5:-5].mean(0).argmax()) for mel in frames]
    assert loudest == sorted(loudest)
    assert loudest[0] < loudest[2]


def test_speeds_that_repeat_or_are_out_of_range_are_refused():
    for speeds in ((1.0,), (0.9, 0.9), (0.4,), (3.0,)):
        with pytest.raises(ValidationError, match="speed_perturbation"):
            DataConfig(speed_perturbation=speeds)


def test_frames_from_files_are_refused_with_speed_perturbation():
    model = make_config((FramesCondition(name="curve", columns=2, channels=4),)).model
    recipe = {"name": "a", "audio": {"sample_rate": RATE}, "model": model, "train": {"steps": 1}}
    RecipeConfig.model_validate(recipe)
    with pytest.raises(ValidationError, match=r"speed_perturbation .* 'curve'"):
        RecipeConfig.model_validate(recipe | {"data": {"speed_perturbation": (0.9,)}})


def test_a_corpus_is_refused_with_speed_perturbation(folder, tmp_path):
    prepare_corpus(folder, tmp_path / "corpus", RATE, workers=1)
    with pytest.raises(DataError, match=r"remove data\.speed_perturbation"):
        read(tmp_path / "corpus", pattern=None, validation={}, test={})


def test_an_evaluation_reads_every_recording_once(folder):
    data = DataConfig(folder=str(folder), speed_perturbation=(0.8,))
    assert len(read_dataset(data, RATE, make_config().model).train) == 8
    assert len(read_uncut_dataset(data, make_config()).train) == 4
