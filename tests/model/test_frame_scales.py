"""The unit of frames from files: right frames pass, other scales are recognised and converted."""

import math

import pytest
import torch

from audio_utils.features import log_mel, mel_spectrogram
from tests.conftest import RATE, sine
from wavenet.errors import ConditionError
from wavenet.model.conditions import (
    F0Condition,
    FramesCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
)
from wavenet.model.frame_features import compute_condition_frames, mel_settings
from wavenet.model.frame_scales import FrameStatistics, measure_statistics, read_scale

HOP = 80
MEL = MelCondition(n_mels=20)
LOUDNESS = LoudnessCondition()
CURVE = FramesCondition(name="curve", columns=2)
WIDE = FrameStatistics(
    name="curve", mean=(0.0, 50.0), std=(0.5, 20.0), low=(-1.0, 0.0), high=(1.0, 100.0)
)


@pytest.fixture
def speech(rng):
    """Compute a sound with vowels, pauses and a hiss."""
    hiss = torch.from_numpy(rng.standard_normal(4000)).float() * 0.002
    vowel = sum(sine(0.5, 150.0 * k) / k**1.5 for k in range(1, 20))
    envelope = torch.sin(torch.arange(4000) * 2 * torch.pi / 2000).clamp(min=0)
    return 0.4 * vowel * envelope + hiss


@pytest.fixture
def energy(speech):
    """Compute the mel energies (F, n_mels) of that sound."""
    return mel_spectrogram(speech, mel_settings(MEL, RATE, HOP)).T


SCALES = {
    "ln": lambda power: power.log(),
    "log10": lambda power: power.log10(),
    "power": lambda power: power,
    "amplitude": lambda power: power.sqrt(),
    "ln-amplitude": lambda power: power.sqrt().log(),
    "log10-amplitude": lambda power: power.sqrt().log10(),
    "model": lambda power: (10 * power.log10() + 30) / 30,
}


def test_decibels_are_the_unit_of_mel_frames(speech):
    decibels = log_mel(speech, mel_settings(MEL, RATE, HOP)).T
    expected = compute_condition_frames(MEL, speech, RATE, HOP)
    assert torch.equal(read_scale(MEL, decibels), expected)
    assert torch.equal(read_scale(MEL, decibels, "db"), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_another_scale_is_refused_and_converted_if_it_is_stated(speech, energy, scale):
    frames = SCALES[scale](energy)
    with pytest.raises(ConditionError) as caught:
        read_scale(MEL, frames)
    found = f"found {float(frames.min()):.4g} to {float(frames.max()):.4g}"
    for words in ("10 log10 of the mel energy (dB)", found, "--frames-scale", "looks like"):
        assert words in str(caught.value)
    expected = compute_condition_frames(MEL, speech, RATE, HOP)
    torch.testing.assert_close(read_scale(MEL, frames, scale), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ("ln", "natural logarithms of power (ln)"),
        ("power", "power (power)"),
        ("amplitude", "amplitude (amplitude)"),
        ("model", "normalised already (model)"),
    ],
)
def test_the_message_names_the_scale(energy, scale, words):
    with pytest.raises(ConditionError) as caught:
        read_scale(MEL, SCALES[scale](energy))
    assert f"looks like {'frames ' if scale == 'model' else ''}{words}" in str(caught.value)


@pytest.mark.parametrize("scale", ["log10", "ln-amplitude"])
def test_scales_that_are_too_similar_are_both_named(energy, scale):
    with pytest.raises(ConditionError) as caught:
        read_scale(MEL, SCALES[scale](energy))
    looks = str(caught.value).partition("looks like ")[2].partition(";")[0]
    assert set(looks.split(" or ")) == {
        "logarithms to base 10 of power (log10)",
        "natural logarithms of amplitude (ln-amplitude)",
    }


def test_frames_from_0_to_1_are_named(energy):
    decibels = 10 * energy.log10()
    scaled = (decibels + 100) / 130
    with pytest.raises(ConditionError, match="normalised to 0 to 1"):
        read_scale(MEL, scaled)


@pytest.mark.parametrize("level", [1e-4, 1e-3, 0.01, 0.03])
def test_quiet_noise_silence_and_tones_in_decibels_pass(rng, level):
    noise = torch.from_numpy(rng.standard_normal(4000)).float() * level
    for sound in (noise, torch.zeros(4000), sine(0.5) * level, 2 * sine(0.5)):
        decibels = log_mel(sound, mel_settings(MEL, RATE, HOP)).T
        expected = compute_condition_frames(MEL, sound, RATE, HOP)
        assert torch.equal(read_scale(MEL, decibels), expected)


def test_decibels_of_loud_noise_pass_if_they_are_stated(rng):
    noise = torch.from_numpy(rng.uniform(-1, 1, 4000)).float() * 0.5
    decibels = log_mel(noise, mel_settings(MEL, RATE, HOP)).T
    with pytest.raises(ConditionError, match="db"):
        read_scale(MEL, decibels)
    expected = compute_condition_frames(MEL, noise, RATE, HOP)
    assert torch.equal(read_scale(MEL, decibels, "db"), expected)


def test_values_below_silence_are_silence_and_far_above_the_training_are_refused():
    silence = torch.full((3, 20), -100.0)
    assert torch.equal(read_scale(MEL, silence - 60), read_scale(MEL, silence))
    loud = silence.clone()
    loud[1, 2] = 61
    with pytest.raises(ConditionError, match=r"up to 40 .*found -100 to 61"):
        read_scale(MEL, loud, "db")
    quiet = FrameStatistics(name="mel", mean=(-50.0,), std=(9.0,), low=(-90.0,), high=(-20.0,))
    loud[1, 2] = 1
    with pytest.raises(ConditionError, match="up to -20 with a mean of -50"):
        read_scale(MEL, loud, "db", quiet)
    loud[1, 2] = 0
    assert torch.equal(read_scale(MEL, loud, "db", quiet), read_scale(MEL, loud, "db"))


def test_scales_that_do_not_exist_or_do_not_fit_are_refused():
    frames = torch.full((4, 20), -0.5)
    with pytest.raises(ConditionError, match="power is never negative"):
        read_scale(MEL, frames, "power")
    for condition, scale in ((MEL, "dB"), (CURVE, "db"), (MfccCondition(), "ln")):
        with pytest.raises(ConditionError, match=f"found '{scale}'"):
            read_scale(condition, torch.zeros(4, condition.columns), scale)


def test_loudness_is_in_decibels(speech):
    frames = compute_condition_frames(LOUDNESS, speech, RATE, HOP)
    decibels = frames * 20 - 40
    torch.testing.assert_close(read_scale(LOUDNESS, decibels), frames)
    amplitude = 10 ** (decibels / 20)
    for wrong, words in ((frames, "model"), (amplitude, "amplitude")):
        with pytest.raises(ConditionError, match=words):
            read_scale(LOUDNESS, wrong)
    torch.testing.assert_close(read_scale(LOUDNESS, amplitude, "amplitude"), frames)


def test_mfcc_are_coefficients_of_decibels(speech):
    condition = MfccCondition(n_mels=20)
    frames = compute_condition_frames(condition, speech, RATE, HOP)
    torch.testing.assert_close(read_scale(condition, frames * 100), frames)
    with pytest.raises(ConditionError, match="normalised already"):
        read_scale(condition, frames)
    assert torch.equal(read_scale(condition, frames, "model"), frames)


def test_pitch_is_in_octaves():
    condition = F0Condition()
    hertz, voiced = torch.tensor([0.0, 110.0, 220.0]), torch.tensor([0.0, 1.0, 1.0])
    octaves = (hertz.clamp(min=1) / 100).log2() * voiced
    right = torch.stack([octaves, voiced], dim=1)
    assert torch.equal(read_scale(condition, right), right)
    with pytest.raises(ConditionError, match="found 0 to 220, which looks like Hz"):
        read_scale(condition, torch.stack([hertz, voiced], dim=1))
    with pytest.raises(ConditionError, match="0 or 1, voiced; found 0 to 100"):
        read_scale(condition, torch.stack([octaves, 100 * voiced], dim=1))


def test_own_frames_have_the_range_of_the_training():
    right = torch.stack([torch.linspace(-1, 1, 9), torch.linspace(10, 60, 9)], dim=1)
    assert torch.equal(read_scale(CURVE, right, None, WIDE), right)
    assert torch.equal(read_scale(CURVE, right * 100), right * 100)  # without statistics
    constant = torch.tensor([[0.5, 70.0]]).expand(9, 2)
    assert torch.equal(read_scale(CURVE, constant, None, WIDE), constant)
    with pytest.raises(ConditionError, match=r"column 1 .* was -1 to 1 .*found -100 to 100"):
        read_scale(CURVE, right * 100, None, WIDE)
    with pytest.raises(ConditionError, match=r"was -1 to 1 .*; found -0\.01 to 0\.01"):
        read_scale(CURVE, right / 100, None, WIDE)
    assert torch.equal(read_scale(CURVE, right / 100, "model", WIDE), right / 100)


def test_statistics_are_those_of_the_frames_in_their_unit(speech):
    frames = compute_condition_frames(MEL, speech, RATE, HOP)
    curve = torch.stack([torch.arange(51.0), torch.ones(51)], dim=1)
    mel, own = measure_statistics((MEL, CURVE), torch.cat([frames, curve], dim=1))
    decibels = log_mel(speech, mel_settings(MEL, RATE, HOP)).T
    assert mel.mean == pytest.approx(decibels.mean(dim=0).tolist(), abs=0.01)
    assert mel.pooled[1] == pytest.approx(float(decibels.std(correction=0)), abs=0.01)
    assert mel.pooled[2] == pytest.approx(float(decibels.max()), abs=0.01)
    assert (own.name, own.low, own.high) == ("curve", (0.0, 1.0), (50.0, 1.0))
    assert own.std == (pytest.approx(math.sqrt((51**2 - 1) / 12), rel=1e-4), 0.0)


def test_values_below_any_floor_are_refused():
    frames = torch.linspace(-70, -10, 2000).reshape(100, 20)
    read_scale(MEL, frames)
    with pytest.raises(ConditionError, match="-700"):
        read_scale(MEL, 10 * frames)


@pytest.mark.parametrize("level", [1.0, 0.2, 0.02])
@pytest.mark.parametrize("scale", ["ln", "log10", "ln-amplitude", "log10-amplitude", "model"])
def test_decibels_with_another_stated_scale_are_refused(speech, scale, level):
    """Regression: they were converted again, to levels far below silence, without a word."""
    decibels = log_mel(speech * level, mel_settings(MEL, RATE, HOP)).T
    statistics = measure_statistics((MEL,), compute_condition_frames(MEL, speech, RATE, HOP))[0]
    for known in (None, statistics):
        with pytest.raises(ConditionError) as caught:
            read_scale(MEL, decibels, scale, known)
        assert f" in {scale}, which looks like decibels (db); " in str(caught.value)
        read_scale(MEL, decibels, "db", known)


@pytest.mark.parametrize("scale", ["ln", "log10", "ln-amplitude", "log10-amplitude"])
@pytest.mark.parametrize("level", [1.0, 0.03, 1e-3])
def test_stated_scales_with_quiet_sounds_and_low_floors_pass(speech, scale, level):
    """Quiet recordings, long pauses of very low noise, and silence with a floor of 1e-20."""
    power = mel_spectrogram(speech * level, mel_settings(MEL, RATE, HOP)).T.double()
    pauses = power.clone()
    pauses[: power.shape[0] // 3] *= 1e-12
    floor = power.clone()
    floor[: power.shape[0] * 2 // 3] = 1e-20
    for each in (power, pauses, floor, torch.full_like(power, 1e-20)):
        found = read_scale(MEL, SCALES[scale](each).float(), scale)
        decibels = (10 * each.log10()).clamp(min=-100)
        torch.testing.assert_close(found * 30 - 30, decibels.float(), atol=1e-3, rtol=1e-3)


def test_loudness_and_mfcc_in_decibels_are_not_of_another_stated_scale(speech):
    decibels = compute_condition_frames(LOUDNESS, speech, RATE, HOP) * 20 - 40
    for scale in ("ln", "log10", "model"):
        with pytest.raises(ConditionError, match="looks like decibels"):
            read_scale(LOUDNESS, decibels, scale)
    condition = MfccCondition(n_mels=20)
    coefficients = compute_condition_frames(condition, speech, RATE, HOP) * 100
    with pytest.raises(ConditionError, match="in model, which looks like decibels"):
        read_scale(condition, coefficients, "model")
