"""The file surprise.json: round trip, hostile content, other weights; the shipped one."""

import json
import shutil
from itertools import pairwise

import pytest

from tests.detection.conftest import even_noise
from wavenet import checkpoint
from wavenet.checkpoint import CALIBRATION, MAX_CALIBRATION_BYTES
from wavenet.detection.calibration import calibrate, read_calibration, write_calibration
from wavenet.detection.window_means import WINDOW_SECONDS
from wavenet.errors import CheckpointError, DataError


@pytest.fixture
def copied(calibrated, tmp_path):
    """Return a copy of the calibrated checkpoint, whose files may be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(calibrated.folder, folder)
    return checkpoint.load(folder)


def replace_values(loaded, **values):
    """Change values of the file."""
    path = loaded.folder / CALIBRATION
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_file_is_read_as_it_was_written(copied, tmp_path):
    found = read_calibration(copied)
    assert [window.seconds for window in found.windows] == list(WINDOW_SECONDS)
    assert found.hours == pytest.approx(90 / 3600)
    assert found.recordings == 9
    assert read_calibration(copied) == found
    (tmp_path / "new").mkdir()
    path = write_calibration(tmp_path / "new", found)
    assert path.read_bytes() == (copied.folder / CALIBRATION).read_bytes()


def test_fewer_false_alarms_mean_higher_thresholds(calibrated):
    found = read_calibration(calibrated)
    rates = [1800, 600, 100, 10, 0.01]
    by_rate = [list(found.thresholds(rate).values()) for rate in rates]
    for before, after in pairwise(by_rate):
        assert all(a > b for b, a in zip(before, after, strict=True))


def test_an_existing_file_is_kept(copied):
    found = read_calibration(copied)
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_calibration(copied.folder, found, replace=False)


def test_less_than_a_minute_is_refused_and_writes_nothing(copied):
    with pytest.raises(DataError, match=r"found 3\.0 s"):
        calibrate(copied, [even_noise(3, seed=1)])


WINDOW = {"seconds": 0.001, "thresholds": [1.0], "scale": 0.1}


@pytest.mark.parametrize(
    "values",
    [
        {"format_version": 2},
        {"unknown": 1},
        {"hours": -1},
        {"hours": "1"},
        {"recordings": 0},
        {"weights_sha256": "x"},
        {"false_alarms_per_hour": []},
        {"false_alarms_per_hour": [100.0, 100.0]},
        {"false_alarms_per_hour": [1e9]},
        {"windows": []},
        {"windows": [WINDOW] * 17},
        {"windows": [WINDOW]},  # one threshold, but several rates
        {"false_alarms_per_hour": [9.0], "windows": [WINDOW, WINDOW]},
        {"false_alarms_per_hour": [9.0], "windows": [WINDOW | {"scale": -1}]},
        {"false_alarms_per_hour": [9.0], "windows": [WINDOW | {"seconds": 0}]},
        {"false_alarms_per_hour": [9.0], "windows": [WINDOW | {"thresholds": [0]}]},
        {"false_alarms_per_hour": [9.0, 8.0], "windows": [WINDOW | {"thresholds": [2.0, 1.0]}]},
    ],
)
def test_a_wrong_value_is_refused(copied, values):
    replace_values(copied, **values)
    with pytest.raises(CheckpointError, match=CALIBRATION) as caught:
        read_calibration(copied)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"hours": NaN}',
        b'{"hours": 1, "hours": 2}',
        b" " * (MAX_CALIBRATION_BYTES + 1),
    ],
    ids=range(9),
)
def test_damaged_content_is_refused(copied, content):
    (copied.folder / CALIBRATION).write_bytes(content)
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_calibration(copied)


def test_a_folder_of_this_name_is_no_calibration(copied):
    (copied.folder / CALIBRATION).unlink()
    (copied.folder / CALIBRATION).mkdir()
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_calibration(copied)


def test_a_calibration_of_other_weights_is_refused(copied):
    replace_values(copied, weights_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="other weights"):
        read_calibration(copied)


def test_the_shipped_calibration_belongs_to_the_shipped_weights():
    found = read_calibration(checkpoint.load("digits"))
    assert found.recordings > 2000
    assert 0.2 < found.hours < 0.4
