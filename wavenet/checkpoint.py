"""Load and save a checkpoint: a folder with model.safetensors, config.json and a README.md card.

Input of `load`: a path. Output: a model that is ready to run. Nothing in the folder is code. The
config is checked, and the sizes it defines are computed, before anything is built; the weights must
fit the config exactly. Called by everything that runs or trains a model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet import checkpoint_folders
from wavenet.codec import AnyCodec, Codec
from wavenet.config import Name, StrictConfig, parse_config
from wavenet.devices import device_errors
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.model.architectures import AnyModelConfig, build_model
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.frame_scales import FrameStatistics
from wavenet.model.model_config import ModelConfig
from wavenet.rounding_costs import RoundingCosts
from wavenet.sampling import SamplingConfig
from wavenet.weights_file import WEIGHTS, read_bytes, read_weights, write_weights

CONFIG = checkpoint_folders.CONFIG
CARD = "README.md"
# Optional: which surprise is unusual in clean recordings; read and written by `detection`.
CALIBRATION = "surprise.json"
MAX_CALIBRATION_BYTES = 1 << 16
MAX_CONFIG_BYTES = 1 << 20


class AudioConfig(StrictConfig):
    """The rate of the waveform.

    Attributes:
        sample_rate: Hz.
    """

    sample_rate: int = Field(ge=4_000, le=192_000)


Share = Annotated[float, Field(ge=0, le=1)]


class WindowStatistics(StrictConfig):
    """Fractions of the training windows in which the guard would find noise or silence.

    Attributes:
        noisy: fraction with white noise.
        saturated: fraction with noise at full scale.
        silent: fraction with silence.
    """

    noisy: Share
    saturated: Share
    silent: Share


class UsageExample(StrictConfig):
    """Settings that show what a model can do.

    Attributes:
        title: a few words, for a button.
        conditions: values by condition name.
    """

    title: str = Field(min_length=1, max_length=40)
    conditions: dict[str, str | float]


class Usage(StrictConfig):
    """How a model is meant to be used, for people who choose among models.

    Attributes:
        summary: what it generates, in a few words, such as "one spoken digit".
        shortest_seconds, longest_seconds: usual lengths of its clips; those of most recordings
            that it was trained on.
        examples: settings to try first.
    """

    summary: str = Field(default="", max_length=120)
    shortest_seconds: float = Field(gt=0, le=600)
    longest_seconds: float = Field(gt=0, le=600)
    examples: tuple[UsageExample, ...] = Field(default=(), max_length=12)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.shortest_seconds > self.longest_seconds:
            raise ValueError("shortest_seconds must not exceed longest_seconds")
        return self


class CheckpointConfig(StrictConfig):
    """The content of `config.json`.

    Attributes:
        format_version: of this file.
        name: of the model.
        audio: the sample rate.
        codec: the rule between waveform and codes.
        model: the network, its conditions and its output.
        default_seconds: length of a clip if the request has none.
        sampling: the default of all clips that the model generates.
        frame_statistics: of the training frames, one per local condition; older checkpoints have
            none.
        window_statistics: what was frequent in the training; None: not measured.
        usage: what the model is for; None: unknown.
        rounding: what rounded weights cost; None: not measured, so that the precision "auto" does
            not round the weights.
    """

    format_version: Literal[1] = 1
    name: Name
    audio: AudioConfig
    codec: AnyCodec
    model: AnyModelConfig
    default_seconds: float = Field(default=1.0, gt=0, le=600)
    sampling: SamplingConfig = SamplingConfig()
    frame_statistics: tuple[FrameStatistics, ...] = Field(default=(), exclude_if=lambda f: not f)
    window_statistics: WindowStatistics | None = Field(default=None, exclude_if=lambda w: w is None)
    usage: Usage | None = Field(default=None, exclude_if=lambda u: u is None)
    rounding: RoundingCosts | None = Field(default=None, exclude_if=lambda r: r is None)

    @model_validator(mode="after")
    def _check_frame_statistics(self) -> Self:
        columns = {condition.name: condition.columns for condition in self.model.locals}
        for found in self.frame_statistics:
            if columns.get(found.name) != len(found.mean):
                raise ValueError(
                    f"frame_statistics has {len(found.mean)} columns of {found.name}; expected "
                    f"those of the local conditions, {columns}"
                )
        return self

    @model_validator(mode="after")
    def _check_usage(self) -> Self:
        for example in self.usage.examples if self.usage else ():
            try:
                resolve_condition_values(self.model, example.conditions)
            except ConditionError as error:
                raise ValueError(f"the example {example.title!r}: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_output(self) -> Self:
        check_output(self.model, self.codec)
        return self

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        sampling = self.sampling
        if sampling.greedy:
            raise ValueError("sampling.greedy cannot be a default; set it per request")
        if sampling.guidance != 1 and not self.model.droppable:
            raise ValueError("sampling.guidance needs a condition with dropout")
        plain = SamplingConfig(temperature=sampling.temperature)
        if self.model.output.kind != "categorical" and sampling != plain:
            raise ValueError("with a mixture output, sampling can set the temperature only")
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        for condition in self.model.labels:
            if not condition.values:
                raise ValueError(f"the condition {condition.name} has no values")
        return self


def check_output(model: ModelConfig, codec: Codec) -> None:
    """Check that an output distribution fits a codec.

    Raises:
        ValueError: a categorical output without mu-law, or a mixture without 16 bits.
    """
    laws = ("mu-law",) if model.output.kind == "categorical" else ("pcm16", "linear")
    if codec.law not in laws:
        raise ValueError(
            f"a {model.output.kind} output needs codec.law {laws[0]!r}, found {codec.law!r}"
        )


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model, its config and its folder."""

    config: CheckpointConfig
    model: AutoregressiveModel[Any]
    folder: Path

    @property
    def codec(self) -> Codec:
        """The codec of the model's codes."""
        return self.config.codec

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.audio.sample_rate


def build(config: CheckpointConfig) -> AutoregressiveModel[Any]:
    """Build the network of a config, with random weights.

    Raises:
        ConfigError: as `check_label_names`.
    """
    check_label_names(config.model)
    return build_model(config.model, config.codec, config.audio.sample_rate)


def check_label_names(model: ModelConfig) -> None:
    """Check the names of the label conditions.

    Raises:
        ConfigError: a name that torch reserves, such as "type".
    """
    reserved = nn.ModuleDict()
    for condition in model.labels:
        if hasattr(reserved, condition.name):
            raise ConfigError(f"a condition cannot be named {condition.name}; choose another name")


def save(
    folder: Path, config: CheckpointConfig, model: AutoregressiveModel[Any], replace: bool = True
) -> None:
    """Write weights and config; each file is written completely or not at all.

    Args:
        folder: created if necessary.
        config: of the model.
        model: the network.
        replace: whether an existing checkpoint may be replaced.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    save_config(folder, config, replace)
    write_weights(folder / WEIGHTS, model.state_dict(), replace)


def save_config(folder: Path, config: CheckpointConfig, replace: bool = True) -> None:
    """Write the config only, completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / CONFIG, replace) as path:
            path.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be written: {os_error_reason(error)}"
        ) from None


def load(folder: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint folder; of a voice, its vocoder.

    Raises:
        CheckpointError: the folder or a file is missing or damaged, a value in the config is out
            of range, or the weights do not fit the config.
        OutOfMemory, DeviceError: the weights do not fit the device, or it is lost.
    """
    folder = checkpoint_folders.resolve_checkpoint(folder)
    folder = checkpoint_folders.vocoder_folder(folder)
    config = load_config(folder)
    try:
        model = build(config)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from None
    tensors = read_weights(folder / WEIGHTS, model.state_dict())
    model.load_state_dict(tensors)
    model.requires_grad_(False)
    with device_errors():
        return Checkpoint(config, model.eval().to(device), folder)


def load_config(folder: str | Path) -> CheckpointConfig:
    """Read only the config of a checkpoint folder; of a voice, that of its vocoder.

    Raises:
        CheckpointError: as `load`.
    """
    path = checkpoint_folders.resolve_checkpoint(folder)
    path = checkpoint_folders.vocoder_folder(path) / CONFIG
    try:
        found = path.parent.is_dir()
    except OSError as error:
        raise CheckpointError(f"{path.parent} cannot be read: {error.strerror}") from None
    if not found:
        known = checkpoint_folders.describe_known(folder)
        remedy = checkpoint_folders.describe_remedy(path.parent)
        raise CheckpointError(
            f"{path.parent} is not a checkpoint; expected a folder with {CONFIG} and "
            f"{WEIGHTS}{known}{remedy}"
        )
    if checkpoint_folders.is_run(path.parent):
        raise CheckpointError(
            f"{path.parent} is the folder of a run; its checkpoint is {path.parent / 'checkpoint'}"
        )
    text = read_bytes(path, MAX_CONFIG_BYTES)
    if checkpoint_folders.AUTOENCODER_MARK in text:
        raise CheckpointError(
            f"{path.parent} is an autoencoder, expected a model that generates; use it with the "
            "option --autoencoder of `wavenet autoencoder`"
        )
    if checkpoint_folders.EFFECT_MARK in text:
        raise CheckpointError(
            f"{path.parent} is a trained effect, expected a model that generates; use it with "
            "`wavenet effects`"
        )
    if checkpoint_folders.COMPRESSOR_MARK in text:
        raise CheckpointError(
            f"{path.parent} is a compressor, expected a model that generates; use it with "
            "`wavenet compress`"
        )
    try:
        return parse_config(CheckpointConfig, text, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply for a config") from None
