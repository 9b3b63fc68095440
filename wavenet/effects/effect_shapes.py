"""Sizes and settings of every kind of effect: plain frozen data, without torch and without weights.

Made by `nam_config` from the config of a file, or by hand for a new model. Read by `nam_weights`
(order of the weights), by the torch modules and by engines. Activations have the layout
batch x channels x time in formulas. Source: NeuralAmpModelerCore, format of `.nam` files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

GatingMode = Literal["none", "gated", "blended"]
GATING_MODES: tuple[GatingMode, ...] = ("none", "gated", "blended")

# The eight places of a layer where the condition can scale and shift activations, in the order of
# their weights. "pre" acts on the input of an operation, "post" on its output.
FILM_SLOTS = (
    "conv_pre_film",
    "conv_post_film",
    "input_mixin_pre_film",
    "input_mixin_post_film",
    "activation_pre_film",
    "activation_post_film",
    "layer1x1_post_film",
    "head1x1_post_film",
)
LSTM_WARM_UP_SECONDS = 0.5
DEFAULT_RATE = 48_000.0  # of a file that does not say its sample rate, Hz
CONV_NET_KERNEL = 2  # of every block of a ConvNet


@dataclass(frozen=True)
class EffectActivation:
    """An activation function and its parameters.

    Attributes:
        kind: name of the function, see `activations`.
        slopes: factors of negative values of LeakyReLU and PReLU; of PReLU also one per channel.
        low, high: range of LeakyHardtanh without a change.
        low_slope, high_slope: its slopes below and above the range.
    """

    kind: str = "Tanh"
    slopes: tuple[float, ...] = (0.01,)
    low: float = -1.0
    high: float = 1.0
    low_slope: float = 0.01
    high_slope: float = 0.01


TANH = EffectActivation("Tanh")
SIGMOID = EffectActivation("Sigmoid")


@dataclass(frozen=True)
class FilmShape:
    """A modulation x * scale + shift, where scale and shift are a 1x1 convolution of the condition.

    Attributes:
        has_shift: whether there is a shift.
        groups: groups of the convolution.
    """

    has_shift: bool = True
    groups: int = 1


@dataclass(frozen=True)
class EffectLayerShape:
    """One layer of an array.

    Attributes:
        kernel_size, dilation: of its causal convolution.
        activation: of the first half, or of all channels without gating.
        gating: how the second half acts on the first.
        secondary: activation of the second half; unused without gating.
    """

    kernel_size: int
    dilation: int
    activation: EffectActivation = TANH
    gating: GatingMode = "none"
    secondary: EffectActivation = SIGMOID


@dataclass(frozen=True)
class LayerArrayShape:
    """Layers of equal width, and the convolution that ends them.

    Attributes:
        input_size: channels of the input.
        condition_size: channels of the condition.
        channels: width C of the residual path.
        bottleneck: width B of the activations.
        layers: in their order.
        head_size, head_kernel_size, head_dilation, head_bias: of the head convolution.
        groups_input, groups_input_mixin: groups of the dilated convolution and of the mixin.
        layer1x1_groups: groups of the 1x1 convolution B to C of the residual path; None without it.
        head1x1_size: outputs of the 1x1 convolution of the head path; None without it.
        head1x1_groups: its groups.
        films: one entry per slot of `FILM_SLOTS`; None where there is none.
        allowed_channels: widths to which the array can be reduced, ascending; () for none.
    """

    input_size: int
    condition_size: int
    channels: int
    bottleneck: int
    layers: tuple[EffectLayerShape, ...]
    head_size: int
    head_kernel_size: int = 1
    head_dilation: int = 1
    head_bias: bool = False
    groups_input: int = 1
    groups_input_mixin: int = 1
    layer1x1_groups: int | None = 1
    head1x1_size: int | None = None
    head1x1_groups: int = 1
    films: tuple[FilmShape | None, ...] = (None,) * len(FILM_SLOTS)
    allowed_channels: tuple[int, ...] = ()

    @property
    def accumulator_size(self) -> int:
        """Channels of the sum of all layers, which the head convolution reads."""
        return self.bottleneck if self.head1x1_size is None else self.head1x1_size

    def gate_width(self, layer: EffectLayerShape) -> int:
        """Return the outputs Z of the convolution of a layer."""
        return self.bottleneck if layer.gating == "none" else 2 * self.bottleneck

    def film_widths(self, layer: EffectLayerShape) -> tuple[int, ...]:
        """Return how many channels each slot of `FILM_SLOTS` modulates."""
        gate = self.gate_width(layer)
        return (
            *(self.channels, gate, self.condition_size, gate, gate),
            *(self.bottleneck, self.channels, self.head1x1_size or 0),
        )

    @property
    def receptive_field(self) -> int:
        """Samples of the past and the present that an output depends on."""
        layers = sum((layer.kernel_size - 1) * layer.dilation for layer in self.layers)
        return 1 + layers + (self.head_kernel_size - 1) * self.head_dilation


@dataclass(frozen=True)
class PostHeadShape:
    """Convolutions after the last array: activation, then convolution, per kernel size.

    Attributes:
        channels: of all but the last.
        out_channels: of the last.
        kernel_sizes: one per convolution.
        activation: before each of them.
    """

    channels: int
    out_channels: int
    kernel_sizes: tuple[int, ...]
    activation: EffectActivation = TANH

    def widths(self, in_channels: int) -> tuple[int, ...]:
        """Return the channels before, between and after the convolutions."""
        return (in_channels, *[self.channels] * (len(self.kernel_sizes) - 1), self.out_channels)


@dataclass(frozen=True)
class FeedForwardShape:
    """A feed-forward WaveNet.

    Attributes:
        arrays: layer arrays in their order.
        in_channels: channels of the waveform.
        post_head: after the last array, or None.
        knob_channels: constant channels that the condition has beside the waveform.
        past_inputs: value of each channel of the inputs of all layers before the first sample, as
            in models that were trained so; None: those that a long silence leaves.
    """

    arrays: tuple[LayerArrayShape, ...]
    in_channels: int = 1
    post_head: PostHeadShape | None = None
    knob_channels: int = 0
    past_inputs: tuple[float, ...] | None = None

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.arrays[-1].head_size if self.post_head is None else self.post_head.out_channels

    @property
    def own_receptive_field(self) -> int:
        """Receptive field without that of a network that computes the condition, samples."""
        post = self.post_head.kernel_sizes if self.post_head else ()
        return 1 + sum(a.receptive_field - 1 for a in self.arrays) + sum(k - 1 for k in post)

    def past_values(self) -> Iterator[int]:
        """Yield the size of the past of every convolution, numbers per row of a batch."""
        for array in self.arrays:
            for layer in array.layers:
                yield (layer.kernel_size - 1) * layer.dilation * array.channels
            yield (array.head_kernel_size - 1) * array.head_dilation * array.accumulator_size
        if self.post_head:
            widths = self.post_head.widths(self.arrays[-1].head_size)
            for kernel_size, width in zip(self.post_head.kernel_sizes, widths, strict=False):
                yield (kernel_size - 1) * width


@dataclass(frozen=True)
class RecurrentShape:
    """An LSTM: layers of `hidden_size`, then a linear layer."""

    hidden_size: int
    num_layers: int = 1
    in_channels: int = 1
    out_channels: int = 1


@dataclass(frozen=True)
class ConvNetShape:
    """Blocks of a causal convolution of two taps, optional batch normalisation, activation.

    Attributes:
        channels: of every block.
        dilations: one per block.
        has_batch_norm: whether every block has a batch normalisation, instead of a bias.
        activation: of every block.
        groups: of the convolutions.
    """

    channels: int
    dilations: tuple[int, ...]
    has_batch_norm: bool
    activation: EffectActivation = TANH
    groups: int = 1
    in_channels: int = 1
    out_channels: int = 1


@dataclass(frozen=True)
class ImpulseResponseShape:
    """A linear filter: `taps` numbers, the newest sample first, and an optional bias.

    Attributes:
        implementation: a hint for other programs, carried unchanged.
    """

    taps: int
    has_bias: bool = False
    implementation: str | None = None
    in_channels: int = field(default=1, init=False)
    out_channels: int = field(default=1, init=False)


@dataclass(frozen=True)
class SizeChoiceShape:
    """A container of one effect in several sizes.

    Attributes:
        max_values: ascending, one per part: size v selects the first part with v < max_value, or
            the last part.
    """

    max_values: tuple[float, ...]

    def select(self, size: float | None) -> int:
        """Return the index of the part for a size from 0 to 1; None for the largest."""
        last = len(self.max_values) - 1
        if size is None:
            return last
        return next((i for i, limit in enumerate(self.max_values) if size < limit), last)


@dataclass(frozen=True)
class SeriesShape:
    """A container of effects that run one after the other."""


EffectShape = (
    FeedForwardShape
    | RecurrentShape
    | ConvNetShape
    | ImpulseResponseShape
    | SizeChoiceShape
    | SeriesShape
)
ARCHITECTURES_BY_SHAPE: dict[type, str] = {
    FeedForwardShape: "WaveNet",
    RecurrentShape: "LSTM",
    ConvNetShape: "ConvNet",
    ImpulseResponseShape: "Linear",
    SizeChoiceShape: "SlimmableContainer",
    SeriesShape: "Sequential",
}
