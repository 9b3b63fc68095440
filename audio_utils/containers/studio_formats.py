"""Check that an AIFF, CAF, AU or NIST SPHERE file is complete.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by
`audio_utils.audio_formats`.
"""

import re
import struct
from typing import BinaryIO

from audio_utils.containers.declared_sizes import (
    REMEDY,
    ChunkLayout,
    ContainerError,
    ContainerReport,
    FileChunk,
    check_sound_bytes,
    check_tail,
    describe_trailing_bytes,
    list_chunks,
)

_AIFF_CHUNKS = ChunkLayout(struct.Struct(">4sI"))
_CAF_CHUNKS = ChunkLayout(struct.Struct(">4sQ"), alignment=1)
_AIFF_UNCOMPRESSED = (bytes(4), b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"fl64", b"FL64")
# Encoding: bytes per sample
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_UNKNOWN = 0xFFFF_FFFF
_NIST_FIELD = re.compile(rb"^(\w+) -(?:i|s\d+) (\S+)", re.MULTILINE)
_MAX_NIST_HEADER = 65_536


def check_aiff(handle: BinaryIO, size: int) -> ContainerReport:
    """Check an AIFF or AIFF-C file; its header counts frames and bytes."""
    handle.seek(4)
    (form_bytes,) = struct.unpack(">I", handle.read(4))
    chunks = list_chunks(handle, size, 12, _AIFF_CHUNKS, 8 + form_bytes)
    common = _find_chunk(chunks, b"COMM", 18)
    data = _find_chunk(chunks, b"SSND", 0)
    handle.seek(common.start)
    # AIFF-C adds the codec.
    description = handle.read(min(22, common.length)).ljust(22, b"\0")
    channels, frames, bits, _, codec = struct.unpack(">HIH10s4s", description)
    block = channels * ((bits + 7) // 8) if codec in _AIFF_UNCOMPRESSED else 0
    handle.seek(data.start)
    (offset,) = struct.unpack(">I", handle.read(8).ljust(8, b"\0")[:4])
    sound = FileChunk(data.name, data.start + 8 + offset, max(0, data.length - 8 - offset))
    is_open = data.length in (0, 8, _UNKNOWN) or (not frames and sound.end > size)
    length, notes = check_sound_bytes(size, 8 + form_bytes, sound, block, is_open=is_open)
    notes = notes or check_tail(handle, size, 8 + form_bytes, chunks, _AIFF_CHUNKS)
    if not block:
        return ContainerReport(tuple(notes))
    if frames != length // block and (frames or not is_open):
        raise ContainerError(
            f"is damaged or its header is wrong: {frames:,} frames declared, {length // block:,} "
            f"found; {REMEDY}"
        )
    return ContainerReport(tuple(notes), length // block)


def check_caf(handle: BinaryIO, size: int) -> ContainerReport:
    """Check a CAF file, which does not declare its whole size."""
    chunks = list_chunks(handle, size, 8, _CAF_CHUNKS)
    description = _find_chunk(chunks, b"desc", 32)
    data = _find_chunk(chunks, b"data", 4)
    handle.seek(description.start)
    _, codec, _, block, packet_frames = struct.unpack(">d4s3I", handle.read(24))
    block = block if codec == b"lpcm" else 0
    sound = FileChunk(data.name, data.start + 4, data.length - 4)
    length, notes = check_sound_bytes(size, sound.end, sound, block, is_open=False)
    notes = notes or check_tail(handle, size, chunks[-1].end, chunks, _CAF_CHUNKS)
    if codec == b"alac":
        return ContainerReport(tuple(notes), _count_packet_frames(handle, chunks, packet_frames))
    return ContainerReport(tuple(notes), length // block if block else None)


def _count_packet_frames(handle: BinaryIO, chunks: list[FileChunk], packet_frames: int) -> int:
    """Return the number of frames in packets, from the packet table of a CAF file."""
    handle.seek(_find_chunk(chunks, b"pakt", 24).start)
    packets, frames, before, behind = struct.unpack(">QQII", handle.read(24))
    if before + frames + behind != packets * packet_frames:
        raise ContainerError(
            f"is damaged: {frames:,} frames declared in {packets:,} packets of {packet_frames:,}; "
            f"{REMEDY}"
        )
    return int(frames)


def check_au(handle: BinaryIO, size: int) -> ContainerReport:
    """Check an AU file (.snd), in big-endian order or, with reversed letters, little-endian."""
    handle.seek(0)
    head = handle.read(24).ljust(24, b"\0")
    order = ">" if head[:4] == b".snd" else "<"
    start, length, encoding, _, channels = struct.unpack(order + "5I", head[4:])
    block = _AU_BYTES.get(encoding, 0) * channels
    sound = FileChunk(b".snd", start, length)
    is_open = length == _UNKNOWN
    length, notes = check_sound_bytes(size, sound.end, sound, block, is_open=is_open)
    if not notes:
        _check_nothing_follows(handle, sound, size)
    return ContainerReport(tuple(notes), length // block if block else None)


def check_nist(handle: BinaryIO, size: int) -> ContainerReport:
    """Check a NIST SPHERE file, whose header is text. libsndfile ignores its number of samples."""
    handle.seek(8)
    try:
        start = int(handle.read(8))
    except ValueError:
        start = 0
    if not 16 <= start <= _MAX_NIST_HEADER:
        raise ContainerError(f"is damaged: its NIST SPHERE header has no size; {REMEDY}")
    handle.seek(16)
    fields = dict(_NIST_FIELD.findall(handle.read(start - 16)))
    try:
        frames = int(fields[b"sample_count"])
        block = int(fields.get(b"channel_count", 1)) * int(fields[b"sample_n_bytes"])
    except (KeyError, ValueError):
        frames = block = 0
    if frames < 0 or block < 1:
        raise ContainerError(
            f"is damaged: its NIST SPHERE header does not count the samples; {REMEDY}"
        )
    sound = FileChunk(b"NIST", start, frames * block)
    length, notes = check_sound_bytes(size, sound.end, sound, block, is_open=False)
    if not notes:
        _check_nothing_follows(handle, sound, size)
    return ContainerReport(tuple(notes), length // block if block else None)


def _check_nothing_follows(handle: BinaryIO, sound: FileChunk, size: int) -> None:
    """Check that only tags or zeros follow the audio, because its length is declared only once."""
    if list(describe_trailing_bytes(handle, sound.end, size)):
        raise ContainerError(
            f"is damaged or its header is wrong: {sound.length:,} bytes of audio declared, "
            f"{size - sound.start:,} found; {REMEDY}"
        )


def _find_chunk(chunks: list[FileChunk], name: bytes, least: int) -> FileChunk:
    chunk = next((chunk for chunk in chunks if chunk.name == name), None)
    if chunk is None or chunk.length < least:
        raise ContainerError(
            f"is cut short or damaged: its header has no chunk {name.decode()}; {REMEDY}"
        )
    return chunk
