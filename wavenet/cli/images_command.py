"""`wavenet images`: recordings -> images of sound, and images -> sound and pictures.

Input: a folder of recordings, or files of images. Output: one audio file per image, or sound and a
picture per image, and the folder on stdout. Called by `main`.
"""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    NormalizeOption,
    OverwriteOption,
    QuietOption,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_new_folder, check_output_folder
from wavenet.errors import ConfigError
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from torch import Tensor

    from audio_utils.sound_images import ImageSettings

SOME_UNREADABLE = 3  # exit code

BandsOption = Annotated[int, typer.Option("--bands", help="Mel bands, the rows of an image.")]
FramesOption = Annotated[int, typer.Option("--frames", help="Columns of an image.")]
SecondsOption = Annotated[
    float,
    typer.Option(
        "--seconds",
        "-t",
        help="Duration of an image: shorter recordings are padded, longer ones cut.",
    ),
]
RangeOption = Annotated[
    float, typer.Option("--range-db", help="dB from the loudest pixel to the darkest level.")
]
RateOption = Annotated[int, typer.Option("--sample-rate", help="Hz, of the sound.")]

app = typer.Typer(
    help="Convert recordings to images of sound for models of images, and back.",
    no_args_is_help=True,
)


@app.callback()
def images() -> None:
    """Convert recordings to images of sound for models of images, and back."""


@app.command()
def encode(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the images.")],
    bands: BandsOption = 32,
    frames: FramesOption = 24,
    seconds: SecondsOption = 0.72,
    range_db: RangeOption = 60.0,
    sample_rate: RateOption = 8000,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write one image per recording: a log-mel spectrogram with 16 levels.

    An image is a WAV file with the name of its recording, whose samples are the pixels, row by row
    from the highest band. Train on the folder with the recipes `pixels` or `flat_pixels`. Files
    that cannot be read are reported, and the exit code is then 3.
    """
    from audio_utils import io
    from audio_utils.errors import AudioError
    from audio_utils.sound_images import ImageSettings, encode_image
    from wavenet.cli.image_files import write_image
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.recordings.audio_metadata import find_audio_files

    settings = ImageSettings(bands, frames, seconds, range_db, sample_rate)
    paths = [file.path for file in find_audio_files(folder)]
    names = [str(path.relative_to(folder).with_suffix(".wav")) for path in paths]
    _check_distinct(names)
    check_new_folder(out, overwrite)
    written, cut = 0, 0
    with ProgressBar("recordings", len(paths), quiet) as progress_bar:
        for path, name in zip(paths, names, strict=True):
            try:
                waveform = io.read(
                    path, sample_rate, channel=channel.value, normalize=normalize
                ).waveform
            except AudioError as error:
                progress_bar.message(str(error))
            else:
                create_folder((out / name).parent)
                write_image(out / name, encode_image(waveform, settings), overwrite)
                written += 1
                cut += len(waveform) > settings.samples
            progress_bar.advance(1)
    print_message(
        f"{written:,} images of {bands} x {frames} pixels; {cut:,} recordings are longer than "
        f"{seconds:g} s and were cut"
    )
    print_line(out)
    if written < len(paths):
        raise typer.Exit(SOME_UNREADABLE)


@app.command()
def decode(
    files: Annotated[list[Path], typer.Argument(help="Images, as audio files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sounds and pictures.")],
    bands: BandsOption = 32,
    frames: FramesOption = 24,
    seconds: SecondsOption = 0.72,
    range_db: RangeOption = 60.0,
    sample_rate: RateOption = 8000,
    vocoder: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint of a vocoder, such as vocoder; default: Griffin-Lim, without a model."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the vocoder.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the sound (NAME.wav) and the picture (NAME.png) of every image.

    The options must be those with which the images were encoded. The phase, detail between bands
    and columns, and the level of the recording are not in an image.
    """
    from audio_utils import io
    from audio_utils.plots import plot_sound_image, save_figure
    from audio_utils.sound_images import ImageSettings
    from wavenet.cli.image_files import read_image

    settings = ImageSettings(bands, frames, seconds, range_db, sample_rate)
    stems = [file.stem for file in files]
    _check_distinct(stems)
    names = [f"{stem}{suffix}" for stem in stems for suffix in (".wav", ".png")]
    check_output_folder(out, names, overwrite)
    levels = [read_image(file, settings) for file in files]
    sounds = _make_sounds(levels, settings, vocoder, seed)
    create_folder(out)
    for stem, image, sound in zip(stems, levels, sounds, strict=True):
        io.write(out / f"{stem}.wav", sound, sample_rate, replace=overwrite)
        figure = plot_sound_image(image.flip(0), settings.seconds, settings.features)
        save_figure(figure, out / f"{stem}.png", replace=overwrite)
        print_line(out / f"{stem}.wav")


def _make_sounds(
    levels: "list[Tensor]", settings: "ImageSettings", vocoder: Path | None, seed: int
) -> "list[Tensor]":
    """Return the sound of every image, by the vocoder or else by Griffin-Lim."""
    from audio_utils.sound_images import decode_image, image_to_waveform
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.image_files import vocode_image

    if vocoder is None:
        return [image_to_waveform(image, settings) for image in levels]
    loaded = checkpoints.load(vocoder)
    return [vocode_image(decode_image(image, settings), settings, loaded, seed) for image in levels]


def _check_distinct(names: list[str]) -> None:
    """Raise ConfigError if two files would be written under one name."""
    name, count = Counter(str(PurePosixPath(name)) for name in names).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} files would be written as {name}; rename them, or convert them separately"
        )
