"""Pipelines over many files: windows, verification, failures of single files, full disks."""

import io
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.compression.audio_files import (
    SHA256,
    DeltaCoder,
    file_task,
    find_deltas,
    make_samples,
    make_wav,
)
from wavenet.compression.block_windows import BlockToDecode, decode_blocks
from wavenet.compression.blocks import Block, BlockForm
from wavenet.compression.compress_files import (
    CompressedFile,
    CompressionSettings,
    compress_files,
)
from wavenet.compression.compressed_file import StoredBlock
from wavenet.compression.compressed_header import (
    CoderIdentity,
    CompressedHeader,
    pack_header,
    unpack_header,
)
from wavenet.compression.decode_files import (
    DecodedFile,
    decompress_files,
    read_header,
    restored_name,
    verify_files,
)
from wavenet.compression.file_task import FailedFile, FileTask
from wavenet.errors import CompressedFileError, ConfigError
from wavenet.progress import CallbackProgress


@pytest.fixture
def write_wavs(tmp_path: Path) -> Callable[..., list[Path]]:
    """Return a function that writes WAV files of given lengths."""

    def write(*lengths: int, channels: int = 1) -> list[Path]:
        paths = [tmp_path / f"{index}.wav" for index in range(len(lengths))]
        for seed, (path, length) in enumerate(zip(paths, lengths, strict=True)):
            path.write_bytes(make_wav(make_samples(channels, length, seed=seed)))
        return paths

    return write


def tasks_of(paths: Sequence[Path], folder: Path) -> list[FileTask]:
    folder.mkdir(exist_ok=True)
    return [file_task(path, folder / f"{path.stem}.wnc") for path in paths]


def test_blocks_of_short_files_share_a_window(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    coder = DeltaCoder()
    paths = write_wavs(*[500] * 70, channels=2)
    results = compress_files(tasks_of(paths, tmp_path / "out"), coder)
    assert all(isinstance(result, CompressedFile) for result in results)
    assert coder.windows == [64, 64, 12]


def test_blocks_of_a_long_file_share_a_window(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    coder = DeltaCoder()
    settings = CompressionSettings(block_seconds=1.1)
    paths = write_wavs(70 * 17_600 + 1)
    (result,) = compress_files(tasks_of(paths, tmp_path / "out"), coder, settings)
    assert isinstance(result, CompressedFile)
    assert (result.blocks, coder.windows) == (71, [64, 7])


def test_a_window_has_a_limit_of_samples(
    tmp_path: Path, write_wavs: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise 64 streams of the longest blocks would need a gigabyte."""
    monkeypatch.setattr("wavenet.compression.block_windows.WINDOW_VALUES", 10_000)
    coder = DeltaCoder()
    compress_files(tasks_of(write_wavs(*[3000] * 10), tmp_path / "out"), coder)
    assert coder.windows == [4, 4, 2]


def test_samples_beyond_their_bits_are_refused() -> None:
    """A damaged payload may be decoded to any integers."""
    identity = CoderIdentity(name="deltas", sha256=SHA256[:32], profile="exact-1")
    results = []
    for value in (32_767, 32_768, -32_769, -32_768):
        block = Block(np.full((1, 500), value, np.int32), 16)
        (payload,) = DeltaCoder().encode([block])
        stored = StoredBlock(0, block.form, True, payload)
        item = BlockToDecode(0, block.form, stored, identity, "name")
        results += [type(result) for result in decode_blocks(find_deltas, [item])]
    assert results == [np.ndarray, CompressedFileError, CompressedFileError, np.ndarray]


def test_results_have_the_order_of_the_tasks_and_correct_counts(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    paths = write_wavs(100, 0, 3000)
    paths.insert(1, tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("no sound")
    paths.append(tmp_path / "text.wav")
    tasks = tasks_of(paths, tmp_path / "out")
    results = compress_files(tasks, DeltaCoder())
    kinds = [type(result) for result in results]
    assert kinds == [CompressedFile, FailedFile, CompressedFile, CompressedFile, FailedFile]
    assert [result.source for result in results] == [str(path) for path in paths]
    for task, result in zip(tasks, results, strict=True):
        assert isinstance(task.source, Path) and isinstance(task.target, Path)
        assert task.target.exists() == isinstance(result, CompressedFile)
        if isinstance(result, CompressedFile):
            assert result.bytes_before == task.source.stat().st_size
            assert result.bytes_after == task.target.stat().st_size
            assert result.bits_per_sample >= 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.wnc", "1.wnc", "2.wnc"]


def test_progress_ends_at_one_per_file(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    amounts: list[float] = []
    tasks = tasks_of(write_wavs(100, 50_000), tmp_path / "out")
    settings = CompressionSettings(block_seconds=1.1)
    compress_files(tasks, DeltaCoder(), settings, CallbackProgress(amounts.append))
    assert sum(amounts) == pytest.approx(2)
    assert len(amounts) == 8
    checks = [FileTask(task.target, None, "", "") for task in tasks if task.target]
    amounts.clear()
    verify_files(checks, find_deltas, CallbackProgress(amounts.append))
    assert sum(amounts) == pytest.approx(2)


class WrongCoder(DeltaCoder):
    """Encodes one sample wrong by one, in the n-th block."""

    def __init__(self, wrong: int):
        super().__init__()
        self._wrong, self._blocks = wrong, 0

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        changed = []
        for block in blocks:
            samples = block.samples.copy()
            if self._blocks == self._wrong:
                samples[0, samples.shape[1] // 2] ^= 1
            self._blocks += 1
            changed.append(Block(samples, block.bits))
        return super().encode(changed)


def test_an_error_of_the_encoder_is_found_before_the_file_appears(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    paths = write_wavs(3000, 4000, 5000)
    before = [path.read_bytes() for path in paths]
    tasks = tasks_of(paths, tmp_path / "out")
    results = compress_files(tasks, WrongCoder(1))
    assert [type(result) for result in results] == [CompressedFile, FailedFile, CompressedFile]
    assert isinstance(results[1], FailedFile)
    assert "verification" in results[1].error
    assert sorted(os.listdir(tmp_path / "out")) == ["0.wnc", "2.wnc"]
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("keep_metadata", [False, True])
def test_without_verification_the_error_is_in_the_file(
    tmp_path: Path, write_wavs: Callable[..., list[Path]], keep_metadata: bool
) -> None:
    """A control of the test above; reading the file finds the error."""
    (task,) = tasks_of(write_wavs(3000), tmp_path / "out")
    settings = CompressionSettings(verify=False, keep_metadata=keep_metadata)
    assert isinstance(compress_files([task], WrongCoder(0), settings)[0], CompressedFile)
    assert task.target is not None
    (result,) = verify_files([FileTask(task.target, None, "", "")], find_deltas)
    assert isinstance(result, FailedFile)


class BadDecoder(DeltaCoder):
    """Raises an error that is a bug."""

    def decode(
        self, payloads: Sequence[bytes], forms: Sequence[BlockForm]
    ) -> list[NDArray[np.int32]]:
        raise ZeroDivisionError


class BadEncoder(DeltaCoder):
    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("coder", "error"), [(BadDecoder, Exception), (BadEncoder, BaseException)])
def test_a_bug_or_an_interrupt_leaves_no_file(
    tmp_path: Path,
    write_wavs: Callable[..., list[Path]],
    coder: type[DeltaCoder],
    error: type[BaseException],
) -> None:
    tasks = tasks_of(write_wavs(3000, 3000), tmp_path / "out")
    with pytest.raises(error):
        compress_files(tasks, coder())
    assert os.listdir(tmp_path / "out") == []


class NoiseCoder(DeltaCoder):
    """Returns payloads that are longer than the samples."""

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        return [bytes(4 * block.samples.size) for block in blocks]


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("rate", [9, 90, 8000, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_never_much_larger_than_the_original(
    tmp_path: Path, bits: int, rate: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    limit = 2 ** (bits - 1)
    noise = rng.integers(-limit, limit, (channels, 120_000))
    (tmp_path / "a.wav").write_bytes(make_wav(noise, bits, rate))
    (result,) = compress_files([file_task(tmp_path / "a.wav", tmp_path / "a.wnc")], NoiseCoder())
    assert isinstance(result, CompressedFile)
    assert result.raw_blocks == result.blocks
    assert result.bytes_after <= 1.001 * result.bytes_before + 130


def test_a_wrong_byte_around_the_samples_is_found_before_the_file_appears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The samples are correct, and so are all checksums of the compressed file."""
    monkeypatch.setattr("wavenet.compression.decoded_target.usual_header", lambda _: bytes(44))
    packed = io.BytesIO()
    task = FileTask(io.BytesIO(make_wav(make_samples(1, 99))), packed, "source", "packed")
    (result,) = compress_files([task], None)
    assert isinstance(result, FailedFile)
    assert packed.getvalue() == b""


class NamedCoder(DeltaCoder):
    """Has the name of the default compressor, to which the format is adapted."""

    name = "lossless"


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_the_overhead_of_a_short_recording_is_small(rate: int) -> None:
    """A network compresses a spoken digit to about 3,000 bytes."""
    samples = make_samples(1, 6400)
    packed = io.BytesIO()
    task = FileTask(io.BytesIO(make_wav(samples, rate=rate)), packed, "source", "packed")
    (result,) = compress_files([task], NamedCoder())
    assert isinstance(result, CompressedFile)
    assert result.raw_blocks == 0
    (payload,) = DeltaCoder().encode([Block(samples.astype(np.int32), 16)])
    assert result.bytes_after - len(payload) <= 78


def test_an_existing_file_is_kept(tmp_path: Path, write_wavs: Callable[..., list[Path]]) -> None:
    tasks = tasks_of(write_wavs(300, 300), tmp_path / "out")
    (tmp_path / "out/0.wnc").write_bytes(b"kept")
    results = compress_files(tasks, None)
    assert [type(result) for result in results] == [FailedFile, CompressedFile]
    assert (tmp_path / "out/0.wnc").read_bytes() == b"kept"
    replaced = compress_files(tasks, None, CompressionSettings(overwrite=True))
    assert all(isinstance(result, CompressedFile) for result in replaced)
    task = file_task(tmp_path / "out/1.wnc", tmp_path / "out/0.wnc")
    assert isinstance(decompress_files([task], find_deltas)[0], FailedFile)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Limit the size of new files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("verify", [False, True])
def test_a_full_disk_leaves_no_file_and_the_others_continue(tmp_path: Path, verify: bool) -> None:
    (tmp_path / "long.wav").write_bytes(make_wav(make_samples(1, 9000)))
    (tmp_path / "short.wav").write_bytes(make_wav(make_samples(1, 100)))
    paths = [tmp_path / name for name in ("long.wav", "short.wav")]
    rng = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
    paths[0].write_bytes(make_wav(rng.integers(-32768, 32768, (1, 30_000))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
    tasks = tasks_of(paths, tmp_path / "out")
    results = compress_files(tasks, None, CompressionSettings(verify=verify))
    assert [type(result) for result in results] == [FailedFile, CompressedFile]
    assert os.listdir(tmp_path / "out") == ["short.wnc"]


class FullStream(io.RawIOBase):
    """A stream that cannot be written, as /dev/full."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(28, os.strerror(28))


@pytest.mark.parametrize("verify", [False, True])
def test_a_pipe_that_cannot_be_written_is_a_failed_file(
    write_wavs: Callable[..., list[Path]], verify: bool
) -> None:
    (path,) = write_wavs(3000)
    stream: Any = FullStream()
    (result,) = compress_files(
        [FileTask(path, stream, str(path), "stdout")], None, CompressionSettings(verify=verify)
    )
    assert isinstance(result, FailedFile)
    assert "stdout" in result.error


def test_a_source_that_changes_while_it_is_read_fails(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    (path,) = write_wavs(70 * 16_384)

    class Cutter(DeltaCoder):
        def encode(self, blocks: Sequence[Block]) -> list[bytes]:
            os.truncate(path, 100)
            return super().encode(blocks)

    settings = CompressionSettings(block_seconds=0.1)
    (result,) = compress_files(tasks_of([path], tmp_path / "out"), Cutter(), settings)
    assert isinstance(result, FailedFile)
    assert "changed" in result.error


@pytest.mark.parametrize("seconds", [0, -1, 10.1, float("nan")])
def test_the_length_of_a_block_is_checked(seconds: float) -> None:
    with pytest.raises(ConfigError, match="block_seconds"):
        CompressionSettings(block_seconds=seconds)


def test_a_stored_name_is_restored(tmp_path: Path, write_wavs: Callable[..., list[Path]]) -> None:
    (path,) = write_wavs(10)
    target = tmp_path / "other.wnc"
    compress_files([file_task(path, target)], None, CompressionSettings(store_name=True))
    header = read_header(target)
    assert header.file_name == "0.wav"
    assert restored_name(header, "other") == "0.wav"
    assert restored_name(header, "other", "flac") == "0.flac"
    assert restored_name(None, "other") == "other.wav"


def test_a_header_is_small_and_round_trips() -> None:
    header = CompressedHeader(
        format_version=1,
        coder=None,
        sample_rate=44_100,
        channels=2,
        bits=16,
        samples=1234,
        block_samples=220_500,
        container="wav",
        file_name=None,
    )
    assert unpack_header(pack_header(header), "") == header
    assert len(pack_header(header)) < 50


def test_a_decoded_file_knows_its_properties(
    tmp_path: Path, write_wavs: Callable[..., list[Path]]
) -> None:
    (path,) = write_wavs(20, channels=2)
    compress_files([file_task(path, tmp_path / "a.wnc")], DeltaCoder())
    results = verify_files([file_task(tmp_path / "a.wnc", None)], find_deltas)
    name = str(tmp_path / "a.wnc")
    assert results == [DecodedFile(name, None, 16_000, 2, 16, 20, is_original=True)]
