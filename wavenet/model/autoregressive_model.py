"""What every model of a sequence of codes offers, whatever network is inside.

Codes and conditions enter, parameters of the distribution of the next code leave. A model is used
in two ways, which must agree (tested for every architecture):

    hidden_states + output_params   all samples of a recording at once: training, scores
    step                            one sample at a time, with an explicit `Memory`: generation

Engines, training, likelihood, the command line and the studio use this class only. What is special
to one architecture stays in its file.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.errors import ConditionError
from wavenet.model.conditioning import (
    Conditioning,
    ConditionNetwork,
    ConditionValue,
    encode_globals,
    encode_labels,
    frames_needed,
    stack_frames,
)
from wavenet.model.distributions import Categorical, make_distribution
from wavenet.model.frame_features import describe_missing
from wavenet.model.layers import ScalarInput
from wavenet.model.memory import Memory
from wavenet.model.model_config import ModelConfig

OUTPUT_GAIN = 0.1  # shrinks the first predictions, so that training starts at log2(n_classes) bits

Fact = str | int | float | list[int] | None

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


class AutoregressiveModel(nn.Module, ABC, Generic[ConfigT]):
    """Base of all models.

    A subclass builds its layers in `__init__`, in any order, sets `output`, and ends with
    `_add_condition_network`.

    Args:
        config: of the architecture.
        bits: of the codec; there are 2**bits codes.
        sample_rate: Hz.
        start_code: stands before the first sample of every clip; n_classes / 2 by default.

    Attributes:
        embedding: of the codes; of their values if there are 65,536.
        output: the last layer, to the params of the distribution.
        condition: None for a model without conditions.
    """

    output: nn.Linear

    def __init__(self, config: ConfigT, bits: int, sample_rate: int, start_code: int | None = None):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.n_classes = 1 << bits
        self.start_code = self.n_classes // 2 if start_code is None else start_code
        self.distribution = make_distribution(config.output, bits)
        self.condition: ConditionNetwork | None = None

    @abstractmethod
    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Run the network over a sequence in parallel.

        Args:
            inputs: (B, T) int64, the code before each sample.
            conditioning: of the whole clips.
            start: (B,) int64, where in its clip each row begins; None for the beginning. Read from
                the CPU, if it is there, so that nothing waits for another device.
            memory: what is kept of the inputs before; advanced in place. None: nothing is before,
                so a row that begins later needs one receptive field of context, whose predictions
                are wrong.
        Returns:
            (B, T, H), what the output layers read.
        """

    @abstractmethod
    def output_params(self, hidden: Tensor) -> Tensor:
        """Turn the hidden output (.., H) into params (.., P) by the output layers."""

    @abstractmethod
    def initial_memory(self, batch: int, device: torch.device | None = None) -> Memory:
        """Return the memory before the first sample, on the device of the model by default."""

    @abstractmethod
    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Read one code per row and predict the next.

        Args:
            memory: advanced in place; its tensors stay the same objects.
            codes: (B,) int64, the newest code; the start code before the first sample.
            bias: (B, layers, bias width) of the conditions at this sample, or None.
        Returns:
            params (B, P).
        """

    @abstractmethod
    def network_facts(self) -> dict[str, Fact]:
        """Return what is special to this network, such as its depth and its widths."""

    def describe(self) -> dict[str, Fact]:
        """Return facts about the model by name, for `wavenet info`, cards and the Models tab."""
        field = self.receptive_field
        return {
            "architecture": self.config.architecture,
            **self.network_facts(),
            "receptive_field": field,
            "receptive_field_ms": None if field is None else round(1000 * self.seconds(field), 1),
            "parameters": self.parameter_count,
            "macs_per_sample": self.macs_per_sample,
        }

    def seconds(self, samples: int) -> float:
        """Convert samples to seconds."""
        return samples / self.sample_rate

    @property
    def macs_per_sample(self) -> int:
        """Multiply-adds per generated sample, without the condition network."""
        condition = [] if self.condition is None else list(self.condition.parameters())
        skipped = {id(p) for p in [*condition, *self.embedding.parameters()]}
        return sum(p.numel() for p in self.parameters() if p.ndim > 1 and id(p) not in skipped)

    def forward(
        self, codes: Tensor, conditioning: Conditioning, start: Tensor | None = None
    ) -> Tensor:
        """Predict every sample from those before it (teacher forcing).

        Args:
            codes: (B, T) int64, the recording itself.
            conditioning, start: as in `hidden_states`.
        Returns:
            params (B, P, T); params[:, :, t] depend on codes[:, :t] only.
        """
        inputs = F.pad(codes[:, :-1], (1, 0), value=self.start_code)
        return self.output_params(self.hidden_states(inputs, conditioning, start)).transpose(1, 2)

    def conditioning(
        self,
        values: Sequence[Mapping[str, ConditionValue]],
        total_samples: Sequence[int],
        frame_features: Sequence[Tensor] | None = None,
        first_frame: Sequence[int] | None = None,
        device: torch.device | None = None,
    ) -> Conditioning:
        """Gather what a batch of clips is conditioned on.

        Args:
            values: per clip, the condition values by name.
            total_samples: per clip, its length.
            frame_features: per clip, the frames (F, columns) of `model.frame_features`.
            first_frame: per clip, the frame at which `frame_features`, and a derived number with a
                value per frame, begin; 0 by default.
            device: where it is gathered; that of the model by default.
        Raises:
            ConditionError: a value is missing, unknown, or does not fit.
        """
        config, batch = self.config, len(total_samples)
        device = self.device if device is None else device
        labels = [encode_labels(config, given) for given in values]
        globals_ = [encode_globals(config, given) for given in values]
        if config.columns and frame_features is None:
            raise ConditionError(
                describe_missing(config.locals[0], config.condition_hop, self.sample_rate)
            )
        has_frames = bool(frame_features) and config.columns > 0
        frames = stack_frames(frame_features or []) if has_frames else torch.zeros(batch, 0, 0)
        first = torch.tensor(first_frame or [0] * batch, dtype=torch.int64)
        return Conditioning(
            self.condition,
            torch.tensor(labels, dtype=torch.int64).reshape(batch, -1).to(device),
            stack_frames(globals_).to(device) if globals_ else torch.zeros(0, 1, 0, device=device),
            frames.to(device),
            first.to(device),
            torch.tensor(total_samples, dtype=torch.int64, device=device),
            config.condition_hop,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.output.weight.dtype

    @property
    def receptive_field(self) -> int | None:
        """Past samples that one prediction can depend on, the newest included; None: all."""
        return self.config.receptive_field

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    def inner_matrices(self) -> list[nn.Parameter]:
        """Return the matrices between layers: all but embeddings and the output layer."""
        tables = [m for m in self.modules() if isinstance(m, nn.Embedding | ScalarInput)]
        outer = {id(p) for module in (*tables, self.output) for p in module.parameters()}
        return [p for p in self.parameters() if p.ndim == 2 and id(p) not in outer]

    def _add_embedding(self, channels: int) -> None:
        """Create the embedding of codes; of their values if the distribution is no categorical."""
        is_categorical = isinstance(self.distribution, Categorical)
        make_input = nn.Embedding if is_categorical else ScalarInput
        self.embedding = make_input(self.n_classes, channels)

    def _add_condition_network(self) -> None:
        """Create the condition network, if the config has conditions; shrink the output layer."""
        if self.config.conditions:
            self.condition = ConditionNetwork(self.config, self.sample_rate)
        with torch.no_grad():
            self.output.weight.mul_(OUTPUT_GAIN)
            self.output.bias.mul_(OUTPUT_GAIN)


def frame_biases(
    conditioning: Conditioning, start: Tensor | None, samples: int
) -> tuple[Tensor | None, list[int]]:
    """Compute the biases under a sequence, to be interpolated layer by layer.

    Args:
        start: (B,) as in `AutoregressiveModel.hidden_states`.
        samples: length of the sequence.
    Returns:
        (B, F, layers, bias width), None without conditions; and per row the samples from the first
        frame to the first sample, or one number for all rows.
    """
    hop = conditioning.hop_length
    first, leads = torch.zeros_like(conditioning.total_samples), [0]
    if start is not None:
        first = (start // hop).to(first.device, non_blocking=True)
        leads = (start % hop).tolist()
    return conditioning.biases(first, frames_needed(max(leads), samples, hop)), leads
