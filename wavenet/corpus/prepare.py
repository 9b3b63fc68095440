"""Prepare a corpus from a folder of recordings, and resume an interrupted preparation.

Input: a folder and settings. Output: a corpus, and a report on its content. Complete shards are
kept: the same command resumes, and rewrites shards that are damaged or whose recordings changed.
The result is the same to the last bit; it does not depend on the processes that wrote the shards.
Called by the command.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import soundfile

from audio_utils.atomic_files import os_error_reason
from audio_utils.audio_formats import FFMPEG_SUFFIXES
from audio_utils.decoding import open_stream
from audio_utils.errors import AudioError
from audio_utils.levels import Channel
from wavenet.config import make_config, parse_config
from wavenet.corpus.file_listing import (
    FileListing,
    list_files,
    metadata_file_name,
    split_into_blocks,
)
from wavenet.corpus.format import (
    INDEX_FOLDER,
    PCM_DTYPE,
    SETTINGS_FILE,
    SHARD_FOLDER,
    SUMMARY_FOLDER,
    CorpusReport,
    CorpusSettings,
    is_corpus,
    write_text,
)
from wavenet.corpus.index import clean_folder, write_index
from wavenet.corpus.shard_workers import write_shards
from wavenet.disk_space import check_free_space
from wavenet.errors import ConfigError, DataError, FolderError
from wavenet.folder_lock import LOCK_NAME, check_unlocked, lock_folder
from wavenet.progress import NoProgress, Progress

MAX_DEFAULT_WORKERS = 8
MAX_EXAMINED_RATES = 10_000  # files
MAX_EXAMINED_LENGTHS = 1_000  # files


def _no_progress(files: int) -> AbstractContextManager[Progress]:
    return nullcontext(NoProgress())


def prepare_corpus(
    source: Path,
    folder: Path,
    sample_rate: int | None = None,
    pattern: str | None = None,
    metadata: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    open_progress: Callable[[int], AbstractContextManager[Progress]] = _no_progress,
    on_message: Callable[[str], None] = lambda text: None,
    channel: Channel = "mix",
    normalize: bool = False,
    open_listing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> CorpusReport:
    """Prepare a corpus from the recordings of a folder.

    Args:
        source: folder of recordings, searched with its subfolders.
        folder: of the corpus: new, empty, or an earlier corpus.
        sample_rate: Hz; by default that of the existing corpus, otherwise that of most recordings.
        pattern, metadata: source of the fields, as in `audio_metadata.list_audio_files`.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace a corpus that has other settings.
        open_progress: called with the number of files; returns a progress that counts files.
        on_message: receives a sentence if the sample rates of the recordings differ.
        channel, normalize: as in `audio_utils.io.read`.
        open_listing: the files are listed in a `with` block of its result.
    Raises:
        DataError: the folder has no recording that can be read.
        ConfigError: the existing corpus has other settings.
        FolderInUse: another process prepares it.
        FolderError: it cannot be written.
    """
    _check_folder(folder)
    check_unlocked(folder)  # before a long listing
    source = source.absolute().resolve() if source.is_dir() else source
    metadata = metadata_file_name(source, pattern, metadata)
    with open_listing():
        listing = list_files(source, pattern, metadata)
    with lock_folder(folder):
        before = None if overwrite else _read_settings(folder)
        if sample_rate is None:
            sample_rate = (
                before.sample_rate if before else _choose_rate(source, listing, on_message)
            )
        settings = make_config(
            CorpusSettings,
            "the corpus",
            source=os.fspath(source),
            sample_rate=sample_rate,
            pattern=pattern,
            metadata=metadata,
            channel=channel,
            normalize=normalize,
        )
        if before is not None:
            _check_same_settings(folder, before, settings)
        _check_space(folder, settings, listing)
        _prepare_folder(folder, settings, is_new=before is None)
        blocks = list(split_into_blocks(settings, listing.paths))
        with open_progress(len(listing.paths)) as progress:
            write_shards(folder, settings, blocks, workers or _default_workers(), progress)
        return write_index(folder, settings, listing, blocks)


def _check_space(folder: Path, settings: CorpusSettings, listing: FileListing) -> None:
    """Check that the disk has space for the shards; those of an earlier call are replaced or kept.

    The lengths of some recordings, evenly distributed over the listing, are read from their
    headers; the others are estimated from these. Recordings that only ffmpeg reads count as empty.

    Raises:
        FolderError: it has too little space.
    """
    count = len(listing.paths)
    examined = min(count, MAX_EXAMINED_LENGTHS)
    paths = (listing.paths[n * count // examined] for n in range(examined))
    seconds = sum(_read_seconds(Path(settings.source, path)) for path in paths)
    size = PCM_DTYPE.itemsize * settings.sample_rate * seconds * count / examined
    written = sum(path.stat().st_size for path in (folder / SHARD_FOLDER).glob("*"))
    check_free_space(folder, size - written, "the shards")


def _read_seconds(path: Path) -> float:
    """Return the length in the header of a file; 0 if it is unknown."""
    try:
        info = soundfile.info(os.fsencode(path)) if path.is_file() else None
    except (soundfile.LibsndfileError, OSError):
        return 0.0
    # a stream of unknown length has the largest integer
    return float(info.duration) if info and info.frames < 1 << 40 else 0.0


def _check_folder(folder: Path) -> None:
    """Check that a corpus may be written to a folder; create nothing."""
    if folder.is_dir() and is_corpus(folder):
        return
    try:
        others = [name for name in os.listdir(folder) if name != LOCK_NAME]
    except FileNotFoundError:
        return
    except OSError as error:
        raise FolderError(f"the folder {folder} cannot be used: {os_error_reason(error)}") from None
    if others:
        raise FolderError(
            f"{folder} contains other files, such as {min(others)}; choose a new folder"
        )


def _read_settings(folder: Path) -> CorpusSettings | None:
    """Return the settings of an existing corpus, or None."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return None
    try:
        return parse_config(CorpusSettings, path.read_bytes(), str(path))
    except (OSError, ConfigError):
        raise DataError(f"{path} cannot be read; start again with --overwrite") from None


def _check_same_settings(folder: Path, before: CorpusSettings, settings: CorpusSettings) -> None:
    for name in CorpusSettings.model_fields:
        old, new = getattr(before, name), getattr(settings, name)
        if old != new:
            raise ConfigError(
                f"{folder} was prepared with {name.replace('_', ' ')} {old}, not {new}; choose "
                "another folder, or start again with --overwrite"
            )


def _prepare_folder(folder: Path, settings: CorpusSettings, is_new: bool) -> None:
    """Create the subfolders; remove incomplete files.

    Args:
        is_new: first remove what an earlier corpus left; then write the settings.
    """
    clean_folder(folder, remove_corpus=is_new)
    try:
        for name in (SHARD_FOLDER, SUMMARY_FOLDER, INDEX_FOLDER):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be written: {os_error_reason(error)}"
        ) from None
    if is_new:
        write_text(folder / SETTINGS_FILE, settings.model_dump_json(indent=2) + "\n")


def _choose_rate(source: Path, listing: FileListing, on_message: Callable[[str], None]) -> int:
    """Return the sample rate of most recordings; of equally frequent rates the lowest.

    If there are very many recordings, only some are read, evenly distributed over the listing.
    """
    count = len(listing.paths)
    examined = min(count, MAX_EXAMINED_RATES)
    indices = (n * count // examined for n in range(examined))
    rates = Counter(_read_rate(source / listing.paths[n]) for n in indices)
    del rates[0]
    if not rates:
        raise DataError(
            f"{source} has no readable recording; `wavenet data report` lists the errors"
        )
    chosen = min(rates, key=lambda rate: (-rates[rate], rate))
    if len(rates) > 1:
        found = ", ".join(f"{rate} Hz ({rates[rate]:,})" for rate in sorted(rates))
        of = f" of {examined:,} examined recordings" if examined < count else ""
        on_message(
            f"the sample rates{of} differ: {found}; all are converted to {chosen} Hz, the rate of "
            "most; --sample-rate selects another"
        )
    return chosen


def _read_rate(path: Path) -> int:
    """Return the sample rate in the header of a file; 0 if it cannot be used."""
    try:
        # only regular files: opening a pipe would block
        # as bytes: a name that is not UTF-8 would raise
        rate = int(soundfile.info(os.fsencode(path)).samplerate) if path.is_file() else 0
    except (soundfile.LibsndfileError, OSError):
        return _read_rate_with_ffmpeg(path)
    return rate if 4_000 <= rate <= 192_000 else 0


def _read_rate_with_ffmpeg(path: Path) -> int:
    """Return the sample rate of a file that only ffmpeg reads; 0 if it cannot be read."""
    if path.suffix.lower() not in FFMPEG_SUFFIXES:
        return 0
    try:
        with open_stream(path) as stream:
            return int(stream.original_rate)
    except AudioError:
        return 0


def _default_workers() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_WORKERS)
