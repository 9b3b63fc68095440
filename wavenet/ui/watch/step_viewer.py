"""The step view: a component that shows the predictions of some steps one at a time.

Input: steps. Output: one message for the page. `sampling_rules.js` applies the rules of
`wavenet.sampling` to it, `step_charts.js`, `heatmap.js` and `attention_map.js` draw, and
`step_viewer.js` moves through the steps. A slider therefore needs no request to the server. Called
by the Watch sampling tab.
"""

import base64
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.codec import Codec, MuLawCodec
from wavenet.likelihood.step_view import LayerActivations, StepView
from wavenet.model.wavenet import WaveNet
from wavenet.ui.templates import scripted_html

ELEMENT_ID = "step-viewer"
# A mixture over 65,536 codes is shown as a histogram; its bins are the 256 codes of this codec.
SHOWN_CODEC = MuLawCodec()
MAX_VALUES = 320_000  # parameters of all predictions in a message: 0.86 MB in base64
MAX_ROWS = 64  # in a heat map; for deeper networks a row is the mean of neighbouring layers
MAX_CONTEXT = 4000  # samples of the waveform before the first step
MAX_LEVEL = (1 << 16) - 1  # highest level of quantised logits
# Joined with step_viewer.js into one script, whose top-level names they share.
_SCRIPTS = (
    "svg_plots",
    "watch/sampling_rules",
    "watch/heatmap",
    "watch/step_charts",
    "watch/attention_map",
)


def make_step_viewer() -> gr.HTML:
    """Build the component; its value is one message for `step_viewer.js`, at first None."""
    return scripted_html("watch/step_viewer", ELEMENT_ID, scripts=_SCRIPTS)


def busy_message(text: str) -> dict[str, Any]:
    """Return the message that shows progress; earlier steps stay visible, dimmed."""
    return {"busy": text}


def error_message(text: str) -> dict[str, Any]:
    """Return the message that shows an error instead of steps."""
    return {"error": text}


def steps_message(
    checkpoint: Checkpoint,
    steps: StepView,
    codes: Tensor,
    noise: Tensor | None = None,
    title: str = "",
    attention: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the message that shows steps; about 0.3 MB for 400 steps of 256 classes.

    Args:
        checkpoint: the checkpoint that predicted the steps.
        steps: predictions, and of a WaveNet gates and skips.
        codes: (end,) int64, the clip from its first sample to the last step.
        noise: (n,) the uniforms that selected the codes; None for a recording.
        title: one line that describes the clip.
        attention: of `attention_message`; None for a model without attention.
    """
    model, config, codec = checkpoint.model, checkpoint.config, checkpoint.codec
    count, receptive_field = steps.codes.numel(), model.receptive_field
    context = min(receptive_field or MAX_CONTEXT, MAX_CONTEXT, steps.first)
    kind = config.model.output.kind
    is_mixture = kind != "categorical"
    shown_codec = SHOWN_CODEC if is_mixture else codec
    return {
        "title": title,
        "kind": kind,
        "rate": config.audio.sample_rate,
        "first": steps.first,
        "count": count,
        "context": context,
        "receptiveField": receptive_field,
        "codes": pack(steps.codes, "<u2"),
        "noise": None if noise is None else pack(noise, "<f4"),
        "waveform": pack(codec.decode(codes)[steps.first - context :], "<f4"),
        "amplitudes": pack(shown_codec.levels, "<f4"),
        **(_pack_mixture(steps.params, codec) if is_mixture else _pack_logits(steps.params)),
        "layers": _pack_layers(model.config.dilations, steps.activations)
        if isinstance(model, WaveNet) and steps.activations is not None
        else None,
        "attention": attention,
    }


def max_steps(checkpoint: Checkpoint, steps: int) -> int:
    """Return how many steps of a model one message may contain, at most `steps`."""
    return min(steps, MAX_VALUES // checkpoint.model.distribution.n_params)


def quantise_rows(rows: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantise each row to 65,536 equal levels between its smallest and largest value.

    The error is at most half a level, 1/131,070 of the range. For logits that span 40 nats this is
    3e-4 nats: at temperature T every probability is correct within a factor of 1 ± 6e-4 / T. The
    order of values is kept, but close values may become equal.

    Args:
        rows: (n, P) float32.
    Returns:
        levels (n, P) uint16; value of level 0 (n,) and height of a level (n,), float32.
    """
    values = rows.double().numpy()
    low = values.min(1).astype(np.float32)
    step = ((values.max(1) - low) / MAX_LEVEL).astype(np.float32)
    heights = np.where(step > 0, step, 1)[:, None]
    levels = np.rint((values - low[:, None]) / heights).clip(0, MAX_LEVEL)
    return levels.astype("<u2"), low, step


def pack(values: Tensor | np.ndarray, dtype: str) -> str:
    """Encode numbers as base64 of a little-endian numpy dtype."""
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    return base64.b64encode(array.astype(dtype).tobytes()).decode("ascii")


def _pack_logits(params: Tensor) -> dict[str, Any]:
    levels, low, step = quantise_rows(params)
    return {"levels": pack(levels, "<u2"), "low": pack(low, "<f4"), "height": pack(step, "<f4")}


def _pack_mixture(params: Tensor, codec: Codec) -> dict[str, Any]:
    """Pack the params unquantised, and the upper edge of each mu-law bin."""
    size = codec.n_classes
    bins = SHOWN_CODEC.encode(codec.levels)
    counts = torch.bincount(bins, minlength=SHOWN_CODEC.n_classes)
    ends = counts.cumsum(0) - 1  # last code of each bin
    edges = (2 * ends.double() + 1) / (size - 1) - 1
    return {"params": pack(params, "<f4"), "edges": pack(edges, "<f8")}


def _pack_layers(dilations: tuple[int, ...], shown: LayerActivations) -> dict[str, Any]:
    """Pack both heat maps, one byte per point, from 0 to the largest value."""
    layers_per_row = -(-len(dilations) // MAX_ROWS)
    packed: dict[str, Any] = {"dilations": dilations, "layersPerRow": layers_per_row}
    for name, values in (("gates", shown.gated_magnitude), ("skips", shown.skips)):
        groups = values.split(layers_per_row, dim=1)
        rows = torch.stack([group.mean(1) for group in groups])  # (rows, n)
        largest = float(rows.max())
        packed[name] = pack((rows / max(largest, 1e-30) * 255).round(), "u1")
        packed[f"{name}Max"] = largest
    return packed
