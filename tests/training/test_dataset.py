"""Training data: every sample is a target once, and held-out recordings are not trained on."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audio_utils.io import Recording
from wavenet.errors import DataError
from wavenet.model.conditions import (
    FramesCondition,
    MelCondition,
    PositionCondition,
    VectorCondition,
)
from wavenet.model.frame_scales import scale_frames
from wavenet.training.batches import collate
from wavenet.training.dataset import cut_recording, read_dataset
from wavenet.training.recipe import DataConfig
from wavenet.training.resolve_config import label_values

from . import CODEC, RATE, RULES, build_model, clips_nll, make_clip, make_config, sine


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


def with_receptive_field(samples):
    """Return the config of a model with this receptive field, two samples or more."""
    return make_config(dilations=(samples - 1,)).model


@RULES
@given(st.integers(1, 500), st.integers(1, 120), st.integers(2, 80))
def test_segments_cover_every_sample_exactly_once(samples, longest, context):
    waveform = torch.arange(samples, dtype=torch.float32)
    clips = cut_recording(
        waveform, {"a": "b"}, longest, with_receptive_field(context), "x.wav", NO_FRAMES
    )
    targets = torch.cat([clip.waveform[clip.context :] for clip in clips])
    assert torch.equal(targets, waveform)
    for clip in clips:
        assert 1 <= clip.samples - clip.context <= longest
        assert clip.context == min(context, clip.start + clip.context)
        assert torch.equal(clip.waveform, waveform[clip.start : clip.start + clip.samples])
        assert (clip.total_samples, clip.fields, clip.source) == (samples, {"a": "b"}, "x.wav")


def test_segments_are_of_about_one_length():
    clips = cut_recording(torch.zeros(1001), {}, 250, with_receptive_field(10), "x.wav", NO_FRAMES)
    assert {clip.samples - clip.context for clip in clips} <= {200, 201}


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_cutting_a_long_file_does_not_change_the_predictions(tmp_path, kernel_size):
    """Regression: the context of a segment was one sample shorter than the receptive field."""
    soundfile.write(tmp_path / "long.wav", sine(900, noise=0.1).numpy(), RATE)
    config = make_config((PositionCondition(harmonics=1),), kernel_size=kernel_size)
    model = build_model(config)
    shorter_field = config.model.model_copy(update={"dilations": (1, 2, 3)})

    def read(seconds, model):
        data = DataConfig(folder=str(tmp_path), max_seconds=seconds, validation_fraction=0)
        return read_dataset(data, RATE, model).train

    whole, cut = read(1.0, config.model), read(10 / RATE, config.model)
    assert (len(whole), len(cut)) == (1, 90)
    assert clips_nll(model, cut) == pytest.approx(clips_nll(model, whole), abs=1e-6)
    short = read(10 / RATE, shorter_field)  # negative control
    assert clips_nll(model, short) != pytest.approx(clips_nll(model, whole), abs=1e-6)


FRAMES = MelCondition(n_mels=20, channels=4, context=2), FramesCondition(name="curve", columns=2)


@pytest.fixture
def long_file(tmp_path):
    """Write a recording with frames and a vector beside it."""
    soundfile.write(tmp_path / "long.wav", sine(900, noise=0.1).numpy(), RATE)
    rng = np.random.default_rng(3)
    np.save(tmp_path / "long.curve.npy", rng.standard_normal((91, 2)))
    np.save(tmp_path / "long.timbre.npy", rng.standard_normal(3))
    return tmp_path


def test_segments_have_the_frames_that_they_need(long_file):
    config = make_config((*FRAMES, VectorCondition(name="timbre", size=3)))
    model = build_model(config)

    def read(seconds):
        data = DataConfig(folder=str(long_file), max_seconds=seconds, validation_fraction=0)
        return read_dataset(data, RATE, config.model).train

    whole, cut = read(1.0), read(50 / RATE)
    assert (len(whole), len(cut)) == (1, 18)
    assert all(clip.frame_features.shape[0] < 20 for clip in cut)
    assert clips_nll(model, cut) == pytest.approx(clips_nll(model, whole), abs=1e-5)
    moved = [
        dataclasses.replace(clip, first_frame=clip.first_frame + 1) for clip in cut
    ]  # negative control
    assert clips_nll(model, moved) != pytest.approx(clips_nll(model, whole), abs=1e-4)


def test_a_file_with_missing_or_too_few_frames_is_skipped(long_file):
    config = make_config(FRAMES)
    soundfile.write(long_file / "other.wav", sine(900).numpy(), RATE)
    np.save(long_file / "other.curve.npy", np.zeros((60, 2)))
    soundfile.write(long_file / "third.wav", sine(900).numpy(), RATE)
    dataset = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model)
    assert len(dataset.train) == 1
    assert len(dataset.skipped) == 2
    assert "found mel 91, curve 60" in dataset.skipped[0]
    assert "third.curve.npy" in dataset.skipped[1]


def test_stored_frames_replace_computed_ones(long_file):
    config = make_config(FRAMES[:1])
    data = DataConfig(folder=str(long_file), validation_fraction=0)
    (computed,) = read_dataset(data, RATE, config.model).train
    levels = np.random.default_rng(0).uniform(-60, 0, (91, 20)).astype(np.float32)
    np.save(long_file / "long.mel.npy", levels)
    (still,) = read_dataset(data, RATE, config.model).train
    torch.testing.assert_close(still.frame_features, computed.frame_features)
    with_files = data.model_copy(update={"stored_frames": True})
    stored = read_dataset(with_files, RATE, config.model)
    expected = scale_frames(FRAMES[0], torch.from_numpy(levels))
    torch.testing.assert_close(stored.train[0].frame_features, expected)
    np.save(long_file / "long.mel.npy", levels - 1)
    other = read_dataset(with_files, RATE, config.model)
    assert other.recordings != stored.recordings  # their hashes
    (long_file / "long.mel.npy").unlink()
    with pytest.raises(DataError, match=r"long\.mel\.npy"):
        read_dataset(with_files, RATE, config.model)


def test_stored_frames_have_one_speed():
    with pytest.raises(ValidationError, match="stored_frames cannot be used"):
        DataConfig(stored_frames=True, speed_perturbation=(0.9,))


def test_frames_get_louder_with_the_recording(long_file):
    config = make_config(FRAMES[:1])
    (clip,) = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model).train
    soundfile.write(long_file / "long.wav", (clip.waveform * 0.5).numpy(), RATE, subtype="FLOAT")
    (softer,) = read_dataset(DataConfig(folder=str(long_file)), RATE, config.model).train
    batch = collate([clip], CODEC, config.model, [0.5])
    torch.testing.assert_close(batch.frame_features[0], softer.frame_features, atol=1e-3, rtol=1e-3)
    assert (clip.frame_features - softer.frame_features).abs().max() > 0.1  # negative control


def test_unreadable_files_are_skipped_each_with_a_sentence(folder):
    (folder / "broken.wav").write_bytes(b"RIFF no")
    whole = (folder / "0_theo_0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:-100])
    (folder / "folder.wav").mkdir()
    dataset = read_dataset(DataConfig(folder=str(folder)), RATE, with_receptive_field(16))
    assert len(dataset.train) == 7
    assert len(dataset.skipped) == 3
    for name, sentence in zip(("broken", "cut", "folder"), dataset.skipped, strict=True):
        assert f"{name}.wav" in sentence
        assert len(sentence.splitlines()) == 1


def test_a_folder_whose_files_are_all_unreadable_is_refused(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"no clip to train on; the first error: .*a\.wav"):
        read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_receptive_field(16))


def test_a_folder_whose_files_are_all_held_out_is_refused(tmp_path):
    for index in range(3):
        soundfile.write(tmp_path / f"7_{index}.wav", sine(300).numpy(), RATE)
    held_out = {"validation": {"index": ("0",)}, "test": {"index": ("1", "2")}}
    data = DataConfig(folder=str(tmp_path), pattern="{digit}_{index}", **held_out)
    with pytest.raises(DataError, match=r"3 are held out by data\.validation and data\.test"):
        read_dataset(data, RATE, with_receptive_field(16))


def test_a_folder_without_audio_or_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no audio"):
        read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_receptive_field(16))
    with pytest.raises(DataError, match=r"set data\.folder in the recipe or --data"):
        read_dataset(DataConfig(), RATE, with_receptive_field(16))


def test_files_are_resampled_to_the_rate_of_the_model(folder):
    dataset = read_dataset(DataConfig(folder=str(folder)), 2 * RATE, with_receptive_field(16))
    assert sorted(clip.total_samples for clip in dataset.train) == [
        2 * (200 + 10 * n) for n in range(7)
    ]


def test_fields_decide_what_is_held_out(folder):
    data = DataConfig(
        folder=str(folder),
        pattern="{digit}_{speaker}_{index}",
        validation={"digit": ("1", "2")},
        test={"digit": ("2",), "speaker": ("nobody",)},
    )
    dataset = read_dataset(data, RATE, with_receptive_field(16))
    digits = {
        part: sorted(clip.fields["digit"] for clip in getattr(dataset, part))
        for part in ("train", "validation", "test")
    }
    assert digits == {"train": list("03456"), "validation": ["1"], "test": ["2"]}


@pytest.mark.parametrize(
    "fraction, held_out",
    [(0.0, 0), (0.05, 5), (0.1, 10), (0.4, 40), (0.5, 50), (0.7, 70), (0.99, 99)],
)
def test_a_fraction_of_the_files_is_held_out(tmp_path, monkeypatch, fraction, held_out):
    """Regression: a fraction of 0.7 held out every file, and 0.4 half of them."""
    for n in range(100):
        (tmp_path / f"{n:02}.wav").touch()
    recording = Recording(torch.zeros(10), RATE, RATE, 1, 0)
    monkeypatch.setattr("wavenet.training.dataset.io.read", lambda *args, **options: recording)
    dataset = read_dataset(
        DataConfig(folder=str(tmp_path), validation_fraction=fraction),
        RATE,
        with_receptive_field(16),
    )
    assert (len(dataset.train), len(dataset.validation)) == (100 - held_out, held_out)


def test_held_out_files_are_spread_over_the_folder(tmp_path, monkeypatch):
    for n in range(40):
        (tmp_path / f"{n:02}.wav").touch()
    recording = Recording(torch.zeros(10), RATE, RATE, 1, 0)
    monkeypatch.setattr("wavenet.training.dataset.io.read", lambda *args, **options: recording)
    held = read_dataset(DataConfig(folder=str(tmp_path)), RATE, with_receptive_field(16)).validation
    assert [clip.source for clip in held] == ["19.wav", "39.wav"]


def test_a_segment_has_at_least_one_sample(folder):
    """Regression: a length that rounds to 0 samples raised a ZeroDivisionError."""
    dataset = read_dataset(
        DataConfig(folder=str(folder), max_seconds=1e-9), RATE, with_receptive_field(2)
    )
    assert {clip.samples - clip.context for clip in dataset.train} == {1}


def test_the_values_of_a_field_are_sorted():
    clips = [make_clip(10, n, {"digit": d}) for n, d in enumerate("3103")]
    assert label_values(clips, "digit") == ("0", "1", "3")


def test_a_field_that_a_clip_lacks_is_named():
    clips = [make_clip(10, 0, {"digit": "1"}), make_clip(10, 1, {"speaker": "x"})]
    with pytest.raises(DataError, match=r"clip1\.wav has no field 'digit'; its fields: speaker"):
        label_values(clips, "digit")
    with pytest.raises(DataError, match="its fields: none"):
        label_values([make_clip(10)], "digit")


def test_the_end_of_long_files_is_held_out_if_files_are_few(tmp_path):
    """Regression: three recordings of minutes had no validation clips."""
    for n, samples in enumerate((4000, 1000, 90)):
        soundfile.write(tmp_path / f"{n}.wav", sine(samples, 300).numpy(), RATE)

    def lengths(**changes):
        data = DataConfig(folder=str(tmp_path), max_seconds=100 / RATE, **changes)
        dataset = read_dataset(data, RATE, with_receptive_field(16))
        return [
            [(c.source, c.start + c.context) for c in part]
            for part in (dataset.train, dataset.validation, dataset.test)
        ]

    train, held, test = lengths()
    assert held == [("0.wav", 3800), ("0.wav", 3900), ("1.wav", 900)]
    assert len(train) == 38 + 9 + 1
    assert not test
    assert not lengths(validation_fraction=0.0)[1]
    # a third is a whole file
    assert {source for source, _ in lengths(validation_fraction=0.34)[1]} == {"2.wav"}


def write_levels(folder):
    """Write a usual file, one beyond full scale, one that nearly cancels and one that cancels."""
    tone = np.asarray(sine(400))
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone, RATE, subtype="FLOAT")
    soundfile.write(folder / "b.wav", np.where(tone > 0.4, 3.0, tone), RATE, subtype="FLOAT")
    soundfile.write(folder / "c.wav", np.stack([tone, -0.9 * tone], 1), RATE, subtype="FLOAT")
    soundfile.write(folder / "d.wav", np.stack([tone, -tone], 1), RATE, subtype="FLOAT")
    return folder


def test_files_beyond_full_scale_and_cancelling_channels_are_named(tmp_path):
    data = DataConfig(folder=str(write_levels(tmp_path / "audio")), validation_fraction=0)
    dataset = read_dataset(data, RATE, with_receptive_field(16))
    assert len(dataset.train) == 3
    (skipped,) = dataset.skipped
    assert "d.wav: its channels cancel each other" in skipped
    assert (dataset.levels.over, dataset.levels.over_count) == (("b.wav",), 1)
    assert dataset.levels.peak == 3
    assert (dataset.levels.cancelled, dataset.levels.cancelled_count) == (("c.wav",), 1)


def test_channel_and_normalize_are_settings_of_the_data(tmp_path):
    folder = write_levels(tmp_path / "audio")
    data = DataConfig(folder=str(folder), validation_fraction=0, channel="left", normalize=True)
    dataset = read_dataset(data, RATE, with_receptive_field(16))
    assert (len(dataset.train), dataset.skipped) == (4, [])
    assert dataset.levels.scaled_count == 1
    assert (dataset.levels.over_count, dataset.levels.cancelled_count) == (0, 0)
    tone, loud, *others = (clip.waveform for clip in dataset.train)
    assert all(torch.equal(other, tone) for other in others)
    assert loud.max() == 1
    rest = tone < 0.4
    assert torch.allclose(loud[rest], tone[rest] / 3, atol=1e-7)


def test_a_long_stereo_file_is_read_if_its_mono_samples_fit(tmp_path, monkeypatch):
    """The limit is about memory: not the frames and channels of the file count."""
    stereo = np.stack([np.asarray(sine(4000))] * 2, 1)
    soundfile.write(tmp_path / "a.wav", stereo, 2 * RATE)
    data = DataConfig(folder=str(tmp_path), validation_fraction=0)
    monkeypatch.setattr("wavenet.training.dataset.MAX_RECORDING_SAMPLES", 2000)
    assert read_dataset(data, RATE, with_receptive_field(16)).train[0].total_samples == 2000
    monkeypatch.setattr("wavenet.training.dataset.MAX_RECORDING_SAMPLES", 1999)
    with pytest.raises(DataError, match="too long"):
        read_dataset(data, RATE, with_receptive_field(16))
