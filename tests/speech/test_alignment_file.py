"""The file of an alignment: what is written is read; other content is refused in one sentence."""

import json

import pytest

from tests.speech.speech_files import HEADER, make_clip
from wavenet.errors import DataError, FolderError
from wavenet.speech.alignment_file import (
    AlignmentHeader,
    AlignmentWriter,
    FailedClip,
    partial_path,
    read_alignment,
    read_reusable,
    write_alignment,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "alignment.jsonl"
    write_alignment(path, HEADER, [make_clip("a"), FailedClip(id="b", error="x"), make_clip("c")])
    return path


def change(path, line, **values):
    """Change a line of a file, whose keys may be nested as a__b."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    content = json.loads(lines[line])
    for name, value in values.items():
        *parents, last = name.split("__")
        place = content
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        place[last] = value
    lines[line] = json.dumps(content)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_clips_are_read_as_they_were_written(path):
    assert read_alignment(path) == [make_clip("a"), make_clip("c")]
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    assert json.loads(first)["format"] == "wavenet alignment"
    assert json.loads(lines[1]) == {"error": "x", "id": "b"}


@pytest.mark.parametrize(
    ("line", "values", "words"),
    [
        (0, {"format": "other"}, "is not an alignment"),
        (0, {"format_version": 2}, "line 1: format_version"),
        (0, {"clips": None}, "is not finished"),
        (0, {"clips": 3}, "has 2 clips and 1 failures; its first line says 3 and 1"),
        (1, {"new": 1}, "line 2: the key new is not known"),
        (1, {"score": 0.5}, "line 2: score"),
        (1, {"score": "-1"}, "line 2: score"),
        (1, {"seconds": 0.9}, "phones and silences of 'a' do not cover"),
        (1, {"silences": [[0, 0.1]]}, "do not cover the recording once"),
        (1, {"silences": [[0, 0.1], [0.4, 0.6]]}, "do not cover the recording once"),
        (1, {"words__0__phones": [["QQ", 0.1, 0.5]]}, "the unknown phone 'QQ'"),
        (1, {"words__0__phones": [["AY1", 0.5, 0.1]]}, "'Hi' are not in order"),
        (1, {"words__0__start": 0.0}, "'Hi' are not in order"),
        (1, {"words__0__phones": []}, "line 2: words.0.phones"),
        (1, {"words__0__source": "guess"}, "line 2: words.0.source"),
        (1, {"words__0__pause": "long"}, "line 2: words.0.pause"),
        (1, {"words": []}, "line 2: words"),
        (1, {"id": "c"}, "line 4: the id 'c' occurs twice"),
    ],
)
def test_invalid_content_is_refused(path, line, values, words):
    change(path, line, **values)
    with pytest.raises(DataError) as found:
        read_alignment(path)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_other_files_are_refused(tmp_path, path):
    with pytest.raises(DataError, match="is not a file"):
        read_alignment(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="line 4 is incomplete"):
        read_alignment(path)
    for content in (b"", b"\n", b"[]\n", b"x" * 10):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_reusable(path, HEADER)


def test_an_interrupted_file_keeps_its_complete_lines(tmp_path):
    path = partial_path(tmp_path / "alignment.jsonl")
    assert path.name == "alignment.partial.jsonl"
    assert read_reusable(path, HEADER) == {}
    header = AlignmentHeader(aligner="even 1", program="0")
    with AlignmentWriter(path, header, [make_clip("a")]) as writer:
        writer.append(make_clip("b"))
        writer.append(make_clip("c"))
    with pytest.raises(DataError, match="is not finished; run the same"):
        read_alignment(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert read_reusable(path, header) == {"a": make_clip("a"), "b": make_clip("b")}
    newer = AlignmentHeader(aligner="even 2", program="0")
    assert read_reusable(path, newer) == {}


def test_a_damaged_file_is_not_used_again(path):
    content = path.read_bytes()
    assert len(read_reusable(path, HEADER)) == 2
    path.write_bytes(content.replace(b"AY1", b"QQ1"))
    assert read_reusable(path, HEADER) == {}
    path.write_bytes(content.replace(b"format_version", b"version"))
    assert read_reusable(path, HEADER) == {}


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FolderError, match="cannot be written"):
        write_alignment(tmp_path / "missing" / "a.jsonl", HEADER, [])
