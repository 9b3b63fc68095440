"""Fields of audio files, from names or metadata; no file outside the folder is accepted."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_utils.audio_formats import AUDIO_SUFFIXES, FFMPEG_SUFFIXES
from wavenet.errors import DataError
from wavenet.recordings.audio_metadata import (
    AudioFile,
    find_audio_files,
    list_audio_files,
    list_audio_paths,
    match_fields,
    parse_file_name,
    read_metadata,
)
from wavenet.recordings.left_out_files import (
    ARRAY,
    FOLDER_LINK,
    HIDDEN,
    MAX_NAMES,
    NOT_AUDIO,
    NOT_IN_PATTERN,
    NOT_IN_TABLE,
    REPEATED,
    UNFIT_ROW,
    unread_reason,
)

# seeded, and without a time limit
RULES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture
def folder(tmp_path):
    """Build a folder of empty files; only their names are read."""
    for name in ("7_theo_0.wav", "3_lucas_12.FLAC", "deep/er/1_a_b_3.ogg", "notes.txt", "2_x.mp3"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def write_and_read(folder, name, text):
    """Write a metadata file and read it."""
    path = folder / name
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    return read_metadata(path)


def by_reason(groups):
    """Return the names of the files that are left out, by reason."""
    assert all(group.count == len(group.names) for group in groups)
    return {group.reason: group.names for group in groups}


def refusal(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert sentence.isprintable()
    return sentence


def test_without_pattern_and_metadata_all_audio_files_are_listed_in_order(folder):
    assert [file.path.relative_to(folder).as_posix() for file in find_audio_files(folder)] == [
        "2_x.mp3",
        "3_lucas_12.FLAC",
        "7_theo_0.wav",
        "deep/er/1_a_b_3.ogg",
    ]
    assert all(not file.fields for file in find_audio_files(folder))


def test_a_pattern_reads_fields_and_names_files_that_do_not_fit(folder):
    """Regression: "1_a_b_3" became the speaker "a" with the index "b_3"."""
    listing = list_audio_files(folder, "{digit}_{speaker}_{index}")
    assert {file.path.name: dict(file.fields) for file in listing.files} == {
        "3_lucas_12.FLAC": {"digit": "3", "speaker": "lucas", "index": "12"},
        "7_theo_0.wav": {"digit": "7", "speaker": "theo", "index": "0"},
    }
    assert by_reason(listing.left_out) == {
        NOT_IN_PATTERN: (
            "2_x.mp3 (2 parts separated by '_', expected 3)",
            "deep/er/1_a_b_3.ogg (4 parts separated by '_', expected 3)",
        ),
        NOT_AUDIO: ("notes.txt",),
    }


@pytest.mark.parametrize(
    "pattern, stem, fields",
    [
        ("{a}", "x", {"a": "x"}),
        ("{a}-{b}", "x-y-z", None),  # not guessed
        ("take {n} (dry)", "take 3 (dry)", {"n": "3"}),
        ("{n}.{m}", "1.2", {"n": "1", "m": "2"}),
        ("{a}_{b}", "x_", None),
        ("{a}_{b}", "_y", None),
        ("{a}.{b}", "xzy", None),
        ("p{a}", "q1", None),
        ("{a}_{{b}}", "x_{y}", {"a": "x", "b": "y"}),
    ],
)
def test_a_pattern_matches_the_whole_name(pattern, stem, fields):
    assert parse_file_name(pattern, stem) == fields


@pytest.mark.parametrize(
    "pattern", ["", "plain", "{a}_{a}", "{}", "{1}", "{a", "a}", "{a-b}", "{a²}"]
)
def test_a_pattern_without_fields_or_with_one_twice_is_refused(pattern):
    """Regression: a superscript in a field raised an error of the re module."""
    assert "must name each field once" in refusal(parse_file_name, pattern, "x")


@RULES
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_pattern_matches_or_is_refused(pattern, stem):
    try:
        fields = parse_file_name(pattern, stem)
    except DataError:
        return
    assert fields is None or all(fields.values())


@RULES
@given(st.lists(st.text("abc012é -", min_size=1, max_size=5), min_size=2, max_size=4))
def test_fields_joined_by_a_character_that_they_do_not_contain_are_reproduced(values):
    pattern = "_".join(f"{{f{n}}}" for n in range(len(values)))
    fields = parse_file_name(pattern, "_".join(values))
    assert list(fields.values()) == values


def test_a_pattern_without_matches_is_refused_with_an_example(folder):
    sentence = refusal(find_audio_files, folder, "{a}+{b}")
    assert "'{a}+{b}'" in sentence
    assert "2_x.mp3" in sentence


def test_a_missing_or_empty_folder_is_refused(folder, tmp_path):
    assert "is not a folder" in refusal(find_audio_files, tmp_path / "nowhere")
    assert "is not a folder" in refusal(find_audio_files, folder / "notes.txt")
    (tmp_path / "empty").mkdir()
    assert "has no audio; expected files that end in .wav" in refusal(
        find_audio_files, tmp_path / "empty"
    )


def test_a_csv_file_has_files_and_fields(folder):
    files = write_and_read(
        folder,
        "metadata.csv",
        '\ufefffile_name,speaker,text\r\n7_theo_0.wav,theo,"one, two"\r\n\r\n'
        "deep/er/1_a_b_3.ogg,,\r\n  \r\n,,\r\n",
    )
    assert files == [
        AudioFile((folder / "7_theo_0.wav").resolve(), {"speaker": "theo", "text": "one, two"}),
        AudioFile((folder / "deep/er/1_a_b_3.ogg").resolve(), {"speaker": "", "text": ""}),
    ]


def test_a_quoted_cell_may_contain_line_ends(folder):
    """Regression: the line ends in a cell, and its empty lines, were lost."""
    (file,) = write_and_read(folder, "metadata.csv", 'file_name,text\na.wav,"one\n\ntwo"\n')
    assert file.fields["text"] == "one\n\ntwo"


def test_rows_with_another_number_of_cells_are_named_and_not_used(folder):
    """Regression: an unquoted comma in a text made the voice " twice."."""
    text = (
        "file_name,text,voice\n"
        "7_theo_0.wav,one,bob\n"
        "2_x.mp3,She said it, twice.,bob\n"
        '3_lucas_12.FLAC,"several\n\nlines",ann\n'
        "deep/er/1_a_b_3.ogg,ann\n"
    )
    (folder / "metadata.csv").write_text(text)
    listing = list_audio_files(folder)
    assert [file.fields["voice"] for file in listing.files] == ["bob", "ann"]
    assert by_reason(listing.left_out) == {
        UNFIT_ROW: (
            "metadata.csv line 3 has 4 cells, the heading has 3; quote cells that contain a comma",
            "metadata.csv line 7 has 2 cells, the heading has 3",
        ),
        NOT_AUDIO: ("notes.txt",),
    }
    sentence = refusal(write_and_read, folder, "metadata.csv", "file_name,a\nx.wav,1,2\n")
    assert sentence.endswith(
        "metadata.csv line 2 has 3 cells, the heading has 2; quote cells that contain a comma"
    )
    # empty cells at the end, as spreadsheets write them
    (file,) = write_and_read(folder, "metadata.csv", "file_name,a,,\nx.wav,1,,\n")
    assert file.fields == {"a": "1"}


@pytest.mark.parametrize("column", ["file_name", "audio_filepath", "audio_file", "path"])
def test_jsonl_names_files_in_the_usual_columns(folder, column):
    rows = [{column: "a.wav", "digit": 7, "none": None}, {column: "b.wav", "digit": "8"}]
    text = "\n\n".join(json.dumps(row) for row in rows)
    files = write_and_read(folder, "metadata.jsonl", text)
    assert [file.path.name for file in files] == ["a.wav", "b.wav"]
    assert [dict(file.fields) for file in files] == [{"digit": "7"}, {"digit": "8"}]


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\x1e"])
def test_unicode_line_separators_do_not_end_a_line(folder, character):
    """Regression: U+2028 in a text, which JSON and CSV allow, divided its line."""
    if character != "\x1e":
        row = json.dumps({"file_name": "a.wav", "text": f"x{character}y"}, ensure_ascii=False)
        (file,) = write_and_read(folder, "metadata.jsonl", row)
        assert file.fields["text"] == f"x{character}y"
    (file,) = write_and_read(folder, "metadata.csv", f"file_name,text\na.wav,x{character}y\n")
    assert file.fields["text"] == f"x{character}y"


def test_the_metadata_of_ljspeech_is_read(folder):
    text = "LJ001-0001|In 1455, so|In fourteen fifty-five, so\nLJ001-0002|a|b\n"
    files = write_and_read(folder, "metadata.csv", text)
    wavs = folder.resolve() / "wavs"
    assert [file.path for file in files] == [wavs / "LJ001-0001.wav", wavs / "LJ001-0002.wav"]
    assert files[0].fields == {"text": "In fourteen fifty-five, so"}


def test_metadata_is_found_by_default_and_a_pattern_takes_precedence(folder):
    (folder / "metadata.csv").write_text("file_name\n2_x.mp3\n")
    assert [file.path.name for file in find_audio_files(folder)] == ["2_x.mp3"]
    (folder / "metadata.jsonl").write_text('{"file_name": "7_theo_0.wav"}')
    assert [file.path.name for file in find_audio_files(folder)] == ["7_theo_0.wav"]
    assert [file.path.name for file in find_audio_files(folder, metadata="metadata.csv")] == [
        "2_x.mp3"
    ]
    assert len(find_audio_files(folder, "{digit}_{speaker}_{index}")) == 2


def test_a_named_metadata_file_must_exist(folder):
    assert "has no file list.csv" in refusal(find_audio_files, folder, None, "list.csv")


@pytest.mark.parametrize(
    "name",
    [
        "../x.wav",
        "/etc/passwd",
        "a/../../x.wav",
        "..",
        "deep/../../data2/x.wav",
        "link/x.wav",
        "../x\ty.wav",
    ],
)
@pytest.mark.parametrize("kind", ["metadata.csv", "metadata.jsonl"])  # fmt: skip
def test_a_file_outside_the_folder_is_refused(folder, tmp_path, kind, name):
    (tmp_path / "data2").mkdir()
    (folder / "link").symlink_to(tmp_path / "data2")
    good, bad = ("deep/../2_x.mp3", name)
    if kind == "metadata.csv":
        text = f"file_name\n{good}\n{bad}\n"
    else:
        text = "\n".join(json.dumps({"file_name": n}) for n in (good, bad))
    sentence = refusal(write_and_read, folder, kind, text)
    line = 3 if kind == "metadata.csv" else 2
    assert f"line {line} names a file outside its folder" in sentence


@pytest.mark.parametrize("name", ["metadata.csv", "deep/labels.tsv", ".labels.csv"])
def test_the_table_that_is_used_is_not_left_out(folder, name):
    (folder / "other.csv").touch()
    (folder / name).write_text("file_name,v\n7_theo_0.wav,1\n")
    for metadata in (name, str(folder / name)):
        left_out = by_reason(list_audio_files(folder, metadata=metadata).left_out)
        assert left_out[NOT_AUDIO] == ("notes.txt", "other.csv")
        assert HIDDEN not in left_out


def test_an_id_of_ljspeech_cannot_leave_the_folder(folder):
    assert "outside its folder" in refusal(write_and_read, folder, "metadata.csv", "../../x|a|b\n")


@pytest.mark.parametrize("name", ["a\0b.wav", "\ud800.wav", "loop/x.wav"])
def test_a_name_that_no_file_system_allows_is_refused(folder, name):
    """Regression: NUL and lone surrogates raised a ValueError of the os module."""
    (folder / "loop").symlink_to(folder / "loop")
    sentence = refusal(write_and_read, folder, "metadata.jsonl", json.dumps({"file_name": name}))
    assert "line 1 has an invalid path" in sentence


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("metadata.jsonl", '{"file_name": "a.wav"}\n\n{"file_name": ', "line 3 is not a JSON"),
        ("metadata.jsonl", '["a.wav"]', "line 1 is not a JSON object"),
        ("metadata.jsonl", "[" * 100_000, "line 1 is not a JSON object"),
        ("metadata.jsonl", '{"file_name": ' + "9" * 5000 + "}", "line 1 is not a JSON object"),
        ("metadata.jsonl", '{"text": "a"}', "line 1 does not name a file; expected a column"),
        ("metadata.jsonl", '{"file_name": ""}', "line 1 does not name a file"),
        ("metadata.jsonl", "", "has no rows"),
        ("metadata.csv", "", "has no rows"),
        ("metadata.csv", "file_name,a\n", "has no rows"),
        ("metadata.csv", "name,a\nx.wav,1\n", "line 2 does not name a file"),
        ("metadata.csv", "file_name,a\nx.wav,1\n,2\n", "line 3 does not name a file"),
        ("metadata.csv", "file_name,a\nx.wav," + "y" * 200_000, "line 2 cannot be read as a row"),
        ("metadata.csv", 'file_name,a\nx.wav,"1\ny.wav,2\n', "line 2 cannot be read as a row"),
        ("metadata.csv", b"file_name\n\xe9t\xe9.wav\n", "UTF-8"),
        ("metadata.csv", "file_name\na.wav\n".encode("utf-16"), "UTF-8"),
    ],
    ids=range(15),
)
def test_damaged_metadata_is_refused_with_its_line(folder, name, text, words):
    assert words in refusal(write_and_read, folder, name, text)


def test_paths_are_sorted_by_their_parts(tmp_path):
    names = ["a/z.wav", "a b/c.wav", "a-b.wav", "a.wav", "a/b/c.wav", "A.WAV", ".wav", "..wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    expected = sorted(path for path in tmp_path.rglob("[!.]*") if path.suffix.lower() == ".wav")
    assert [tmp_path / name for name in list_audio_paths(tmp_path)] == expected
    assert len(expected) == 6


def test_folders_that_cannot_be_read_are_reported(folder, monkeypatch):
    def scan_or_refuse(path, refused, scan=os.scandir):
        if str(path).endswith(refused):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    errors = []
    monkeypatch.setattr("os.scandir", partial(scan_or_refuse, refused="/deep"))
    assert len(list_audio_paths(folder, errors.append)) == 3
    assert errors == [f"the folder {folder / 'deep'} cannot be read: permission denied"]
    monkeypatch.setattr("os.scandir", partial(scan_or_refuse, refused="/data"))
    assert "data cannot be read: permission denied" in refusal(list_audio_paths, folder)


def test_every_file_is_used_or_counted_by_reason(tmp_path):
    """Regression: m4a files, hidden files and links were in no count."""
    names = (
        *("a.wav", "b.tta", "c.MPC", "deep/d.tta", "notes.txt", "README", "a.pitch.npy"),
        *(".cache/e.wav", "._a.wav", "__MACOSX/deep/._a.wav", ".DS_Store"),
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "linked").symlink_to(tmp_path / "deep")
    listing = list_audio_files(tmp_path)
    assert [file.path.name for file in listing.files] == ["a.wav"]
    assert by_reason(listing.left_out) == {
        FOLDER_LINK: ("linked",),
        unread_reason(".tta"): ("b.tta", "deep/d.tta"),
        unread_reason(".mpc"): ("c.MPC",),
        HIDDEN: (".DS_Store", "._a.wav", ".cache/e.wav", "__MACOSX/deep/._a.wav"),
        NOT_AUDIO: ("README", "notes.txt"),
        ARRAY: ("a.pitch.npy",),
    }
    others = {group.reason for group in listing.left_out if not group.is_audio}
    assert others == {HIDDEN, NOT_AUDIO, ARRAY}
    total = sum(group.count for group in listing.left_out) + len(listing.files)
    assert total == len(names) + 1
    (tmp_path / "a.wav").unlink()
    assert f"{unread_reason('.tta')} (2)" in refusal(list_audio_files, tmp_path)


def test_the_first_names_are_kept_and_the_others_counted(tmp_path):
    for n in range(MAX_NAMES + 5):
        (tmp_path / f"{n:02}.tta").touch()
    (tmp_path / "a.wav").touch()
    (group,) = list_audio_files(tmp_path).left_out
    assert (group.count, len(group.names), group.names[0]) == (15, 10, "00.tta")


def test_files_that_a_table_does_not_name_or_names_twice_are_counted(folder):
    (folder / "metadata.csv").write_text("file_name,a\n7_theo_0.wav,1\n./7_theo_0.wav,2\n")
    listing = list_audio_files(folder)
    assert [file.fields for file in listing.files] == [{"a": "1"}]
    assert by_reason(listing.left_out) == {
        NOT_IN_TABLE: ("2_x.mp3", "3_lucas_12.FLAC", "deep/er/1_a_b_3.ogg"),
        REPEATED: ("metadata.csv line 3: ./7_theo_0.wav, with other fields",),
        NOT_AUDIO: ("notes.txt",),
    }


def test_a_pattern_and_a_table_are_not_combined(folder):
    (folder / "list.csv").write_text("file_name\n2_x.mp3\n")
    assert "both define the fields" in refusal(find_audio_files, folder, "{a}_{b}", "list.csv")


@pytest.mark.parametrize(
    "found, wanted, renamed",
    [
        (["speaker"], ["speaker"], {}),
        (["Speaker", "text"], ["speaker"], {"speaker": "Speaker"}),
        (["Speaker ID"], ["speaker_id"], {"speaker_id": "Speaker ID"}),
        (["voice"], ["speaker"], {}),
        (["speakers", "speaker"], ["speaker"], {}),
        (["Speaker", "speaker"], ["speaker"], {}),
    ],
)
def test_field_names_are_matched_by_case_and_separators(found, wanted, renamed):
    assert match_fields(found, wanted, "the table") == renamed


def test_a_similar_field_name_is_refused_with_both_names():
    sentence = refusal(match_fields, ["speeker"], ["speaker"], "the table")
    assert sentence == (
        "the table has no field 'speaker', but a field 'speeker'; rename one of the two"
    )


def test_the_page_on_recordings_lists_every_suffix_that_is_read():
    page = (Path(__file__).parents[2] / "docs/reference/recordings.md").read_text(encoding="utf-8")
    section = page.partition("## Formats\n\n")[2].partition("Without it")[0]
    always, _, with_ffmpeg = section.partition("If the program")
    assert tuple(re.findall(r"`(\.\w+)`", always)) == AUDIO_SUFFIXES
    assert sorted(re.findall(r"`(\.\w+)`", with_ffmpeg)) == sorted(FFMPEG_SUFFIXES)
