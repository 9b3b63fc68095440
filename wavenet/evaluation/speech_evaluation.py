"""Measure a voice on test sentences, beside recordings and other systems.

Input: a voice, sentences with recordings, and judges. Output: the measures of every sound, and a
row per system with means and intervals. A mean is first over the seeds of a sentence and then over
sentences; the interval is the bootstrap over sentences, because the sounds of one sentence are
alike. Called by `wavenet evaluate speech`.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from audio_utils import metrics
from audio_utils.errors import AudioError
from wavenet.errors import DataError
from wavenet.evaluation.bits_per_sample import bootstrap_interval
from wavenet.evaluation.prosody_errors import PhoneTimes, ProsodyErrors, compare_prosody
from wavenet.evaluation.speaker_similarity import mean_similarity
from wavenet.evaluation.speech_judges import Samples, SpeechJudges, resample_for_judges
from wavenet.evaluation.speech_systems import (
    RECORDING,
    VOICE,
    OtherSystem,
    RecordedSentence,
    SystemSound,
    fit_length,
    speak_text,
    speak_with_systems,
)
from wavenet.evaluation.word_errors import count_word_errors, expected_words
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.progress import NoProgress, Progress
from wavenet.speech.align_clip import mean_score, read_words
from wavenet.speech.voice import Voice

WARM_UP = "One."
WIDE_BAND = 16_000  # Hz, the lowest rate of wide-band PESQ
MEANS = (
    "alignment",
    "dnsmos",
    "similarity",
    "pesq",
    "stoi",
    "mel_cepstral",
    "duration_correlation",
    "f0_semitones",
    "voicing",
)


@dataclass(frozen=True)
class SoundMeasures:
    """Measures of a sound; None if undefined, or if the judge is not installed.

    Attributes:
        clip, system, seed: what was spoken, by what.
        seconds: of the sound.
        words: of the text.
        word_errors: of the recognised words.
        heard: the recognised words.
        alignment: score of the forced alignment, nats per frame, 0 or less; higher is better.
        dnsmos: rating, 1 to 5.
        similarity: cosine with the speaker of the recordings of other sentences.
        pesq: wide band, 1.04 to 4.64; stoi: 0 to 1; mel_cepstral: dB. Only of sounds that are as
            long as the recording, because they compare sample by sample.
        duration_correlation, f0_semitones, voicing: see `ProsodyErrors`; not of recordings.
        compute_seconds, first_seconds: see `SystemSound`.
    """

    clip: str
    system: str
    seed: int
    seconds: float
    words: int
    word_errors: int | None = None
    heard: str | None = None
    alignment: float | None = None
    dnsmos: float | None = None
    similarity: float | None = None
    pesq: float | None = None
    stoi: float | None = None
    mel_cepstral: float | None = None
    duration_correlation: float | None = None
    f0_semitones: float | None = None
    voicing: float | None = None
    compute_seconds: float | None = None
    first_seconds: float | None = None


@dataclass(frozen=True)
class _PhonesOfSound:
    """The times of the phones of a sound, and the score of the alignment."""

    times: PhoneTimes
    score: float


def evaluate_speech(
    voice: Voice,
    sentences: Sequence[RecordedSentence],
    judges: SpeechJudges,
    seeds: Sequence[int] = (0,),
    speaker: str | None = None,
    others: Mapping[str, OtherSystem] = MappingProxyType({}),
    on_sound: Callable[[RecordedSentence, SystemSound], None] = lambda *_: None,
    progress: Progress | None = None,
) -> list[SoundMeasures]:
    """Speak every sentence with every system, and measure the sounds.

    Args:
        voice: to evaluate.
        sentences: at the rate of the voice.
        judges: those that are installed.
        seeds, speaker, others: see `speak_with_systems`.
        on_sound: called with each sound.
        progress: counts sentences.
    Raises:
        ConditionError, DataError: see `speak_with_systems`.
    """
    progress = progress or NoProgress()
    engine = make_checkpoint_engine("auto", voice.vocoder)
    for _ in speak_text(voice, WARM_UP, speaker=speaker, engine=engine):  # compiles the engine
        pass
    found: list[tuple[SoundMeasures, Samples | None]] = []
    for sentence in sentences:
        sounds = speak_with_systems(voice, sentence, seeds, speaker, others, engine)
        found += _measure_sentence(sentence, sounds, judges, voice.sample_rate, on_sound)
        progress.advance(1)
    recordings = {
        sound.clip: vector
        for sound, vector in found
        if sound.system == RECORDING and vector is not None
    }
    return [
        sound
        if vector is None
        else replace(sound, similarity=mean_similarity(vector, sound.clip, recordings))
        for sound, vector in found
    ]


def _measure_sentence(
    sentence: RecordedSentence,
    sounds: Iterator[SystemSound],
    judges: SpeechJudges,
    sample_rate: int,
    on_sound: Callable[[RecordedSentence, SystemSound], None],
) -> Iterator[tuple[SoundMeasures, Samples | None]]:
    """Yield the measures of the sounds of a sentence, and the vectors of their speakers."""
    reference: _PhonesOfSound | None = None
    for sound in sounds:
        on_sound(sentence, sound)
        samples = resample_for_judges(sound.waveform, sample_rate)
        phones = _align(samples, sentence.clip.text, judges)
        measures = _judge(sentence, sound, samples, judges, sample_rate)
        if phones is not None:
            measures = replace(measures, alignment=phones.score)
        if sound.system == RECORDING:
            reference = phones
        elif phones is not None and reference is not None:
            pair = (sentence.recording, reference.times, sound.waveform, phones.times)
            measures = replace(measures, **vars(_compare(*pair, sample_rate)))
        if sound.system != RECORDING and len(sound.waveform) == len(sentence.recording):
            measures = _compare_samples(measures, sentence.recording, sound.waveform, sample_rate)
        yield measures, judges.embed(samples) if judges.embed else None


def _judge(
    sentence: RecordedSentence,
    sound: SystemSound,
    samples: Samples,
    judges: SpeechJudges,
    sample_rate: int,
) -> SoundMeasures:
    """Return the measures that need no recording."""
    expected = expected_words(sentence.clip.text)
    heard = judges.recognise(samples) if judges.recognise else None
    return SoundMeasures(
        sentence.clip.id,
        sound.system,
        sound.seed,
        len(sound.waveform) / sample_rate,
        len(expected),
        word_errors=None if heard is None else count_word_errors(expected, heard),
        heard=None if heard is None else " ".join(heard),
        dnsmos=judges.rate(samples) if judges.rate else None,
        compute_seconds=sound.compute_seconds,
        first_seconds=sound.first_seconds,
    )


def _align(samples: Samples, text: str, judges: SpeechJudges) -> _PhonesOfSound | None:
    """Return the phones of a sound; None if they are not found, or without an aligner."""
    if judges.align is None:
        return None
    try:
        segments = judges.align(samples, [word.phones for word in read_words(text, {})])
    except DataError:
        return None
    spoken = [segment for segment in segments if segment.word is not None]
    return _PhonesOfSound([(one.start, one.end) for one in spoken], mean_score(spoken))


def _compare(
    recording: Tensor, times: PhoneTimes, sound: Tensor, sound_times: PhoneTimes, sample_rate: int
) -> ProsodyErrors:
    try:
        return compare_prosody(recording, times, sound, sound_times, sample_rate)
    except AudioError:  # silence
        return ProsodyErrors(None, None, None)


def _compare_samples(
    measures: SoundMeasures, recording: Tensor, sound: Tensor, sample_rate: int
) -> SoundMeasures:
    """Add the metrics that compare sample by sample; None if one is undefined."""
    estimate = fit_length(sound, len(recording))

    def compute(metric: Callable[..., float], *settings: Any) -> float | None:
        try:
            return metric(recording, estimate, sample_rate, *settings)
        except AudioError:
            return None

    return replace(
        measures,
        pesq=compute(metrics.pesq, True) if sample_rate >= WIDE_BAND else None,
        stoi=compute(metrics.stoi),
        mel_cepstral=compute(metrics.mel_cepstral_distance),
    )


def summarise_speech(sounds: Sequence[SoundMeasures]) -> list[dict[str, Any]]:
    """Return a row per system, in the order of their first sounds.

    Returns:
        Per system: system, clips, sounds, seconds, word_error_rate and each name of `MEANS`, or
        None; for each of these NAME_interval, low and high of the 95 % bootstrap interval over
        sentences, or None.
    """
    rows = []
    for system in dict.fromkeys(sound.system for sound in sounds):
        members = [sound for sound in sounds if sound.system == system]
        by_clip = {
            clip: [sound for sound in members if sound.clip == clip]
            for clip in dict.fromkeys(sound.clip for sound in members)
        }
        row: dict[str, Any] = {
            "system": system,
            "clips": len(by_clip),
            "sounds": len(members),
            "seconds": sum(sound.seconds for sound in members),
        }
        row |= _summarise("word_error_rate", *_count_words(by_clip))
        for name in MEANS:
            values = [_mean(getattr(one, name) for one in clip) for clip in by_clip.values()]
            known = [value for value in values if value is not None]
            row |= _summarise(name, known, [1.0] * len(known))
        rows.append(row)
    return rows


def _count_words(
    by_clip: Mapping[str, Sequence[SoundMeasures]],
) -> tuple[list[float], list[float]]:
    """Return the errors and the words of each sentence that was recognised and has words."""
    errors, words = [], []
    for sounds in by_clip.values():
        known = [sound for sound in sounds if sound.word_errors is not None and sound.words]
        if known:
            errors.append(float(sum(sound.word_errors or 0 for sound in known)))
            words.append(float(sum(sound.words for sound in known)))
    return errors, words


def _summarise(name: str, totals: Sequence[float], weights: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of the sums and its interval over sentences, or None without any."""
    if not totals:
        return {name: None, f"{name}_interval": None}
    interval = bootstrap_interval(np.array(totals), np.array(weights))
    return {name: sum(totals) / sum(weights), f"{name}_interval": interval}


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def measure_speed(sounds: Sequence[SoundMeasures]) -> dict[str, float]:
    """Return the speed of the voice.

    Returns:
        times_real_time: seconds of sound per second; first_sound_seconds: median over the sounds of
        the time from the text to the first samples.
    """
    members = [sound for sound in sounds if sound.system == VOICE]
    return {
        "times_real_time": sum(sound.seconds for sound in members)
        / sum(sound.compute_seconds or 0 for sound in members),
        "first_sound_seconds": statistics.median(sound.first_seconds or 0 for sound in members),
    }
