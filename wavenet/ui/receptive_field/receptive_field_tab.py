"""The widgets of the Receptive field tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial
from typing import Any

import gradio as gr

from audio_utils.audio_formats import readable_formats
from wavenet.errors import WaveNetError
from wavenet.ui.generate.generation_job import MAX_SECONDS
from wavenet.ui.page import Page
from wavenet.ui.page_text import error_note, status_note
from wavenet.ui.page_widgets import make_recording_input
from wavenet.ui.receptive_field.influence_measurement import measure_influence
from wavenet.ui.receptive_field.kernel_plot import show_kernels
from wavenet.ui.receptive_field.network_facts import (
    CAUSAL_DILATED,
    CONVOLUTIONS,
    describe_network,
)
from wavenet.ui.receptive_field.network_settings import (
    CHOICES,
    CUSTOM,
    FIRST_PRESET,
    LIMITS,
    PRESETS,
    RATE,
    WIDTHS,
    choose_network,
    doubling_dilations,
    read_network,
)
from wavenet.ui.receptive_field.speed_measurement import measure_speed
from wavenet.ui.templates import render, scripted_html
from wavenet.ui.wiring import MANY, UNQUEUED, by_name, pick

# Of a plot over the age of a sample.
_AGE_SCRIPTS, _AGE_STYLES = ("svg_plots", "receptive_field/age_plot"), ("receptive_field/age_plot",)
SPEED_PLACEHOLDER = status_note(
    "Measures how fast the compiled CPU engine runs this network on this machine. This needs a few "
    "seconds."
)


def build_receptive_field_tab(page: Page, tab_item: gr.Tab) -> None:
    """Build the tab and connect its events.

    Args:
        page: what all tabs share.
        tab_item: the tab, whose opening shows the kernels of the model.
    """
    controls, sliders = _network_controls()
    convolution = gr.Radio(
        list(CONVOLUTIONS), value=CAUSAL_DILATED, label="Convolution", elem_id="convolution"
    )
    inputs = {"name": page.model, "convolution": convolution, **controls}
    shown = _network_outputs(page, controls)
    with gr.Row(elem_classes="measurement"):
        measure = _measure_button("Measure speed", "measure-speed", size="md")
        shown["speed"] = gr.HTML(SPEED_PLACEHOLDER, elem_id="field-speed")
    numbers = {name: inputs[name] for name in inputs if name != "convolution"}
    speed = by_name(partial(measure_speed, page), numbers, pick(shown, "speed"))
    measure.click(**speed, **MANY)
    _wire_network(page, inputs, sliders, shown)
    _build_influence(page)
    _build_kernels(page, tab_item)


def show_network(page: Page, *, convolution: str, **controls: Any) -> dict[str, Any]:
    """Update the plot and the numbers; remove the speed of the previous network.

    Args:
        page: what all tabs share.
        convolution: one of `CONVOLUTIONS`.
        controls: the arguments of `read_network`.
    """
    try:
        facts, plot = describe_network(read_network(page.root, **controls), convolution)
    except WaveNetError as error:
        return {"facts": error_note(error), "speed": SPEED_PLACEHOLDER}
    return {"plot": plot, "facts": facts, "speed": SPEED_PLACEHOLDER}


def set_dilations(*, layers: int | None, cycles: int | None) -> dict[str, str]:
    """Set the dilations from the sliders; without a number they stay."""
    return {"dilations": doubling_dilations(layers, cycles)} if layers and cycles else {}


def _wire_network(
    page: Page, inputs: dict[str, Any], sliders: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Connect the controls: `inputs` are those of `show_network`, `shown` are its outputs."""
    choice, fixed = inputs["choice"], ("choice", "name", "convolution")
    values = sliders | {name: item for name, item in inputs.items() if name not in fixed}
    chosen = by_name(partial(choose_network, page.root), inputs, values)
    gr.on([choice.input, page.model.change], **chosen, **UNQUEUED)
    dilations = by_name(set_dilations, sliders, pick(inputs, "dilations"))
    gr.on([item.input for item in sliders.values()], **dilations, **UNQUEUED)
    edits = [item.input for name, item in values.items() if name != "sample_rate"]
    gr.on(edits, **by_name(lambda: {"choice": CUSTOM}, {}, {"choice": choice}), **UNQUEUED)
    # One press changes many controls; the plot shows their final values.
    show = by_name(partial(show_network, page), inputs, shown)
    changes = [item.change for item in inputs.values()]
    gr.on(changes, **show, trigger_mode="always_last", **UNQUEUED)


def _network_controls() -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the controls of a network.

    Returns:
        The inputs of `read_network` by name, without the model; layers per cycle and cycles.
    """
    kernel_size, layers, cycles = PRESETS[FIRST_PRESET]
    controls: dict[str, Any] = {}
    with gr.Row():
        controls["choice"] = gr.Dropdown(
            list(CHOICES), value=FIRST_PRESET, label="Network", elem_id="preset", scale=3,
            min_width=260,
        )  # fmt: skip
        controls["sample_rate"] = _number("sample_rate", RATE, "field-rate", " (Hz)")
    with gr.Row():
        controls["kernel_size"] = gr.Slider(
            1, 8, kernel_size, step=1, label="Kernel size", min_width=200, elem_id="field-kernel"
        )
        sliders = {
            "layers": gr.Slider(1, 14, layers, step=1, label="Layers per cycle", min_width=200),
            "cycles": gr.Slider(1, 6, cycles, step=1, label="Cycles", min_width=200),
        }
    with gr.Row():
        controls["dilations"] = gr.Textbox(
            doubling_dilations(layers, cycles),
            label="Dilations, one per layer",
            scale=3,
            min_width=300,
            elem_id="dilations",
        )
        for name, width in WIDTHS.items():
            controls[name] = _number(name, width)
    return controls, sliders


def _number(name: str, value: int, elem_id: str | None = None, unit: str = "") -> gr.Number:
    # No range of the component: an unqueued event shows errors only in the page.
    label = LIMITS[name][0] + unit
    return gr.Number(value, label=label, precision=0, min_width=110, elem_id=elem_id)


def _network_outputs(page: Page, controls: dict[str, Any]) -> dict[str, Any]:
    first = {name: item.value for name, item in controls.items()}
    values = show_network(page, convolution=CAUSAL_DILATED, name=None, **first)
    return {
        "plot": scripted_html(
            "receptive_field/receptive_field_plot", "field-plot", values["plot"], ("svg_plots",)
        ),
        "facts": gr.HTML(values["facts"], elem_id="field-facts"),
    }


def _measure_button(label: str, elem_id: str, **options: Any) -> gr.Button:
    return gr.Button(label, elem_id=elem_id, scale=0, min_width=210, **options)


def _build_influence(page: Page) -> None:
    """Build the widgets that measure the influence of past samples, with their events."""
    gr.HTML(render("receptive_field/about_influence.html"), elem_classes="section")
    with gr.Row(elem_classes="measurement"):
        measure = _measure_button("Measure influence", "measure-influence", variant="primary")
    curve = scripted_html(
        "receptive_field/effective_field_plot", "influence-plot", {}, _AGE_SCRIPTS, _AGE_STYLES
    )
    with gr.Accordion("Measure on a recording", open=False):
        label = f"Recording: {readable_formats()}, up to {MAX_SECONDS:.0f} s"
        recording = make_recording_input(label, "field-recording")
    inputs, outputs = {**page.inputs, "recording": recording}, {"influence": curve}
    measure.click(**by_name(partial(measure_influence, page), inputs, outputs), **MANY)
    # The curve of another model would look like that of the model above.
    page.model.change(**by_name(lambda: {"influence": {}}, {}, outputs), **UNQUEUED)


def _build_kernels(page: Page, tab_item: gr.Tab) -> None:
    """Build the plot of the kernels, which is hidden unless the model has some."""
    plot = scripted_html(
        "receptive_field/kernel_plot", "kernel-plot", {}, _AGE_SCRIPTS, _AGE_STYLES
    )
    shown = by_name(partial(show_kernels, page), {"name": page.model}, {"kernels": plot})
    gr.on([page.model.change, tab_item.select], **shown, **UNQUEUED)
