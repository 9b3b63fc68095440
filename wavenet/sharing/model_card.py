"""The card of a checkpoint: its licence, and its text as HTML that can do no harm.

The README.md of a checkpoint enters, written by anybody; plain values and HTML of a few harmless
tags leave. No script, no style, no picture and no address that a browser would fetch by itself
comes through. Callers: `hub` and the studio.
"""

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from wavenet.checkpoint import CARD
from wavenet.errors import CheckpointError

MAX_CARD_BYTES = 1 << 16  # the slowest text of that size takes two seconds
MAX_FIELDS = 100
# The page has a title and the card a place below it.
HEADING_SHIFT = 2
FENCE = "---"
FIELD = re.compile(r"([A-Za-z_]{1,40}):[ \t]*(.{0,300})")


def read_card(folder: Path) -> str:
    """Read the card of a checkpoint folder.

    Returns:
        its text, "" where there is none.
    Raises:
        CheckpointError: it cannot be read, is too long, or is no text.
    """
    path = folder / CARD
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_CARD_BYTES:
        raise CheckpointError(f"{path} has more than {MAX_CARD_BYTES:,} bytes, too many for a card")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not text in UTF-8") from None


def split_card(text: str) -> tuple[dict[str, str], str]:
    """Take the front matter off a card.

    Only lines `name: value` are understood; that is all that a licence needs, and YAML can do
    more than a stranger should be able to ask for.

    Returns:
        fields by name, without quotation marks; the text below them.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        return {}, text
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1 : MAX_FIELDS + 1], start=1):
        if line.rstrip() == FENCE:
            return fields, "\n".join(lines[number + 1 :])
        if found := FIELD.fullmatch(line.rstrip()):
            fields.setdefault(found[1], found[2].strip("\"' "))
    return {}, text


def licence_of(text: str) -> str | None:
    """Give the licence that a card names: its identifier, or the name of a licence of its own."""
    fields, _ = split_card(text)
    licence = fields.get("license") or None
    return (fields.get("license_name") or licence) if licence == "other" else licence


def render(text: str) -> str:
    """Turn the Markdown of a card into HTML, without its front matter.

    Raw HTML is shown as the text that it is, pictures by their description. Links lead to web
    pages only, in a window of their own, once a person presses them.
    """
    _, body = split_card(text)
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(body)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + HEADING_SHIFT)}"
        if token.children:
            token.children = _without_addresses(token.children)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _without_addresses(tokens: list[Token]) -> list[Token]:
    """Replace pictures by words, and links to anything but web pages by what they say."""
    kept: list[Token] = []
    is_web = True
    for token in tokens:
        if token.type == "image":
            token = Token("text", "", 0, content=f"[picture: {token.content}]")
        elif token.type == "link_open":
            is_web = bool(re.match(r"https?://", str(token.attrGet("href")), re.IGNORECASE))
            token.attrSet("target", "_blank")
            token.attrSet("rel", "noopener noreferrer nofollow")
        # Links never stand inside each other.
        if not is_web and token.type in ("link_open", "link_close"):
            continue
        kept.append(token)
    return kept
