"""Align one clip: its text to phones, its recording to the times of these phones.

Input: a `SpeechClip`. Output: an `AlignedClip`. Called by `align_corpus.py`, in worker processes.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_utils.decoding import decode_file
from audio_utils.errors import AudioError
from wavenet.errors import ConditionError, DataError
from wavenet.speech.alignment_file import DECIMALS, AlignedClip, AlignedWord, PoorStretch
from wavenet.speech.forced_alignment import MAX_SECONDS, SAMPLE_RATE, Segment
from wavenet.speech.phones import Pause
from wavenet.speech.pronunciation import Phones, PhoneSource
from wavenet.speech.speech_corpus import SpeechClip
from wavenet.speech.text_to_phones import SpokenSentence, text_to_phones

POOR_STRETCH_SECONDS = 0.4

# (waveform at 16 kHz, phones of each word) → segments; `forced_alignment.align_phones`
AlignPhones = Callable[[NDArray[np.float32], Sequence[Sequence[str]]], list[Segment]]


@dataclass(frozen=True)
class WordToAlign:
    """A word as it is read, with its pronunciation; the attributes are those of `AlignedWord`."""

    written: str
    read: str
    phones: Phones
    source: PhoneSource
    pause: Pause


def read_words(text: str, pronunciations: Mapping[str, str]) -> tuple[WordToAlign, ...]:
    """Return the words of a text.

    Args:
        pronunciations: of the user, as in `text_to_phones`.
    Raises:
        DataError: the text has no words, or an invalid pronunciation in [[...]].
    """
    words: list[WordToAlign] = []
    try:
        for sentence in text_to_phones(text, pronunciations):
            words += sentence_words(sentence)
    except ConditionError as error:
        raise DataError(str(error)) from None
    if not words:
        raise DataError("the text has no words that can be read")
    return tuple(words)


def sentence_words(sentence: SpokenSentence) -> list[WordToAlign]:
    """Return the words of a sentence."""
    last = len(sentence.read_words) - 1
    written = [part.written for part in sentence.words for _ in part.read]
    return [
        WordToAlign(
            written[n],
            word.text,
            word.phones,
            word.source,
            sentence.pause if n == last else word.pause,
        )
        for n, word in enumerate(sentence.read_words)
    ]


def compute_digest(folder: Path, clip: SpeechClip, words: Sequence[WordToAlign]) -> str:
    """Return a hash of everything that determines the alignment of a clip.

    Raises:
        DataError: the recording cannot be read.
    """
    try:
        status = os.stat(folder / clip.audio)
    except OSError:
        raise DataError(f"the recording {clip.audio} cannot be read") from None
    content = repr((clip, words, status.st_size, status.st_mtime_ns))
    return hashlib.blake2b(content.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def align_clip(
    folder: Path,
    clip: SpeechClip,
    words: Sequence[WordToAlign],
    digest: str,
    align_phones: AlignPhones,
) -> AlignedClip:
    """Return the alignment of a clip.

    Args:
        folder: of the corpus.
        words: of the text of the clip.
        digest: of `compute_digest`.
        align_phones: the aligner.
    Raises:
        DataError: the recording cannot be read, is too long, or does not match the text.
    """
    try:
        recording = decode_file(folder / clip.audio, SAMPLE_RATE, max_seconds=MAX_SECONDS)
    except AudioError as error:
        raise DataError(str(error)) from None
    segments = align_phones(recording.samples, [word.phones for word in words])
    return record_alignment(clip, words, digest, segments)


def record_alignment(
    clip: SpeechClip, words: Sequence[WordToAlign], digest: str, segments: Sequence[Segment]
) -> AlignedClip:
    """Return the record of the segments that an aligner found.

    Args:
        clip: what was aligned.
        words: of its text.
        digest: of `compute_digest`.
        segments: of all phones of the words, and silences.
    """
    spoken = [segment for segment in segments if segment.word is not None]
    silences = [segment for segment in segments if segment.word is None]
    aligned = []
    for n, word in enumerate(words):
        own = [segment for segment in spoken if segment.word == n]
        phones = [
            (symbol, _round(part.start), _round(part.end))
            for symbol, part in zip(word.phones, own, strict=True)
        ]
        aligned.append(
            AlignedWord(
                written=word.written,
                read=word.read,
                start=phones[0][1],
                end=phones[-1][2],
                source=word.source,
                pause=word.pause.name.lower(),  # type: ignore[arg-type]
                phones=tuple(phones),
            )
        )
    return AlignedClip(
        id=clip.id,
        audio=clip.audio,
        text=clip.text,
        seconds=_round(segments[-1].end),
        score=mean_score(spoken),
        poorest=find_poorest(spoken),
        words=tuple(aligned),
        silences=tuple((_round(part.start), _round(part.end)) for part in silences),
        digest=digest,
    )


def mean_score(segments: Sequence[Segment]) -> float:
    """Return the score per frame of segments, in nats."""
    frames = sum(segment.frames for segment in segments)
    return _round(sum(segment.score for segment in segments) / max(frames, 1))


def find_poorest(spoken: Sequence[Segment]) -> PoorStretch:
    """Return the neighbouring phones of at least 0.4 s with the lowest score per frame.

    Args:
        spoken: phones without silences, in order.
    """
    poorest: Sequence[Segment] = spoken
    lowest = mean_score(spoken)
    last = 0
    for first in range(len(spoken)):
        while last < len(spoken) and _length(spoken[first:last]) < POOR_STRETCH_SECONDS:
            last += 1
        stretch = spoken[first:last]
        if _length(stretch) < POOR_STRETCH_SECONDS:
            break
        if mean_score(stretch) < lowest:
            poorest, lowest = stretch, mean_score(stretch)
    return PoorStretch(score=lowest, start=_round(poorest[0].start), end=_round(poorest[-1].end))


def _length(segments: Sequence[Segment]) -> float:
    return sum(segment.end - segment.start for segment in segments)


def _round(value: float) -> float:
    return round(value, DECIMALS)
