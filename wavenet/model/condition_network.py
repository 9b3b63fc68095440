"""The network that turns conditions into one bias per layer.

Labels, numbers, frames and positions enter; biases (B, F, layers, 2 * gate_channels) leave. Called
by `conditioning`, which says for which frames.
"""

import math

import torch
from torch import Tensor, nn

from wavenet.conditions import GlobalCondition, LabelCondition, PositionCondition
from wavenet.config import ModelConfig


class ConditionNetwork(nn.Module):
    """All conditions of a model: a small network for each, two hidden layers, biases.

    A label has an embedding; numbers and vectors enter as they are, each with a 1 behind it, or
    zeros where it is left out; frames pass one linear layer over a few neighbours; a position has
    fixed features.

    Args:
        config: the model; `config.conditions` says what there is.
        sample_rate: Hz, turns samples into seconds for the position.
    """

    def __init__(self, config: ModelConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.embeddings = nn.ModuleDict(
            {
                # the row behind the last label stands for none
                c.name: nn.Embedding(len(c.values) + (c.dropout > 0), c.channels)
                for c in config.labels
            }
        )
        self.windows = nn.ModuleDict(
            {c.name: nn.Linear((2 * c.context + 1) * c.columns, c.channels) for c in config.locals}
        )
        width = sum(c.features for c in config.conditions)
        hidden = config.condition_channels
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.project = nn.Linear(hidden, len(config.dilations) * 2 * config.gate_channels)

    def forward(
        self, labels: Tensor, given: Tensor, windows: Tensor, samples: Tensor, total: Tensor
    ) -> Tensor:
        """Compute the biases of some frames.

        Args:
            labels: (B, number of label conditions) int64, in the order of the config.
            given: (B, F, features of the global conditions), see `global_rows`.
            windows: (B, F, 2 * widest_context + 1, columns), frames around each frame wanted.
            samples: (B, F) int64, the sample at which each frame stands.
            total: (B,) int64, length of each clip in samples.
        Returns:
            (B, F, layers, 2 * gate_channels).
        """
        frames = samples.shape[1]
        features, label, place, column = [], 0, 0, 0
        for condition in self.config.conditions:
            if isinstance(condition, LabelCondition):
                embedded: Tensor = self.embeddings[condition.name](labels[:, label])
                features.append(embedded[:, None].expand(-1, frames, -1))
                label += 1
            elif isinstance(condition, PositionCondition):
                features.append(self._position(samples, total, condition.harmonics))
            elif isinstance(condition, GlobalCondition):
                features.append(given[:, :, place : place + condition.features])
                place += condition.features
            else:
                beside = widest_context(self.config) - condition.context
                seen = windows[:, :, beside : windows.shape[2] - beside]
                seen = seen[..., column : column + condition.columns].flatten(2)
                features.append(self.windows[condition.name](seen))
                column += condition.columns
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


def widest_context(config: ModelConfig) -> int:
    """Give the frames to each side that the local conditions see at most."""
    return max((condition.context for condition in config.locals), default=0)
