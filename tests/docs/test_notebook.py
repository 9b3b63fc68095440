"""The notebooks of docs/notebooks: both files of a pair agree, and all cells run."""

import re

import jupytext
import pytest

from scripts.notebook import FOLDER, execute

PAGES = sorted(FOLDER.glob("*.ipynb"))


def cells(path):
    """Return type and source of each cell."""
    return [(cell.cell_type, cell.source.strip()) for cell in jupytext.read(path).cells]


def test_there_is_a_notebook():
    assert PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_both_files_of_a_notebook_have_the_same_cells(path):
    """`python scripts/notebook.py` writes the notebook again after a change of its .py file."""
    assert cells(path) == cells(path.with_suffix(".py"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_notebook_shows_results_and_names_no_folder_of_its_author(path):
    text = path.read_text(encoding="utf-8")
    assert "image/png" in text and "audio/wav" in text
    assert not re.search(r"/(home|root|work|Users|tmp)/", text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_cell_of_a_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    executed = execute(path)
    numbers = [c.execution_count for c in executed.cells if c.cell_type == "code"]
    assert all(numbers)
