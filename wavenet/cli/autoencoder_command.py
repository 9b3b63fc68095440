"""`wavenet autoencoder`: train an autoencoder; recordings -> discrete codes, and codes -> sound.

Input: a folder of recordings, or files of codes. Output: an autoencoder, one file of codes per
recording, or sound. Called by `main`.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.converted_files import check_distinct, convert_recordings
from wavenet.cli.evaluate_common import FolderArgument
from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    NormalizeOption,
    OverwriteOption,
    QuietOption,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.config import make_config, name_of_folder
from wavenet.errors import ConfigError, DataError
from wavenet.interrupts import stop_on_interrupt
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
    from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig
    from wavenet.autoencoder.train_autoencoder import AutoencoderMeasures
    from wavenet.autoencoder.vector_quantizer import VectorQuantizerConfig
    from wavenet.checkpoint import CheckpointConfig

SOME_UNREADABLE = 3  # exit code
STOPPED = 130  # exit code
DEFAULT_RECIPE = "digits"


class QuantizerChoice(StrEnum):
    """The quantisers."""

    VECTOR = "vector"
    FINITE_SCALAR = "finite-scalar"


VocoderOption = Annotated[
    Path, typer.Option(help="Checkpoint of the vocoder that makes sound from the frames.")
]
AutoencoderOption = Annotated[
    Path, typer.Option(help="Folder of an autoencoder, or a name such as checkpoints/codes/vector.")
]

app = typer.Typer(
    help="Convert recordings to discrete codes for models of codes, and back.",
    no_args_is_help=True,
)


@app.callback()
def autoencoder() -> None:
    """Convert recordings to discrete codes for models of codes, and back."""


@app.command()
def train(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the autoencoder.")] = Path(
        "runs/autoencoder"
    ),
    quantizer: Annotated[
        QuantizerChoice, typer.Option(help="How a vector of numbers becomes a code.")
    ] = QuantizerChoice.VECTOR,
    codes: Annotated[
        int | None, typer.Option(help="Codes of the vector quantiser; default: 256.")
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(help="Levels of the finite scalar quantiser; default: 8,6,5, 240 codes."),
    ] = None,
    codes_per_frame: Annotated[int, typer.Option(help="Codes of each frame of the vocoder.")] = 2,
    channels: Annotated[int, typer.Option(help="Channels of the convolutions.")] = 64,
    steps: Annotated[int, typer.Option(help="Steps of the training.")] = 3000,
    seed: Annotated[int, typer.Option(help="Seed of the weights and the batches.")] = 0,
    recipe: Annotated[
        str, typer.Option(help="Recipe of the held-out recordings; its model is not used.")
    ] = DEFAULT_RECIPE,
    vocoder: VocoderOption = Path("vocoder"),
    quiet: QuietOption = False,
) -> None:
    """Train an autoencoder of the mel frames of a vocoder.

    Ctrl-C stops after the current step and keeps the result; the same command continues.
    """
    from wavenet import checkpoint
    from wavenet.autoencoder.code_sound import mel_of
    from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig
    from wavenet.autoencoder.train_autoencoder import AutoencoderSettings, train_autoencoder
    from wavenet.cli.progress_bars import ProgressBar

    loaded = checkpoint.load_config(vocoder)
    config = make_config(
        AutoencoderConfig,
        "autoencoder",
        name=name_of_folder(out, "autoencoder"),
        sample_rate=loaded.audio.sample_rate,
        hop=loaded.model.condition_hop,
        mel=mel_of(loaded),
        channels=channels,
        codes_per_frame=codes_per_frame,
        quantizer=_quantizer_settings(quantizer, codes, levels),
    )
    settings = make_config(AutoencoderSettings, "autoencoder", steps=steps, seed=seed)
    training, validation = _read_frames(folder, recipe, config, loaded)
    print_message(f"{len(training):,} recordings to train on, {len(validation):,} to validate")
    last = 0
    with ProgressBar("steps", steps, quiet) as progress_bar, stop_on_interrupt() as should_stop:

        def report(step: int, measures: "AutoencoderMeasures | None") -> None:
            nonlocal last
            progress_bar.advance(step - last)
            last = step
            if measures is not None and not quiet:
                progress_bar.message(
                    f"step {step:,}: error {measures.error_db:.2f} dB, {measures.used_codes:,} "
                    f"codes used, perplexity {measures.perplexity:.0f}"
                )

        train_autoencoder(config, settings, training, validation, out, report, should_stop)
    if 0 < last < steps:
        print_message("stopped; the same command continues")
        raise typer.Exit(STOPPED)
    print_message(f"{config.codes_per_second:g} codes per second, {config.bits} bits each")
    print_line(out)


@app.command()
def encode(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    autoencoder: AutoencoderOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the files of codes.")],
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write one file of codes per recording, with its name.

    The codes are the samples of a WAV file, so a model of codes is trained as any other model: with
    the recipe `digit_codes` or `digit_codes_transformer`, and the folder as its recordings. If the
    recordings have a table of labels (metadata.jsonl, .csv, .tsv or .txt), only its recordings are
    used, and its rows are written to metadata.jsonl with the names of the files. Files that cannot
    be read are reported, and the exit code is then 3.
    """
    from audio_utils import io
    from wavenet.autoencoder.autoencoder_folder import load_autoencoder
    from wavenet.autoencoder.code_sound import encode_recording
    from wavenet.cli.code_files import write_codes

    loaded = load_autoencoder(autoencoder)
    config, total = loaded.config, 0

    def read(path: Path) -> "Tensor":
        rate = config.sample_rate
        return io.read(path, rate, channel=channel.value, normalize=normalize).waveform

    def write(path: Path, waveform: "Tensor") -> None:
        nonlocal total
        codes = encode_recording(loaded.model, waveform)
        write_codes(path, codes, config.bits, overwrite)
        total += len(codes)

    written, count = convert_recordings(folder, out, read, write, overwrite, quiet)
    print_message(
        f"{written:,} files with {total:,} codes of {config.bits} bits, "
        f"{config.codes_per_second:g} per second"
    )
    print_line(out)
    if written < count:
        raise typer.Exit(SOME_UNREADABLE)


@app.command()
def decode(
    files: Annotated[list[Path], typer.Argument(help="Files of codes.")],
    autoencoder: AutoencoderOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sounds.")],
    vocoder: VocoderOption = Path("vocoder"),
    seed: Annotated[int, typer.Option(help="Seed of the vocoder.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Generate the sound of every file of codes, NAME.wav.

    The autoencoder and the vocoder must be those with which the recordings were encoded.
    """
    from audio_utils import io
    from wavenet import checkpoint
    from wavenet.autoencoder.autoencoder_folder import load_autoencoder
    from wavenet.autoencoder.code_sound import check_vocoder, decode_frames, generate_sounds
    from wavenet.cli.code_files import read_codes

    loaded, maker = load_autoencoder(autoencoder), checkpoint.load(vocoder)
    check_vocoder(loaded.config, maker)
    names = [f"{file.stem}.wav" for file in files]
    check_distinct(names)
    check_output_folder(out, names, overwrite)
    codes = [read_codes(file, loaded.config.bits) for file in files]
    frames = [decode_frames(loaded.model, part) for part in codes]
    sounds = generate_sounds(frames, loaded.config, maker, seed)
    create_folder(out)
    for name, sound in zip(names, sounds, strict=True):
        io.write(out / name, sound, loaded.config.sample_rate, replace=overwrite)
        print_line(out / name)


def _quantizer_settings(
    quantizer: QuantizerChoice, codes: int | None, levels: str | None
) -> "VectorQuantizerConfig | FiniteScalarConfig":
    """Return the settings of the chosen quantiser.

    Raises:
        ConfigError: an option of the other quantiser, or a value out of range.
    """
    from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
    from wavenet.autoencoder.vector_quantizer import VectorQuantizerConfig

    if quantizer is QuantizerChoice.VECTOR:
        if levels is not None:
            raise ConfigError("--levels needs --quantizer finite-scalar")
        given = {} if codes is None else {"n_codes": codes}
        return make_config(VectorQuantizerConfig, "--codes", **given)
    if codes is not None:
        raise ConfigError("--codes needs --quantizer vector; use --levels, such as 8,6,5")
    if levels is None:
        return FiniteScalarConfig()
    numbers = levels.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise ConfigError(f"--levels: expected whole numbers such as 8,6,5, found {levels}")
    return make_config(
        FiniteScalarConfig, "--levels", levels=tuple(int(number) for number in numbers)
    )


def _read_frames(
    folder: Path, recipe: str, config: "AutoencoderConfig", vocoder: "CheckpointConfig"
) -> "tuple[list[Tensor], list[Tensor]]":
    """Return the frames of the recordings for training and for validation."""
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.training.dataset import read_dataset
    from wavenet.training.recipe import load_recipe
    from wavenet.training.training_setup import RecipeOptions, apply_options

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of recordings or a prepared corpus")
    chosen = apply_options(load_recipe(recipe), RecipeOptions(data=str(folder)))
    with status_spinner("reading the recordings"):
        dataset = read_dataset(chosen.data, config.sample_rate, vocoder.model)
    for sentence in dataset.skipped:
        print_message(f"skipped: {sentence}")
    training, validation = (
        [clip.frame_features for clip in clips] for clips in (dataset.train, dataset.validation)
    )
    return training, validation
