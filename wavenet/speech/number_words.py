"""Numbers in English words.

Input: integers, or digits as text. Output: lists of words in lower case. Called by the files that
read numbers: `number_readers.py`, `normalisation.py`.
"""

import re
import unicodedata

_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS_WORDS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL, _TENS = _SMALL_WORDS.split(), _TENS_WORDS.split()
_SCALES = ["", "thousand", "million", "billion", "trillion", "quadrillion"]
LARGEST = 10**18 - 1  # larger numbers are read digit by digit
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def cardinal(number: int) -> list[str]:
    """Return a number in words: 1,205 is "one thousand two hundred five".

    Args:
        number: of any size; beyond `LARGEST` its digits are read one by one.
    """
    if number < 0:
        return ["minus", *cardinal(-number)]
    if number > LARGEST:
        return digit_words(str(number))
    if number < 20:
        return [_SMALL[number]]
    words: list[str] = []
    for power in range(len(_SCALES) - 1, -1, -1):
        group = number // 1000**power % 1000
        if group:
            words += _below_thousand(group) + [_SCALES[power]] * (power > 0)
    return words


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10])
        rest %= 10
    return words + ([_SMALL[rest]] if rest else [])


def ordinal(number: int) -> list[str]:
    """Return the ordinal of a number: 21 is "twenty first"."""
    *words, last = cardinal(number)
    return [*words, ordinal_word(last)]


def ordinal_word(word: str) -> str:
    """Return the ordinal of the last word of a number: "twenty" becomes "twentieth"."""
    if word in _IRREGULAR_ORDINALS:
        return _IRREGULAR_ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"


def plural_word(word: str) -> str:
    """Return the plural of the last word of a number: "sixty" becomes "sixties"."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("x", "s")) else "s")


def year(number: int) -> list[str]:
    """Return a year in words: 1999 is "nineteen ninety nine", 2005 "two thousand five"."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or 2000 <= number <= 2009 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return [*cardinal(century), "hundred"]
    return [*cardinal(century), *(["oh"] if rest < 10 else []), *cardinal(rest)]


def decade(number: int) -> list[str]:
    """Return a decade in words: 1990 is "nineteen nineties", 90 is "nineties"."""
    *words, last = year(number)
    return [*words, plural_word(last)]


def digit_words(digits: str) -> list[str]:
    """Return the words of digits one by one, of any script; other characters are left out."""
    return [_SMALL[unicodedata.digit(c)] for c in digits if c.isdecimal()]


def decimal(text: str) -> list[str]:
    """Return the words of a number without sign: "1,234.50" is "... point five zero".

    Args:
        text: digits, possibly with commas between groups of three, possibly with a decimal point.
    """
    whole, point, fraction = text.replace(",", "").partition(".")
    words = integer(whole) if whole or not point else ["zero"]
    return [*words, "point", *digit_words(fraction)] if point and fraction else words


def integer(digits: str) -> list[str]:
    """Return the words of digits; those with a leading zero, or too many, are read one by one."""
    # int() refuses more than 4300 digits
    is_code = len(digits) > 1 and unicodedata.digit(digits[0]) == 0
    if is_code or len(digits) > len(str(LARGEST)):
        return digit_words(digits)
    return cardinal(int(digits))


def roman_number(text: str) -> int | None:
    """Return the value of a Roman numeral in capitals from 1 to 3999, or None."""
    if not text or not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUES[letter] for letter in text]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))
