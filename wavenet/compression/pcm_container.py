"""Find the samples in a WAV or AIFF file, and keep all bytes before them.

Input: a stream, which may be a pipe. Output: a `PcmLayout`, with the stream at the first sample; or
None for other formats. Sizes in the header are not trusted: they only decide where the samples end,
and no memory is allocated by them. Called by `pcm_source`.
Source: Microsoft and IBM, Multimedia Programming Interface 1.0 (RIFF); EBU Tech 3306 (RF64); Apple,
Audio Interchange File Format 1.3 and AIFF-C.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

from audio_utils.errors import AudioError
from wavenet.compression.pcm_samples import STORED_BITS, SampleFormat

ACCEPTED = "expected WAV or AIFF with integer samples of 8, 16 or 24 bits, or FLAC"
# The first bytes of a compressed file; the last one is the version.
MAGIC = b"\x89WNC\x01"
MAX_CHANNELS = 64
MAX_RATE = 2**32 - 1  # Hz, the largest number in a WAV header
# Pictures and notes are far smaller; the bytes before the samples are kept in memory.
MAX_BYTES_BEFORE = 1 << 24
_HEAD_BYTES = 12
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)
_PCM, _EXTENSIBLE = 1, 0xFFFE
_AIFF_ORDERS: dict[bytes, Literal["aiff", "sowt"]] = {
    b"NONE": "aiff",
    b"twos": "aiff",
    b"sowt": "sowt",
}
# The bytes around the samples: none; those of WAV, AIFF, or AIFF-C in little-endian order; or those
# of a WAV file that begins with exactly `standard_wav_header`, which is not stored.
ContainerKind = Literal["none", "wav", "plain_wav", "aiff", "sowt"]


def sample_format(kind: ContainerKind, bits: int) -> SampleFormat:
    """Return how a container stores its samples; without a container, as a WAV file does."""
    if kind in ("wav", "plain_wav", "none"):
        return SampleFormat(bits, "little", is_unsigned=bits == 8)
    return SampleFormat(bits, "big" if kind == "aiff" else "little")


@dataclass(frozen=True)
class PcmLayout:
    """Where and how a file stores its samples.

    Attributes:
        kind: of the container.
        sample_rate: Hz.
        channels: 1 to `MAX_CHANNELS`.
        bits: 8, 16 or 24.
        before: all bytes of the file before its first sample.
        declared_bytes: of samples; None if they end with the file.
    """

    kind: ContainerKind
    sample_rate: int
    channels: int
    bits: int
    before: bytes
    declared_bytes: int | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8


class HashedStream:
    """Reads a stream from start to end, and computes the MD5 of its bytes.

    Attributes:
        position: bytes read so far.
        head: the bytes of the first read.

    Args:
        stream: a file or a pipe, at its start.
    """

    def __init__(self, stream: BinaryIO):
        self.position, self.head = 0, b""
        self._stream = stream
        self._md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer only at the end of the stream."""
        parts = []
        while size > 0 and (part := self._stream.read(size)):
            parts.append(part)
            size -= len(part)
        data = b"".join(parts)
        self.head = self.head or data
        self.position += len(data)
        self._md5.update(data)
        return data

    def digest(self) -> bytes:
        """Return the MD5 of the bytes read so far."""
        return self._md5.digest()


def read_layout(stream: HashedStream, name: str) -> PcmLayout | None:
    """Read a stream up to its first sample.

    Args:
        stream: at its start.
        name: of the file, for messages.
    Returns:
        The layout, or None if this is neither WAV nor AIFF; then 12 bytes were read.
    Raises:
        AudioError: the header is damaged, or the samples are no integers of 8, 16 or 24 bits.
    """
    header = _HeaderBytes(stream, name)
    head = header.read(_HEAD_BYTES)
    form = (head[:4], head[8:])
    if form in ((b"RIFF", b"WAVE"), (b"RF64", b"WAVE")):
        layout = _read_wav(header)
    elif form in ((b"FORM", b"AIFF"), (b"FORM", b"AIFC")):
        layout = _read_aiff(header)
    else:
        return None
    _check_layout(layout, name)
    return layout


class _HeaderBytes:
    """Reads and keeps the bytes before the samples, up to a limit."""

    def __init__(self, stream: HashedStream, name: str):
        self.name, self.kept = name, bytearray()
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return and keep the next bytes; fewer at the end of the stream."""
        if len(self.kept) + size > MAX_BYTES_BEFORE:
            raise AudioError(
                f"{self.name} declares more than {MAX_BYTES_BEFORE >> 20} MB before its samples; "
                "remove its metadata or export it again"
            )
        data = self._stream.read(size)
        self.kept += data
        return data

    def next_chunk(self, layout: str) -> tuple[bytes, int]:
        """Return name and length of the next chunk; a pad byte before it is skipped."""
        first = self.read(1) if len(self.kept) % 2 else b""
        # The pad byte is 0; some writers omit it.
        head = self.read(8) if first == b"\0" else first + self.read(8 - len(first))
        if len(head) < 8:
            raise AudioError(f"{self.name} has no samples: its header ends early; export it again.")
        name, length = struct.unpack(layout, head)
        return name, length


def _read_wav(header: _HeaderBytes) -> PcmLayout:
    is_rf64 = header.kept[:4] == b"RF64"
    (riff_bytes,) = struct.unpack("<I", header.kept[4:8])
    fmt, data_bytes = b"", None
    while True:
        name, length = header.next_chunk("<4sI")
        if name == b"data":
            break
        body = header.read(length)
        if name == b"fmt " and not fmt:
            fmt = body
        if name == b"ds64" and is_rf64 and len(body) >= 16:
            (data_bytes,) = struct.unpack("<Q", body[8:16])
    if not (is_rf64 and length == 0xFFFF_FFFF and data_bytes is not None):
        data_bytes = _declared_bytes(length, riff_bytes, len(header.kept) - 8)
    tag, channels, rate, bits = _parse_format(fmt, header.name)
    if tag != _PCM:
        raise AudioError(f"{header.name} has samples of WAV format {tag}; {ACCEPTED}.")
    return PcmLayout("wav", rate, channels, bits, bytes(header.kept), data_bytes)


def _parse_format(fmt: bytes, name: str) -> tuple[int, int, int, int]:
    """Return the format tag, the channels, the sample rate and the bits of a WAV file."""
    if len(fmt) < 16:
        raise AudioError(f"{name} is damaged: its header does not describe the samples.")
    tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack("<H", fmt[24:26])
    if tag == _PCM and bits in STORED_BITS and block != channels * bits // 8:
        raise AudioError(
            f"{name} has a wrong header: {channels} channels of {bits} bits in frames of {block} "
            "bytes; export it again."
        )
    return tag, channels, rate, bits


def _declared_bytes(length: int, form_bytes: int, form_bytes_here: int) -> int | None:
    """Return the bytes of samples, or None if they end with the file.

    A program that writes to a pipe cannot know the length and writes 0 or the largest number. One
    that was killed leaves a header without samples.
    """
    is_open = length == 0 and form_bytes in (*_UNKNOWN_SIZES, form_bytes_here)
    return None if is_open or length == _UNKNOWN_SIZES[1] else length


def _read_aiff(header: _HeaderBytes) -> PcmLayout:
    is_aiff_c = header.kept[8:12] == b"AIFC"
    (form_bytes,) = struct.unpack(">I", header.kept[4:8])
    common = b""
    while True:
        name, length = header.next_chunk(">4sI")
        if name == b"SSND":
            break
        body = header.read(length)
        if name == b"COMM" and not common:
            common = body
    if len(common) < (22 if is_aiff_c else 18):
        raise AudioError(
            f"{header.name} does not describe its samples before they begin; export it again."
        )
    channels, _, bits, rate = struct.unpack(">HIH10s", common[:18])
    codec = common[18:22] if is_aiff_c else b"NONE"
    if codec not in _AIFF_ORDERS:
        raise AudioError(f"{header.name} has samples of AIFF codec {codec!r}; {ACCEPTED}.")
    offset_bytes = header.read(8)[:4].ljust(4, b"\0")
    (offset,) = struct.unpack(">I", offset_bytes)
    header.read(offset)
    declared = _declared_bytes(length, form_bytes, len(header.kept) - 8)
    declared = None if declared is None else max(0, declared - 8 - offset)
    kind = _AIFF_ORDERS[codec]
    return PcmLayout(kind, _parse_rate(rate), channels, bits, bytes(header.kept), declared)


def _parse_rate(extended: bytes) -> int:
    """Return a number of 80 bits, rounded; 0 if it is negative or too large."""
    exponent, mantissa = struct.unpack(">HQ", extended)
    shift = 16383 + 63 - exponent
    return (mantissa + (1 << shift >> 1)) >> shift if 32 <= shift <= 63 else 0


def _check_layout(layout: PcmLayout, name: str) -> None:
    """Raise AudioError if a number of the header is out of range."""
    if layout.bits not in STORED_BITS:
        raise AudioError(f"{name} has samples of {layout.bits} bits; {ACCEPTED}.")
    check_numbers(layout.sample_rate, layout.channels, name)


def check_numbers(rate: int, channels: int, name: str) -> None:
    """Raise AudioError if a file has no sample rate, no channels or too many."""
    if not 1 <= rate <= MAX_RATE:
        raise AudioError(f"{name} has no valid sample rate in its header; export it again.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name} has {channels} channels; expected 1 to {MAX_CHANNELS}.")


def standard_wav_header(rate: int, channels: int, bits: int, data_bytes: int | None) -> bytes:
    """Return the 44 bytes of a WAV header before its samples.

    Args:
        rate: Hz.
        channels, bits: of the samples.
        data_bytes: of all samples; None or more than fits: unknown, the largest number.
    """
    block = channels * bits // 8
    size = 0xFFFF_FFFF if data_bytes is None else data_bytes
    riff = size + size % 2 + 36
    form = struct.pack("<HHIIHH", _PCM, channels, rate, rate * block & 0xFFFF_FFFF, block, bits)
    return b"".join(
        [
            b"RIFF" + struct.pack("<I", min(riff, 0xFFFF_FFFF)) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", min(size, 0xFFFF_FFFF)),
        ]
    )
