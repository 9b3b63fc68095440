"""Every page runs: its code blocks work, and print what the page shows.

`REWRITE_DOCS=1 python -m pytest tests/docs/test_pages.py` writes the shown output again where it
differs; review it before the commit.
"""

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.fenced_blocks import read_blocks, replace_blocks, slow_reason, without_code
from tests.docs.page_runner import ROOT, run_page

REWRITE = bool(os.environ.get("REWRITE_DOCS"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Blocks in these languages would not be run: use python or console.
REFUSED = {"bash", "sh", "shell", "shell-session", "zsh", "py", "python3", "pycon", "pycon3"}
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pages_with_blocks() -> Iterator[Any]:
    """Yield the pages with blocks that run; a slow page is marked."""
    for path, text in TEXTS.items():
        if any(b.language in ("python", "console") for b in read_blocks(text)):
            marks = [pytest.mark.slow] if slow_reason(text) else []
            yield pytest.param(path, marks=marks, id=page_name(path))


@pytest.mark.parametrize("path", list(pages_with_blocks()))
def test_the_blocks_of_a_page_run_and_print_what_it_shows(path, tmp_path, monkeypatch):
    if "$ curl " in TEXTS[path] and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    contents = run_page(TEXTS[path], tmp_path, REWRITE)
    if contents:
        replace_blocks(path, contents)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_no_block_of_a_page_escapes_the_runner(path):
    text = TEXTS[path]
    blocks = read_blocks(text)
    assert [(b.line, b.language) for b in blocks if b.language in REFUSED] == []
    assert without_code(text).count("<!-- not run:") == sum(b.not_run is not None for b in blocks)
    known = ("exit=", "exact")
    assert [b.line for b in blocks for o in b.options if not o.startswith(known)] == []


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_toml_and_json_blocks_can_be_read(path):
    for block in read_blocks(TEXTS[path]):
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "jsonl":
            for line in block.text.splitlines():
                json.loads(line)
