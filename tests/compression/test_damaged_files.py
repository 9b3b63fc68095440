"""Damaged and malicious compressed files: always detected, never expensive."""

import io
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.compression.audio_files import (
    SHA256,
    DeltaCoder,
    chunk,
    find_deltas,
    make_aiff,
    make_samples,
    make_wav,
)
from wavenet.compression.compress_files import (
    CompressedFile,
    CompressionSettings,
    FileTask,
    compress_files,
)
from wavenet.compression.compressed_file import (
    BLOCK,
    CONTAINER,
    END,
    HEADER,
    CompressedReader,
    encode_number,
    parse_numbers,
    read_record,
)
from wavenet.compression.compressed_header import deflate, header_dictionary, inflate
from wavenet.compression.decode_files import DecodedFile, verify_files
from wavenet.compression.file_task import FailedFile
from wavenet.compression.pcm_container import MAGIC
from wavenet.errors import CompressedFileError

HEADER_FIELDS = {
    "format_version": 2,
    "coder": {"name": "deltas", "sha256": SHA256[:32], "profile": "exact-2"},
    "sample_rate": 8000,
    "channels": 1,
    "bits": 24,
    "samples": 301,
    "block_samples": 200,
    "container": "none",
    "file_name": "other.wav",
}


def pack(content: bytes, with_coder: bool = True, **settings: Any) -> bytes:
    """Compress a file in memory."""
    packed = io.BytesIO()
    task = FileTask(io.BytesIO(content), packed, "source", "packed")
    coder = DeltaCoder() if with_coder else None
    (result,) = compress_files([task], coder, CompressionSettings(**settings))
    assert isinstance(result, CompressedFile), result
    return packed.getvalue()


@cache
def small_files() -> dict[str, bytes]:
    """Return small compressed files of each kind."""
    # smooth, so that the coder is smaller than the samples
    stereo = make_wav(np.arange(120).reshape(2, 60), after=chunk(b"LIST", b"abc"))
    return {
        "coded": pack(stereo),
        "plain": pack(make_wav(np.arange(99)[None])),
        "raw": pack(make_aiff(make_samples(1, 50, 8), 8), with_coder=False),
        "without metadata": pack(stereo, keep_metadata=False),
        "empty": pack(make_wav(make_samples(1, 0))),
    }


KINDS = ["coded", "plain", "raw", "without metadata", "empty"]


def check(content: bytes) -> DecodedFile | FailedFile:
    """Verify a compressed file in memory."""
    (result,) = verify_files([FileTask(io.BytesIO(content), None, "packed", "")], find_deltas)
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_the_small_files_are_whole(kind: str) -> None:
    """Otherwise the tests below would prove nothing."""
    assert isinstance(check(small_files()[kind]), DecodedFile)


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_detected(kind: str) -> None:
    content = bytearray(small_files()[kind])
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        assert isinstance(check(bytes(content)), FailedFile), bit
        content[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_early_is_detected_at_every_byte(kind: str) -> None:
    content = small_files()[kind]
    for length in range(len(content)):
        result = check(content[:length])
        assert isinstance(result, FailedFile), length


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [b"\0", b"E", MAGIC[:4], MAGIC], ids=["0", "E", "WNC", "magic"])
def test_bytes_after_the_end_are_detected(kind: str, more: bytes) -> None:
    result = check(small_files()[kind] + more)
    assert isinstance(result, FailedFile)
    assert result.error


def test_bursts_and_replaced_bytes_are_detected() -> None:
    draw = random.Random(0)
    for kind in KINDS:
        content = small_files()[kind]
        for _ in range(250):
            damaged = bytearray(content)
            start, length = draw.randrange(len(content)), draw.choice((1, 2, 3, 4, 13))
            for position in range(start, min(start + length, len(content))):
                damaged[position] = draw.choice((0, 255, draw.randrange(256)))
            if damaged != content:
                assert isinstance(check(bytes(damaged)), FailedFile)


# files that are damaged on purpose, with correct checksums


def records_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and payload of all records."""
    stream = io.BytesIO(content)
    stream.read(len(MAGIC))
    kind, payload, crc = read_record(stream, "", zlib.crc32(MAGIC), None)
    header = CompressedReader(io.BytesIO(content), "").header
    found = [(kind, payload)]
    while kind != END:
        kind, payload, _ = read_record(stream, "", crc, header)
        found.append((kind, payload))
    return found


def join(records: list[tuple[bytes, bytes]], header_crc: int | None = None) -> bytes:
    """Return a file of records with correct checksums.

    Args:
        header_crc: with which the checksums start, if not that of the first record.
    """
    content, crc = bytearray(MAGIC), zlib.crc32(MAGIC)
    for index, (kind, payload) in enumerate(records):
        record = kind + encode_number(len(payload)) + payload
        own = zlib.crc32(record, crc)
        content += record + own.to_bytes(4, "little")
        if index == 0:
            crc = own if header_crc is None else header_crc
    return bytes(content)


def header_payload(text: bytes, weights: bytes = bytes(16)) -> bytes:
    """Return the payload of a header of any text."""
    return weights + deflate(text, header_dictionary(weights))


def read_fields(payload: bytes) -> dict[str, Any]:
    """Return the fields of the payload of a header."""
    fields: dict[str, Any] = json.loads(
        inflate(payload[16:], 1 << 14, header_dictionary(payload[:16])) or b""
    )
    return fields


def change_header(content: bytes, changes: dict[str, Any], keep_crc: bool = False) -> bytes:
    """Return a file with another header.

    Args:
        keep_crc: only the header has a new checksum.
    """
    (_, payload), *others = records_of(content)
    fields = read_fields(payload) | changes
    new = (HEADER, header_payload(json.dumps(fields).encode()))
    old_crc = CompressedReader(io.BytesIO(content), "").header_crc
    return join([new, *others], old_crc if keep_crc else None)


def test_files_can_be_built_from_their_records() -> None:
    assert records_of(small_files()["coded"])[2][1][:3] == b"\0\x3c\x01"
    for kind in KINDS:
        assert join(records_of(small_files()[kind])) == small_files()[kind]


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_header_that_was_replaced_is_detected(field: str) -> None:
    """The checksums of all records start with that of the header."""
    content = change_header(small_files()["coded"], {field: HEADER_FIELDS[field]}, keep_crc=True)
    assert isinstance(check(content), FailedFile)


@pytest.mark.parametrize(
    "field", ["coder", "channels", "bits", "samples", "container", "format_version"]
)
def test_a_wrong_field_is_detected_even_with_correct_checksums(field: str) -> None:
    content = change_header(small_files()["coded"], {field: HEADER_FIELDS[field]})
    assert isinstance(check(content), FailedFile)


WRONG_FIELDS: dict[str, Any] = {
    "samples": [-1, 2**63, 1.5, "60", [], 2**48 + 1],
    "channels": [0, 65, -1, None, True],
    "bits": [0, 7, 12, 25, 32, "16"],
    "sample_rate": [0, -1, 2**32, None, 44_100.5],
    "block_samples": [0, 2**22 + 1, 2**63, 10 * 16_000 + 1],
    "format_version": [0, 2, None, "1"],
    "container": ["mp3", None, "", "../wav"],
    "coder": [{}, "deltas", {"name": "a", "sha256": "b", "profile": "c"}],
    "file_name": ["", "a/b", "..", "../x", "a\nb", "a\0", "C:\\x", "x" * 256, ".x", 3],
    "unknown": [1],
}


@pytest.mark.parametrize("field", WRONG_FIELDS)
def test_values_out_of_range_are_refused_with_their_field(field: str) -> None:
    for value in WRONG_FIELDS[field]:
        result = check(change_header(small_files()["coded"], {field: value}))
        assert isinstance(result, FailedFile), value
        assert field in result.error or "format version" in result.error, (value, result.error)


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_missing_field_is_refused(field: str) -> None:
    (_, payload), *others = records_of(small_files()["coded"])
    fields = read_fields(payload)
    del fields[field]
    content = join([(HEADER, header_payload(json.dumps(fields).encode())), *others])
    result = check(content)
    assert isinstance(result, FailedFile)
    assert field in result.error


def texts() -> dict[str, bytes]:
    """Return hostile texts in the place of the JSON of a header."""
    return {
        "nested": b"[" * 16_000,
        "nested object": b'{"coder":' * 1700,
        "twice": b'{"bits":16,"bits":16}',
        "list": b"[]",
        "no text": b"",
        "not UTF-8": b"\xff\xfe",
        "too long": b" " * (1 << 14) + b"{}",
        "a bomb": bytes(4 << 20),
    }


@pytest.mark.parametrize("name", texts())
def test_hostile_headers_are_refused(name: str) -> None:
    payload = header_payload(texts()[name])
    assert len(payload) < 5000
    assert isinstance(check(join([(HEADER, payload)])), FailedFile)


def rearranged() -> Iterator[tuple[str, bytes]]:
    """Yield files whose records are in a wrong order, with correct checksums."""
    wav = make_wav(make_samples(1, 40_000), before=chunk(b"bext", b"x"), after=b"behind")
    content = pack(wav, block_seconds=1.1)
    header, before, *blocks, after, end = records_of(content)
    assert len(blocks) == 3
    assert {kind for kind, _ in blocks} == {BLOCK}
    first, second, third = blocks
    yield "another order", join([header, before, second, first, third, after, end])
    yield "a block is missing", join([header, before, blocks[0], blocks[2], after, end])
    yield "the last block is missing", join([header, before, *blocks[:2], after, end])
    yield "a block twice", join([header, before, blocks[0], *blocks, after, end])
    yield "no header", join([before, *blocks, after, end])
    yield "a header twice", join([header, header, before, *blocks, after, end])
    yield "no bytes before", join([header, *blocks, after, end])
    yield "no bytes after", join([header, before, *blocks, end])
    yield "bytes between blocks", join([header, before, blocks[0], after, *blocks[1:], end])
    yield "no end", join([header, before, *blocks, after])
    yield "end twice", join([header, before, *blocks, after, end, end])
    yield "unknown record", join([header, before, *blocks, (b"X", b"abc"), after, end])
    yield "wrong count", join([header, before, *blocks, after, (END, b"\x01\x01" + end[1][-20:])])
    yield "no MD5", join([header, before, *blocks, after, (END, end[1][:-20])])
    yield "another CRC", join([header, before, *blocks, after, (END, end[1][:-1] + b"x")])
    yield "no CRC", join([header, before, *blocks, after, (END, end[1][:-4])])
    yield "bytes after twice", join([header, before, *blocks, after, after, end])
    yield "short end", join([header, before, *blocks, after, (END, end[1][:-1])])
    yield "long end", join([header, before, *blocks, after, (END, end[1] + b"x")])


REARRANGED = dict(rearranged())


@pytest.mark.parametrize("name", REARRANGED)
def test_records_in_a_wrong_place_are_detected(name: str) -> None:
    assert isinstance(check(REARRANGED[name]), FailedFile)


@pytest.mark.parametrize(
    "name", ["another order", "a block is missing", "a block twice", "bytes between blocks"]
)
def test_a_block_in_a_wrong_place_is_named_before_the_end(name: str) -> None:
    result = check(REARRANGED[name])
    assert isinstance(result, FailedFile)
    assert "follows block" in result.error


def test_a_plain_file_has_no_bytes_before_its_blocks() -> None:
    header, block, end = records_of(small_files()["plain"])
    after = (CONTAINER, deflate(b"behind"))
    ending = (END, end[1] + zlib.crc32(b"behind").to_bytes(4, "little"))
    assert isinstance(check(join([header, block, after, ending])), DecodedFile)
    result = check(join([header, after, block, ending]))
    assert isinstance(result, FailedFile)
    assert "follows block" in result.error


def test_a_record_of_a_later_version_may_be_skipped() -> None:
    header, *others = records_of(small_files()["coded"])
    result = check(join([header, (b"x", b"anything"), *others[:-1], (b"i", b""), others[-1]]))
    assert isinstance(result, DecodedFile)


def hostile_block(payload: bytes, **changes: Any) -> bytes:
    """Return a file with one block of any content."""
    content = change_header(small_files()["coded"], {"samples": None, **changes})
    header, before, *_ = records_of(content)
    return join([header, before, (BLOCK, payload), (END, b"\x01\x01" + bytes(16))])


BLOCKS = {
    "no samples": b"\0\0\x01",
    "too many samples": b"\0" + encode_number(2**40) + b"\x01abc",
    "above the block": b"\0" + encode_number(80_001) + b"\x01abc",
    "unknown mode": b"\0\x01\x02abcd",
    "raw, too short": b"\0\x02\0abc",
    "raw, too long": b"\0\x01\0abcde",
    "cut": b"\0",
    "empty": b"",
    "long number": b"\x80\x00\x01\x01abc",
    "endless number": b"\xff" * 30,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_hostile_blocks_are_refused(name: str) -> None:
    assert isinstance(check(hostile_block(BLOCKS[name])), FailedFile)


def test_only_whole_and_short_streams_are_expanded() -> None:
    data = deflate(b"some text" * 9, b"dictionary")
    assert inflate(data, 81, b"dictionary") == b"some text" * 9
    assert inflate(data, 80, b"dictionary") is None
    assert inflate(data[:-1], 81, b"dictionary") is None
    assert inflate(data + b"x", 81, b"dictionary") is None
    assert inflate(b"\xff" + data, 81, b"dictionary") is None


def peak_memory(action: Callable[[], object]) -> int:
    """Return the most bytes that an action needs at one time."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def hostile_files() -> dict[str, bytes]:
    """Return small files that declare much."""
    most = {"channels": 64, "block_samples": 65_536, "sample_rate": 2**32 - 1, "samples": 2**48}
    header = records_of(small_files()["coded"])[0]
    bomb = zlib.compress(bytes(64 << 20), 9)[2:-4]
    return {
        "a long record": MAGIC + b"H\xff\xff\xff\x7f" + bytes(99),
        "a long block": join([header]) + b"B\xff\xff\xff\x7f" + bytes(99),
        "a container that expands": join([header, (CONTAINER, bomb)]),
        "most samples": change_header(small_files()["coded"], most),
        "a coded block of most samples": hostile_block(
            b"\0" + encode_number(65_536) + b"\x01" + zlib.compress(bytes(99)), **most
        ),
    }


@pytest.mark.parametrize("name", ["a long record", "a long block", "a container that expands"])
def test_memory_does_not_depend_on_what_a_file_declares(name: str) -> None:
    content = hostile_files()[name]
    assert len(content) < 100_000
    assert peak_memory(lambda: check(content)) < 4 << 20
    assert isinstance(check(content), FailedFile)


@pytest.mark.parametrize("name", ["most samples", "a coded block of most samples"])
def test_the_largest_block_has_a_limit(name: str) -> None:
    content = hostile_files()[name]
    assert isinstance(check(content), FailedFile)
    assert peak_memory(lambda: check(content)) < 64 << 20


@pytest.mark.slow
def test_a_window_of_silence_has_a_limit() -> None:
    """Blocks of silence are tiny; a window of 64 of the largest would need a gigabyte."""
    silence = zlib.compress(bytes(4 << 22))
    (header, before, *_) = records_of(
        change_header(
            small_files()["coded"],
            {"channels": 1, "block_samples": 1 << 22, "sample_rate": 2**31, "samples": None},
        )
    )
    blocks = [
        (BLOCK, encode_number(n) + encode_number(1 << 22) + b"\x01" + silence) for n in range(12)
    ]
    content = join([header, before, *blocks, (END, b"\x01\x01" + bytes(16))])
    assert len(content) < 1 << 20
    assert peak_memory(lambda: check(content)) < 400 << 20


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_numbers_have_one_spelling(value: int) -> None:
    data = encode_number(value)
    assert parse_numbers(data + b"rest", 1) == ([value], len(data))
    assert parse_numbers(data[:-1], 1) is None
    longer = data[:-1] + bytes([data[-1] | 0x80, 0])
    assert parse_numbers(longer, 1) is None


def test_numbers_beyond_63_bits_are_refused() -> None:
    assert parse_numbers(encode_number(2**63), 1) is None
    assert parse_numbers(b"\xff" * 100, 1) is None


def test_another_format_version_is_named() -> None:
    content = small_files()["raw"]
    with pytest.raises(CompressedFileError, match="version 2"):
        CompressedReader(io.BytesIO(content[:4] + b"\x02" + content[5:]), "a")
