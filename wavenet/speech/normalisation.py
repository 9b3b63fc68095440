"""Read a sentence: from characters to words in lower case.

The sentence is scanned from left to right. At each place the first rule that matches returns the
words of the characters that it covers; so each word as read has its characters. Punctuation becomes
the pause after the word before it. What cannot be read is left out and reported.

In the words as read, a single capital is the name of a letter: "BBC" is read as "B B C".

Input: a sentence. Output: readings in order. Called by `text_to_phones.py`.
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass

from wavenet.speech import abbreviations as tables
from wavenet.speech.address_readers import (
    EMAIL,
    TAGGED,
    URL,
    name_words,
    read_address,
    read_tagged,
    trim_url,
)
from wavenet.speech.left_out import LeftOut
from wavenet.speech.number_readers import NUMBER_READERS, Neighbours
from wavenet.speech.number_words import (
    cardinal,
    decimal,
    digit_words,
    integer,
    ordinal,
    plural_word,
    roman_number,
)
from wavenet.speech.phones import Pause, parse_phones
from wavenet.speech.pronouncing_dictionary import load_dictionary

# Latin letters, their marks, and characters without width, which words of web pages contain.
_LETTER = "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿﬀ-ﬆＡ-Ｚａ-ｚ\u0300-\u036f\u00ad\u200b-\u200d\u2060\ufeff"
_WORD = re.compile(rf"['’](?:em|cause|til|tis|twas|bout)\b|[{_LETTER}]+(?:['’][{_LETTER}]+)*")
_DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]\b\.?|(?:[A-Za-z]\.){2,}|Ph\.?D\b\.?")
_MIXED = re.compile(
    r"[A-Za-z]+\d[A-Za-z\d]*|(?P<decimal>\d+\.\d+)[A-Za-z][A-Za-z\d]*|\d+[A-Za-z][A-Za-z\d]*"
)
_RUN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PREFIXED = re.compile(r"(re|pre|co|de)-([a-z]+)\b", re.IGNORECASE)
_AMPERSAND = re.compile(r"([A-Z]{1,3})&([A-Z]{1,3})\b")
_HYPHENATED = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)+")
# iOS, YouTube, MSc; but not names such as McGuffin
_INNER_CAPITAL = re.compile(
    r"(?!Mc|Mac[A-Z]|De|Di|Le|La|Du|Van|Fitz)[A-Za-z]*[a-z][A-Z]|[A-Z]{2,}[a-z]"
)
# without vowels, such as png; with a letter twice it is a sound, such as psst
_NO_WORD = re.compile(r"(?!.*(.)\1)[^aeiouy]{2,5}")
_DIGITS = re.compile(r"\d+")
_USER_WORD = re.compile(r"[^\W_]+(?:['’.+&-]*[^\W_]+)*\.?")
_FORCED = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_ABBREVIATED = re.compile(r"([A-Za-z]+)\.")
_WITH_SLASH = re.compile(r"w/o\b|w/(?!\w)|c/o\b|n/a\b", re.IGNORECASE)
_NEXT = re.compile(rf"[\s.,]*([{_LETTER}\d]+)")
_SPECIAL = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l"}
    | {"Ł": "L", "đ": "d", "Đ": "D", "ð": "th", "Ð": "TH", "þ": "th", "Þ": "TH", "ı": "i"}
    | {"ŋ": "ng", "Ŋ": "NG", "’": "'"}
)
_PAUSES = {
    **dict.fromkeys(",()[]–—…¡¿", Pause.COMMA),
    **dict.fromkeys(";:", Pause.SEMICOLON),
    **dict.fromkeys("!?", Pause.SEMICOLON),
    **dict.fromkeys("•‣◦\t", Pause.COMMA),
}
_NUMBER_STARTS = frozenset("-−+.(US$€£¥₹EGCJvV'‘’")
_SHOUTED = 3  # words in capitals that make a sentence without small letters a shouted one
_LONGEST_SPELLED = 4  # letters of an unknown word in capitals that is read by letters


@dataclass
class WordReading:
    """What is read for some characters.

    Attributes:
        start, end: the characters, in the sentence.
        words: in lower case, or single capitals for letters; "," is a short pause.
        phones: of a forced pronunciation, otherwise None.
        pause: after the last word.
    """

    start: int
    end: int
    words: list[str]
    phones: tuple[str, ...] | None = None
    pause: Pause = Pause.NONE


def fold(text: str) -> str:
    """Return Latin text in ASCII letters and apostrophes, without marks: "Café" is "Cafe"."""
    plain = unicodedata.normalize("NFKD", text.translate(_SPECIAL))
    return "".join(c for c in plain if c.isascii() and (c.isalpha() or c == "'"))


def read_sentence(
    text: str, left_out: LeftOut, user_words: Collection[str] = ()
) -> list[WordReading]:
    """Return the readings of a sentence in order.

    Args:
        text: one sentence.
        left_out: receives what is not read.
        user_words: words in lower case that have a pronunciation of the user.
    Raises:
        ConditionError: a forced pronunciation has an unknown phone.
    """
    return _Scanner(text, left_out, user_words).scan()


class _Scanner:
    """The place in a sentence, and the readings so far."""

    def __init__(self, text: str, left_out: LeftOut, user_words: Collection[str]):
        self.text = text
        self.left_out = left_out
        self.user_words = user_words
        self.readings: list[WordReading] = []
        self.at = 0
        words = re.findall(r"[A-Za-z]{2,}", text)
        self.is_shouted = len(words) >= _SHOUTED and not any(c.islower() for c in text)

    def scan(self) -> list[WordReading]:
        """Return the readings of the whole sentence."""
        rules: list[Callable[[], bool]] = [
            self._read_space,
            self._read_forced,
            self._read_tag,
            self._read_address,
            self._read_user_word,
            self._read_number,
            self._read_letters_and_digits,
            self._read_dotted,
            self._read_abbreviation,
            self._read_word,
            self._read_symbol,
            self._read_punctuation,
            self._read_other_digit_or_letter,
        ]
        while self.at < len(self.text):
            if not any(rule() for rule in rules):
                self._leave_out()
        return self.readings

    def _add(self, end: int, words: list[str], phones: tuple[str, ...] | None = None) -> bool:
        """Add a reading up to a character, and go there."""
        if words or phones:
            self.readings.append(WordReading(self.at, end, words, phones))
        self.at = end
        return True

    def _previous(self) -> str:
        """Return the word before the place as written, in ASCII, or ""."""
        if not self.readings:
            return ""
        last = self.readings[-1]
        return self.text[last.start : last.end].rstrip(".")

    def _next(self, end: int) -> str:
        """Return the word behind a character as written, or ""."""
        match = _NEXT.match(self.text, end)
        return match[1] if match else ""

    def _is_between_digits(self, end: int) -> bool:
        """Return whether digits stand before the place and behind `end`, apart from spaces."""
        before, after = self.text[: self.at].rstrip(), self.text[end:].lstrip().lstrip("$€£¥")
        if not after[:1].isdecimal():
            return False
        if before[-1:].isdecimal():
            return True
        return self._previous().lstrip("$€£¥")[:1].isdecimal() and not before[-1:].isspace()

    def _is_range(self, end: int) -> bool:
        """Return whether a dash means "to": without spaces, as in "Monday–Friday"."""
        before, after = self.text[self.at - 1 : self.at], self.text[end : end + 1]
        return (before.isalnum() or before == ".") and after.isalnum()

    def _read_space(self) -> bool:
        if not self.text[self.at].isspace():
            return False
        self.at += 1
        return True

    def _read_forced(self) -> bool:
        """[[HH AH0 L OW1]]."""
        match = _FORCED.match(self.text, self.at)
        if not match:
            return False
        return self._add(match.end(), [], parse_phones(match[1], f"the pronunciation {match[0]}"))

    def _read_tag(self) -> bool:
        match = _TAG.match(self.text, self.at)
        if not match:
            return False
        self.left_out.report_tag(match[0])
        self.at = match.end()
        return True

    def _read_address(self) -> bool:
        """E-mail addresses, URLs, hashtags."""
        text, at = self.text, self.at
        tagged = TAGGED.match(text, at)
        if tagged:
            words = read_tagged(tagged["mark"], fold_name(tagged["name"]))
            return self._add(tagged.end(), words)
        if not text[at].isalnum() or text[at - 1 : at].isalnum():
            return False
        match = EMAIL.match(text, at) or URL.match(text, at)
        if not match:
            return False
        url = trim_url(match[0])
        return self._add(at + len(url), read_address(url))

    def _read_user_word(self) -> bool:
        """A word that has a pronunciation of the user, with digits and hyphens if it has them."""
        if not self.user_words:
            return False
        match = _USER_WORD.match(self.text, self.at)
        if not match:
            return False
        for written in (match[0], match[0].rstrip(".")):
            word = written.lower().replace("’", "'")
            if word in self.user_words:
                return self._add(self.at + len(written), [word])
        return False

    def _read_number(self) -> bool:
        text, at = self.text, self.at
        if not text[at].isdecimal() and text[at] not in _NUMBER_STARTS:
            return False
        if text[at - 1 : at].isalpha():
            return False
        for pattern, reader in NUMBER_READERS:
            match = pattern.match(text, at)
            if match:
                words = reader(match, Neighbours(self._previous(), self._next(match.end())))
                if words is not None:
                    return self._add(match.end(), words)
        return False

    def _read_letters_and_digits(self) -> bool:
        """MP3, 4K, B2B, A380, iPhone15."""
        match = _MIXED.match(self.text, self.at)
        if not match:
            return False
        number = match["decimal"] or ""
        words = decimal(number) if number else []
        runs = _RUN.findall(match[0][len(number) :])
        if len(runs) == 2 and runs[1] == "s" and runs[0].isdecimal():
            *words, last = integer(runs[0])
            return self._add(match.end(), [*words, plural_word(last)])
        for run in runs:
            words += _code_words(run) if run[0].isdecimal() else name_words(run)
        return self._add(match.end(), words)

    def _read_dotted(self) -> bool:
        """U.S., e.g., p.m., Ph.D."""
        match = _DOTTED.match(self.text, self.at)
        if not match:
            return False
        words = tables.DOTTED.get(match[0].lower().rstrip(".") + ".", "")
        if words:
            return self._add(match.end(), words.split())
        return self._add(match.end(), [c for c in match[0].upper() if c.isalpha()])

    def _read_abbreviation(self) -> bool:
        """A word with its point: Mr., St., etc., Jan., No."""
        slash = _WITH_SLASH.match(self.text, self.at)
        if slash:
            return self._add(slash.end(), tables.WITH_SLASH[slash[0].lower()].split())
        match = _ABBREVIATED.match(self.text, self.at)
        if not match:
            return False
        words = self._expand(match[1], match.end())
        return bool(words) and self._add(match.end(), words.split())

    def _expand(self, token: str, end: int) -> str:
        """Return what an abbreviation before a point stands for, or ""."""
        lowered, after, before = token.lower(), self._next(end), self._previous()
        is_name_next = after[:1].isupper()
        if lowered in tables.STREET_READINGS:
            return self._street_or_title(lowered, before, after)
        if lowered in tables.TITLES and token[0].isupper() and is_name_next:
            return tables.TITLES[lowered]
        if lowered in tables.BEFORE_NUMBERS and after[:1].isdecimal():
            return tables.BEFORE_NUMBERS[lowered]
        is_certain = end < len(self.text) or lowered not in tables.ALSO_WORDS
        if lowered in tables.DATES and token[0].isupper() and is_certain:
            return tables.DATES[lowered]
        return tables.NEVER_LAST.get(lowered) or tables.OTHERS.get(lowered, "")

    def _street_or_title(self, token: str, before: str, after: str) -> str:
        """Return what "st" or "dr" means: street or saint, drive or doctor."""
        is_place = before[:1].isdecimal() or (
            before[:1].isupper() and before.lower() not in tables.STARTERS
        )
        is_name_next = after[:1].isupper() and after.lower() not in tables.STARTERS
        is_saint = after.lower() in tables.SAINTS
        is_title = is_name_next and (is_saint or token == "dr")
        if is_place and not is_title:
            return tables.STREET_READINGS[token]
        return tables.TITLES[token]

    def _read_word(self) -> bool:
        joined = _PREFIXED.match(self.text, self.at)
        if joined:
            return self._add(joined.end(), [joined[1].lower() + joined[2].lower()])
        ampersand = _AMPERSAND.match(self.text, self.at)
        if ampersand:
            return self._add(ampersand.end(), [*ampersand[1], "and", *ampersand[2]])
        hyphenated = _HYPHENATED.match(self.text, self.at)
        if hyphenated and hyphenated[0].lower() in load_dictionary():
            return self._add(hyphenated.end(), [hyphenated[0].lower()])
        match = _WORD.match(self.text, self.at)
        if not match:
            return False
        written, end = fold(match[0]), match.end()
        if not written.strip("'"):
            if any(c.isalpha() for c in match[0]):
                return False
            self.at = end  # only characters without width
            return True
        return self._add(end, self._word_words(written, end))

    def _word_words(self, written: str, end: int) -> list[str]:
        """Return the words of a word in ASCII."""
        lowered = written.lower()
        roman = self._roman_words(written, end)
        if roman:
            return roman
        if len(written) == 1:
            return [self._single_letter(written, end)]
        if lowered in tables.PLAIN and (written != lowered or lowered in ("vs", "etc")):
            return tables.PLAIN[lowered].split()
        is_dated = self._next(end)[:1].isdecimal() or self._previous()[:1].isdecimal()
        if lowered in tables.DATES and written[0].isupper() and is_dated:
            return [tables.DATES[lowered]]
        base, apostrophe, suffix = written.partition("'")
        is_plural = base[:-1].isupper() and base.endswith("s") and len(base) > 2
        if is_plural and not apostrophe and _is_spelled(base[:-1], False):
            return [*base[:-2], base[-2] + "'s"]
        if base.isupper() and len(base) > 1 and _is_spelled(base, self.is_shouted):
            if suffix.lower() == "s":
                return [*base[:-1], base[-1] + "'s"]
            return [*base, *suffix.upper()]
        if not apostrophe and lowered not in load_dictionary() and _NO_WORD.fullmatch(lowered):
            return list(written.upper())
        if lowered not in load_dictionary() and _INNER_CAPITAL.match(base):
            *runs, last = [word for run in _RUN.findall(base) for word in name_words(run)]
            return [*runs, last + apostrophe + suffix.lower()]
        return [lowered]

    def _single_letter(self, letter: str, end: int) -> str:
        """Return a letter as a word (a, I) or as its name."""
        if letter in "Ii":
            return "i"
        is_alone = not self._next(end) or self.text[end] in "/-+&"
        if letter == "a" or (letter == "A" and not self.readings and not is_alone):
            return "a"
        if letter == "A" and self.is_shouted and not is_alone:
            return "a"
        if letter in "xX" and self._is_between_digits(end):
            return "by"
        return letter.upper()

    def _roman_words(self, written: str, end: int) -> list[str]:
        """Return the words of a Roman numeral behind a name or a part of a book, or nothing."""
        base, apostrophe, suffix = written.partition("'")
        number = roman_number(base)
        before = self._previous()
        if number is None or not before or (suffix and suffix != "s"):
            return []
        ending = apostrophe + suffix
        if self._next(end).lower() in ("century", "centuries"):
            words = ordinal(number)
        elif before.lower() in tables.NUMBERED_PARTS and (before[0].isupper() or len(base) > 1):
            words = cardinal(number)
        elif before.lower() in tables.RULERS and before[0].isupper() and number < 30:
            if base == "I" and self._next(end).lower() in tables.AFTER_PRONOUN:
                return []
            words = ["the", *ordinal(number)]
        elif before[0].isupper() and len(base) > 1 and set(base) <= set("IVX") and number < 40:
            words = cardinal(number)
        else:
            return []
        return [*words[:-1], words[-1] + ending]

    def _read_symbol(self) -> bool:
        """&, =, %, ranges such as 10-12, Greek letters."""
        text, at = self.text, self.at
        character, end = text[at], at + 1
        if character in "-–" and self._is_between_digits(end):
            is_spaced = text[at - 1].isspace() and text[end].isspace()
            return self._add(end, ["minus" if is_spaced and character == "-" else "to"])
        if character == "–" and self._is_range(end):
            return self._add(end, ["to"])
        if character == "." and text[at - 1 : at].isalnum() and text[end : end + 1].islower():
            return self._add(end, ["dot"])
        if character == "*" and self._is_between_digits(end):
            return self._add(end, ["times"])
        if character == "#" and text[at - 1 : at] in tuple("ABCDEFG"):
            return self._add(end, ["sharp"])
        if character == "#" and text[end : end + 1].isdecimal():
            return self._add(end, ["number"])
        if character == "/" and not (text[at - 1 : at].isalnum() and text[end : end + 1].isalnum()):
            return False
        greek = tables.GREEK.get(character.lower())
        if greek and not text[end : end + 1].isalpha() and not text[at - 1 : at].isalpha():
            return self._add(end, [greek])
        words = tables.SYMBOLS_READ.get(character, "").split()
        return bool(words) and self._add(end, words)

    def _read_punctuation(self) -> bool:
        """Set the pause after the last reading."""
        text, at = self.text, self.at
        character = text[at]
        pause = _PAUSES.get(character)
        end = at + 1
        if character == "-" and text[at - 1 : at] in ("", " ", "-"):
            pause = Pause.COMMA  # a dash
        if text.startswith("...", at):
            pause, end = Pause.COMMA, at + 3
        if pause is None:
            return False
        if self.readings:
            self.readings[-1].pause = max(self.readings[-1].pause, pause)
        self.at = end
        return True

    def _read_other_digit_or_letter(self) -> bool:
        """Digits that no reader accepts, and raised or lowered ones such as ₂ or ⁿ."""
        digits = _DIGITS.match(self.text, self.at)
        if digits:
            return self._add(digits.end(), integer(digits[0]))
        character = unicodedata.normalize("NFKD", self.text[self.at])
        if character.isdecimal():
            return self._add(self.at + 1, digit_words(character))
        letters = fold(self.text[self.at]).upper()
        return letters.isalpha() and self._add(self.at + 1, list(letters))

    def _leave_out(self) -> None:
        """Go over a character, or a run of letters of another script, and report it."""
        text, end = self.text, self.at + 1
        if text[self.at].isalpha():
            while end < len(text) and text[end].isalpha() and not text[end].isascii():
                end += 1
        self.left_out.report_characters(text[self.at : end])
        self.at = end


def fold_name(name: str) -> str:
    """Return a name with @ or # with its Latin letters in ASCII; digits and underscores stay."""
    return "".join(c if c.isdecimal() or c == "_" else fold(c) for c in name)


def _is_spelled(word: str, is_shouted: bool) -> bool:
    """Return whether a word in capitals is read by letters."""
    lowered = word.lower()
    if lowered in tables.SPELLED and not is_shouted:
        return True
    if lowered in load_dictionary():
        return False
    return len(word) <= _LONGEST_SPELLED or not re.search("[AEIOUY]", word)


def _code_words(digits: str) -> list[str]:
    """Return the words of digits in a code: A380 is "A three eighty"."""
    if len(digits) <= 2 and digits[0] != "0":
        return integer(digits)
    if len(digits) in (3, 4) and digits[0] != "0" and digits[-2:] != "00":
        rest = int(digits[-2:])
        return [
            *cardinal(int(digits[:-2])),
            *(["oh"] if rest < 10 else []),
            *cardinal(rest),
        ]
    return integer(digits) if digits.endswith("00") else digit_words(digits)
