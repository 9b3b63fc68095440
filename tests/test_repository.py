"""The files at the top of the repository, and those that other programs read by a schema."""

import json

import pytest
import yaml

from .repository import ROOT, tracked_files

TOP = {
    *(".ci", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml"),
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("Makefile", "app.py", "mkdocs.yml", "pyproject.toml"),
    *(f"requirements{suffix}" for suffix in (".lock", ".txt", "-build.txt", "-dev.lock")),
    "requirements-dev.txt",
    *("audio_utils", "benchmarks", "checkpoints", "docs", "scripts", "tests", "wavenet"),
}
# Version 1.2.0 of the format of citations: its required keys, and those that are used here.
CITATION_KEYS = {"cff-version", "message", "title", "authors"}
OPTIONAL_CITATION_KEYS = {"type", "abstract", "license", "keywords", "references"}


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_repository_contains_no_stray_files():
    """A new file at the top needs a reason, and then a place in the list above."""
    tracked = tracked_files()
    if tracked is None:
        pytest.skip("this folder is not a Git repository")
    assert {name.partition("/")[0] for name in tracked} - TOP == set()
    checkpoints = {name.split("/")[1] for name in tracked if name.startswith("checkpoints/")}
    others = {"kathleen", "lossless", "overdrive"}
    models = {"codes", "compare", "digits", "images", "strings", "vocoder"}
    assert checkpoints == models | others


def test_the_citation_has_the_keys_of_its_format():
    citation = read_yaml("CITATION.cff")
    assert citation.keys() >= CITATION_KEYS
    assert citation.keys() <= CITATION_KEYS | OPTIONAL_CITATION_KEYS
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", "MIT")
    for work in (citation, *citation["references"]):
        for author in work["authors"]:
            assert author.keys() in ({"name"}, {"family-names", "given-names"})


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_the_forms_of_issues_are_valid(name):
    form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form.keys() == {"name", "description", "labels", "body"}
    names = [part["id"] for part in form["body"]]
    assert len(names) == len(set(names))
    for part in form["body"]:
        assert part["type"] in ("textarea", "input")
        assert part["attributes"]["label"]
    json.dumps(form)  # no dates or other types of YAML


def test_the_checks_before_a_commit_are_those_of_make_lint():
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["entry"].replace(".venv/bin/", "").split()[0] for hook in repository["hooks"]}
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    assert {line.partition("$(BIN)/")[2].split()[0] for line in recipe.splitlines()[2:]} == hooks
