"""Tables of abbreviations, units, symbols and names, and how they are read.

Called by `sentences.py`, `normalisation.py` and `number_readers.py`. In the words as read, a single
capital is the name of a letter: "B B C".
"""


def _words(text: str) -> list[str]:
    return text.split()


# With a capital, a point, and a name after them: the point ends no sentence.
TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "messrs": "messers",
    "prof": "professor",
    "rev": "reverend",
    "hon": "honorable",
    "gen": "general",
    "col": "colonel",
    "maj": "major",
    "capt": "captain",
    "cpt": "captain",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "cpl": "corporal",
    "pvt": "private",
    "cmdr": "commander",
    "adm": "admiral",
    "gov": "governor",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "fr": "father",
    "supt": "superintendent",
    "mt": "mount",
    "ft": "fort",
    "dr": "doctor",
    "st": "saint",
}
# With a point that ends no sentence, whatever follows.
NEVER_LAST = {
    "vs": "versus",
    "viz": "namely",
    "cf": "compare",
    "ca": "circa",
    "approx": "approximately",
    "al": "al",
}
# Abbreviations only before a number; some of them are words too.
BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "p": "page",
    "pp": "pages",
    "art": "article",
    "fig": "figure",
    "figs": "figures",
    "eq": "equation",
    "vol": "volume",
    "ch": "chapter",
    "sec": "section",
}
# The point may also end the sentence, if the next word begins one.
OTHERS = {
    "etc": "et cetera",
    "jr": "junior",
    "sr": "senior",
    "inc": "incorporated",
    "ltd": "limited",
    "corp": "corporation",
    "co": "company",
    "bros": "brothers",
    "dept": "department",
    "univ": "university",
    "assn": "association",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "hwy": "highway",
    "apt": "apartment",
    "tel": "telephone",
    "ext": "extension",
}
# The same with a capital only, and not at the end of a sentence: some of them are words too.
DATES = {
    "jan": "january",
    "feb": "february",
    "mar": "march",
    "apr": "april",
    "jun": "june",
    "jul": "july",
    "aug": "august",
    "sep": "september",
    "sept": "september",
    "oct": "october",
    "nov": "november",
    "dec": "december",
    "mon": "monday",
    "tue": "tuesday",
    "tues": "tuesday",
    "wed": "wednesday",
    "thu": "thursday",
    "thur": "thursday",
    "thurs": "thursday",
    "fri": "friday",
    "sat": "saturday",
    "sun": "sunday",
}
# Words with several points.
DOTTED = {
    "e.g.": "for example",
    "i.e.": "that is",
    "a.k.a.": "A K A",
    "ph.d.": "P H D",
}
# Without a point.
PLAIN = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "vs": "versus",
    "etc": "et cetera",
    "phd": "P H D",
    "jr": "junior",
    "sr": "senior",
}
WITH_SLASH = {"w/o": "without", "w/": "with", "c/o": "care of", "n/a": "N A"}
# These dates are words too: expanded at the end of a sentence only if they are no such word.
ALSO_WORDS = frozenset(_words("mar sun sat wed"))
STREET_READINGS = {"st": "street", "dr": "drive"}
# After a capitalised word, St. is a saint only before these: "Downtown St. Louis".
SAINTS = frozenset(
    _words(
        "louis paul petersburg john johns peter james mary george joseph thomas patrick nicholas "
        "andrew andrews michael francis helena lucia martin moritz albans pancras lawrence "
        "augustine clair kitts vincent bernard elmo ives nick mark luke anne anthony"
    )
)
# A sentence that follows an abbreviation usually begins with one of these.
STARTERS = frozenset(
    _words(
        "the a an it he she they we you i this that these those there then but and so if in on "
        "at as when where who what why how my his her our their its no yes not now after before "
        "while for with from by to however some all many most one let please do does did is are "
        "was were"
    )
)
MONTHS = _words(
    "january february march april may june july august september october november december"
)
MONTH_NAMES = frozenset([*MONTHS, *_words("jan feb mar apr jun jul aug sep sept oct nov dec")])
# A Roman numeral after these is an ordinal: "Henry the eighth".
RULERS = frozenset(
    _words(
        "henry louis elizabeth charles george edward richard william james john paul benedict "
        "pius leo gregory innocent clement urban francis philip ferdinand frederick wilhelm "
        "nicholas alexander peter catherine ivan napoleon mary robert david alfonso otto carl "
        "gustav christian harald ramesses ptolemy cleopatra darius xerxes felipe juan pedro "
        "victoria margaret albert leopold baudouin haakon olav umberto victor emmanuel rudolf "
        "maximilian joseph constantine"
    )
)
# A Roman numeral after these is a cardinal.
NUMBERED_PARTS = frozenset(
    _words(
        "chapter part volume book section act scene phase war type appendix article title canto "
        "level class stage figure table step bowl factor group grade schedule apollo"
    )
)
# "Henry I think": the I after a ruler's name is a pronoun before these.
AFTER_PRONOUN = frozenset(
    _words(
        "am have had do did don't didn't will would can could think know knew love loved "
        "like liked saw see met want wanted hope believe feel felt thought said say guess must "
        "should may"
    )
)
# Capitals that are read by letters although the dictionary has a word with that spelling.
SPELLED = frozenset(
    _words("us uk eu un it ai io tv pc id am pm who ir or la ca pa ma me in ip ad os hr er va")
)
# singular, plural; a unit without a plural has one form
UNITS: dict[str, tuple[str, str]] = {
    "km": ("kilometer", "kilometers"),
    "m": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "µm": ("micrometer", "micrometers"),
    "nm": ("nanometer", "nanometers"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "dl": ("deciliter", "deciliters"),
    "dL": ("deciliter", "deciliters"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "s": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "µs": ("microsecond", "microseconds"),
    "ns": ("nanosecond", "nanoseconds"),
    "sec": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "V": ("volt", "volts"),
    "mV": ("millivolt", "millivolts"),
    "mA": ("milliampere", "milliamperes"),
    "kJ": ("kilojoule", "kilojoules"),
    "kcal": ("kilocalorie", "kilocalories"),
    "dB": ("decibel", "decibels"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "MiB": ("mebibyte", "mebibytes"),
    "GiB": ("gibibyte", "gibibytes"),
    "bps": ("bit per second", "bits per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "mph": ("mile per hour", "miles per hour"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "fps": ("frame per second", "frames per second"),
    "px": ("pixel", "pixels"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "‰": ("per mille", "per mille"),
    "¢": ("cent", "cents"),
}
# A letter after a number and a space is a unit only if it is one of these.
SPACED_LETTERS = frozenset(_words("m g s h l L V W °"))
# singular, plural, singular and plural of a hundredth
CURRENCIES: dict[str, tuple[str, str, str, str]] = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "US$": ("U S dollar", "U S dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "USD": ("U S dollar", "U S dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "CHF": ("swiss franc", "swiss francs", "centime", "centimes"),
    "JPY": ("yen", "yen", "sen", "sen"),
}
SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "B": "billion",
    "bn": "billion",
    "b": "billion",
    "tn": "trillion",
    "T": "trillion",
    "thousand": "thousand",
    "million": "million",
    "billion": "billion",
    "trillion": "trillion",
}
SYMBOLS_READ = {
    "&": "and",
    "@": "at",
    "#": "hash",
    "+": "plus",
    "=": "equals",
    "%": "percent",
    "‰": "per mille",
    "×": "times",
    "÷": "divided by",
    "−": "minus",
    "±": "plus or minus",
    "<": "less than",
    ">": "greater than",
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "≠": "not equal to",
    "≈": "approximately equal to",
    "°": "degrees",
    "/": "slash",
    "\\": "backslash",
    "$": "dollar",
    "€": "euro",
    "£": "pound",
    "¥": "yen",
    "₹": "rupee",
    "¢": "cent",
    "§": "section",
    "¶": "paragraph",
    "©": "copyright",
    "®": "registered",
    "™": "trademark",
    "²": "squared",
    "³": "cubed",
    "√": "square root of",
    "∞": "infinity",
    "½": "one half",
    "⅓": "one third",
    "⅔": "two thirds",
    "¼": "one quarter",
    "¾": "three quarters",
    "⅛": "one eighth",
    "⅜": "three eighths",
    "⅝": "five eighths",
    "⅞": "seven eighths",
    "№": "number",
    "℃": "degrees celsius",
    "℉": "degrees fahrenheit",
}
GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψω",
        _words(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu ksi omicron "
            "pie rho sigma tau upsilon fie kai psi omega"
        ),
        strict=True,
    )
)
