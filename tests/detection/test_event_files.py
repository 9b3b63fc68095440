"""Labels of Audacity, and the plot of events."""

import pytest
import torch
from matplotlib.figure import Figure

from tests.conftest import RATE
from wavenet.detection.event_files import format_labels, write_labels
from wavenet.detection.event_plots import plot_events
from wavenet.detection.events import Event
from wavenet.errors import FolderError

EVENTS = [Event(0.125, 0.1251, 12.0, 3.04, 0.0005), Event(1.0, 2.5, 0.5, 1.2, 0.128)]


def test_a_label_has_start_end_and_text_between_tabs():
    lines = [line.split("\t") for line in format_labels(EVENTS).splitlines()]
    assert [len(line) for line in lines] == [3, 3]
    assert [(float(a), float(b)) for a, b, _ in lines] == [(0.125, 0.1251), (1.0, 2.5)]
    assert lines[0] == ["0.125000", "0.125100", "surprise 3.0x"]
    assert format_labels([]) == ""


def test_labels_are_written_and_not_replaced(tmp_path):
    path = tmp_path / "labels.txt"
    write_labels(path, EVENTS)
    assert path.read_text() == format_labels(EVENTS)
    with pytest.raises(FolderError, match="cannot write"):
        write_labels(path, [], replace=False)
    assert path.read_text() == format_labels(EVENTS)


@pytest.mark.parametrize("samples", [1, 700, 30_001])
def test_the_plot_shows_every_event_in_both_panels(samples):
    figure = plot_events(torch.zeros(samples), torch.zeros(samples), RATE, EVENTS)
    assert isinstance(figure, Figure)
    assert [len(axes.patches) for axes in figure.axes] == [2, 2]
