"""Names and values of --set and --frames: all commands understand the same spellings."""

import json

import numpy as np
import pytest

from tests.cli.conftest import assert_refused
from tests.conftest import tiny_config


@pytest.mark.parametrize("assignment", ["digit=a", "Digit=a", "DIGIT= A", "digit=A "])
def test_generate_understands_other_spellings(run_command, tiny, tmp_path, assignment):
    out = tmp_path / "clip.wav"
    options = ("--seconds", 0.02, "--out", out, "--json", "--checkpoint", tiny)
    code, printed, err = run_command("generate", "--set", assignment, *options)
    assert code == 0, err
    assert json.loads(printed)["labels"] == {"digit": "a"}


def test_score_understands_other_spellings(run_command, tiny, tone):
    scores = [
        run_command("score", tone, "--checkpoint", tiny, "--set", assignment)
        for assignment in ("digit=b", "Digit=B")
    ]
    assert scores[0] == scores[1]
    assert scores[0][0] == 0


@pytest.mark.parametrize(
    ("assignment", "words"),
    [("digti=a", "did you mean 'digit'"), ("digit=d", "choose one of a, b, c")],
)
def test_all_commands_ask_about_a_close_name(run_command, tiny, tone, assignment, words):
    options = ("--checkpoint", tiny, "--set", assignment)
    assert_refused(run_command("generate", *options), words)
    assert_refused(run_command("score", tone, *options), words)


def test_two_spellings_of_one_condition_are_refused(run_command, tiny):
    options = ("--checkpoint", tiny, "--set", "digit=a", "--set", "Digit=b")
    assert_refused(run_command("generate", *options), "digit is set twice")


def test_names_of_frames_too(run_command, make_checkpoint, tmp_path):
    folder = make_checkpoint(tiny_config(conditions="frames")).folder
    np.save(tmp_path / "c.npy", np.zeros((11, 3), np.float32))
    generate = ("generate", "--checkpoint", folder, "--out", tmp_path / "clip.wav")
    frames = f"={tmp_path / 'c.npy'}"
    assert_refused(run_command(*generate, "--frames", "curv" + frames), "did you mean 'curve'")
    twice = ("--frames", "curve" + frames, "--frames", "Curve" + frames)
    assert_refused(run_command(*generate, *twice), "curve is set twice")
    assert run_command(*generate, "--frames", "Curve" + frames)[0] == 0
