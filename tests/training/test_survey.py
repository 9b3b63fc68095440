"""What a folder of recordings is said to hold, against files whose content is known."""

import numpy as np
import pytest
import soundfile

from wavenet.audio_metadata import parse_file_name
from wavenet.errors import DataError
from wavenet.training.survey import SHOWN, Survey, guess_pattern, survey

RATE = 8000


def tone(seconds, rate=RATE, peak=0.5):
    """Make a sine that reaches its peak, (T,)."""
    n = np.arange(round(seconds * rate))
    return peak * np.sin(2 * np.pi * 440 * n / rate)


def last(*arguments):
    *_, found = survey(*arguments)
    return found


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


def test_a_folder_is_counted_and_measured(folder):
    found = last(folder, "{voice}_{take}")
    assert (found.files, found.done, found.readable) == (4, 4, 3)
    assert found.seconds == pytest.approx(1.7)
    assert (found.shortest, found.median, found.longest) == pytest.approx((0.2, 0.5, 1.0))
    assert found.rates == {8000: 2, 16_000: 1}
    assert found.channels == {1: 2, 2: 1}
    assert found.fields == {"voice": ("a", "b"), "take": ("1", "2")}
    assert found.format == "file names"
    assert (found.clipped, found.clipped_count) == ((), 0)
    assert found.silent == 0
    assert found.unreadable_count == 1
    assert "b_2.wav" in found.unreadable[0]


def test_the_report_grows_file_by_file(folder):
    reports = list(survey(folder))
    assert [found.done for found in reports] == [0, 1, 2, 3, 4]
    assert all(found.files == 4 for found in reports)
    assert reports[0] == Survey(4)
    lengths = [found.seconds for found in reports]
    assert lengths == sorted(lengths)
    # what was given before does not change
    assert reports[1].rates == {8000: 1}


def test_only_as_many_files_are_opened_as_are_asked_for(folder, monkeypatch):
    opened = []

    def read(path):
        opened.append(path)
        raise AssertionError

    monkeypatch.setattr("wavenet.training.survey.io.read", read)
    growing = survey(folder)
    next(growing)
    growing.close()
    assert opened == []


def test_the_median_of_an_even_number_lies_between_the_middle_two(tmp_path):
    for n, seconds in enumerate((0.4, 0.1, 0.3, 0.2)):
        soundfile.write(tmp_path / f"{n}.wav", tone(seconds), RATE)
    assert last(tmp_path).median == pytest.approx(0.25)


def test_clipping_is_a_run_at_full_scale_and_not_a_peak(tmp_path):
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
    found = last(tmp_path)
    assert found.clipped == ("below.wav", "cut.wav", "loud.wav")
    assert found.clipped_count == 3


def test_silence_is_a_share_of_the_time(tmp_path):
    half = np.concatenate([tone(1.0, 16_000), np.zeros(16_000)])
    soundfile.write(tmp_path / "half.wav", half, 16_000)
    soundfile.write(tmp_path / "none.wav", tone(3.0), RATE)
    found = last(tmp_path)
    assert found.silent == pytest.approx(0.2, abs=0.005)
    assert list(found.rates) == [8000, 16_000]


def test_lists_stop_at_twenty_and_counts_go_on(tmp_path):
    for n in range(SHOWN + 3):
        soundfile.write(tmp_path / f"loud{n:02}.wav", np.ones(100), RATE)
        (tmp_path / f"no{n:02}.wav").write_text("this is no audio at all")
    found = last(tmp_path)
    assert (len(found.clipped), found.clipped_count) == (20, 23)
    assert (len(found.unreadable), found.unreadable_count) == (20, 23)
    assert found.clipped[0] == "loud00.wav"


def test_labels_come_from_a_table_as_in_training(folder):
    (folder / "metadata.csv").write_text("file_name,voice\na_1.wav,x\ndeeper/b_1.flac,y\n")
    found = last(folder)
    assert (found.files, found.format) == (2, "metadata.csv")
    assert found.fields == {"voice": ("x", "y")}
    assert last(folder, "{voice}_{take}").format == "file names"
    (folder / "other.csv").write_text("file_name,take\na_2.wav,7\nmissing.wav,8\n")
    found = last(folder, None, "other.csv")
    assert (found.readable, found.fields) == (1, {"take": ("7", "8")})
    assert "missing.wav" in found.unreadable[0]


def test_a_clipped_file_is_named_within_its_folder(folder):
    soundfile.write(folder / "deeper" / "c.wav", np.ones(100), RATE)
    assert last(folder).clipped == ("deeper/c.wav",)
    (folder / "metadata.csv").write_text("file_name\ndeeper/c.wav\n")
    assert last(folder).clipped == ("deeper/c.wav",)


def test_a_folder_of_nothing_readable_has_no_lengths(tmp_path):
    (tmp_path / "no.wav").write_text("this is no audio at all")
    found = last(tmp_path)
    assert (found.readable, found.seconds, found.median, found.silent) == (0, 0, None, None)


def test_what_cannot_be_surveyed_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        survey(tmp_path / "none")
    with pytest.raises(DataError, match="holds no audio"):
        survey(tmp_path)


@pytest.mark.parametrize(
    "names, pattern",
    [
        (["7_theo_0.wav", "7_theo_1.wav", "3_lucas_0.wav"], "{field1}_{field2}_{field3}"),
        (["LJ001-0001", "LJ001-0002", "LJ002-0001"], "{field1}-{field2}"),
        (["a-1_x.flac", "a-2_x.flac", "b-1_y.flac"], "{field1}-{field2}_{field3}"),
        (["a-b_1.wav", "a_1.wav", "a_2.wav"], "{field1}_{field2}"),
        (["one_1.2.wav", "one_2.2.wav", "two_1.2.wav"], "{field1}_{field2}"),
        (["a_1.wav", "b_2_3.wav", "a_2.wav"], None),
        (["take_1.wav", "take_2.wav", "take_3.wav"], None),  # no part tells groups apart
        (["a.wav", "b.wav", "a.wav"], None),
        (["a__1.wav", "a__2.wav", "b__1.wav"], None),
        (["_a_1", "_a_2", "_b_1"], None),
        (["a_1.wav"], None),
        ([], None),
    ],
)
def test_a_pattern_is_guessed_where_all_names_have_one_shape(names, pattern):
    assert guess_pattern(names) == pattern
    if pattern:
        assert all(parse_file_name(pattern, name.removesuffix(".wav")) for name in names)
