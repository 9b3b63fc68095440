"""The callbacks of the Train tab: look at recordings, describe a run, start, control and show it.

Input: values of the widgets by name. Output: updates by name. Runs are separate processes
(`training.run_process`), in the folder `runs` of the working folder, like the runs of the command
line. Nothing about a run is kept in memory: the callbacks read its folder. Called by `train_tab`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.checkpoint_folders import list_in_studio
from wavenet.config import make_config
from wavenet.errors import ConditionError, PatternMismatch, WaveNetError
from wavenet.sharing.local_models import check_model_name
from wavenet.sharing.run_checkpoint import copy_run_checkpoint, listed_name
from wavenet.training import example_run, run_process
from wavenet.training.dataset_report import DatasetReport, scan_dataset
from wavenet.training.run_recipe import RunModel, read_recipe
from wavenet.training.run_status import list_runs, read_status
from wavenet.training.warm_worker import WarmWorker
from wavenet.ui.checkpoint_library import list_checkpoints
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.event_handling import PageJobs
from wavenet.ui.model_bar.model_bar import list_models, show_settings
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_note, error_sentence, status_note
from wavenet.ui.train import run_view, training_recordings
from wavenet.ui.train.recipe_choices import DEFAULT_RECIPE, describe_recipe, recipe_choices
from wavenet.ui.train.recording_scan import Progress, run_scan
from wavenet.ui.train.run_view import RunView, view_run, view_updates

REPORT_PLACEHOLDER = (
    "<p class='empty'>Lengths, sample rates, clipping, silence and labels of the recordings appear "
    "here.</p>"
)
NEW_MODEL = "a new model"
Values = dict[str, Any]


@dataclass(frozen=True)
class TrainSetup:
    """What the callbacks of the tab use.

    Attributes:
        page: what all tabs share.
        runs_dir: folder of the runs.
        warm_worker: a process that waits for a run; None: none.
        scans: the scans of recordings.
    """

    page: Page
    runs_dir: Path
    warm_worker: WarmWorker | None = None
    scans: PageJobs = field(default_factory=PageJobs)


@dataclass(frozen=True)
class Inspected:
    """Recordings as they were read.

    Attributes:
        source: the values of folder, uploads, pattern and table.
        fields: values by name.
        suggested: the fields to use as labels.
    """

    source: tuple[Any, ...]
    fields: dict[str, tuple[str, ...]]
    suggested: list[str]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The fields that a model can learn, as (text, name)."""
        return training_recordings.label_choices(self.fields)


def inspect_recordings(
    setup: TrainSetup,
    only_if_changed: bool,
    *,
    job_number: int,
    previous_job: int | None,
    folder: str | None,
    uploads: list[str] | None,
    pattern: str | None,
    table: str | None,
    recipe: str,
    start_from: str | None,
    inspected: Inspected | None,
) -> Iterator[Values]:
    """Read recordings, and show a report during the scan.

    Args:
        setup: of the tab.
        only_if_changed: before a start: do nothing if `inspected` is up to date, and raise errors.
        job_number, previous_job: from the browser; a page has one scan at a time.
        folder, uploads: path of a folder of recordings, or paths of dropped files.
        pattern, table: pattern of the file names, or path of a table of labels.
        recipe, start_from, inspected: the newest values.
    Yields:
        The report, a suggested pattern, and the choices that depend on the recordings.
    Raises:
        gr.Error: the recordings cannot be used, before a start.
    """
    source = (folder, uploads, pattern, table)
    if only_if_changed and inspected is not None and inspected.source == source:
        yield {}
        return
    setup.scans.replaced.add(previous_job)
    nothing = {"suggested": None, "suggestion": gr.update(visible=False), "inspected": None}
    ended = {"stop_scan": gr.update(interactive=False)}
    if not only_if_changed and not uploads and not (folder or "").strip():
        yield {**nothing, **ended, "report": REPORT_PLACEHOLDER}
        return
    yield {**nothing, "stop_scan": gr.update(interactive=True), "report": status_note("Reading …")}
    is_wanted = partial(setup.scans.is_wanted, job_number)
    try:
        collected = training_recordings.collected_recordings(folder, uploads, table is not None)
        with collected as (path, rejected):
            progress: Progress = 0
            for progress in _scan(path, pattern, table, bool(uploads), is_wanted):
                if isinstance(progress, int) or progress.done < progress.files:
                    yield {"report": training_recordings.describe_progress(progress)}
        if job_number in setup.scans.replaced:
            return  # the other scan shows its own report
        if not is_wanted():
            text = training_recordings.describe_progress(progress, is_stopped=True)
            yield {**ended, "report": text}
            if only_if_changed:
                raise ConditionError("reading the recordings was stopped")
            return
        assert isinstance(progress, DatasetReport)
        report = training_recordings.describe_report(progress, rejected)
        fields = {name: tuple(values) for name, values in progress.fields.items()}
        found = Inspected(source, fields, training_recordings.suggested_labels(progress))
        yield {
            **_suggest(progress.suggested_pattern),
            **ended,
            **_fit_to_recordings(setup, found, recipe, start_from),
            "report": report.replace(f"{path}{os.sep}", ""),
            "inspected": found,
        }
    except (WaveNetError, AudioError) as error:
        suggestion = _suggest(getattr(error, "suggested_pattern", None))
        yield {**suggestion, **ended, "report": error_note(error)}
        if only_if_changed:
            with convert_user_errors():
                raise


def use_suggestion(*, suggested: str | None) -> Values:
    """Put the suggested pattern into its field."""
    return {"pattern": suggested or "", "suggestion": gr.update(visible=False)}


def show_recipe(
    setup: TrainSetup, *, recipe: str, start_from: str | None, inspected: Inspected | None
) -> Values:
    """Return the description of a recipe or of an initial model, with its steps and labels."""
    shown = _fit_to_recordings(setup, inspected or Inspected((), {}, []), recipe, start_from)
    return {**shown, "steps": read_recipe(recipe).train.steps}


def show_labels(
    setup: TrainSetup,
    *,
    recipe: str,
    labels: list[str],
    start_from: str | None,
    inspected: Inspected | None,
) -> Values:
    """Return the recipes and the description of the run with the chosen labels."""
    fields = inspected.fields if inspected else {}
    with convert_user_errors():
        values = {name: fields[name] for name in labels if name in fields}
        model = RunModel(values, _initial_folder(setup, start_from))
        choices = recipe_choices(model, fields)
        names = [name for _, name in choices]
        if recipe not in names:
            recipe = DEFAULT_RECIPE if DEFAULT_RECIPE in names else names[0]
        return {
            "recipe": gr.update(choices=choices, value=recipe),
            "about": describe_recipe(setup.runs_dir, recipe, model, fields),
        }


def _fit_to_recordings(
    setup: TrainSetup, found: Inspected, recipe: str, start_from: str | None
) -> Values:
    """Return the recipes that fit, and labels: those of the recipe, or the suggested ones."""
    names = [name for _, name in found.choices]
    labels = read_recipe(recipe).model.labels
    chosen = found.suggested
    if read_recipe(recipe).model.conditions:
        chosen = [c.name for c in labels if c.name in names]
    if start_from:  # the labels of the initial model stay as they are
        names, chosen = [], []
    inspected = found if found.source else None
    shown = show_labels(
        setup, recipe=recipe, labels=chosen, start_from=start_from, inspected=inspected
    )
    choices = found.choices if names else []
    return {**shown, "labels": gr.update(choices=choices, value=chosen, visible=bool(names))}


def start_run(
    setup: TrainSetup,
    *,
    folder: str | None,
    uploads: list[str] | None,
    pattern: str | None,
    table: str | None,
    labels: list[str],
    start_from: str | None,
    recipe: str,
    steps: float | None,
    name: str | None,
) -> Values:
    """Start a run from the values of the widgets, and choose it."""
    with convert_user_errors():
        data = None if uploads else str(training_recordings.check_folder(folder))
        if not (name or "").strip():
            raise ConditionError("enter a name for the run; its model will have this name")
        plan = make_config(
            run_process.RunPlan,
            "the run",
            name=check_model_name(setup.page.root, name),
            data=data,
            pattern=pattern or None,
            metadata=training_recordings.stored_table_name(table) if table else None,
            labels=tuple(labels),
            recipe=recipe,
            steps=steps,
            initial=start_from or None,
        )
        copy = None
        if uploads:
            copy = partial(training_recordings.copy_uploads, uploads, has_table=table is not None)
        initial = _initial_folder(setup, start_from)
        table_path = Path(table) if table else None
        run_process.start(plan, setup.runs_dir, copy, setup.warm_worker, table_path, initial)
        return {"run": gr.update(choices=list_runs(setup.runs_dir), value=plan.name)}


def start_example(setup: TrainSetup) -> Values:
    """Start a short run on synthetic notes, and choose it."""
    with convert_user_errors():
        root = setup.page.root
        used = {path.name for path in (*setup.runs_dir.glob("*"), *root.glob("*"))}
        used |= set(list_checkpoints(root))
        plan = example_run.example_plan(used)
        run_process.start(plan, setup.runs_dir, example_run.write_notes, setup.warm_worker)
        return {"run": gr.update(choices=list_runs(setup.runs_dir), value=plan.name)}


def control_run(setup: TrainSetup, action: Callable[[Path], None], *, run: str | None) -> None:
    """Pause or stop the chosen run."""
    with convert_user_errors():
        action(_run_folder(setup, run))


def resume_run(setup: TrainSetup, *, run: str | None, accept: bool) -> None:
    """Resume the chosen run, also with changed recordings or settings if `accept`."""
    with convert_user_errors():
        run_process.resume(_run_folder(setup, run), accept, setup.warm_worker)


def use_run_checkpoint(setup: TrainSetup, *, run: str | None) -> Values:
    """Add the newest checkpoint of a run to the models, choose it, and open the Generate tab."""
    with convert_user_errors():
        copy_run_checkpoint(_run_folder(setup, run), setup.page.root)
    return {**show_settings(setup.page, {"model": run}), "tabs": gr.update(selected="generate")}


def keep_previews(setup: TrainSetup, *, token: Any, run: str | None) -> Values:
    """Add the shown preview clips of a run to the visitor's clips, each once."""
    clips = setup.page.clips
    with convert_user_errors():
        status = read_status(_run_folder(setup, run))
        listed = {clip.title for clip in clips.clips(token)}
        for step, path in status.preview_clips[-run_view.CLIPS :]:
            title = f"{run} · preview after step {step:,}"
            if title not in listed:
                preview = io.read(path)
                file_name = f"{run}_step{step}.wav"
                clips.add(token, preview.waveform, preview.sample_rate, file_name, title, "preview")
    return show_history(clips, token)


def show_run(setup: TrainSetup, *, run: str | None, shown_view: RunView | None) -> Values:
    """Show the chosen run, and add the checkpoint of a completed run to the models.

    Args:
        setup: of the tab.
        run: name of the run.
        shown_view: the data that the page shows now.
    """
    root = setup.page.root
    new, message, is_new = view_run(setup.runs_dir, run), "", False
    if new.is_complete and run:
        try:
            is_new = copy_run_checkpoint(setup.runs_dir / run, root, replace_removed=False)
        except WaveNetError as error:
            message = error_sentence(error)
    listed = listed_name(setup.runs_dir / run, root) if run else None
    if listed:
        message = f"The list of models has its checkpoint as {listed}."
    new = view_run(setup.runs_dir, run, message) if message else new
    models = list_models(setup.page) if is_new else {}
    return {**view_updates(new, shown_view), **models, "shown_view": new}


def show_runs(setup: TrainSetup) -> Values:
    """List the current runs, and choose the newest."""
    names = list_runs(setup.runs_dir)
    return {"run": gr.update(choices=names, value=names[0] if names else None)}


def list_other_runs(setup: TrainSetup, *, run: str | None) -> Values:
    """List the current runs; choose the newest if the chosen one is not among them."""
    names = list_runs(setup.runs_dir)
    return {"run": gr.update(choices=names, value=run if run in names else next(iter(names), None))}


def initial_choices(root: Path) -> Any:
    """Return an update of the models that a run can start from."""
    return gr.update(choices=[(NEW_MODEL, ""), *((n, n) for n in list_checkpoints(root))])


def _suggest(pattern: str | None) -> Values:
    button = gr.update(value=f"Use the pattern {pattern}", visible=bool(pattern))
    return {"suggested": pattern, "suggestion": button}


def _scan(
    source: Path,
    pattern: str | None,
    table: str | None,
    is_temporary: bool,
    is_wanted: Callable[[], bool],
) -> Iterator[Progress]:
    """Scan a folder; errors contain no paths of the server."""

    def scan(on_found: Callable[[int], None]) -> Iterator[DatasetReport]:
        return scan_dataset(source, pattern or None, table, on_found=on_found)

    try:
        yield from run_scan(scan, is_wanted)
    except WaveNetError as error:
        text = str(error).replace(f"{source}{os.sep}", "")
        text = text.replace(table, Path(table).name) if table else text
        text = text.replace(str(source), "the dropped files") if is_temporary else text
        shorter = type(error)(text)
        if isinstance(error, PatternMismatch) and isinstance(shorter, PatternMismatch):
            shorter.suggested_pattern = error.suggested_pattern
        raise shorter from None


def _initial_folder(setup: TrainSetup, name: str | None) -> Path | None:
    if not name:
        return None
    folder = list_in_studio(setup.page.root).get(name)
    if folder is None:
        raise ConditionError(f"Start from: expected a model here, found {name[:100]!r}")
    return folder


def _run_folder(setup: TrainSetup, name: str | None) -> Path:
    if name not in list_runs(setup.runs_dir):
        raise ConditionError("this run no longer exists; reload the page")
    return setup.runs_dir / str(name)
