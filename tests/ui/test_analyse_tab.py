"""The Analyse tab without a browser: its callbacks, called as Gradio calls them."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch
from gradio.blocks import postprocess_update_dict
from PIL import Image

from audio_utils import io
from wavenet.likelihood.score import score
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.ui import analyse_tab, recording_measures
from wavenet.ui.analyse_tab import (
    OUTPUTS,
    PLOTS,
    analyse_recording,
    as_outputs,
    clear_results,
    compile_pitch_tracker,
    score_recording,
    show_page,
    stoppable,
    write_example,
)
from wavenet.ui.checkpoint_controls import MAX_NUMBERS, show_conditions
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.event_handling import UPDATE_SECONDS, StopRequests
from wavenet.ui.recording_measures import (
    MAX_SECONDS,
    MeasuredRecording,
    read_recording,
    signal_facts,
    signal_numbers,
)

from .conftest import RATE, save_checkpoint, tone

NO_NUMBERS = [None] * MAX_NUMBERS  # values of the number fields, which these checkpoints do not use
HIDDEN = [None] * 6
PLOT_SIZE = (1350, 390)


def final_values(updates: Iterator[analyse_tab.Update]) -> analyse_tab.Update:
    """Return the last value of every output; files are read before they are deleted."""
    shown: analyse_tab.Update = {}
    for update in updates:
        for name, value in update.items():
            path = value.get("value") if isinstance(value, dict) else value
            if isinstance(path, str) and path.endswith(".npz"):
                with np.load(path, allow_pickle=False) as arrays:
                    value = dict(arrays)
            elif isinstance(path, str) and path.endswith(".png"):
                with Image.open(path) as image:
                    value = image.size
            elif isinstance(path, str) and path.endswith(".wav"):
                value = soundfile.read(path, dtype="int16")
            shown[name] = value
    return shown


def facts_of(html: str) -> dict[str, str]:
    rows = html.removeprefix("<dl class='facts'><div><dt>").removesuffix("</dd></div></dl>")
    pairs = [row.split("</dt><dd>") for row in rows.split("</dd></div><div><dt>")]
    return {name: value for name, value in pairs}


def test_tone_is_measured_plotted_and_saved(save_wav: Callable[..., str]) -> None:
    samples = tone()
    shown = final_values(analyse_recording(save_wav(samples)))
    facts = facts_of(shown["facts"])
    assert (facts["Length"], facts["Sample rate"], facts["Channels"]) == ("1.00 s", "8,000 Hz", "1")
    levels = (facts["Peak"], facts["RMS"], facts["Crest factor"])
    assert levels == ("−6.0 dBFS", "−9.0 dBFS", "3.0 dB")
    assert (facts["At full scale"], facts["DC offset"]) == ("0 samples", "0.00 %")
    assert facts["Below −60 dBFS"] == "0.0 %"
    assert float(facts["Pitch"].removesuffix(" Hz")) == pytest.approx(440, rel=0.01)
    assert shown["status"] == ""
    assert {shown[name] for name in PLOTS} == {PLOT_SIZE}
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


def test_first_plots_do_not_wait_for_the_pitch(
    save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_measures.analysis, "recording_f0", None)
    seen: list[str] = []
    updates = analyse_recording(save_wav(tone()))
    next(updates)  # clears earlier results
    with pytest.raises(TypeError):
        for update in updates:
            seen.extend(update)
    assert {"facts", "waveform", "spectrogram", "mel", "mfcc", "loudness"} <= set(seen)


def test_clipped_samples_are_counted_and_channels_are_mixed(save_wav: Callable[..., str]) -> None:
    loud = np.clip(tone(hertz=100, rate=44_100, peak=2), -1, 32767 / 32768)
    shown = final_values(analyse_recording(save_wav(np.stack([loud, loud], 1), 44_100)))
    facts = facts_of(shown["facts"])
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
    root: Path, save_wav: Callable[..., str], samples: int
) -> None:
    path = save_wav(0.5 * np.ones(samples))
    shown = final_values(analyse_recording(path))
    assert {shown[name] for name in PLOTS} == {PLOT_SIZE}
    scored = final_values(
        score_recording(root, path, "digits", *NO_NUMBERS, "7", "jackson", *HIDDEN)
    )
    assert len(scored["bits"]["bits"]) == samples


def test_silence_has_no_level_and_no_pitch(root: Path, save_wav: Callable[..., str]) -> None:
    path = save_wav(np.zeros(RATE))
    facts = facts_of(final_values(analyse_recording(path))["facts"])
    levels = (facts["Peak"], facts["Crest factor"], facts["SNR of 8-bit mu-law"])
    assert levels == ("−∞ dBFS", "–", "–")
    assert (facts["Below −60 dBFS"], facts["Pitch"]) == ("100.0 %", "–")
    scored = final_values(score_recording(root, path, "digits", *NO_NUMBERS, "7", "jackson"))
    assert facts_of(scored["score_facts"])["Histogram alone"] == "0.00 bits"


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
@pytest.mark.parametrize("is_scored", [False, True])
def test_invalid_recording_is_an_error_without_server_paths(
    root: Path, tmp_path: Path, kind: str, words: str, is_scored: bool
) -> None:
    path = save_invalid(tmp_path, kind)
    updates = analyse_recording(path)
    if is_scored:
        updates = score_recording(root, path, "digits", *NO_NUMBERS, "7", "jackson")
    shown: analyse_tab.Update = {}
    with pytest.raises(gr.Error) as caught:
        for update in updates:
            shown |= update
    html = shown["score" if is_scored else "status"]["value"]
    assert "role='alert'" in html
    assert words in caught.value.message
    assert str(tmp_path) not in caught.value.message + html
    assert caught.value.message.endswith(".")


def test_score_shows_the_bits_of_every_sample(root: Path, save_wav: Callable[..., str]) -> None:
    path = save_wav(tone(1.0, 16_000), 16_000)
    arguments = (root, path, "digits", *NO_NUMBERS, "7", "jackson", *HIDDEN)
    updates = list(score_recording(*arguments))
    assert "digits: 100%" in updates[-2]["score"]["value"]
    shown = final_values(score_recording(*arguments))
    waveform = io.read(path, RATE).waveform
    conditions = {"digit": "7", "speaker": "jackson"}
    expected = score(load_checkpoint(root, "digits"), waveform, conditions)
    assert np.array_equal(shown["bits"]["bits"], expected.surprise)
    assert int(shown["bits"]["sample_rate"]) == RATE
    assert shown["surprise"] == PLOT_SIZE
    facts = facts_of(shown["score_facts"])
    assert facts["Bits per sample"] == f"{expected.bits_per_sample:.2f} bits"
    assert (facts["Scored with"], facts["Scored at"]) == ("digits", "8,000 Hz")
    other = final_values(
        score_recording(root, path, "digits", *NO_NUMBERS, "8", "jackson", *HIDDEN)
    )
    assert not np.array_equal(other["bits"]["bits"], expected.surprise), "the label changed nothing"


def test_stopped_score_ends_at_its_next_window(
    root: Path, save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse_tab, "SCORE_WINDOW", 1000)
    arguments = (save_wav(tone(2.0)), "digits", *NO_NUMBERS, "7", "jackson", *HIDDEN)
    stop_requests = StopRequests()
    run_score = stoppable(partial(score_recording, root), stop_requests)
    shares = [str(update["score"]["value"]) for update in list(run_score(3, *arguments))[1:-1]]
    assert [share.rpartition(" ")[2][:2] for share in shares[:3]] == ["6%", "12", "19"]
    stop_requests.add(4)
    updates = run_score(3, *arguments)
    first_two = [next(updates), next(updates)]
    assert "6%" in first_two[1]["score"]["value"], "the stop of another job ended this one"
    stop_requests.add(3)
    (last,) = updates
    assert "Stopped." in last["score"]["value"]
    first = next(run_score(3, *arguments))
    assert "Stopped." in first["score"]["value"], "a job stopped before its start was started"


def test_score_computes_the_frames_that_a_model_needs(
    tmp_path: Path, save_wav: Callable[..., str]
) -> None:
    save_checkpoint(tmp_path, "vocoder", RATE, {}, MelCondition(n_mels=8))
    path = save_wav(tone())
    shown = final_values(score_recording(tmp_path, path, "vocoder", *HIDDEN))
    expected = score(load_checkpoint(tmp_path, "vocoder"), io.read(path, RATE).waveform)
    assert np.array_equal(shown["bits"]["bits"], expected.surprise)


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("digits", ("x", "jackson"), "Digit"),
        ("digits", (), "digit"),
        ("../digits", ("7", "jackson"), "no checkpoint"),
        (None, (), "no checkpoint"),
        ("curves", (), "'curve'"),
    ],
)
def test_invalid_conditions_are_an_error(
    root: Path,
    tmp_path: Path,
    save_wav: Callable[..., str],
    name: str | None,
    labels: tuple[str, ...],
    words: str,
) -> None:
    if name == "curves":
        root = tmp_path
        save_checkpoint(root, "curves", RATE, {}, FramesCondition(name="curve", columns=2))
    updates = score_recording(root, save_wav(tone(0.1)), name, *NO_NUMBERS, *labels, *HIDDEN)
    with pytest.raises(gr.Error, match=words):
        list(updates)


def test_example_needs_no_recording(root: Path) -> None:
    for path in write_example():
        shown = final_values(analyse_recording(path))
        assert facts_of(shown["facts"])["Length"] == "3.00 s"
        scored = final_values(score_recording(root, path, "notes", *NO_NUMBERS, "flute", *HIDDEN))
        assert len(scored["bits"]["bits"]) == 3 * 2 * RATE
    assert not Path(path).exists(), "the temporary file was not deleted"


def test_dropdowns_show_the_conditions_of_the_checkpoint(root: Path, tmp_path: Path) -> None:
    assert show_page(root)[0]["choices"] == ["digits", "notes"]
    updates = show_conditions(root, "notes")
    assert updates[MAX_NUMBERS]["choices"] == [("flute", "flute"), ("horn", "horn")]
    visible = [update["visible"] for update in updates]
    assert visible == [False] * MAX_NUMBERS + [True] + [False] * 7
    assert not any(update["visible"] for update in show_conditions(tmp_path, None))


def test_updates_reach_the_outputs_by_their_names() -> None:
    def callback(value: int) -> Iterator[analyse_tab.Update]:
        yield {"facts": value, "bits": "last"}

    (row,) = as_outputs(callback)(3)
    assert len(row) == len(OUTPUTS) == len(set(OUTPUTS))
    assert row[OUTPUTS.index("facts")] == 3
    assert row[OUTPUTS.index("bits")] == "last"
    assert row.count(gr.skip()) == len(row) - 2


def test_updates_are_paced() -> None:
    """Regression: of two updates at once the page lost one, and a plot or a player was missing."""

    def callback() -> Iterator[analyse_tab.Update]:
        yield from ({"facts": n} for n in range(3))

    times = [time.monotonic() for _ in as_outputs(callback)()]
    assert np.diff(times).min() >= UPDATE_SECONDS


def test_last_update_repeats_all_results(save_wav: Callable[..., str]) -> None:
    *_, last = analyse_recording(save_wav(tone(0.1)))
    repeated = {"facts", "listen", "original", "quantised", "plots", "features"}
    repeated.add("score_again_button")
    assert repeated | set(PLOTS) <= set(last)


def test_repeated_updates_keep_their_values(save_wav: Callable[..., str]) -> None:
    """Regression: Gradio removes the value of each update it sends; slow pages had no plots."""
    image, sent = gr.Image(type="filepath"), {}
    for row in as_outputs(analyse_recording)(save_wav(tone(0.1))):
        updates = dict(zip(OUTPUTS, row, strict=True))
        sent = {name: postprocess_update_dict(image, updates[name]) for name in PLOTS}
    assert all(update["value"]["path"].endswith(".png") for update in sent.values())


def test_new_recording_clears_earlier_results() -> None:
    (row,) = as_outputs(clear_results)()
    updates = dict(zip(OUTPUTS, row, strict=True))
    unchanged = {"original", "quantised", "score"}  # inside a hidden column
    assert {name for name, value in updates.items() if value == gr.skip()} == unchanged
    hidden = (*PLOTS, "surprise", "plots", "listen")
    assert all(not updates[name]["visible"] for name in hidden)


def test_file_names_of_uploads_are_safe_and_short(save_wav: Callable[..., str]) -> None:
    assert read_recording(save_wav(tone(0.1), name="a <b> & c")).name == "a--b----c"
    long = read_recording(save_wav(tone(0.1), name="ж" * 100))
    assert long.name == "ж" * 50


def test_warm_up_can_be_repeated() -> None:
    compile_pitch_tracker()
    compile_pitch_tracker()
    recording = MeasuredRecording(io.Recording(torch.zeros(9), RATE, RATE, 1, 0), "x")
    assert torch.is_tensor(recording.codes)
