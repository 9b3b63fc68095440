"""Words with two pronunciations in sentences."""

import pytest

from wavenet.speech.heteronyms import HETERONYMS, choose_pronunciation
from wavenet.speech.phones import SYMBOLS
from wavenet.speech.pronouncing_dictionary import load_dictionary

# the marked word, and its phones
CASES = [
    ("I will *read* it", "R IY1 D"),
    ("I *read* it yesterday", "R EH1 D"),
    ("she has *read* it", "R EH1 D"),
    ("please *read* the book", "R IY1 D"),
    ("a *lead* pipe", "L EH1 D"),
    ("they *lead* us", "L IY1 D"),
    ("I *live* here", "L IH1 V"),
    ("a *live* concert", "L AY1 V"),
    ("our *lives*", "L AY1 V Z"),
    ("to *use* it", "Y UW1 Z"),
    ("people *use* it", "Y UW1 Z"),
    ("the *bow* and arrow", "B OW1"),
    ("they *bow* down", "B AW1"),
    ("the *bass* guitar", "B EY1 S"),
    ("largemouth *bass*", "B AE1 S"),
    ("he *wound* up there", "W AW1 N D"),
    ("a deep *wound*", "W UW1 N D"),
    ("we *refuse* it", "R AH0 F Y UW1 Z"),
    ("the *refuse* bin", "R EH1 F Y UW2 Z"),
    ("of no *use*", "Y UW1 S"),
    ("*close* the door", "K L OW1 Z"),
    ("we are *close*", "K L OW1 S"),
    ("the *present*", "P R EH1 Z AH0 N T"),
    ("to *present* it", "P R IY0 Z EH1 N T"),
    ("a *record*", "R EH1 K ER0 D"),
    ("we *record* it", "R IH0 K AO1 R D"),
    ("an *object*", "AA1 B JH EH0 K T"),
    ("I *object*", "AH0 B JH EH1 K T"),
    ("the *content* of it", "K AA1 N T EH0 N T"),
    ("I am *content*", "K AH0 N T EH1 N T"),
    ("the *house*", "HH AW1 S"),
    ("to *house* them", "HH AW1 Z"),
    ("the *wind* blows", "W IH1 N D"),
    ("*wind* up the clock", "W AY1 N D"),
    ("a *tear* fell", "T IH1 R"),
    ("do not *tear* it", "T EH1 R"),
    ("one *minute*", "M IH1 N AH0 T"),
    ("a *minute* amount", "M AY0 N UW1 T"),
    ("a *separate* room", "S EH1 P ER0 AH0 T"),
    ("to *separate* them", "S EH1 P ER0 EY2 T"),
]


@pytest.mark.parametrize(("sentence", "phones"), CASES)
def test_the_neighbours_decide(sentence, phones):
    words = sentence.lower().split()
    index = next(i for i, word in enumerate(words) if word.startswith("*"))
    words[index] = words[index].strip("*")
    assert choose_pronunciation(words, index) == tuple(phones.split())


def test_other_words_have_no_rule():
    assert choose_pronunciation(["a", "cat"], 1) is None


@pytest.mark.parametrize("word", HETERONYMS)
def test_both_pronunciations_are_different_and_valid(word):
    _, special, default = HETERONYMS[word]
    assert special != default
    assert set(special + default) <= set(SYMBOLS)
    assert word in load_dictionary()
