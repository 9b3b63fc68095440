"""The Analyse tab: look at any recording, hear what 8 bits do to it, see what surprises a model.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `analysis` does the work behind
the buttons.
"""

import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.ui import analysis, jobs, sounds
from wavenet.ui.controls import (
    MAX_LABEL_SETS,
    MAX_NUMBERS,
    MODEL_QUEUE,
    SIGNAL_QUEUE,
    show_checkpoint,
)
from wavenet.ui.live import Stops

EMPTY = (
    "<p class='empty'>Waveform, surprise under a model, spectrogram, mel, MFCC, loudness and pitch "
    "of a recording (WAV, FLAC, OGG, MP3) appear here, all on one time axis. Press Example to see "
    "them at once.</p>"
)
# Numbers the scores, so that one can be stopped; the number goes with the inputs, as the first.
SCORE_JS = """(run, ...rest) => {
  const stop = document.getElementById('score-stop');
  stop.run = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // no other page can stop it
  return [stop.run, ...rest];
}"""
# A window of the score may take a second: until then the page says that it has heard.
STOP_JS = """() => {
  const note = document.querySelector('#score-status .note');
  if (note?.textContent.startsWith('Scoring')) note.textContent = 'Stopping …';
  return document.getElementById('score-stop').run ?? null;
}"""
ALT_TEXTS = {
    "strip": "Surprise of the model: bits per sample over time",
    "waveform": "Waveform: amplitude over time",
    "spectrogram": "Spectrogram: level of every frequency over time",
    "mel": "Mel spectrogram: level in every mel band over time",
    "mfcc": "MFCC: cepstral coefficients over time",
    "mfcc-delta": "Deltas of the MFCC over time",
    "mfcc-delta-delta": "Deltas of the deltas of the MFCC over time",
    "loudness": "Level of the recording, and of the error of 8 bits, over time",
    "pitch": "Pitch in Hz over time",
    "histogram": "Histogram of the mu-law codes",
}


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    shown: dict[str, Any] = {}
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            recording, analyse, example = _inputs()
            shown["status"] = gr.HTML(elem_id="analysis-status")
            shown |= _numbers()
            checkpoint, labels, shown["again"], stop = _model(root)
            run = gr.Number(0, precision=0, visible=False)
            shown["score_facts"] = gr.HTML(elem_id="score-facts")
            shown |= _files()
        with gr.Column(scale=3, min_width=300):
            shown |= _pictures()
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, **private}
    outputs = [shown[name] for name in analysis.OUTPUTS]
    stops = Stops()
    draw: dict[str, Any] = {
        "fn": updates(analysis.show_signal),
        "inputs": recording,
        "outputs": outputs,
    }
    score: dict[str, Any] = {
        "fn": updates(analysis.until_stopped(partial(analysis.show_score, root), stops)),
        "inputs": [run, recording, checkpoint, *labels],
        "outputs": outputs,
        "js": SCORE_JS,
    }
    made = example.click(analysis.make_example_file, None, recording, **SIGNAL_QUEUE, **private)
    for press in (analyse.click, made.success):
        press(**draw, **SIGNAL_QUEUE, **private).success(**score, **MODEL_QUEUE, **private)
    shown["again"].click(**score, **MODEL_QUEUE, **private)
    stop.click(stops.add, run, js=STOP_JS, trigger_mode="multiple", **quick)
    # Not `change`, which the example would set off as well.
    news = [recording.upload, recording.clear, recording.stop_recording]
    gr.on(news, updates(analysis.clear), None, outputs, **quick)
    checkpoint.input(partial(show_labels, root), checkpoint, labels, **quick)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [checkpoint, *labels], **quick)
    page.load(analysis.warm_up, **SIGNAL_QUEUE, **private)


def updates(
    work: Callable[..., Iterator[analysis.Update]],
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """Give updates by name as Gradio takes them: one value for every output, none too soon."""

    def listed(*values: Any) -> Iterator[tuple[Any, ...]]:
        due = 0.0
        for update in work(*values):
            time.sleep(max(0.0, due - time.monotonic()))
            # copies, for Gradio takes the value out of what it sends, and it may be sent again
            yield tuple(copy(update.get(name, gr.skip())) for name in analysis.OUTPUTS)
            due = time.monotonic() + jobs.PACE_SECONDS

    return listed


def show_page(root: Path) -> list[Any]:
    """List the checkpoints that there are now, and the labels of the first."""
    names = jobs.list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_labels(root, first)]


def show_labels(root: Path, name: str | None) -> list[Any]:
    """Fit number fields and dropdowns to a checkpoint: an update for each of `_model`'s labels."""
    return show_checkpoint(root, name)[-MAX_NUMBERS - MAX_LABEL_SETS :]


def _inputs() -> tuple[gr.Audio, gr.Button, gr.Button]:
    recording = gr.Audio(
        type="filepath",
        sources=["upload", "microphone"],
        format=None,
        buttons=["download"],
        label=f"Recording, up to {sounds.MAX_SECONDS:.0f} s",
        elem_id="recording",
    )
    with gr.Row():
        analyse = gr.Button("Analyse", variant="primary", elem_id="analyse", min_width=120)
        example = gr.Button("Example", elem_id="example", min_width=120)
    return recording, analyse, example


def _numbers() -> dict[str, Any]:
    shown: dict[str, Any] = {"facts": gr.HTML(elem_id="facts")}
    with gr.Column(visible=False) as shown["listen"]:
        for name, label in (("original", "Recording, one channel"), ("coarse", "In 8-bit mu-law")):
            shown[name] = gr.Audio(
                type="filepath",
                interactive=False,
                buttons=["download"],
                format=None,
                label=label,
                elem_id=f"sound-{name}",
            )
    return shown


def _model(root: Path) -> tuple[gr.Dropdown, list[Any], gr.Button, gr.Button]:
    names = jobs.list_checkpoints(root)
    checkpoint = gr.Dropdown(
        names, value=names[0] if names else None, label="Surprise under", elem_id="judge"
    )
    with gr.Row():
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABEL_SETS)]
    with gr.Row():
        again = gr.Button("Score again", elem_id="score-again", interactive=False, min_width=120)
        stop = gr.Button("Stop", elem_id="score-stop", min_width=120)
    return checkpoint, [*numbers, *labels], again, stop


def _files() -> dict[str, Any]:
    with gr.Row():
        buttons = {
            name: gr.DownloadButton(
                label, interactive=False, size="md", elem_id=name, min_width=120
            )
            for name, label in (("features", "Features (.npz)"), ("bits", "Surprise (.npz)"))
        }
    return buttons


def _pictures() -> dict[str, Any]:
    shown: dict[str, Any] = {"empty": gr.HTML(EMPTY, elem_id="analysis-empty")}
    with gr.Column(visible=False, elem_classes="pictures") as shown["pictures"]:
        first, *others = analysis.PICTURES
        shown[first] = _picture(first)
        shown["score"] = gr.HTML(elem_id="score-status")
        for name in ("strip", *others):
            shown[name] = _picture(name)
    return shown


def _picture(name: str) -> gr.Image:
    return gr.Image(
        type="filepath",
        interactive=False,
        visible=False,
        show_label=False,
        buttons=["download", "fullscreen"],
        alt_text=ALT_TEXTS[name],
        elem_id=f"picture-{name}",
    )
