"""`wavenet surprise`: calibration, table, JSON, labels, plot, refusals."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.conftest import RATE
from tests.detection.conftest import calibrated, even_noise  # noqa: F401
from wavenet.checkpoint import CALIBRATION

CLICKS = (4_000, 12_000)


@pytest.fixture
def clicks(tmp_path):
    """Write two seconds of noise with two clicks, and return the path."""
    waveform = even_noise(2, seed=50).numpy()
    waveform[list(CLICKS)] = 0.9
    path = tmp_path / "clicks.wav"
    soundfile.write(path, waveform, RATE)
    return path


@pytest.fixture
def clean(tmp_path):
    """Write two seconds of the noise, and return the path."""
    path = tmp_path / "clean.wav"
    soundfile.write(path, even_noise(2, seed=51).numpy(), RATE)
    return path


@pytest.fixture
def command(run_command, calibrated):  # noqa: F811
    """Return a function that runs the command with the calibrated model, at 6 alarms an hour."""
    common = ("surprise", "-c", calibrated.folder, "--false-alarms-per-hour", 6)
    return lambda *arguments: run_command(*common, *arguments)


def test_every_event_is_a_line_with_its_file(command, clicks, clean):
    code, out, err = command(clean, clicks)
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["0.5000 to 0.5001 s", "1.5000 to 1.5001 s"]
    assert [row[-1] for row in rows] == [str(clicks)] * 2
    assert "2 improbable places in 4.0 s" in err


def test_json_has_one_object_per_file(command, clicks, clean):
    code, out, _ = command("--json", "--quiet", clean, clicks)
    assert code == 0
    first, second = (json.loads(line) for line in out.splitlines())
    assert first == {"file": str(clean), "seconds": 2.0, "events": []}
    assert [round(e["start"] * RATE) for e in second["events"]] == list(CLICKS)
    names = {"start", "end", "peak_surprise", "ratio", "window"}
    assert all(set(event) == names and event["ratio"] > 1 for event in second["events"])


def test_labels_and_plot_are_written_once(command, clicks, tmp_path):
    labels, plot = tmp_path / "labels.txt", tmp_path / "plot.png"
    options = ("--labels", labels, "--plot", plot, clicks)
    assert command(*options)[0] == 0
    starts = [float(line.split("\t")[0]) for line in labels.read_text().splitlines()]
    assert starts == [0.5, 1.5]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert_refused(command(*options), "exists already", "--overwrite")
    assert command(*options, "--overwrite")[0] == 0


def test_labels_are_for_one_recording(command, clicks, clean, tmp_path):
    result = command("--labels", tmp_path / "labels.txt", clean, clicks)
    assert_refused(result, "one recording", "found 2")
    assert not (tmp_path / "labels.txt").exists()


def test_a_model_is_calibrated_and_used(run_command, calibrated, clicks, tmp_path):  # noqa: F811
    folder = tmp_path / "model"
    shutil.copytree(calibrated.folder, folder)
    (folder / CALIBRATION).unlink()
    assert_refused(
        run_command("surprise", "-c", folder, clicks), CALIBRATION, "--calibrate", code=1
    )
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for seed in range(7):
        soundfile.write(recordings / f"{seed}.wav", even_noise(10, seed).numpy(), RATE)
    code, out, err = run_command("surprise", "-c", folder, "--calibrate", recordings, clicks)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "7 recordings, 1.2 minutes" in err
    before = (folder / CALIBRATION).read_bytes()
    again = ("surprise", "-c", folder, "--calibrate", recordings)
    assert_refused(run_command(*again), "exists already", "--overwrite")
    assert run_command(*again, "--overwrite")[0] == 0
    assert (folder / CALIBRATION).read_bytes() == before
    soundfile.write(tmp_path / "loud.wav", 2 * even_noise(10, 90).numpy(), RATE)
    held_out = (*again, "--held-out", tmp_path / "loud.wav", "--overwrite")
    assert run_command(*held_out)[0] == 0
    after = (folder / CALIBRATION).read_bytes()
    unreadable = (*again, "--held-out", tmp_path / "missing.wav", "--overwrite")
    assert run_command(*unreadable)[0] == 1
    assert (folder / CALIBRATION).read_bytes() == after
    one, other = (json.loads(text)["windows"] for text in (before, after))
    assert all(b["thresholds"][0] > a["thresholds"][0] for a, b in zip(one, other, strict=True))


def test_too_little_clean_sound_writes_nothing(run_command, make_checkpoint, clean):
    folder = make_checkpoint().folder
    result = run_command("surprise", "-c", folder, "-s", "digit=a", "--calibrate", clean)
    assert_refused(result, "found 2.0 s", code=1)
    assert not (folder / CALIBRATION).exists()


def test_a_file_that_cannot_be_read_is_skipped(command, clicks, tmp_path):
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF")
    code, out, err = command(damaged, clicks)
    assert code == 3
    assert len(out.splitlines()) == 2
    assert "1 of 2 files were skipped" in err
    assert command(damaged)[0] == 1


@pytest.mark.parametrize("rate", ["0", "-1", "1e9", "nan", "many"])
def test_a_wrong_rate_is_refused(run_command, calibrated, clicks, rate):  # noqa: F811
    result = run_command(
        "surprise", "-c", calibrated.folder, "--false-alarms-per-hour", rate, clicks
    )
    assert_refused(result, "false")


def test_held_out_recordings_need_a_calibration(command, clicks, clean):
    assert_refused(command(clicks, "--held-out", clean), "--calibrate")


def test_without_files_there_is_nothing_to_do(run_command):
    assert_refused(run_command("surprise"), "--calibrate")


def test_another_rate_and_stereo_are_converted(command, tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.zeros((3_200, 2)), 16_000)
    code, _, err = command(path)
    assert code == 0
    assert "mixed 2 channels to one, resampled 16000 Hz to 8000 Hz" in err
