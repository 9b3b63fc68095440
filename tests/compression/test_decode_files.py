"""Compressed files to WAV and FLAC, and what is recovered of damaged ones."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.compression.audio_files import (
    DeltaCoder,
    chunk,
    file_task,
    find_deltas,
    make_aiff,
    make_samples,
    make_wav,
)
from tests.compression.test_damaged_files import change_header, join, pack, records_of
from wavenet.compression.compressed_file import BLOCK, encode_number, read_record
from wavenet.compression.decode_files import (
    DamagedPart,
    DecodedFile,
    OutputFormat,
    decompress_files,
    verify_files,
)
from wavenet.compression.file_task import FailedFile, FileTask
from wavenet.errors import CompressedFileError

SAMPLES = make_samples(2, 70_000)
BLOCK_SAMPLES = 17_600  # 1.1 s; so four blocks
LAST = 3 * BLOCK_SAMPLES
BEFORE, AFTER = chunk(b"bext", b"somebody"), chunk(b"LIST", b"anything")
WAV = make_wav(SAMPLES, before=BEFORE, after=AFTER)


@pytest.fixture(scope="module")
def packed() -> bytes:
    """Return a compressed file of four blocks."""
    return pack(WAV, block_seconds=1.1)


def restore(
    content: bytes, target: Path, output_format: OutputFormat = "original", recover: bool = False
) -> DecodedFile | FailedFile:
    source = target.with_name("source.wnc")
    source.write_bytes(content)
    task = file_task(source, target)
    return decompress_files([task], find_deltas, output_format, recover, overwrite=True)[0]


@pytest.mark.parametrize("output_format", ["wav", "flac"])
@pytest.mark.parametrize("bits", [8, 16, 24])
def test_other_formats_have_the_same_samples(
    tmp_path: Path, output_format: OutputFormat, bits: int
) -> None:
    samples = make_samples(2, 20_000, bits)
    target = tmp_path / f"a.{output_format}"
    result = restore(pack(make_aiff(samples, bits), block_seconds=1.1), target, output_format)
    assert isinstance(result, DecodedFile)
    assert not result.is_original
    found, rate = soundfile.read(target, dtype="int32")
    assert rate == 16_000
    np.testing.assert_array_equal(found.T >> (32 - bits), samples)


def test_a_flac_has_the_md5_of_the_samples(tmp_path: Path, packed: bytes) -> None:
    restore(packed, tmp_path / "a.flac", "flac")
    digest = records_of(packed)[-1][1][-20:-4]
    assert digest in (tmp_path / "a.flac").read_bytes()[:64]


def test_a_wav_to_a_pipe_has_its_length_if_it_is_known(packed: bytes) -> None:
    target = io.BytesIO()
    task = FileTask(io.BytesIO(packed), target, "", "")
    decompress_files([task], find_deltas, "wav")
    assert target.getvalue() == make_wav(SAMPLES)
    unknown = change_header(packed, {"samples": None, "container": "none"})
    header, _, *blocks, _, (end, payload) = records_of(unknown)
    unknown = join([header, *blocks, (end, payload[:-4])])
    target = io.BytesIO()
    decompress_files([FileTask(io.BytesIO(unknown), target, "", "")], find_deltas)
    assert target.getvalue() == make_wav(SAMPLES)


def test_flac_to_a_pipe_is_refused(packed: bytes) -> None:
    task = FileTask(io.BytesIO(packed), io.BytesIO(), "", "")
    (result,) = decompress_files([task], find_deltas, "flac")
    assert isinstance(result, FailedFile)


@pytest.mark.parametrize(("channels", "rate"), [(9, 16_000), (1, 2**32 - 1)])
def test_what_flac_cannot_store_is_refused(tmp_path: Path, channels: int, rate: int) -> None:
    wav = make_wav(make_samples(channels, 10), rate=rate) if channels > 1 else None
    content = pack(wav or make_wav(make_samples(1, 10), fmt=_fast_format(rate)))
    result = restore(content, tmp_path / "a.flac", "flac")
    assert isinstance(result, FailedFile)
    assert "wav" in result.error
    assert not (tmp_path / "a.flac").exists()


def _fast_format(rate: int) -> bytes:
    return b"\1\0\1\0" + rate.to_bytes(4, "little") + b"\0\0\0\0\2\0\x10\0"


def test_more_than_4_gb_are_no_wav(tmp_path: Path, packed: bytes) -> None:
    content = change_header(packed, {"samples": 2**31})
    result = restore(content, tmp_path / "a.wav", "wav")
    assert isinstance(result, FailedFile)
    assert "flac" in result.error


def positions(content: bytes) -> list[int]:
    """Return the position of each record, and of the end."""
    found, position = [], 5
    for _, payload in records_of(content):
        found.append(position)
        position += 1 + len(encode_number(len(payload))) + len(payload) + 4
    return [*found, position]


def silent(*blocks: int) -> NDArray[np.int64]:
    """Return the samples with silence in place of blocks."""
    samples = SAMPLES.copy()
    for block in blocks:
        samples[:, block * BLOCK_SAMPLES : (block + 1) * BLOCK_SAMPLES] = 0
    return samples


def wav_of(samples: NDArray[np.int64]) -> bytes:
    """Return the whole file with other samples."""
    return make_wav(samples, before=BEFORE, after=AFTER)


def damage(content: bytes, *records: int) -> bytes:
    """Return a file with a wrong byte in the middle of some records."""
    damaged, starts = bytearray(content), positions(content)
    assert starts[-1] == len(content)
    for record in records:
        damaged[(starts[record] + starts[record + 1]) // 2] ^= 0x55
    return bytes(damaged)


# records: header, before, four blocks, after, end
@pytest.mark.parametrize("blocks", [(0,), (1,), (3,), (0, 1), (1, 3), (0, 1, 2, 3)])
def test_damaged_blocks_become_silence(
    tmp_path: Path, packed: bytes, blocks: tuple[int, ...]
) -> None:
    content = damage(packed, *(block + 2 for block in blocks))
    assert isinstance(restore(content, tmp_path / "a.wav"), FailedFile)
    assert not (tmp_path / "a.wav").exists()
    result = restore(content, tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert [part.block for part in result.damaged] == list(blocks)
    assert result.damaged[0] == DamagedPart(
        blocks[0], blocks[0] * BLOCK_SAMPLES, BLOCK_SAMPLES if blocks[0] < 3 else 70_000 - LAST
    )
    assert (tmp_path / "a.wav").read_bytes() == wav_of(silent(*blocks))
    assert not result.is_original
    assert len(result.sentences()) == len(blocks)


def test_without_its_compressor_a_file_is_not_recovered_as_silence(
    tmp_path: Path, packed: bytes
) -> None:
    def find_nothing(sha256: str) -> None:
        raise CompressedFileError(f"{sha256} is not installed")

    source, target = tmp_path / "source.wnc", tmp_path / "a.wav"
    source.write_bytes(packed)
    (result,) = decompress_files([file_task(source, target)], find_nothing, recover=True)
    assert isinstance(result, FailedFile)
    assert not target.exists()


def test_a_whole_file_is_recovered_as_it_is(tmp_path: Path, packed: bytes) -> None:
    result = restore(packed, tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert (result.is_original, result.sentences()) == (True, [])
    assert (tmp_path / "a.wav").read_bytes() == WAV


@pytest.mark.parametrize("at", [0.3, 0.6, 0.99])
def test_a_file_cut_short_has_its_full_length(tmp_path: Path, packed: bytes, at: float) -> None:
    result = restore(packed[: int(at * len(packed))], tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert result.samples == 70_000
    first = result.damaged[0].block
    assert [part.block for part in result.damaged] == list(range(first, 4))
    content = (tmp_path / "a.wav").read_bytes()
    assert content == wav_of(silent(*range(first, 4)))[: -len(AFTER)]
    assert result.notes


def test_lost_and_inserted_bytes_are_survived(tmp_path: Path, packed: bytes) -> None:
    """The lengths of records are wrong then, so the next one is searched."""
    starts = positions(packed)
    third = starts[4]
    lost = packed[: third + 5] + packed[third + 105 :]
    inserted = packed[:third] + b"BCE" + packed[third:]
    for content, blocks in ((lost, [2]), (inserted, [])):
        result = restore(content, tmp_path / "a.wav", recover=True)
        assert isinstance(result, DecodedFile)
        assert [part.block for part in result.damaged] == blocks
        assert (tmp_path / "a.wav").read_bytes() == wav_of(silent(*blocks))


def test_without_the_bytes_before_a_wav_is_written(tmp_path: Path, packed: bytes) -> None:
    result = restore(damage(packed, 1), tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert (result.damaged, len(result.notes)) == ((), 1)
    assert (tmp_path / "a.wav").read_bytes() == make_wav(SAMPLES)


def test_a_damaged_end_is_reported(tmp_path: Path, packed: bytes) -> None:
    result = restore(damage(packed, 7), tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert (result.damaged, len(result.notes), result.is_original) == ((), 1, False)
    assert (tmp_path / "a.wav").read_bytes() == WAV


def test_a_damaged_header_cannot_be_recovered(tmp_path: Path, packed: bytes) -> None:
    assert isinstance(restore(damage(packed, 0), tmp_path / "a.wav", recover=True), FailedFile)


def test_a_payload_that_the_coder_refuses_becomes_silence(tmp_path: Path, packed: bytes) -> None:
    """Its checksum is right, because it was damaged before it was written."""
    records = records_of(packed)
    head = records[3][1][:5]
    records[3] = (BLOCK, head + b"no zlib")
    assert head[-1:] == b"\1"
    result = restore(join(records), tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert [part.block for part in result.damaged] == [1]
    assert isinstance(restore(join(records), tmp_path / "b.wav"), FailedFile)


def test_a_damaged_block_does_not_harm_other_files(tmp_path: Path, packed: bytes) -> None:
    """They are decoded in the same window."""
    records = records_of(packed)
    records[3] = (BLOCK, records[3][1][:5] + b"no zlib")
    contents = [packed, join(records), packed]
    tasks = [FileTask(io.BytesIO(c), None, str(n), "") for n, c in enumerate(contents)]
    results = verify_files(tasks, find_deltas)
    assert [type(result) for result in results] == [DecodedFile, FailedFile, DecodedFile]
    assert isinstance(results[1], FailedFile)
    assert results[1].error.startswith("1: block 1 is damaged")


def test_a_tiny_file_does_not_become_endless_silence(
    tmp_path: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavenet.compression.recover_blocks.MAX_LOST_BLOCKS", 10)
    most = change_header(packed, {"samples": 2**48})
    result = restore(most[: positions(most)[2]], tmp_path / "a.wav", "original", recover=True)
    assert isinstance(result, DecodedFile)
    assert result.samples == 10 * BLOCK_SAMPLES
    records = records_of(change_header(packed, {"samples": None}))
    records[2] = (BLOCK, b"\xff\xff\xff\xff\x01" + records[2][1][1:])
    assert isinstance(restore(join(records), tmp_path / "b.wav", recover=True), FailedFile)


def test_recovery_of_a_malicious_file_ends(
    tmp_path: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte could be the start of a long record; the work has a limit."""
    attempts = []

    def count(*values: Any) -> Any:
        attempts.append(values)
        return read_record(*values)

    monkeypatch.setattr("wavenet.compression.recover_blocks.read_record", count)
    monkeypatch.setattr("wavenet.compression.recover_blocks._MIN_WORK", 1 << 20)
    start = positions(packed)[2]
    possible = b"B\xff\x7f\x00\x01\x00"
    content = packed[:start] + possible * 5000
    result = restore(content, tmp_path / "a.wav", recover=True)
    assert isinstance(result, DecodedFile)
    assert len(result.damaged) == 4
    assert len(attempts) < 200


def test_a_missing_coder_is_named(tmp_path: Path, packed: bytes) -> None:
    def find(sha256: str) -> DeltaCoder:
        raise CompressedFileError(f"{sha256[:6]} is not installed")

    (tmp_path / "a.wnc").write_bytes(packed)
    (result,) = decompress_files([file_task(tmp_path / "a.wnc", tmp_path / "a.wav")], find)
    assert isinstance(result, FailedFile)
    assert "not installed" in result.error
    assert not (tmp_path / "a.wav").exists()
