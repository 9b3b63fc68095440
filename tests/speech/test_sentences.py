"""Where sentences end, and that long texts need little memory."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.speech.phones import Pause
from wavenet.speech.sentences import MAX_SENTENCE, split_sentences


def texts(text):
    return [sentence.text for sentence in split_sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith and Mrs. Jones met.",
        "He has e.g. tea.",
        "Mr. & Mrs. Smith",
        "The U.S. Army is large.",
        "J. R. R. Tolkien wrote it.",
        "It costs 3.5 dollars.",
        "See www.example.com for more.",
        "We met at 5 p.m. Monday.",
        "He is from Smith Inc. Boston.",
        "See Fig. 3 and No. 5 there.",
        "On Jan. 5 it rained.",
        '"Stop!" he said.',
        "Well... maybe.",
        "1. First item.",
        "St. Paul is vs. Minneapolis here.",
        "A line\nthat goes on.",
    ],
)
def test_these_are_one_sentence(text):
    assert texts(text) == [text]


@pytest.mark.parametrize(
    "sentences",
    [
        ["One.", "Two!", "Three?", "Four"],
        ["I live in the U.S.", "The end."],
        ["We had tea, etc.", "Then we left."],
        ["He lives on Main St.", "The house is old."],
        ["I said no.", "He left."],
        ["So do I.", "Bob too."],
        ["Really?!", "Yes."],
        ["He said “no.”", "She left."],
        ["It costs $1.5M.", "A lot of it is 0.001.", "Yes."],
        ["He paid.", "$5 more."],
        ["It is 5.", "It is late."],
        ["Come at 5 p.m.", "We eat then."],
    ],
)
def test_these_are_several_sentences(sentences):
    assert texts(" ".join(sentences)) == sentences


def test_pauses_and_places():
    text = "  One. Two.\n\n Three\n \n- four"
    found = list(split_sentences(text))
    assert [s.text for s in found] == ["One.", "Two.", "Three", "- four"]
    assert [text[s.start : s.start + len(s.text)] for s in found] == [s.text for s in found]
    paragraph, sentence = Pause.PARAGRAPH, Pause.SENTENCE
    assert [s.pause for s in found] == [sentence, paragraph, paragraph, sentence]


def test_a_long_sentence_is_cut_behind_a_comma_else_behind_a_word():
    with_commas = list(split_sentences("one two three, " * 200))
    assert all(s.text.endswith(",") and s.pause is Pause.COMMA for s in with_commas[:-1])
    without = list(split_sentences("one two " * 400))
    assert {s.text.split()[-1] for s in without} <= {"one", "two"}
    assert without[0].pause is Pause.NONE
    assert max(len(s.text) for s in with_commas + without) <= MAX_SENTENCE


def test_a_text_is_read_only_as_far_as_its_sentences_are_wanted():
    """A megabyte in one line must not be split as a whole before the first sentence is known."""
    read = 0

    def parts():
        nonlocal read
        for _ in range(10_000):
            read += 1
            yield "The end of it. " * 7

    first = list(itertools.islice(split_sentences(parts()), 3))
    assert [s.text for s in first] == ["The end of it."] * 3
    assert read < 30


def test_places_in_a_text_that_is_longer_than_a_part():
    text = "".join(f"Number {i} is here.  " for i in range(5000))
    for parts in (text, [text[i : i + 999] for i in range(0, len(text), 999)]):
        sentences = list(split_sentences(parts))
        assert [s.text for s in sentences] == [f"Number {i} is here." for i in range(5000)]
        assert all(text.startswith(s.text, s.start) for s in sentences)


@given(st.text(alphabet="aB. !?,\n\t\r\u2029…\"'x1", max_size=400), st.integers(1, 50))
def test_parts_give_the_same_sentences_as_the_whole_text(text, size):
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    whole = list(split_sentences(text))
    assert list(split_sentences(parts)) == whole
    assert "".join("".join(s.text.split()) for s in whole) == "".join(text.split())


WORDS = ["Dr.", "U.S.", "e.g.", "No.", "J.", "The", "so.", "5.", "yes", "Yes!", "well...", "word, "]


@given(st.lists(st.sampled_from([*WORDS, "\n\n", " " * 60]), max_size=300), st.integers(1, 90))
def test_parts_of_a_text_with_abbreviations_give_the_same_sentences(words, size):
    """A sentence may end before the next part is read, so its end must not depend on that part."""
    text = " ".join(words)
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    assert list(split_sentences(parts)) == list(split_sentences(text))


def test_a_sentence_is_known_when_a_few_more_words_are():
    read = []

    def lines():
        for n in range(50):
            read.append(n)
            yield "It goes on and on.\n"

    assert next(split_sentences(lines())).text == "It goes on and on."
    assert len(read) <= 7  # 100 characters behind it
