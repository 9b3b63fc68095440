"""Options that several commands share, and the parsers of their values.

Input: strings from the command line. Output: condition values, folders and messages on stderr.
Called by the command files.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet import terminal
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from audio_utils.io import Recording

DEFAULT_CHECKPOINT = Path("checkpoints/digits")

CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", help="Checkpoint folder.", show_default=True)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Value of a condition, e.g. --set digit=7. Repeatable."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of text: one object per line.")
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="auto, cpu, gpu, graph, cached or reference.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if available), cpu, cuda or cuda:N.")
]
PrecisionOption = Annotated[
    str,
    typer.Option("--precision", help="Stored weights: fp32, or bf16 (16 bits, faster on a CPU)."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", help="Threads of the engine cpu: 1 or 2; by default the faster number."
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Random seed; the same seed produces the same audio.")
]
CandidatesOption = Annotated[
    int,
    typer.Option(help="Candidates per frame; the one closest to the target mel is kept."),
]
MelMatchingOption = Annotated[
    int | None,
    typer.Option(
        "--mel-matching-iterations",
        min=0,
        max=100,
        help="Iterations of filtering towards the target mel frames; by default 8; 0 disables it.",
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", help="Above 0; lower is less random; default: checkpoint."),
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", help="Sample only from the k most likely codes.")
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        help="Sample from the smallest set of most likely codes whose total probability is at "
        "least this.",
    ),
]
GreedyOption = Annotated[
    bool | None, typer.Option("--greedy/--no-greedy", help="Select the most likely code.")
]
GuidanceOption = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        help="Classifier-free guidance: above 1 strengthens conditions; needs a model trained with "
        "condition dropout.",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def parse_condition_values(assignments: Sequence[str] | None) -> dict[str, str]:
    """Parse the values of --set, ["digit=7", ..], into condition values by name.

    Raises:
        ConfigError: an equals sign is missing, or a name occurs twice.
    """
    return parse_assignments("--set", assignments, "digit=7")


def parse_assignments(
    option: str, assignments: Sequence[str] | None, example: str = "curve=FILE.npy"
) -> dict[str, str]:
    """Parse the values of an option, ["name=value", ..], into values by name.

    Raises:
        ConfigError: an equals sign is missing, or a name occurs twice.
    """
    values: dict[str, str] = {}
    for text in assignments or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} expects NAME=VALUE, for example {example}; found {text!r}")
        if name in values:
            raise ConfigError(f"{option} sets {name} twice: {values[name]} and {value}")
        values[name] = value
    return values


def print_message(text: str) -> None:
    """Print a message for the user on stderr."""
    terminal.print_message(text)


def print_conversions(path: Path, recording: "Recording") -> None:
    """Print how a recording was converted when it was read, if it was."""
    changes = []
    if recording.channels > 1:
        changes.append(f"mixed {recording.channels} channels to one")
    if recording.original_rate != recording.sample_rate:
        changes.append(f"resampled {recording.original_rate} Hz to {recording.sample_rate} Hz")
    if recording.clipped_samples:
        changes.append(f"clipped {recording.clipped_samples} samples to full scale")
    if changes:
        print_message(f"{path}: {', '.join(changes)}")


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also if it is given as `.` or `..`."""
    return os.path.basename(os.path.abspath(folder))


def create_folder(folder: Path) -> None:
    """Create a folder to write into, with its parents.

    Raises:
        ConfigError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create the folder {folder}: {error.strerror}") from None
