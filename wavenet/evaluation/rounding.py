"""Measure what it costs to round the weights of a model: bits per sample on held-out recordings.

Input: a checkpoint and held-out clips. Output: `RoundingCosts`, which the config of the checkpoint
stores. The engine cpu also rounds activations in int8; that costs less than 0.00001 bits and is not
measured here. Called by `wavenet train` after the last step and by `wavenet evaluate rounding`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavenet.checkpoint import Checkpoint, load, save_config
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable
from wavenet.evaluation.baselines import select_evenly
from wavenet.evaluation.bits_per_sample import bootstrap_interval
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.progress import NoProgress, Progress
from wavenet.rounding_costs import ROUNDED_PRECISIONS, RoundingCost, RoundingCosts
from wavenet.training.segmentation import TrainingClip
from wavenet.training.task import bits_per_sample
from wavenet.weights_file import WEIGHTS

MAX_SAMPLES = 200_000  # a measurement then takes seconds; the interval is about 0.0003 bits wide


def measure_rounding_costs(
    checkpoint: Checkpoint,
    clips: Sequence[TrainingClip],
    split: str = "validation",
    progress: Progress | None = None,
) -> RoundingCosts | None:
    """Measure bits per sample with exact and with rounded weights.

    Args:
        checkpoint: on the CPU.
        clips: held out of the training; of many, about `MAX_SAMPLES` are selected evenly.
        split: name of the clips' part of the data.
        progress: in clips, each counted once per model.
    Returns:
        the costs; None if there are too few clips for an interval, if the engine cpu does not run
        this model, or if its predictions overflow.
    Raises:
        ConditionError: a clip lacks a condition of the model.
    """
    progress = progress or NoProgress()
    clips = [clip for clip in clips if clip.samples > clip.context]
    targets = [clip.samples - clip.context for clip in clips]
    chosen = [clips[n] for n in select_evenly(targets, MAX_SAMPLES)] if clips else []
    models = _rounded_models(checkpoint.model)
    if len(chosen) < 2 or not models:
        return None
    samples = np.array([clip.samples - clip.context for clip in chosen])

    def measure(model: AutoregressiveModel[Any]) -> np.ndarray:
        bits = []
        for clip, count in zip(chosen, samples, strict=True):
            bits.append(bits_per_sample(model, checkpoint.config, [clip]) * count)
            progress.advance(1)
        return np.array(bits)

    exact = measure(checkpoint.model)
    costs = {}
    for precision, model in models.items():
        more = measure(model) - exact
        if not np.isfinite(more).all():
            continue  # weights that overflow cost too much
        interval = bootstrap_interval(more, samples)
        assert interval is not None  # there are two clips or more
        costs[precision] = RoundingCost(
            bits=round(float(more.sum() / samples.sum()), 6),
            low=round(interval[0], 6),
            high=round(interval[1], 6),
        )
    if not costs:
        return None
    return RoundingCosts(
        measured_on=f"{len(chosen)} clips of the {split} set",
        samples=int(samples.sum()),
        costs=costs,
    )


def store_costs(checkpoint: Checkpoint, costs: RoundingCosts) -> None:
    """Write the costs to the config of a checkpoint.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    config = checkpoint.config.model_copy(update={"rounding": costs})
    save_config(checkpoint.folder, config)


def store_rounding_costs(folder: Path, clips: Sequence[TrainingClip]) -> str | None:
    """Measure what rounded weights cost on the validation clips of a training, and store it.

    Args:
        folder: of the checkpoint; without weights, if no validation had a finite result, nothing is
            measured.
    Returns:
        The costs as one sentence; None if they cannot be measured.
    """
    if not (folder / WEIGHTS).exists():
        return None
    checkpoint = load(folder)
    costs = measure_rounding_costs(checkpoint, clips)
    if costs is None:
        return None
    store_costs(checkpoint, costs)
    return describe_costs(costs)


def describe_costs(costs: RoundingCosts) -> str:
    """Return the costs as one sentence."""
    parts = [
        f"{precision} {cost.bits:+.4f} ({cost.low:+.4f} to {cost.high:+.4f})"
        for precision, cost in costs.costs.items()
    ]
    return f"rounded weights cost, in bits per sample: {', '.join(parts)}"


def _rounded_models(model: AutoregressiveModel[Any]) -> dict[Any, AutoregressiveModel[Any]]:
    """Return, by precision, the copies of a model with the weights that the engine cpu reads."""
    models = {}
    for precision in ROUNDED_PRECISIONS:
        try:
            models[precision] = make_engine("cpu", model, precision).model
        except EngineUnavailable:
            continue  # no WaveNet, or a weight is too large to be rounded
    return models
