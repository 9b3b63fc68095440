"""The systems that are compared with a voice: the same sentence, the same rate, own programs."""

import stat
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from tests.conftest import RATE, sine
from tests.speech.tiny_voice import save_voice
from wavenet.errors import DataError
from wavenet.evaluation.speech_systems import (
    OWN_SYSTEMS,
    RecordedSentence,
    find_programs,
    fit_length,
    folder_system,
    invert_frames,
    run_program,
    speak_with_systems,
)
from wavenet.model.frame_features import compute_condition_frames
from wavenet.speech.speech_corpus import SpeechClip
from wavenet.speech.voice import Voice
from wavenet.speech.voice_folder import load_voice

TEXT = "Hello there. So it goes!"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return load_voice(save_voice(tmp_path_factory.mktemp("voices") / "tiny"))


def sentence(text: str = TEXT, seconds: float = 0.5) -> RecordedSentence:
    return RecordedSentence(SpeechClip("a", "a.wav", text), sine(seconds, 200.0))


def test_every_system_speaks_with_each_seed(voice: Voice) -> None:
    sounds = list(speak_with_systems(voice, sentence(), (0, 1)))
    assert tuple(dict.fromkeys(sound.system for sound in sounds)) == tuple(
        sorted(OWN_SYSTEMS, key=[s.system for s in sounds].index)
    )
    by_name = {(sound.system, sound.seed): sound for sound in sounds}
    assert len(by_name) == len(sounds) == 7
    recording = by_name["recording", 0].waveform
    for name in (("copy-synthesis", 1), ("griffin-lim", 0)):
        assert by_name[name].waveform.shape == recording.shape
    for name in ("copy-synthesis", "voice"):
        first, other = (by_name[name, seed] for seed in (0, 1))
        assert first.waveform.shape == other.waveform.shape
        assert not torch.equal(first.waveform, other.waveform)
        assert 0 < first.first_seconds <= first.compute_seconds  # type: ignore[operator]


def test_a_voice_speaks_all_sentences(voice: Voice) -> None:
    by_name = {
        s.system: len(s.waveform)
        for s in speak_with_systems(voice, sentence(), (0,))
        if s.system.startswith("voice")
    }
    hop = voice.acoustic.config.hop
    spoken = sum((len(plan.frames) - 1) * hop for plan in voice.plan(TEXT))
    assert by_name == {"voice": spoken, "voice-griffin-lim": spoken}


def test_griffin_lim_restores_the_pitch_of_frames(voice: Voice) -> None:
    config = voice.acoustic.config
    tone = sine(0.5, 1000.0)
    frames = compute_condition_frames(config.mel, tone, config.sample_rate, config.hop)
    sound = invert_frames(voice, frames, len(tone))
    spectrum = torch.fft.rfft(sound).abs()
    assert float(spectrum.argmax()) / 0.5 == pytest.approx(1000, abs=300)
    # shorter than one transform
    assert invert_frames(voice, frames[:2], 80).shape == (80,)


def test_a_text_without_words_is_refused(voice: Voice) -> None:
    with pytest.raises(DataError, match="voice made no sound"):
        list(speak_with_systems(voice, sentence("..."), (0,)))


def install_program(folder: Path, body: str) -> None:
    """Write a program of the name flite."""
    folder.mkdir()
    program = folder / "flite"
    program.write_text(f"#!{sys.executable}\nimport shutil, sys\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program on Windows")
def test_a_program_speaks_a_file_and_is_resampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, sine(0.5, rate=2 * RATE).numpy(), 2 * RATE)
    body = (
        "text = open(sys.argv[sys.argv.index('-f') + 1]).read()\n"
        f"assert text == '-o, hello\\n'\nshutil.copy({str(sound)!r}, sys.argv[-1])"
    )
    install_program(tmp_path / "bin", body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_programs() == (("flite",), ("espeak-ng",))
    assert run_program("flite", "-o, hello", RATE).shape == (RATE // 2,)
    with pytest.raises(DataError, match="flite did not speak 'other'"):
        run_program("flite", "other", RATE)


def test_a_folder_is_a_system_at_any_rate(voice: Voice, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sine(0.5, rate=2 * RATE).numpy(), 2 * RATE)
    others = {"other": folder_system("other", tmp_path, RATE)}
    *_, last = speak_with_systems(voice, sentence(), (0,), others=others)
    assert (last.system, len(last.waveform)) == ("other", RATE // 2)
    with pytest.raises(DataError, match=r"system other: expected b\.wav or b\.flac"):
        others["other"](SpeechClip("b", "b.wav", TEXT))


def test_a_waveform_is_cut_or_padded() -> None:
    ones = torch.ones(3)
    assert fit_length(ones, 2).tolist() == [1, 1]
    assert fit_length(ones, 5).tolist() == [1, 1, 1, 0, 0]
