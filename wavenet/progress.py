"""Progress of long work: one protocol from the lowest layer to a progress bar."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one piece of work."""

    def advance(self, amount: float) -> None:
        """Count finished work, in the unit of the caller; negative if some must be repeated."""
        ...

    def message(self, text: str) -> None:
        """Report one sentence, such as a warning that the work continues with less memory."""
        ...


class NoProgress:
    """Ignores all progress."""

    def advance(self, amount: float) -> None:
        """Ignore finished work."""

    def message(self, text: str) -> None:
        """Ignore a sentence."""


class CallbackProgress:
    """Passes progress to two functions.

    Args:
        on_advance: receives amounts.
        on_message: receives sentences.
    """

    def __init__(
        self,
        on_advance: Callable[[float], None] = lambda amount: None,
        on_message: Callable[[str], None] = lambda text: None,
    ):
        self._on_advance, self._on_message = on_advance, on_message

    def advance(self, amount: float) -> None:
        """Pass finished work on."""
        self._on_advance(amount)

    def message(self, text: str) -> None:
        """Pass a sentence on."""
        self._on_message(text)
