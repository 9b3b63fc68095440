"""Progress of long work: amounts of finished work, and messages for the user.

Functions that take long receive a `Progress` and call it; the caller decides what is shown. Called
by `corpus` and `batch`; the command line implements it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of long work."""

    def advance(self, amount: float) -> None:
        """Add finished work.

        Args:
            amount: in the unit that the function documents; negative if work must be repeated.
        """

    def message(self, text: str) -> None:
        """Show a message to the user."""


class NoProgress:
    """Progress that is not shown."""

    def advance(self, amount: float) -> None:
        """Ignore finished work."""

    def message(self, text: str) -> None:
        """Ignore a message."""


@dataclass(frozen=True)
class CallbackProgress:
    """Progress that calls a function for each kind of report; see `Progress`."""

    advance: Callable[[float], None]
    message: Callable[[str], None]
