"""The hyperparameters of an r9y9/wavenet_vocoder model: its `hparams.json`, or a preset.

Input: JSON. Output: checked settings. Such a file has about 80 keys. Those that affect the numbers
of the network, or belong on the card, are fields of `R9y9Hparams`. `IGNORED` lists the other known
keys, each group with the reason. Any other key could change the numbers, and is refused.
Called by `r9y9`.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wavenet.codec import Codec, LinearCodec, MuLawCodec
from wavenet.config import make_config, parse_config
from wavenet.errors import ConfigError
from wavenet.model.model_config import CategoricalOutput, GaussianOutput, LogisticOutput, Output

MAX_BYTES = 1 << 20
# The scale of activations grows by sqrt(2) from layer to layer, to 2**100 at 200 layers; float32
# and bfloat16 represent that easily.
MAX_LAYERS = 200


# The shapes and names of the tensors determine these.
SHAPES = """
    residual_channels gate_channels skip_out_channels weight_normalization n_speakers
    use_speaker_embedding upsample_conditional_features upsample_net upsample_scales
    freq_axis_kernel_size cin_pad"""
# The computation of frames from audio: on the card, because users do it with other programs.
FRAMES = """
    num_mels fmin fmax fft_size hop_size frame_shift_ms win_length win_length_ms window
    highpass_cutoff min_level_db ref_level_db allow_clipping_in_normalization"""
# These affect only the training and the choice of its audio.
TRAINING = """
    name dropout silence_threshold pin_memory num_workers test_size test_num_samples random_state
    batch_size optimizer optimizer_params adam_beta1 adam_beta2 adam_eps amsgrad
    initial_learning_rate lr_schedule lr_schedule_kwargs weight_decay max_train_steps nepochs
    clip_thresh max_time_sec max_time_steps exponential_moving_average ema_decay
    checkpoint_interval train_eval_interval test_eval_epoch_interval eval_interval
    save_optimizer_state cdf_loss log_scale_min_gauss presets"""
IGNORED = frozenset(f"{SHAPES} {TRAINING}".split())
FRAME_KEYS = tuple(FRAMES.split())


class R9y9UpsampleParams(BaseModel):
    """The object `upsample_params`. The tensors determine sizes, so these keys are not read."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    # the interpolation before the convolution of each factor
    mode: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "nearest"
    upsample_activation: Literal["none"] = "none"
    upsample_activation_params: Any = None  # of no activation
    upsample_scales: Any = None
    freq_axis_kernel_size: Any = None
    cin_pad: Any = None
    cin_channels: Any = None


class R9y9Hparams(BaseModel):
    """The keys of `hparams.json` that are read; units and meanings are those of r9y9."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    builder: Literal["wavenet"] = "wavenet"
    preset: Literal[""] | None = None  # a name would replace these settings by others

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
    upsample_params: R9y9UpsampleParams | None = None
    preprocess: str | None = None
    postprocess: str | None = None
    global_gain_scale: float = 1.0
    rescaling: bool = False
    rescaling_max: float = 0.999
    frame_settings: dict[str, Any] = Field(default={}, exclude=True)  # those of `FRAME_KEYS`

    @model_validator(mode="before")
    @classmethod
    def _sort_keys(cls, values: Any) -> Any:
        """Collect the keys about frames, and remove those that do not affect the numbers."""
        if not isinstance(values, dict):
            return values
        known = {*cls.model_fields, *IGNORED, *FRAME_KEYS} - {"frame_settings"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"the key {unknown[0]!r:.60} is not known and could change the numbers of the "
                "network; remove it from the file only if it does not"
            )
        kept = {key: value for key, value in values.items() if key in cls.model_fields}
        frames = {key: values[key] for key in FRAME_KEYS if values.get(key) is not None}
        return {**kept, "frame_settings": frames}

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
        elif self.output_distribution == "Logistic" and self.quantize_channels != 65_536:
            raise ValueError(
                "quantize_channels must be 65536 for input_type 'raw' and a mixture of logistics, "
                f"found {self.quantize_channels}"
            )
        elif self.out_channels % 3 and not self.is_single_gaussian:
            raise ValueError(
                f"out_channels of a mixture must be a multiple of 3, found {self.out_channels}"
            )
        return self

    @property
    def interpolation(self) -> str:
        """Return how the upsampling network interpolates, a mode of `F.interpolate`."""
        return "nearest" if self.upsample_params is None else self.upsample_params.mode

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
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not a file; expected hparams.json or a preset")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES:,} bytes, the limit of settings")
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; expected hparams.json"
        ) from None
    return parse_config(R9y9Hparams, text, str(path))
