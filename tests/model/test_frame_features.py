"""Frames of local conditions: computed from recordings, given as arrays, refused."""

import numpy as np
import pytest
import torch

from tests.conftest import RATE, sine
from wavenet.errors import ConditionError
from wavenet.model.conditions import (
    F0Condition,
    FramesCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
)
from wavenet.model.frame_features import (
    apply_gain_db,
    compute_frame_features,
    frame_count,
    read_array,
)
from wavenet.model.wavenet import WaveNetConfig

HOP = 80


def config_with(*conditions) -> WaveNetConfig:
    return WaveNetConfig(
        residual_channels=4,
        gate_channels=4,
        skip_channels=4,
        dilations=(1,),
        conditions=conditions,
        condition_hop=HOP,
    )


MEL, MFCC = MelCondition(n_mels=40), MfccCondition(n_mfcc=12, n_mels=40)
PITCH, LOUDNESS = F0Condition(), LoudnessCondition()
CURVE = FramesCondition(name="curve", columns=3)


def tone_in_noise(rng, seconds=0.4) -> torch.Tensor:
    tone = sine(seconds, 220.0)
    return 0.3 * tone + 0.01 * torch.from_numpy(rng.standard_normal(len(tone))).float()


@pytest.mark.parametrize("condition", [MEL, MFCC, PITCH, LOUDNESS], ids=lambda c: c.kind)
@pytest.mark.parametrize("samples", [1, 79, 80, 1601])
def test_there_is_a_frame_at_every_hop(rng, condition, samples):
    frames = compute_frame_features(config_with(condition), RATE, tone_in_noise(rng)[:samples])
    assert frames.shape == (frame_count(samples, HOP), condition.columns)
    assert frames.dtype == torch.float32 and torch.isfinite(frames).all()


def test_mel_agrees_with_librosa_in_decibels(rng):
    import librosa

    waveform = tone_in_noise(rng)
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=RATE, n_fft=256, hop_length=HOP, n_mels=40, pad_mode="constant"
    )
    expected = (10 * np.log10(np.maximum(mel, 1e-10)) + 30) / 30
    got = compute_frame_features(config_with(MEL), RATE, waveform)
    assert np.abs(got.numpy() - expected.T).max() < 1e-4
    other = compute_frame_features(config_with(MelCondition(n_mels=40, f_min=50.0)), RATE, waveform)
    assert np.abs(other.numpy() - expected.T).max() > 0.1  # negative control: another lower edge


def test_pitch_is_in_octaves_above_100_hz(rng):
    quiet = 1e-4 * torch.from_numpy(rng.standard_normal(3200)).float()
    frames = compute_frame_features(config_with(PITCH), RATE, torch.cat([sine(0.4, 200.0), quiet]))
    tone, noise = frames[5:30], frames[-20:]
    assert (tone[:, 1] == 1).all() and (tone[:, 0] - 1).abs().max() < 0.02
    assert (noise[:, 1] == 0).float().mean() > 0.8
    assert (noise[noise[:, 1] == 0, 0] == 0).all()


def test_loudness_is_the_level_of_a_sine():
    frames = compute_frame_features(config_with(LOUDNESS), RATE, sine(0.4, 500.0))
    middle = frames[5:30] * 20 - 40
    assert (middle - 20 * np.log10(0.5 / np.sqrt(2))).abs().max() < 0.1


@pytest.mark.parametrize("condition", [MEL, MFCC, PITCH, LOUDNESS], ids=lambda c: c.kind)
def test_a_gain_of_the_recording_is_a_gain_of_its_frames(rng, condition):
    config, waveform = config_with(condition, CURVE), tone_in_noise(rng)
    curve = {"curve": torch.randn(frame_count(len(waveform), HOP), 3)}
    before = compute_frame_features(config, RATE, waveform, curve)
    after = compute_frame_features(config, RATE, waveform * 10 ** (6 / 20), curve)
    torch.testing.assert_close(apply_gain_db(config, before, 6.0), after, atol=2e-3, rtol=1e-3)
    assert torch.equal(apply_gain_db(config, before, 6.0)[:, -3:], curve["curve"])
    if condition is not PITCH:  # negative control
        assert (before - after).abs().max() > 0.1


def test_the_columns_of_conditions_are_in_the_order_of_the_config(rng):
    waveform = tone_in_noise(rng)
    together = compute_frame_features(config_with(LOUDNESS, MEL), RATE, waveform)
    parts = [compute_frame_features(config_with(c), RATE, waveform) for c in (LOUDNESS, MEL)]
    assert torch.equal(together, torch.cat(parts, dim=1))


GOOD = torch.zeros(11, 3)


@pytest.mark.parametrize(
    ("conditions", "has_recording", "arrays", "words"),
    [
        ([CURVE], True, None, ("'curve' is missing", "3 columns", "every 80 samples")),
        ([MEL], False, None, ("'mel' is missing", "recording", "40 columns")),
        ([CURVE], False, {"x": GOOD}, ("no local condition 'x'", "curve")),
        ([], True, {"x": GOOD}, ("no local condition 'x'", "has no local conditions")),
        ([CURVE], False, {"curve": GOOD[:, :2]}, ("curve", "frames x 3; found 11 x 2")),
        ([CURVE], False, {"curve": GOOD[0]}, ("curve", "frames x 3; found 3")),
        ([CURVE], False, {"curve": GOOD[:0]}, ("curve", "frames x 3; found 0 x 3")),
        ([CURVE], False, {"curve": GOOD / 0}, ("curve", "NaN or infinity")),
        ([CURVE, MEL], True, {"curve": GOOD[:5]}, ("found curve 5, mel 11",)),
        ([MelCondition(n_mels=40, f_max=9000.0)], True, None, ("mel cannot be computed: ",)),
    ],
)
def test_frames_that_are_missing_or_do_not_fit_are_named(conditions, has_recording, arrays, words):
    recording = sine(0.1) if has_recording else None
    with pytest.raises(ConditionError) as caught:
        compute_frame_features(config_with(*conditions), RATE, recording, arrays)
    for word in words:
        assert word in str(caught.value)


def test_frames_that_fit_are_taken_as_they_are():
    found = compute_frame_features(config_with(CURVE), RATE, None, {"curve": GOOD + 1})
    assert torch.equal(found, GOOD + 1)


def test_an_array_is_read_without_running_code(tmp_path):
    path = tmp_path / "a.npy"
    np.save(tmp_path / "good.npy", np.arange(6).reshape(2, 3))
    assert torch.equal(read_array(tmp_path / "good.npy"), torch.arange(6.0).reshape(2, 3))
    with pytest.raises(ConditionError, match=r"file .*b\.npy"):
        read_array(tmp_path / "b.npy")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConditionError, match="cannot be read as an array"):
        read_array(path)
    good = (tmp_path / "good.npy").read_bytes()
    huge = good.replace(b"(2, 3), }", b"(2, 3000000000), }")
    assert huge != good
    for content in (b"", b"not an array", b"PK\x03\x04", good[:-1], good[:20], huge):
        path.write_bytes(content)
        with pytest.raises(ConditionError, match="cannot be read as an array"):
            read_array(path)
    np.save(path, np.array(["a"]))
    with pytest.raises(ConditionError, match="array of numbers"):
        read_array(path)
