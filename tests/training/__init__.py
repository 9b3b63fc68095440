"""Tiny models and clips that the tests of training share; all of it is made here, seeded."""

import json
import math

import numpy as np
import torch
from hypothesis import HealthCheck, settings

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import Codec, MuLawCodec
from wavenet.model.model_config import ModelConfig
from wavenet.model.wavenet import WaveNetConfig
from wavenet.training.batches import collate
from wavenet.training.data import Clip, Dataset
from wavenet.training.loop import masked_nll
from wavenet.training.recipe import TrainConfig

RATE = 8000
# seeded, and however slow the machine is
RULES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

CPU = torch.device("cpu")
TIMING = "samples_per_second"


def sine(samples, frequency=400.0, amplitude=0.5, noise=0.0, seed=0):
    """Make a sine in noise, (T,) float32."""
    t = np.arange(samples) / RATE
    x = amplitude * np.sin(2 * math.pi * frequency * t)
    x = x + noise * np.random.default_rng(seed).standard_normal(samples)
    return torch.from_numpy(x.clip(-1, 1).astype(np.float32))


def make_config(conditions=(), bits=8, **model):
    """Describe a tiny model."""
    sizes = {"residual_channels": 8, "gate_channels": 8, "skip_channels": 8, "dilations": (1, 2, 4)}
    return CheckpointConfig(
        name="tiny",
        audio=AudioConfig(sample_rate=RATE),
        codec=MuLawCodec(
            law="linear" if bits == 16 else "mu-law", bits=bits, silence_code=1 << (bits - 1)
        ),
        model=WaveNetConfig(
            **{**sizes, **model}, conditions=conditions, condition_channels=8, condition_hop=10
        ),
    )


def make_settings(**values):
    """Describe a short training on the CPU."""
    usual = {
        "steps": 12,
        "samples_per_step": 250,
        "learning_rate": 0.01,
        "final_learning_rate": 1e-4,
        "warmup_steps": 3,
        "ema_decay": 0.8,
        "gain_db": 3.0,
        "precision": "fp32",
        "seed": 4,
        "validate_every": 4,
        "save_every": 4,
    }
    return TrainConfig(**{**usual, **values})


def make_clip(samples, seed=0, labels=None, context=0, start=0):
    """Make one clip of noise."""
    waveform = sine(samples, 300 + 50 * seed, noise=0.1, seed=seed)
    total = start + samples
    return Clip(waveform, labels or {}, start, total, context, f"clip{seed}.wav")


def make_dataset(labels=None, validation=3):
    """Make clips of several lengths."""
    lengths = [60, 75, 90, 100, 110, 130, 140]
    clips = [make_clip(n, seed, labels) for seed, n in enumerate(lengths)]
    held = [make_clip(70 + 10 * n, 50 + n, labels) for n in range(validation)]
    return Dataset(train=clips, validation=held)


MODEL = make_config().model


def model_of(config):
    """Build a model in which every input matters."""
    torch.manual_seed(0)
    model = checkpoint.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def losses(model, clips):
    """Give the mean loss over the targets of clips, one clip at a time."""
    total, count = 0.0, 0
    for clip in clips:
        batch = collate([clip], 8, MODEL, [1.0])
        targets = int(batch.mask.sum())
        total += masked_nll(model, batch, CPU).item() * targets
        count += targets
    return total / count


def lines(folder):
    """Return the records of a run, without what depends on the clock."""
    text = (folder / "metrics.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in record.items() if k != TIMING} for record in records]


def last_step(folder):
    """Find the newest step that a run has kept."""
    return sorted(folder.glob("step-*"))[-1]
