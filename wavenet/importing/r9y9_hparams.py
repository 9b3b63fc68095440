"""The settings of an r9y9/wavenet_vocoder model: its `hparams.json`, or a preset.

JSON enters, checked settings leave. Such a file has about 80 keys; only those that the numbers of
the network depend on, or that a card should tell, are read, and the others are let be.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wavenet.config import (
    CategoricalOutput,
    CodecConfig,
    GaussianOutput,
    LogisticOutput,
    Output,
)
from wavenet.errors import ConfigError
from wavenet.parsing import make, parse

MAX_BYTES = 1 << 20
# Activations are kept in units that grow by sqrt(2) from layer to layer: 2**100 at 200 layers,
# which float32 and bfloat16 still hold with room to spare.
MAX_LAYERS = 200


class Settings(BaseModel):
    """What is read of the hparams."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    sample_rate: int
    input_type: Literal["raw", "mulaw", "mulaw-quantize"]
    quantize_channels: int = 65_536
    out_channels: int = Field(ge=2, le=65_536)
    output_distribution: Literal["Logistic", "Normal"] = "Logistic"
    log_scale_min: float | None = None
    layers: int = Field(ge=1, le=MAX_LAYERS)
    stacks: int = Field(ge=1)
    kernel_size: int = Field(ge=1, le=64)
    cin_channels: int = -1  # 0 or less: no frames
    gin_channels: int = -1
    legacy: bool | None = None  # of versions 0.1: how skips are summed
    preprocess: str | None = None
    global_gain_scale: float = 1.0
    rescaling: bool = False
    rescaling_max: float = 0.999

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.layers % self.stacks or self.layers // self.stacks > 17:
            raise ValueError(
                f"{self.layers} layers in {self.stacks} stacks; expected stacks of 1 to 17 layers"
            )
        if self.input_type == "mulaw":
            raise ValueError(
                "input_type 'mulaw' feeds companded scalars to a mixture, which no output here "
                "does; expected 'raw' or 'mulaw-quantize'"
            )
        if self.input_type == "mulaw-quantize":
            if self.out_channels != self.quantize_channels:
                raise ValueError(
                    f"out_channels must be quantize_channels, {self.quantize_channels}, for "
                    f"classes; found {self.out_channels}"
                )
            if self.out_channels not in [1 << bits for bits in range(4, 11)]:
                raise ValueError(
                    f"quantize_channels must be 16 to 1024, a power of two, found "
                    f"{self.quantize_channels}"
                )
        elif self.out_channels % 3 and not self.is_single_gaussian:
            raise ValueError(
                f"out_channels of a mixture must be a multiple of 3, found {self.out_channels}"
            )
        return self

    @property
    def is_single_gaussian(self) -> bool:
        """Say whether the params are a mean and a log scale, without a weight."""
        normal = self.input_type == "raw" and self.output_distribution == "Normal"
        return normal and self.out_channels == 2

    @property
    def dilations(self) -> tuple[int, ...]:
        """One per layer."""
        return tuple(2 ** (n % (self.layers // self.stacks)) for n in range(self.layers))

    @property
    def output(self) -> Output:
        """The distribution in our words."""
        if self.input_type == "mulaw-quantize":
            return CategoricalOutput()
        components = 1 if self.is_single_gaussian else self.out_channels // 3
        if self.output_distribution == "Normal":
            return make(GaussianOutput, "the output", components=components)
        return make(LogisticOutput, "the output", components=components)

    @property
    def codec(self) -> CodecConfig:
        """The convention of the codes in our words."""
        if self.input_type == "raw":
            return CodecConfig(law="linear", bits=16, silence_code=1 << 15)
        bits = self.quantize_channels.bit_length() - 1
        return CodecConfig(bits=bits, rounding="down", silence_code=(1 << (bits - 1)) - 1)


def read_settings(path: Path) -> Settings:
    """Read `hparams.json` or a preset.

    Raises:
        ConfigError: no such file, too large, no JSON, a key missing or out of range.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is too large for settings; at most {MAX_BYTES:,} bytes")
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give hparams.json") from None
    return parse(Settings, text, str(path))
