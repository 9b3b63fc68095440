"""The trade-off between accuracy and diversity of generated clips, by sampling setting.

Input: a checkpoint, requests and a `ClipEvaluator`. Output: rows of metrics. The settings
temperature, top-p and, if the model was trained with condition dropout, guidance are varied one at
a time, while the others are 1. The same clips are generated with each value and evaluated. Called
by `wavenet evaluate digits --trade-off`.
"""

from collections.abc import Sequence
from typing import Any

from wavenet.checkpoint import Checkpoint
from wavenet.engines.engine import Engine
from wavenet.evaluation.label_evaluation import ALL, ClipEvaluator
from wavenet.evaluation.labelled_clips import generate_clips
from wavenet.generation.request import GenerationRequest
from wavenet.progress import Progress
from wavenet.sampling import SamplingConfig, resolve_sampling

VALUES: dict[str, tuple[float, ...]] = {
    "temperature": (0.8, 0.9, 1.0, 1.1),
    "top_p": (0.9, 0.95, 0.98, 1.0),
    "guidance": (1.0, 1.25, 1.5, 2.0),
}

Row = dict[str, Any]  # can be written as JSON


def sampling_variants(checkpoint: Checkpoint) -> list[tuple[str, float]]:
    """Return the settings to evaluate, as name and value; 1.0 has no effect for each name."""
    model = checkpoint.config.model
    names = ["temperature"]
    if model.output.kind == "categorical":
        names.append("top_p")
        if any(condition.dropout for condition in (*model.labels, *model.globals)):
            names.append("guidance")
    return [(name, value) for name in names for value in VALUES[name]]


def evaluate_variants(
    checkpoint: Checkpoint,
    evaluator: ClipEvaluator,
    requests: Sequence[GenerationRequest],
    engine: str | Engine[Any] = "auto",
    progress: Progress | None = None,
) -> list[Row]:
    """Generate and evaluate the clips with every sampling variant; equal variants run once.

    Args:
        checkpoint: the model.
        evaluator: real recordings and classifiers.
        requests: the clips.
        engine: as for `generate_clips`.
        progress: counts generated samples.
    Returns:
        Rows of: setting and value; accuracy, the fraction of clips with all labels correct, as the
        mean of the classifiers; classifiers, accuracy by classifier and label; diversity, relative
        to real clips; frechet; copies.
    """
    evaluated: dict[SamplingConfig, Row] = {}
    rows = []
    for name, value in sampling_variants(checkpoint):
        change = {} if value == 1.0 else {name: value}
        sampling = resolve_sampling(SamplingConfig(), **change)
        if sampling not in evaluated:
            generated = generate_clips(checkpoint, requests, sampling, engine, progress)
            comparison = evaluator.compare(evaluator.measure(generated.clips))
            evaluated[sampling] = _summarise(comparison)
        rows.append({"setting": name, "value": value, **evaluated[sampling]})
    return rows


def _summarise(comparison: Row) -> Row:
    fractions = {
        classifier: {name: accuracy["fraction"] for name, accuracy in labels.items()}
        for classifier, labels in comparison["accuracy"]["generated"].items()
    }
    diversity = comparison["diversity"]
    return {
        "accuracy": sum(labels[ALL] for labels in fractions.values()) / len(fractions),
        "classifiers": fractions,
        "diversity": diversity["generated"] / diversity["real"] if diversity["real"] else None,
        "frechet": comparison["frechet"]["generated"],
        "copies": comparison["nearest"]["copies"],
    }
