"""Numbers with their signs and units: money, times, dates, telephone numbers, fractions.

A reader is a pattern and a function that returns the words of a match, or None if it is something
else after all. A single capital in the words is the name of a letter; "," is a short pause. Called
by `normalisation.py`, which tries the readers in the order of `NUMBER_READERS`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from wavenet.speech.abbreviations import (
    CURRENCIES,
    MONTH_NAMES,
    MONTHS,
    SCALES,
    SPACED_LETTERS,
    UNITS,
)
from wavenet.speech.number_words import (
    cardinal,
    decade,
    decimal,
    digit_words,
    integer,
    ordinal,
    ordinal_word,
    plural_word,
    year,
)

PAUSE = ","


def _words(text: str) -> list[str]:
    return text.split()


# With commas between groups, or a plain number; a point without digits is not part of it.
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_SIGN = r"(?P<sign>(?<![\w)])[-−+])?"
_SIGN_WORDS = {"-": ["minus"], "−": ["minus"], "+": ["plus"]}
_SYMBOLS = r"US\$|[$€£¥₹]"
_CODES = r"USD|EUR|GBP|CHF|JPY"
_SCALE = r"(?:\s?(?P<scale>thousand|million|billion|trillion|mn|bn|tn|[kKmMbBT])(?![A-Za-z]))?"
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
VULGAR = dict(zip("½⅓⅔¼¾⅛⅜⅝⅞", _words("1/2 1/3 2/3 1/4 3/4 1/8 3/8 5/8 7/8"), strict=True))
_LARGE_PARTS = {30, 32, 40, 50, 60, 64, 100, 128, 1000}
_NOT_FRACTIONS = {"24/7", "9/11"}


@dataclass(frozen=True)
class Neighbours:
    """The words around a number, as written without their points.

    Attributes:
        before: the word before it, or "".
        after: the word after it, or "".
    """

    before: str
    after: str


Words = list[str]
Reader = Callable[[re.Match[str], Neighbours], Words | None]


def _read_money(match: re.Match[str], neighbours: Neighbours) -> Words | None:
    """$3.50, €1.2 million, 5 €, USD 20, -$5."""
    currency = match["before"] if "before" in match.groupdict() else match["behind"]
    singular, plural, cent, cents = CURRENCIES[currency]
    sign = _SIGN_WORDS.get(match["sign"] or "", [])
    number = match["number"].replace(",", "")
    if match["scale"]:
        noun = singular if neighbours.before.lower() in ("a", "an") else plural
        return [*sign, *decimal(number), SCALES[match["scale"]], *noun.split()]
    whole, _, fraction = number.partition(".")
    if fraction and len(fraction) != 2:
        return [*sign, *decimal(number), *plural.split()]
    is_one = whole == "1" or (neighbours.before.lower() in ("a", "an") and not fraction)
    words = [*integer(whole or "0"), *(singular if is_one else plural).split()]
    if not fraction or int(fraction) == 0:
        return [*sign, *words]
    rest = [*cardinal(int(fraction)), cent if int(fraction) == 1 else cents]
    return [*sign, *rest] if whole.strip("0") == "" else [*sign, *words, "and", *rest]


def _read_time(match: re.Match[str], _: Neighbours) -> Words | None:
    """5:30, 17:00, 5:05 pm, 1:02:03."""
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 24:
        return None
    half = _half_of_day(match["half"])
    words = cardinal(hour)
    if minute:
        words += ["oh", *cardinal(minute)] if minute < 10 else cardinal(minute)
    elif match["second"]:
        words += ["hundred"]
    elif not half:
        words += ["o'clock"] if 0 < hour <= 12 else ["hundred"]
    if match["second"]:
        seconds = int(match["second"])
        words += ["and", *cardinal(seconds), "second" if seconds == 1 else "seconds"]
    return words + half


def _read_hour(match: re.Match[str], _: Neighbours) -> Words | None:
    """5 pm, 11 a.m."""
    hour = int(match["hour"])
    return [*cardinal(hour), *_half_of_day(match["half"])] if 1 <= hour <= 12 else None


def _half_of_day(text: str | None) -> Words:
    return [letter for letter in (text or "").upper() if letter.isalpha()]


def _read_ratio(match: re.Match[str], _: Neighbours) -> Words:
    """3:1."""
    return [*integer(match["first"]), "to", *integer(match["second"])]


def _read_iso_date(match: re.Match[str], _: Neighbours) -> Words | None:
    """2024-03-05."""
    return _date(match["year"], int(match["month"]), int(match["day"]))


def _read_slash_date(match: re.Match[str], _: Neighbours) -> Words | None:
    """3/5/2024: the month is first, unless it cannot be."""
    month, day = int(match["month"]), int(match["day"])
    return _date(match["year"], month, day) or _date(match["year"], day, month)


def _date(year_digits: str, month: int, day: int) -> Words | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    number = int(year_digits)
    if len(year_digits) == 4:
        words = year(number)
    else:
        words = ["oh", *cardinal(number)] if number < 10 else cardinal(number)
    return [MONTHS[month - 1], *ordinal(day), PAUSE, *words]


def _read_telephone(match: re.Match[str], _: Neighbours) -> Words:
    """(555) 123-4567, +44 20 7946 0958: digit by digit, with pauses between the groups."""
    words: Words = ["plus"] if match[0].startswith("+") else []
    for index, group in enumerate(re.findall(r"\d+", match[0])):
        words += [PAUSE] * (index > 0) + digit_words(group)
    return words


def _read_version(match: re.Match[str], _: Neighbours) -> Words:
    """1.2.3, v2.0, 192.168.0.1: four numbers are an address."""
    parts = re.findall(r"\d+", match[0])
    words: Words = ["version"] if match[0][0] in "vV" else []
    for index, part in enumerate(parts):
        words += ["dot" if len(parts) == 4 else "point"] * (index > 0) + integer(part)
    return words


def _read_fraction(match: re.Match[str], _: Neighbours) -> Words:
    """3/4, 2 1/2; other numbers with a slash are read with the word slash."""
    return _fraction(match["whole"], f"{match['top']}/{match['bottom']}")


def _read_vulgar_fraction(match: re.Match[str], _: Neighbours) -> Words:
    """2½."""
    return _fraction(match["whole"], VULGAR[match["vulgar"]])


def _fraction(whole: str | None, ratio: str) -> Words:
    top, bottom = map(int, ratio.split("/"))
    prefix = [*integer(whole), "and"] if whole else []
    is_usual = 0 < top < bottom and (bottom <= 20 or bottom in _LARGE_PARTS)
    if ratio in _NOT_FRACTIONS or not is_usual:
        middle = ["slash"] if ratio not in _NOT_FRACTIONS else []
        return [*(integer(whole) if whole else []), *cardinal(top), *middle, *cardinal(bottom)]
    if bottom == 2:
        return [*prefix, "a" if whole else "one", "half"]
    *words, last = ["quarter"] if bottom == 4 else cardinal(bottom)
    words = words[1:] if bottom in (100, 1000) else words  # "hundredths"
    last = last if bottom == 4 else ordinal_word(last)
    return [*prefix, *cardinal(top), *words, last if top == 1 else plural_word(last)]


def _read_month(match: re.Match[str], _: Neighbours) -> Words | None:
    """11/2020."""
    month, number = int(match["month"]), int(match["year"])
    return [MONTHS[month - 1], *year(number)] if 1 <= month <= 12 else None


def _read_scaled(match: re.Match[str], _: Neighbours) -> Words | None:
    """20k, 5M, 3.2B, 1.5x; without a decimal point, 4K and 5B are codes."""
    number, letter = match["number"], match["letter"]
    if letter in "KBT" and "." not in number:
        return None
    return [*decimal(number), "times" if letter in "xX" else SCALES[letter]]


def _read_power(match: re.Match[str], _: Neighbours) -> Words:
    """1.5e-6, 10^3."""
    base, exponent = match["base"], match["exponent"]
    sign = _SIGN_WORDS.get(exponent[0], [])
    words = [*decimal(base), *(["times", "ten"] if match["mark"] in "eE" else [])]
    return [*words, "to", "the", "power", "of", *sign, *integer(exponent.lstrip("+-−"))]


def _read_decade(match: re.Match[str], _: Neighbours) -> Words:
    """the 1990s, the '90s, 80s."""
    return decade(int(match["decade"]))


def _read_ordinal(match: re.Match[str], _: Neighbours) -> Words:
    """21st."""
    number = int(match["number"].replace(",", ""))
    return ordinal(number)


def _read_height(match: re.Match[str], _: Neighbours) -> Words:
    """5'10"."""
    feet, inches = int(match["feet"]), int(match["inches"])
    unit = "inch" if inches == 1 else "inches"
    return [*cardinal(feet), "foot" if feet == 1 else "feet", *cardinal(inches), unit]


def _read_units(match: re.Match[str], _: Neighbours) -> Words | None:
    """5 km/h, 20 °C, 10%, 3 m²."""
    unit = match["unit"]
    if match["space"] and len(unit) == 1 and unit.isalpha() and unit not in SPACED_LETTERS:
        return None
    number = match["number"]
    singular, plural = UNITS[unit]
    words = (singular if number == "1" else plural).split()
    power = match["power"]
    if power and not match["per"]:
        words = ["square" if power in "²2" else "cubic", *words]
    sign = _SIGN_WORDS.get(match["sign"] or "", [])
    words = [*sign, *decimal(number), *words]
    if match["per"]:
        words += ["per", *UNITS[match["per"]][0].split()]
        words += {"²": ["squared"], "³": ["cubed"]}.get(power or "", [])
    return words


def _read_number(match: re.Match[str], neighbours: Neighbours) -> Words:
    """5, -3.5, 1,000, 1999; near the name of a month a day."""
    text = match["number"]
    sign = _SIGN_WORDS.get(match["sign"] or "", [])
    if sign or not text.isdecimal() or (text[0] == "0" and len(text) > 1):
        return [*sign, *decimal(text)]
    if len(text) > 2:
        return _read_year_or_number(text, neighbours)
    if 1 <= int(text) <= 31:
        if _is_month(neighbours.before):
            return ordinal(int(text))
        if _is_month(neighbours.after):
            the = [] if neighbours.before.lower() == "the" else ["the"]
            return [*the, *ordinal(int(text)), "of"]
    return integer(text)


def _is_month(word: str) -> bool:
    return word[:1].isupper() and word.lower() in MONTH_NAMES


# Before these, four digits are a number; behind those, a year.
_COUNTED = frozenset(
    _words(
        "people men women children dollars euros pounds times samples miles meters kilometers feet "
        "pages words steps points hours days years units copies votes students seats"
    )
)
_BEFORE_YEARS = frozenset(_words("in since until by from before after of a.d year around circa"))


def _read_year_or_number(text: str, neighbours: Neighbours) -> Words:
    if len(text) != 4 or neighbours.after.lower() in _COUNTED:
        return integer(text)
    number = int(text)
    is_usual = 1100 <= number <= 2099
    if is_usual or neighbours.before.lower() in _BEFORE_YEARS or _is_month(neighbours.before):
        return year(number)
    return cardinal(number)


_HALF = r"[ap]\.?\s?m\b\.?|[AP]\.?\s?M\b\.?"
_END = r"(?![^\W_])"
# The order matters: the first pattern whose reader accepts the match is used.
NUMBER_READERS: list[tuple[re.Pattern[str], Reader]] = [
    (re.compile(pattern), reader)
    for pattern, reader in [
        (
            rf"(?:\+?1[-. ]?)?\(\d{{3}}\)\s?\d{{3}}[-. ]\d{{4}}{_END}"
            rf"|(?:\+?1[-. ])?\d{{3}}[-. ]\d{{3}}[-. ]\d{{4}}{_END}|\d{{3}}-\d{{4}}{_END}"
            rf"|\+\d{{1,3}}(?:[-. ]?\(?\d{{1,4}}\)?){{2,6}}{_END}(?!\.\d)",
            _read_telephone,
        ),
        (r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?![^\W_]|-)", _read_iso_date),
        (
            r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4}|\d\d)(?![^\W_]|/)",
            _read_slash_date,
        ),
        (
            r"(?P<hour>\d\d?):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])"
            rf"(?:\s?(?P<half>{_HALF}))?",
            _read_time,
        ),
        (rf"(?P<hour>\d\d?)\s?(?P<half>{_HALF})", _read_hour),
        (rf"(?P<first>\d+):(?P<second>\d+){_END}(?!:)", _read_ratio),
        (rf"{_SIGN}(?P<before>{_SYMBOLS})\s?(?P<number>{NUMBER}){_SCALE}(?!\d)", _read_money),
        (rf"{_SIGN}(?P<before>{_CODES})\s?(?P<number>{NUMBER}){_SCALE}{_END}", _read_money),
        (
            rf"{_SIGN}(?P<number>{NUMBER}){_SCALE}\s?(?P<behind>{_SYMBOLS}|{_CODES}){_END}(?!\d)",
            _read_money,
        ),
        (rf"\d+(?:\.\d+){{2,}}{_END}|[vV]\d+(?:\.\d+)+{_END}", _read_version),
        (
            r"(?P<base>\d+(?:\.\d+)?)(?P<mark>[eE^])(?P<exponent>[-+−]?\d+)(?![^\W_])",
            _read_power,
        ),
        (r"(?P<month>\d\d?)/(?P<year>(?:19|20)\d\d)(?![^\W_]|/)", _read_month),
        (rf"(?P<number>{NUMBER})(?P<letter>k|K|M|B|T|bn|tn|[xX]){_END}", _read_scaled),
        (
            r"(?:(?P<whole>\d{1,3})\s)?(?P<top>\d{1,3})/(?P<bottom>\d{1,4})(?![^\W_]|/)",
            _read_fraction,
        ),
        (rf"(?P<whole>\d+)\s?(?P<vulgar>[{''.join(VULGAR)}])", _read_vulgar_fraction),
        (r"['‘’]?(?P<decade>(?:\d\d)?\d0)['’]?s\b", _read_decade),
        (r"(?P<number>\d+(?:,\d{3})*)(?:st|nd|rd|th|ST|ND|RD|TH)\b", _read_ordinal),
        (r"(?P<feet>\d)['′](?P<inches>\d\d?)(?:\"|″|'')", _read_height),
        (
            rf"{_SIGN}(?P<number>{NUMBER})(?P<space>[\s\u202f]?)(?P<unit>{_UNIT})"
            rf"(?:/(?P<per>{_UNIT}))?(?P<power>[²³])?(?![^\W_]|[²³])",
            _read_units,
        ),
        (rf"{_SIGN}(?P<number>{NUMBER}){_END}(?!\.\d)", _read_number),
    ]
]
