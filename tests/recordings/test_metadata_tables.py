"""Tables in the layouts of common tools: separators, headings, and where the files are."""

import json
import re

import pytest

from wavenet.errors import DataError
from wavenet.recordings.audio_metadata import find_audio_files, list_audio_files
from wavenet.recordings.left_out_files import NOT_IN_TABLE, UNFIT_ROW
from wavenet.recordings.metadata_tables import read_table


def read(folder, name, text, paths=("a.wav", "b.wav"), metadata=None):
    """Write empty recordings and a table; return what was read: path -> fields."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    (folder / name).write_text(text, encoding="utf-8")
    files = find_audio_files(folder, None, metadata)
    root = folder.resolve()
    return {file.path.relative_to(root).as_posix(): dict(file.fields) for file in files}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("heading", ["file_name", "File Name", "path", "id"])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv", "metadata.txt"])
def test_a_heading_may_have_any_separator_and_spelling(tmp_path, separator, heading, name):
    rows = [(heading, "speaker"), ("a.wav", "ann"), ("b.wav", "bob")]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    assert read(tmp_path, name, text) == {"a.wav": {"speaker": "ann"}, "b.wav": {"speaker": "bob"}}


@pytest.mark.parametrize("place", ["", "wavs/", "wav/", "clips/", "audio/"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
@pytest.mark.parametrize("written", ["", ".wav"])
def test_the_files_of_ljspeech_are_found_where_they_are(tmp_path, place, suffix, written):
    """Regression: only wavs/NAME.wav was tried."""
    text = f"LJ-1{written}|In 1455, so|In fourteen, so\nLJ-2{written}|one|one\n"
    paths = [f"{place}LJ-1{suffix}", f"{place}LJ-2{suffix}"]
    assert read(tmp_path, "metadata.csv", text, paths) == {
        paths[0]: {"text": "In fourteen, so"},
        paths[1]: {"text": "one"},
    }
    assert list_audio_files(tmp_path).left_out == ()


def test_piper_tables_have_two_columns_or_a_speaker(tmp_path):
    """Regression: the speaker of id|speaker|text was lost."""
    assert read(tmp_path, "metadata.csv", "a|Hello, you.\nb|Good day.\n") == {
        "a.wav": {"text": "Hello, you."},
        "b.wav": {"text": "Good day."},
    }
    text = "a|ann|Hello, you.\nb|bob|Bob said good day.\n"
    assert read(tmp_path, "metadata.csv", text) == {
        "a.wav": {"speaker": "ann", "text": "Hello, you."},
        "b.wav": {"speaker": "bob", "text": "Bob said good day."},
    }


def test_a_row_without_heading_that_has_another_number_of_cells_is_left_out(tmp_path):
    text = "a|ann|Hello, you.\nb|ann|either|or\n"
    assert read(tmp_path, "metadata.csv", text) == {
        "a.wav": {"speaker": "ann", "text": "Hello, you."}
    }
    (group,) = list_audio_files(tmp_path).left_out
    assert (group.reason, group.count) == (UNFIT_ROW, 1)
    assert group.names == ("metadata.csv line 2 has 4 cells, the first row has 3",)
    with pytest.raises(DataError, match=r"line 1 has 4 cells and is not a heading; expected id"):
        read(tmp_path, "metadata.csv", "a|ann|en|Hello\n")


def test_a_heading_between_bars_names_the_columns(tmp_path):
    text = 'audio_file|text|speaker_name\na.wav|He said "no|ann\nb.wav|"a ""b"" c"|bob\n'
    assert read(tmp_path, "metadata.csv", text) == {
        "a.wav": {"text": 'He said "no', "speaker_name": "ann"},
        "b.wav": {"text": 'a "b" c', "speaker_name": "bob"},
    }
    with pytest.raises(DataError, match=r"metadata.csv line 2 does not name a file"):
        read(tmp_path, "metadata.csv", "name|text\na.wav|x\n")


def test_a_table_of_common_voice_is_read(tmp_path):
    text = (
        "client_id\tpath\tsentence\tup_votes\tage\n"
        "c0ffee\ta.mp3\tOne, two.\t2\t\n"
        "beef\tb.mp3\tThree\t3\ttwenties\n"
    )
    found = read(tmp_path, "validated.tsv", text, ["clips/a.mp3", "clips/b.mp3"], "validated.tsv")
    assert found == {
        "clips/a.mp3": {"client_id": "c0ffee", "sentence": "One, two.", "up_votes": "2", "age": ""},
        "clips/b.mp3": {
            "client_id": "beef",
            "sentence": "Three",
            "up_votes": "3",
            "age": "twenties",
        },
    }


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.json", "metadata.jsonl"])
def test_a_manifest_of_nemo_is_read_with_relative_and_absolute_paths(tmp_path, name):
    rows = [
        {"audio_filepath": str(tmp_path / "wavs/a.wav"), "duration": 1.5, "text": "x", "n": 7.0},
        {"audio_filepath": "wavs/b.wav", "duration": 2.0, "text": "y", "n": 8},
    ]
    text = "\n".join(map(json.dumps, rows))
    assert read(tmp_path, name, text, ["wavs/a.wav", "wavs/b.wav"], name) == {
        "wavs/a.wav": {"duration": "1.5", "text": "x", "n": "7"},
        "wavs/b.wav": {"duration": "2", "text": "y", "n": "8"},
    }
    (tmp_path / name).write_text(json.dumps({"audio_filepath": "/other/machine/a.wav"}))
    with pytest.raises(DataError, match="line 1 names a file outside its folder"):
        find_audio_files(tmp_path, None, name)


def test_a_table_in_a_subfolder_or_elsewhere_is_read(tmp_path):
    folder = tmp_path / "data"
    (folder / "meta").mkdir(parents=True)
    table = "file_name,v\nwavs/a.wav,1\n../wavs/b.wav,2\n"
    paths = ["wavs/a.wav", "wavs/b.wav"]
    expected = {"wavs/a.wav": {"v": "1"}, "wavs/b.wav": {"v": "2"}}
    assert read(folder, "meta/t.csv", table, paths, "meta/t.csv") == expected
    outside = tmp_path / "t.csv"
    outside.write_text("file_name,v\nwavs/a.wav,1\nb.wav,2\n")
    assert read(folder, "x.txt", "", paths, str(outside)) == expected
    outside.write_text("file_name,v\ndata/wavs/a.wav,1\n../t.csv,2\n")
    with pytest.raises(DataError, match="line 3 names a file outside its folder"):
        find_audio_files(folder, None, str(outside))


def test_paths_of_windows_are_understood(tmp_path):
    found = read(tmp_path, "metadata.csv", "file_name,v\nwavs\\a.wav,1\n", ["wavs/a.wav"])
    assert found == {"wavs/a.wav": {"v": "1"}}


def test_notes_in_a_text_file_are_no_table(tmp_path):
    found = read(tmp_path, "metadata.txt", "Recorded on Monday, in Rome.\nMono; 8 kHz.\n")
    assert found == {"a.wav": {}, "b.wav": {}}


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "file_nmae,v\na.wav,1\n",
            "line 2 does not name a file; expected a column file_name; is it",
        ),
        ("file_name,v,v\na.wav,1,2\n", "has the column 'v' twice"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "is a Git LFS pointer",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=re.escape(words)):
        read(tmp_path, "metadata.csv", text)


def test_a_row_that_does_not_fit_does_not_count_its_file_twice(tmp_path):
    read(tmp_path, "metadata.csv", "file_name,v\na.wav,1\nb.wav,2,3\n", ["a.wav", "b.wav", "c.wav"])
    groups = {group.reason: group.count for group in list_audio_files(tmp_path).left_out}
    assert groups == {UNFIT_ROW: 1, NOT_IN_TABLE: 1}


def test_the_separator_line_of_excel_is_no_heading(tmp_path):
    for first, separator in (("sep=;", ";"), ('"sep=,"', ","), ("SEP=\t", "\t")):
        row = separator.join(("a.wav", " ann "))
        (tmp_path / "t.csv").write_text(f"{first}\nfile_name{separator}speaker\n{row}\n")
        (found,) = read_table(tmp_path / "t.csv")
        assert (found.file, found.fields) == ("a.wav", {"speaker": "ann"})


def test_a_name_twice_in_a_json_line_and_utf_16_are_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"file_name": "a.wav", "speaker": "a", "speaker": "b"}\n')
    with pytest.raises(DataError, match="line 1 has 'speaker' twice"):
        list(read_table(tmp_path / "t.jsonl"))
    for encoding in ("utf-16", "utf-16-be", "utf-16-le"):
        (tmp_path / "t.csv").write_bytes("file_name,speaker\na.wav,b\n".encode(encoding))
        with pytest.raises(DataError, match=r'UTF-16 .* save it as "CSV UTF-8"'):
            list(read_table(tmp_path / "t.csv"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_from_the_first_line_of_the_file(tmp_path, end):
    lines = ["sep=;", "", "file_name;text", 'a.wav;"one', 'two"', "", "b.wav;three"]
    (tmp_path / "t.csv").write_text(end.join(lines), newline="")
    assert [(row.line, row.file) for row in read_table(tmp_path / "t.csv")] == [
        (4, "a.wav"),
        (7, "b.wav"),
    ]
    (tmp_path / "t.csv").write_text(end.join([*lines, ";four"]), newline="")
    with pytest.raises(DataError, match=r"t.csv line 8 does not name a file"):
        list(read_table(tmp_path / "t.csv"))


def test_a_line_that_cannot_be_read_is_named(tmp_path):
    for line, words in ((b"caf\xe9.wav,1", "is not UTF-8"), (b'"a"b,1', "cannot be read as a row")):
        (tmp_path / "t.csv").write_bytes(b"file_name,v\na.wav,1\n" + line + b"\n")
        with pytest.raises(DataError, match=f"t.csv line 3 {words}"):
            list(read_table(tmp_path / "t.csv"))
