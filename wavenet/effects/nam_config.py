"""Config of every architecture of `.nam` files: read keys of all versions, return a shape.

Keys decide, never the version: files of one version exist in several styles. Unknown keys are
ignored, as the format asks. All sizes are bounded before anything is allocated. Input: the value of
`config`. Output: a shape of `effect_shapes`, and the documents of the models inside. Called by
`nam_file`. `nam_config_writer` writes configs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wavenet.config import describe_error
from wavenet.effects.effect_shapes import (
    FILM_SLOTS,
    SIGMOID,
    ConvNetShape,
    EffectActivation,
    EffectLayerShape,
    EffectShape,
    FeedForwardShape,
    FilmShape,
    GatingMode,
    ImpulseResponseShape,
    LayerArrayShape,
    PostHeadShape,
    RecurrentShape,
    SeriesShape,
    SizeChoiceShape,
)
from wavenet.errors import EffectFileError
from wavenet.user_input.close_names import find_close_name

MAX_LAYERS = 256  # of one array
MAX_ARRAYS = 32
MAX_PARTS = 32
MAX_TAPS = 1 << 20  # of a linear filter; 20 seconds at 48 kHz
MAX_PAST_VALUES = 1 << 24  # that a network stores of the past; 64 MiB
MAX_RECEPTIVE_FIELD = 1 << 21  # samples

ChannelCount = Annotated[int, Field(ge=1, le=1024)]
KernelSize = Annotated[int, Field(ge=1, le=4096)]
Dilation = Annotated[int, Field(ge=1, le=1 << 20)]

ActivationName = Literal[
    "Tanh", "Hardtanh", "Fasttanh", "ReLU", "LeakyReLU", "PReLU", "Sigmoid", "SiLU", "Hardswish",
    "Softsign", "LeakyHardtanh",
]  # fmt: skip
ALIASES = {"LeakyHardTanh": "LeakyHardtanh"}


class NamConfig(BaseModel):
    """Base of the classes of this file: no coercion, no NaN; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class NamActivationConfig(NamConfig):
    """An activation as `{type, ...}`; a text stands for `{type: text}`."""

    type: ActivationName
    negative_slope: float = 0.01
    negative_slopes: list[float] | None = Field(None, min_length=1, max_length=1024)
    min_val: float = -1.0
    max_val: float = 1.0
    min_slope: float = 0.01
    max_slope: float = 0.01

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        values = {"type": value} if isinstance(value, str) else value
        if isinstance(values, dict) and isinstance(values.get("type"), str):
            return values | {"type": ALIASES.get(values["type"], values["type"])}
        return values

    def to_shape(self) -> EffectActivation:
        """Return this activation; parameters that it does not use have their defaults."""
        if self.type == "PReLU" and self.negative_slopes:
            return EffectActivation(self.type, tuple(map(float, self.negative_slopes)))
        if self.type in ("LeakyReLU", "PReLU"):
            return EffectActivation(self.type, (float(self.negative_slope),))
        if self.type == "LeakyHardtanh":
            ends = (self.min_val, self.max_val, self.min_slope, self.max_slope)
            return EffectActivation(self.type, (0.01,), *map(float, ends))
        return EffectActivation(self.type)


class NamFilmConfig(NamConfig):
    """A FiLM slot; the reference reads a missing `active` as true."""

    active: bool = True
    shift: bool = True
    groups: ChannelCount = 1


class NamLayer1x1Config(NamConfig):
    """The 1x1 convolution of the residual path."""

    active: bool = True
    groups: ChannelCount = 1


class NamHead1x1Config(NamConfig):
    """The 1x1 convolution of the head path."""

    active: bool = False
    out_channels: ChannelCount | None = None
    groups: ChannelCount = 1


class NamHeadConfig(NamConfig):
    """The head convolution of an array."""

    out_channels: ChannelCount
    kernel_size: KernelSize = 1
    bias: bool
    head_dilation: Dilation = 1


class NamSlimmableArguments(NamConfig):
    """Widths of a slimmable array."""

    allowed_channels: list[ChannelCount] = Field([], max_length=1024)


class NamSlimmableConfig(NamConfig):
    """How the width of an array can be reduced."""

    method: Literal["slice_channels_uniform"]
    kwargs: NamSlimmableArguments = NamSlimmableArguments()


def _no_film(value: Any) -> Any:
    return None if value is False else value


def _no_activation(value: Any) -> Any:
    return None if value == "" else value


Film = Annotated[NamFilmConfig | None, BeforeValidator(_no_film)]
Secondary = Annotated[NamActivationConfig | None, BeforeValidator(_no_activation)]
Layered = Field(min_length=1, max_length=MAX_LAYERS)


class NamLayerArrayConfig(NamConfig):
    """One layer array, after older keys are rewritten as those of version 0.7."""

    input_size: ChannelCount
    condition_size: ChannelCount
    channels: ChannelCount
    bottleneck: ChannelCount | None = None
    dilations: list[Dilation] = Layered
    kernel_sizes: list[KernelSize] = Layered
    activation: list[NamActivationConfig] = Layered
    gating_mode: list[GatingMode] = Layered
    secondary_activation: list[Secondary] = Layered
    head: NamHeadConfig
    groups_input: ChannelCount = 1
    groups_input_mixin: ChannelCount = 1
    layer1x1: NamLayer1x1Config = NamLayer1x1Config()
    head1x1: NamHead1x1Config = NamHead1x1Config()
    conv_pre_film: Film = None
    conv_post_film: Film = None
    input_mixin_pre_film: Film = None
    input_mixin_post_film: Film = None
    activation_pre_film: Film = None
    activation_post_film: Film = None
    layer1x1_post_film: Film = None
    head1x1_post_film: Film = None
    slimmable: NamSlimmableConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _rewrite(cls, value: Any) -> Any:
        return rewrite_array_keys(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_lengths(self) -> "NamLayerArrayConfig":
        for key in ("kernel_sizes", "activation", "gating_mode", "secondary_activation"):
            count = len(getattr(self, key))
            if count != len(self.dilations):
                raise ValueError(
                    f"{key} has {count} items, but dilations has {len(self.dilations)}; expected "
                    "one item per layer"
                )
        return self


class NamPostHeadConfig(NamConfig):
    """Convolutions after the last array."""

    in_channels: ChannelCount | None = None
    channels: ChannelCount
    out_channels: ChannelCount
    kernel_sizes: list[KernelSize] = Field(min_length=1, max_length=MAX_LAYERS)
    activation: NamActivationConfig


class NamWaveNetConfig(NamConfig):
    """A feed-forward WaveNet."""

    layers: list[NamLayerArrayConfig] = Field(min_length=1, max_length=MAX_ARRAYS)
    head: NamPostHeadConfig | None = None
    head_scale: float
    in_channels: ChannelCount = 1
    condition_dsp: dict[str, Any] | None = None


class NamLSTMConfig(NamConfig):
    """An LSTM."""

    input_size: ChannelCount
    hidden_size: ChannelCount
    num_layers: int = Field(ge=1, le=64)
    in_channels: ChannelCount | None = None
    out_channels: ChannelCount = 1


class NamConvNetConfig(NamConfig):
    """A stack of convolutions of two taps."""

    channels: ChannelCount
    dilations: list[Dilation] = Field(min_length=1, max_length=MAX_LAYERS)
    batchnorm: bool
    activation: NamActivationConfig
    groups: ChannelCount = 1
    in_channels: ChannelCount = 1
    out_channels: ChannelCount = 1


class NamLinearConfig(NamConfig):
    """A linear filter."""

    receptive_field: int = Field(ge=1, le=MAX_TAPS)
    bias: bool
    implementation: str | None = Field(None, max_length=64)
    in_channels: Literal[1] = 1
    out_channels: Literal[1] = 1


class NamSubmodelConfig(NamConfig):
    """One size of a container."""

    max_value: float
    model: dict[str, Any]


class NamContainerConfig(NamConfig):
    """One effect in several sizes."""

    submodels: list[NamSubmodelConfig] = Field(min_length=1, max_length=MAX_PARTS)


class NamSequentialConfig(NamConfig):
    """Effects in series."""

    models: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_PARTS)


CONFIGS: dict[str, type[NamConfig]] = {
    "WaveNet": NamWaveNetConfig,
    "LSTM": NamLSTMConfig,
    "ConvNet": NamConvNetConfig,
    "Linear": NamLinearConfig,
    "SlimmableContainer": NamContainerConfig,
    "Sequential": NamSequentialConfig,
}


@dataclass(frozen=True)
class ParsedConfig:
    """A shape, and the documents of the models inside with the keys that lead to them."""

    shape: EffectShape
    parts: tuple[tuple[str, Mapping[str, Any]], ...] = ()


def parse_nam_config(architecture: object, config: object, source: str) -> ParsedConfig:
    """Read the config of a file.

    Args:
        architecture: the value of this key.
        config: the value of this key.
        source: named in the errors.
    Raises:
        EffectFileError: one sentence: the key, what was expected, what was found.
    """
    if not isinstance(architecture, str) or architecture not in CONFIGS:
        close = find_close_name(str(architecture)[:60], list(CONFIGS))
        question = f"; did you mean {close}?" if close else ""
        raise EffectFileError(
            f"{source}: architecture: expected one of {', '.join(CONFIGS)}, found "
            f"{repr(architecture)[:60]}{question}"
        )
    kind = CONFIGS[architecture]
    try:
        parsed = kind.model_validate(config)
    except ValidationError as error:
        raise EffectFileError(f"{source}: config: {_describe(error, kind)}") from None
    except RecursionError:
        raise EffectFileError(f"{source}: config: it is nested too deeply") from None
    try:
        result = _to_parsed(parsed)
        check_shape(result.shape)
    except ValueError as error:
        raise EffectFileError(f"{source}: config: {error}") from None
    return result


def _describe(error: ValidationError, kind: type[BaseModel]) -> str:
    try:
        return describe_error(error, kind)
    except RecursionError:  # while a value of the message is printed
        return "it is nested too deeply"


def rewrite_array_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an array as version 0.7 writes them, one item per layer.

    Args:
        values: of a file of any version; values of wrong types are kept, and refused later.
    """
    new = dict(values)
    dilations = values.get("dilations")
    layers = len(dilations) if isinstance(dilations, list) else 0
    layers = min(layers, MAX_LAYERS + 1)  # more are refused later
    if "kernel_sizes" not in values and "kernel_size" in values:
        new["kernel_sizes"] = [values["kernel_size"]] * layers
    elif "kernel_size" in values:
        raise ValueError("expected one of kernel_size and kernel_sizes, found both")
    if values.get("head") is None and "head_size" in values:
        new["head"] = {"out_channels": values["head_size"], "kernel_size": 1}
        if "head_bias" in values:
            new["head"]["bias"] = values["head_bias"]
    if "gating_mode" not in values:
        gated = values.get("gated", False)
        if not isinstance(gated, bool):
            raise ValueError("gated: expected true or false")
        new["gating_mode"] = "gated" if gated else "none"
        new["secondary_activation"] = None
    new.setdefault("secondary_activation", None)
    for key in ("activation", "gating_mode", "secondary_activation"):
        if key in new and not isinstance(new[key], list):
            new[key] = [new[key]] * layers
    return {key: value for key, value in new.items() if value is not None}


def _to_parsed(config: NamConfig) -> ParsedConfig:
    match config:
        case NamWaveNetConfig():
            condition = config.condition_dsp
            return ParsedConfig(
                _wavenet_shape(config),
                () if condition is None else (("condition_dsp", condition),),
            )
        case NamLSTMConfig():
            inputs = config.in_channels or config.input_size
            if inputs != config.input_size:
                raise ValueError("input_size and in_channels differ; expected equal numbers")
            return ParsedConfig(
                RecurrentShape(config.hidden_size, config.num_layers, inputs, config.out_channels)
            )
        case NamConvNetConfig():
            return ParsedConfig(
                ConvNetShape(
                    *(config.channels, tuple(config.dilations), config.batchnorm),
                    *(config.activation.to_shape(), config.groups),
                    *(config.in_channels, config.out_channels),
                )
            )
        case NamLinearConfig():
            return ParsedConfig(
                ImpulseResponseShape(config.receptive_field, config.bias, config.implementation)
            )
        case NamContainerConfig():
            limits = tuple(float(part.max_value) for part in config.submodels)
            models = (part.model for part in config.submodels)
            return ParsedConfig(
                SizeChoiceShape(limits),
                tuple((f"submodels.{i}.model", model) for i, model in enumerate(models)),
            )
        case NamSequentialConfig():
            names = (f"models.{i}" for i in range(len(config.models)))
            return ParsedConfig(SeriesShape(), tuple(zip(names, config.models, strict=True)))
    raise TypeError(type(config).__name__)


def _wavenet_shape(config: NamWaveNetConfig) -> FeedForwardShape:
    post = config.head
    last = config.layers[-1].head.out_channels
    if post is not None and post.in_channels not in (None, last):
        raise ValueError(
            f"head.in_channels is {post.in_channels}, but the last array has {last} outputs"
        )
    return FeedForwardShape(
        arrays=tuple(_array_shape(array) for array in config.layers),
        in_channels=config.in_channels,
        post_head=None
        if post is None
        else PostHeadShape(
            *(post.channels, post.out_channels, tuple(post.kernel_sizes)),
            post.activation.to_shape(),
        ),
    )


def _array_shape(array: NamLayerArrayConfig) -> LayerArrayShape:
    rows = zip(
        *(array.kernel_sizes, array.dilations, array.activation, array.gating_mode),
        array.secondary_activation,
        strict=True,
    )
    layers = tuple(
        EffectLayerShape(
            *(kernel_size, dilation, activation.to_shape(), gating),
            SIGMOID if second is None or gating == "none" else second.to_shape(),
        )
        for kernel_size, dilation, activation, gating, second in rows
    )
    films = (getattr(array, slot) for slot in FILM_SLOTS)
    head1x1 = array.head1x1
    return LayerArrayShape(
        input_size=array.input_size,
        condition_size=array.condition_size,
        channels=array.channels,
        bottleneck=array.bottleneck or array.channels,
        layers=layers,
        head_size=array.head.out_channels,
        head_kernel_size=array.head.kernel_size,
        head_dilation=array.head.head_dilation,
        head_bias=array.head.bias,
        groups_input=array.groups_input,
        groups_input_mixin=array.groups_input_mixin,
        layer1x1_groups=array.layer1x1.groups if array.layer1x1.active else None,
        head1x1_size=(head1x1.out_channels or array.channels) if head1x1.active else None,
        head1x1_groups=head1x1.groups if head1x1.active else 1,
        films=tuple(FilmShape(f.shift, f.groups) if f and f.active else None for f in films),
        allowed_channels=tuple(array.slimmable.kwargs.allowed_channels if array.slimmable else ()),
    )


def check_shape(shape: EffectShape) -> None:
    """Check that the sizes of a shape fit each other, and bound its memory.

    Raises:
        ValueError: one sentence.
    """
    match shape:
        case FeedForwardShape():
            _check_wavenet(shape)
            _check_past(shape.own_receptive_field, sum(shape.past_values()))
        case ConvNetShape():
            sizes = ((shape.in_channels, shape.channels), (shape.channels, shape.channels))
            for inputs, outputs in sizes[: len(shape.dilations)]:
                _check_groups("groups", shape.groups, inputs, outputs)
            _check_slopes("activation", shape.activation, shape.channels)
            past = sum(shape.dilations)
            _check_past(1 + past, past * max(shape.channels, shape.in_channels))
        case SizeChoiceShape():
            limits = shape.max_values
            if any(b <= a for a, b in itertools.pairwise(limits)) or limits[-1] < 1:
                raise ValueError(
                    "submodels: expected ascending max_value, the last at least 1, found "
                    f"{', '.join(f'{limit:g}' for limit in limits)}"
                )
        case _:
            pass


def _check_past(receptive_field: int, values: int) -> None:
    if receptive_field > MAX_RECEPTIVE_FIELD or values > MAX_PAST_VALUES:
        raise ValueError(
            f"the receptive field is {receptive_field:,} samples, and {values:,} numbers of the "
            f"past are stored; expected at most {MAX_RECEPTIVE_FIELD:,} and {MAX_PAST_VALUES:,}"
        )


def _check_wavenet(shape: FeedForwardShape) -> None:
    before: LayerArrayShape | None = None
    for index, array in enumerate(shape.arrays):
        inputs = shape.in_channels if before is None else before.channels
        place = f"layers.{index}"
        if array.input_size != inputs:
            raise ValueError(f"{place}.input_size is {array.input_size}, expected {inputs}")
        if array.condition_size != shape.arrays[0].condition_size:
            raise ValueError(
                f"{place}.condition_size is {array.condition_size}, but that of the first array "
                f"is {shape.arrays[0].condition_size}"
            )
        if before is not None and not array.channels == before.head_size:
            raise ValueError(
                f"{place}.channels is {array.channels}, but the array before has a head of "
                f"{before.head_size} outputs; expected equal numbers"
            )
        if before is not None and array.accumulator_size != before.head_size:
            raise ValueError(
                f"{place}: its layers add {array.accumulator_size} channels to the head, but the "
                f"array before has a head of {before.head_size} outputs; expected equal numbers"
            )
        _check_array(place, array)
        before = array
    if shape.post_head:
        widths = shape.post_head.widths(shape.arrays[-1].head_size)
        for width in set(widths[:-1]):
            _check_slopes("head.activation", shape.post_head.activation, width)


def _check_array(place: str, array: LayerArrayShape) -> None:
    for layer in array.layers:
        gate = array.gate_width(layer)
        _check_groups(f"{place}.groups_input", array.groups_input, array.channels, gate)
        _check_groups(
            f"{place}.groups_input_mixin", array.groups_input_mixin, array.condition_size, gate
        )
        _check_slopes(f"{place}.activation", layer.activation, array.bottleneck)
        _check_slopes(f"{place}.secondary_activation", layer.secondary, array.bottleneck)
        for slot, film, width in zip(
            FILM_SLOTS, array.films, array.film_widths(layer), strict=True
        ):
            if film:
                outputs = 2 * width if film.has_shift else width
                _check_groups(f"{place}.{slot}", film.groups, array.condition_size, outputs)
    if array.layer1x1_groups is not None:
        sizes = (array.bottleneck, array.channels)
        _check_groups(f"{place}.layer1x1", array.layer1x1_groups, *sizes)
    if array.head1x1_size is not None:
        sizes = (array.bottleneck, array.head1x1_size)
        _check_groups(f"{place}.head1x1", array.head1x1_groups, *sizes)
    without = {"layer1x1_post_film": array.layer1x1_groups, "head1x1_post_film": array.head1x1_size}
    for slot, found in without.items():
        if array.films[FILM_SLOTS.index(slot)] and found is None:
            name = slot.removesuffix("_post_film")
            raise ValueError(f"{place}.{slot} is active, but {name} is not; switch one of them")
    allowed: Sequence[int] = array.allowed_channels
    if allowed and (list(allowed) != sorted(set(allowed)) or allowed[-1] != array.channels):
        raise ValueError(
            f"{place}.slimmable: expected ascending allowed_channels that end with "
            f"{array.channels}, the channels of the array"
        )


def _check_groups(name: str, groups: int, inputs: int, outputs: int) -> None:
    if inputs % groups or outputs % groups:
        raise ValueError(
            f"{name}: {groups} groups do not divide {inputs} inputs and {outputs} outputs"
        )


def _check_slopes(name: str, activation: EffectActivation, channels: int) -> None:
    count = len(activation.slopes)
    if count not in (1, channels):
        raise ValueError(
            f"{name}: expected 1 or {channels} negative_slopes, one per channel, found {count}"
        )
