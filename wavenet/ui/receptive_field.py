"""The Receptive field tab: which past samples one output can depend on, and which it does.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `networks` counts and draws,
`influence` runs models.
"""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.ui import influence, jobs, networks
from wavenet.ui.controls import MAX_LABEL_SETS, MAX_NUMBERS, MODEL_QUEUE, show_checkpoint

NOT_MEASURED = (
    "<p class='note'>How fast the compiled engine runs this network on this machine: a few seconds "
    "of work.</p>"
)
ABOUT_FIELD = (
    "<h2>What a trained model listens to</h2><p class='note'>The cone above shows what a network "
    "can hear. How much each past sample matters is another question: here it is the size of the "
    "gradient of a prediction, its log-probability, with respect to that sample, averaged over "
    "many predictions.</p>"
)
_HERE = Path(__file__).parent


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    preset, cycles, values = _controls(root)
    drawing = gr.Radio(
        list(networks.DRAWINGS), value=networks.CAUSAL, label="Drawn as", elem_id="drawn"
    )
    facts, picture = networks.describe(root, networks.CAUSAL, *[item.value for item in values])
    shown = [
        _drawing(picture, "receptive_field", "field-picture"),
        gr.HTML(facts, elem_id="field-facts"),
    ]
    with gr.Row(elem_classes="speed"):
        measure = gr.Button(
            "Measure speed", elem_id="field-speed-press", scale=0, min_width=170, size="md"
        )
        speed = gr.HTML(NOT_MEASURED, elem_id="field-speed")
    gr.HTML(ABOUT_FIELD, elem_classes="section")
    checkpoint, heard = _effective(root)
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, **private}
    preset.input(partial(choose, root), preset, [*cycles, *values[1:], checkpoint], **quick)
    gr.on([item.input for item in cycles], networks.doublings, cycles, values[2], **quick)
    own = [item.input for item in (*cycles, *values[1:-1])]
    gr.on(own, lambda: networks.OWN, None, preset, **quick)
    # One press changes many controls: what is drawn is what they hold in the end.
    gr.on(
        [item.change for item in (drawing, *values)],
        partial(describe, root),
        [drawing, *values],
        [*shown, speed],
        trigger_mode="always_last",
        **quick,
    )
    measure.click(partial(influence.run_speed, root), values, speed, **MODEL_QUEUE, **private)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [preset, checkpoint, *heard], **quick)


def show_page(root: Path) -> list[Any]:
    """List the checkpoints that there are now, and fit the labels to the first."""
    found = jobs.list_checkpoints(root)
    first = found[0] if found else None
    chosen = gr.update(choices=found, value=first)
    return [gr.update(choices=networks.names(root)), chosen, *show_labels(root, first)]


def show_labels(root: Path, name: str | None) -> list[Any]:
    """Fit number fields and dropdowns to a checkpoint."""
    return show_checkpoint(root, name)[-MAX_NUMBERS - MAX_LABEL_SETS :]


def choose(root: Path, name: str) -> list[Any]:
    """Set the controls to a network; a checkpoint is also the one to listen with."""
    folder = name.removeprefix(networks.CHECKPOINT)
    is_known = folder != name and folder in jobs.list_checkpoints(root)
    return [*networks.choose(root, name), folder if is_known else gr.skip()]


def describe(root: Path, drawing: str, *values: Any) -> tuple[Any, str, str]:
    """Count and draw; a speed that was measured is that of another network now."""
    facts, picture = networks.describe(root, drawing, *values)
    return picture, facts, NOT_MEASURED


def _controls(root: Path) -> tuple[gr.Dropdown, list[Any], list[Any]]:
    """Make the controls of a network.

    Returns:
        the choice; layers per cycle and cycles; the inputs of `networks.read_network` in its order.
    """
    kernel_size, layers, cycles = networks.PRESETS[networks.FIRST]
    with gr.Row():
        preset = gr.Dropdown(
            networks.names(root),
            value=networks.FIRST,
            label="Network",
            elem_id="preset",
            scale=3,
            min_width=260,
        )
        rate = _number(networks.RATE, "Sample rate (Hz)", "field-rate")
    with gr.Row():
        kernel = gr.Slider(
            1, 8, kernel_size, step=1, label="Kernel size", min_width=200, elem_id="field-kernel"
        )
        depth = gr.Slider(1, 14, layers, step=1, label="Layers per cycle", min_width=200)
        repeats = gr.Slider(1, 6, cycles, step=1, label="Cycles", min_width=200)
    with gr.Row():
        dilations = gr.Textbox(
            networks.doublings(layers, cycles),
            label="Dilations, one per layer",
            scale=3,
            min_width=300,
            elem_id="dilations",
        )
        labels = ("Residual channels", "Gate channels", "Skip channels")
        pairs = zip(networks.WIDTHS, labels, strict=True)
        widths = [_number(width, label) for width, label in pairs]
    return preset, [depth, repeats], [preset, kernel, dilations, *widths, rate]


def _number(value: int, label: str, elem_id: str | None = None) -> gr.Number:
    return gr.Number(value, label=label, precision=0, min_width=110, elem_id=elem_id)


def _effective(root: Path) -> tuple[gr.Dropdown, list[Any]]:
    """Lay out and wire the part that runs a checkpoint.

    Returns:
        the choice, and the widgets that fit its labels.
    """
    names = jobs.list_checkpoints(root)
    with gr.Row(elem_classes="speed"):
        checkpoint = gr.Dropdown(
            names,
            value=names[0] if names else None,
            label="Checkpoint",
            elem_id="field-checkpoint",
            scale=3,
        )
        press = gr.Button(
            "Listen", variant="primary", elem_id="field-press", scale=0, min_width=170
        )
    with gr.Accordion("Of a recording instead", open=False):
        recording = gr.Audio(
            type="filepath",
            sources=["upload", "microphone"],
            format=None,
            buttons=["download"],
            label=f"Recording: WAV, FLAC, OGG or MP3, up to {jobs.MAX_SECONDS:.0f} s",
            elem_id="field-recording",
        )
        with gr.Row():
            labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABEL_SETS)]
            numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    heard: list[Any] = [*numbers, *labels]
    curve = _drawing({}, "influence", "field-influence")
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    inputs = [checkpoint, recording, *heard]
    press.click(partial(influence.run_field, root), inputs, curve, **MODEL_QUEUE, **private)
    checkpoint.change(partial(show_labels, root), checkpoint, heard, queue=False, **private)
    return checkpoint, heard


def _drawing(value: Any, name: str, elem_id: str) -> gr.HTML:
    """Make a picture that the script and the style of this name draw."""
    return gr.HTML(
        value,
        html_template="<div class='field'></div>",
        css_template=(_HERE / f"{name}.css").read_text(encoding="utf-8"),
        js_on_load=(_HERE / f"{name}.js").read_text(encoding="utf-8"),
        elem_id=elem_id,
    )
