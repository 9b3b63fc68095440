"""A corpus has the clips of the folder that it was prepared from, bit for bit, and keeps none."""

import gc
import shutil
import weakref
from itertools import islice

import numpy as np
import pytest
import soundfile
import torch

from wavenet.corpus.prepare import prepare_corpus
from wavenet.errors import ConfigError, DataError
from wavenet.model.conditions import (
    FramesCondition,
    LabelCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    VectorCondition,
)
from wavenet.training.batches import training_batches
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import DataConfig, load_recipe
from wavenet.training.resolve_config import label_values, resolve_config

from . import CODEC, RATE, make_config, make_settings, train

PATTERN = "{digit}_{speaker}_{take}"
FRAMES = (
    *(MelCondition(n_mels=20, channels=4, context=2), MfccCondition(n_mfcc=5, channels=4)),
    LoudnessCondition(channels=3),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder with one damaged file, and the corpus prepared from it."""
    root = tmp_path_factory.mktemp("folders")
    (root / "audio").mkdir()
    rng = np.random.default_rng(1)
    for n in range(24):
        noise = rng.integers(-9000, 9000, 300 + 90 * n, dtype=np.int16)
        path = root / "audio" / f"{n % 3}_{('theo', 'lucas')[n % 2]}_{n:02}.wav"
        soundfile.write(path, noise, RATE)
    (root / "audio" / "0_theo_06.wav").write_bytes(b"no audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavenet.corpus.file_listing.MAX_BLOCK_FILES", 7)
        prepare_corpus(root / "audio", root / "corpus", pattern=PATTERN, workers=1)
    return root / "audio", root / "corpus"


def read_both(folders, model, **settings):
    """Read the folder and the corpus."""
    settings = {"max_seconds": 900 / RATE, "pattern": PATTERN} | settings
    return [read_dataset(DataConfig(folder=str(p), **settings), RATE, model) for p in folders]


def describe(clip):
    """Return all of a clip except waveform and frames."""
    return (
        *(clip.start, clip.total_samples, clip.context, clip.source),
        *(clip.first_frame, clip.samples, clip.fields),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"validation_fraction": 0.0},
        {"validation_fraction": 0.3},
        {"validation_fraction": 0.01},  # the end of each long one
        {"validation": {"digit": ("1",)}, "test": {"speaker": ("theo",)}},
        {"max_seconds": 100 / RATE},
        {"max_seconds": 1.0, "test": {"take": ("07", "08")}},
    ],
)
def test_clips_are_those_of_the_folder(folders, settings):
    config = make_config(FRAMES[:1], dilations=(1, 2, 4, 50))
    folder, corpus = read_both(folders, config.model, **settings)
    for part in ("train", "validation", "test"):
        expected, found = getattr(folder, part), getattr(corpus, part)
        assert [describe(clip) for clip in found] == [describe(clip) for clip in expected]
        for clip, other in zip(found, expected, strict=True):
            assert torch.equal(clip.waveform, other.waveform)
            assert torch.equal(clip.frame_features, other.frame_features)
    assert len(corpus.train) > 1


def test_frames_of_several_kinds_are_the_same(folders):
    config = make_config(FRAMES)
    folder, corpus = read_both(folders, config.model)
    for clip, other in zip(corpus.train, folder.train, strict=True):
        assert torch.equal(clip.frame_features, other.frame_features)


def test_batches_are_the_same_bit_for_bit(folders):
    label = LabelCondition(name="digit", values=("0", "1", "2"), dropout=0.3)
    model = make_config((*FRAMES[:1], label)).model
    folder, corpus = read_both(folders, model)
    streams = [training_batches(d.train, CODEC, model, 4000, 3.0, 7) for d in (folder, corpus)]
    for one, other in islice(zip(*streams, strict=True), 30):
        for a, b in zip(one.batches, other.batches, strict=True):
            assert torch.equal(a.codes, b.codes)
            assert torch.equal(a.mask, b.mask)
            assert a.conditions == b.conditions
            assert a.total_samples == b.total_samples
            assert a.first_frame == b.first_frame
            frames = zip(a.frame_features, b.frame_features, strict=True)
            assert all(torch.equal(x, y) for x, y in frames)
    other_seed = next(
        training_batches(corpus.train, CODEC, model, 4000, 3.0, 8)
    )  # negative control
    codes, control = (step.batches[0].codes for step in (one, other_seed))
    assert codes.shape != control.shape or not torch.equal(codes, control)


def test_training_is_the_same_bit_for_bit(folders, tmp_path):
    recipe = load_recipe("tiny")
    weights = []
    config = make_config((LabelCondition(name="digit", values=("0", "1", "2")),))
    for n, dataset in enumerate(read_both(folders, config.model)):
        assert resolve_config(recipe, dataset).default_seconds > 0
        state = train(config, make_settings(steps=4), dataset, tmp_path / str(n))
        weights.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert torch.equal(*weights)


def test_clips_are_a_sequence_whose_members_are_not_kept(folders):
    _, corpus = read_both(folders, make_config().model)
    clips = corpus.train
    assert describe(clips[-1]) == describe(list(clips)[len(clips) - 1])
    assert [describe(c) for c in clips[2:5]] == [describe(clips[n]) for n in (2, 3, 4)]
    with pytest.raises(IndexError):
        clips[len(clips)]
    clip = clips[3]
    assert clip.waveform is clip.waveform
    reference = weakref.ref(clip)
    del clip
    gc.collect()
    assert reference() is None
    assert clips[3] is not clips[3]


def test_lengths_are_known_without_reading_a_sample(folders, monkeypatch):
    monkeypatch.setattr(
        "wavenet.corpus.reader._map_samples", lambda *_: pytest.fail("samples were read")
    )
    _, corpus = read_both(folders[1:] * 2, make_config().model)
    assert sum(clip.samples - clip.context for clip in corpus.train) > 0
    assert label_values(corpus.train, "speaker") == ("lucas", "theo")
    with pytest.raises(pytest.fail.Exception):
        corpus.train[0].waveform  # noqa: B018


def test_what_a_corpus_does_not_have_is_refused_before_a_step(folders):
    data = DataConfig(folder=str(folders[1]))
    model = make_config().model
    with pytest.raises(DataError, match=r"8000 Hz, the model 16000; .* --sample-rate 8000"):
        read_dataset(data, 16_000, model)
    with pytest.raises(ConfigError, match="pattern"):
        read_dataset(DataConfig(folder=str(folders[1]), pattern="{x}"), RATE, model)
    for condition in (VectorCondition(name="v", size=2), FramesCondition(name="v", columns=2)):
        with pytest.raises(DataError, match="'v' is read from files"):
            read_dataset(data, RATE, make_config((condition,)).model)
    everything = DataConfig(folder=str(folders[1]), test={"speaker": ("theo", "lucas")})
    with pytest.raises(DataError, match="no clip to train on"):
        read_dataset(everything, RATE, model)


def test_a_corpus_has_the_channel_it_was_prepared_with(tmp_path):
    (tmp_path / "audio").mkdir()
    noise = 0.2 * np.random.default_rng(2).standard_normal((500, 2))
    soundfile.write(tmp_path / "audio" / "a.wav", 10 * noise, RATE, subtype="FLOAT")
    report = prepare_corpus(
        tmp_path / "audio", tmp_path / "left", workers=1, channel="left", normalize=True
    )
    assert report.levels.scaled_count == 1
    model = make_config(()).model
    for settings in ({}, {"channel": "left"}, {"normalize": True}):
        data = DataConfig(folder=str(tmp_path / "left"), **settings)
        (clip,) = read_dataset(data, RATE, model).train
        expected = noise[:, 0] / np.abs(noise[:, 0]).max()
        assert np.abs(clip.waveform.numpy() - expected).max() <= 1 / 32_768
    with pytest.raises(ConfigError, match="prepared with channel left, not right"):
        read_dataset(DataConfig(folder=str(tmp_path / "left"), channel="right"), RATE, model)
    prepare_corpus(tmp_path / "audio", tmp_path / "mix", workers=1)
    with pytest.raises(ConfigError, match="prepared with normalize False, not True"):
        read_dataset(DataConfig(folder=str(tmp_path / "mix"), normalize=True), RATE, model)


def test_a_corpus_with_a_changed_shard_is_not_trained_on(folders, tmp_path):
    model = make_config().model
    corpus = shutil.copytree(folders[1], tmp_path / "corpus")
    data = DataConfig(folder=str(corpus), pattern=PATTERN)
    assert read_dataset(data, RATE, model).train
    shard = min((corpus / "shards").iterdir())
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataError, match="has changed since the corpus was prepared"):
        read_dataset(data, RATE, model)
