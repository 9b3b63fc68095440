"""Import models of vincentherrmann/pytorch-wavenet.

Input: a file. Output: a model in the layout of this project. Called by `wavenet import`.

The file is a whole pickled module or a state_dict; a state_dict does not contain the number of
layers after which the dilations repeat. It contains `start_conv`, per layer `filter_convs.N`
(tanh), `gate_convs.N` (sigmoid), `residual_convs.N` and `skip_convs.N`, then `end_conv_1` and
`end_conv_2`. A convolution without a bias gets a bias of zeros. No weight is scaled. The first
layer after the skip path may have another width than the skip path, but here that layer is square,
so zeros pad it: they stay zeros through the ReLU, and the numbers are the same.
"""

from pathlib import Path

import torch
from torch import Tensor

from wavenet.checkpoint import CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.config import make_config
from wavenet.errors import CheckpointError, ConfigError
from wavenet.importing import pickle_reader
from wavenet.importing.imported_model import (
    ImportedModel,
    build_model,
    flatten_taps,
    make_checkpoint_config,
)
from wavenet.importing.weight_reader import WeightReader
from wavenet.model.wavenet import WaveNetConfig, require_wavenet_config

CLASSES = (
    "wavenet_model.WaveNetModel",
    "wavenet_modules.DilatedQueue",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.conv.Conv1d",
    "torch.nn.backends.thnn._get_thnn_function_backend",
)
LAYERS_PER_CYCLE = 10  # default of the original
MAX_LAYERS_PER_CYCLE = 17  # dilations up to 65,536
N_CLASSES = 256

CARD_NOTES = (
    "Codes are those of the original: mu = 256, rounded down, decoded as 2 code / 256 - 1; "
    "generation starts from code 128. Encoding a decoded waveform gives codes that are one lower. "
    "The score of a generated file therefore differs from its bits per sample at generation; "
    "the scores of recordings are correct.",
    "No weight was scaled. Biases that the file does not contain are zeros, and so are the rows "
    "and columns that pad the skip path or the layer after it, if their widths differ.",
)


def import_model(
    path: Path, name: str, trusted: bool, sample_rate: int, layers_per_cycle: int | None = None
) -> ImportedModel:
    """Import a model.

    Args:
        path: a whole module or a state_dict, written by torch.save.
        name: of the new checkpoint.
        trusted: see `pickle_reader.read_pickle`.
        sample_rate: Hz; the file does not contain it.
        layers_per_cycle: the dilation of layer n is 2 ** (n mod layers_per_cycle); a whole module
            contains it, for a state_dict the default is 10.
    Raises:
        ConfigError: the file is not trusted, or a setting or size is out of range.
        CheckpointError: the file is damaged or not of this layout.
    """
    content, source = pickle_reader.read_pickle(path, trusted, CLASSES), str(path)
    cycle, dilations = layers_per_cycle or LAYERS_PER_CYCLE, None
    if pickle_reader.is_module(content):
        cycle = _stored_cycle(content, source, layers_per_cycle)
        dilations = pickle_reader.get_attribute(content, "dilations")
        content = pickle_reader.collect_state_dict(content, source)
    if not 1 <= cycle <= MAX_LAYERS_PER_CYCLE:
        raise ConfigError(
            f"layers per cycle must be 1 to {MAX_LAYERS_PER_CYCLE}, found {cycle}; dilations "
            "double from layer to layer"
        )
    weights = WeightReader(content, source)
    config, widths = _read_config(weights, name, sample_rate, cycle)
    wavenet_config = require_wavenet_config(config.model, "the import")
    _check_dilations(dilations, wavenet_config, source)
    tensors = _convert_tensors(weights, wavenet_config, *widths)
    weights.check_all_read()
    model = build_model(config, tensors, source)
    return ImportedModel(config, model, "vincentherrmann", CARD_NOTES)


def _stored_cycle(module: pickle_reader.OpaqueObject, source: str, option: int | None) -> int:
    """Return the layers per cycle that a module contains, after comparing it with an option."""
    stored = pickle_reader.get_attribute(module, "layers")
    if type(stored) is not int:
        raise CheckpointError(f"{source} is another module: it has no number of layers per cycle")
    factor = pickle_reader.get_attribute(module, "dilation_factor")
    if factor not in (None, 2):
        raise CheckpointError(f"{source} multiplies dilations by {factor!r:.20}, expected 2")
    if option is not None and option != stored:
        raise ConfigError(
            f"{source} has {stored} layers per cycle, but the option is {option}; omit it"
        )
    return stored


def _check_dilations(stored: object, model: WaveNetConfig, source: str) -> None:
    """Check the list of a module, which has one pair per layer beginning with its dilation."""
    if stored is None:
        return
    pairs = stored if isinstance(stored, list) else []
    found = [pair[0] if isinstance(pair, tuple) and pair else None for pair in pairs]
    if found != list(model.dilations):
        raise CheckpointError(
            f"{source} has the dilations {str(found)[:60]}, expected "
            f"{str(list(model.dilations))[:60]}; a module with other dilations cannot be imported"
        )


def _read_config(
    weights: WeightReader, name: str, sample_rate: int, cycle: int
) -> tuple[CheckpointConfig, tuple[int, int]]:
    """Read the sizes from the tensors.

    Returns:
        The config, and the channels of the skip path and of the layer after it.
    """
    source = weights.source
    residual, classes, taps = weights.shape("start_conv.weight", 3)
    if (classes, taps) != (N_CLASSES, 1):
        raise CheckpointError(
            f"{source}: start_conv has {classes} channels and {taps} taps; expected one-hot "
            f"codes, {N_CLASSES} channels and 1 tap"
        )
    layers = 0
    while weights.has(f"filter_convs.{layers}.weight"):
        layers += 1
    gate, _, kernel = weights.shape("filter_convs.0.weight", 3)
    skip = weights.shape("skip_convs.0.weight", 3)[0]
    end = weights.shape("end_conv_1.weight", 3)[0]
    model = make_config(
        WaveNetConfig,
        source,
        residual_channels=residual,
        gate_channels=gate,
        skip_channels=max(skip, end),
        kernel_size=kernel,
        dilations=tuple(2 ** (n % cycle) for n in range(layers)),
    )
    codec = MuLawCodec(rounding="down-256")
    return make_checkpoint_config(source, name, sample_rate, codec, model), (skip, end)


def _convert_tensors(
    weights: WeightReader, model: WaveNetConfig, skip: int, end: int
) -> dict[str, Tensor]:
    """Convert all tensors; `skip` and `end` are the channels of `skip_convs` and `end_conv_1`."""
    residual, gate, kernel = model.residual_channels, model.gate_channels, model.kernel_size
    layers, wide = len(model.dilations), model.skip_channels
    start = weights.pop_weight("start_conv", residual, N_CLASSES, 1)[:, :, 0]
    tensors = {"embedding.weight": start.T + weights.pop_bias("start_conv", residual)}
    skips, skip_bias = [], torch.zeros(skip).double()
    for n in range(layers):
        halves = [f"filter_convs.{n}", f"gate_convs.{n}"]
        conv = torch.cat([weights.pop_weight(half, gate, residual, kernel) for half in halves])
        bias = torch.cat([weights.pop_bias(half, gate) for half in halves])
        tensors[f"blocks.{n}.conv.linear.weight"] = flatten_taps(conv)
        tensors[f"blocks.{n}.conv.linear.bias"] = bias
        out = weights.pop_weight(f"residual_convs.{n}", residual, gate, 1)[:, :, 0]
        out_bias = weights.pop_bias(f"residual_convs.{n}", residual)
        if n < layers - 1:  # the residual output of the last layer is not used
            tensors[f"blocks.{n}.residual.weight"] = out
            tensors[f"blocks.{n}.residual.bias"] = out_bias
        skips.append(weights.pop_weight(f"skip_convs.{n}", skip, gate, 1)[:, :, 0])
        skip_bias = skip_bias + weights.pop_bias(f"skip_convs.{n}", skip)
    first = weights.pop_weight("end_conv_1", end, skip, 1)[:, :, 0]
    second = weights.pop_weight("end_conv_2", N_CLASSES, end, 1)[:, :, 0]
    return tensors | {
        "skip.weight": _padded(torch.cat(skips, dim=1), wide, layers * gate),
        "skip.bias": _padded(skip_bias[:, None], wide, 1)[:, 0],
        "hidden.weight": _padded(first, wide, wide),
        "hidden.bias": _padded(weights.pop_bias("end_conv_1", end)[:, None], wide, 1)[:, 0],
        "output.weight": _padded(second, N_CLASSES, wide),
        "output.bias": weights.pop_bias("end_conv_2", N_CLASSES),
    }


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Pad a matrix with zeros at the right and at the bottom."""
    result = matrix.new_zeros(rows, columns)
    result[: matrix.shape[0], : matrix.shape[1]] = matrix
    return result
