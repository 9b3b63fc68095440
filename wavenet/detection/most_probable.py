"""Classify a recording by its likelihood: labels by Bayes' rule, or the model that fits best.

Input: a recording, with one checkpoint and names of its labels, or with several checkpoints.
Output: the probability of each combination of label values, or the bits under each checkpoint.
Called by `wavenet which` and the Python interface.

The prior is uniform, so the probability of a value is proportional to the likelihood of the
recording under it. Likelihoods of checkpoints can be compared only if they predict the same codes:
equal sample rate and codec, and no frames of the recording itself as a condition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.errors import ConditionError
from wavenet.likelihood.score import WINDOW, compute_surprise, predict_recording
from wavenet.model.condition_values import resolve_condition_values, resolve_names
from wavenet.model.conditioning import ConditionValue
from wavenet.progress import NoProgress, Progress

MAX_COMBINATIONS = 10_000
# Combinations that are scored side by side. On a CPU, 64 need twice the time per combination.
CPU_ROWS, GPU_ROWS = 4, 64
MIN_WINDOW = 2_048  # samples


@dataclass(frozen=True)
class LabelProbability:
    """A combination of label values, and how probable it is for a recording.

    Attributes:
        values: by the name of the label.
        bits: of the recording under these values.
        probability: of these values, with a uniform prior over all combinations.
    """

    values: Mapping[str, str]
    bits: float
    probability: float


def label_probabilities(
    checkpoint: Checkpoint,
    waveform: Tensor,
    names: Sequence[str],
    conditions: Mapping[str, ConditionValue] | None = None,
    progress: Progress | None = None,
) -> list[LabelProbability]:
    """Compute how probable every combination of values of some labels is.

    Args:
        checkpoint: a model with these labels.
        waveform: (T,) float32 in [-1, 1], at the model's rate.
        names: of the labels whose values are compared.
        conditions: the values of the other conditions.
        progress: receives fractions of the work.
    Returns:
        All combinations, the most probable first.
    Raises:
        ConditionError: the model has no such label, a condition is missing or unknown, a label is
            given a value and compared, or there are too many combinations.
    """
    config = checkpoint.config.model
    labels = {label.name: label.values for label in config.labels}
    if not names:
        raise ConditionError(f"no label to compare; choose from {', '.join(labels) or 'none'}")
    chosen = list(resolve_names(dict.fromkeys(names), list(labels), "label"))
    fixed = resolve_condition_values(config, conditions or {})
    twice = [name for name in chosen if name in fixed]
    if twice:
        raise ConditionError(f"the label {twice[0]} is compared and has a value; omit one of both")
    rows = [dict(zip(chosen, v, strict=True)) for v in product(*(labels[n] for n in chosen))]
    if len(rows) > MAX_COMBINATIONS:
        raise ConditionError(
            f"{', '.join(chosen)} have {len(rows):,} combinations; at most {MAX_COMBINATIONS:,} "
            "can be compared"
        )
    together = CPU_ROWS if checkpoint.model.device.type == "cpu" else GPU_ROWS
    report, sums = progress or NoProgress(), []
    for n in range(0, len(rows), together):
        group = [{**fixed, **row} for row in rows[n : n + together]]
        sums.append(_sum_bits(checkpoint, waveform, group))
        report.advance(len(group) / len(rows))
    bits = torch.cat(sums)
    probabilities = (-bits * torch.log(torch.tensor(2.0, dtype=bits.dtype))).softmax(0)
    found = zip(rows, bits.tolist(), probabilities.tolist(), strict=True)
    return sorted((LabelProbability(*one) for one in found), key=lambda one: one.bits)


def _sum_bits(
    checkpoint: Checkpoint, waveform: Tensor, rows: Sequence[Mapping[str, ConditionValue]]
) -> Tensor:
    """Return the bits (B,) float64 of a recording under each row of condition values."""
    window = max(MIN_WINDOW, WINDOW // len(rows))
    total = torch.zeros(len(rows), dtype=torch.float64)
    for params, codes in predict_recording(checkpoint, waveform, rows, window=window):
        total += compute_surprise(checkpoint, params, codes).double().sum(1)
    return total


@dataclass(frozen=True)
class CheckpointBits:
    """The bits of a recording under a checkpoint.

    Attributes:
        name: of the checkpoint.
        bits_per_sample: mean surprise.
        bits: of the whole recording.
        seconds: length of the recording.
    """

    name: str
    bits_per_sample: float
    bits: float
    seconds: float

    @property
    def bits_per_second(self) -> float:
        """Bits of one second of sound."""
        return self.bits / self.seconds


def rank_checkpoints(
    checkpoints: Mapping[str, Checkpoint],
    waveform: Tensor,
    conditions: Mapping[str, ConditionValue] | None = None,
) -> list[CheckpointBits]:
    """Score a recording under several checkpoints.

    Args:
        checkpoints: by name; all predict the same codes.
        waveform: (T,) float32 in [-1, 1], at their rate.
        conditions: values by name; each checkpoint receives those that it has.
    Returns:
        One entry per checkpoint, that with the fewest bits first.
    Raises:
        ConditionError: the checkpoints cannot be compared, a name is no condition of any of them,
            or a checkpoint lacks a value.
    """
    check_comparable({name: loaded.config for name, loaded in checkpoints.items()})
    values = select_values({n: c.config for n, c in checkpoints.items()}, conditions or {})
    ranked = []
    for name, loaded in checkpoints.items():
        bits = float(_sum_bits(loaded, waveform, [values[name]]))
        samples = waveform.numel()
        ranked.append(CheckpointBits(name, bits / samples, bits, samples / loaded.sample_rate))
    return sorted(ranked, key=lambda one: one.bits)


def select_values(
    configs: Mapping[str, CheckpointConfig], conditions: Mapping[str, ConditionValue]
) -> dict[str, dict[str, ConditionValue]]:
    """Return for each checkpoint the condition values that it has.

    Raises:
        ConditionError: no checkpoint has a condition of this name, or a value does not fit one.
    """
    selected: dict[str, dict[str, ConditionValue]] = {name: {} for name in configs}
    for given, value in conditions.items():
        errors = []
        for name, config in configs.items():
            try:
                selected[name] |= resolve_condition_values(config.model, {given: value})
            except ConditionError as error:
                errors.append(error)
        if len(errors) == len(configs):
            raise errors[0]
    return selected


def check_comparable(configs: Mapping[str, CheckpointConfig]) -> None:
    """Check that checkpoints predict the same codes, so that their bits can be compared.

    Raises:
        ConditionError: two have another sample rate or codec, or one reads frames of the recording.
    """
    first_name, first = next(iter(configs.items()))
    for name, config in configs.items():
        if config.model.locals and len(configs) > 1:
            raise ConditionError(
                f"{name} cannot be compared, because it is conditioned on frames of the recording "
                "itself; omit it"
            )
        if config.audio != first.audio or config.codec != first.codec:
            raise ConditionError(
                f"{name} and {first_name} predict different codes: {describe_codes(config)} and "
                f"{describe_codes(first)}; compare checkpoints of one rate and codec"
            )


def describe_codes(config: CheckpointConfig) -> str:
    """Return the rate and the codec of a checkpoint in a few words."""
    return f"{config.codec.description} at {config.audio.sample_rate} Hz"
