"""The phones of American English, as ARPAbet symbols with stress.

39 phones: 15 vowels, each with a stress 0, 1 or 2, and 24 consonants. `HH AH0 L OW1` is "hello". A
pause is not a phone; it stands between words, with a strength. Called by all files of this package.

Source: the phone set of the CMU Pronouncing Dictionary, 0.7b.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from wavenet.errors import ConditionError
from wavenet.user_input.close_names import find_close_name


class PhoneClass(enum.StrEnum):
    """How a phone is articulated."""

    VOWEL = "vowel"
    DIPHTHONG = "diphthong"
    STOP = "stop"
    AFFRICATE = "affricate"
    FRICATIVE = "fricative"
    NASAL = "nasal"
    LIQUID = "liquid"
    GLIDE = "glide"


class Pause(enum.IntEnum):
    """The strength of the pause after a word; a stronger pause has a larger number."""

    NONE = 0
    COMMA = 1  # also brackets, dashes, quotation marks
    SEMICOLON = 2  # also colons
    SENTENCE = 3
    PARAGRAPH = 4


@dataclass(frozen=True)
class Phone:
    """One phone without stress.

    Attributes:
        symbol: in ARPAbet, such as "AH".
        phone_class: how it is articulated.
        is_voiced: the vocal folds vibrate.
        example: a word that contains it.
    """

    symbol: str
    phone_class: PhoneClass
    is_voiced: bool
    example: str

    @property
    def is_vowel(self) -> bool:
        """Return whether the phone carries a stress."""
        return self.phone_class in (PhoneClass.VOWEL, PhoneClass.DIPHTHONG)


def _phones(phone_class: PhoneClass, is_voiced: bool, examples: str) -> list[Phone]:
    """Return phones from pairs of symbol and example."""
    pairs = (pair.split(":") for pair in examples.split())
    return [Phone(symbol, phone_class, is_voiced, example) for symbol, example in pairs]


_ALL = [
    *_phones(
        PhoneClass.VOWEL,
        True,
        "AA:odd AE:at AH:hut AO:ought EH:red ER:hurt IH:it IY:eat UH:hood UW:two",
    ),
    *_phones(PhoneClass.DIPHTHONG, True, "AW:cow AY:hide EY:ate OW:oat OY:toy"),
    *_phones(PhoneClass.STOP, False, "P:pea T:tea K:key"),
    *_phones(PhoneClass.STOP, True, "B:be D:dee G:green"),
    *_phones(PhoneClass.AFFRICATE, False, "CH:cheese"),
    *_phones(PhoneClass.AFFRICATE, True, "JH:gee"),
    *_phones(PhoneClass.FRICATIVE, False, "F:fee TH:theta S:sea SH:she HH:he"),
    *_phones(PhoneClass.FRICATIVE, True, "V:vee DH:thee Z:zoo ZH:seizure"),
    *_phones(PhoneClass.NASAL, True, "M:me N:knee NG:ping"),
    *_phones(PhoneClass.LIQUID, True, "L:lee R:read"),
    *_phones(PhoneClass.GLIDE, True, "W:we Y:yield"),
]
PHONES = {phone.symbol: phone for phone in _ALL}
STRESSES = "012"  # none, primary, secondary
# All symbols in pronunciations: vowels with stress, consonants without.
SYMBOLS = tuple(
    f"{phone.symbol}{stress}" for phone in _ALL for stress in (STRESSES if phone.is_vowel else [""])
)
_KNOWN = frozenset(SYMBOLS)


def without_stress(symbol: str) -> str:
    """Return a symbol without its stress: "AH" of "AH0"."""
    return symbol.rstrip(STRESSES)


def phone_of(symbol: str) -> Phone:
    """Return the phone of a symbol, with or without stress."""
    return PHONES[without_stress(symbol)]


def parse_phones(text: str | Iterable[str], source: str) -> tuple[str, ...]:
    """Return the symbols of a pronunciation that a user wrote.

    Args:
        text: symbols between spaces, in upper or lower case, such as "HH AH0 L OW1".
        source: what the errors name: the place where the text stands.
    Raises:
        ConditionError: no symbol, or one that is unknown; a vowel without stress or a consonant
            with one.
    """
    words = text.split() if isinstance(text, str) else [str(word) for word in text]
    symbols = tuple(word.upper() for word in words)
    if not symbols:
        raise ConditionError(f"{source} has no phones; write them like HH AH0 L OW1")
    for symbol in symbols:
        if symbol not in _KNOWN:
            raise ConditionError(f"{source}: {_explain(symbol)}")
    return symbols


def _explain(symbol: str) -> str:
    """Return why a symbol is not one of `SYMBOLS`, and what to write."""
    if symbol in PHONES:
        return f"the vowel {symbol!r} has no stress; write {symbol}0, {symbol}1 or {symbol}2"
    base = without_stress(symbol)
    if base in PHONES and not PHONES[base].is_vowel:
        return f"the consonant {symbol!r} has a stress; write {base}"
    close = find_close_name(symbol, SYMBOLS)
    hint = f"; did you mean {close}?" if close else f"; the phones are {', '.join(PHONES)}"
    return f"{symbol!r} is not a phone{hint}"
