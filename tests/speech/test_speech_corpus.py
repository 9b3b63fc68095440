"""The table of a speech corpus: its columns, its recordings, and its bad lines."""

import pytest

from tests.speech.speech_files import write_speech
from wavenet.errors import DataError
from wavenet.speech.speech_corpus import MAX_TEXT, list_clips


@pytest.fixture
def folder(tmp_path):
    return write_speech(tmp_path / "voice")


def set_table(folder, content):
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "metadata.csv").write_bytes(content)


def test_the_last_column_is_the_text(folder):
    set_table(folder, "\ufeffone|It is 5%|It is five percent\r\n\n two | Two \n")
    corpus = list_clips(folder)
    assert corpus.problems == ()
    assert [(clip.id, clip.audio, clip.text) for clip in corpus.clips] == [
        ("one", "wavs/one.wav", "It is five percent"),
        ("two", "wavs/two.wav", "Two"),
    ]


def test_a_recording_may_be_flac_or_beside_the_table_and_an_id_may_have_its_suffix(folder):
    (folder / "wavs" / "one.wav").rename(folder / "wavs" / "one.flac")
    (folder / "wavs" / "two.wav").rename(folder / "two.wav")
    set_table(folder, "one|a\ntwo|b\nthree.wav|c\n")
    assert [clip.audio for clip in list_clips(folder).clips] == [
        "wavs/one.flac",
        "two.wav",
        "wavs/three.wav",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"two", "it has no '|'"),
        (b"two|", "the text of 'two' is empty"),
        (b"two|a| ", "the text of 'two' is empty"),
        (b"four|text", "the recording of 'four' is missing; expected wavs/four.wav"),
        (b"one|again", "the id 'one' occurs twice"),
        (b"|text", "the id '' is not a file name"),
        (b"../one|text", "the id '../one' is not a file name"),
        (b"wavs/one|text", "is not a file name"),
        (b".one|text", "is not a file name"),
        (b"two\x00|text", "is not a file name"),
        (b"two|\xff", "not text in UTF-8"),
        (b"two|" + b"a" * (MAX_TEXT + 1), "more than 2,000; split the recording"),
        (b"n" * 5000 + b"|text", "is missing"),
    ],
)
def test_a_bad_line_costs_only_itself(folder, line, words):
    set_table(folder, b"one|text\n" + line + b"\nthree|text\n")
    corpus = list_clips(folder)
    assert [clip.id for clip in corpus.clips] == ["one", "three"]
    (problem,) = corpus.problems
    assert problem.startswith("metadata.csv line 2: ")
    assert words in problem


def test_a_folder_without_clips_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"has no metadata\.csv"):
        list_clips(tmp_path)
    set_table(folder, "\n")
    with pytest.raises(DataError, match="is empty; expected lines such as"):
        list_clips(folder)
    set_table(folder, "no bar\n")
    with pytest.raises(DataError, match="line 1: it has no"):
        list_clips(folder)
