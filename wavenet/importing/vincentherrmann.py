"""Models of vincentherrmann/pytorch-wavenet.

A file enters, a model in our layout leaves. The file is the whole pickled module, or a state_dict;
the latter does not tell how dilations repeat. Layers `start_conv`, per block `filter_convs.N`
(tanh), `gate_convs.N` (sigmoid), `residual_convs.N`, `skip_convs.N`, then `end_conv_1`,
`end_conv_2`. A convolution without bias has zeros here. Nothing is scaled; the first hidden layer
behind the skip path may be narrower or wider than it, and ours is square, so zeros fill it up:
they pass the ReLU as zeros, and the numbers stay the same.
"""

from pathlib import Path

import torch
from torch import Tensor

from wavenet.config import CheckpointConfig, CodecConfig, ModelConfig
from wavenet.errors import CheckpointError, ConfigError
from wavenet.importing import pickle_reader
from wavenet.importing.imported_model import Imported, build, make_config, side_by_side
from wavenet.importing.weight_reader import Weights
from wavenet.parsing import make

CLASSES = (
    "wavenet_model.WaveNetModel",
    "wavenet_modules.DilatedQueue",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.conv.Conv1d",
    "torch.nn.backends.thnn._get_thnn_function_backend",
)
LAYERS_PER_CYCLE = 10  # theirs unless told otherwise
MAX_LAYERS_PER_CYCLE = 17  # dilations up to 65,536
N_CLASSES = 256

FACTS = (
    "Codes are those of that program: mu = 256, rounded down, decoded as 2 code / 256 - 1; "
    "generation starts from code 128. A decoded waveform has codes one lower, so a generated file "
    "scored again has not the bits per sample that it was drawn with; recordings have theirs.",
    "Nothing was scaled. Biases that the file does not have are zeros, and so are rows and columns "
    "added where the skip path and the layer behind it differ in width.",
)


def read(
    path: Path, name: str, trusted: bool, sample_rate: int, layers_per_cycle: int | None = None
) -> Imported:
    """Import a model.

    Args:
        path: a whole module saved by torch.save, or a state_dict.
        name: of the checkpoint that it becomes.
        trusted: see `pickles.read`.
        sample_rate: Hz; the file does not tell.
        layers_per_cycle: dilation of layer n is 2 ** (n mod this); a whole module tells it itself,
            for a state_dict 10 if left out.
    Raises:
        ConfigError: not trusted, or a setting or size out of range.
        CheckpointError: the file is damaged or not of this layout.
    """
    found, source = pickle_reader.read(path, trusted, CLASSES), str(path)
    cycle = layers_per_cycle or LAYERS_PER_CYCLE
    if pickle_reader.is_module(found):
        cycle = _own_cycle(found, source, layers_per_cycle)
        found = pickle_reader.state_dict(found, source)
    if not 1 <= cycle <= MAX_LAYERS_PER_CYCLE:
        raise ConfigError(
            f"layers per cycle must be 1 to {MAX_LAYERS_PER_CYCLE}, found {cycle}; dilations "
            "double from layer to layer"
        )
    weights = Weights(found, source)
    config, ends = _config(weights, name, sample_rate, cycle)
    tensors = _convert(weights, config.model, *ends)
    weights.finish()
    return Imported(config, build(config, tensors, source), "vincentherrmann", FACTS)


def _own_cycle(module: pickle_reader.Husk, source: str, given: int | None) -> int:
    own = pickle_reader.attribute(module, "layers")
    if type(own) is not int:
        raise CheckpointError(f"{source} does not tell its layers in a block; it is another module")
    factor = pickle_reader.attribute(module, "dilation_factor")
    if factor not in (None, 2):
        raise CheckpointError(f"{source} multiplies dilations by {factor!r:.20}; expected 2")
    if given is not None and given != own:
        raise ConfigError(f"{source} has {own} layers per cycle, found {given}; leave it out")
    return own


def _config(
    weights: Weights, name: str, sample_rate: int, cycle: int
) -> tuple[CheckpointConfig, tuple[int, int]]:
    """Read the sizes off the tensors: the config, and the widths S and E behind the layers."""
    source = weights.source
    residual, classes, taps = weights.shape("start_conv.weight", 3)
    if (classes, taps) != (N_CLASSES, 1):
        raise CheckpointError(
            f"{source}: start_conv takes {classes} channels and {taps} taps; expected one-hot "
            f"codes, {N_CLASSES} channels and 1 tap"
        )
    layers = 0
    while weights.has(f"filter_convs.{layers}.weight"):
        layers += 1
    gate, _, kernel = weights.shape("filter_convs.0.weight", 3)
    skip = weights.shape("skip_convs.0.weight", 3)[0]
    end = weights.shape("end_conv_1.weight", 3)[0]
    model = make(
        ModelConfig,
        source,
        residual_channels=residual,
        gate_channels=gate,
        skip_channels=max(skip, end),
        kernel_size=kernel,
        dilations=tuple(2 ** (n % cycle) for n in range(layers)),
    )
    codec = CodecConfig(rounding="down-256")
    return make_config(source, name, sample_rate, codec, model), (skip, end)


def _convert(weights: Weights, model: ModelConfig, skip: int, end: int) -> dict[str, Tensor]:
    residual, gate, kernel = model.residual_channels, model.gate_channels, model.kernel_size
    layers, wide = len(model.dilations), model.skip_channels
    start = weights.take_weight("start_conv", residual, N_CLASSES, 1)[:, :, 0]
    tensors = {"embedding.weight": start.T + weights.take_bias("start_conv", residual)}
    skips, skip_bias = [], torch.zeros(skip).double()
    for n in range(layers):
        halves = [f"filter_convs.{n}", f"gate_convs.{n}"]
        conv = torch.cat([weights.take_weight(half, gate, residual, kernel) for half in halves])
        bias = torch.cat([weights.take_bias(half, gate) for half in halves])
        tensors[f"blocks.{n}.conv.linear.weight"] = side_by_side(conv)
        tensors[f"blocks.{n}.conv.linear.bias"] = bias
        onward = weights.take_weight(f"residual_convs.{n}", residual, gate, 1)[:, :, 0]
        onward_bias = weights.take_bias(f"residual_convs.{n}", residual)
        if n < layers - 1:  # nothing reads that of the last layer
            tensors[f"blocks.{n}.residual.weight"] = onward
            tensors[f"blocks.{n}.residual.bias"] = onward_bias
        skips.append(weights.take_weight(f"skip_convs.{n}", skip, gate, 1)[:, :, 0])
        skip_bias = skip_bias + weights.take_bias(f"skip_convs.{n}", skip)
    first = weights.take_weight("end_conv_1", end, skip, 1)[:, :, 0]
    second = weights.take_weight("end_conv_2", N_CLASSES, end, 1)[:, :, 0]
    return tensors | {
        "skip.weight": _padded(torch.cat(skips, dim=1), wide, layers * gate),
        "skip.bias": _padded(skip_bias[:, None], wide, 1)[:, 0],
        "hidden.weight": _padded(first, wide, wide),
        "hidden.bias": _padded(weights.take_bias("end_conv_1", end)[:, None], wide, 1)[:, 0],
        "output.weight": _padded(second, N_CLASSES, wide),
        "output.bias": weights.take_bias("end_conv_2", N_CLASSES),
    }


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Fill up with zeros to the right and below."""
    whole = matrix.new_zeros(rows, columns)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole
