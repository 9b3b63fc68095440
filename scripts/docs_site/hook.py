"""Build steps of the documentation site: generated reference pages, links to source files.

mkdocs calls these functions (`hooks` in mkdocs.yml). The generated pages are never written into
docs/.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in (Path(__file__).parent, ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import api_functions  # noqa: E402
import command_pages  # noqa: E402
import config_pages  # noqa: E402
import source_links  # noqa: E402
from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from mkdocs.structure.pages import Page  # noqa: E402

# "exit=3" in "```console exit=3", which the Markdown of mkdocs would not accept as a block
OPTIONS = re.compile(r"^( *`{3,}(?:console|output)) .+$", flags=re.MULTILINE)
GENERATED = {
    "reference/commands.md": command_pages.render_page,
    "reference/config.md": config_pages.render_page,
}
# In a page that is otherwise written by hand.
API_FUNCTIONS = "<!-- insert: functions of the studio -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, render in GENERATED.items():
        files.append(File.generated(config, path, content=render()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert generated parts, replace the links to files outside docs/, remove block options."""
    if API_FUNCTIONS in markdown:
        markdown = markdown.replace(API_FUNCTIONS, api_functions.render_functions())
    markdown = OPTIONS.sub(r"\1", markdown)
    source = Path(config.docs_dir) / page.file.src_uri
    return source_links.replace_source_links(markdown, source, config.docs_dir, config.repo_url)
