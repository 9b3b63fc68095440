"""Compress and restore uploaded files, with limits, progress and an end at any time.

Input: paths of uploads. Output: new files in a folder, and one result per upload; the names in
results and errors are those of the user, never paths of the server. Uploads are hostile: their
samples are counted before anything is computed or written. Called by `compress_events` and
`compress_api`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_utils.decoding import open_regular_file
from wavenet.compression.block_windows import FILE_ERRORS
from wavenet.compression.blocks import Block, BlockCoder, BlockForm
from wavenet.compression.compress_files import (
    CompressedFile,
    CompressionSettings,
    compress_files,
)
from wavenet.compression.compressed_file import (
    SUFFIX,
    CompressedReader,
    ContainerPart,
    Record,
    StoredBlock,
)
from wavenet.compression.compressed_header import CompressedHeader
from wavenet.compression.compressor_folder import (
    compile_coder,
    load_block_coder,
    load_compressor,
)
from wavenet.compression.decode_files import EXPECTED, DecodedFile, decompress_files, restored_name
from wavenet.compression.file_task import FailedFile, FileTask, describe_error
from wavenet.compression.joined_files import read_joined_header
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.pcm_source import open_pcm_source
from wavenet.devices import available_cores
from wavenet.errors import CompressedFileError, ConditionError
from wavenet.ui.server.uploads import valid_file_name

MAX_FILES = 100
# Samples of all channels of all files: two minutes of stereo at 48 kHz.
MAX_VALUES = 12_000_000
MAX_CONTAINER_BYTES = 20_000_000  # around the samples of a file that is restored
# Shorter than those of the command line: the progress is finer, and a job can be stopped sooner.
BLOCK_SECONDS = 2.0
_NAME_BYTES = 200

Note = Callable[[float], None]  # receives the finished fraction of the work
Compressed = CompressedFile | FailedFile
Restored = DecodedFile | FailedFile


@cache
def prepare_compressor() -> None:
    """Compile the compressor once; on a new machine this needs about 15 seconds.

    Raises:
        CheckpointError: no compressor is installed.
    """
    compile_coder(load_compressor())


def compress_uploads(paths: Sequence[str], folder: Path, note: Note) -> list[Compressed]:
    """Compress uploaded audio files and verify them.

    Args:
        paths: of the uploads.
        folder: receives the compressed files.
        note: may raise an exception, which ends the work.
    Returns:
        One result per upload. The target of a `CompressedFile` is its name in the folder.
    Raises:
        ConditionError: there are too many files or samples.
        CheckpointError: no compressor is installed.
    """
    _check_number(paths)
    return _run(_Plan.make(paths, _plan_compression), folder, note, _compress)


def restore_uploads(paths: Sequence[str], folder: Path, note: Note) -> list[Restored]:
    """Restore uploaded compressed files; arguments, results and errors as `compress_uploads`."""
    _check_number(paths)
    return _run(_Plan.make(paths, _plan_restoring), folder, note, _restore)


def read_blocks(path: Path) -> tuple[CompressedHeader, list[StoredBlock]]:
    """Return the header and the blocks of a compressed file, without decoding them.

    The blocks are those of all parts, if several compressed files were joined.

    Raises:
        AudioError, CompressedFileError: it cannot be read, is damaged, or is too long.
    """
    name, blocks = path.name, []
    values = container_bytes = 0
    with open_regular_file(path, EXPECTED) as handle:
        header, _ = read_joined_header(handle, name)
        for record in _records(CompressedReader(handle, name)):
            if isinstance(record, StoredBlock):
                blocks.append(record)
                values += record.form.samples * record.form.channels
            elif isinstance(record, ContainerPart):
                container_bytes += len(record.data)
            if values > MAX_VALUES:
                raise CompressedFileError(_too_long(name))
            if container_bytes > MAX_CONTAINER_BYTES:
                raise CompressedFileError(
                    f"{name} has more than {MAX_CONTAINER_BYTES // 10**6} MB around its samples; "
                    "restore it with `wavenet decompress`"
                )
    return header, blocks


def _records(reader: CompressedReader | None) -> Iterator[Record]:
    """Yield the records of all parts of a file."""
    while reader is not None:
        yield from reader.records()
        reader = reader.next_part()


@dataclass(frozen=True)
class _PlannedFile:
    """One upload that can be processed.

    `values`: samples of all channels; `target`: name of the new file.
    """

    path: Path
    values: int
    target: str


@dataclass(frozen=True)
class _Plan:
    """All uploads of a job: those that can be processed, and the errors of the others."""

    entries: tuple[_PlannedFile | FailedFile, ...]

    @classmethod
    def make(cls, paths: Sequence[str], plan: Callable[[Path], _PlannedFile]) -> "_Plan":
        entries: list[_PlannedFile | FailedFile] = []
        for path in map(Path, paths):
            try:
                entries.append(plan(path))
            except FILE_ERRORS as error:
                text = describe_error(error, path.name).replace(str(path), path.name)
                entries.append(FailedFile(path.name, text))
        planned = [entry for entry in entries if isinstance(entry, _PlannedFile)]
        values = sum(entry.values for entry in planned)
        if values > MAX_VALUES:
            raise ConditionError(
                f"the files have {values:,} samples; at most {MAX_VALUES:,} are accepted at once; "
                "choose fewer files, or use the command line"
            )
        return cls(tuple(entries))


def _plan_compression(path: Path) -> _PlannedFile:
    with open_pcm_source(path, path.name) as source:
        values = (source.samples or 0) * source.channels
    if values > MAX_VALUES:
        raise CompressedFileError(_too_long(path.name))
    return _PlannedFile(path, values, path.stem + SUFFIX)


def _plan_restoring(path: Path) -> _PlannedFile:
    header, blocks = read_blocks(path)
    values = sum(block.form.samples * block.form.channels for block in blocks)
    return _PlannedFile(path, values, restored_name(header, path.stem))


def _run(
    plan: _Plan,
    folder: Path,
    note: Note,
    process: Callable[[list[FileTask], "_NotingCoder"], Sequence[Compressed | Restored]],
) -> list:  # type: ignore[type-arg]
    """Process the planned files; return the results in the order of the uploads."""
    planned = [entry for entry in plan.entries if isinstance(entry, _PlannedFile)]
    names = unique_names([entry.target for entry in planned])
    tasks = [
        FileTask(entry.path, folder / name, entry.path.name, name)
        for entry, name in zip(planned, names, strict=True)
    ]
    note(0.0)
    values = max(1, sum(entry.values for entry in planned))
    done = iter(process(tasks, _NotingCoder(values, note)) if tasks else ())
    return [next(done) if isinstance(entry, _PlannedFile) else entry for entry in plan.entries]


def _compress(tasks: list[FileTask], coder: "_NotingCoder") -> list[Compressed]:
    coder.passes = 2  # the second one verifies
    coder.use(load_compressor())
    return compress_files(tasks, coder, CompressionSettings(BLOCK_SECONDS))


def _restore(tasks: list[FileTask], coder: "_NotingCoder") -> list[Restored]:
    def find_coder(sha256: str) -> BlockCoder:
        coder.use(load_block_coder(sha256))
        return coder

    return decompress_files(tasks, find_coder)


class _NotingCoder:
    """A `BlockCoder` that reports what another one has done, in parts of a few seconds."""

    def __init__(self, values: int, note: Note) -> None:
        self.passes = 1
        self._values, self._done, self._note = values, 0, note

    def use(self, coder: BlockCoder) -> None:
        """Compute with a coder."""
        self._coder = coder
        self.name, self.sha256, self.profile = coder.name, coder.sha256, coder.profile

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return one payload per block."""
        found: list[bytes] = []
        for part in _parts([block.form for block in blocks]):
            found += self._coder.encode(blocks[part])
            self._count([block.form for block in blocks[part]])
        return found

    def decode(
        self, payloads: Sequence[bytes], forms: Sequence[BlockForm]
    ) -> list[NDArray[np.int32]]:
        """Return the samples of each payload."""
        found: list[NDArray[np.int32]] = []
        for part in _parts(forms):
            found += self._coder.decode(payloads[part], forms[part])
            self._count(forms[part])
        return found

    def _count(self, forms: Sequence[BlockForm]) -> None:
        self._done += sum(form.channels * form.samples for form in forms)
        self._note(min(1.0, self._done / self._values / self.passes))


def _parts(forms: Sequence[BlockForm]) -> Iterator[slice]:
    """Yield parts with as many streams as a coder processes at the same time."""
    start = streams = 0
    for end, form in enumerate(forms, 1):
        streams += form.channels
        if streams >= LANES * available_cores() or end == len(forms):
            yield slice(start, end)
            start, streams = end, 0


def unique_names(names: Sequence[str]) -> list[str]:
    """Return valid file names, all different: a name that occurs again receives a number."""
    found: list[str] = []
    for name in names:
        valid = valid_file_name(name, _NAME_BYTES)
        unique, number = valid, 1
        while unique in found:
            number += 1
            unique = f"{Path(valid).stem}-{number}{Path(valid).suffix}"
        found.append(unique)
    return found


def _check_number(paths: Sequence[str]) -> None:
    if not paths:
        raise ConditionError("there are no files; drop one or more")
    if len(paths) > MAX_FILES:
        raise ConditionError(
            f"{len(paths):,} files were dropped; at most {MAX_FILES} are accepted at once; choose "
            "fewer, or use the command line"
        )
    if not all(Path(path).is_file() for path in paths):
        raise ConditionError("the dropped files were deleted; drop them again")


def _too_long(name: str) -> str:
    return (
        f"{name} has more than {MAX_VALUES:,} samples; process it with `wavenet compress` or "
        "`wavenet decompress`"
    )
