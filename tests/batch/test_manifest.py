"""Reading manifests: valid ones, and all kinds of damaged ones."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.batch.manifest import ManifestRow, read_rows
from wavenet.errors import DataError
from wavenet.user_input.separated_text import InvalidRow


def read(tmp_path, content, name="m.csv"):
    """Write a manifest and return its rows."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path))


def test_rows_of_a_table_have_their_line_numbers(tmp_path):
    found = read(tmp_path, '\ufeffid,digit,text\r\n\r\na,7,"x, ""y"""\r\n,,\r\nb,,z\r\n')
    assert found == [
        ManifestRow(3, {"id": "a", "digit": "7", "text": 'x, "y"'}),
        ManifestRow(5, {"id": "b", "text": "z"}),
    ]


def test_the_format_is_detected_by_suffix_or_content(tmp_path):
    for name, content in (
        ("m.tsv", "id\tdigit\na\t7\n"),
        ("m", "id\tdigit\na\t7\n"),
        ("m", "id,digit\na,7\n"),
        ("m", "id,digit\ra,7\r"),
        ("m.JSONL", '{"id": "a", "digit": "7"}'),
        ("m", '\ufeff\n {"id": "a", "digit": "7"}'),
    ):
        (row,) = read(tmp_path, content, name)
        assert row.values == {"id": "a", "digit": "7"}


def test_a_row_with_line_ends_in_a_cell_has_the_line_of_its_beginning(tmp_path):
    found = read(tmp_path, 'id,text\na,"one\ntwo\nthree"\nb,x\nc\n')
    assert found[0] == ManifestRow(2, {"id": "a", "text": "one\ntwo\nthree"})
    assert [row.line for row in found] == [2, 5, 6]
    assert isinstance(found[2], InvalidRow)
    assert found[2].reason == "has 1 cell, the heading has 2"


def test_invalid_rows_are_reported_and_the_others_are_read(tmp_path):
    found = read(tmp_path, b'id,a\nx,1\ncaf\xe9,2\ny,1,2\n"z"w,1\nlast,1\n')
    assert [type(one) for one in found] == [
        ManifestRow,
        InvalidRow,
        InvalidRow,
        InvalidRow,
        ManifestRow,
    ]
    assert [one.line for one in found] == [2, 3, 4, 5, 6]
    assert "UTF-8" in found[1].reason


def test_a_header_in_latin_1_is_an_error_and_not_replaced_by_the_first_row(tmp_path):
    with pytest.raises(DataError, match=r"m.csv line 1 is not UTF-8"):
        read(tmp_path, "id,gr\xf6sse\na,1\nb,2\n".encode("latin-1"))


@pytest.mark.parametrize("header", ["id,id", "id,,a", "id, id ", ",id"])
def test_column_names_must_be_unique_and_not_empty(tmp_path, header):
    with pytest.raises(DataError, match=r"must name each column|has the column 'id' twice"):
        read(tmp_path, header + "\na,b,c\n")


@pytest.mark.parametrize("content", ["", "\n\n", ",\n"])
def test_an_empty_manifest_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="no header"):
        read(tmp_path, content)


def test_a_missing_manifest_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        list(read_rows(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    "line", ["[1]", "7", "{", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "[" * 100_000]
)
def test_a_line_that_is_not_a_json_object_is_invalid(tmp_path, line):
    found = read(tmp_path, f'{{"id": "a"}}\n{line}\n{{"id": "b"}}', "m.jsonl")
    assert [type(one) for one in found] == [ManifestRow, InvalidRow, ManifestRow]
    assert found[1].line == 2


def test_a_very_long_line_is_skipped_in_little_memory(tmp_path):
    path = tmp_path / "m.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": "a"}\n')
        file.truncate(100 << 20)
        file.seek(0, 2)
        file.write(b'\n{"id": "b"}\n')
    tracemalloc.start()
    found = list(read_rows(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.line for one in found] == [1, 2, 3]
    assert isinstance(found[1], InvalidRow)
    assert peak < 10 << 20


def test_rows_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("id,digit\n" + "".join(f"clip{n},7\n" for n in range(5_000)))
    rows = read_rows(path)
    tracemalloc.start()
    assert sum(isinstance(row, ManifestRow) for row in rows) == 5_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_invalid_rows_or_a_data_error(tmp_path_factory, content):
    for name in ("m.csv", "m.tsv", "m.jsonl", "m"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        try:
            found = list(read_rows(path))
        except DataError:
            continue
        assert all(isinstance(one, ManifestRow | InvalidRow) for one in found)


@given(st.lists(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none())))
def test_json_rows_are_reproduced(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "same.jsonl"
    path.write_text("\n" + "\n".join(map(json.dumps, rows)))
    assert [row.values for row in read_rows(path)] == rows


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.txt", "m"])
def test_the_header_determines_the_separator(tmp_path, separator, name):
    lines = ["\ufeffid;digit;text", '7;1;"a;b"', "", "8;2;c"]
    content = "\r\n".join(line.replace(";", separator) for line in lines)
    assert read(tmp_path, content, name) == [
        ManifestRow(2, {"id": "7", "digit": "1", "text": f"a{separator}b"}),
        ManifestRow(4, {"id": "8", "digit": "2", "text": "c"}),
    ]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"'])
def test_the_separator_line_of_excel_is_no_header(tmp_path, first):
    found = read(tmp_path, f"\ufeff{first}\r\nid;a, b;digit\r\nx;y;7\r\n")
    assert found == [ManifestRow(3, {"id": "x", "a, b": "y", "digit": "7"})]


def test_an_unknown_separator_line_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a tab, a vertical bar, a semicolon, a comma as"):
        read(tmp_path, "sep=:\nid:digit\n")


@pytest.mark.parametrize("header", ["id,digit;speaker", "id;a|b", "id\tdigit,speaker"])
def test_an_ambiguous_header_is_refused_and_not_guessed(tmp_path, header):
    with pytest.raises(DataError, match="its columns are ambiguous"):
        read(tmp_path, f"{header}\na,7;theo\n")


def test_separators_in_quotes_or_beside_the_tabs_of_a_tsv_are_no_separators(tmp_path):
    (row,) = read(tmp_path, 'id,"a; b|c",digit\nx,y,7\n')
    assert row.values == {"id": "x", "a; b|c": "y", "digit": "7"}
    (row,) = read(tmp_path, "id\ttext, raw\nx\ty\n", "m.tsv")
    assert row.values == {"id": "x", "text, raw": "y"}
    (row,) = read(tmp_path, "text\na, b\n", "m.tsv")
    assert row.values == {"text": "a, b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\ufeffid\tdigit\na\t7\n".encode("utf-16-le"), "UTF-16"),
        ("\ufeffid\tdigit\na\t7\n".encode("utf-16-be"), "UTF-16"),
        ("id\tdigit\na\t7\n".encode("utf-16-le"), "UTF-16"),
        ("id,digit\na,7\n".encode("utf-16-be"), "UTF-16"),
        ("\n\nname,数\n".encode("utf-16-be"), "UTF-16"),
        ("数,name\n".encode("utf-16-le"), "UTF-16"),
        (b"PK\x03\x04xl/workbook.xml", "workbook"),
        (b'[{"id": "a"}]', "one JSON array"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content)


def test_json_lines_are_read_whatever_the_suffix(tmp_path):
    assert read(tmp_path, '{"id": "a"}\n', "m.csv") == [ManifestRow(1, {"id": "a"})]


@pytest.mark.parametrize("line", ['{"id": 1, "id": 2}', '{"labels": {"digit": 1, "digit": 2}}'])
def test_a_name_that_a_json_row_has_twice_is_not_dropped(tmp_path, line):
    (row,) = read(tmp_path, line, "m.jsonl")
    assert isinstance(row, InvalidRow)
    assert "twice" in row.reason
