"""A number derived from the recording: the loudness around each frame, without any label."""

import math
from itertools import islice

import pytest
import soundfile
import torch

from audio_utils.features import rms_level
from wavenet import checkpoint
from wavenet.errors import ConditionError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.model.conditions import NumberCondition
from wavenet.model.frame_features import measure_loudness
from wavenet.sampling import SamplingConfig
from wavenet.training.batches import collate, training_batches
from wavenet.training.dataset import Dataset, TrainingClip, read_dataset
from wavenet.training.recipe import DataConfig

from . import CODEC, RATE, build_model, make_clip, make_config, make_settings, sine, train

LOUDNESS = NumberCondition(name="loudness", low=-60, high=-1, unit="dB", derived_from="loudness")
CONFIG = make_config((LOUDNESS,))
HOP = CONFIG.model.condition_hop


def derived_levels(clip, gain=1.0):
    (values,) = collate([clip], CODEC, CONFIG.model, [gain]).conditions
    return values["loudness"]


@pytest.mark.parametrize("start", [0, 4000, 4003])
def test_a_derived_number_is_the_level_around_each_frame_wherever_the_clip_begins(start):
    """A tone that gets louder: a segment has the levels of the whole recording, at its frames."""
    whole = torch.linspace(0.1, 0.9, 20_000) * sine(20_000, 1000, 1.0)
    first, hop = start // HOP, HOP
    clip = TrainingClip(
        whole[start : start + 9000], {}, start, 20_000, 0, "louder.wav", first_frame=first
    )
    found = derived_levels(clip, 0.5)
    there = torch.arange(first, (start + 9000) // hop) * hop
    expected = 20 * torch.log10(0.5 * 0.5**0.5 * (0.1 + 0.8 * there / 20_000))
    expected = expected.clamp(LOUDNESS.low, LOUDNESS.high)
    inner = slice(60, -60)  # at the mirrored ends the level does not rise
    assert len(found) > len(there)
    torch.testing.assert_close(found[: len(there)][inner], expected[inner], atol=0.1, rtol=0)
    torch.testing.assert_close(found[: len(there)], expected, atol=1.5, rtol=0)
    shifted = found[: len(there)].roll(20)[inner]  # negative control
    assert (shifted - expected[inner]).abs().max() > 0.1


@pytest.mark.parametrize("start", [0, 3999, 4000, 4300])
def test_a_segment_has_the_levels_of_the_whole_recording(start):
    whole = torch.linspace(0.1, 0.9, 20_000) * sine(20_000, 37, 0.9)  # the level oscillates
    first = start // 400
    found = measure_loudness(whole[start : start + 9000], start, first, 400)
    inside = slice(3, 20)  # frames whose windows lie within the segment
    expected = rms_level(whole, 1024, 400)[first:][inside]
    torch.testing.assert_close(found[inside], expected, atol=1e-3, rtol=0)
    assert (found[inside] - expected.roll(1)).abs().max() > 0.1  # negative control


@pytest.mark.parametrize(("gain", "expected"), [(1e-4, -60.0), (30.0, None)])
def test_a_derived_number_is_clamped_to_its_range_and_computed_with_the_limited_gain(
    gain, expected
):
    clip = TrainingClip(sine(9000, 1000, 0.5), {}, 0, 9000, 0, "tone.wav")
    if expected is None:
        expected = 20 * math.log10(0.5**0.5)
    assert float(derived_levels(clip, gain).median()) == pytest.approx(expected, abs=0.02)


def test_a_derived_number_replaces_a_field_and_is_dropped_with_its_probability():
    condition = LOUDNESS.model_copy(update={"dropout": 0.4})
    clips = [make_clip(30, 0, {"loudness": "7", "take": "1"})] * 10
    steps = training_batches(clips, CODEC, make_config((condition,)).model, 300, 6.0, 7)
    rows = [row for step in islice(steps, 100) for row in step.batches[0].conditions]
    levels = [float(row["loudness"].max()) for row in rows if "loudness" in row]
    assert len(levels) / len(rows) == pytest.approx(0.6, abs=0.06)
    assert all(row["take"] == "1" for row in rows)
    assert max(levels) < 0
    assert max(levels) - min(levels) > 6  # dB: they depend on the gain


def test_a_curve_has_a_value_per_frame_and_one_number_holds_for_all_frames():
    model = build_model(CONFIG)
    curve = torch.linspace(-50, -10, 9)

    def biases(level, frame, first=0):
        conditioning = model.conditioning([{"loudness": level}], [9000], first_frame=[first])
        return conditioning.biases(torch.tensor([frame]), 3)

    assert torch.equal(biases(curve, 4, first=4)[:, :2], biases(curve, 0)[:, :2])
    assert torch.equal(biases(curve, 50), biases(-10.0, 0))  # the last value continues
    assert not torch.equal(biases(curve, 4), biases(-10.0, 4))
    both = model.conditioning([{"loudness": curve}, {"loudness": -10.0}], [9000, 9000])
    one, other = (model.conditioning([{"loudness": x}], [9000]) for x in (curve, -10.0))
    joined = one.join(other)
    for found in (both, joined):
        frames = found.biases(torch.tensor([4, 4]), 3)
        assert torch.equal(frames[:1], biases(curve, 4))
        assert torch.equal(frames[1:], biases(-10.0, 4))


def test_a_number_that_is_not_derived_has_one_value():
    plain = NumberCondition(name="level", low=0, high=1)
    with pytest.raises(ConditionError, match="2 numbers"):
        build_model(make_config((plain,))).conditioning([{"level": torch.tensor([0.0, 1.0])}], [90])
    with pytest.raises(ConditionError, match="3 numbers"):
        build_model(CONFIG).conditioning([{"loudness": torch.tensor([-5.0, 0.0, -5.0])}], [90])


@pytest.mark.slow
def test_a_trained_model_is_as_loud_as_requested(tmp_path):
    """Two levels of one tone in files without fields: only the number distinguishes them."""
    clips = [
        TrainingClip(
            sine(400, 1000, amplitude, noise=amplitude / 20, seed=n), {}, 0, 400, 0, f"{n}.wav"
        )
        for n, amplitude in enumerate((0.02, 0.5) * 8)
    ]
    settings = make_settings(
        steps=250,
        samples_per_step=1600,
        learning_rate=0.02,
        gain_db=0.0,
        muon_learning_rate=0.02,
        validate_every=250,
        save_every=250,
    )
    train(CONFIG, settings, Dataset(train=clips), tmp_path / "run")
    loaded = checkpoint.load(tmp_path / "run" / "checkpoint")
    quiet, loud = (20 * math.log10(0.5**0.5 * amplitude) for amplitude in (0.02, 0.5))
    items = [
        GenerationRequest(400, {"loudness": level}, seed)
        for seed in range(4)
        for level in (quiet, loud)
    ]
    clips_made = generate_waveforms(loaded, items, SamplingConfig())
    levels = torch.stack([clip[100:].square().mean().sqrt() for clip in clips_made])
    assert float(levels[1::2].median()) > 2 * float(levels[::2].median())


def test_a_folder_needs_no_field_for_it(tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(4000).numpy(), RATE)
    data = DataConfig(folder=str(tmp_path), max_seconds=0.1, validation_fraction=0.2)
    dataset = read_dataset(data, RATE, CONFIG.model)
    found = derived_levels(dataset.validation[0])
    assert float(found.median()) == pytest.approx(20 * math.log10(0.5 * 0.5**0.5), abs=0.1)
