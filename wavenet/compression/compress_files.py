"""Compress audio files without loss, many at a time.

Input: files, pipes or bytes. Output: compressed files (.wnc), each of which appears after it was
decoded and compared with the original. Called by the command line and the Python interface.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from wavenet.compression.block_windows import (
    WINDOW_FILES,
    WINDOW_STREAMS,
    FileJob,
    encode_blocks,
    run_in_windows,
)
from wavenet.compression.blocks import Block, BlockCoder
from wavenet.compression.compressed_file import CompressedWriter, usual_header
from wavenet.compression.compressed_header import (
    WEIGHTS_BYTES,
    CoderIdentity,
    CompressedHeader,
    longest_block,
)
from wavenet.compression.decode_files import DecodeJob, run_decode_jobs
from wavenet.compression.decoded_target import DecodedTarget, OriginalTarget
from wavenet.compression.file_task import FailedFile, FileTask, describe_error
from wavenet.compression.pcm_samples import PcmDigest
from wavenet.compression.pcm_source import PART_BYTES, PcmSource, open_pcm_source
from wavenet.compression.pending_output import PendingOutput
from wavenet.config import make_config
from wavenet.errors import CompressedFileError, ConfigError
from wavenet.progress import NoProgress, Progress

BLOCK_SECONDS = 5.0
# A shorter block, at a low sample rate, would have a large overhead.
MIN_BLOCK_SAMPLES = 1 << 14
MAX_SECONDS = 10.0


@dataclass(frozen=True)
class CompressionSettings:
    """How files are compressed.

    Attributes:
        block_seconds: length of a block, above 0, at most 10.
        verify: whether each file is decoded and compared before it appears.
        keep_metadata: whether the bytes around the samples are kept, so that the same file is
            restored.
        store_name: whether the name of the original is stored.
        overwrite: whether existing files may be replaced.
    """

    block_seconds: float = BLOCK_SECONDS
    verify: bool = True
    keep_metadata: bool = True
    store_name: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError if a setting is out of range."""
        if not 0 < self.block_seconds <= MAX_SECONDS:
            raise ConfigError(
                f"block_seconds must be above 0 and at most {MAX_SECONDS:g}, found "
                f"{self.block_seconds:g}"
            )


@dataclass(frozen=True)
class CompressedFile:
    """A file that was compressed.

    Attributes:
        source, target: their names.
        sample_rate: Hz.
        channels, bits: of the samples.
        samples: per channel.
        bytes_before, bytes_after: sizes of the original and of the compressed file.
        blocks, raw_blocks: number of blocks; of those that are stored raw.
    """

    source: str
    target: str
    sample_rate: int
    channels: int
    bits: int
    samples: int
    bytes_before: int
    bytes_after: int
    blocks: int
    raw_blocks: int

    @property
    def ratio(self) -> float:
        """Size of the compressed file relative to the original."""
        return self.bytes_after / max(1, self.bytes_before)

    @property
    def bits_per_sample(self) -> float:
        """Bits of the compressed file per sample of one channel."""
        return 8 * self.bytes_after / max(1, self.samples * self.channels)


def compress_files(
    tasks: Sequence[FileTask],
    coder: BlockCoder | None,
    settings: CompressionSettings | None = None,
    progress: Progress | None = None,
) -> list[CompressedFile | FailedFile]:
    """Compress files; one that cannot be compressed does not stop the others.

    Args:
        tasks: the files; streams are read once, and a target that is a stream receives a verified
            file at its end, an unverified one while it is compressed.
        coder: of the blocks; None stores them raw.
        settings: by default `CompressionSettings()`.
        progress: receives the fraction of each task, in total 1.
    Returns:
        One result per task, in their order.
    """
    settings = settings or CompressionSettings()
    jobs = [CompressJob(task, coder, settings, progress or NoProgress()) for task in tasks]
    waiting: list[CompressJob] = []
    try:
        with contextlib.closing(run_in_windows(jobs, partial(encode_blocks, coder))) as done:
            for job in done:
                waiting.append(job)
                streams = sum(compressed.streams for compressed in waiting)
                if streams >= WINDOW_STREAMS or len(waiting) >= WINDOW_FILES:
                    _complete(waiting, coder)
                    waiting.clear()
        _complete(waiting, coder)
    except BaseException as error:
        for job in waiting:
            job.fail(error)
        raise
    return [job.result() for job in jobs]


def _complete(jobs: Sequence["CompressJob"], coder: BlockCoder | None) -> None:
    """Verify compressed files, and make those that are correct appear."""
    if jobs and jobs[0].settings.verify:
        checks = [job.make_check() for job in jobs]
        run_decode_jobs(checks, lambda sha256: coder)
        for job, check in zip(jobs, checks, strict=True):
            if check.error is not None:
                job.fail(
                    CompressedFileError(
                        f"verification of {job.task.source_name} failed, so nothing was written: "
                        f"{check.error}"
                    )
                )
    for job in jobs:
        if job.error is None:
            try:
                job.output.commit()
            except CompressedFileError as error:
                job.fail(error)


class CheckJob(DecodeJob):
    """A `DecodeJob` that compares the restored file with the original, which has just been read.

    Args:
        source: the compressed file, at its start.
        name: for messages.
        md5: of the original; None if only its samples are stored.
        on_samples: receives numbers of decoded samples.
    """

    def __init__(
        self, source: BinaryIO, name: str, md5: bytes | None, on_samples: Callable[[int], None]
    ):
        super().__init__(source, name, on_samples=on_samples)
        self._md5, self._restored = md5, _DigestStream()

    def make_target(self, has_container: bool) -> DecodedTarget:
        """Return a target that computes the MD5 of the restored file."""
        return OriginalTarget(self.header, self._restored)

    def finish(self) -> None:
        """Compare the MD5 of both files."""
        super().finish()
        if self._md5 not in (None, self._restored.digest()):
            raise CompressedFileError("the bytes around its samples differ from the original")


class _DigestStream:
    """Computes the MD5 of what is written."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.write, self.digest = self._md5.update, self._md5.digest


class CompressJob(FileJob[Block, tuple[bytes, bool]]):
    """The compression of one file.

    Args:
        task: the file.
        coder: named in the header.
        settings: of all files.
        progress: receives fractions of the file.
    """

    output: PendingOutput

    def __init__(
        self,
        task: FileTask,
        coder: BlockCoder | None,
        settings: CompressionSettings,
        progress: Progress,
    ):
        self.task, self.settings, self.progress = task, settings, progress
        self.streams = 0
        self._coder = coder
        self._raw_blocks = 0
        self._stack = contextlib.ExitStack()

    def items(self) -> Iterator[Block]:
        """Open the files and yield the blocks of the source."""
        assert self.task.target is not None
        self._source = source = self._stack.enter_context(
            open_pcm_source(self.task.source, self.task.source_name, self.settings.keep_metadata)
        )
        self._digest = PcmDigest(source.bits)
        header = self._make_header(source)
        before = source.before
        if header.container == "wav" and before == usual_header(header):
            header, before = header.model_copy(update={"container": "plain_wav"}), b""
        self.output = PendingOutput(
            self.task.target,
            self.task.target_name,
            self.settings.overwrite,
            waits=self.settings.verify,
        )
        with self._writing():
            self._writer = CompressedWriter(self.output.stream, header)
            for start in range(0, len(before), PART_BYTES):
                self._writer.write_container(before[start : start + PART_BYTES])
        for samples in source.blocks(header.block_samples):
            self._digest.update(samples)
            self.streams += source.channels
            yield Block(samples, source.bits)

    def accept(self, item: Block, result: tuple[bytes, bool]) -> None:
        """Write a block."""
        data, is_coded = result
        with self._writing():
            self._writer.write_block(item.form.samples, data, is_coded)
        self._raw_blocks += not is_coded
        self._advance(item.form.samples)

    def finish(self) -> None:
        """Write the end of the file, and close the source."""
        source = self._source
        with self._writing():
            for part in source.after():
                self._writer.write_container(part)
            self._writer.finish(self._digest.digest())
            self.output.stream.flush()
        if source.samples not in (None, self._writer.samples):
            raise CompressedFileError(
                f"{self.task.source_name} has changed while it was read; compress it again"
            )
        self._bytes_before, self._md5 = source.size, source.digest()
        self._stack.close()

    def abort(self, error: BaseException) -> None:
        """Close the source and remove the output."""
        self._stack.close()
        if hasattr(self, "output"):
            self.output.abort(error)

    def make_check(self) -> "CheckJob":
        """Return the job that decodes the output and compares it with the source."""
        self.output.stream.seek(0)
        return CheckJob(self.output.stream, self.task.target_name, self._md5, self._advance)

    def result(self) -> CompressedFile | FailedFile:
        """Return the result, after everything was done."""
        name = self.task.source_name
        if self.error is not None:
            return FailedFile(name, describe_error(self.error, name))
        source, writer = self._source, self._writer
        return CompressedFile(
            *(name, self.task.target_name),
            *(source.sample_rate, source.channels, source.bits, writer.samples),
            *(self._bytes_before, writer.size, writer.blocks, self._raw_blocks),
        )

    def _make_header(self, source: PcmSource) -> CompressedHeader:
        coder = self._coder
        identity = None
        if coder is not None:
            digits = coder.sha256[: 2 * WEIGHTS_BYTES]
            identity = CoderIdentity(name=coder.name, sha256=digits, profile=coder.profile)
        return make_config(
            CompressedHeader,
            self.task.source_name,
            format_version=1,
            coder=identity,
            sample_rate=source.sample_rate,
            channels=source.channels,
            bits=source.bits,
            samples=source.samples,
            block_samples=self._block_samples(source),
            container=source.kind,
            file_name=self._stored_name(),
        )

    def _block_samples(self, source: PcmSource) -> int:
        wanted = max(round(self.settings.block_seconds * source.sample_rate), MIN_BLOCK_SAMPLES)
        return min(wanted, longest_block(source.sample_rate, source.channels))

    def _stored_name(self) -> str | None:
        source = self.task.source
        return source.name if self.settings.store_name and isinstance(source, Path) else None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the target in an error of the system."""
        try:
            yield
        except OSError as error:
            raise self.output.error(error) from error

    def _advance(self, samples: int) -> None:
        """Report the fraction of the file that some samples are, each half of the work."""
        if self._source.samples:
            passes = 1 + self.settings.verify
            self.progress.advance(samples / self._source.samples / passes)
