"""Stability: long tokens, long sounds, texts that do not match, and crashes are found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.speech.speech_files import even_segments
from tests.speech.tiny_voice import save_voice
from wavenet.cli.main import run
from wavenet.errors import DataError
from wavenet.evaluation.speech_stability import Fault, check_stability
from wavenet.speech.text_to_phones import text_to_phones
from wavenet.speech.voice_folder import load_voice

SENTENCES = Path(__file__).parents[2] / "benchmarks" / "stability_sentences.txt"
TEXTS = [
    "Hello there, you.",
    "So it goes. It goes on.",
    "Two saws.",
    "See the sea.",
    "He saw the sea.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture
def voice(folder):
    return load_voice(folder)


def kinds(report):
    return [(fault.line, fault.fault) for fault in report.faults]


def test_a_steady_voice_has_no_findings(voice):
    report = check_stability(voice, TEXTS, even_segments)
    assert kinds(report) == []
    assert (report.texts, report.sentences, report.aligned) == (5, 6, 6)
    assert report.seconds > 0
    assert report.bad_lines() == []


def test_a_runaway_is_found(voice):
    """Every token lasts as long as a voice allows."""
    with torch.no_grad():
        voice.acoustic.predictor.output.bias[0] = 9
    report = check_stability(voice, TEXTS[:1], None)
    found = {fault for _, fault in kinds(report)}
    assert found == {Fault.LONG_TOKEN, Fault.LONG_SOUND}
    assert report.count()["long token"] == 1
    assert "lasts 1.00 s" in report.faults[0].reason


def test_texts_that_do_not_match_and_crashes_are_found(voice, monkeypatch):
    def refuse_saws(waveform, words):
        if any("AO1" in word for word in words):
            raise DataError("the text does not match the recording")
        return even_segments(waveform, words)

    speak = type(voice).speak_sentence

    def crash(self, plan, seed, engine):
        if "goes on" in plan.sentence.text:
            raise RuntimeError("boom")
        return speak(self, plan, seed, engine=engine)

    monkeypatch.setattr(type(voice), "speak_sentence", crash)
    report = check_stability(voice, TEXTS, refuse_saws)
    assert kinds(report) == [(2, Fault.CRASH), (3, Fault.NO_MATCH), (5, Fault.NO_MATCH)]
    assert report.faults[0].reason == "RuntimeError: boom"
    assert report.bad_lines() == [2, 3, 5]


def test_words_that_fit_worse_than_all_others_are_found(voice):
    def doubt_saws(waveform, words):
        segments = even_segments(np.ones_like(waveform) * 0.1, words)
        if len(words) == 2 and "AO1" in words[1]:
            segments = [s if s.word is None else replace(s, score=-300.0) for s in segments]
        return segments

    report = check_stability(voice, TEXTS, doubt_saws)
    assert kinds(report) == [(3, Fault.DOUBTFUL)]
    assert "usually" in report.faults[0].reason


def test_the_command_names_the_bad_lines(folder, tmp_path, monkeypatch, capsys):
    from wavenet.speech import forced_alignment

    monkeypatch.setattr(forced_alignment, "import_decoder", lambda: None)
    monkeypatch.setattr(forced_alignment, "align_phones", even_segments)
    file = tmp_path / "texts.txt"
    file.write_text("\n".join([*TEXTS, "", "[[QQ]]"]), encoding="utf-8")
    out = tmp_path / "out"
    command = ["evaluate", "stability", str(file), "--voice", str(folder)]
    assert run([*command, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("6: crash: ConditionError: ")
    assert lines[-1].startswith("5 of 6 texts without a finding (long token 0")
    report = json.loads((out / "metrics.json").read_text())
    assert report["bad_lines"] == [6]
    assert report["counts"]["crash"] == 1
    assert report["faults"][0]["text"] == "[[QQ]]"
    assert run([*command, "--limit", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == 2
    file.write_text("\n", encoding="utf-8")
    assert run(command) == 1
    assert "is empty" in capsys.readouterr().err


def test_without_an_aligner_the_words_are_not_checked(folder, tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    file = tmp_path / "texts.txt"
    file.write_text("Hello.\n", encoding="utf-8")
    assert run(["evaluate", "stability", str(file), "--voice", str(folder)]) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr.count("words are not checked: pocketsphinx is not installed") == 1
    assert "0 aligned" in stdout


def test_the_sentences_of_the_repository_are_varied_and_readable():
    assert SENTENCES.stat().st_size < 100_000
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == 500
    lengths = sorted(len(line.split()) for line in lines)
    assert (lengths[0], lengths[20]) == (1, 1)
    assert lengths[-10] >= 180
    # every tenth; all of them need seconds
    assert all(any(s.phones for s in text_to_phones(line)) for line in lines[::10])
