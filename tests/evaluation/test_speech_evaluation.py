"""Evaluation of a voice: measures of every sound, rows of every system, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_utils import metrics
from tests.conftest import RATE, sine
from tests.speech.speech_files import even_segments
from tests.speech.tiny_voice import save_voice
from wavenet.cli.main import run
from wavenet.errors import DataError
from wavenet.evaluation import speech_judges, speech_systems
from wavenet.evaluation.speech_evaluation import (
    SoundMeasures,
    evaluate_speech,
    measure_speed,
    summarise_speech,
)
from wavenet.evaluation.speech_judges import SpeechJudges, load_judges, resample_for_judges
from wavenet.evaluation.speech_systems import RecordedSentence
from wavenet.speech.speech_corpus import SpeechClip
from wavenet.speech.voice_folder import load_voice

TEXTS = {"a": "Hello there, you.", "b": "So it goes!", "c": "A saw."}


def level(samples):
    """Return a vector that depends on the level, in place of a speaker."""
    vector = np.float32([np.abs(samples).mean(), 0.1])
    return vector / np.linalg.norm(vector)


JUDGES = SpeechJudges(
    recognise=lambda samples: ["hello", "there"],
    align=even_segments,
    rate=lambda samples: 3.0,
    embed=level,
)


@pytest.fixture(scope="module")
def voice_folder(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture
def corpus(tmp_path):
    """Return a folder of three tones with texts."""
    (tmp_path / "speech" / "wavs").mkdir(parents=True)
    for n, name in enumerate(TEXTS):
        path = tmp_path / "speech" / "wavs" / f"{name}.wav"
        soundfile.write(path, sine(0.8 + 0.1 * n, 150.0 + 20 * n).numpy(), RATE)
    lines = [f"{name}|{text}\n" for name, text in TEXTS.items()]
    (tmp_path / "speech" / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "speech"


@pytest.fixture(autouse=True)
def no_programs(monkeypatch):
    """Hide other programs that this machine may have."""
    monkeypatch.setattr(speech_systems, "find_programs", lambda: ((), ("flite", "espeak-ng")))


def sentences():
    return [
        RecordedSentence(SpeechClip(name, f"{name}.wav", text), sine(0.8, 150.0 + 20 * n))
        for n, (name, text) in enumerate(TEXTS.items())
    ]


def test_every_sound_has_the_measures_of_its_system(voice_folder):
    heard = []
    sounds = evaluate_speech(
        load_voice(voice_folder),
        sentences(),
        JUDGES,
        seeds=(0, 1),
        on_sound=lambda sentence, sound: heard.append((sentence.clip.id, sound.system)),
    )
    assert [(one.clip, one.system) for one in sounds] == heard
    assert len(sounds) == 3 * 7
    by_key = {(one.clip, one.system, one.seed): one for one in sounds}
    recording, copy, voice = (
        by_key["a", name, 0] for name in ("recording", "copy-synthesis", "voice")
    )
    # "hello there you": one word is missing
    assert (voice.words, voice.word_errors, voice.heard) == (3, 1, "hello there")
    assert voice.dnsmos == 3
    # per frame; a phone of `even_segments` has 10 frames
    score = -float(sine(0.8, 150.0).abs().mean())
    assert recording.alignment == pytest.approx(score, abs=1e-3)
    assert recording.duration_correlation is None and recording.mel_cepstral is None
    assert copy.mel_cepstral > 0
    assert voice.mel_cepstral is None and voice.voicing is not None
    # recordings have the same level
    assert recording.similarity == pytest.approx(1, abs=1e-3)
    assert voice.compute_seconds > 0


def test_nothing_is_measured_without_judges(voice_folder):
    sounds = evaluate_speech(load_voice(voice_folder), sentences()[:1], SpeechJudges())
    assert all(
        (one.word_errors, one.alignment, one.dnsmos, one.similarity, one.voicing) == (None,) * 5
        for one in sounds
    )
    row = summarise_speech(sounds)[0]
    assert (row["word_error_rate"], row["dnsmos"], row["dnsmos_interval"]) == (None, None, None)


def test_a_sound_that_cannot_be_aligned_has_no_score(voice_folder):
    def refuse(waveform, words):
        raise DataError("the text does not match the recording")

    (first, *_) = evaluate_speech(
        load_voice(voice_folder), sentences()[:1], SpeechJudges(align=refuse)
    )
    assert first.alignment is None


def test_rows_are_means_of_sentences_with_intervals_over_sentences():
    sounds = [
        SoundMeasures(
            "a", "voice", 0, 1.0, 10, 1, dnsmos=2.0, compute_seconds=1, first_seconds=0.1
        ),
        SoundMeasures(
            "a", "voice", 1, 1.0, 10, 3, dnsmos=4.0, compute_seconds=1, first_seconds=0.3
        ),
        SoundMeasures("b", "voice", 0, 2.0, 20, 8, dnsmos=None, compute_seconds=2, first_seconds=9),
        SoundMeasures("a", "flite", 0, 1.0, 10, 10),
    ]
    voice, flite = summarise_speech(sounds)
    assert (voice["system"], voice["clips"], voice["sounds"], voice["seconds"]) == (
        "voice",
        2,
        3,
        4,
    )
    assert voice["word_error_rate"] == pytest.approx(12 / 40)
    low, high = voice["word_error_rate_interval"]
    assert (low, high) == pytest.approx((4 / 20, 8 / 20))
    assert (voice["dnsmos"], voice["dnsmos_interval"]) == (3.0, None)
    assert (flite["word_error_rate"], flite["word_error_rate_interval"]) == (1.0, None)
    speed = measure_speed(sounds)
    assert speed == {"times_real_time": 1.0, "first_sound_seconds": 0.3}


def test_judges_hear_16_khz():
    samples = resample_for_judges(sine(1.0, 1000.0), RATE)
    assert samples.shape == (16_000,)
    assert np.abs(np.fft.rfft(samples)).argmax() == 1000


def test_missing_judges_are_named(monkeypatch):
    import sys

    for package in ("pocketsphinx", "speechmos", "resemblyzer"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(speech_judges, "missing_packages", lambda: ["pesq"])
    judges = load_judges()
    assert (judges.recognise, judges.align, judges.rate, judges.embed) == (None,) * 4
    names = [text.split()[0] for text in judges.missing]
    assert names == ["pocketsphinx", "speechmos", "resemblyzer", "pesq"]


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_sounds(
    voice_folder, corpus, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(speech_judges, "load_judges", lambda: JUDGES)
    out = tmp_path / "out"
    command = ["evaluate", "speech", "--voice", str(voice_folder), "--data", str(corpus)]
    command += ["--seeds", "2", "--out", str(out)]
    assert run([*command, "--clips", "2"]) == 0
    stdout, stderr = capsys.readouterr()
    lines = stdout.splitlines()
    assert lines[0].split()[:5] == ["system", "sounds", "WER", "%", "95"]
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["recording", "2"],
        ["copy-synthesis", "4"],
        ["griffin-lim", "2"],
        ["voice", "4"],
        ["voice-griffin-lim", "2"],
    ]
    assert "times real time" in lines[-1] and " MB" in lines[-1]
    assert "left out: flite is not installed" in stderr
    assert {path.name for path in out.iterdir()} == {"metrics.json", "sounds", "a.png", "b.png"}
    assert len(list((out / "sounds").rglob("*.wav"))) == 14
    report = json.loads((out / "metrics.json").read_text())
    assert report["voice"] == "tiny"
    assert report["settings"] == {"gain": 0.0, "seeds": 2, "sentences": 2, "speaker": None}
    assert len(report["sounds"]) == 14
    assert {len(report[name]) for name in ("sha256", "vocoder_sha256")} == {64}
    assert "pocketsphinx" in report["judges"]
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_clips_are_selected_by_a_file(voice_folder, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speech_judges, "load_judges", lambda: SpeechJudges())
    ids = tmp_path / "ids.txt"
    ids.write_text("c\na\n", encoding="utf-8")
    command = ["evaluate", "speech", "--voice", str(voice_folder), "--data", str(corpus), "--json"]
    command += ["--seeds", "1", "--gain", "3", "--clips"]
    assert run([*command, str(ids)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(dict.fromkeys(one["clip"] for one in report["sounds"])) == ["c", "a"]
    ids.write_text("a\nd\n", encoding="utf-8")
    for chosen, message in ((ids, "has 'd'"), ("0", "1 or more"), ("none.txt", "cannot be read")):
        assert run([*command, str(chosen)]) != 0
        stdout, stderr = capsys.readouterr()
        assert (stdout, stderr.count("\n")) == ("", 1)
        assert message in stderr


def test_sounds_of_a_folder_are_another_system(voice_folder, corpus, monkeypatch, capsys):
    monkeypatch.setattr(speech_judges, "load_judges", lambda: SpeechJudges())
    command = ["evaluate", "speech", "--voice", str(voice_folder), "--data", str(corpus), "--json"]
    command += ["--seeds", "1", "--clips", "1", "--system"]
    assert run([*command, f"copied={corpus / 'wavs'}"]) == 0
    other = json.loads(capsys.readouterr().out)["sounds"][-1]
    assert other["system"] == "copied"
    assert other["mel_cepstral"] == pytest.approx(0, abs=0.01)  # as long as the recording
    for value, message in (
        (f"other={corpus}", "expected a.wav or a.flac"),
        (f"voice={corpus}", "are taken"),
        (f"../up={corpus}", "expected another name"),
        (str(corpus), "expects NAME=VALUE"),
    ):
        assert run([*command, value]) != 0
        stdout, stderr = capsys.readouterr()
        assert (stdout, stderr.strip().count("\n")) == ("", 0)
        assert message in stderr


@pytest.mark.skipif("pystoi" in metrics.missing_packages(), reason="needs the extra eval")
def test_griffin_lim_is_more_intelligible_than_a_random_vocoder(voice_folder):
    """Negative control of the metrics that compare with the recording."""
    sounds = evaluate_speech(load_voice(voice_folder), sentences(), SpeechJudges())
    stoi = {one.system: one.stoi for one in sounds if one.clip == "a"}
    assert stoi["griffin-lim"] > stoi["copy-synthesis"]


def test_a_path_without_a_voice_is_refused(corpus, tmp_path, capsys):
    command = ["evaluate", "speech", "--voice", str(tmp_path), "--data", str(corpus)]
    assert run(command) != 0
    stdout, stderr = capsys.readouterr()
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert Path(tmp_path).name in stderr
