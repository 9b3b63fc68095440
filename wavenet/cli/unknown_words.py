"""The words of a text that no dictionary has, listed once after the work.

Input: sentences. Output: one message on stderr. Called by `phones_command` and `speak_command`.
"""

from typing import TYPE_CHECKING

from wavenet.cli.options import print_message

if TYPE_CHECKING:
    from wavenet.speech.text_to_phones import SpokenSentence

_SHOWN = 20
_KEPT = 10_000  # so that memory does not grow with the text


class UnknownWords:
    """Collects the words that are pronounced by their letters."""

    def __init__(self) -> None:
        self._words: dict[str, None] = {}

    def add(self, sentence: "SpokenSentence") -> None:
        """Add the unknown words of a sentence."""
        from wavenet.speech.pronunciation import PhoneSource

        for word in sentence.read_words:
            if word.source is PhoneSource.LETTERS and len(self._words) < _KEPT:
                self._words[word.text] = None

    def print_all(self) -> None:
        """Print the words, if there are any."""
        if not self._words:
            return
        shown = ", ".join(list(self._words)[:_SHOWN])
        more = len(self._words) - _SHOWN
        rest = f" and {more} more" if more > 0 else ""
        print_message(f"not in the dictionary, pronounced by their letters: {shown}{rest}")
