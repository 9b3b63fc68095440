"""Execute a notebook and write it with its outputs, as `docs/notebooks/*.ipynb`.

python scripts/notebook.py            # all notebooks of docs/notebooks

The text of a notebook is in its `.py` file (jupytext, percent format); edit that file. Called by a
developer after a change of it; the tests compare both files and execute the notebook again.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
CELL_SECONDS = 300


def execute(source: Path) -> Any:
    """Execute a notebook in an empty folder and return it with its outputs.

    Args:
        source: the `.py` or `.ipynb` file.
    Raises:
        CellExecutionError: a cell raised an error.
    """
    notebook: Any = jupytext.read(source)
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=CELL_SECONDS, resources=resources, coalesce_streams=True
        ).execute()
    return notebook


def without_times(notebook: Any) -> Any:
    """Return an executed notebook without the times of its cells and the version of Python."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    return notebook


def main() -> None:
    """Execute and write every notebook."""
    for source in sorted(FOLDER.glob("*.py")):
        target = source.with_suffix(".ipynb")
        jupytext.write(without_times(execute(source)), target)
        print(f"{target}: {target.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
