"""Rules of the whole project: requirements, file sizes, safe reading of files."""

import ast
import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from audio_utils.optional_packages import EXTRAS, install_command

ROOT = Path(__file__).parents[1]
SOURCES = [
    p for folder in ("audio_utils", "wavenet") for p in sorted((ROOT / folder).rglob("*.py"))
]
TESTS = [p for p in sorted((ROOT / "tests").rglob("*.py")) if p.stat().st_size]


def requirements(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {r.name.lower().replace("_", "-"): r for r in found}


def test_pinned_requirements_match_the_dependencies_and_their_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = [Requirement(text) for text in project["dependencies"]]
    pins = requirements("requirements.txt")
    assert sorted(pins) == sorted(r.name.lower().replace("_", "-") for r in ranges)
    for wanted in ranges:
        (pin,) = pins[wanted.name.lower().replace("_", "-")].specifier
        assert pin.operator == "=="
        assert wanted.specifier.contains(pin.version), wanted


def test_the_pinned_build_backend_is_in_the_range_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (wanted,) = map(Requirement, tomllib.loads(text)["build-system"]["requires"])
    (pin,) = requirements("requirements-build.txt").values()
    (version,) = pin.specifier
    assert (pin.name, version.operator) == (wanted.name, "==")
    assert wanted.specifier.contains(version.version)


def test_messages_install_the_packages_of_the_extras_and_not_the_project():
    """The project is not published: `pip install wavenet-studio` would install nothing or other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = ("dev", "docs")
    options = project["optional-dependencies"]
    extras = {name: tuple(p) for name, p in options.items() if name not in tools}
    assert extras == EXTRAS
    assert shlex.split(install_command("ray"))[1:] == ["-m", "pip", "install", *extras["ray"]]
    name = re.compile(r"pip install [\"'`]*" + project["name"].replace("-", "[-_]"))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]
    texts = {p: p.read_text(encoding="utf-8") for p in [*SOURCES, *pages]}
    assert [p.name for p, text in texts.items() if name.search(text)] == []


def test_torch_and_torchaudio_have_matching_versions():
    pins = requirements("requirements.txt")
    assert {str(pins[name].specifier) for name in ("torch", "torchaudio")} == {"==2.11.0"}


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_and_have_a_docstring(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 600
    assert text.startswith('"""')


def test_no_two_classes_share_a_name():
    """Also with and without an underscore, so that a word means one thing."""
    classes = [
        node.name.lstrip("_")
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_the_map_of_packages_lists_exactly_the_existing_parts():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Packages")[2].partition("\n## ")[0]
    table = re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE)
    named = {
        name
        for cell in table
        for name in re.findall(r"`([\w/.]+)`", cell)
        if "/" in name or "." in name
    }
    paths = {name if (ROOT / name).exists() else f"wavenet/{name}" for name in named}
    assert [name for name in sorted(paths) if not (ROOT / name).exists()] == []
    parts = [p for p in sorted((ROOT / "wavenet").iterdir()) if p.name[0] not in "._"]
    missing = [p.name for p in parts if not any(p.name in name for name in paths)]
    assert [name for name in missing if name not in ("errors.py", "py.typed")] == []


def test_the_architecture_page_lists_exactly_the_existing_files():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## Files")[2]
    listed = set(re.findall(r"[\w.]+\.(?:py|typed|js|css|html|svg|toml|gz|npz|txt|cuh?)\b", page))
    # "live_player.py, .js, .css"
    for first, others in re.findall(r"(\w+)\.\w+((?:, \.\w+)+)", page):
        listed |= {first + suffix for suffix in re.findall(r"\.\w+", others)}
    files = [p for folder in ("audio_utils", "wavenet") for p in (ROOT / folder).rglob("*.*")]
    assert {p.name for p in files if "__pycache__" not in p.parts} == listed


def test_only_the_importer_reads_pickles_and_only_their_tensors():
    words = re.compile(r"torch\.load\(|pickle\.load|\beval\(|shell=True|yaml\.load\(")
    safe = 'torch.load(path, map_location="cpu", weights_only=True)'
    texts = {p: p.read_text().replace(".eval()", "") for p in SOURCES}
    importer = ROOT / "wavenet/importing/pickle_reader.py"
    assert texts[importer].count(safe) == 1
    texts[importer] = texts[importer].replace(safe, "")
    assert [p.name for p, text in texts.items() if words.search(text)] == []
    assert [p.name for p, text in texts.items() if re.search(r"weights_only\s*=\s*F", text)] == []
