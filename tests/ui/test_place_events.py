"""Improbable places and labels in the Analyse tab, without a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from wavenet.detection.events import find_events
from wavenet.detection.most_probable import label_probabilities
from wavenet.ui.analyse.analyse_events import AnalysisJobs, clear_results
from wavenet.ui.analyse.place_events import (
    format_probability,
    list_places,
    run_label_comparison,
    run_search,
)
from wavenet.ui.analyse.recording_measures import read_recording
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.studio_api import make_find_improbable_places
from wavenet.ui.turns import Turns

from .conftest import RATE, bare_page, save_checkpoint, tone
from .test_studio_api import upload

LABELS = {"digit": "7", "speaker": "jackson"}
Values = dict[str, Any]


def run(
    root: Path,
    path: str | None,
    name: str = "digits",
    callback: Callable[..., Iterator[Values]] = run_search,
    form: Values | None = None,
    **inputs: Any,
) -> Values:
    """Return the last value of every output."""
    shown: Values = {}
    shared = {"token": None, "name": name, "form": {"values": form or LABELS}, "path": path}
    for update in callback(
        bare_page(root), AnalysisJobs(), job_number=1, previous_job=None, **shared, **inputs
    ):
        shown |= update
    return shown


@pytest.fixture
def clicks(save_wav: Callable[..., str], uploads: Path) -> str:
    """A tone with two clicks."""
    samples = tone(0.6)
    samples[[1500, 3500]] = 1
    return save_wav(samples)


def test_places_are_those_of_the_library(root: Path, clicks: str) -> None:
    shown = run(root, clicks, false_alarms=30.0)
    loaded = load_checkpoint(root, "digits")
    wanted = find_events(loaded, read_recording(clicks, RATE).waveform, 30.0, LABELS)
    assert wanted
    spans = [[event.start, event.end] for event in wanted]
    assert shown["viewer"]["events"] == spans
    assert [[p["start"], p["end"]] for p in shown["places"]["places"]] == spans
    assert shown["places"]["url"] == shown["viewer"]["url"]
    assert shown["status"] == ""


def test_the_list_is_limited_and_the_count_is_not(root: Path, clicks: str) -> None:
    (event, *_) = find_events(
        load_checkpoint(root, "digits"), read_recording(clicks, RATE).waveform, 60, LABELS
    )
    message = list_places([event] * 300, "digits", "url")
    assert (message["count"], len(message["places"])) == (300, 200)


@pytest.mark.parametrize(
    ("name", "form", "false_alarms", "text"),
    [
        ("notes", {"instrument": "horn"}, 60.0, "has no surprise.json"),
        ("digits", LABELS, 0.0, "false alarms an hour must be"),
        ("digits", {"digit": "eleven"}, 60.0, "eleven"),
    ],
)
def test_a_search_that_cannot_run_is_one_sentence(
    root: Path, clicks: str, name: str, form: Values, false_alarms: float, text: str
) -> None:
    with pytest.raises(gr.Error, match=text) as raised:
        run(root, clicks, name, form=form, false_alarms=false_alarms)
    assert "--" not in str(raised.value)


def test_labels_are_those_of_the_library(root: Path, clicks: str) -> None:
    shown = run(root, clicks, callback=run_label_comparison)
    loaded = load_checkpoint(root, "digits")
    waveform = read_recording(clicks, RATE).waveform
    best = label_probabilities(loaded, waveform, ["digit", "speaker"])[:5]
    rows = shown["labels"].split("<tbody>")[1].split("</tr>")[:-1]
    assert len(rows) == 5
    for row, one in zip(rows, best, strict=True):
        assert f'<th scope="row">{one.values["digit"]}</th>' in row
    assert "<img" not in shown["labels"]  # the name of a speaker
    assert shown["status"] == ""


def test_the_comparison_of_labels_reports_its_progress(root: Path) -> None:
    shares: list[float] = []

    class Report:
        def advance(self, amount: float) -> None:
            shares.append(amount)

        def message(self, text: str) -> None:
            pass

    waveform = torch.from_numpy(tone(0.05)).float()
    loaded = load_checkpoint(root, "digits")
    label_probabilities(loaded, waveform, ["digit"], {"speaker": "george"}, Report())
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1)


def test_a_model_without_labels_is_refused(tmp_path: Path, clicks: str) -> None:
    save_checkpoint(tmp_path / "checkpoints", "plain", RATE, {})
    with pytest.raises(gr.Error, match="has no labels"):
        run(tmp_path / "checkpoints", clicks, "plain", run_label_comparison)


def test_a_new_recording_removes_places_and_labels() -> None:
    cleared = clear_results()
    assert cleared["places"] is None
    assert cleared["labels"] == ""
    assert not cleared["find"]["interactive"] and not cleared["which"]["interactive"]


def test_programs_find_the_same_places(root: Path, clicks: str) -> None:
    find = make_find_improbable_places(root, Turns())
    answer = find(upload(clicks), "digits", LABELS, "30")
    assert answer["sample_rate"] == RATE
    assert answer["seconds"] == pytest.approx(0.6)
    shown = run(root, clicks, false_alarms=30.0)
    assert [[e["start"], e["end"]] for e in answer["events"]] == shown["viewer"]["events"]
    assert all(event["ratio"] > 1 for event in answer["events"])
    with pytest.raises(gr.Error, match="has no surprise"):
        find(upload(clicks), "notes", {"instrument": "horn"})


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.5, "50.00 %"), (1.0, "above 99.99 %"), (np.nextafter(0, 1), "below 0.01 %")],
)
def test_probabilities_are_percents(probability: float, text: str) -> None:
    assert format_probability(probability) == text
