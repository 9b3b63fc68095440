"""The Compare tab without a browser: its files, its messages, and its callbacks."""

import base64
import json
import math
import shutil
import zlib
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from wavenet.checkpoint import load
from wavenet.errors import ConditionError, DataError
from wavenet.ui.compare import comparison_files, member_predictions
from wavenet.ui.compare.compare_events import (
    NO_CLIP,
    run_member_action,
    run_predictions,
    show_comparison,
    shown_budget,
)
from wavenet.ui.compare.comparison_files import (
    METRICS,
    OWN_TITLE,
    read_comparison,
)
from wavenet.ui.compare.comparison_message import comparison_message, row_facts
from wavenet.ui.page import Page

from .comparison_folder import CLIP_SAMPLES, MEMBERS, OTHERS, RATE, write_clip
from .conftest import bare_page

FORM = {"values": {"digit": "3", "speaker": "george"}}


@pytest.fixture
def page(root: Path, tmp_path: Path, uploads: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page whose checkpoints contain a comparison of its own; there is no other one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison_files, "program_folder", lambda: tmp_path / "program")
    shutil.copytree(root / "compare", tmp_path / "models" / "compare")
    return bare_page(tmp_path / "models")


def predict(page: Page, **changes: Any) -> list[dict[str, Any]]:
    """Return all messages of a press of Predict."""
    values = {"form": FORM, "choice": None, "recording": None, "start": 0.0} | changes
    return [update["predictions"] for update in run_predictions(page, **values)]


def check_error(page: Page, words: str, **changes: Any) -> None:
    """Check that a press of Predict is an error of one sentence, in the page and in the toast."""
    values = {"form": FORM, "choice": None, "recording": None, "start": 0.0} | changes
    messages = []
    with pytest.raises(gr.Error) as caught:
        for update in run_predictions(page, **values):
            messages.append(update["predictions"])
    assert words in str(caught.value.message)
    assert messages[-1] == {"error": caught.value.message}


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def act(page: Page, **data: Any) -> dict[str, Any]:
    return run_member_action(page, gr.EventData(None, data), token=None)


def use(page: Page, member: str, choice: str | None = None) -> dict[str, Any]:
    event = gr.EventData(None, {"action": "use", "member": member, "budget": "small"})
    form = {"model": "compare/wavenet", "values": {"digit": "3"}}
    saved = {"seed": 5}
    return run_member_action(page, event, None, choice, form, saved)


def test_rows_are_points_with_facts(page: Page) -> None:
    message = comparison_message(read_comparison(page.root), page.root)
    assert message["budgets"] == ["small", "large"]
    assert message["rate"] == RATE
    row = next(r for r in message["rows"] if (r["member"], r["budget"]) == ("gru", "large"))
    assert row["bits"] == pytest.approx(3.2)
    assert row["interval"] == pytest.approx([3.1, 3.3])
    assert row["speeds"]["fastest"] == row["speeds"]["cached"] == 4 * row["speeds"]["naive"]
    assert [cost["past"] for cost in row["costs"]] == [64, 512, 4096]
    facts = row["facts"]
    assert facts["Bits per sample"] == "3.200, 95 % interval 3.100 to 3.300"
    assert facts["Perplexity"] == "9.2 codes"
    assert facts["Receptive field"] == "all past samples"
    assert facts["Training"] == "1.5 min of processor time, 1,000 steps"
    assert facts["Labels recognised"] == "digit 75 % (recordings 95 %)"


def test_measures_may_be_absent() -> None:
    row = {"member": "gru", "budget": "own", "title": "GRU", "parameters": 1000}
    facts = row_facts({**row, "bits_per_sample": 3.0, "samples_per_second": {}})
    assert facts == {
        "Architecture": "gru",
        "Parameters": "1,000",
        "Receptive field": "all past samples",
        "Bits per sample": "3.000",
        "Perplexity": "8.0 codes",
    }


def test_without_a_comparison_a_sentence_says_how_to_make_one(page: Page) -> None:
    shutil.rmtree(page.root / "compare")
    shown = show_comparison(page, choice="shipped with the program")
    assert "`wavenet compare train FOLDER`" in shown["comparison"]["error"]
    assert shown["choice"]["visible"] is False
    check_error(page, "No comparison was found")


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": []}', '{"rows": [{"member": "gru"}]}'])
def test_damaged_rows_are_an_error(page: Page, text: str) -> None:
    (page.root / "compare" / METRICS).write_text(text)
    with pytest.raises(DataError, match=r"in compare/metrics\.json"):
        read_comparison(page.root)
    assert "make it again" in show_comparison(page, choice=None)["comparison"]["error"]


def test_a_comparison_of_the_user_is_a_second_choice(page: Page, tmp_path: Path) -> None:
    """Its checkpoints and clips are in the folders of budgets."""
    own = tmp_path / "runs" / "compare"
    own.mkdir(parents=True)
    shutil.copy(page.root / "compare" / METRICS, own)
    part = own / "small" / "gru"
    shutil.copytree(page.root / "compare" / "gru", part / "run" / "checkpoint")
    (part / "clips").mkdir()
    write_clip(part / "clips" / "b.wav")
    shown = show_comparison(page, choice=OWN_TITLE)
    assert shown["choice"]["choices"] == ["shipped with the program", OWN_TITLE]
    assert (shown["choice"]["value"], shown["choice"]["visible"]) == (OWN_TITLE, True)
    assert {row["model"] for row in shown["comparison"]["rows"]} == {None}
    with pytest.raises(gr.Error, match="in the folder compare of the models"):
        use(page, "gru", choice=OWN_TITLE)
    comparison = read_comparison(page.root, OWN_TITLE)
    assert load(comparison.checkpoint("gru", "small")).config.name == "gru"
    assert shown_budget(comparison, "gru", "small") == "small"
    clip = comparison.clip("gru", "small")
    assert clip is not None and clip.name == "b.wav"
    assert comparison.clip("gru") is None  # of the largest budget
    with pytest.raises(ConditionError, match="expected a comparison"):
        read_comparison(page.root, "../digits")


def test_the_clip_of_a_member_is_shown_and_kept(page: Page, uploads: Path) -> None:
    """The clip is that of the checkpoint, which has the size of the large budget."""
    shown = act(page, action="show", member="wavenet", budget="small")
    viewer = shown["viewer"]
    assert (viewer["samples"], viewer["rate"]) == (CLIP_SAMPLES, RATE)
    assert [panel["title"] for panel in viewer["panels"]][:3] == [
        "Waveform",
        "Spectrogram",
        "Mel spectrogram",
    ]
    assert "WaveNet of budget large" in shown["note"]
    served = Path(viewer["url"].partition("file=")[2])
    assert served.is_relative_to(uploads)
    assert soundfile.info(served).frames == CLIP_SAMPLES
    token = page.clips.visitor(None)
    event = gr.EventData(None, {"action": "keep", "member": "wavenet", "budget": "small"})
    for _ in range(2):
        assert "compare_wavenet.wav" in run_member_action(page, event, token)["history"]
    assert len(page.clips.clips(token)) == 1


def test_a_member_without_a_clip_and_an_unknown_one(page: Page) -> None:
    shown = act(page, action="show", member="gru", budget="small")
    assert shown["viewer"] is None and NO_CLIP in shown["note"]
    with pytest.raises(gr.Error, match="reload the page"):
        act(page, action="show", member="../gru", budget="small")


def test_a_member_becomes_the_model_of_the_page(page: Page) -> None:
    rows = {row["member"]: row for row in show_comparison(page, choice=None)["comparison"]["rows"]}
    assert rows["gru"]["model"] == "compare/gru"
    shown = use(page, "gru")
    assert shown["model"]["value"] == "compare/gru"
    assert shown["model"]["choices"] == [f"compare/{name}" for name in sorted({*MEMBERS, *OTHERS})]
    assert "All tabs use compare/gru now" in shown["note"]


def test_the_clip_of_digits_is_predicted_if_it_exists(page: Page) -> None:
    """Speech is better known than the sound of a small WaveNet."""
    assert read_comparison(page.root).example is None
    write_clip(page.root / "compare" / "sample.wav", 900)
    *_, message = predict(page)
    assert (message["title"], message["count"]) == ("clip generated by digits, digit 3", 900)


def test_predictions_are_those_of_the_models(page: Page) -> None:
    *busy, message = predict(page, start=0.05)
    assert busy[-1] == {"busy": "Predicting with WaveNet: 3 of 3"}
    assert (message["first"], message["count"]) == (400, CLIP_SAMPLES - 400)
    assert message["title"] == "clip generated by WaveNet, digit 3"
    assert [m["title"] for m in message["members"]] == [title for title, _ in MEMBERS.values()]
    levels = np.frombuffer(zlib.decompress(base64.b64decode(message["levels"])), "u1")
    levels = levels.reshape(3, message["count"], 256)
    codes = np.frombuffer(base64.b64decode(message["codes"]), "u1")
    recording, _ = soundfile.read(page.root / "compare" / "wavenet" / "sample.wav", dtype="float32")
    for n, (name, member) in enumerate(zip(MEMBERS, message["members"], strict=True)):
        loaded = load(page.root / "compare" / name)
        whole = loaded.codec.encode(torch.from_numpy(recording))[None]
        labels = {"digit": "3"} if loaded.config.model.labels else {}
        params = loaded.model(whole, loaded.model.conditioning([labels], [CLIP_SAMPLES]))
        log_p = params[0].T.log_softmax(1)[400:]
        assert np.array_equal(codes, whole[0, 400:])
        bits = -log_p.gather(1, whole[0, 400:, None])[:, 0] / math.log(2)
        assert np.allclose(floats(member["surprise"]), bits.numpy(), atol=1e-4)
        assert member["bits"] == pytest.approx(float(bits.mean()), abs=1e-4)
        peaks = floats(member["peaks"])
        seen = levels[n] / 255 * peaks[:, None]
        assert np.abs(seen - log_p.exp().numpy()).max() <= peaks.max() / 500


def test_a_recording_is_cut_to_the_shown_samples(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_predictions, "MAX_SAMPLES", 100)
    path = tmp_path / "<b>.wav"
    write_clip(path, 3000)
    *_, message = predict(page, recording=str(path), start=0.1)
    assert (message["first"], message["count"]) == (800, 100)
    assert message["title"].startswith("recording <b>.wav")
    assert floats(message["waveform"]).size == floats(message["members"][0]["peaks"]).size == 100


def test_a_member_that_cannot_be_computed_is_named(page: Page) -> None:
    (page.root / "compare" / "gru" / "model.safetensors").write_bytes(b"x")
    shutil.rmtree(page.root / "compare" / "histogram")
    *_, message = predict(page)
    assert [m["title"] for m in message["members"]] == ["WaveNet"]
    assert message["members"][0]["colour"] == 2
    named = {failure["title"]: failure["text"] for failure in message["failures"]}
    assert named["histogram"] == "Its checkpoint is missing."
    assert str(page.root) not in named["GRU"] and "gru" in named["GRU"]


def test_a_member_with_another_rate_is_named(page: Page) -> None:
    file = page.root / "compare" / "gru" / "config.json"
    config = json.loads(file.read_text())
    config["audio"]["sample_rate"] = 2 * RATE
    file.write_text(json.dumps(config))
    *_, message = predict(page)
    assert [f["text"] for f in message["failures"]] == [
        "Its sample rate or its codec is not that of the first member."
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": None}, "First sample at: expected a number, found nothing"),
        ({"start": 0.2}, "end of the recording at 0.2 s, found 0.2 s"),
        ({"recording": "nowhere.wav"}, "nowhere.wav"),
        ({"choice": "other"}, "Expected a comparison"),
    ],
)
def test_invalid_setting_is_an_error_of_one_sentence(
    page: Page, changes: dict[str, Any], words: str
) -> None:
    check_error(page, words, **changes)


def test_without_clips_or_checkpoints_a_recording_or_nothing_is_needed(
    page: Page, tmp_path: Path
) -> None:
    (page.root / "compare" / "wavenet" / "sample.wav").unlink()
    check_error(page, "upload a recording")
    for name in MEMBERS:
        shutil.rmtree(page.root / "compare" / name)
    path = tmp_path / "tone.wav"
    write_clip(path)
    check_error(page, "has no checkpoints", recording=str(path))


def test_a_waiting_job_shows_its_place(page: Page) -> None:
    with page.turns.turn():
        job = run_predictions(page, form=FORM, choice=None, recording=None, start=0.0)
        assert next(job) == {"predictions": {"busy": "Waiting: 1 job before you."}}
    assert next(job) == {"predictions": {"busy": "Predicting with histogram: 1 of 3"}}
    job.close()
