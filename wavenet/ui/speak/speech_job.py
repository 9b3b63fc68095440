"""Settings of a text to speak -> a checked job -> its sound, collected while it is generated.

Input: values from the page or the API. Output: a `SpeechJob` or an error of one sentence; a
`SpeechResult` collects the waveform. Called by the Generate tab and the public API.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import SystemRandom
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from wavenet.checkpoint import CONFIG
from wavenet.checkpoint_folders import is_voice
from wavenet.config import StrictConfig, make_config
from wavenet.engines.engine import Engine
from wavenet.engines.registry import device_for
from wavenet.errors import ConditionError
from wavenet.generation.request import clip_name
from wavenet.sampling import SamplingConfig
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.voice import (
    MAX_LOUDNESS,
    MAX_MELODY,
    MAX_PITCH,
    MAX_SPEED,
    MIN_SPEED,
    SentencePlan,
    SpeakingStyle,
    Voice,
)
from wavenet.speech.voice_folder import load_acoustic_model
from wavenet.ui.checkpoint_library import (
    find_folder,
    load_checkpoint,
    load_engine,
    modification_times,
    move_to_device,
)
from wavenet.ui.generate.generation_job import MAX_SEED, RANDOM_SEEDS
from wavenet.weights_file import WEIGHTS

MAX_CHARACTERS = 3000  # about three minutes
MAX_SPEECH_SECONDS = 300.0
MAX_CORRECTIONS = 200
MAX_TOKENS = 20_000  # of all changed sentences
# The lowest and highest values that the page offers.
STYLE_RANGES = {
    "speed": (0.5, 2.0),
    "pitch": (-MAX_PITCH, MAX_PITCH),
    "melody": (0.0, MAX_MELODY),
    "loudness": (-MAX_LOUDNESS, MAX_LOUDNESS),
}


class SentenceChange(StrictConfig):
    """Durations and melody of a sentence that the user has changed.

    Attributes:
        sentence: its index.
        frames: of each token.
        f0: of each token, Hz.
    """

    sentence: int = Field(ge=0, le=MAX_CHARACTERS)
    frames: list[int] = Field(max_length=MAX_TOKENS)
    f0: list[float] = Field(max_length=MAX_TOKENS)


class SpeechSettings(StrictConfig):
    """The settings of a spoken text. Seed -1 selects a random seed; None the voice's default.

    Attributes:
        text: of one or more sentences.
        speaker: of the voice; None: the first.
        speed, pitch, loudness, melody: as in `SpeakingStyle`.
        seed: of the noise of the WaveNet.
        temperature: of the WaveNet.
        pronunciations: phones by word, such as {"gif": "JH IH1 F"}.
        changes: of the curves of sentences.
    """

    text: str = Field(max_length=MAX_CHARACTERS)
    speaker: str | None = None
    speed: float = Field(default=1.0, ge=MIN_SPEED, le=MAX_SPEED)
    pitch: float = Field(default=0.0, ge=-MAX_PITCH, le=MAX_PITCH)
    loudness: float = Field(default=0.0, ge=-MAX_LOUDNESS, le=MAX_LOUDNESS)
    melody: float = Field(default=1.0, ge=0.0, le=MAX_MELODY)
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    temperature: float | None = Field(default=None, gt=0, le=10)
    pronunciations: dict[str, str] = Field(default_factory=dict, max_length=MAX_CORRECTIONS)
    changes: list[SentenceChange] = Field(default_factory=list, max_length=MAX_CHARACTERS)

    @property
    def style(self) -> SpeakingStyle:
        """How the text is spoken."""
        return SpeakingStyle(self.speed, self.pitch, self.loudness, self.melody)


@dataclass(frozen=True)
class SpeechJob:
    """A text, planned and ready to be spoken.

    Attributes:
        name: of the voice in the studio.
        voice: with its vocoder on the device of the engine.
        engine: of the vocoder.
        settings: the user's settings, with seed -1 replaced.
        plans: the sentences as they are spoken.
        planned: the same before the changes of the user.
        notices: one sentence for each kind of thing that is not read, such as emoji.
    """

    name: str
    voice: Voice
    engine: Engine[Any]
    settings: SpeechSettings
    plans: tuple[SentencePlan, ...]
    planned: tuple[SentencePlan, ...]
    notices: tuple[str, ...]

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.voice.sample_rate

    @property
    def starts(self) -> list[int]:
        """Return the first sample of each sentence, and the length of all."""
        starts = [0]
        for plan in self.plans:
            starts.append(starts[-1] + self.voice.make_request(plan).samples)
        return starts

    @property
    def samples(self) -> int:
        """Length of the clip."""
        return self.starts[-1]

    @property
    def file_name(self) -> str:
        """Name of the output file, valid on every system."""
        return clip_name(self.voice.name, {}, self.settings.seed) + ".wav"

    def start(self) -> Iterator[Tensor]:
        """Yield the chunks of the sentences one after the other, (n,) each."""
        temperature = self.settings.temperature
        sampling = self.voice.vocoder.config.sampling
        if temperature is not None:
            values = {**sampling.model_dump(), "temperature": temperature}
            sampling = make_config(SamplingConfig, "sampling", **values)
        for plan in self.plans:
            yield from self.voice.speak_sentence(plan, self.settings.seed, sampling, self.engine)


def make_speech_job(
    root: Path, name: str | None, settings: SpeechSettings, engine: str = "auto"
) -> SpeechJob:
    """Check settings and plan all sentences.

    Args:
        root: folder of checkpoint folders.
        name: of the voice.
        settings: from the page or the API.
        engine: one of `generation_job.ENGINES`.
    Raises:
        ConditionError: the text has no words or is too long, or a pronunciation, the speaker or a
            change is invalid.
        CheckpointError: there is no such voice, or it is damaged.
    """
    vocoder = move_to_device(load_checkpoint(root, name), device_for(engine))
    acoustic = load_acoustic(root, name)
    voice = Voice(acoustic.config.name, acoustic, vocoder, settings.pronunciations)
    notices: dict[str, None] = {}
    plans = []
    seconds = 0.0
    for plan in voice.plan(settings.text, settings.style, settings.speaker, notices.setdefault):
        plans.append(plan)
        seconds += plan.tokens[-1].end
        if seconds > MAX_SPEECH_SECONDS:
            raise ConditionError(
                f"the text needs more than {MAX_SPEECH_SECONDS:g} s; use a shorter one here, or "
                "`wavenet speak`, which has no limit"
            )
    if not plans:
        raise ConditionError(
            "the text has no words that can be read; write an English sentence"
            + "".join(f" ({notice})" for notice in notices)
        )
    changed = _change_plans(voice, plans, settings.changes)
    if settings.seed < 0:
        seed = SystemRandom().randrange(RANDOM_SEEDS)
        settings = settings.model_copy(update={"seed": seed})
    job_engine = load_engine(vocoder, engine)
    parts = tuple(changed), tuple(plans), tuple(notices)
    return SpeechJob(str(name), voice, job_engine, settings, *parts)


def _change_plans(
    voice: Voice, plans: Sequence[SentencePlan], changes: Sequence[SentenceChange]
) -> list[SentencePlan]:
    changed = list(plans)
    for change in changes:
        if change.sentence >= len(plans):
            raise ConditionError(
                f"the text has {len(plans)} sentences, so sentence {change.sentence + 1} cannot be "
                "changed; press Speak again"
            )
        plan = plans[change.sentence]
        changed[change.sentence] = voice.change_prosody(plan, change.frames, change.f0)
    return changed


def load_acoustic(root: Path, name: str | None) -> AcousticModel:
    """Return the acoustic model of a voice; it is kept until its files change.

    Raises:
        ConditionError: the model is no voice.
        CheckpointError: the voice is damaged.
    """
    folder = find_folder(root, name)
    if folder is None or not is_voice(folder):
        raise ConditionError(f"{name} is not a voice; choose a voice, such as kathleen")
    return _load_acoustic_cached(folder, modification_times(folder, CONFIG, WEIGHTS))


@lru_cache(maxsize=2)
def _load_acoustic_cached(folder: Path, modification_times: tuple[int, ...]) -> AcousticModel:
    return load_acoustic_model(folder)


class SpeechResult:
    """The sound of a job, collected while it is generated.

    Attributes:
        compute_seconds: compute time so far, without waiting for the page.
        sent_chunks: number of chunks that the page has received.
    """

    def __init__(self, job: SpeechJob) -> None:
        self.job = job
        self.compute_seconds = 0.0
        self.sent_chunks = 0
        self._chunks: list[Tensor] = []

    def stream(self) -> Iterator[Tensor]:
        """Generate the sound, and yield it chunk by chunk."""
        chunks = self.job.start()
        while True:
            began = time.perf_counter()
            chunk = next(chunks, None)
            self.compute_seconds += time.perf_counter() - began
            if chunk is None:
                return
            self._chunks.append(chunk.cpu())
            yield self._chunks[-1]

    def complete(self) -> "SpeechResult":
        """Generate everything, and return this result."""
        for _ in self.stream():
            pass
        return self

    @property
    def waveform(self) -> Tensor:
        """Return the sound so far, (T,)."""
        return torch.cat([torch.empty(0), *self._chunks])

    @property
    def speed(self) -> float:
        """Generated duration divided by compute time: a multiple of real time."""
        seconds = self.waveform.numel() / self.job.sample_rate
        return seconds / max(self.compute_seconds, 1e-9)
