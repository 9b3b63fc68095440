"""Checks of an alignment: clips whose text may be wrong, unusual speeds, words without an entry.

Input: the aligned clips of a corpus. Output: findings, each for a person to look at; nothing is
removed. Called by the command.

A score has no absolute meaning: it depends on the voice and on the microphone. So each clip is
compared with the others of the corpus, by the robust distance from the median

    z = (score - median) / s,    s = 1.4826 median |score - median|,

which is the number of standard deviations of a normal distribution, and which some wrong clips do
not change. `benchmarks/phone_alignment.py wrong-texts` measured it for two voices: 30 of 30 clips
with the text of another clip were found. 16 or 17 of them could not be aligned at all; the others
had z < -8, and clips with their own text z > -5.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavenet.speech.alignment_file import AlignedClip
from wavenet.speech.pronunciation import PhoneSource

MIN_SCORE_Z = -6.0  # of the mean score of a clip
MIN_POOREST_Z = -6.0  # of its poorest 0.4 s
# Lower limits of s, in nats per frame: a corpus of few clips has a small s by chance.
MIN_SCORE_SCALE = 0.15
MIN_POOREST_SCALE = 0.4
MIN_CLIPS = 5  # fewer are not compared
SPEED_RANGE = (0.6, 1.6)  # relative to the median
MIN_SPEED_PHONES = 10  # of a clip whose speed is compared
LONG_SECONDS = 20.0
_ROUNDING = 3e-4  # seconds


@dataclass(frozen=True)
class DoubtfulClip:
    """A clip whose text may differ from the recording.

    Attributes:
        score, typical: of the clip or of its poorest stretch, and the median of the corpus.
        words: as written, in the poorest stretch.
        start, end: seconds of the poorest stretch.
    """

    id: str
    score: float
    typical: float
    words: str
    start: float
    end: float


@dataclass(frozen=True)
class UnusualSpeed:
    """A clip that is much faster or slower than most; phones per second without silences."""

    id: str
    speed: float
    typical: float


@dataclass(frozen=True)
class AlignmentFindings:
    """What a person may want to look at.

    Attributes:
        score: median score of the clips, nats per frame; None without clips.
        speed: median of phones per second without silences; None without clips.
        doubtful: by score, the lowest first.
        speeds: the clips of unusual speed.
        long: ids of the clips of more than 20 s.
        letters: words that were pronounced by their letters, with the number of times, the most
            frequent first.
    """

    score: float | None
    speed: float | None
    doubtful: tuple[DoubtfulClip, ...]
    speeds: tuple[UnusualSpeed, ...]
    long: tuple[str, ...]
    letters: dict[str, int]


def check_alignment(clips: Sequence[AlignedClip]) -> AlignmentFindings:
    """Return the findings in the clips of a corpus."""
    if not clips:
        return AlignmentFindings(None, None, (), (), (), {})
    words = (word for clip in clips for word in clip.words)
    letters = Counter(word.read for word in words if word.source is PhoneSource.LETTERS)
    return AlignmentFindings(
        float(np.median([clip.score for clip in clips])),
        float(np.median([_speed(clip) for clip in clips])),
        _find_doubtful(clips),
        _find_speeds(clips),
        tuple(clip.id for clip in clips if clip.seconds > LONG_SECONDS),
        dict(letters.most_common()),
    )


def _find_doubtful(clips: Sequence[AlignedClip]) -> tuple[DoubtfulClip, ...]:
    """Return the clips whose score, or whose poorest stretch, is far below that of the others."""
    if len(clips) < MIN_CLIPS:
        return ()
    rules = (
        ([clip.score for clip in clips], MIN_SCORE_Z, MIN_SCORE_SCALE),
        ([clip.poorest.score for clip in clips], MIN_POOREST_Z, MIN_POOREST_SCALE),
    )
    found: dict[str, DoubtfulClip] = {}
    for scores, limit, smallest_scale in rules:
        median = float(np.median(scores))
        scale = max(1.4826 * float(np.median(np.abs(np.subtract(scores, median)))), smallest_scale)
        for clip, score in zip(clips, scores, strict=True):
            if (score - median) / scale < limit:
                words = " ".join(_words_between(clip, clip.poorest.start, clip.poorest.end))
                place = (clip.poorest.start, clip.poorest.end)
                found.setdefault(clip.id, DoubtfulClip(clip.id, score, median, words, *place))
    return tuple(sorted(found.values(), key=lambda clip: clip.score - clip.typical))


def _words_between(clip: AlignedClip, start: float, end: float) -> list[str]:
    """Return the words with a phone in a part of a clip."""
    return [
        word.written
        for word in clip.words
        if word.end > start + _ROUNDING and word.start < end - _ROUNDING
    ]


def _find_speeds(clips: Sequence[AlignedClip]) -> tuple[UnusualSpeed, ...]:
    long_enough = [clip for clip in clips if clip.phone_count >= MIN_SPEED_PHONES]
    if len(long_enough) < MIN_CLIPS:
        return ()
    typical = float(np.median([_speed(clip) for clip in long_enough]))
    low, high = (typical * ratio for ratio in SPEED_RANGE)
    return tuple(
        UnusualSpeed(clip.id, _speed(clip), typical)
        for clip in long_enough
        if not low <= _speed(clip) <= high
    )


def _speed(clip: AlignedClip) -> float:
    """Return phones per second without silences."""
    return clip.phone_count / max(clip.spoken_seconds, 0.01)
