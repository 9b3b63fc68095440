"""The progress bar of a training."""

import io
import re

import pytest
from rich.console import Console

from wavenet.training import progress_report


@pytest.fixture
def screen(monkeypatch):
    """Return what is printed to a terminal."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr(progress_report, "Console", lambda stderr, quiet: console)
    monkeypatch.setattr(progress_report, "_tensorboard_writer", lambda folder, stack: None)
    return screen


def test_the_bar_labels_elapsed_and_remaining_time(tmp_path, screen):
    with progress_report.show_progress(10, tmp_path) as show:
        show({"step": 3, "loss_bits": 2.0, "samples_per_second": 100.0})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"3/10 loss 2\.000 .* elapsed 0:00:0\d remaining \S*:", text)


def test_lines_show_the_time_left_and_the_note(tmp_path, screen):
    step = {"loss_bits": 2.0, "samples": 200, "samples_per_second": 2.0}
    with progress_report.show_progress(10, tmp_path) as show:
        show({**step, "step": 4, "note": "with 1 thread"})
        show({**step, "step": 5, "bits_per_sample": 2.5})
    lines = screen.getvalue()
    assert "with 1 thread" in lines
    assert "2 samples/s, 0:08:20 left" in lines  # 5 steps of 200 samples
