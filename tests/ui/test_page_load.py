"""A page that opens: settings of a link, settings of the visit before, hostile values."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wavenet.ui.page import Page
from wavenet.ui.page_load import open_page, problems_html, read_saved

SAVED: dict[str, Any] = {
    "model": "notes",
    "form": {"values": {"instrument": "horn"}},
    "seconds": 1.5,
    "seed": 12,
    "variants": 2,
    "temperature": 0.8,
    "top_k": 9,
    "top_p": 0.9,
    "guidance": 1.5,
    "engine": "cpu",
    "text": "Hello again.",
    "speaker": "anna",
    "speed": 1.5,
    "pitch": -2,
    "loudness": 3,
    "melody": 0.5,
    "watch_seconds": 0.7,
    "watch_seed": 3,
    "watch_start": 0.1,
    "watch_steps": 50,
    "effect_input_gain": 6,
    "effect_output_trim": -3,
    "effect_mix": 0.5,
    "effect_oversampling": "2",
    "effect_removes_offset": True,
    "train_recipe": "small",
    "train_folder": "~/voices",
    "train_pattern": "{word}_{take}",
    "train_name": "mine",
    "train_steps": 70,
    "tab": "analyse",
}
# As JSON from the browser: any type, nested, huge, not finite, and text that is not Unicode.
HOSTILE: list[Any] = [
    None, True, 3, -1, 10**400, math.nan, math.inf, "", "x", "\ud800", "&seed=5&checkpoint=notes",
    "9" * 100_000, [], [[[]]], ["notes"], {}, {"a": {"b": [1]}}, "../../etc/passwd",
]  # fmt: skip


def opened(page: Page, query: str = "", token: Any = None, saved: Any = None) -> dict[str, Any]:
    """Open the page as Gradio does; the updates must be JSON."""
    request: Any = SimpleNamespace(query_params=query)
    updates = open_page(page, request, token, saved)
    assert updates.keys() <= {*page.dependents, "token", "history", "problems"}
    json.dumps(updates, allow_nan=False).encode()
    return updates


def test_the_settings_of_the_visit_before_are_shown(studio_page: Page) -> None:
    assert SAVED.keys() == {"model", "form", "tab", *studio_page.kept}
    updates = opened(studio_page, saved=SAVED)
    assert updates["model"]["value"] == "notes"
    assert updates["conditions"]["values"] == {"instrument": "horn"}
    assert updates["seconds"]["value"] == 1.5
    assert updates["guidance"]["value"] == 1.5
    names = ("seed", "variants", "temperature", "top_k", "top_p", "engine")
    assert [updates[name] for name in names] == [12, 2, 0.8, 9, 0.9, "cpu"]
    assert updates["text"]["value"] == "Hello again."
    names = ("speed", "pitch", "loudness", "melody")
    assert [updates[name] for name in names] == [1.5, -2, 3, 0.5]
    watched = [updates[f"watch_{name}"]["value"] for name in ("seconds", "seed", "start", "steps")]
    assert watched == [0.7, 3, 0.1, 50]
    kept = [updates[name]["value"] for name in SAVED if name.startswith("effect_")]
    assert kept == [6, -3, 0.5, "2", True]
    kept = [updates[name]["value"] for name in SAVED if name.startswith("train_")]
    assert kept == ["small", "~/voices", "{word}_{take}", "mine", 70]
    assert not updates["problems"]["visible"]


def test_a_link_replaces_the_settings_of_the_visit_before(studio_page: Page) -> None:
    updates = opened(studio_page, "checkpoint=digits&condition.digit=3&seed=4", saved=SAVED)
    assert updates["model"]["value"] == "digits"
    assert updates["conditions"]["values"]["digit"] == "3"
    assert (updates["seed"], updates["variants"], updates["engine"]) == (4, 1, "auto")


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", [*SAVED, "all", "token"])
def test_hostile_settings_of_the_browser_are_ignored(
    studio_page: Page, name: str, value: Any
) -> None:
    saved = value if name == "all" else SAVED | {name: value}
    updates = opened(studio_page, token=value if name == "token" else None, saved=saved)
    assert updates["token"] != value
    assert updates["model"]["value"] == ("digits" if name in ("model", "all") else "notes")


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_conditions_of_the_browser_are_ignored(studio_page: Page, value: Any) -> None:
    for values in (value, {"instrument": value}, {str(value)[:50]: "horn"}):
        saved = SAVED | {"form": {"values": values}}
        conditions = opened(studio_page, saved=saved)["conditions"]
        assert conditions["values"]["instrument"] in ("flute", "horn")


def test_a_number_out_of_range_is_not_restored(studio_page: Page) -> None:
    wrong = {"seconds": 31, "seed": 0.5, "top_p": 0, "watch_start": -1, "watch_steps": 2.5}
    found, _ = read_saved(studio_page, SAVED | wrong)
    assert found.keys() == {*SAVED, "conditions"} - {"form", "tab", *wrong}


def test_recordings_of_the_visit_before_are_restored_or_named(
    studio_page: Page, uploads: Path
) -> None:
    """The prompt was lost without a word, and Generate made another clip."""
    kept = uploads / "x" / "kept.wav"
    kept.parent.mkdir(parents=True)
    kept.touch()
    saved = SAVED | {"prompt": {"path": str(kept)}}
    saved["watch_recording"] = {"path": str(uploads / "gone.wav"), "orig_name": "<gone>.wav"}
    updates = opened(studio_page, saved=saved)
    assert (updates["prompt"]["value"], updates["prompt_box"]["open"]) == (str(kept), True)
    assert updates["problems"]["visible"]
    assert "&lt;gone&gt;.wav&#39; is no longer stored" in updates["problems"]["value"]
    for foreign in ("/etc/passwd", 3, "\0", None):
        updates = opened(studio_page, saved=SAVED | {"prompt": {"path": foreign}})
        assert "value" not in updates["prompt"]


def test_a_known_visitor_sees_the_clips_of_before(studio_page: Page) -> None:
    first = opened(studio_page)
    assert opened(studio_page, token=first["token"])["token"] == first["token"]
    assert opened(studio_page, token="unknown")["token"] not in ("unknown", first["token"])


def test_the_page_shows_the_first_problems_as_text() -> None:
    shown = problems_html([f"<b> {n}" for n in range(9)])
    assert shown.count("<br>") == 5
    assert "&lt;b&gt; 0." in shown
    assert "And 4 more." in shown
    assert problems_html([]) == ""


def test_the_page_shows_what_a_link_cannot_set(studio_page: Page) -> None:
    shown = [opened(studio_page, f"checkpoint=digits&{q}=1")["problems"] for q in ("seed", "tops")]
    assert [update["visible"] for update in shown] == [False, True]
    assert "&#39;tops&#39;" in shown[1]["value"]
