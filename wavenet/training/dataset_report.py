"""A report on a folder of recordings: lengths, rates, fields, clipping, silence, unreadable files.

Input: a folder, read as in training. Output: a `DatasetReport` before the first file and after
each. A prepared corpus has its report already. Called by `wavenet data report` and the studio.
"""

import re
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from audio_utils import io
from audio_utils.analysis import is_clipped, silent_fraction
from audio_utils.errors import AudioError
from wavenet.audio_metadata import AudioFile, find_audio_files, find_metadata, is_audio_name
from wavenet.corpus.format import is_corpus, read_corpus_report
from wavenet.corpus.reader import Corpus

MAX_LISTED = 20  # names or sentences: enough to see the problem


@dataclass(frozen=True)
class DatasetReport:
    """The report on the files of a folder read so far; complete if `done` equals `files`.

    Attributes:
        files: number of recordings; with a pattern, of those whose names match it.
        field_source: the metadata file, or "file names"; None if there are no fields.
        fields: by name, the values that occur, sorted.
        done: files read so far; readable: of these, those that training can use.
        seconds: of all readable ones together.
        shortest, median, longest: seconds; None while nothing was readable.
        rates: Hz -> files.
        channels: number -> files.
        clipped: names of the first files with `MIN_CLIPPED_RUN` or more consecutive samples at full
            scale, after mixing to one channel, as in training.
        clipped_count: number of all such files.
        silent: fraction of the time in blocks of 10 ms whose RMS is below -60 dB re full scale.
        unreadable: a sentence for each of the first files that cannot be read.
        unreadable_count: number of all such files.
    """

    files: int
    field_source: str | None = None
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


def scan_dataset(
    folder: Path, pattern: str | None = None, metadata: str | None = None
) -> Iterator[DatasetReport]:
    """Read every recording of a folder; yield a report before the first one and after each.

    All checks that need no audio are done before this returns.

    Args:
        folder, pattern, metadata: as in `audio_metadata.find_audio_files`; or a prepared corpus,
            and the pattern or metadata that it was prepared with.
    Raises:
        DataError: as `audio_metadata.find_audio_files`, or the corpus is damaged.
        ConfigError: the corpus was prepared with other fields.
    """
    if is_corpus(folder):
        return iter([_report_of_corpus(folder, pattern, metadata)])
    entries = find_audio_files(folder, pattern, metadata)
    table = find_metadata(folder, metadata) if pattern is None else None
    values: dict[str, set[str]] = {}
    for entry in entries:
        for name, value in entry.fields.items():
            values.setdefault(name, set()).add(value)
    source = table.name if table else "file names" if pattern else None
    fields = {name: tuple(sorted(found)) for name, found in values.items()}
    return _scan_files(folder, entries, DatasetReport(len(entries), source, fields))


def _report_of_corpus(folder: Path, pattern: str | None, metadata: str | None) -> DatasetReport:
    """Return the report that was written with a corpus."""
    corpus = Corpus(folder)
    corpus.check_field_source(pattern, metadata)
    header, report = corpus.header, read_corpus_report(folder)
    source = "file names" if header.pattern else header.metadata
    return DatasetReport(
        field_source=source, fields=corpus.field_values, done=report.files, **dict(report)
    )


def _scan_files(
    folder: Path, entries: Sequence[AudioFile], report: DatasetReport
) -> Iterator[DatasetReport]:
    """Read the recordings one after the other; yield the report after each."""
    durations: list[float] = []  # seconds, sorted
    silence = 0.0  # seconds
    yield report
    for entry in entries:
        report = replace(report, done=report.done + 1)
        try:
            recording = io.read(entry.path)
        except AudioError as error:
            listed = (*report.unreadable, str(error))[:MAX_LISTED]
            report = replace(
                report, unreadable=listed, unreadable_count=report.unreadable_count + 1
            )
            yield report
            continue
        seconds = len(recording.waveform) / recording.sample_rate
        insort(durations, seconds)
        silence += seconds * silent_fraction(recording.waveform, recording.sample_rate)
        report = replace(
            report,
            readable=len(durations),
            seconds=report.seconds + seconds,
            shortest=durations[0],
            median=(durations[(len(durations) - 1) // 2] + durations[len(durations) // 2]) / 2,
            longest=durations[-1],
            rates=_increment(report.rates, recording.sample_rate),
            channels=_increment(report.channels, recording.channels),
            silent=silence / (report.seconds + seconds),
        )
        if is_clipped(recording.waveform):
            name = relative_name(entry.path, folder)
            report = replace(
                report,
                clipped=(*report.clipped, name)[:MAX_LISTED],
                clipped_count=report.clipped_count + 1,
            )
        yield report


def guess_pattern(names: Sequence[str]) -> str | None:
    """Suggest a pattern of fields, such as "{field1}_{field2}".

    Args:
        names: of files, with or without suffix.
    Returns:
        None if the names have different sequences of separators, or if no part has a value that
        several, but not all, files share.
    """
    stems = [PurePath(name).stem if is_audio_name(name) else name for name in names]
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


def _increment(counts: Mapping[int, int], key: int) -> dict[int, int]:
    """Return a copy with one count increased, its keys sorted."""
    return dict(sorted({**counts, key: counts.get(key, 0) + 1}.items()))


def relative_name(path: Path, folder: Path) -> str:
    """Return the name of a file within its folder; paths of a table are resolved."""
    for base in (folder, folder.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.name
