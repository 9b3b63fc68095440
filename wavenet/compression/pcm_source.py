"""Read the integer samples of an audio file block by block, and the bytes around them.

Input: a file, a pipe or bytes. Output: a `PcmSource`, which is read once from start to end, in
constant memory. WAV and AIFF keep all their bytes; of FLAC and other formats of libsndfile only the
samples are read. Called by `compress_files`.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio_utils.decoding import libsndfile_message, open_regular_file
from audio_utils.errors import AudioError
from audio_utils.ffmpeg import find_demuxer
from audio_utils.verified_file import VerifiedFile, open_verified
from wavenet.compression.pcm_container import (
    ACCEPTED,
    MAGIC,
    ContainerKind,
    HashedStream,
    PcmLayout,
    check_numbers,
    read_layout,
    sample_format,
)
from wavenet.compression.pcm_samples import unpack_samples

PART_BYTES = 1 << 20  # of the bytes after the samples
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "ALAC_16": 16, "ALAC_24": 24}


class PcmSource(Protocol):
    """The samples of an audio file, and the bytes around them.

    Attributes:
        kind: of the container whose bytes are kept.
        sample_rate: Hz.
        channels: of the samples.
        bits: 8, 16 or 24.
        samples: per channel; None if a pipe or a header does not declare it.
        before: the bytes before the samples; empty if they are not kept.
        size: bytes of the file that were read so far.
    """

    kind: ContainerKind
    sample_rate: int
    channels: int
    bits: int
    samples: int | None
    before: bytes

    @property
    def size(self) -> int: ...

    def blocks(self, samples: int) -> Iterator[NDArray[np.int32]]:
        """Yield all samples in blocks (channels, samples); only the last one is shorter.

        Raises:
            AudioError: the file is damaged or cannot be read.
        """
        ...

    def after(self) -> Iterator[bytes]:
        """Yield the bytes after the samples, in parts of at most `PART_BYTES`."""
        ...

    def digest(self) -> bytes | None:
        """Return the MD5 of the file after all was read; None if its bytes are not kept."""
        ...


class ContainerSource:
    """A WAV or AIFF file; attributes and methods are those of `PcmSource`.

    Args:
        stream: at the first sample.
        layout: of the file.
        file_bytes: its size; None for a pipe.
        keep_bytes: whether the bytes around the samples are kept.
    """

    def __init__(
        self,
        stream: HashedStream,
        layout: PcmLayout,
        file_bytes: int | None,
        keep_bytes: bool = True,
    ):
        self.kind: ContainerKind = layout.kind if keep_bytes else "none"
        self.before = layout.before if keep_bytes else b""
        self.sample_rate, self.channels = layout.sample_rate, layout.channels
        self.bits = layout.bits
        self._stream, self._layout, self._keep_bytes = stream, layout, keep_bytes
        self._left = layout.declared_bytes
        self._rest = b""
        self.samples = None if file_bytes is None else self._count(file_bytes)

    @property
    def size(self) -> int:
        """Bytes that were read so far."""
        return self._stream.position

    def _count(self, file_bytes: int) -> int:
        """Return the number of samples, which may be fewer than the header declares."""
        available = max(0, file_bytes - self._stream.position)
        declared = self._layout.declared_bytes
        found = available if declared is None else min(declared, available)
        return found // self._layout.frame_bytes

    def blocks(self, samples: int) -> Iterator[NDArray[np.int32]]:
        """Yield all samples in blocks."""
        frame = self._layout.frame_bytes
        form = sample_format(self._layout.kind, self.bits)
        while True:
            wanted = samples * frame
            wanted = wanted if self._left is None else min(wanted, self._left)
            data = self._stream.read(wanted)
            if self._left is not None:
                self._left -= len(data)
            whole = len(data) - len(data) % frame
            self._rest = data[whole:]
            if whole:
                yield unpack_samples(data[:whole], self.channels, form)
            if len(data) < samples * frame:
                return

    def after(self) -> Iterator[bytes]:
        """Yield the bytes of an incomplete frame and all that follows."""
        if not self._keep_bytes:
            return
        part = self._rest + self._stream.read(PART_BYTES - len(self._rest))
        while part:
            yield part
            part = self._stream.read(PART_BYTES)

    def digest(self) -> bytes | None:
        """Return the MD5 of the file."""
        return self._stream.digest() if self._keep_bytes else None


class DecodedSource:
    """The samples of a file that libsndfile decodes; as `PcmSource`, without bytes around them.

    Args:
        file: open.
        name: for messages.
        size: bytes of the file.
    """

    kind: ContainerKind = "none"
    before = b""

    def __init__(self, file: VerifiedFile, name: str, size: int):
        self.sample_rate, self.channels = file.samplerate, file.channels
        self.bits = _BITS.get(file.subtype, 0)
        if not self.bits:
            raise AudioError(f"{name} has samples of kind {file.subtype}; {ACCEPTED}.")
        check_numbers(self.sample_rate, self.channels, name)
        self.samples: int | None = file.frames
        self._file, self._name = file, name
        self.size = size

    def blocks(self, samples: int) -> Iterator[NDArray[np.int32]]:
        """Yield all samples in blocks."""
        scale, found = np.float32(2 ** (self.bits - 1)), 0
        while len(block := self._file.read(samples)):
            # float32 stores 24 bits exactly
            yield np.ascontiguousarray((block * scale).T, np.int32)
            found += len(block)
        if found != self.samples:
            raise AudioError(
                f"{self._name} is damaged or cut short: its header declares {self.samples:,} "
                f"samples, {found:,} could be read; download the file again."
            )

    def after(self) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())

    def digest(self) -> bytes | None:
        """Return None."""
        return None


@contextlib.contextmanager
def open_pcm_source(
    source: Path | BinaryIO, name: str, keep_bytes: bool = True
) -> Iterator[PcmSource]:
    """Open an audio file to read its samples.

    Args:
        source: a regular file, or a stream that is read from its start; it need not be seekable.
        name: for messages.
        keep_bytes: whether the bytes around the samples are kept, if the format allows it.
    Raises:
        AudioError: the file cannot be read, or its samples are no integers of 8, 16 or 24 bits.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, Path):
            handle = stack.enter_context(open_regular_file(source))
        else:
            handle = source
        file_bytes = _find_size(handle)
        stream = HashedStream(handle)
        layout = read_layout(stream, name)
        if layout is not None:
            yield ContainerSource(stream, layout, file_bytes, keep_bytes)
            return
        if stream.head.startswith(MAGIC[:-1]):
            raise AudioError(f"{name} is compressed already.")
        if file_bytes is None:
            raise AudioError(f"{name} is neither WAV nor AIFF; from a pipe only these are read.")
        yield stack.enter_context(_open_decoded(handle, name, file_bytes))


def _find_size(handle: BinaryIO) -> int | None:
    """Return the bytes of a file at its start; None for a pipe or a file that was read in part."""
    if not handle.seekable() or handle.tell():
        return None
    size = handle.seek(0, 2)
    handle.seek(0)
    return size


@contextlib.contextmanager
def _open_decoded(handle: BinaryIO, name: str, size: int) -> Iterator[DecodedSource]:
    """Open a file with libsndfile, which needs a file on disk."""
    handle.seek(0)
    if find_demuxer(handle) is not None:
        raise AudioError(f"{name} is of a format that stores no integer samples; {ACCEPTED}.")
    handle.seek(0)
    with tempfile.TemporaryFile() as copy:
        try:
            handle.fileno()
        except OSError:
            shutil.copyfileobj(handle, copy)
            copy.flush()
            handle = copy
        try:
            with open_verified(name, handle) as file:
                yield DecodedSource(file, name, size)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name} cannot be decoded{libsndfile_message(error)}; it is damaged or of an "
                "unsupported kind."
            ) from error
