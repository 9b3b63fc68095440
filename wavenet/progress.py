"""Progress of long work: one protocol for all layers, up to the progress bar.

Called by generation, evaluation, batches, the preparation of a corpus, and worker pools.
"""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one operation."""

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
    """Calls two functions with the progress.

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
        """Call `on_advance`."""
        self._on_advance(amount)

    def message(self, text: str) -> None:
        """Call `on_message`."""
        self._on_message(text)
