"""The figures of the pages are those that scripts/docs_figures.py draws."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "docs_figures.py"
FOLDER = ROOT / "docs" / "figures"


def draw(out: Path, *names: str) -> list[Path]:
    """Draw figures into a folder; return their paths."""
    command = [sys.executable, SCRIPT, "--out", out, *names]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return [Path(line) for line in done.stdout.splitlines()]


def assert_current(paths: list[Path]) -> None:
    """Check that each figure looks as the one of the repository, whatever the system's fonts."""
    for path in paths:
        found, kept = imread(path), imread(FOLDER / path.name)
        assert found.shape == kept.shape, path.name
        assert np.abs(found - kept).mean() < 0.01, f"run scripts/docs_figures.py: {path.name}"


def test_every_figure_is_drawn_and_shown():
    names = set(re.findall(r'^    "([\w-]+)": draw_', SCRIPT.read_text("utf-8"), re.MULTILINE))
    pages = "".join(p.read_text("utf-8") for p in (ROOT / "docs").glob("*/*.md"))
    assert {path.stem.removeprefix("concept-") for path in FOLDER.glob("concept-*")} == names
    assert set(re.findall(r"figures/concept-([\w-]+)\.png", pages)) == names


def test_the_figures_without_a_model_are_current(tmp_path):
    assert_current(draw(tmp_path, "codec", "receptive-field", "engines", "blind-spot"))
    with pytest.raises(AssertionError, match="codec"):
        other = tmp_path / "concept-codec.png"
        (tmp_path / "concept-engines.png").rename(other)
        assert_current([other])


@pytest.mark.slow
def test_all_figures_are_current(tmp_path):
    paths = draw(tmp_path)
    assert len(paths) == len(list(FOLDER.glob("concept-*")))
    assert_current(paths)
