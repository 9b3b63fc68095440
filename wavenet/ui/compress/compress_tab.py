"""The widgets of the Compress tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from wavenet.ui.compress import compress_events
from wavenet.ui.event_handling import PageJobs
from wavenet.ui.page import Page
from wavenet.ui.page_widgets import make_audio_output, make_job_numbers
from wavenet.ui.templates import render
from wavenet.ui.wiring import UNQUEUED, by_name, numbered_job

Widgets = dict[str, Any]


def build_compress_tab(page: Page, tab_item: gr.Tab) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab, whose first opening compiles the compressor.
    """
    gr.HTML(render("compress/about_compress.html"), elem_classes="step-title")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            label = "Recordings: WAV, AIFF, FLAC, up to 20 MB each"
            widgets = _files("compress", label, "Compress")
        with gr.Column(scale=3, min_width=300):
            placeholder = compress_events.COMPRESS_PLACEHOLDER
            widgets |= _results("compress", "Download the compressed files", placeholder)
            widgets["picture"] = gr.HTML(elem_id="compress-picture")
    _wire(page, widgets, "compress", compress_events.run_compress, compress_events.clear_compressed)
    gr.HTML(render("compress/about_restore.html"), elem_classes="step-title")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            widgets = _files("restore", "Compressed files (.wnc), up to 20 MB each", "Restore")
        with gr.Column(scale=3, min_width=300):
            placeholder = compress_events.RESTORE_PLACEHOLDER
            widgets |= _results("restore", "Download the restored files", placeholder)
            widgets["player"] = make_audio_output(
                "restore-player", label="First file", visible=False
            )
    _wire(page, widgets, "restore", compress_events.run_restore, compress_events.clear_restored)
    tab_item.select(compress_events.prepare, **UNQUEUED)


def _files(name: str, label: str, button: str) -> Widgets:
    """Build the area for files, and the buttons below it."""
    widgets: Widgets = {
        "uploads": gr.File(
            file_count="multiple",
            type="filepath",
            label=label,
            height=190,
            elem_id=f"{name}-uploads",
        )
    }
    with gr.Row():
        widgets["start"] = gr.Button(
            button, variant="primary", elem_id=f"{name}-start", min_width=90
        )
        widgets["stop"] = gr.Button("Stop", elem_id=f"{name}-stop", min_width=90)
    widgets["status"] = gr.HTML(elem_id=f"{name}-status")
    return widgets


def _results(name: str, label: str, placeholder: str) -> Widgets:
    return {
        "results": gr.HTML(placeholder, elem_id=f"{name}-results"),
        "files": gr.DownloadButton(label, interactive=False, elem_id=f"{name}-files"),
    }


def _wire(
    page: Page,
    widgets: Widgets,
    name: str,
    run: Callable[..., Any],
    clear: Callable[[], Widgets],
) -> None:
    """Connect the buttons of one section; a change of its files removes the results."""
    jobs, uploads = PageJobs(), widgets.pop("uploads")
    start, stop = widgets.pop("start"), widgets.pop("stop")
    inputs = {**make_job_numbers(), "files": uploads}
    event = by_name(partial(run, page, jobs), inputs, widgets)
    start.click(**event, **numbered_job(f"{name}-stop"))
    end = {"js": f"() => pageEvents.stopJob('{name}')", "trigger_mode": "multiple", **UNQUEUED}
    stop.click(jobs.stopped.add, inputs["job_number"], **end)
    gr.on([uploads.upload, uploads.clear], **by_name(clear, {}, widgets), **UNQUEUED)
