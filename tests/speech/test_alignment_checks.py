"""Findings: wrong texts, unusual speeds, long clips, words that are pronounced by their letters."""

import numpy as np
import pytest

from wavenet.speech.alignment_checks import check_alignment
from wavenet.speech.alignment_file import AlignedClip, AlignedWord, PoorStretch
from wavenet.speech.pronunciation import PhoneSource


def make_clip(name, score=-1.0, poorest=-2.0, seconds=2.0, words=5, source=PhoneSource.DICTIONARY):
    """Return a clip of words of two phones of equal length."""
    times = np.linspace(0, seconds, 2 * words + 1).round(4).tolist()
    made = tuple(
        AlignedWord(
            written=f"W{n}",
            read=f"w{n}",
            start=times[2 * n],
            end=times[2 * n + 2],
            source=source if n == 0 else PhoneSource.DICTIONARY,
            pause="none",
            phones=(("T", *times[2 * n : 2 * n + 2]), ("UW1", *times[2 * n + 1 : 2 * n + 3])),
        )
        for n in range(words)
    )
    return AlignedClip(
        id=name,
        audio=f"{name}.wav",
        text="text",
        seconds=seconds,
        score=score,
        poorest=PoorStretch(score=poorest, start=times[2], end=times[min(6, 2 * words)]),
        words=made,
        silences=(),
        digest="0" * 32,
    )


@pytest.fixture
def corpus():
    """Return 100 clips whose scores have a standard deviation of 0.2, and their stretches 0.5."""
    rng = np.random.default_rng(0)
    return [
        make_clip(str(n), min(0.0, -1 + 0.2 * rng.normal()), min(0.0, -3 + 0.5 * rng.normal()))
        for n in range(100)
    ]


def test_a_corpus_of_usual_clips_has_no_findings(corpus):
    found = check_alignment(corpus)
    assert (found.doubtful, found.speeds, found.long, found.letters) == ((), (), (), {})
    assert found.score == pytest.approx(-1, abs=0.1)
    assert found.speed == 5


def test_clips_whose_score_is_far_below_the_others_are_doubtful(corpus):
    corpus[7] = make_clip("whole", score=-3.0)
    corpus[20] = make_clip("part", poorest=-7.0)
    corpus[30] = make_clip("usual", score=-1.9, poorest=-5.0)
    found = check_alignment(corpus).doubtful
    assert [clip.id for clip in found] == ["part", "whole"]
    assert (found[0].words, found[0].start, found[0].end) == ("W1 W2", 0.4, 1.2)
    assert (found[0].score, found[1].score) == (-7.0, -3.0)
    assert found[0].typical == pytest.approx(-3, abs=0.2)


def test_many_wrong_clips_do_not_hide_each_other(corpus):
    wrong = [make_clip(f"wrong {n}", score=-4.0 - n / 10) for n in range(30)]
    found = check_alignment([*corpus, *wrong]).doubtful
    assert {clip.id for clip in found} == {clip.id for clip in wrong}


def test_equal_scores_do_not_make_small_differences_doubtful():
    """The scale has a lower limit: of equal scores it would be 0."""
    clips = [make_clip(str(n)) for n in range(20)]
    assert check_alignment([*clips, make_clip("a", score=-1.5)]).doubtful == ()
    assert len(check_alignment([*clips, make_clip("a", score=-2.0)]).doubtful) == 1


def test_few_clips_are_not_compared():
    clips = [make_clip("a"), make_clip("b"), make_clip("c", score=-9.0, seconds=0.5)]
    found = check_alignment(clips)
    assert (found.doubtful, found.speeds) == ((), ())
    assert check_alignment([]).score is None


def test_fast_and_slow_clips_are_found_unless_they_are_short(corpus):
    corpus[3] = make_clip("fast", seconds=1.2)
    corpus[4] = make_clip("slow", seconds=4.0)
    corpus[5] = make_clip("a little slow", seconds=2.8)
    corpus[6] = make_clip("short and slow", seconds=3.0, words=1)
    found = check_alignment(corpus).speeds
    assert {clip.id: round(clip.speed, 1) for clip in found} == {"fast": 8.3, "slow": 2.5}
    assert found[0].typical == 5


def test_long_clips_and_unknown_words_are_listed():
    letters = [make_clip(str(n), source=PhoneSource.LETTERS) for n in range(3)]
    found = check_alignment([*letters, make_clip("long", seconds=21.0, words=60)])
    assert (found.long, found.letters) == (("long",), {"w0": 3})
