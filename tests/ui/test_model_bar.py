"""The model bar: what a chosen model changes on the page, and pages without a usable model."""

from pathlib import Path
from typing import Any

import pytest

from wavenet.ui.model_bar.model_bar import choose_model, describe_model, show_settings
from wavenet.ui.models.model_shelf import shelf_html
from wavenet.ui.page import Page
from wavenet.ui.page_load import prepare_engine

from .comparison_folder import MEMBERS, OTHERS
from .conftest import RATE, build_page
from .test_generate_events import save_conditioned


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a studio with the checkpoints global and vocoder."""
    folder = tmp_path_factory.mktemp("bar")
    save_conditioned(folder)
    return build_page(folder)[1]


def visible(updates: dict[str, Any], *names: str) -> list[bool]:
    return [updates[name]["visible"] for name in names]


def test_controls_follow_the_model(studio_page: Page) -> None:
    updates = show_settings(studio_page, {"model": "digits"})
    assert "8,000 Hz" in updates["about"]
    assert "receptive field 32 samples (4 ms)" in updates["about"].replace("\n", " ")
    assert updates["model"]["value"] == "digits"
    assert updates["seconds"]["value"] == 0.5
    assert updates["player"] == {"rate": RATE, "button": "Generate"}
    sampling = [updates[name] for name in ("temperature", "top_k", "top_p")]
    assert sampling == [1.0, 0, 1.0]
    assert (updates["seed"], updates["variants"], updates["engine"]) == (-1, 1, "auto")
    shown = visible(updates, "seconds", "prompt", "number", "guidance", "source")
    assert shown == [True, True, True, False, False]
    assert updates["conditions"]["values"] == {"digit": "7", "speaker": "jackson"}
    assert updates["generate"]["interactive"]
    (other,) = choose_model(studio_page, "notes")
    assert other["player"] == {"rate": 2 * RATE, "button": "Generate"}
    assert [field["name"] for field in other["conditions"]["fields"]] == ["instrument"]
    assert visible(other, "number", "say") == [False, False]


def test_guidance_and_recordings_follow_the_conditions(conditioned: Page) -> None:
    updates = show_settings(conditioned, {"model": "global"})
    assert visible(updates, "guidance", "source", "prompt", "seconds") == [True, False, True, True]
    updates = show_settings(conditioned, {"model": "vocoder"})
    assert visible(updates, "guidance", "source", "prompt", "seconds") == [True, True, False, False]


def test_settings_replace_defaults(studio_page: Page) -> None:
    settings = {"model": "notes", "conditions": {"instrument": "horn"}, "seconds": 2.0, "seed": 9}
    updates = show_settings(studio_page, settings)
    assert updates["conditions"]["values"] == {"instrument": "horn"}
    assert (updates["seconds"]["value"], updates["seed"]) == (2.0, 9)


def test_another_model_keeps_what_the_user_has_set(studio_page: Page) -> None:
    form = {"model": "digits", "values": {"digit": "3", "speaker": "george"}}
    current = {"seconds": 0.7, "seed": 9, "temperature": 1.0, "engine": "auto"}
    (there,) = choose_model(studio_page, "notes", form, current)
    assert (there["seconds"]["value"], there["seed"]) == (0.7, 9)
    (back,) = choose_model(studio_page, "digits", there["conditions"], current)
    assert back["conditions"]["values"] == form["values"]
    assert (back["seconds"]["value"], back["seed"]) == (0.7, 9)


@pytest.mark.parametrize("form", [None, 3, {"model": {}}, {"model": "x", "values": [1]}])
def test_hostile_forms_keep_nothing(studio_page: Page, form: Any) -> None:
    (updates,) = choose_model(studio_page, "notes", form, {"seconds": 0.7})
    assert updates["seconds"]["value"] == 0.5


def test_unknown_conditions_of_another_model_are_not_used(studio_page: Page) -> None:
    updates = show_settings(studio_page, {"model": "notes", "conditions": {"digit": "7"}})
    assert updates["conditions"]["values"] == {"instrument": "flute"}


def test_members_of_the_comparison_are_models_at_the_end_of_the_list(studio_page: Page) -> None:
    """Their names have a slash, as those of repositories of the Hub, which are downloaded."""
    form = {"model": "digits", "values": {"digit": "3", "speaker": "george"}}
    (updates,) = choose_model(studio_page, "compare/gru", form, {"seed": 9})
    assert (updates["model"]["value"], updates["seed"]) == ("compare/gru", 9)
    members = [f"compare/{name}" for name in sorted({*MEMBERS, *OTHERS})]
    assert updates["model"]["choices"] == ["digits", "notes", *members]
    assert updates["conditions"]["model"] == "compare/gru"
    assert updates["conditions"]["values"] == {"digit": "3"}
    (back,) = choose_model(studio_page, "notes", updates["conditions"], {"seed": 9})
    assert back["seed"] == 9
    assert "compare" not in shelf_html(studio_page.root, True)


@pytest.mark.parametrize("name", ["none", None, "\ud800"])
def test_an_unknown_model_is_a_sentence(studio_page: Page, name: str | None) -> None:
    (updates,) = choose_model(studio_page, name)
    assert updates.keys() <= {"about", "model", "shelf", "start_from"}  # and the lists of models
    assert "Expected a model here" in updates["about"]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_studio_opens_without_a_usable_checkpoint(tmp_path: Path, is_damaged: bool) -> None:
    if is_damaged:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "config.json").write_text("{}")
    page = build_page(tmp_path)[1]
    about = show_settings(page, {})["about"]
    assert "role='alert'" in about
    assert str(tmp_path) + "/" not in about
    prepare_engine(page, "bad")


def test_values_of_a_checkpoint_are_escaped(studio_page: Page) -> None:
    from wavenet.ui.checkpoint_library import load_checkpoint

    checkpoint = load_checkpoint(studio_page.root, "digits")
    usage = {"summary": "<b>x", "shortest_seconds": 0.1, "longest_seconds": 0.2}
    config = checkpoint.config.model_validate({**dict(checkpoint.config), "usage": usage})
    object.__setattr__(checkpoint, "config", config)
    assert "&lt;b&gt;x" in describe_model(checkpoint)
