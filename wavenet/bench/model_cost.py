"""What a network costs, counted and not measured: weights, multiply-adds, memory.

A config enters, its numbers leave, and no memory is taken for weights. Callers: the studio.
"""

from dataclasses import dataclass

import torch

from wavenet.config import ModelConfig
from wavenet.engines.rings import ring_edges
from wavenet.model.wavenet import WaveNet

BYTES_PER_VALUE = 4  # float32


@dataclass(frozen=True)
class Cost:
    """The numbers of one network.

    Attributes:
        parameters: weights and biases, those of the conditions included.
        receptive_field: samples.
        cached: multiply-adds a sample of an engine that remembers what its layers saw.
        naive: multiply-adds a sample of one that runs the network over the whole receptive field
            instead, as `engines.reference` does.
        weight_bytes: of all parameters in float32.
        ring_bytes: of the ring buffers of one stream in float32.
    """

    parameters: int
    receptive_field: int
    cached: int
    naive: int
    weight_bytes: int
    ring_bytes: int


def outline(config: ModelConfig, bits: int, sample_rate: int) -> WaveNet:
    """Make a network of shapes without numbers, which takes no memory and cannot run.

    Args:
        bits: of the codec.
        sample_rate: Hz.
    """
    with torch.device("meta"):
        return WaveNet(config, bits, sample_rate)


def cost_of(model: WaveNet) -> Cost:
    """Count; an `outline` is enough."""
    values = ring_edges(model)[-1] * model.config.residual_channels
    return Cost(
        parameters=model.parameter_count,
        receptive_field=model.receptive_field,
        cached=model.macs_per_sample,
        naive=model.macs_per_sample * model.receptive_field,
        weight_bytes=model.parameter_count * BYTES_PER_VALUE,
        ring_bytes=values * BYTES_PER_VALUE,
    )
