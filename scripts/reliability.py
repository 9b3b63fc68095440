"""Run the reliability tests row by row and write the report card docs/development/reliability.md.

python scripts/reliability.py                  # all groups, then the mutations
python scripts/reliability.py --groups A C     # some groups; the card is printed, not written

The rows are in reliability.toml, beside this file: what can go wrong, what is expected, and the
tests that cause it. A mutation is an error inserted into a copy of the source; its test must fail.
Each group runs in one process of pytest, so that its peak memory can be measured.
"""

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
ROWS = Path(__file__).with_suffix(".toml")
CARD = ROOT / "docs" / "development" / "reliability.md"
COPIED = ("app.py", "audio_utils", "checkpoints", "pyproject.toml", "scripts", "tests", "wavenet")
MUTATION_SECONDS = 300
# Tests marked gpu or network are not run; slow ones are.
MARKERS = "not gpu and not network"


@dataclass
class Result:
    """The outcome of the cases of one row: one case per set of parameters of a test.

    Attributes:
        passed, failed, skipped: number of cases.
        seconds: of the slowest case.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The result in a few words."""
        total = self.passed + self.failed
        words = f"{self.passed} of {total}" if total else "none"
        return f"{words}, {self.skipped} skipped" if self.skipped else words


def tests_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the tests and controls of rows, each once."""
    return list(
        dict.fromkeys(t for r in rows for t in (*r.get("tests", ()), *r.get("controls", ())))
    )


def run_pytest(tests: list[str], root: Path, report: Path, *options: str) -> int:
    """Run tests in a tree of the project; write a JUnit report; return the exit code."""
    command = [sys.executable, "-m", "pytest", "--quiet", "-m", MARKERS, "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    arguments = [*command, f"--junitxml={report}", *options, *tests]
    return subprocess.run(arguments, cwd=root, env=environment, stdout=subprocess.PIPE).returncode


def read_report(report: Path) -> dict[str, Result]:
    """Return the results of a JUnit report by the name of the test, without its parameters."""
    results: dict[str, Result] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["name"].split("[", 1)[0]
        result = results.setdefault(f"{case.attrib['classname']}::{name}", Result())
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
            result.failures.append(f"{case.attrib['classname']}::{case.attrib['name']}")
        elif case.find("skipped") is not None:
            result.skipped += 1
        else:
            result.passed += 1
        result.seconds = max(result.seconds, float(case.attrib["time"]))
    return results


def result_of(tests: Iterable[str], results: dict[str, Result]) -> Result:
    """Add up the results of several tests; a test without a result counts as failed."""
    total = Result()
    for test in tests:
        path, _, name = test.partition("::")
        found = results.get(f"{path.removesuffix('.py').replace('/', '.')}::{name}")
        if found is None:
            total.failed += 1
            total.failures.append(f"{test} does not exist")
            continue
        total.passed += found.passed
        total.failed += found.failed
        total.skipped += found.skipped
        total.failures += found.failures
        total.seconds = max(total.seconds, found.seconds)
    return total


def peak_megabytes() -> float:
    """Return the peak memory of the largest child process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def run_group(rows: list[dict[str, Any]]) -> tuple[dict[str, Result], float]:
    """Run all tests of a group; return their results and the seconds."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        run_pytest(tests_of(rows), ROOT, report)
        results = read_report(report) if report.exists() else {}
    return results, time.monotonic() - start


def run_mutation(mutation: dict[str, str], tree: Path) -> bool:
    """Put one fault into a copy of the project; return whether its test fails."""
    path = tree / mutation["file"]
    source = path.read_text(encoding="utf-8")
    if source.count(mutation["old"]) != 1:
        raise SystemExit(f"{mutation['file']} must contain {mutation['old']!r} exactly once")
    path.write_text(source.replace(mutation["old"], mutation["new"]), encoding="utf-8")
    try:
        code = run_pytest([mutation["test"]], tree, tree / "report.xml", "--exitfirst")
    finally:
        path.write_text(source, encoding="utf-8")
    if code not in (0, 1):
        raise SystemExit(f"pytest ended with exit code {code} at {mutation['test']}")
    return code == 1


def run_mutations(mutations: list[dict[str, str]]) -> list[str]:
    """Run all mutations; return the tests that did not notice theirs."""
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "project"
        tree.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, tree / name)
        for mutation in mutations:
            noticed = run_mutation(mutation, tree)
            print(f"  {'noticed' if noticed else 'MISSED '}  {mutation['fault']}", flush=True)
            if not noticed:
                missed.append(f"{mutation['fault']}: {mutation['test']}")
    return missed


def card_text(
    table: dict[str, Any], groups: dict[str, tuple[dict[str, Result], float]], missed: list[str]
) -> str:
    """Return the report card as Markdown."""
    lines = [table["introduction"].strip(), "", machine_line(), ""]
    summary = ["| group | cases | controls | seconds |", "|---|---|---|---|"]
    details: list[str] = []
    for letter, (results, seconds) in groups.items():
        rows = [row for row in table["row"] if row["id"].startswith(letter)]
        cases = result_of(tests_of(r | {"controls": ()} for r in rows), results)
        controls = result_of([c for r in rows for c in r.get("controls", ())], results)
        name = table["groups"][letter]
        summary.append(f"| {letter}: {name} | {cases.text} | {controls.text} | {seconds:.0f} |")
        details += [
            "",
            f"## {letter}: {name}",
            "",
            "| | case | expected | result |",
            "|---|---|---|---|",
        ]
        details += [row_line(row, results) for row in rows]
    mutations = len(table["mutation"])
    summary += [
        "",
        f"Faults put into the source and noticed: {mutations - len(missed)} of {mutations}.",
    ]
    faults = [
        "",
        "## Faults that the tests must notice",
        "",
        "| fault | file | test |",
        "|---|---|---|",
    ]
    faults += [f"| {m['fault']} | `{m['file']}` | `{m['test']}` |" for m in table["mutation"]]
    return "\n".join([*lines, *summary, *details, *faults, ""])


def row_line(row: dict[str, Any], results: dict[str, Result]) -> str:
    """Return the line of one row in the table of its group."""
    if "not_run" in row:
        result = f"not run: {row['not_run']}"
    else:
        found = result_of([*row["tests"], *row.get("controls", ())], results)
        result = f"{found.text}; slowest {found.seconds:.1f} s"
    return f"| {row['id']} | {row['case']} | {row['expected']} | {result} |"


def machine_line() -> str:
    """Return where and when the card was made."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = platform.python_version()
    peak = f"peak memory of one process {peak_megabytes():,.0f} MB"
    return f"{date.today()}, commit {revision or 'unknown'}, {system}, Python {python}, {peak}."


def main() -> None:
    """Run the groups and the mutations; write or print the card; exit with 1 if anything failed."""
    table = tomllib.loads(ROWS.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", nargs="+", choices=list(table["groups"]))
    options = parser.parse_args()
    groups = {}
    for letter in options.groups or table["groups"]:
        rows = [row for row in table["row"] if row["id"].startswith(letter)]
        print(f"{letter}: {table['groups'][letter]}", flush=True)
        groups[letter] = run_group(rows)
        result = result_of(tests_of(rows), groups[letter][0])
        print(f"  {result.text} in {groups[letter][1]:.0f} s", flush=True)
        print("".join(f"  failed: {name}\n" for name in result.failures), end="", flush=True)
    mutations = [] if options.groups else table["mutation"]
    print(f"{len(mutations)} faults put into the source", flush=True)
    missed = run_mutations(mutations)
    failed = [n for results, _ in groups.values() for r in results.values() for n in r.failures]
    card = card_text(table | {"mutation": mutations}, groups, missed)
    if options.groups:
        print(card)
    else:
        CARD.write_text(card, encoding="utf-8")
        print(f"wrote {CARD.relative_to(ROOT)}")
    sys.exit(bool(failed or missed))


if __name__ == "__main__":
    main()
