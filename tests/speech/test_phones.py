"""The phone set, and pronunciations that a user writes."""

import pytest

from wavenet.errors import ConditionError
from wavenet.speech.phones import PHONES, SYMBOLS, PhoneClass, parse_phones, phone_of
from wavenet.speech.pronouncing_dictionary import load_dictionary


def test_there_are_39_phones_and_stress_on_the_15_vowels_only():
    vowels = [phone for phone in PHONES.values() if phone.is_vowel]
    assert (len(PHONES), len(vowels)) == (39, 15)
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 15 * 3 + 24
    assert {"AH0", "AH1", "AH2", "K"} <= set(SYMBOLS)
    assert not {"AH", "K0"} & set(SYMBOLS)


def test_the_symbols_are_those_of_the_dictionary():
    dictionary = load_dictionary()
    used = {s for word in dictionary.words() for p in dictionary.look_up(word) for s in p}
    assert used == set(SYMBOLS)


def test_every_phone_occurs_in_its_example():
    for phone in PHONES.values():
        (pronunciation, *_) = load_dictionary().look_up(phone.example)
        variants = load_dictionary().look_up(phone.example)
        found = {phone_of(symbol) for variant in variants for symbol in variant}
        assert phone in found, (phone.symbol, phone.example, pronunciation)


def test_classes_and_voicing():
    assert phone_of("AY1").phone_class is PhoneClass.DIPHTHONG
    assert not phone_of("P").is_voiced
    assert phone_of("B").is_voiced
    unvoiced = {phone.symbol for phone in PHONES.values() if not phone.is_voiced}
    assert unvoiced == {"P", "T", "K", "CH", "F", "TH", "S", "SH", "HH"}


def test_phones_of_a_user_are_read_in_any_case():
    assert parse_phones("hh ah0 l OW1", "x") == ("HH", "AH0", "L", "OW1")
    assert parse_phones(["HH", "AH0"], "x") == ("HH", "AH0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x has no phones; write them like HH AH0 L OW1"),
        ("HH AH L", "x: the vowel 'AH' has no stress; write AH0, AH1 or AH2"),
        ("HH1", "x: the consonant 'HH1' has a stress; write HH"),
        ("AH3 L", "x: 'AH3' is not a phone"),
        ("QX", "x: 'QX' is not a phone; the phones are AA, AE, AH"),
    ],
)
def test_an_unknown_phone_is_one_sentence_that_names_it(text, message):
    with pytest.raises(ConditionError) as error:
        parse_phones(text, "x")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
