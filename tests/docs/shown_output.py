"""Compare the output of a command with the output that a page shows.

Numbers, times, paths and hashes differ from run to run, so all of them compare equal; digits inside
a word (`seed0`, `int8`) do not. Spaces and tabs compare equal. In a page, `...` stands for any text
within a line or, alone on a line, for any lines. Called by `page_runner`.
"""

import difflib
import re
from collections.abc import Mapping

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Printed only if the work takes long.
PROGRESS = re.compile(
    r"^(preparing the engine|[\d,]+ of [\d,]+ (samples$|clips, [\d.,]+ times real time$))"
)
PATH = re.compile(r"(?<![\w./])~?(?:/[\w.@+-]+)+/?")
HASH = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]*_)")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?")
OMITTED = "..."


def clean_output(text: str, folders: Mapping[str, str]) -> str:
    """Return output as a page shows it.

    Args:
        text: what a command printed.
        folders: folder of this machine -> folder to show instead.
    """
    text = COLOURS.sub("", text).replace("\r\n", "\n")
    for folder, shown in folders.items():
        text = text.replace(folder, shown)
    # a program that returns to the beginning of a line writes over it
    last = (line.rpartition("\r")[2] for line in text.split("\n"))
    lines = [line.expandtabs().rstrip() for line in last]
    kept = [line for line in lines if not PROGRESS.match(line)]
    while kept and not kept[-1]:
        kept.pop()
    return "".join(f"{line}\n" for line in kept)


def normalise(line: str) -> str:
    """Replace what differs from run to run."""
    line = TIME.sub("0", line)
    line = PATH.sub("/", line)
    line = NUMBER.sub("0", HASH.sub("0", line))
    return " ".join(line.split())


def find_difference(shown: str, found: str, is_exact: bool = False) -> str | None:
    """Return None if the output is as shown, otherwise a diff.

    Args:
        shown: output in the page.
        found: output of the command, from `clean_output`.
        is_exact: compare numbers, paths and spaces too.
    """
    convert = str if is_exact else normalise
    expected = [convert(line.rstrip()) for line in shown.rstrip().splitlines()]
    actual = [convert(line) for line in found.splitlines()]
    pattern = "".join(_line_pattern(line) for line in expected)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)):
        return None
    return "\n".join(difflib.unified_diff(expected, actual, "shown", "found", lineterm=""))


def _line_pattern(line: str) -> str:
    if line.strip() == OMITTED:
        return r"(?:.*\n)*?"
    return ".*".join(re.escape(part) for part in line.split(OMITTED)) + r"\n"
