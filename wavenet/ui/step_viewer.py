"""The step view: a component that shows the predictions of some steps one at a time.

Input: steps. Output: one message for the page. `sampling_rules.js` applies the rules of
`wavenet.sampling` to it, `step_charts.js` and `heatmap.js` draw, and `step_viewer.js` moves through
the steps. A slider therefore needs no request to the server. Called by the Watch sampling tab.
"""

import base64
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.codec import Codec, MuLawCodec
from wavenet.likelihood.step_view import StepView
from wavenet.model.wavenet import require_wavenet

ELEMENT_ID = "step-viewer"
# A mixture over 65,536 codes is shown as a histogram; its bins are the 256 codes of this codec.
SHOWN_CODEC = MuLawCodec()
MAX_VALUES = 320_000  # parameters of all predictions in a message: 0.86 MB in base64
MAX_ROWS = 64  # in a heat map; for deeper networks a row is the mean of neighbouring layers
MAX_CONTEXT = 4000  # samples of the waveform before the first step
MAX_LEVEL = (1 << 16) - 1  # highest level of quantised logits
_HERE = Path(__file__).parent
_TEMPLATE = """
<div class="step-viewer" data-state="empty">
  <p class="status" role="status" aria-live="polite">Press Watch. The model generates a clip at
  temperature 1 without guidance, and this view shows its prediction before every sample.</p>
  <p class="announcement" aria-live="polite"></p>
  <div class="panel" tabindex="0" role="group" aria-label="Step view. Space plays and pauses, the
  left and right arrow keys step, Home and End go to the first and last step.">
    <div class="transport">
      <div class="buttons">
        <button type="button" data-action="back" aria-label="Step back" title="Step back (←)">
          <svg class="icon" viewBox="0 0 16 16"><path d="M3 2h2v12H3zM13 2v12L5 8z"/></svg></button>
        <button type="button" data-action="play" aria-label="Play" title="Play or pause (space)">
          <svg class="icon" viewBox="0 0 16 16"><path class="play" d="M4 2v12l9-6z"/>
          <path class="pause" d="M3 2h4v12H3zM9 2h4v12H9z"/></svg></button>
        <button type="button" data-action="step" aria-label="Step forward"
          title="Step forward (→)">
          <svg class="icon" viewBox="0 0 16 16"><path d="M3 2v12l8-6zM11 2h2v12h-2z"/></svg>
        </button>
      </div>
      <label class="scrub"><span>Step <output data-key="step"></output></span>
        <input type="range" name="current" min="0" step="1" aria-label="Step"></label>
      <label class="speed"><span>Speed <output data-key="speed"></output></span>
        <input type="range" name="speed" min="1" max="60" step="1" value="8"
          aria-label="Speed in steps per second"></label>
    </div>
    <figure><figcaption><span><b>Waveform so far</b> amplitude, <span data-key="time">
      </span></span>
      <span class="legend"><span><i class="key field"></i>receptive field</span></span>
      </figcaption>
      <svg class="waveform" role="img" aria-label="Waveform up to this step"></svg></figure>
    <figure><figcaption><span><b>Prediction</b> probability of each
      <span data-key="kind">class</span></span>
      <span class="legend"><span><i class="key reshaped"></i>with these settings</span>
      <span><i class="key original"></i>without</span>
      <span><i class="key actual"></i><span data-key="origin">sampled</span></span>
      <span class="resampled-key"><i class="key resampled"></i>sampled with these settings</span>
      </span></figcaption>
      <svg class="probabilities" role="img"></svg></figure>
    <div class="settings">
      <label><span>Temperature <output data-key="temperature"></output></span>
        <input type="range" name="temperature" min="0.1" max="2" step="0.05" value="1"></label>
      <label><span>Top-k <output data-key="topK"></output></span>
        <input type="range" name="topK" min="0" step="1" value="0"></label>
      <label><span>Top-p <output data-key="topP"></output></span>
        <input type="range" name="topP" min="0.05" max="1" step="0.01" value="1"></label>
      <label class="tick"><input type="checkbox" name="log"> Log scale</label>
      <button type="button" data-action="reset">Reset</button>
    </div>
    <dl></dl>
    <div class="maps">
      <figure data-map="gates"><figcaption><span><b>Gated outputs</b> mean |output| of each layer
        </span></figcaption>
        <div class="map"><div class="layers"></div><div class="heat"><canvas role="img"></canvas>
        <i class="cursor"></i></div></div><div class="scale"></div><p class="now"></p></figure>
      <figure data-map="skips"><figcaption><span><b>Skip connections</b> RMS of each layer
        </span></figcaption>
        <div class="map"><div class="layers"></div><div class="heat"><canvas role="img"></canvas>
        <i class="cursor"></i></div></div><div class="scale"></div><p class="now"></p></figure>
    </div>
  </div>
</div>
"""
# Concatenated in this order: they share their top-level names.
_SCRIPTS = ("sampling_rules.js", "heatmap.js", "step_charts.js", "step_viewer.js")


def make_step_viewer() -> gr.HTML:
    """Build the component; its value is one message for `step_viewer.js`, at first None."""
    scripts = [(_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return gr.HTML(
        None,
        html_template=_TEMPLATE,
        css_template=(_HERE / "step_viewer.css").read_text(encoding="utf-8"),
        js_on_load="\n".join(scripts),
        elem_id=ELEMENT_ID,
    )


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
) -> dict[str, Any]:
    """Return the message that shows steps; about 0.3 MB for 400 steps of 256 classes.

    Args:
        checkpoint: the checkpoint that predicted the steps.
        steps: predictions, gates and skips.
        codes: (end,) int64, the clip from its first sample to the last step.
        noise: (n,) the uniforms that selected the codes; None for a recording.
        title: one line that describes the clip.
    """
    model = require_wavenet(checkpoint.model, "the view of steps")
    config, codec = checkpoint.config, checkpoint.codec
    count, receptive_field = steps.codes.numel(), model.config.receptive_field
    context = min(receptive_field, MAX_CONTEXT, steps.first)
    kind = config.model.output.kind
    is_mixture = kind != "categorical"
    shown_codec = SHOWN_CODEC if is_mixture else codec
    amplitudes = shown_codec.decode(torch.arange(shown_codec.n_classes))
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
        "waveform": pack(codec.decode(codes[steps.first - context :]), "<f4"),
        "amplitudes": pack(amplitudes, "<f4"),
        **(_pack_mixture(steps.params, codec) if is_mixture else _pack_logits(steps.params)),
        "layers": _pack_layers(model.config.dilations, steps),
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
    bins = SHOWN_CODEC.encode(codec.decode(torch.arange(size)))
    counts = torch.bincount(bins, minlength=SHOWN_CODEC.n_classes)
    ends = counts.cumsum(0) - 1  # last code of each bin
    edges = (2 * ends.double() + 1) / (size - 1) - 1
    return {"params": pack(params, "<f4"), "edges": pack(edges, "<f8")}


def _pack_layers(dilations: tuple[int, ...], steps: StepView) -> dict[str, Any]:
    """Pack both heat maps, one byte per point, from 0 to the largest value."""
    layers_per_row = -(-len(dilations) // MAX_ROWS)
    packed: dict[str, Any] = {"dilations": dilations, "layersPerRow": layers_per_row}
    for name, values in (("gates", steps.gated_magnitude), ("skips", steps.skips)):
        groups = values.split(layers_per_row, dim=1)
        rows = torch.stack([group.mean(1) for group in groups])  # (rows, n)
        largest = float(rows.max())
        packed[name] = pack((rows / max(largest, 1e-30) * 255).round(), "u1")
        packed[f"{name}Max"] = largest
    return packed
