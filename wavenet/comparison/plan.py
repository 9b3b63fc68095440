"""The plan of a comparison: budgets, and the folder of each part of it.

Input: a folder. Output: where the search, the run and the measures of a member are. Every part is a
file or a run that is kept, so an interrupted comparison continues where it stopped. Called by
`train_members`, `measure_members` and the command line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wavenet.comparison.members import Member
from wavenet.errors import ConfigError

# name of a budget of the user, such as own-20000-30.0
_OWN = re.compile(r"own-(?P<parameters>\d{1,9})-(?P<seconds>\d{1,9}(\.\d{1,9})?)")


@dataclass(frozen=True)
class Budget:
    """What every member may use.

    Attributes:
        name: of its folder.
        parameters: of the model.
        seconds: of processor time for the training on one thread, without the validations and the
            search of the learning rate.
    """

    name: str
    parameters: int
    seconds: float


BUDGETS = (
    Budget("small", 50_000, 90),
    Budget("medium", 150_000, 180),
    Budget("large", 450_000, 360),
)


def find_budgets(
    names: Sequence[str], parameters: int | None = None, seconds: float | None = None
) -> list[Budget]:
    """Return the budgets of these names, or all for no name; or one of the user.

    Args:
        names: of `BUDGETS`.
        parameters, seconds: of a budget of the user; both or none.
    Raises:
        ConfigError: there is no budget of a name, or the own budget is incomplete.
    """
    if parameters is not None or seconds is not None:
        if names or parameters is None or seconds is None:
            raise ConfigError(
                "--parameters and --training-seconds together are a budget of their own; give "
                "both, and no --budget"
            )
        return [_own_budget(parameters, seconds)]
    known = [budget.name for budget in BUDGETS]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown budget {name!r}; expected one of {', '.join(known)}")
    return [budget for budget in BUDGETS if not names or budget.name in names]


def find_own_budgets(root: Path) -> list[Budget]:
    """Return the budgets of the user that the folder of a comparison has, by their names."""
    matches = [_OWN.fullmatch(path.name) for path in sorted(root.glob("own-*"))]
    return [_own_budget(int(m["parameters"]), float(m["seconds"])) for m in matches if m]


def _own_budget(parameters: int, seconds: float) -> Budget:
    """Return a budget of the user; its name has its values, so that no two share a folder."""
    return Budget(f"own-{parameters}-{seconds!r}", parameters, seconds)


@dataclass(frozen=True)
class Entry:
    """One member with one budget.

    Attributes:
        root: the folder of the comparison.
    """

    root: Path
    budget: Budget
    member: Member

    @property
    def title(self) -> str:
        """The name in messages, such as "small gru"."""
        return f"{self.budget.name} {self.member.name}"

    @property
    def folder(self) -> Path:
        """The folder of all that belongs to the entry."""
        return self.root / self.budget.name / self.member.name

    @property
    def run(self) -> Path:
        """The folder of the training run."""
        return self.folder / "run"

    @property
    def checkpoint(self) -> Path:
        """The folder of the trained checkpoint."""
        return self.run / "checkpoint"

    @property
    def search_file(self) -> Path:
        """The result of the search of the learning rate."""
        return self.folder / "search.json"

    @property
    def training_file(self) -> Path:
        """The size, the time and the settings of the finished training."""
        return self.folder / "training.json"

    @property
    def measures_file(self) -> Path:
        """The measures of the trained checkpoint."""
        return self.folder / "measures.json"

    @property
    def clips(self) -> Path:
        """The folder of generated clips."""
        return self.folder / "clips"


def plan_entries(root: Path, budgets: Sequence[Budget], members: Sequence[Member]) -> list[Entry]:
    """Return all entries, all members of a budget before the next budget."""
    return [Entry(root, budget, member) for budget in budgets for member in members]
