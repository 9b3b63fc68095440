"""The hyperparameters of an r9y9/wavenet_vocoder model: its `hparams.json`, or a preset.

Input: JSON. Output: checked settings. Such a file has about 80 keys. Only those that affect the
numbers of the network or belong on the card are read; the others are ignored. Called by `r9y9`.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wavenet.codec import Codec, LinearCodec, MuLawCodec
from wavenet.config import make_config, parse_config
from wavenet.errors import ConfigError
from wavenet.model.model_config import CategoricalOutput, GaussianOutput, LogisticOutput, Output

MAX_BYTES = 1 << 20
# The scale of activations grows by sqrt(2) from layer to layer, to 2**100 at 200 layers; float32
# and bfloat16 represent that easily.
MAX_LAYERS = 200


class R9y9Hparams(BaseModel):
    """The keys of `hparams.json` that are read; units and meanings are those of r9y9."""

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
    cin_channels: int = -1  # 0 or less: not conditioned on frames
    gin_channels: int = -1  # 0 or less: not conditioned on speakers
    legacy: bool | None = None  # in version 0.1 only: how skips are summed
    preprocess: str | None = None
    global_gain_scale: float = 1.0
    rescaling: bool = False
    rescaling_max: float = 0.999

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.layers % self.stacks or self.layers // self.stacks > 17:
            raise ValueError(
                f"{self.layers} layers in {self.stacks} stacks; expected 1 to 17 layers per stack"
            )
        if self.input_type == "mulaw":
            raise ValueError(
                "input_type 'mulaw' (companded scalars and a mixture) is not supported; expected "
                "'raw' or 'mulaw-quantize'"
            )
        if self.input_type == "mulaw-quantize":
            if self.out_channels != self.quantize_channels:
                raise ValueError(
                    f"out_channels must equal quantize_channels, {self.quantize_channels}, for "
                    f"input_type 'mulaw-quantize'; found {self.out_channels}"
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
        """Return whether the params are a mean and a log scale, without a mixture weight."""
        normal = self.input_type == "raw" and self.output_distribution == "Normal"
        return normal and self.out_channels == 2

    @property
    def dilations(self) -> tuple[int, ...]:
        """Return the dilations, one per layer."""
        return tuple(2 ** (n % (self.layers // self.stacks)) for n in range(self.layers))

    @property
    def output(self) -> Output:
        """Return the output distribution as a config of this project."""
        if self.input_type == "mulaw-quantize":
            return CategoricalOutput()
        components = 1 if self.is_single_gaussian else self.out_channels // 3
        if self.output_distribution == "Normal":
            return make_config(GaussianOutput, "the output", components=components)
        return make_config(LogisticOutput, "the output", components=components)

    @property
    def codec(self) -> Codec:
        """Return the codec as a config of this project."""
        if self.input_type == "raw":
            # The intervals of the original's mixtures are those of this codec.
            return LinearCodec()
        bits = self.quantize_channels.bit_length() - 1
        return MuLawCodec(bits=bits, rounding="down")


def read_hparams(path: Path) -> R9y9Hparams:
    """Read `hparams.json` or a preset.

    Raises:
        ConfigError: there is no such file, it is too large or not JSON, or a key is missing or out
            of range.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES:,} bytes, the limit of settings")
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; expected hparams.json"
        ) from None
    return parse_config(R9y9Hparams, text, str(path))
