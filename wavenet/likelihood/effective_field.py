"""The effective receptive field: how strongly each past sample influences a prediction.

Input: a checkpoint and clips. Output: the mean size of the gradient of a prediction with respect to
every past sample. For a recurrent model the curve shows whether its gradients vanish or explode.
Called by the studio.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.errors import CheckpointError, ConditionError, ModelUnsupported
from wavenet.generation.request import GenerationRequest, example_request
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning, ConditionValue
from wavenet.model.statistics_model import StatisticsModel

HORIZON = 4_000  # samples before a prediction that are measured if the receptive field is unlimited
PREDICTIONS = 96  # more predictions hardly change the result
MAX_ROW_BYTES = 1 << 30  # for the gradient of one prediction
MAX_BATCH_BYTES = 1 << 28  # for all gradients of one pass, unless a single one needs more
PROBED_SAMPLES = 128  # of the pass that measures the memory for a gradient


@dataclass(frozen=True)
class ClipInput:
    """A clip in which samples are predicted.

    Attributes:
        codes: (T,) int64, at least `min_samples`.
        conditions: the condition values: word, number or vector by condition name.
        frame_features: (F, columns), the frames of `model.frame_features`; (0, 0) without.
    """

    codes: Tensor
    conditions: Mapping[str, ConditionValue] = field(default_factory=dict)
    frame_features: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


@dataclass(frozen=True)
class BinnedField:
    """The influence of past samples in bins.

    Attributes:
        edges: (n + 1), bin k holds the samples edges[k] to edges[k + 1] - 1 before the prediction.
        level: (n,) mean influence of a sample in each bin, dB relative to the strongest sample.
        cumulative: (n,) fraction of all influence that the newest samples have, up to the end of
            each bin.
    """

    edges: list[int]
    level: Tensor
    cumulative: Tensor


@dataclass(frozen=True)
class EffectiveField:
    """The influence of past samples on a prediction.

    For one prediction of the code at t, the influence of the sample n before it is the L2 norm of
    the gradient d log p(x_t | x_<t) / d e_(t-n), where e is the embedding of that sample. It is
    zero beyond the receptive field. If the receptive field is unlimited, the samples before the
    horizon are omitted, and the model starts at the horizon with an empty memory.

    Attributes:
        influence: (R,) float64, mean over the predictions; entry n - 1 belongs to the sample n
            before the predicted one, so the newest is first. R is from `measured_samples`.
        predictions: number of predictions so far.
        planned: number of predictions at the end.
    Source: Luo et al. 2016, "Understanding the Effective Receptive Field in Deep Convolutional
        Neural Networks".
    """

    influence: Tensor
    predictions: int
    planned: int

    def cumulative(self) -> Tensor:
        """Return the fraction of the influence of the newest 1, 2, .. samples: (R,)."""
        return self.influence.cumsum(0) / self.influence.sum()

    def span(self, fraction: float) -> int:
        """Return the number of newest samples with at least this fraction of the influence."""
        # a sum of a thousand numbers may end just below 1
        return int((self.cumulative() < fraction - 1e-9).sum()) + 1

    def binned(self, bins: int, floor_db: float) -> BinnedField:
        """Return the influence in bins of equal ratio, for a logarithmic axis.

        Args:
            bins: largest number of bins.
            floor_db: lowest level.
        """
        edges = bin_edges(self.influence.numel(), bins)
        sums = torch.cat([torch.zeros(1), self.influence.cumsum(0)]).double()
        ends = torch.tensor(edges) - 1
        means = (sums[ends[1:]] - sums[ends[:-1]]) / (ends[1:] - ends[:-1])
        level = 20 * (means / self.influence.max()).clamp(min=10 ** (floor_db / 20)).log10()
        return BinnedField(edges, level, self.cumulative()[ends[1:] - 1])


def bin_edges(samples: int, bins: int) -> list[int]:
    """Divide the samples 1 to `samples` before a prediction into bins of equal ratio.

    Returns:
        Rising edges from 1 to samples + 1 of at most `bins` + 1 bins, each with at least one
        sample.
    """
    ratio = math.log(samples + 1) / bins
    return sorted({round(math.exp(ratio * n)) for n in range(bins)} | {1, samples + 1})


def measure_effective_field(
    checkpoint: Checkpoint,
    clips: Sequence[ClipInput],
    predictions: int = PREDICTIONS,
    seed: int = 0,
) -> Iterator[EffectiveField]:
    """Average over predictions at random samples of the clips, the same number in each.

    Args:
        clips: one or more.
        predictions: total number; at least one per clip.
        seed: of the random samples.
    Yields:
        the average so far, after every pass.
    Raises:
        ModelUnsupported: the model has no embedding of each sample.
        ConditionError: a clip is shorter than `min_samples`, or the network is too large; raised
            before the first pass.
        CheckpointError: a gradient is not finite, or all are zero.
        OutOfMemory, DeviceError: see `devices`.
    """
    model, per_clip = checkpoint.model, predictions // len(clips)
    if isinstance(model, StatisticsModel):
        raise _without_embedding(model)
    span = measured_samples(model, clips)
    positions = [_choose_positions(clip, span, per_clip, seed + n) for n, clip in enumerate(clips)]
    with device_errors():
        rows = _rows_per_pass(model, clips[0], span)
    # clips alternate, so that the average of the first passes is over all clips
    order = sorted((k, n) for n, chosen in enumerate(positions) for k in range(len(chosen)))
    pairs = [(n, positions[n][k]) for k, n in order]

    def averages() -> Iterator[EffectiveField]:
        total, done = torch.zeros(span, dtype=torch.float64), 0
        for first in range(0, len(pairs), rows):
            batch = pairs[first : first + rows]
            with device_errors():
                batch_clips, places = [clips[n] for n, _ in batch], [t for _, t in batch]
                total += prediction_gradients(model, batch_clips, places, span).sum(0)
            done += len(batch)
            _check_gradients(float(total.sum()), checkpoint.config.name)
            yield EffectiveField(total / done, done, len(pairs))

    return averages()


def _without_embedding(model: AutoregressiveModel[Any]) -> ModelUnsupported:
    return ModelUnsupported(
        "the influence of past samples needs a model that embeds each sample once; the "
        f"architecture {model.config.architecture!r} does not"
    )


@torch.enable_grad()
def prediction_gradients(
    model: AutoregressiveModel[Any],
    clips: Sequence[ClipInput],
    positions: Sequence[int],
    span: int,
) -> Tensor:
    """Compute the gradient of one prediction in each clip.

    While it runs, the model must not be used elsewhere: its embeddings are recorded by a hook.

    Args:
        clips: B of them; a clip may occur several times.
        positions: per clip, the index of the predicted sample, at least `span`.
        span: number of samples before the prediction that the model reads.
    Returns:
        (B, span) float64, see `EffectiveField`, the newest sample first.
    Raises:
        ModelUnsupported: the model has no embedding of each sample.
    """
    windows = torch.stack([c.codes[t - span : t] for c, t in zip(clips, positions, strict=True)])
    targets = torch.stack([c.codes[t : t + 1] for c, t in zip(clips, positions, strict=True)])
    # the input at sample t is the code of sample t - 1
    start = torch.tensor([t - span + 1 for t in positions])
    # cuDNN has no gradient of a recurrent network in evaluation mode
    with _recorded_embeddings(model) as recorded, torch.backends.cudnn.flags(enabled=False):
        hidden = model.hidden_states(windows.to(model.device), _conditioning(model, clips), start)
        params = model.output_params(hidden[:, -1:]).transpose(1, 2)  # (B, P, 1)
        if [embedded.shape[:2] for embedded in recorded] != [windows.shape]:
            raise _without_embedding(model)
        log_prob = model.distribution.log_prob(params, targets.to(model.device)).sum()
        # each output depends on one row only, so the gradient of the sum is that of each row
        (gradient,) = torch.autograd.grad(log_prob, recorded)
    sizes: Tensor = gradient.double().norm(dim=2).flip(1).cpu()
    return sizes


def request_clips(
    checkpoint: Checkpoint, clips: int, max_seconds: float
) -> list[GenerationRequest]:
    """Return requests of clips to measure, with labels spread over their lists of values.

    Args:
        checkpoint: of any architecture.
        clips: number of clips.
        max_seconds: longest duration of a clip, unless the receptive field or the horizon needs
            more.
    """
    config, model = checkpoint.config, checkpoint.config.model
    rate = config.audio.sample_rate
    least = (checkpoint.model.receptive_field or HORIZON) + 1
    desired = max(round(config.default_seconds * rate), 2 * least)
    samples = max(min(desired, round(max_seconds * rate)), least)
    common = example_request(model).conditions
    requests = []
    for n in range(clips):
        labels = {c.name: c.values[n * len(c.values) // clips] for c in model.labels}
        requests.append(GenerationRequest(samples, {**common, **labels}, seed=n))
    return requests


def min_samples(model: AutoregressiveModel[Any]) -> int:
    """Return the minimum length of a clip: one receptive field and the predicted sample.

    If the receptive field is unlimited: one past sample and the predicted sample.
    """
    return (model.receptive_field or 1) + 1


def measured_samples(model: AutoregressiveModel[Any], clips: Sequence[ClipInput]) -> int:
    """Return the number of past samples that are measured.

    Returns:
        the receptive field; if it is unlimited `HORIZON`, or half of the shortest clip if that is
        less, so that there are predictions at different samples.
    Raises:
        ConditionError: a clip is shorter than `min_samples`.
    """
    least, samples = min_samples(model), min(clip.codes.numel() for clip in clips)
    field = model.receptive_field
    if samples < least:
        past = "one past sample" if field is None else "one receptive field"
        raise ConditionError(
            f"the recording must have at least {least:,} samples "
            f"({least / model.sample_rate:.2f} s), {past} and the predicted sample; "
            f"found {samples:,}"
        )
    return min(HORIZON, samples // 2) if field is None else field


def _check_gradients(total: float, name: str) -> None:
    if total > 0 and math.isfinite(total):
        return
    found = "zero" if total == 0 else "not finite"
    raise CheckpointError(
        f"the gradients of {name} are {found}, so its effective receptive field is unknown; use a "
        "checkpoint from earlier or later in its training"
    )


@contextmanager
def _recorded_embeddings(model: AutoregressiveModel[Any]) -> Iterator[list[Tensor]]:
    """Replace the outputs of the embedding by leaves of autograd, and list them."""
    recorded: list[Tensor] = []

    def record(module: Any, inputs: Any, output: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # an initial memory, which has no gradient
            return output
        recorded.append(output.detach().requires_grad_())
        return recorded[-1]

    handle = model.embedding.register_forward_hook(record)
    try:
        yield recorded
    finally:
        handle.remove()


def _conditioning(model: AutoregressiveModel[Any], clips: Sequence[ClipInput]) -> Conditioning:
    totals = [clip.codes.numel() for clip in clips]
    frames = [clip.frame_features for clip in clips]
    return model.conditioning([clip.conditions for clip in clips], totals, frames)


def _choose_positions(clip: ClipInput, span: int, count: int, seed: int) -> list[int]:
    """Choose different samples of a clip to predict, each with `span` samples before it."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(clip.codes.numel() - span, generator=generator)
    positions: list[int] = (order[: max(1, count)] + span).tolist()
    return positions


def _rows_per_pass(model: AutoregressiveModel[Any], clip: ClipInput, span: int) -> int:
    """Return the number of predictions of one pass, limited by the memory for activations."""
    probed = min(span, PROBED_SAMPLES)
    size = stored_bytes(model, clip, probed) * span // probed
    if size > MAX_ROW_BYTES:
        raise ConditionError(
            f"the network is too large: one gradient takes about {size / 1e9:.1f} GB; the limit is "
            f"{MAX_ROW_BYTES / 1e9:.1f} GB"
        )
    return max(1, MAX_BATCH_BYTES // max(1, size))


def stored_bytes(model: AutoregressiveModel[Any], clip: ClipInput, samples: int) -> int:
    """Measure the bytes of activations that autograd stores for the gradient of a prediction.

    Args:
        clip: more than `samples` samples.
        samples: number of samples before the prediction.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    stored: dict[int, int] = {}

    def store(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            stored[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(store, lambda tensor: tensor):
        prediction_gradients(model, [clip], [samples], samples)
    return sum(stored.values())
