"""The slow motion: predictions of some steps enter, the page shows them one at a time.

Python sends one dict; `reshape.js` repeats the rules of `wavenet.sampling` on it, `heat.js` and
`curve.js` draw, `steps.js` moves. So a slider acts on the step in view at once, and nothing is
asked of the server.
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

ELEMENT_ID = "steps"
SHOWN_CODEC = MuLawCodec()  # the cells in which a mixture over 16-bit codes is shown
MAX_VALUES = 320_000  # of all predictions together: 0.86 MB in base64
MAX_ROWS = 64  # of a heat map; in deeper networks neighbouring layers share a row, by their mean
MAX_PAST = 4000  # samples of the waveform before the first step
LEVELS = (1 << 16) - 1
_HERE = Path(__file__).parent
_TEMPLATE = """
<div class="slow" data-state="empty">
  <p class="status" role="status" aria-live="polite">Press Watch: the model writes a clip, and you
  see what it expects before every sample.</p>
  <p class="spoken" aria-live="polite"></p>
  <div class="stage" tabindex="0" role="group" aria-label="Slow motion. Space plays and pauses, the
  left and right arrow keys step, Home and End go to the first and last step.">
    <div class="transport">
      <div class="buttons">
        <button type="button" data-do="back" aria-label="One step back" title="Step back (←)">
          <svg class="icon" viewBox="0 0 16 16"><path d="M3 2h2v12H3zM13 2v12L5 8z"/></svg></button>
        <button type="button" data-do="play" aria-label="Play" title="Play or pause (space)">
          <svg class="icon" viewBox="0 0 16 16"><path class="go" d="M4 2v12l9-6z"/>
          <path class="hold" d="M3 2h4v12H3zM9 2h4v12H9z"/></svg></button>
        <button type="button" data-do="step" aria-label="One step on" title="Step on (→)">
          <svg class="icon" viewBox="0 0 16 16"><path d="M3 2v12l8-6zM11 2h2v12h-2z"/></svg>
        </button>
      </div>
      <label class="scrub"><span>Step <output data-key="step"></output></span>
        <input type="range" name="at" min="0" step="1" aria-label="Step"></label>
      <label class="speed"><span>Speed <output data-key="speed"></output></span>
        <input type="range" name="speed" min="1" max="60" step="1" value="8"
          aria-label="Speed in steps per second"></label>
    </div>
    <figure><figcaption><span><b>Waveform so far</b> amplitude, <span data-key="time">
      </span></span>
      <span class="legend"><span><i class="key seen"></i>what the model can hear</span></span>
      </figcaption>
      <svg class="wave" role="img" aria-label="Waveform up to this step"></svg></figure>
    <figure><figcaption><span><b>What it expects next</b> probability of each
      <span data-key="kind">class</span></span>
      <span class="legend"><span><i class="key bars"></i>with these settings</span>
      <span><i class="key own"></i>its own</span>
      <span><i class="key drawn"></i><span data-key="took">drawn</span></span>
      <span class="could"><i class="key again"></i>would draw</span></span></figcaption>
      <svg class="curve" role="img"></svg></figure>
    <div class="settings">
      <label><span>Temperature <output data-key="temperature"></output></span>
        <input type="range" name="temperature" min="0.1" max="2" step="0.05" value="1"></label>
      <label class="classes"><span>Top-k <output data-key="topK"></output></span>
        <input type="range" name="topK" min="0" step="1" value="0"></label>
      <label class="classes"><span>Top-p <output data-key="topP"></output></span>
        <input type="range" name="topP" min="0.05" max="1" step="0.01" value="1"></label>
      <label class="tick"><input type="checkbox" name="log"> Log scale</label>
      <button type="button" data-do="reset">Reset</button>
    </div>
    <dl></dl>
    <div class="maps">
      <figure data-map="gates"><figcaption><span><b>Gates</b> mean |output| of each layer
        </span></figcaption>
        <div class="map"><div class="layers"></div><div class="heat"><canvas role="img"></canvas>
        <i class="cursor"></i></div></div><div class="scale"></div><p class="now"></p></figure>
      <figure data-map="skips"><figcaption><span><b>Skip sum</b> RMS of what each layer adds
        </span></figcaption>
        <div class="map"><div class="layers"></div><div class="heat"><canvas role="img"></canvas>
        <i class="cursor"></i></div></div><div class="scale"></div><p class="now"></p></figure>
    </div>
  </div>
</div>
"""


def make_slow_motion() -> gr.HTML:
    """Make the component; its value is one message for `steps.js`, or None before the first."""
    scripts = [_HERE / name for name in ("reshape.js", "heat.js", "curve.js", "steps.js")]
    return gr.HTML(
        None,
        html_template=_TEMPLATE,
        css_template=(_HERE / "steps.css").read_text(encoding="utf-8"),
        js_on_load="\n".join(script.read_text(encoding="utf-8") for script in scripts),
        elem_id=ELEMENT_ID,
    )


def busy_message(text: str) -> dict[str, Any]:
    """Say what is being done; what was shown before stays, dimmed."""
    return {"busy": text}


def error_message(text: str) -> dict[str, Any]:
    """Say why there is nothing to show."""
    return {"error": text}


def steps_message(
    checkpoint: Checkpoint,
    steps: StepView,
    codes: Tensor,
    noise: Tensor | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Pack steps for the page; about 0.3 MB for 400 steps of 256 classes.

    Args:
        steps: of this checkpoint.
        codes: (last,) int64, the clip from its first sample to the last step.
        noise: (n,) the uniforms that were drawn with; None for a recording.
        title: one line that says what is shown.
    """
    model = require_wavenet(checkpoint.model, "the view of steps")
    config, codec = checkpoint.config, checkpoint.codec
    count, past = steps.codes.numel(), min(model.config.receptive_field, MAX_PAST, steps.first)
    waveform = codec.decode(codes[steps.first - past :])
    kind = config.model.output.kind
    is_mixture = kind != "categorical"
    shown = SHOWN_CODEC if is_mixture else codec
    return {
        "title": title,
        "kind": kind,
        "rate": config.audio.sample_rate,
        "first": steps.first,
        "count": count,
        "past": past,
        "reach": model.config.receptive_field,
        "codes": pack(steps.codes, "<u2"),
        "noise": None if noise is None else pack(noise, "<f4"),
        "waveform": pack(waveform, "<f4"),
        "amplitudes": pack(shown.decode(torch.arange(shown.n_classes)), "<f4"),
        **(_mixture(steps.params, codec) if is_mixture else _classes(steps.params)),
        "layers": _layers(model.config.dilations, steps),
    }


def max_steps(checkpoint: Checkpoint, steps: int) -> int:
    """Give how many steps of a model one message may hold, at most `steps`."""
    return min(steps, MAX_VALUES // checkpoint.model.distribution.n_params)


def quantise(rows: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write each row in 65,536 equal levels between its smallest and largest value.

    Half a level is lost at most, 1/131,070 of the range: of logits that span 40 nats 3e-4 nats, so
    that at temperature T no probability is off by more than a share of 6e-4 / T. Values that were
    in order stay so, but close ones may become equal.

    Args:
        rows: (n, P) float32.
    Returns:
        levels (n, P) uint16; value of level 0 (n,) and height of a level (n,), float32.
    """
    values = rows.double().numpy()
    low = values.min(1).astype(np.float32)
    step = ((values.max(1) - low) / LEVELS).astype(np.float32)
    heights = np.where(step > 0, step, 1)[:, None]
    levels = np.rint((values - low[:, None]) / heights).clip(0, LEVELS)
    return levels.astype("<u2"), low, step


def pack(values: Tensor | np.ndarray, kind: str) -> str:
    """Write numbers as base64; kind is a dtype of numpy, little-endian."""
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    return base64.b64encode(array.astype(kind).tobytes()).decode("ascii")


def _classes(params: Tensor) -> dict[str, Any]:
    levels, low, step = quantise(params)
    return {"levels": pack(levels, "<u2"), "low": pack(low, "<f4"), "height": pack(step, "<f4")}


def _mixture(params: Tensor, codec: Codec) -> dict[str, Any]:
    """Send the few params as they are; `edges` are where the codes of a mu-law cell end."""
    size = codec.n_classes
    cells = SHOWN_CODEC.encode(codec.decode(torch.arange(size)))
    ends = (
        torch.bincount(cells, minlength=SHOWN_CODEC.n_classes).cumsum(0) - 1
    )  # last code of each cell
    edges = (2 * ends.double() + 1) / (size - 1) - 1
    return {"params": pack(params, "<f4"), "edges": pack(edges, "<f8")}


def _layers(dilations: tuple[int, ...], steps: StepView) -> dict[str, Any]:
    """Pack both heat maps, one byte a point, from 0 to the largest value."""
    share = -(-len(dilations) // MAX_ROWS)  # layers in a row
    packed: dict[str, Any] = {"dilations": dilations, "share": share}
    for name, values in (("gates", steps.gates), ("skips", steps.skips)):
        rows = torch.stack([part.mean(1) for part in values.split(share, dim=1)])  # (rows, n)
        largest = float(rows.max())
        packed[name] = pack((rows / max(largest, 1e-30) * 255).round(), "u1")
        packed[f"{name}Max"] = largest
    return packed
