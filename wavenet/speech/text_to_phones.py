"""English text to phones, sentence by sentence: the public function of this package.

```
text_to_phones      ──► sentences.py       where sentences end
                    ──► normalisation.py   characters → words as read (numbers, abbreviations, ...)
                    ──► pronunciation.py   words → phones
```

Input: a text. Output: sentences with their words as written, words as read, phones and pauses.
Called by `wavenet phones`, by the alignment and by `voice`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wavenet.speech.left_out import LeftOut
from wavenet.speech.normalisation import WordReading, read_sentence
from wavenet.speech.number_readers import PAUSE
from wavenet.speech.phones import Pause
from wavenet.speech.pronunciation import Phones, PhoneSource, check_pronunciations, pronounce
from wavenet.speech.sentences import WrittenSentence, split_sentences

_FORCED = "[[]]"  # the word as read of a forced pronunciation


@dataclass(frozen=True)
class ReadWord:
    """One word as it is read.

    Attributes:
        text: in lower case; a single capital is the name of a letter; "" if the pronunciation was
            forced by `[[...]]`.
        phones: symbols of `phones.SYMBOLS`.
        source: where the phones come from.
        pause: after the word.
    """

    text: str
    phones: Phones
    source: PhoneSource
    pause: Pause


@dataclass(frozen=True)
class SpokenWord:
    """A word as written, such as "$5", and the words that are read for it.

    Attributes:
        written: as in the text.
        start, end: its characters in the whole text: `text[start:end]` is `written`.
        read: at least one word.
    """

    written: str
    start: int
    end: int
    read: tuple[ReadWord, ...]


@dataclass(frozen=True)
class SpokenSentence:
    """A sentence, or a part of one that was too long.

    Attributes:
        text: as written.
        start: characters of the whole text before it.
        words: in order.
        pause: after the sentence.
        ending: ".", "?" or "!"; "" if the sentence has no such mark.
        notices: what was left out, one sentence per kind, where the kind occurs first.
    """

    text: str
    start: int
    words: tuple[SpokenWord, ...]
    pause: Pause
    ending: str
    notices: tuple[str, ...]

    @property
    def read_words(self) -> tuple[ReadWord, ...]:
        """Return the words as read, in order."""
        return tuple(word for written in self.words for word in written.read)

    @property
    def phones(self) -> Phones:
        """Return all phones in order, without pauses."""
        return tuple(phone for word in self.read_words for phone in word.phones)


def text_to_phones(
    text: str | Iterable[str], pronunciations: Mapping[str, str | Sequence[str]] | None = None
) -> Iterator[SpokenSentence]:
    """Return a generator of the sentences of an English text with their phones.

    A long text needs little memory: sentences are read one by one, and those of more than 1000
    characters in parts. Sentences without words appear only if they have notices.

    Args:
        text: of any length; or its parts in order, such as the lines of a file.
            `[[HH AH0 L OW1]]` in it is a pronunciation.
        pronunciations: words and their phones, such as {"GIF": "JH IH1 F"}, in any case. They
            replace those of the dictionary.
    Raises:
        ConditionError: a phone of `pronunciations` is unknown; while iterating, one of `[[...]]`.
    """
    return _speak(text, check_pronunciations(pronunciations or {}))


def _speak(text: str | Iterable[str], user: Mapping[str, Phones]) -> Iterator[SpokenSentence]:
    left_out = LeftOut()
    for sentence in split_sentences(text):
        spoken = _speak_sentence(sentence, left_out, user)
        if spoken.words or spoken.notices:
            yield spoken


def _speak_sentence(
    sentence: WrittenSentence, left_out: LeftOut, user: Mapping[str, Phones]
) -> SpokenSentence:
    readings = read_sentence(sentence.text, left_out, user)
    if readings:
        readings[-1].pause = Pause.NONE  # the pause of the sentence follows
    flat = [w for r in readings for w in (r.words or [_FORCED]) if w != PAUSE]
    words: list[SpokenWord] = []
    index = 0
    for reading in readings:
        read = _pronounce_reading(reading, flat, index, user)
        index += len([w for w in reading.words if w != PAUSE]) or 1
        read = [word for word in read if word.phones]
        if read:
            words.append(
                SpokenWord(
                    sentence.text[reading.start : reading.end],
                    sentence.start + reading.start,
                    sentence.start + reading.end,
                    tuple(read),
                )
            )
    stripped = sentence.text.rstrip("\"'”’»)] ")
    ending = stripped[-1:] if sentence.pause >= Pause.SENTENCE else ""
    return SpokenSentence(
        sentence.text,
        sentence.start,
        tuple(words),
        sentence.pause,
        {"…": "."}.get(ending, ending) if ending in ".?!…" else "",
        left_out.take_notices(),
    )


def _pronounce_reading(
    reading: WordReading, flat: Sequence[str], index: int, user: Mapping[str, Phones]
) -> list[ReadWord]:
    """Return the words of a reading with their phones and pauses.

    Args:
        reading: of some characters.
        flat: all words of the sentence.
        index: of the first word of the reading in `flat`.
        user: pronunciations of the user.
    """
    if reading.phones is not None:
        return [ReadWord("", reading.phones, PhoneSource.USER, reading.pause)]
    read: list[ReadWord] = []
    for position, word in enumerate(reading.words):
        if word == PAUSE:
            continue
        is_last = position == len(reading.words) - 1
        is_comma_next = not is_last and reading.words[position + 1] == PAUSE
        pause = reading.pause if is_last else Pause.COMMA if is_comma_next else Pause.NONE
        phones, source = pronounce(flat, index + len(read), user)
        read.append(ReadWord(word, phones, source, pause))
    return read
