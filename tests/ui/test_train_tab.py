"""The Train tab without a browser: its callbacks, called as Gradio calls them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from audio_utils import io
from wavenet import folder_lock
from wavenet.training import run_process
from wavenet.training.run_process import RunPlan
from wavenet.ui import run_view, train_tab
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.recipe_choices import read_recipe, recipe_choices
from wavenet.ui.run_view import checkpoint_digest
from wavenet.ui.server.host_check import ALLOW_HOSTS
from wavenet.ui.studio_app import build_studio
from wavenet.ui.train_tab import (
    RUN_OUTPUTS,
    disabled_reason,
    inspect_recordings,
    show_recipe,
    show_run,
    start_example,
    start_run,
    use_run_checkpoint,
)
from wavenet.ui.training_recordings import write_notes

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


def last(updates: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    return list(updates)[-1]


def shown(runs_dir: Path, root: Path, name: str | None, shown_view: Any = None) -> dict[str, Any]:
    """Return the updates of the page by name."""
    values = show_run(runs_dir, root, 1, name, shown_view)
    return dict(zip((*RUN_OUTPUTS, "shown_view", "dropdown"), values, strict=True))


def test_run_is_started_from_the_controls(
    notes: Path, runs_dir: Path, root: Path, started: list[RunPlan]
) -> None:
    inspected = [str(notes), None, "{note}_{take}", None, ["note"], ["note"]]
    controls = [str(notes), None, "{note}_{take}", None, ["note"]]
    update = start_run(runs_dir, root, *controls, "small", 10, "mine", inspected)
    assert update["value"] == "mine"
    start_run(runs_dir, root, *controls, "vocoder", 10, "other", inspected)
    assert started[0] == RunPlan(
        name="mine",
        data=str(notes),
        pattern="{note}_{take}",
        labels=("note",),
        recipe="small",
        steps=10,
    )
    assert started[1].labels == ("note",), "besides the mel frames of the vocoder"
    assert 'name = "mine"' in (runs_dir / "mine" / run_process.RECIPE_FILE).read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inspected": None}, "Inspect recordings"),
        ({"inspected": ["/elsewhere", None, None, None, [], []]}, "Inspect recordings"),
        ({"name": ""}, "a name for the run"),
        ({"name": "../up"}, "begins with a letter"),
        ({"name": "digits"}, "checkpoint digits exists"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
    ],
)
def test_invalid_run_is_an_error_and_writes_nothing(
    notes: Path,
    runs_dir: Path,
    root: Path,
    started: list[RunPlan],
    change: dict[str, Any],
    words: str,
) -> None:
    inspected = [str(notes), None, None, None, [], []]
    valid = {"recipe": "tiny", "steps": 10, "name": "mine", "inspected": inspected}
    values = list((valid | change).values())
    with pytest.raises(gr.Error, match=words):
        start_run(runs_dir, root, str(notes), None, None, None, [], *values)
    assert started == []
    assert not runs_dir.exists()


def test_labels_can_come_from_a_table(
    notes: Path, runs_dir: Path, root: Path, tmp_path: Path, started: list[RunPlan]
) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text("file_name\tvoice\nc4_1.wav\tann\nc4_2.wav\tann\ne4_1.wav\tbob\n")
    *_, (report, labels, _, inspected) = inspect_recordings(str(notes), None, "", str(table))
    assert "labels.tsv" in report
    assert labels["choices"] == [("voice (2)", "voice")]
    source = [str(notes), None, "", str(table)]
    start_run(runs_dir, root, *source, ["voice"], "tiny", 10, "mine", inspected)
    table.unlink()
    folder = runs_dir / "mine"
    assert (started[0].metadata, started[0].pattern) == ("table.tsv", None)
    assert (folder / "table.tsv").read_text().startswith("file_name\tvoice\n")
    arguments = run_process.train_arguments(started[0], folder)
    assert f"--metadata={folder / 'table.tsv'}" in arguments
    with pytest.raises(gr.Error, match="both define the fields") as caught:
        list(inspect_recordings(str(notes), None, "{note}_{take}", str(table)))
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(gr.Error, match="Inspect recordings"):
        start_run(runs_dir, root, *source[:3], None, [], "tiny", 10, "other", inspected)


def test_changes_are_accepted_only_on_request(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(runs_dir, "first", 2)
    options: list[list[str]] = []

    def note_start(plan: RunPlan, folder: Path, worker: Any, accept_changes: bool) -> None:
        options.append(run_process.train_arguments(plan, folder, accept_changes))

    monkeypatch.setattr(run_process, "_start_process", note_start)
    for accept_changes in (False, True):
        train_tab.control_run(runs_dir, run_process.resume, "first", accept_changes)
    assert options[0][-1] == "--resume"
    assert options[1][-2:] == ["--resume", "--accept-changes"]
    shutil.rmtree(folder / "step-000000002")
    train_tab.control_run(runs_dir, run_process.resume, "first", True)
    assert not {"--resume", "--accept-changes"} & set(options[2])


def test_example_can_be_started_again(runs_dir: Path, root: Path, started: list[Any]) -> None:
    assert start_example(runs_dir, root)["value"] == "notes"
    assert start_example(runs_dir, root)["value"] == "notes-2"
    assert len(list((runs_dir / "notes-2" / "recordings").iterdir())) == 20


def test_recipe_is_described_with_its_measured_speed(runs_dir: Path) -> None:
    names = ["note", "digit"]
    inspected = ["", None, None, None, names, ["note"]]
    about, steps, labels = show_recipe(runs_dir, "tiny", inspected)
    assert "unknown" in about
    assert steps == read_recipe("tiny").train.steps
    assert (labels["visible"], labels["value"]) == (True, ["note"])
    make_run(runs_dir, "first")
    assert "about 16.7 minutes" in show_recipe(runs_dir, "tiny", None)[0]
    # labels are added to the conditions of a recipe, as by --label
    for recipe, selected in (("vocoder", []), ("digits", ["digit"])):
        labels = show_recipe(runs_dir, recipe, inspected)[2]
        assert (labels["visible"], labels["value"]) == (True, selected)
    assert not show_recipe(runs_dir, "tiny", ["", None, None, None, [], []])[2]["visible"]
    assert not show_recipe(runs_dir, "tiny", None)[2]["visible"]


def test_recipes_are_listed_by_size_if_their_fields_exist() -> None:
    """The recipe digits has two labels, and holds out recordings by their index."""
    assert recipe_choices()[0] == ("tiny: 29,920 parameters, 8,000 Hz", "tiny")
    assert "digits" not in dict(map(reversed, recipe_choices(["digit", "index"])))
    assert "digits" not in dict(map(reversed, recipe_choices(["digit", "speaker"])))
    assert "digits" in dict(map(reversed, recipe_choices(["digit", "speaker", "index"])))


def test_only_changes_of_a_run_are_sent_again(runs_dir: Path, root: Path) -> None:
    folder = make_run(runs_dir, "first")
    first = shown(runs_dir, root, "first")
    assert "ended without a message" in first["state"]
    assert "from the beginning" in first["state"]
    assert "7.250<" in first["facts"]
    assert [first[f"clip{n}"]["label"] for n in (1, 2, 3)] == ["Step 4", "Step 3", "Step 2"]
    assert [name for name in RUN_OUTPUTS[6:10] if first[name]["interactive"]] == [
        "resume",
        "use",
    ]
    assert first["timer"] == gr.update(active=False)
    second = shown(runs_dir, root, "first", first["shown_view"])
    assert all(value == gr.skip() for name, value in second.items() if name != "shown_view")
    with (folder / "metrics.jsonl").open("a") as file:
        row = {"step": 2, "loss_bits": 7.0, "samples": 4000, "samples_per_second": 2000.0}
        file.write(json.dumps(row) + "\n")
    third = shown(runs_dir, root, "first", second["shown_view"])
    assert {name for name, value in third.items() if value != gr.skip()} == {
        "facts",
        "curves",
        "shown_view",
    }
    assert [2, pytest.approx(7.475), run_view.TRAINING] in third["curves"]["value"]["data"]


def test_missing_runs_are_shown_or_an_error(runs_dir: Path, root: Path) -> None:
    assert train_tab.show_runs(runs_dir) == gr.update(choices=[], value=None)
    assert shown(runs_dir, root, None)["state"] == run_view.PLACEHOLDER
    assert "role='alert'" in shown(runs_dir, root, "gone")["state"]
    for name in ("gone", "../checkpoints", None):
        with pytest.raises(gr.Error, match="no longer exists"):
            train_tab.control_run(runs_dir, run_process.stop, name)


def test_text_of_a_log_is_escaped(runs_dir: Path, root: Path) -> None:
    folder = make_run(runs_dir, "first", 2, "pause")  # and then saving failed
    (folder / run_process.LOG_FILE).write_text(f"wavenet: {INJECTION}\n")
    state = shown(runs_dir, root, "first")["state"]
    assert "<img" not in state
    assert "&lt;img" in state


@pytest.mark.parametrize(("saved", "action"), [(4, "run"), (2, "stop")])
def test_complete_run_copies_its_checkpoint_once(
    runs_dir: Path, root: Path, saved: int, action: str
) -> None:
    make_run(runs_dir, "first", saved, action)
    first = shown(runs_dir, root, "first")
    assert first["dropdown"]["choices"] == ["digits", "first"]
    assert "list its checkpoint as first" in first["state"]
    assert load_checkpoint(root, "first").config.name == "checkpoint"
    assert shown(runs_dir, root, "first", first["shown_view"])["dropdown"] == gr.skip()
    shutil.rmtree(root / "first")
    assert shown(runs_dir, root, "first")["dropdown"] == gr.skip(), "the user had removed it"
    assert not (root / "first").exists()
    use_run_checkpoint(runs_dir, root, 1, "first")
    assert (root / "first").exists()


def test_paused_run_copies_nothing_by_itself(runs_dir: Path, root: Path) -> None:
    make_run(runs_dir, "first", 2, "pause")
    assert shown(runs_dir, root, "first")["dropdown"] == gr.skip()
    assert not (root / "first").exists()


def test_only_a_checkpoint_of_the_same_run_is_replaced(runs_dir: Path, root: Path) -> None:
    folder = make_run(runs_dir, "first", 4)
    use_run_checkpoint(runs_dir, root, 1, "first")
    save_checkpoint(folder, "checkpoint", 2 * RATE, {"note": ("a", "b")})
    use_run_checkpoint(runs_dir, root, 1, "first")
    assert load_checkpoint(root, "first").config.audio.sample_rate == 2 * RATE
    save_checkpoint(root, "first", RATE, {"word": ("x", "y")})
    before = checkpoint_digest(root / "first")
    with pytest.raises(gr.Error, match="not from this run"):
        use_run_checkpoint(runs_dir, root, 1, "first")
    assert checkpoint_digest(root / "first") == before
    make_run(runs_dir, "digits", 4)
    assert "not from this run" in shown(runs_dir, root, "digits")["state"]


def test_run_without_a_checkpoint_copies_none(runs_dir: Path, root: Path) -> None:
    shutil.rmtree(make_run(runs_dir, "first") / "checkpoint")
    assert not shown(runs_dir, root, "first")["use"]["interactive"]
    with pytest.raises(gr.Error, match="no checkpoint yet"):
        use_run_checkpoint(runs_dir, root, 1, "first")


def test_page_updates_while_the_run_is_alive(
    runs_dir: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(runs_dir, "first", 2)
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: 2**22 + 1)
    alive = shown(runs_dir, root, "first")
    assert alive["timer"] == gr.update(active=True, value=run_view.SHORT_INTERVAL)
    assert "Training." in alive["state"]
    assert "6.0 s" in alive["facts"]
    names = ("pause", "resume", "stop", "use")
    assert [alive[name]["interactive"] for name in names] == [True, False, True, True]
    long = RunPlan(name="first", recipe="tiny", steps=400)
    (folder / run_process.PLAN_FILE).write_text(long.model_dump_json())
    later = shown(runs_dir, root, "first", alive["shown_view"])
    assert later["timer"] == gr.update(active=True, value=run_view.LONG_INTERVAL)


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
        names = {str(block.elem_id) for block in page.blocks.values()}
        work = [getattr(event.fn, "func", event.fn) for event in page.fns.values()]
        events = zip(page.fns.values(), work, strict=True)
        found = {e.api_visibility for e, f in events if getattr(f, "__module__", "") == module}
        return {name for name in names if name.startswith("train-")}, found

    module = train_tab.__name__
    names, visibilities = of_the_tab(build_studio(root))
    assert {"train-start", "train-inspect", "train-curves"} <= names
    assert visibilities == {"private"}
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert of_the_tab(build_studio(root)) == ({"train-disabled"}, set())
