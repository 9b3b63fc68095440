"""The fast engine of effects: one core, blocks of any length, no memory allocated per block.

Input: a `NamModel`. Output: an `EffectEngine`. The torch modules define the result; an engine
differs from them by rounding. A model without recurrent parts is translated into tables
(`effect_program`), which one compiled loop runs (`effect_loop`); the others, LSTMs, run in torch.
docs/development/effect-engine.md has the method and measured speeds.

    engine = load_engine(read_nam(path))
    state = engine.initial_state()
    out = engine.process(state, block)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.effects import effect_loop as loop
from wavenet.effects.effect import EffectState
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.effect_program import has_program, translate_model
from wavenet.effects.effect_shapes import FeedForwardShape, SizeChoiceShape
from wavenet.effects.effect_tables import EffectProgram
from wavenet.effects.nam_model import NamModel
from wavenet.errors import ConfigError

Samples = NDArray[np.float32]


class LoopState:
    """The past of one clip and the work memory; `process` changes it.

    Attributes:
        arena: all buffers.
        positions: of all rings.
        starts: work memory of products.
        stage_in, stage_out: the parts of the arena for input and output, (channels, samples).
    """

    def __init__(self, program: EffectProgram, arena: Samples, positions: NDArray[np.int64]):
        self._program = program
        self.arena, self.positions = arena, positions
        self.starts = np.zeros(3 * program.largest_product, np.int64)
        self.stage_in = program.rows_of(arena, 0)
        self.stage_out = program.rows_of(arena, len(positions) - 1)

    def copy(self) -> "LoopState":
        """Return an independent state with the same past."""
        return LoopState(self._program, self.arena.copy(), self.positions.copy())


@dataclass
class TorchState:
    """The past of one clip as the torch module stores it; `process` replaces it."""

    past: EffectState

    def copy(self) -> "TorchState":
        """Return an independent state with the same past; tensors are never changed."""
        return TorchState(self.past)


State = TypeVar("State", LoopState, TorchState)


class EffectEngine(ABC, Generic[State]):
    """A causal filter of float32 blocks.

    Attributes:
        in_channels, out_channels: of the waveforms.
        sample_rate: of the model, Hz.
    """

    def __init__(self, model: NamModel):
        self.in_channels, self.out_channels = model.in_channels, model.out_channels
        self.sample_rate = model.rate

    @abstractmethod
    def initial_state(self) -> State:
        """Return a new state of one clip: that which silence leaves."""

    @abstractmethod
    def process(self, state: State, block: Samples, out: Samples | None = None) -> Samples:
        """Compute the next samples of a clip.

        Args:
            state: after the earlier blocks; it is changed.
            block: (T,), or (in_channels, T) if there are several channels; T from 0.
            out: memory for the result; it may be `block` itself. Without it, an array is made.
        Returns:
            out: (T,), or (out_channels, T) if there are several channels.
        """

    def _check(self, block: Samples, out: Samples | None) -> tuple[Samples, Samples, Samples]:
        """Return input (in_channels, T), output (out_channels, T), and the output as returned."""
        expected = 1 if self.in_channels == 1 else 2
        if block.ndim != expected or (expected == 2 and block.shape[0] != self.in_channels):
            raise ValueError(
                f"the block has the shape {block.shape}; the model has {self.in_channels} input "
                f"channels: expected {'(T,)' if expected == 1 else f'({self.in_channels}, T)'}"
            )
        samples = block.shape[-1]
        shape = (samples,) if self.out_channels == 1 else (self.out_channels, samples)
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape:
            raise ValueError(f"out has the shape {out.shape}; expected {shape}")
        return (
            block.reshape(self.in_channels, samples) if expected == 1 else block,
            out.reshape(1, samples) if self.out_channels == 1 else out,
            out,
        )


class LoopEngine(EffectEngine[LoopState]):
    """Runs the tables of a model in the compiled loop."""

    def __init__(self, model: NamModel, size: float | None = None):
        super().__init__(model)
        self._program: EffectProgram = translate_model(model, size)
        self._warm_up = _warm_up_samples(model, size)
        self._start: LoopState | None = None

    def initial_state(self) -> LoopState:
        """See `EffectEngine.initial_state`; the silence is computed once."""
        if self._start is None:
            state = self._zero_state()
            silence = np.zeros((self.in_channels, self._warm_up), np.float32)
            self.process(state, silence[0] if self.in_channels == 1 else silence)
            self._start = state
        return self._start.copy()

    def process(self, state: LoopState, block: Samples, out: Samples | None = None) -> Samples:
        """See `EffectEngine.process`."""
        x, y, result = self._check(block, out)
        program, samples = self._program, x.shape[1]
        for first in range(0, samples, loop.STAGE):
            count = min(loop.STAGE, samples - first)
            state.stage_in[:, :count] = x[:, first : first + count]
            loop.process(
                *(program.operations, program.segments, program.buffers, program.weights),
                *(state.positions, state.arena, state.starts, count),
            )
            y[:, first : first + count] = state.stage_out[:, :count]
        return result

    def _zero_state(self) -> LoopState:
        """Return the state before any input."""
        program = self._program
        arena = np.zeros(program.arena_size, np.float32)
        for rows, values in program.fills:
            program.rows_of(arena, rows.buffer)[:] = np.array(values, np.float32)[:, None]
        return LoopState(program, arena, np.zeros(program.buffer_count, np.int64))


class TorchEngine(EffectEngine[TorchState]):
    """Runs the torch definition, for models with recurrent parts."""

    def __init__(self, model: NamModel, size: float | None = None):
        super().__init__(model)
        self._effect = build_effect(model, size)

    def initial_state(self) -> TorchState:
        """See `EffectEngine.initial_state`."""
        with torch.inference_mode():
            return TorchState(self._effect.initial_state())

    def process(self, state: TorchState, block: Samples, out: Samples | None = None) -> Samples:
        """See `EffectEngine.process`."""
        x, y, result = self._check(block, out)
        if x.shape[1]:
            with torch.inference_mode():
                tensor = torch.from_numpy(np.array(x, np.float32))[None]
                computed, state.past = self._effect.process(state.past, tensor)
            y[:] = computed[0].numpy()
        return result


def load_engine(model: NamModel, size: float | None = None) -> LoopEngine | TorchEngine:
    """Return the fastest engine for a model.

    Args:
        model: as `nam_file` reads it.
        size: of a container of sizes, from 0 to 1; None for the largest.
    Raises:
        ConfigError: the model needs knob values.
    """
    if isinstance(model.shape, FeedForwardShape) and model.shape.knob_channels:
        raise ConfigError("this model has knobs; choose their values with fold_knobs first")
    return LoopEngine(model, size) if has_program(model) else TorchEngine(model, size)


def _warm_up_samples(model: NamModel, size: float | None) -> int:
    """Return how many zeros the torch definition feeds before the first sample."""
    if isinstance(model.shape, SizeChoiceShape):
        return _warm_up_samples(model.parts[model.shape.select(size)], size)
    if isinstance(model.shape, FeedForwardShape) and model.shape.past_inputs is not None:
        return 0
    return model.warm_up
