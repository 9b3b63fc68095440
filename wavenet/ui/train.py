"""The Train tab: recordings and what is in them, a recipe by size; a run to watch, hear and steer.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `training` does the work behind
the buttons. Runs lie in `runs` of the working folder, as those of the command line do.
"""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.audio_metadata import AUDIO_SUFFIXES, METADATA_NAMES
from wavenet.training import run_process
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui import recipes, recordings, runs, training

# One survey at a time: they share a disk.
SURVEY_QUEUE: dict[str, Any] = {"concurrency_id": "survey", "concurrency_limit": 1}
# One person steers at a time. What can fail has to be queued: only then is its sentence shown.
STEER_QUEUE: dict[str, Any] = {"concurrency_id": "steer", "concurrency_limit": 1}
# What other tabs choose a checkpoint with.
PICKERS = ("checkpoint", "judge", "watch-checkpoint")
NO_REPORT = (
    "<p class='empty'>Lengths, rates, clipping, silence and labels of the recordings appear here, "
    "before anything is trained on them.</p>"
)
COLOURS = {runs.TRAINING: "#0d9488", runs.HELD_OUT: "#ea580c"}


def tab(root: Path, opened: gr.Tab) -> None:
    """Lay out the tab and wire it, or say why there is none here.

    Args:
        root: folder of checkpoint folders.
        opened: the tab this stands in; who opens it will soon want a process that trains.
    """
    reason = training.refusal()
    if reason:
        gr.HTML(f"<p class='note'>{reason}</p>", elem_id="train-off")
        return
    place = Path.cwd() / "runs"
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            given = _inputs(place)
        with gr.Column(scale=3, min_width=300):
            shown = _run()
    seen = gr.State(None)
    page = gr.context.Context.root_block
    assert page is not None
    pickers = [block for block in page.blocks.values() if block.elem_id in PICKERS]
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, **private}
    show: dict[str, Any] = {
        "fn": partial(training.show, place, root, len(pickers)),
        "inputs": [shown["run"], seen],
        "outputs": [*(shown[name] for name in training.SHOWN), seen, *pickers],
    }
    standby = WarmWorker()
    opened.select(standby.ensure_started, None, None, **quick)
    _wire_inputs(place, root, given, shown["run"], show, standby)
    resume = partial(run_process.resume, warm_worker=standby)
    for name, action in (
        ("pause", run_process.pause),
        ("resume", resume),
        ("stop", run_process.stop),
    ):
        act = partial(training.steer, place, action)
        shown[name].click(act, shown["run"], None, **STEER_QUEUE, **private).then(**show, **quick)
    use = partial(training.use, place, root, len(pickers))
    shown["use"].click(use, shown["run"], pickers, **STEER_QUEUE, **private).success(
        **show, **quick
    )
    shown["run"].input(**show, **quick)
    shown["timer"].tick(**show, **quick)
    page.load(partial(training.show_runs, place), None, shown["run"], **quick).then(**show, **quick)


def _wire_inputs(
    place: Path,
    root: Path,
    given: dict[str, Any],
    run: gr.Dropdown,
    show: dict[str, Any],
    standby: WarmWorker,
) -> None:
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, **private}
    source = [given[name] for name in ("folder", "dropped", "pattern")]
    fitted = [given[name] for name in ("about", "steps", "labels")]
    describe: dict[str, Any] = {
        "fn": partial(training.show_recipe, place),
        "inputs": [given["recipe"], given["looked"]],
        "outputs": fitted,
    }
    found = [given[name] for name in ("report", "labels", "recipe", "looked")]
    looked = given["look"].click(training.look_at, source, found, **SURVEY_QUEUE, **private)
    looked.success(**describe, **quick)
    given["recipe"].input(**describe, **quick)
    plan = [given[name] for name in ("labels", "recipe", "steps", "name", "looked")]
    begun = given["start"].click(
        partial(training.begin, place, root, standby=standby),
        [*source, *plan],
        run,
        **STEER_QUEUE,
        **private,
    )
    begun.success(**show, **quick)
    begin_example = partial(training.begin_example, place, root, standby=standby)
    example = given["example"].click(begin_example, None, run, **STEER_QUEUE, **private)
    example.success(**show, **quick)


def _inputs(place: Path) -> dict[str, Any]:
    """Lay out what a run is made of."""
    found: dict[str, Any] = {"looked": gr.State(None)}
    found["folder"] = gr.Textbox(
        label="Folder of recordings on this machine",
        placeholder="~/recordings",
        elem_id="train-folder",
    )
    found["dropped"] = gr.File(
        file_count="multiple",
        file_types=[*AUDIO_SUFFIXES, *(Path(name).suffix for name in METADATA_NAMES)],
        type="filepath",
        label=f"Or drop up to {recordings.MAX_FILES} files of up to 20 MB",
        height=170,
        elem_id="train-dropped",
    )
    gr.HTML("<p class='note'>Dropped files are kept with the run, in runs/NAME/recordings.</p>")
    found["pattern"] = gr.Textbox(
        label="Labels in the file names, if any",
        placeholder="{word}_{voice}_{take}",
        elem_id="train-pattern",
    )
    found["look"] = gr.Button("Look at the recordings", elem_id="train-look")
    found["report"] = gr.HTML(NO_REPORT, elem_id="train-report")
    found["labels"] = gr.CheckboxGroup(
        [], label="Labels to learn (values)", visible=False, elem_id="train-labels"
    )
    first = recipes.FIRST
    found["recipe"] = gr.Radio(
        recipes.choices(), value=first, label="Recipe, by size", elem_id="train-recipe"
    )
    found["about"] = gr.HTML(recipes.describe(place, first), elem_id="train-about")
    with gr.Row():
        found["name"] = gr.Textbox(
            label="Name", placeholder="my_voice", min_width=120, elem_id="train-name"
        )
        found["steps"] = gr.Number(
            recipes.recipe(first).train.steps,
            label="Steps",
            precision=0,
            minimum=1,
            min_width=120,
            elem_id="train-steps",
        )
    with gr.Row():
        found["start"] = gr.Button(
            "Start training", variant="primary", elem_id="train-start", min_width=120
        )
        found["example"] = gr.Button("Example", elem_id="train-example", min_width=120)
    return found


def _run() -> dict[str, Any]:
    """Lay out what is seen of a run, by the names of `training.SHOWN`."""
    found: dict[str, Any] = {"timer": gr.Timer(runs.OFTEN_SECONDS, active=False)}
    found["run"] = gr.Dropdown([], label="Run", elem_id="train-run")
    found["state"] = gr.HTML(runs.NONE_YET, elem_id="train-state")
    found["facts"] = gr.HTML(elem_id="train-facts")
    with gr.Row():
        for name, label in (("pause", "Pause"), ("resume", "Resume"), ("stop", "Stop")):
            found[name] = gr.Button(label, interactive=False, elem_id=f"train-{name}", min_width=90)
        found["use"] = gr.Button(
            "Use it now", interactive=False, elem_id="train-use", min_width=120
        )
    found["curves"] = gr.LinePlot(
        x="step",
        y="bits",
        color="clips",
        x_title="Step",
        y_title="Bits per sample",
        color_title="",
        color_map=COLOURS,
        height=300,
        show_label=False,
        visible=False,
        elem_id="train-curves",
    )
    for n in range(runs.CLIPS):
        found[f"clip{n + 1}"] = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            visible=False,
            elem_id=f"train-clip-{n + 1}",
        )
    return found
