"""The Generate tab: choose, press, hear it while it is made, keep it.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `live` does the work behind the
button.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.errors import WaveNetError
from wavenet.synthesis.generate import warm_up
from wavenet.ui import jobs
from wavenet.ui.api import make_api
from wavenet.ui.live import Stops, run_live
from wavenet.ui.player import SETTLE_JS, START_JS, STOP_JS, make_player

# More label sets than this, and a page of dropdowns is the wrong tool: use the command line.
MAX_LABEL_SETS = 8
# What is heard well at the first press, where the checkpoint has it: of the speakers of the digits
# some were recorded 20 dB softer than others.
FIRST_CHOICES = {"digit": "7", "speaker": "jackson"}
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
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
    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider
    engine: gr.Dropdown
    prompt: gr.Audio
    with_prompt: gr.Checkbox
    labels: list[gr.Dropdown]

    def listed(self) -> list[Any]:
        """All of them, the label dropdowns last."""
        *single, labels = vars(self).values()
        return [*single, *labels]


@dataclass(frozen=True)
class Results:
    """The outputs of a run, in the order in which `live.run_live` yields them."""

    player: gr.HTML
    summary: gr.HTML
    used_seed: gr.Number
    box: gr.Column
    audio: gr.Audio
    waveform: gr.Plot
    mel: gr.Plot
    mfcc: gr.Plot


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            controls, about, generate, stop = _controls(root)
        with gr.Column(scale=3, min_width=300):
            results, reuse = _results()
    private: dict[str, Any] = {"api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", **private}
    stops = Stops()
    event = generate.click(
        partial(run_live, root, stops),
        controls.listed(),
        list(vars(results).values()),
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
    reuse.click(lambda seed: seed, results.used_seed, controls.seed, **quick)
    shown = [about, controls.seconds, results.player, *controls.labels]
    controls.checkpoint.input(partial(show_checkpoint, root), controls.checkpoint, shown, **quick)
    page = gr.context.Context.root_block
    assert page is not None
    loaded = page.load(partial(show_page, root), None, [controls.checkpoint, *shown], **quick)
    # Only now do the dropdowns hold labels: a press before would lack them.
    loaded.then(lambda: gr.update(interactive=True), None, generate, **quick)
    loaded.then(
        partial(prepare, root),
        controls.checkpoint,
        about,
        show_progress="hidden",
        **MODEL_QUEUE,
        **private,
    )
    gr.api(make_api(root), api_name="generate", **MODEL_QUEUE)  # type: ignore[attr-defined]


def _controls(root: Path) -> tuple[Controls, gr.HTML, gr.Button, gr.Button]:
    names = jobs.list_checkpoints(root)
    checkpoint = gr.Dropdown(
        names, value=names[0] if names else None, label="Checkpoint", elem_id="checkpoint"
    )
    about = gr.HTML(elem_classes="about")
    with gr.Row():
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABEL_SETS)]
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
    with gr.Accordion("Sampling", open=False):
        temperature = gr.Slider(0.1, 2, 1, step=0.05, label="Temperature (below 1 is calmer)")
        top_k = gr.Slider(0, 256, 0, step=1, label="Top-k: likeliest codes to draw from (0 is off)")
        top_p = gr.Slider(0.05, 1, 1, step=0.01, label="Top-p: share of the likeliest (1 is off)")
        engine = gr.Dropdown(list(jobs.ENGINES), value="auto", label="Engine", elem_id="engine")
    with gr.Accordion("Continue a recording", open=False):
        prompt = gr.Audio(
            type="filepath",
            sources=["upload", "microphone"],
            format=None,
            buttons=["download"],
            label="Prompt: WAV, FLAC, OGG or MP3",
            elem_id="prompt",
        )
        with_prompt = gr.Checkbox(True, label="Play and save the prompt before what follows it")
    run = gr.Number(0, precision=0, visible=False)
    controls = Controls(
        run,
        checkpoint,
        seconds,
        seed,
        temperature,
        top_k,
        top_p,
        engine,
        prompt,
        with_prompt,
        labels,
    )
    return controls, about, generate, stop


def _results() -> tuple[Results, gr.Button]:
    player = make_player(rate=16_000)
    summary = gr.HTML(EMPTY, elem_id="summary")
    with gr.Column(visible=False) as box:
        audio = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            label="Lossless WAV",
            elem_id="result",
        )
        with gr.Row(equal_height=True):
            used_seed = gr.Number(
                label="Seed used",
                precision=0,
                interactive=False,
                elem_id="used-seed",
                min_width=120,
            )
            reuse = gr.Button("Use it again", elem_id="reuse", min_width=120)
        with gr.Column(elem_classes="pictures"):
            names = ("waveform", "mel", "mfcc")
            pictures = [gr.Plot(label=name, show_label=False, elem_id=name) for name in names]
    return Results(player, summary, used_seed, box, audio, *pictures), reuse


def show_page(root: Path) -> list[Any]:
    """List the checkpoints that there are now, and show the first."""
    names = jobs.list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_checkpoint(root, first)]


def show_checkpoint(root: Path, name: str | None) -> list[Any]:
    """Describe a checkpoint and fit the controls to it.

    Args:
        name: of its folder.
    Returns:
        Updates of the description, the length, the player and `MAX_LABEL_SETS` dropdowns.
    """
    try:
        checkpoint = jobs.load_named(root, name)
    except WaveNetError as error:
        hidden = [gr.update(visible=False)] * MAX_LABEL_SETS
        return [
            f"<p role='alert'>{escape(jobs.sentence(error))}</p>",
            gr.skip(),
            gr.skip(),
            *hidden,
        ]
    config = checkpoint.config
    dropdowns = []
    for condition in config.model.labels[:MAX_LABEL_SETS]:
        first = FIRST_CHOICES.get(condition.name, "")
        value = first if first in condition.values else condition.values[0]
        label = condition.name.replace("_", " ").capitalize()
        dropdowns.append(
            gr.update(choices=list(condition.values), value=value, label=label, visible=True)
        )
    hidden = [gr.update(visible=False)] * (MAX_LABEL_SETS - len(dropdowns))
    seconds = min(config.default_seconds, jobs.MAX_SECONDS)
    rate = {"rate": config.audio.sample_rate}
    return [describe(checkpoint), seconds, rate, *dropdowns, *hidden]


def describe(checkpoint: Checkpoint) -> str:
    """Put what matters about a model into one line of HTML."""
    model, rate = checkpoint.model, checkpoint.config.audio.sample_rate
    parts = [
        f"{rate:,} Hz",
        f"{len(model.config.dilations)} layers",
        f"{model.parameter_count:,} parameters",
        f"hears back {model.receptive_field:,} samples ({1000 * model.receptive_seconds:.0f} ms)",
    ]
    if len(model.config.labels) > MAX_LABEL_SETS:
        parts.append(f"only {MAX_LABEL_SETS} of its label sets fit on this page")
    return f"<p>{' · '.join(parts)}</p>"


def prepare(root: Path, name: str | None) -> Iterator[Any]:
    """Compile the engine when a page opens; say so, for on a new machine it takes a while."""
    try:
        checkpoint = jobs.load_named(root, name)
    except WaveNetError:
        yield gr.skip()
        return
    yield describe(checkpoint) + "<p>Preparing the engine; the first time takes about 15 s …</p>"
    warm_up(checkpoint)
    yield describe(checkpoint)
