"""Tokens: what the acoustic model reads of a sentence, one token per phone and per pause.

    the start, phones of the first word, a pause or nothing, phones of the next word, ..., the end

A token has a symbol (a phone without stress, or a kind of pause), a stress, and two flags: it
begins a word, it ends a word. The last token is a pause whose kind is the mark at the end of the
sentence, so the melody of a question can differ. Input: a sentence of `text_to_phones`. Output:
tokens and the word of each. Called by the training and by `voice`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.speech.phones import PHONES, Pause, without_stress
from wavenet.speech.text_to_phones import SpokenSentence

START, GAP = "start", "gap"  # before the first word; a pause without a mark, only in recordings
PAUSES = {Pause.COMMA: ",", Pause.SEMICOLON: ";", Pause.SENTENCE: ".", Pause.PARAGRAPH: "."}
PAUSE_SYMBOLS = (START, GAP, ",", ";", ".", "?", "!")
SYMBOLS = (*PHONES, *PAUSE_SYMBOLS)
NO_STRESS = 0  # of a consonant or a pause; a vowel of stress s has s + 1
N_STRESSES = 4
N_FLAGS = 2
NO_WORD = -1

_INDEX = {symbol: n for n, symbol in enumerate(SYMBOLS)}


@dataclass(frozen=True)
class Token:
    """A phone or a pause.

    Attributes:
        symbol: one of `SYMBOLS`.
        stress: `NO_STRESS`, or 1 to 3 for the stresses 0 to 2.
        word: index of its word among the words as read; `NO_WORD` for a pause.
        begins_word, ends_word: its place in the word.
    """

    symbol: str
    stress: int = NO_STRESS
    word: int = NO_WORD
    begins_word: bool = False
    ends_word: bool = False

    @property
    def is_pause(self) -> bool:
        """Return whether it is no phone."""
        return self.symbol in PAUSE_SYMBOLS


def word_tokens(phones: Sequence[str], word: int) -> list[Token]:
    """Return the tokens of a word.

    Args:
        phones: symbols with stress, such as "AH0".
        word: its index.
    """
    tokens = []
    for n, symbol in enumerate(phones):
        base = without_stress(symbol)
        stress = NO_STRESS if base == symbol else int(symbol[-1]) + 1
        tokens.append(Token(base, stress, word, n == 0, n == len(phones) - 1))
    return tokens


def sentence_tokens(sentence: SpokenSentence) -> list[Token]:
    """Return the tokens of a sentence, with the pauses that its marks request."""
    tokens = [Token(START)]
    words = sentence.read_words
    for n, word in enumerate(words):
        tokens += word_tokens(word.phones, n)
        if word.pause in PAUSES and n < len(words) - 1:
            tokens.append(Token(PAUSES[word.pause]))
    return [*tokens, Token(end_symbol(sentence))]


def end_symbol(sentence: SpokenSentence) -> str:
    """Return the symbol of the pause at the end of a sentence."""
    if sentence.ending:
        return sentence.ending
    return PAUSES.get(sentence.pause, ",")


def encode_tokens(tokens: Iterable[Token]) -> Tensor:
    """Return the numbers of tokens (N, 4) int64: symbol, stress, begins a word, ends a word."""
    rows = [[_INDEX[t.symbol], t.stress, int(t.begins_word), int(t.ends_word)] for t in tokens]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2 + N_FLAGS)
