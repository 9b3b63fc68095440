"""Options that several commands share, and the parsers of their values.

Input: strings from the command line. Output: condition values, folders and messages on stderr.
Called by the command files.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet import terminal
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from audio_utils.decoding import MeasuredAudio
    from audio_utils.io import Recording
    from wavenet.recordings.left_out_files import LeftOutFiles

DEFAULT_CHECKPOINT = Path("digits")
RANDOM_SEED = -1  # of an option, as in other audio programs


class ChannelChoice(StrEnum):
    """The choices of `audio_utils.levels.Channel`."""

    MIX = "mix"
    LEFT = "left"
    RIGHT = "right"
    MID = "mid"
    SIDE = "side"


CHANNEL_HELP = (
    "Channel of stereo recordings: mix (the mean of all), left, right, mid (the mean of two) or "
    "side (half their difference)."
)
NORMALIZE_HELP = (
    "Scale recordings beyond full scale so that their peak is full scale, instead of limiting them."
)
ChannelOption = Annotated[ChannelChoice, typer.Option("--channel", help=CHANNEL_HELP)]
NormalizeOption = Annotated[bool, typer.Option("--normalize", help=NORMALIZE_HELP)]

CHECKPOINT_HELP = "Checkpoint: a folder, or a name that `wavenet models` prints."
CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", "-c", help=CHECKPOINT_HELP, show_default=True)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Value of a condition, e.g. --set digit=7. Repeatable."),
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
    typer.Option(
        "--precision",
        help="Stored weights: fp32, bf16 (faster on a CPU), or int8 (twice as fast again).",
    ),
]
AutoPrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Stored weights: fp32, bf16, int8, or auto: on a CPU the fastest whose measured cost "
        "is below 0.002 bits per sample.",
    ),
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
RandomSeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Random seed; the same seed produces the same audio; -1: a new seed, which is "
        "printed.",
    ),
]
CandidatesOption = Annotated[
    int,
    typer.Option(help="Candidates per frame; the one closest to the target mel is kept."),
]
FramesScaleOption = Annotated[
    str | None,
    typer.Option(
        "--frames-scale",
        help="Scale of frames in .npy files, if not dB: ln, log10, power, amplitude, ln-amplitude, "
        "log10-amplitude, or model (normalised already). db: dB, without the check.",
    ),
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
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def choose_seed(seed: int) -> int:
    """Return the seed of an option, or for -1 a random one that is short enough to type."""
    from wavenet.generation.request import random_seed

    return random_seed() if seed == RANDOM_SEED else seed


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


def print_left_out(groups: "Sequence[LeftOutFiles]", used: int) -> None:
    """Print the files of a folder that are not used, and a warning if they are a large part.

    Args:
        groups: the files by reason.
        used: number of recordings that are used.
    """
    from wavenet.recordings.left_out_files import describe_left_out_files

    for line in describe_left_out_files(groups, used):
        print_message(line)


def print_conversions(
    path: Path, recording: "Recording | MeasuredAudio", channel: str = "mix"
) -> None:
    """Print how a recording was converted when it was read, if it was.

    Args:
        path: of the recording.
        recording: the result of reading.
        channel: the option of the command.
    """
    from audio_utils.levels import describe_levels

    changes = []
    if recording.channels > 1:
        if channel == "mix":
            changes.append(f"mixed {recording.channels} channels to one")
        else:
            changes.append(f"{channel} of {recording.channels} channels")
    if recording.original_rate != recording.sample_rate:
        changes.append(f"resampled {recording.original_rate} Hz to {recording.sample_rate} Hz")
    changes += describe_levels(recording.levels)
    if changes:
        print_message(f"{path}: {', '.join(changes)}")


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also for the paths `.` and `..`."""
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
