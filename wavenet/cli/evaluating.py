"""What the evaluations of labelled recordings share: which are held out, and what is written."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import parse_assignments, print_message
from wavenet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wavenet.checkpoint import Checkpoint
    from wavenet.training.data import Dataset

FolderArgument = Annotated[Path, typer.Argument(help="Folder of recordings, or a prepared corpus.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(help="Take pattern and held-out recordings from a recipe, such as digits."),
]
PatternOption = Annotated[
    str | None,
    typer.Option(help="Labels from file names, as {digit}_{speaker}_{index}, instead."),
]
TestOption = Annotated[
    list[str] | None,
    typer.Option(help="Held-out recordings, as index=0,1,2,3,4, instead. Repeatable."),
]
OutOption = Annotated[Path | None, typer.Option(help="Folder for metrics.json and pictures.")]


def read_recordings(
    loaded: "Checkpoint",
    folder: Path,
    recipe: str | None,
    pattern: str | None,
    test: list[str] | None,
    split: str = "test",
) -> "Dataset":
    """Read a folder, divided as a recipe or the options say; what is skipped is said.

    Raises:
        ConfigError: nothing says what is held out.
        DataError: the split, or what is to be learnt from, has no recording.
    """
    from wavenet.evaluation.recordings import read_whole
    from wavenet.training.recipe import DataConfig, load_recipe

    data = load_recipe(recipe).data if recipe else DataConfig()
    given = parse_assignments("--test", test, "index=0,1,2")
    held = {name: tuple(values.split(",")) for name, values in given.items()}
    data = data.model_copy(
        update={
            "folder": str(folder),
            "pattern": pattern or data.pattern,
            "test": held or data.test,
        }
    )
    if split == "test" and not data.test:
        raise ConfigError(
            "nothing says which recordings are held out; give --recipe, such as digits, or --test "
            "FIELD=VALUE,.. beside --pattern"
        )
    dataset = read_whole(data, loaded.config)
    for sentence in dataset.skipped:
        print_message(f"skipped: {sentence}")
    if not getattr(dataset, split):
        named = " and ".join(f"{name} {', '.join(values)}" for name, values in data.test.items())
        raise DataError(f"no recording of {folder} is held out for {split} ({named or split})")
    return dataset


def show_share(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.1f}"


def keep(out: Path | None, report: Mapping[str, Any], pictures: "Mapping[str, Figure]") -> None:
    """Write metrics.json and the pictures, each whole or not at all."""
    from audio_utils import plots
    from audio_utils.files import atomic_file

    if out is None:
        return
    with atomic_file(out / "metrics.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, figure in pictures.items():
        plots.save_figure(figure, out / f"{name}.png")


def repeat(context: typer.Context) -> str:
    """Write the command line that does the same again; what was left to its default is left out."""
    group = context.parent.info_name if context.parent else None
    words = ["wavenet", *(name for name in (group, context.info_name) if name)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or value == parameter.get_default(context) or value == ():
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            if parameter.param_type_name == "argument":
                words.append(str(one))
            elif isinstance(one, bool):
                words.append(parameter.opts[0])
            else:
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)
