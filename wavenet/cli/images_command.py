"""`wavenet images`: recordings or handwritten digits -> images, and images -> sound and pictures.

Input: a folder of recordings, files of images, or nothing. Output: one audio file per image, or
sound and a picture per image, and the folder or the files on stdout. Called by `main`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.converted_files import check_distinct, convert_recordings
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
from wavenet.cli.unused_options import refuse_unused
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from torch import Tensor

    from audio_utils.sound_images import ImageSettings

SOME_UNREADABLE = 3  # exit code

BandsOption = Annotated[
    int, typer.Option("--bands", help="Mel bands, the rows of an image.", min=1, max=1024)
]
FramesOption = Annotated[
    int, typer.Option("--frames", help="Columns of an image.", min=1, max=1024)
]
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
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the images.")]
SOUND_ONLY = ("seconds", "range_db", "sample_rate", "vocoder", "seed")

app = typer.Typer(
    help="Write images for models of images: of recordings and of handwritten digits; and back.",
    no_args_is_help=True,
)


@app.callback()
def images() -> None:
    """Write images for models of images: of recordings and of handwritten digits; and back."""


@app.command()
def encode(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    out: OutOption,
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
    from the highest band. Train on the folder with the recipes `pixels` or `flat_pixels`. If the
    recordings have a table of labels (metadata.jsonl, .csv, .tsv or .txt), only its recordings are
    used, and its rows are written to metadata.jsonl with the names of the images. Files that cannot
    be read are reported, and the exit code is then 3.
    """
    from audio_utils import io
    from audio_utils.sound_images import ImageSettings, encode_image
    from wavenet.cli.image_files import write_image

    settings = ImageSettings(bands, frames, seconds, range_db, sample_rate)
    cut = 0

    def read(path: Path) -> "Tensor":
        return io.read(path, sample_rate, channel=channel.value, normalize=normalize).waveform

    def write(path: Path, waveform: "Tensor") -> None:
        nonlocal cut
        write_image(path, encode_image(waveform, settings), overwrite)
        cut += len(waveform) > settings.samples

    written, count = convert_recordings(folder, out, read, write, overwrite, quiet)
    print_message(
        f"{written:,} images of {bands} x {frames} pixels; {cut:,} recordings are longer than "
        f"{seconds:g} s and were cut"
    )
    print_line(out)
    if written < count:
        raise typer.Exit(SOME_UNREADABLE)


@app.command()
def handwritten(
    out: OutOption, overwrite: OverwriteOption = False, quiet: QuietOption = False
) -> None:
    """Write 1,797 images of handwritten digits, 8 x 8 pixels with 16 levels.

    scikit-learn contains the data, so nothing is downloaded. The files are named
    DIGIT_SPLIT_INDEX.wav, with the split train, validation or test. Train on the folder with the
    recipe `handwritten`.
    """
    from wavenet.cli.handwritten_digits import SIZE, handwritten_digits
    from wavenet.cli.image_files import write_image
    from wavenet.cli.progress_bars import ProgressBar

    check_new_folder(out, overwrite)
    digits = list(handwritten_digits())
    create_folder(out)
    with ProgressBar("images", len(digits), quiet) as progress_bar:
        for name, levels in digits:
            write_image(out / name, levels, overwrite)
            progress_bar.advance(1)
    print_message(f"{len(digits):,} images of {SIZE} x {SIZE} pixels")
    print_line(out)


@app.command()
def decode(
    context: typer.Context,
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
    sound: Annotated[
        bool,
        typer.Option(
            "--sound/--no-sound",
            help="Write the sound, or pictures alone, of images that are not images of sound.",
        ),
    ] = True,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the sound (NAME.wav) and the picture (NAME.png) of every image.

    The options must be those with which the images were encoded. The phase, detail between bands
    and columns, and the level of the recording are not in an image. For other images, such as
    handwritten digits, --bands is the number of rows, and --frames that of columns.
    """
    from audio_utils.plots import plot_pixels, save_figure
    from audio_utils.sound_images import ImageSettings
    from wavenet.cli.image_files import read_image

    if not sound:
        refuse_unused(context, SOUND_ONLY, "has no effect with --no-sound; omit one of them")
    settings = ImageSettings(bands, frames, seconds, range_db, sample_rate) if sound else None
    stems = [file.stem for file in files]
    check_distinct(stems)
    suffixes = (".wav", ".png") if sound else (".png",)
    check_output_folder(out, [f"{stem}{end}" for stem in stems for end in suffixes], overwrite)
    images = {out / file.stem: read_image(file, bands, frames) for file in files}
    if settings is not None:
        _write_sounds(images, settings, vocoder, seed, overwrite)
        return
    create_folder(out)
    for path, image in images.items():
        save_figure(plot_pixels(image), f"{path}.png", replace=overwrite)
        print_line(f"{path}.png")


def _write_sounds(
    images: "Mapping[Path, Tensor]",
    settings: "ImageSettings",
    vocoder: Path | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Write the sound and the picture of every image, by the path without suffix."""
    from audio_utils import io
    from audio_utils.plots import plot_sound_image, save_figure

    sounds = _make_sounds(list(images.values()), settings, vocoder, seed)
    for (path, image), sound in zip(images.items(), sounds, strict=True):
        create_folder(path.parent)
        io.write(f"{path}.wav", sound, settings.sample_rate, replace=overwrite)
        figure = plot_sound_image(image.flip(0), settings.seconds, settings.features)
        save_figure(figure, f"{path}.png", replace=overwrite)
        print_line(f"{path}.wav")


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
