"""The cost of a model, computed and not measured: parameters, multiply-adds, memory.

Input: a config. Output: its figures. No memory is allocated for weights. Called by the studio.
"""

from dataclasses import dataclass

import torch

from wavenet.model.wavenet import WaveNet, WaveNetConfig

BYTES_PER_VALUE = 4  # float32


@dataclass(frozen=True)
class ModelCost:
    """The cost of one model.

    Attributes:
        parameters: weights and biases, with those of the condition network.
        receptive_field: samples.
        cached_macs: multiply-adds per sample of an engine with ring buffers.
        uncached_macs: multiply-adds per sample of an engine that runs the network over the whole
            receptive field, as `engines.reference` does.
        weight_bytes: size of all parameters in float32.
        ring_bytes: size of the ring buffers of one stream in float32.
    """

    parameters: int
    receptive_field: int
    cached_macs: int
    uncached_macs: int
    weight_bytes: int
    ring_bytes: int


def build_meta_model(config: WaveNetConfig, bits: int, sample_rate: int) -> WaveNet:
    """Build a model on the meta device: it has shapes, but no weights, and cannot run.

    Args:
        config: sizes of the model.
        bits: of the codec.
        sample_rate: Hz.
    """
    with torch.device("meta"):
        return WaveNet(config, bits, sample_rate, start_code=0)


def compute_cost(model: WaveNet) -> ModelCost:
    """Compute the cost of a model; one from `build_meta_model` is sufficient."""
    return ModelCost(
        parameters=model.parameter_count,
        receptive_field=model.config.receptive_field,
        cached_macs=model.macs_per_sample,
        uncached_macs=model.macs_per_sample * model.config.receptive_field,
        weight_bytes=model.parameter_count * BYTES_PER_VALUE,
        ring_bytes=model.config.memory_values * BYTES_PER_VALUE,
    )
