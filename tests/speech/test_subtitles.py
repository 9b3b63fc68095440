"""Subtitles: times, characters with a meaning, long sentences in parts."""

import pytest

from wavenet.speech.spoken_times import TimedSentence, TimedWord
from wavenet.speech.subtitles import LONGEST_TEXT, format_cue, format_time, split_cues


def sentence_of(text: str, position: int = 7) -> TimedSentence:
    """Return a sentence whose word n is spoken from n + 0.1 to n + 0.9 s."""
    words = []
    place = 0
    for n, word in enumerate(text.split()):
        place = text.index(word, place)
        words.append(TimedWord(word, position + place, n + 0.1, n + 0.9, ()))
        place += len(word)
    return TimedSentence(text, position, 0.0, float(len(words)), tuple(words))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "00:00:00,000"),
        (62.3454, "00:01:02,345"),
        (3599.9996, "01:00:00,000"),
        (360_000, "100:00:00,000"),
    ],
)
def test_times(seconds: float, shown: str) -> None:
    assert format_time(seconds, ".srt") == shown
    assert format_time(seconds, ".vtt") == shown.replace(",", ".")


def test_a_cue_has_one_line_without_characters_that_have_a_meaning() -> None:
    text = "a <b> & c ---->\r\n\r\n d\x00\x1b e\u2028f"
    times = "00:00:00,000 --> 00:00:01,500"
    assert format_cue(".srt", 3, 0, 1.5, text) == f"3\n{times}\na <b> & c -> d e f\n\n"
    vtt = format_cue(".vtt", 3, 0, 1.5, text)
    assert vtt == f"3\n{times.replace(',', '.')}\na &lt;b&gt; &amp; c -&gt; d e f\n\n"


def test_a_short_sentence_is_one_cue() -> None:
    sentence = sentence_of("Hello, you.")
    assert list(split_cues(sentence)) == [(0.0, 2.0, "Hello, you.")]


def test_a_long_sentence_is_split_between_words_at_their_times() -> None:
    sentence = sentence_of(" ".join(f"word{n:02}" for n in range(40)))
    cues = list(split_cues(sentence))
    assert len(cues) == 4
    assert "".join(text for _, _, text in cues) == sentence.text
    assert all(len(text.strip()) <= LONGEST_TEXT for _, _, text in cues)
    assert cues[0] == (0.0, 11.9, sentence.text[: 12 * 7])
    assert cues[1][0] == 12.1
    assert cues[-1][1] == 40.0
    # negative control: one word more would not fit
    assert len(sentence.text[: 13 * 7].strip()) > LONGEST_TEXT


def test_a_word_that_is_too_long_is_not_split() -> None:
    sentence = sentence_of("x" * 200 + " y")
    assert [text.strip() for _, _, text in split_cues(sentence)] == ["x" * 200, "y"]
