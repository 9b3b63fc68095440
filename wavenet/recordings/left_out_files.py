"""Files of a folder that are left out, counted by reason.

Input: names, one at a time. Output: a `LeftOutFiles` per reason, the share of left-out audio, and
sentences about both. Called by `audio_metadata`, by all code that reads a folder, and by reports.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_utils.audio_formats import AUDIO_SUFFIXES, FFMPEG_SUFFIXES
from wavenet.user_input.separated_text import LFS_START

MAX_NAMES = 10  # of one reason
LARGE_SHARE = 0.1  # of the audio files; above this, a warning is shown
# Suffixes of audio: a user expects that such files are read.
_OTHER_AUDIO_SUFFIXES = (
    *(".aax", ".ac3", ".adts", ".dff", ".dsf", ".dts", ".gsm", ".m4r", ".mp2"),
    *(".mpc", ".mpga", ".ra", ".raw", ".rm", ".shn", ".spx", ".tta", ".voc"),
)
UNREAD_SUFFIXES = tuple(
    suffix for suffix in (*FFMPEG_SUFFIXES, *_OTHER_AUDIO_SUFFIXES) if suffix not in AUDIO_SUFFIXES
)

HIDDEN = "hidden"
NOT_AUDIO = "not audio"
ARRAY = "an array, which is read if a condition has its name"
NOT_IN_PATTERN = "the name does not fit the pattern"
NOT_IN_TABLE = "not in the table"
UNFIT_ROW = "the row of the table does not fit"
REPEATED = "in the table more than once"
FOLDER_LINK = "a link to a folder, which is not followed"
MISSING = "in the table, but missing"
EMPTY = "empty"
LFS_POINTER = "a Git LFS pointer; run `git lfs pull`"
UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class LeftOutFiles:
    """The files that are left out for one reason.

    Attributes:
        reason: a few words.
        count: number of files.
        names: the first of them, relative to the folder; some with details.
        is_audio: whether the user may expect that they are used.
    """

    reason: str
    count: int
    names: tuple[str, ...]
    is_audio: bool


class LeftOutCollector:
    """Counts files by reason; the number of stored names does not grow with the files."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, bool], tuple[int, tuple[str, ...]]] = {}

    def add(self, reason: str, name: str, is_audio: bool = True) -> None:
        """Count one file."""
        count, names = self._groups.get((reason, is_audio), (0, ()))
        names = (*names, name) if count < MAX_NAMES else names
        self._groups[reason, is_audio] = (count + 1, names)

    @property
    def groups(self) -> tuple[LeftOutFiles, ...]:
        """All reasons, those of audio first, then in the order of their first file."""
        groups = [
            LeftOutFiles(reason, count, names, is_audio)
            for (reason, is_audio), (count, names) in self._groups.items()
        ]
        return tuple(sorted(groups, key=lambda group: not group.is_audio))


def merge_groups(*parts: Sequence[LeftOutFiles]) -> tuple[LeftOutFiles, ...]:
    """Add up the groups of several parts of a folder."""
    merged: dict[tuple[str, bool], LeftOutFiles] = {}
    for group in (group for part in parts for group in part):
        key = (group.reason, group.is_audio)
        before = merged.get(key, LeftOutFiles(group.reason, 0, (), group.is_audio))
        names = (*before.names, *group.names)[:MAX_NAMES]
        merged[key] = LeftOutFiles(group.reason, before.count + group.count, names, group.is_audio)
    return tuple(sorted(merged.values(), key=lambda group: not group.is_audio))


def unread_reason(suffix: str) -> str:
    """Return the reason for an audio file in a format that is not read."""
    return f"in a format that is not read ({suffix})"


def unreadable_reason(path: Path) -> str:
    """Return the reason why a recording cannot be read."""
    try:
        if not os.path.lexists(path):
            return MISSING
        if not path.is_file():
            return UNREADABLE
        with path.open("rb") as file:
            start = file.read(len(LFS_START))
    except (OSError, ValueError):
        return UNREADABLE
    if not start:
        return EMPTY
    return LFS_POINTER if start == LFS_START else UNREADABLE


def count_left_out_audio(groups: Sequence[LeftOutFiles]) -> int:
    """Return the number of files that a user may expect to be used."""
    return sum(group.count for group in groups if group.is_audio)


def left_out_share(groups: Sequence[LeftOutFiles], used: int) -> float:
    """Return the fraction of the audio files that is left out.

    Args:
        groups: of a folder.
        used: number of recordings that are used.
    """
    left_out = count_left_out_audio(groups)
    return left_out / max(1, left_out + used)


def describe_left_out(groups: Sequence[LeftOutFiles]) -> list[str]:
    """Return a line for each reason, with the first names."""
    return [
        f"{group.reason}: {_count_files(group.count)}: {_list_names(group)}" for group in groups
    ]


def describe_large_share(groups: Sequence[LeftOutFiles], used: int) -> str | None:
    """Return a warning if a large part of the audio is left out, or None."""
    share, left_out = left_out_share(groups, used), count_left_out_audio(groups)
    if share <= LARGE_SHARE:
        return None
    reasons = "; ".join(f"{group.reason}: {group.count:,}" for group in groups if group.is_audio)
    verb = "is" if left_out == 1 else "are"
    return (
        f"{left_out:,} of {left_out + used:,} audio files ({share:.0%}) {verb} left out: {reasons}"
    )


def describe_left_out_files(groups: Sequence[LeftOutFiles], used: int) -> list[str]:
    """Return the lines of `describe_left_out` for a log, and a warning if the part is large."""
    warning = describe_large_share(groups, used)
    lines = [f"left out: {line}" for line in describe_left_out(groups)]
    return [*lines, *([f"WARNING: {warning}"] if warning else [])]


def shorten_list(sentences: Sequence[str]) -> list[str]:
    """Return the first sentences, and the number of the others, if any."""
    more = len(sentences) - MAX_NAMES
    return [*sentences[:MAX_NAMES], *([f"and {more:,} more"] if more > 0 else [])]


def _count_files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _list_names(group: LeftOutFiles) -> str:
    more = group.count - len(group.names)
    return ", ".join(group.names) + (f" and {more:,} more" if more else "")
