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
from wavenet.ui import jobs, recipes, recordings, runs, training
from wavenet.ui.studio import build_studio

from .conftest import RATE, save_checkpoint

HARM = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", training.ALLOW_TRAIN):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunPlan]:
    """The plans of the runs that would have begun."""
    found: list[RunPlan] = []
    monkeypatch.setattr(
        run_process, "_start_process", lambda plan, folder, worker: found.append(plan)
    )
    return found


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    recordings.write_notes(tmp_path / "notes")
    return tmp_path / "notes"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def offers(tmp_path: Path) -> Path:
    """A folder of checkpoints."""
    save_checkpoint(tmp_path / "offers", "digits", RATE, {"digit": ("0", "1")})
    return tmp_path / "offers"


def make_run(place: Path, name: str, saved: int = 0, wish: str = "run") -> Path:
    """Put a run there whose process is gone."""
    folder = place / name
    save_checkpoint(folder, "checkpoint", RATE, {"note": ("a", "b")})
    plan = RunPlan(name=name, recipe="tiny", steps=4)
    (folder / run_process.PLAN_FILE).write_text(plan.model_dump_json())
    mark = {"action": wish, "pid": 2**22 + 1, "started": 0.0}
    (folder / run_process.CONTROL_FILE).write_text(json.dumps(mark))
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


def shown(place: Path, offers: Path, name: str | None, seen: Any = None) -> dict[str, Any]:
    values = training.show(place, offers, 1, name, seen)
    return dict(zip((*training.SHOWN, "seen", "picker"), values, strict=True))


def test_a_run_is_begun_as_the_controls_say(
    notes: Path, place: Path, offers: Path, started: list[RunPlan]
) -> None:
    looked = [str(notes), None, "{note}_{take}", True]
    given = [str(notes), None, "{note}_{take}", ["note"]]
    update = training.begin(place, offers, *given, "small", 10, "mine", looked)
    assert update["value"] == "mine"
    training.begin(place, offers, *given, "vocoder", 10, "other", looked)
    assert started[0] == RunPlan(
        name="mine",
        data=str(notes),
        pattern="{note}_{take}",
        labels=("note",),
        recipe="small",
        steps=10,
    )
    assert started[1].labels == (), "the vocoder would lose its mel frames"
    assert 'name = "mine"' in (place / "mine" / run_process.RECIPE_FILE).read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"looked": None}, "Look at the recordings"),
        ({"looked": ["/elsewhere", None, None, False]}, "Look at the recordings"),
        ({"name": ""}, "no name yet"),
        ({"name": "../up"}, "begins with a letter"),
        ({"name": "digits"}, "a checkpoint digits already"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
    ],
)
def test_what_cannot_be_begun_is_a_sentence(
    notes: Path,
    place: Path,
    offers: Path,
    started: list[RunPlan],
    change: dict[str, Any],
    words: str,
) -> None:
    usual = {"recipe": "tiny", "steps": 10, "name": "mine", "looked": [str(notes), None, None, 0]}
    values = list((usual | change).values())
    with pytest.raises(gr.Error, match=words):
        training.begin(place, offers, str(notes), None, None, [], *values)
    assert started == []
    assert not place.exists()


def test_the_example_can_be_pressed_again(place: Path, offers: Path, started: list[Any]) -> None:
    assert training.begin_example(place, offers)["value"] == "notes"
    assert training.begin_example(place, offers)["value"] == "notes-2"
    assert len(list((place / "notes-2" / "recordings").iterdir())) == 20


def test_a_recipe_is_described_with_what_is_known_of_its_speed(place: Path) -> None:
    about, steps, labels = training.show_recipe(place, "tiny", ["", None, None, True])
    assert "not known yet" in about
    assert steps == recipes.recipe("tiny").train.steps
    assert labels["visible"]
    make_run(place, "first")
    assert "about 16.7 minutes" in training.show_recipe(place, "tiny", None)[0]
    assert not training.show_recipe(place, "vocoder", ["", None, None, True])[2]["visible"]
    assert not training.show_recipe(place, "tiny", ["", None, None, False])[2]["visible"]


def test_recipes_are_offered_by_size_where_the_labels_are() -> None:
    assert recipes.choices()[0] == ("tiny: 29,920 parameters, 8,000 Hz", "tiny")
    assert "digits" not in dict(map(reversed, recipes.choices(["digit"])))
    assert "digits" in dict(map(reversed, recipes.choices(["digit", "speaker"])))


def test_a_run_is_shown_once_and_then_what_is_new(place: Path, offers: Path) -> None:
    folder = make_run(place, "first")
    first = shown(place, offers, "first")
    assert "ended without a message" in first["state"]
    assert "from the beginning" in first["state"]
    assert "7.250 bits" in first["facts"]
    assert [first[f"clip{n}"]["label"] for n in (1, 2, 3)] == ["Step 4", "Step 3", "Step 2"]
    assert [name for name in training.SHOWN[6:10] if first[name]["interactive"]] == [
        "resume",
        "use",
    ]
    assert first["timer"] == gr.update(active=False)
    second = shown(place, offers, "first", first["seen"])
    assert all(value == gr.skip() for name, value in second.items() if name != "seen")
    with (folder / "metrics.jsonl").open("a") as file:
        row = {"step": 2, "loss_bits": 7.0, "samples": 4000, "samples_per_second": 2000.0}
        file.write(json.dumps(row) + "\n")
    third = shown(place, offers, "first", second["seen"])
    assert {name for name, value in third.items() if value != gr.skip()} == {
        "facts",
        "curves",
        "seen",
    }
    assert [2, pytest.approx(7.475), runs.TRAINING] in third["curves"]["value"]["data"]


def test_no_run_and_one_that_is_gone_are_shown(place: Path, offers: Path) -> None:
    assert training.show_runs(place) == gr.update(choices=[], value=None)
    assert shown(place, offers, None)["state"] == runs.NONE_YET
    assert "role='alert'" in shown(place, offers, "gone")["state"]
    for name in ("gone", "../offers", None):
        with pytest.raises(gr.Error, match="no such run"):
            training.steer(place, run_process.stop, name)


def test_words_of_a_log_are_no_html(place: Path, offers: Path) -> None:
    folder = make_run(place, "first", 2, "pause")  # and then it could not save
    (folder / run_process.LOG_FILE).write_text(f"wavenet: {HARM}\n")
    state = shown(place, offers, "first")["state"]
    assert "<img" not in state
    assert "&lt;img" in state


@pytest.mark.parametrize(("saved", "wish"), [(4, "run"), (2, "stop")])
def test_a_run_that_is_done_offers_its_result_once(
    place: Path, offers: Path, saved: int, wish: str
) -> None:
    make_run(place, "first", saved, wish)
    first = shown(place, offers, "first")
    assert first["picker"]["choices"] == ["digits", "first"]
    assert "offer it as first" in first["state"]
    assert jobs.load_named(offers, "first").config.name == "checkpoint"
    assert shown(place, offers, "first", first["seen"])["picker"] == gr.skip()
    shutil.rmtree(offers / "first")
    assert shown(place, offers, "first")["picker"] == gr.skip(), "a person took it away"
    assert not (offers / "first").exists()
    training.use(place, offers, 1, "first")
    assert (offers / "first").exists()


def test_a_paused_run_offers_nothing_by_itself(place: Path, offers: Path) -> None:
    make_run(place, "first", 2, "pause")
    assert shown(place, offers, "first")["picker"] == gr.skip()
    assert not (offers / "first").exists()


def test_only_a_copy_of_the_same_run_is_replaced(place: Path, offers: Path) -> None:
    folder = make_run(place, "first", 4)
    training.use(place, offers, 1, "first")
    save_checkpoint(folder, "checkpoint", 2 * RATE, {"note": ("a", "b")})
    training.use(place, offers, 1, "first")
    assert jobs.load_named(offers, "first").config.audio.sample_rate == 2 * RATE
    save_checkpoint(offers, "first", RATE, {"word": ("x", "y")})
    before = runs.digest(offers / "first")
    with pytest.raises(gr.Error, match="not this run's"):
        training.use(place, offers, 1, "first")
    assert runs.digest(offers / "first") == before
    make_run(place, "digits", 4)
    assert "not this run&#x27;s" in shown(place, offers, "digits")["state"]


def test_a_run_without_a_checkpoint_offers_none(place: Path, offers: Path) -> None:
    shutil.rmtree(make_run(place, "first") / "checkpoint")
    assert not shown(place, offers, "first")["use"]["interactive"]
    with pytest.raises(gr.Error, match="no checkpoint yet"):
        training.use(place, offers, 1, "first")


def test_a_run_that_lives_keeps_the_page_looking(
    place: Path, offers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(place, "first", 2)
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: 2**22 + 1)
    living = shown(place, offers, "first")
    assert living["timer"] == gr.update(active=True, value=runs.OFTEN_SECONDS)
    assert "Training." in living["state"]
    assert "6.0 s" in living["facts"]
    names = ("pause", "resume", "stop", "use")
    assert [living[name]["interactive"] for name in names] == [True, False, True, True]
    long = RunPlan(name="first", recipe="tiny", steps=400)
    (folder / run_process.PLAN_FILE).write_text(long.model_dump_json())
    later = shown(place, offers, "first", living["seen"])
    assert later["timer"] == gr.update(active=True, value=runs.SELDOM_SECONDS)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SPACE_ID", "me/studio", "a Space"),
        ("GRADIO_SERVER_NAME", "0.0.0.0", "other machines"),
        ("GRADIO_SERVER_NAME", "studio.example.org", "other machines"),
        ("GRADIO_SERVER_NAME", "127.0.0.1", ""),
        ("GRADIO_SERVER_NAME", "localhost", ""),
        ("GRADIO_SERVER_NAME", "::1", ""),
    ],
)
def test_training_is_off_where_strangers_come_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert words in training.refusal()
    assert bool(words) == bool(training.refusal())
    monkeypatch.setenv(training.ALLOW_TRAIN, "1")
    assert training.refusal() == ""


def test_where_training_is_off_nothing_can_be_called(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_the_tab(page: gr.Blocks) -> tuple[set[str], set[str]]:
        names = {str(block.elem_id) for block in page.blocks.values()}
        work = [getattr(event.fn, "func", event.fn) for event in page.fns.values()]
        events = zip(page.fns.values(), work, strict=True)
        found = {e.api_visibility for e, f in events if getattr(f, "__module__", "") == module}
        return {name for name in names if name.startswith("train-")}, found

    module = training.__name__
    names, visibilities = of_the_tab(build_studio(root))
    assert {"train-start", "train-look", "train-curves"} <= names
    assert visibilities == {"private"}
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert of_the_tab(build_studio(root)) == ({"train-off"}, set())
