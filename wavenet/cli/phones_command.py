"""`wavenet phones`: the phones of English text.

Input: a text, a file, or stdin. Output: one line per sentence on stdout; what was left out, and the
words that no dictionary has, on stderr. Called by `main`.
"""

from typing import TYPE_CHECKING, Any

from wavenet.cli.options import JsonLinesOption, print_message
from wavenet.cli.text_input import (
    PronunciationsOption,
    TextArgument,
    TextFileOption,
    choose_text,
    open_text,
    read_pronunciations,
)
from wavenet.cli.unknown_words import UnknownWords
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.speech.text_to_phones import SpokenSentence, SpokenWord

# behind a word, by the strength of the pause
MARKS = (" | ", " , ", " ; ", " . ", " ¶ ")


def phones(
    text: TextArgument = None,
    file: TextFileOption = None,
    pronunciations: PronunciationsOption = None,
    json_: JsonLinesOption = False,
) -> None:
    """Print the phones of English text (US), one line per sentence.

    Phones are ARPAbet symbols with stress. Between words stands |, or the pause: , ; . and ¶ at the
    end of a paragraph. [[HH AH0 L OW1]] in the text is a pronunciation.
    """
    from wavenet.speech.text_to_phones import text_to_phones

    source = choose_text(text, file)
    user = {} if pronunciations is None else read_pronunciations(pronunciations)
    unknown = UnknownWords()
    has_words = False
    with open_text(source) as parts:
        for sentence in text_to_phones(parts if source else text or "", user):
            if json_:
                print_json(describe_sentence(sentence))
            elif sentence.words:
                print_line(format_phones(sentence))
            for notice in sentence.notices:
                print_message(notice)
            has_words |= bool(sentence.words)
            unknown.add(sentence)
    if not has_words:
        print_message("the text has no words that can be read")
    unknown.print_all()


def format_phones(sentence: "SpokenSentence") -> str:
    """Return the phones of a sentence in one line, with a mark of `MARKS` behind each word."""
    parts = [" ".join(word.phones) + MARKS[word.pause] for word in sentence.read_words]
    return "".join(parts).removesuffix(MARKS[0]) + MARKS[sentence.pause].rstrip()


def describe_sentence(sentence: "SpokenSentence") -> dict[str, Any]:
    """Return a sentence as a JSON document."""
    return {
        "text": sentence.text,
        "start": sentence.start,
        "pause": sentence.pause.name.lower(),
        "ending": sentence.ending,
        "words": [_describe_word(word) for word in sentence.words],
        "notices": list(sentence.notices),
    }


def _describe_word(word: "SpokenWord") -> dict[str, Any]:
    read = [
        {
            "text": part.text,
            "phones": " ".join(part.phones),
            "source": part.source.value,
            "pause": part.pause.name.lower(),
        }
        for part in word.read
    ]
    return {"written": word.written, "start": word.start, "end": word.end, "read": read}
