"""Import models of r9y9/wavenet_vocoder, of its last version and of version 0.1.

Input: a file and its `hparams.json`. Output: a model in the layout of this project. Called by
`wavenet import`.

The original scales activations that this project does not scale. Both compute the same numbers if
the scales are folded into the weights. With s = sqrt(1/2):

    original  x[n+1] = (out(h) + x[n]) s       h = gate(conv(x[n]) + conditions)
    here      y[n+1] = out(h) / s**n + y[n]    h = gate(conv(y[n] s**n) + conditions)

where y[n] = x[n] / s**n.

The sum of the skips is multiplied by sqrt(1 / layers). Version 0.1 instead added them one by one,
(sum + skip) s, or summed them without a factor. These are three sets of factors for the columns of
one matrix. `r9y9_conditions` converts the conditions.

As in the original's generation, the inputs for a sample are the conditions at its time and the
sample before it.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wavenet.config import make_config
from wavenet.importing.imported_model import (
    ImportedModel,
    build_model,
    flatten_taps,
    make_checkpoint_config,
)
from wavenet.importing.pickle_reader import read_pickle
from wavenet.importing.r9y9_conditions import R9y9Conditions, find_conditions, find_upsampler
from wavenet.importing.r9y9_hparams import R9y9Hparams, read_hparams
from wavenet.importing.weight_reader import WeightReader
from wavenet.model.mixtures import LOG_SCALE_FLOOR
from wavenet.model.wavenet import WaveNetConfig

SQRT_HALF = math.sqrt(0.5)

# The optimiser state in the same file can contain a learning rate that is a number of numpy.
CLASSES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")


@dataclass(frozen=True)
class R9y9Widths:
    """Channels that only the tensors determine; `gate` is each half of the gate."""

    residual: int
    gate: int
    skip: int


def import_model(path: Path, hparams_path: Path, name: str, trusted: bool) -> ImportedModel:
    """Import a model.

    Args:
        path: checkpoint_*.pth; prefer a file with `_ema` in its name, if available.
        hparams_path: the JSON file of the same model.
        name: of the new checkpoint.
        trusted: as in `pickle_reader.read_pickle`.
    Raises:
        ConfigError: the file is not trusted, or a setting or size is out of range.
        CheckpointError: the file is damaged or not of this layout.
    """
    content, source = read_pickle(path, trusted, CLASSES), str(path)
    hparams = read_hparams(hparams_path)
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    weights = WeightReader(content, source)
    widths = R9y9Widths(
        residual=weights.shape("first_conv.weight", 3)[0],
        gate=weights.shape("conv_layers.0.conv.weight", 3)[0] // 2,
        skip=weights.shape("conv_layers.0.conv1x1_skip.weight", 3)[0],
    )
    factors, rule = skip_factors(weights, hparams)
    conditions = find_conditions(weights, hparams)
    model = make_config(
        WaveNetConfig,
        source,
        residual_channels=widths.residual,
        gate_channels=widths.gate,
        skip_channels=widths.skip,
        kernel_size=hparams.kernel_size,
        dilations=hparams.dilations,
        output=hparams.output,
        **conditions.config_fields,
    )
    config = make_checkpoint_config(source, name, hparams.sample_rate, hparams.codec, model)
    upsample = find_upsampler(weights, conditions)
    tensors = _convert_blocks(weights, hparams, widths, factors)
    tensors |= _convert_output_layers(weights, hparams, widths)
    tensors |= conditions.convert(weights, tensors, widths.gate)
    weights.check_all_read()
    notes = _card_notes(hparams, rule, conditions)
    return ImportedModel(config, build_model(config, tensors, source), "r9y9", notes, upsample)


def skip_factors(weights: WeightReader, hparams: R9y9Hparams) -> tuple[list[float], str]:
    """Return the factor by which each layer's skip output enters the sum.

    Files of versions 0.1 have biases in the 1x1 convolutions of the conditions, or `upsample_conv`.
    A file without conditions has neither; then the setting `legacy`, which only versions 0.1 had,
    identifies the version.

    Returns:
        One factor per layer, and a description of the rule.
    """
    layers = hparams.layers
    is_0_1 = any(
        name.startswith("upsample_conv.") or name.endswith(("conv1x1c.bias", "conv1x1g.bias"))
        for name in weights.names
    )
    unconditional = not any(".conv1x1c." in name or ".conv1x1g." in name for name in weights.names)
    if not is_0_1 and not (unconditional and hparams.legacy is not None):
        return [math.sqrt(1 / layers)] * layers, "summed and multiplied by sqrt(1 / layers)"
    if hparams.legacy is False:
        return [1.0] * layers, "summed without a factor (version 0.1, legacy false)"
    # The sum begins with layer 0, so that layers 0 and 1 have equal factors.
    factors = [SQRT_HALF ** (layers - max(n, 1)) for n in range(layers)]
    return factors, "added one by one, (sum + skip) sqrt(1/2) (version 0.1)"


def _convert_blocks(
    weights: WeightReader, hparams: R9y9Hparams, widths: R9y9Widths, factors: list[float]
) -> dict[str, Tensor]:
    """Convert the first convolution, the residual blocks and the skip path."""
    residual, gate, kernel = widths.residual, widths.gate, hparams.kernel_size
    is_scalar = hparams.input_type == "raw"
    inputs = 1 if is_scalar else hparams.out_channels
    first = weights.pop_weight("first_conv", residual, inputs, 1)[:, :, 0]
    bias = weights.pop_bias("first_conv", residual)
    if is_scalar:
        tensors = {"embedding.weight": first, "embedding.bias": bias}
    else:
        tensors = {"embedding.weight": first.T + bias}
    columns, skip_bias = [], torch.zeros(widths.skip).double()
    for n, factor in enumerate(factors):
        layer, scale = f"conv_layers.{n}", SQRT_HALF**n
        conv = weights.pop_weight(f"{layer}.conv", 2 * gate, residual, kernel)
        tensors[f"blocks.{n}.conv.linear.weight"] = flatten_taps(conv) * scale
        tensors[f"blocks.{n}.conv.linear.bias"] = weights.pop_bias(f"{layer}.conv", 2 * gate)
        out = weights.pop_weight(f"{layer}.conv1x1_out", residual, gate, 1)[:, :, 0]
        out_bias = weights.pop_bias(f"{layer}.conv1x1_out", residual)
        if n < hparams.layers - 1:  # the residual output of the last layer is not used
            tensors[f"blocks.{n}.residual.weight"] = out / scale
            tensors[f"blocks.{n}.residual.bias"] = out_bias / scale
        skip = weights.pop_weight(f"{layer}.conv1x1_skip", widths.skip, gate, 1)
        columns.append(skip * factor)
        skip_bias += weights.pop_bias(f"{layer}.conv1x1_skip", widths.skip) * factor
    return tensors | {"skip.weight": torch.cat(columns, dim=1)[:, :, 0], "skip.bias": skip_bias}


def _convert_output_layers(
    weights: WeightReader, hparams: R9y9Hparams, widths: R9y9Widths
) -> dict[str, Tensor]:
    """Convert the two layers after the skip path."""
    skip, out = widths.skip, hparams.out_channels
    last = weights.pop_weight("last_conv_layers.3", out, skip, 1)[:, :, 0]
    bias = weights.pop_bias("last_conv_layers.3", out)
    if hparams.is_single_gaussian:  # a mixture here also has a row for the logit of its weight
        last, bias = (torch.cat([t.new_zeros(1, *t.shape[1:]), t]) for t in (last, bias))
    return {
        "hidden.weight": weights.pop_weight("last_conv_layers.1", skip, skip, 1)[:, :, 0],
        "hidden.bias": weights.pop_bias("last_conv_layers.1", skip),
        "output.weight": last,
        "output.bias": bias,
    }


def _card_notes(hparams: R9y9Hparams, rule: str, conditions: R9y9Conditions) -> tuple[str, ...]:
    notes = [
        "Weight norm, the factor sqrt(1/2) of each layer and the factors of the skips are folded "
        f"into the weights; skips were {rule}.",
    ]
    if hparams.input_type == "raw":
        bound = ""
        if hparams.log_scale_min is not None:
            bound = f", {hparams.log_scale_min:g} in training,"
        notes.append(
            "Samples are drawn from the mixture, divided into 65,536 bins. Log scales below "
            f"{LOG_SCALE_FLOOR:g} are raised to it; the original had another bound{bound} or none."
        )
    else:
        notes.append(
            "Codes are rounded down as in the original; the silence code is the lower of the two "
            "around zero."
        )
    if hparams.preprocess not in (None, "", "none"):
        notes.append(
            f"The model was trained on audio after {hparams.preprocess!r:.60} and generates such "
            "audio: undo it after generation (pre-emphasis there is y[t] = x[t] - 0.85 x[t-1])."
        )
    if hparams.postprocess not in (None, "", "none"):
        notes.append(f"The original applied {hparams.postprocess!r:.60} to generated audio.")
    if hparams.global_gain_scale not in (0.0, 1.0):
        notes.append(f"The training audio was multiplied by {hparams.global_gain_scale:g}.")
    if hparams.rescaling:
        notes.append(
            f"Before that, each recording was scaled to a peak of {hparams.rescaling_max:g}."
        )
    if conditions.frame_width and hparams.frame_settings:
        settings = ", ".join(
            f"{key} {value!r:.20}" for key, value in hparams.frame_settings.items()
        )
        notes.append(f"The frames of the training had the settings {settings}.")
    return (*notes, *conditions.notes)
