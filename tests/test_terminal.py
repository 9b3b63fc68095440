"""Printed lines: no control characters, one line per call, and no print beside this module."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wavenet.terminal import (
    MAX_MESSAGE_LENGTH,
    escape_controls,
    print_json,
    print_line,
    print_message,
    print_over_line,
    shorten_values,
)

ROOT = Path(__file__).parents[1]
SOURCES = [
    p for folder in ("audio_utils", "wavenet") for p in sorted((ROOT / folder).rglob("*.py"))
]
FUNCTIONS = {"print", "echo", "secho"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 100 % \\ text", "plain, 100 % \\ text"),
        ("Zoë 東京 \U0001f3b5", "Zoë 東京 \U0001f3b5"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner is part of the spelling
        ("\x1b[2J\x1b]0;t\x07", "\\x1b[2J\\x1b]0;t\\x07"),
        ("a\nwavenet: b\r\tc", "a\\nwavenet: b\\r\\tc"),
        ("\x85\x9b31m\x7f\x00", "\\x85\\x9b31m\\x7f\\x00"),
        ("\u202egnp.wav\u2066\u2028\ufeff", "\\u202egnp.wav\\u2066\\u2028\\ufeff"),
        ("\udcff.wav", "\\udcff.wav"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_controls_and_surrogates_are_escaped_and_letters_are_not(text, shown):
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        "a b/" * 25_000,
        "it's " * 20_000,
        "'\"" * 50_000,
        "\\" * 100_000,
        "\n" * 100_000,
    ],
)
def test_a_long_value_is_shortened_and_the_rest_of_the_message_is_kept(value):
    """Regression: a value of 100 kB was printed whole."""
    message = f"the model's digit cannot be {value!r}; choose one of 'a', 'b'"
    shown = shorten_values(message)
    start, _, end = shown.partition("..")
    assert message.startswith(start) and 80 < len(start) < 120
    assert end.endswith(f" ({len(repr(value)) - 2:,} characters); choose one of 'a', 'b'")


def test_unquoted_long_values_are_shortened_and_common_messages_are_not():
    shown = shorten_values(f"the file {'x' * 100_000} does not exist")
    assert shown == f"the file {'x' * 80}.. (100,000 characters) does not exist"
    shown = shorten_values(f"the file {'x y/' * 25_000} does not exist")
    assert len(shown) < MAX_MESSAGE_LENGTH + 50 and shown.endswith(" does not exist")
    path = f"/{'a' * 255}/{'b' * 251}.wav"
    for message in (
        f"{path} exists",
        f"'{'x' * 200}' is long",
        "the model's values, " * 20 + "'a'",
    ):
        assert shorten_values(message) == message


def test_every_call_prints_one_line(capsys):
    print_line("a\nb", "c\td", 3)
    print_json({"name": "\udcff\n"})
    print_message("x\ny")
    out, err = capsys.readouterr()
    cells, document = out.splitlines()
    assert cells.split("\t") == ["a\\nb", "c\\td", "3"]
    assert json.loads(document) == {"name": "\udcff\n"}
    assert document.isascii()
    assert err == "x\\ny\n"


def test_a_closed_or_full_stderr_does_not_end_the_work(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    print_message("not shown")

    class FullStream:
        """A stream on a full disk."""

        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", FullStream())
    print_message("not shown")


def test_warnings_log_messages_and_tracebacks_are_escaped():
    code = (
        "import logging, warnings; from wavenet.terminal import protect_streams;"
        "protect_streams(); warnings.warn('w\\x1b[0m\\nforged');"
        "logging.getLogger('x').warning('l\\x1b[0m\\nforged');"
        "raise ValueError('e\\x1b[0m')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("forged")] == []
    assert sum("\\x1b[0m" in line for line in lines) >= 3


def calls_that_print(path):
    """Return the lines of a source file that print without `wavenet.terminal`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.id if isinstance(function, ast.Name) else ""
        if isinstance(function, ast.Attribute):
            name = function.attr
            if name in ("write", "writelines"):
                owner = ast.unparse(function.value)
                name = "print" if owner.startswith(("sys.stdout", "sys.stderr")) else ""
        if name in FUNCTIONS:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_all_prints_of_the_package_go_through_this_module():
    found = [call for path in SOURCES for call in calls_that_print(path)]
    own = [call for call in found if call.startswith("wavenet/terminal.py:")]
    assert len(own) == 5  # line, JSON, message, over a line, above a bar
    assert found == own


def test_a_line_is_written_over_and_ended(capsys):
    print_over_line("level \x1b[31m")
    print_over_line("")
    assert capsys.readouterr() == ("", "\rlevel \\x1b[31m \n")
