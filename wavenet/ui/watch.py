"""The tab Watch it think: a clip in slow motion, with what the model expects before every sample.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `slow` does the work behind the
button, `steps` shows it.
"""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.likelihood.step_view import MAX_STEPS
from wavenet.ui import jobs
from wavenet.ui.controls import MAX_LABEL_SETS, MAX_NUMBERS, MODEL_QUEUE, show_checkpoint
from wavenet.ui.slow import run_slow
from wavenet.ui.steps import ELEMENT_ID, make_slow_motion

BUTTON_ID = "watch-press"
# Presses the button when the tab is opened for the first time, so that there is an example to see.
OPEN_JS = f"""async () => {{
  const button = () => document.getElementById('{BUTTON_ID}');
  const isEmpty = () => document.querySelector('#{ELEMENT_ID} [data-state="empty"]');
  for (let n = 0; n < 400 && !(isEmpty() && button() && !button().disabled); n += 1) {{
    if (document.querySelector('#{ELEMENT_ID} .slow') && !isEmpty()) return;
    await new Promise((done) => setTimeout(done, 50));
  }}
  if (isEmpty() && button() && !button().disabled) button().click();
}}"""
SETTLE_JS = f"() => document.getElementById('{ELEMENT_ID}').slow.settle()"


def tab(root: Path, opened: gr.Tab) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
        opened: the tab itself; its first opening shows an example.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs, about, press = _controls(root)
        with gr.Column(scale=4, min_width=300):
            shown = make_slow_motion()
    checkpoint, seconds = inputs[:2]
    fitted = [about, seconds, *inputs[-MAX_NUMBERS - MAX_LABEL_SETS :]]
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, **private}
    event = press.click(partial(run_slow, root), inputs, shown, **MODEL_QUEUE, **private)
    event.failure(None, js=SETTLE_JS, **quick)
    checkpoint.input(partial(show_controls, root), checkpoint, fitted, **quick)
    page = gr.context.Context.root_block
    assert page is not None
    loaded = page.load(partial(show_page, root), None, [checkpoint, *fitted], **quick)
    # Only now do the dropdowns hold labels: a press before would lack them.
    loaded.then(lambda: gr.update(interactive=True), None, press, **quick)
    opened.select(None, js=OPEN_JS, **private)


def show_page(root: Path) -> list[Any]:
    """List the checkpoints that there are now, and fit the controls to the first."""
    names = jobs.list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_controls(root, first)]


def show_controls(root: Path, name: str | None) -> list[Any]:
    """Fit the controls to a checkpoint: its description, length, numbers and labels."""
    about, seconds, *others = show_checkpoint(root, name)
    return [about, seconds, *others[-MAX_NUMBERS - MAX_LABEL_SETS :]]


def _controls(root: Path) -> tuple[list[Any], gr.HTML, gr.Button]:
    """Make the inputs in the order in which `slow.run_slow` takes them."""
    names = jobs.list_checkpoints(root)
    checkpoint = gr.Dropdown(
        names, value=names[0] if names else None, label="Checkpoint", elem_id="watch-checkpoint"
    )
    about = gr.HTML(elem_classes="about")
    with gr.Row():
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABEL_SETS)]
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    with gr.Row():
        seconds = gr.Number(1.0, label="Length (s)", step=0.1, min_width=120)
        seed = gr.Number(0, label="Seed", precision=0, min_width=120, elem_id="watch-seed")
    with gr.Row():
        start = gr.Number(0.05, label="Start (s)", step=0.01, min_width=120, elem_id="watch-start")
        steps = gr.Number(
            200,
            label=f"Steps (up to {MAX_STEPS})",
            precision=0,
            min_width=120,
            elem_id="watch-steps",
        )
    press = gr.Button("Watch", variant="primary", elem_id=BUTTON_ID, interactive=False)
    with gr.Accordion("Read a recording instead", open=False):
        recording = gr.Audio(
            type="filepath",
            sources=["upload", "microphone"],
            format=None,
            buttons=["download"],
            label=f"Recording, up to {jobs.MAX_SECONDS:.0f} s",
            elem_id="watch-recording",
        )
        gr.HTML("<p class='note'>The model predicts each sample of it from those before.</p>")
    single = [checkpoint, seconds, seed, start, steps, recording]
    return [*single, *numbers, *labels], about, press
