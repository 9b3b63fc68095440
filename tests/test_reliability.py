"""The rows of `make reliability`: every test exists, every fault can be put into the source."""

import ast
import functools
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLE: dict[str, Any] = tomllib.loads((ROOT / "scripts/reliability.toml").read_text("utf-8"))


@functools.cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", TABLE["row"], ids=lambda row: row["id"])
def test_the_tests_of_a_row_exist(row: dict[str, Any]) -> None:
    assert row["id"][0] in TABLE["groups"]
    assert bool(row.get("tests")) != bool(row.get("not_run"))
    for test in (*row.get("tests", ()), *row.get("controls", ())):
        path, _, name = test.partition("::")
        assert name in functions_of(ROOT / path), test


@pytest.mark.parametrize("mutation", TABLE["mutation"], ids=lambda m: m["fault"])
def test_a_fault_replaces_one_place_and_its_test_exists(mutation: dict[str, str]) -> None:
    source = (ROOT / mutation["file"]).read_text(encoding="utf-8")
    assert source.count(mutation["old"]) == 1
    ast.parse(source.replace(mutation["old"], mutation["new"]))
    path, _, name = mutation["test"].partition("::")
    assert name in functions_of(ROOT / path)


def test_rows_and_tests_are_not_listed_twice() -> None:
    ids = [row["id"] for row in TABLE["row"]]
    assert len(set(ids)) == len(ids)
    for row in TABLE["row"]:
        tests = [*row.get("tests", ()), *row.get("controls", ())]
        assert len(set(tests)) == len(tests)
