"""Markdown from values: table rows and inline code. Called by the generated pages."""

from collections.abc import Iterable, Sequence


def code(value: object) -> str:
    """Return inline code; a text that contains a backtick is enclosed in two."""
    text = str(value)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def escape(text: str) -> str:
    """Escape what Markdown or HTML would interpret, except code in backticks."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        for character in "\\*_[]<>":
            parts[index] = parts[index].replace(character, "\\" + character)
    return "`".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; | inside cells is escaped."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
