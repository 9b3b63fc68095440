"""The live player: the page plays chunks of audio without gaps while they are generated.

Input: chunks of audio. Output: messages for `live_player.js`, which schedules the chunks with
WebAudio, counts lost chunks and draws the waveform. The browser numbers the jobs, and ignores late
messages of a stopped job. Called by the tabs Generate and Effects.
"""

import base64
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from torch import Tensor

from wavenet.ui.templates import scripted_html

ELEMENT_ID = "live-player"
STARTERS = "#generate, #say, #speak, #resynthesise"  # buttons that start a job; the first waits
RESULTS_ID = "results"  # of what a new job makes old
# Length of the first chunk; the player needs this much audio to start (MIN_BUFFER_SECONDS in
# live_player.js).
FIRST_CHUNK_SECONDS = 0.2


def make_player(
    sample_rate: int,
    element_id: str = ELEMENT_ID,
    button: str = "Generate",
    starters: str = STARTERS,
    results_id: str = RESULTS_ID,
    controls: str = "",
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> gr.HTML:
    """Build the component; its value is one message for `live_player.js`.

    Args:
        sample_rate: Hz; the click handler opens the audio output with this rate.
        element_id: of the component.
        button: text of the button that starts a job.
        starters: selector of the buttons that start a job; the first is disabled during a job.
        results_id: of the element that a new job makes old.
        controls: template of further controls below the status.
        scripts, styles: names of files of these controls, as in `scripted_html`.
    """
    return scripted_html(
        "generate/live_player",
        element_id,
        start_message(sample_rate, button),
        scripts=scripts,
        styles=styles,
        element_id=element_id,
        button=button,
        starters=starters,
        results_id=results_id,
        controls=controls,
    )


def encode_pcm16(waveform: Tensor) -> bytes:
    """Quantise to little-endian int16, by the same rule as `audio_utils.io.write`."""
    scaled = np.rint(waveform.numpy().astype(np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype("<i2").tobytes()


def chunk_message(
    job_number: int, sequence: int, sample_rate: int, total: int, speed: float, waveform: Tensor
) -> dict[str, Any]:
    """Return the message for one chunk.

    Args:
        job_number: number of the job, from the browser.
        sequence: 0, 1, 2, ..; a missing number is a lost chunk.
        sample_rate: Hz.
        total: samples of the whole clip.
        speed: seconds of audio generated per second of compute time so far.
        waveform: (T,), or (T, channels).
    """
    pcm = base64.b64encode(encode_pcm16(waveform)).decode("ascii")
    return {
        "job": job_number,
        "sequence": sequence,
        "rate": sample_rate,
        "total": total,
        "speed": speed,
        "pcm": pcm,
        "channels": 1 if waveform.ndim == 1 else waveform.shape[1],
    }


def start_message(sample_rate: int, button: str) -> dict[str, Any]:
    """Return the message before the first job of a model.

    Args:
        sample_rate: of the next job, Hz.
        button: text of the button that starts it.
    """
    return {"rate": sample_rate, "button": button}


def waiting_message(job_number: int, place: int, seconds: float | None) -> dict[str, Any]:
    """Return the message that a job waits for its turn.

    Args:
        job_number: from the browser.
        place: number of jobs before this one.
        seconds: estimated time until the turn, s; None if it is not known.
    """
    return {"job": job_number, "waiting": place, "seconds": seconds}


def end_message(job_number: int, chunks: int, error: str | None = None) -> dict[str, Any]:
    """Return the message that ends a job: all `chunks` were sent, or the error that ended it."""
    return {"job": job_number, "sequence": chunks, "end": True, "error": error}
