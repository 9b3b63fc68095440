"""Numbers in words, against an independent reader of these words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.speech.number_words import (
    LARGEST,
    cardinal,
    decimal,
    digit_words,
    ordinal,
    roman_number,
    year,
)

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = {word: i for i, word in enumerate(_SMALL.split())}
TENS = {word: 10 * i for i, word in enumerate(_TENS.split(), start=2)}
SCALES = ["thousand", "million", "billion", "trillion", "quadrillion"]


def value(words):
    """Return the number that the words of a cardinal mean."""
    total = group = 0
    for word in words:
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total += group * 1000 ** (SCALES.index(word) + 1)
            group = 0
        else:
            group += UNITS.get(word, TENS.get(word, 0))
    return total + group


@given(st.integers(0, LARGEST))
def test_the_words_of_a_number_mean_the_number(number):
    assert value(cardinal(number)) == number


@pytest.mark.parametrize("power", range(19))
def test_powers_of_ten_and_their_neighbours(power):
    for number in (10**power - 1, 10**power, 10**power + 1):
        if number <= LARGEST:
            assert value(cardinal(number)) == number


def test_larger_numbers_are_read_digit_by_digit():
    assert cardinal(LARGEST + 1) == ["one", *["zero"] * 18]
    assert decimal("9" * 5000) == ["nine"] * 5000


@given(st.integers(0, LARGEST))
def test_an_ordinal_differs_from_the_cardinal_only_in_its_last_word(number):
    *same, last = ordinal(number)
    *words, cardinal_last = cardinal(number)
    assert same == words
    assert last != cardinal_last
    assert last.endswith(("th", "first", "second", "third"))


def test_years():
    assert " ".join(year(1800)) == "eighteen hundred"
    assert " ".join(year(2000)) == "two thousand"
    assert " ".join(year(2010)) == "twenty ten"
    assert " ".join(year(1000)) == "one thousand"


def test_digits_of_any_script():
    assert digit_words("٣४5") == ["three", "four", "five"]


def to_roman(number):
    table = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L")]
    table += [(40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
    text = ""
    for size, letters in table:
        text, number = text + letters * (number // size), number % size
    return text


def test_roman_numerals_are_read_back():
    assert [roman_number(to_roman(number)) for number in range(1, 4000)] == list(range(1, 4000))


@pytest.mark.parametrize("text", ["", "IIII", "VX", "IC", "ABC", "iv", "MMMM"])
def test_other_letters_are_no_roman_numerals(text):
    assert roman_number(text) is None
