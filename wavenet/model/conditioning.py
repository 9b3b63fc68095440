"""Conditions -> one bias per layer, at frame rate.

Labels and the length of each clip enter; biases (B, frames, layers, 2 * gate_channels) leave, one
frame every `hop` samples, linearly interpolated between frames by whoever runs the network.
Interpolation and a 1x1 projection commute, so no engine ever runs this network per sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavenet.config import LabelCondition, ModelConfig
from wavenet.errors import ConditionError


class ConditionNetwork(nn.Module):
    """All conditions of a model: embeddings and position features, two hidden layers, biases.

    Args:
        config: the model; `config.conditions` says what there is.
        sample_rate: Hz, turns samples into seconds for the position.
    """

    def __init__(self, config: ModelConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.embeddings = nn.ModuleDict(
            {c.name: nn.Embedding(len(c.values), c.channels) for c in config.labels}
        )
        width = sum(c.features for c in config.conditions)
        hidden = config.condition_channels
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.project = nn.Linear(hidden, len(config.dilations) * 2 * config.gate_channels)

    def forward(self, labels: Tensor, samples: Tensor, total: Tensor) -> Tensor:
        """Compute the biases of some frames.

        Args:
            labels: (B, number of label conditions) int64, in the order of the config.
            samples: (B, F) int64, the sample at which each frame stands.
            total: (B,) int64, length of each clip in samples.
        Returns:
            (B, F, layers, 2 * gate_channels).
        """
        frames = samples.shape[1]
        features, column = [], 0
        for condition in self.config.conditions:
            if isinstance(condition, LabelCondition):
                embedded: Tensor = self.embeddings[condition.name](labels[:, column])
                features.append(embedded[:, None].expand(-1, frames, -1))
                column += 1
            else:
                features.append(self._position(samples, total, condition.harmonics))
        hidden = self.network(torch.cat(features, dim=2))
        return torch.unflatten(self.project(hidden), 2, (len(self.config.dilations), -1))

    def _position(self, samples: Tensor, total: Tensor, harmonics: int) -> Tensor:
        """Give (B, F, 3 + 4 * harmonics): share of the clip, seconds, length, and their waves."""
        share = (samples / total[:, None]).clamp(0, 1)
        seconds = samples / self.sample_rate
        length = (total[:, None] / self.sample_rate).log1p().expand_as(share)
        angle = math.pi * 2.0 ** torch.arange(harmonics, device=samples.device)
        waves = [
            wave(value[..., None] * angle)
            for value in (share, seconds)
            for wave in (torch.sin, torch.cos)
        ]
        plain = torch.stack([share, seconds.log1p(), length], dim=2)
        return torch.cat([plain, *waves], dim=2)


@dataclass(frozen=True)
class Conditioning:
    """What a batch of clips is conditioned on; biases are computed for the frames asked for.

    A value, not a state: it can be asked for any frames at any time, so that a long clip never
    holds all of its biases at once.

    Attributes:
        network: None for a model without conditions.
        labels: (B, label conditions) int64.
        total: (B,) int64, length of each clip in samples, what was given before included.
        hop: samples between frames.
    """

    network: ConditionNetwork | None
    labels: Tensor
    total: Tensor
    hop: int

    @property
    def batch(self) -> int:
        """Number of clips."""
        return self.total.shape[0]

    def frames(self, first: Tensor, count: int) -> Tensor | None:
        """Compute biases (B, count, layers, 2G) of frames first, first + 1, ..; first: (B,)."""
        if self.network is None:
            return None
        index = first[:, None] + torch.arange(count, device=first.device)
        biases: Tensor = self.network(self.labels, index * self.hop, self.total)
        return biases

    def select(self, rows: Sequence[int]) -> "Conditioning":
        """Keep some clips of the batch, in the order given."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.total.device)
        return Conditioning(self.network, self.labels[index], self.total[index], self.hop)


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


def label_indices(config: ModelConfig, labels: Mapping[str, str]) -> list[int]:
    """Look up the labels of one clip, in the order of the config.

    Raises:
        ConditionError: a label is missing, unknown, or names no condition of this model.
    """
    known = {c.name: c for c in config.labels}
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
        if value is None:
            raise ConditionError(
                f"the label {condition.name!r} is missing; choose one of {choices}"
            )
        if value not in condition.values:
            raise ConditionError(f"{condition.name} cannot be {value!r}; choose one of {choices}")
        indices.append(condition.values.index(value))
    return indices
