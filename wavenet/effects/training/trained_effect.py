"""An effect that was trained here, with or without knobs, and its folder.

    FOLDER/config.json          settings of the effect
    FOLDER/model.safetensors    its weights
    FOLDER/results.json         its errors, see `training_results`

`load_effect_folder` reads it; `nam_model` returns the model at one setting of the knobs, for
engines and `.nam` files. Called by the training, by the command line and by the studio.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from wavenet.checkpoint_folders import CONFIG, EFFECT_MARK, resolve_checkpoint
from wavenet.config import Name, StrictConfig
from wavenet.effects.effect_builder import export_effect
from wavenet.effects.feedforward_wavenet import FeedForwardWaveNet
from wavenet.effects.knob_wavenet import KnobWaveNet, fold_knobs
from wavenet.effects.nam_model import NamModel
from wavenet.effects.training.effect_architecture import EffectArchitecture
from wavenet.errors import ConfigError
from wavenet.network_folder import NetworkKind, load_network, save_network
from wavenet.weights_file import WEIGHTS

Setting = Annotated[float, Field(ge=0, le=1)]


class EffectKnob(StrictConfig):
    """A knob of an effect.

    Attributes:
        name: of the knob.
        settings: values of the recordings, rising; the model interpolates between them.
        default: value if none is chosen.
    """

    name: Name
    settings: tuple[Setting, ...] = Field(min_length=2, max_length=1000)
    default: Setting = 0.5


class TrainedEffectConfig(StrictConfig):
    """The settings of a trained effect.

    Attributes:
        name: of the effect.
        sample_rate: Hz.
        architecture: of the network.
        knobs: of the device; none for one setting.
        knob_channels, knob_hidden: sizes of the network of the knobs.
    """

    kind: Literal["trained-effect"] = "trained-effect"
    format_version: Literal[1] = 1
    name: Name = "effect"
    sample_rate: int = Field(ge=1000, le=1_000_000)
    architecture: EffectArchitecture = EffectArchitecture()
    knobs: tuple[EffectKnob, ...] = Field(default=(), max_length=16)
    knob_channels: int = Field(default=4, ge=1, le=64)
    knob_hidden: int = Field(default=16, ge=1, le=256)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [knob.name for knob in self.knobs]
        if len(set(names)) < len(names):
            raise ValueError(f"two knobs have one name: {', '.join(names)}")
        return self


class TrainedEffect(nn.Module):
    """A feed-forward WaveNet with its settings; random weights at first.

    Attributes:
        config: its settings.
        network: with knobs, or without.
    """

    def __init__(self, config: TrainedEffectConfig):
        super().__init__()
        self.config = config
        shape = config.architecture.shape
        self.network: KnobWaveNet | FeedForwardWaveNet
        if config.knobs:
            names = [knob.name for knob in config.knobs]
            self.network = KnobWaveNet(shape, names, config.knob_channels, config.knob_hidden)
        else:
            self.network = FeedForwardWaveNet(shape)
        self.wavenet.get_buffer("head_scale").fill_(config.architecture.output_factor)

    @property
    def wavenet(self) -> FeedForwardWaveNet:
        """The network without that of the knobs."""
        return self.network.network if isinstance(self.network, KnobWaveNet) else self.network

    @property
    def receptive_field(self) -> int:
        """Samples that an output depends on."""
        return self.wavenet.shape.own_receptive_field

    def valid_outputs(self, waveform: Tensor, values: Tensor) -> Tensor:
        """Return the outputs whose whole receptive field is in the waveform.

        Args:
            waveform: (B, 1, T), T at least the receptive field.
            values: (B, knobs), from 0 to 1; (B, 0) without knobs.
        Returns:
            (B, 1, T - receptive_field + 1).
        """
        if isinstance(self.network, KnobWaveNet):
            return self.network.valid_outputs(waveform, values)
        return self.network.valid_outputs(waveform)

    def complete_setting(self, values: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return a value for every knob; those that are not given have their default.

        Raises:
            ConfigError: a name is unknown.
        """
        setting = {knob.name: knob.default for knob in self.config.knobs}
        unknown = [name for name in values or {} if name not in setting]
        if unknown:
            known = f"its knobs are {', '.join(setting)}" if setting else "it has no knobs"
            raise ConfigError(f"{self.config.name} has no knob {unknown[0]}; {known}")
        return setting | dict(values or {})

    def nam_model(
        self,
        values: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> NamModel:
        """Return the model at one setting of the knobs, without knobs.

        Args:
            values: from 0 to 1; a knob that is missing has its default.
            metadata: of a `.nam` file.
        Raises:
            ConfigError: a name is unknown, or a value out of range.
        """
        setting = self.complete_setting(values)
        network = self.network
        if isinstance(network, KnobWaveNet):
            network = fold_knobs(network, setting)
        return export_effect(network, float(self.config.sample_rate), metadata)


TRAINED_EFFECT = NetworkKind(
    "a trained effect",
    TrainedEffectConfig,
    TrainedEffect,
    EFFECT_MARK,
    f"expected a folder with {CONFIG} and {WEIGHTS}, which `wavenet effects train` writes",
    "use the folder that `wavenet effects train` wrote",
)


def save_effect_folder(folder: Path, effect: TrainedEffect) -> None:
    """Write config and weights; each file is written completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    save_network(folder, TRAINED_EFFECT, effect.config, effect)


def load_effect_folder(folder: str | Path) -> TrainedEffect:
    """Read the folder of a trained effect, by its path or by a name such as overdrive.

    Raises:
        CheckpointError: the folder or a file is missing or damaged, or the weights do not fit.
    """
    return load_network(resolve_checkpoint(folder), TRAINED_EFFECT)
