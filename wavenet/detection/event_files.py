"""Write events as labels of the audio editor Audacity.

Input: events of one recording. Output: a `.txt` file with a line per event: start and end in
seconds, and a text, separated by tabs. Called by `wavenet surprise`.
"""

from collections.abc import Sequence
from pathlib import Path

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.detection.events import Event
from wavenet.errors import FolderError


def format_labels(events: Sequence[Event]) -> str:
    """Return the labels of events, one line each, in seconds with six decimals.

    Source: Audacity Manual, "Importing and Exporting Labels".
    """
    return "".join(
        f"{event.start:.6f}\t{event.end:.6f}\tsurprise {event.ratio:.1f}x\n" for event in events
    )


def write_labels(path: Path, events: Sequence[Event], replace: bool = True) -> None:
    """Write the labels of events, completely or not at all.

    Args:
        path: of the text file; replace: whether an existing file may be replaced.
    Raises:
        FolderError: the file exists and must not be replaced, or cannot be written.
    """
    try:
        with atomic_file(path, replace) as temporary:
            temporary.write_text(format_labels(events), encoding="utf-8")
    except OSError as error:
        raise FolderError(f"cannot write {path}: {os_error_reason(error)}") from None
