"""The clips that are asked for: checked, and made ready for an engine.

Items enter, whatever is in them; streams, which `stretches` draws, or one sentence leave. Called by
everything that makes clips.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from wavenet import codec
from wavenet.checkpoint import Checkpoint
from wavenet.conditions import NumberCondition
from wavenet.config import ModelConfig, SamplingConfig
from wavenet.errors import ConditionError
from wavenet.generation.decoder import ActiveClip
from wavenet.generation.guard import DegenerationDetector, Guard
from wavenet.generation.noise import uniform_noise
from wavenet.model.conditioning import Conditioning, ConditionValue
from wavenet.model.frame_features import describe_missing, example_conditions, frame_count
from wavenet.sampling import rows_per_clip

MAX_SECONDS = 600.0  # of one clip; more is a slip of the finger far more often than a wish
MAX_SEED = (1 << 63) - 1
MIN_PROMPT_SECONDS = 0.01
SILENCE_PEAK = 1e-3  # a prompt whose peak is below this has nothing to continue


@dataclass(frozen=True)
class GenerationRequest:
    """One clip to be made.

    Attributes:
        samples: to generate, those of the prompt not counted.
        labels: label, number or vector by condition name.
        seed: 0 to 2**63 - 1; the same seed gives the same audio.
        item: a second key beside the seed, for the parts of one job.
        prompt: (T,) float32 in [-1, 1] at the model's rate, audio to continue; or None.
        local: (F, columns) the frames of `model.features`, from the first sample of the prompt on;
            or None for a model without local conditions.
    """

    samples: int
    labels: Mapping[str, ConditionValue] = field(default_factory=dict)
    seed: int = 0
    item: int = 0
    prompt: Tensor | None = None
    local: Tensor | None = None


def prepare_clips(
    checkpoint: Checkpoint,
    items: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    guard: Guard | None,
    first: int = 0,
) -> list[ActiveClip]:
    """Check items and make what the engine needs of each.

    Args:
        first: the index of the first item; the others count on.
    Raises:
        ConditionError: a length, label, prompt or frames that cannot be used.
    """
    for item in items:
        check_request(item, checkpoint.config.audio.sample_rate)
    items = [with_defaults(item, checkpoint.config.model) for item in items]
    prompts = [_prompt_codes(checkpoint, item) for item in items]
    totals = [prompt.numel() + item.samples for prompt, item in zip(prompts, items, strict=True)]
    local = [check_frame_features(checkpoint, *pair) for pair in zip(items, totals, strict=True)]
    conditioning = checkpoint.model.conditioning([item.labels for item in items], totals, local)
    pairs = _with_and_without(checkpoint, items, totals, local, sampling)
    each, streams = rows_per_clip(sampling), []
    for n, (item, prompt) in enumerate(zip(items, prompts, strict=True)):
        alone = conditioning.select([n])
        watch = None if guard is None else DegenerationDetector(checkpoint, alone, prompt, guard)
        rows = alone if pairs is None else pairs.select(range(n * each, (n + 1) * each))
        noise = partial(uniform_noise, item.seed, item.item)
        streams.append(ActiveClip(first + n, item.samples, noise, prompt, rows, watch))
    return streams


def clip_name(name: str, labels: Mapping[str, ConditionValue], seed: int) -> str:
    """Name a clip without suffix, checkpoint_labels_seed, in letters that every system takes."""
    words = [str(value) for value in labels.values() if not isinstance(value, Tensor)]
    stem = "_".join([name, *words])[:100]
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem) + f"_seed{seed}"


def samples_from_seconds(seconds: float, sample_rate: int) -> int:
    """Turn a length in seconds into samples.

    Raises:
        ConditionError: not above 0, or above `MAX_SECONDS`.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise ConditionError(
            f"the length must be above 0 and at most {MAX_SECONDS:g} seconds, found {seconds:g}"
        )
    return max(1, round(seconds * sample_rate))


def with_defaults(item: GenerationRequest, model: ModelConfig) -> GenerationRequest:
    """Add the numbers that a checked item does not give: those of its prompt, or the usual ones."""
    labels = dict(item.labels)
    for condition in model.globals:
        if not isinstance(condition, NumberCondition) or condition.name in labels:
            continue
        if condition.measured and item.prompt is not None:
            # of the whole, for many a recording ends in silence
            level = 10 * math.log10(float(item.prompt.double().square().mean()))
            labels[condition.name] = min(max(level, condition.low), condition.high)
        elif condition.usual is not None:
            labels[condition.name] = condition.usual
    return replace(item, labels=labels)


def check_request(item: GenerationRequest, sample_rate: int) -> None:
    """Refuse a length, seed or prompt that cannot be used.

    Raises:
        ConditionError: with the limit and what was found.
    """
    samples_from_seconds(item.samples / sample_rate, sample_rate)
    if not 0 <= item.seed <= MAX_SEED:
        raise ConditionError(f"the seed must be 0 to {MAX_SEED}, found {item.seed}")
    if item.prompt is None:
        return
    least = max(1, round(MIN_PROMPT_SECONDS * sample_rate))
    if item.prompt.ndim != 1 or item.prompt.numel() < least:
        raise ConditionError(
            f"the prompt has {item.prompt.shape[-1]} samples; at least {least} "
            f"({MIN_PROMPT_SECONDS:g} s at {sample_rate} Hz) are needed to continue it"
        )
    if not float(item.prompt.abs().max()) >= SILENCE_PEAK:
        raise ConditionError("the prompt is silent; give audio that there is something to continue")
    samples_from_seconds(item.prompt.numel() / sample_rate, sample_rate)


def check_frame_features(checkpoint: Checkpoint, item: GenerationRequest, total: int) -> Tensor:
    """Take the frames of an item, (0, 0) for a model without local conditions.

    Raises:
        ConditionError: missing, not wanted, or too few or too many for the length: what was
            expected, what was found.
    """
    model, rate = checkpoint.config.model, checkpoint.config.audio.sample_rate
    columns = sum(condition.columns for condition in model.locals)
    if item.local is None:
        if columns:
            raise ConditionError(describe_missing(model.locals[0], model.condition_hop, rate))
        return torch.zeros(0, 0)
    if not columns:
        raise ConditionError("frames were given to a model that takes none")
    expected, found = frame_count(total, model.condition_hop), item.local.shape[0]
    # one more or less is the rounding of whoever computed them
    if item.local.shape[1] != columns or abs(found - expected) > 1:
        raise ConditionError(
            f"{total} samples need {expected} frames x {columns}, one every "
            f"{model.condition_hop} samples ({rate / model.condition_hop:g} a second); found "
            f"{found} x {item.local.shape[1]}"
        )
    return item.local


def _with_and_without(
    checkpoint: Checkpoint,
    items: Sequence[GenerationRequest],
    totals: Sequence[int],
    local: Sequence[Tensor],
    sampling: SamplingConfig,
) -> Conditioning | None:
    """Gather two rows for each item, the second without what may be left out; None if unguided.

    Raises:
        ConditionError: nothing of this model may be left out.
    """
    each = rows_per_clip(sampling)
    if each == 1:
        return None
    model = checkpoint.config.model
    droppable = {c.name for c in (*model.labels, *model.globals) if c.dropout > 0}
    if not droppable:
        raise ConditionError(
            "guidance pushes away from what a model does without its conditions, and this one was "
            "not trained to leave any out; use one whose conditions have dropout above 0"
        )
    labels: list[Mapping[str, ConditionValue]] = []
    for item in items:
        free = {name: value for name, value in item.labels.items() if name not in droppable}
        labels += [item.labels, free]
    return checkpoint.model.conditioning(
        labels,
        [total for total in totals for _ in range(each)],
        [frames for frames in local for _ in range(each)],
    )


def _prompt_codes(checkpoint: Checkpoint, item: GenerationRequest) -> Tensor:
    device = checkpoint.model.embedding.weight.device
    if item.prompt is None:
        return torch.empty(0, dtype=torch.int64, device=device)
    alphabet = checkpoint.config.codec
    return codec.encode(item.prompt, alphabet.bits, alphabet.rounding).to(device)


def example_request(model: ModelConfig) -> GenerationRequest:
    """Make an item of one sample for any model."""
    labels, local = example_conditions(model)
    return GenerationRequest(1, labels, local=local if local.numel() else None)
