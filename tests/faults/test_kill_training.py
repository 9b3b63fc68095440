"""A training that is killed at any moment leaves a complete snapshot, from which it continues."""

import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training import make_config, make_dataset, make_settings, train

STEPS = 100_000  # never reached
KILL_SECONDS = (0.02, 0.25)
# The first records exist after about this time, also on a slow machine.
START_SECONDS = 20.0


def train_in_a_child(folder: Path) -> int:
    """Start or resume a training that saves every step in a forked process; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        sys.stderr = io.StringIO()  # the progress bar
        settings = make_settings(steps=STEPS, save_every=1, validate_every=STEPS)
        train(make_config(), settings, make_dataset(), folder, resume=bool(snapshots_of(folder)))
    finally:
        os._exit(1)


def snapshots_of(folder: Path) -> list[Path]:
    """Return the complete snapshots of a run, the oldest first."""
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix != ".tmp")


def newest_step(folder: Path) -> int:
    found = snapshots_of(folder)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def kill_during_training(folder: Path, seconds: float) -> int:
    """Kill a training after its first new step and some seconds; return its last recorded step."""
    before = newest_step(folder)
    child = train_in_a_child(folder)
    deadline = time.monotonic() + START_SECONDS
    while newest_step(folder) == before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL  # not ended by an error before
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    complete = [line for line in lines if line.endswith("}")]
    return int(json.loads(complete[-1])["step"])


def check_kills(folder: Path, kills: int) -> None:
    """Kill a training several times; check after each that all snapshots can be read."""
    draw = random.Random(1)
    for _ in range(kills):
        recorded = kill_during_training(folder, draw.uniform(*KILL_SECONDS))
        found = snapshots_of(folder)
        assert recorded - newest_step(folder) in (0, 1, 2)  # the record precedes its snapshot
        for path in found:
            info = json.loads((path / "state.json").read_text())
            assert info["step"] == int(path.name.removeprefix("step-"))
            assert load_file(path / "state.safetensors")
    assert len(list(folder.glob("step-*.tmp"))) <= 1


def test_three_kills_leave_complete_snapshots(tmp_path: Path) -> None:
    check_kills(tmp_path / "run", 3)


@pytest.mark.slow
def test_a_hundred_kills_leave_complete_snapshots(tmp_path: Path) -> None:
    check_kills(tmp_path / "run", 100)
