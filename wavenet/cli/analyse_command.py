"""`wavenet analyse`: plots and basic facts of a recording."""

import json
from pathlib import Path
from typing import Annotated

import typer

from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    JsonOption,
    NormalizeOption,
    print_conversions,
)


def analyse(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the plots.")] = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    json_: JsonOption = False,
) -> None:
    """Write plots of waveform, spectrogram, mel and MFCC, and print their paths."""
    from audio_utils import io, plots
    from wavenet.cli.options import create_folder, print_message

    recording = io.read(file, channel=channel.value, normalize=normalize)
    print_conversions(file, recording, channel)
    folder = out or Path()
    create_folder(folder)
    paths = {}
    for name, plot in plots.RECORDING_PLOTS.items():
        paths[name] = folder / f"{file.stem}_{name}.png"
        plots.save_figure(plot(recording.waveform, recording.sample_rate), paths[name])
    waveform = recording.waveform
    facts = {
        "seconds": waveform.numel() / recording.sample_rate,
        "sample_rate": recording.sample_rate,
        "peak": float(waveform.abs().max()),
        "rms": float(waveform.square().mean().sqrt()),
    }
    if json_:
        typer.echo(json.dumps({**facts, "plots": {n: str(path) for n, path in paths.items()}}))
        return
    for path in paths.values():
        typer.echo(str(path))
    print_message(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in facts.items()))
