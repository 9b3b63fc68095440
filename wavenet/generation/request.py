"""Requests for clips: check them, and build the active clips that `window_sampler` draws.

Input: a checkpoint and requests with values from a user. Output: active clips; an invalid request
raises ConditionError. Called by `generate`, `search`, likelihood, the command line, batches and the
studio.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from audio_utils.file_names import shorten_name
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.codec import Codec
from wavenet.errors import ConditionError
from wavenet.generation.guard import DegenerationDetector, GuardConfig
from wavenet.generation.noise import uniform_noise
from wavenet.generation.window_sampler import ActiveClip
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.conditioning import Conditioning, ConditionValue
from wavenet.model.conditions import NumberCondition
from wavenet.model.frame_features import describe_missing, example_conditions, frame_count
from wavenet.model.model_config import ModelConfig, check_clip_length
from wavenet.sampling import SamplingConfig, rows_per_clip

MIN_SECONDS = 0.001  # of a length that a user states; no shorter clip is audible
MAX_SECONDS = 600.0  # of one clip; longer clips are probably typing errors
MAX_SEED = (1 << 63) - 1
MAX_RANDOM_SEED = 999_999
MIN_PROMPT_SECONDS = 0.01
MAX_STEM_BYTES = 100  # of a file name, without seed and suffix
SILENCE_PEAK = 1e-3  # a prompt with a lower peak is silent and cannot be continued


@dataclass(frozen=True)
class GenerationRequest:
    """One clip to generate.

    Attributes:
        samples: number of samples to generate, without the prompt.
        conditions: the condition values: word, number or vector by condition name.
        seed: 0 to 2**63 - 1; the same seed produces the same audio.
        noise_stream: a second key of the noise, for clips of one batch with the same seed.
        prompt: (T,) float32 in [-1, 1] at the model's rate, audio to continue; or None.
        frame_features: (F, columns), the frames of `model.frame_features`, from the first sample
            of the prompt on; None for a model without local conditions.
    """

    samples: int
    conditions: Mapping[str, ConditionValue] = field(default_factory=dict)
    seed: int = 0
    noise_stream: int = 0
    prompt: Tensor | None = None
    frame_features: Tensor | None = None


def prepare_clips(
    checkpoint: Checkpoint,
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    guard: GuardConfig | None,
    first_index: int = 0,
) -> list[ActiveClip]:
    """Check requests and build their active clips.

    Args:
        first_index: index of the first request; the others follow.
    Raises:
        ConditionError: a length, condition value, prompt or frame features are invalid.
    """
    for request in requests:
        check_request(request, checkpoint.config)
    requests = [with_defaults(request, checkpoint.config.model) for request in requests]
    prompts = [_encode_prompt(checkpoint, request) for request in requests]
    totals = [p.numel() + request.samples for p, request in zip(prompts, requests, strict=True)]
    frames = [
        check_frame_features(checkpoint, *pair) for pair in zip(requests, totals, strict=True)
    ]
    values = [request.conditions for request in requests]
    conditioning = checkpoint.model.conditioning(values, totals, frames)
    guided = _guided_conditioning(checkpoint, values, totals, frames, sampling)
    rows, clips = rows_per_clip(sampling), []
    for n, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        conditional = conditioning.select([n])
        detector = None
        if guard is not None:
            detector = DegenerationDetector(checkpoint, conditional, prompt, guard)
        clip_rows = conditional
        if guided is not None:
            clip_rows = guided.select(range(n * rows, (n + 1) * rows))
        noise = partial(uniform_noise, request.seed, request.noise_stream)
        index = first_index + n
        end = _last_sample(checkpoint.codec, prompt)
        clips.append(ActiveClip(index, request.samples, noise, prompt, clip_rows, detector, end))
    return clips


def with_defaults(request: GenerationRequest, model: ModelConfig) -> GenerationRequest:
    """Add the numbers that a checked request omits: derived from the prompt, or the defaults.

    Raises:
        ConditionError: a condition value is unknown.
    """
    values = resolve_condition_values(model, request.conditions)
    for condition in model.globals:
        if not isinstance(condition, NumberCondition) or condition.name in values:
            continue
        if condition.derived_from and request.prompt is not None:
            # the level of the whole prompt, because many recordings end in silence
            level = 10 * math.log10(float(request.prompt.double().square().mean()))
            values[condition.name] = min(max(level, condition.low), condition.high)
        elif condition.default is not None:
            values[condition.name] = condition.default
    return replace(request, conditions=values)


def check_request(request: GenerationRequest, config: CheckpointConfig) -> None:
    """Check the length, the seed and the prompt of a request.

    Args:
        config: of the checkpoint that will generate the clip.
    Raises:
        ConditionError: a value is out of range; the message has the limit and the value.
    """
    sample_rate, prompt = config.audio.sample_rate, request.prompt
    _check_samples(request.samples, sample_rate)
    if not 0 <= request.seed <= MAX_SEED:
        raise ConditionError(f"the seed must be 0 to {MAX_SEED}, found {request.seed}")
    total = request.samples + (0 if prompt is None else prompt.numel())
    check_clip_length(config.model, total, sample_rate)
    if prompt is None:
        return
    least = max(1, round(MIN_PROMPT_SECONDS * sample_rate))
    if prompt.ndim != 1 or prompt.numel() < least:
        raise ConditionError(
            f"the prompt has {prompt.shape[-1]} samples; at least {least} "
            f"({MIN_PROMPT_SECONDS:g} s at {sample_rate} Hz) are needed to continue it"
        )
    if not float(prompt.abs().max()) >= SILENCE_PEAK:
        raise ConditionError("the prompt is silent; use audio that can be continued")
    _check_samples(prompt.numel(), sample_rate)


def check_frame_features(checkpoint: Checkpoint, request: GenerationRequest, total: int) -> Tensor:
    """Check and return the frames of a request; (0, 0) for a model without local conditions.

    Args:
        total: length of the clip in samples, its prompt included.
    Raises:
        ConditionError: frames are missing, too few or too many, or the model has no local
            conditions.
    """
    model, rate = checkpoint.config.model, checkpoint.sample_rate
    frames = request.frame_features
    if frames is None:
        if model.columns:
            raise ConditionError(describe_missing(model.locals[0], model.condition_hop, rate))
        return torch.zeros(0, 0)
    if not model.columns:
        raise ConditionError("this model has no local conditions; omit the frames")
    expected, found = frame_count(total, model.condition_hop), frames.shape[0]
    # other programs may round differently, so a difference of one is accepted
    if frames.shape[1] != model.columns or abs(found - expected) > 1:
        raise ConditionError(
            f"{total} samples need {expected} frames x {model.columns}, one every "
            f"{model.condition_hop} samples ({rate / model.condition_hop:g} per second); found "
            f"{found} x {frames.shape[1]}"
        )
    return frames


def samples_from_seconds(seconds: float, sample_rate: int) -> int:
    """Convert the length of a clip to samples.

    Raises:
        ConditionError: below `MIN_SECONDS` or above `MAX_SECONDS`.
    """
    # compared in samples, so that the exact length of a clip of `MIN_SECONDS` is accepted again
    least = max(1, round(MIN_SECONDS * sample_rate))
    if not 0 < seconds <= MAX_SECONDS or round(seconds * sample_rate) < least:
        raise ConditionError(
            f"the length must be at least {MIN_SECONDS:g} and at most {MAX_SECONDS:g} seconds, "
            f"found {seconds:g}"
        )
    return round(seconds * sample_rate)


def _check_samples(samples: int, sample_rate: int) -> None:
    if not 0 < samples <= MAX_SECONDS * sample_rate:
        raise ConditionError(
            f"the length must be above 0 and at most {MAX_SECONDS:g} seconds, found "
            f"{samples / sample_rate:g}"
        )


def choose_samples(
    checkpoint: Checkpoint, seconds: float | None, prompt: Tensor | None, frames: Tensor | None
) -> int:
    """Return the number of samples to generate.

    Args:
        seconds: if given, this length.
        prompt: (P,), which the frames cover, too.
        frames: (F, columns); without `seconds` the clip ends with them. Without frames, it has the
            default length of the checkpoint.
    Raises:
        ConditionError: as in `samples_from_seconds`.
    """
    config = checkpoint.config
    if seconds is None and frames is not None:
        before = 0 if prompt is None else prompt.numel()
        return max(1, (frames.shape[0] - 1) * config.model.condition_hop - before)
    chosen = config.default_seconds if seconds is None else seconds
    return samples_from_seconds(chosen, checkpoint.sample_rate)


def random_seed() -> int:
    """Return a random seed that is short enough to type."""
    return secrets.randbelow(MAX_RANDOM_SEED + 1)


def clip_name(name: str, conditions: Mapping[str, ConditionValue], method: int | str) -> str:
    """Return a file name without suffix: checkpoint_values_seed, valid on every system.

    Args:
        method: the seed; or, for a clip that does not depend on a seed, a word in its place.
    """
    last = method if isinstance(method, str) else f"seed{method}"
    values = [value for value in conditions.values() if not isinstance(value, Tensor)]
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in "_".join([name, *words]))
    return shorten_name(stem, MAX_STEM_BYTES) + f"_{last}"


def example_request(model: ModelConfig) -> GenerationRequest:
    """Return a valid request of one sample for any model."""
    values, frames = example_conditions(model)
    return GenerationRequest(1, values, frame_features=frames if frames.numel() else None)


def _guided_conditioning(
    checkpoint: Checkpoint,
    values: Sequence[Mapping[str, ConditionValue]],
    totals: Sequence[int],
    frames: Sequence[Tensor],
    sampling: SamplingConfig,
) -> Conditioning | None:
    """Gather two rows per clip, the second without droppable conditions; None without guidance.

    Raises:
        ConditionError: the model has no droppable condition.
    """
    rows = rows_per_clip(sampling)
    if rows == 1:
        return None
    droppable = checkpoint.config.model.droppable
    if not droppable:
        raise ConditionError(
            "guidance needs a model that was trained with condition dropout; this model was not; "
            "use guidance 1, or a model whose conditions have dropout above 0"
        )
    pairs: list[Mapping[str, ConditionValue]] = []
    for given in values:
        kept = {name: value for name, value in given.items() if name not in droppable}
        pairs += [given, kept]
    return checkpoint.model.conditioning(
        pairs,
        [total for total in totals for _ in range(rows)],
        [clip_frames for clip_frames in frames for _ in range(rows)],
    )


def _last_sample(codec: Codec, prompt: Tensor) -> float:
    """Return the last sample of a decoded prompt; only pre-emphasis needs it, else 0."""
    if not codec.pre_emphasis or not prompt.numel():
        return 0.0
    return float(codec.decode(prompt)[-1])


def _encode_prompt(checkpoint: Checkpoint, request: GenerationRequest) -> Tensor:
    device = checkpoint.model.device
    if request.prompt is None:
        return torch.empty(0, dtype=torch.int64, device=device)
    return checkpoint.codec.encode(request.prompt).to(device)
