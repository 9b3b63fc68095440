"""The Analyse tab: measures and plots of any recording, 8-bit mu-law, and its surprise by a model.

The layout comes first, then the callbacks: one press of Analyse reads, measures and plots a
recording, then scores it with a model. Input: a folder of checkpoints. Output: widgets with their
events. Called by `studio_app`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import cache, partial
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from matplotlib.figure import Figure
from torch import Tensor

from audio_utils import analysis, io, plots
from audio_utils.audio_formats import READABLE_FORMATS
from audio_utils.errors import AudioError
from audio_utils.example_sound import make_example_sound
from audio_utils.features import FeatureConfig, rms_level
from wavenet.checkpoint import Checkpoint
from wavenet.errors import WaveNetError
from wavenet.likelihood.score import Score, score_windows
from wavenet.ui import recording_measures
from wavenet.ui.checkpoint_controls import (
    MAX_LABELS,
    MAX_NUMBERS,
    condition_values_of_controls,
    show_conditions,
)
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.event_handling import MODEL_QUEUE, SIGNAL_QUEUE, UPDATE_SECONDS, StopRequests
from wavenet.ui.page_text import convert_user_errors, error_note, fact_list, status_note
from wavenet.ui.recording_measures import MeasuredRecording, read_recording

EXAMPLE_RATE = 16_000
# Number of samples that are scored together; a score can be stopped after each window.
SCORE_WINDOW = 16_384
Update = dict[str, Any]
PLACEHOLDER = (
    "<p class='empty'>Waveform, surprise by a model, spectrogram, mel spectrogram, MFCC, loudness "
    f"and pitch of a recording ({READABLE_FORMATS}) appear here on one time axis. Press Example "
    "to try it.</p>"
)
# Numbers the scores, so that each can be stopped; the number replaces the first input.
SCORE_JS = """(job, ...rest) => {
  const stop = document.getElementById('score-stop');
  stop.job = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // unknown to other pages
  return [stop.job, ...rest];
}"""
# The score of a window may need a second; meanwhile the page confirms the press.
STOP_JS = """() => {
  const note = document.querySelector('#score-status .note');
  if (note?.textContent.startsWith('Scoring')) note.textContent = 'Stopping …';
  return document.getElementById('score-stop').job ?? null;
}"""
ALT_TEXTS = {
    "surprise": "Surprise by the model: bits of each sample over time",
    "waveform": "Waveform: amplitude over time",
    "spectrogram": "Spectrogram: level of every frequency over time",
    "mel": "Mel spectrogram: level in every mel band over time",
    "mfcc": "MFCC: cepstral coefficients over time",
    "mfcc-delta": "Delta MFCC: first derivative over time",
    "mfcc-delta-delta": "Delta-delta MFCC: second derivative over time",
    "loudness": "Level of the recording and of its 8-bit quantisation error over time",
    "pitch": "Pitch in Hz over time",
    "histogram": "Histogram of the mu-law codes",
}


def _draw_levels(recording: MeasuredRecording) -> Figure:
    config = FeatureConfig.default_for(recording.sample_rate)
    hop = max(config.hop_length, recording.waveform.numel() // plots.MAX_COLUMNS)
    signals = {
        "recording": recording.waveform,
        "error of 8 bits": recording.waveform - recording.quantised,
    }
    levels = {name: rms_level(x, config.win_length, hop) for name, x in signals.items()}
    return plots.plot_levels(levels, hop / recording.sample_rate, recording.seconds)


# In the order in which they are drawn and shown; the pitch takes longest.
PLOTS: dict[str, Callable[[MeasuredRecording], Figure]] = {
    "waveform": lambda r: plots.plot_waveform(r.waveform, r.sample_rate),
    "spectrogram": lambda r: plots.plot_spectrogram(r.waveform, r.sample_rate),
    "mel": lambda r: plots.plot_mel(r.waveform, r.sample_rate),
    "mfcc": lambda r: plots.plot_mfcc(r.waveform, r.sample_rate),
    "mfcc-delta": lambda r: plots.plot_deltas(r.waveform, r.sample_rate, 1),
    "mfcc-delta-delta": lambda r: plots.plot_deltas(r.waveform, r.sample_rate, 2),
    "loudness": _draw_levels,
    "pitch": lambda r: plots.plot_pitch(*r.pitch, r.seconds),
    "histogram": lambda r: plots.plot_histogram(
        r.codes, recording_measures.EIGHT_BIT_CODEC.n_classes
    ),
}
# Outputs of the analysis, and of the score that follows it.
SIGNAL_OUTPUTS = ("status", "empty", "facts", "listen", "original", "quantised", "features")
SCORE_OUTPUTS = ("score", "surprise", "score_facts", "bits", "score_again_button")
OUTPUTS = (*SIGNAL_OUTPUTS, "plots", *PLOTS, *SCORE_OUTPUTS)


def tab(root: Path) -> None:
    """Build the tab and wire its events.

    Args:
        root: folder of checkpoint folders.
    """
    shown: dict[str, Any] = {}
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            recording, analyse, example = _inputs()
            shown["status"] = gr.HTML(elem_id="analysis-status")
            shown |= _measures()
            checkpoint, conditions, shown["score_again_button"], stop = _model(root)
            job_number = gr.Number(0, precision=0, visible=False)
            shown["score_facts"] = gr.HTML(elem_id="score-facts")
            shown |= _downloads()
        with gr.Column(scale=3, min_width=300):
            shown |= _plots()
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, **private}
    outputs = [shown[name] for name in OUTPUTS]
    stop_requests = StopRequests()
    analysis_event: dict[str, Any] = {
        "fn": as_outputs(analyse_recording),
        "inputs": recording,
        "outputs": outputs,
    }
    score_event: dict[str, Any] = {
        "fn": as_outputs(stoppable(partial(score_recording, root), stop_requests)),
        "inputs": [job_number, recording, checkpoint, *conditions],
        "outputs": outputs,
        "js": SCORE_JS,
    }
    loaded = example.click(write_example, None, recording, **SIGNAL_QUEUE, **private)
    for press in (analyse.click, loaded.success):
        analysed = press(**analysis_event, **SIGNAL_QUEUE, **private)
        analysed.success(**score_event, **MODEL_QUEUE, **private)
    shown["score_again_button"].click(**score_event, **MODEL_QUEUE, **private)
    stop.click(stop_requests.add, job_number, js=STOP_JS, trigger_mode="multiple", **unqueued)
    # Not `change`, which the example would trigger as well.
    changes = [recording.upload, recording.clear, recording.stop_recording]
    gr.on(changes, as_outputs(clear_results), None, outputs, **unqueued)
    checkpoint.input(partial(show_conditions, root), checkpoint, conditions, **unqueued)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [checkpoint, *conditions], **unqueued)
    page.load(compile_pitch_tracker, **SIGNAL_QUEUE, **private)


def _inputs() -> tuple[gr.Audio, gr.Button, gr.Button]:
    recording = gr.Audio(
        type="filepath",
        sources=["upload", "microphone"],
        format=None,
        buttons=["download"],
        label=f"Recording, up to {recording_measures.MAX_SECONDS:.0f} s",
        elem_id="recording",
    )
    with gr.Row():
        analyse = gr.Button("Analyse", variant="primary", elem_id="analyse", min_width=120)
        example = gr.Button("Example", elem_id="example", min_width=120)
    return recording, analyse, example


def _measures() -> dict[str, Any]:
    shown: dict[str, Any] = {"facts": gr.HTML(elem_id="facts")}
    with gr.Column(visible=False) as shown["listen"]:
        for name, label in (("original", "Recording, mono"), ("quantised", "8-bit mu-law")):
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
    names = list_checkpoints(root)
    checkpoint = gr.Dropdown(
        names,
        value=names[0] if names else None,
        label="Checkpoint for the score",
        elem_id="score-checkpoint",
    )
    with gr.Row():
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABELS)]
    with gr.Row():
        again = gr.Button("Score again", elem_id="score-again", interactive=False, min_width=120)
        stop = gr.Button("Stop", elem_id="score-stop", min_width=120)
    return checkpoint, [*numbers, *labels], again, stop


def _downloads() -> dict[str, Any]:
    with gr.Row():
        buttons = {
            name: gr.DownloadButton(
                label, interactive=False, size="md", elem_id=name, min_width=120
            )
            for name, label in (("features", "Features (.npz)"), ("bits", "Surprise (.npz)"))
        }
    return buttons


def _plots() -> dict[str, Any]:
    shown: dict[str, Any] = {"empty": gr.HTML(PLACEHOLDER, elem_id="analysis-empty")}
    with gr.Column(visible=False, elem_classes="plots") as shown["plots"]:
        first, *others = PLOTS
        shown[first] = _plot(first)
        shown["score"] = gr.HTML(elem_id="score-status")
        for name in ("surprise", *others):
            shown[name] = _plot(name)
    return shown


def _plot(name: str) -> gr.Image:
    return gr.Image(
        type="filepath",
        interactive=False,
        visible=False,
        show_label=False,
        buttons=["download", "fullscreen"],
        alt_text=ALT_TEXTS[name],
        elem_id=f"plot-{name}",
    )


def as_outputs(
    callback: Callable[..., Iterator[Update]],
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """Wrap a callback that yields updates by name: yield one value per output instead.

    Updates are at least `UPDATE_SECONDS` apart.
    """

    def yield_outputs(*values: Any) -> Iterator[tuple[Any, ...]]:
        next_time = 0.0
        for update in callback(*values):
            time.sleep(max(0.0, next_time - time.monotonic()))
            # Copies, because Gradio removes the value from the update that it sends, and the
            # callback may yield the same update again.
            yield tuple(copy(update.get(name, gr.skip())) for name in OUTPUTS)
            next_time = time.monotonic() + UPDATE_SECONDS

    return yield_outputs


def show_page(root: Path) -> list[Any]:
    """List the current checkpoints, and show the conditions of the first."""
    names = list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_conditions(root, first)]


def write_example() -> Iterator[str]:
    """Yield the path of the example recording; the page keeps a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.wav"
        io.write(path, make_example_sound(EXAMPLE_RATE), EXAMPLE_RATE)
        yield str(path)


@cache
def compile_pitch_tracker() -> None:
    """Compile the pitch tracker once; on a new machine this needs two seconds."""
    waveform = make_example_sound(EXAMPLE_RATE)[:EXAMPLE_RATE]
    analysis.measure_recording(waveform, EXAMPLE_RATE)
    analysis.recording_f0(waveform, EXAMPLE_RATE)


def clear_results() -> Iterator[Update]:
    """Remove the results of the previous recording."""
    yield {"status": "", **_cleared()}


def analyse_recording(path: str | None) -> Iterator[Update]:
    """Measure and plot a recording, one plot after the other.

    Args:
        path: path of an upload, or None.
    Raises:
        gr.Error: the recording cannot be analysed; the last update shows the same sentence.
    """
    try:
        yield {"status": _visible(status_note("Reading the recording …")), **_cleared()}
        recording = read_recording(path)
        facts = recording_measures.signal_facts(recording)
        with tempfile.TemporaryDirectory() as folder:
            shown = {
                "facts": fact_list(facts),
                "listen": gr.update(visible=True),
                "original": _save_audio(folder, recording, "original", recording.waveform),
                "quantised": _save_audio(folder, recording, "8-bit", recording.quantised),
                "empty": gr.update(visible=False),
                "plots": gr.update(visible=True),
                "score": _visible(status_note("The surprise is computed after the plots.")),
            }
            yield shown
            following = [*list(PLOTS)[1:], "features"]
            for (name, draw), after in zip(PLOTS.items(), following, strict=True):
                shown[name] = _save_plot(folder, recording, name, draw(recording))
                # One update for both, because each update waits until the page has processed the
                # previous one.
                status = _visible(status_note(f"Computing: {after.replace('-', ' ')} …"))
                yield {name: shown[name], "status": status}
            # All plots again: a slow page loses some of many updates, but never the last one.
            yield {
                **shown,
                "status": "",
                "facts": fact_list(facts | recording_measures.pitch_facts(recording)),
                "features": _save_features(folder, recording),
                "score_again_button": gr.update(interactive=True),
            }
    except (WaveNetError, AudioError) as error:
        yield {"status": _visible(error_note(error))}
        with convert_user_errors():
            raise


def score_recording(
    root: Path, path: str | None, name: str | None, *conditions: Any
) -> Iterator[Update]:
    """Score a recording with a checkpoint, and plot the bits of its samples over time.

    Args:
        root: folder of checkpoint folders.
        path: path of an upload, or None.
        name: name of the checkpoint.
        conditions: values of number fields and dropdowns, see `condition_values_of_controls`.
    Raises:
        gr.Error: the recording cannot be scored; the last update shows the same sentence.
    """
    try:
        yield {**_score_cleared(), "score": _visible(status_note(f"Scoring with {name} …"))}
        checkpoint = load_checkpoint(root, name)
        values = condition_values_of_controls(checkpoint.config.model, conditions)
        recording = read_recording(path, checkpoint.config.audio.sample_rate)
        parts = []
        for part in score_windows(checkpoint, recording.waveform, values, window=SCORE_WINDOW):
            parts.append(part)
            share = sum(map(len, parts)) / recording.waveform.numel()
            yield {"score": _visible(status_note(f"Scoring with {name}: {share:.0%}"))}
        yield from _show_score(checkpoint, recording, Score(torch.cat(parts)))
    except (WaveNetError, AudioError) as error:
        yield {"score": _visible(error_note(error))}
        with convert_user_errors():
            raise


def stoppable(
    callback: Callable[..., Iterator[Update]], stop_requests: StopRequests
) -> Callable[..., Iterator[Update]]:
    """Wrap a score: it ends after the current window if its number is in `stop_requests`."""

    def run_until_stopped(job_number: int, *values: Any) -> Iterator[Update]:
        for update in callback(*values):
            if job_number in stop_requests:
                yield {"score": _visible(status_note("Stopped."))}
                return
            yield update

    return run_until_stopped


def _show_score(
    checkpoint: Checkpoint, recording: MeasuredRecording, score: Score
) -> Iterator[Update]:
    numbers = recording_measures.score_numbers(checkpoint, recording, score)
    marks = {f"{checkpoint.config.name}, mean": score.bits_per_sample}
    if numbers["histogram_bits"] is not None:
        marks["histogram alone"] = numbers["histogram_bits"]
    figure = plots.plot_surprise(score.surprise, recording.sample_rate, recording.seconds, marks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{recording.name}_bits.npz"
        rate = torch.tensor(recording.sample_rate)
        analysis.save_arrays(file, {"bits": score.surprise, "sample_rate": rate})
        facts = recording_measures.score_facts(checkpoint.config.name, numbers)
        yield {
            "score": gr.update(visible=False),
            "surprise": _save_plot(folder, recording, "surprise", figure),
            "score_facts": fact_list(facts),
            "bits": gr.update(value=str(file), interactive=True),
        }


def _cleared() -> Update:
    hidden = gr.update(visible=False)
    plot_updates = {name: gr.update(value=None, visible=False) for name in PLOTS}
    return {
        "empty": gr.update(visible=True),
        "facts": "",
        "listen": hidden,
        "plots": hidden,
        "features": gr.update(value=None, interactive=False),
        "score_again_button": gr.update(interactive=False),
        **plot_updates,
        **_score_cleared(),
    }


def _score_cleared() -> Update:
    return {
        "surprise": gr.update(value=None, visible=False),
        "score_facts": "",
        "bits": gr.update(value=None, interactive=False),
    }


def _visible(html: str) -> Any:
    return gr.update(value=html, visible=True)


def _save_audio(folder: str, recording: MeasuredRecording, kind: str, waveform: Tensor) -> str:
    path = Path(folder) / f"{recording.name}_{kind}.wav"
    io.write(path, waveform, recording.sample_rate)
    return str(path)


def _save_plot(folder: str, recording: MeasuredRecording, name: str, figure: Figure) -> Any:
    path = Path(folder) / f"{recording.name}_{name}.png"
    plots.save_figure(figure, path)
    return gr.update(value=str(path), visible=True)


def _save_features(folder: str, recording: MeasuredRecording) -> Any:
    path = Path(folder) / f"{recording.name}_features.npz"
    arrays = analysis.feature_arrays(recording.waveform, recording.sample_rate)
    analysis.save_arrays(path, arrays | recording_measures.pitch_arrays(recording))
    return gr.update(value=str(path), interactive=True)
