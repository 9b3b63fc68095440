"""The files of a comparison: its rows, and the checkpoint and the clip of each member.

Input: a folder that `wavenet compare` has written, or the folder `compare` among the checkpoints.
Output: a `Comparison`. Called by `compare_events` and `member_predictions`.

    checkpoints/compare/   metrics.json, sample.wav (speech that all members predict),
                           NAME/ (the checkpoint of a member), NAME/sample.wav
    runs/compare/          metrics.json, BUDGET/NAME/run/checkpoint/, BUDGET/NAME/clips/*.wav
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavenet.checkpoint_folders import COMPARISON, CONFIG, studio_name
from wavenet.errors import ConditionError, DataError
from wavenet.program_folders import CHECKPOINTS, program_folder
from wavenet.ui.checkpoint_library import find_folder

METRICS = "metrics.json"
SAMPLE = "sample.wav"  # a clip of a member; in the folder of the comparison a clip of digits
OWN = Path("runs") / COMPARISON  # of `wavenet compare`, in the working folder
HOW_TO_MAKE = (
    "no comparison was found; make one with `wavenet compare train FOLDER` and `wavenet compare "
    "report FOLDER`, where FOLDER contains recordings"
)
SHIPPED_TITLE, OWN_TITLE = "shipped with the program", "runs/compare"
# Keys that every row must have; the page shows them.
_NEEDED = ("member", "budget", "title", "parameters", "bits_per_sample", "samples_per_second")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A comparison on disk.

    Attributes:
        folder: of the comparison.
        rows: as `wavenet compare report` writes them, one per member and budget.
    """

    folder: Path
    rows: tuple[Row, ...]

    @property
    def members(self) -> dict[str, str]:
        """The titles of the members by name, in the order of the rows."""
        return {row["member"]: row["title"] for row in self.rows}

    @property
    def largest_budget(self) -> str:
        """The budget with the most parameters."""
        return str(max(self.rows, key=lambda row: row["parameters"])["budget"])

    def checkpoint(self, member: str, budget: str | None = None) -> Path:
        """Return the folder of the checkpoint of a member; it may not exist.

        Args:
            member: its name.
            budget: selects one of several checkpoints; None: the largest budget.
        """
        shipped = self.folder / member
        if (shipped / CONFIG).is_file():
            return shipped
        return self._part(member, budget) / "run" / "checkpoint"

    @property
    def example(self) -> Path | None:
        """The path of the clip of digits that the members predict, None if there is none."""
        path = self.folder / SAMPLE
        return path if path.is_file() else None

    def clip(self, member: str, budget: str | None = None) -> Path | None:
        """Return the path of a generated clip of a member, None if there is none."""
        saved = [self.folder / member / SAMPLE]
        saved += sorted((self._part(member, budget) / "clips").glob("*.wav"))
        return next(filter(Path.is_file, saved), None)

    def model_name(self, root: Path, member: str, budget: str | None = None) -> str | None:
        """Return the name of a member as a model of the page, None if it cannot be one.

        Args:
            root: as in `list_comparisons`.
            member, budget: as in `checkpoint`.
        """
        folder = self.checkpoint(member, budget)
        known = find_folder(root, name := studio_name(folder))
        return name if known is not None and known.absolute() == folder.absolute() else None

    def find_row(self, member: Any, budget: Any) -> Row:
        """Return the row of a member and a budget.

        Raises:
            ConditionError: there is none; the values may have any type.
        """
        for row in self.rows:
            if (row["member"], row["budget"]) == (member, budget):
                return row
        raise ConditionError("the comparison has changed; reload the page")

    def _part(self, member: str, budget: str | None) -> Path:
        return self.folder / (budget or self.largest_budget) / member


def list_comparisons(root: Path) -> dict[str, Path]:
    """Return the folders of the comparisons that exist, by title.

    Args:
        root: folder of the checkpoints of the studio.
    """
    shipped = [root / COMPARISON, program_folder() / CHECKPOINTS / COMPARISON]
    found = {OWN_TITLE: OWN} if (OWN / METRICS).is_file() else {}
    first = next((path for path in shipped if (path / METRICS).is_file()), None)
    return found if first is None else {SHIPPED_TITLE: first, **found}


def read_comparison(root: Path, title: str | None = None) -> Comparison:
    """Read a comparison.

    Args:
        root: as in `list_comparisons`.
        title: one of its titles; None: the first.
    Raises:
        DataError: there is none, or its rows are damaged.
        ConditionError: the title is unknown.
    """
    known = list_comparisons(root)
    if not known:
        raise DataError(HOW_TO_MAKE)
    title = next(iter(known)) if title is None else title
    if title not in known:
        raise ConditionError(f"expected a comparison ({', '.join(known)}), found {title[:100]!r}")
    return Comparison(known[title], _read_rows(known[title] / METRICS))


def _read_rows(file: Path) -> tuple[Row, ...]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        is_complete = all(key in row for row in rows for key in _NEEDED)
    except (OSError, ValueError, KeyError, TypeError):
        rows, is_complete = [], False
    if not rows or not is_complete:
        raise DataError(
            f"expected the result of `wavenet compare report` in {file.parent.name}/{file.name}, "
            "found other content; make it again"
        )
    return tuple(rows)
