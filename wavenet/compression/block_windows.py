"""Encode or decode the blocks of several files in windows of many streams.

A coder is fast only with many streams at once, and a file may be shorter than one block. So the
blocks of consecutive files are gathered, processed together and returned to their files. Input:
jobs, one per file. Output: the jobs that are complete. Called by `compress_files` and
`decode_files`.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio_utils.errors import AudioError
from wavenet.compression.blocks import Block, BlockCoder, BlockForm
from wavenet.compression.compressed_file import StoredBlock
from wavenet.compression.compressed_header import CoderIdentity
from wavenet.compression.pcm_samples import SampleFormat, pack_samples, unpack_samples
from wavenet.errors import CompressedFileError, CompressorMissingError, WaveNetError

WINDOW_STREAMS = 64
# of all blocks of a window: 64 MB as int32
WINDOW_VALUES = 1 << 24
# The files of a window are open at the same time.
WINDOW_FILES = 64
FILE_ERRORS = (AudioError, WaveNetError, OSError)

FindCoder = Callable[[str], BlockCoder | None]


class _WindowItem(Protocol):
    @property
    def form(self) -> BlockForm: ...


ItemT = TypeVar("ItemT", bound=_WindowItem)
ResultT = TypeVar("ResultT")


class FileJob(ABC, Generic[ItemT, ResultT]):
    """The work on one file.

    Attributes:
        error: why it failed, or None.
    """

    error: BaseException | None = None

    @abstractmethod
    def items(self) -> Iterator[ItemT]:
        """Open the file and yield its blocks."""

    @abstractmethod
    def accept(self, item: ItemT, result: ResultT) -> None:
        """Write a block that was processed."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file after its last block."""

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """Close the files, and remove what was written."""

    def fail(self, error: BaseException) -> None:
        """Store an error and abort; the job is not continued."""
        self.error = error
        self.abort(error)


JobT = TypeVar("JobT", bound=FileJob[Any, Any])


def run_in_windows(
    jobs: Iterable[JobT], process: Callable[[list[Any]], Sequence[Any]]
) -> Generator[JobT, None, None]:
    """Run jobs, and yield each one that is complete; a job that fails has an error.

    If the caller stops, or after an error that no user can cause, all open jobs are aborted.

    Args:
        jobs: in the order of their work.
        process: receives the blocks of a window and returns one result for each.
    """
    runner = _WindowRunner[JobT](process)
    try:
        for job in jobs:
            yield from runner.add(job)
        yield from runner.flush()
    except BaseException as error:
        for job in runner.unfinished:
            # the first error counts
            with suppress(OSError):
                job.fail(error)
        raise


class _WindowRunner(Generic[JobT]):
    """Gathers the blocks of jobs, and processes them when they fill a window."""

    def __init__(self, process: Callable[[list[Any]], Sequence[Any]]):
        self.unfinished: list[JobT] = []
        self._process = process
        self._entries: list[tuple[JobT, Any]] = []  # None: the end of a job
        self._streams = self._values = 0

    def add(self, job: JobT) -> Iterator[JobT]:
        """Read the blocks of a job; yield the jobs that are complete meanwhile."""
        self.unfinished.append(job)
        items = iter(job.items())
        while job.error is None:
            item: Any = None
            try:
                item = next(items, None)
            except FILE_ERRORS as error:
                self._fail(job, error)
                return
            self._entries.append((job, item))
            if item is not None:
                self._streams += item.form.channels
                self._values += item.form.channels * item.form.samples
            is_full = self._streams >= WINDOW_STREAMS or self._values >= WINDOW_VALUES
            if is_full or len(self.unfinished) >= WINDOW_FILES:
                yield from self.flush()
            if item is None:
                return

    def flush(self) -> Iterator[JobT]:
        """Process the window; yield the jobs that are complete."""
        entries = [entry for entry in self._entries if entry[0].error is None]
        self._entries, self._streams, self._values = [], 0, 0
        items = [item for _, item in entries if item is not None]
        results = iter(self._process(items) if items else ())
        for job, item in entries:
            result = None if item is None else next(results)
            if job.error is not None:
                continue
            try:
                if item is not None:
                    job.accept(item, result)
                    continue
                job.finish()
            except FILE_ERRORS as error:
                self._fail(job, error)
            else:
                self.unfinished.remove(job)
                yield job

    def _fail(self, job: JobT, error: BaseException) -> None:
        self.unfinished.remove(job)
        job.fail(error)


def encode_blocks(coder: BlockCoder | None, blocks: Sequence[Block]) -> list[tuple[bytes, bool]]:
    """Return the data of each block, and whether the coder encoded it.

    Args:
        coder: None stores all blocks raw.
        blocks: of any shapes.
    """
    payloads = [None] * len(blocks) if coder is None else coder.encode(blocks)
    results = []
    for block, payload in zip(blocks, payloads, strict=True):
        if payload is not None and len(payload) < block.samples.size * block.bits // 8:
            results.append((payload, True))
        else:
            results.append((pack_samples(block.samples, SampleFormat(block.bits)), False))
    return results


@dataclass(frozen=True, eq=False)
class BlockToDecode:
    """A block of a compressed file.

    Attributes:
        index: of the block.
        form: of its samples.
        stored: the block; None if it is lost.
        coder: of the file.
        name: of the file, for messages.
    """

    index: int
    form: BlockForm
    stored: StoredBlock | None
    coder: CoderIdentity | None
    name: str


Decoded = NDArray[np.int32] | CompressedFileError


def decode_blocks(find_coder: FindCoder, blocks: Sequence[BlockToDecode]) -> list[Decoded]:
    """Return the samples of each block (channels, samples), or the error of the block.

    Args:
        find_coder: returns a coder by the SHA-256 of its weights, or raises CompressedFileError.
        blocks: of any files.
    """
    results: list[Decoded] = []
    coded: defaultdict[CoderIdentity, list[int]] = defaultdict(list)
    for position, block in enumerate(blocks):
        stored = block.stored
        if stored is None:
            results.append(CompressedFileError(f"{block.name}: block {block.index} is damaged"))
        elif stored.is_coded and block.coder is None:
            text = f"{block.name} is damaged: block {block.index} is coded, but it names no coder"
            results.append(CompressedFileError(text))
        elif stored.is_coded and block.coder is not None:
            coded[block.coder].append(position)
            results.append(CompressedFileError("not decoded"))
        else:
            form = SampleFormat(block.form.bits)
            results.append(unpack_samples(stored.data, block.form.channels, form))
    for identity, positions in coded.items():
        group = [blocks[position] for position in positions]
        for position, result in zip(
            positions, _decode_group(find_coder, identity, group), strict=True
        ):
            results[position] = result
    return results


def _decode_group(
    find_coder: FindCoder, identity: CoderIdentity, group: Sequence[BlockToDecode]
) -> list[Decoded]:
    """Decode the blocks of one coder."""
    try:
        coder = find_coder(identity.sha256)
        if coder is None or coder.profile != identity.profile:
            raise CompressedFileError(
                f"the compressor {identity.name} with the arithmetic {identity.profile} is not "
                "installed; use the program that wrote the file"
            )
    except CompressedFileError as error:
        return [CompressorMissingError(f"{block.name}: {error}") for block in group]
    try:
        arrays = coder.decode([_payload(block) for block in group], [b.form for b in group])
        return [_check_samples(block, array) for block, array in zip(group, arrays, strict=True)]
    except CompressedFileError:
        return [_decode_alone(coder, block) for block in group]


def _decode_alone(coder: BlockCoder, block: BlockToDecode) -> Decoded:
    """Decode a block of a window in which at least one block is damaged."""
    try:
        return _check_samples(block, coder.decode([_payload(block)], [block.form])[0])
    except CompressedFileError as error:
        return CompressedFileError(f"{block.name}: block {block.index} is damaged: {error}")


def _payload(block: BlockToDecode) -> bytes:
    assert block.stored is not None
    return block.stored.data


def _check_samples(block: BlockToDecode, samples: NDArray[Any]) -> Decoded:
    """Return the samples, or an error if they cannot be those of this block."""
    form = block.form
    assert samples.shape == (form.channels, form.samples)
    limit = 1 << (form.bits - 1)
    if samples.min() < -limit or samples.max() >= limit:
        return CompressedFileError(
            f"{block.name} is damaged: block {block.index} has samples beyond {form.bits} bits"
        )
    return samples.astype(np.int32, copy=False)
