"""The Train tab: inspect recordings, choose a recipe, start a run, watch and control it.

The layout comes first, then the callbacks. Runs are separate processes (`training.run_process`), in
the folder `runs` of the working folder, like the runs of the command line. The callbacks store
nothing in memory: they read the folders of the runs. Input: a folder of checkpoints. Output:
widgets with their events. Called by `studio_app`.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from audio_utils.audio_formats import AUDIO_SUFFIXES
from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.recordings.audio_metadata import METADATA_NAMES
from wavenet.training import run_process
from wavenet.training.dataset_report import DatasetReport, scan_dataset
from wavenet.training.run_status import list_runs
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui import run_view, training_recordings
from wavenet.ui.checkpoint_library import list_checkpoints
from wavenet.ui.page_text import convert_user_errors, error_sentence
from wavenet.ui.recipe_choices import (
    DEFAULT_RECIPE,
    describe_recipe,
    read_recipe,
    recipe_choices,
)
from wavenet.ui.run_view import RunView, copy_run_checkpoint, view_run, view_updates
from wavenet.ui.server.host_check import is_only_local

ALLOW_TRAIN = "WAVENET_TRAIN"
# One scan at a time, because all scans use the same disk.
SCAN_QUEUE: dict[str, Any] = {"concurrency_id": "scan", "concurrency_limit": 1}
# One action on runs at a time. It is queued because Gradio shows errors only of queued events.
RUN_QUEUE: dict[str, Any] = {"concurrency_id": "run", "concurrency_limit": 1}
# Dropdowns of checkpoints in other tabs.
CHECKPOINT_DROPDOWNS = ("checkpoint", "score-checkpoint", "watch-checkpoint")
EXAMPLE_NAME = "notes"
EXAMPLE_RECIPE, EXAMPLE_STEPS = "tiny", 100
REPORT_SECONDS = 0.3  # s between two updates of a report
REPORT_PLACEHOLDER = (
    "<p class='empty'>Lengths, sample rates, clipping, silence and labels of the recordings appear "
    "here.</p>"
)
COLOURS = {run_view.TRAINING: "#0d9488", run_view.VALIDATION: "#ea580c"}
RUN_OUTPUTS = (
    *("state", "facts", "curves"),
    *(f"clip{n + 1}" for n in range(run_view.CLIPS)),
    *("pause", "resume", "stop", "use", "timer"),
)


def tab(root: Path, tab_item: gr.Tab, is_local: bool) -> None:
    """Build the tab and wire its events, or show why training is disabled.

    Args:
        root: folder of checkpoint folders.
        tab_item: the tab itself; opening it starts a process that waits for a run.
        is_local: whether only this machine can use the server.
    """
    reason = disabled_reason(is_local)
    if reason:
        gr.HTML(f"<p class='note'>{reason}</p>", elem_id="train-disabled")
        return
    runs_dir = Path.cwd() / "runs"
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs = _inputs(runs_dir)
        with gr.Column(scale=3, min_width=300):
            shown = _run()
    shown_view = gr.State(None)
    page = gr.context.Context.root_block
    assert page is not None
    dropdowns = [block for block in page.blocks.values() if block.elem_id in CHECKPOINT_DROPDOWNS]
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, **private}
    show: dict[str, Any] = {
        "fn": partial(show_run, runs_dir, root, len(dropdowns)),
        "inputs": [shown["run"], shown_view],
        "outputs": [*(shown[name] for name in RUN_OUTPUTS), shown_view, *dropdowns],
    }
    warm_worker = WarmWorker()
    tab_item.select(warm_worker.ensure_started, None, None, **unqueued)
    _wire_inputs(runs_dir, root, inputs, shown["run"], show, warm_worker)
    resume = partial(run_process.resume, warm_worker=warm_worker)
    for name, action, options in (
        ("pause", run_process.pause, []),
        ("resume", resume, [shown["accept"]]),
        ("stop", run_process.stop, []),
    ):
        act, chosen = partial(control_run, runs_dir, action), [shown["run"], *options]
        shown[name].click(act, chosen, None, **RUN_QUEUE, **private).then(**show, **unqueued)
    use = partial(use_run_checkpoint, runs_dir, root, len(dropdowns))
    copied = shown["use"].click(use, shown["run"], dropdowns, **RUN_QUEUE, **private)
    copied.success(**show, **unqueued)
    shown["run"].input(**show, **unqueued)
    shown["timer"].tick(**show, **unqueued)
    listed = page.load(partial(show_runs, runs_dir), None, shown["run"], **unqueued)
    listed.then(**show, **unqueued)


def _wire_inputs(
    runs_dir: Path,
    root: Path,
    inputs: dict[str, Any],
    run: gr.Dropdown,
    show: dict[str, Any],
    warm_worker: WarmWorker,
) -> None:
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, **private}
    source = [inputs[name] for name in ("folder", "uploads", "pattern", "table")]
    recipe_outputs = [inputs[name] for name in ("about", "steps", "labels")]
    describe: dict[str, Any] = {
        "fn": partial(show_recipe, runs_dir),
        "inputs": [inputs["recipe"], inputs["inspected"]],
        "outputs": recipe_outputs,
    }
    found = [inputs[name] for name in ("report", "labels", "recipe", "inspected")]
    inspected = inputs["inspect"].click(inspect_recordings, source, found, **SCAN_QUEUE, **private)
    inspected.success(**describe, **unqueued)
    inputs["recipe"].input(**describe, **unqueued)
    plan = [inputs[name] for name in ("labels", "recipe", "steps", "name", "inspected")]
    started = inputs["start"].click(
        partial(start_run, runs_dir, root, warm_worker=warm_worker),
        [*source, *plan],
        run,
        **RUN_QUEUE,
        **private,
    )
    started.success(**show, **unqueued)
    start = partial(start_example, runs_dir, root, warm_worker=warm_worker)
    example = inputs["example"].click(start, None, run, **RUN_QUEUE, **private)
    example.success(**show, **unqueued)


def _inputs(runs_dir: Path) -> dict[str, Any]:
    """Build the widgets that define a run."""
    widgets: dict[str, Any] = {"inspected": gr.State(None)}
    widgets["folder"] = gr.Textbox(
        label="Folder of recordings on this machine",
        placeholder="~/recordings",
        elem_id="train-folder",
    )
    widgets["uploads"] = gr.File(
        file_count="multiple",
        file_types=[*AUDIO_SUFFIXES, *(Path(name).suffix for name in METADATA_NAMES)],
        type="filepath",
        label=f"Or drop up to {training_recordings.MAX_FILES} files of up to 20 MB",
        height=170,
        elem_id="train-uploads",
    )
    gr.HTML("<p class='note'>Dropped files are kept with the run, in runs/NAME/recordings.</p>")
    widgets["pattern"] = gr.Textbox(
        label="Labels in the file names (optional)",
        placeholder="{word}_{voice}_{take}",
        elem_id="train-pattern",
    )
    widgets["table"] = gr.File(
        file_types=list(training_recordings.TABLE_SUFFIXES),
        type="filepath",
        label="Or a table of labels (optional)",
        height=120,
        elem_id="train-table",
    )
    widgets["inspect"] = gr.Button("Inspect recordings", elem_id="train-inspect")
    widgets["report"] = gr.HTML(REPORT_PLACEHOLDER, elem_id="train-report")
    widgets["labels"] = gr.CheckboxGroup(
        [],
        label="Labels to condition on (number of their values)",
        visible=False,
        elem_id="train-labels",
    )
    widgets["recipe"] = gr.Radio(
        recipe_choices(),
        value=DEFAULT_RECIPE,
        label="Recipe, smallest model first",
        elem_id="train-recipe",
    )
    widgets["about"] = gr.HTML(describe_recipe(runs_dir, DEFAULT_RECIPE), elem_id="train-about")
    with gr.Row():
        widgets["name"] = gr.Textbox(
            label="Name of the run", placeholder="my_voice", min_width=120, elem_id="train-name"
        )
        widgets["steps"] = gr.Number(
            read_recipe(DEFAULT_RECIPE).train.steps,
            label="Steps",
            precision=0,
            minimum=1,
            min_width=120,
            elem_id="train-steps",
        )
    with gr.Row():
        widgets["start"] = gr.Button(
            "Start training", variant="primary", elem_id="train-start", min_width=120
        )
        widgets["example"] = gr.Button("Example", elem_id="train-example", min_width=120)
    return widgets


def _run() -> dict[str, Any]:
    """Build the widgets that show a run: the dropdown of runs, and `RUN_OUTPUTS`."""
    widgets: dict[str, Any] = {"timer": gr.Timer(run_view.SHORT_INTERVAL, active=False)}
    widgets["run"] = gr.Dropdown([], label="Run", elem_id="train-run")
    widgets["state"] = gr.HTML(run_view.PLACEHOLDER, elem_id="train-state")
    widgets["facts"] = gr.HTML(elem_id="train-facts")
    with gr.Row():
        for name, label in (("pause", "Pause"), ("resume", "Resume"), ("stop", "Stop")):
            widgets[name] = gr.Button(
                label, interactive=False, elem_id=f"train-{name}", min_width=90
            )
        widgets["use"] = gr.Button(
            "Use in other tabs", interactive=False, elem_id="train-use", min_width=120
        )
    widgets["accept"] = gr.Checkbox(
        False,
        label="Resume also with changed recordings or settings (--accept-changes)",
        elem_id="train-accept",
    )
    widgets["curves"] = gr.LinePlot(
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
    for n in range(run_view.CLIPS):
        widgets[f"clip{n + 1}"] = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            visible=False,
            elem_id=f"train-clip-{n + 1}",
        )
    return widgets


def disabled_reason(is_local: bool | None = None) -> str:
    """Return why training is disabled here; "" if it is enabled.

    Args:
        is_local: whether only this machine can use the server; None: decided by the environment.
    """
    if os.environ.get(ALLOW_TRAIN) == "1":
        return ""
    how = f"To enable it anyway, set {ALLOW_TRAIN}=1 in the environment."
    if "SPACE_ID" in os.environ:
        return (
            "Training is disabled on this Space: its visitors share one machine, and all visitors "
            f"would see the runs. Run the studio on your own machine. {how}"
        )
    if not (is_only_local() if is_local is None else is_local):
        return (
            "Training is disabled because this studio serves other machines: visitors could read "
            "folders of this machine. Start it for this machine only, without --host and "
            f"--allow-host. {how}"
        )
    return ""


def inspect_recordings(
    folder: str | None, uploads: list[str] | None, pattern: str | None, table: str | None = None
) -> Iterator[tuple[Any, ...]]:
    """Scan recordings, and show a report during the scan.

    Args:
        folder: path of a folder of recordings.
        uploads: paths of dropped files, instead of a folder.
        pattern: of the file names.
        table: path of an uploaded table of labels, instead of a pattern.

    Yields:
        The report, the choices of labels, the recipes that fit, and the inspected recordings.
    """
    collected = training_recordings.collected_recordings(folder, uploads, table is not None)
    with convert_user_errors(), collected as source:
        next_time = 0.0
        for found in _scan(source, pattern, table, bool(uploads)):
            if time.monotonic() > next_time and found.done < found.files:
                report = training_recordings.describe_report(found)
                yield report, gr.skip(), gr.skip(), None
                next_time = time.monotonic() + REPORT_SECONDS
        report = training_recordings.describe_report(found)
        choices = training_recordings.label_choices(found)
        suggested = training_recordings.suggested_labels(found)
        labels = gr.update(choices=choices, value=suggested)
        recipes = gr.update(choices=recipe_choices(found.fields))
        names = [name for _, name in choices]
        inspected = [folder, uploads, pattern, table, names, suggested]
        yield report.replace(f"{source}{os.sep}", ""), labels, recipes, inspected


def show_recipe(runs_dir: Path, name: str, inspected: list[Any] | None) -> tuple[Any, ...]:
    """Return the description of a recipe, its steps, and an update of the labels.

    The labels are visible if the recordings have labels. Selected are those of a recipe with
    conditions, otherwise the suggested ones.

    Args:
        runs_dir: folder of the runs.
        name: name of the recipe.
        inspected: the newest value of `inspect_recordings`.
    """
    recipe = read_recipe(name)
    names, suggested = inspected[-2:] if inspected else ([], [])
    if recipe.model.conditions:
        suggested = [c.name for c in recipe.model.labels if c.name in names]
    labels = gr.update(visible=bool(names), value=suggested)
    return describe_recipe(runs_dir, name), recipe.train.steps, labels


def start_run(
    runs_dir: Path,
    root: Path,
    folder: str | None,
    uploads: list[str] | None,
    pattern: str | None,
    table: str | None,
    labels: list[str],
    recipe: str,
    steps: float | None,
    name: str | None,
    inspected: list[Any] | None,
    warm_worker: WarmWorker | None = None,
) -> Any:
    """Start a run from the values of the controls, and choose it."""
    with convert_user_errors():
        if not inspected or inspected[:4] != [folder, uploads, pattern, table]:
            raise ConditionError("press “Inspect recordings” before you start training")
        plan = make_config(
            run_process.RunPlan,
            "the run",
            name=check_name(root, name),
            data=None if uploads else str(training_recordings.check_folder(folder)),
            pattern=pattern or None,
            metadata=training_recordings.stored_table_name(table) if table else None,
            labels=tuple(labels),
            recipe=recipe,
            steps=steps,
        )
        has_table = table is not None
        copy = None
        if uploads:
            copy = partial(training_recordings.copy_uploads, uploads, has_table=has_table)
        run_process.start(plan, runs_dir, copy, warm_worker, Path(table) if table else None)
        return gr.update(choices=list_runs(runs_dir), value=plan.name)


def start_example(runs_dir: Path, root: Path, warm_worker: WarmWorker | None = None) -> Any:
    """Start a short run on synthetic notes, and choose it."""
    with convert_user_errors():
        names = (EXAMPLE_NAME if n == 1 else f"{EXAMPLE_NAME}-{n}" for n in count(1))
        name = next(n for n in names if not ((runs_dir / n).exists() or (root / n).exists()))
        plan = run_process.RunPlan(
            name=name,
            pattern=training_recordings.NOTE_PATTERN,
            labels=("note",),
            recipe=EXAMPLE_RECIPE,
            steps=EXAMPLE_STEPS,
            sample_seconds=training_recordings.NOTE_SECONDS,
        )
        run_process.start(plan, runs_dir, training_recordings.write_notes, warm_worker)
        return gr.update(choices=list_runs(runs_dir), value=name)


def check_name(root: Path, name: str | None) -> str:
    """Return the name of a new run.

    Raises:
        ConditionError: the name is missing or invalid, or a checkpoint has the same name.
    """
    text = (name or "").strip()
    if not text:
        raise ConditionError("enter a name for the run; its checkpoint will have this name")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", text):
        raise ConditionError(
            "a name begins with a letter or _ and has at most 64 characters: letters, digits, "
            f"- and _; found {text[:80]!r}"
        )
    if (root / text).exists():
        raise ConditionError(f"a checkpoint {text} exists already; choose another name")
    return text


def control_run(
    runs_dir: Path, action: Callable[..., None], name: str | None, *options: bool
) -> None:
    """Pause, resume or stop the chosen run; `options` follow its folder in the call."""
    with convert_user_errors():
        action(_run_folder(runs_dir, name), *options)


def use_run_checkpoint(runs_dir: Path, root: Path, dropdowns: int, name: str | None) -> Any:
    """Copy the newest checkpoint of the chosen run to the folder of the other tabs, and list it."""
    with convert_user_errors():
        copy_run_checkpoint(_run_folder(runs_dir, name), root)
    return _dropdown_updates(root, dropdowns)


def show_run(
    runs_dir: Path, root: Path, dropdowns: int, name: str | None, shown_view: RunView | None
) -> list[Any]:
    """Show the chosen run, and copy the checkpoint of a completed run to the other tabs.

    Args:
        runs_dir: folder of the runs.
        root: folder of checkpoint folders.
        dropdowns: number of checkpoint dropdowns of other tabs.
        name: name of the run.
        shown_view: the data that the page shows now.
    Returns:
        Updates of `RUN_OUTPUTS`, the new data of the page, updates of the dropdowns.
    """
    new, message, is_new = view_run(runs_dir, name), "", False
    if new.is_complete and name:
        try:
            is_new = copy_run_checkpoint(runs_dir / name, root, replace_removed=False)
        except WaveNetError as error:
            message = error_sentence(error)
    if name and (is_new or run_view.is_listed(runs_dir / name, root)):
        message = f"The tabs Generate, Analyse and Watch sampling list its checkpoint as {name}."
    new = view_run(runs_dir, name, message) if message else new
    updates = view_updates(new, shown_view)
    others = _dropdown_updates(root, dropdowns) if is_new else [gr.skip()] * dropdowns
    return [*(updates[part] for part in RUN_OUTPUTS), new, *others]


def show_runs(runs_dir: Path) -> Any:
    """List the current runs, and choose the newest."""
    names = list_runs(runs_dir)
    return gr.update(choices=names, value=names[0] if names else None)


def _scan(
    source: Path, pattern: str | None, table: str | None, is_temporary: bool
) -> Iterator[DatasetReport]:
    """Scan a folder; errors contain no paths of the server."""
    try:
        yield from scan_dataset(source, pattern or None, table)
    except WaveNetError as error:
        text = str(error).replace(f"{source}{os.sep}", "")
        text = text.replace(table, Path(table).name) if table else text
        text = text.replace(str(source), "the dropped files") if is_temporary else text
        raise type(error)(text) from None


def _run_folder(runs_dir: Path, name: str | None) -> Path:
    if name not in list_runs(runs_dir):
        raise ConditionError("this run no longer exists; reload the page")
    return runs_dir / str(name)


def _dropdown_updates(root: Path, dropdowns: int) -> list[Any]:
    return [gr.update(choices=list_checkpoints(root)) for _ in range(dropdowns)]
