"""Tokens of sentences: phones, stress, pauses, the end."""

import pytest

from wavenet.speech.text_to_phones import text_to_phones
from wavenet.speech.tokens import (
    NO_WORD,
    START,
    SYMBOLS,
    Token,
    encode_tokens,
    sentence_tokens,
    word_tokens,
)


def tokens_of(text: str) -> list[Token]:
    (sentence,) = text_to_phones(text)
    return sentence_tokens(sentence)


def test_a_word_has_a_token_per_phone() -> None:
    assert word_tokens(("HH", "AH0", "L", "OW1"), 3) == [
        Token("HH", 0, 3, True, False),
        Token("AH", 1, 3, False, False),
        Token("L", 0, 3, False, False),
        Token("OW", 2, 3, False, True),
    ]
    assert word_tokens(("AH0",), 0) == [Token("AH", 1, 0, True, True)]


def test_pauses_stand_where_marks_are() -> None:
    tokens = tokens_of("So, a cat; a dog")
    pauses = [token.symbol for token in tokens if token.is_pause]
    assert pauses == [START, ",", ";", "."]
    assert tokens[0].word == tokens[-1].word == NO_WORD
    words = [token.word for token in tokens if not token.is_pause]
    assert sorted(set(words)) == [0, 1, 2, 3, 4]
    assert words == sorted(words)


@pytest.mark.parametrize(("text", "symbol"), [("Go.", "."), ("Go?", "?"), ("Go!", "!")])
def test_the_last_token_is_the_mark_of_the_sentence(text: str, symbol: str) -> None:
    assert tokens_of(text)[-1].symbol == symbol


def test_tokens_are_encoded_as_numbers() -> None:
    tokens = tokens_of("Hello.")
    numbers = encode_tokens(tokens)
    assert numbers.shape == (len(tokens), 4)
    assert [SYMBOLS[n] for n in numbers[:, 0].tolist()] == [START, "HH", "AH", "L", "OW", "."]
    assert numbers[:, 1].tolist() == [0, 0, 1, 0, 2, 0]
    assert numbers[:, 2].tolist() == [0, 1, 0, 0, 0, 0]
    assert numbers[:, 3].tolist() == [0, 0, 0, 0, 1, 0]
    assert encode_tokens([]).shape == (0, 4)
