"""The Train tab without a browser: its callbacks, called by the names of their inputs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from audio_utils import io
from wavenet import checkpoint, folder_lock
from wavenet.sharing.local_models import delete_model, rename_model
from wavenet.sharing.run_checkpoint import checkpoint_digest
from wavenet.training import run_process
from wavenet.training.example_run import write_notes
from wavenet.training.run_process import RunPlan
from wavenet.training.run_recipe import RunModel, read_recipe
from wavenet.training.run_status import read_status
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.server.host_check import ALLOW_HOSTS
from wavenet.ui.studio_app import build_studio
from wavenet.ui.train import run_view, train_tab
from wavenet.ui.train.recipe_choices import recipe_choices
from wavenet.ui.train.train_events import (
    Inspected,
    TrainSetup,
    control_run,
    inspect_recordings,
    keep_previews,
    list_other_runs,
    resume_run,
    show_labels,
    show_recipe,
    show_run,
    show_runs,
    start_example,
    start_run,
    use_run_checkpoint,
)
from wavenet.ui.train.train_tab import disabled_reason

from .bare_page import bare_page, merge
from .conftest import RATE, save_checkpoint

INJECTION = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", ALLOW_HOSTS, train_tab.ALLOW_TRAIN):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunPlan]:
    """The plans of the runs that would have started."""
    found: list[RunPlan] = []
    monkeypatch.setattr(
        run_process, "_start_process", lambda plan, folder, worker: found.append(plan)
    )
    return found


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    write_notes(tmp_path / "notes")
    return tmp_path / "notes"


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """The folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of checkpoints."""
    save_checkpoint(tmp_path / "checkpoints", "digits", RATE, {"digit": ("0", "1")})
    return tmp_path / "checkpoints"


def make_run(runs_dir: Path, name: str, saved: int = 0, action: str = "run") -> Path:
    """Write the folder of a run whose process has ended."""
    folder = runs_dir / name
    save_checkpoint(folder, "checkpoint", RATE, {"note": ("a", "b")})
    plan = RunPlan(name=name, recipe="tiny", steps=4)
    (folder / run_process.PLAN_FILE).write_text(plan.model_dump_json())
    control = {"action": action, "pid": 2**22 + 1, "started": 0.0}
    (folder / run_process.CONTROL_FILE).write_text(json.dumps(control))
    if saved:
        (folder / f"step-{saved:09d}").mkdir()
    row = {"step": 1, "loss_bits": 7.5, "samples": 4000, "samples_per_second": 2000.0}
    (folder / "metrics.jsonl").write_text(json.dumps(row | {"bits_per_sample": 7.25}) + "\n")
    (folder / "samples").mkdir()
    for step in (1, 2, 3, 4):
        io.write(folder / "samples" / f"step-{step:06d}.wav", torch.zeros(80), RATE)
    return folder


@pytest.fixture
def setup(runs_dir: Path, root: Path) -> TrainSetup:
    """What the callbacks of the tab use."""
    return TrainSetup(bare_page(root), runs_dir)


PLAN: dict[str, Any] = {
    "folder": None,
    "uploads": None,
    "pattern": None,
    "table": None,
    "labels": [],
    "start_from": "",
    "recipe": "tiny",
    "steps": 10,
    "name": "mine",
}
CHOSEN: dict[str, Any] = {"recipe": "small", "start_from": "", "inspected": None}


def inspect(setup: TrainSetup, only_if_changed: bool = False, **values: Any) -> dict[str, Any]:
    """Return the newest outputs of an inspection."""
    sources = {name: PLAN[name] for name in ("folder", "uploads", "pattern", "table")}
    inputs = sources | CHOSEN | values
    job: dict[str, Any] = {"job_number": 1, "previous_job": None}
    return merge(inspect_recordings(setup, only_if_changed, **job, **inputs))


def shown(setup: TrainSetup, name: str | None, shown_view: Any = None) -> dict[str, Any]:
    """Return the updates of the page for a run."""
    return show_run(setup, run=name, shown_view=shown_view)


def changed(updates: dict[str, Any]) -> set[str]:
    """Return the names of the outputs that change."""
    return {name for name, value in updates.items() if value != gr.skip()} - {"shown_view"}


def test_run_is_started_from_the_widgets(
    notes: Path, setup: TrainSetup, started: list[RunPlan]
) -> None:
    source = {"folder": str(notes), "pattern": "{note}_{take}", "labels": ["note"]}
    update = start_run(setup, **PLAN | source | {"recipe": "small"})
    assert update["run"]["value"] == "mine"
    start_run(setup, **PLAN | source | {"recipe": "vocoder", "name": "other"})
    assert started[0] == RunPlan(
        name="mine",
        data=str(notes),
        pattern="{note}_{take}",
        labels=("note",),
        recipe="small",
        steps=10,
    )
    assert started[1].labels == ("note",), "besides the mel frames of the vocoder"
    recipe = setup.runs_dir / "mine" / run_process.RECIPE_FILE
    assert 'name = "mine"' in recipe.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folder": ""}, "no recordings"),
        ({"folder": "/no/such"}, "is not a folder"),
        ({"name": ""}, "a name for the run"),
        ({"name": "../up"}, "begins with a letter"),
        ({"name": "digits"}, "checkpoint digits exists"),
        ({"name": "Digits"}, "checkpoint Digits exists"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
        ({"start_from": "../digits"}, "expected a model here"),
    ],
)
def test_invalid_run_is_an_error_and_writes_nothing(
    notes: Path, setup: TrainSetup, started: list[RunPlan], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(gr.Error, match=words):
        start_run(setup, **PLAN | {"folder": str(notes)} | change)
    assert started == []
    assert not setup.runs_dir.exists()


def test_start_inspects_only_what_is_not_inspected_yet(notes: Path, setup: TrainSetup) -> None:
    found = inspect(setup, True, folder=str(notes), pattern="{note}_{take}")
    assert found["labels"]["value"] == ["note"]
    inputs = {"folder": str(notes), "pattern": "{note}_{take}", "inspected": found["inspected"]}
    assert inspect(setup, True, **inputs) == {}
    assert inspect(setup, True, **inputs | {"pattern": ""})["inspected"].fields == {}
    assert "20" in inspect(setup, False, **inputs)["report"], "on request it looks again"
    for source in ({"folder": "/no/such"}, {}):
        with pytest.raises(gr.Error):
            inspect(setup, True, **source)


def test_run_can_start_from_a_model(notes: Path, setup: TrainSetup, started: list[RunPlan]) -> None:
    """The run keeps its own copy, so that it can be resumed after the model is deleted."""
    found = inspect(setup, folder=str(notes), pattern="{note}_{take}", start_from="digits")
    assert found["labels"] == gr.update(choices=[], value=[], visible=False)
    assert "Continues the model digits" in found["about"]
    assert "need the labels digit" in found["about"]
    parameters = load_checkpoint(setup.page.root, "digits").model.parameter_count
    assert f"{parameters:,} parameters, with digit" in found["about"]
    assert {name for _, name in found["recipe"]["choices"]} == {"tiny", "small"}
    source = {"folder": str(notes), "pattern": "{digit}_{take}", "start_from": "digits"}
    start_run(setup, **PLAN | source)
    shutil.rmtree(setup.page.root / "digits")
    folder = setup.runs_dir / "mine"
    assert started[0].initial == "digits"
    assert f"--from={folder / 'initial'}" in run_process.train_arguments(started[0], folder)
    assert checkpoint.load(folder / "initial").model.parameter_count == parameters


def test_labels_can_come_from_a_table(
    notes: Path, setup: TrainSetup, tmp_path: Path, started: list[RunPlan]
) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text("file_name\tvoice\nc4_1.wav\tann\nc4_2.wav\tann\ne4_1.wav\tbob\n")
    found = inspect(setup, folder=str(notes), table=str(table))
    assert "labels.tsv" in found["report"]
    assert found["labels"]["choices"] == [("voice (2)", "voice")]
    start_run(setup, **PLAN | {"folder": str(notes), "table": str(table), "labels": ["voice"]})
    folder = setup.runs_dir / "mine"
    both = inspect(setup, folder=str(notes), pattern="{note}_{take}", table=str(table))["report"]
    table.unlink()
    assert (started[0].metadata, started[0].pattern) == ("table.tsv", None)
    assert (folder / "table.tsv").read_text().startswith("file_name\tvoice\n")
    arguments = run_process.train_arguments(started[0], folder)
    assert f"--metadata={folder / 'table.tsv'}" in arguments
    assert "both define the fields" in both
    assert str(tmp_path) not in both


def test_changes_are_accepted_only_on_request(
    setup: TrainSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(setup.runs_dir, "first", 2)
    options: list[list[str]] = []

    def note_start(plan: RunPlan, folder: Path, worker: Any, accept_changes: bool) -> None:
        options.append(run_process.train_arguments(plan, folder, accept_changes))

    monkeypatch.setattr(run_process, "_start_process", note_start)
    for accept_changes in (False, True):
        resume_run(setup, run="first", accept=accept_changes)
    assert options[0][-1] == "--resume"
    assert options[1][-2:] == ["--resume", "--accept-changes"]
    shutil.rmtree(folder / "step-000000002")
    resume_run(setup, run="first", accept=True)
    assert not {"--resume", "--accept-changes"} & set(options[2])


def test_example_can_be_started_again(setup: TrainSetup, started: list[Any]) -> None:
    assert start_example(setup)["run"]["value"] == "notes"
    assert start_example(setup)["run"]["value"] == "notes-2"
    assert len(list((setup.runs_dir / "notes-2" / "recordings").iterdir())) == 20


def test_recipe_is_described_with_its_measured_speed(setup: TrainSetup) -> None:
    fields = {"note": ("a", "b"), "digit": ("0", "1")}
    inspected = Inspected(("notes",), fields, ["note"])
    new = show_recipe(setup, recipe="tiny", start_from="", inspected=inspected)
    assert "unknown" in new["about"]
    assert new["steps"] == read_recipe("tiny").train.steps
    assert (new["labels"]["visible"], new["labels"]["value"]) == (True, ["note"])
    make_run(setup.runs_dir, "first")
    again = show_recipe(setup, recipe="tiny", start_from=None, inspected=None)
    assert "about 16.7 minutes" in again["about"]
    # labels are added to the conditions of a recipe, as by --label
    labels = show_recipe(setup, recipe="vocoder", start_from="", inspected=inspected)["labels"]
    assert (labels["visible"], labels["value"]) == (True, [])
    nothing = Inspected(("notes",), {}, [])
    for found in (nothing, None):
        hidden = show_recipe(setup, recipe="tiny", start_from="", inspected=found)["labels"]
        assert not hidden["visible"]


def test_parameters_are_those_of_the_run(setup: TrainSetup) -> None:
    """Labels add parameters, and each value adds more."""
    fields = {"note": ("a", "b"), "voice": tuple("abcdef")}
    inspected = Inspected(("notes",), fields, [])
    sizes = []
    for labels in ([], ["note"], ["voice"], ["note", "voice"]):
        chosen = {"recipe": "tiny", "start_from": "", "inspected": inspected}
        updates = show_labels(setup, labels=labels, **chosen)
        text = next(text for text, name in updates["recipe"]["choices"] if name == "tiny")
        size = text.split()[1]
        assert f"<strong>{size} parameters" in updates["about"]
        sizes.append(int(size.replace(",", "")))
    assert sizes[0] == 29_920
    assert sizes == sorted(set(sizes))


def test_recipes_are_listed_by_size_if_their_fields_exist() -> None:
    """The recipe digits has two labels, and holds out recordings by their index."""
    none = RunModel()
    assert recipe_choices(none)[0] == ("tiny: 29,920 parameters, 8,000 Hz", "tiny")
    for fields in (["digit", "index"], ["digit", "speaker"]):
        assert "digits" not in {name for _, name in recipe_choices(none, fields)}
    fields = ["digit", "speaker", "index"]
    assert "digits" in {name for _, name in recipe_choices(none, fields)}


def test_only_changes_of_a_run_are_sent_again(setup: TrainSetup) -> None:
    folder = make_run(setup.runs_dir, "first")
    first = shown(setup, "first")
    assert "ended without a message" in first["state"]
    assert "from the beginning" in first["state"]
    assert "7.250<" in first["facts"]
    assert [first[f"clip{n}"]["label"] for n in (1, 2, 3)] == ["Step 4", "Step 3", "Step 2"]
    buttons = run_view.BUTTONS
    assert [name for name in buttons if first[name]["interactive"]] == ["resume", "use", "keep"]
    assert first["timer"] == gr.update(active=False)
    assert first.keys() == {*run_view.OUTPUTS, "shown_view"}
    second = shown(setup, "first", first["shown_view"])
    assert changed(second) == set()
    with (folder / "metrics.jsonl").open("a") as file:
        row = {"step": 2, "loss_bits": 7.0, "samples": 4000, "samples_per_second": 2000.0}
        file.write(json.dumps(row) + "\n")
    third = shown(setup, "first", second["shown_view"])
    assert changed(third) == {"facts", "curves"}
    assert [2, pytest.approx(7.475), run_view.TRAINING] in third["curves"]["value"]["data"]


def test_missing_runs_are_shown_or_an_error(setup: TrainSetup) -> None:
    assert show_runs(setup) == {"run": gr.update(choices=[], value=None)}
    assert shown(setup, None)["state"] == run_view.PLACEHOLDER
    assert 'role="alert"' in shown(setup, "gone")["state"]
    for name in ("gone", "../checkpoints", None):
        with pytest.raises(gr.Error, match="no longer exists"):
            control_run(setup, run_process.stop, run=name)


def test_text_of_a_log_is_escaped(setup: TrainSetup) -> None:
    folder = make_run(setup.runs_dir, "first", 2, "pause")  # and then saving failed
    (folder / run_process.LOG_FILE).write_text(f"wavenet: {INJECTION}\n")
    state = shown(setup, "first")["state"]
    assert "<img" not in state
    assert "&lt;img" in state


@pytest.mark.parametrize(("saved", "action"), [(4, "run"), (2, "stop")])
def test_complete_run_adds_its_checkpoint_once(setup: TrainSetup, saved: int, action: str) -> None:
    root = setup.page.root
    make_run(setup.runs_dir, "first", saved, action)
    first = shown(setup, "first")
    assert first["model"]["choices"] == ["digits", "first"]
    assert ("first", "first") in first["start_from"]["choices"]
    assert 'data-model="first"' in first["shelf"]
    assert "The list of models has its checkpoint as first" in first["state"]
    assert load_checkpoint(root, "first").config.name == "checkpoint"
    assert "model" not in shown(setup, "first", first["shown_view"])
    delete_model(root, "first")
    assert "model" not in shown(setup, "first"), "the user had deleted it"
    assert not (root / "first").exists()
    used = use_run_checkpoint(setup, run="first")
    assert (root / "first").exists()
    assert used["model"]["value"] == "first"
    assert used["tabs"] == gr.update(selected="generate")


def test_a_renamed_model_is_named_by_its_new_name(setup: TrainSetup) -> None:
    make_run(setup.runs_dir, "first", 4)
    shown(setup, "first")
    rename_model(setup.page.root, "first", "second")
    assert "The list of models has its checkpoint as second" in shown(setup, "first")["state"]
    delete_model(setup.page.root, "second")
    assert "list of models" not in shown(setup, "first")["state"]


def test_an_opened_tab_lists_the_runs_of_others(setup: TrainSetup) -> None:
    make_run(setup.runs_dir, "first")
    assert list_other_runs(setup, run=None)["run"]["value"] == "first"
    make_run(setup.runs_dir, "second")
    listed = list_other_runs(setup, run="first")["run"]
    assert (set(listed["choices"]), listed["value"]) == ({"first", "second"}, "first")


def test_paused_run_adds_nothing_by_itself(setup: TrainSetup) -> None:
    make_run(setup.runs_dir, "first", 2, "pause")
    assert "model" not in shown(setup, "first")
    assert not (setup.page.root / "first").exists()


def test_only_a_checkpoint_of_the_same_run_is_replaced(setup: TrainSetup) -> None:
    root = setup.page.root
    folder = make_run(setup.runs_dir, "first", 4)
    use_run_checkpoint(setup, run="first")
    save_checkpoint(folder, "checkpoint", 2 * RATE, {"note": ("a", "b")})
    use_run_checkpoint(setup, run="first")
    assert load_checkpoint(root, "first").config.audio.sample_rate == 2 * RATE
    save_checkpoint(root, "first", RATE, {"word": ("x", "y")})
    before = checkpoint_digest(root / "first")
    with pytest.raises(gr.Error, match="not from this run"):
        use_run_checkpoint(setup, run="first")
    assert checkpoint_digest(root / "first") == before
    make_run(setup.runs_dir, "digits", 4)
    assert "not from this run" in shown(setup, "digits")["state"]


def test_run_without_a_checkpoint_adds_none(setup: TrainSetup) -> None:
    shutil.rmtree(make_run(setup.runs_dir, "first") / "checkpoint")
    assert not shown(setup, "first")["use"]["interactive"]
    with pytest.raises(gr.Error, match="no checkpoint yet"):
        use_run_checkpoint(setup, run="first")


def test_previews_are_added_to_the_clips_once(
    setup: TrainSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    make_run(setup.runs_dir, "first")
    token = setup.page.clips.visitor(None)
    for _ in range(2):
        history = keep_previews(setup, token=token, run="first")["history"]
    titles = [clip.title for clip in setup.page.clips.clips(token)]
    assert titles == [f"first · preview after step {step}" for step in (4, 3, 2)]
    assert titles[0] in history
    with pytest.raises(gr.Error, match="no longer exists"):
        keep_previews(setup, token=token, run="gone")


def test_page_updates_while_the_run_is_alive(
    setup: TrainSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(setup.runs_dir, "first", 2)
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: 2**22 + 1)
    alive = shown(setup, "first")
    assert alive["timer"] == gr.update(active=True, value=run_view.SHORT_INTERVAL)
    assert "Training." in alive["state"]
    assert "6.0 s" in alive["facts"]
    names = ("pause", "resume", "stop", "use")
    assert [alive[name]["interactive"] for name in names] == [True, False, True, True]
    long = RunPlan(name="first", recipe="tiny", steps=400)
    (folder / run_process.PLAN_FILE).write_text(long.model_dump_json())
    later = shown(setup, "first", alive["shown_view"])
    assert later["timer"] == gr.update(active=True, value=run_view.LONG_INTERVAL)


def test_threads_and_notes_of_a_run_are_shown(setup: TrainSetup) -> None:
    make_run(setup.runs_dir, "first")
    status = read_status(setup.runs_dir / "first")
    reported = replace(status, threads=1, note=f"another program {INJECTION}")
    facts = run_view.run_facts(reported)
    assert "<dt>Threads</dt><dd>1</dd>" in facts
    assert "another program &lt;img" in facts
    assert "Threads" not in run_view.run_facts(status)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SPACE_ID", "me/studio", "Space"),
        ("GRADIO_SERVER_NAME", "0.0.0.0", "other machines"),
        ("GRADIO_SERVER_NAME", "studio.example.org", "other machines"),
        ("GRADIO_SERVER_NAME", "127.0.0.1", ""),
        ("GRADIO_SERVER_NAME", "localhost", ""),
        ("GRADIO_SERVER_NAME", "::1", ""),
        ("WAVENET_ALLOW_HOSTS", "studio.example.org", "other machines"),
        ("WAVENET_ALLOW_HOSTS", "localhost:9000", ""),
    ],
)
def test_training_is_disabled_for_other_machines_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert words in disabled_reason()
    assert bool(words) == bool(disabled_reason())
    monkeypatch.setenv(train_tab.ALLOW_TRAIN, "1")
    assert disabled_reason() == ""


def test_disabled_training_has_no_events(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_tab(page: gr.Blocks) -> tuple[set[str], set[str]]:
        names = {str(b.elem_id) for b in page.blocks.values() if str(b.elem_id)[:6] == "train-"}
        ids = {b._id for b in page.blocks.values() if str(b.elem_id) in names}
        events = [e for e in page.fns.values() if ids & {target for target, _ in e.targets}]
        return names, {event.api_visibility for event in events}

    names, visibilities = of_the_tab(build_studio(root))
    assert {"train-start", "train-inspect", "train-curves", "train-start-from"} <= names
    assert visibilities == {"private"}
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert of_the_tab(build_studio(root)) == ({"train-disabled"}, set())
