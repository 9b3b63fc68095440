"""A link repeats a spoken text: controls, curves and sound; a hostile link is one sentence."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import torch

from tests.speech.tiny_voice import save_voice
from wavenet.ui.generate.share_settings import MAX_QUERY_LENGTH
from wavenet.ui.model_bar.model_bar import show_settings
from wavenet.ui.page import Page
from wavenet.ui.page_load import open_page, read_query
from wavenet.ui.speak.speech_job import (
    MAX_CHARACTERS,
    SpeechJob,
    SpeechResult,
    SpeechSettings,
    make_speech_job,
)
from wavenet.ui.speak.speech_link import format_speech_link

from .conftest import build_page, save_checkpoint

pytestmark = pytest.mark.usefixtures("uploads")
TEXT = "Hello there, & =  “you”! The gif\ngoes on."
STYLE = {"speed": 1.35, "pitch": -2.5, "melody": 0.3, "loudness": 6.0}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a studio with a voice and a checkpoint."""
    folder = tmp_path_factory.mktemp("links") / "checkpoints"
    save_voice(folder / "tiny")
    (folder / "wavenet").rename(folder.parent / "wavenet")
    save_checkpoint(folder, "digits", 8000, {"digit": ("0", "1")})
    return build_page(folder)[1]


def changed_settings(root: Path) -> SpeechSettings:
    """Return settings whose second sentence has other curves, and a corrected word."""
    values: dict[str, Any] = {"text": TEXT, "seed": 7, "speaker": "b", "temperature": 0.8, **STYLE}
    values["pronunciations"] = {"gif": "JH IH1 F"}
    tokens = make_speech_job(root, "tiny", SpeechSettings(**values)).plans[1].tokens
    change = {
        "sentence": 1,
        "frames": [2 * t.frames for t in tokens],
        "f0": [round(1.1 * t.f0, 2) for t in tokens],
    }
    return SpeechSettings(**values, changes=[change])


def link_of(job: SpeechJob) -> str:
    return format_speech_link(job, MAX_QUERY_LENGTH)[0]


def opened(page: Page, query: str) -> dict[str, Any]:
    """Return the updates of a page that opens with a link."""
    request: Any = SimpleNamespace(query_params=query.removeprefix("?"))
    updates = open_page(page, request, None, None)
    json.dumps(updates["view"], allow_nan=False)
    return updates


def test_a_link_fills_the_controls_and_repeats_the_sound(page: Page) -> None:
    job = make_speech_job(page.root, "tiny", changed_settings(page.root))
    link, left_out = format_speech_link(job, MAX_QUERY_LENGTH)
    assert left_out == ""
    shown = opened(page, link)
    assert not shown["problems"]["visible"]
    assert shown["model"]["value"] == "tiny"
    assert shown["text"]["value"] == TEXT
    assert shown["speaker"]["value"] == "b"
    assert (shown["seed"], shown["temperature"]) == (7, 0.8)
    assert {name: shown[name] for name in STYLE} == STYLE
    assert shown["style"]["open"] is True
    view = shown["view"]
    assert view["pronunciations"] == {"gif": "JH IH1 F"}
    again = SpeechSettings(
        text=shown["text"]["value"],
        seed=7,
        speaker="b",
        temperature=0.8,
        **STYLE,
        pronunciations=view["pronunciations"],
        changes=view["changes"],
    )
    repeated = SpeechResult(make_speech_job(page.root, "tiny", again)).complete().waveform
    assert torch.equal(repeated, SpeechResult(job).complete().waveform)
    assert view["style"] == ["tiny", "b", 1.35, -2.5, 0.3]


def test_a_plain_link_is_short_and_shows_no_curves(page: Page) -> None:
    job = make_speech_job(page.root, "tiny", SpeechSettings(text="Hello.", seed=3))
    assert link_of(job) == "?checkpoint=tiny&seed=3&text=Hello."
    shown = opened(page, link_of(job))
    assert shown["view"] is None
    assert shown["speed"] == 1
    assert "open" not in shown["style"]


def test_what_does_not_fit_is_left_out_and_named(page: Page) -> None:
    job = make_speech_job(page.root, "tiny", changed_settings(page.root))
    full = link_of(job)
    link, note = format_speech_link(job, len(full) - 1)
    assert "say.gif" in link and "curves." not in link
    assert "the drawn melody and durations" in note
    link, note = format_speech_link(job, len(link) - 1)
    assert "say.gif" not in link and "text=" in link
    assert "the corrected pronunciations and the drawn melody" in note
    assert format_speech_link(job, len(link) - 1)[0] == ""
    assert "too long for a link" in format_speech_link(job, 20)[1]


def test_the_longest_english_text_fits(page: Page) -> None:
    text = ("The fox, who wasn't old, jumped. " * 100)[:MAX_CHARACTERS].strip()
    settings = SpeechSettings(text=text, seed=1)
    job = make_speech_job(page.root, "tiny", settings)
    shown = opened(page, link_of(job))
    assert shown["text"]["value"] == text


def query_of(**changes: Any) -> str:
    return urlencode({"checkpoint": "tiny", "text": "Hello there.", **changes})


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (query_of(text="a" * (MAX_CHARACTERS + 1)), "has 3,001 characters"),
        (query_of(text="a " * 50_000), "longer than 8000 characters"),
        (query_of(speed="fast"), "speed"),
        (query_of(speed="9"), "speed: expected a number from 0.5 to 2, found 9"),
        (query_of(pitch="nan"), "pitch"),
        (query_of(loudness="1e999"), "loudness"),
        (query_of(melody="-1"), "melody: expected a number from 0 to 3"),
        (query_of(seed="x"), "seed must be a whole number"),
        (query_of(speaker="zoe"), "tiny has no speaker 'zoe'; expected one of a, b"),
        (query_of(checkpoint="other"), "'other', which is not here"),
        (query_of(checkpoint="digits"), "digits is no voice"),
        (query_of(texts="x"), "did you mean 'text'"),
        (query_of(**{"say.hello": "QQ"}), "'QQ' is not a phone"),
        (query_of(**{"curves.0": "x"}), "curves.0: expected the number of a sentence"),
        (query_of(**{"curves.x": "1_100"}), "curves.x: expected the number of a sentence"),
        (query_of(**{"curves.0": "1_100"}), "one per phone or pause, found 1"),
        (query_of(**{"curves.9": "1_100"}), "so sentence 10 cannot be changed"),
        (query_of(text="?!", **{"curves.0": "1_100"}), "no words that can be read"),
        ("text=Hello.", "names no checkpoint"),
    ],
)
def test_a_hostile_link_is_one_sentence(page: Page, query: str, words: str) -> None:
    _, problems = read_query(page, query)
    assert len(problems) == 1
    assert words in problems[0]
    shown = opened(page, query)
    assert shown["problems"]["visible"]
    assert shown["view"] is None
    given = parse_qs(query).get("text", [""])[0]
    is_used = shown["model"].get("value") == "tiny" and len(given) <= MAX_CHARACTERS
    assert shown["text"].get("value") == (given if is_used else None)


def test_curves_that_are_too_long_are_refused(page: Page) -> None:
    frames = make_speech_job(page.root, "tiny", SpeechSettings(text="Hello there.")).plans[0].tokens
    query = query_of(**{"curves.0": "-".join("99999_100" for _ in frames)})
    (problem,) = read_query(page, query)[1]
    assert "durations must be 0 to" in problem


def test_again_shows_the_curves_and_corrections(page: Page) -> None:
    settings = changed_settings(page.root).model_dump()
    shown = show_settings(page, {"model": "tiny", "conditions": {}, **settings})
    assert shown["view"]["changes"] == settings["changes"]
    assert shown["view"]["pronunciations"] == {"gif": "JH IH1 F"}
    settings["pronunciations"] = {"gif": "QQ"}
    shown = show_settings(page, {"model": "tiny", "conditions": {}, **settings})
    assert shown["view"] is None
