"""What "Find improbable places" and "Which label?" do with the analysed recording.

Input: the values of the widgets by name. Output: a list of places, which are shaded in the viewer,
or the most probable values of the labels. Called by `analyse_tab`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from wavenet.detection.calibration import read_calibration
from wavenet.detection.events import DEFAULT_FALSE_ALARMS, Event, select_events
from wavenet.detection.most_probable import LabelProbability, label_probabilities
from wavenet.detection.surprise_excess import excess_windows
from wavenet.errors import ConditionError
from wavenet.likelihood.score import SMALL_WINDOW
from wavenet.progress import CallbackProgress
from wavenet.ui.analyse.analyse_events import AnalysisJob, AnalysisJobs, until_stopped, wait_for
from wavenet.ui.analyse.recording_measures import read_recording
from wavenet.ui.background_work import run_in_background
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.model_bar.condition_form import form_values
from wavenet.ui.page import Page
from wavenet.ui.page_text import status_note
from wavenet.ui.templates import render

SHOWN_EVENTS = 200  # of the list
SHOWN_LABELS = 5
Values = dict[str, Any]


def run_search(
    page: Page,
    jobs: AnalysisJobs,
    *,
    job_number: int,
    previous_job: int | None,
    false_alarms: float | None,
    **inputs: Any,
) -> Iterator[Values]:
    """Find the improbable places of the recording.

    Args:
        page: what all tabs share.
        jobs: the jobs of this tab.
        job_number, previous_job: from the browser.
        false_alarms: accepted number an hour of clean sound; None: the default.
        inputs: as in `AnalysisJob`.
    Yields:
        The status; at last the list, and the places for the viewer.
    Raises:
        gr.Error: the model has no calibration, or the recording cannot be scored.
    """
    jobs.replaced.add(previous_job)
    rate = DEFAULT_FALSE_ALARMS if false_alarms is None else false_alarms
    steps = find_places(AnalysisJob(page, jobs, **inputs), rate)
    yield from until_stopped(jobs, job_number, steps)


def run_label_comparison(
    page: Page, jobs: AnalysisJobs, *, job_number: int, previous_job: int | None, **inputs: Any
) -> Iterator[Values]:
    """Compare the label values of the model; arguments and errors as `run_search`."""
    jobs.replaced.add(previous_job)
    steps = compare_labels(AnalysisJob(page, jobs, **inputs))
    yield from until_stopped(jobs, job_number, steps)


def find_places(job: AnalysisJob, false_alarms: float) -> Iterator[Values]:
    """Yield the progress of a search, then its result.

    Raises:
        WaveNetError, AudioError: as in `run_search`.
    """
    clip = job.keep(read_recording(job.path))
    empty = {"viewer": {"events": [], "url": clip.url}, "places": None}
    yield {**empty, "status": status_note(f"Searching with {job.name} …")}
    checkpoint = load_checkpoint(job.page.root, job.name)
    thresholds = read_calibration(checkpoint).thresholds(false_alarms)
    conditions = form_values(checkpoint.config.model, job.form)
    recording = read_recording(job.path, checkpoint.sample_rate)
    parts: list[Tensor] = []
    with job.page.turns.request() as turn:
        yield from wait_for(turn)
        for part in excess_windows(checkpoint, recording.waveform, conditions, SMALL_WINDOW):
            parts.append(part)
            share = sum(map(len, parts)) / recording.waveform.numel()
            yield {"status": status_note(f"Searching with {job.name}: {share:.0%}")}
    events = select_events(torch.cat(parts), checkpoint.sample_rate, thresholds)
    spans = [[event.start, event.end] for event in events]
    yield {
        "viewer": {"events": spans, "url": clip.url},
        "places": list_places(events, checkpoint.config.name, clip.url),
        "status": "",
    }


def list_places(events: Sequence[Event], model: str, url: str) -> Values:
    """Return the message for `place_list.js`.

    Args:
        events: in the order of time.
        model: its name.
        url: of the clip in the viewer.
    """
    return {
        "model": model,
        "url": url,
        "count": len(events),
        "places": [
            {
                "start": event.start,
                "end": event.end,
                "bits": f"{event.peak_surprise:.2f}",
                "ratio": f"{event.ratio:.1f} ×",
            }
            for event in events[:SHOWN_EVENTS]
        ],
    }


def compare_labels(job: AnalysisJob) -> Iterator[Values]:
    """Yield the progress of a comparison of label values, then the most probable ones.

    Raises:
        WaveNetError, AudioError: the model has no labels, or the recording cannot be scored.
    """
    yield {"labels": "", "status": status_note(f"Comparing the labels of {job.name} …")}
    checkpoint = load_checkpoint(job.page.root, job.name)
    model = checkpoint.config.model
    names = [label.name for label in model.labels]
    if not names:
        raise ConditionError(f"{job.name} has no labels; choose a model with labels")
    given = form_values(model, job.form)
    others = {name: value for name, value in given.items() if name not in names}
    recording = read_recording(job.path, checkpoint.sample_rate)
    found: list[LabelProbability] = []

    def compare(note: Callable[[float], None]) -> None:
        done = 0.0

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            note(done)

        progress = CallbackProgress(advance)
        found.extend(label_probabilities(checkpoint, recording.waveform, names, others, progress))

    with job.page.turns.request() as turn:
        yield from wait_for(turn)
        for share in run_in_background(compare, 0.0, lambda: True):
            text = f"Comparing the labels of {job.name}: {share:.0%}"
            yield {"status": status_note(text)}
    yield {"labels": labels_html(names, found), "status": ""}


def labels_html(names: Sequence[str], found: Sequence[LabelProbability]) -> str:
    """Return HTML of the most probable label values.

    Args:
        names: of the labels.
        found: all combinations, the most probable first.
    """
    rows = [
        ([one.values[name] for name in names], format_probability(one.probability))
        for one in found[:SHOWN_LABELS]
    ]
    titles = [name.replace("_", " ").capitalize() for name in names]
    return render("analyse/label_table.html", names=titles, rows=rows, count=len(found))


def format_probability(probability: float) -> str:
    """Return a probability in percent."""
    percent = 100 * probability
    if percent < 0.01:
        return "below 0.01 %"
    return f"{percent:.2f} %" if percent < 99.99 else "above 99.99 %"


def show_label_button(has_labels: bool) -> Any:
    """Return the update of the button "Which label?" for a model."""
    return gr.update(visible=has_labels)
