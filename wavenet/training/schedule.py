"""Learning rate of a step; on a device, the precision of products, and the lag of the metrics.

Input: settings, and a step or a device. Output: a learning rate, a precision or a lag. Called by
`loop` and `state`.
"""

import math

import torch

from wavenet.training.recipe import TrainConfig


def learning_rate(settings: TrainConfig, step: int) -> float:
    """Compute the rate of a step: linear warm-up, a constant part, half a cosine to the final rate.

    Args:
        step: counted from 0.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    steps = max(1, settings.steps - settings.warmup_steps)
    stable = settings.stable_fraction * steps
    progress = max(0.0, step - settings.warmup_steps - stable) / max(1.0, steps - stable)
    span = settings.learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Return whether matrix products run in bf16.

    "auto" is bf16 if that is faster: on a GPU, and on a CPU with bf16 arithmetic.
    """
    if precision == "auto":
        cpu = torch.cpu.get_capabilities()
        is_faster = cpu.get("avx512_bf16") or cpu.get("amx_bf16")
        return device.type != "cpu" or bool(is_faster)
    return precision == "bf16"


def metrics_lag(device: torch.device) -> int:
    """Return the lag of the metrics in steps: 0 on a CPU, 1 on a GPU.

    Reading a number from a GPU waits until the GPU has finished all its work.
    """
    return 0 if device.type == "cpu" else 1
