"""`wavenet phones`: text, file, stdin; lines and JSON; errors."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import assert_refused


def test_one_line_per_sentence_with_pauses(run_command):
    code, out, err = run_command("phones", "Hello, world. No; yes!")
    assert (code, err) == (0, "")
    assert out == "HH AH0 L OW1 , W ER1 L D .\nN OW1 ; Y EH1 S .\n"


def test_unknown_words_are_listed_once_and_notices_are_printed(run_command):
    code, _, err = run_command("phones", "The zzyblorp 😀 and the zzyblorp.")
    assert code == 0
    assert err.splitlines() == [
        "emoji are left out, such as 😀 (grinning face)",
        "not in the dictionary, pronounced by their letters: zzyblorp",
    ]


def test_json_has_the_whole_structure(run_command):
    code, out, _ = run_command("phones", "It costs $5.\n\nTwo", "--json")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["text"], first["start"], first["pause"], first["ending"]) == (
        "It costs $5.",
        0,
        "paragraph",
        ".",
    )
    assert first["words"][2] == {
        "written": "$5",
        "start": 9,
        "end": 11,
        "read": [
            {"text": "five", "phones": "F AY1 V", "source": "dictionary", "pause": "none"},
            {"text": "dollars", "phones": "D AA1 L ER0 Z", "source": "dictionary", "pause": "none"},
        ],
    }
    assert (second["start"], second["notices"]) == (14, [])


def test_a_file_and_stdin(run_command, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffOne.\r\n\r\nTwo".encode())
    code, out, _ = run_command("phones", "-f", path)
    assert (code, out) == (0, "W AH1 N ¶\nT UW1 .\n")
    for arguments in (["-"], ["-f", "-"]):
        done = subprocess.run(
            [sys.executable, "-m", "wavenet", "phones", *arguments],
            input=path.read_bytes(),
            capture_output=True,
        )
        assert (done.returncode, done.stdout.decode()) == (0, out)


def test_pronunciations_of_the_user(run_command, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# my words\n\nGIF JH IH1 F\n", encoding="utf-8")
    code, out, err = run_command("phones", "GIF [[hh ah0]]", "--pronunciations", path)
    assert (code, out, err) == (0, "JH IH1 F | HH AH0 .\n", "")


def test_text_without_words(run_command):
    code, out, err = run_command("phones", "...")
    assert (code, out, err) == (0, "", "the text has no words that can be read\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a text in quotes or --file, found nothing"),
        (["text", "-f", "x.txt"], "expected a text in quotes or --file, found both"),
        (["[[HH QQ]]"], "'QQ' is not a phone"),
    ],
)
def test_wrong_usage_is_refused(run_command, arguments, words):
    result = run_command("phones", *arguments)
    assert_refused(result)
    assert words in result[2]


def test_files_that_cannot_be_used_are_refused(run_command, tmp_path):
    latin, table = tmp_path / "latin.txt", tmp_path / "words.txt"
    latin.write_bytes(b"caf\xe9")
    table.write_text("one W AH1 N\ntwo T QQ1\n", encoding="utf-8")
    for arguments, words, code in (
        (["-f", tmp_path / "missing.txt"], "cannot be read: No such file", 1),
        (["-f", tmp_path], "cannot be read: Is a directory", 1),
        (["-f", latin], "is not text in UTF-8; save it as UTF-8", 1),
        (["x", "--pronunciations", table], "line 2: the pronunciation of 'two': 'QQ1' is not", 2),
    ):
        result = run_command("phones", *arguments)
        assert_refused(result, code=code)
        assert words.lower() in result[2].lower()


def test_a_closed_stdin_is_refused(run_command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    result = run_command("phones", "-")
    assert_refused(result, code=1)
    assert "stdin is closed" in result[2]
