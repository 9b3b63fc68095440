"""The progress bar of a training."""

import io
import re

from rich.console import Console

from wavenet.training import progress_report


def test_the_bar_labels_elapsed_and_remaining_time(tmp_path, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr(progress_report, "Console", lambda stderr: console)
    monkeypatch.setattr(progress_report, "_tensorboard_writer", lambda folder, stack: None)
    with progress_report.show_progress(10, tmp_path) as show:
        show({"step": 3, "loss_bits": 2.0, "samples_per_second": 100.0})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"3/10 loss 2\.000 .* elapsed 0:00:0\d remaining \S*:", text)
