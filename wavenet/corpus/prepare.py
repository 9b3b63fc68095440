"""Make a corpus of a folder of recordings, and go on with one wherever it was left.

A folder and settings enter; a corpus leaves, and a report on what is in it. What is whole stays:
the same command goes on after whatever stopped it, mends what was damaged, and makes again what
changed in the recordings. The result is the same to the last bit, whoever made which part, when.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import soundfile

from audio_utils.atomic_files import os_error_reason
from wavenet.config import make_config, parse_config
from wavenet.corpus.crew import make_shards
from wavenet.corpus.format import (
    INDEX,
    PARTS,
    SETTINGS,
    SHARDS,
    Report,
    Settings,
    is_corpus,
    write_text,
)
from wavenet.corpus.index import finish, sweep
from wavenet.corpus.listing import Listing, blocks, list_files, name_table
from wavenet.errors import ConfigError, DataError, FolderError
from wavenet.locks import LOCK_NAME, hold, refuse_held

MOST_WORKERS = 8  # unless more are asked for

Advance = Callable[[int], None]


def _no_bar(files: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda done: None)


def prepare(
    source: Path,
    folder: Path,
    sample_rate: int | None = None,
    pattern: str | None = None,
    metadata: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    show: Callable[[int], AbstractContextManager[Advance]] = _no_bar,
) -> Report:
    """Bring the recordings of a folder into a corpus.

    Args:
        source: folder of recordings, searched with its subfolders.
        folder: of the corpus; new, empty, or one that this began.
        sample_rate: Hz; that of the first recording when left out.
        pattern, metadata: where labels come from, as in `manifest.find_entries`.
        workers: processes; as many as there are cores when left out, 8 at most.
        overwrite: begin anew where there is a corpus of other settings.
        show: given the number of files; gives what is told how many more are done.
    Raises:
        DataError: nothing to make a corpus of.
        ConfigError: the corpus that is there was made with other settings.
        FolderInUse: another process makes it; FolderError: it cannot be written.
    """
    _check_folder(folder)
    refuse_held(folder)  # before a long listing
    source = source.absolute().resolve() if source.is_dir() else source
    table = name_table(source, pattern, metadata)
    listing = list_files(source, pattern, metadata)
    with hold(folder):
        settings = _settle(source, folder, sample_rate, pattern, table, listing, overwrite)
        plan = list(blocks(settings, listing.names))
        with show(len(listing.names)) as advance:
            for done in make_shards(folder, settings, plan, workers or _cores()):
                advance(done)
        return finish(folder, settings, listing, plan)


def _check_folder(folder: Path) -> None:
    """See that a corpus may be written there; nothing is made."""
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
            f"{folder} holds something else, such as {min(others)}; choose a new folder"
        )


def _settle(
    source: Path,
    folder: Path,
    sample_rate: int | None,
    pattern: str | None,
    table: str | None,
    listing: Listing,
    overwrite: bool,
) -> Settings:
    """Give the settings of a corpus: those it was begun with, or new ones, which are written."""
    path = folder / SETTINGS
    before = None
    if path.is_file() and not overwrite:
        try:
            before = parse_config(Settings, path.read_bytes(), str(path))
        except (OSError, ConfigError):
            raise DataError(f"{path} cannot be read; begin anew with --overwrite") from None
    if sample_rate is None:
        sample_rate = before.sample_rate if before else _first_rate(source, listing.names)
    text = os.fspath(source)
    settings = make_config(
        Settings,
        "the corpus",
        source=text,
        sample_rate=sample_rate,
        pattern=pattern,
        metadata=table,
    )
    for name in Settings.model_fields if before else ():
        was, wanted = getattr(before, name), getattr(settings, name)
        if was != wanted:
            raise ConfigError(
                f"{folder} was begun with {name.replace('_', ' ')} {was}, asked is {wanted}; "
                "choose another folder, or begin anew with --overwrite"
            )
    sweep(folder, every=before is None)
    try:
        for name in (SHARDS, PARTS, INDEX):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be written: {os_error_reason(error)}"
        ) from None
    if before is None:
        write_text(path, settings.model_dump_json(indent=2) + "\n")
    return settings


def _first_rate(source: Path, names: list[str]) -> int:
    """Look for a recording that can be read, and give its rate."""
    for name in names:
        path = source / name
        try:
            # only of a file: a pipe would be waited for
            rate = soundfile.info(path).samplerate if path.is_file() else 0
        except (soundfile.LibsndfileError, OSError):
            continue
        if 4_000 <= rate <= 192_000:
            return int(rate)
    raise DataError(
        f"{source} has no recording that can be read; `wavenet data report` tells of each"
    )


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)
    return min(len(usable(0)) if usable else os.cpu_count() or 1, MOST_WORKERS)
