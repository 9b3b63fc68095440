"""Check that a WAV, RF64 or W64 file is complete.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by
`audio_utils.audio_formats`.
"""

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
    is_placeholder,
    list_chunks,
)

_LITTLE_CHUNKS = ChunkLayout(struct.Struct("<4sI"))
_BIG_CHUNKS = ChunkLayout(struct.Struct(">4sI"))
# The names are GUIDs that begin with the four letters of RIFF.
_W64_CHUNKS = ChunkLayout(struct.Struct("<16sQ"), counted=24, alignment=8)
# PCM, float, A-law, mu-law
_UNCOMPRESSED = (1, 3, 6, 7)
_ONE_BYTE = (6, 7)
_EXTENSIBLE = 0xFFFE
_IN_DS64 = 0xFFFF_FFFF


def check_wav(handle: BinaryIO, size: int) -> ContainerReport:
    """Check a WAV file: RIFF, or RIFX in big-endian order."""
    handle.seek(0)
    order = ">" if handle.read(4) == b"RIFX" else "<"
    (riff_bytes,) = struct.unpack(order + "I", handle.read(4))
    layout = _BIG_CHUNKS if order == ">" else _LITTLE_CHUNKS
    chunks = list_chunks(handle, size, 12, layout, 8 + riff_bytes)
    sound = _find_sound(chunks)
    return _check(handle, size, 8 + riff_bytes, chunks, sound, layout, order, _is_open(sound, size))


def check_rf64(handle: BinaryIO, size: int) -> ContainerReport:
    """Check an RF64 file, whose sizes of 64 bits are in the chunk ds64 at its start."""
    chunks = list_chunks(handle, size, 12, _LITTLE_CHUNKS)
    if not chunks or chunks[0].name != b"ds64" or chunks[0].length < 16:
        raise ContainerError(f"is damaged: its RF64 header has no chunk ds64; {REMEDY}")
    handle.seek(chunks[0].start)
    riff_bytes, data_bytes = struct.unpack("<QQ", handle.read(16))
    sound = _find_sound(chunks)
    if sound.length == _IN_DS64:
        sound = FileChunk(sound.name, sound.start, data_bytes)
        before = chunks[: [chunk.start for chunk in chunks].index(sound.start)]
        rest = sound.end + sound.end % 2
        chunks = [*before, sound, *list_chunks(handle, size, rest, _LITTLE_CHUNKS)]
    return _check(handle, size, 8 + riff_bytes, chunks, sound, _LITTLE_CHUNKS, "<", is_open=False)


def check_w64(handle: BinaryIO, size: int) -> ContainerReport:
    """Check a W64 file. libsndfile reads it to the end, including bytes after the audio."""
    handle.seek(16)
    (declared_end,) = struct.unpack("<Q", handle.read(8))
    chunks = list_chunks(handle, size, 40, _W64_CHUNKS, declared_end)
    sound = _find_sound(chunks)
    # ffmpeg writes the largest number to a pipe.
    is_open = not sound.length or sound.length > 2**62
    end = 0 if is_open else declared_end
    return _check(handle, size, end, chunks, sound, _W64_CHUNKS, "<", is_open)


def _find_sound(chunks: list[FileChunk]) -> FileChunk:
    sound = next((chunk for chunk in chunks if chunk.name[:4] == b"data"), None)
    if sound is None:
        raise ContainerError(f"has no audio: its header has no data chunk; {REMEDY}")
    return sound


def _is_open(sound: FileChunk, size: int) -> bool:
    return sound.length > size - sound.start and is_placeholder(sound.length)


def _check(
    handle: BinaryIO,
    size: int,
    declared_end: int,
    chunks: list[FileChunk],
    sound: FileChunk,
    layout: ChunkLayout,
    order: str,
    is_open: bool,
) -> ContainerReport:
    """Check the format chunk, the bytes of audio, and the bytes after them."""
    block, notes = _check_format(handle, chunks, order)
    length, size_notes = check_sound_bytes(size, declared_end, sound, block, is_open=is_open)
    if not size_notes:
        size_notes = check_tail(handle, size, declared_end, chunks, layout)
    return ContainerReport((*notes, *size_notes), length // block if block else None)


def _check_format(handle: BinaryIO, chunks: list[FileChunk], order: str) -> tuple[int, list[str]]:
    """Return bytes per frame (0 for compressed audio), and notes."""
    chunk = next((chunk for chunk in chunks if chunk.name[:4] == b"fmt "), None)
    if chunk is None or chunk.length < 16:
        raise ContainerError(f"is damaged: its header does not describe the samples; {REMEDY}")
    handle.seek(chunk.start)
    fmt = handle.read(26)
    tag, channels, rate, byte_rate, block, bits = struct.unpack(order + "HHIIHH", fmt[:16])
    if tag == _EXTENSIBLE and len(fmt) == 26:
        (tag,) = struct.unpack(order + "H", fmt[24:])
    if tag not in _UNCOMPRESSED or not channels:
        return 0, []
    sample_bytes = 1 if tag in _ONE_BYTE else (bits + 7) // 8
    # Samples of 20 and 24 bits may be stored in 4 bytes.
    is_padded = bits in (20, 24) and block == 4 * channels
    if not block or (block != channels * sample_bytes and not is_padded):
        raise ContainerError(
            f"has a wrong header: {channels} channels of {bits} bits in frames of {block} bytes; "
            "export it again"
        )
    if byte_rate == rate * block & 0xFFFF_FFFF:
        return block, []
    note = f"its header declares {rate:,} Hz, but {byte_rate:,} bytes per second, which is "
    return block, [note + f"{byte_rate / block:,.0f} Hz; {rate:,} Hz was used"]
