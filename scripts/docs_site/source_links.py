"""Links of a page to files of the repository outside docs/, which the site does not contain.

Input: the Markdown of a page. Output: the same, in which these links lead to the public repository
or, if no address of it is set, name the file. Links to missing files stay, so that mkdocs reports
them. Called by `hook`.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^ *(?:```|~~~)")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def replace_source_links(text: str, source: Path, docs_dir: str, repo_url: str | None) -> str:
    """Replace the links of a page to files outside the folder of pages.

    Args:
        text: Markdown; fenced code blocks stay as they are.
        source: file of the page.
        docs_dir: folder of all pages.
        repo_url: address of the repository; empty or None: the link becomes the path of the file.
    """

    def replace(match: re.Match[str]) -> str:
        label, target, fragment = match.group(1), match.group(2), match.group(3) or ""
        path = Path(os.path.normpath(source.parent / target))
        if path.is_relative_to(docs_dir) or not path.is_relative_to(ROOT) or not path.exists():
            return match.group(0)
        name = path.relative_to(ROOT).as_posix()
        if repo_url:
            kind = "tree" if path.is_dir() else "blob"
            return f"[{label}]({repo_url.rstrip('/')}/{kind}/main/{name}{fragment})"
        if label.strip("`") == name:
            return f"`{name}`"
        return label if name in label else f"{label} (`{name}`)"

    lines, is_code = [], False
    for line in text.splitlines(keepends=True):
        if FENCE.match(line):
            is_code = not is_code
        lines.append(line if is_code else LINK.sub(replace, line))
    return "".join(lines)
