"""Parts of compressed files: the samples of the range, whatever is before it."""

from pathlib import Path

import numpy as np
import pytest

from tests.compression.audio_files import DeltaCoder, find_deltas, make_samples, make_wav
from tests.compression.test_damaged_files import join, pack, records_of
from wavenet.compression.read_range import read_range
from wavenet.errors import CompressedFileError, ConfigError

SAMPLES = make_samples(2, 60_000)
STEP = 17_600  # samples of a block


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("range") / "a.wnc"
    found.write_bytes(pack(make_wav(SAMPLES, after=b"LIST\3\0\0\0abc"), block_seconds=1.1))
    return found


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 60_000),
        (0, 1),
        (0, 0),
        (STEP - 1, STEP + 1),
        (STEP, 2 * STEP),
        (3 * STEP, 10**9),
        (59_999, 60_001),
        (60_000, 60_001),
        (10**9, 10**9 + 5),
    ],
)
def test_a_range_has_the_samples_of_the_file(path: Path, start: int, stop: int) -> None:
    found = read_range(path, start, stop, find_deltas)
    np.testing.assert_array_equal(found, SAMPLES[:, start:stop])


def test_only_the_blocks_of_the_range_are_decoded(path: Path) -> None:
    decoded = []

    class Counter(DeltaCoder):
        def decode(self, payloads, forms):  # type: ignore[no-untyped-def]
            decoded.append(len(payloads))
            return super().decode(payloads, forms)

    read_range(path, 2 * STEP + 5, 2 * STEP + 9, lambda sha256: Counter())
    assert decoded == [1]


def test_a_damaged_block_of_the_range_is_an_error(path: Path, tmp_path: Path) -> None:
    records = records_of(path.read_bytes())
    content = bytearray(join(records))
    end = len(join(records[:4])) - 9  # in the second block
    content[end] ^= 1
    (tmp_path / "b.wnc").write_bytes(content)
    assert read_range(tmp_path / "b.wnc", 2 * STEP, 3 * STEP, find_deltas).shape == (2, STEP)
    for start, stop in ((0, STEP + 1), (STEP, STEP + 1)):
        with pytest.raises(CompressedFileError):
            read_range(tmp_path / "b.wnc", start, stop, find_deltas)
    (tmp_path / "b.wnc").write_bytes(content[:end])
    with pytest.raises(CompressedFileError):
        read_range(tmp_path / "b.wnc", 2 * STEP, 3 * STEP, find_deltas)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4)])
def test_a_wrong_range_is_refused(path: Path, start: int, stop: int) -> None:
    with pytest.raises(ConfigError):
        read_range(path, start, stop, find_deltas)
