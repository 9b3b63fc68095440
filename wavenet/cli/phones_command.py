"""`wavenet phones`: the phones of English text.

Input: a text, a file, or stdin. Output: one line per sentence on stdout; what was left out, and the
words that no dictionary has, on stderr. Called by `main`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import JsonLinesOption, print_message
from wavenet.errors import ConditionError, ConfigError, DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.speech.text_to_phones import SpokenSentence, SpokenWord

_BLOCK = 50_000  # characters that are read at once
_SHOWN_WORDS = 20
_KEPT_WORDS = 10_000  # more unknown words are counted as "more"
# behind a word, by the strength of the pause
MARKS = (" | ", " , ", " ; ", " . ", " ¶ ")


def phones(
    text: Annotated[
        str | None, typer.Argument(help="English text in quotes; - is stdin.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Read the text from a file in UTF-8; - is stdin."),
    ] = None,
    pronunciations: Annotated[
        Path | None,
        typer.Option(
            "--pronunciations",
            help="A file with a word and its phones per line, such as GIF JH IH1 F.",
        ),
    ] = None,
    json_: JsonLinesOption = False,
) -> None:
    """Print the phones of English text (US), one line per sentence.

    Phones are ARPAbet symbols with stress. Between words stands |, or the pause: , ; . and ¶ at the
    end of a paragraph. [[HH AH0 L OW1]] in the text is a pronunciation.
    """
    from wavenet.speech.pronunciation import PhoneSource
    from wavenet.speech.text_to_phones import text_to_phones

    if (text is None) == (file is None):
        found = "nothing" if text is None else "both"
        raise ConfigError(f"expected a text in quotes or --file, found {found}; - is stdin")
    user = {} if pronunciations is None else read_pronunciations(pronunciations)
    unknown: dict[str, None] = {}
    has_words = False
    source = Path("-") if text == "-" else file
    with _open_text(source) as parts:
        for sentence in text_to_phones(parts if source else text or "", user):
            if json_:
                print_json(describe_sentence(sentence))
            elif sentence.words:
                print_line(format_phones(sentence))
            for notice in sentence.notices:
                print_message(notice)
            has_words |= bool(sentence.words)
            for word in sentence.read_words:
                if word.source is PhoneSource.LETTERS and len(unknown) < _KEPT_WORDS:
                    unknown[word.text] = None
    if not has_words:
        print_message("the text has no words that can be read")
    if unknown:
        print_message(_describe_unknown(list(unknown)))


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


def _describe_unknown(words: list[str]) -> str:
    shown = ", ".join(words[:_SHOWN_WORDS])
    more = len(words) - _SHOWN_WORDS
    rest = f" and {more} more" if more > 0 else ""
    return f"not in the dictionary, pronounced by their letters: {shown}{rest}"


@contextmanager
def _open_text(path: Path | None) -> Iterator[Iterator[str]]:
    """Yield the parts of a file, or of stdin for "-"; no parts without a path.

    Raises:
        DataError: the file cannot be read, or is not UTF-8.
    """
    if path is None:
        yield iter(())
        return
    name = "stdin" if str(path) == "-" else str(path)
    if name == "stdin" and sys.stdin is None:
        raise DataError("stdin is closed; write the text in quotes, or name a file with --file")
    try:
        with open(
            sys.stdin.fileno() if name == "stdin" else path, "rb", closefd=name != "stdin"
        ) as b:
            # newline="" keeps line ends, so that the places of words are those of the file
            file = TextIOWrapper(b, encoding="utf-8-sig", newline="")
            yield iter(lambda: file.readline(_BLOCK), "")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not text in UTF-8; save it as UTF-8") from None
    except OSError as error:
        from audio_utils.atomic_files import os_error_reason

        raise DataError(f"{name} cannot be read: {os_error_reason(error)}") from None


def read_pronunciations(path: Path) -> dict[str, str]:
    """Return the words of a file and their phones.

    Args:
        path: of a file in UTF-8, with a word, a space and its phones per line; lines that begin
            with # and empty lines are left out.
    Raises:
        DataError: the file cannot be read, or is not UTF-8.
        ConditionError: a line has no phones, or an unknown one.
    """
    from wavenet.speech.pronunciation import check_pronunciations

    found: dict[str, str] = {}
    with _open_text(path) as parts:
        for number, line in enumerate(parts, 1):
            word, _, symbols = line.strip().partition(" ")
            if not word or word.startswith("#"):
                continue
            try:
                check_pronunciations({word: symbols})
            except ConditionError as error:
                raise ConditionError(f"{path}, line {number}: {error}") from None
            found[word] = symbols
    return found
