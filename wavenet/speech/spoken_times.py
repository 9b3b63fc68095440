"""When the words and phones of a text are spoken.

Input: the plan of a sentence, and when its sound begins and ends. Output: the sentence, its words
and their phones with times. Called by `wavenet speak` and by the Python interface.
"""

from dataclasses import dataclass

from wavenet.speech.tokens import NO_STRESS, Token
from wavenet.speech.voice import SentencePlan


@dataclass(frozen=True)
class TimedPhone:
    """A phone with its times.

    Attributes:
        symbol: with stress, such as "AH0".
        start, end: seconds from the beginning of the sound.
    """

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class TimedWord:
    """A word with its times.

    Attributes:
        text: as written.
        position: characters of the whole text before it.
        start, end: seconds from the beginning of the sound.
        phones: in order.
    """

    text: str
    position: int
    start: float
    end: float
    phones: tuple[TimedPhone, ...]


@dataclass(frozen=True)
class TimedSentence:
    """A sentence with its times.

    Attributes:
        text, position, start, end: as of a `TimedWord`; the pause after the sentence is part of it.
        words: in order.
    """

    text: str
    position: int
    start: float
    end: float
    words: tuple[TimedWord, ...]


def time_sentence(plan: SentencePlan, start: float, end: float) -> TimedSentence:
    """Return the times of a sentence.

    Args:
        plan: of the sentence.
        start, end: of its sound, s. The frames of a plan last a little longer than its sound.
    """

    def place(seconds: float) -> float:
        return round(min(start + seconds, end), 4)

    phones: dict[int, list[TimedPhone]] = {}
    for spoken in plan.tokens:
        if not spoken.token.is_pause:
            phone = TimedPhone(_symbol(spoken.token), place(spoken.start), place(spoken.end))
            phones.setdefault(spoken.token.word, []).append(phone)
    words, index = [], 0
    for written in plan.sentence.words:
        own = [phone for n in range(len(written.read)) for phone in phones[index + n]]
        index += len(written.read)
        words.append(
            TimedWord(written.written, written.start, own[0].start, own[-1].end, tuple(own))
        )
    sentence = plan.sentence
    return TimedSentence(
        sentence.text, sentence.start, round(start, 4), round(end, 4), tuple(words)
    )


def _symbol(token: Token) -> str:
    """Return the symbol of a phone with its stress."""
    return token.symbol if token.stress == NO_STRESS else f"{token.symbol}{token.stress - 1}"
