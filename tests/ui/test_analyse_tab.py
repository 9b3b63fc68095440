"""The Analyse tab without a browser: its callbacks, called by the names of their inputs."""

import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from threading import Event, Thread
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.likelihood.score import score
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.ui.analyse import analyse_events, recording_measures
from wavenet.ui.analyse.analyse_events import (
    ENABLED,
    LISTS,
    AnalysisJobs,
    clear_results,
    code_histogram,
    compile_pitch_tracker,
    run_analysis,
    run_score,
    write_example,
)
from wavenet.ui.analyse.recording_measures import (
    MAX_SECONDS,
    MeasuredRecording,
    read_recording,
    signal_facts,
    signal_numbers,
)
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.event_handling import UPDATE_SECONDS
from wavenet.ui.page import Page
from wavenet.ui.turns import Turns
from wavenet.ui.wiring import by_name

from .conftest import RATE, save_checkpoint, tone

LABELS = {"digit": "7", "speaker": "jackson"}
PANELS = ["Waveform", "Surprise", "Spectrogram", "Mel spectrogram", "MFCC", "MFCC delta"]
PANELS += ["MFCC delta-delta", "Level", "Pitch (F0)"]
Values = dict[str, Any]


def make_page(root: Path) -> Page:
    """Return the parts of a page that the callbacks use."""
    clips, widgets = ClipStore(), dict.fromkeys(("token", "saved", "tabs", "model", "about"))
    shared: dict[str, Any] = {**widgets, "conditions": None, "history": None}
    return Page(root=root, clips=clips, turns=Turns(), **shared)


@pytest.fixture
def studio(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page whose clips are stored in a folder of this test."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return make_page(root)


def run(
    page: Page,
    path: str | None,
    name: str | None = "digits",
    labels: Values | None = None,
    callback: Callable[..., Iterator[Values]] = run_analysis,
    jobs: AnalysisJobs | None = None,
    job_number: int = 1,
    previous_job: int | None = None,
    token: str | None = None,
) -> Iterator[Values]:
    """Call a callback of the tab as the page does."""
    form = {"values": LABELS if labels is None else labels}
    return callback(
        page,
        jobs or AnalysisJobs(),
        job_number=job_number,
        previous_job=previous_job,
        token=token,
        path=path,
        name=name,
        form=form,
    )


def final_values(updates: Iterator[Values]) -> Values:
    """Return the last value of every output; files are read before they are deleted."""
    shown: Values = {}
    for update in updates:
        for name, value in update.items():
            path = value.get("value") if isinstance(value, dict) else value
            if isinstance(path, str) and path.endswith(".npz"):
                with np.load(path, allow_pickle=False) as arrays:
                    value = dict(arrays)
            elif isinstance(path, str) and path.endswith(".wav"):
                value = soundfile.read(path, dtype="int16")
            shown[name] = value
    return shown


def facts_of(html: str) -> dict[str, str]:
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html)
    return {unescape(name): unescape(value) for name, value in pairs}


def panel_of(message: Values, title: str) -> Values:
    (found,) = [panel for panel in message["panels"] if panel["title"] == title]
    return dict(found)


def is_empty(panel: Values) -> bool:
    """Return whether a panel has a place, but no value yet."""
    return bool(panel["data"] == "//8=")  # one cell without a value


def test_tone_is_measured_drawn_and_saved(studio: Page, save_wav: Callable[..., str]) -> None:
    samples = tone()
    shown = final_values(run(studio, save_wav(samples)))
    facts = facts_of(shown["facts"])
    assert (facts["Length"], facts["Sample rate"], facts["Channels"]) == ("1.00 s", "8,000 Hz", "1")
    levels = (facts["Peak"], facts["RMS"], facts["Crest factor"])
    assert levels == ("−6.0 dBFS", "−9.0 dBFS", "3.0 dB")
    assert (facts["At full scale"], facts["DC offset"]) == ("0 samples", "0.00 %")
    assert facts["Below −60 dBFS"] == "0.0 %"
    assert float(facts["Pitch"].removesuffix(" Hz")) == pytest.approx(440, rel=0.01)
    assert shown["status"] == ""
    message = shown["viewer"]
    assert [panel["title"] for panel in message["panels"]] == PANELS
    assert not any(is_empty(panel) for panel in message["panels"])
    assert (message["name"], message["samples"], message["rate"]) == ("tone.wav", RATE, RATE)
    assert "<svg" in shown["histogram"]
    original, rate = shown["original"]
    assert rate == RATE
    assert np.abs(original - samples * 32768).max() <= 1
    quantised, _ = shown["quantised"]
    assert 0 < np.abs(quantised - original).max() < 0.02 * 32768
    assert len(np.unique(quantised)) <= 256
    features = shown["features"]
    frames = len(features["seconds"])
    assert features["log_mel_db"].shape[1] == features["mfcc_db"].shape[1] == frames
    assert int(features["sample_rate"]) == RATE
    voiced = features["pitch_hz"][10:-10]
    assert np.allclose(voiced, 440, rtol=0.01)
    assert len(features["pitch_hz"]) == len(features["pitch_seconds"])


def test_first_pictures_do_not_wait_for_the_pitch(
    studio: Page, save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_measures.analysis, "recording_f0", None)
    shown: Values = {}
    with pytest.raises(TypeError):
        for update in run(studio, save_wav(tone())):
            shown |= update
    empty = [panel["title"] for panel in shown["viewer"]["panels"] if is_empty(panel)]
    assert empty == ["Surprise", "Pitch (F0)"]
    assert facts_of(shown["facts"])["Length"] == "1.00 s"


def test_recording_is_added_to_the_history_once(studio: Page, save_wav: Callable[..., str]) -> None:
    token = studio.clips.visitor(None)
    path = save_wav(tone(0.5))
    shown = final_values(run(studio, path, token=token))
    (clip,) = studio.clips.clips(token)
    assert (clip.source, clip.title, clip.settings) == ("recording", "tone.wav", {})
    assert (clip.seconds, clip.sample_rate) == (0.5, RATE)
    assert "tone.wav" in shown["history"]
    assert shown["viewer"]["url"].endswith(f"{clip.clip_id}/tone.wav")
    final_values(run(studio, path, token=token))
    generated = studio.clips.add(
        token, torch.zeros(RATE), RATE, "a.wav", "digits · 7", settings={"seed": 1}
    )
    # An action on a clip analyses the file of the clip.
    shown = final_values(run(studio, str(generated.path), token=token))
    assert shown["viewer"]["name"] == "digits · 7"
    assert studio.clips.clips(token) == [generated, clip]


def test_clipped_samples_are_counted_and_channels_are_mixed(save_wav: Callable[..., str]) -> None:
    loud = np.clip(tone(hertz=100, rate=44_100, peak=2), -1, 32767 / 32768)
    facts = signal_facts(read_recording(save_wav(np.stack([loud, loud], 1), 44_100)))
    assert (facts["Channels"], facts["Sample rate"]) == ("2 → 1", "44,100 Hz")
    assert facts["At full scale"] == f"{np.count_nonzero(np.abs(loud) >= 32767 / 32768):,} samples"


def test_samples_beyond_full_scale_are_reported(tmp_path: Path) -> None:
    loud = tone(peak=0.5)
    loud[100:110] = -3.0
    soundfile.write(tmp_path / "a.wav", loud, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match=r"a\.wav: limited 10 samples beyond full scale"):
        measured = read_recording(str(tmp_path / "a.wav"))
    numbers = signal_numbers(measured)
    assert numbers["over_full_scale_samples"] == 10
    assert numbers["file_peak_db"] == pytest.approx(9.54, abs=0.01)
    assert numbers["mix_loss_db"] is None
    assert len(numbers["notes"]) == 1
    assert "--" not in numbers["notes"][0]
    assert signal_facts(measured)["Level"] == numbers["notes"][0]


def test_channels_that_nearly_cancel_are_reported(tmp_path: Path) -> None:
    stereo = np.stack([tone(), -0.9 * tone()], 1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="channels nearly cancel each other"):
        measured = read_recording(str(tmp_path / "a.wav"))
    assert signal_numbers(measured)["mix_loss_db"] == pytest.approx(-25.6, abs=0.1)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_very_short_recordings_are_analysed_and_scored(
    studio: Page, save_wav: Callable[..., str], samples: int
) -> None:
    shown = final_values(run(studio, save_wav(0.5 * np.ones(samples))))
    assert [panel["title"] for panel in shown["viewer"]["panels"]] == PANELS
    assert not is_empty(panel_of(shown["viewer"], "Surprise"))
    assert len(shown["bits"]["bits"]) == samples


def test_silence_has_no_level_and_no_pitch(studio: Page, save_wav: Callable[..., str]) -> None:
    shown = final_values(run(studio, save_wav(np.zeros(RATE))))
    facts = facts_of(shown["facts"])
    levels = (facts["Peak"], facts["Crest factor"], facts["SNR of 8-bit mu-law"])
    assert levels == ("−∞ dBFS", "–", "–")
    assert (facts["Below −60 dBFS"], facts["Pitch"]) == ("100.0 %", "–")
    assert facts_of(shown["score_facts"])["Histogram alone"] == "0.00 bits"
    assert "1 of 256 codes occur. The most frequent is 128, 100 %" in shown["histogram"]


def test_histogram_has_a_bar_for_each_code_that_occurs() -> None:
    codec = recording_measures.EIGHT_BIT_CODEC
    codes = torch.tensor([0] * 10 + [100] * 89 + [255])
    recording = io.Recording(codec.decode(codes), RATE, RATE, 1, 0)
    html = code_histogram(MeasuredRecording(recording, "x"))
    bars = dict(re.findall(r"M(\d+) 100v-([\d.]+)h1", html))
    # Of the three decades from 0.1 to 100 %.
    expected = {"0": 200 / 3, "100": 100 * (1 + np.log10(89)) / 3, "255": 100 / 3}
    assert {code: float(height) for code, height in bars.items()} == pytest.approx(
        expected, abs=0.05
    )


def save_invalid(folder: Path, kind: str) -> str | None:
    path = folder / f"{kind}.wav"
    if kind == "text":
        path.write_text("not audio")
    elif kind == "long":
        soundfile.write(path, np.zeros(round((MAX_SECONDS + 1) * RATE)), RATE)
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "nan":
        soundfile.write(path, np.array([0, np.nan, 0]), RATE, subtype="FLOAT")
    else:
        soundfile.write(path, np.zeros(0), RATE)
    return None if kind == "none" else str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", "no recording"),
        ("text", "text.wav"),
        ("nothing", "nothing.wav"),
        ("empty", "empty.wav"),
        ("nan", "not finite"),
        ("long", "121 s; at most 120 s"),
    ],
)
@pytest.mark.parametrize("callback", [run_analysis, run_score])
def test_invalid_recording_is_an_error_without_server_paths(
    studio: Page, tmp_path: Path, kind: str, words: str, callback: Any
) -> None:
    path = save_invalid(tmp_path, kind)
    shown: Values = {}
    token = studio.clips.visitor(None)
    with pytest.raises(gr.Error) as caught:
        for update in run(studio, path, callback=callback, token=token):
            shown |= update
    assert 'role="alert"' in shown["status"].replace("'", '"')
    assert words in caught.value.message
    assert str(tmp_path) not in caught.value.message + shown["status"]
    assert caught.value.message.endswith(".")
    assert not studio.clips.clips(token)


def test_score_shows_the_bits_of_every_sample(studio: Page, save_wav: Callable[..., str]) -> None:
    path = save_wav(tone(1.0, 16_000), 16_000)
    *_, before, last = run(studio, path)
    assert "digits: 100%" in before["status"]
    shown = final_values(run(studio, path))
    waveform = io.read(path, RATE).waveform
    expected = score(load_checkpoint(studio.root, "digits"), waveform, LABELS)
    assert np.array_equal(shown["bits"]["bits"], expected.surprise)
    assert int(shown["bits"]["sample_rate"]) == RATE
    panel = panel_of(last["viewer"], "Surprise")
    assert panel["step"] == 2 / RATE  # 8,000 samples as 4,000 means
    facts = facts_of(shown["score_facts"])
    assert facts["Bits per sample"] == f"{expected.bits_per_sample:.2f} bits"
    assert facts["Scored with"] == "digits, digit 7, speaker jackson"
    assert facts["Scored at"] == "8,000 Hz"
    other = final_values(run(studio, path, labels=LABELS | {"digit": "8"}))
    assert not np.array_equal(other["bits"]["bits"], expected.surprise), "the label changed nothing"


def test_score_again_updates_only_the_surprise(studio: Page, save_wav: Callable[..., str]) -> None:
    path, token = save_wav(tone(0.5)), studio.clips.visitor(None)
    analysed = final_values(run(studio, path, token=token))
    first, *_, last = run(
        studio, path, "notes", {"instrument": "horn"}, callback=run_score, token=token
    )
    assert is_empty(first["viewer"]["update"])
    assert (first["score_facts"], first["bits"]["interactive"]) == ("", False)
    assert last["viewer"]["url"] == analysed["viewer"]["url"]
    assert last["viewer"]["update"]["title"] == "Surprise"
    assert not is_empty(last["viewer"]["update"])
    assert facts_of(last["score_facts"])["Scored with"] == "notes, instrument horn"
    assert "facts" not in last


def test_stopped_score_ends_at_its_next_window(
    studio: Page, save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse_events, "SMALL_WINDOW", 1000)
    jobs, path = AnalysisJobs(), save_wav(tone(2.0))

    def start(job_number: int, previous: int | None = None) -> Iterator[Values]:
        """Return the updates after the first share."""
        updates = run(studio, path, jobs=jobs, job_number=job_number, previous_job=previous)
        for update in updates:
            if "6%" in update["status"]:
                return updates
        raise AssertionError("no share was reported")

    shares = [update["status"] for update in start(1) if "Scoring" in update["status"]]
    assert [re.findall(r"\d+%", share)[0] for share in shares[:2]] == ["12%", "19%"]
    updates = start(3)
    jobs.stopped.add(4)
    assert "12%" in next(updates)["status"], "the stop of another job ended this one"
    jobs.stopped.add(3)
    (last,) = updates
    assert "Stopped." in last["status"]
    (first,) = run(studio, path, jobs=jobs, job_number=3)
    assert "Stopped." in first["status"], "a job stopped before its start was started"


def test_new_job_of_a_page_ends_the_one_before(studio: Page, save_wav: Callable[..., str]) -> None:
    jobs, path = AnalysisJobs(), save_wav(tone(0.5))
    updates = run(studio, path, jobs=jobs, job_number=1)
    next(updates)
    other = run(studio, path, jobs=jobs, job_number=2, previous_job=1)
    next(other)
    assert list(updates) == [], "the replaced job changed the page"
    assert "Scored with" in final_values(other)["score_facts"]


def test_waiting_score_shows_its_place_and_can_be_stopped(
    studio: Page, save_wav: Callable[..., str]
) -> None:
    jobs, path = AnalysisJobs(), save_wav(tone(0.5))
    is_held, release = Event(), Event()

    def hold() -> None:
        with studio.turns.turn():
            is_held.set()
            release.wait(60)

    thread = Thread(target=hold)
    thread.start()
    assert is_held.wait(60)
    try:
        updates = run(studio, path, jobs=jobs)
        statuses = (update["status"] for update in updates)
        assert "Waiting: 1 job before you." in next(s for s in statuses if "Waiting" in s)
        jobs.stopped.add(1)
        assert "Stopped." in next(statuses)
        # The request has ended, so the next job does not wait for it.
        updates = run(studio, path, jobs=jobs, job_number=2)
        statuses = (update["status"] for update in updates)
        assert "Waiting: 1 job before you" in next(s for s in statuses if "Waiting" in s)
    finally:
        release.set()
        thread.join()
    assert list(statuses)[-1] == ""


def test_score_computes_the_frames_that_a_model_needs(
    studio: Page, tmp_path: Path, save_wav: Callable[..., str]
) -> None:
    root = tmp_path / "other"
    save_checkpoint(root, "vocoder", RATE, {}, MelCondition(n_mels=8))
    path = save_wav(tone())
    shown = final_values(run(make_page(root), path, "vocoder", {}))
    expected = score(load_checkpoint(root, "vocoder"), io.read(path, RATE).waveform)
    assert np.array_equal(shown["bits"]["bits"], expected.surprise)


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("digits", {"digit": "x", "speaker": "jackson"}, "Digit"),
        ("digits", {}, "digit"),
        ("../digits", LABELS, "Expected a model here"),
        (None, {}, "found nothing"),
        ("curves", {}, "'curve'"),
    ],
)
def test_recording_that_cannot_be_scored_is_still_shown(
    studio: Page,
    tmp_path: Path,
    save_wav: Callable[..., str],
    name: str | None,
    labels: Values,
    words: str,
) -> None:
    page = studio
    if name == "curves":
        page = make_page(tmp_path / "curves")
        save_checkpoint(page.root, "curves", RATE, {}, FramesCondition(name="curve", columns=2))
    shown: Values = {}
    with pytest.raises(gr.Error, match=words):
        for update in run(page, save_wav(tone(0.1)), name, labels):
            shown |= update
    assert words in unescape(shown["status"])
    assert is_empty(panel_of(shown["viewer"], "Surprise"))
    assert not is_empty(panel_of(shown["viewer"], "Pitch (F0)"))


def test_example_needs_no_recording(studio: Page) -> None:
    for update in write_example():
        path = update["recording"]
        shown = final_values(run(studio, path, "notes", {"instrument": "flute"}))
        assert facts_of(shown["facts"])["Length"] == "3.00 s"
        assert len(shown["bits"]["bits"]) == 3 * 2 * RATE
    assert not Path(path).exists(), "the temporary file was not deleted"


def test_updates_are_paced(studio: Page, save_wav: Callable[..., str]) -> None:
    """Regression: of two updates at once the page lost one, and a picture was missing."""
    times = [time.monotonic() for _ in run(studio, save_wav(tone(0.1)))]
    assert len(times) >= 6
    assert np.diff(times).min() >= UPDATE_SECONDS


def test_last_update_repeats_all_results(studio: Page, save_wav: Callable[..., str]) -> None:
    updates = list(run(studio, save_wav(tone(0.1))))
    last = updates[-1]
    assert set(last) >= set(clear_results()) - set(LISTS) | {"original", "quantised", "history"}
    enabling = next(u for u in updates if u.get("find", {}).get("interactive"))
    assert [enabling[name] for name in LISTS] == [None, ""]
    assert not set(LISTS) & set(last)
    assert not any(is_empty(panel) for panel in last["viewer"]["panels"])


def test_repeated_updates_keep_their_values(studio: Page, save_wav: Callable[..., str]) -> None:
    """Regression: Gradio removes the value of each update it sends; slow pages had no files."""
    with gr.Blocks():
        outputs = {name: gr.HTML() for name in [*clear_results(), "original", "quantised"]}
    outputs["history"] = outputs["status"]

    def callback() -> Iterator[Values]:
        yield from run(studio, save_wav(tone(0.1)))

    names, sent = list(outputs), []
    for row in by_name(callback, {}, outputs)["fn"]():
        features = row[names.index("features")]
        if "value" in features:
            sent.append(features.pop("value"))
    assert [str(path).endswith(".npz") for path in sent] == [False, True, True]


def test_new_recording_clears_earlier_results() -> None:
    cleared = clear_results()
    assert cleared["viewer"].keys() == {"dim"}
    assert [cleared[name] for name in ("status", "facts", "histogram", "score_facts")] == [""] * 4
    assert not cleared["listen"]["visible"]
    assert not any(cleared[name]["interactive"] for name in ("features", "bits", *ENABLED))


def test_file_names_of_uploads_are_safe_and_short(save_wav: Callable[..., str]) -> None:
    assert read_recording(save_wav(tone(0.1), name="a <b> & c")).name == "a--b----c"
    long = read_recording(save_wav(tone(0.1), name="ж" * 100))
    assert long.name == "ж" * 50


def test_warm_up_can_be_repeated() -> None:
    compile_pitch_tracker()
    compile_pitch_tracker()
    recording = MeasuredRecording(io.Recording(torch.zeros(9), RATE, RATE, 1, 0), "x")
    assert torch.is_tensor(recording.codes)
