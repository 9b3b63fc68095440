"""The clips of a speech corpus in the layout of LJSpeech.

Input: a folder with `metadata.csv`, whose lines are `id|text` or `id|text|normalised text`, and the
recordings `wavs/ID.wav` or `.flac`, or directly in the folder. Output: clips in the order of the
table, and one sentence for each line that cannot be used. Called by `align_corpus.py`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audio_utils.atomic_files import os_error_reason
from wavenet.errors import DataError

METADATA = "metadata.csv"
AUDIO_FOLDERS = ("wavs", "")
SUFFIXES = (".wav", ".flac")
MAX_TEXT = 2000  # characters; a clip of 60 s has about 1000
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class SpeechClip:
    """A recording and what is said in it.

    Attributes:
        id: of the table, without a path.
        audio: of the recording, relative to the folder, with `/`.
        text: not empty.
    """

    id: str
    audio: str
    text: str


@dataclass(frozen=True)
class SpeechCorpus:
    """The clips of a folder.

    Attributes:
        clips: in the order of the table.
        problems: one sentence for each line that has no clip.
    """

    clips: tuple[SpeechClip, ...]
    problems: tuple[str, ...]


def list_clips(folder: Path) -> SpeechCorpus:
    """Return the clips of a folder; the last column of a line is the text that is used.

    Raises:
        DataError: there is no table, it cannot be read, or no line has a clip.
    """
    path = folder / METADATA
    clips: dict[str, SpeechClip] = {}
    problems = []
    for number, line in _read_lines(folder):
        try:
            clip = _parse_line(folder, line)
            if clip.id in clips:
                raise DataError(f"the id {clip.id!r} occurs twice; the first line is used")
            clips[clip.id] = clip
        except DataError as error:
            problems.append(f"{METADATA} line {number}: {error}")
    if not clips:
        reason = f"; {problems[0]}" if problems else " is empty"
        raise DataError(f"{path}{reason}; expected lines such as LJ001-0001|Some text.")
    return SpeechCorpus(tuple(clips.values()), tuple(problems))


def _read_lines(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers from 1."""
    path = folder / METADATA
    if not path.is_file():
        raise DataError(
            f"{folder} has no {METADATA}; expected a table with lines ID|TEXT, and wavs/ID.wav"
        )
    try:
        with path.open("rb") as file:
            number = 0
            # a longer line is read in parts, of which no part has a recording
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None


def _parse_line(folder: Path, line: bytes) -> SpeechClip:
    """Return the clip of a line; raise DataError with the end of a sentence."""
    try:
        cells = [cell.strip() for cell in line.decode("utf-8").split("|")]
    except UnicodeDecodeError:
        raise DataError("it is not text in UTF-8; save the table as UTF-8") from None
    if len(cells) < 2:
        raise DataError("it has no '|'; expected ID|TEXT")
    identity, text = cells[0], cells[-1]
    if not text:
        raise DataError(f"the text of {identity!r} is empty; write what is said")
    if len(text) > MAX_TEXT:
        raise DataError(
            f"the text of {identity!r} has {len(text):,} characters, more than {MAX_TEXT:,}; "
            "split the recording into sentences"
        )
    return SpeechClip(identity, _find_audio(folder, identity), text)


def _find_audio(folder: Path, identity: str) -> str:
    """Return the recording of an id, relative to the folder."""
    if (
        not identity
        or not identity.isprintable()
        or identity in (".", "..")
        or set(identity) & set("/\\:\0")
        or identity[0] == "."
    ):
        raise DataError(
            f"the id {identity!r} is not a file name; "
            "write it without a folder and without control characters"
        )
    for suffix in ("", *SUFFIXES):
        if suffix or identity.lower().endswith(SUFFIXES):
            for place in AUDIO_FOLDERS:
                # not pathlib, which raises for a name that is too long
                if os.path.isfile(os.path.join(folder, place, identity + suffix)):
                    return f"{place}/{identity}{suffix}".lstrip("/")
    raise DataError(
        f"the recording of {identity!r} is missing; expected wavs/{identity}.wav or .flac"
    )
