"""The condition network: conditions -> one bias per layer, at frame rate.

Input: the conditions of each clip. Output: biases (B, frames, layers, bias width), one frame every
`hop_length` samples. The engines and the parallel pass interpolate linearly between frames, so no
engine runs this network per sample. Called by `autoregressive_model`, engines and requests.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.errors import ConditionError
from wavenet.model.conditions import (
    GlobalCondition,
    LabelCondition,
    NumberCondition,
    PositionCondition,
    RasterCondition,
)
from wavenet.model.model_config import ModelConfig

FRAMES_PER_PASS = 16  # frames computed together, counted from the first frame of the clip

# a label, a number, a vector (size,), or one number per frame (F,) of a derived condition
ConditionValue = str | float | Tensor


class ConditionModule(nn.Module, ABC):
    """Base of the modules that convert the conditions of a model to biases.

    Args:
        config: of the model; `config.conditions` lists the conditions.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(
        self,
        labels: Tensor,
        global_features: Tensor,
        neighbours: Tensor,
        samples: Tensor,
        total_samples: Tensor,
    ) -> Tensor:
        """Compute the biases of some frames of each clip.

        Args:
            labels: (B, number of label conditions) int64, in the order of the config.
            global_features: (B, F, features of the global conditions), see `encode_globals`.
            neighbours: (B, F, 2 * max_context + 1, columns), the frames around each frame.
            samples: (B, F) int64, the sample index of each frame.
            total_samples: (B,) int64, length of each clip.
        Returns:
            (B, F, layers, bias width).
        """


class ConditionNetwork(ConditionModule):
    """The network from all conditions of a model to biases, with two hidden layers.

    A label has an embedding. The features of a number, scaled to -1 .. 1, or of a vector are its
    values and a 1; if it is omitted, all are 0. Frames pass one linear layer over a few
    neighbouring frames. A position and a raster have fixed features.

    Args:
        config: of the model; `config.conditions` lists the conditions.
        sample_rate: Hz, converts samples to seconds for the position.
    """

    def __init__(self, config: ModelConfig, sample_rate: int):
        super().__init__(config)
        self.sample_rate = sample_rate
        self.embeddings = nn.ModuleDict(
            {
                # the last row is used for an omitted label
                c.name: nn.Embedding(len(c.values) + (c.dropout > 0), c.channels)
                for c in config.labels
            }
        )
        self.windows = nn.ModuleDict(
            {c.name: nn.Linear((2 * c.context + 1) * c.columns, c.channels) for c in config.locals}
        )
        width = sum(c.feature_width for c in config.conditions)
        hidden = config.condition_channels
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.project = nn.Linear(hidden, config.bias_layers * config.bias_width)

    def forward(
        self,
        labels: Tensor,
        global_features: Tensor,
        neighbours: Tensor,
        samples: Tensor,
        total_samples: Tensor,
    ) -> Tensor:
        """Compute the biases of some frames of each clip; see the base class."""
        frames = samples.shape[1]
        features, label, place, column = [], 0, 0, 0
        for condition in self.config.conditions:
            if isinstance(condition, LabelCondition):
                embedded: Tensor = self.embeddings[condition.name](labels[:, label])
                features.append(embedded[:, None].expand(-1, frames, -1))
                label += 1
            elif isinstance(condition, PositionCondition):
                features.append(self._position(samples, total_samples, condition.harmonics))
            elif isinstance(condition, RasterCondition):
                features.append(self._raster(samples, condition))
            elif isinstance(condition, GlobalCondition):
                features.append(global_features[:, :, place : place + condition.feature_width])
                place += condition.feature_width
            else:
                margin = max_context(self.config) - condition.context
                frames_around = neighbours[:, :, margin : neighbours.shape[2] - margin]
                frames_around = frames_around[..., column : column + condition.columns].flatten(2)
                features.append(self.windows[condition.name](frames_around))
                column += condition.columns
        hidden = self.network(torch.cat(features, dim=2))
        return torch.unflatten(self.project(hidden), 2, (self.config.bias_layers, -1))

    def _raster(self, samples: Tensor, condition: RasterCondition) -> Tensor:
        """Return (B, F, height + width): 1 for the row and for the column of each sample."""
        row = (samples // condition.width).clamp(max=condition.height - 1)
        rows = F.one_hot(row, condition.height)
        columns = F.one_hot(samples % condition.width, condition.width)
        return torch.cat([rows, columns], dim=2).to(self.project.weight.dtype)

    def _position(self, samples: Tensor, total_samples: Tensor, harmonics: int) -> Tensor:
        """Return (B, F, 3 + 4 * harmonics): fraction of the clip, seconds, length, sinusoids."""
        dtype = self.project.weight.dtype
        place, total = samples.to(dtype), total_samples[:, None].to(dtype)
        fraction = (place / total).clamp(0, 1)
        seconds = place / self.sample_rate
        length = (total / self.sample_rate).log1p().expand_as(fraction)
        angle = math.pi * 2.0 ** torch.arange(harmonics, device=samples.device, dtype=dtype)
        waves = [
            wave(value[..., None] * angle)
            for value in (fraction, seconds)
            for wave in (torch.sin, torch.cos)
        ]
        plain = torch.stack([fraction, seconds.log1p(), length], dim=2)
        return torch.cat([plain, *waves], dim=2)


@dataclass(frozen=True)
class Conditioning:
    """The conditions of a batch, one row per clip or, with guidance, two.

    Immutable. Biases are computed for the requested frames only, so they need not all be stored.

    Attributes:
        network: None for a model without conditions.
        labels: (B, label conditions) int64.
        global_features: (B, F, features of the global conditions) float32; F is 1, unless a
            derived number changes from frame to frame.
        frame_features: (B, F, columns of the local conditions) float32. For frames outside of
            both arrays, their first or last frame is repeated.
        first_frame: (B,) int64, the frame of the clip at which both arrays begin.
        total_samples: (B,) int64, length of the clip with its prompt.
        hop_length: samples between frames.
    """

    network: ConditionModule | None
    labels: Tensor
    global_features: Tensor
    frame_features: Tensor
    first_frame: Tensor
    total_samples: Tensor
    hop_length: int

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.total_samples.shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.total_samples.device

    def biases(
        self, first: Tensor, count: int, frames_per_pass: int = FRAMES_PER_PASS
    ) -> Tensor | None:
        """Compute the biases of frames first, first + 1, ..; None without conditions.

        A frame has exactly the same biases in every call. For this, frames are computed in groups
        of `frames_per_pass`, because the order of the sums in a matrix product depends on the
        number of its rows.

        Args:
            first: (B,) int64, the first frame per row.
            count: number of frames.
            frames_per_pass: 1 computes the requested frames only; for a caller that rounds the
                biases.
        Returns:
            (B, count, layers, bias width).
        """
        if self.network is None:
            return None
        skipped = first % frames_per_pass
        # enough for every row, because reading the largest of `skipped` would wait for the device
        groups = -(-(frames_per_pass - 1 + count) // frames_per_pass)
        offsets = torch.arange(groups * frames_per_pass, device=first.device)
        index = (first - skipped)[:, None] + offsets
        computed: Tensor = self.network(
            self.labels,
            self._globals_at(index),
            self._neighbours_at(index),
            index * self.hop_length,
            self.total_samples,
        )
        rows = torch.arange(self.batch, device=first.device)[:, None]
        return computed[rows, skipped[:, None] + torch.arange(count, device=first.device)]

    def in_double(self, network: ConditionModule | None) -> "Conditioning":
        """Return this conditioning in float64, with a copy of its network in float64."""
        return replace(
            self,
            network=network,
            global_features=self.global_features.double(),
            frame_features=self.frame_features.double(),
        )

    def with_frames(self, frame_features: Tensor, first_frame: int) -> "Conditioning":
        """Return the conditioning of one clip with some of its frames (F, columns).

        Args:
            frame_features: all frames that the next requests for biases need.
            first_frame: the frame of the clip at which they begin; before, it was 0.
        """
        last = self.global_features.shape[1] - 1
        index = torch.arange(first_frame, first_frame + frame_features.shape[0]).clamp(max=last)
        return replace(
            self,
            global_features=self.global_features[:, index.to(self.device)],
            frame_features=frame_features[None].to(self.device),
            first_frame=torch.full_like(self.first_frame, first_frame),
        )

    def select(self, rows: Sequence[int]) -> "Conditioning":
        """Return some rows, in the given order."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.device)
        return self.map_tensors(lambda tensor: tensor[index])

    def join(self, other: "Conditioning") -> "Conditioning":
        """Return these rows followed by those of another batch of the same model."""
        return replace(
            self,
            labels=torch.cat([self.labels, other.labels]),
            global_features=stack_frames([*self.global_features, *other.global_features]),
            frame_features=stack_frames([*self.frame_features, *other.frame_features]),
            first_frame=torch.cat([self.first_frame, other.first_frame]),
            total_samples=torch.cat([self.total_samples, other.total_samples]),
        )

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        """Apply a function to every tensor, such as a copy to another device."""
        return replace(
            self,
            labels=change(self.labels),
            global_features=change(self.global_features),
            frame_features=change(self.frame_features),
            first_frame=change(self.first_frame),
            total_samples=change(self.total_samples),
        )

    def _globals_at(self, index: Tensor) -> Tensor:
        """Return the global features at frames index (B, F): (B, F, features)."""
        last = self.global_features.shape[1] - 1
        wanted = (index - self.first_frame[:, None]).clamp(0, last)
        rows = torch.arange(self.batch, device=index.device)[:, None]
        return self.global_features[rows, wanted]

    def _neighbours_at(self, index: Tensor) -> Tensor:
        """Return the frames around frames index (B, F): (B, F, 2 * max_context + 1, columns)."""
        assert self.network is not None
        batch, count = index.shape
        known, columns = self.frame_features.shape[1:]
        context = max_context(self.network.config)
        around = torch.arange(-context, context + 1, device=index.device)
        if not known:
            return self.frame_features.new_zeros(batch, count, len(around), columns)
        wanted = (index - self.first_frame[:, None])[..., None] + around
        rows = torch.arange(batch, device=index.device)[:, None, None]
        return self.frame_features[rows, wanted.clamp(0, known - 1)]


def max_context(config: ModelConfig) -> int:
    """Return the largest number of frames that a local condition reads on each side."""
    return max((condition.context for condition in config.locals), default=0)


def interpolate(frames: Tensor, lead: int, samples: int, hop_length: int) -> Tensor:
    """Interpolate frames to samples, linearly.

    Args:
        frames: (B, F, C), F - 1 >= ceil((lead + samples) / hop_length).
        lead: samples between the first frame and the first sample of the result.
        samples: number of samples of the result.
        hop_length: samples between frames.
    Returns:
        (B, samples, C).
    """
    fraction = torch.arange(hop_length, device=frames.device, dtype=frames.dtype) / hop_length
    weights = torch.stack([1 - fraction, fraction], dim=1)  # (hop_length, 2)
    pairs = torch.stack([frames[:, :-1], frames[:, 1:]], dim=2)  # (B, F - 1, 2, C)
    interpolated = (weights @ pairs).flatten(1, 2)
    return interpolated[:, lead : lead + samples]


def interpolate_rows(frames: Tensor, leads: list[int], samples: int, hop_length: int) -> Tensor:
    """Interpolate (B, F, C), each row with its own lead, to (B, samples, C)."""
    if len(set(leads)) == 1:
        return interpolate(frames, leads[0], samples, hop_length)
    interpolated = interpolate(frames, 0, max(leads) + samples, hop_length)
    begins = torch.tensor(leads).to(frames.device, non_blocking=True)
    index = begins[:, None] + torch.arange(samples, device=frames.device)
    return interpolated.gather(1, index[:, :, None].expand(-1, -1, frames.shape[2]))


def frames_needed(lead: int, samples: int, hop_length: int) -> int:
    """Return the number of frames that `interpolate` needs for these samples."""
    return -(-(lead + samples) // hop_length) + 1


def stack_frames(parts: Sequence[Tensor]) -> Tensor:
    """Stack the frames of clips, each (F, columns); shorter clips repeat their last frame.

    Returns:
        (B, longest F, columns).
    """
    longest = max(part.shape[0] for part in parts)
    index = torch.arange(longest, device=parts[0].device)
    return torch.stack(
        [part[index.clamp(max=part.shape[0] - 1)] if longest else part for part in parts]
    )


def encode_labels(config: ModelConfig, values: Mapping[str, ConditionValue]) -> list[int]:
    """Return the indices of the labels of one clip, in the order of the config.

    An omitted optional label maps to index len(values).

    Args:
        values: from `resolve_condition_values`.
    Raises:
        ConditionError: a label is missing.
    """
    indices = []
    for condition in config.labels:
        value, labels = values.get(condition.name), condition.values
        if value is None and condition.dropout == 0:
            raise ConditionError(
                f"the label {condition.name!r} is missing; choose one of {condition.choice_text}"
            )
        indices.append(len(labels) if value is None else labels.index(str(value)))
    return indices


def encode_globals(config: ModelConfig, values: Mapping[str, ConditionValue]) -> Tensor:
    """Return the features of the numbers and vectors of one clip, in the order of the config.

    A number is scaled from its range to -1 .. 1. A 1 follows each number or vector. For an omitted
    optional condition all features are 0.

    Args:
        values: from `resolve_condition_values`.
    Returns:
        (F, features of the global conditions); F is 1, unless a derived number has a value for
        each frame.
    Raises:
        ConditionError: a value is missing, out of range or of another size.
    """
    parts = []
    for condition in config.globals:
        value = values.get(condition.name)
        if value is None and condition.dropout == 0:
            raise ConditionError(f"the value {condition.name!r} is missing; {_expected(condition)}")
        if value is None:
            parts.append(torch.zeros(1, condition.feature_width))
        else:
            parts.append(F.pad(scale_value(condition, value), (0, 1), value=1.0))
    index = torch.arange(max((part.shape[0] for part in parts), default=1))
    rows = [part[index.clamp(max=part.shape[0] - 1)] for part in parts]
    return torch.cat(rows, dim=1) if rows else torch.zeros(1, 0)


def scale_value(condition: GlobalCondition, value: ConditionValue) -> Tensor:
    """Check and scale a value.

    Returns:
        (1, width), or (F, 1) of a derived number.
    Raises:
        ConditionError: the value is out of range or of another size.
    """
    try:
        number = float(value) if isinstance(value, str) else value
        numbers = torch.as_tensor(number, dtype=torch.float32).reshape(-1)
    except (ValueError, TypeError, RuntimeError):
        raise ConditionError(f"{condition.name}: {_expected(condition)}; found {value!r}") from None
    is_derived = isinstance(condition, NumberCondition) and condition.derived_from
    has_size = numbers.numel() == condition.width or (is_derived and numbers.numel() > 1)
    is_valid = has_size and bool(numbers.isfinite().all())
    if is_valid and isinstance(condition, NumberCondition):
        is_valid = condition.low <= float(numbers.min()) <= float(numbers.max()) <= condition.high
    if not is_valid:
        found = f"{numbers[0]:g}" if numbers.numel() == 1 else f"{numbers.numel()} numbers"
        raise ConditionError(f"{condition.name}: {_expected(condition)}; found {found}")
    if isinstance(condition, NumberCondition):
        middle, span = (condition.high + condition.low) / 2, (condition.high - condition.low) / 2
        return ((numbers.double()[:, None] - middle) / span).float()
    return numbers[None]


def _expected(condition: GlobalCondition) -> str:
    if isinstance(condition, NumberCondition):
        return f"expected a number from {condition.range_text}"
    return f"expected a vector of {condition.size} finite numbers"
