"""Tiny models and clips that the tests of training share; all of it is generated here, seeded."""

import json
import math

import numpy as np
import torch
from hypothesis import HealthCheck, settings

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec, Pcm16Codec
from wavenet.model.wavenet import WaveNetConfig
from wavenet.training import loop
from wavenet.training.batches import collate
from wavenet.training.dataset import Dataset
from wavenet.training.prefetch import encode_batch
from wavenet.training.recipe import TrainConfig
from wavenet.training.segmentation import TrainingClip
from wavenet.training.state import make_state
from wavenet.training.task import CodeLikelihoodTask, mean_nll

RATE = 8000
# seeded, and without a deadline for slow machines
RULES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

CPU = torch.device("cpu")
TIMING = ("samples_per_second", "threads", "note")  # entries of a record


def sine(samples, frequency=400.0, amplitude=0.5, noise=0.0, seed=0):
    """Return a sine in noise, (T,) float32."""
    t = np.arange(samples) / RATE
    x = amplitude * np.sin(2 * math.pi * frequency * t)
    x = x + noise * np.random.default_rng(seed).standard_normal(samples)
    return torch.from_numpy(x.clip(-1, 1).astype(np.float32))


def make_config(conditions=(), bits=8, **model):
    """Return the config of a tiny model."""
    sizes = {"residual_channels": 8, "gate_channels": 8, "skip_channels": 8, "dilations": (1, 2, 4)}
    return CheckpointConfig(
        name="tiny",
        audio=AudioConfig(sample_rate=RATE),
        codec=MuLawCodec(bits=bits) if bits < 16 else Pcm16Codec(),
        model=WaveNetConfig(
            **{**sizes, **model}, conditions=conditions, condition_channels=8, condition_hop=10
        ),
    )


def make_settings(**values):
    """Return the settings of a short training on the CPU."""
    defaults = {
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
    return TrainConfig(**{**defaults, **values})


def make_clip(samples, seed=0, fields=None, context=0, start=0):
    """Return one clip of noise."""
    waveform = sine(samples, 300 + 50 * seed, noise=0.1, seed=seed)
    return TrainingClip(waveform, fields or {}, start, start + samples, context, f"clip{seed}.wav")


def make_dataset(fields=None, validation=3):
    """Return clips of several lengths."""
    lengths = [60, 75, 90, 100, 110, 130, 140]
    clips = [make_clip(n, seed, fields) for seed, n in enumerate(lengths)]
    held_out = [make_clip(70 + 10 * n, 50 + n, fields) for n in range(validation)]
    return Dataset(train=clips, validation=held_out)


CODEC = MuLawCodec()
MODEL = make_config().model


def build_model(config):
    """Build a model in which every input matters."""
    torch.manual_seed(0)
    model = checkpoint.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def initial_state(config=None, settings=None):
    """Return the state of a training before its first step."""
    return make_state(
        CodeLikelihoodTask(config or make_config(), settings or make_settings(), Dataset())
    )


def train(config, settings, dataset, folder, resume=False, start=None, **options):
    """Train a model of codes on the CPU."""
    task = CodeLikelihoodTask(config, settings, dataset, start)
    return loop.train(task, folder, resume, **{"device": CPU, **options})


def batch_nll(model, batch):
    """Compute the mean loss over the targets of a batch."""
    return mean_nll(model, encode_batch(batch, model))


def clips_nll(model, clips):
    """Compute the mean loss over the targets of clips, one clip at a time."""
    total, count = 0.0, 0
    for clip in clips:
        batch = collate([clip], CODEC, MODEL, [1.0])
        targets = int(batch.mask.sum())
        total += batch_nll(model, batch).item() * targets
        count += targets
    return total / count


def read_metrics(folder):
    """Return the records of a run, without what depends on the clock."""
    text = (folder / "metrics.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in record.items() if k not in TIMING} for record in records]


def newest_snapshot(folder):
    """Return the folder of the newest snapshot."""
    return sorted(folder.glob("step-*"))[-1]
