"""The guard: what it takes for run away, and whom it tells."""

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from tests.generation import SMALL, WINDOW, line_of, make, watch_of
from wavenet import checkpoint, codec
from wavenet.cli.main import run
from wavenet.errors import ConfigError
from wavenet.generation.generate import DEFAULT_GUARD
from wavenet.generation.guard import NOISE, SATURATED, SILENCE, GuardConfig
from wavenet.generation.request import GenerationRequest


def fault(loaded, waveform, guard=SMALL):
    return watch_of(loaded, guard).check(line_of(waveform, guard))


def test_each_way_to_run_away_is_named(flat, rng):
    noise = torch.from_numpy(rng.uniform(-1, 1, 256)).float()
    assert fault(flat, noise.sign()) == SATURATED
    assert fault(flat, -0.97 - 0.03 * noise.abs()) == SATURATED  # below zero only
    assert fault(flat, noise) == NOISE
    assert fault(flat, torch.zeros(256)) == SILENCE
    assert fault(flat, torch.full((256,), 0.7)) == SILENCE  # at an offset it is silence, too


@pytest.mark.parametrize("guard", [SMALL, DEFAULT_GUARD])
def test_loud_but_sane_sound_is_let_through(flat, rng, guard):
    """A model to which everything is as surprising as noise: only the sound speaks for itself."""
    full = 2 * sine(2.0)
    assert float(full.abs().max()) == 1
    for sound in (full, sine(2.0), 2 * sine(2.0, 30.0), 2 * sine(2.0, 1000.0)):
        assert fault(flat, sound, guard) is None
    hiss = torch.from_numpy(rng.uniform(-0.05, 0.05, 16_000)).float()
    assert fault(flat, hiss, guard) is None
    assert fault(flat, 20 * hiss, guard) == NOISE  # the control


def test_loud_rough_sound_that_the_model_expects_is_let_through(flat):
    """The highest tone there is: as rough as can be, and no noise."""
    tone = 0.4 * (-1.0) ** torch.arange(256)
    assert fault(flat, tone) == NOISE
    ends = codec.encode(tone[:2])
    flat.model.output.bias[ends] = 10
    assert fault(flat, tone) is None
    assert float(watch_of(flat).surprise(line_of(tone)).mean()) == pytest.approx(1, abs=0.1)


def test_silence_shorter_than_the_limit_is_let_through(flat):
    quiet, limit = torch.zeros(4 * WINDOW), 2 * WINDOW
    assert fault(flat, quiet[: limit - 1]) is None
    assert fault(flat, quiet[:limit]) == SILENCE
    assert fault(flat, torch.cat([sine()[1:200], quiet[: limit - 1]])) is None
    assert fault(flat, torch.cat([quiet, sine()[5:10]])) is None
    breath = 0.001 * (-1.0) ** torch.arange(16_000)  # one can hear that somebody is there
    assert fault(flat, breath) is None


def test_what_is_shorter_than_a_window_is_not_judged(flat):
    assert fault(flat, torch.ones(WINDOW - 1)) is None
    assert fault(flat, (-1.0) ** torch.arange(WINDOW - 1)) is None


def test_the_surprise_is_that_of_the_score(make_checkpoint):
    """With context from the prompt, from the clip, and from a line whose beginning is gone."""
    from wavenet.likelihood.score import score

    loaded = make_checkpoint(tiny_config(conditions="none"))
    codes = codec.encode(sine(0.2))
    bits = score(loaded, codec.decode(codes)).bits
    prompt, rest = codes[:100], codec.decode(codes[100 : 100 + 8 * WINDOW])
    watch, line = watch_of(loaded, prompt=prompt), line_of(rest)
    for last in (1, 2, 8):
        for first in range(0, max(1, last - 2)):
            end = 100 + last * WINDOW
            found = watch.surprise(line[first:last])
            assert torch.allclose(found, bits[end - WINDOW : end], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 0.0}, "above 0 s"),
        ({"window": math.nan}, "above 0 s"),
        ({"window": 5.0}, "at most silence_seconds, 1.5; found 5"),
        ({"attempts": -1}, "0 or more, found -1"),
        ({"noise_rms": 0.9}, "must be loud"),
    ],
)
def test_limits_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        GuardConfig(**settings)


def test_the_command_tells_of_it_and_can_be_told_not_to(make_checkpoint, tmp_path, capsys):
    folder = make_checkpoint(tiny_config(1, (1,), "none")).folder
    told = {}
    for options in ((), ("--no-guard",), ("--greedy",)):
        out = tmp_path / f"{len(told)}.wav"
        command = ["generate", "--checkpoint", str(folder), "--seconds", "0.25", "--json"]
        assert run([*command, "--out", str(out), *options]) == 0
        shown, err = capsys.readouterr()
        told[options] = json.loads(shown)["retries"], err, out.read_bytes()
    (retry,), err, _ = told[()]
    assert retry == {
        "reason": NOISE, "first": 0, "last": 800, "attempts": 3, "solved": False,
    }  # fmt: skip
    assert "0.wav: white noise detected at 0.10 s; drawn again from 0.00 s 3 times" in err
    assert told[("--no-guard",)][0] == []
    assert "noise" not in told[("--no-guard",)][1]
    assert told[()][2] != told[("--no-guard",)][2]


def test_sentences(make_checkpoint):
    from wavenet.cli.clip_generation import describe_retry
    from wavenet.generation.guard import Retry

    retry = Retry(0, 800, 2400, SILENCE, 1, True)
    message = describe_retry(retry, RATE)
    assert message == "dead silence detected at 0.30 s; drawn again from 0.10 s once"
    assert "2 times" in describe_retry(replace(retry, attempts=2), RATE)
    left = describe_retry(replace(retry, attempts=0, solved=False), RATE)
    assert "dead silence detected at 0.30 s" in left and "greedy" in left


def test_vocode_takes_the_flag(make_checkpoint, tmp_path, capsys):
    import soundfile

    from wavenet.model.conditions import MelCondition

    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(1, (1,), hop=80).model_copy(update={"conditions": (mel,)})
    folder, tone = make_checkpoint(config).folder, tmp_path / "tone.wav"
    soundfile.write(tone, sine(0.3).numpy(), RATE)
    told = {}
    for flag in ("--guard", "--no-guard"):
        out = tmp_path / f"out{flag}.wav"
        command = ["vocode", tone, "--checkpoint", folder, "--json", "--out", out, flag]
        assert run(list(map(str, command))) == 0
        told[flag] = json.loads(capsys.readouterr().out)["retries"]
    assert told["--guard"]
    assert told["--no-guard"] == []


def test_the_shipped_checkpoint_is_left_alone(request):
    """No false alarm in clips as people make them, and the audio is what it was."""
    digits = checkpoint.load(request.config.rootpath / "checkpoints" / "digits")
    items = [
        GenerationRequest(3440, {"digit": str(k), "speaker": "theo"}, seed=k) for k in range(10)
    ]
    made, retries = make(digits, items, "cpu", DEFAULT_GUARD)
    assert retries == []
    assert all(map(torch.equal, made, make(digits, items, "cpu", None)[0]))
