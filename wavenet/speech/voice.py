"""A voice: text to sound, by an acoustic model and a WaveNet as vocoder.

    text -> sentences of phones -> tokens -> prosody -> mel frames -> WaveNet -> samples
            (text_to_phones)      (tokens) (acoustic_model)         (generation)

Input: a text of any length. Output: the sentences one by one, each with its sound in chunks and the
times of its words and phones. A sentence is generated as soon as it has been read, so a long text
needs little memory. Called by `wavenet speak`, batches and the studio.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.engines.engine import Engine
from wavenet.errors import ConditionError
from wavenet.generation.clip_mel_matching import match_clip_mel_stream
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.model.frame_scales import MEL_SPAN
from wavenet.sampling import SamplingConfig
from wavenet.speech.acoustic_model import AcousticModel, Prosody
from wavenet.speech.text_to_phones import SpokenSentence, text_to_phones
from wavenet.speech.tokens import NO_WORD, Token, encode_tokens, sentence_tokens

MIN_SPEED, MAX_SPEED = 0.25, 4.0
MAX_PITCH = 12.0  # semitones, up or down
MAX_LOUDNESS = 12.0  # dB, up or down
MAX_MELODY = 3.0
SHORTEST_PHONE = 1  # frames
LONGEST_PHONE = 1.0  # s; a longer prediction is an error of the model
SEMITONES = 12  # of an octave
MATCHING_PASSES = 1  # of the filter to the planned frames; more passes sounded duller
F0_MIN, F0_MAX = 40.0, 1000.0  # Hz, of a changed melody


@dataclass(frozen=True)
class SpeakingStyle:
    """How a text is spoken.

    Attributes:
        speed: factor, 2 is twice as fast.
        pitch: semitones added to F0.
        loudness: dB added to the frames.
        melody: factor of the deviation of F0 from the mean of the speaker; 0 is monotonous.
    Raises:
        ConditionError: a value is out of range.
    """

    speed: float = 1.0
    pitch: float = 0.0
    loudness: float = 0.0
    melody: float = 1.0

    def __post_init__(self) -> None:
        limits = {
            "speed": (MIN_SPEED, MAX_SPEED),
            "pitch": (-MAX_PITCH, MAX_PITCH),
            "loudness": (-MAX_LOUDNESS, MAX_LOUDNESS),
            "melody": (0.0, MAX_MELODY),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_number and low <= value <= high):
                found = f"{value:g}" if is_number else repr(value)
                raise ConditionError(f"{name} must be {low:g} to {high:g}, found {found:.100}")


@dataclass(frozen=True)
class SpokenToken:
    """A phone or a pause of a spoken sentence.

    Attributes:
        token: what is spoken.
        start, end: seconds from the beginning of the sentence.
        frames: number of its mel frames.
        f0: Hz.
        energy: mean of the scaled mel frames, without the loudness of the style.
    """

    token: Token
    start: float
    end: float
    frames: int
    f0: float
    energy: float


@dataclass(frozen=True)
class SentencePlan:
    """How a sentence is spoken: everything but the samples.

    Attributes:
        sentence: the text and its phones.
        tokens: with their times.
        frames: (F, bands) mel frames.
        index: of the sentence among those that are spoken; it selects the noise stream.
        speaker: index of the speaker.
        loudness: of the style, dB.
    """

    sentence: SpokenSentence
    tokens: tuple[SpokenToken, ...]
    frames: Tensor
    index: int
    speaker: int
    loudness: float

    def word_times(self) -> list[tuple[float, float]]:
        """Return start and end of each word as read, s."""
        times: dict[int, tuple[float, float]] = {}
        for spoken in self.tokens:
            word = spoken.token.word
            if word != NO_WORD:
                start = times[word][0] if word in times else spoken.start
                times[word] = (start, spoken.end)
        return [times[n] for n in range(len(times))]


@dataclass(frozen=True)
class Voice:
    """An acoustic model and the vocoder that reads its frames."""

    name: str
    acoustic: AcousticModel
    vocoder: Checkpoint
    pronunciations: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    @property
    def sample_rate(self) -> int:
        """Rate of the sound, Hz."""
        return self.vocoder.sample_rate

    def plan(
        self,
        text: str | Iterable[str],
        style: SpeakingStyle | None = None,
        speaker: str | None = None,
        notify: Callable[[str], object] | None = None,
    ) -> Iterator[SentencePlan]:
        """Plan the sentences of a text one by one.

        Args:
            text: of any length, or its parts in order.
            style: how it is spoken.
            speaker: one of the config; None: the first.
            notify: called with each notice of what was left out, such as emoji.
        Raises:
            ConditionError: the speaker is unknown, or a pronunciation.
        """
        number = self._speaker_index(speaker)
        sentences = text_to_phones(text, self.pronunciations)
        return self._plan_sentences(sentences, style or SpeakingStyle(), number, notify)

    def _plan_sentences(
        self,
        sentences: Iterable[SpokenSentence],
        style: SpeakingStyle,
        speaker: int,
        notify: Callable[[str], object] | None,
    ) -> Iterator[SentencePlan]:
        index = 0
        for sentence in sentences:
            if notify is not None:
                for notice in sentence.notices:
                    notify(notice)
            if sentence.phones:
                yield self._plan_sentence(sentence, style, speaker, index)
                index += 1

    def _speaker_index(self, speaker: str | None) -> int:
        known = self.acoustic.config.speakers
        if speaker is None:
            return 0
        if speaker not in known:
            raise ConditionError(
                f"the voice {self.name} has no speaker {speaker!r}; expected one of "
                f"{', '.join(known)}"
            )
        return known.index(speaker)

    @torch.no_grad()
    def _plan_sentence(
        self, sentence: SpokenSentence, style: SpeakingStyle, speaker: int, index: int
    ) -> SentencePlan:
        tokens = sentence_tokens(sentence)
        hidden = self._encode(tokens, speaker)
        prosody = self.acoustic.predict_prosody(hidden, torch.tensor([len(tokens)]))
        durations = self._choose_durations(tokens, prosody, style)
        octave = torch.tensor(2.0).log() / self.acoustic.config.f0_deviation[speaker]
        f0 = style.melody * prosody.f0 + style.pitch / SEMITONES * octave
        prosody = prosody._replace(f0=f0)
        spoken, frames = self._decode(tokens, hidden, prosody, durations, speaker)
        frames = frames + style.loudness / MEL_SPAN
        return SentencePlan(sentence, spoken, frames, index, speaker, style.loudness)

    @torch.no_grad()
    def change_prosody(
        self, plan: SentencePlan, frames: Sequence[int], f0: Sequence[float]
    ) -> SentencePlan:
        """Return the plan of the same sentence with other durations and another melody.

        Args:
            plan: of `plan`.
            frames: of each token; 0 leaves a token out.
            f0: of each token, Hz.
        Raises:
            ConditionError: there are more or fewer values than tokens, or a value is out of range.
        """
        config, count = self.acoustic.config, len(plan.tokens)
        longest = round(LONGEST_PHONE * config.frames_per_second)
        for name, values, (low, high) in (
            ("durations", frames, (0, longest)),
            ("F0 values", f0, (F0_MIN, F0_MAX)),
        ):
            if len(values) != count:
                raise ConditionError(
                    f"expected {count} {name}, one per phone or pause, found {len(values)}"
                )
            wrong = next((value for value in values if not low <= value <= high), None)
            if wrong is not None:
                raise ConditionError(f"{name} must be {low:g} to {high:g}, found {wrong:g}")
        tokens = [spoken.token for spoken in plan.tokens]
        mean, deviation = config.f0_mean[plan.speaker], config.f0_deviation[plan.speaker]
        durations = torch.tensor([list(map(int, frames))])
        prosody = Prosody(
            (durations + 1.0).log(),
            (torch.tensor([list(f0)]).log() - mean) / deviation,
            torch.tensor([[spoken.energy for spoken in plan.tokens]]),
        )
        hidden = self._encode(tokens, plan.speaker)
        spoken, decoded = self._decode(tokens, hidden, prosody, durations, plan.speaker)
        return replace(plan, tokens=spoken, frames=decoded + plan.loudness / MEL_SPAN)

    def _encode(self, tokens: Sequence[Token], speaker: int) -> Tensor:
        """Return the hidden values (1, N, C) of the tokens of a sentence."""
        counts = torch.tensor([len(tokens)])
        return self.acoustic.encode(encode_tokens(tokens)[None], torch.tensor([speaker]), counts)

    def _decode(
        self,
        tokens: Sequence[Token],
        hidden: Tensor,
        prosody: Prosody,
        durations: Tensor,
        speaker: int,
    ) -> tuple[tuple[SpokenToken, ...], Tensor]:
        """Return the tokens of a sentence with their times, and its frames (F, bands).

        Args:
            tokens: of the sentence.
            hidden: (1, N, C) of `_encode`.
            prosody, durations: (1, N) each.
            speaker: index of the speaker.
        """
        config = self.acoustic.config
        frames = self.acoustic.decode(hidden, prosody.f0, prosody.energy, durations)[0]
        mean, deviation = config.f0_mean[speaker], config.f0_deviation[speaker]
        hertz = (mean + deviation * prosody.f0[0]).exp().tolist()
        ends = (durations[0].cumsum(0) / config.frames_per_second).tolist()
        values = durations[0].tolist(), hertz, prosody.energy[0].tolist()
        return tuple(map(SpokenToken, tokens, [0.0, *ends[:-1]], ends, *values)), frames

    def _choose_durations(
        self, tokens: Sequence[Token], prosody: Prosody, style: SpeakingStyle
    ) -> Tensor:
        """Return the frames of each token (1, N) int64."""
        fps = self.acoustic.config.frames_per_second
        frames = (prosody.log_duration.exp() - 1) / style.speed
        shortest = torch.tensor([0.0 if t.is_pause else float(SHORTEST_PHONE) for t in tokens])
        chosen = frames.round().clamp(max=LONGEST_PHONE * fps)
        return torch.maximum(chosen, shortest).to(torch.int64)

    def speak_sentence(
        self,
        plan: SentencePlan,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        engine: str | Engine[Any] = "auto",
    ) -> Iterator[Tensor]:
        """Generate the sound of a planned sentence chunk by chunk, (n,) float32 each.

        Args:
            plan: of `plan`.
            seed: of the noise of the WaveNet.
            sampling: of the WaveNet; by default that of its checkpoint.
            engine: as in `generate`; for several sentences an engine, which is then built once.
        """
        request = self.make_request(plan, seed)
        generated = generate(self.vocoder, [request], sampling, engine)
        return self.match(plan, (chunk.waveforms[0].cpu() for chunk in generated))

    def match(self, plan: SentencePlan, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Filter the generated sound of a sentence to its planned frames, chunk by chunk."""
        vocoder, samples = self.vocoder, self.make_request(plan).samples
        matched = match_clip_mel_stream(vocoder, chunks, plan.frames, samples, MATCHING_PASSES)
        return (chunk.clamp(-1, 1) for chunk in matched)

    def make_request(self, plan: SentencePlan, seed: int = 0) -> GenerationRequest:
        """Return the request to the vocoder for a planned sentence."""
        samples = (len(plan.frames) - 1) * self.acoustic.config.hop
        return GenerationRequest(
            samples, seed=seed, noise_stream=plan.index, frame_features=plan.frames
        )
