"""The widgets of the Analyse tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from audio_utils.audio_formats import readable_formats
from wavenet.detection.calibration import MIN_FALSE_ALARMS
from wavenet.detection.events import DEFAULT_FALSE_ALARMS
from wavenet.detection.tail_thresholds import MAX_RATE
from wavenet.ui.analyse import analyse_events, place_events
from wavenet.ui.analyse.recording_measures import MAX_SECONDS
from wavenet.ui.page import Page, given_value
from wavenet.ui.page_widgets import (
    make_audio_output,
    make_job_numbers,
    make_number,
    make_recording_input,
)
from wavenet.ui.templates import scripted_html
from wavenet.ui.viewer.viewer import make_viewer
from wavenet.ui.wiring import MANY, UNQUEUED, by_name, numbered_job

PLACEHOLDER = (
    f"Upload or record a sound ({readable_formats()}) and press Analyse, or press Example. Its "
    "waveform, spectrogram, mel spectrogram, MFCC, level and pitch appear here, with its surprise "
    "under the model above: how many bits the model needs for each sample."
)


def build_analyse_tab(page: Page, tab_item: gr.Tab) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab, whose first opening compiles the pitch tracker.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            label = f"Recording, up to {MAX_SECONDS:.0f} s"
            recording = make_recording_input(label, "recording")
            with gr.Row():
                analyse = gr.Button("Analyse", variant="primary", elem_id="analyse", min_width=90)
                example = gr.Button("Example", elem_id="example", min_width=90)
                stop = gr.Button("Stop", elem_id="analysis-stop", min_width=90)
            outputs = _facts_and_files()
            false_alarms, places = _places()
            outputs |= places
        with gr.Column(scale=3, min_width=300):
            outputs["viewer"] = make_viewer("analysis-viewer", PLACEHOLDER)
            outputs["histogram"] = gr.HTML(elem_id="code-histogram")
            outputs |= _players()
    outputs["history"] = page.history
    page.recordings |= dict.fromkeys(("analyse", "score"), "recording")
    page.add_dependents(
        {"recording": recording, "which": outputs["which"]},
        lambda checkpoint, settings: {
            "recording": given_value(settings, "recording"),
            "which": gr.update(visible=bool(checkpoint.config.model.labels)),
        },
    )
    jobs = analyse_events.AnalysisJobs()
    inputs = {**make_job_numbers(), **page.inputs, "path": recording}

    def connect(callback: Callable[..., Any], **others: Any) -> dict[str, Any]:
        return by_name(partial(callback, page, jobs), {**inputs, **others}, outputs)

    run, score = connect(analyse_events.run_analysis), connect(analyse_events.run_score)
    search = connect(place_events.run_search, false_alarms=false_alarms)
    compare = connect(place_events.run_label_comparison)
    write = by_name(analyse_events.write_example, {}, {"recording": recording})
    loaded = example.click(**write, **MANY)
    start = numbered_job("analysis-stop")
    presses = (
        *((analyse.click, run), (loaded.success, run), (outputs["score"].click, score)),
        *((outputs["find"].click, search), (outputs["which"].click, compare)),
    )
    for press, job in presses:
        press(**job, **start)
    end = {"js": "pageEvents.stopAnalysis", "trigger_mode": "multiple", **UNQUEUED}
    stop.click(jobs.stopped.add, inputs["job_number"], **end)
    # Not `change`, which the example and the clip actions would trigger as well.
    changes = [recording.upload, recording.clear, recording.stop_recording]
    gr.on(changes, **by_name(analyse_events.clear_results, {}, outputs), **UNQUEUED)
    tab_item.select(analyse_events.compile_pitch_tracker, **UNQUEUED)


def _facts_and_files() -> dict[str, Any]:
    """Build what is below the buttons, by the names of the outputs."""
    ids = {"status": "analysis-status", "facts": "facts", "score_facts": "score-facts"}
    shown: dict[str, Any] = {name: gr.HTML(elem_id=elem_id) for name, elem_id in ids.items()}
    with gr.Row():
        shown["score"] = gr.Button(
            "Score again", elem_id="score-again", interactive=False, size="md", min_width=90
        )
        for name, label in (("features", "Features (.npz)"), ("bits", "Surprise (.npz)")):
            shown[name] = gr.DownloadButton(
                label, interactive=False, size="md", elem_id=name, min_width=120
            )
    return shown


def _places() -> tuple[gr.Number, dict[str, Any]]:
    """Build the search for improbable places; return its setting, and the outputs by name."""
    gr.HTML("<h2>Improbable places</h2>", elem_classes="step-title")
    false_alarms = make_number(
        "False alarms an hour", DEFAULT_FALSE_ALARMS, "false-alarms", MIN_FALSE_ALARMS, MAX_RATE
    )
    shown: dict[str, Any] = {}
    with gr.Row():
        for name, label, width in (
            *(("find", "Find improbable places", 230), ("which", "Which label?", 120)),
        ):
            shown[name] = gr.Button(
                label, interactive=False, size="md", min_width=width, elem_id=f"{name}-button"
            )
    shown["places"] = scripted_html("analyse/place_list", "place-list")
    shown["labels"] = gr.HTML(elem_id="label-table")
    return false_alarms, shown


def _players() -> dict[str, Any]:
    """Build the players of the recording and of its 8-bit codes, to compare them."""
    shown: dict[str, Any] = {}
    with gr.Row(visible=False) as shown["listen"]:
        for name, label in (("original", "Recording, mono"), ("quantised", "8-bit mu-law")):
            shown[name] = make_audio_output(f"sound-{name}", label=label, min_width=240)
    return shown
