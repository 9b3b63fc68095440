"""The Analyse tab towards its page and its callers: updates, uploads, the public functions."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from gradio.blocks import postprocess_update_dict
from gradio.utils import get_upload_folder

from audio_utils import io
from wavenet.likelihood.score import score
from wavenet.ui import analyse, analysis, jobs, sounds
from wavenet.ui.api import make_analyse, make_score

from .conftest import RATE, SPEAKERS, tone


def test_updates_reach_the_outputs_by_their_names() -> None:
    def work(value: int) -> Iterator[analysis.Update]:
        yield {"facts": value, "bits": "last"}

    (row,) = analyse.updates(work)(3)
    assert len(row) == len(analysis.OUTPUTS) == len(set(analysis.OUTPUTS))
    assert row[analysis.OUTPUTS.index("facts")] == 3
    assert row[analysis.OUTPUTS.index("bits")] == "last"
    assert row.count(gr.skip()) == len(row) - 2


def test_updates_do_not_follow_each_other_faster_than_a_page_takes_them() -> None:
    """A picture or a player was missing where two updates came at once."""

    def work() -> Iterator[analysis.Update]:
        yield from ({"facts": n} for n in range(3))

    came = [time.monotonic() for _ in analyse.updates(work)()]
    assert np.diff(came).min() >= jobs.PACE_SECONDS


def test_the_last_update_says_all_once_more(saved: Callable[..., str]) -> None:
    *_, last = analysis.show_signal(saved(tone(0.1)))
    told = {"facts", "listen", "original", "coarse", "pictures", "features", "again"}
    assert told | set(analysis.PICTURES) <= set(last)


def test_what_is_said_once_more_has_its_value_still(saved: Callable[..., str]) -> None:
    """On a slow page the pictures were missing: Gradio takes the value out of what it has sent."""
    image, sent = gr.Image(type="filepath"), {}
    for row in analyse.updates(analysis.show_signal)(saved(tone(0.1))):
        updates = dict(zip(analysis.OUTPUTS, row, strict=True))
        sent = {n: postprocess_update_dict(image, updates[n]) for n in analysis.PICTURES}
    assert all(update["value"]["path"].endswith(".png") for update in sent.values())


def test_a_new_recording_takes_back_what_is_shown_of_another() -> None:
    (row,) = analyse.updates(analysis.clear)()
    told = dict(zip(analysis.OUTPUTS, row, strict=True))
    kept = {"original", "coarse", "score"}  # what stands in a hidden column
    assert {name for name, value in told.items() if value == gr.skip()} == kept
    assert all(
        not told[name]["visible"] for name in (*analysis.PICTURES, "strip", "pictures", "listen")
    )


def test_names_of_uploads_are_safe_and_short(saved: Callable[..., str]) -> None:
    assert sounds.read_sound(saved(tone(0.1), name="a <b> & c")).name == "a--b----c"
    long = sounds.read_sound(saved(tone(0.1), name="ж" * 100))
    assert long.name == "ж" * 50


def upload(path: str) -> Any:
    """What Gradio hands to a public function for an upload: its own copy."""
    copy = Path(get_upload_folder()) / Path(path).name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(Path(path).read_bytes())
    return {"path": str(copy), "meta": {"_type": "gradio.FileData"}}


def test_the_public_functions_give_plain_numbers(
    root: Path, saved: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = saved(tone())
    numbers = json.loads(json.dumps(make_analyse()(upload(path)), allow_nan=False))
    assert numbers["pitch_hz"] == pytest.approx(440, rel=0.01)
    assert numbers["peak_db"] == pytest.approx(-6.02, abs=0.01)
    assert numbers["crest_db"] == pytest.approx(3.01, abs=0.01)
    assert numbers["mu_law_snr_db"] > 30
    labels = {"digit": "7", "speaker": "jackson"}
    answer = make_score(root)(upload(path), "digits", labels)
    answer = json.loads(json.dumps(answer, allow_nan=False))
    expected = score(jobs.load_named(root, "digits"), io.read(path, RATE).waveform, labels)
    assert answer["bits_per_sample"] == pytest.approx(expected.bits_per_sample)
    assert len(answer["surprise"]) == 100
    assert np.mean(answer["surprise"]) == pytest.approx(expected.bits_per_sample, abs=1e-3)
    assert answer["step"] == 0.01
    silent = make_analyse()(upload(saved(np.zeros(RATE), name="silent")))
    assert json.loads(json.dumps(silent, allow_nan=False))["peak_db"] is None


@pytest.mark.parametrize(
    "recording", [None, 3, "x.wav", {}, {"path": 3}, {"path": "x\0y"}, {"path": "/etc/passwd"}]
)
def test_only_uploads_are_read(
    root: Path, recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    labels = {"digit": "7", "speaker": "jackson"}
    for call in (make_analyse(), partial(make_score(root), checkpoint="digits", labels=labels)):
        with pytest.raises(gr.Error, match="uploaded file"):
            call(recording)


@pytest.mark.parametrize(
    "changes", [{"checkpoint": ["digits"]}, {"checkpoint": "../digits"}, {"labels": 3}]
)
def test_the_public_score_refuses_in_a_sentence(
    root: Path, saved: Callable[..., str], changes: dict[str, Any]
) -> None:
    good = {"checkpoint": "digits", "labels": {"digit": "7", "speaker": SPEAKERS[0]}}
    recording = upload(saved(tone(0.1)))
    make_score(root)(recording, **good)
    with pytest.raises(gr.Error):
        make_score(root)(recording, **(good | changes))


def test_the_page_can_be_warmed_more_than_once() -> None:
    analysis.warm_up()
    analysis.warm_up()
    assert torch.is_tensor(sounds.Sound(io.Recording(torch.zeros(9), RATE, RATE, 1, 0), "x").codes)
