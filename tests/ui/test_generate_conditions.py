"""The Generate tab with every kind of condition that a checkpoint may have."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from audio_utils import io
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui import controls, jobs, live
from wavenet.ui.controls import show_checkpoint
from wavenet.ui.take import Take

from .conftest import RATE, save_checkpoint
from .test_generate_tab import SETTINGS, heard, make_prompt


def save_rich(folder: Path) -> None:
    """Save a checkpoint with a number that may do without its label, and one with mel frames."""
    for name, frames in (("rich", ()), ("again", (MelCondition(n_mels=4, win_length=64),))):
        conditions = (
            LabelCondition(name="tone", values=("a", "b"), dropout=0.1),
            NumberCondition(name="level", low=-60, high=0, unit="dB"),
            *frames,
        )
        save_checkpoint(folder, name, RATE, {}, *conditions)


def test_conditions_of_every_kind_have_their_control(tmp_path: Path) -> None:
    save_rich(tmp_path)
    _, seconds, _, guidance, source, prompt, *rest = show_checkpoint(tmp_path, "rich")
    assert (guidance["visible"], source["visible"], prompt["visible"]) == (True, False, True)
    rest = rest[3:]  # how to draw
    assert (rest[0]["label"], rest[0]["value"]) == ("Level (-60 to 0 dB)", -30)
    tone = rest[controls.MAX_NUMBERS]
    assert (tone["choices"][0], tone["value"]) == (("any", ""), "")
    _, seconds, _, _, source, prompt, *_ = show_checkpoint(tmp_path, "again")
    assert (seconds["visible"], source["visible"], prompt["visible"]) == (False, True, False)


def test_a_field_says_what_is_taken_where_it_is_left_empty(tmp_path: Path) -> None:
    told = {"usual": -15}
    for name, more in (("free", {}), ("told", told), ("both", told | {"measured": "loudness"})):
        number = NumberCondition(name="level", low=-60, high=0, dropout=0.1, **more)
        save_checkpoint(tmp_path, name, RATE, {}, number)
    always = NumberCondition(name="level", low=-60, high=0, **told)
    save_checkpoint(tmp_path, "always", RATE, {}, always)
    fields = [show_checkpoint(tmp_path, name)[9] for name in ("free", "told", "both", "always")]
    assert [field["value"] for field in fields] == [None, None, None, -15]
    assert [field["placeholder"] for field in fields] == ["", "-15", "-15, or as the prompt", ""]


def test_what_is_usual_is_heard_and_scored_where_a_field_is_left_empty(tmp_path: Path) -> None:
    number = NumberCondition(name="level", low=-60, high=0, default=-15)
    save_checkpoint(tmp_path, "usual", RATE, {}, number)
    loaded = jobs.load_named(tmp_path, "usual")
    takes = []
    for labels in ({}, {"level": -15.0}, {"level": -50.0}):
        takes.append(Take(jobs.make_job(loaded, jobs.Wish(seconds=0.1, seed=1, labels=labels))))
        list(takes[-1].play())
    empty, same, other = (take.bits() for take in takes)
    assert torch.equal(empty, same)
    assert not torch.equal(empty, other)


def test_labels_left_out_numbers_and_guidance_reach_the_model(tmp_path: Path) -> None:
    save_rich(tmp_path)

    def sound(tone: str, level: float | None, **changes: Any) -> np.ndarray:
        values = (SETTINGS | {"name": "rich"} | changes).values()
        rest = [level, None, None, None, tone]
        return heard(list(live.run_live(tmp_path, live.Stops(), *values, *rest)))

    plain = sound("a", -30.0)
    assert np.array_equal(plain, sound("a", -30.0))
    for other in (sound("", -30.0), sound("a", -3.0), sound("a", -30.0, guidance=3.0)):
        assert not np.array_equal(plain, other)
    with pytest.raises(gr.Error, match="'level' is missing"):
        sound("a", None)


def test_a_recording_is_said_again(tmp_path: Path) -> None:
    save_rich(tmp_path)
    source = make_prompt(tmp_path, "sine")

    def said(**changes: Any) -> np.ndarray:
        values = (SETTINGS | {"name": "again"} | changes).values()
        return heard(list(live.run_live(tmp_path, live.Stops(), *values, -30.0)))

    one = said(source=source)
    assert len(one) == 4000, "it has another length than the recording"
    softer = tmp_path / "softer.wav"
    io.write(softer, io.read(source, RATE).waveform / 100, RATE)
    assert not np.array_equal(one, said(source=str(softer)))
    assert np.array_equal(one, said(source=source, prompt=make_prompt(tmp_path, "text")))
    with pytest.raises(gr.Error, match="says a recording again: give it one"):
        said()
    with pytest.raises(gr.Error, match="not audio"):
        said(source=make_prompt(tmp_path, "text"))


@pytest.mark.parametrize(("seconds", "usual"), [("0.5", 0.5), ("45.0", jobs.MAX_SECONDS)])
def test_the_usual_length_is_one_that_the_page_takes(
    tmp_path: Path, seconds: str, usual: float
) -> None:
    save_rich(tmp_path)
    config = tmp_path / "again" / "config.json"
    text = config.read_text()
    assert '"default_seconds": 0.5' in text
    config.write_text(text.replace('"default_seconds": 0.5', f'"default_seconds": {seconds}'))
    assert show_checkpoint(tmp_path, "again")[1]["value"] == usual
    source, rest = make_prompt(tmp_path, "sine"), {"seconds": 1000}
    values = (SETTINGS | {"name": "again", "source": source} | rest).values()
    assert len(heard(list(live.run_live(tmp_path, live.Stops(), *values, -30.0)))) == 4000
