"""`wavenet compare`: all architectures with equal budgets on the same recordings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.evaluate_common import METRICS_FILE, FolderArgument, command_line, write_report
from wavenet.cli.options import JsonOption, OverwriteOption, create_folder, print_message
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import DataError, FolderInUse
from wavenet.interrupts import stop_on_interrupt
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.comparison.plan import Budget, Entry
    from wavenet.comparison.source import Source

PLOTS = ("speed", "parameters")

RecipeOption = Annotated[
    str,
    typer.Option(help="Recipe of the audio rate, the codec, the labels and the split."),
]
MemberOption = Annotated[
    list[str] | None,
    typer.Option("--member", help="Member, such as gru. Repeatable; default: all."),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", help="small, medium or large. Repeatable; default: all."),
]
ParametersOption = Annotated[
    int | None, typer.Option(min=1000, max=10_000_000, help="Parameters of a budget of your own.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        "--training-seconds", min=0.1, max=1e6, help="Seconds of training of a budget of your own."
    ),
]
FolderOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the comparison, for all its parts.")
]
DEFAULT_OUT = Path("runs/compare")
DEFAULT_RECIPE = "digits"

app = typer.Typer(
    help="Compare all architectures with equal budgets on the same recordings.",
    no_args_is_help=True,
)


@app.callback()
def compare() -> None:
    """Compare all architectures with equal budgets on the same recordings."""


@app.command()
def train(
    folder: FolderArgument,
    recipe: RecipeOption = DEFAULT_RECIPE,
    member: MemberOption = None,
    budget: BudgetOption = None,
    parameters: ParametersOption = None,
    seconds: SecondsOption = None,
    out: FolderOption = DEFAULT_OUT,
) -> None:
    """Train all members, each with the same number of parameters and the same time.

    Each member is trained on one thread, after a short search of its learning rate. Ctrl-C stops;
    the same command continues. To use two cores, start the command twice: a process trains the
    members that no other process trains.
    """
    from wavenet.comparison.train_members import TrainingStopped, check_entry, train_entry
    from wavenet.folder_lock import lock_folder

    entries = _plan(out, member, budget, parameters, seconds)
    waiting = [entry for entry in entries if not entry.training_file.exists()]
    if not waiting:
        print_line(out)
        return
    source = _read(folder, recipe)
    for entry in waiting:
        check_entry(entry, source)
    create_folder(out)
    with stop_on_interrupt() as should_stop:
        for entry in waiting:
            create_folder(entry.folder)
            try:
                with lock_folder(entry.folder):
                    train_entry(entry, source, print_message, should_stop)
            except FolderInUse:
                print_message(f"{entry.title}: left to another process")
            except TrainingStopped:
                print_message(f"stopped in {entry.title}; the same command continues")
                raise typer.Exit(130) from None
    print_line(out)


@app.command()
def report(
    context: typer.Context,
    folder: FolderArgument,
    recipe: RecipeOption = DEFAULT_RECIPE,
    member: MemberOption = None,
    budget: BudgetOption = None,
    parameters: ParametersOption = None,
    seconds: SecondsOption = None,
    out: FolderOption = DEFAULT_OUT,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Measure all trained members; write metrics.json, plots and clips, and print a table.

    Bits per sample are those of the test recordings, with a 95 % interval over the recordings.
    Speeds are those of one clip on one thread; run this on a quiet machine. Measures that exist are
    kept, so an interrupted command continues.
    """
    from wavenet.comparison.comparison_table import (
        format_table,
        plot_bits_against_parameters,
        plot_bits_against_speed,
        plot_training,
        read_rows,
    )
    from wavenet.comparison.members import find_members
    from wavenet.comparison.plan import plan_entries

    budgets = _budgets(out, budget, parameters, seconds)
    entries = plan_entries(out, budgets, find_members(member or []))
    trained = [entry for entry in entries if entry.training_file.exists()]
    if not trained:
        raise DataError(f"{out} has no trained member; run `wavenet compare train` first")
    names = [*PLOTS, *(f"training-{b.name}" for b in budgets)]
    check_output_folder(out, [METRICS_FILE, *(f"{name}.png" for name in names)], overwrite)
    _measure(folder, recipe, trained)
    rows = read_rows(trained)
    figures = {
        "speed": plot_bits_against_speed(rows),
        "parameters": plot_bits_against_parameters(rows),
    }
    for chosen in budgets:
        members = [entry for entry in trained if entry.budget == chosen]
        if members:
            figures[f"training-{chosen.name}"] = plot_training(members)
    result = {"command": command_line(context), "rows": rows}
    write_report(out, result, figures, overwrite)
    if json_:
        print_json(result)
        return
    for line in format_table(rows):
        print_line(line)


def _measure(folder: Path, recipe: str, trained: "list[Entry]") -> None:
    """Measure the entries that have no measures yet."""
    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.comparison.measure_members import make_evaluator, measure_entry

    waiting = [entry for entry in trained if not entry.measures_file.exists()]
    if not waiting:
        return
    source = _read(folder, recipe)
    with status_spinner("training the classifiers"):
        evaluator = make_evaluator(source)
    with ProgressBar("members", len(waiting)) as progress_bar:
        for entry in waiting:
            measure_entry(entry, source, evaluator)
            progress_bar.advance(1)


def _budgets(
    out: Path, names: list[str] | None, parameters: int | None, seconds: float | None
) -> "list[Budget]":
    """Return the chosen budgets; without a choice, all, with those of the user in the folder."""
    from wavenet.comparison.plan import find_budgets, find_own_budgets

    budgets = find_budgets(names or [], parameters, seconds)
    if names or parameters is not None:
        return budgets
    return [*budgets, *find_own_budgets(out)]


def _plan(
    out: Path,
    member: list[str] | None,
    budget: list[str] | None,
    parameters: int | None,
    seconds: float | None,
) -> "list[Entry]":
    from wavenet.comparison.members import find_members
    from wavenet.comparison.plan import find_budgets, plan_entries

    budgets = find_budgets(budget or [], parameters, seconds)
    return plan_entries(out, budgets, find_members(member or []))


def _read(folder: Path, recipe: str) -> "Source":
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.comparison.source import read_source
    from wavenet.training.recipe import load_recipe
    from wavenet.training.training_setup import RecipeOptions, apply_options

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of recordings or a prepared corpus")
    chosen = apply_options(load_recipe(recipe), RecipeOptions(data=str(folder)))
    with status_spinner("reading the recordings"):
        return read_source(chosen)
