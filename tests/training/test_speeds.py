"""Recordings heard at other speeds: what is learnt from, and nothing else."""

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from wavenet.corpus.prepare import prepare
from wavenet.errors import DataError
from wavenet.evaluation.recordings import read_whole
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.training.data import read_dataset
from wavenet.training.recipe import DataConfig, RecipeConfig

from . import RATE, make_config, sine

TONE = 400.0  # Hz


def pitch(clip):
    """Find the strongest frequency of a clip, Hz."""
    waveform = clip.waveform.numpy()
    return np.argmax(np.abs(np.fft.rfft(waveform, 1 << 16))) * RATE / (1 << 16)


@pytest.fixture
def folder(tmp_path):
    """Write a tone of one second four times, `{part}_{n}`: 0 to validate on, 1 for a test."""
    found = tmp_path / "audio"
    found.mkdir()
    for n in range(4):
        soundfile.write(found / f"{n}_x.wav", sine(RATE, TONE).numpy(), RATE)
    return found


def read(folder, model=None, **changes):
    usual = {
        "pattern": "{part}_{name}",
        "validation": {"part": ("0",)},
        "test": {"part": ("1",)},
        "speeds": (0.8, 1.25),
    }
    data = DataConfig(folder=str(folder), **usual | changes)
    return read_dataset(data, RATE, model or make_config().model)


def test_what_is_learnt_from_is_heard_at_every_speed_and_nothing_else(folder):
    dataset = read(folder)
    found = [(round(pitch(clip)), clip.samples) for clip in dataset.train]
    at = [(400, RATE), (320, round(RATE / 0.8)), (500, round(RATE / 1.25))]
    for (hertz, samples), (wanted, length) in zip(found, at * 2, strict=True):
        assert hertz == pytest.approx(wanted, abs=2)
        assert samples == pytest.approx(length, abs=2)
    for held in (dataset.validation, dataset.test):
        assert [(round(pitch(clip)), clip.samples) for clip in held] == [(400, RATE)]
    assert dataset.speeds == 3
    assert read(folder, speeds=()).speeds == 1


def test_a_slow_recording_keeps_the_treble_of_its_file(folder):
    """Of a file of a higher rate; a slow one would else lack what is above its own."""
    soundfile.write(folder / "2_x.wav", sine(4 * RATE, 0.15 * RATE).numpy(), 4 * RATE)
    clips = read(folder, speeds=(0.5,)).train[:2]
    # 0.6 of the rate is above what the model's rate holds, and at half the speed below it
    assert np.abs(clips[0].waveform.numpy()[500:-500]).max() < 0.01
    assert clips[1].waveform.numpy()[500:-500].max() > 0.3


def test_the_end_of_a_long_recording_is_held_out_at_every_speed(tmp_path):
    rising = np.linspace(0, 0.9, 8 * RATE)  # says of every sample how late it is
    soundfile.write(tmp_path / "long.wav", rising, RATE, subtype="FLOAT")
    data = DataConfig(folder=str(tmp_path), max_seconds=0.5, validation_share=0.25)
    data = data.model_copy(update={"speeds": (0.9, 1.1)})
    dataset = read_dataset(data, RATE, make_config().model)
    held = min(clip.waveform[clip.context :].min() for clip in dataset.validation)
    assert held == pytest.approx(0.9 * 0.75, abs=0.01)
    assert max(clip.waveform.max() for clip in dataset.train) <= held + 1e-4
    for speed in (1, 0.9, 1.1):
        length = 8 * RATE / speed
        targets = sum(
            clip.samples - clip.context
            for clip in dataset.train
            if clip.total == pytest.approx(length, abs=8)
        )
        assert 0.68 * length < targets <= 0.7501 * length


def test_frames_are_those_of_the_recording_as_it_is_heard(folder):
    config = make_config((MelCondition(name="mel", n_mels=16, win_length=80, channels=4),))
    plain, slow, fast = read(folder, config.model).train[:3]
    assert len(slow.local) > len(plain.local) > len(fast.local)
    loudest = [int(clip.local[5:-5].mean(0).argmax()) for clip in (slow, plain, fast)]
    assert loudest == sorted(loudest)
    assert loudest[0] < loudest[2]


def test_speeds_that_say_nothing_are_refused():
    for speeds in ((1.0,), (0.9, 0.9), (0.4,), (3.0,)):
        with pytest.raises(ValidationError, match="speeds"):
            DataConfig(speeds=speeds)


def test_frames_from_files_are_refused_with_speeds():
    model = make_config((FramesCondition(name="curve", columns=2, channels=4),)).model
    recipe = {"name": "a", "audio": {"sample_rate": RATE}, "model": model, "train": {"steps": 1}}
    RecipeConfig.model_validate(recipe)
    with pytest.raises(ValidationError, match=r"data\.speeds cannot be used with 'curve'"):
        RecipeConfig.model_validate(recipe | {"data": {"speeds": (0.9,)}})


def test_a_corpus_is_refused_with_speeds(folder, tmp_path):
    prepare(folder, tmp_path / "corpus", RATE, workers=1)
    with pytest.raises(DataError, match=r"one speed; take data\.speeds out"):
        read(tmp_path / "corpus", pattern=None, validation={}, test={})


def test_an_evaluation_hears_every_recording_once(folder):
    data = DataConfig(folder=str(folder), speeds=(0.8,))
    assert len(read_dataset(data, RATE, make_config().model).train) == 8
    assert len(read_whole(data, make_config()).train) == 4
