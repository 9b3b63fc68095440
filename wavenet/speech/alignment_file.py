"""The file of an alignment, `alignment.jsonl`: the times of the phones of each clip of a corpus.

The first line is the header; each further line is a clip, or a clip that failed with its reason.
All times are seconds from the start of the recording. While a command runs, the lines are in
`alignment.partial.jsonl`, in the order in which they were finished. The finished file is written at
once, in the order of the corpus. Called by `align_corpus.py`, and by readers of alignments.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError, DataError, FolderError
from wavenet.speech.phones import SYMBOLS
from wavenet.speech.pronunciation import PhoneSource

FILE_NAME = "alignment.jsonl"
FORMAT = "wavenet alignment"
DECIMALS = 4  # of times and scores
MAX_LINE_BYTES = 4 << 20
MAX_ERROR = 4000  # characters
_TOLERANCE = 2e-4  # seconds, of rounded times

Seconds = Annotated[float, Field(ge=0, le=100_000)]
Score = Annotated[float, Field(le=0, ge=-1e6)]
Id = Annotated[str, Field(min_length=1, max_length=255)]
Text = Annotated[str, Field(max_length=4000)]
LineT = TypeVar("LineT", bound=StrictConfig)
_KNOWN_SYMBOLS = frozenset(SYMBOLS)


class AlignmentHeader(StrictConfig):
    """The first line of an alignment.

    Attributes:
        phones: all symbols that occur in pronunciations.
        aligner: name, version and settings of the aligner.
        program: version of this program, which made the pronunciations.
        clips, failed: number of lines of each kind; None while the alignment is not finished.
    """

    format: Literal["wavenet alignment"] = "wavenet alignment"
    format_version: Literal[1] = 1
    phones: Annotated[tuple[str, ...], Field(max_length=200)] = SYMBOLS
    aligner: str
    program: str
    clips: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    failed: Annotated[int, Field(ge=0, le=100_000_000)] | None = None


class AlignedWord(StrictConfig):
    """A word as it is read.

    Attributes:
        written: in the text, such as "$5".
        read: one of the words that are read for it, such as "five"; "" for a forced pronunciation.
        start, end: of the first and of the last phone.
        source: of the pronunciation.
        pause: the pause after the word that the text asks for, by its punctuation.
        phones: (symbol with stress, start, end), without gaps.
    """

    written: Text
    read: Text
    start: Seconds
    end: Seconds
    source: PhoneSource
    pause: Literal["none", "comma", "semicolon", "sentence", "paragraph"]
    phones: Annotated[tuple[tuple[str, Seconds, Seconds], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that the phones are known, in order, and from the start to the end of the word."""
        for symbol, _, _ in self.phones:
            if symbol not in _KNOWN_SYMBOLS:
                raise ValueError(f"the word {self.written!r} has the unknown phone {symbol!r}")
        times = [self.start, *(t for _, start, end in self.phones for t in (start, end)), self.end]
        if times != sorted(times) or times[0] != times[1] or times[-1] != times[-2]:
            raise ValueError(f"the times of the word {self.written!r} are not in order")
        return self


class PoorStretch(StrictConfig):
    """The part of at least 0.4 s with the lowest mean score, or the whole clip if it is shorter."""

    score: Score
    start: Seconds
    end: Seconds


class AlignedClip(StrictConfig):
    """The alignment of a clip.

    Attributes:
        id: in the table of the corpus.
        audio: of the recording, relative to the folder of the corpus.
        text: of the table.
        seconds: length of the recording.
        score: nats per frame, the mean over all phones, relative to the best of the states that
            were compared; 0 or less.
        poorest: where text and recording fit worst.
        words: in order.
        silences: (start, end); with the phones they cover the recording without gaps.
        digest: of everything that determines the line.
    """

    id: Id
    audio: Annotated[str, Field(min_length=1, max_length=300)]
    text: Text
    seconds: Seconds
    score: Score
    poorest: PoorStretch
    words: Annotated[tuple[AlignedWord, ...], Field(min_length=1)]
    silences: tuple[tuple[Seconds, Seconds], ...]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that phones and silences cover the recording once."""
        parts = [(start, end) for word in self.words for _, start, end in word.phones]
        parts = sorted([*parts, *self.silences])
        ends = [0.0, *(end for _, end in parts)]
        starts = [*(start for start, _ in parts), self.seconds]
        if any(abs(a - b) > _TOLERANCE for a, b in zip(starts, ends, strict=True)):
            raise ValueError(f"phones and silences of {self.id!r} do not cover the recording once")
        return self

    @property
    def times(self) -> list[list[tuple[float, float]]]:
        """Return the start and end of each phone, word by word, as `spoken_examples` reads them."""
        return [[(start, end) for _, start, end in word.phones] for word in self.words]

    @property
    def phone_count(self) -> int:
        """Return the number of phones."""
        return sum(len(word.phones) for word in self.words)

    @property
    def spoken_seconds(self) -> float:
        """Return the length without silences."""
        return self.seconds - sum(end - start for start, end in self.silences)


class FailedClip(StrictConfig):
    """A clip that could not be aligned.

    Attributes:
        error: one sentence.
    """

    id: Id
    error: Annotated[str, Field(min_length=1, max_length=MAX_ERROR)]


def read_alignment(path: Path) -> list[AlignedClip]:
    """Return the clips of a finished alignment, in the order of the corpus.

    Raises:
        DataError: the file cannot be read, is not finished, or a line is invalid.
    """
    header, clips, failed = _read_file(path)
    if header.clips is None or header.failed is None:
        raise DataError(f"{path} is not finished; run the same `wavenet data align` again")
    if (header.clips, header.failed) != (len(clips), len(failed)):
        raise DataError(
            f"{path} has {len(clips):,} clips and {len(failed):,} failures; its first line says "
            f"{header.clips:,} and {header.failed:,}; align the corpus again"
        )
    return clips


def read_reusable(path: Path, header: AlignmentHeader) -> dict[str, AlignedClip]:
    """Return the clips of an earlier alignment by id, for those that are the same now.

    Returns:
        {} if there is no file, if it is damaged, or if another version of the aligner or of this
        program made it.
    Raises:
        DataError: the file is not an alignment.
    """
    if not os.path.lexists(path):
        return {}
    _check_is_alignment(path, next(_read_lines(path, may_be_cut=True), (1, b""))[1])
    try:
        found, clips, _ = _read_file(path, may_be_cut=True)
    except DataError:
        return {}
    is_same = (found.aligner, found.program) == (header.aligner, header.program)
    return {clip.id: clip for clip in clips} if is_same else {}


def write_alignment(
    path: Path, header: AlignmentHeader, lines: Iterable[AlignedClip | FailedClip]
) -> None:
    """Write a finished alignment, complete or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            for line in (header, *lines):
                file.write(_to_line(line))
    except OSError as error:
        raise _cannot_write(path, error) from None


def partial_path(path: Path) -> Path:
    """Return the file of an alignment that is not finished."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


class AlignmentWriter:
    """Appends lines to a file; a process that is killed loses at most an incomplete last line.

    Args:
        path: of a new file, or of one that `read_reusable` has read.
        header: written first; the lines of an earlier file are replaced by `kept`.
        kept: lines that are finished already.
    Raises:
        FolderError: the file cannot be written.
    """

    def __init__(self, path: Path, header: AlignmentHeader, kept: Iterable[AlignedClip]):
        self._path = path
        write_alignment(path, header, kept)
        try:
            # unbuffered: a line is in the file as soon as it is written
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(path, error) from None

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def append(self, line: AlignedClip) -> None:
        """Append a line.

        Raises:
            FolderError: the disk is full, or the file cannot be written.
        """
        try:
            content = _to_line(line)
            if self._file.write(content) != len(content):
                raise OSError("the disk is full; free some space or choose another disk")
        except OSError as error:
            raise _cannot_write(self._path, error) from None


def _read_file(
    path: Path, may_be_cut: bool = False
) -> tuple[AlignmentHeader, list[AlignedClip], list[FailedClip]]:
    """Return the content of a file.

    Args:
        may_be_cut: whether an incomplete last line is left out; otherwise it is an error.
    """
    lines = _read_lines(path, may_be_cut)
    _, first = next(lines, (1, b""))
    _check_is_alignment(path, first)
    header = _parse(AlignmentHeader, first, path, 1)
    clips: dict[str, AlignedClip] = {}
    failed: list[FailedClip] = []
    for number, line in lines:
        if line.startswith(b'{"error":'):
            failed.append(_parse(FailedClip, line, path, number))
            continue
        clip = _parse(AlignedClip, line, path, number)
        if clip.id in clips:
            raise DataError(f"{path} line {number}: the id {clip.id!r} occurs twice")
        clips[clip.id] = clip
    return header, list(clips.values()), failed


def _check_is_alignment(path: Path, first: bytes) -> None:
    """Check the first line of a file."""
    try:
        kind = json.loads(first).get("format")
    except (ValueError, AttributeError, RecursionError):
        kind = None
    if kind != FORMAT:
        raise DataError(
            f"{path} is not an alignment; expected a file that `wavenet data align` has written"
        )


def _read_lines(path: Path, may_be_cut: bool) -> Iterator[tuple[int, bytes]]:
    if not path.is_file():
        raise DataError(f"{path} is not a file; write it with `wavenet data align`")
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(f"{path} line {number} is longer than {MAX_LINE_BYTES:,} bytes")
                if not line.endswith(b"\n"):
                    if may_be_cut and number > 1:
                        return
                    raise DataError(f"{path} line {number} is incomplete; align the corpus again")
                yield number, line
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None


def _parse(kind: type[LineT], line: bytes, path: Path, number: int) -> LineT:
    try:
        return parse_config(kind, line, f"{path} line {number}")
    except ConfigError as error:
        raise DataError(str(error)) from None


def _to_line(line: StrictConfig) -> bytes:
    # the reader recognises a failure by its first key
    keys = sorted(type(line).model_fields, key=lambda name: name != "error")
    content = line.model_dump(mode="json")
    return json.dumps({name: content[name] for name in keys}, ensure_ascii=False).encode() + b"\n"


def _cannot_write(path: Path, error: OSError) -> FolderError:
    return FolderError(f"{path} cannot be written: {os_error_reason(error)}")
