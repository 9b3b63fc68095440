"""The actions of a listed clip: each one's updates, expired clips, hostile events."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from audio_utils import io
from wavenet.model.conditions import LabelCondition, MelCondition
from wavenet.ui.clip_history.clip_actions import run_clip_action
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.generate.generate_events import say_number, start_here
from wavenet.ui.generate.generation_job import MAX_SEED
from wavenet.ui.page import Page

from .conftest import RATE, build_page, save_checkpoint
from .test_generate_events import LABELS, press_generate

ACTIONS = (
    "analyse", "continue", "watch", "resynthesise", "score", "compare", "again", "next-seed", "pin",
    "delete",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a studio with a model of digits and a vocoder."""
    folder = tmp_path_factory.mktemp("actions")
    digits = {"digit": tuple("0123456789"), "speaker": ("george", "jackson")}
    save_checkpoint(folder, "digits", RATE, digits)
    save_checkpoint(folder, "notes", RATE, {"instrument": ("flute", "horn")})
    save_checkpoint(folder, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=64))
    return build_page(folder)[1]


@pytest.fixture
def clip(page: Page, uploads: Path) -> Iterator[tuple[str, Clip]]:
    """The token of a visitor, and a clip that the visitor generated."""
    token = page.clips.visitor(None)
    list(press_generate(page, token, start=start_here, seconds=0.02, temperature=0.5))
    yield token, page.clips.clips(token)[0]


def press_say(page: Page, token: Any, number: str, seed: int) -> Iterator[dict[str, Any]]:
    values: dict[str, Any] = {"job_number": 5, "name": "digits", "form": {"values": LABELS}}
    values |= {"number": number, "seed": seed, "engine": "auto"}
    return say_number(page, start_here, token=token, **values)


def act(page: Page, token: Any, data: Any) -> dict[str, Any]:
    return run_clip_action(page, gr.EventData(None, data), token)


@pytest.mark.parametrize(
    ("action", "target", "tab"),
    [
        ("analyse", "analyse", "analyse"),
        ("score", "score", "analyse"),
        ("watch", "watch", "watch"),
        ("compare", "compare", "compare"),
        ("continue", "continue", "generate"),
        ("resynthesise", "resynthesise", "generate"),
    ],
)
def test_a_use_puts_the_clip_into_a_tab_and_opens_it(
    page: Page, clip: tuple[str, Clip], action: str, target: str, tab: str
) -> None:
    token, used = clip
    updates = act(page, token, {"action": action, "id": used.clip_id})
    recording = updates[page.recordings[target]]
    assert (recording["value"], recording.get("visible", True)) == (str(used.path), True)
    assert updates["tabs"]["selected"] == tab
    assert updates["model"]["value"] == ("vocoder" if action == "resynthesise" else "digits")
    assert ("open" in updates["prompt_box"]) == (action == "continue")


@pytest.mark.parametrize("action", ["analyse", "score", "watch", "continue"])
def test_a_use_shows_the_model_and_the_conditions_of_the_clip(
    page: Page, clip: tuple[str, Clip], action: str
) -> None:
    """A clip of digit 7 was scored with the digit that the page showed."""
    token, used = clip
    shown = {"form": {"model": "notes", "values": {"instrument": "horn"}}, "name": "notes"}
    shown["saved"] = {"seconds": 0.7, "seed": 9}
    data = gr.EventData(None, {"action": action, "id": used.clip_id})
    updates = run_clip_action(page, data, token, **shown)
    assert updates["model"]["value"] == "digits"
    assert updates["conditions"]["values"] == LABELS
    assert (updates["seconds"]["value"], updates["seed"]) == (0.7, 9)


def test_an_invalid_field_is_not_kept(page: Page, clip: tuple[str, Clip]) -> None:
    """It must not end the action, so it is no input of the event."""
    token, used = clip
    data = gr.EventData(None, {"action": "score", "id": used.clip_id})
    form = {"model": "digits", "values": LABELS}
    for saved in ({"seconds": 99, "seed": "x"}, 3, None, [], {"seconds": math.nan}):
        updates = run_clip_action(page, data, token, "digits", form, saved)
        assert (updates["seconds"]["value"], updates["seed"]) == (0.5, -1)


def test_a_recording_is_continued_by_a_model_that_can(page: Page, uploads: Path) -> None:
    token = page.clips.visitor(None)
    added = page.clips.add(token, torch.ones(RATE) / 2, RATE, "a.wav", "a", source="recording")
    event = gr.EventData(None, {"action": "continue", "id": added.clip_id})
    for name, expected in (("vocoder", "digits"), ("notes", "notes")):
        updates = run_clip_action(page, event, token, name, {"model": name, "values": {}})
        assert updates["model"]["value"] == expected
        assert updates["prompt"]["visible"]


def test_resynthesise_without_a_vocoder_is_a_sentence(
    root: Path, studio_page: Page, uploads: Path
) -> None:
    token = studio_page.clips.visitor(None)
    waveform = torch.ones(RATE) / 2
    added = studio_page.clips.add(token, waveform, RATE, "a.wav", "a", source="recording")
    with pytest.raises(gr.Error, match="No model here resynthesises recordings"):
        act(studio_page, token, {"action": "resynthesise", "id": added.clip_id})


@pytest.mark.parametrize(("action", "seed"), [("again", 3), ("next-seed", 4)])
def test_repeats_show_the_settings_of_the_clip(
    page: Page, clip: tuple[str, Clip], action: str, seed: int
) -> None:
    token, used = clip
    updates = act(page, token, {"action": action, "id": used.clip_id})
    assert (updates["seed"], updates["temperature"], updates["variants"]) == (seed, 0.5, 1)
    assert updates["seconds"]["value"] == 0.02
    assert updates["conditions"]["values"] == LABELS
    assert updates["model"]["value"] == "digits"
    assert updates["tabs"]["selected"] == "generate"


@pytest.mark.parametrize("action", ["again", "next-seed"])
def test_a_repeat_uses_the_model_of_the_clip(page: Page, uploads: Path, action: str) -> None:
    """A clip of the second model came back with the first one."""
    token, horn = page.clips.visitor(None), {"instrument": "horn"}
    list(press_generate(page, token, name="notes", conditions=horn, seconds=0.02))
    updates = act(page, token, {"action": action, "id": page.clips.clips(token)[0].clip_id})
    assert updates["model"]["value"] == "notes"
    assert updates["conditions"]["values"] == horn


def test_a_repeat_without_its_model_is_a_sentence(
    page: Page, uploads: Path, tmp_path: Path
) -> None:
    token = page.clips.visitor(None)
    removed = page.root / "removed"
    shutil.copytree(page.root / "notes", removed)
    list(press_generate(page, token, name="removed", conditions={"instrument": "horn"}))
    shutil.rmtree(removed)
    with pytest.raises(gr.Error, match="found 'removed'"):
        act(page, token, {"action": "again", "id": page.clips.clips(token)[0].clip_id})


@pytest.fixture
def continued(page: Page, uploads: Path) -> tuple[str, Clip, Path]:
    """The token of a visitor, a clip that continues a prompt, and the prompt."""
    token = page.clips.visitor(None)
    prompt = uploads / "x" / "my prompt.wav"
    prompt.parent.mkdir(parents=True)
    io.write(prompt, torch.ones(RATE // 10) / 2, RATE)
    list(press_generate(page, token, seconds=0.02, prompt=str(prompt), with_prompt=False))
    return token, page.clips.clips(token)[0], prompt


def test_a_continued_clip_continues_its_prompt_again(
    page: Page, continued: tuple[str, Clip, Path]
) -> None:
    token, used, prompt = continued
    assert used.title.endswith(" · continues my prompt.wav")
    assert str(prompt) in page.clips.paths(), "the prompt may be deleted before the clip"
    updates = act(page, token, {"action": "again", "id": used.clip_id})
    assert updates["prompt"]["value"] == str(prompt)
    assert updates["with_prompt"]["value"] is False
    assert updates["prompt_box"]["open"]


def test_a_plain_clip_does_not_use_the_loaded_prompt_again(
    page: Page, clip: tuple[str, Clip]
) -> None:
    updates = act(page, clip[0], {"action": "again", "id": clip[1].clip_id})
    assert updates["prompt"]["value"] is None


def test_a_clip_whose_prompt_is_gone_is_a_sentence(
    page: Page, continued: tuple[str, Clip, Path]
) -> None:
    token, used, prompt = continued
    prompt.unlink()
    with pytest.raises(gr.Error, match=r"The recording 'my prompt\.wav' is no longer stored"):
        act(page, token, {"action": "next-seed", "id": used.clip_id})


def test_an_omitted_label_stays_omitted(tmp_path: Path, uploads: Path) -> None:
    tone = LabelCondition(name="tone", values=("a", "b"), dropout=0.1)
    save_checkpoint(tmp_path, "optional", RATE, {}, tone)
    page = build_page(tmp_path)[1]
    token = page.clips.visitor(None)
    list(press_generate(page, token, name="optional", conditions={"tone": ""}, seconds=0.02))
    updates = act(page, token, {"action": "again", "id": page.clips.clips(token)[0].clip_id})
    assert updates["conditions"]["values"] == {"tone": ""}


def test_a_spoken_number_is_said_again(page: Page, uploads: Path) -> None:
    token = page.clips.visitor(None)
    outputs = list(press_say(page, token, number="42", seed=6))
    said = page.clips.clips(token)[0]
    shown = {name: value for output in outputs for name, value in output.items()}
    assert "42" in shown["settings"]
    assert "digit" not in shown["settings"].replace("digits", "")
    assert "<dt>Number</dt><dd>42</dd>" in shown["summary"]
    assert (shown["command"], "No command" in shown["link"]) == ("", True)
    assert f"{round(said.seconds * RATE):,}" in shown["summary"]
    updates = act(page, token, {"action": "next-seed", "id": said.clip_id})
    assert (updates["number"]["value"], updates["seed"]) == ("42", 7)
    assert updates["conditions"]["values"]["speaker"] == "jackson"
    assert 'data-press="say"' in outputs[-2]["history"]


def test_again_makes_the_same_samples(page: Page, clip: tuple[str, Clip]) -> None:
    token, used = clip
    updates = act(page, token, {"action": "again", "id": used.clip_id})
    names = ("seed", "variants", "temperature", "top_k", "top_p", "engine")
    settings = {name: updates[name] for name in names} | {
        "seconds": updates["seconds"]["value"],
        "guidance": updates["guidance"]["value"],
        "name": updates["model"]["value"],
        "form": updates["conditions"],
    }
    list(press_generate(page, token, **settings))
    again = page.clips.clips(token)[0]
    assert again.clip_id != used.clip_id
    assert again.path.read_bytes() == used.path.read_bytes()


def test_the_last_seed_has_no_next_one(page: Page, uploads: Path) -> None:
    token = page.clips.visitor(None)
    list(press_generate(page, token, seconds=0.02, seed=MAX_SEED))
    updates = act(page, token, {"action": "next-seed", "id": page.clips.clips(token)[0].clip_id})
    assert updates["seed"] == MAX_SEED


def test_pin_and_delete(page: Page, clip: tuple[str, Clip]) -> None:
    token, used = clip
    data = {"action": "pin", "id": used.clip_id}
    assert "kept until the studio ends" in act(page, token, data)["history"]
    assert "kept for" in act(page, token, data)["history"]
    shown = act(page, token, {"action": "delete", "id": used.clip_id})
    assert used.clip_id not in shown["history"]
    assert not used.path.exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_expired_clip_is_a_sentence(page: Page, clip: tuple[str, Clip], action: str) -> None:
    token, used = clip
    used.path.unlink()
    with pytest.raises(gr.Error, match="This clip has expired or was deleted"):
        act(page, token, {"action": action, "id": used.clip_id})


@pytest.mark.parametrize("action", ACTIONS)
def test_the_clip_of_another_visitor_is_unknown(
    page: Page, clip: tuple[str, Clip], action: str
) -> None:
    with pytest.raises(gr.Error, match="expired"):
        act(page, page.clips.visitor(None), {"action": action, "id": clip[1].clip_id})


@pytest.mark.parametrize("action", ["again", "next-seed"])
def test_a_recording_cannot_be_repeated(page: Page, uploads: Path, action: str) -> None:
    token = page.clips.visitor(None)
    waveform = torch.ones(RATE) / 2
    added = page.clips.add(token, waveform, RATE, "a.wav", "a", source="recording")
    with pytest.raises(gr.Error, match="no settings to repeat"):
        act(page, token, {"action": action, "id": added.clip_id})


VALUES: list[Any] = [
    None, True, 3, math.nan, 10**400, "", "x", "\ud800", "9" * 100_000, [], [[]], {}, {"a": [1]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_hostile_events_are_one_sentence(page: Page, clip: tuple[str, Clip], value: Any) -> None:
    token, used = clip
    events = [(token, value), (token, {"action": value, "id": used.clip_id})]
    events += [(token, {"action": "pin", "id": value}), (value, {"action": "pin", "id": "x"})]
    for given, data in events:
        with pytest.raises(gr.Error) as caught:
            act(page, given, data)
        assert caught.value.message.endswith("generate it again.") or caught.value.message.endswith(
            "reload the page."
        )
        assert len(caught.value.message) < 200
    assert not page.clips.clips(token)[0].is_pinned
