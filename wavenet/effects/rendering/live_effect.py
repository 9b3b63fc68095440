"""An effect between the input and the output of a sound device.

`LiveEffect` is the function that a stream calls for each block, in a thread of the sound system.
Input: recorded frames. Output: frames to play, limited. It counts what goes wrong and measures
levels; another thread reads them as a `LiveStatus`. Called by `wavenet effects live`.

A chain of gains and a compiled model uses only memory of the start: numpy makes views of it. A
cabinet, a mix, oversampling or an LSTM make temporary arrays, which are freed in the same block.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.effects.rendering.output_limiter import OutputLimiter
from wavenet.errors import ConfigError

Frames = NDArray[np.float32]
DEFAULT_CEILING_DB = -3.0
_SILENCE_DB = -120.0
_WARM_UP_BLOCKS = 3


@dataclass(frozen=True)
class LiveStatus:
    """What happened since the last status, and the counts since the start.

    Attributes:
        blocks: since the start.
        input_db, output_db: peaks since the last status, dB re full scale.
        limiter_db: largest reduction since the last status, dB, 0 or less.
        load: longest time of a block since the last status, as a part of the time of its sound.
        late_blocks: blocks that needed more than the time of their sound.
        underruns, overruns: blocks that the device could not play or record in time.
        invalid_samples: samples of the model that were not finite; they were played as 0.
    """

    blocks: int
    input_db: float
    output_db: float
    limiter_db: float
    load: float
    late_blocks: int
    underruns: int
    overruns: int
    invalid_samples: int

    def line(self) -> str:
        """Return one line for a terminal."""
        return (
            f"in {self.input_db:6.1f} dB  out {self.output_db:6.1f} dB  "
            f"limiter {self.limiter_db:5.1f} dB  load {100 * self.load:3.0f} %  "
            f"late {self.late_blocks}  underruns {self.underruns}  overruns {self.overruns}"
        )


class LiveEffect:
    """Filters blocks of frames; an instance is the callback of a stream.

    Args:
        chain: at the rate of the device.
        max_block: frames; longer calls are divided.
        input_channel: index of the recorded channel that is filtered.
        ceiling_db: largest level of the output, dB re full scale, at most 0.
        is_limited: whether the level is reduced; otherwise it is only cut off at full scale.
        abort: exception that ends the stream when it is raised in the callback.
    Attributes:
        error: of the callback, after which the stream ends; None before.
    Raises:
        ConfigError: the ceiling is out of range, or the chain cannot run live.
    """

    def __init__(
        self,
        chain: EffectChain,
        max_block: int,
        input_channel: int = 0,
        ceiling_db: float = DEFAULT_CEILING_DB,
        is_limited: bool = True,
        abort: type[Exception] = RuntimeError,
    ):
        if not -60 <= ceiling_db <= 0:
            raise ConfigError(f"the ceiling: expected -60 to 0 dB, found {ceiling_db:g}")
        self._chain, self._channel, self._abort = chain, input_channel, abort
        ceiling = 10 ** (ceiling_db / 20) if is_limited else 1.0
        self._limiter = OutputLimiter(ceiling, chain.sample_rate, is_limited)
        self._max_block = max_block
        outputs = chain.count_outputs(1)
        self._input: Frames = np.zeros((1, max_block), np.float32)
        self._output: Frames = np.zeros((outputs, max_block), np.float32)
        self._magnitudes: Frames = np.zeros((outputs, max_block), np.float32)
        self.error: Exception | None = None
        self._blocks = self._late = self._underruns = self._overruns = 0
        self._input_peak = self._output_peak = self._load = 0.0
        self._prepare()

    def __call__(
        self, recorded: Frames, played: Frames, frames: int, times: Any, flags: Any
    ) -> None:
        """Filter a block.

        Args:
            recorded, played: (frames, channels).
            frames: their number.
            times: of the device; not used.
            flags: what the device missed before this block.
        Raises:
            Exception: that of `abort`, after any error; `error` then has it.
        """
        start = time.perf_counter()
        try:
            self._count(flags)
            for first in range(0, frames, self._max_block):
                last = min(frames, first + self._max_block)
                self._filter(recorded[first:last], played[first:last])
        except Exception as error:  # in a foreign thread, where it would only be printed
            self.error = error
            played.fill(0)
            raise self._abort from None
        used = (time.perf_counter() - start) * self._chain.sample_rate / max(frames, 1)
        self._blocks += 1
        self._late += used > 1
        self._load = max(self._load, used)

    @property
    def status(self) -> LiveStatus:
        """The levels since the last call, and all counts; for one reader."""
        input_peak, output_peak, load = self._input_peak, self._output_peak, self._load
        self._input_peak = self._output_peak = self._load = 0.0
        return LiveStatus(
            self._blocks,
            *(_decibels(input_peak), _decibels(output_peak)),
            *(_decibels(self._limiter.take_lowest_gain()), load),
            *(self._late, self._underruns, self._overruns, self._limiter.invalid_samples),
        )

    def _prepare(self) -> None:
        """Run some blocks of silence, which compiles everything, then start anew."""
        self._state = self._chain.start(1, is_live=True)
        for _ in range(_WARM_UP_BLOCKS):
            self._chain.process(self._state, self._input, self._output)
            self._limiter.process(self._magnitudes)
        self._state = self._chain.start(1, is_live=True)

    def _count(self, flags: Any) -> None:
        if flags:
            self._underruns += bool(flags.output_underflow)
            self._overruns += bool(flags.input_overflow)

    def _filter(self, recorded: Frames, played: Frames) -> None:
        """Filter at most `max_block` frames."""
        count = len(recorded)
        x, y = self._input[:, :count], self._output[:, :count]
        scratch = self._magnitudes[:, :count]
        x[0] = recorded[:, self._channel]
        np.abs(x[0], out=scratch[0])
        self._input_peak = max(self._input_peak, float(scratch[0].max()))
        self._chain.process(self._state, x, y)
        self._limiter.process(y)
        np.abs(y, out=scratch)
        self._output_peak = max(self._output_peak, float(scratch.max()))
        for channel in range(played.shape[1]):
            played[:, channel] = y[min(channel, len(y) - 1)]


def _decibels(peak: float) -> float:
    return 20 * math.log10(peak) if peak > 10 ** (_SILENCE_DB / 20) else _SILENCE_DB
