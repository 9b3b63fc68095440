"""The attention map of the steps as a part of their message for the page.

Input: the weights of each block. Output: one byte per weight, which `attention_map.js` draws.
Called by `watch_events`.
"""

import base64
import zlib
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.ui.watch.step_viewer import MAX_ROWS, pack

MAX_COLUMNS = 256
MIN_COLUMNS = 32
MAX_WEIGHTS = 2_500_000  # in a message, before compression
DECADES = 4  # of the scale: from 0.0001 to 1
TOP = 255  # level of the weight 1; level 0 is below the scale


def attention_message(blocks: Iterable[Tensor]) -> dict[str, Any]:
    """Return the part `attention` of a message; 0.3 MB for 200 steps of 12 heads and 256 samples.

    Args:
        blocks: per block the weights (n, heads, P) of the P samples before each step, the newest
            first, see `view_attention`.
    Returns:
        blocks, heads: numbers; a row is a head of a block, or with `isMean` the mean of its heads;
        past: P; width: samples of a column; columns: their number; decades: of the scale; levels:
        (n, rows, columns), see `weight_levels`, compressed; older: (n, rows) weight of all samples
        that are not shown.
    """
    maps = list(blocks)
    is_mean = sum(weights.shape[1] for weights in maps) > MAX_ROWS
    if is_mean:
        maps = [weights.mean(1, keepdim=True) for weights in maps]
    steps, heads, past = maps[0].shape
    weights = torch.cat(maps, dim=1)  # (n, rows, P)
    affordable = MAX_WEIGHTS // (steps * weights.shape[1])
    width = -(-past // max(MIN_COLUMNS, min(MAX_COLUMNS, affordable)))
    summed = F.pad(weights, (0, -past % width)).unflatten(2, (-1, width)).sum(3)
    levels = weight_levels(summed).numpy().tobytes()
    return {
        "blocks": len(maps),
        "heads": heads,
        "isMean": is_mean,
        "past": past,
        "width": width,
        "columns": summed.shape[2],
        "decades": DECADES,
        "levels": base64.b64encode(zlib.compress(levels, 1)).decode("ascii"),
        "older": pack((1 - weights.sum(2)).clamp(min=0), "<f4"),
    }


def weight_levels(weights: Tensor) -> Tensor:
    """Quantise weights to 255 levels of equal ratio: uint8, 0 below 10**-`DECADES`.

    The error is at most half a level, 1.8 % of the weight.
    """
    shares = 1 + weights.clamp(min=1e-30, max=1).log10() / DECADES
    levels = 1 + (shares * (TOP - 1)).round()
    return torch.where(shares >= 0, levels, 0).to(torch.uint8)
