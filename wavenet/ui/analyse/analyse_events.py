"""What Analyse and Score do: read a recording, measure it, send its pictures, score it.

Input: the values of the widgets by name. Output: updates of the viewer, the facts, the files and
the history. Called by `analyse_tab`.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from audio_utils import analysis, io
from audio_utils.errors import AudioError
from audio_utils.example_sound import make_example_sound
from wavenet.errors import WaveNetError
from wavenet.likelihood.score import SMALL_WINDOW, Score, score_windows
from wavenet.ui.analyse import recording_measures
from wavenet.ui.analyse.recording_measures import MeasuredRecording, read_recording
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.event_handling import UPDATE_SECONDS, PageJobs
from wavenet.ui.model_bar.condition_form import form_values
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_note, facts_html, status_note
from wavenet.ui.templates import render
from wavenet.ui.turns import Turn, Turns, describe_place
from wavenet.ui.viewer.panels import (
    Panel,
    level_panel,
    panel_update,
    pending,
    pitch_panel,
    signal_panels,
    surprise_panel,
    viewer_message,
)

EXAMPLE_RATE = 16_000
ENABLED = ("score", "find", "which")  # buttons that need an analysed recording
LISTS = ("places", "labels")  # what the last two of them show
Values = dict[str, Any]


@dataclass(frozen=True)
class AnalysisJobs(PageJobs):
    """The jobs of the tab.

    Attributes:
        turns: one signal analysis at a time; it does not wait for a model.
    """

    turns: Turns = field(default_factory=Turns)


@dataclass(frozen=True)
class AnalysisJob:
    """One press of Analyse or Score.

    Attributes:
        page: what all tabs share.
        jobs: the jobs of this tab.
        token: of the visitor.
        path: of an upload, or None.
        name: of the checkpoint.
        form: the message of the condition form.
    """

    page: Page
    jobs: AnalysisJobs
    token: Any
    path: str | None
    name: str | None
    form: Any

    def analyse(self) -> Iterator[Values]:
        """Measure a recording and send its pictures; then pitch and features; then its score.

        Raises:
            WaveNetError, AudioError: the recording cannot be analysed or scored.
        """
        yield {**clear_results(), "status": status_note("Reading the recording …")}
        recording = read_recording(self.path)
        clip = self.keep(recording)
        with tempfile.TemporaryDirectory() as folder:
            with self.jobs.turns.request() as turn:
                yield from wait_for(turn)
                panels = recording_panels(recording)
                facts = recording_measures.signal_facts(recording)
                shown: Values = {
                    "viewer": viewer_message(panels.values(), clip),
                    "facts": facts_html(facts),
                    "histogram": code_histogram(recording),
                    "listen": gr.update(visible=True),
                    "original": _save_audio(folder, recording, "original", recording.waveform),
                    "quantised": _save_audio(folder, recording, "8-bit", recording.quantised),
                    **show_history(self.page.clips, self.token),
                }
                yield {**shown, "status": status_note("Computing pitch and features …")}
                panels["pitch"] = pitch_panel(*recording.pitch)
                facts |= recording_measures.pitch_facts(recording)
                features = analysis.feature_arrays(recording.waveform, recording.sample_rate)
                features |= recording_measures.pitch_arrays(recording)
                # All values again, because a slow page loses some of many updates, but never the
                # last.
                shown |= {
                    "viewer": viewer_message(panels.values(), clip),
                    "facts": facts_html(facts),
                    "features": _save_arrays(folder, recording, "features", features),
                    **dict.fromkeys(ENABLED, gr.update(interactive=True)),
                }
                # not in the last update, because places may be searched while the score is computed
                cleared = {name: clear_results()[name] for name in LISTS}
                yield {**shown, **cleared, "status": status_note("The surprise follows.")}

            def draw(panel: Panel) -> Values:
                drawn = viewer_message((panels | {"surprise": panel}).values(), clip)
                return {**shown, "viewer": drawn}

            yield from self._score(draw)

    def score_again(self) -> Iterator[Values]:
        """Score the shown recording.

        Raises:
            WaveNetError, AudioError: the recording cannot be scored.
        """
        clip = self.keep(read_recording(self.path))

        def draw(panel: Panel) -> Values:
            return {"viewer": panel_update(panel, clip.url)}

        empty = pending(surprise_panel(torch.zeros(1), clip.sample_rate))
        yield {**draw(empty), "score_facts": "", "bits": _no_file()}
        yield from self._score(draw)

    def keep(self, recording: MeasuredRecording) -> Clip:
        """Return the clip of the recording in the history; store it at the first time."""
        name, rate = f"{recording.name}.wav", recording.sample_rate
        clips, path = self.page.clips, str(self.path)
        return clips.add_upload(self.token, path, recording.waveform, rate, name)

    def _score(self, draw: Callable[[Panel], Values]) -> Iterator[Values]:
        """Score the recording when it is its turn; `draw` shows the panel of the surprise."""
        yield {"status": status_note(f"Scoring with {self.name} …")}
        checkpoint = load_checkpoint(self.page.root, self.name)
        conditions = form_values(checkpoint.config.model, self.form)
        recording = read_recording(self.path, checkpoint.config.audio.sample_rate)
        parts: list[Tensor] = []
        with self.page.turns.request() as turn:
            yield from wait_for(turn)
            windows = score_windows(checkpoint, recording.waveform, conditions, window=SMALL_WINDOW)
            for part in windows:
                parts.append(part)
                share = sum(map(len, parts)) / recording.waveform.numel()
                yield {"status": status_note(f"Scoring with {self.name}: {share:.0%}")}
        score = Score(torch.cat(parts))
        numbers = recording_measures.score_numbers(checkpoint, recording, score)
        facts = recording_measures.score_facts(checkpoint.config.name, conditions, numbers)
        rate = torch.tensor(recording.sample_rate)
        with tempfile.TemporaryDirectory() as folder:
            arrays = {"bits": score.surprise, "sample_rate": rate}
            yield {
                **draw(surprise_panel(score.surprise, recording.sample_rate)),
                "status": "",
                "score_facts": facts_html(facts),
                "bits": _save_arrays(folder, recording, "bits", arrays),
            }


def run_analysis(
    page: Page, jobs: AnalysisJobs, *, job_number: int, previous_job: int | None, **inputs: Any
) -> Iterator[Values]:
    """Measure a recording, send its pictures, then score it.

    Args:
        page: what all tabs share.
        jobs: the jobs of this tab.
        job_number, previous_job: from the browser.
        inputs: as in `AnalysisJob`.
    Yields:
        Values of the outputs by name.
    Raises:
        gr.Error: the recording cannot be analysed; the last update shows the same sentence.
    """
    jobs.replaced.add(previous_job)
    yield from until_stopped(jobs, job_number, AnalysisJob(page, jobs, **inputs).analyse())


def run_score(
    page: Page, jobs: AnalysisJobs, *, job_number: int, previous_job: int | None, **inputs: Any
) -> Iterator[Values]:
    """Score the shown recording again; the arguments are those of `run_analysis`."""
    jobs.replaced.add(previous_job)
    yield from until_stopped(jobs, job_number, AnalysisJob(page, jobs, **inputs).score_again())


def until_stopped(
    jobs: AnalysisJobs, job_number: int, steps: Iterator[Values]
) -> Iterator[Values]:
    """Yield the updates of a job, at least `UPDATE_SECONDS` apart, until it is stopped.

    Of two updates at once, the page may lose the first.

    Raises:
        gr.Error: an error that a user can cause; the last update shows the same sentence.
    """
    next_time = 0.0
    with closing(steps):  # type: ignore[type-var]
        try:
            for values in steps:
                time.sleep(max(0.0, next_time - time.monotonic()))
                if job_number in jobs.replaced:
                    return
                if job_number in jobs.stopped:
                    yield {"status": status_note("Stopped.")}
                    return
                yield values
                next_time = time.monotonic() + UPDATE_SECONDS
        except (WaveNetError, AudioError) as error:
            yield {"status": error_note(error)}
            with convert_user_errors():
                raise


def clear_results() -> Values:
    """Remove the results of the previous recording; its pictures are dimmed."""
    return {
        "status": "",
        "viewer": {"dim": "These are the pictures of the recording before."},
        "facts": "",
        "histogram": "",
        "listen": gr.update(visible=False),
        "features": _no_file(),
        "score_facts": "",
        "bits": _no_file(),
        **dict.fromkeys(ENABLED, gr.update(interactive=False)),
        "places": None,
        "labels": "",
    }


def write_example() -> Iterator[Values]:
    """Yield the path of the example recording; the page keeps a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.wav"
        io.write(path, make_example_sound(EXAMPLE_RATE), EXAMPLE_RATE)
        yield {"recording": str(path)}


@cache
def compile_pitch_tracker() -> None:
    """Compile the pitch tracker once; on a new machine this needs two seconds."""
    waveform = make_example_sound(EXAMPLE_RATE)[:EXAMPLE_RATE]
    analysis.measure_recording(waveform, EXAMPLE_RATE)
    analysis.recording_f0(waveform, EXAMPLE_RATE)


def recording_panels(recording: MeasuredRecording) -> dict[str, Panel]:
    """Return the panels by name; "surprise" and "pitch" have no values yet."""
    waveform, rate = recording.waveform, recording.sample_rate
    first, *others = signal_panels(waveform, rate)
    levels = {"recording": waveform, "8-bit quantisation error": waveform - recording.quantised}
    return {
        "waveform": first,
        "surprise": pending(surprise_panel(torch.zeros(1), rate)),
        **{panel.title: panel for panel in others},
        "level": level_panel(levels, rate),
        "pitch": pending(pitch_panel(torch.zeros(1), 0.01)),
    }


def wait_for(turn: Turn) -> Iterator[Values]:
    """Yield the place of a job in the status until it has its turn."""
    for place, seconds in turn.wait():
        yield {"status": status_note(describe_place(place, seconds))}


def code_histogram(recording: MeasuredRecording) -> str:
    """Return the histogram of the 8-bit mu-law codes as an SVG drawing, on a logarithmic axis."""
    classes = recording_measures.EIGHT_BIT_CODEC.n_classes
    counts = torch.bincount(recording.codes, minlength=classes)
    total = len(recording.codes)
    lowest = math.ceil(math.log10(100 / total)) - 1  # below the bar of a code that occurs once
    decades = 2 - lowest
    heights = (100 * counts / total).log10().sub(lowest).mul(100 / decades)
    bars = [(code, f"{heights[code]:.1f}") for code in counts.nonzero().flatten().tolist()]
    mode = int(counts.argmax())
    return render(
        "analyse/code_histogram.html",
        classes=classes,
        used=len(bars),
        mode=mode,
        share=f"{100 * int(counts[mode]) / total:.3g} %",
        bars=bars,
        levels=[(f"{10.0**n:g}", round(100 * (n - lowest) / decades, 2)) for n in range(lowest, 3)],
    )


def _no_file() -> Any:
    return gr.update(value=None, interactive=False)


def _save_audio(folder: str, recording: MeasuredRecording, kind: str, waveform: Tensor) -> str:
    path = Path(folder) / f"{recording.name}_{kind}.wav"
    io.write(path, waveform, recording.sample_rate)
    return str(path)


def _save_arrays(
    folder: str, recording: MeasuredRecording, kind: str, arrays: dict[str, Tensor]
) -> Any:
    path = Path(folder) / f"{recording.name}_{kind}.npz"
    analysis.save_arrays(path, arrays)
    return gr.update(value=str(path), interactive=True)
