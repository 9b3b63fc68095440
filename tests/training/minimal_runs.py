"""Minimal runs in separate processes, and functions that wait for them."""

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

ENDLESS = 1_000_000  # steps: more than any test waits for
RECIPE = """
name = "minimal"
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
def minimal_runs(tmp_path, monkeypatch):
    """Provide the recipe `minimal` and one thread; kill the processes of `tmp_path / "runs"`."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "minimal.toml").write_text(RECIPE)
    monkeypatch.setattr(run_process, "BUILT_IN", tmp_path / "recipes")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    yield
    for name in list_runs(tmp_path / "runs"):
        control = run_process.read_control(tmp_path / "runs" / name)
        if control and run_process.is_starting(tmp_path / "runs" / name):
            os.kill(control.pid, signal.SIGKILL)


def write_recordings(folder):
    """Write three short tones."""
    for n in range(3):
        io.write(folder / f"low_{n}.wav", sine(800, 200 + n), RATE)


def make_plan(steps=ENDLESS, **values):
    """Return the plan of a minimal run."""
    defaults = {"name": "first", "recipe": "minimal", "steps": steps, "sample_seconds": 0.1}
    return RunPlan(**defaults | values)


def wait_for(folder, state, saved_step=0, clips=0):
    """Wait until a run has this state, saved this step, and generated this many clips."""
    deadline = time.monotonic() + 90
    while (
        (status := read_status(folder)).state != state
        or status.saved_step < saved_step
        or len(status.preview_clips) < clips
    ):
        can_change = status.is_active or status.state == state
        log = (folder / run_process.LOG_FILE).read_text()
        assert can_change and time.monotonic() < deadline, (status, log)
        time.sleep(0.05)
    return status


def wait_for_end(pid):
    """Wait until a process has ended and its parent has waited for it: no zombie is left."""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return True
