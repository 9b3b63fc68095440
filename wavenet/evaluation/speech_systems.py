"""The systems that are compared when a voice is evaluated: each one speaks the same sentences.

    recording           the recording itself: the best that can be expected
    copy-synthesis      mel frames of the recording → vocoder of the voice
    griffin-lim         the same frames → Griffin-Lim, without a network
    voice               text → acoustic model → vocoder
    voice-griffin-lim   text → acoustic model → Griffin-Lim
    flite, espeak-ng    other programs, if they are installed
    others              sounds of any system, from a folder with ID.wav for each sentence

A difference between copy synthesis and the recording is an error of the vocoder; one between the
voice and copy synthesis is an error of the acoustic model. Input: a voice and recordings. Output:
sounds at the rate of the voice. Called by `speech_evaluation.py`.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from audio_utils import io
from audio_utils.errors import AudioError
from audio_utils.griffin_lim import griffin_lim_mel
from wavenet.engines.engine import Engine
from wavenet.errors import DataError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.model.frame_features import compute_condition_frames, mel_energies, mel_settings
from wavenet.speech.speech_corpus import SpeechClip
from wavenet.speech.voice import Voice

RECORDING, COPY, GRIFFIN_LIM = "recording", "copy-synthesis", "griffin-lim"
VOICE, VOICE_GRIFFIN_LIM = "voice", "voice-griffin-lim"
OWN_SYSTEMS = (RECORDING, COPY, GRIFFIN_LIM, VOICE, VOICE_GRIFFIN_LIM)
SOUND_SUFFIXES = (".wav", ".flac")
PROGRAM_SECONDS = 60.0  # a program that runs longer has failed

# programs by name: the arguments that speak the file TEXT into the file SOUND
PROGRAMS = {
    "flite": ("-voice", "slt", "-f", "TEXT", "-o", "SOUND"),
    "espeak-ng": ("-v", "en-us", "-f", "TEXT", "-w", "SOUND"),
}


# speaks a sentence: returns (T,) float32 at the rate of the voice, or raises a DataError
OtherSystem = Callable[[SpeechClip], Tensor]


@dataclass(frozen=True)
class RecordedSentence:
    """A sentence with its recording, (T,) float32 at the rate of the voice."""

    clip: SpeechClip
    recording: Tensor


@dataclass(frozen=True)
class SystemSound:
    """A sentence spoken by a system.

    Attributes:
        system: its name.
        seed: of the noise of the vocoder; 0 for systems without noise.
        waveform: (T,) float32 at the rate of the voice.
        compute_seconds: until the sound was complete; None if it was not measured.
        first_seconds: until the first samples existed.
    """

    system: str
    seed: int
    waveform: Tensor
    compute_seconds: float | None = None
    first_seconds: float | None = None


def find_programs() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the installed programs, and of those that are not installed."""
    found = tuple(name for name in PROGRAMS if shutil.which(name))
    return found, tuple(name for name in PROGRAMS if name not in found)


def speak_with_systems(
    voice: Voice,
    sentence: RecordedSentence,
    seeds: Sequence[int],
    speaker: str | None = None,
    others: Mapping[str, OtherSystem] = MappingProxyType({}),
    engine: str | Engine[Any] = "auto",
) -> Iterator[SystemSound]:
    """Yield a sentence spoken by each system, the recording first.

    Args:
        voice: of which the parts are used alone and together.
        sentence: at the rate of the voice.
        seeds: of the systems with noise; each is one sound.
        speaker: of the voice; None: its first.
        others: systems by name, beside the own ones.
        engine: as in `generate`; an engine is built once for all sentences.
    Raises:
        ConditionError: the speaker is unknown.
        DataError: another system failed, or the voice says nothing for the text.
    """
    config, recording = voice.acoustic.config, sentence.recording
    yield SystemSound(RECORDING, 0, recording)
    frames = compute_condition_frames(config.mel, recording, config.sample_rate, config.hop)
    for seed in seeds:
        yield _time(COPY, seed, copy_synthesis(voice, frames, len(recording), seed, engine))
    yield SystemSound(GRIFFIN_LIM, 0, invert_frames(voice, frames, len(recording)))
    text = sentence.clip.text
    for seed in seeds:
        yield _time(VOICE, seed, speak_text(voice, text, seed, speaker, engine))
    yield SystemSound(VOICE_GRIFFIN_LIM, 0, _speak_by_griffin_lim(voice, text, speaker))
    for name, speak in others.items():
        yield SystemSound(name, 0, speak(sentence.clip))


def copy_synthesis(
    voice: Voice, frames: Tensor, samples: int, seed: int, engine: str | Engine[Any] = "auto"
) -> Iterator[Tensor]:
    """Yield the sound of mel frames (F, bands) by the vocoder, chunk by chunk."""
    request = GenerationRequest(samples, seed=seed, frame_features=frames)
    for chunk in generate(voice.vocoder, [request], engine=engine):
        yield chunk.waveforms[0]


def speak_text(
    voice: Voice,
    text: str,
    seed: int = 0,
    speaker: str | None = None,
    engine: str | Engine[Any] = "auto",
) -> Iterator[Tensor]:
    """Yield the sound of a text chunk by chunk."""
    for plan in voice.plan(text, speaker=speaker):
        yield from voice.speak_sentence(plan, seed, engine=engine)


def invert_frames(voice: Voice, frames: Tensor, samples: int) -> Tensor:
    """Return the sound (samples,) of mel frames (F, bands) by Griffin-Lim."""
    config = voice.acoustic.config
    settings = mel_settings(config.mel, config.sample_rate, config.hop)
    # shorter than one transform: the last frame is repeated
    length = max(samples, settings.n_fft)
    missing = 1 + length // config.hop - len(frames)
    frames = torch.cat([frames, frames[-1:].expand(max(0, missing), -1)])
    return griffin_lim_mel(mel_energies(frames), length, settings)[:samples]


def run_program(name: str, text: str, sample_rate: int) -> Tensor:
    """Return the sound of a text by another program, (T,) at `sample_rate`.

    Raises:
        DataError: the program failed, or took more than a minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {"TEXT": Path(folder) / "text.txt", "SOUND": Path(folder) / "sound.wav"}
        files["TEXT"].write_text(text + "\n", encoding="utf-8")
        command = [name, *(str(files.get(word, word)) for word in PROGRAMS[name])]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PROGRAM_SECONDS)
            return io.read(files["SOUND"], sample_rate).waveform
        except (OSError, subprocess.SubprocessError, AudioError) as error:
            raise DataError(f"{name} did not speak {text[:60]!r}: {error}") from None


def program_system(name: str, sample_rate: int) -> OtherSystem:
    """Return the system that speaks with a program of `PROGRAMS`."""
    return lambda clip: run_program(name, clip.text, sample_rate)


def folder_system(name: str, folder: Path, sample_rate: int) -> OtherSystem:
    """Return the system whose sounds are the files ID.wav or ID.flac of a folder, at any rate."""

    def read(clip: SpeechClip) -> Tensor:
        try:
            return io.read(find_sound(name, folder, clip.id), sample_rate).waveform
        except AudioError as error:
            raise DataError(f"system {name}: {error}") from None

    return read


def find_sound(name: str, folder: Path, clip: str) -> Path:
    """Return the file of a sentence in the folder of a system.

    Raises:
        DataError: there is none.
    """
    for suffix in SOUND_SUFFIXES:
        if (path := folder / f"{clip}{suffix}").is_file():
            return path
    expected = " or ".join(f"{clip}{suffix}" for suffix in SOUND_SUFFIXES)
    raise DataError(f"system {name}: expected {expected} in {folder}, found neither")


def _speak_by_griffin_lim(voice: Voice, text: str, speaker: str | None) -> Tensor:
    """Return the sound of the planned frames of a text."""
    parts: list[Tensor] = []
    for plan in voice.plan(text, speaker=speaker):
        parts.append(invert_frames(voice, plan.frames, voice.make_request(plan).samples))
    return _join(VOICE_GRIFFIN_LIM, parts)


def _time(system: str, seed: int, generated: Iterator[Tensor]) -> SystemSound:
    """Return the sound of a generator that has not begun, with its time."""
    start, first, chunks = time.perf_counter(), None, []
    for chunk in generated:
        if first is None:
            first = time.perf_counter() - start
        chunks.append(chunk)
    return SystemSound(system, seed, _join(system, chunks), time.perf_counter() - start, first)


def _join(system: str, chunks: Sequence[Tensor]) -> Tensor:
    if not sum(map(len, chunks)):
        raise DataError(f"{system} made no sound of a text; correct the text, or leave it out")
    return torch.cat(list(chunks))


def fit_length(waveform: Tensor, samples: int) -> Tensor:
    """Return a waveform (T,) cut or padded with silence to (samples,)."""
    return pad(waveform[:samples], (0, max(0, samples - len(waveform))))
