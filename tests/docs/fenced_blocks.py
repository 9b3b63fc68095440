"""Read the fenced code blocks of a Markdown page, and the marks before them.

    <!-- not run: REASON -->       before a block: the block is not run
    <!-- slow page: REASON -->     anywhere: the page is run only by `pytest -m slow`
    <!-- with a studio -->         anywhere: a studio runs while the page is run

Called by `page_runner` and by the tests of the pages.
"""

import re
from dataclasses import dataclass
from pathlib import Path

OPENING = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<info>[^`]*)$")
NOT_RUN = re.compile(r"^ *<!-- not run: *(.*\S) *-->$")
SLOW_PAGE = re.compile(r"^ *<!-- slow page: *(.*\S) *-->$", re.MULTILINE)
WITH_STUDIO = re.compile(r"^ *<!-- with a studio -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: number of its opening fence, from 1.
        language: first word of the info string; options: the others.
        text: content without the indentation of the fence.
        indent: of the fence, in spaces.
        not_run: the reason of the mark before it, or None.
    """

    line: int
    language: str
    options: tuple[str, ...]
    text: str
    indent: int
    not_run: str | None

    @property
    def end(self) -> int:
        """Number of the line with the closing fence."""
        return self.line + self.text.count("\n") + 1


def read_blocks(text: str) -> list[Block]:
    """Return the blocks of a page in their order.

    Raises:
        ValueError: a block is not closed.
    """
    lines = text.splitlines()
    blocks, number = [], 0
    while number < len(lines):
        opening = OPENING.match(lines[number])
        if not opening:
            number += 1
            continue
        indent, fence = len(opening["indent"]), opening["fence"]
        content, end = [], number + 1
        while end < len(lines) and lines[end].strip() != fence:
            line = lines[end]
            content.append(line[indent:] if not line[:indent].strip() else line)
            end += 1
        if end == len(lines):
            raise ValueError(f"the block of line {number + 1} is not closed")
        language, *options = opening["info"].split() or [""]
        body = "".join(f"{line}\n" for line in content)
        mark = _find_mark(lines[:number])
        blocks.append(Block(number + 1, language, tuple(options), body, indent, mark))
        number = end + 1
    return blocks


def _find_mark(before: list[str]) -> str | None:
    """Return the reason of a mark on the last line that is not empty."""
    last = next((line for line in reversed(before) if line.strip()), "")
    mark = NOT_RUN.match(last)
    return mark[1] if mark else None


def without_code(text: str) -> str:
    """Return a page with empty lines in place of fenced blocks, and without inline code."""
    lines = text.splitlines()
    for block in read_blocks(text):
        lines[block.line - 1 : block.end] = [""] * (block.end - block.line + 1)
    return re.sub(r"`[^`\n]+`", "`", "\n".join(lines))


def slow_reason(text: str) -> str | None:
    """Return why a page is slow, or None."""
    mark = SLOW_PAGE.search(text)
    return mark[1] if mark else None


def needs_studio(text: str) -> bool:
    """Return whether the blocks of a page call a running studio."""
    return bool(WITH_STUDIO.search(text))


def replace_blocks(path: Path, contents: dict[int, str]) -> None:
    """Write new contents of some blocks of a page.

    Args:
        contents: new content by the line of the opening fence.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for block in reversed(read_blocks(text)):
        if block.line in contents:
            new = contents[block.line].splitlines(keepends=True)
            indent = " " * block.indent
            lines[block.line : block.end - 1] = [
                indent + line if line.strip() else line for line in new
            ]
    path.write_text("".join(lines), encoding="utf-8")
