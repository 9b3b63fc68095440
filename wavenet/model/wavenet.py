"""The network: codes and conditions enter, parameters of the next sample's distribution leave.

This file defines what is right. Engines compute the same numbers sooner and are tested against it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.codec import silence_code
from wavenet.config import ModelConfig
from wavenet.errors import ConditionError
from wavenet.model.condition_network import ConditionNetwork
from wavenet.model.conditioning import (
    Conditioning,
    ConditionValue,
    frames_needed,
    global_features,
    interpolate,
    label_indices,
    stack_frames,
)
from wavenet.model.distributions import Categorical, make_distribution
from wavenet.model.frame_features import describe_missing
from wavenet.model.layers import ResidualBlock, ScalarInput

OUTPUT_GAIN = 0.1  # shrinks the first predictions, so that training starts at log2(n_classes) bits


class WaveNet(nn.Module):
    """Gated residual dilated causal convolutions over codes.

    An embedding of the previous code, or of its value where there are 65,536; one `ResidualBlock`
    per dilation; the skip path, one product over the gated outputs of all layers; a post-net ReLU,
    1x1, ReLU, 1x1; the params of a distribution.

    Args:
        config: widths, kernel size, dilations, conditions.
        bits: of the codec; the alphabet has 2**bits classes.
        sample_rate: Hz.
        start_code: stands before the first sample of every clip; `silence_code` when left out.
    Source: van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio".
    """

    def __init__(
        self, config: ModelConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.n_classes = 1 << bits
        self.start_code = silence_code(bits) if start_code is None else start_code
        self.distribution = make_distribution(config.output, bits)
        layers, gate, skip = len(config.dilations), config.gate_channels, config.skip_channels
        takes_classes = isinstance(self.distribution, Categorical)
        make_input = nn.Embedding if takes_classes else ScalarInput
        self.embedding = make_input(self.n_classes, config.residual_channels)
        # a ModuleList, typed as what it holds
        self.blocks = cast(
            list[ResidualBlock],
            nn.ModuleList(
                ResidualBlock(
                    config.residual_channels, gate, config.kernel_size, d, n == layers - 1
                )
                for n, d in enumerate(config.dilations)
            ),
        )
        self.skip = nn.Linear(layers * gate, skip)
        self.hidden = nn.Linear(skip, skip)
        self.output = nn.Linear(skip, self.distribution.n_params)
        self.condition = ConditionNetwork(config, sample_rate) if config.conditions else None
        with torch.no_grad():
            self.output.weight.mul_(OUTPUT_GAIN)
            self.output.bias.mul_(OUTPUT_GAIN)

    def forward(
        self, codes: Tensor, conditioning: Conditioning, start: Tensor | None = None
    ) -> Tensor:
        """Predict every sample from those before it (teacher forcing).

        Args:
            codes: (B, T) int64, the recording itself.
            conditioning: of the whole clips.
            start: (B,) int64, where in its clip each row begins; None for the beginning. A row
                that begins later sees zeros where its past would be: give it one receptive field
                of context and leave the predictions of that context out. Numbers are read from it:
                where it lies on the CPU, nothing has to wait for another device.
        Returns:
            params (B, P, T); params[:, :, t] depend on codes[:, :t] only.
        """
        inputs = F.pad(codes[:, :-1], (1, 0), value=self.start_code)
        return self.post_net(self.layers(inputs, conditioning, start)[1]).transpose(1, 2)

    def layers(
        self, inputs: Tensor, conditioning: Conditioning, start: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Run all residual blocks over already shifted inputs.

        Args:
            inputs: (B, T) int64, the code before each sample.
            conditioning, start: as in `forward`.
        Returns:
            what enters each layer: layers x (B, T, R); the gated outputs: (B, T, layers * G).
        """
        return self.run_blocks(self.embedding(inputs), conditioning, start)

    def run_blocks(
        self, x: Tensor, conditioning: Conditioning, start: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Do as `layers`, behind the embedding: x (B, T, R) enters the first block."""
        samples, hop = x.shape[1], conditioning.hop
        first, leads = torch.zeros_like(conditioning.total), [0]
        if start is not None:
            first, leads = (
                (start // hop).to(first.device, non_blocking=True),
                (start % hop).tolist(),
            )
        frames = conditioning.frames(first, frames_needed(max(leads), samples, hop))
        entering, gated = [], []
        for n, block in enumerate(self.blocks):
            entering.append(x)
            x, z = block(
                x, None if frames is None else _stretch(frames[:, :, n], leads, samples, hop)
            )
            gated.append(z)
        return entering, torch.cat(gated, dim=2)

    def post_net(self, gated: Tensor) -> Tensor:
        """Turn the gated outputs of all layers (B, T, layers * G) into params (B, T, P)."""
        params: Tensor = self.output(F.relu(self.hidden(F.relu(self.skip(gated)))))
        return params

    def conditioning(
        self,
        labels: Sequence[Mapping[str, ConditionValue]],
        totals: Sequence[int],
        local: Sequence[Tensor] | None = None,
        first: Sequence[int] | None = None,
        device: torch.device | None = None,
    ) -> Conditioning:
        """Gather what a batch of clips is conditioned on.

        Args:
            labels: per clip, label, number or vector by condition name.
            totals: per clip, its length in samples.
            local: per clip, the frames (F, columns) of `model.features`.
            first: per clip, the frame at which its `local` begins, and a measured number that has
                a value for each frame; 0 when left out.
            device: where it is gathered; that of the model when left out.
        Raises:
            ConditionError: something is missing or unknown, or does not fit.
        """
        config, batch = self.config, len(totals)
        device = self.embedding.weight.device if device is None else device
        indices = [label_indices(config, chosen) for chosen in labels]
        given = [global_features(config, chosen) for chosen in labels]
        columns = sum(condition.columns for condition in config.locals)
        if columns and local is None:
            raise ConditionError(
                describe_missing(config.locals[0], config.condition_hop, self.sample_rate)
            )
        frames = stack_frames(local) if local and columns else torch.zeros(batch, 0, 0)
        starts = torch.tensor(first or [0] * batch, dtype=torch.int64)
        return Conditioning(
            self.condition,
            torch.tensor(indices, dtype=torch.int64).reshape(batch, -1).to(device),
            stack_frames(given).to(device) if given else torch.zeros(0, 1, 0, device=device),
            frames.to(device),
            starts.to(device),
            torch.tensor(totals, dtype=torch.int64, device=device),
            config.condition_hop,
        )

    @property
    def receptive_field(self) -> int:
        """In samples: 1 + sum((kernel_size - 1) * dilation)."""
        return self.config.receptive_field

    @property
    def receptive_seconds(self) -> float:
        """The receptive field in seconds."""
        return self.receptive_field / self.sample_rate

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    @property
    def macs_per_sample(self) -> int:
        """Multiply-adds that one generated sample needs, the frame-rate network left out."""
        blocks = sum(p.numel() for block in self.blocks for p in block.parameters() if p.ndim > 1)
        return blocks + sum(m.weight.numel() for m in (self.skip, self.hidden, self.output))


def _stretch(frames: Tensor, leads: list[int], samples: int, hop: int) -> Tensor:
    """Interpolate (B, F, C), each row with its own lead, to (B, samples, C)."""
    if len(set(leads)) == 1:
        return interpolate(frames, leads[0], samples, hop)
    stretched = interpolate(frames, 0, max(leads) + samples, hop)
    begins = torch.tensor(leads).to(frames.device, non_blocking=True)
    index = begins[:, None] + torch.arange(samples, device=frames.device)
    return stretched.gather(1, index[:, :, None].expand(-1, -1, frames.shape[2]))
