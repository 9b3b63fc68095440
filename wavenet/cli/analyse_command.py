"""`wavenet analyse`: plots and basic facts of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from audio_utils.file_names import MAX_NAME_BYTES, shorten_name
from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    JsonOption,
    NormalizeOption,
    OverwriteOption,
    print_conversions,
)
from wavenet.cli.output_paths import check_outputs
from wavenet.terminal import print_json, print_line


def analyse(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the plots.")] = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Write plots of waveform, spectrogram, mel and MFCC, and print their paths."""
    from audio_utils import io, plots
    from wavenet.cli.options import create_folder, print_message

    folder = out or Path()
    ends = {name: f"_{name}.png" for name in plots.RECORDING_PLOTS}
    stem = shorten_name(file.stem, MAX_NAME_BYTES - max(map(len, ends.values())))
    paths = {name: folder / f"{stem}{end}" for name, end in ends.items()}
    check_outputs(paths.values(), overwrite)
    recording = io.read(file, channel=channel.value, normalize=normalize)
    print_conversions(file, recording, channel)
    create_folder(folder)
    for name, plot in plots.RECORDING_PLOTS.items():
        figure = plot(recording.waveform, recording.sample_rate)
        plots.save_figure(figure, paths[name], overwrite)
    waveform = recording.waveform
    facts = {
        "seconds": waveform.numel() / recording.sample_rate,
        "sample_rate": recording.sample_rate,
        "peak": float(waveform.abs().max()),
        "rms": float(waveform.square().mean().sqrt()),
    }
    if json_:
        print_json({**facts, "plots": {n: str(path) for n, path in paths.items()}})
        return
    for path in paths.values():
        print_line(path)
    print_message(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in facts.items()))
