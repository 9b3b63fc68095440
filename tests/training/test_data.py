"""Training data: every sample is a target once, and what is held out stays out."""

import collections
import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.errors import DataError
from wavenet.model.conditions import (
    FramesCondition,
    MelCondition,
    PositionCondition,
    VectorCondition,
)
from wavenet.training.batches import collate
from wavenet.training.data import label_values, read_dataset, segments
from wavenet.training.recipe import DataConfig

from . import RATE, RULES, losses, make_clip, make_config, model_of, sine


@pytest.fixture
def folder(tmp_path):
    """Write seven short files, digit_speaker_index."""
    for n in range(7):
        speaker = ("theo", "lucas")[n % 2]
        path = tmp_path / "audio" / f"{n}_{speaker}_{n}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sine(200 + 10 * n, 300 + n).numpy(), RATE)
    return tmp_path / "audio"


NO_FRAMES = torch.zeros(0, 0)


def with_field(samples):
    """Describe a network that sees so many samples, two or more."""
    return make_config(dilations=(samples - 1,)).model


@RULES
@given(st.integers(1, 500), st.integers(1, 120), st.integers(2, 80))
def test_segments_cover_every_sample_exactly_once(samples, longest, context):
    waveform = torch.arange(samples, dtype=torch.float32)
    clips = segments(waveform, {"a": "b"}, longest, with_field(context), "x.wav", NO_FRAMES)
    targets = torch.cat([clip.waveform[clip.context :] for clip in clips])
    assert torch.equal(targets, waveform)
    for clip in clips:
        assert 1 <= clip.samples - clip.context <= longest
        assert clip.context == min(context, clip.start + clip.context)
        assert torch.equal(clip.waveform, waveform[clip.start : clip.start + clip.samples])
        assert (clip.total, clip.labels, clip.source) == (samples, {"a": "b"}, "x.wav")


def test_segments_are_of_about_one_length():
    clips = segments(torch.zeros(1001), {}, 250, with_field(10), "x.wav", NO_FRAMES)
    assert {clip.samples - clip.context for clip in clips} <= {200, 201}


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_cutting_a_long_file_does_not_change_what_the_model_sees(tmp_path, kernel_size):
    """The context of a segment was once one sample short of the receptive field."""
    soundfile.write(tmp_path / "long.wav", sine(900, noise=0.1).numpy(), RATE)
    config = make_config((PositionCondition(harmonics=1),), kernel_size=kernel_size)
    model = model_of(config)
    short_sighted = config.model.model_copy(update={"dilations": (1, 2, 3)})

    def read(seconds, model):
        data = DataConfig(folder=str(tmp_path), max_seconds=seconds, validation_share=0)
        return read_dataset(data, RATE, model).train

    whole, cut = read(1.0, config.model), read(10 / RATE, config.model)
    assert (len(whole), len(cut)) == (1, 90)
    assert losses(model, cut) == pytest.approx(losses(model, whole), abs=1e-6)
    short = read(10 / RATE, short_sighted)  # the control
    assert losses(model, short) != pytest.approx(losses(model, whole), abs=1e-6)


FRAMES = MelCondition(n_mels=20, channels=4, context=2), FramesCondition(name="curve", columns=2)


@pytest.fixture
def long_file(tmp_path):
    """A recording with frames and a vector beside it."""
    soundfile.write(tmp_path / "long.wav", sine(900, noise=0.1).numpy(), RATE)
    rng = np.random.default_rng(3)
    np.save(tmp_path / "long.curve.npy", rng.standard_normal((91, 2)))
    np.save(tmp_path / "long.timbre.npy", rng.standard_normal(3))
    return tmp_path


def test_segments_bring_the_frames_that_they_need(long_file):
    config = make_config((*FRAMES, VectorCondition(name="timbre", size=3)))
    model = model_of(config)

    def read(seconds):
        data = DataConfig(folder=str(long_file), max_seconds=seconds, validation_share=0)
        return read_dataset(data, RATE, config.model).train

    whole, cut = read(1.0), read(50 / RATE)
    assert (len(whole), len(cut)) == (1, 18)
    assert all(clip.local.shape[0] < 20 for clip in cut)
    assert losses(model, cut) == pytest.approx(losses(model, whole), abs=1e-5)
    moved = [dataclasses.replace(clip, first=clip.first + 1) for clip in cut]  # the control
    assert losses(model, moved) != pytest.approx(losses(model, whole), abs=1e-4)


def test_frames_that_are_missing_or_too_few_cost_the_file_not_the_run(long_file):
    config = make_config(FRAMES)
    soundfile.write(long_file / "other.wav", sine(900).numpy(), RATE)
    np.save(long_file / "other.curve.npy", np.zeros((60, 2)))
    soundfile.write(long_file / "third.wav", sine(900).numpy(), RATE)
    dataset = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model)
    assert len(dataset.train) == 1
    assert len(dataset.skipped) == 2
    assert "found mel 91, curve 60" in dataset.skipped[0]
    assert "third.curve.npy" in dataset.skipped[1]


def test_frames_are_made_louder_with_the_recording(long_file):
    config = make_config(FRAMES[:1])
    (clip,) = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model).train
    soundfile.write(long_file / "long.wav", (clip.waveform * 0.5).numpy(), RATE, subtype="FLOAT")
    (softer,) = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model).train
    batch = collate([clip], 8, config.model, [0.5])
    torch.testing.assert_close(batch.local[0], softer.local, atol=1e-3, rtol=1e-3)
    assert (clip.local - softer.local).abs().max() > 0.1  # the control


def test_unreadable_files_are_skipped_each_with_a_sentence(folder):
    (folder / "broken.wav").write_bytes(b"RIFF no")
    whole = (folder / "0_theo_0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:-100])
    (folder / "folder.wav").mkdir()
    dataset = read_dataset(DataConfig(folder=str(folder)), RATE, with_field(16))
    assert len(dataset.train) == 7
    assert len(dataset.skipped) == 3
    for name, sentence in zip(("broken", "cut", "folder"), dataset.skipped, strict=True):
        assert f"{name}.wav" in sentence
        assert len(sentence.splitlines()) == 1


def test_a_folder_whose_files_are_all_unreadable_is_refused(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"leaves no clip to train on; the first fault: .*a\.wav"):
        read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_field(16))


def test_a_folder_without_audio_or_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no audio"):
        read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_field(16))
    with pytest.raises(DataError, match=r"set data\.folder in the recipe or --data"):
        read_dataset(DataConfig(), RATE, with_field(16))


def test_files_are_resampled_to_the_rate_of_the_model(folder):
    dataset = read_dataset(DataConfig(folder=str(folder)), 2 * RATE, with_field(16))
    assert sorted(clip.total for clip in dataset.train) == [2 * (200 + 10 * n) for n in range(7)]


def test_fields_decide_what_is_held_out(folder):
    data = DataConfig(
        folder=str(folder),
        pattern="{digit}_{speaker}_{index}",
        validation={"digit": ("1", "2")},
        test={"digit": ("2",), "speaker": ("nobody",)},
    )
    dataset = read_dataset(data, RATE, with_field(16))
    digits = {
        part: sorted(clip.labels["digit"] for clip in getattr(dataset, part))
        for part in ("train", "validation", "test")
    }
    assert digits == {"train": list("03456"), "validation": ["1"], "test": ["2"]}


@pytest.mark.parametrize(
    "share, held", [(0.0, 0), (0.05, 5), (0.1, 10), (0.4, 40), (0.5, 50), (0.7, 70), (0.99, 99)]
)
def test_a_share_of_the_files_is_held_out(tmp_path, monkeypatch, share, held):
    """A share of 0.7 once held out every file, and 0.4 half of them."""
    for n in range(100):
        (tmp_path / f"{n:02}.wav").touch()
    recording = collections.namedtuple("Recording", "waveform")
    monkeypatch.setattr("wavenet.training.data.io.read", lambda *args: recording(torch.zeros(10)))
    dataset = read_dataset(
        DataConfig(folder=str(tmp_path), validation_share=share), RATE, with_field(16)
    )
    assert (len(dataset.train), len(dataset.validation)) == (100 - held, held)


def test_the_share_is_spread_over_the_folder(tmp_path, monkeypatch):
    for n in range(40):
        (tmp_path / f"{n:02}.wav").touch()
    recording = collections.namedtuple("Recording", "waveform")
    monkeypatch.setattr("wavenet.training.data.io.read", lambda *args: recording(torch.zeros(10)))
    held = read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_field(16)).validation
    assert [clip.source for clip in held] == ["19.wav", "39.wav"]


def test_segments_shorter_than_a_sample_are_no_reason_to_fail(folder):
    """A length that rounds to no samples once ended in a division by zero."""
    dataset = read_dataset(DataConfig(folder=str(folder), max_seconds=1e-9), RATE, with_field(2))
    assert {clip.samples - clip.context for clip in dataset.train} == {1}


def test_the_labels_of_the_clips_are_listed_in_order():
    clips = [make_clip(10, n, {"digit": d}) for n, d in enumerate("3103")]
    assert label_values(clips, "digit") == ("0", "1", "3")


def test_a_label_that_a_clip_lacks_is_named():
    clips = [make_clip(10, 0, {"digit": "1"}), make_clip(10, 1, {"speaker": "x"})]
    with pytest.raises(DataError, match=r"clip1\.wav has no field 'digit'; its fields: speaker"):
        label_values(clips, "digit")
    with pytest.raises(DataError, match="its fields: none"):
        label_values([make_clip(10)], "digit")


def test_the_end_of_long_files_is_held_out_where_files_are_few(tmp_path):
    """Three recordings of minutes once left nothing to validate on."""
    for n, samples in enumerate((4000, 1000, 90)):
        soundfile.write(tmp_path / f"{n}.wav", sine(samples, 300).numpy(), RATE)

    def lengths(**changes):
        data = DataConfig(folder=str(tmp_path), max_seconds=100 / RATE, **changes)
        dataset = read_dataset(data, RATE, with_field(16))
        return [
            [(c.source, c.start + c.context) for c in part]
            for part in (dataset.train, dataset.validation, dataset.test)
        ]

    train, held, test = lengths()
    assert held == [("0.wav", 3800), ("0.wav", 3900), ("1.wav", 900)]
    assert len(train) == 38 + 9 + 1
    assert not test
    assert not lengths(validation_share=0.0)[1]
    # a third is a whole file
    assert {source for source, _ in lengths(validation_share=0.34)[1]} == {"2.wav"}
