"""Training data: every sample is a target once, padding never counts, the order is a function."""

import collections
import dataclasses
from itertools import islice

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavenet import checkpoint, codec
from wavenet.conditions import (
    FramesCondition,
    LabelCondition,
    MelCondition,
    NumberCondition,
    PositionCondition,
    VectorCondition,
)
from wavenet.config import DataConfig
from wavenet.errors import ConditionError, DataError
from wavenet.training.data import (
    Batch,
    batches,
    collate,
    label_values,
    plan_epoch,
    read_dataset,
    segments,
)
from wavenet.training.loop import masked_nll

from . import RATE, make_clip, make_config, sine

# seeded, and however slow the machine is
RULES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    """Write seven short files, digit_speaker_index."""
    for n in range(7):
        speaker = ("theo", "lucas")[n % 2]
        path = tmp_path / "audio" / f"{n}_{speaker}_{n}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sine(200 + 10 * n, 300 + n).numpy(), RATE)
    return tmp_path / "audio"


MODEL = make_config().model
NO_FRAMES = torch.zeros(0, 0)


def model_of(config):
    torch.manual_seed(0)
    model = checkpoint.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that every input matters
    return model


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


def losses(model, clips):
    """Give the mean loss over the targets of clips, one clip at a time."""
    total, count = 0.0, 0
    for clip in clips:
        batch = collate([clip], 8, MODEL, [1.0])
        targets = int(batch.mask.sum())
        total += masked_nll(model, batch, CPU).item() * targets
        count += targets
    return total / count


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_cutting_a_long_file_does_not_change_what_the_model_sees(tmp_path, kernel_size):
    """The context of a segment was once one sample short of the receptive field."""
    soundfile.write(tmp_path / "long.wav", sine(900, noise=0.1).numpy(), RATE)
    config = make_config((PositionCondition(harmonics=1),), kernel_size=kernel_size)
    model = model_of(config)
    short_sighted = config.model.model_copy(update={"dilations": (1, 2, 3)})

    def read(seconds, model):
        data = DataConfig(folder=str(tmp_path), max_seconds=seconds)
        return read_dataset(data, RATE, model).train

    whole, cut = read(1.0, config.model), read(10 / RATE, config.model)
    assert (len(whole), len(cut)) == (1, 90)
    assert losses(model, cut) == pytest.approx(losses(model, whole), abs=1e-6)
    short = read(10 / RATE, short_sighted)  # the control
    assert losses(model, short) != pytest.approx(losses(model, whole), abs=1e-6)


FRAMES = MelCondition(bands=20, channels=4, context=2), FramesCondition(name="curve", columns=2)


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
        data = DataConfig(folder=str(long_file), max_seconds=seconds)
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


def test_labels_are_left_out_as_often_as_their_condition_says():
    conditions = (
        LabelCondition(name="digit", values=("0", "1"), dropout=0.3),
        LabelCondition(name="speaker", values=("x",)),
        NumberCondition(name="level", low=0.0, high=1.0, dropout=0.6),
    )
    labels = {"digit": "1", "speaker": "x", "level": "0.5"}
    clips = [make_clip(30, 0, labels)] * 10
    feed = batches(clips, 8, make_config(conditions).model, 300, 0.0, 7)
    rows = [row for _ in range(100) for row in next(feed).labels]
    shares = {name: sum(name in row for row in rows) / len(rows) for name in labels}
    assert shares["speaker"] == 1
    assert shares["digit"] == pytest.approx(0.7, abs=0.06)  # 4 standard deviations of 1,000 draws
    assert shares["level"] == pytest.approx(0.4, abs=0.07)
    both = sum("digit" in row and "level" in row for row in rows) / len(rows)
    assert both == pytest.approx(0.28, abs=0.06)  # each by itself


def test_padding_never_enters_the_loss():
    labels = [{"digit": "0"}, {"digit": "1"}, {"digit": "0"}]
    conditions = (LabelCondition(name="digit", values=("0", "1")), PositionCondition())
    model = model_of(make_config(conditions))
    shapes = [(37, 0, 0), (90, 8, 123), (61, 3, 17)]
    clips = [
        make_clip(n, seed, labels[seed], context, start)
        for seed, (n, context, start) in enumerate(shapes)
    ]
    batch = collate(clips, 8, MODEL, [1.0] * 3)
    assert batch.codes.shape == (3, 90)
    assert masked_nll(model, batch, CPU).item() == pytest.approx(losses(model, clips), abs=1e-5)
    everything = Batch(
        batch.codes, torch.ones_like(batch.mask), batch.start, batch.labels, batch.totals
    )
    assert abs(masked_nll(model, everything, CPU).item() - losses(model, clips)) > 1e-3


def test_a_batch_is_padded_with_silence_to_whole_frames():
    clips = [make_clip(37, 0), make_clip(51, 1, context=5, start=40)]
    batch = collate(clips, 8, MODEL.model_copy(update={"condition_hop": 20}), [1.0, 1.0])
    assert batch.codes.shape == (2, 60)
    assert torch.equal(batch.codes[0, :37], codec.encode(clips[0].waveform))
    assert (batch.codes[0, 37:] == 128).all()
    assert (batch.codes[1, 51:] == 128).all()
    assert batch.mask.sum(1).tolist() == [37, 46]
    assert not batch.mask[1, :5].any()
    assert not batch.mask[1, 51:].any()
    assert batch.start.tolist() == [0, 40]
    assert batch.totals == [37, 91]


@pytest.mark.parametrize("gain", [0.25, 1.0, 1.7, 100.0])
def test_a_gain_never_clips(gain):
    clip = make_clip(50)
    peak = clip.waveform.abs().max().item()
    batch = collate([clip], 8, MODEL, [gain])
    expected = (clip.waveform * min(gain, 1 / peak)).clamp(-1, 1)
    assert torch.equal(batch.codes[0, :50], codec.encode(expected))
    silent = make_clip(50)
    silent.waveform.zero_()
    assert (collate([silent], 8, MODEL, [gain]).codes == 128).all()


@RULES
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=200),
    st.integers(1, 2_000),
    st.integers(0, (1 << 63) - 1),
    st.integers(0, 1_000),
)
def test_every_clip_occurs_once_in_an_epoch(lengths, samples_per_step, seed, epoch):
    plan = plan_epoch(lengths, samples_per_step, seed, epoch)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        assert batch
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= samples_per_step
    assert plan == plan_epoch(lengths, samples_per_step, seed, epoch)


def test_epochs_and_seeds_differ_in_their_order():
    lengths = list(range(100, 200))
    plans = [plan_epoch(lengths, 500, seed, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert plans[0] != plans[1] != plans[2] != plans[0]


def test_clips_of_one_batch_are_of_similar_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(100, 2_000, 256).tolist()
    plan = plan_epoch(lengths, 8_000, 0, 0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan)
    assert padded < 1.15 * sum(lengths)
    unsorted = sum(4 * max(lengths[n : n + 4]) for n in range(0, 256, 4))  # the control
    assert unsorted > 1.3 * sum(lengths)


def stream(clips, count, first_step=0, seed=3):
    feed = batches(clips, 8, MODEL, 300, 6.0, seed, first_step)
    return [(b.codes, b.mask, b.start, b.totals) for b in islice(feed, count)]


def equal(one, other):
    return (
        one[0].shape == other[0].shape
        and all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        and one[3] == other[3]
    )


@pytest.mark.parametrize("first_step", [1, 4, 5, 13])
def test_the_stream_goes_on_from_any_step(first_step):
    clips = [make_clip(60 + 7 * n, n) for n in range(9)]
    whole = stream(clips, 20)
    rest = stream(clips, 20 - first_step, first_step)
    assert all(equal(a, b) for a, b in zip(whole[first_step:], rest, strict=True))
    other = stream(clips, 20 - first_step, first_step, seed=5)  # the control
    assert not all(equal(a, b) for a, b in zip(rest, other, strict=True))


def test_a_clip_has_another_gain_in_every_epoch():
    clip = make_clip(60)
    first, second = (step[0] for step in stream([clip], 2))
    assert not torch.equal(first, second)


def test_a_feed_without_clips_is_refused_instead_of_waiting_for_ever():
    with pytest.raises(DataError, match="no clip"):
        next(batches([], 8, MODEL, 300, 0.0, 0))


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


@pytest.mark.parametrize("labels", [{}, {"speaker": "x"}, {"digit": "7"}])
def test_a_clip_without_the_label_of_the_model_is_refused_with_a_sentence(labels):
    """A missing label once ended in a KeyError."""
    model = model_of(make_config((LabelCondition(name="digit", values=("0", "1")),)))
    batch = collate([make_clip(30, 0, labels)], 8, MODEL, [1.0])
    with pytest.raises(ConditionError, match="digit"):
        masked_nll(model, batch, CPU)


def test_fields_that_the_model_does_not_know_are_left_alone():
    model = model_of(make_config((LabelCondition(name="digit", values=("0", "1")),)))
    batch = collate([make_clip(30, 0, {"digit": "1", "speaker": "x"})], 8, MODEL, [1.0])
    assert masked_nll(model, batch, CPU).isfinite()
