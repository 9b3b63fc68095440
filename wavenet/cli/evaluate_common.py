"""Options, held-out recordings and reports that the `wavenet evaluate` commands share.

Called by the commands `evaluate_*_command`.
"""

import json
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    CHANNEL_HELP,
    NORMALIZE_HELP,
    ChannelChoice,
    parse_assignments,
    print_left_out,
    print_message,
)
from wavenet.errors import ConfigError, DataError, FolderError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wavenet.checkpoint import Checkpoint
    from wavenet.training.dataset import Dataset

FolderArgument = Annotated[Path, typer.Argument(help="Folder of recordings, or a prepared corpus.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="Recipe, for example digits: its pattern and its held-out recordings are used."
    ),
]
PatternOption = Annotated[
    str | None,
    typer.Option(help="Pattern of names: {digit}_{speaker}_* or {label}/{take}; * is ignored."),
]
MetadataOption = Annotated[
    str | None,
    typer.Option(
        help="Table with the labels; default: metadata.jsonl, .csv, .tsv or .txt in the folder."
    ),
]
TestOption = Annotated[
    list[str] | None,
    typer.Option(help="Held-out recordings, such as index=0,1,2,3,4. Repeatable."),
]
RecordingChannelOption = Annotated[
    ChannelChoice | None, typer.Option("--channel", help=f"{CHANNEL_HELP} Default: of the recipe.")
]
RecordingNormalizeOption = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help=f"{NORMALIZE_HELP} Default: of the recipe."),
]
METRICS_FILE = "metrics.json"
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for metrics.json and plots.")
]


class Split(StrEnum):
    """The recordings to evaluate on."""

    TEST = "test"
    VALIDATION = "validation"


def read_dataset_with_split(
    loaded: "Checkpoint",
    folder: Path,
    recipe: str | None,
    pattern: str | None,
    test: list[str] | None,
    split: str = "test",
    metadata: str | None = None,
    channel: ChannelChoice | None = None,
    normalize: bool | None = None,
    max_seconds: float | None = None,
) -> "Dataset":
    """Read a folder, split it by a recipe or the options, and print the skipped files.

    Args:
        loaded: the checkpoint.
        folder, recipe, pattern, test, channel, normalize: the options of the command.
        split: the part that must not be empty.
        max_seconds: largest length of a recording; None for the default of
            `labelled_clips.read_uncut_dataset`.
    Raises:
        ConfigError: neither recipe nor options hold out recordings.
        DataError: the split or the training set has no recording.
    """
    from wavenet.evaluation.labelled_clips import MAX_SECONDS, read_uncut_dataset
    from wavenet.recordings.left_out_files import shorten_list
    from wavenet.training.recipe import DataConfig, load_recipe

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of recordings or a prepared corpus")
    data = load_recipe(recipe).data if recipe else DataConfig()
    assignments = parse_assignments("--test", test, "index=0,1,2")
    held_out = {name: tuple(values.split(",")) for name, values in assignments.items()}
    data = data.model_copy(
        update={
            "folder": str(folder),
            # one source of fields replaces the other of the recipe
            "pattern": pattern or (None if metadata else data.pattern),
            "metadata": metadata or (None if pattern else data.metadata),
            "test": held_out or data.test,
            "channel": data.channel if channel is None else channel.value,
            "normalize": data.normalize if normalize is None else normalize,
        }
    )
    if split == "test" and not data.test:
        raise ConfigError(
            "no recordings are held out; use --recipe, for example --recipe digits, or "
            "--test FIELD=VALUE,.. with --pattern"
        )
    dataset = read_uncut_dataset(data, loaded.config, max_seconds or MAX_SECONDS)
    for sentence in shorten_list(dataset.skipped):
        print_message(f"skipped: {sentence}")
    print_left_out(dataset.left_out, dataset.recording_count)
    for sentence in dataset.levels.sentences():
        print_message(sentence)
    if not getattr(dataset, split):
        chosen = {"test": data.test, "validation": data.validation}.get(split, {})
        fields = " and ".join(f"{name} {', '.join(values)}" for name, values in chosen.items())
        raise DataError(f"no recording of {folder} is held out for {split} ({fields or split})")
    for sentence in dataset.notices:
        print_message(f"note: {sentence}")
    return dataset


def format_percent(fraction: float) -> str:
    """Return a fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f}"


def write_report(
    out: Path | None, report: Mapping[str, Any], figures: "Mapping[str, Figure]", overwrite: bool
) -> None:
    """Write metrics.json and the figures to a folder, each atomically; do nothing if it is None.

    Raises:
        FolderError, AudioError: a file cannot be written, or exists and may not be replaced.
    """
    from audio_utils import plots
    from audio_utils.atomic_files import atomic_file, os_error_reason

    if out is None:
        return
    try:
        with atomic_file(out / METRICS_FILE, overwrite) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise FolderError(
            f"{out / METRICS_FILE} cannot be written: {os_error_reason(error)}"
        ) from None
    for name, figure in figures.items():
        plots.save_figure(figure, out / f"{name}.png", overwrite)


def command_line(context: typer.Context) -> str:
    """Return the command line that repeats this command; options with their default are omitted."""
    group = context.parent.info_name if context.parent else None
    words = ["wavenet", *(name for name in (group, context.info_name) if name)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or value == parameter.get_default(context) or value == ():
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            if parameter.param_type_name == "argument":
                words.append(str(item))
            elif isinstance(item, bool):
                words.append(parameter.opts[0])
            else:
                words += [parameter.opts[0], str(item)]
    return shlex.join(words)
