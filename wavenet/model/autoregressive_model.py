"""The interface of all models of code sequences.

Input: codes and conditions. Output: the parameters of the distribution of the next code. A model is
used in two ways, which must agree (tested for every architecture):

    hidden_states + output_params   all samples of a recording at once: training, scores
    step                            one sample at a time, with an explicit `Memory`: generation

Called by engines, training, likelihood, the command line and the studio, which use this class only.
Code for one architecture is in the file of that architecture.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.errors import ConditionError
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.conditioning import (
    Conditioning,
    ConditionModule,
    ConditionNetwork,
    ConditionValue,
    encode_globals,
    encode_labels,
    frames_needed,
    interpolate_rows,
    stack_frames,
)
from wavenet.model.distributions import Categorical, make_distribution
from wavenet.model.frame_features import describe_missing
from wavenet.model.layers import ScalarInput
from wavenet.model.memory import Memory
from wavenet.model.model_config import ModelConfig
from wavenet.model.nll import sum_nll

# Initial logits are small: a categorical model begins at about log2(n_classes) bits per sample.
OUTPUT_INIT_SCALE = 0.1

Fact = str | int | float | list[int] | None

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


class AutoregressiveModel(nn.Module, ABC, Generic[ConfigT]):
    """Base of all models.

    The `__init__` of a network builds the layers in any order, sets `output` and ends with
    `_finish_init`. A model without such layers extends `StatisticsModel`.

    Args:
        config: of the architecture.
        bits: of the codec; there are 2**bits codes.
        sample_rate: Hz.
        start_code: the input for the first sample of every clip; n_classes / 2 by default.

    Attributes:
        embedding: of the codes if the output is categorical, otherwise of their values.
        output: the last layer; it computes the params of the distribution.
        condition: the condition network; None for a model without conditions.
    """

    output: nn.Linear

    def __init__(self, config: ConfigT, bits: int, sample_rate: int, start_code: int | None = None):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.n_classes = 1 << bits
        self.start_code = self.n_classes // 2 if start_code is None else start_code
        self.distribution = make_distribution(config.output, bits)
        self.condition: ConditionModule | None = None

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
            start: (B,) int64, the sample of its clip at which each row begins; None: 0 for all
                rows. Its values are read, so a CPU tensor avoids a wait for the GPU.
            memory: of the earlier inputs, updated in place, by values without gradient. None:
                nothing is known of them, so a row that does not begin at sample 0 must begin with
                one receptive field of context, whose predictions are invalid.
        Returns:
            (B, T, H), the input of the output layers.
        """

    @abstractmethod
    def output_params(self, hidden: Tensor) -> Tensor:
        """Compute params (.., P) from the hidden states (.., H) by the output layers."""

    @abstractmethod
    def initial_memory(self, batch: int, device: torch.device | None = None) -> Memory:
        """Return the memory before the first sample, on the device of the model by default."""

    @abstractmethod
    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Read one code per row and predict the next.

        Args:
            memory: updated in place; its tensors stay the same objects.
            codes: (B,) int64, the newest code; for the first sample the start code.
            bias: (B, layers, bias width) of the conditions at this sample, or None.
        Returns:
            params (B, P).
        """

    @abstractmethod
    def network_facts(self) -> dict[str, Fact]:
        """Return facts of this architecture by name, such as depth and widths."""

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
        """Number of multiply-adds per generated sample, without the condition network."""
        condition = [] if self.condition is None else list(self.condition.parameters())
        skipped = {id(p) for p in [*condition, *self.embedding.parameters()]}
        return sum(p.numel() for p in self.parameters() if p.ndim > 1 and id(p) not in skipped)

    def forward(
        self, codes: Tensor, conditioning: Conditioning, start: Tensor | None = None
    ) -> Tensor:
        """Predict every sample of a recording from the samples before it (teacher forcing).

        Args:
            codes: (B, T) int64, the recording.
            conditioning, start: as in `hidden_states`.
        Returns:
            params (B, P, T); params[:, :, t] depend on codes[:, :t] only.
        """
        inputs = F.pad(codes[:, :-1], (1, 0), value=self.start_code)
        return self.output_params(self.hidden_states(inputs, conditioning, start)).transpose(1, 2)

    def nll(
        self,
        codes: Tensor,
        mask: Tensor,
        start: Tensor | None,
        conditioning: Conditioning,
        input_codes: Tensor,
    ) -> Tensor:
        """Sum the negative log-likelihood, in nats, of the targets given the codes before them.

        Args:
            codes: (B, T) int64; mask: (B, T) bool, true where a sample is a target.
            start, conditioning: as in `hidden_states`.
            input_codes: (B, T) int64, the input of the model: the codes, or the codes with noise.
        """
        params = self(input_codes, conditioning, start)  # (B, P, T)
        return sum_nll(
            self.distribution,
            params.transpose(1, 2).flatten(0, 1),
            codes.flatten(),
            mask.flatten(),
            mask_only=True,
        )

    def training_nll(
        self,
        codes: Tensor,
        mask: Tensor,
        start: Tensor | None,
        conditioning: Conditioning,
        input_codes: Tensor,
    ) -> Tensor:
        """Compute the objective of the training, in nats summed over the targets.

        It is `nll`, unless the architecture has another objective. It draws no random numbers, so
        that a resumed training continues exactly.

        Args:
            codes, mask, start, conditioning, input_codes: as in `nll`.
        """
        return self.nll(codes, mask, start, conditioning, input_codes)

    def conditioning(
        self,
        values: Sequence[Mapping[str, ConditionValue]],
        total_samples: Sequence[int],
        frame_features: Sequence[Tensor] | None = None,
        first_frame: Sequence[int] | None = None,
        device: torch.device | None = None,
    ) -> Conditioning:
        """Gather the conditions of a batch, one row per entry of the arguments.

        Args:
            values: per row, the condition values by name.
            total_samples: per row, the length of its clip in samples.
            frame_features: per row, the frames (F, columns) of `model.frame_features`.
            first_frame: per row, the index of the first frame of `frame_features` and of derived
                numbers with a value per frame; 0 by default.
            device: of the result; the device of the model by default.
        Raises:
            ConditionError: a value is missing, unknown, or does not fit.
        """
        config, batch = self.config, len(total_samples)
        device = self.device if device is None else device
        values = [resolve_condition_values(config, given) for given in values]
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
        """Device of the weights."""
        return self._first_tensor().device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self._first_tensor().dtype

    @property
    def receptive_field(self) -> int | None:
        """Past samples that one prediction can depend on, the newest included; None: all."""
        return self.config.receptive_field

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return the matrices between layers, without embeddings and the output layer."""
        tables = [m for m in self.modules() if isinstance(m, nn.Embedding | ScalarInput)]
        outer = {id(p) for module in (*tables, self.output) for p in module.parameters()}
        return [p for p in self.parameters() if p.ndim == 2 and id(p) not in outer]

    def _first_tensor(self) -> Tensor:
        """Return a weight, or of a model without weights a buffer."""
        return next(chain(self.parameters(), self.buffers()))

    def _add_embedding(self, channels: int) -> None:
        """Create the embedding of codes, or of their values if the output is not categorical."""
        is_categorical = isinstance(self.distribution, Categorical)
        make_input = nn.Embedding if is_categorical else ScalarInput
        self.embedding = make_input(self.n_classes, channels)

    def _finish_init(self) -> None:
        """Create the condition network, if any, and scale the output layer down."""
        if self.config.conditions:
            self.condition = ConditionNetwork(self.config, self.sample_rate)
        with torch.no_grad():
            self.output.weight.mul_(OUTPUT_INIT_SCALE)
            self.output.bias.mul_(OUTPUT_INIT_SCALE)


def frame_biases(
    conditioning: Conditioning, start: Tensor | None, samples: int
) -> tuple[Tensor | None, list[int]]:
    """Compute the bias frames of a sequence; layers interpolate them.

    Args:
        start: (B,) as in `AutoregressiveModel.hidden_states`.
        samples: length of the sequence.
    Returns:
        (B, F, layers, bias width), None without conditions; and the leads, a list with one entry
        per row or a single entry for all rows.
    """
    hop = conditioning.hop_length
    first, leads = torch.zeros_like(conditioning.total_samples), [0]
    if start is not None:
        first = (start // hop).to(first.device, non_blocking=True)
        leads = (start % hop).tolist()
    return conditioning.biases(first, frames_needed(max(leads), samples, hop)), leads


def sample_biases(conditioning: Conditioning, start: Tensor | None, samples: int) -> Tensor | None:
    """Compute the biases of every sample of a sequence; for a model without a faster way.

    Args:
        start: (B,) as in `AutoregressiveModel.hidden_states`.
        samples: T, length of the sequence.
    Returns:
        (B, T, layers, bias width), or None without conditions.
    """
    frames, leads = frame_biases(conditioning, start, samples)
    if frames is None:
        return None
    rows = interpolate_rows(frames.flatten(2), leads, samples, conditioning.hop_length)
    return rows.unflatten(2, frames.shape[2:])
