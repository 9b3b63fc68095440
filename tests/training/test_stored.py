"""A corpus gives the clips of the folder that it was made of, to the last bit, and holds none."""

import gc
import weakref
from itertools import islice

import numpy as np
import pytest
import soundfile
import torch

from wavenet.corpus.prepare import prepare
from wavenet.errors import ConfigError, DataError
from wavenet.model.conditions import (
    FramesCondition,
    LabelCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    VectorCondition,
)
from wavenet.training.batches import batches
from wavenet.training.data import label_values, read_dataset
from wavenet.training.loop import train
from wavenet.training.recipe import DataConfig, checkpoint_config, load_recipe

from . import RATE, make_config, make_settings

PATTERN = "{digit}_{speaker}_{take}"
FRAMES = (
    *(MelCondition(n_mels=20, channels=4, context=2), MfccCondition(n_mfcc=5, channels=4)),
    LoudnessCondition(channels=3),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Give a folder, one file of which is damaged, and the corpus made of it."""
    place = tmp_path_factory.mktemp("places")
    (place / "audio").mkdir()
    rng = np.random.default_rng(1)
    for n in range(24):
        noise = rng.integers(-9000, 9000, 300 + 90 * n, dtype=np.int16)
        path = place / "audio" / f"{n % 3}_{('theo', 'lucas')[n % 2]}_{n:02}.wav"
        soundfile.write(path, noise, RATE)
    (place / "audio" / "0_theo_06.wav").write_bytes(b"no audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavenet.corpus.listing.BLOCK_FILES", 7)
        prepare(place / "audio", place / "corpus", pattern=PATTERN, workers=1)
    return place / "audio", place / "corpus"


def both(places, model, **settings):
    """Read the folder and the corpus."""
    usual = {"max_seconds": 900 / RATE, "pattern": PATTERN} | settings
    return [read_dataset(DataConfig(folder=str(p), **usual), RATE, model) for p in places]


def facts(clip):
    return clip.start, clip.total, clip.context, clip.source, clip.first, clip.samples, clip.labels


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"validation_share": 0.0},
        {"validation_share": 0.3},
        {"validation_share": 0.01},  # the end of each long one
        {"validation": {"digit": ("1",)}, "test": {"speaker": ("theo",)}},
        {"max_seconds": 100 / RATE},
        {"max_seconds": 1.0, "pattern": None, "test": {"take": ("07", "08")}},
    ],
)
def test_clips_are_those_of_the_folder(places, settings):
    config = make_config(FRAMES[:1], dilations=(1, 2, 4, 50))
    if settings.get("pattern", PATTERN) is None:
        settings = {**settings, "pattern": PATTERN}
    folder, corpus = both(places, config.model, **settings)
    for part in ("train", "validation", "test"):
        theirs, ours = getattr(folder, part), getattr(corpus, part)
        assert [facts(clip) for clip in ours] == [facts(clip) for clip in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine.waveform, other.waveform)
            assert torch.equal(mine.local, other.local)
    assert len(corpus.train) > 1


def test_frames_of_several_kinds_are_the_same(places):
    config = make_config(FRAMES)
    folder, corpus = both(places, config.model)
    for mine, other in zip(corpus.train, folder.train, strict=True):
        assert torch.equal(mine.local, other.local)


def test_batches_are_the_same_to_the_last_bit(places):
    label = LabelCondition(name="digit", values=("0", "1", "2"), dropout=0.3)
    model = make_config((*FRAMES[:1], label)).model
    folder, corpus = both(places, model)
    found = [batches(d.train, 8, model, 4000, 3.0, 7) for d in (folder, corpus)]
    for mine, other in islice(zip(*found, strict=True), 30):
        for a, b in zip(mine.parts, other.parts, strict=True):
            assert torch.equal(a.codes, b.codes)
            assert torch.equal(a.mask, b.mask)
            assert (a.labels, a.totals, a.first) == (b.labels, b.totals, b.first)
            assert all(torch.equal(x, y) for x, y in zip(a.local, b.local, strict=True))
    other_seed = next(batches(corpus.train, 8, model, 4000, 3.0, 8))  # the control
    assert other_seed.parts[0].codes.shape != mine.parts[0].codes.shape or not torch.equal(
        other_seed.parts[0].codes, mine.parts[0].codes
    )


def test_training_is_the_same_to_the_last_bit(places, tmp_path):
    recipe = load_recipe("tiny")
    weights = []
    config = make_config((LabelCondition(name="digit", values=("0", "1", "2")),))
    for n, dataset in enumerate(both(places, config.model)):
        assert checkpoint_config(recipe, dataset).default_seconds > 0
        state = train(config, make_settings(steps=4), dataset, tmp_path / str(n))
        weights.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert torch.equal(*weights)


def test_clips_are_a_sequence_whose_members_are_not_held(places):
    _, corpus = both(places, make_config().model)
    clips = corpus.train
    assert facts(clips[-1]) == facts(list(clips)[len(clips) - 1])
    assert [facts(c) for c in clips[2:5]] == [facts(clips[n]) for n in (2, 3, 4)]
    with pytest.raises(IndexError):
        clips[len(clips)]
    clip = clips[3]
    assert clip.waveform is clip.waveform
    gone = weakref.ref(clip)
    del clip
    gc.collect()
    assert gone() is None
    assert clips[3] is not clips[3]


def test_lengths_are_known_without_reading_a_sample(places, monkeypatch):
    monkeypatch.setattr(
        "wavenet.corpus.reading._mapped", lambda *_: pytest.fail("samples were read")
    )
    _, corpus = both(places[1:] * 2, make_config().model)
    assert sum(clip.samples - clip.context for clip in corpus.train) > 0
    assert label_values(corpus.train, "speaker") == ("lucas", "theo")
    with pytest.raises(pytest.fail.Exception):
        corpus.train[0].waveform  # noqa: B018


def test_what_a_corpus_cannot_give_is_refused_before_a_step(places):
    data = DataConfig(folder=str(places[1]))
    model = make_config().model
    with pytest.raises(DataError, match="has 8000 Hz, the model 16000; give --sample-rate 8000"):
        read_dataset(data, 16_000, model)
    with pytest.raises(ConfigError, match="was prepared with pattern"):
        read_dataset(DataConfig(folder=str(places[1]), pattern="{x}"), RATE, model)
    for condition in (VectorCondition(name="v", size=2), FramesCondition(name="v", columns=2)):
        with pytest.raises(DataError, match="'v' is read from files beside recordings"):
            read_dataset(data, RATE, make_config((condition,)).model)
    everything = DataConfig(folder=str(places[1]), test={"speaker": ("theo", "lucas")})
    with pytest.raises(DataError, match="leaves no clip to train on"):
        read_dataset(everything, RATE, model)
