"""`wavenet speak`: text, file, stdin; sound in a file and on stdout; files beside it; errors."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.speech.tiny_voice import save_voice
from wavenet.speech.voice import Voice

TEXT = "Hello you. It is 5% so!"
RATE = 8000


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """Return the folder of a tiny voice."""
    return save_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture
def speak(run_command, voice, tmp_path, monkeypatch):
    """Return a function that speaks with the tiny voice, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: run_command(
        "speak", "--voice", voice, "--engine", "cached", "--speed", 4, *options
    )


def start(voice, *options, **streams):
    """Start the command as a process."""
    command = [sys.executable, "-m", "wavenet", "speak", "--voice", voice, "--engine", "cached"]
    command += ["--speed", "4", *options]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **streams
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_spoken_to_a_file_and_its_path_is_printed(speak, tmp_path):
    code, out, err = speak(TEXT)
    assert (code, out) == (0, "speech.wav\n")
    lines = err.splitlines()
    assert [line.split(" s  ")[1] for line in lines[:2]] == ["Hello you.", "It is 5% so!"]
    assert lines[2].endswith("times real time")
    info = soundfile.info(tmp_path / "speech.wav")
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
    assert info.frames > 0.1 * RATE
    # a second file has the next free name
    assert speak("Hello.", "--quiet")[1] == "speech_2.wav\n"


@pytest.mark.slow
def test_the_sound_on_stdout_is_that_of_the_file(speak, voice, tmp_path):
    assert speak(TEXT, "--out", "a.wav", "--seed", 3)[0] == 0
    with start(voice, TEXT, "--seed", 3, "--out", "-") as process:
        found, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    samples, rate = soundfile.read(io.BytesIO(found), dtype="int16")
    assert rate == RATE
    assert np.array_equal(samples, soundfile.read(tmp_path / "a.wav", dtype="int16")[0])


def test_json_subtitles_and_timings(speak, tmp_path):
    code, out, _ = speak(
        TEXT, "--json", "-o", "new/a.flac", "--subtitles", "b.srt", "--timings", "c.jsonl"
    )
    assert code == 0
    seconds = soundfile.info(tmp_path / "new/a.flac").duration
    assert json.loads(out) == {
        "file": os.path.join("new", "a.flac"),
        "seconds": pytest.approx(seconds),
        "sample_rate": RATE,
        "sentences": 2,
        "seed": 0,
        "precision": "fp32",
    }
    lines = (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert (first["text"], second["position"]) == ("Hello you.", 11)
    assert [word["text"] for word in second["words"]] == ["It", "is", "5%", "so"]
    assert [phone["symbol"] for phone in first["words"][0]["phones"]] == ["HH", "AH0", "L", "OW1"]
    assert first["start"] == 0
    assert first["end"] == second["start"] <= second["words"][0]["start"]
    assert second["end"] == pytest.approx(seconds, abs=1e-3)
    cues = (tmp_path / "b.srt").read_text(encoding="utf-8").split("\n\n")
    assert cues[0].startswith("1\n00:00:00,000 --> 00:00:00,")
    assert cues[1].splitlines()[2] == "It is 5% so!"
    assert speak("Hello.", "--subtitles", "d.VTT")[0] == 0
    assert (tmp_path / "d.VTT").read_text(encoding="utf-8").startswith("WEBVTT\n\n1\n")


def test_a_style_a_speaker_and_pronunciations(speak, tmp_path):
    (tmp_path / "words.txt").write_text("you HH AH0 L OW1 HH AH0 L OW1\n", encoding="utf-8")
    assert speak("You you.", "-o", "a.wav", "--pronunciations", "words.txt")[0] == 0
    assert speak("You you.", "-o", "b.wav")[0] == 0
    assert speak("You you.", "-o", "c.wav", "--pitch", 3, "--melody", 0, "--speaker", "b")[0] == 0
    a, b, c = (soundfile.info(tmp_path / f"{name}.wav").frames for name in "abc")
    assert a > 1.5 * b
    assert c == pytest.approx(b, rel=0.5)
    assert_refused(speak("You.", "--speaker", "x"), "expected one of a, b")


@pytest.mark.slow
def test_a_file_and_stdin(speak, voice, tmp_path):
    (tmp_path / "text.txt").write_bytes("\ufeffHello.\r\n\r\nYou.".encode())
    assert speak("-f", "text.txt", "-o", "a.wav", "--timings", "a.jsonl")[0] == 0
    with start(voice, "-", "-o", "b.wav", stdin=subprocess.PIPE, cwd=tmp_path) as process:
        process.communicate((tmp_path / "text.txt").read_bytes())
    assert process.returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_sound_is_written_before_the_text_has_ended(voice):
    """A long text needs little memory, and a text can be spoken while it is written."""
    with start(voice, "-", "-o", "-", "--raw", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"Hello you.\n" * 20)
        process.stdin.flush()
        samples = process.stdout.read(400)
        assert len(samples) == 400
        assert not samples.startswith(b"RIFF")
        process.stdin.close()
        process.stdout.close()  # as a player that the user closed
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", []),
        ("...", []),
        ("😀", ["emoji are left out, such as 😀 (grinning face)"]),
        ("Привет", ["letters of other scripts (Cyrillic) are left out, such as Привет"]),
        ("<break/>", ["tags are left out, such as <break/>"]),
    ],
)
def test_a_text_without_words_writes_nothing(speak, tmp_path, text, messages):
    code, out, err = speak(text, "--subtitles", "a.srt")
    end = "wavenet: the text has no words that can be read; nothing was written"
    assert (code, out, err.splitlines()) == (2, "", [*messages, end])
    assert files(tmp_path) == []


def test_a_late_error_leaves_no_file(speak, tmp_path):
    code, out, err = speak("Hello. [[QQ]]", "--subtitles", "a.srt", "--timings", "a.jsonl")
    assert (code, out) == (2, "")
    assert "'QQ' is not a phone" in err
    assert files(tmp_path) == []


def test_ctrl_c_leaves_no_file(speak, tmp_path, monkeypatch):
    def interrupt(*_):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(Voice, "speak_sentence", interrupt)
    code, out, err = speak(TEXT, "--subtitles", "a.srt")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "wavenet: interrupted; nothing was written"
    assert files(tmp_path) == []


def test_control_characters_and_tags_are_not_spoken_or_written(speak, tmp_path):
    text = "Hello \x1b[31m\x00 <b>you</b> \udce9 --> so."
    code, _, err = speak(text, "--subtitles", "a.vtt", "--timings", "a.jsonl")
    assert code == 0
    assert "\x1b" not in err
    shown = (tmp_path / "a.vtt").read_bytes()
    assert b"\x1b" not in shown
    assert b"\x00" not in shown
    assert shown.count(b"-->") == 1
    assert b"&lt;b&gt;you&lt;/b&gt; ? -&gt; so." in shown
    json.loads((tmp_path / "a.jsonl").read_bytes())


def test_a_megabyte_in_one_line_is_spoken_in_parts(speak, tmp_path, monkeypatch):
    """The sound of the first three parts is enough."""
    spoken = []

    def stop(self, plan, *_):
        spoken.append(plan)
        if len(spoken) == 3:
            raise KeyboardInterrupt
        return iter(())

    monkeypatch.setattr(Voice, "speak_sentence", stop)
    (tmp_path / "text.txt").write_text("so " * 350_000, encoding="utf-8")
    assert speak("-f", "text.txt")[0] == 130
    assert [len(plan.sentence.words) for plan in spoken] == [333, 333, 333]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["expected a text in quotes or --file, found nothing"]),
        (["x", "-f", "y.txt"], ["found both"]),
        (["x", "--speed", "0.1"], ["speed must be 0.25 to 4, found 0.1"]),
        (["x", "--speed", "nan"], ["nan"]),
        (["x", "--pitch", "13"], ["pitch must be -12 to 12, found 13"]),
        (["x", "--pitch", "inf"], ["inf"]),
        (["x", "--loudness", "-13"], ["loudness must be -12 to 12"]),
        (["x", "--melody", "-1"], ["melody must be 0 to 3"]),
        (["x", "--temperature", "0"], ["temperature"]),
        (["x", "--seed", "-2"], ["the seed must be 0 to"]),
        (["x", "--raw"], ["--raw is for --out -"]),
        (["x", "--out", "-", "--json"], ["--json is not for --out -"]),
        (["x", "--out", "a.aac"], ["a.aac: expected a name ending in .wav"]),
        (["x", "--subtitles", "a.txt"], ["--subtitles", ".srt or .vtt, found a.txt"]),
        (["x", "--timings", "-"], ["--timings", ".jsonl, found -"]),
        (["x", "--threads", "2"], ["--threads is for the engine cpu, found cached"]),
    ],
)
def test_wrong_usage_is_refused(speak, tmp_path, options, words):
    assert_refused(speak(*options), *words)
    assert files(tmp_path) == []


@pytest.mark.parametrize("option", ["--out", "--subtitles", "--timings"])
def test_existing_files_are_kept(speak, tmp_path, option):
    suffix = {"--out": ".wav", "--subtitles": ".srt", "--timings": ".jsonl"}[option]
    path = tmp_path / f"old{suffix}"
    path.write_bytes(b"old")
    assert_refused(speak("Hello.", option, path), "exists already", option, "--overwrite")
    assert path.read_bytes() == b"old"
    assert speak("Hello.", option, path, "--overwrite")[0] == 0
    assert path.read_bytes() != b"old"


def test_voices_that_cannot_be_used_are_refused(run_command, voice, tmp_path):
    for folder, words in (
        (tmp_path, "is not a voice; expected a folder with config.json"),
        (voice / "vocoder", "is not a voice but another model"),
    ):
        assert_refused(run_command("speak", "x", "--voice", folder), words, code=1)


def test_a_terminal_and_a_closed_stdout_receive_no_sound(speak, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stdout, words in ((Terminal(), "stdout is a terminal"), (None, "stdout is closed")):
        with monkeypatch.context() as context:
            context.setattr(sys, "stdout", stdout)
            result = speak("x", "--out", "-")
        assert_refused(result, words)


def test_a_full_disk_is_one_sentence(speak, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wavenet.speech.subtitles.format_cue", fail)
    code, out, err = speak("Hello.", "--subtitles", "a.srt")
    assert (code, out) == (1, "")
    assert "the disk is full" in err.splitlines()[-1]
    assert files(tmp_path) == []
