"""The kernels of a state-space model as data for the page.

Input: the model of the page. Output: a message for `kernel_plot.js`. Called by
`receptive_field_tab`.
"""

from typing import Any

from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.errors import WaveNetError
from wavenet.likelihood.effective_field import HORIZON
from wavenet.likelihood.kernel_view import LayerKernel, has_kernels, view_kernels
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.page import Page
from wavenet.ui.page_text import error_sentence

BINS = 240  # more than a screen can show
FLOOR_DB = -80.0  # lowest level of the curves
Message = dict[str, Any]


def show_kernels(page: Page, *, name: str | None) -> dict[str, Message]:
    """Return the kernels of the model of the page; an empty message hides the plot.

    Args:
        page: what all tabs share.
        name: of the checkpoint.
    """
    try:
        checkpoint = load_checkpoint(page.root, name)
    except WaveNetError:  # shown with the model
        return {"kernels": {}}
    if not has_kernels(checkpoint.model):
        return {"kernels": {}}
    try:
        return {"kernels": kernel_message(checkpoint)}
    except WaveNetError as error:
        return {"kernels": {"error": error_sentence(error)}}


def kernel_message(checkpoint: Checkpoint) -> Message:
    """Return the message of the kernels of a state-space model.

    Returns:
        name; rate: Hz; field: number of past samples; floor: dB; edges: as in `KernelView`;
        channels; layers: mean and largest magnitude in each bin, dB relative to the largest of the
        layer, and the shortest, the median and the longest time constant in samples.
    Raises:
        CheckpointError: a kernel is not finite.
    """
    found = view_kernels(checkpoint.model, BINS, HORIZON)
    return {
        "name": checkpoint.config.name,
        "rate": checkpoint.config.audio.sample_rate,
        "field": HORIZON,
        "floor": FLOOR_DB,
        "edges": found.edges,
        "channels": checkpoint.model.config.channels,
        "layers": [_layer_message(layer) for layer in found.layers],
    }


def _layer_message(layer: LayerKernel) -> Message:
    constants, top = layer.time_constants, layer.largest.max().clamp(min=1e-30)
    middle = constants[(len(constants) - 1) // 2]
    return {
        "mean": _levels(layer.mean / top),
        "largest": _levels(layer.largest / top),
        "constants": [float(f"{t:.4g}") for t in (constants[0], middle, constants[-1])],
    }


def _levels(shares: Tensor) -> list[float]:
    levels = 20 * shares.clamp(min=10 ** (FLOOR_DB / 20)).log10()
    return [round(level, 2) for level in levels.tolist()]
