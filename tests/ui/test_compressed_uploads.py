"""Uploads that are compressed and restored: results, names, limits, hostile files, an early end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audio_utils.errors import AudioError
from tests.compression.audio_files import SHA256, DeltaCoder, find_deltas
from wavenet.compression.compress_files import CompressedFile
from wavenet.compression.compressed_file import CompressedWriter
from wavenet.compression.compressed_header import CoderIdentity, CompressedHeader
from wavenet.compression.decode_files import DecodedFile
from wavenet.compression.file_task import FailedFile
from wavenet.errors import ConditionError
from wavenet.ui.compress import compressed_uploads
from wavenet.ui.compress.block_bits import plot_block_bits, time_ticks
from wavenet.ui.compress.compressed_uploads import (
    compress_uploads,
    read_blocks,
    restore_uploads,
    unique_names,
)

from .conftest import RATE, tone


@pytest.fixture(autouse=True)
def _small_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_uploads, "load_block_coder", find_deltas)
    monkeypatch.setattr(compressed_uploads, "load_compressor", DeltaCoder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def ignore(share: float) -> None:
    """Accept a report."""


def compressed(path: str | Path, out: Path) -> Path:
    (result,) = compress_uploads([str(path)], out, ignore)
    assert isinstance(result, CompressedFile)
    return out / result.target


def test_files_are_restored_and_a_bad_one_does_not_stop_the_others(
    tmp_path: Path, out: Path
) -> None:
    shares: list[float] = []
    paths = [tmp_path / name for name in ("a.wav", "bad.wav", "b.aiff", "c.flac")]
    for path in (paths[0], *paths[2:]):
        soundfile.write(path, tone(5), RATE)
    paths[1].write_bytes(b"RIFF")
    results = compress_uploads([str(path) for path in paths], out, shares.append)
    assert [type(result) for result in results] == [
        *(CompressedFile, FailedFile, CompressedFile, CompressedFile)
    ]
    assert results[1].source == "bad.wav"
    assert str(tmp_path) not in str(results)
    assert shares[0] == 0 and shares[-1] == 1
    assert shares == sorted(shares) and len(set(shares)) > 2
    packed = [str(out / result.target) for result in results if isinstance(result, CompressedFile)]
    assert [Path(path).name for path in packed] == ["a.wnc", "b.wnc", "c.wnc"]
    back = out / "back"
    back.mkdir()
    restored = restore_uploads(packed, back, ignore)
    names = [result.target for result in restored if isinstance(result, DecodedFile)]
    assert names == ["a.wav", "b.aif", "c.wav"]
    assert (back / "a.wav").read_bytes() == paths[0].read_bytes()
    assert (back / "b.aif").read_bytes() == paths[2].read_bytes()
    samples = [soundfile.read(path, dtype="int16")[0] for path in (back / "c.wav", paths[3])]
    assert np.array_equal(*samples)


def test_one_long_file_is_refused_and_many_are_too_many(
    save_wav: Callable[..., str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed_uploads, "MAX_VALUES", RATE)
    path = save_wav(tone(0.9))
    (failed,) = compress_uploads([save_wav(tone(1.1), name="long")], out, ignore)
    assert isinstance(failed, FailedFile) and "long.wav has more than 8,000" in failed.error
    with pytest.raises(ConditionError, match="14,400 samples"):
        compress_uploads([path, path], out, ignore)
    monkeypatch.setattr(compressed_uploads, "MAX_FILES", 1)
    with pytest.raises(ConditionError, match="2 files"):
        compress_uploads([path, path], out, ignore)
    with pytest.raises(ConditionError, match="no files"):
        restore_uploads([], out, ignore)
    with pytest.raises(ConditionError, match="deleted"):
        restore_uploads([str(out / "gone.wnc")], out, ignore)
    assert not list(out.iterdir())


def test_joined_files_are_one_recording(save_wav: Callable[..., str], out: Path) -> None:
    parts = [compressed(save_wav(tone(1), name=name), out) for name in ("a", "b")]
    joined = out / "joined.wnc"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    (result,) = restore_uploads([str(joined)], out, ignore)
    assert isinstance(result, DecodedFile)
    assert soundfile.info(out / "joined.wav").frames == 2 * RATE
    assert len(read_blocks(joined)[1]) == 2


def write_hostile(path: Path, blocks: int, parts: int) -> str:
    """Write a file that declares one sample, and has many blocks or bytes around them."""
    header = CompressedHeader(
        format_version=1,
        coder=CoderIdentity(name="deltas", sha256=SHA256[:32], profile="exact-1"),
        sample_rate=RATE,
        channels=1,
        bits=16,
        samples=1,
        block_samples=1 << 16,
        container="wav",
        file_name=None,
    )
    with path.open("wb") as stream:
        writer = CompressedWriter(stream, header)
        for _ in range(parts):
            writer.write_container(bytes(1 << 20))
        for _ in range(blocks):
            writer.write_block(1 << 16, b"tiny", is_coded=True)
        writer.finish(bytes(16))
    return str(path)


@pytest.mark.parametrize(
    ("blocks", "parts", "text"),
    [(400, 0, "more than 12,000,000 samples"), (1, 40, "more than 20 MB around")],
)
def test_a_small_file_that_would_become_large_is_refused_before_it_is_decoded(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, parts: int, text: str
) -> None:
    monkeypatch.setattr(DeltaCoder, "decode", None)
    path = write_hostile(tmp_path / "bomb.wnc", blocks, parts)
    assert Path(path).stat().st_size < 100_000
    (failed,) = restore_uploads([path], out, ignore)
    assert isinstance(failed, FailedFile) and text in failed.error
    assert not list(out.iterdir())


@pytest.mark.parametrize("reports", [1, 2])
def test_an_exception_of_a_report_ends_the_work_and_leaves_nothing(
    save_wav: Callable[..., str], out: Path, reports: int
) -> None:
    class Ended(Exception):
        pass

    seen: list[float] = []

    def note(share: float) -> None:
        seen.append(share)
        if len(seen) == reports:
            raise Ended

    with pytest.raises(Ended):
        compress_uploads([save_wav(tone(5))], out, note)
    assert not list(out.iterdir())


def test_names_are_valid_and_differ() -> None:
    names = ["a.wav", "a.wav", "x/y.wav", "a-2.wav", "é" * 200 + ".wnc"]
    found = unique_names(names)
    assert found[:4] == ["a.wav", "a-2.wav", "x-y.wav", "a-2-2.wav"]
    assert found[4].endswith("é.wnc") and len(found[4].encode()) <= 200


def test_the_picture_has_two_points_for_each_block(save_wav: Callable[..., str], out: Path) -> None:
    path = compressed(save_wav(np.concatenate([tone(5), 0.001 * tone(5)])), out)
    _, blocks = read_blocks(path)
    assert len(blocks) == 5  # of 16,384 samples, because the rate is low
    html: Any = plot_block_bits(path)
    points = html.split('points="')[1].split('"')[0].split()
    assert len(points) == 2 * len(blocks)
    heights = [float(point.split(",")[1]) for point in points]
    assert heights[0] < heights[-1]  # from the top: the loud part needs more bits
    assert plot_block_bits(compressed(save_wav([], name="empty"), out)) == ""


@pytest.mark.parametrize("seconds", [0.004, 0.3, 6.0, 100.0, 20_000.0])
def test_ticks_are_few_and_within_the_axis(seconds: float) -> None:
    ticks = [value for value, _ in time_ticks(seconds)]
    assert ticks[0] == 0 and ticks[-1] <= seconds
    assert 2 <= len(ticks) <= 8


def test_an_error_has_the_name_of_the_upload_not_its_path(
    save_wav: Callable[..., str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_unreadable(path: Path, name: str) -> None:
        raise AudioError(f"{path} cannot be read")

    monkeypatch.setattr(compressed_uploads, "open_pcm_source", open_unreadable)
    (failed,) = compress_uploads([save_wav(tone())], out, ignore)
    assert isinstance(failed, FailedFile)
    assert failed.error == "tone.wav cannot be read"
