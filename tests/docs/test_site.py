"""The site is built without a warning, its pages request nothing from other servers."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import wavenet

ROOT = Path(__file__).parents[2]
# Elements whose address a browser requests when it shows a page; of links only those of <link>.
LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "audio": ("src",),
    "video": ("src", "poster"),
    "object": ("data",),
    "use": ("href",),
}
HOME = "# Home\n\n[a](a.md#b)\n\n```console exit=3\n$ wavenet\n```\n"
# Prints the keys without a description.
DESCRIBE = """
import config_pages
for kind in config_pages.find_classes():
    described = config_pages.describe_fields(kind)
    keys = kind.model_json_schema().get("properties", {})
    print(*(f"{kind.__name__}.{key}" for key in keys if not described.get(key)))
"""
NOT_LOADED = {"canonical", "next", "prev", "edit"}  # values of rel


def build_site(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a tree of the project, strictly."""
    environment = os.environ | {"PYTHONPATH": str(root), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


class Resources(HTMLParser):
    """Collect the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("rel") in NOT_LOADED:
            return
        self.found += [values[name] or "" for name in LOADED.get(tag, ()) if name in values]


def external_resources(html: str) -> list[str]:
    """Return the addresses of other servers that a page loads."""
    page = Resources()
    page.feed(html)
    styles = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", "".join(_style_texts(html)))
    return [a for a in (*page.found, *styles) if re.match(r"(?:[a-z]+:)?//", a)]


def _style_texts(html: str) -> list[str]:
    pattern = r"<style[^>]*>(.*?)</style>|style=\"([^\"]*)\""
    return ["".join(match) for match in re.findall(pattern, html, flags=re.DOTALL)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    done = build_site(ROOT, out)
    assert done.returncode == 0, done.stdout
    return out


def test_the_site_has_every_page_and_the_generated_reference(site):
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    pages = {
        p.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for p in (ROOT / "docs").rglob("*.md")
    }
    assert pages <= names
    commands = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert 'id="wavenet-evaluate-vocoder"' in commands and "--frames-scale" in commands
    config = (site / "reference/config.html").read_text(encoding="utf-8")
    assert "muon_learning_rate" in config and 'id="melcondition"' in config
    python = (site / "reference/python.html").read_text(encoding="utf-8")
    assert [name for name in wavenet.__all__ if f'id="wavenet.{name}"' not in python] == []
    # of a docstring with one description for "temperature, top_k, .."
    assert "<b><code>top_k</code></b>" in python
    functions = (site / "reference/http-api.html").read_text(encoding="utf-8")
    assert 'id="continue"' in functions and "<code>with_prompt</code>" in functions


def test_no_page_loads_anything_from_another_server(site):
    found = {}
    for path in site.rglob("*.html"):
        if external := external_resources(path.read_text(encoding="utf-8")):
            found[path.name] = external
    assert found == {}
    for path in [*site.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", text), path.name


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://a.example/x.js"></script>',
        '<img src="//a.example/x.png">',
        '<link rel="stylesheet" href="http://a.example/x.css">',
        "<style>@import 'https://a.example/x.css';</style>",
        '<p style="background: url(https://a.example/x.png)">',
    ],
)
def test_a_resource_of_another_server_is_found(html):
    assert external_resources(html)
    assert not external_resources('<a href="https://a.example">a</a><img src="x.png">')


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the files from which the site is built, with three pages only."""
    for name in ("wavenet", "audio_utils"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "scripts/docs_site", tmp_path / "scripts/docs_site")
    (tmp_path / "docs/assets").mkdir(parents=True)
    shutil.copy(ROOT / "docs/assets/site.css", tmp_path / "docs/assets")
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    nav = "nav: [index.md, a.md, {C: reference/commands.md}, {R: reference/config.md}]\n"
    (tmp_path / "mkdocs.yml").write_text(f"{config}\n{nav}", encoding="utf-8")
    (tmp_path / "docs/index.md").write_text(HOME, encoding="utf-8")
    (tmp_path / "docs/a.md").write_text("# A\n\n## B\n", encoding="utf-8")
    (tmp_path / "LICENSE").touch()
    return tmp_path


@pytest.mark.slow
def test_broken_links_and_pages_outside_the_navigation_fail_the_build(tree, tmp_path):
    page = "# A\n\n[x](missing.md) [y](../missing.py)\n\n![z](missing.png)\n"
    (tree / "docs/a.md").write_text(page, encoding="utf-8")
    (tree / "docs/new.md").write_text("# New\n", encoding="utf-8")
    done = build_site(tree, tmp_path / "site")
    assert done.returncode == 1
    for words in ("missing.md", "missing.py", "missing.png", "new.md", "'a.md#b'"):
        assert words in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[x][wavenet.missing]", "::: wavenet.missing"])
def test_a_broken_reference_to_python_fails_the_build(tree, tmp_path, text):
    (tree / "docs/a.md").write_text(f"# A\n\n## B\n\n{text}\n", encoding="utf-8")
    done = build_site(tree, tmp_path / "site")
    assert done.returncode == 1
    assert "wavenet.missing" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("address", ["", "repo_url: https://repository.example/x/\n"])
def test_links_to_source_files_need_the_address_of_the_repository(tree, tmp_path, address):
    with (tree / "mkdocs.yml").open("a", encoding="utf-8") as file:
        file.write(address)
    (tree / "docs/a.md").write_text("# A\n\n## B\n\n[the licence](../LICENSE)\n", "utf-8")
    done = build_site(tree, tmp_path / "site")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "site/a.html").read_text(encoding="utf-8")
    home = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert '<span class="gp">$ </span>' in home and "exit=3" not in home
    link = '<a href="https://repository.example/x/blob/main/LICENSE">the licence</a>'
    assert (link if address else "the licence (<code>LICENSE</code>)") in page


def test_every_key_of_a_file_has_a_description():
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=ROOT / "scripts/docs_site",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.split() == []
