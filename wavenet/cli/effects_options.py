"""Options that the commands of effects share: the model, and the sound of the chain.

Input: values of options. Output: a model with its settings, or an error that names the option.
Called by the commands `render`, `batch` and `live` of `wavenet effects`.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import CHANNEL_HELP, ChannelChoice, parse_assignments, print_message
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from wavenet.effects.load_effect import LoadedEffect
    from wavenet.effects.nam_model import NamModel
    from wavenet.effects.rendering.chain_settings import ChainSettings
    from wavenet.effects.rendering.render_file import FileSettings

MODEL_HELP = "A .nam file, a JSON file of PedalNetRT, or a trained effect: its folder or its name."


class RatePolicyChoice(StrEnum):
    """The choices of `chain_settings.RatePolicy`."""

    RESAMPLE = "resample"
    REFUSE = "refuse"


class SubtypeChoice(StrEnum):
    """Formats of the samples of a file."""

    PCM_16 = "PCM_16"
    PCM_24 = "PCM_24"
    FLOAT = "FLOAT"


ModelOption = Annotated[Path, typer.Option("--model", "-m", help=MODEL_HELP)]
IrOption = Annotated[
    Path | None,
    typer.Option("--ir", help="Impulse response of a cabinet or a room: a mono or stereo file."),
]
# The first line of each docstring is the title of a group of options in --help.


@dataclass(frozen=True)
class ChainOptions:
    """Sound."""

    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Value of a knob, e.g. --set gain=0.6. Repeatable."),
    ] = None
    input_gain: Annotated[
        float,
        typer.Option("--input-gain", help="Gain before the model, dB: its drive."),
    ] = 0.0
    interface_level: Annotated[
        float | None,
        typer.Option(
            "--interface-level",
            help="Level of a full-scale sine at your interface, dBu: drives the model as its maker "
            "did, if its file says input_level_dbu.",
        ),
    ] = None
    match_loudness: Annotated[
        bool,
        typer.Option(
            "--match-loudness",
            help="Scale the output to -18 dB by the loudness of the model, so that models are "
            "about equally loud.",
        ),
    ] = False
    mix: Annotated[
        float, typer.Option("--mix", help="Part of the wet sound: 0 only dry, 1 only wet.")
    ] = 1.0
    trim: Annotated[float, typer.Option("--trim", help="Gain of the output, dB.")] = 0.0
    oversample: Annotated[
        int, typer.Option("--oversample", help="Run the model at 1, 2 or 4 times its rate.")
    ] = 1
    size: Annotated[
        float | None,
        typer.Option(
            "--size", help="Of a file with several sizes: 0 smallest, 1 largest (default)."
        ),
    ] = None

    remove_offset: Annotated[
        bool | None,
        typer.Option(
            "--remove-offset/--keep-offset",
            help="Filter an offset (DC) of the model, which some have at silence, by a high-pass "
            "at 5 Hz. Default: only in live sound.",
        ),
    ] = None

    def settings(
        self, rate_policy: str = "resample", removes_offset: bool = False
    ) -> "ChainSettings":
        """Return the settings of the chain.

        Args:
            rate_policy: as in `ChainSettings`.
            removes_offset: the default of this command.

        Raises:
            ConfigError: a value is out of range.
        """
        from wavenet.effects.rendering.chain_settings import RATE_POLICIES, ChainSettings

        policy = next(policy for policy in RATE_POLICIES if policy == rate_policy)
        return ChainSettings(
            *(self.input_gain, self.interface_level, self.match_loudness, self.mix, self.trim),
            *(self.oversample, self.size, policy),
            removes_offset if self.remove_offset is None else self.remove_offset,
        )

    def knob_values(self) -> dict[str, float]:
        """Return the values of --set.

        Raises:
            ConfigError: not NAME=NUMBER.
        """
        from wavenet.user_input.typed_numbers import parse_number

        texts = parse_assignments("--set", self.set_, "gain=0.6")
        return {name: parse_number(text, f"--set {name}", float) for name, text in texts.items()}


@dataclass(frozen=True)
class WetFileOptions:
    """Files."""

    ir: IrOption = None
    channel: Annotated[
        ChannelChoice | None,
        typer.Option("--channel", help=f"{CHANNEL_HELP} By default all, each filtered separately."),
    ] = None
    rate_policy: Annotated[
        RatePolicyChoice,
        typer.Option(
            "--rate-policy",
            help="Sound at another rate than that of the model: resample or refuse it.",
        ),
    ] = RatePolicyChoice.RESAMPLE
    subtype: Annotated[
        SubtypeChoice,
        typer.Option(
            "--subtype", help="Samples of .wav and .flac; FLOAT (.wav only) has no limit."
        ),
    ] = SubtypeChoice.PCM_24
    tail: Annotated[
        bool, typer.Option("--tail", help="Keep the sound of the impulse response after the end.")
    ] = False

    def settings(self, suffix: str, overwrite: bool) -> "FileSettings":
        """Return how files are read and written.

        Args:
            suffix: of the files that are written.
            overwrite: whether they may be replaced.
        Raises:
            ConfigError: the format does not store these samples.
        """
        from wavenet.effects.rendering.render_file import FileSettings

        if self.subtype == SubtypeChoice.FLOAT and suffix.lower() != ".wav":
            raise ConfigError(f"--subtype FLOAT needs a .wav file, found {suffix}")
        return FileSettings(
            self.channel.value if self.channel else None,
            *(self.subtype.value, self.tail, overwrite),
        )


def load_model(path: Path, options: ChainOptions) -> "tuple[LoadedEffect, NamModel]":
    """Load an effect, and its model at the setting of the options; warn about a newer file.

    Raises:
        EffectFileError: it cannot be read.
        ConditionError: a knob is unknown, or its value is out of range.
    """
    from wavenet.effects.load_effect import load_effect
    from wavenet.effects.nam_file import is_newer_version

    effect = load_effect(path)
    model = effect.model_at(options.knob_values())
    if is_newer_version(model):
        print_message(
            f"WARNING: {path} has version {model.version}, which is newer than the known ones; "
            "compare its sound with that of its own program"
        )
    return effect, model
