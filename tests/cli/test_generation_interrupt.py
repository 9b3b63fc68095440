"""Ctrl-C in `generate` and `vocode`: complete clips are written, and the message counts them."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tests.conftest import tiny_config
from wavenet.cli.progress_bars import ProgressBar


@pytest.fixture
def interrupt_after(monkeypatch):
    """Return a function: Ctrl-C after a number of samples."""

    def set_limit(limit):
        total = 0.0

        def count(self, amount):
            nonlocal total
            total += amount
            if total >= limit:
                raise KeyboardInterrupt

        monkeypatch.setattr(ProgressBar, "advance", count)

    return set_limit


@pytest.fixture
def generate(run_command, tiny, tmp_path):
    """Return a function that generates clips of 80 samples into a folder."""
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--seconds", 0.01)
    return lambda *options: run_command(*common, "--out", tmp_path / "clips", *options)


def test_the_clips_that_are_complete_are_written_and_counted(
    generate, tmp_path, monkeypatch, interrupt_after
):
    """Regression: any number of clips was generated side by side, and all were lost."""
    monkeypatch.setattr("wavenet.generation.batch_size.MAX_BATCH_CPU", 2)
    interrupt_after(5 * 80)
    code, out, err = generate("--count", 7)
    assert code == 130
    files = [str(tmp_path / "clips" / f"tiny_a_seed{seed}.wav") for seed in range(4)]
    assert out.splitlines() == files
    assert all(soundfile.info(file).frames == 80 for file in files)
    assert sorted(map(str, (tmp_path / "clips").iterdir())) == files
    assert err.splitlines()[-1] == "wavenet: interrupted; 4 of 7 clips were written"


@pytest.mark.parametrize(
    "options", [(), ("--count", 3), ("--beams", 2), ("--engine", "cached", "--json")]
)
def test_without_a_complete_clip_nothing_is_written_and_this_is_said(
    generate, tmp_path, interrupt_after, options
):
    interrupt_after(1)
    code, out, err = generate(*options)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "wavenet: interrupted; nothing was written"
    assert not (tmp_path / "clips").exists()


def test_ctrl_c_while_a_written_clip_is_scored(generate, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("wavenet.cli.clip_generation.compute_bits_per_sample", interrupt)
    code, _, err = generate("--json")
    assert (code, err.splitlines()[-1]) == (130, "wavenet: interrupted; 1 clip was written")
    assert (tmp_path / "clips/tiny_a_seed0.wav").is_file()


@pytest.mark.parametrize("options", [(), ("--candidates", 2)])
def test_vocode_says_that_nothing_was_written(
    run_command, make_checkpoint, tmp_path, interrupt_after, options
):
    from wavenet.model.conditions import MelCondition

    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    folder = make_checkpoint(config, name="vocoder").folder
    np.save(tmp_path / "c.npy", np.full((5, 20), -40, np.float32))
    interrupt_after(1)
    common = ("vocode", tmp_path / "c.npy", "--checkpoint", folder, "--out", tmp_path / "x.wav")
    code, out, err = run_command(*common, *options)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "wavenet: interrupted; nothing was written"
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("python_sigint")
def test_a_real_ctrl_c_is_one_line_and_leaves_no_file(tiny, tmp_path):
    out = tmp_path / "clips"
    command = ["generate", "--checkpoint", tiny, "--set", "digit=a", "--engine", "cached"]
    command += ["--seconds", 600, "--count", 2, "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-m", "wavenet", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stderr.readline()  # the choice, just before the first sample
        assert first.startswith("tiny, digit=a, seed 0 to 1"), first
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, printed) == (130, "")
    assert err == "wavenet: interrupted; nothing was written\n"
    assert not out.exists()
