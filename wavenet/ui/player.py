"""The live player: chunks of sound enter, the page plays them without a gap.

Python sends small dicts; `player.js` schedules them with WebAudio, counts what it lost, and draws.
The browser numbers the runs, so that what still arrives of a stopped run is not played.
"""

import base64
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from torch import Tensor

ELEMENT_ID = "live-player"
_HERE = Path(__file__).parent
_TEMPLATE = """
<div class="player" data-state="idle">
  <canvas height="96" aria-hidden="true"></canvas>
  <p class="status" role="status" aria-live="polite">Press Generate: you hear the model while it
  works.</p>
  <dl>
    <div><dt>Ahead</dt><dd data-key="ahead">–</dd></div>
    <div><dt>Speed</dt><dd data-key="speed">–</dd></div>
    <div><dt>Gaps</dt><dd data-key="gaps">–</dd></div>
    <div><dt>Lost</dt><dd data-key="lost">–</dd></div>
  </dl>
</div>
"""
# In the handler of the click, for Safari lets sound begin nowhere else. The run's number goes
# with the inputs, in place of the first.
# On a slow machine the page may show the button before the player is there: then it waits.
START_JS = f"""async (run, ...rest) => {{
  const player = () => document.getElementById('{ELEMENT_ID}')?.player;
  while (!player()) await new Promise((done) => setTimeout(done, 50));
  return [player().start(), ...rest];
}}"""
# Gives the number of the run that was stopped, or null, to the server.
STOP_JS = f"() => document.getElementById('{ELEMENT_ID}').player.stop()"
SETTLE_JS = f"() => document.getElementById('{ELEMENT_ID}').player.settle()"


def make_player(rate: int) -> gr.HTML:
    """Make the component; its value is one message for `player.js`.

    Args:
        rate: Hz, so that a sound output of that rate can be opened by the click itself.
    """
    # Not a subclass: Gradio would write a stub file beside the source.
    return gr.HTML(
        {"rate": rate},
        html_template=_TEMPLATE,
        css_template=(_HERE / "player.css").read_text(encoding="utf-8"),
        js_on_load=(_HERE / "player.js").read_text(encoding="utf-8"),
        elem_id=ELEMENT_ID,
    )


def pcm16(waveform: Tensor) -> bytes:
    """Quantise to little-endian int16, by the same rule as `audio_utils.io.write`."""
    scaled = np.rint(waveform.numpy().astype(np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype("<i2").tobytes()


def chunk_message(
    run: int, sequence: int, rate: int, total: int, speed: float, waveform: Tensor
) -> dict[str, Any]:
    """Pack one chunk.

    Args:
        run: the browser's number of the run.
        sequence: 0, 1, 2, ..: a missing one is a lost chunk.
        total: samples of the whole clip.
        speed: seconds of audio made per second of work so far.
    """
    pcm = base64.b64encode(pcm16(waveform)).decode("ascii")
    return {"run": run, "seq": sequence, "sr": rate, "total": total, "speed": speed, "pcm": pcm}


def end_message(run: int, sequence: int, error: str | None = None) -> dict[str, Any]:
    """Say that nothing more comes: `sequence` chunks were sent, or why it failed."""
    return {"run": run, "seq": sequence, "end": True, "error": error}
