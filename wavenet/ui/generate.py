"""The Generate tab: choose, press, hear it while it is made, keep it.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `live` does the work behind the
button.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.errors import WaveNetError
from wavenet.generation.generate import warm_up
from wavenet.ui import fetching, jobs, live, sharing
from wavenet.ui.controls import (
    MAX_LABEL_SETS,
    MAX_NUMBERS,
    MODEL_QUEUE,
    describe,
    show_checkpoint,
)
from wavenet.ui.fetching import import_allowed
from wavenet.ui.player import SETTLE_JS, START_JS, STOP_JS, make_player

# For on a new machine that takes a while.
PREPARING = "<p>Preparing the engine; the first time takes about 15 s …</p>"
# What a link may say that is not the checkpoint's own matter.
LINKED = ("seed", "variants")
EMPTY = (
    "<p class='empty'>The file to keep, its waveform, mel spectrogram and MFCC appear here after "
    "the last sample.</p>"
)


@dataclass(frozen=True)
class Controls:
    """The inputs of a run, in the order in which `live.run_live` takes them."""

    run: gr.Number
    checkpoint: gr.Dropdown
    seconds: gr.Number
    seed: gr.Number
    variants: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider
    guidance: gr.Slider
    engine: gr.Dropdown
    prompt: gr.Audio
    with_prompt: gr.Checkbox
    source: gr.Audio
    numbers: list[gr.Number]
    labels: list[gr.Dropdown]
    continued: gr.Accordion  # around the prompt; no input

    def listed(self) -> list[Any]:
        """All of them, the numbers and the label dropdowns last."""
        *single, numbers, labels, _ = vars(self).values()
        return [*single, *numbers, *labels]


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            about = gr.HTML(elem_classes="about", render=False)
            controls, generate, stop = _controls(root, about)
        with gr.Column(scale=3, min_width=300):
            results, reuse = _results()
    private: dict[str, Any] = {"api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", **private}
    stops = live.Stops()
    event = generate.click(
        partial(live.run_live, root, stops),
        controls.listed(),
        [results[name] for name in live.OUTPUTS],
        js=START_JS,
        show_progress="hidden",  # the player tells more, and Gradio's badge would cover figures
        # The player keeps the button shut while a run is on. Gradio's own guard would also swallow
        # the first press after Stop, until the server has answered.
        trigger_mode="multiple",
        **MODEL_QUEUE,
        **private,
    )
    event.failure(None, js=SETTLE_JS, **quick)
    stop.click(stops.add, controls.run, js=STOP_JS, trigger_mode="multiple", **quick)
    reuse.click(lambda seed: seed, results["used_seed"], controls.seed, **quick)
    shown = [about, controls.seconds, results["player"], controls.guidance, controls.source]
    shown += [controls.continued, controls.temperature, controls.top_k, controls.top_p]
    shown += [*controls.numbers, *controls.labels]
    chosen = controls.checkpoint.input(
        partial(fetching.choose, root), controls.checkpoint, shown, **quick
    )
    of_hub = [controls.checkpoint, *shown]
    chosen.then(partial(fetching.fetch_chosen, root), controls.checkpoint, of_hub, **quick)
    _greet(root, controls, about, shown, generate)


def _greet(
    root: Path, controls: Controls, about: gr.HTML, shown: list[Any], generate: gr.Button
) -> None:
    """Fill the page when it opens: with the first checkpoint, or with what its link says."""
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page = gr.context.Context.root_block
    assert page is not None
    of_link = [getattr(controls, name) for name in LINKED]

    def greet(request: gr.Request) -> list[Any]:
        return show_page(root, str(request.query_params))

    loaded = page.load(greet, None, [controls.checkpoint, *shown, *of_link], queue=False, **private)
    # Only now do the dropdowns hold labels: a press before would lack them.
    loaded.then(lambda: gr.update(interactive=True), None, generate, queue=False, **private)
    # Not in the queue, where it would take a place, and be refused where there is none.
    chosen, quick = controls.checkpoint, {"queue": False, **private}
    noted = loaded.then(partial(tell, root, more=PREPARING), chosen, about, **quick)
    ready = noted.then(partial(prepare, root), chosen, None, **quick)
    # Another may have been chosen by now: what is said is said of that.
    ready.then(partial(tell, root), chosen, about, **quick)


def _controls(root: Path, about: gr.HTML) -> tuple[Controls, gr.Button, gr.Button]:
    names = jobs.list_checkpoints(root)
    run = gr.Number(0, precision=0, visible=False)
    checkpoint = gr.Dropdown(
        names,
        value=names[0] if names else None,
        label="Checkpoint, or OWNER/NAME of the Hugging Face Hub"
        if import_allowed()
        else "Checkpoint",
        allow_custom_value=import_allowed(),
        elem_id="checkpoint",
    )
    about.render()
    with gr.Row():
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABEL_SETS)]
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    source = _recording("Recording to say again: WAV, FLAC, OGG or MP3", "source", visible=False)
    with gr.Row():
        seconds = gr.Number(
            1.0, label="Length (s)", minimum=0.01, step=0.1, min_width=120, elem_id="seconds"
        )
        seed = gr.Number(
            -1, label="Seed (−1: any)", precision=0, minimum=-1, min_width=120, elem_id="seed"
        )
    with gr.Row():
        generate = gr.Button(
            "Generate", variant="primary", elem_id="generate", min_width=120, interactive=False
        )
        stop = gr.Button("Stop", elem_id="stop", min_width=120)
    sampling = _sampling()
    with gr.Accordion("Continue a recording", open=False) as continued:
        prompt = _recording("Prompt: WAV, FLAC, OGG or MP3", "prompt")
        with_prompt = gr.Checkbox(True, label="Play and save the prompt before what follows it")
    of_prompt: dict[str, Any] = {"prompt": prompt, "with_prompt": with_prompt, "source": source}
    first: dict[str, Any] = {"run": run, "checkpoint": checkpoint, "seconds": seconds, "seed": seed}
    widgets = first | sampling | of_prompt
    controls = Controls(**widgets, numbers=numbers, labels=labels, continued=continued)
    return controls, generate, stop


def _recording(label: str, elem_id: str, visible: bool = True) -> gr.Audio:
    return gr.Audio(
        type="filepath",
        sources=["upload", "microphone"],
        format=None,
        buttons=["download"],
        label=label,
        elem_id=elem_id,
        visible=visible,
    )


def _sampling() -> dict[str, Any]:
    """Lay out what few people change."""
    with gr.Accordion("Sampling", open=False):
        guidance = gr.Slider(
            1,
            4,
            1,
            step=0.1,
            label="Guidance: how strongly the labels are followed (1 is plain)",
            visible=False,
            elem_id="guidance",
        )
        return {
            "variants": gr.Slider(
                1, jobs.MAX_VARIANTS, 1, step=1, label="Variants: clips at once", elem_id="variants"
            ),
            "temperature": gr.Slider(
                0.1, 2, 1, step=0.05, label="Temperature (below 1 is calmer)", elem_id="temperature"
            ),
            "top_k": gr.Slider(
                0, 256, 0, step=1, label="Top-k: likeliest codes to draw from (0 is off)"
            ),
            "top_p": gr.Slider(
                0.05, 1, 1, step=0.01, label="Top-p: share of the likeliest (1 is off)"
            ),
            "guidance": guidance,
            "engine": gr.Dropdown(
                list(jobs.ENGINES), value="auto", label="Engine", elem_id="engine"
            ),
        }


def _results() -> tuple[dict[str, Any], gr.Button]:
    """Lay out the outputs, by the names of `live.OUTPUTS`."""
    found: dict[str, Any] = {"player": make_player(rate=16_000)}
    found["summary"] = gr.HTML(EMPTY, elem_id="summary")
    with gr.Column(visible=False) as found["box"]:
        for n in range(jobs.MAX_VARIANTS):
            found[f"audio{n + 1}"] = gr.Audio(
                type="filepath",
                interactive=False,
                buttons=["download"],
                format=None,
                label="Lossless WAV" if n == 0 else f"Variant {n + 1}",
                elem_id="result" if n == 0 else f"result-{n + 1}",
                visible=n == 0,
            )
        found["matched"] = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            label="Filtered until it has the mel of the recording",
            elem_id="matched",
            visible=False,
        )
        with gr.Row(equal_height=True):
            found["used_seed"] = gr.Number(
                label="Seed used",
                precision=0,
                interactive=False,
                elem_id="used-seed",
                min_width=120,
            )
            reuse = gr.Button("Use it again", elem_id="reuse", min_width=120)
        with gr.Column(elem_classes="pictures"):
            for name in live.PICTURES:
                found[name] = gr.Plot(label=name, show_label=False, elem_id=name)
        with gr.Accordion("The same again: command, settings, link", open=False):
            for name, label in (("command", "Command line"), ("settings", "Settings (JSON)")):
                found[name] = gr.Textbox(
                    label=label, interactive=False, buttons=["copy"], elem_id=name, lines=2
                )
            found["link"] = gr.HTML(elem_id="link")
    return found, reuse


def show_page(root: Path, query: str = "") -> list[Any]:
    """List the checkpoints that there are now, and show the first, or what a link says.

    Args:
        query: of the address, after the question mark.
    Returns:
        the update of the checkpoint, those of `show_checkpoint`, those of `LINKED`.
    """
    names = jobs.list_checkpoints(root)
    values, labels = sharing.read_link(query)
    wanted = values.get("checkpoint")
    if wanted in names:
        first, shown = wanted, show_checkpoint(root, wanted, values | labels)
    else:
        first = names[0] if names else None
        shown = show_checkpoint(root, first)
    linked = [values.get(name, gr.skip()) for name in LINKED]
    return [gr.update(choices=names, value=first), *shown, *linked]


def tell(root: Path, name: str | None, more: str = "") -> Any:
    """Say what a checkpoint is, where there is one."""
    try:
        return describe(jobs.load_named(root, name)) + more
    except WaveNetError:
        return gr.skip()


def prepare(root: Path, name: str | None) -> None:
    """Compile the engine when a page opens."""
    with suppress(WaveNetError):
        warm_up(jobs.load_named(root, name))
