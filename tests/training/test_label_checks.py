"""Doubtful labels: each sign with its numbers, and no sign for plausible labels."""

import pytest
import soundfile

from wavenet.corpus.prepare import prepare_corpus
from wavenet.errors import DataError
from wavenet.model.conditions import LabelCondition
from wavenet.recordings.audio_metadata import list_audio_files
from wavenet.recordings.left_out_files import (
    EMPTY,
    LFS_POINTER,
    MISSING,
    NOT_IN_PATTERN,
    UNREADABLE,
)
from wavenet.recordings.name_patterns import guess_pattern
from wavenet.training.dataset import read_dataset
from wavenet.training.dataset_report import scan_dataset
from wavenet.training.label_checks import (
    ALIKE,
    EMPTY_VALUE,
    MANY_VALUES,
    MET_ONCE,
    NOT_A_WORD,
    LabelDoubt,
    describe_doubt,
    find_label_doubts,
)
from wavenet.training.recipe import DataConfig

from . import RATE, make_config, sine

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.mark.parametrize(
    "counts, expected",
    [
        ({"ann": 50, "bob": 40}, []),
        ({"ann": 50}, []),
        ({"-18.3": 20, "1e3": 20, "0.5": 20}, []),
        ({"ann": 50, "bob": 1}, [(MET_ONCE, 1, 2, 51, ("bob",))]),
        ({"a": 1, "b": 1, "c": 1}, [(MANY_VALUES, 3, 3, 3, ("a", "b", "c"))]),
        ({"a": 3, "b": 3, "c": 3}, []),
        ({"a": 2, "b": 3, "c": 3, "d": 3}, [(MANY_VALUES, 4, 4, 11, ("a", "b", "c", "d"))]),
        ({"ann": 9, " twice.": 9, "x" * 41: 9}, [(NOT_A_WORD, 2, 3, 27, (" twice.", "x" * 41))]),
        ({"ann": 9, "Bob": 9, "bob": 9}, [(ALIKE, 2, 3, 27, ("Bob", "bob"))]),
        (
            {"ann": 9, "bob": 9, "bob ": 9},
            [(NOT_A_WORD, 1, 3, 27, ("bob ",)), (ALIKE, 2, 3, 27, ("bob", "bob "))],
        ),
        ({"ann": 9, "": 4}, [(EMPTY_VALUE, 4, 2, 13, ("",))]),
    ],
)
def test_signs_of_mistakes_are_found_with_their_numbers(counts, expected):
    doubts = find_label_doubts({"voice": counts})
    assert list(doubts) == [LabelDoubt("voice", *values) for values in expected]
    assert all(str(doubt.count) in describe_doubt(doubt) for doubt in doubts)
    assert all(describe_doubt(doubt).isprintable() for doubt in doubts)


@pytest.fixture
def folder(tmp_path):
    """Write recordings of ann and bob, and a table with an unquoted comma and other spellings."""
    (tmp_path / "audio").mkdir()
    rows = ["file_name,text,Voice"]
    for n, voice in enumerate(("ann", "ann", "bob", "bob", "ann", "Bob")):
        soundfile.write(tmp_path / "audio" / f"{n}.wav", sine(400).numpy(), RATE)
        rows.append(f"{n}.wav,hello,{voice}")
    rows[2] = "1.wav,She said it, twice.,ann"
    (tmp_path / "audio/metadata.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "audio"


def labelled_model(name="voice"):
    return make_config((LabelCondition(name=name, values=("x",)),)).model


def test_training_on_a_folder_or_a_corpus_reports_doubts_and_files(folder, tmp_path):
    """Regression: the row with a comma taught the voice " twice."; "Voice" was no label."""
    (folder / "deep").mkdir()
    (folder / "deep/pointer.wav").write_text(POINTER)
    prepare_corpus(folder, tmp_path / "corpus", workers=1)
    for source in (folder, tmp_path / "corpus"):
        dataset = read_dataset(DataConfig(folder=str(source)), RATE, labelled_model())
        clips = [*dataset.train, *dataset.validation]
        assert {clip.fields["voice"] for clip in clips} == {"ann", "bob", "Bob"}
        assert dataset.recording_count == 5
        assert {doubt.kind for doubt in dataset.doubts} == {MANY_VALUES, MET_ONCE, ALIKE}
        assert {doubt.field for doubt in dataset.doubts} == {"voice"}
        assert [(g.reason, g.count) for g in dataset.left_out if g.is_audio] == [
            ("the row of the table does not fit", 1),
            ("not in the table", 1),
        ]


def test_a_similar_label_name_is_refused_with_both_names(folder, tmp_path):
    prepare_corpus(folder, tmp_path / "corpus", workers=1)
    for source in (folder, tmp_path / "corpus"):
        with pytest.raises(DataError, match="has no field 'voices', but a field 'Voice'"):
            read_dataset(DataConfig(folder=str(source)), RATE, labelled_model("voices"))


def test_the_names_of_held_out_fields_are_matched_too(folder):
    data = DataConfig(folder=str(folder), validation={"voice": ("bob",)})
    dataset = read_dataset(data, RATE, make_config(()).model)
    assert [clip.fields["voice"] for clip in dataset.validation] == ["bob", "bob"]
    with pytest.raises(DataError, match="has no field 'voicee'"):
        read_dataset(
            DataConfig(folder=str(folder), test={"voicee": ("bob",)}), RATE, make_config(()).model
        )


def test_unreadable_files_are_counted_by_reason(tmp_path):
    for n in range(3):
        (tmp_path / f"pointer{n}.wav").write_text(POINTER)
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "good.wav", sine(400).numpy(), RATE)
    (tmp_path / "list.csv").write_text(
        "file_name\n"
        + "".join(f"{p.name}\n" for p in sorted(tmp_path.glob("*.wav")))
        + "gone.wav\n"
    )
    *_, report = scan_dataset(tmp_path, None, "list.csv")
    counts = {group.reason: group.count for group in report.left_out if group.is_audio}
    assert counts == {UNREADABLE: 1, EMPTY: 1, LFS_POINTER: 3, MISSING: 1}
    assert (report.left_out_audio, report.left_out_share) == (6, 6 / 7)
    assert report.unreadable_count == 6
    corpus = prepare_corpus(tmp_path, tmp_path.parent / "corpus", None, None, "list.csv", 1)
    assert corpus.left_out == report.left_out
    *_, again = scan_dataset(tmp_path.parent / "corpus")
    assert (again.left_out, again.left_out_share) == (report.left_out, report.left_out_share)


def test_the_share_that_is_left_out_counts_names_that_do_not_fit(tmp_path):
    for name in ("1_a.wav", "2_a.wav", "3_a.wav", "4_a_b.wav"):
        soundfile.write(tmp_path / name, sine(400).numpy(), RATE)
    *_, report = scan_dataset(tmp_path, "{n}_{voice}")
    assert (report.left_out_audio, report.left_out_share) == (1, 0.25)
    assert report.left_out[0].reason == NOT_IN_PATTERN
    *_, report = scan_dataset(tmp_path)
    assert (report.left_out_audio, report.left_out_share) == (0, 0)


@pytest.mark.parametrize(
    "paths, pattern",
    [
        (["cat/1.wav", "cat/2.wav", "dog/1.wav"], "{label}/{take}"),
        (["x/cat/1.wav", "x/cat/2.wav", "x/dog/1.wav"], "{label}/{take}"),
        (["a/x/1.wav", "a/y/2.wav", "b/x/1.wav"], "{folder1}/{folder2}/{take}"),
        (["a/7_1.wav", "a/7_2.wav", "b/8_1.wav"], "{label}/{field1}_{field2}"),
        (["wavs/1.wav", "wavs/2.wav", "wavs/3.wav"], None),
        (["cat/1.wav", "cat/2.wav", "1.wav"], None),
        (["a/1.wav", "b/1.wav", "c/1.wav"], None),
    ],
)
def test_folders_that_group_recordings_are_suggested(paths, pattern, tmp_path):
    assert guess_pattern(paths) == pattern
    if pattern is not None:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        assert not any(group.is_audio for group in list_audio_files(tmp_path, pattern).left_out)
