"""The guard: which windows it detects as degenerate, and how the commands report them."""

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from tests.generation import CODEC, GUARD, WINDOW, cut_windows, generate_all, make_detector
from wavenet import checkpoint as checkpoints
from wavenet.checkpoint import WindowStatistics
from wavenet.cli.main import run
from wavenet.errors import ConfigError
from wavenet.generation.generate import DEFAULT_GUARD
from wavenet.generation.guard import (
    NOISE,
    SATURATED,
    SILENCE,
    DegenerationDetector,
    GuardConfig,
    measure_windows,
)
from wavenet.generation.request import GenerationRequest
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features


def check(checkpoint, waveform, guard=GUARD):
    return make_detector(checkpoint, guard).check(cut_windows(waveform, guard))


def test_each_degeneration_has_its_reason(flat, rng):
    noise = torch.from_numpy(rng.uniform(-1, 1, 256)).float()
    assert check(flat, noise.sign()) == SATURATED
    assert check(flat, -0.97 - 0.03 * noise.abs()) == SATURATED  # below zero only
    assert check(flat, noise) == NOISE
    assert check(flat, torch.zeros(256)) == SILENCE
    assert check(flat, torch.full((256,), 0.7)) == SILENCE  # silence with an offset


@pytest.mark.parametrize("guard", [GUARD, DEFAULT_GUARD])
def test_loud_sound_below_the_limits_is_accepted(flat, rng, guard):
    """For this model every sound is as surprising as noise, so only the waveform decides."""
    full = 2 * sine(2.0)
    assert float(full.abs().max()) == 1
    for sound in (full, sine(2.0), 2 * sine(2.0, 30.0), 2 * sine(2.0, 1000.0)):
        assert check(flat, sound, guard) is None
    hiss = torch.from_numpy(rng.uniform(-0.05, 0.05, 16_000)).float()
    assert check(flat, hiss, guard) is None
    assert check(flat, 20 * hiss, guard) == NOISE  # negative control


def test_loud_rough_sound_that_the_model_expects_is_accepted(flat):
    """The highest possible tone has the greatest roughness, but is not noise."""
    tone = 0.4 * (-1.0) ** torch.arange(256)
    assert check(flat, tone) == NOISE
    codes = CODEC.encode(tone[:2])
    flat.model.output.bias[codes] = 10
    assert check(flat, tone) is None
    surprise = make_detector(flat).surprise(cut_windows(tone))
    assert float(surprise.mean()) == pytest.approx(1, abs=0.1)


def test_silence_shorter_than_the_limit_is_accepted(flat):
    silence, limit = torch.zeros(4 * WINDOW), 2 * WINDOW
    assert check(flat, silence[: limit - 1]) is None
    assert check(flat, silence[:limit]) == SILENCE
    assert check(flat, torch.cat([sine()[1:200], silence[: limit - 1]])) is None
    assert check(flat, torch.cat([silence, sine()[5:10]])) is None
    breath = 0.001 * (-1.0) ** torch.arange(16_000)  # quiet, but audible
    assert check(flat, breath) is None


def test_less_than_a_window_is_accepted(flat):
    assert check(flat, torch.ones(WINDOW - 1)) is None
    assert check(flat, (-1.0) ** torch.arange(WINDOW - 1)) is None


def test_the_surprise_equals_the_score(make_checkpoint):
    """With context from the prompt, from the clip, and from a history without its beginning."""
    from wavenet.likelihood.score import score

    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    codes = CODEC.encode(sine(0.2))
    bits = score(checkpoint, CODEC.decode(codes)).surprise
    prompt, rest = codes[:100], CODEC.decode(codes[100 : 100 + 8 * WINDOW])
    detector, windows = make_detector(checkpoint, prompt=prompt), cut_windows(rest)
    for last in (1, 2, 8):
        for first in range(0, max(1, last - 2)):
            end = 100 + last * WINDOW
            found = detector.surprise(windows[first:last])
            assert torch.allclose(found, bits[end - WINDOW : end], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window_seconds": 0.0}, "above 0 s"),
        ({"window_seconds": math.nan}, "above 0 s"),
        ({"window_seconds": 5.0}, "1.5; found 5"),
        ({"attempts": -1}, "found -1"),
        ({"noise_rms": 0.9}, "noise_rms, 0.9; found 0.6"),
    ],
)
def test_contradicting_limits_are_rejected(settings, words):
    with pytest.raises(ConfigError, match=words):
        GuardConfig(**settings)


def test_the_command_reports_retries_and_can_omit_the_guard(make_checkpoint, tmp_path, capsys):
    folder = make_checkpoint(tiny_config(1, (1,), "none")).folder
    results = {}
    for options in ((), ("--no-guard",), ("--greedy",)):
        out = tmp_path / f"{len(results)}.wav"
        command = ["generate", "--checkpoint", str(folder), "--seconds", "0.25", "--json"]
        assert run([*command, "--out", str(out), *options]) == 0
        stdout, stderr = capsys.readouterr()
        results[options] = json.loads(stdout)["retries"], stderr, out.read_bytes()
    (retry,), stderr, _ = results[()]
    assert retry == {
        "reason": NOISE, "first": 0, "last": 800, "attempts": 3, "solved": False,
    }  # fmt: skip
    assert f"0.wav: {NOISE}" in stderr
    for number in ("0.10 s", "0.00 s", "3 times"):
        assert number in stderr
    assert results[("--no-guard",)][0] == []
    assert "noise" not in results[("--no-guard",)][1]
    assert results[()][2] != results[("--no-guard",)][2]


def test_a_retry_is_described_with_its_times_and_attempts(make_checkpoint):
    from wavenet.cli.clip_generation import describe_retry
    from wavenet.generation.guard import Retry

    retry = Retry(0, 800, 2400, SILENCE, 1, True)
    described = describe_retry(retry, RATE)
    assert all(word in described for word in (SILENCE, "0.30 s", "0.10 s", "once"))
    assert "without success" not in described
    assert "2 times" in describe_retry(replace(retry, attempts=2), RATE)
    failed = describe_retry(replace(retry, solved=False), RATE)
    assert "once" in failed and "without success" in failed
    greedy = describe_retry(replace(retry, attempts=0, solved=False), RATE)
    assert all(word in greedy for word in (SILENCE, "0.30 s", "greedy"))
    assert "0.10 s" not in greedy


def test_vocode_has_the_option_too(make_checkpoint, tmp_path, capsys):
    import soundfile

    from wavenet.model.conditions import MelCondition

    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(1, (1,), hop=80).model_copy(update={"conditions": (mel,)})
    folder, tone = make_checkpoint(config).folder, tmp_path / "tone.wav"
    soundfile.write(tone, sine(0.3).numpy(), RATE)
    retries = {}
    for option in ("--guard", "--no-guard"):
        out = tmp_path / f"out{option}.wav"
        command = ["vocode", tone, "--checkpoint", folder, "--json", "--out", out, option]
        assert run(list(map(str, command))) == 0
        retries[option] = json.loads(capsys.readouterr().out)["retries"]
    assert retries["--guard"]
    assert retries["--no-guard"] == []


def test_the_guard_never_acts_on_the_shipped_checkpoint(request):
    """No false alarm in clips with the usual settings, and the audio is the same."""
    digits = checkpoints.load(request.config.rootpath / "checkpoints" / "digits")
    requests = [
        GenerationRequest(3440, {"digit": str(k), "speaker": "theo"}, seed=k) for k in range(10)
    ]
    codes, retries = generate_all(digits, requests, "cpu", DEFAULT_GUARD)
    assert retries == []
    assert all(map(torch.equal, codes, generate_all(digits, requests, "cpu", None)[0]))


MEL = MelCondition(n_mels=20, win_length=256, channels=4, context=1)


@pytest.fixture
def flat_vocoder(make_checkpoint):
    """Make a model with a mel condition that predicts all codes with equal probability."""
    config = tiny_config(1, (1,), hop=80).model_copy(update={"conditions": (MEL,)})
    checkpoint = make_checkpoint(config)
    checkpoint.model.output.weight.zero_()
    checkpoint.model.output.bias.zero_()
    return checkpoint


def check_against(checkpoint, waveform, requested, prompt=0):
    """Check the last window of a waveform that was generated from the frames of another."""
    frames = compute_frame_features(checkpoint.config.model, RATE, requested)
    conditioning = checkpoint.model.conditioning([{}], [requested.numel()], [frames])
    before = torch.full((prompt,), 128)
    detector = DegenerationDetector(checkpoint, conditioning, before, DEFAULT_GUARD)
    return detector.check(cut_windows(waveform, DEFAULT_GUARD))


def test_noise_and_silence_that_the_condition_asks_for_are_accepted(flat_vocoder, rng):
    """A vocoder of recordings of rain drew its windows again and again."""
    noise = torch.from_numpy(rng.uniform(-0.5, 0.5, 16_000)).float()
    other_noise = torch.from_numpy(rng.uniform(-0.4, 0.4, 16_000)).float()
    silence, tone, loud = torch.zeros(16_000), sine(2.0), noise.sign()
    for made, requested, reason in (
        (noise, other_noise, NOISE),
        (silence, silence, SILENCE),
        (loud, -loud, SATURATED),
    ):
        assert check_against(flat_vocoder, made, requested) is None
        assert check_against(flat_vocoder, made, tone) == reason  # control


def test_the_request_is_read_at_the_time_of_the_window(flat_vocoder, rng):
    noise = torch.from_numpy(rng.uniform(-0.5, 0.5, 8000)).float()
    requested = torch.cat([noise, sine(1.0)])
    assert check_against(flat_vocoder, noise[:4000], requested) is None
    assert check_against(flat_vocoder, torch.cat([noise, noise]), requested) == NOISE
    # the same samples after a prompt of one second
    assert check_against(flat_vocoder, noise[:4000], requested, prompt=8000) == NOISE


def with_statistics(checkpoint, **fractions):
    """Return the checkpoint with other statistics of its training windows."""
    statistics = WindowStatistics(**{"noisy": 0.0, "saturated": 0.0, "silent": 0.0} | fractions)
    config = checkpoint.config.model_copy(update={"window_statistics": statistics})
    return replace(checkpoint, config=config)


@pytest.mark.parametrize(
    ("name", "low", "high", "reason"),
    [
        ("noisy", 0.02, 0.3, NOISE),
        ("saturated", 0.02, 0.3, SATURATED),
        ("silent", 0.1, 0.5, SILENCE),
    ],
)
def test_what_was_frequent_in_the_training_is_not_degenerate(flat, rng, name, low, high, reason):
    noise = torch.from_numpy(rng.uniform(-1, 1, 256)).float()
    sounds = {NOISE: noise, SATURATED: noise.sign(), SILENCE: torch.zeros(256)}
    assert check(with_statistics(flat, **{name: high}), sounds[reason]) is None
    assert check(with_statistics(flat, **{name: low}), sounds[reason]) == reason
    for other, sound in sounds.items():
        if other != reason:
            assert check(with_statistics(flat, **{name: high}), sound) == other


def test_the_windows_of_recordings_are_counted(rng):
    noise = torch.from_numpy(rng.uniform(-0.5, 0.5, 1600)).float()
    recordings = [torch.cat([noise, torch.zeros(3200)]), noise.sign(), sine(0.65), sine(0.05)]
    found = measure_windows(recordings, RATE, DEFAULT_GUARD)
    # 14 windows of 800 samples: 2 of noise, 4 of silence, 2 saturated (and rough), 6 of a tone
    assert found == WindowStatistics(noisy=round(4 / 14, 4), saturated=0.1429, silent=0.2857)
    assert measure_windows([sine(0.05)], RATE, DEFAULT_GUARD) is None
