"""The kernels of a state-space model: how the response of each layer to one input decays.

Input: a model. Output: for each layer the magnitude of its kernel K (see `state_space_layer`) over
the age of an input, over all channels, and its time constants. Only the weights of the model are
read: the layers are linear, so their response is the same at every sample of every clip. The norms
and gates between the layers are not linear; `effective_field` measures the whole model.
Called by the studio.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from wavenet.devices import device_errors
from wavenet.errors import CheckpointError, ModelUnsupported
from wavenet.likelihood.effective_field import HORIZON, bin_edges
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.state_space import StateSpace
from wavenet.model.state_space_layer import StateSpaceLayer


@dataclass(frozen=True)
class LayerKernel:
    """The kernels of the channels of one layer.

    Attributes:
        mean: (n,) float64, mean of |K| over the channels and the samples of each bin.
        largest: (n,) float64, largest |K| of a channel in each bin.
        time_constants: (channels * states,) float64, rising: the samples after which a state has
            decayed by the factor e.
    """

    mean: Tensor
    largest: Tensor
    time_constants: Tensor


@dataclass(frozen=True)
class KernelView:
    """The kernels of all layers.

    Attributes:
        edges: (n + 1), bin k holds the inputs edges[k] to edges[k + 1] - 1 before the predicted
            sample. K_0 is the response to the newest, which is 1 before it.
        layers: the first layer first.
    """

    edges: list[int]
    layers: list[LayerKernel]


def has_kernels(model: AutoregressiveModel[Any]) -> bool:
    """Return whether a model has state-space layers."""
    return isinstance(model, StateSpace)


@torch.no_grad()
def view_kernels(model: AutoregressiveModel[Any], bins: int, samples: int = HORIZON) -> KernelView:
    """Compute the kernels of all layers of a state-space model.

    Args:
        model: a state-space model.
        bins: largest number of bins of equal ratio.
        samples: number of past inputs.
    Raises:
        ModelUnsupported: the model has another architecture.
        CheckpointError: a kernel is not finite.
        OutOfMemory, DeviceError: see `devices`.
    """
    if not isinstance(model, StateSpace):
        raise ModelUnsupported(
            "kernels of layers over time need a state-space model; found the architecture "
            f"{model.config.architecture!r}"
        )
    edges = bin_edges(samples, bins)
    with device_errors():
        layers = [_view_layer(block.layer, edges) for block in model.blocks]
    if not all(bool(layer.largest.isfinite().all()) for layer in layers):
        raise CheckpointError(
            "the kernels of this model are not finite, so they cannot be shown; use a checkpoint "
            "from earlier in its training"
        )
    return KernelView(edges, layers)


def _view_layer(layer: Any, edges: list[int]) -> LayerKernel:
    assert isinstance(layer, StateSpaceLayer)
    sizes = layer.kernel(edges[-1] - 1).abs().double().cpu()  # (channels, samples)
    parts = sizes.split([end - begin for begin, end in pairwise(edges)], dim=1)
    return LayerKernel(
        torch.stack([part.mean() for part in parts]),
        torch.stack([part.max() for part in parts]),
        layer.time_constants().double().cpu().flatten().sort().values,
    )
