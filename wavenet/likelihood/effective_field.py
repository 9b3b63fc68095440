"""The effective receptive field: how much of what a model can hear it listens to.

A checkpoint and clips enter; the mean size of the gradient of a prediction with respect to every
past sample leaves. Called by the studio.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.errors import CheckpointError, ConditionError
from wavenet.model.conditioning import Conditioning, ConditionValue
from wavenet.model.wavenet import WaveNet

PREDICTIONS = 96  # predictions looked at: more change the picture little
ROW_BYTES = 1 << 30  # that the gradient of one prediction may take
BATCH_BYTES = 1 << 28  # that those of one pass take together, where one does not take more


@dataclass(frozen=True)
class ScoredClip:
    """What a model reads.

    Attributes:
        codes: (T,) int64, more than one receptive field of them.
        labels: label, number or vector by condition name.
        local: (F, columns), the frames of `model.features`; (0, 0) for a model without.
    """

    codes: Tensor
    labels: Mapping[str, ConditionValue] = field(default_factory=dict)
    local: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


@dataclass(frozen=True)
class EffectiveField:
    """How much past samples matter to a prediction.

    For one prediction of the code at t, the influence of the sample n before it is the length of
    the vector d log p(x_t | x_<t) / d e_(t-n), where e is what the embedding, the first layer of
    the network, makes of that sample. It is zero behind the theoretical receptive field.

    Attributes:
        influence: (receptive_field,) float64, mean over the predictions; [n - 1] of the sample n
            before, so that the newest comes first.
        outputs: predictions so far.
        planned: predictions in the end.
    Source: Luo et al. 2016, "Understanding the Effective Receptive Field in Deep Convolutional
        Neural Networks".
    """

    influence: Tensor
    outputs: int
    planned: int

    def held(self) -> Tensor:
        """Give the share of all influence that the newest 1, 2, .. samples have: (R,), up to 1."""
        return self.influence.cumsum(0) / self.influence.sum()

    def span(self, share: float) -> int:
        """Count the newest samples that have at least this share of all influence, 0 to 1."""
        # a sum of a thousand numbers may end just below 1
        return int((self.held() < share - 1e-9).sum()) + 1


def measure_effective_field(
    checkpoint: Checkpoint, clips: Sequence[ScoredClip], outputs: int = PREDICTIONS, seed: int = 0
) -> Iterator[EffectiveField]:
    """Average over predictions at random places of the clips, equally many of each.

    Args:
        clips: one or more.
        outputs: predictions, at least one of each clip.
        seed: of the places.
    Yields:
        the average so far, after every pass.
    Raises:
        ConditionError: a clip has no prediction with a whole receptive field before it, or the
            network is too large; before the first pass.
        CheckpointError: a gradient is not finite, or all are zero.
        OutOfMemory, DeviceError: see `devices`.
    """
    model = checkpoint.model
    rows = _rows_at_once(model)
    places = [_places(model, clip, outputs // len(clips), seed + n) for n, clip in enumerate(clips)]
    # in turns, so that an average of the first passes is one over all clips
    turns = sorted((k, n) for n, chosen in enumerate(places) for k in range(len(chosen)))
    pairs = [(n, places[n][k]) for k, n in turns]

    def averages() -> Iterator[EffectiveField]:
        total, seen = torch.zeros(model.receptive_field, dtype=torch.float64), 0
        for first in range(0, len(pairs), rows):
            batch = pairs[first : first + rows]
            with device_errors():
                rows_of = [clips[n] for n, _ in batch]
                total += prediction_gradients(model, rows_of, [t for _, t in batch]).sum(0)
            seen += len(batch)
            _check_size(float(total.sum()), checkpoint.config.name)
            yield EffectiveField(total / seen, seen, len(pairs))

    return averages()


@torch.enable_grad()
def prediction_gradients(
    model: WaveNet, clips: Sequence[ScoredClip], places: Sequence[int]
) -> Tensor:
    """Take the gradient of one prediction in each clip.

    Args:
        clips: B of them, one may come twice.
        places: per clip, the sample that is predicted, a receptive field or more behind the first.
    Returns:
        (B, receptive_field) float64, see `EffectiveField`, the newest sample first.
    """
    reach, device = model.receptive_field, model.embedding.weight.device
    windows = torch.stack([c.codes[t - reach : t] for c, t in zip(clips, places, strict=True)])
    wanted = torch.stack([c.codes[t : t + 1] for c, t in zip(clips, places, strict=True)])
    # the code before sample t enters at t
    start = torch.tensor([t - reach + 1 for t in places])
    embedded = model.embedding(windows.to(device)).detach().requires_grad_()
    gated = model.run_blocks(embedded, _conditioning(model, clips), start)[1]
    params = model.post_net(gated[:, -1:]).transpose(1, 2)  # (B, P, 1)
    log_prob = model.distribution.log_prob(params, wanted.to(device)).sum()
    # every row has an output of its own, so the gradient of the sum is each row's gradient
    (gradient,) = torch.autograd.grad(log_prob, embedded)
    sizes: Tensor = gradient.double().norm(dim=2).flip(1).cpu()
    return sizes


def min_samples(model: WaveNet) -> int:
    """Count the samples that a clip needs: one prediction and all that it can depend on."""
    return model.receptive_field + 1


def _check_size(total: float, name: str) -> None:
    if total > 0 and math.isfinite(total):
        return
    found = "zero" if total == 0 else "not finite"
    raise CheckpointError(
        f"the gradients of {name} are {found}, so what it listens to cannot be told; take a "
        "checkpoint from earlier or later in its training"
    )


def _conditioning(model: WaveNet, clips: Sequence[ScoredClip]) -> Conditioning:
    totals = [clip.codes.numel() for clip in clips]
    return model.conditioning([c.labels for c in clips], totals, [c.local for c in clips])


def _places(model: WaveNet, clip: ScoredClip, count: int, seed: int) -> list[int]:
    """Choose the samples of a clip to predict, no two the same."""
    least, samples = min_samples(model), clip.codes.numel()
    if samples < least:
        raise ConditionError(
            f"the recording must have at least {least:,} samples "
            f"({least / model.sample_rate:.2f} s), one receptive field and the one that is "
            f"predicted; found {samples:,}"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(samples - least + 1, generator=generator)
    places: list[int] = (order[: max(1, count)] + model.receptive_field).tolist()
    return places


def _rows_at_once(model: WaveNet) -> int:
    """Choose how many predictions go through a pass, by the activations that it keeps."""
    config = model.config
    values = config.kernel_size * config.residual_channels + 6 * config.gate_channels
    size = model.receptive_field * len(config.dilations) * values * 4
    if size > ROW_BYTES:
        raise ConditionError(
            f"the network is too large for this: one gradient takes about {size / 1e9:.1f} GB, and "
            f"the limit is {ROW_BYTES / 1e9:.1f} GB"
        )
    return max(1, BATCH_BYTES // size)
