"""Draw clips window by window, side by side, and again where one runs away.

Streams enter, at the beginning or at any window; stretches of codes and waveforms leave. A stream
has its own noise and its own past, so that what it becomes does not depend on its neighbours. What
counts as run away is the guard's to say. Callers: `generate` and `many`.
"""

import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines.base import Engine, StateT
from wavenet.generation.guard import DegenerationDetector, Retry, Window
from wavenet.model.conditioning import Conditioning
from wavenet.sampling import rows_per_clip

# Attempt k at sample t has the noise of sample t + k * FAR of the same clip. No clip is that long,
# so this noise is met nowhere else, whatever seeds and items there are.
RETRY_NOISE_OFFSET = 1 << 40
HELD_BACK_WINDOWS = 2  # windows drawn again at once, the newest and the one before


@dataclass(eq=False)
class ActiveClip:
    """A clip under way.

    Attributes:
        index: of its item.
        samples: to draw.
        noise: (first, n) to n uniforms, those of its samples first .. first + n - 1.
        prompt: (T,) int64 codes.
        conditioning: one row; with guidance a second, without what may be left out.
        watch: None where nothing is to be drawn again.
        drawn, left: samples that were drawn, and that have left.
        tries: attempts so far; no noise is used twice.
        lost: no attempt helped, until it is fine by itself.
        line: the newest stretches.
        rescues: what was drawn again and is not out yet.
    """

    index: int
    samples: int
    noise: Callable[[int, int], Tensor]
    prompt: Tensor
    conditioning: Conditioning
    watch: DegenerationDetector | None = None
    drawn: int = 0
    left: int = 0
    tries: int = 0
    lost: bool = False
    line: deque[Window] = field(init=False)
    rescues: list[Retry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = deque(maxlen=1 if self.watch is None else self.watch.depth)


class CommittedWindow(NamedTuple):
    """A stretch that will not be taken back, and what was drawn again from it on."""

    stream: ActiveClip
    stretch: Window
    rescues: list[Retry]


@dataclass
class _Rows:
    """A state and the streams that its rows are, `rows_per_clip` of them each."""

    state: Any
    streams: list[ActiveClip]


def copy_state(engine: Engine[StateT], state: StateT) -> StateT:
    """Copy a state: what the engine does to one of the two is not seen in the other.

    `select` would do; it takes three times as long, and this happens once a window.
    """
    parts = vars(state)
    if not all(isinstance(part, Tensor | list | int | Conditioning) for part in parts.values()):
        return engine.select(state, range(state.position.shape[0]))
    copied = copy.copy(state)  # conditioning is a value, and shared
    for name, part in parts.items():
        if isinstance(part, Tensor):
            setattr(copied, name, part.clone())
        elif isinstance(part, list):
            setattr(copied, name, [value.clone() for value in part])
    return copied


class BatchDecoder:
    """Streams that are drawn side by side.

    Args:
        runner: engine of the model.
        sampling: how samples are drawn.
        window: samples that are drawn between two looks at a clip.
        decode: codes to waveform.
    """

    def __init__(
        self,
        runner: Engine[Any],
        sampling: SamplingConfig,
        window: int,
        decode: Callable[[Tensor], Tensor],
    ):
        self._runner, self._sampling = runner, sampling
        self._window, self._decode = window, decode
        self._now: _Rows | None = None
        # before each window of which something may be drawn again
        self._before: deque[_Rows] = deque(maxlen=HELD_BACK_WINDOWS)

    @property
    def streams(self) -> list[ActiveClip]:
        """Those that are not complete."""
        return [] if self._now is None else self._now.streams

    def admit(self, streams: Sequence[ActiveClip]) -> None:
        """Take streams in; they begin with the next window."""
        if not streams:
            return
        each = rows_per_clip(self._sampling)
        conditioning = reduce(Conditioning.join, [stream.conditioning for stream in streams])
        state = self._runner.start(conditioning)
        self._runner.prefill(state, [s.prompt for s in streams for _ in range(each)])
        self._now = self._joined(self._now, _Rows(state, list(streams)))

    def advance(self) -> list[CommittedWindow]:
        """Draw one window of every stream; gives what is out, which lags where there is a guard.

        What has left is never taken back. So a window is withheld until the one after it is fine,
        too: noise that began late in a window is seen in the next, and must not be its past.
        """
        assert self._now is not None
        streams = self._now.streams
        if any(stream.watch for stream in streams):
            self._before.append(_Rows(copy_state(self._runner, self._now.state), streams))
        self._now, drawn = self._draw(self._now, [(stream.drawn, 0) for stream in streams])
        for stream, stretch in zip(streams, drawn, strict=True):
            stream.line.append(stretch)
            stream.drawn = stretch.last
        for stream in streams:
            self._look(stream)
        return [released for stream in streams for released in _release(stream)]

    def _look(self, stream: ActiveClip) -> None:
        """Draw again what has run away, unless that was in vain before."""
        if stream.watch is None:
            return
        reason = stream.watch.fault(stream.line, stream.lost)
        if reason is None:
            stream.lost = False
        elif not stream.lost:
            rescue = self._rescue(stream, stream.watch, reason)
            stream.rescues.append(rescue)
            stream.lost = not rescue.solved

    def _rescue(self, stream: ActiveClip, watch: DegenerationDetector, reason: str) -> Retry:
        """Draw what is withheld of a stream again, with other noise."""
        count = min(HELD_BACK_WINDOWS, len(stream.line))
        before = list(self._before)[-count:]
        tried, solved = stream.tries, False
        # greedy heeds no noise
        for _ in range(0 if self._sampling.greedy else watch.guard.attempts):
            stream.tries += 1
            rows, solved = self._only(before[0], stream), True
            for k, past in zip(range(-count, 0), before, strict=True):
                self._put(past, rows)
                first = stream.line[k].first
                rows, (stream.line[k],) = self._draw(rows, [(first, stream.tries)])
                # the window before may have run away, too, this time
                line = list(stream.line)
                solved &= watch.fault(line[: len(line) + k + 1]) is None
            if rows.streams and self._now is not None:
                self._put(self._now, rows)
            if solved:
                break
        first, last = stream.line[-count].first, stream.line[-1].last
        return Retry(stream.index, first, last, reason, stream.tries - tried, solved)

    def _draw(self, rows: _Rows, places: Sequence[tuple[int, int]]) -> tuple[_Rows, list[Window]]:
        """Draw a window of streams, less of one that ends in it.

        Args:
            rows: what they are before; its state is changed.
            places: per stream its first sample, and which attempt it is.
        Returns:
            those that go on, and the stretches.
        """
        ends = [
            min(self._window, stream.samples - first)
            for stream, (first, _) in zip(rows.streams, places, strict=True)
        ]
        parts: list[list[Tensor]] = [[] for _ in ends]
        running, made = list(range(len(ends))), 0
        going = rows
        while running and made < self._window:
            n = min(ends[k] for k in running) - made
            noise = [
                rows.streams[k].noise(places[k][0] + made + places[k][1] * RETRY_NOISE_OFFSET, n)
                for k in running
            ]
            device = going.state.position.device
            codes = self._runner.run(
                going.state, n, self._sampling, torch.stack(noise).to(device)
            ).cpu()
            for k, row in zip(running, codes, strict=True):
                parts[k].append(row)
            made += n
            staying = [k for k in running if places[k][0] + made < rows.streams[k].samples]
            going = self._kept(going, [rows.streams[k] for k in staying])
            running = staying
        stretches = []
        for (first, _), part in zip(places, parts, strict=True):
            drawn = torch.cat(part)
            last = first + drawn.numel()
            stretches.append(Window(first, last, drawn, self._decode(drawn)))
        return going, stretches

    def _kept(self, rows: _Rows, streams: list[ActiveClip]) -> _Rows:
        """Keep some streams."""
        if len(streams) == len(rows.streams):
            return rows
        if not streams:
            return _Rows(None, [])
        each = rows_per_clip(self._sampling)
        places = [rows.streams.index(stream) for stream in streams]
        index = [each * place + k for place in places for k in range(each)]
        return _Rows(self._runner.select(rows.state, index), streams)

    def _only(self, rows: _Rows, stream: ActiveClip) -> _Rows:
        """Copy what a state remembers of one stream."""
        kept = self._kept(rows, [stream])
        return kept if kept is not rows else _Rows(copy_state(self._runner, rows.state), [stream])

    def _joined(self, rows: _Rows | None, others: _Rows) -> _Rows:
        if rows is None or not rows.streams:
            return others
        state = self._runner.join(rows.state, others.state)
        return _Rows(state, [*rows.streams, *others.streams])

    def _put(self, rows: _Rows, drawn: _Rows) -> None:
        """Put a copy of what one stream has become in the place of what it was."""
        (stream,) = drawn.streams
        others = self._kept(rows, [other for other in rows.streams if other is not stream])
        joined = self._joined(others, self._only(drawn, stream))
        rows.state, rows.streams = joined.state, joined.streams


def _release(stream: ActiveClip) -> list[CommittedWindow]:
    """Let out what will not be taken back."""
    withheld = (
        0 if stream.watch is None or stream.drawn == stream.samples else HELD_BACK_WINDOWS - 1
    )
    found = [s for s in list(stream.line)[: len(stream.line) - withheld] if s.first >= stream.left]
    rescues, released = stream.rescues, []
    for stretch in found:
        stream.left = stretch.last
        released.append(CommittedWindow(stream, stretch, rescues))
        rescues = []
    if found:
        stream.rescues = rescues
    return released
