"""Decode compressed files, many at a time: to restore them, or only to check them.

Input: compressed files (.wnc). Output: the original files, or WAV or FLAC files; each appears after
its samples and its bytes were compared with the checksums of the compressed file. Called by the
command line, the Python interface, and `compress_files` for its verification.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

import numpy as np

from audio_utils.decoding import open_regular_file
from wavenet.compression.block_windows import (
    BlockToDecode,
    Decoded,
    FileJob,
    FindCoder,
    decode_blocks,
    run_in_windows,
)
from wavenet.compression.compressed_file import (
    CompressedReader,
    ContainerPart,
    FileEnd,
    Record,
    StoredBlock,
)
from wavenet.compression.compressed_header import CompressedHeader
from wavenet.compression.decoded_target import (
    DecodedTarget,
    FlacTarget,
    NoTarget,
    OriginalTarget,
    WavTarget,
)
from wavenet.compression.file_task import FailedFile, FileTask, describe_error
from wavenet.compression.joined_files import CheckedPart, check_same_form, read_joined_header
from wavenet.compression.pending_output import PendingOutput
from wavenet.compression.recover_blocks import RecoveredRecords
from wavenet.errors import CompressedFileError, CompressorMissingError
from wavenet.progress import NoProgress, Progress

# original: the same file, or WAV if only the samples are stored
OutputFormat = Literal["original", "wav", "flac"]
_SUFFIXES = {"wav": ".wav", "plain_wav": ".wav", "none": ".wav", "aiff": ".aif", "sowt": ".aifc"}
EXPECTED = "a compressed file (.wnc)"


@dataclass(frozen=True)
class DamagedPart:
    """Samples that are silence in a recovered file, because their block is damaged.

    Attributes:
        block: index of the block.
        start: first sample.
        samples: per channel.
    """

    block: int
    start: int
    samples: int


@dataclass(frozen=True)
class DecodedFile:
    """A compressed file that was decoded.

    Attributes:
        source: its name.
        target: name of the new file; None if the file was only checked.
        sample_rate: Hz.
        channels, bits: of the samples.
        samples: per channel.
        is_original: whether the original file is restored byte for byte.
        parts: number of compressed files that were joined; 1 for a single one.
        damaged: what could not be recovered.
        notes: sentences about other damage of a recovered file.
    """

    source: str
    target: str | None
    sample_rate: int
    channels: int
    bits: int
    samples: int
    is_original: bool
    parts: int = 1
    damaged: tuple[DamagedPart, ...] = ()
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Return what is wrong with a recovered file, one phrase for each part of silence."""
        rate = self.sample_rate
        parts = [
            f"silence from {part.start / rate:.3f} s to {(part.start + part.samples) / rate:.3f} s,"
            f" because block {part.block} is damaged"
            for part in self.damaged
        ]
        return [*parts, *self.notes]


def read_header(source: Path) -> CompressedHeader:
    """Return the header of a compressed file; of joined files one for all of them.

    Raises:
        AudioError, CompressedFileError: it cannot be read, or is no compressed file.
    """
    with open_regular_file(source, EXPECTED) as handle:
        return read_joined_header(handle, str(source))[0]


def restored_name(
    header: CompressedHeader | None, stem: str, output_format: OutputFormat = "original"
) -> str:
    """Return the name of the file that is restored: the stored one, if there is one.

    Args:
        header: of the compressed file; None if it cannot be read.
        stem: name of the compressed file without its suffix.
        output_format: of the new file.
    """
    if header is None:
        return f"{stem}.wav"
    is_original = output_format == "original"
    if header.file_name is not None:
        if is_original and header.container != "none":
            return header.file_name
        stem = PurePath(header.file_name).stem
    return stem + (_SUFFIXES[header.container] if is_original else f".{output_format}")


def decompress_files(
    tasks: Sequence[FileTask],
    find_coder: FindCoder,
    output_format: OutputFormat = "original",
    recover: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[DecodedFile | FailedFile]:
    """Restore compressed files; one that is damaged does not stop the others.

    Args:
        tasks: the files. A target that is a stream receives the samples while they are decoded, and
            an error may follow; a file appears only if it is complete. Without a target, a file is
            only checked.
        find_coder: returns a coder by the SHA-256 of its weights, or raises CompressedFileError.
        output_format: of the new files.
        recover: whether damaged blocks become silence instead of an error; needs files on a disk.
        overwrite: whether existing files may be replaced.
        progress: receives the fraction of each task, in total 1.
    Returns:
        One result per task, in their order.
    """
    report = progress or NoProgress()
    jobs = [RestoreJob(task, output_format, recover, overwrite, report) for task in tasks]
    run_decode_jobs(jobs, find_coder)
    return [job.result() for job in jobs]


def verify_files(
    tasks: Sequence[FileTask], find_coder: FindCoder, progress: Progress | None = None
) -> list[DecodedFile | FailedFile]:
    """Decode compressed files and compare them with their checksums, without writing anything.

    Args and Returns: as `decompress_files`; targets are ignored.
    """
    checked = [FileTask(task.source, None, task.source_name, "") for task in tasks]
    return decompress_files(checked, find_coder, progress=progress)


def run_decode_jobs(jobs: "Sequence[DecodeJob]", find_coder: FindCoder) -> None:
    """Run jobs; those that fail have an error."""
    with contextlib.closing(run_in_windows(jobs, partial(decode_blocks, find_coder))) as done:
        for _ in done:
            pass


class DecodeJob(FileJob[BlockToDecode, Decoded]):
    """The decoding of one file, and the comparison with its checksums.

    Attributes:
        header: of the file; of joined files one for all of them.
        parts: number of joined files; 1 if the file is a single one.
        samples: per channel, decoded so far.
        damaged, notes: as in `DecodedFile`.

    Args:
        source: a file, or a stream at its start, which is not closed.
        name: for messages.
        recover: whether damaged blocks become silence.
        on_samples: receives numbers of decoded samples.
    """

    header: CompressedHeader

    def __init__(
        self,
        source: Path | BinaryIO,
        name: str,
        recover: bool = False,
        on_samples: Callable[[int], None] = lambda samples: None,
    ):
        self.name, self.samples, self.parts = name, 0, 1
        self.damaged: list[DamagedPart] = []
        self.notes: list[str] = []
        self._source, self._recover, self._on_samples = source, recover, on_samples
        self._stack = contextlib.ExitStack()
        self._next: Record | BlockToDecode | None = None
        self._parts_read = 0
        # parts whose blocks are not yet decoded
        self._open_parts: deque[CheckedPart] = deque()

    def make_target(self, has_container: bool) -> DecodedTarget:
        """Return the target; here none.

        Args:
            has_container: whether the bytes before the samples are complete.
        """
        return NoTarget()

    def items(self) -> Iterator[BlockToDecode]:
        """Open the files and yield the blocks."""
        source = self._source
        if isinstance(source, Path):
            source = self._stack.enter_context(open_regular_file(source, EXPECTED))
        joined = None
        if source.seekable() and not self._recover:
            joined = read_joined_header(source, self.name)
        self._reader = CompressedReader(source, self.name)
        self.header, self.parts = joined or (self._reader.header, 1)
        self._has_container = True
        self._records: Iterator[Record | BlockToDecode] = self._reader.records()
        if self._recover:
            recovered = RecoveredRecords(source, self._reader)
            self._records = recovered.records()
            self.notes += recovered.notes
            self._has_container = recovered.has_container
        with self.writing():
            self.target = self.make_target(self._has_container)
        is_alone = self._recover or (self.parts == 1 and not isinstance(self.target, NoTarget))
        yield from self._read_part(is_alone)
        while not is_alone and self._open_next_part():
            yield from self._read_part(is_alone)

    def _read_part(self, is_alone: bool) -> Iterator[BlockToDecode]:
        """Yield the blocks of a part.

        Args:
            is_alone: whether this is the whole file, so that the bytes after its samples are read
                when its blocks are written.
        """
        part = CheckedPart(self._reader.header)
        self._open_parts.append(part)
        self._parts_read += 1
        self.parts = max(self.parts, self._parts_read)
        has_blocks = False
        for record in self._records:
            if isinstance(record, StoredBlock | BlockToDecode):
                has_blocks = True
                yield self._to_decode(record) if isinstance(record, StoredBlock) else record
            elif is_alone and (has_blocks or isinstance(record, FileEnd)):
                self._next = record
                return
            else:
                self._receive(part, record)
        if not has_blocks:  # many such parts would need much memory
            self._compare(self._open_parts.pop())

    def _open_next_part(self) -> bool:
        """Continue with the file that was joined to the last one; return whether there is one."""
        reader = self._reader.next_part()
        if reader is None:
            return False
        check_same_form(self.header, reader.header, self.name)
        self._reader, self._records = reader, reader.records()
        return True

    def _receive(self, part: CheckedPart, record: Record | BlockToDecode) -> None:
        """Receive a record that is no block."""
        if isinstance(record, ContainerPart):
            part.receive_container(record.data)
            with self.writing():
                self.target.write_container(record.data)
        elif isinstance(record, FileEnd):
            part.end = record

    def _to_decode(self, block: StoredBlock) -> BlockToDecode:
        coder = self._reader.header.coder
        return BlockToDecode(block.index, block.form, block, coder, self.name)

    def accept(self, item: BlockToDecode, result: Decoded) -> None:
        """Write a block; a damaged one is silence if damage is accepted."""
        if isinstance(result, CompressedFileError):
            # without its compressor a whole file would become silence
            if not self._recover or isinstance(result, CompressorMissingError):
                raise result
            self.damaged.append(DamagedPart(item.index, self.samples, item.form.samples))
            result = np.zeros((item.form.channels, item.form.samples), np.int32)
        while self._open_parts[0].is_complete:
            self._compare(self._open_parts.popleft())
        self._open_parts[0].receive(result)
        with self.writing():
            self.target.write(result)
        self.samples += item.form.samples
        self._on_samples(item.form.samples)

    def finish(self) -> None:
        """Write the bytes after the samples, and compare the checksums."""
        record = self._next
        while record is not None:
            self._receive(self._open_parts[0], record)
            record = next(self._records, None)
        with self.writing():
            self.target.finish()
        for part in self._open_parts:
            self._compare(part)
        if not self._recover and self._reader.next_part() is not None:
            raise CompressedFileError(
                f"{self.name} consists of joined files, which are not decoded from a pipe; save it "
                "as a file first"
            )
        self._stack.close()

    def _compare(self, part: CheckedPart) -> None:
        """Compare the checksums of a part with those of its last record."""
        samples, container = part.problems()
        found = [*([] if self.damaged else [samples]), *([container] * self._has_container)]
        problems = [problem for problem in found if problem]
        if problems and not self._recover:
            raise CompressedFileError(f"{self.name} is damaged: {problems[0]}")
        self.notes += problems

    def abort(self, error: BaseException) -> None:
        """Close the source."""
        self._stack.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Name the target in an error of the system, if it is a file."""
        yield


class RestoreJob(DecodeJob):
    """A `DecodeJob` that writes the decoded file.

    Args:
        task: the file.
        output_format, recover, overwrite: as in `decompress_files`.
        progress: receives fractions of the file.
    """

    _output: PendingOutput | None = None

    def __init__(
        self,
        task: FileTask,
        output_format: OutputFormat,
        recover: bool,
        overwrite: bool,
        progress: Progress,
    ):
        super().__init__(task.source, task.source_name, recover, self._advance)
        self._task, self._format, self._overwrite = task, output_format, overwrite
        self._progress = progress
        self._is_original = False

    def make_target(self, has_container: bool) -> DecodedTarget:
        """Create the output and return its target."""
        header, task = self.header, self._task
        is_original = header.container != "none" and self._format == "original" and has_container
        self._is_original = is_original
        if task.target is None:
            return super().make_target(has_container)
        name = task.target_name
        self._output = output = PendingOutput(task.target, name, self._overwrite, waits=False)
        if is_original:
            return OriginalTarget(header, output.stream)
        if self._format == "flac":
            if output.path is None:
                raise CompressedFileError("FLAC cannot be written to a pipe; use the format wav")
            return FlacTarget(header, output.path, name)
        return WavTarget(header, output.stream, name)

    def finish(self) -> None:
        """Complete the file and make it appear."""
        super().finish()
        if self._output is not None:
            self._output.commit()

    def abort(self, error: BaseException) -> None:
        """Close the source and remove the output."""
        super().abort(error)
        if self._output is not None:
            self._output.abort(error)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Name the target in an error of the system."""
        try:
            yield
        except OSError as error:
            if self._output is None:
                raise
            raise self._output.error(error) from error

    def result(self) -> DecodedFile | FailedFile:
        """Return the result, after everything was done."""
        task = self._task
        if self.error is not None:
            return FailedFile(task.source_name, describe_error(self.error, task.source_name))
        header = self.header
        is_original = self._is_original and not self.damaged and not self.notes
        return DecodedFile(
            task.source_name,
            None if task.target is None else task.target_name,
            *(header.sample_rate, header.channels, header.bits, self.samples),
            *(is_original, self.parts, tuple(self.damaged), tuple(self.notes)),
        )

    def _advance(self, samples: int) -> None:
        # the length of joined files from a pipe is not known
        if self.header.samples and self.samples <= self.header.samples:
            self._progress.advance(samples / self.header.samples)
