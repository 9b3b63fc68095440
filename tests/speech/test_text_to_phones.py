"""The public function: ranges, sources, pauses, notices, forced pronunciations, any input."""

import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.errors import ConditionError
from wavenet.speech.phones import SYMBOLS, Pause
from wavenet.speech.pronunciation import PhoneSource
from wavenet.speech.text_to_phones import text_to_phones

# Characters that the rules treat in a special way are frequent.
PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(list("0123456789.,:;/-–+$€%°'’\"()[]<>#@&=*½² \n\t")),
    st.sampled_from(["Dr.", "St.", "5:30", "p.m.", "VIII", "Henry", "1/2", "km/h", "www.", "[["]),
    st.sampled_from(["May", "No.", "]]", "1,000", "...", "\n\n", "😀", "é", "\u0301", "\ud800"]),
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)


def speak(text, pronunciations=None):
    return list(text_to_phones(text, pronunciations))


@settings(max_examples=100)
@given(TEXTS)
def test_any_text_is_read_with_valid_phones_and_ordered_ranges(text):
    try:
        sentences = speak(text)
    except ConditionError as error:
        assert "[[" in text and "pronunciation" in str(error)
        return
    end = 0
    for sentence in sentences:
        assert text[sentence.start : sentence.start + len(sentence.text)] == sentence.text
        assert sentence.words or sentence.notices
        for word in sentence.words:
            assert end <= word.start < word.end <= sentence.start + len(sentence.text)
            assert text[word.start : word.end] == word.written
            assert word.read
            end = word.end
        for read in sentence.read_words:
            assert read.phones
            assert set(read.phones) <= set(SYMBOLS)
            assert not any(c.isspace() for c in read.text)
            assert read.text.isascii()


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz '", min_size=1, max_size=60))
def test_no_letters_are_left_unread(text):
    words = [word for word in text.split() if word.strip("'")]
    read = [word.written for sentence in speak(text) for word in sentence.words]
    assert "".join(read).replace("'", "") == "".join(words).replace("'", "")
    assert not any(sentence.notices for sentence in speak(text))


def test_the_structure_of_a_sentence():
    text = "Hi Dr. Lee, it costs $5?"
    (sentence,) = speak(text)
    assert [(w.written, w.start, w.end) for w in sentence.words] == [
        ("Hi", 0, 2),
        ("Dr.", 3, 6),
        ("Lee", 7, 10),
        ("it", 12, 14),
        ("costs", 15, 20),
        ("$5", 21, 23),
    ]
    assert [r.text for r in sentence.words[-1].read] == ["five", "dollars"]
    assert [w.read[-1].pause for w in sentence.words] == [
        *[Pause.NONE] * 2,
        Pause.COMMA,
        *[Pause.NONE] * 3,
    ]
    assert (sentence.pause, sentence.ending) == (Pause.SENTENCE, "?")
    assert sentence.phones[:2] == ("HH", "AY1")


def test_places_in_later_sentences_and_parts():
    text = "One.  Two three.\n\nFour"
    expected = [(w.written, w.start) for s in speak(text) for w in s.words]
    assert expected == [("One", 0), ("Two", 6), ("three", 10), ("Four", 18)]
    parts = [text[i : i + 3] for i in range(0, len(text), 3)]
    assert [(w.written, w.start) for s in speak(parts) for w in s.words] == expected


def test_the_endings_of_sentences():
    assert [s.ending for s in speak("One. Two! “Three?” Four... Five")] == [".", "!", "?", ".", ""]


def test_the_sources_of_words():
    (sentence,) = speak("hello tweeting zzyblorp gif [[HH AH0]]", {"GIF": "JH IH1 F"})
    assert [word.source for word in sentence.read_words] == [
        PhoneSource.DICTIONARY,
        PhoneSource.RULE,
        PhoneSource.LETTERS,
        PhoneSource.USER,
        PhoneSource.USER,
    ]


def test_a_forced_pronunciation_has_no_text():
    (sentence,) = speak("say [[hh ah0 l OW1]], please")
    forced = sentence.words[1]
    assert (forced.written, forced.read[0].text) == ("[[hh ah0 l OW1]]", "")
    assert forced.read[0].phones == ("HH", "AH0", "L", "OW1")
    assert forced.read[0].pause is Pause.COMMA


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a [[HH QQ]] b", r"the pronunciation \[\[HH QQ\]\]: 'QQ' is not a phone"),
        ("a [[]] b", r"the pronunciation \[\[\]\] has no phones"),
        ("a [[HH AH]] b", "the vowel 'AH' has no stress; write AH0, AH1 or AH2"),
    ],
)
def test_a_wrong_forced_pronunciation_is_one_sentence(text, message):
    with pytest.raises(ConditionError, match=message):
        speak(text)


def test_brackets_that_are_not_closed_are_not_pronunciations():
    (sentence,) = speak("say [[ it")
    assert [word.text for word in sentence.read_words] == ["say", "it"]


def test_words_of_a_user_come_before_all_rules():
    user = {"SQL": "S IY1 K W AH0 L", "C3PO": "S IY1", "Dr": "D AH1 K", "x-ray": "EH1 K S R EY2"}
    (sentence,) = speak("The SQL of Dr. C3PO, an X-ray", user)
    assert [w.text for w in sentence.read_words if w.source is PhoneSource.USER] == [
        "sql",
        "dr",
        "c3po",
        "x-ray",
    ]


def test_wrong_words_of_a_user_are_refused_before_the_first_sentence():
    with pytest.raises(ConditionError, match="'ZZ' is not a phone"):
        text_to_phones("hello", {"gif": "ZZ"})


def test_each_kind_that_is_left_out_is_reported_once():
    text = "Hi 😀 there 😀. Привет мир. Ещё 日本. <b>bold</b> <i>. Bell \x07\x08. \ue000 ↯ ⊕. 🎉"
    notices = [notice for sentence in speak(text) for notice in sentence.notices]
    assert notices == [
        "emoji are left out, such as 😀 (grinning face)",
        "letters of other scripts (Cyrillic) are left out, such as Привет",
        "letters of other scripts (Cjk) are left out, such as 日本",
        "tags are left out, such as <b>",
        "control characters are left out, such as U+0007",
        "characters without a meaning are left out, such as U+E000",
        "symbols without a reading are left out, such as ↯ (downwards zigzag arrow)",
    ]


def test_plain_text_has_no_notices():
    text = "“It’s 5 o’clock,” he said (twice) — at St. John's [sic]; *really*… 50% of $5 & 3/4!"
    assert {s.notices for s in speak(text)} == {()}


def test_a_megabyte_in_one_line_needs_little_memory():
    """The sentences are read one by one: the memory does not grow with the text."""
    text = "the quick brown fox jumps over the lazy dog " * 25_000
    speak("warm up the dictionary.")
    tracemalloc.start()
    sentences = list(itertools.islice(text_to_phones(text), 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sentences) == 20
    assert peak < 5_000_000
