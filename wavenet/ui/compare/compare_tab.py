"""The widgets of the Compare tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial

import gradio as gr

from wavenet.ui.compare.compare_events import run_member_action, run_predictions, show_comparison
from wavenet.ui.compare.comparison_files import list_comparisons
from wavenet.ui.compare.member_predictions import MAX_SAMPLES, MAX_SECONDS
from wavenet.ui.page import Page, given_value
from wavenet.ui.page_widgets import make_number, make_recording_input
from wavenet.ui.templates import render, scripted_html
from wavenet.ui.viewer.viewer import make_viewer
from wavenet.ui.watch.watch_events import show_recording
from wavenet.ui.wiring import MANY, UNQUEUED, by_name

BUTTON_ID = "predict-members"
SPEEDS = {"naive": "naive", "cached": "cached", "fastest": "fastest engine"}
_PLOTS = ("svg_plots", "compare/member_colours", "compare/bits_plot", "compare/cost_plot")
_CHARTS = ("svg_plots", "compare/member_colours", "compare/prediction_charts")


def build_compare_tab(page: Page, tab_item: gr.Tab) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab, whose opening reads the comparison.
    """
    known = list(list_comparisons(page.root))
    choice = gr.Dropdown(
        known, value=next(iter(known), None), label="Comparison", elem_id="comparison-choice",
        visible=len(known) > 1,
    )  # fmt: skip
    comparison = scripted_html(
        "compare/comparison_view", "comparison", scripts=_PLOTS, speeds=SPEEDS
    )
    note = gr.HTML(elem_id="comparison-note")
    viewer = make_viewer("comparison-viewer", "Select a member: its clip appears here.")
    opened = {"comparison": comparison, "choice": choice}
    show = by_name(partial(show_comparison, page), {"choice": choice}, opened)
    gr.on([tab_item.select, choice.input], **show, **UNQUEUED)
    outputs = {"viewer": viewer, "note": note, "history": page.history}
    inputs = {**page.inputs, "choice": choice}
    comparison.click(**by_name(partial(run_member_action, page), inputs, outputs), **MANY)
    _build_predictions(page, choice)


def _build_predictions(page: Page, choice: gr.Dropdown) -> None:
    """Build the widgets that predict one recording with all members, with their events."""
    gr.HTML(render("compare/about_predictions.html"), elem_classes="section")
    with gr.Row(elem_classes="measurement"):
        label = f"First sample at (s); {MAX_SAMPLES:,} samples are shown"
        start = make_number(label, 0, "compare-start", 0, MAX_SECONDS, step=0.1)
        predict = gr.Button("Predict", variant="primary", elem_id=BUTTON_ID, scale=0, min_width=210)
    with gr.Accordion("Predict a recording", open=False) as recording_box:
        label = f"Recording, up to {MAX_SECONDS:g} s; without one, the clip of the WaveNet"
        recording = make_recording_input(label, "compare-recording")
    view = scripted_html("compare/prediction_view", "member-predictions", scripts=_CHARTS)
    page.add_dependents(
        {"compare_recording": recording},
        lambda _, settings: {"compare_recording": given_value(settings, "compare_recording")},
    )
    page.recordings["compare"] = "compare_recording"
    inputs = {**page.inputs, "choice": choice, "recording": recording, "start": start}
    run = by_name(partial(run_predictions, page), inputs, {"predictions": view})
    predict.click(**run, **MANY, trigger_mode="always_last")
    shown = by_name(show_recording, {"recording": recording}, {"recording_box": recording_box})
    recording.change(**shown, **UNQUEUED)
    start.submit(None, js=f"() => pageEvents.press('{BUTTON_ID}')")
