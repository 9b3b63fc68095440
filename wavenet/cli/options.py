"""Options that several commands share, and what they turn into."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from audio_utils.io import Recording

DEFAULT_CHECKPOINT = Path("checkpoints/digits")

CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", help="Folder of the checkpoint.", show_default=True)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A label or number, as in --set digit=7. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]
EngineOption = Annotated[
    str, typer.Option("--engine", help="auto, cpu, gpu, graph, cached or reference.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU where there is one), cpu, cuda or cuda:N.")
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="fp32, or bf16: weights of 16 bits, faster on a CPU.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Of the engine cpu: 1 or 2; two where they help.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same audio.")]
CandidatesOption = Annotated[
    int,
    typer.Option(help="Draw so many at once; at every frame what fits its mel best goes on."),
]
MatchOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=100,
        help="Filter so many times towards the mel asked for, 8 if left out; 0: off.",
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", help="Above 0; below 1 is calmer; the checkpoint's own."),
]
TopKOption = Annotated[int | None, typer.Option("--top-k", help="Draw from the k likeliest codes.")]
TopPOption = Annotated[
    float | None,
    typer.Option("--top-p", help="Draw from the likeliest codes that hold this share."),
]
GreedyOption = Annotated[
    bool | None, typer.Option("--greedy/--no-greedy", help="Take the likeliest code.")
]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance", help="Above 1: heed labels more; where they may be left out."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace files.")]


def parse_labels(assignments: Sequence[str] | None) -> dict[str, str]:
    """Turn ["digit=7", ..] into labels by name.

    Raises:
        ConditionError: no equals sign, or a name given twice.
    """
    return parse_assignments("--set", assignments, "digit=7")


def parse_assignments(
    option: str, assignments: Sequence[str] | None, example: str = "curve=FILE.npy"
) -> dict[str, str]:
    """Turn what an option gave, ["name=value", ..], into values by name.

    Raises:
        ConditionError: no equals sign, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in assignments or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConditionError(f"{option} expects NAME=VALUE, as in {example}; found {text!r}")
        if name in found:
            raise ConditionError(f"{option} gives {name} twice: {found[name]} and {value}")
        found[name] = value
    return found


def say(text: str) -> None:
    """Print words, which belong on stderr."""
    typer.echo(text, err=True)


def say_converted(path: Path, recording: "Recording") -> None:
    """Mention what reading changed."""
    changes = []
    if recording.channels > 1:
        changes.append(f"mixed {recording.channels} channels to one")
    if recording.original_rate != recording.sample_rate:
        changes.append(f"resampled {recording.original_rate} Hz to {recording.sample_rate} Hz")
    if recording.clipped:
        changes.append(f"limited {recording.clipped} samples to full scale")
    if changes:
        say(f"{path}: {', '.join(changes)}")


def make_folder(folder: Path) -> None:
    """Make a folder to write into.

    Raises:
        ConditionError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConditionError(f"the folder {folder} cannot be made: {error.strerror}") from None
