"""Draw clips window by window, side by side; draw degenerate windows again.

Input: active clips, which may join before any window. Output: committed windows of codes and
waveforms. Each clip has its own noise and its own past, so its audio does not depend on the other
clips. The guard decides which windows are degenerate. Called by `generate`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wavenet.engines.engine import Engine, has_finite_predictions
from wavenet.errors import PredictionsNotFinite
from wavenet.generation.guard import DegenerationDetector, Retry, Window
from wavenet.model.conditioning import Conditioning
from wavenet.sampling import SamplingConfig, rows_per_clip

# Attempt k, or candidate k of a search, uses for sample t the noise of sample
# t + k * ATTEMPT_NOISE_STRIDE of the same clip. No clip is that long, so this noise is used for no
# other sample, for any seeds and noise streams.
ATTEMPT_NOISE_STRIDE = 1 << 40
REDRAWN_WINDOWS = 2  # windows drawn again together, the newest and the one before
# Attempts after which the guard stops checking a clip: a constant, plus this number per window.
FREE_ATTEMPTS, ATTEMPTS_PER_WINDOW = 12, 0.25


@dataclass(eq=False)
class ActiveClip:
    """A clip that is being generated.

    Attributes:
        index: of its request.
        samples: number of samples to draw.
        noise: (first, n) -> n uniforms, those of its samples first .. first + n - 1.
        prompt: (T,) int64 codes.
        prompt_end: the last sample of the decoded prompt; 0 without a prompt.
        conditioning: one row; with guidance a second one without the droppable conditions.
        detector: None without a guard.
        drawn, committed: numbers of drawn and of final samples.
        attempts: attempts of the whole clip so far, so that each attempt has new noise.
        attempts_exhausted: all attempts failed; False again when the clip recovers by itself.
        history: the newest windows.
        retries: those that are not reported yet.
    """

    index: int
    samples: int
    noise: Callable[[int, int], Tensor]
    prompt: Tensor
    conditioning: Conditioning
    detector: DegenerationDetector | None = None
    prompt_end: float = 0.0
    drawn: int = 0
    committed: int = 0
    attempts: int = 0
    attempts_exhausted: bool = False
    history: deque[Window] = field(init=False)
    retries: list[Retry] = field(default_factory=list)

    def __post_init__(self) -> None:
        length = 1 if self.detector is None else self.detector.history_windows
        self.history = deque(maxlen=length)

    @property
    def last_sample(self) -> float:
        """The newest sample of the waveform."""
        return float(self.history[-1].waveform[-1]) if self.history else self.prompt_end

    def commit(self) -> "list[CommittedWindow]":
        """Return the windows that became final: they will not be drawn again."""
        is_final = self.detector is None or self.drawn == self.samples
        held_back = 0 if is_final else REDRAWN_WINDOWS - 1
        windows = list(self.history)[: len(self.history) - held_back]
        committed = []
        for window in windows:
            if window.first >= self.committed:
                self.committed = window.last
                committed.append(CommittedWindow(self, window, self.retries))
                self.retries = []
        return committed


class CommittedWindow(NamedTuple):
    """A final window, and the retries of its clip since the window that became final before it.

    They may concern the window that is still held back.
    """

    clip: ActiveClip
    window: Window
    retries: list[Retry]


class _Start(NamedTuple):
    """Where a window begins: its first sample, the number of the attempt, the sample before it."""

    first: int
    attempt: int
    previous: float


@dataclass
class _BatchState:
    """A state and its clips; each clip has `rows_per_clip` rows."""

    state: Any
    clips: list[ActiveClip]


class WindowSampler:
    """Clips that are drawn side by side.

    Args:
        engine: of the model.
        sampling: how samples are drawn.
        window_samples: length of a window; the guard checks after each.
        decode: (codes, the sample before them) -> waveform.
        name: of the checkpoint, for messages.
    """

    def __init__(
        self,
        engine: Engine[Any],
        sampling: SamplingConfig,
        window_samples: int,
        decode: Callable[[Tensor, float], Tensor],
        name: str,
    ):
        self._engine, self._sampling = engine, sampling
        self._window_samples, self._decode, self._name = window_samples, decode, name
        self._rows = rows_per_clip(sampling)
        self._current: _BatchState | None = None
        # copies of the batch before each window that may be drawn again
        self._earlier: deque[_BatchState] = deque(maxlen=REDRAWN_WINDOWS)

    @property
    def clips(self) -> list[ActiveClip]:
        """The clips that are not complete."""
        return [] if self._current is None else self._current.clips

    def add(self, clips: Sequence[ActiveClip]) -> None:
        """Add clips; they begin with the next window."""
        if not clips:
            return
        conditioning = reduce(Conditioning.join, [clip.conditioning for clip in clips])
        state = self._engine.start(conditioning)
        self._engine.prefill(state, [clip.prompt for clip in clips for _ in range(self._rows)])
        self._current = self._join(self._current, _BatchState(state, list(clips)))

    def draw_windows(self) -> list[CommittedWindow]:
        """Draw one window of every clip; return the final windows.

        Returned windows are never changed. So with a guard a window is returned only after the next
        one was drawn and checked: noise that begins late in a window is detected in the next one.

        Raises:
            PredictionsNotFinite: a prediction overflowed.
        """
        assert self._current is not None
        clips = self._current.clips
        if any(clip.detector for clip in clips):
            self._earlier.append(_BatchState(self._engine.clone(self._current.state), clips))
        starts = [_Start(clip.drawn, 0, clip.last_sample) for clip in clips]
        self._current, windows = self._draw(self._current, starts)
        for clip, window in zip(clips, windows, strict=True):
            clip.history.append(window)
            clip.drawn = window.last
        for clip in clips:
            self._check(clip)
        return [committed for clip in clips for committed in clip.commit()]

    def _check(self, clip: ActiveClip) -> None:
        """Draw degenerate windows of a clip again, unless all attempts failed before."""
        if clip.detector is None:
            return
        reason = clip.detector.check(clip.history, clip.attempts_exhausted)
        if reason is None:
            clip.attempts_exhausted = False
        elif clip.attempts_exhausted:
            return
        elif clip.attempts >= FREE_ATTEMPTS + ATTEMPTS_PER_WINDOW * self._windows_of(clip):
            window = clip.history[-1]
            stop = Retry(clip.index, window.first, window.last, reason, 0, False, stopped=True)
            clip.retries.append(stop)
            clip.detector = None
        else:
            retry = self._retry(clip, clip.detector, reason)
            clip.retries.append(retry)
            clip.attempts_exhausted = not retry.solved

    def _windows_of(self, clip: ActiveClip) -> float:
        """Return the number of windows of a clip so far."""
        return clip.drawn / self._window_samples

    def _retry(self, clip: ActiveClip, detector: DegenerationDetector, reason: str) -> Retry:
        """Draw the newest windows of a clip again, with other noise."""
        count = min(REDRAWN_WINDOWS, len(clip.history))
        earlier = list(self._earlier)[-count:]
        attempts_before, solved = clip.attempts, False
        # greedy sampling uses no noise, so another attempt would draw the same
        for _ in range(0 if self._sampling.greedy else detector.config.attempts):
            clip.attempts += 1
            batch, solved = self._copy_one(earlier[0], clip), True
            previous = clip.history[-count].previous
            for k, past in zip(range(-count, 0), earlier, strict=True):
                self._replace(past, batch)
                start = _Start(clip.history[k].first, clip.attempts, previous)
                batch, (window,) = self._draw(batch, [start])
                clip.history[k], previous = window, float(window.waveform[-1])
                # in this attempt, the earlier window may have degenerated as well
                history = list(clip.history)
                solved &= detector.check(history[: len(history) + k + 1]) is None
            if batch.clips and self._current is not None:
                self._replace(self._current, batch)
            if solved:
                break
        first, last = clip.history[-count].first, clip.history[-1].last
        return Retry(clip.index, first, last, reason, clip.attempts - attempts_before, solved)

    def _draw(
        self, batch: _BatchState, starts: Sequence[_Start]
    ) -> tuple[_BatchState, list[Window]]:
        """Draw one window per clip; shorter if the clip ends within it.

        Args:
            batch: the clips before the window; its state is changed.
            starts: of the window of each clip.
        Returns:
            the clips that continue, and the windows.
        """
        ends = [
            min(self._window_samples, clip.samples - start.first)
            for clip, start in zip(batch.clips, starts, strict=True)
        ]
        parts: list[list[Tensor]] = [[] for _ in ends]
        running, made, current = list(range(len(ends))), 0, batch
        while running and made < self._window_samples:
            n = min(ends[k] for k in running) - made
            noise = torch.stack(
                [self._noise(batch.clips[k], starts[k], made, n) for k in running]
            ).to(current.state.position.device)
            codes = self._engine.run(current.state, n, self._sampling, noise).cpu()
            if not has_finite_predictions(self._engine, current.state, codes):
                raise PredictionsNotFinite(self._name)
            for k, row in zip(running, codes, strict=True):
                parts[k].append(row)
            made += n
            running = [k for k in running if starts[k].first + made < batch.clips[k].samples]
            current = self._restrict(current, [batch.clips[k] for k in running])
        windows = []
        for (first, _, previous), part in zip(starts, parts, strict=True):
            codes = torch.cat(part)
            waveform = self._decode(codes, previous)
            windows.append(Window(first, first + codes.numel(), codes, waveform, previous))
        return current, windows

    @staticmethod
    def _noise(clip: ActiveClip, start: _Start, made: int, n: int) -> Tensor:
        return clip.noise(start.first + made + start.attempt * ATTEMPT_NOISE_STRIDE, n)

    def _restrict(self, batch: _BatchState, clips: list[ActiveClip]) -> _BatchState:
        """Return the batch restricted to `clips`; the batch itself if these are all."""
        if len(clips) == len(batch.clips):
            return batch
        if not clips:
            return _BatchState(None, [])
        places = [batch.clips.index(clip) for clip in clips]
        index = [self._rows * place + k for place in places for k in range(self._rows)]
        return _BatchState(self._engine.select(batch.state, index), clips)

    def _copy_one(self, batch: _BatchState, clip: ActiveClip) -> _BatchState:
        """Return a batch that is a copy of one clip."""
        kept = self._restrict(batch, [clip])
        return kept if kept is not batch else _BatchState(self._engine.clone(batch.state), [clip])

    def _join(self, batch: _BatchState | None, other: _BatchState) -> _BatchState:
        if batch is None or not batch.clips:
            return other
        state = self._engine.join(batch.state, other.state)
        return _BatchState(state, [*batch.clips, *other.clips])

    def _replace(self, batch: _BatchState, redrawn: _BatchState) -> None:
        """Replace one clip of a batch by a copy of the redrawn clip."""
        (clip,) = redrawn.clips
        others = self._restrict(batch, [other for other in batch.clips if other is not clip])
        joined = self._join(others, self._copy_one(redrawn, clip))
        batch.state, batch.clips = joined.state, joined.clips
