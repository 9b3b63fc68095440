"""A small comparison on disk: three members with two budgets, and measures that are not measured.

Input: a folder. Output: files as those of a shipped comparison. Called by the fixtures of the tests
of the studio.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.model.architectures import build_model
from wavenet.model.conditions import LabelCondition
from wavenet.model.model_config import ModelConfig
from wavenet.model.ngram import NGramConfig
from wavenet.model.recurrent import GRUConfig
from wavenet.model.state_space import StateSpaceConfig
from wavenet.model.transformer import TransformerConfig
from wavenet.model.wavenet import WaveNetConfig

RATE = 8000
CLIP_SAMPLES = 1600
DIGITS = LabelCondition(name="digit", values=tuple("0123456789"), dropout=0.1)
WITH_DIGITS: dict[str, Any] = {"conditions": (DIGITS,), "condition_channels": 8}
SIZES = {"residual_channels": 8, "gate_channels": 8, "skip_channels": 8}
MEMBERS: dict[str, tuple[str, ModelConfig]] = {
    "histogram": ("histogram", NGramConfig(context_bits=())),
    "gru": (
        "GRU",
        GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8, **WITH_DIGITS),
    ),
    "wavenet": (
        "WaveNet",
        WaveNetConfig(**SIZES, kernel_size=2, dilations=(1, 2, 4), **WITH_DIGITS),
    ),
}
# Members without measures.
OTHERS: dict[str, ModelConfig] = {
    "state-space": StateSpaceConfig(channels=8, states=4, layers=2, output_channels=8),
    "transformer": TransformerConfig(
        channels=8, heads=2, layers=2, feedforward_channels=8, context=12, **WITH_DIGITS
    ),
}
BUDGETS = ("small", "large")


def write_comparison(folder: Path) -> Path:
    """Write metrics.json, the checkpoints, and the clip of the WaveNet; return the folder."""
    rows = []
    for n, (name, (title, config)) in enumerate(MEMBERS.items()):
        count = write_member(folder / name, config)
        for size, budget in enumerate(BUDGETS, start=1):
            rows.append(make_row(name, title, budget, size * count // 2, 5.0 - n - 0.4 * size))
    command = "wavenet compare report recordings"
    text = json.dumps({"command": command, "rows": rows})
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    write_clip(folder / "wavenet" / "sample.wav")
    return folder


def write_member(folder: Path, config: ModelConfig) -> int:
    """Save a random checkpoint; return its number of parameters, at least 1."""
    settings = CheckpointConfig(
        name=folder.name,
        audio=AudioConfig(sample_rate=RATE),
        codec=MuLawCodec(),
        model=config,
        default_seconds=0.2,
    )
    torch.manual_seed(0)
    network = build_model(config, MuLawCodec(), RATE)
    checkpoint.save(folder, settings, network)
    return max(2, network.parameter_count)


def make_row(name: str, title: str, budget: str, parameters: int, bits: float) -> dict[str, Any]:
    """Return a row as that of `wavenet compare report`, with invented measures."""
    speed = 10 * parameters
    return {
        "member": name,
        "budget": budget,
        "title": title,
        "architecture": MEMBERS[name][1].architecture,
        "parameters": parameters,
        "macs_per_sample": parameters,
        "receptive_field": None if name == "gru" else 8,
        "bits_per_sample": bits,
        "interval": [bits - 0.1, bits + 0.1],
        "perplexity": 2**bits,
        "samples_per_second": {"naive": speed, "cached": 4 * speed, "engine": "cached"},
        "cost_by_past": [{"past": p, "naive": p * 1e-6, "cached": 1e-5} for p in (64, 512, 4096)],
        "seconds": 90.0,
        "steps": 1000,
        "clips": {
            "accuracy": {"digit": {"fraction": 0.75}},
            "accuracy_of_recordings": {"digit": {"fraction": 0.95}},
        },
    }


def write_clip(path: Path, samples: int = CLIP_SAMPLES) -> None:
    """Write a tone with a decaying level."""
    n = np.arange(samples)
    tone = 0.5 * np.sin(2 * np.pi * 300 * n / RATE) * np.exp(-3 * n / samples)
    soundfile.write(path, tone, RATE, subtype="PCM_16")
