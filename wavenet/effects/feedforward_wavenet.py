"""A feed-forward WaveNet: dilated convolutions of the waveform, without sampling.

Array 0 reads the waveform x and starts with a head sum H = 0; array i reads the residual output of
array i - 1 and starts H with its head output. With the condition c (the waveform, or the output of
another effect), each array computes

    y = rechannel(y)
    per layer:  z = conv(y) + mixin(c)
                a = act(z)                              without gating
                a = act(z1) sec(z2)                     gated; z1, z2 are the halves of z
                a = s act(z1) + (1 - s) z1, s = sec(z2) blended
                H = H + head1x1(a)     (H + a without head1x1)
                y = y + layer1x1(a)    (y without layer1x1)
    H = head(H)

The output is head_scale * H, then the post-stack head, if any: (activation, convolution) per kernel
size. At eight places a FiLM may modulate by c. Beside a WaveNet that generates codes: one pass over
the whole waveform, no distribution, no division by sqrt(2), a receptive field of some 100 ms.
Source: van den Oord et al. 2016; NeuralAmpModelerCore `wavenet/model.cpp` for what its files mean.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wavenet.effects.activations import apply_activation
from wavenet.effects.effect import Effect, EffectState, inner_state
from wavenet.effects.effect_shapes import (
    FILM_SLOTS,
    EffectLayerShape,
    FeedForwardShape,
    LayerArrayShape,
    PostHeadShape,
)
from wavenet.effects.film import FilmLayer
from wavenet.effects.grouped_convolution import GroupedConvolution
from wavenet.effects.nam_weights import Weights


class EffectLayer(nn.Module):
    """One layer of an array: convolution, gate, both 1x1 convolutions, FiLMs."""

    def __init__(self, array: LayerArrayShape, layer: EffectLayerShape):
        super().__init__()
        self.shape = layer
        gate, bottleneck = array.gate_width(layer), array.bottleneck
        self.conv = GroupedConvolution(
            array.channels, gate, layer.kernel_size, layer.dilation, array.groups_input
        )
        self.mixin = GroupedConvolution(
            array.condition_size, gate, groups=array.groups_input_mixin, bias=False
        )
        self.layer1x1 = (
            None
            if array.layer1x1_groups is None
            else GroupedConvolution(bottleneck, array.channels, groups=array.layer1x1_groups)
        )
        self.head1x1 = (
            None
            if array.head1x1_size is None
            else GroupedConvolution(bottleneck, array.head1x1_size, groups=array.head1x1_groups)
        )
        self.films = nn.ModuleDict(
            {
                slot: FilmLayer(film, array.condition_size, width)
                for slot, film, width in zip(
                    FILM_SLOTS, array.films, array.film_widths(layer), strict=True
                )
                if film is not None
            }
        )

    def forward(self, y: Tensor, condition: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the layer.

        Args:
            y: (B, T, C).
            condition: (B, T, D).
            past: inputs of the convolution before y, after its FiLM.
        Returns:
            y of the next layer, what is added to the head sum, and the past after y.
        """
        conv, past = self.conv.advance(self._film("conv_pre_film", y, condition), past)
        conv = self._film("conv_post_film", conv, condition)
        mixed = self.mixin(self._film("input_mixin_pre_film", condition, condition))
        z = conv + self._film("input_mixin_post_film", mixed, condition)
        a = self._gate(self._film("activation_pre_film", z, condition))
        a = self._film("activation_post_film", a, condition)
        if self.layer1x1 is not None:
            y = y + self._film("layer1x1_post_film", self.layer1x1(a), condition)
        if self.head1x1 is not None:
            a = self._film("head1x1_post_film", self.head1x1(a), condition)
        return y, a, past

    def convolutions(self) -> Iterator[tuple[str, GroupedConvolution]]:
        """Yield all convolutions with their names in `nam_weights`."""
        yield "conv", self.conv
        yield "mixin", self.mixin
        if self.layer1x1 is not None:
            yield "layer1x1", self.layer1x1
        if self.head1x1 is not None:
            yield "head1x1", self.head1x1
        for slot, film in self.films.items():
            assert isinstance(film, FilmLayer)
            yield slot, film.linear

    def _film(self, slot: str, x: Tensor, condition: Tensor) -> Tensor:
        if slot not in self.films:
            return x
        modulated: Tensor = self.films[slot](x, condition)
        return modulated

    def _gate(self, z: Tensor) -> Tensor:
        if self.shape.gating == "none":
            return apply_activation(self.shape.activation, z)
        z1, z2 = z.chunk(2, dim=2)
        s = apply_activation(self.shape.secondary, z2)
        a = apply_activation(self.shape.activation, z1)
        return a * s if self.shape.gating == "gated" else s * a + (1 - s) * z1


class LayerArray(nn.Module):
    """Layers of equal width and their head convolution."""

    def __init__(self, shape: LayerArrayShape):
        super().__init__()
        self.rechannel = GroupedConvolution(shape.input_size, shape.channels, bias=False)
        self.layers = nn.ModuleList(EffectLayer(shape, layer) for layer in shape.layers)
        self.head = GroupedConvolution(
            shape.accumulator_size,
            shape.head_size,
            shape.head_kernel_size,
            shape.head_dilation,
            bias=shape.head_bias,
        )

    def forward(
        self, y: Tensor, head_sum: Tensor | None, condition: Tensor, past: Iterator[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Compute the array.

        Args:
            y: (B, T, input_size).
            head_sum: head output of the array before; None in the first.
            condition: (B, T, D).
            past: of the layers and of the head convolution.
        Returns:
            y after the last layer, the head output, and the past after y.
        """
        after = []
        y = self.rechannel(y)
        for layer in self.layers:
            y, a, kept = layer(y, condition, next(past))
            head_sum = a if head_sum is None else head_sum + a
            after.append(kept)
        assert head_sum is not None
        head, kept = self.head.advance(head_sum, next(past))
        return y, head, [*after, kept]

    def effect_layers(self) -> Iterator[EffectLayer]:
        """Yield the layers."""
        for layer in self.layers:
            assert isinstance(layer, EffectLayer)
            yield layer


class PostStackHead(nn.Module):
    """Convolutions after the last array."""

    def __init__(self, shape: PostHeadShape, in_channels: int):
        super().__init__()
        self.activation = shape.activation
        widths = shape.widths(in_channels)
        self.convs = nn.ModuleList(
            GroupedConvolution(widths[i], widths[i + 1], size)
            for i, size in enumerate(shape.kernel_sizes)
        )

    def forward(self, x: Tensor, past: Iterator[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute the convolutions: (B, T, in) to (B, T, out), and the past after x."""
        after = []
        for conv in self.convolutions():
            x, kept = conv.advance(apply_activation(self.activation, x), next(past))
            after.append(kept)
        return x, after

    def convolutions(self) -> Iterator[GroupedConvolution]:
        """Yield the convolutions."""
        for conv in self.convs:
            assert isinstance(conv, GroupedConvolution)
            yield conv


class FeedForwardWaveNet(Effect):
    """See the formulas of this file.

    Args:
        shape: sizes of all layers.
        condition: an effect that computes the condition from the waveform; None for the waveform.
    """

    def __init__(self, shape: FeedForwardShape, condition: Effect | None = None):
        field: int | None = shape.own_receptive_field
        if condition is not None:
            inner = condition.receptive_field
            field = None if inner is None else shape.own_receptive_field + inner - 1
        warm_up = shape.own_receptive_field + (0 if condition is None else condition.warm_up)
        super().__init__(shape.in_channels, shape.out_channels, field, warm_up)
        self.shape = shape
        self.condition = condition
        self.arrays = nn.ModuleList(LayerArray(array) for array in shape.arrays)
        post = shape.post_head
        self.post_head = None if post is None else PostStackHead(post, shape.arrays[-1].head_size)
        # a constant: its product with the head weights would be trained twice
        self.register_buffer("head_scale", torch.ones(1))

    def zero_state(self, batch: int = 1) -> EffectState:
        """See `Effect.zero_state`; the first entry is the state of the condition."""
        inner = () if self.condition is None else self.condition.zero_state(batch)
        past = [conv.zero_past(batch) for _, conv in self._convolutions_with_past()]
        return (inner, *past)

    def initial_state(self, batch: int = 1) -> EffectState:
        """See `Effect.initial_state`; of some models the layers have a given past."""
        if self.shape.past_inputs is None:
            return super().initial_state(batch)
        state = self.zero_state(batch)
        named = zip(state[1:], self._convolutions_with_past(), strict=True)
        filled = []
        for past, (is_layer, _) in named:
            assert isinstance(past, Tensor)
            value = past.new_tensor(self.shape.past_inputs) if is_layer else past
            filled.append(value.expand_as(past).clone())
        return (state[0], *filled)

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        return self.process_with_knobs(state, block, None)

    def process_with_knobs(
        self, state: EffectState, block: Tensor, knobs: Tensor | None
    ) -> tuple[Tensor, EffectState]:
        """Compute the next samples with constant channels of the condition.

        Args:
            state, block: as in `process`.
            knobs: (B, knob_channels), or None if the shape has none.
        """
        inner, past = inner_state(state, 0), iter(state[1:])
        condition = block
        if self.condition is not None:
            condition, inner = self.condition.process(inner, block)
        y = block.transpose(1, 2)  # (B, T, C)
        c = condition.transpose(1, 2)
        if knobs is not None:
            c = torch.cat([c, knobs[:, None].expand(-1, c.shape[1], -1)], dim=2)
        after: list[Tensor] = []
        head: Tensor | None = None
        for array in self.arrays:
            y, head, kept = array(y, head, c, past)
            after.extend(kept)
        assert head is not None
        out = head * self.get_buffer("head_scale")
        if self.post_head is not None:
            out, kept = self.post_head(out, past)
            after.extend(kept)
        return out.transpose(1, 2), (inner, *after)

    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """See `Effect.load_tensors`."""
        for name, conv in self.named_convolutions():
            conv.load(tensors, name)
        scale: Tensor = self.get_buffer("head_scale")
        scale.copy_(torch.from_numpy(tensors["head_scale"].copy()))

    def tensors(self) -> dict[str, Weights]:
        """See `Effect.tensors`."""
        tensors: dict[str, Weights] = {}
        for name, conv in self.named_convolutions():
            conv.store(tensors, name)
        tensors["head_scale"] = self.get_buffer("head_scale").float().cpu().numpy().copy()
        return tensors

    def named_convolutions(self) -> Iterator[tuple[str, GroupedConvolution]]:
        """Yield all convolutions with their names in `nam_weights`."""
        for index, array in enumerate(self._layer_arrays()):
            yield f"arrays.{index}.rechannel", array.rechannel
            for number, layer in enumerate(array.effect_layers()):
                for name, conv in layer.convolutions():
                    yield f"arrays.{index}.layers.{number}.{name}", conv
            yield f"arrays.{index}.head", array.head
        if self.post_head is not None:
            for index, conv in enumerate(self.post_head.convolutions()):
                yield f"post_head.{index}", conv

    def _layer_arrays(self) -> Iterator[LayerArray]:
        for array in self.arrays:
            assert isinstance(array, LayerArray)
            yield array

    def _convolutions_with_past(self) -> Iterator[tuple[bool, GroupedConvolution]]:
        """Yield the convolutions of the state in its order, and whether each is of a layer."""
        for array in self._layer_arrays():
            for layer in array.effect_layers():
                yield True, layer.conv
            yield False, array.head
        if self.post_head is not None:
            for conv in self.post_head.convolutions():
                yield False, conv
