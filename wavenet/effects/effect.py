"""Interface of the torch modules of effects: a filter with an explicit state.

A module stores nothing between calls. `process` computes the next block of a waveform and returns
the state after it; blocks of any sizes give the same output. `forward` filters a whole clip from
the state that silence leaves, as the reference does: its programs feed zeros of input before the
first sample. Zeros inside the network would be another state, because of the biases.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from wavenet.effects.nam_weights import Weights

# Tensors of the past, in the order of the layers; of parts of the effect, their states.
EffectState = tuple["Tensor | EffectState", ...]


class Effect(nn.Module, ABC):
    """A causal filter of waveforms.

    Attributes:
        in_channels, out_channels: of the waveforms.
        receptive_field: samples that an output depends on; None if unlimited.
        warm_up: samples of silence before the first sample of a clip.
    """

    def __init__(
        self, in_channels: int, out_channels: int, receptive_field: int | None, warm_up: int
    ):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.receptive_field = receptive_field
        self.warm_up = warm_up

    @abstractmethod
    def zero_state(self, batch: int = 1) -> EffectState:
        """Return the state before any input, to which `initial_state` feeds silence."""

    @abstractmethod
    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """Compute the next samples.

        Args:
            state: after the earlier blocks; it is not changed.
            block: (B, in_channels, T), T at least 1.
        Returns:
            (B, out_channels, T), and the state after this block.
        """

    @abstractmethod
    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """Copy weights by the names of `nam_weights`; containers have none of their own."""

    @abstractmethod
    def tensors(self) -> dict[str, Weights]:
        """Return copies of the weights by the names of `nam_weights`."""

    def initial_state(self, batch: int = 1) -> EffectState:
        """Return the state that silence leaves, for a batch of clips."""
        silence = self._reference_tensor().new_zeros(batch, self.in_channels, self.warm_up)
        return self.process(self.zero_state(batch), silence)[1]

    def forward(self, waveform: Tensor) -> Tensor:
        """Filter whole clips: (B, in_channels, T) to (B, out_channels, T)."""
        return self.process(self.initial_state(waveform.shape[0]), waveform)[0]

    def valid_outputs(self, waveform: Tensor) -> Tensor:
        """Return the outputs whose whole receptive field is in the waveform, for training.

        Args:
            waveform: (B, in_channels, T), T at least the receptive field.
        Returns:
            (B, out_channels, T - receptive_field + 1).
        """
        if self.receptive_field is None:
            raise ValueError("a recurrent effect has no receptive field")
        outputs, _ = self.process(self.zero_state(waveform.shape[0]), waveform)
        return outputs[:, :, self.receptive_field - 1 :]

    def _reference_tensor(self) -> Tensor:
        """Return a tensor whose device and dtype are those of the weights."""
        return next(iter(self.state_dict().values()), torch.zeros(0))


def inner_state(state: EffectState, index: int) -> EffectState:
    """Return an entry of a state that is the state of a part."""
    entry = state[index]
    assert isinstance(entry, tuple)
    return entry


def past_tensor(state: EffectState, index: int) -> Tensor:
    """Return an entry of a state that is a tensor."""
    entry = state[index]
    assert isinstance(entry, Tensor)
    return entry
