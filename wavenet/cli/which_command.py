"""`wavenet which`: the checkpoint, or the labels, under which a recording is most probable.

Input: audio files. Output: one line per checkpoint or per combination of label values, the most
probable first. Called by `main`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    CHECKPOINT_HELP,
    DEFAULT_CHECKPOINT,
    ChannelChoice,
    ChannelOption,
    DeviceOption,
    JsonOption,
    NormalizeOption,
    QuietOption,
    SetOption,
    parse_condition_values,
    print_conversions,
    print_message,
)
from wavenet.errors import CheckpointError, ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from audio_utils.io import Recording
    from wavenet.checkpoint import Checkpoint

SHOWN = 10  # combinations of label values that are printed as text


def which(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help=f"{CHECKPOINT_HELP} Repeatable; by default all known ones that predict the codes "
            "of this recording.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="Compare the values of this label instead, under one checkpoint, by default "
            "digits. Repeatable: all combinations.",
        ),
    ] = None,
    set_: SetOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Print under which checkpoint, or which label values, a recording is most probable.

    Checkpoints are compared by bits per second, which is exact for equal codes: one sample rate and
    one codec. With --label, each value has a probability, by Bayes' rule with equal priors.
    """
    from audio_utils import io
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.detection.most_probable import label_probabilities, rank_checkpoints
    from wavenet.engines.registry import device_for

    conditions = parse_condition_values(set_)
    if label and len(checkpoint or ()) > 1:
        raise ConfigError("--label compares values under one checkpoint; name only one with -c")
    if label or checkpoint:
        names: Sequence[str | Path] = checkpoint or [DEFAULT_CHECKPOINT]
    else:
        names = find_comparable(file)
    place = device_for("reference", device)
    loaded = {str(name): checkpoints.load(name, place) for name in names}
    first = next(iter(loaded.values()))
    recording = io.read(file, first.sample_rate, channel=channel.value, normalize=normalize)
    print_conversions(file, recording, channel.value)
    with status_spinner(f"scoring {file}", quiet):
        if label:
            found = label_probabilities(first, recording.waveform, label, conditions)
            rows = [
                {"values": dict(one.values), "probability": one.probability, "bits": one.bits}
                for one in found
            ]
        else:
            ranked = rank_checkpoints(loaded, recording.waveform, conditions)
            rows = [
                {
                    "checkpoint": one.name,
                    "bits_per_second": one.bits_per_second,
                    "bits_per_sample": one.bits_per_sample,
                }
                for one in ranked
            ]
    _print_rows(file, rows, loaded, recording, json_)


def find_comparable(file: Path) -> list[str]:
    """Return the names of the known checkpoints that predict the codes of a recording.

    These are the checkpoints of its sample rate; if there are none, those of the highest rate
    below it; then those with the codec of the first, and without frames as a condition.

    Raises:
        ConfigError: there is none.
        AudioError: the recording cannot be read.
    """
    from audio_utils.decoding import open_stream
    from wavenet.checkpoint import load_config
    from wavenet.checkpoint_folders import list_known

    with open_stream(file) as stream:
        rate = stream.original_rate
    configs = {}
    for name, folder in list_known().items():
        try:
            configs[name] = load_config(folder)
        except CheckpointError as error:
            print_message(f"left out: {error}")
    usable = {name: config for name, config in configs.items() if not config.model.locals}
    rates = sorted({c.audio.sample_rate for c in usable.values() if c.audio.sample_rate <= rate})
    if not rates:
        raise ConfigError(
            f"{file} has {rate} Hz, below the rate of every known checkpoint; name one with -c"
        )
    same = {n: c for n, c in usable.items() if c.audio.sample_rate == rates[-1]}
    codec = next(iter(same.values())).codec
    return [name for name, config in same.items() if config.codec == codec]


def _print_rows(
    file: Path,
    rows: list[dict[str, Any]],
    loaded: "Mapping[str, Checkpoint]",
    recording: "Recording",
    as_json: bool,
) -> None:
    """Print the rows, the most probable first, and what was compared."""
    from wavenet.detection.most_probable import describe_codes

    codes = describe_codes(next(iter(loaded.values())).config)
    if as_json:
        seconds = recording.waveform.numel() / recording.sample_rate
        print_json({"file": str(file), "seconds": seconds, "codes": codes, "candidates": rows})
        return
    for row in rows[:SHOWN]:
        if "values" in row:
            values = " ".join(f"{name}={value}" for name, value in row["values"].items())
            print_line(f"{100 * row['probability']:.1f} %", f"{row['bits']:.1f} bits", values)
        else:
            bits = f"{row['bits_per_second']:.0f} bits/s"
            print_line(bits, f"{row['bits_per_sample']:.4f} bits/sample", row["checkpoint"])
    if len(rows) > SHOWN:
        print_message(f"the {SHOWN} most probable of {len(rows)} combinations")
    if "values" not in rows[0]:
        print_message(f"compared by the same codes: {codes}")
