"""Extension of griffe, which reads docstrings for the site: one description for several names.

In this project `low, high: the range` describes two arguments or attributes; griffe expects a line
for each. Called by mkdocstrings (`extensions` in mkdocs.yml).
"""

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(Args|Attributes):$")
ENTRY = re.compile(r"^    (\w+(?:, \w+)+): (.*)$")


def split_names(text: str) -> str:
    """Return a docstring in which each name has its own line and description."""
    lines, entry, names, is_section = [], [], [], False
    for line in [*text.splitlines(), ""]:
        if entry and not line.startswith("     "):
            for name in names:
                lines += [f"    {name}: {entry[0]}", *entry[1:]]
            entry = []
        if line and not line.startswith(" "):
            is_section = bool(SECTION.match(line))
        found = ENTRY.match(line) if is_section else None
        if found:
            names, entry = found[1].split(", "), [found[2]]
        elif entry:
            entry.append(line)
        else:
            lines.append(line)
    return "\n".join(lines)


class SplitNames(griffe.Extension):
    """Splits the entries of all docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = split_names(obj.docstring.value)
