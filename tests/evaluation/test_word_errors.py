"""Word errors: the edit distance, and the words of a text as they are read."""

import pytest

from wavenet.evaluation.word_errors import count_word_errors, expected_words


@pytest.mark.parametrize(
    ("expected", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "b c a", 2),
        ("k i t t e n", "s i t t i n g", 3),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("", "", 0),
    ],
)
def test_the_edit_distance(expected, heard, errors):
    pair = expected.split(), heard.split()
    assert count_word_errors(*pair) == errors
    assert count_word_errors(*pair[::-1]) == errors


def test_shuffled_texts_have_a_high_error_rate():
    """Negative control: the words of another sentence are no better than silence."""
    texts = [
        "Author of the danger trail, Philip Steels.",
        "Not at this particular case, Tom, apologized Whittemore.",
        "For the twentieth time that evening the two men shook hands.",
    ]
    words = [expected_words(text) for text in texts]
    total = sum(map(len, words))
    own = sum(count_word_errors(a, a) for a in words)
    shuffled = sum(
        count_word_errors(a, b) for a, b in zip(words, words[1:] + words[:1], strict=True)
    )
    assert own == 0
    assert shuffled / total > 0.8


def test_words_are_those_that_are_read():
    assert expected_words("It costs $5, etc.") == ["it", "costs", "five", "dollars", "et", "cetera"]
    assert expected_words("[[HH AH0]]") == []
