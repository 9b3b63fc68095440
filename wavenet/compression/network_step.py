"""One sample of the compression network for 16 lanes, in float32, equal bit by bit everywhere.

Input: the features of the next sample of 16 streams. Output: the parameters of their mixtures. The
same network as `CompressionNetwork`, computed with the sums of `lane_kernels` and otherwise with
single additions, multiplications, divisions and comparisons, all in one fixed order. Called by
`stream_coder`, inlined into its loop.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from wavenet.compression.compression_network import PARAMETERS, CompressionNetwork
from wavenet.compression.lane_kernels import LANES, OUTPUTS_TOGETHER, matrix_product
from wavenet.engines.cpu.jit import inlined

_LIMIT, _TWENTY_SEVEN, _NINE = np.float32(3.0), np.float32(27.0), np.float32(9.0)
_HALF, _ZERO = np.float32(0.5), np.float32(0.0)


class StepWeights(NamedTuple):
    """The weights in the order in which a step reads them.

    `matrices`: float32, one after the other: input, per layer gate and output, hidden, params; in
    groups of `OUTPUTS_TOGETHER` outputs, each (inputs, outputs of the group). `biases`: float32, in
    the same order. `dilations`: int64. `features`, `parameters`: int64 (1,), their numbers.
    """

    matrices: np.ndarray
    biases: np.ndarray
    dilations: np.ndarray
    sizes: np.ndarray


class StepState(NamedTuple):
    """The memory of the network, changed in place; all float32 except `places`.

    `rings`: past inputs of the layers, (dilation, channels, 16) each, one after the other. `pair`:
    (2 channels, 16), the past and the present input of a layer. `sums`, `gated`, `skip`: space for
    one layer. `params`: (3 K, 16), the result. `places`: (layers,) int64, positions in the rings.
    """

    rings: np.ndarray
    pair: np.ndarray
    sums: np.ndarray
    gated: np.ndarray
    skip: np.ndarray
    params: np.ndarray
    places: np.ndarray


def pack_weights(network: CompressionNetwork) -> StepWeights:
    """Return the weights of a network for `network_step`."""
    layers: list[nn.Module] = [network.input]
    for gate, output in zip(network.gates, network.outputs, strict=True):
        layers += [gate, output]
    layers += [network.hidden, network.params]
    matrices, biases = [], []
    for layer in layers:
        assert isinstance(layer, nn.Conv1d) and layer.bias is not None
        # (outputs, inputs, taps) -> (outputs, taps * inputs): first the past, then the present
        weight = layer.weight.detach().to(torch.float32).permute(0, 2, 1).flatten(1)
        groups = weight.reshape(-1, OUTPUTS_TOGETHER, weight.shape[1]).transpose(1, 2)
        matrices.append(groups.flatten())
        biases.append(layer.bias.detach().to(torch.float32))
    config = network.config
    sizes = (config.features, config.channels, PARAMETERS * config.components)
    return StepWeights(
        matrices=torch.cat(matrices).contiguous().numpy().copy(),
        biases=torch.cat(biases).numpy().copy(),
        dilations=np.array(config.dilations, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64),
    )


def make_step_state(weights: StepWeights) -> StepState:
    """Return the memory before the first sample: zeros."""
    channels, parameters = int(weights.sizes[1]), int(weights.sizes[2])

    def zeros(rows: int) -> np.ndarray:
        return np.zeros(rows * LANES, dtype=np.float32)

    return StepState(
        rings=zeros(int(weights.dilations.sum()) * channels),
        pair=zeros(2 * channels),
        sums=zeros(2 * channels),
        gated=zeros(channels),
        skip=zeros(channels),
        params=zeros(parameters),
        places=np.zeros(len(weights.dilations), dtype=np.int64),
    )


@inlined
def _affine(y, y_at, outputs, matrices, matrix_at, biases, bias_at, x, inputs):  # type: ignore[no-untyped-def]
    """Compute y = W x + b for `outputs` rows of y from y_at on."""
    for o in range(outputs):
        bias = biases[bias_at + o]
        for lane in range(LANES):
            y[y_at + o * LANES + lane] = bias
    for o in range(0, outputs, OUTPUTS_TOGETHER):
        matrix_product(y, y_at + o * LANES, matrices, matrix_at + o * inputs, x, 0, inputs)


@inlined
def _rational_tanh(x):  # type: ignore[no-untyped-def]
    x = min(max(x, -_LIMIT), _LIMIT)
    square = x * x
    return x * (_TWENTY_SEVEN + square) / (_TWENTY_SEVEN + _NINE * square)


@inlined
def _positive(values, n):  # type: ignore[no-untyped-def]
    for at in range(n):
        values[at] = max(values[at], _ZERO)


@inlined
def network_step(state, weights, features):  # type: ignore[no-untyped-def]
    """Compute `state.params` of the next sample, and remember its features.

    Args:
        features: float32 (features * 16,).
    """
    n_features, channels, parameters = weights.sizes[0], weights.sizes[1], weights.sizes[2]
    row = channels * LANES
    matrices, biases = weights.matrices, weights.biases
    pair, sums, gated, skip = state.pair, state.sums, state.gated, state.skip
    _affine(pair, row, channels, matrices, 0, biases, 0, features, n_features)
    matrix_at, bias_at, ring_at = n_features * channels, channels, 0
    for at in range(row):
        skip[at] = _ZERO
    for layer in range(weights.dilations.shape[0]):
        dilation, place = weights.dilations[layer], state.places[layer]
        slot = ring_at + place * row
        for at in range(row):
            pair[at] = state.rings[slot + at]
            state.rings[slot + at] = pair[row + at]
        state.places[layer] = place + 1 if place + 1 < dilation else 0
        ring_at += dilation * row
        _affine(sums, 0, 2 * channels, matrices, matrix_at, biases, bias_at, pair, 2 * channels)
        matrix_at, bias_at = matrix_at + 4 * channels * channels, bias_at + 2 * channels
        for at in range(row):
            gate = _HALF + _HALF * _rational_tanh(sums[row + at])
            gated[at] = _rational_tanh(sums[at]) * gate
        _affine(sums, 0, 2 * channels, matrices, matrix_at, biases, bias_at, gated, channels)
        matrix_at, bias_at = matrix_at + 2 * channels * channels, bias_at + 2 * channels
        for at in range(row):
            pair[row + at] += sums[at]
            skip[at] += sums[row + at]
    _positive(skip, row)
    _affine(gated, 0, channels, matrices, matrix_at, biases, bias_at, skip, channels)
    matrix_at, bias_at = matrix_at + channels * channels, bias_at + channels
    _positive(gated, row)
    _affine(state.params, 0, parameters, matrices, matrix_at, biases, bias_at, gated, channels)
