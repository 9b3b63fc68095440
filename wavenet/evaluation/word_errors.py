"""Word errors: how many words of a text were recognised wrongly.

    word error rate = (replaced + missing + added words) / words of the text

The sum is the edit distance, the smallest number of such changes. Input: a text, and the words that
were recognised. Output: numbers. Called by the evaluation of voices.

Source: Levenshtein 1966; Wagner and Fischer 1974 (the table, row by row).
"""

from collections.abc import Sequence

from wavenet.speech.text_to_phones import text_to_phones


def expected_words(text: str) -> list[str]:
    """Return the words of an English text as they are read, in lower case: "$5" is two words."""
    words = (word.text for sentence in text_to_phones(text) for word in sentence.read_words)
    return [part for word in words for part in word.lower().replace("-", " ").split()]


def count_word_errors(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Return the smallest number of words to replace, insert or delete.

    Args:
        expected: the words of the text.
        heard: those that were recognised.
    Returns:
        0 for equal words; at most the number of words of the longer one.
    """
    row = list(range(len(heard) + 1))
    for count, word in enumerate(expected, start=1):
        diagonal, row[0] = row[0], count
        for n, other in enumerate(heard, start=1):
            replaced = diagonal + (word != other)
            diagonal = row[n]
            row[n] = min(replaced, row[n] + 1, row[n - 1] + 1)
    return row[-1]
