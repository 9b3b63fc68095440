"""Options without effect are refused in one sentence; defaults of the settings file are not."""

import json

import numpy as np
import pytest

from tests.cli.conftest import assert_refused
from tests.conftest import tiny_config

BEAMS = "has no effect with --beams"
GREEDY = "has no effect with --greedy, which selects the most likely code"


@pytest.fixture
def curve(make_checkpoint, tmp_path):
    """Return a checkpoint conditioned on frames, and a file with frames."""
    np.save(tmp_path / "c.npy", np.zeros((5, 3), np.float32))
    return make_checkpoint(tiny_config(conditions="frames"), name="curve").folder, tmp_path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--frames-scale ln", "--frames-scale is for frames; add --frames NAME=FILE.npy"),
        ("--channel left", "--channel is for the recording of --prompt; add --prompt"),
        ("--channel mix", "--channel is for the recording of --prompt"),
        ("--normalize", "--normalize is for the recording of --prompt"),
        ("--without-prompt", "--without-prompt is for the recording of --prompt"),
        ("--with-prompt", "--with-prompt is for the recording of --prompt"),
        *(
            (f"--beams 2 {option}", f"{option.split()[0]} {BEAMS}")
            for option in ("--temperature 0.5", "--top-k 5", "--top-p 0.5", "--guidance 1")
        ),
        *(
            (f"--beams 2 {option}", f"{option.split()[0]} {BEAMS}")
            for option in ("--precision fp32", "--threads 1", "--guard", "--greedy", "--seed 0")
        ),
        ("--beams 2 --engine cached", f"--engine {BEAMS}"),
        ("--beams 2 --count 2", "--beams does not use seeds and returns one clip; omit --count"),
        ("--greedy --count 2", "--greedy does not use seeds and returns one clip; omit --count"),
        ("--greedy --temperature 0.5", f"--temperature {GREEDY}"),
        ("--greedy --top-k 5", f"--top-k {GREEDY}"),
        ("--greedy --top-p 0.5", f"--top-p {GREEDY}"),
        ("--engine cached --threads 1", "--threads is for the engine cpu, found cached"),
    ],
)
def test_generate_refuses_options_without_effect(run_command, tiny, tmp_path, options, sentence):
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "-o", tmp_path / "x.wav")
    assert_refused(run_command(*common, *options.split()), f"wavenet: {sentence}")
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--channel left", "--channel is for recordings; "),
        ("--normalize", "--normalize is for recordings; "),
        ("--candidates 2 --guard", "--guard has no effect with --candidates"),
        ("--greedy --top-p 0.5", f"--top-p {GREEDY}"),
        ("--engine cached --threads 2", "--threads is for the engine cpu, found cached"),
    ],
)
def test_vocode_refuses_options_without_effect(run_command, curve, options, sentence):
    folder, here = curve
    common = ("vocode", here / "c.npy", "--checkpoint", folder, "-o", here / "x.wav")
    assert_refused(run_command(*common, *options.split()), f"wavenet: {sentence}")
    assert not (here / "x.wav").exists()


@pytest.mark.parametrize(
    "options",
    [
        "--no-greedy --temperature 0.5 --count 2",
        "--beams 2 --no-guard --device cpu",
        "--prompt a_tone_0.wav --channel left --normalize --without-prompt",
        "--engine cpu --threads 1",
        "--greedy --seed 3",
    ],
)
def test_options_with_an_effect_are_accepted(
    run_command, tiny, tone, tmp_path, monkeypatch, options
):
    monkeypatch.chdir(tmp_path)
    common = ("generate", "-c", tiny, "-s", "digit=a", "-t", 0.02, "-o", tmp_path)
    code, _, err = run_command(*common, *options.split())
    assert code == 0, err


def test_defaults_from_the_settings_file_are_never_refused(
    run_command, tiny, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    path = tmp_path / "settings/wavenet-studio/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('engine = "cached"\nseed = 7\nthreads = 1\n')
    common = ("generate", "-c", tiny, "-s", "digit=a", "-t", 0.01, "-o", tmp_path, "--json")
    code, out, err = run_command(*common, "--beams", 2)
    assert code == 0, err
    record = json.loads(out)
    assert (record["seed"], record["file"]) == (None, str(tmp_path / "tiny_a_beams2.wav"))
    assert "seed" not in err
    code, out, err = run_command(*common)
    assert (code, json.loads(out)["seed"]) == (0, 7), err
    words = "--threads is for the engine cpu, found cached"
    assert_refused(run_command(*common, "--threads", 1), words)
    (tmp_path / "m.jsonl").write_text('{"id": "x", "digit": "a", "seconds": 0.01}\n')
    batch = ("batch", tmp_path / "m.jsonl", "-c", tiny, "-o", tmp_path / "clips", "--dry-run")
    assert run_command(*batch)[0] == 0
    assert_refused(run_command(*batch, "--threads", 1), words)
    assert run_command(*batch, "--threads", 1, "--engine", "cpu")[0] == 0
