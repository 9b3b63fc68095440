"""The Analyse tab without a browser: its callbacks, called as Gradio calls them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
from PIL import Image

from audio_utils import io
from wavenet.likelihood.score import score
from wavenet.model.conditions import FramesCondition, MelCondition
from wavenet.ui import analyse, analysis, controls, jobs, live, sounds

from .conftest import RATE, save_checkpoint, tone

NONE = [None] * controls.MAX_NUMBERS  # of the number fields, which these checkpoints do not use
HIDDEN = [None] * 6


def run(work: Iterator[analysis.Update]) -> analysis.Update:
    """Take all updates: the last value of every output, files read before they go."""
    shown: analysis.Update = {}
    for update in work:
        for name, value in update.items():
            path = value.get("value") if isinstance(value, dict) else value
            if isinstance(path, str) and path.endswith(".npz"):
                with np.load(path, allow_pickle=False) as arrays:
                    value = dict(arrays)
            elif isinstance(path, str) and path.endswith(".png"):
                with Image.open(path) as picture:
                    value = picture.size
            elif isinstance(path, str) and path.endswith(".wav"):
                value = soundfile.read(path, dtype="int16")
            shown[name] = value
    return shown


def facts(html: str) -> dict[str, str]:
    rows = html.removeprefix("<dl class='facts'><div><dt>").removesuffix("</dd></div></dl>")
    pairs = [row.split("</dt><dd>") for row in rows.split("</dd></div><div><dt>")]
    return {name: value for name, value in pairs}


def test_a_tone_is_measured_drawn_heard_and_kept(saved: Callable[..., str]) -> None:
    samples = tone()
    shown = run(analysis.show_signal(saved(samples)))
    told = facts(shown["facts"])
    assert (told["Length"], told["Sample rate"], told["Channels"]) == ("1.00 s", "8,000 Hz", "1")
    assert (told["Peak"], told["RMS"], told["Crest"]) == ("−6.0 dBFS", "−9.0 dBFS", "3.0 dB")
    assert (told["Clipped"], told["DC offset"]) == ("0 samples", "0.00 %")
    assert told["Below −60 dBFS"] == "0.0 %"
    assert float(told["Pitch"].removesuffix(" Hz")) == pytest.approx(440, rel=0.01)
    assert shown["status"] == ""
    assert {shown[name] for name in analysis.PICTURES} == {(1350, 390)}
    original, rate = shown["original"]
    assert rate == RATE
    assert np.abs(original - samples * 32768).max() <= 1
    coarse, _ = shown["coarse"]
    assert 0 < np.abs(coarse - original).max() < 0.02 * 32768
    assert len(np.unique(coarse)) <= 256
    kept = shown["features"]
    assert kept["log_mel_db"].shape[1] == kept["mfcc_db"].shape[1] == len(kept["seconds"])
    assert int(kept["sample_rate"]) == RATE
    voiced = kept["pitch_hz"][10:-10]
    assert np.allclose(voiced, 440, rtol=0.01)
    assert len(kept["pitch_hz"]) == len(kept["pitch_seconds"])


def test_the_first_picture_does_not_wait_for_the_pitch(
    saved: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds.analysis, "track_pitch", None)
    seen: list[str] = []
    work = analysis.show_signal(saved(tone()))
    next(work)  # which clears what was there
    with pytest.raises(TypeError):
        for update in work:
            seen.extend(update)
    assert {"facts", "waveform", "spectrogram", "mel", "mfcc", "loudness"} <= set(seen)


def test_clipping_is_counted_and_two_channels_are_mixed(saved: Callable[..., str]) -> None:
    loud = np.clip(tone(hertz=100, rate=44_100, peak=2), -1, 32767 / 32768)
    told = facts(run(analysis.show_signal(saved(np.stack([loud, loud], 1), 44_100)))["facts"])
    assert (told["Channels"], told["Sample rate"]) == ("2 → 1", "44,100 Hz")
    assert told["Clipped"] == f"{np.count_nonzero(np.abs(loud) >= 32767 / 32768):,} samples"


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_a_few_samples_are_no_fault(root: Path, saved: Callable[..., str], samples: int) -> None:
    path = saved(0.5 * np.ones(samples))
    shown = run(analysis.show_signal(path))
    assert {shown[name] for name in analysis.PICTURES} == {(1350, 390)}
    scored = run(analysis.show_score(root, path, "digits", *NONE, "7", "jackson", *HIDDEN))
    assert len(scored["bits"]["bits"]) == samples


def test_silence_has_no_level_and_no_pitch(root: Path, saved: Callable[..., str]) -> None:
    path = saved(np.zeros(RATE))
    told = facts(run(analysis.show_signal(path))["facts"])
    assert (told["Peak"], told["Crest"], told["SNR of 8 bits"]) == ("−∞ dBFS", "–", "–")
    assert (told["Below −60 dBFS"], told["Pitch"]) == ("100.0 %", "–")
    scored = facts(
        run(analysis.show_score(root, path, "digits", *NONE, "7", "jackson"))["score_facts"]
    )
    assert scored["Histogram alone"] == "0.00 bits"


def make_bad(folder: Path, kind: str) -> str | None:
    path = folder / f"{kind}.wav"
    if kind == "text":
        path.write_text("this is no sound")
    elif kind == "long":
        soundfile.write(path, np.zeros(round((sounds.MAX_SECONDS + 1) * RATE)), RATE)
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
        ("none", "no recording yet"),
        ("text", "text.wav is not audio"),
        ("nothing", "nothing.wav"),
        ("empty", "empty.wav holds no samples"),
        ("nan", "not finite"),
        ("long", "lasts 121 s; at most 120 s"),
    ],
)
@pytest.mark.parametrize("is_scored", [False, True])
def test_a_bad_recording_is_one_sentence_without_our_paths(
    root: Path, tmp_path: Path, kind: str, words: str, is_scored: bool
) -> None:
    path = make_bad(tmp_path, kind)
    work = analysis.show_signal(path)
    if is_scored:
        work = analysis.show_score(root, path, "digits", *NONE, "7", "jackson")
    shown: analysis.Update = {}
    with pytest.raises(gr.Error) as caught:
        for update in work:
            shown |= update
    place = shown["score" if is_scored else "status"]["value"]
    assert "role='alert'" in place
    assert words in caught.value.message
    assert str(tmp_path) not in caught.value.message + place
    assert caught.value.message.endswith(".")


def test_the_strip_shows_the_bits_of_the_score(root: Path, saved: Callable[..., str]) -> None:
    path = saved(tone(1.0, 16_000), 16_000)
    updates = list(analysis.show_score(root, path, "digits", *NONE, "7", "jackson", *HIDDEN))
    assert "Scoring under digits: 100%" in updates[-2]["score"]["value"]
    shown = run(analysis.show_score(root, path, "digits", *NONE, "7", "jackson", *HIDDEN))
    waveform = io.read(path, RATE).waveform
    labels = {"digit": "7", "speaker": "jackson"}
    expected = score(jobs.load_named(root, "digits"), waveform, labels)
    assert np.array_equal(shown["bits"]["bits"], expected.bits)
    assert int(shown["bits"]["sample_rate"]) == RATE
    assert shown["strip"] == (1350, 390)
    told = facts(shown["score_facts"])
    assert told["Per sample"] == f"{expected.bits_per_sample:.2f} bits"
    assert (told["Scored under"], told["Scored at"]) == ("digits", "8,000 Hz")
    other = run(analysis.show_score(root, path, "digits", *NONE, "8", "jackson", *HIDDEN))
    assert not np.array_equal(other["bits"]["bits"], expected.bits), "the label changed nothing"


def test_a_long_score_ends_at_its_next_window_once_it_is_stopped(
    root: Path, saved: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "WINDOW", 1000)
    given = (saved(tone(2.0)), "digits", *NONE, "7", "jackson", *HIDDEN)
    stops = live.Stops()
    show_score = analysis.until_stopped(partial(analysis.show_score, root), stops)
    shares = [str(update["score"]["value"]) for update in list(show_score(3, *given))[1:-1]]
    assert [share.rpartition(" ")[2][:2] for share in shares[:3]] == ["6%", "12", "19"]
    stops.add(4)
    work = show_score(3, *given)
    begun = [next(work), next(work)]
    assert "6%" in begun[1]["score"]["value"], "it ended although another was stopped"
    stops.add(3)
    (last,) = work
    assert "Stopped." in last["score"]["value"]
    assert "Stopped." in next(show_score(3, *given))["score"]["value"], "it was begun all the same"


def test_a_model_that_needs_frames_gets_those_of_the_recording(
    tmp_path: Path, saved: Callable[..., str]
) -> None:
    save_checkpoint(tmp_path, "vocoder", RATE, {}, MelCondition(n_mels=8))
    path = saved(tone())
    shown = run(analysis.show_score(tmp_path, path, "vocoder", *HIDDEN))
    expected = score(jobs.load_named(tmp_path, "vocoder"), io.read(path, RATE).waveform)
    assert np.array_equal(shown["bits"]["bits"], expected.bits)


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("digits", ("x", "jackson"), "Digit cannot be"),
        ("digits", (), "digit"),
        ("../digits", ("7", "jackson"), "no checkpoint"),
        (None, (), "no checkpoint"),
        ("curves", (), "'curve' is missing"),
    ],
)
def test_what_a_checkpoint_cannot_take_is_one_sentence(
    root: Path,
    tmp_path: Path,
    saved: Callable[..., str],
    name: str | None,
    labels: tuple[str, ...],
    words: str,
) -> None:
    if name == "curves":
        root = tmp_path
        save_checkpoint(root, "curves", RATE, {}, FramesCondition(name="curve", columns=2))
    work = analysis.show_score(root, saved(tone(0.1)), name, *NONE, *labels, *HIDDEN)
    with pytest.raises(gr.Error, match=words):
        list(work)


def test_the_example_needs_no_recording(root: Path) -> None:
    for path in analysis.make_example_file():
        shown = run(analysis.show_signal(path))
        assert facts(shown["facts"])["Length"] == "3.00 s"
        scored = run(analysis.show_score(root, path, "notes", *NONE, "flute", *HIDDEN))
        assert len(scored["bits"]["bits"]) == 3 * 2 * RATE
    assert not Path(path).exists(), "the temporary file stays"


def test_the_dropdowns_follow_the_checkpoint(root: Path, tmp_path: Path) -> None:
    assert analyse.show_page(root)[0]["choices"] == ["digits", "notes"]
    labels = analyse.show_labels(root, "notes")
    assert labels[len(NONE)]["choices"] == [("flute", "flute"), ("horn", "horn")]
    assert [update["visible"] for update in labels] == [False] * len(NONE) + [True] + [False] * 7
    assert not any(update["visible"] for update in analyse.show_labels(tmp_path, None))
