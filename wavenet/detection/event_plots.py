"""A plot of the events of a recording: waveform above, mean excess below.

Input: a waveform, its excess and its events. Output: a matplotlib figure. Called by `wavenet
surprise`.
"""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audio_utils.plots import LINE_COLOUR, MAX_COLUMNS, SECOND_COLOUR
from wavenet.detection.events import Event
from wavenet.detection.window_means import to_samples, window_means

SIZE_INCHES = (9.0, 4.2)
SHOWN_SECONDS = 0.008  # window of the curve


def plot_events(
    waveform: Tensor, excess: Tensor, sample_rate: int, events: Sequence[Event]
) -> Figure:
    """Draw a recording and its surprise over time, with the events shaded.

    Args:
        waveform: (T,) float32.
        excess: (T,) bits per sample.
        sample_rate: Hz.
        events: of the recording.
    """
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    means = window_means(excess, to_samples(SHOWN_SECONDS, sample_rate))
    for axes, values in ((above, waveform), (below, means)):
        seconds, low, high = _ranges(values, sample_rate)
        axes.fill_between(seconds, low, high, linewidth=0.5, color=LINE_COLOUR)
        axes.set_xlim(0, waveform.numel() / sample_rate)
        for event in events:
            # with an outline, because a short event could vanish between two pixels
            axes.axvspan(event.start, event.end, color=SECOND_COLOUR, alpha=0.3, linewidth=1.5)
    above.set_ylabel("amplitude")
    below.set_ylabel("bits above expected")
    below.set_xlabel("time (s)")
    count = "1 improbable place" if len(events) == 1 else f"{len(events)} improbable places"
    above.set_title(count, loc="left", fontsize=10)
    return figure


def _ranges(values: Tensor, sample_rate: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds, minimum and maximum of up to `MAX_COLUMNS` equal groups of samples."""
    group = -(-len(values) // MAX_COLUMNS)
    missing = -len(values) % group
    groups = torch.cat([values, values[-1:].expand(missing)]).view(-1, group)
    seconds = (torch.arange(len(groups)) + 0.5) * group / sample_rate
    return seconds.tolist(), groups.amin(1).tolist(), groups.amax(1).tolist()
