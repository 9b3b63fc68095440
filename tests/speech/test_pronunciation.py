"""The sources of pronunciations, and the rules for words that derive from known ones."""

import pytest

from wavenet.errors import ConditionError
from wavenet.speech.phones import SYMBOLS
from wavenet.speech.pronouncing_dictionary import load_dictionary
from wavenet.speech.pronunciation import (
    PhoneSource,
    add_ed,
    add_s,
    check_pronunciations,
    pronounce,
    pronounce_word,
)


@pytest.mark.parametrize(
    ("phones", "plural"), [("K AE1 T", "S"), ("D AO1 G", "Z"), ("B AH1 S", "AH0 Z"), ("B IY1", "Z")]
)
def test_the_ending_s_depends_on_the_last_phone(phones, plural):
    assert " ".join(add_s(tuple(phones.split()))) == f"{phones} {plural}"


@pytest.mark.parametrize(
    ("phones", "past"), [("S T AA1 P", "T"), ("B EH1 G", "D"), ("W AA1 N T", "AH0 D")]
)
def test_the_ending_ed_depends_on_the_last_phone(phones, past):
    assert " ".join(add_ed(tuple(phones.split()))) == f"{phones} {past}"


def test_the_source_of_a_pronunciation():
    sources = {
        word: pronounce_word(word)[1] for word in ("hello", "tweeting", "zzyblorp", "zzyblorp's")
    }
    assert list(sources.values()) == [
        PhoneSource.DICTIONARY,
        PhoneSource.RULE,
        PhoneSource.LETTERS,
        PhoneSource.LETTERS,
    ]


def test_derived_words_agree_with_the_dictionary():
    """Known words with the ending s or ed, derived from their bases, are as in the dictionary."""
    dictionary = load_dictionary()
    bases = [word for word in list(dictionary.words())[::50] if word.isalpha() and len(word) > 3]
    right = total = 0
    for base in bases:
        for ending, add in (("s", add_s), ("ed", add_ed)):
            truths = dictionary.look_up(base + ending)
            if truths:
                total += 1
                right += any(add(p) in truths for p in dictionary.look_up(base))
    assert total > 200
    assert right / total > 0.85  # some entries have IH0 Z where others have AH0 Z


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("tweeting", "T W IY1 T IH0 NG"),
        ("unfollowed", "AH0 N F AA1 L OW0 D"),
        ("thudded", "TH AH1 D AH0 D"),
        ("stubbing", "S T AH1 B IH0 NG"),
        ("cuddlier", "K AH1 D L IY0 ER0"),
        ("skypers", "S K AY1 P ER0 Z"),
        ("toastless", "T OW1 S T L AH0 S"),
        ("keyboardlike", "K IY1 B AO2 R D L AY2 K"),
    ],
)
def test_words_derive_from_known_ones(word, phones):
    assert word not in load_dictionary()
    assert pronounce_word(word) == (tuple(phones.split()), PhoneSource.RULE)


def test_letters_and_the_article():
    words = ["the", "apple", "the", "cat", "B", "the", "F", "XKCD's"]
    read = [" ".join(pronounce(words, i, {})[0]) for i in (0, 2, 4, 5)]
    assert read == ["DH IY0", "DH AH0", "B IY1", "DH IY0"]


def test_the_dictionary_of_a_user_comes_first():
    user = check_pronunciations({"GIF": "jh ih1 f", "Hello": ["HH", "AY1"]})
    assert pronounce(["gif"], 0, user) == (("JH", "IH1", "F"), PhoneSource.USER)
    assert pronounce(["hello"], 0, user) == (("HH", "AY1"), PhoneSource.USER)
    assert pronounce(["gif's"], 0, user) == (("JH", "IH1", "F", "S"), PhoneSource.USER)


@pytest.mark.parametrize(
    ("pronunciations", "message"),
    [
        ({"GIF": "JH IH F"}, "the pronunciation of 'GIF': the vowel 'IH' has no stress"),
        ({"two words": "T UW1"}, "the pronunciation of 'two words' cannot be used"),
        ({"": "T UW1"}, "the pronunciation of '' cannot be used"),
        ({"x": ""}, "the pronunciation of 'x' has no phones"),
    ],
)
def test_wrong_dictionaries_are_refused(pronunciations, message):
    with pytest.raises(ConditionError, match=message):
        check_pronunciations(pronunciations)


def test_all_letters_have_a_name():
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        phones, source = pronounce([letter], 0, {})
        assert set(phones) <= set(SYMBOLS)
        assert source is PhoneSource.DICTIONARY
