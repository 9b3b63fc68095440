"""Conditions -> one bias per layer, at frame rate.

What each clip is conditioned on enters; biases (B, frames, layers, 2 * gate_channels) leave, one
frame every `hop` samples, linearly interpolated between frames by whoever runs the network.
Interpolation and a 1x1 projection commute, so no engine ever runs this network per sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.conditions import GlobalCondition, NumberCondition
from wavenet.config import ModelConfig
from wavenet.errors import ConditionError
from wavenet.model.condition_network import ConditionNetwork, widest_context

FRAME_BLOCK = 16  # frames that are computed together, counted from the first of the clip

ConditionValue = str | float | Tensor  # a label, a number, a vector (size,), a measured number (F,)


@dataclass(frozen=True)
class Conditioning:
    """What a batch of clips is conditioned on; biases are computed for the frames asked for.

    A value, not a state: it can be asked for any frames at any time, so that a long clip never
    holds all of its biases at once.

    Attributes:
        network: None for a model without conditions.
        labels: (B, label conditions) int64.
        given: (B, F, features of the global conditions) float32; F is 1 but where a number that
            is measured changes from frame to frame.
        local: (B, F, columns of the local conditions) float32; before the first and behind the
            last frame these two go on for ever.
        first: (B,) int64, the frame of the clip at which `given` and `local` begin.
        total: (B,) int64, length of each clip in samples, what was given before included.
        hop: samples between frames.
    """

    network: ConditionNetwork | None
    labels: Tensor
    given: Tensor
    local: Tensor
    first: Tensor
    total: Tensor
    hop: int

    @property
    def batch(self) -> int:
        """Number of clips."""
        return self.total.shape[0]

    def frames(self, first: Tensor, count: int) -> Tensor | None:
        """Compute biases (B, count, layers, 2G) of frames first, first + 1, ..; first: (B,).

        A frame has the same bits whatever is asked for with it: whole blocks are computed, for a
        matrix product of few rows adds up in another order than one of many.
        """
        if self.network is None:
            return None
        lead = first % FRAME_BLOCK
        # enough for every lead: to ask for the largest would be to wait for the device
        blocks = -(-(FRAME_BLOCK - 1 + count) // FRAME_BLOCK)
        index = (first - lead)[:, None] + torch.arange(blocks * FRAME_BLOCK, device=first.device)
        biases: Tensor = self.network(
            self.labels, self._given(index), self._windows(index), index * self.hop, self.total
        )
        rows = torch.arange(self.batch, device=first.device)[:, None]
        return biases[rows, lead[:, None] + torch.arange(count, device=first.device)]

    def select(self, rows: Sequence[int]) -> "Conditioning":
        """Keep some clips of the batch, in the order given."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.total.device)
        return self.mapped(lambda part: part[index])

    def join(self, other: "Conditioning") -> "Conditioning":
        """Put the clips of another batch of the same model behind those of this one."""
        return replace(
            self,
            labels=torch.cat([self.labels, other.labels]),
            given=stack_frames([*self.given, *other.given]),
            local=stack_frames([*self.local, *other.local]),
            first=torch.cat([self.first, other.first]),
            total=torch.cat([self.total, other.total]),
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        """Change every tensor in the same way, such as where it lies."""
        return replace(
            self,
            labels=change(self.labels),
            given=change(self.given),
            local=change(self.local),
            first=change(self.first),
            total=change(self.total),
        )

    def _given(self, index: Tensor) -> Tensor:
        """Gather what is given at frames index (B, F): (B, F, features)."""
        wanted = (index - self.first[:, None]).clamp(0, self.given.shape[1] - 1)
        return self.given[torch.arange(self.batch, device=index.device)[:, None], wanted]

    def _windows(self, index: Tensor) -> Tensor:
        """Gather the frames around frames index (B, F): (B, F, 2 * widest + 1, columns)."""
        assert self.network is not None
        batch, count = index.shape
        known, columns = self.local.shape[1:]
        widest = widest_context(self.network.config)
        around = torch.arange(-widest, widest + 1, device=index.device)
        if not known:
            return self.local.new_zeros(batch, count, len(around), columns)
        wanted = (index - self.first[:, None])[..., None] + around
        rows = torch.arange(batch, device=index.device)[:, None, None]
        return self.local[rows, wanted.clamp(0, known - 1)]


def interpolate(frames: Tensor, lead: int, samples: int, hop: int) -> Tensor:
    """Stretch frames to samples, linearly.

    Args:
        frames: (B, F, C), F - 1 >= ceil((lead + samples) / hop).
        lead: samples between the first frame and the first sample wanted.
        samples: how many samples are wanted.
        hop: samples between frames.
    Returns:
        (B, samples, C).
    """
    share = torch.arange(hop, device=frames.device, dtype=frames.dtype) / hop
    weights = torch.stack([1 - share, share], dim=1)  # (hop, 2)
    pairs = torch.stack([frames[:, :-1], frames[:, 1:]], dim=2)  # (B, F - 1, 2, C)
    stretched = (weights @ pairs).flatten(1, 2)
    return stretched[:, lead : lead + samples]


def frames_needed(lead: int, samples: int, hop: int) -> int:
    """Count the frames that `interpolate` needs for these samples."""
    return -(-(lead + samples) // hop) + 1


def stack_frames(parts: Sequence[Tensor]) -> Tensor:
    """Put the frames of clips (F, columns) side by side, each one's last going on to the longest.

    Returns:
        (B, longest F, columns).
    """
    longest = max(part.shape[0] for part in parts)
    index = torch.arange(longest, device=parts[0].device)
    return torch.stack(
        [part[index.clamp(max=part.shape[0] - 1)] if longest else part for part in parts]
    )


def label_indices(config: ModelConfig, labels: Mapping[str, ConditionValue]) -> list[int]:
    """Look up the labels of one clip, in the order of the config.

    A label that may be left out, and is, has the index behind the last.

    Raises:
        ConditionError: a label is missing, unknown, or names no condition of this model.
    """
    known = [condition.name for condition in (*config.labels, *config.globals)]
    for name in labels:
        if name not in known:
            allowed = ", ".join(known) or "none: it takes no labels"
            raise ConditionError(
                f"the condition {name!r} is not known to this model; it has {allowed}"
            )
    indices = []
    for condition in config.labels:
        value = labels.get(condition.name)
        choices = ", ".join(condition.values[:30]) + (", .." if len(condition.values) > 30 else "")
        if value is None and condition.dropout == 0:
            raise ConditionError(
                f"the label {condition.name!r} is missing; choose one of {choices}"
            )
        if value is not None and value not in condition.values:
            raise ConditionError(f"{condition.name} cannot be {value!r}; choose one of {choices}")
        indices.append(
            len(condition.values) if value is None else condition.values.index(str(value))
        )
    return indices


def global_features(config: ModelConfig, labels: Mapping[str, ConditionValue]) -> Tensor:
    """Look up the numbers and vectors of one clip, in the order of the config.

    A number is scaled from its range to -1 .. 1. Behind each stands 1; both are zeros where a
    condition that may be left out is.

    Returns:
        (F, features of the global conditions); F is 1 but where a measured number has a value for
        each frame.
    Raises:
        ConditionError: a value is missing, out of range or of another size.
    """
    parts = []
    for condition in config.globals:
        value = labels.get(condition.name)
        if value is None and condition.dropout == 0:
            raise ConditionError(f"the value {condition.name!r} is missing; {_expected(condition)}")
        if value is None:
            parts.append(torch.zeros(1, condition.features))
        else:
            parts.append(F.pad(_numbers(condition, value), (0, 1), value=1.0))
    index = torch.arange(max((part.shape[0] for part in parts), default=1))
    rows = [part[index.clamp(max=part.shape[0] - 1)] for part in parts]
    return torch.cat(rows, dim=1) if rows else torch.zeros(1, 0)


def _numbers(condition: GlobalCondition, value: ConditionValue) -> Tensor:
    """Check a value: (1, width), or (F, 1) of a number that is measured."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise ConditionError(f"{condition.name}: {_expected(condition)}; found {value!r}") from None
    numbers = torch.as_tensor(number, dtype=torch.float32).reshape(-1)
    is_curve = isinstance(condition, NumberCondition) and condition.measured and numbers.numel() > 1
    fits = (is_curve or numbers.numel() == condition.width) and bool(numbers.isfinite().all())
    if fits and isinstance(condition, NumberCondition):
        fits = condition.low <= float(numbers.min()) <= float(numbers.max()) <= condition.high
    if not fits:
        found = f"{numbers[0]:g}" if numbers.numel() == 1 else f"{numbers.numel()} numbers"
        raise ConditionError(f"{condition.name}: {_expected(condition)}; found {found}")
    if isinstance(condition, NumberCondition):
        middle, span = (condition.high + condition.low) / 2, (condition.high - condition.low) / 2
        return ((numbers.double()[:, None] - middle) / span).float()
    return numbers[None]


def _expected(condition: GlobalCondition) -> str:
    if isinstance(condition, NumberCondition):
        return f"give a number from {condition.span}"
    return f"give a vector of {condition.size} finite numbers"
