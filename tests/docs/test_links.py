"""Links of the Markdown files that are read in the repository, outside the site."""

import os
import re
from pathlib import Path

import pytest

from tests.docs.fenced_blocks import without_code

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
FILES = sorted(
    path
    for pattern in ("*.md", "*/README.md", "checkpoints/*/README.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
    if "build" not in path.relative_to(ROOT).parts
)
# Written when the site is built.
GENERATED = {"docs/reference/commands.md", "docs/reference/config.md"}


def find_broken_links(path: Path, text: str) -> list[str]:
    """Return the relative links of a page whose file or heading does not exist."""
    broken = []
    for match in LINK.finditer(without_code(text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = Path(os.path.normpath(path.parent / name)) if name else path
        if not file.is_relative_to(ROOT):
            broken.append(target)
        elif file.relative_to(ROOT).as_posix() in GENERATED:
            continue
        elif file != path and not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            content = text if file == path else file.read_text(encoding="utf-8")
            if anchor not in heading_anchors(content):
                broken.append(target)
    return broken


def heading_anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub and mkdocs form them."""
    headings = re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_to_files_have_targets(path):
    assert find_broken_links(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](README.md) [b](missing.md) `[c](missing.md)`", ["missing.md"]),
        ("```\n[a](missing.md)\n```\n![b](docs/missing.png)", ["docs/missing.png"]),
        ('[a](https://example.org) <img src="missing.png">', ["missing.png"]),
        ("# One two\n\n[a](#one-two) [b](#three)", ["#three"]),
        ("[a](README.md#in-python) [b](README.md#none)", ["README.md#none"]),
        ("[a](../outside.md)", ["../outside.md"]),
    ],
)
def test_a_broken_link_is_found(text, broken):
    assert find_broken_links(ROOT / "page.md", text) == broken
