"""The report on a folder of recordings, for files whose content is known."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from audio_utils.levels import LevelSummary
from wavenet.errors import DataError
from wavenet.recordings.audio_metadata import parse_file_name
from wavenet.recordings.name_patterns import guess_pattern
from wavenet.training.dataset_report import MAX_LISTED, DatasetReport, scan_dataset

RATE = 8000


def tone(seconds, rate=RATE, peak=0.5):
    """Return a sine that reaches its peak, (T,)."""
    n = np.arange(round(seconds * rate))
    return peak * np.sin(2 * np.pi * 440 * n / rate)


def final_report(*arguments):
    """Return the report after the last file."""
    *_, report = scan_dataset(*arguments)
    return report


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three lengths, two rates, stereo and a file that is no audio."""
    soundfile.write(tmp_path / "a_1.wav", tone(0.5), RATE)
    soundfile.write(tmp_path / "a_2.wav", tone(0.2), RATE)
    stereo = np.stack([tone(1.0, 16_000)] * 2, axis=1)
    (tmp_path / "deeper").mkdir()
    soundfile.write(tmp_path / "deeper" / "b_1.flac", stereo, 16_000)
    (tmp_path / "b_2.wav").write_text("this is no audio at all")
    return tmp_path


def test_files_are_counted_and_measured(folder):
    report = final_report(folder, "{voice}_{take}")
    assert (report.files, report.done, report.readable) == (4, 4, 3)
    assert report.seconds == pytest.approx(1.7)
    assert (report.shortest, report.median, report.longest) == pytest.approx((0.2, 0.5, 1.0))
    assert report.rates == {8000: 2, 16_000: 1}
    assert report.channels == {1: 2, 2: 1}
    assert report.fields == {"voice": ("a", "b"), "take": ("1", "2")}
    assert report.field_source == "file names"
    assert (report.clipped, report.clipped_count) == ((), 0)
    assert report.silent == 0
    assert report.unreadable_count == 1
    assert "b_2.wav" in report.unreadable[0]


@pytest.mark.parametrize("name", ["aa_1.wav", "odd value_1.wav"])
def test_values_of_unreadable_files_are_not_counted(folder, name):
    """Regression: a label was doubtful "in 5 recordings", though training used 4."""
    (folder / name).write_text("this is no audio at all")
    *_, before, report = scan_dataset(folder, "{voice}_{take}")
    assert before.done == 4
    assert report.readable == 3
    assert report.fields == {"voice": ("a", "b"), "take": ("1", "2")}
    assert {(doubt.field, doubt.values, doubt.files) for doubt in report.doubts} == {
        ("voice", 2, 3),
        ("take", 2, 3),
    }


def test_the_report_grows_file_by_file(folder):
    reports = list(scan_dataset(folder))
    assert [report.done for report in reports] == [0, 1, 2, 3, 4]
    assert all(report.files == 4 for report in reports)
    assert reports[0] == DatasetReport(4, suggested_pattern="{field1}_{field2}")
    lengths = [report.seconds for report in reports]
    assert lengths == sorted(lengths)
    # earlier reports do not change
    assert reports[1].rates == {8000: 1}


def test_only_requested_files_are_opened(folder, monkeypatch):
    opened = []

    def read(path, *arguments, **options):
        opened.append(path)
        raise AssertionError

    monkeypatch.setattr("wavenet.training.dataset_report.open_stream", read)
    scan = scan_dataset(folder)
    next(scan)
    scan.close()
    assert opened == []


def test_the_median_of_an_even_number_of_files_is_the_mean_of_the_middle_two(tmp_path):
    for n, seconds in enumerate((0.4, 0.1, 0.3, 0.2)):
        soundfile.write(tmp_path / f"{n}.wav", tone(seconds), RATE)
    assert final_report(tmp_path).median == pytest.approx(0.25)


def test_clipping_is_several_samples_at_full_scale_and_not_a_peak(tmp_path):
    normalised = tone(0.2, peak=0.9)
    normalised[100] = 1.0
    normalised[300:302] = -1.0
    cut = tone(0.2, peak=0.9)
    cut[100:103] = [1.0, 1.0, 1.0]
    for name, samples in {
        "normalised": normalised,
        "cut": cut,
        "below": -cut,
        "loud": tone(0.2, peak=2.0),  # a file of floats, limited when it is read
        "short": np.ones(2),
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    report = final_report(tmp_path)
    assert report.clipped == ("below.wav", "cut.wav", "loud.wav")
    assert report.clipped_count == 3


def test_silence_is_a_fraction_of_the_time(tmp_path):
    half = np.concatenate([tone(1.0, 16_000), np.zeros(16_000)])
    soundfile.write(tmp_path / "half.wav", half, 16_000)
    soundfile.write(tmp_path / "none.wav", tone(3.0), RATE)
    report = final_report(tmp_path)
    assert report.silent == pytest.approx(0.2, abs=0.005)
    assert list(report.rates) == [8000, 16_000]


def test_lists_end_at_twenty_and_counts_continue(tmp_path):
    for n in range(MAX_LISTED + 3):
        soundfile.write(tmp_path / f"loud{n:02}.wav", np.ones(100), RATE)
        (tmp_path / f"no{n:02}.wav").write_text("this is no audio at all")
    report = final_report(tmp_path)
    assert (len(report.clipped), report.clipped_count) == (20, 23)
    assert (len(report.unreadable), report.unreadable_count) == (20, 23)
    assert report.clipped[0] == "loud00.wav"


def test_fields_come_from_a_table_as_in_training(folder):
    (folder / "metadata.csv").write_text("file_name,voice\na_1.wav,x\ndeeper/b_1.flac,y\n")
    report = final_report(folder)
    assert (report.files, report.field_source) == (2, "metadata.csv")
    assert report.fields == {"voice": ("x", "y")}
    assert final_report(folder, "{voice}_{take}").field_source == "file names"
    (folder / "other.csv").write_text("file_name,take\na_2.wav,7\nmissing.wav,8\n")
    report = final_report(folder, None, "other.csv")
    assert (report.readable, report.fields) == (1, {"take": ("7",)})
    assert "missing.wav" in report.unreadable[0]


def test_a_clipped_file_is_named_within_its_folder(folder):
    soundfile.write(folder / "deeper" / "c.wav", np.ones(100), RATE)
    assert final_report(folder).clipped == ("deeper/c.wav",)
    (folder / "metadata.csv").write_text("file_name\ndeeper/c.wav\n")
    assert final_report(folder).clipped == ("deeper/c.wav",)


def test_a_folder_without_readable_files_has_no_lengths(tmp_path):
    (tmp_path / "no.wav").write_text("this is no audio at all")
    report = final_report(tmp_path)
    assert (report.readable, report.seconds, report.median, report.silent) == (0, 0, None, None)


def test_a_folder_without_audio_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        scan_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="has no audio"):
        scan_dataset(tmp_path)


@pytest.mark.parametrize(
    "names, pattern",
    [
        (["7_theo_0.wav", "7_theo_1.wav", "3_lucas_0.wav"], "{field1}_{field2}_{field3}"),
        (["LJ001-0001", "LJ001-0002", "LJ002-0001"], "{field1}-{field2}"),
        (["a-1_x.flac", "a-2_x.flac", "b-1_y.flac"], "{field1}-{field2}_{field3}"),
        (["a-b_1.wav", "a_1.wav", "a_2.wav"], "{field1}_{field2}"),
        (["one_1.2.wav", "one_2.2.wav", "two_1.2.wav"], "{field1}_{field2}"),
        (["a_1.wav", "b_2_3.wav", "a_2.wav"], None),
        (["take_1.wav", "take_2.wav", "take_3.wav"], None),  # no part distinguishes groups
        (["a.wav", "b.wav", "a.wav"], None),
        (["a__1.wav", "a__2.wav", "b__1.wav"], None),
        (["_a_1", "_a_2", "_b_1"], None),
        (["a_1.wav"], None),
        ([], None),
    ],
)
def test_a_pattern_is_guessed_if_all_names_have_one_shape(names, pattern):
    assert guess_pattern(names) == pattern
    if pattern:
        assert all(parse_file_name(pattern, name.removesuffix(".wav")) for name in names)


def test_levels_are_reported_as_counts_and_names(tmp_path):
    loud, both = np.full(800, 0.1), np.stack([tone(0.1), -0.9 * tone(0.1)], axis=1)
    loud[::10] = -2.0
    soundfile.write(tmp_path / "a.wav", loud, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", both, RATE, subtype="FLOAT")
    report = final_report(tmp_path)
    assert report.levels == LevelSummary(("a.wav",), 1, 2.0, 0, ("b.wav",), 1)
    left = final_report(tmp_path, None, None, "left", True)
    assert left.levels == LevelSummary((), 0, 2.0, 1, (), 0)


def test_the_memory_of_a_report_does_not_grow_with_a_recording(tmp_path):
    """One block of a long file is in memory, not the file."""
    peaks = []
    for n, seconds in enumerate((60, 600)):
        (tmp_path / str(n)).mkdir()
        rng = np.random.default_rng(n)
        noise = rng.integers(-9000, 9000, (seconds * RATE, 2), dtype=np.int16)
        soundfile.write(tmp_path / str(n) / "a.wav", noise, RATE)
        tracemalloc.start()
        assert final_report(tmp_path / str(n)).seconds == seconds
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # mono float32 of the long one alone: 19 MB
    assert peaks[1] < peaks[0] + 1e6
