"""The attention map of the Watch sampling tab without a browser: what the page receives."""

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.attention_map import view_attention
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.watch.attention_message import MAX_COLUMNS, attention_message, weight_levels

from .test_watch_tab import unpack, watch


def levels_of(message: dict[str, Any], steps: int) -> np.ndarray:
    """Return the levels (n, rows, columns) of a message."""
    data = zlib.decompress(base64.b64decode(message["levels"]))
    return np.frombuffer(data, "u1").reshape(steps, -1, message["columns"])


def weights_of(message: dict[str, Any], steps: int) -> np.ndarray:
    """Decode the weights as the page does; below the scale they are 0."""
    levels = levels_of(message, steps)
    return np.where(levels > 0, 10.0 ** (message["decades"] * ((levels - 1.0) / 254 - 1)), 0)


def test_quantised_weights_stay_within_the_stated_tolerance() -> None:
    weights = torch.logspace(-4, 0, 1000, dtype=torch.float64)
    levels = weight_levels(weights).double()
    seen = 10 ** (4 * ((levels - 1) / 254 - 1))
    assert ((seen / weights - 1).abs() < 0.0185).all()
    assert weight_levels(torch.tensor([0.0, 9e-5, 1e-4, 1.0])).tolist() == [0, 0, 1, 255]


@pytest.mark.slow
def test_the_map_of_the_watched_clip_is_that_of_the_model(root: Path) -> None:
    *_, message = watch(root, "compare/transformer", {"digit": "3"}, start=0.1, steps=20)
    shown = message["attention"]
    assert (shown["blocks"], shown["heads"], shown["past"], shown["width"]) == (2, 2, 12, 1)
    checkpoint = load_checkpoint(root, "compare/transformer")
    codes = checkpoint.codec.encode(torch.from_numpy(unpack(message["waveform"], "<f4").copy()))
    first, count = message["first"], message["count"]
    assert message["context"] == 23  # the receptive field; blocks of 12 samples need no more
    whole = torch.cat([torch.full((first - 23,), 128), codes])
    request = GenerationRequest(1600, {"digit": "3"})
    blocks = list(view_attention(checkpoint, request, whole, first))
    expected = torch.cat(blocks, dim=1).numpy()
    assert np.abs(weights_of(shown, count) - expected).max() < 0.02
    assert unpack(shown["older"], "<f4") == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["digits", "compare/gru"])
def test_other_models_have_no_map(root: Path, name: str) -> None:
    *_, message = watch(root, name)
    assert message["attention"] is None


def test_columns_are_sums_of_samples_and_the_rest_is_named() -> None:
    """A clip of 1,000 samples needs 250 columns of 4."""
    torch.manual_seed(0)
    whole = torch.rand(3, 2, 2000).softmax(2)
    shown = attention_message([whole[..., :998], whole[..., :998].flip(1)])
    assert (shown["width"], shown["columns"], shown["isMean"]) == (4, 250, False)
    seen = weights_of(shown, 3)
    assert seen.shape == (3, 4, 250)
    expected = whole[:, 0, 4:8].sum(1).numpy()
    assert seen[:, 0, 1] == pytest.approx(expected, rel=0.02)
    assert seen[:, 3, 1] == pytest.approx(expected, rel=0.02)
    older = unpack(shown["older"], "<f4").reshape(3, 4)
    assert older[:, 1] == pytest.approx(whole[:, 1, 998:].sum(1).numpy(), rel=1e-4)


def test_large_maps_have_fewer_columns_and_means_of_heads() -> None:
    """64 blocks of 16 heads are 64 rows; the message stays below 3.4 MB."""
    torch.manual_seed(0)
    block = torch.rand(400, 16, 512).softmax(2)
    shown = attention_message([block] * 64)
    assert shown["isMean"] and shown["heads"] == 1
    assert shown["columns"] < MAX_COLUMNS
    levels = levels_of(shown, 400)
    assert levels.shape[1] == 64 and levels.size <= 2_500_000
    mean = block.mean(1)[:, : shown["width"]].sum(1).numpy()
    assert weights_of(shown, 400)[:, 5, 0] == pytest.approx(mean, rel=0.02)
