"""A report on a folder of recordings: lengths, rates, fields, clipping, silence, unreadable files.

Input: a folder, read as in training. Output: a `DatasetReport` before the first file and after
each. A prepared corpus has its report already. Called by `wavenet data report` and the studio.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audio_utils.decoding import MeasuredAudio, measure_file, open_stream
from audio_utils.errors import AudioError
from audio_utils.levels import Channel, LevelSummary, SampleStatistics
from wavenet.corpus.format import is_corpus, read_corpus_report
from wavenet.corpus.reader import Corpus
from wavenet.recordings.audio_metadata import (
    AudioListing,
    ignore,
    list_audio_files,
    relative_name,
)
from wavenet.recordings.left_out_files import (
    NOT_IN_PATTERN,
    LeftOutCollector,
    LeftOutFiles,
    count_left_out_audio,
    left_out_share,
    merge_groups,
    unreadable_reason,
)
from wavenet.recordings.name_patterns import guess_pattern
from wavenet.training.label_checks import LabelDoubt, find_label_doubts

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
        left_out: all files of the folder that training does not use, by reason, including the
            unreadable ones.
        left_out_audio: number of those that a user may expect to be used.
        left_out_share: their fraction of all audio files.
        doubts: for each field, signs that its values are not labels.
        suggested_pattern: a pattern that fits the paths, if there are no fields; one that fits the
            paths that the given pattern does not fit; or None.
        levels: readable files beyond full scale, and files whose channels nearly cancel.
        merged: as in `audio_metadata.AudioListing`.
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
    left_out: Sequence[LeftOutFiles] = ()
    left_out_audio: int = 0
    left_out_share: float = 0.0
    doubts: Sequence[LabelDoubt] = ()
    suggested_pattern: str | None = None
    levels: LevelSummary = field(default_factory=LevelSummary)
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def describe_misfits(report: DatasetReport) -> str | None:
    """Return a sentence on the names that do not fit the pattern; None if all fit."""
    group = next((g for g in report.left_out if g.reason == NOT_IN_PATTERN), None)
    if group is None:
        return None
    count, total = group.count, report.files + group.count
    verb = "does" if count == 1 else "do"
    return f"{count:,} of {total:,} names {verb} not fit the pattern, for example {group.names[0]}"


def scan_dataset(
    folder: Path,
    pattern: str | None = None,
    metadata: str | None = None,
    channel: Channel = "mix",
    normalize: bool = False,
    on_found: Callable[[int], None] = ignore,
) -> Iterator[DatasetReport]:
    """Read every recording of a folder; yield a report before the first one and after each.

    All checks that need no audio are done before this returns.

    Args:
        folder, pattern, metadata: as in `audio_metadata.list_audio_files`; or a prepared corpus,
            and the pattern or metadata that it was prepared with.
        channel, normalize: as in `audio_utils.io.read`; a corpus has those of its preparation.
        on_found: as in `audio_metadata.list_audio_files`.
    Raises:
        DataError: as `audio_metadata.list_audio_files`, or the corpus is damaged.
        ConfigError: the corpus was prepared with other fields.
    """
    if is_corpus(folder):
        return iter([_report_of_corpus(folder, pattern, metadata, channel, normalize)])
    listing = list_audio_files(folder, pattern, metadata, on_found)
    counts: dict[str, Counter[str]] = {}
    for entry in listing.files:
        for name, value in entry.fields.items():
            counts.setdefault(name, Counter())[value] += 1
    source = listing.table.name if listing.table else "file names" if pattern else None
    paths = [relative_name(entry.path, folder) for entry in listing.files]
    report = DatasetReport(
        len(listing.files),
        source,
        unreadable=tuple(listing.folder_errors[:MAX_LISTED]),
        unreadable_count=len(listing.folder_errors),
        suggested_pattern=listing.suggested_pattern if source else guess_pattern(paths),
        merged=listing.merged,
    )
    report = _with_fields(report, counts)
    return _scan_files(folder, listing, report, counts, channel, normalize)


def _report_of_corpus(
    folder: Path, pattern: str | None, metadata: str | None, channel: Channel, normalize: bool
) -> DatasetReport:
    """Return the report that was written with a corpus."""
    corpus = Corpus(folder)
    corpus.check_field_source(pattern, metadata)
    corpus.check_reading(channel, normalize)
    header, report = corpus.header, read_corpus_report(folder)
    source = "file names" if header.pattern else header.metadata
    return DatasetReport(
        field_source=source,
        fields=corpus.field_values,
        done=report.files,
        left_out_audio=count_left_out_audio(report.left_out),
        left_out_share=left_out_share(report.left_out, report.readable),
        doubts=find_label_doubts(corpus.count_values()),
        **dict(report),
    )


def _scan_files(
    folder: Path,
    listing: AudioListing,
    report: DatasetReport,
    counts: Mapping[str, Counter[str]],
    channel: Channel,
    normalize: bool,
) -> Iterator[DatasetReport]:
    """Read the recordings one after the other; yield the report after each."""
    durations: list[float] = []  # seconds, sorted
    silence = 0.0  # seconds
    left_out = LeftOutCollector()
    report = _with_left_out(report, listing.left_out, report.files)
    yield report
    for entry in listing.files:
        report = replace(report, done=report.done + 1)
        try:
            measured, statistics = _measure_file(entry.path, channel, normalize)
        except AudioError as error:
            left_out.add(unreadable_reason(entry.path), relative_name(entry.path, folder))
            listed = (*report.unreadable, str(error))[:MAX_LISTED]
            report = replace(
                report, unreadable=listed, unreadable_count=report.unreadable_count + 1
            )
            groups = merge_groups(listing.left_out, left_out.groups)
            report = _with_left_out(report, groups, report.files - report.done + len(durations))
            for field_name, value in entry.fields.items():
                counts[field_name][value] -= 1  # as in training, without the unreadable files
            yield _with_fields(report, counts) if report.done == report.files else report
            continue
        seconds = measured.samples / measured.sample_rate
        name = relative_name(entry.path, folder)
        insort(durations, seconds)
        silence += statistics.silent_seconds
        report = replace(
            report,
            readable=len(durations),
            seconds=report.seconds + seconds,
            shortest=durations[0],
            median=(durations[(len(durations) - 1) // 2] + durations[len(durations) // 2]) / 2,
            longest=durations[-1],
            rates=_increment(report.rates, measured.sample_rate),
            channels=_increment(report.channels, measured.channels),
            levels=report.levels.with_file(name, measured.levels),
            silent=silence / (report.seconds + seconds),
        )
        if statistics.is_clipped:
            report = replace(
                report,
                clipped=(*report.clipped, name)[:MAX_LISTED],
                clipped_count=report.clipped_count + 1,
            )
        is_corrected = left_out.groups and report.done == report.files
        yield _with_fields(report, counts) if is_corrected else report


def _with_fields(report: DatasetReport, counts: Mapping[str, Counter[str]]) -> DatasetReport:
    """Return a report with the values of all fields, and the doubts about them."""
    known = {name: positive for name, numbers in counts.items() if (positive := +numbers)}
    fields = {name: tuple(sorted(numbers)) for name, numbers in known.items()}
    return replace(report, fields=fields, doubts=find_label_doubts(known))


def _measure_file(
    path: Path, channel: Channel, normalize: bool
) -> tuple[MeasuredAudio, SampleStatistics]:
    """Read a recording block by block: the memory does not depend on its length."""
    gain = 1.0
    if normalize:
        gain = measure_file(path, None, channel, normalize).levels.gain
    with open_stream(path, None, channel, check_peak=not normalize) as stream:
        statistics = SampleStatistics(stream.sample_rate)
        for block in stream.limited_blocks(gain):
            statistics.add(block)
        return stream.measured(statistics.samples, gain), statistics


def _with_left_out(
    report: DatasetReport, groups: Sequence[LeftOutFiles], used: int
) -> DatasetReport:
    """Return the report with the files that are left out, and the number of those that are used."""
    return replace(
        report,
        left_out=groups,
        left_out_audio=count_left_out_audio(groups),
        left_out_share=left_out_share(groups, used),
    )


def _increment(counts: Mapping[int, int], key: int) -> dict[int, int]:
    """Return a copy with one count increased, its keys sorted."""
    return dict(sorted({**counts, key: counts.get(key, 0) + 1}.items()))
