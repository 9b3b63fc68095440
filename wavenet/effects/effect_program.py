"""Translate the model of an effect into the program that the compiled loop runs.

Input: a `NamModel` without recurrent parts. Output: an `EffectProgram`. Called by `effect_engine`.

    model                                 operations
    convolution, 1x1, rechannel, mixin    products; the mixin is part of the product of the
                                          convolution, the residual of that of the 1x1
    activation, sum of the heads          one activation that also adds to the sum
    gate, blend, FiLM                     activations and combinations
    head scale, batch normalisation       none: part of the weights
    condition, containers                 the operations of the parts

What nothing reads is omitted: the 1x1 of the last layer.
"""

import numpy as np

from wavenet.effects import effect_loop as loop
from wavenet.effects.effect_shapes import (
    FILM_SLOTS,
    ConvNetShape,
    EffectLayerShape,
    FeedForwardShape,
    FilmShape,
    ImpulseResponseShape,
    LayerArrayShape,
    RecurrentShape,
    SeriesShape,
    SizeChoiceShape,
)
from wavenet.effects.effect_tables import EffectProgram, ProductSource, ProgramBuilder, Rows
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import Weights


def has_program(model: NamModel) -> bool:
    """Return whether `translate_model` can translate a model: whether no part is recurrent."""
    is_recurrent = isinstance(model.shape, RecurrentShape)
    return not is_recurrent and all(has_program(part) for part in model.parts)


def translate_model(model: NamModel, size: float | None = None) -> EffectProgram:
    """Return the tables of a model.

    Args:
        model: for which `has_program` is true.
        size: of a container of sizes, from 0 to 1; None for the largest.
    """
    builder = ProgramBuilder()
    x = builder.stage(model.in_channels)
    y = _add_model(builder, model, x, size, is_outermost=True)
    out = builder.stage(model.out_channels)
    builder.combine(loop.COPY, out, y)
    return builder.finish()


def _add_model(
    builder: ProgramBuilder, model: NamModel, x: Rows, size: float | None, is_outermost: bool
) -> Rows:
    """Add the operations of a model; return the rows of its output.

    The pasts that a file gives apply only to the outermost model, as in the torch definition.
    """
    match model.shape:
        case FeedForwardShape() as shape:
            condition = x
            if model.parts:
                condition = _add_model(builder, model.parts[0], x, size, False)
            translator = _WaveNetTranslator(builder, shape, model.tensors(), is_outermost)
            return translator.add_wavenet(x, condition)
        case ConvNetShape() as shape:
            return _add_conv_net(builder, shape, model.tensors(), x)
        case ImpulseResponseShape():
            return _add_linear_filter(builder, model.tensors(), x)
        case SizeChoiceShape() as shape:
            part = model.parts[shape.select(size)]
            return _add_model(builder, part, x, size, is_outermost)
        case SeriesShape():
            for part in model.parts:
                x = _add_model(builder, part, x, size, False)
            return x
        case _:
            raise ValueError(f"the architecture {model.architecture} has no program")


class _WaveNetTranslator:
    """Adds the operations of a feed-forward WaveNet; names as in `feedforward_wavenet`."""

    def __init__(
        self,
        builder: ProgramBuilder,
        shape: FeedForwardShape,
        tensors: dict[str, Weights],
        has_fills: bool,
    ):
        self.builder, self.shape, self.tensors = builder, shape, tensors
        self.past_inputs = shape.past_inputs if has_fills else None

    def add_wavenet(self, x: Rows, condition: Rows) -> Rows:
        """Add all arrays and the post-stack head; return the output rows."""
        arrays = self.shape.arrays
        sums = [self._make_head_sum(array) for array in arrays]
        outs = [*sums[1:], self.builder.work(arrays[-1].head_size)]
        y = x
        for index, array in enumerate(arrays):
            name = f"arrays.{index}"
            y = self._add_layers(name, array, y, sums[index], condition)
            self._add_head(name, array, sums[index], outs[index], index == len(arrays) - 1)
        return outs[-1] if self.shape.post_head is None else self._add_post_head(outs[-1])

    def _add_layers(
        self, name: str, array: LayerArrayShape, y: Rows, head_sum: Rows, condition: Rows
    ) -> Rows:
        """Add the layers of an array; return y after them."""
        builder, is_first = self.builder, name == "arrays.0"
        is_last = name == f"arrays.{len(self.shape.arrays) - 1}"
        inputs = [self._make_input(array, layer) for layer in array.layers]
        builder.convolve(inputs[0][0], y, self.tensors[f"{name}.rechannel.weight"])
        z, a = builder.work(2 * array.bottleneck), builder.work(array.bottleneck)
        last = len(array.layers) - 1
        after = None if is_last else builder.work(array.channels)
        for number, layer in enumerate(array.layers):
            following = after if number == last else inputs[number + 1][0]
            part = _LayerTranslator(self, f"{name}.layers.{number}", array, layer, condition)
            is_started = number > 0 or not is_first
            part.add_layer(inputs[number], (z, a), following, head_sum, is_started)
        return after or y

    def _add_head(
        self, name: str, array: LayerArrayShape, head_sum: Rows, out: Rows, is_last: bool
    ) -> None:
        """Add the head convolution; the head scale is part of the last one."""
        self.builder.mirror(head_sum)
        weight, bias = self.tensors[f"{name}.head.weight"], self.tensors.get(f"{name}.head.bias")
        if is_last:
            scale = self.tensors["head_scale"]
            with np.errstate(over="ignore", invalid="ignore"):  # reported when it is rendered
                weight, bias = weight * scale, None if bias is None else bias * scale
        dilation = array.head_dilation
        self.builder.convolve(out, head_sum, weight, bias, dilation)

    def _make_head_sum(self, array: LayerArrayShape) -> Rows:
        past = (array.head_kernel_size - 1) * array.head_dilation
        return self.builder.history(array.accumulator_size, past)

    def _make_input(self, array: LayerArrayShape, layer: EffectLayerShape) -> tuple[Rows, Rows]:
        """Return the rows of y of a layer, and those that its convolution reads."""
        history = self.builder.history(array.channels, (layer.kernel_size - 1) * layer.dilation)
        if self.past_inputs is not None:
            self.builder.fills.append((history, self.past_inputs))
        has_film = array.films[FILM_SLOTS.index("conv_pre_film")] is not None
        return (self.builder.work(array.channels) if has_film else history), history

    def _add_post_head(self, x: Rows) -> Rows:
        post = self.shape.post_head
        assert post is not None
        for index, kernel_size in enumerate(post.kernel_sizes):
            history = self.builder.history(x.channels, kernel_size - 1)
            self.builder.activate(post.activation, history, x)
            self.builder.mirror(history)
            weight = self.tensors[f"post_head.{index}.weight"]
            x = self.builder.work(weight.shape[0])
            self.builder.convolve(x, history, weight, self.tensors[f"post_head.{index}.bias"])
        return x


class _LayerTranslator:
    """Adds the operations of one layer."""

    def __init__(
        self,
        wavenet: _WaveNetTranslator,
        name: str,
        array: LayerArrayShape,
        layer: EffectLayerShape,
        condition: Rows,
    ):
        self.builder, self.tensors = wavenet.builder, wavenet.tensors
        self.name, self.array, self.layer, self.condition = name, array, layer, condition
        self.films = dict(zip(FILM_SLOTS, array.films, strict=True))

    def add_layer(
        self,
        inputs: tuple[Rows, Rows],
        work: tuple[Rows, Rows],
        following: Rows | None,
        head_sum: Rows,
        is_started: bool,
    ) -> None:
        """Add a layer.

        Args:
            inputs: y, and the rows that the convolution reads.
            work: rows for z and for a.
            following: y of the next layer; None if nothing reads it.
            head_sum: the sum of the head outputs.
            is_started: whether `head_sum` has a value.
        """
        builder, array = self.builder, self.array
        y, history = inputs
        if y != history:
            self._film("conv_pre_film", y, history)
        builder.mirror(history)
        z = Rows(work[0].buffer, 0, array.gate_width(self.layer))
        self._add_convolution(history, z)
        self._film("activation_pre_film", z)
        if not is_started and self._has_plain_sum():
            a = head_sum  # the sum of one layer
            builder.activate(self.layer.activation, a, z)
            sums_here = True
        else:
            sums_here = self._has_plain_sum()
            a = self._add_gate(z, work[1], head_sum if sums_here else None)
        self._film("activation_post_film", a)
        if following is not None:
            self._add_residual(y, a, following)
        if not sums_here:
            self._add_head(a, head_sum, is_started)

    def _add_convolution(self, history: Rows, z: Rows) -> None:
        """Add z = conv + mixin: one product, if nothing is between them."""
        builder, array = self.builder, self.array
        weight, bias = (self.tensors[f"{self.name}.conv.{part}"] for part in ("weight", "bias"))
        mixin = self.tensors[f"{self.name}.mixin.weight"]
        groups, mixin_groups = array.groups_input, array.groups_input_mixin
        slots = ("conv_post_film", "input_mixin_pre_film", "input_mixin_post_film")
        dilation = self.layer.dilation
        if groups == mixin_groups == 1 and not any(self.films[slot] for slot in slots):
            more = [ProductSource(self.condition, 0, mixin[:, :, 0])]
            builder.convolve(z, history, weight, bias, dilation, more=more)
            return
        builder.convolve(z, history, weight, bias, dilation, groups)
        self._film("conv_post_film", z)
        condition = self.condition
        if self.films["input_mixin_pre_film"]:
            condition = builder.work(condition.channels)
            self._film("input_mixin_pre_film", self.condition, condition)
        if not self.films["input_mixin_post_film"]:
            builder.convolve(z, condition, mixin, groups=mixin_groups, residual=z)
            return
        mixed = builder.work(z.channels)
        builder.convolve(mixed, condition, mixin, groups=mixin_groups)
        self._film("input_mixin_post_film", mixed)
        builder.combine(loop.ADD, z, z, mixed)

    def _has_plain_sum(self) -> bool:
        """Return whether the activation itself is added to the sum of the heads."""
        is_changed = self.layer.gating != "none" or self.films["activation_post_film"] is not None
        return not is_changed and self.array.head1x1_size is None

    def _add_gate(self, z: Rows, work: Rows, head_sum: Rows | None) -> Rows:
        """Add the activation and the gate; return the rows of the result."""
        builder, layer = self.builder, self.layer
        if layer.gating == "none":
            builder.activate(layer.activation, z, z, head_sum)
            return z
        z1, z2 = z.part(0, 2), z.part(1, 2)
        builder.activate(layer.activation, work, z1)
        builder.activate(layer.secondary, z2, z2)
        if layer.gating == "gated":
            builder.combine(loop.MULTIPLY, work, work, z2)
        else:
            builder.combine(loop.BLEND, work, work, z2, z1)
        return work

    def _add_residual(self, y: Rows, a: Rows, following: Rows) -> None:
        """Add following = y + layer1x1(a), or y."""
        groups = self.array.layer1x1_groups
        if groups is None:
            self.builder.combine(loop.COPY, following, y)
            return
        weight, bias = (self.tensors[f"{self.name}.layer1x1.{part}"] for part in ("weight", "bias"))
        if not self.films["layer1x1_post_film"]:
            self.builder.convolve(following, a, weight, bias, groups=groups, residual=y)
            return
        projected = self.builder.work(following.channels)
        self.builder.convolve(projected, a, weight, bias, groups=groups)
        self._film("layer1x1_post_film", projected)
        self.builder.combine(loop.ADD, following, y, projected)

    def _add_head(self, a: Rows, head_sum: Rows, is_started: bool) -> None:
        """Add head_sum + head1x1(a), or + a, to the sum of the heads."""
        builder = self.builder
        if self.array.head1x1_size is not None:
            weight, bias = (
                self.tensors[f"{self.name}.head1x1.{part}"] for part in ("weight", "bias")
            )
            groups = self.array.head1x1_groups
            if not self.films["head1x1_post_film"]:
                old = head_sum if is_started else None
                builder.convolve(head_sum, a, weight, bias, groups=groups, residual=old)
                return
            projected = builder.work(head_sum.channels)
            builder.convolve(projected, a, weight, bias, groups=groups)
            self._film("head1x1_post_film", projected)
            a = projected
        if is_started:
            builder.combine(loop.ADD, head_sum, head_sum, a)
        else:
            builder.combine(loop.COPY, head_sum, a)

    def _film(self, slot: str, x: Rows, dest: Rows | None = None) -> None:
        """Add the modulation of a slot, if it has one: dest = x * scale + shift."""
        film: FilmShape | None = self.films[slot]
        if film is None:
            return
        name = f"{self.name}.{slot}"
        factors = self.builder.work(2 * x.channels if film.has_shift else x.channels)
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        self.builder.convolve(factors, self.condition, weight, bias, groups=film.groups)
        if film.has_shift:
            scale, shift = factors.part(0, 2), factors.part(1, 2)
            self.builder.combine(loop.MODULATE, dest or x, x, scale, shift)
        else:
            self.builder.combine(loop.MULTIPLY, dest or x, x, factors)


def _add_conv_net(
    builder: ProgramBuilder, shape: ConvNetShape, tensors: dict[str, Weights], x: Rows
) -> Rows:
    """Add the blocks and the linear head; the normalisation is part of the weights."""
    for index, dilation in enumerate(shape.dilations):
        history = builder.history(x.channels, dilation)
        builder.combine(loop.COPY, history, x)
        builder.mirror(history)
        weight, bias = _normalised_block(shape, tensors, f"blocks.{index}")
        x = builder.work(shape.channels)
        builder.convolve(x, history, weight, bias, dilation, shape.groups)
        builder.activate(shape.activation, x, x)
    out = builder.work(shape.out_channels)
    builder.convolve(out, x, tensors["head.weight"][:, :, None], tensors["head.bias"])
    return out


def _normalised_block(
    shape: ConvNetShape, tensors: dict[str, Weights], name: str
) -> tuple[Weights, Weights]:
    """Return weight and bias of a block after its normalisation."""
    weight = tensors[f"{name}.conv.weight"]
    if not shape.has_batch_norm:
        return weight, tensors[f"{name}.conv.bias"]
    mean, variance, factor, bias, epsilon = (
        tensors[f"{name}.norm.{part}"].astype(np.float64)
        for part in ("mean", "variance", "weight", "bias", "epsilon")
    )
    scale = factor / np.sqrt(variance + epsilon)
    normalised = weight * scale[:, None, None]
    return normalised.astype(np.float32), (bias - mean * scale).astype(np.float32)


def _add_linear_filter(builder: ProgramBuilder, tensors: dict[str, Weights], x: Rows) -> Rows:
    """Add a product whose rows are one channel, each one sample later than the row before."""
    response = tensors["impulse_response"]
    past = len(response) - 1
    history = builder.history(1, past, is_one_window=True)
    builder.combine(loop.COPY, history, x)
    builder.mirror(history)
    out = builder.work(1)
    source = ProductSource(history, past, response[None, ::-1], stride=1)
    builder.product(out, [source], tensors.get("bias"), None)
    return out
