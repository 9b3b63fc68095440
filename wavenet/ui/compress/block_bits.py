"""A picture of the bits of a compressed file over time, beside the bits of its raw samples.

Input: the path of a compressed file. Output: HTML. Called by `compress_events`.
"""

from pathlib import Path

from wavenet.ui.compress.compressed_uploads import read_blocks
from wavenet.ui.curve_plot import PlotAxis, curve_plot

_TICK_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 300, 1800)
_MAX_TICKS = 6


def plot_block_bits(path: Path) -> str:
    """Return HTML of the bits per sample of every block; "" for a file without samples.

    Raises:
        AudioError, CompressedFileError: the file cannot be read.
    """
    header, blocks = read_blocks(path)
    if not blocks:
        return ""
    rate, bits = header.sample_rate, float(header.bits)
    points, seconds = [], 0.0
    for block in blocks:
        height = 8 * len(block.data) / (block.form.samples * block.form.channels)
        end = seconds + block.form.samples / rate
        points += [(seconds, height), (end, height)]
        seconds = end
    x_axis = PlotAxis("time (s)", 0.0, seconds, time_ticks(seconds))
    y_ticks = [(bits * share, f"{bits * share:g}") for share in (0, 0.25, 0.5, 0.75, 1)]
    y_axis = PlotAxis("bits per sample", 0.0, bits, y_ticks)
    curves = [("compressed", points), ("raw samples", [(0.0, bits), (seconds, bits)])]
    return curve_plot("Bits per sample, block by block", x_axis, y_axis, curves)


def time_ticks(seconds: float) -> list[tuple[float, str]]:
    """Return a few round times from 0 to a duration, with their text."""
    fitting = (step for step in _TICK_SECONDS if seconds / step <= _MAX_TICKS)
    step = min(seconds, next(fitting, seconds))
    return [(n * step, f"{n * step:g}") for n in range(int(seconds / step) + 1)]
