"""How to draw: what clips gain in clearness they lose in variety.

One setting at a time is moved away from plain drawing: temperature, top-p, and guidance where
conditions may be left out. The same clips are made for each of its values, and judged.
"""

from collections.abc import Callable, Sequence
from typing import Any

from wavenet.checkpoint import Checkpoint
from wavenet.engines.base import Engine
from wavenet.evaluation.clips import make_planned
from wavenet.evaluation.digits import ALL, Reference
from wavenet.generation.request import GenerationRequest
from wavenet.sampling import SamplingConfig, resolve_sampling

VALUES: dict[str, tuple[float, ...]] = {
    "temperature": (0.8, 0.9, 1.0, 1.1),
    "top_p": (0.9, 0.95, 0.98, 1.0),
    "guidance": (1.0, 1.25, 1.5, 2.0),
}

Row = dict[str, Any]  # fit for JSON


def settings_to_try(checkpoint: Checkpoint) -> list[tuple[str, float]]:
    """List names and values; a value at which nothing is moved stands in each of the lines."""
    model = checkpoint.config.model
    names = ["temperature"]
    if model.output.kind == "categorical":
        names.append("top_p")
        if any(condition.dropout for condition in (*model.labels, *model.globals)):
            names.append("guidance")
    return [(name, value) for name in names for value in VALUES[name]]


def compare_settings(
    checkpoint: Checkpoint,
    reference: Reference,
    items: Sequence[GenerationRequest],
    engine: str | Engine[Any] = "auto",
    report: Callable[[float], None] = lambda samples: None,
) -> list[Row]:
    """Make and judge the clips of every setting.

    Args:
        report: called with the number of samples made.
    Returns:
        rows of: setting and value; accuracy, the mean share of clips in which a judge hears all
        labels; of each judge and label; diversity, over that of real clips; frechet; copies.
    """
    known: dict[SamplingConfig, Row] = {}
    rows = []
    for name, value in settings_to_try(checkpoint):
        plain = value == 1.0
        sampling = (
            SamplingConfig() if plain else resolve_sampling(SamplingConfig(), **{name: value})
        )
        if sampling not in known:
            made = make_planned(checkpoint, items, sampling, engine, report)
            known[sampling] = _summary(reference.compare(reference.measure(made.clips)))
        rows.append({"setting": name, "value": value, **known[sampling]})
    return rows


def _summary(found: Row) -> Row:
    shares = {
        judge: {name: one["share"] for name, one in labels.items()}
        for judge, labels in found["accuracy"]["generated"].items()
    }
    varied = found["diversity"]
    return {
        "accuracy": sum(one[ALL] for one in shares.values()) / len(shares),
        "judges": shares,
        "diversity": varied["generated"] / varied["real"] if varied["real"] else None,
        "frechet": found["frechet"]["generated"],
        "copies": found["nearest"]["copies"],
    }
