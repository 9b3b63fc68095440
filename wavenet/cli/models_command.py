"""`wavenet models`: the checkpoints that can be named.

Output: one line per checkpoint on stdout. Called by `main`.
"""

from pathlib import Path
from typing import Any

import typer

from wavenet.cli.options import JsonLinesOption, print_message
from wavenet.terminal import print_json, print_line

SOME_UNREADABLE = 3  # exit code


def models(json_: JsonLinesOption = False) -> None:
    """Print the checkpoints that --checkpoint finds by name, with licence and folder.

    They are in the folders `checkpoints` of the working folder, of the project and of the user; of
    equal names the first counts.
    """
    from wavenet.checkpoint_folders import list_known
    from wavenet.errors import CheckpointError
    from wavenet.user_input.user_folders import checkpoints_folder

    records, unreadable = [], 0
    for name, folder in list_known().items():
        try:
            records.append(describe_model(name, folder))
        except CheckpointError as error:
            print_message(f"skipped: {error}")
            unreadable += 1
    if json_:
        for record in records:
            print_json(record)
    else:
        print_rows([format_record(record) for record in records])
    own = checkpoints_folder()
    if own is not None:
        print_message(f"own checkpoints are found in {own}")
    if unreadable:
        raise typer.Exit(SOME_UNREADABLE)


def describe_model(name: str, folder: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint by name, without loading its weights.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    from wavenet.checkpoint import load_config
    from wavenet.checkpoint_folders import is_voice, weight_folders
    from wavenet.errors import CheckpointError
    from wavenet.sharing.card_reader import get_licence, read_card
    from wavenet.weights_file import WEIGHTS

    config = load_config(folder)
    try:
        size = sum((part / WEIGHTS).stat().st_size for part in weight_folders(folder))
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from None
    model = config.model
    conditions = [c.name for c in (*model.labels, *model.globals, *model.locals)]
    return {
        "name": name,
        "sample_rate_hz": config.audio.sample_rate,
        "conditions": ["text"] if is_voice(folder) else conditions,
        "bytes": size,
        "licence": get_licence(read_card(folder)),
        "folder": str(folder.absolute()),
    }


def format_record(record: dict[str, Any]) -> list[str]:
    """Return the cells of a checkpoint."""
    return [
        record["name"],
        f"{record['sample_rate_hz']} Hz",
        ", ".join(record["conditions"]) or "no conditions",
        f"{record['bytes'] / 1e6:.1f} MB",
        record["licence"] or "licence unknown",
        record["folder"],
    ]


def print_rows(rows: list[list[str]]) -> None:
    """Print rows of equal length in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_line("  ".join(cells).rstrip())
