"""Models of r9y9/wavenet_vocoder, of its last version and of 0.1.

A file and its `hparams.json` enter, a model in our layout leaves. Their network scales what ours
does not; both compute the same numbers when the scales go into the weights, with s = sqrt(1/2):

    theirs  x[n+1] = (out(h) + x[n]) s       h = gate(conv(x[n]) + conditions)
    ours    y[n+1] = out(h) / s**n + y[n]    h = gate(conv(y[n] s**n) + conditions)

where y[n] = x[n] / s**n.

Skips are summed times sqrt(1 / layers), or in versions 0.1 one by one, (sum + h) s, or plainly:
three sets of factors for the columns of one matrix. Conditions are in `r9y9_conditions`.

As their generation does, a sample is drawn with the conditions of its own time and the sample
before it.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wavenet.config import ModelConfig
from wavenet.importing import pickle_reader
from wavenet.importing.imported_model import Imported, build, make_config, side_by_side
from wavenet.importing.r9y9_conditions import Conditions, find_conditions, find_upsampler
from wavenet.importing.r9y9_hparams import Settings, read_settings
from wavenet.importing.weight_reader import Weights
from wavenet.model.mixtures import LOG_SCALE_FLOOR
from wavenet.parsing import make

HALF = math.sqrt(0.5)

# Beside the weights lies the optimiser's state, where a learning rate can be a number of numpy.
CLASSES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")


@dataclass(frozen=True)
class Sizes:
    """Widths that the tensors tell; `gate` is each half."""

    residual: int
    gate: int
    skip: int


def read(path: Path, hparams: Path, name: str, trusted: bool) -> Imported:
    """Import a model.

    Args:
        path: checkpoint_*.pth; of one run, the one with `_ema` in its name is the better one.
        hparams: the JSON beside it.
        name: of the checkpoint that it becomes.
        trusted: see `pickles.read`.
    Raises:
        ConfigError: not trusted, or a setting or size out of range.
        CheckpointError: the file is damaged or not of this layout.
    """
    found, source = pickle_reader.read(path, trusted, CLASSES), str(path)
    settings = read_settings(hparams)
    if isinstance(found, dict) and "state_dict" in found:
        found = found["state_dict"]
    weights = Weights(found, source)
    sizes = Sizes(
        residual=weights.shape("first_conv.weight", 3)[0],
        gate=weights.shape("conv_layers.0.conv.weight", 3)[0] // 2,
        skip=weights.shape("conv_layers.0.conv1x1_skip.weight", 3)[0],
    )
    skips, rule = skip_factors(weights, settings)
    conditions = find_conditions(weights, settings)
    model = make(
        ModelConfig,
        source,
        residual_channels=sizes.residual,
        gate_channels=sizes.gate,
        skip_channels=sizes.skip,
        kernel_size=settings.kernel_size,
        dilations=settings.dilations,
        output=settings.output,
        **conditions.settings,
    )
    config = make_config(source, name, settings.sample_rate, settings.codec, model)
    upsample = find_upsampler(weights, conditions)
    tensors = _network(weights, settings, sizes, skips) | _ends(weights, settings, sizes)
    tensors |= conditions.convert(weights, tensors, sizes.gate)
    weights.finish()
    facts = _facts(settings, rule, conditions)
    return Imported(config, build(config, tensors, source), "r9y9", facts, upsample)


def skip_factors(weights: Weights, settings: Settings) -> tuple[list[float], str]:
    """Find by what each layer's skip output is multiplied before all are summed.

    Versions 0.1 had biases in the 1x1 convolutions of conditions, or `upsample_conv`; a file
    without conditions shows neither, and then a setting `legacy`, which they alone had, tells.

    Returns:
        one factor per layer, and the rule in words.
    """
    layers = settings.layers
    shown = any(
        name.startswith("upsample_conv.") or name.endswith(("conv1x1c.bias", "conv1x1g.bias"))
        for name in weights.names
    )
    bare = not any(".conv1x1c." in name or ".conv1x1g." in name for name in weights.names)
    if not shown and not (bare and settings.legacy is not None):
        return [math.sqrt(1 / layers)] * layers, "summed times sqrt(1 / layers)"
    if settings.legacy is False:
        return [1.0] * layers, "summed plainly (version 0.1, legacy false)"
    # the first one enters the chain as it is, before any factor
    factors = [HALF ** (layers - max(n, 1)) for n in range(layers)]
    return factors, "summed one by one, (sum + skip) sqrt(1/2) (version 0.1)"


def _network(
    weights: Weights, settings: Settings, sizes: Sizes, skips: list[float]
) -> dict[str, Tensor]:
    """Convert the first convolution, the residual blocks and the skip path."""
    residual, gate, kernel = sizes.residual, sizes.gate, settings.kernel_size
    is_scalar = settings.input_type == "raw"
    first = weights.take_weight(
        "first_conv", residual, 1 if is_scalar else settings.out_channels, 1
    )
    first, bias = first[:, :, 0], weights.take_bias("first_conv", residual)
    if is_scalar:
        tensors = {"embedding.weight": first, "embedding.bias": bias}
    else:
        tensors = {"embedding.weight": first.T + bias}
    columns, skip_bias = [], torch.zeros(sizes.skip).double()
    for n, skip in enumerate(skips):
        layer, scale = f"conv_layers.{n}", HALF**n
        conv = weights.take_weight(f"{layer}.conv", 2 * gate, residual, kernel)
        tensors[f"blocks.{n}.conv.linear.weight"] = side_by_side(conv) * scale
        tensors[f"blocks.{n}.conv.linear.bias"] = weights.take_bias(f"{layer}.conv", 2 * gate)
        onward = weights.take_weight(f"{layer}.conv1x1_out", residual, gate, 1)[:, :, 0]
        onward_bias = weights.take_bias(f"{layer}.conv1x1_out", residual)
        if n < settings.layers - 1:  # nothing reads that of the last layer
            tensors[f"blocks.{n}.residual.weight"] = onward / scale
            tensors[f"blocks.{n}.residual.bias"] = onward_bias / scale
        columns.append(weights.take_weight(f"{layer}.conv1x1_skip", sizes.skip, gate, 1) * skip)
        skip_bias += weights.take_bias(f"{layer}.conv1x1_skip", sizes.skip) * skip
    return tensors | {"skip.weight": torch.cat(columns, dim=1)[:, :, 0], "skip.bias": skip_bias}


def _ends(weights: Weights, settings: Settings, sizes: Sizes) -> dict[str, Tensor]:
    """Convert the two layers behind the skip path."""
    skip, out = sizes.skip, settings.out_channels
    last = weights.take_weight("last_conv_layers.3", out, skip, 1)[:, :, 0]
    bias = weights.take_bias("last_conv_layers.3", out)
    if settings.is_single_gaussian:  # ours has a row for the logit of the weight, which is 1
        last, bias = (torch.cat([t.new_zeros(1, *t.shape[1:]), t]) for t in (last, bias))
    return {
        "hidden.weight": weights.take_weight("last_conv_layers.1", skip, skip, 1)[:, :, 0],
        "hidden.bias": weights.take_bias("last_conv_layers.1", skip),
        "output.weight": last,
        "output.bias": bias,
    }


def _facts(settings: Settings, rule: str, conditions: Conditions) -> tuple[str, ...]:
    facts = [
        "Weight norm, the sqrt(1/2) of every layer and the factors of the skips were folded into "
        f"the weights; skips were {rule}.",
    ]
    if settings.input_type == "raw":
        own = "" if settings.log_scale_min is None else f", {settings.log_scale_min:g} in training,"
        facts.append(
            "Samples are drawn from the mixture cut into 65,536 bins. Log scales below "
            f"{LOG_SCALE_FLOOR:g} count as that; the original had another bound{own} or none."
        )
    else:
        facts.append("Codes are rounded down, as those of that program; silence is the lower code.")
    if settings.preprocess not in (None, "", "none"):
        facts.append(
            f"It was trained on audio after {settings.preprocess!r:.60}, and that is what it "
            "makes: undo it after generation (pre-emphasis there is y[t] = x[t] - 0.85 x[t-1])."
        )
    if settings.global_gain_scale not in (0.0, 1.0):
        facts.append(f"Its audio was scaled by {settings.global_gain_scale:g} before training.")
    if settings.rescaling:
        facts.append(f"Its recordings were scaled to a peak of {settings.rescaling_max:g} before.")
    return (*facts, *conditions.facts)
