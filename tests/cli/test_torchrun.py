"""`torchrun ... -m wavenet train`: one process prints, and all end when one is killed."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import soundfile
import torch

from tests.conftest import RATE, sine
from wavenet.errors import TrainingError
from wavenet.interrupts import stop_on_interrupt

from .conftest import assert_refused

ROOT = Path(__file__).parents[2]
STEPS, SAVE_EVERY = 200, 10
RECIPE = f"""
name = "tones"
[audio]
sample_rate = 8000
[model]
residual_channels = 8
gate_channels = 8
skip_channels = 8
dilations = [1, 2, 4]
[train]
steps = {STEPS}
samples_per_step = 3000
precision = "fp32"
validate_every = 100
save_every = {SAVE_EVERY}
"""
ENDED = "wavenet: another process of this training ended; the snapshots are kept; "
DEADLINE = 200


@pytest.fixture
def tones(tmp_path):
    """Write recordings and a recipe; return the arguments of the command, except --out."""
    torch.set_num_threads(1)
    (tmp_path / "data").mkdir()
    for n in range(8):
        soundfile.write(tmp_path / "data" / f"{n}.wav", sine(0.06 + 0.01 * n, 200 + 50 * n), RATE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return ["train", str(tmp_path / "recipe.toml"), "--data", str(tmp_path / "data")]


@contextmanager
def torchrun(arguments, out, *options):
    """Start two processes that train into a folder; their output goes to OUT.out and OUT.err."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options]
    command += ["--nproc-per-node", "2", "-m", "wavenet", *arguments, "--out", str(out)]
    with out.with_suffix(".out").open("w") as stdout, out.with_suffix(".err").open("w") as stderr:
        started = psutil.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr)
        try:
            yield started
        finally:
            if started.poll() is None:
                for process in [*started.children(recursive=True), started]:
                    process.kill()
                started.wait()


def curve(folder):
    """Return the loss by step."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {record["step"]: record["loss_bits"] for record in map(json.loads, lines)}


def wait_for_step(process, folder, step):
    deadline = time.monotonic() + DEADLINE
    path = folder / "metrics.jsonl"
    while not path.exists() or path.read_text().count("\n") < step:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def second_rank(process):
    """Return the process of rank 1."""
    (found,) = (p for p in process.children() if p.environ().get("RANK") == "1")
    return found


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_one_process_can_resume(tones, tmp_path, run_command):
    out = tmp_path / "run"
    with torchrun(tones, out) as process:
        wait_for_step(process, out, 25)
        second_rank(process).suspend()  # so that the training cannot end first
        assert_refused(run_command(*tones, "--out", out), "is in use by another process", code=1)
        second_rank(process).kill()
        assert process.wait(timeout=30) == 1
    stderr = out.with_suffix(".err").read_text()
    assert stderr.count(f"{ENDED}start the same command again with --resume\n") == 1
    assert stderr.count("reading the recordings\n") == 1
    assert "wavenet/training" not in stderr  # of a traceback
    before = curve(out)
    assert 25 <= len(before) < STEPS
    assert run_command(*tones, "--out", out, "--resume")[0] == 0
    assert list(curve(out)) == list(range(1, STEPS + 1))
    assert run_command(*tones, "--out", tmp_path / "whole")[0] == 0
    whole = curve(tmp_path / "whole")
    assert max(abs(whole[step] - loss) for step, loss in curve(out).items()) < 1e-3
    assert max(abs(whole[step] - loss) for step, loss in before.items()) < 1e-5


def test_sigterm_of_torchrun_does_not_end_a_process_that_reports_an_error():
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with suppress(TrainingError), stop_on_interrupt(is_distributed=True):
            raise TrainingError("another process has ended")
        assert callable(signal.getsignal(signal.SIGTERM))
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)


@pytest.mark.slow
def test_torchrun_restarts_a_killed_training_from_its_newest_step(tones, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "run"
    with torchrun(tones, whole) as process:
        assert process.wait(timeout=DEADLINE) == 0
    with torchrun(tones, out, "--max-restarts", "1") as process:
        wait_for_step(process, out, 25)
        second_rank(process).kill()
        assert process.wait(timeout=DEADLINE) == 0
    stderr = out.with_suffix(".err").read_text()
    assert stderr.count(f"{ENDED}torchrun now restarts the training\n") == 1
    assert out.with_suffix(".out").read_text() == f"{out / 'checkpoint'}\n"
    assert curve(out) == curve(whole)
    last = f"step-{STEPS:09d}/state.safetensors"
    assert (out / last).read_bytes() == (whole / last).read_bytes()


@pytest.mark.slow
def test_an_earlier_run_is_not_resumed_without_the_option(tones, tmp_path, run_command):
    """A restart by torchrun does not resume an earlier run."""
    out = tmp_path / "run"
    assert run_command(*tones, "--out", out)[0] == 0
    before = curve(out)
    with torchrun(tones, out, "--max-restarts", "1") as process:
        assert process.wait(timeout=DEADLINE) == 1
    stderr = out.with_suffix(".err").read_text()
    sentence = f"wavenet: {out} already contains a run; resume it or choose another folder\n"
    assert stderr.count(sentence) == 2  # once for each start
    assert ENDED not in stderr
    assert curve(out) == before


@pytest.mark.slow
def test_ctrl_c_for_torchrun_stops_all_processes_after_their_step(tones, tmp_path):
    out = tmp_path / "run"
    with torchrun(tones, out) as process:
        wait_for_step(process, out, 25)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    stderr = out.with_suffix(".err").read_text()
    assert stderr.count("; continue with the same command and --resume\n") == 1
    assert ENDED not in stderr
    (step,) = {int(p.name.removeprefix("step-")) for p in out.glob("step-*")} & {len(curve(out))}
    assert f"stopped after step {step};" in stderr


@pytest.mark.slow
def test_torchrun_with_one_process_gives_the_same_run(tones, tmp_path, run_command):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "1", "-m", "wavenet", *tones, "--out", str(tmp_path / "one")]
    done = subprocess.run(
        [*command, "--threads", "1"], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert run_command(*tones, "--out", tmp_path / "plain")[0] == 0
    last = f"step-{STEPS:09d}/state.safetensors"
    assert (tmp_path / "one" / last).read_bytes() == (tmp_path / "plain" / last).read_bytes()
