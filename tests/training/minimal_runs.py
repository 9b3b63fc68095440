"""Runs of almost nothing, in processes of their own, and how tests wait for them."""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from audio_utils import io
from tests.training import RATE, sine
from wavenet.training import run_process
from wavenet.training.run_process import RunPlan
from wavenet.training.run_status import list_runs, read_status

STEPS = 1_000_000  # more than any test waits for
RECIPE = """
name = "twig"
[audio]
sample_rate = 8000
[model]
residual_channels = 4
gate_channels = 4
skip_channels = 4
dilations = [1, 2]
[data]
max_seconds = 0.05
[train]
steps = 4
samples_per_step = 400
validate_every = 2
save_every = 2
"""


@contextmanager
def twigs(tmp_path, monkeypatch):
    """Offer the recipe `twig`, one thread, and leave no process behind in `tmp_path / "runs"`."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "twig.toml").write_text(RECIPE)
    monkeypatch.setattr(child, "BUILT_IN", tmp_path / "recipes")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    yield
    for name in list_runs(tmp_path / "runs"):
        mark = run_process.read_control(tmp_path / "runs" / name)
        if mark and run_process.is_starting(tmp_path / "runs" / name):
            os.kill(mark.pid, signal.SIGKILL)


def fill(folder):
    for n in range(3):
        io.write(folder / f"low_{n}.wav", sine(800, 200 + n), RATE)


def plan(steps=STEPS, **values):
    return RunPlan(**{"name": "first", "recipe": "twig", "steps": steps, "listen": 0.1} | values)


def wait_for(folder, state, saved=0, clips=0):
    """Wait until a run has this state, so many steps saved, and so many clips made."""
    deadline = time.monotonic() + 90
    while (
        (status := read_status(folder)).state != state
        or status.saved < saved
        or len(status.clips) < clips
    ):
        alive = status.is_alive or status.state == state
        assert alive and time.monotonic() < deadline, (
            status,
            (folder / run_process.LOG_FILE).read_text(),
        )
        time.sleep(0.05)
    return status


def gone(pid):
    """Wait until a process has ended and was waited for: no zombie is left."""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return True
