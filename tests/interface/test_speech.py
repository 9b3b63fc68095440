"""Speech in Python: clips with times, streams, arguments that are refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wavenet
from tests.speech.tiny_voice import save_voice
from wavenet.cli.main import run
from wavenet.errors import ConditionError

TEXT = "Hello you. It is 5% so 😀!"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture(scope="module")
def voice(folder: Path) -> wavenet.Model:
    return wavenet.load(folder, engine="cached")


@pytest.fixture(scope="module")
def clip(voice: wavenet.Model) -> wavenet.AudioClip:
    return voice.speak(TEXT, speed=4, seed=3)


def test_a_voice_is_the_model_of_its_vocoder(voice: wavenet.Model, folder: Path) -> None:
    assert (voice.name, voice.speakers) == ("tiny", ("a", "b"))
    assert voice.checkpoint.folder == folder / "vocoder"
    vocoder = wavenet.load(folder / "vocoder", engine="cached")
    assert (vocoder.name, vocoder.speakers) == ("vocoder", ())
    recording = np.sin(np.arange(800, dtype=np.float32) / 5) / 2
    first, second = (model.vocode(recording, seed=1).waveform for model in (voice, vocoder))
    assert np.array_equal(first, second)


def test_a_clip_is_that_of_the_command_with_its_times(
    clip: wavenet.AudioClip, folder: Path, tmp_path: Path
) -> None:
    out, timings = tmp_path / "a.wav", tmp_path / "a.jsonl"
    command = ["speak", TEXT, "--voice", folder, "--speed", 4, "--seed", 3, "--engine", "cached"]
    command += ["--out", out, "--timings", timings, "--quiet"]
    assert run([str(part) for part in command]) == 0
    assert clip.save(tmp_path / "b.wav").read_bytes() == out.read_bytes()
    expected = [json.loads(line) for line in timings.read_text(encoding="utf-8").splitlines()]
    assert len(clip.sentences) == 2
    for sentence, record in zip(clip.sentences, expected, strict=True):
        assert (sentence.text, sentence.end) == (record["text"], record["end"])
        found = [(word.text, word.start) for word in sentence.words]
        assert found == [(word["text"], word["start"]) for word in record["words"]]
    assert clip.notices == ("emoji are left out, such as 😀 (grinning face)",)
    assert (clip.seed, clip.sample_rate, clip.conditions) == (3, 8000, {})


def test_the_surprise_has_one_value_per_sample(clip: wavenet.AudioClip) -> None:
    assert clip.surprise.shape == clip.waveform.shape
    assert np.isfinite(clip.surprise).all()


def test_a_stream_has_the_samples_of_the_clip(
    voice: wavenet.Model, clip: wavenet.AudioClip
) -> None:
    chunks = list(voice.stream_speech(iter(TEXT), speed=4, seed=3))
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate(chunks), clip.waveform)


def test_a_stream_begins_before_the_text_has_ended(voice: wavenet.Model) -> None:
    read = []

    def parts() -> Iterator[str]:
        for n in range(1000):
            read.append(n)
            yield "Hello you. "

    stream = voice.stream_speech(parts(), speed=4)
    assert read == []
    assert next(stream).dtype == np.float32
    assert len(read) < 20


def test_settings_change_the_speech(voice: wavenet.Model) -> None:
    plain = voice.speak("You.", speed=4)
    longer = voice.speak("You.", speed=4, pronunciations={"you": "HH AH0 L OW1 HH AH0 L OW1"})
    assert longer.seconds > plain.seconds
    assert [p.symbol for p in plain.sentences[0].words[0].phones] == ["Y", "UW1"]
    for settings in ({"temperature": 0.1}, {"speed": 2}, {"seed": 1}):
        other = voice.speak("You.", **{"speed": 4, **settings})  # type: ignore[arg-type]
        assert not np.array_equal(other.waveform, plain.waveform), settings


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("", {}, "no words that can be read"),
        ("😀", {}, "no words that can be read"),
        (b"x", {}, "must be text, or parts of text, found b'x'"),
        (None, {}, "must be text"),
        (["Hello.", 5], {}, "a part of the text must be text, found 5"),
        ("[[QQ]]", {}, "'QQ' is not a phone"),
        ("x", {"speed": 5}, "speed must be 0.25 to 4, found 5"),
        ("x", {"speed": "2"}, "speed must be 0.25 to 4, found '2'"),
        ("x", {"pitch": float("nan")}, "pitch must be -12 to 12, found nan"),
        ("x", {"melody": True}, "melody must be 0 to 3, found True"),
        ("x", {"speaker": "c"}, "expected one of a, b"),
        ("x", {"seed": 1.5}, "the seed must be a whole number"),
        ("x", {"pronunciations": "GIF"}, "pronunciations must be a mapping"),
        ("x", {"pronunciations": {"GIF": 5}}, "found 'GIF': 5"),
        ("x", {"pronunciations": {"GIF": "QQ"}}, "'QQ' is not a phone"),
    ],
)
def test_wrong_arguments_are_refused(
    voice: wavenet.Model, text: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConditionError, match=r".*".join(words.split("["))):
        voice.speak(text, **settings)


def test_a_model_that_is_no_voice_does_not_speak(folder: Path) -> None:
    model = wavenet.load(folder / "vocoder", engine="cached")
    for call in (model.speak, model.stream_speech):
        with pytest.raises(ConditionError, match="vocoder is not a voice; use a voice, such as"):
            call("Hello.")
