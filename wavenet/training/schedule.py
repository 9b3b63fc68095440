"""What the settings of a run come to, for a step and on a device. Called by `loop`."""

import math

import torch

from wavenet.training.recipe import TrainConfig


def learning_rate(settings: TrainConfig, step: int) -> float:
    """Warm up linearly, hold, then fall along half a cosine to the final rate."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    whole = max(1, settings.steps - settings.warmup_steps)
    held = settings.hold * whole
    share = max(0.0, step - settings.warmup_steps - held) / max(1.0, whole - held)
    fall = settings.learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + fall * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def in_bf16(precision: str, device: torch.device) -> bool:
    """Say whether products run in bf16: it pays on a GPU and on a CPU with bf16 arithmetic."""
    if precision == "auto":
        cpu = torch.cpu.get_capabilities()
        pays = cpu.get("avx512_bf16") or cpu.get("amx_bf16")
        return device.type != "cpu" or bool(pays)
    return precision == "bf16"


def lateness(device: torch.device) -> int:
    """Say how many steps late a device is asked for numbers: none where that costs nothing."""
    return 0 if device.type == "cpu" else 1
