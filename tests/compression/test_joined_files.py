"""Compressed files that were joined are decoded as one recording."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.compression.audio_files import chunk, find_deltas, make_aiff, make_samples, make_wav
from tests.compression.test_damaged_files import END, join, pack, peak_memory, records_of
from wavenet.compression.decode_files import (
    DecodedFile,
    OutputFormat,
    decompress_files,
    read_header,
    restored_name,
    verify_files,
)
from wavenet.compression.file_task import FailedFile, FileTask
from wavenet.compression.read_range import read_range
from wavenet.errors import CompressedFileError

FIRST, SECOND = make_samples(1, 40_000), make_samples(1, 500, seed=1)
BOTH = np.concatenate([FIRST, SECOND], axis=1)
# two containers of different kinds, and an empty part between them
PARTS = (
    pack(make_wav(FIRST, after=chunk(b"LIST", b"abc")), block_seconds=1.1),
    pack(make_wav(FIRST[:, :0])),
    pack(make_aiff(SECOND), with_coder=False, keep_metadata=True),
)
JOINED = b"".join(PARTS)


def restore(
    content: bytes, output_format: OutputFormat = "original", recover: bool = False
) -> tuple[DecodedFile | FailedFile, bytes]:
    """Return the result for a file in memory, and the restored bytes."""
    target = io.BytesIO()
    task = FileTask(io.BytesIO(content), target, "joined", "restored")
    (result,) = decompress_files([task], find_deltas, output_format, recover)
    return result, target.getvalue()


def verify(content: bytes) -> DecodedFile | FailedFile:
    return verify_files([FileTask(io.BytesIO(content), None, "joined", "")], find_deltas)[0]


@pytest.mark.parametrize("output_format", ["original", "wav"])
def test_joined_files_are_restored_as_one_recording(output_format: OutputFormat) -> None:
    result, content = restore(JOINED, output_format)
    assert isinstance(result, DecodedFile), result
    assert (result.samples, result.parts, result.is_original) == (40_500, 3, False)
    assert content == make_wav(BOTH)


def test_joined_files_become_one_flac(tmp_path: Path) -> None:
    (tmp_path / "joined.wnc").write_bytes(JOINED)
    task = FileTask(tmp_path / "joined.wnc", tmp_path / "a.flac", "joined", "a.flac")
    (result,) = decompress_files([task], find_deltas, "flac")
    assert isinstance(result, DecodedFile), result
    found, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    np.testing.assert_array_equal(found, BOTH[0])


def test_the_restored_file_is_named_as_wav(tmp_path: Path) -> None:
    aiff = pack(make_aiff(SECOND))
    (tmp_path / "a.wnc").write_bytes(aiff)
    assert restored_name(read_header(tmp_path / "a.wnc"), "a") == "a.aif"
    (tmp_path / "a.wnc").write_bytes(aiff + aiff)
    assert restored_name(read_header(tmp_path / "a.wnc"), "a") == "a.wav"


def test_all_parts_are_verified() -> None:
    result = verify(JOINED)
    assert isinstance(result, DecodedFile), result
    assert (result.samples, result.parts) == (40_500, 3)


@pytest.mark.parametrize("part", [0, 2])
@pytest.mark.parametrize("wrong", ["samples", "container"])
def test_wrong_checksums_of_any_part_are_detected(part: int, wrong: str) -> None:
    *records, (_, payload) = records_of(PARTS[part])
    at = -1 if wrong == "container" else -5
    changed = bytearray(payload)
    changed[at] ^= 1
    parts = list(PARTS)
    parts[part] = join([*records, (END, bytes(changed))])
    for result in (verify(b"".join(parts)), restore(b"".join(parts))[0]):
        assert isinstance(result, FailedFile)
        assert "differ" in result.error


def test_every_flipped_bit_of_joined_files_is_detected() -> None:
    content = bytearray(PARTS[1] + pack(make_wav(np.arange(60)[None])) + PARTS[1])
    assert isinstance(verify(bytes(content)), DecodedFile)
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        assert isinstance(verify(bytes(content)), FailedFile), bit
        content[bit // 8] ^= 1 << bit % 8


def test_joined_files_that_end_early_are_detected_except_between_parts() -> None:
    content = pack(make_wav(np.arange(60)[None]))
    for length in range(1, 2 * len(content)):
        found = verify((content * 2)[:length])
        assert isinstance(found, DecodedFile if length == len(content) else FailedFile), length


@pytest.mark.parametrize(
    "other",
    [
        make_wav(SECOND, rate=8000),
        make_wav(make_samples(2, 500)),
        make_wav(make_samples(1, 500, 24), 24),
    ],
    ids=["rate", "channels", "bits"],
)
def test_different_recordings_are_refused(other: bytes) -> None:
    for result in (verify(PARTS[0] + pack(other)), restore(PARTS[0] + pack(other))[0]):
        assert isinstance(result, FailedFile)
        assert "16,000 Hz, channels 1, 16 bits" in result.error


def feed(content: bytes, with_target: bool) -> DecodedFile | FailedFile:
    """Decode a file from a pipe."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        task = FileTask(pipe, io.BytesIO() if with_target else None, "pipe", "")
        (result,) = decompress_files([task], find_deltas)
        pipe.read()
    thread.join()
    return result


def test_joined_files_from_a_pipe_are_only_verified() -> None:
    result = feed(JOINED, with_target=False)
    assert isinstance(result, DecodedFile), result
    assert (result.parts, result.samples) == (3, 40_500)
    refused = feed(JOINED, with_target=True)
    assert isinstance(refused, FailedFile)
    assert "save it as a file" in refused.error


@pytest.mark.parametrize("damage", [None, 200, len(PARTS[0]) - 3])
def test_recovery_names_the_place_of_the_second_part(tmp_path: Path, damage: int | None) -> None:
    content = bytearray(JOINED)
    if damage is not None:
        content[damage] ^= 1
    (tmp_path / "joined.wnc").write_bytes(content)
    task = FileTask(tmp_path / "joined.wnc", tmp_path / "a.wav", "joined", "a.wav")
    (result,) = decompress_files([task], find_deltas, recover=True)
    assert isinstance(result, FailedFile)
    position = len(PARTS[0])
    assert f"`head -c {position}` and `tail -c +{position + 1}`" in result.error
    assert not (tmp_path / "a.wav").exists()


def test_recovery_of_the_first_part_says_that_others_are_left_out(tmp_path: Path) -> None:
    content = bytearray(JOINED)
    content[len(PARTS[0]) + 20] ^= 1  # in the header of the second one
    (tmp_path / "joined.wnc").write_bytes(content)
    task = FileTask(tmp_path / "joined.wnc", tmp_path / "a.wav", "joined", "a.wav")
    (result,) = decompress_files([task], find_deltas, recover=True)
    assert isinstance(result, DecodedFile)
    assert (result.samples, result.is_original) == (40_000, False)
    assert result.notes


def test_a_range_is_read_of_single_files(tmp_path: Path) -> None:
    (tmp_path / "joined.wnc").write_bytes(JOINED)
    found = read_range(tmp_path / "joined.wnc", 100, 300, find_deltas)
    np.testing.assert_array_equal(found, FIRST[:, 100:300])
    with pytest.raises(CompressedFileError, match="joined"):
        read_range(tmp_path / "joined.wnc", 39_999, 40_001, find_deltas)


def test_memory_does_not_depend_on_the_number_of_parts() -> None:
    def check() -> None:
        assert isinstance(verify(PARTS[2] + 2000 * PARTS[1]), DecodedFile)

    assert peak_memory(check) < 1 << 20
