"""Check a manifest: each row separately, and collisions between rows.

Input: a manifest and the settings of a batch. Output: its tasks and invalid rows, or a summary of
them. Called by the command before any clip is generated, and again by `run`.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from audio_utils.errors import AudioError
from audio_utils.levels import LevelSummary
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.manifest import ManifestRow, read_rows
from wavenet.batch.manifest_columns import find_column, find_row_id
from wavenet.batch.output_folder import has_journal
from wavenet.batch.output_names import collision_key
from wavenet.batch.tasks import ClipTask, load_checkpoint, make_task, noise_stream
from wavenet.disk_space import audio_bytes
from wavenet.errors import CheckpointError, ConditionError, WaveNetError
from wavenet.terminal import shorten_values
from wavenet.user_input.separated_text import InvalidRow

MAX_LISTED = 50  # invalid rows that a summary lists


@dataclass(frozen=True)
class InvalidManifestRow(InvalidRow):
    """A row that describes no clip.

    Attributes:
        identity: the id of the row; None if the line cannot be read, if the id is invalid, or if an
            earlier row has the same one.
    """

    identity: str | None = None


@dataclass
class ManifestSummary:
    """Counts of the rows of a manifest.

    Attributes:
        rows: number of rows of the shard, up to the limit, including invalid rows.
        is_empty: whether the manifest has no rows, in any shard.
        valid_count: number of rows that can be processed.
        seconds: total length of their clips.
        invalid_rows: the first invalid rows.
        invalid_count: number of all invalid rows.
        unknown_columns: by the name of each unused column, the number of valid rows that have it.
        unlabelled_count: number of valid rows that set none of the labels of their model, although
            they have unknown columns.
        labels: the names of these labels.
        replaced_suffixes: by the name of a column with names from another data set, the number of
            valid rows whose name has the suffix of another audio format, which is replaced.
        input_levels: of the recordings that the valid rows read, once per row.
        new_bytes: size of the files that do not exist yet, at least.
    """

    rows: int = 0
    is_empty: bool = False
    valid_count: int = 0
    seconds: float = 0.0
    invalid_rows: list[InvalidRow] = field(default_factory=list)
    invalid_count: int = 0
    unknown_columns: Counter[str] = field(default_factory=Counter)
    unlabelled_count: int = 0
    labels: list[str] = field(default_factory=list)
    replaced_suffixes: Counter[str] = field(default_factory=Counter)
    input_levels: LevelSummary = field(default_factory=LevelSummary)
    new_bytes: int = 0

    def add(self, item: ClipTask | InvalidManifestRow) -> None:
        """Count a row."""
        self.rows += 1
        if isinstance(item, ClipTask):
            self.valid_count += 1
            self.seconds += item.seconds
            self._add_columns(item)
            if item.suffix_column is not None:
                self.replaced_suffixes[item.suffix_column] += 1
            self.input_levels = self.input_levels.merged(item.input_levels)
            return
        self.invalid_count += 1
        if len(self.invalid_rows) < MAX_LISTED:
            self.invalid_rows.append(item)

    def _add_columns(self, task: ClipTask) -> None:
        for column in task.extra:
            if column in self.unknown_columns or len(self.unknown_columns) < MAX_LISTED:
                self.unknown_columns[column] += 1
        labels = [c.name for c in load_checkpoint(task.checkpoint)[0].config.model.labels]
        if task.extra and labels and not any(name in task.conditions for name in labels):
            self.unlabelled_count += 1
            self.labels += [name for name in labels if name not in self.labels]


def check_manifest(
    manifest: Path, settings: BatchSettings, options: BatchOptions, execution: ExecutionConfig
) -> ManifestSummary:
    """Check every row, and that no two rows have the same id or file.

    Raises:
        DataError: the manifest cannot be read.
        CheckpointError: the default checkpoint cannot be used.
        ConditionError: the batch would replace a file that no batch wrote.
        FolderError: the location of the clips cannot be reached.
    """
    summary = ManifestSummary()
    protects_files = not options.overwrite and not has_journal(execution.folder)
    storage = execution.storage
    storage.refresh()
    for item in iterate_tasks(manifest, settings, options, execution.folder):
        summary.add(item)
        if not isinstance(item, ClipTask):
            continue
        exists = storage.exists(item.output)
        if not exists:
            suffix = PurePosixPath(item.output).suffix
            summary.new_bytes += audio_bytes(suffix, item.samples, settings.subtype)
        if protects_files and exists:
            raise ConditionError(
                f"{execution.remote_url or execution.folder}/{item.output} exists and was not "
                f"written by a batch ({execution.folder} has no results.jsonl); choose another "
                "--out-dir or add --overwrite"
            )
    summary.is_empty = not summary.rows and next(read_rows(manifest), None) is None
    return summary


def iterate_tasks(
    manifest: Path, settings: BatchSettings, options: BatchOptions, folder: Path
) -> Iterator[ClipTask | InvalidManifestRow]:
    """Yield a `ClipTask` or an `InvalidManifestRow` for each row of a shard.

    The id of a row selects its shard. Collisions are detected between rows of all shards.

    Args:
        folder: output folder, to detect rows whose input is the output of another row.
    """
    shard, count = options.shard, 0
    seen: dict[bytes, int] = {}
    for row in read_rows(manifest):
        item = _check_row(row, settings, folder, seen)
        if noise_stream(item.identity or str(row.line)) % shard.count != shard.number - 1:
            continue
        if options.limit is not None and count >= options.limit:
            return
        count += 1
        yield item


def _check_row(
    row: ManifestRow | InvalidRow, settings: BatchSettings, folder: Path, seen: dict[bytes, int]
) -> ClipTask | InvalidManifestRow:
    if isinstance(row, InvalidRow):
        return InvalidManifestRow(row.line, row.reason)
    identity = find_row_id(row.values, row.line)
    if identity is not None:
        line = seen.setdefault(b"i" + collision_key(identity), row.line)
        if line != row.line:
            return InvalidManifestRow(row.line, f"has the same id as line {line}: {identity!r}")
    try:
        task = make_task(row, settings)
    except (WaveNetError, AudioError) as error:
        if isinstance(error, CheckpointError) and find_column(row.values, "checkpoint") is None:
            raise  # the default checkpoint, without which all rows would fail
        return InvalidManifestRow(row.line, shorten_values(str(error)), identity=identity)
    collision = _find_collision(task, folder, seen)
    if collision is not None:
        return InvalidManifestRow(row.line, collision, identity=identity)
    return task


def _find_collision(task: ClipTask, folder: Path, seen: dict[bytes, int]) -> str | None:
    """Return the collision of a task's files with an earlier row, or None; add them to `seen`.

    Args:
        seen: line by key: b"i" + key of an id, key of an output file, b"d" + key of a folder of an
            output file, b"r" + key of an input file.
    """
    file = collision_key(task.output)
    line = seen.setdefault(file, task.line)
    if line != task.line:
        return f"has the same file as line {line}: {task.output!r}"
    for parent in PurePosixPath(task.output).parents:
        folder_key = collision_key(str(parent))
        seen.setdefault(b"d" + folder_key, task.line)
        if folder_key in seen:
            return f"writes into {parent}, which line {seen[folder_key]} writes as a file"
    if b"d" + file in seen:
        return f"writes {task.output}, which is a folder of line {seen[b'd' + file]}"
    for path in filter(None, (task.prompt_file, task.condition_file)):
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
        input_key = collision_key(relative)
        seen.setdefault(b"r" + input_key, task.line)
        if input_key in seen:
            return f"reads {path}, which line {seen[input_key]} writes"
    if b"r" + file in seen:
        return f"writes {task.output}, which line {seen[b'r' + file]} reads"
    return None
