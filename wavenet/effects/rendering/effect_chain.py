"""The chain from a dry to a wet waveform, block by block, with an explicit state.

    dry ─ input gain ─ to the rate of the model ─ oversampling ─ model ─ to the rate of the sound ─┐
     └───────────────────────────────────────────── mix ─ loudness ─ cabinet, mono or stereo ──────┘

The offset of the model is removed on request, right after it. Channels are computed alike, each
with its own state; a cabinet with two responses makes two channels of one. The trim is after the
mix. In an aligned state the latencies of all parts are removed: sample n of the output belongs to
sample n of the input, so the first blocks are shorter, and `finish` returns the rest. In a live
state every block has the length of its input, and is late by `latency`.

    chain = EffectChain(model, 48_000, ChainSettings(mix=0.5), response)
    state = chain.start(channels)
    out = chain.process(state, block)       # (channels, n) to (channels, m)
    rest = chain.finish(state)

Input: a `NamModel`. Called by `render_file`, `live_effect` and the studio.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from wavenet.effects.effect_engine import LoopState, TorchState, load_engine
from wavenet.effects.impulse_response import ImpulseResponse
from wavenet.effects.nam_model import NamModel
from wavenet.effects.oversampling import Oversampler, OversamplingState
from wavenet.effects.partitioned_convolution import ConvolutionState, PartitionedConvolver
from wavenet.effects.rendering.chain_settings import (
    ChainSettings,
    calibration_gain_db,
    gain_of,
    loudness_gain_db,
)
from wavenet.effects.rendering.offset_filter import OffsetFilter, OffsetState
from wavenet.effects.rendering.oversampled_model import oversample_model, select_size
from wavenet.errors import ConfigError

Block = NDArray[np.float32]
Wide = NDArray[np.floating[Any]]
MAX_RATE_RATIO = 1000  # between the rates of model and sound
_RESAMPLER_MARGIN = 64  # samples of silence after the end, more than both conversions round off


@dataclass(eq=False)
class ChannelState:
    """The past of one channel before the cabinet; `EffectChain` changes it.

    Attributes:
        model: of the engine.
        oversampling: of its filters.
        to_model, to_sound: resamplers; None at equal rates.
        late: samples at the rate of the model that are still to be removed.
        offset: of the offset filter; not used without one.
    """

    model: LoopState | TorchState
    offset: OffsetState
    oversampling: OversamplingState
    to_model: Any
    to_sound: Any
    late: int


@dataclass(eq=False)
class ChainState:
    """The past of a clip; `EffectChain` changes it.

    Attributes:
        channels: one state per channel of the input.
        cabinet: of the convolution; None without a cabinet.
        late: samples of the cabinet that are still to be removed.
        dry: (channels, n), samples whose wet ones are not there yet.
        received, returned: samples of the input and of the output so far.
    """

    channels: list[ChannelState]
    cabinet: ConvolutionState | None
    late: int
    dry: Block
    received: int = 0
    returned: int = 0


class EffectChain:
    """Gain, model, cabinet and mix at one sample rate.

    Args:
        model: with one input and one output channel, without knobs.
        sample_rate: of the sound, Hz.
        settings: see `ChainSettings`.
        response: of the cabinet, at the rate of the sound, or None.
    Attributes:
        sample_rate: of the sound, Hz.
        resamples: whether the model has another rate.
        latency: samples by which the blocks of a live state are late.
        offset: output at silence, which the model makes and no filter removes.
        tail: samples of sound after the end of the input, by the cabinet.
    Raises:
        ConfigError: the model or its rate cannot be used in this way.
    """

    def __init__(
        self,
        model: NamModel,
        sample_rate: int,
        settings: ChainSettings | None = None,
        response: ImpulseResponse | None = None,
    ):
        settings = settings or ChainSettings()
        _check_model(model, sample_rate, settings)
        self.sample_rate, self.settings = sample_rate, settings
        self._model_rate = model.rate
        self.resamples = model.rate != sample_rate
        chosen = select_size(model, settings.size)
        self._engine = load_engine(oversample_model(chosen, settings.oversampling))
        self._silence_level = self._measure_silence()
        self._offset_filter = None
        if settings.removes_offset:
            self._offset_filter = OffsetFilter(model.rate * settings.oversampling)
        self._oversampler = Oversampler(settings.oversampling)
        driven = settings.input_gain_db
        if settings.interface_dbu is not None:
            driven += calibration_gain_db(model, settings.interface_dbu)
        self._input_gain = np.float32(gain_of(driven))
        matched = loudness_gain_db(model) if settings.matches_loudness else 0.0
        self._wet_gain = np.float32(gain_of(matched) * settings.mix)
        self._dry_gain = np.float32(1 - settings.mix)
        self._trim = np.float32(gain_of(settings.trim_db))
        self._kept_level = 0.0 if settings.removes_offset else self._silence_level
        self.offset = float(self._kept_level * self._wet_gain * self._trim)
        self._cabinet, self._cabinet_latency, self.tail = None, 0, 0
        if response is not None:
            if response.rate != sample_rate:
                raise ValueError(f"the response is at {response.rate} Hz, not {sample_rate} Hz")
            self._cabinet = PartitionedConvolver(response.samples)
            self._cabinet_latency, self.tail = response.latency, self._cabinet.tail
            sums = response.samples.sum(axis=1)
            self.offset *= float(sums[np.argmax(np.abs(sums))])
        self.latency = self._oversampler.latency + self._cabinet_latency
        # The blocks of such a chain need no memory but that of the caller.
        self._is_direct = (
            settings.oversampling == 1
            and settings.mix == 1
            and self._cabinet is None
            and not self.resamples
        )

    def count_outputs(self, channels: int) -> int:
        """Return the channels of the output."""
        return max(channels, self._cabinet.response_channels if self._cabinet else 1)

    def start(self, channels: int = 1, is_live: bool = False) -> ChainState:
        """Return the state of silence.

        Args:
            channels: of the input.
            is_live: whether every block has the length of its input; see the head of this file.
        Raises:
            ConfigError: a live chain has another rate than its model; a cabinet with two responses
                does not fit the channels.
        """
        if is_live and self.resamples:
            raise ConfigError(
                f"live sound cannot be resampled: the model has {self._model_rate:g} Hz, the sound "
                f"{self.sample_rate} Hz; run the device at the rate of the model"
            )
        cabinet = None
        if self._cabinet is not None:
            if self._cabinet.response_channels not in (1, channels) and channels != 1:
                raise ConfigError(
                    f"the sound has {channels} channels, and the impulse response "
                    f"{self._cabinet.response_channels}; use a response of one channel, or sound "
                    "of one or two"
                )
            cabinet = self._cabinet.start(channels)
            if self._kept_level:  # the cabinet has heard the model before
                past = np.full((channels, self._cabinet.tail + 1), self._kept_level)
                self._cabinet.process(cabinet, past)
        waiting = self.latency if is_live else 0
        states = [self._start_channel(is_live) for _ in range(channels)]
        return ChainState(
            states,
            cabinet,
            0 if is_live else self._cabinet_latency,
            np.zeros((channels, waiting), np.float32),
        )

    def process(self, state: ChainState, block: Block, out: Block | None = None) -> Block:
        """Compute the next samples of a clip.

        Args:
            state: after the earlier blocks; it is changed.
            block: (channels, n), n from 0.
            out: (output channels, n), memory for the result of a live state; not `block` itself.
        Returns:
            (output channels, m); m is n in a live state.
        """
        if len(block) != len(state.channels):
            raise ValueError(f"expected {len(state.channels)} channels, found {len(block)}")
        state.received += block.shape[1]
        if self._is_direct:
            out = np.empty_like(block) if out is None else out
            self._process_directly(state, block, out)
            state.returned += block.shape[1]
            return out
        result = self._process(state, block, is_last=False)
        if out is None:
            return result
        out[:] = result
        return out

    def finish(self, state: ChainState, with_tail: bool = False) -> Block:
        """Return the samples that are missing after the last block.

        Args:
            state: aligned; it cannot be used afterwards.
            with_tail: whether the sound of the cabinet after the end is included.
        Returns:
            (output channels, m); all blocks together are as long as the input, and the tail.
        """
        wanted = state.received - state.returned + (self.tail if with_tail else 0)
        silence = self.tail * with_tail + self._cabinet_latency
        silence += math.ceil(self._oversampler.latency * self.sample_rate / self._model_rate)
        silence += _RESAMPLER_MARGIN * self.resamples
        if self._is_direct:
            return np.zeros((len(state.channels), 0), np.float32)
        block = np.zeros((len(state.channels), silence), np.float32)
        rest = self._process(state, block, is_last=True)
        return rest[:, :wanted]

    def render_blocks(
        self, blocks: Iterable[Block], channels: int, with_tail: bool = False
    ) -> Iterator[Block]:
        """Yield the wet blocks of a clip: (output channels, m), as long together as the input."""
        state = self.start(channels)
        for block in blocks:
            yield self.process(state, block)
        yield self.finish(state, with_tail)

    def render(self, waveform: Block, with_tail: bool = False) -> Block:
        """Return a whole clip (channels, T), or (T,) for one channel in and out."""
        rows = np.atleast_2d(np.asarray(waveform, np.float32))
        parts = list(self.render_blocks([rows], len(rows), with_tail))
        joined: Block = np.concatenate(parts, axis=1)
        return joined[0] if np.ndim(waveform) == 1 and len(joined) == 1 else joined

    def _start_channel(self, is_live: bool) -> ChannelState:
        to_model, to_sound = None, None
        if self.resamples:
            to_model = soxr.ResampleStream(
                self.sample_rate, self._model_rate, 1, dtype="float32", quality="HQ"
            )
            to_sound = soxr.ResampleStream(
                self._model_rate, self.sample_rate, 1, dtype="float32", quality="HQ"
            )
        late = 0 if is_live else self._oversampler.latency
        start = self._engine.initial_state()
        offset = np.zeros(2)
        if self._offset_filter is not None:
            offset = self._offset_filter.start(self._silence_level)
        return ChannelState(start, offset, self._oversampler.start(), to_model, to_sound, late)

    def _process_directly(self, state: ChainState, block: Block, out: Block) -> None:
        np.multiply(block, self._input_gain, out=out)
        for row, channel in zip(out, state.channels, strict=True):
            self._run_model(channel, row, row)
        np.multiply(out, self._wet_gain, out=out)
        np.multiply(out, self._trim, out=out)

    def _process(self, state: ChainState, block: Block, is_last: bool) -> Block:
        pairs = zip(state.channels, block * self._input_gain, strict=True)
        rows = [self._filter_channel(channel, x, is_last) for channel, x in pairs]
        wet: Wide = np.stack(rows)
        if self._cabinet is not None and state.cabinet is not None:
            wet = self._cabinet.process(state.cabinet, wet)
        if state.late:
            removed = min(state.late, wet.shape[1])
            wet, state.late = wet[:, removed:], state.late - removed
        output = np.asarray(wet, np.float32) * self._wet_gain
        if self._dry_gain:
            dry = np.concatenate([state.dry, block], axis=1)
            if is_last:  # rounding of the rates
                dry = np.pad(dry, ((0, 0), (0, max(0, output.shape[1] - dry.shape[1]))))
            output += self._dry_gain * dry[:, : output.shape[1]]
            state.dry = dry[:, output.shape[1] :]
        output *= self._trim
        state.returned += output.shape[1]
        return output

    def _filter_channel(self, state: ChannelState, samples: Block, is_last: bool) -> Block:
        """Return a channel after the model, at the rate of the sound."""
        if state.to_model is not None:
            samples = state.to_model.resample_chunk(samples, last=is_last)
        if self._oversampler.factor == 1:
            wet = self._run_model(state, samples, None)
        else:
            wide = self._oversampler.up(state.oversampling, samples.astype(np.float64))
            run = self._run_model(state, wide.astype(np.float32), None)
            low = self._oversampler.down(state.oversampling, run.astype(np.float64))
            wet = low.astype(np.float32)
        if state.late:
            removed = min(state.late, len(wet))
            wet, state.late = wet[removed:], state.late - removed
        if state.to_sound is not None:
            wet = state.to_sound.resample_chunk(np.ascontiguousarray(wet), last=is_last)
        return wet

    def _run_model(self, state: ChannelState, samples: Block, out: Block | None) -> Block:
        """Run the engine and remove its offset; a state is of the engine that made it."""
        engine: Any = self._engine
        result: Block = engine.process(state.model, samples, out)
        if self._offset_filter is not None:
            self._offset_filter.process(state.offset, result)
        return result

    def _measure_silence(self) -> float:
        """Return the output of the model at silence."""
        engine: Any = self._engine
        return float(engine.process(engine.initial_state(), np.zeros(1, np.float32))[0])


def _check_model(model: NamModel, sample_rate: int, settings: ChainSettings) -> None:
    """Raise ConfigError for a model that the chain cannot use."""
    if (model.in_channels, model.out_channels) != (1, 1):
        raise ConfigError(
            f"the model has {model.in_channels} input and {model.out_channels} output channels; "
            "expected one of each, because channels are filtered separately"
        )
    if settings.rate_policy == "refuse" and model.rate != sample_rate:
        raise ConfigError(
            f"the sound has {sample_rate} Hz, the model {model.rate:g} Hz, and resampling is "
            "refused; convert the sound, or use --rate-policy resample"
        )
    if not 1 / MAX_RATE_RATIO <= model.rate / sample_rate <= MAX_RATE_RATIO:
        raise ConfigError(
            f"the model has {model.rate:g} Hz and the sound {sample_rate} Hz: too different to "
            "resample; the sample rate in the file of the model is probably damaged"
        )
