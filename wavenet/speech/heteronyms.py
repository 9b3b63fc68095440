"""Choose the pronunciation of words with two, by the words beside them.

"I read it yesterday" and "I will read it" differ. Most pairs are a verb and a noun or adjective:
the word before decides, such as "to record" and "a record". Some have their own rules, such as
"lead" the metal. If no rule applies, the default is used. Input: the words of a sentence as read.
Output: phones, or None. Called by `pronunciation.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Phones = tuple[str, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BEFORE_VERBS = _words(
    "to will would can could should shall must may might i you we they who not cannot don't "
    "didn't doesn't won't wouldn't can't couldn't shouldn't let's let please do does did i'll "
    "you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd always never often"
)
_BEFORE_NOUNS = _words(
    "the a an this that these those my your his her its our their of in for with no every each "
    "any some new old whose on by from at one first last next another which"
)
_OBJECTS = _words("the a an this that it them him me us your my his her our their")


@dataclass(frozen=True)
class Context:
    """The words around a heteronym, in lower case.

    Attributes:
        before: the two words before it, the nearer one last; shorter at the start of a sentence.
        after: the two words behind it, the nearer one first.
        sentence: all words.
    """

    before: Sequence[str]
    after: Sequence[str]
    sentence: Sequence[str]

    def follows(self, words: frozenset[str]) -> bool:
        """Return whether the word before is one of these."""
        return bool(self.before) and self.before[-1] in words

    def precedes(self, words: frozenset[str]) -> bool:
        """Return whether the word behind is one of these."""
        return bool(self.after) and self.after[0] in words

    def contains(self, words: frozenset[str]) -> bool:
        """Return whether the sentence has one of these."""
        return not words.isdisjoint(self.sentence)


Rule = Callable[[Context], bool]


def _is_verb(context: Context) -> bool:
    """Return whether the word is probably a verb."""
    if context.follows(_BEFORE_VERBS):
        return True
    return context.precedes(_OBJECTS) and not _is_noun(context)  # also imperatives


def _is_noun(context: Context) -> bool:
    return context.follows(_BEFORE_NOUNS)


def _near(before: str = "", after: str = "", anywhere: str = "") -> Rule:
    """Return a rule: one of these words is before, behind, or anywhere in the sentence."""
    sets = _words(before), _words(after), _words(anywhere)
    return lambda context: (
        context.follows(sets[0]) or context.precedes(sets[1]) or context.contains(sets[2])
    )


def _any(*rules: Rule) -> Rule:
    return lambda context: any(rule(context) for rule in rules)


_is_past = _near(
    "have has had having was were been be is are he she it i've you've we've they've well just "
    "already hadn't haven't hasn't widely",
    "",
    "yesterday ago last earlier",
)


def _reads_past(context: Context) -> bool:
    """Return whether "read" is the past: not behind "to" or "will", not with "every day"."""
    return not context.follows(_BEFORE_VERBS - _words("i you we they who always never often")) and (
        _is_past(context)
    )


# word: phones if the rule applies, the rule, phones otherwise
_PAIRS = """
record    verb R IH0 K AO1 R D             | R EH1 K ER0 D
records   verb R IH0 K AO1 R D Z           | R EH1 K ER0 D Z
present   verb P R IY0 Z EH1 N T           | P R EH1 Z AH0 N T
presents  verb P R IY0 Z EH1 N T S         | P R EH1 Z AH0 N T S
object    verb AH0 B JH EH1 K T            | AA1 B JH EH0 K T
objects   verb AH0 B JH EH1 K T S          | AA1 B JH EH0 K T S
project   verb P R AH0 JH EH1 K T          | P R AA1 JH EH0 K T
projects  verb P R AH0 JH EH1 K T S        | P R AA1 JH EH0 K T S
subject   verb S AH0 B JH EH1 K T          | S AH1 B JH IH0 K T
contract  verb K AH0 N T R AE1 K T         | K AA1 N T R AE2 K T
contrast  verb K AH0 N T R AE1 S T         | K AA1 N T R AE0 S T
conduct   verb K AH0 N D AH1 K T           | K AA1 N D AH0 K T
conflict  verb K AH0 N F L IH1 K T         | K AA1 N F L IH0 K T
convict   verb K AH0 N V IH1 K T           | K AA1 N V IH0 K T
converse  verb K AH0 N V ER1 S             | K AA1 N V ER0 S
desert    verb D IH0 Z ER1 T               | D EH1 Z ER0 T
digest    verb D AY0 JH EH1 S T            | D AY1 JH EH0 S T
escort    verb EH0 S K AO1 R T             | EH1 S K AO0 R T
export    verb IH0 K S P AO1 R T           | EH1 K S P AO0 R T
extract   verb IH0 K S T R AE1 K T         | EH1 K S T R AE2 K T
import    verb IH0 M P AO1 R T             | IH1 M P AO0 R T
increase  verb IH0 N K R IY1 S             | IH1 N K R IY0 S
decrease  verb D IH0 K R IY1 S             | D IY1 K R IY0 S
insult    verb IH0 N S AH1 L T             | IH1 N S AH0 L T
permit    verb P ER0 M IH1 T               | P ER1 M IH2 T
produce   verb P R AH0 D UW1 S             | P R OW1 D UW0 S
progress  verb P R AH0 G R EH1 S           | P R AA1 G R EH2 S
protest   verb P R AH0 T EH1 S T           | P R OW1 T EH2 S T
rebel     verb R IH0 B EH1 L               | R EH1 B AH0 L
refuse    noun R EH1 F Y UW2 Z             | R AH0 F Y UW1 Z
suspect   verb S AH0 S P EH1 K T           | S AH1 S P EH2 K T
transport verb T R AE0 N S P AO1 R T       | T R AE1 N S P AO0 R T
update    verb AH0 P D EY1 T               | AH1 P D EY2 T
attribute verb AH0 T R IH1 B Y UW0 T       | AE1 T R AH0 B Y UW2 T
perfect   verb P ER0 F EH1 K T             | P ER1 F IH0 K T
address   verb AH0 D R EH1 S               | AE1 D R EH2 S
use       verb Y UW1 Z                     | Y UW1 S
house     verb HH AW1 Z                    | HH AW1 S
excuse    verb IH0 K S K Y UW1 Z           | IH0 K S K Y UW1 S
abuse     verb AH0 B Y UW1 Z               | AH0 B Y UW1 S
estimate  verb EH1 S T AH0 M EY2 T         | EH1 S T AH0 M AH0 T
separate  verb S EH1 P ER0 EY2 T           | S EH1 P ER0 AH0 T
graduate  verb G R AE1 JH AH0 W EY2 T      | G R AE1 JH AH0 W AH0 T
moderate  verb M AA1 D ER0 EY2 T           | M AA1 D ER0 AH0 T
alternate verb AO1 L T ER0 N EY2 T         | AO1 L T ER0 N AH0 T
duplicate verb D UW1 P L AH0 K EY2 T       | D UW1 P L AH0 K AH0 T
elaborate verb IH0 L AE1 B ER0 EY2 T       | IH0 L AE1 B R AH0 T
delegate  verb D EH1 L AH0 G EY2 T         | D EH1 L AH0 G AH0 T
advocate  verb AE1 D V AH0 K EY2 T         | AE1 D V AH0 K AH0 T
associate verb AH0 S OW1 S IY0 EY2 T       | AH0 S OW1 S IY0 AH0 T
wind      wind W AY1 N D                   | W IH1 N D
tear      tear T EH1 R                     | T IH1 R
tears     verb T EH1 R Z                   | T IH1 R Z
read      past R EH1 D                     | R IY1 D
lead      metal L EH1 D                    | L IY1 D
live      event L AY1 V                    | L IH1 V
lives     plural L AY1 V Z                 | L IH1 V Z
close     shut K L OW1 Z                   | K L OW1 S
content   glad K AH0 N T EH1 N T           | K AA1 N T EH0 N T
minute    tiny M AY0 N UW1 T               | M IH1 N AH0 T
bass      fish B AE1 S                     | B EY1 S
bow       verb B AW1                       | B OW1
row       quarrel R AW1                    | R OW1
dove      dived D OW1 V                    | D AH1 V
wound     turned W AW1 N D                 | W UW1 N D
resume    noun R EH1 Z AH0 M EY2           | R IH0 Z UW1 M
sow       pig S AW1                        | S OW1
"""
_RULES: dict[str, Rule] = {
    "verb": _is_verb,
    "noun": _is_noun,
    "past": _reads_past,
    "wind": _any(_is_verb, _near("", "up down back around")),
    "tear": _any(_is_verb, _near("wear", "up down apart off out it them through")),
    "metal": _near("of contain contains molten", "pipe pipes paint poisoning pencil acid free ore"),
    "event": _near(
        "",
        "music show shows concert concerts broadcast stream audience tv television wire wires "
        "event events coverage performance performances recording album action animals chat "
        "version session entertainment band bait birth births ammunition video",
    ),
    "plural": _near(
        "our their your of many several two three nine more human save saved the these those other "
        "past risk lost",
    ),
    "shut": _any(_is_verb, _near("", "the your my his her their our this that it them down")),
    "glad": _near("be is are was were been not quite very am perfectly feel feels felt", ""),
    "tiny": _near(
        "so very most",
        "detail details amount amounts quantities quantity particle particles difference "
        "differences traces changes",
    ),
    "fish": _near("striped sea largemouth caught catch", "fishing", "lake fishermen angler"),
    "quarrel": _near("furious blazing heated public", "over", ""),
    "dived": _near("he she it they i we who", "into in off deep", ""),
    "turned": _near("", "up down around its back through tightly", ""),
    "pig": _near("", "", "pig pigs piglets farm"),
}


def _parse(table: str) -> dict[str, tuple[Rule, Phones, Phones]]:
    entries = {}
    for line in table.strip().splitlines():
        left, _, default = line.partition("|")
        word, rule, *phones = left.split()
        entries[word] = (_RULES[rule], tuple(phones), tuple(default.split()))
    return entries


HETERONYMS = _parse(_PAIRS)


def choose_pronunciation(words: Sequence[str], index: int) -> Phones | None:
    """Return the phones of a word with two pronunciations, or None for other words.

    Args:
        words: of a sentence, in lower case.
        index: of the word.
    """
    entry = HETERONYMS.get(words[index])
    if entry is None:
        return None
    rule, special, default = entry
    before = words[max(0, index - 2) : index]
    context = Context(before, words[index + 1 : index + 3], words)
    return special if rule(context) else default
