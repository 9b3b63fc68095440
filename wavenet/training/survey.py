"""What is in a folder of recordings, before anything is trained on it.

A folder enters, read as training reads it; a report that grows with every file leaves. Of a
prepared corpus it is there already. Called by `wavenet data report` and the studio.
"""

import re
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from audio_utils import io
from audio_utils.analysis import is_clipped, silent_fraction
from audio_utils.errors import AudioError
from wavenet.audio_metadata import AUDIO_SUFFIXES, AudioFile, find_audio_files, find_metadata
from wavenet.corpus.format import is_corpus, read_corpus_report
from wavenet.corpus.reader import Corpus

SHOWN = 20  # names, sentences: enough to see what is wrong


@dataclass(frozen=True)
class Survey:
    """What is known of a folder so far; complete once `done` equals `files`.

    Attributes:
        files: recordings there are, with a pattern those whose names fit.
        format: where labels come from; None where there are none.
        fields: by name, the values that are given to files, in order.
        done: files looked at; readable: of these, those that training can use.
        seconds: of all readable ones together.
        shortest, median, longest: seconds; None while nothing was readable.
        rates: Hz -> files.
        channels: number -> files.
        clipped: names of the first files with `CLIPPED_RUN` or more neighbouring samples at full
            scale, as training hears them, that is mixed to one channel.
        clipped_count: number of all such files.
        silent: share of the time in blocks of 10 ms whose RMS is below -60 dB re full scale.
        unreadable: a sentence for each of the first files that cannot be read.
        unreadable_count: number of all such files.
    """

    files: int
    format: str | None = None
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    done: int = 0
    readable: int = 0
    seconds: float = 0.0
    shortest: float | None = None
    median: float | None = None
    longest: float | None = None
    rates: Mapping[int, int] = field(default_factory=dict)
    channels: Mapping[int, int] = field(default_factory=dict)
    clipped: Sequence[str] = ()
    clipped_count: int = 0
    silent: float | None = None
    unreadable: Sequence[str] = ()
    unreadable_count: int = 0


def survey(
    folder: Path, pattern: str | None = None, metadata: str | None = None
) -> Iterator[Survey]:
    """Look at every recording of a folder; yields before the first one and after each.

    Everything that can be known without opening a recording is checked before this returns.

    Args:
        folder, pattern, metadata: as in `audio_metadata.find_audio_files`, or those of a prepared
            corpus.
    Raises:
        DataError: as `audio_metadata.find_audio_files` does; a corpus that is damaged.
        ConfigError: a corpus that was prepared with other labels.
    """
    if is_corpus(folder):
        return iter([_of_corpus(folder, pattern, metadata)])
    entries = find_audio_files(folder, pattern, metadata)
    table = find_metadata(folder, metadata) if pattern is None else None
    values: dict[str, set[str]] = {}
    for entry in entries:
        for name, value in entry.fields.items():
            values.setdefault(name, set()).add(value)
    source = table.name if table else "file names" if pattern else None
    fields = {name: tuple(sorted(found)) for name, found in values.items()}
    return _look(folder, entries, Survey(len(entries), source, fields))


def _of_corpus(folder: Path, pattern: str | None, metadata: str | None) -> Survey:
    """Tell what is known of a corpus since it was made."""
    corpus = Corpus(folder)
    corpus.check_field_source(pattern, metadata)
    header, report = corpus.header, read_corpus_report(folder)
    source = "file names" if header.pattern else header.metadata
    return Survey(format=source, fields=corpus.field_values, done=report.files, **dict(report))


def _look(folder: Path, entries: Sequence[AudioFile], found: Survey) -> Iterator[Survey]:
    """Open the recordings one after the other."""
    lengths: list[float] = []  # seconds, in order
    silence = 0.0  # seconds
    yield found
    for entry in entries:
        found = replace(found, done=found.done + 1)
        try:
            recording = io.read(entry.path)
        except AudioError as error:
            shown = (*found.unreadable, str(error))[:SHOWN]
            found = replace(found, unreadable=shown, unreadable_count=found.unreadable_count + 1)
            yield found
            continue
        seconds = len(recording.waveform) / recording.sample_rate
        insort(lengths, seconds)
        silence += seconds * silent_fraction(recording.waveform, recording.sample_rate)
        found = replace(
            found,
            readable=len(lengths),
            seconds=found.seconds + seconds,
            shortest=lengths[0],
            median=(lengths[(len(lengths) - 1) // 2] + lengths[len(lengths) // 2]) / 2,
            longest=lengths[-1],
            rates=_one_more(found.rates, recording.sample_rate),
            channels=_one_more(found.channels, recording.channels),
            silent=silence / (found.seconds + seconds),
        )
        if is_clipped(recording.waveform):
            name = _name(entry.path, folder)
            found = replace(
                found,
                clipped=(*found.clipped, name)[:SHOWN],
                clipped_count=found.clipped_count + 1,
            )
        yield found


def guess_pattern(names: Sequence[str]) -> str | None:
    """Suggest a pattern of labels for file names of one shape, such as "{field1}_{field2}".

    Args:
        names: of files, with or without suffix.
    Returns:
        None where the names differ in shape, or no part of them tells groups of files apart.
    """
    stems = [PurePath(name).stem if _is_audio(name) else name for name in names]
    for separators in ("_-", "_", "-"):
        shapes = {tuple(c for c in stem if c in separators) for stem in stems}
        parts = [re.split(f"[{separators}]", stem) for stem in stems]
        if len(shapes) != 1 or () in shapes or not all(map(all, parts)):
            continue
        columns = list(zip(*parts, strict=True))
        if any(1 < len(set(column)) < len(stems) for column in columns):
            fields = [f"{{field{n}}}" for n in range(1, len(columns) + 1)]
            return "".join(map("".join, zip(fields, (*shapes.pop(), ""), strict=True)))
    return None


def _is_audio(name: str) -> bool:
    return PurePath(name).suffix.lower() in AUDIO_SUFFIXES


def _one_more(counts: Mapping[int, int], key: int) -> dict[int, int]:
    """Count one more, in a copy whose keys are in order."""
    return dict(sorted({**counts, key: counts.get(key, 0) + 1}.items()))


def _name(path: Path, folder: Path) -> str:
    """Name a file within its folder; a table gives paths that are resolved."""
    for base in (folder, folder.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.name
