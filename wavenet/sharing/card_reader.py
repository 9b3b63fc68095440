"""Read the card of a checkpoint: its licence, and its text as safe HTML.

Input: the README.md of a checkpoint, from an untrusted source. Output: plain values, and HTML with
a few harmless tags. Scripts, styles, images and addresses that a browser would load by itself are
removed. Called by `hub` and the studio.

The front matter is not read by a YAML parser, nor by `huggingface_hub.ModelCard`, which uses one:
on 64 kB of hostile text these raise some ten kinds of errors, return values that are not strings
(`license: no` is False) and recurse to the limit of the stack.
"""

import itertools
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from wavenet.checkpoint import CARD
from wavenet.errors import CheckpointError

MAX_CARD_BYTES = 1 << 16  # the slowest text of this size takes two seconds to render
MAX_FIELDS = 100
MAX_PARAGRAPH = 300  # characters of `first_paragraph`
# The headings of a card are two levels below those of the page.
HEADING_SHIFT = 2
FENCE = "---"
FIELD = re.compile(r"([A-Za-z_]{1,40}):[ \t]*(.{0,300})")


def read_card(folder: Path) -> str:
    """Read the card of a checkpoint folder.

    Returns:
        Its text, "" if there is no card.
    Raises:
        CheckpointError: the card cannot be read, is too long, or is not text.
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
        raise CheckpointError(f"{path} has more than {MAX_CARD_BYTES:,} bytes, the limit of a card")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not text in UTF-8") from None


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """Split a card into its front matter and its text.

    Only lines `name: value` of the front matter are read, which is sufficient for a licence; the
    first of equal names counts.

    Returns:
        Fields by name, without quotation marks; the text after the front matter.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        return {}, text
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1 : MAX_FIELDS + 1], start=1):
        if line.rstrip() == FENCE:
            return fields, "\n".join(lines[number + 1 :])
        if match := FIELD.fullmatch(line.rstrip()):
            fields.setdefault(match[1], match[2].strip("\"' "))
    return {}, text


def get_licence(text: str) -> str | None:
    """Return the licence of a card: its identifier, or the name of a custom licence; or None."""
    fields, _ = split_front_matter(text)
    licence = fields.get("license") or None
    return (fields.get("license_name") or licence) if licence == "other" else licence


def first_paragraph(text: str) -> str:
    """Return the first paragraph of a card as plain text; "" if it has none."""
    _, body = split_front_matter(text)
    tokens = MarkdownIt("commonmark", {"html": False}).parse(body)
    for before, token in itertools.pairwise(tokens):
        if before.type == "paragraph_open" and before.level == 0:
            words = [
                " " if child.type in ("softbreak", "hardbreak") else child.content
                for child in token.children or ()
                if child.type != "image"
            ]
            paragraph = "".join(words).strip()
            if paragraph and not _is_comment(paragraph):
                return paragraph[:MAX_PARAGRAPH]
    return ""


def render_html(text: str) -> str:
    """Render the Markdown of a card as HTML, without its front matter.

    Raw HTML is shown as text, except comments, and images as their description. Links lead only to
    web pages and open in a new window.
    """
    _, body = split_front_matter(text)
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(body)
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.type == "inline" and _is_comment(token.content):
            before.hidden, token.children, after.hidden = True, [], True
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + HEADING_SHIFT)}"
        if token.children:
            token.children = _remove_addresses(token.children)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _is_comment(paragraph: str) -> bool:
    return paragraph.startswith("<!--") and paragraph.find("-->") in (-1, len(paragraph) - 3)


def _remove_addresses(tokens: list[Token]) -> list[Token]:
    """Replace images by their description, and links that are not web addresses by their text."""
    result: list[Token] = []
    is_web = True
    for token in tokens:
        if token.type == "image":
            token = Token("text", "", 0, content=f"[image: {token.content}]")
        elif token.type == "link_open":
            is_web = bool(re.match(r"https?://", str(token.attrGet("href")), re.IGNORECASE))
            token.attrSet("target", "_blank")
            token.attrSet("rel", "noopener noreferrer nofollow")
        # Links are never nested.
        if not is_web and token.type in ("link_open", "link_close"):
            continue
        result.append(token)
    return result
