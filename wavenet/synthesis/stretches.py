"""Draw clips stretch by stretch, and again where one runs away.

The state of an engine and a source of noise enter, stretches of codes and waveforms leave. Called
by `generate`; what counts as run away is the guard's to say.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines.base import Engine, StateT
from wavenet.model.conditioning import Conditioning
from wavenet.sampling import rows_per_clip
from wavenet.synthesis.guard import Rescue, Stretch, Watch

# Attempt k at sample t has the noise of sample t + k * FAR of the same clip. No clip is that long,
# so this noise is met nowhere else, whatever seeds and items there are.
FAR = 1 << 40
WITHHELD = 2  # windows drawn again at once, the newest and the one before

Drawn = tuple[Stretch, list[Rescue]]


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


@dataclass(frozen=True)
class Work:
    """Clips that are drawn together.

    Attributes:
        lengths: samples to draw, per clip.
        noise: (clip, first, n) to n uniforms, those of its samples first .. first + n - 1.
        decode: codes to waveform.
    """

    runner: Engine[Any]
    lengths: Sequence[int]
    sampling: SamplingConfig
    noise: Callable[[int, int, int], Tensor]
    decode: Callable[[Tensor], Tensor]

    def draw_all(self, state: Any, longest: int) -> Iterator[Drawn]:
        """Draw to the end of the longest clip."""
        for first, last in self._spans(longest):
            state, stretch = self.draw(state, first, last, [0] * len(self.lengths))
            yield stretch, []

    def draw_guarded(self, state: Any, watch: Watch) -> Iterator[Drawn]:
        """Draw to the end, and again what runs away; yields what was, with the part it is in.

        What has left is never taken back. So a window is withheld until the one after it is fine,
        too: noise that began late in a window is seen in the next, and must not be its past.
        """
        tries = [0] * len(self.lengths)  # of each clip so far: no noise is used twice
        lost: set[int] = set()  # clips that no attempt helped, until they are fine by themselves
        line: deque[Stretch] = deque(maxlen=watch.depth)
        before: deque[Any] = deque(maxlen=WITHHELD)  # the state before each window not yet out
        rescues: list[Rescue] = []
        for first, last in self._spans(watch.window):
            before.append(copy_state(self.runner, state))
            state, stretch = self.draw(state, first, last, [0] * len(self.lengths))
            line.append(stretch)
            faults = watch.faults(line, range(len(self.lengths)), lost)
            lost &= faults.keys()
            if new := {row: faults[row] for row in faults.keys() - lost}:
                state, made = self._rescue(state, watch, line, before, new, tries)
                rescues += made
                lost |= {rescue.item for rescue in made if not rescue.solved}
            if len(before) == WITHHELD:
                yield line[-2], rescues
                rescues = []
        yield line[-1], rescues

    def _rescue(
        self,
        state: Any,
        watch: Watch,
        line: deque[Stretch],
        before: deque[Any],
        faults: Mapping[int, str],
        tries: list[int],
    ) -> tuple[Any, list[Rescue]]:
        """Draw what is withheld again, faulty clips with other noise; gives the state after.

        Args:
            line, before, tries: changed to what is drawn.
            faults: reasons by clip.
        """
        first, begin, tried = line[-len(before)].first, -len(before), list(tries)
        faulty = sorted(faults)
        # greedy heeds no noise
        for _ in range(0 if self.sampling.greedy else watch.guard.attempts):
            for row in faulty:
                tries[row] += 1
            state = before[0]  # a copy takes its place
            again: set[int] = set()
            for k, old in zip(range(begin, 0), list(line)[begin:], strict=True):
                attempts = [tries[r] if r in faulty else a for r, a in enumerate(old.attempts)]
                before[k] = copy_state(self.runner, state)
                state, line[k] = self.draw(state, old.first, old.last, attempts)
                # the window before may have run away, too, this time
                again |= watch.faults(list(line)[: len(line) + k + 1], faulty).keys()
            faulty = sorted(again)
            if not faulty:
                break
        rescues = []
        for row, reason in sorted(faults.items()):
            last = min(line[-1].last, self.lengths[row])
            attempts_made = tries[row] - tried[row]
            rescues.append(Rescue(row, first, last, reason, attempts_made, row not in faulty))
        return state, rescues

    def draw(self, state: Any, first: int, last: int, attempts: list[int]) -> tuple[Any, Stretch]:
        """Draw samples first .. last - 1 of the clips that have them.

        Args:
            state: of the clips longer than `first`; changed.
            attempts: per clip, which noise.
        Returns:
            the state of the clips longer than `last`, if any.
        """
        running = [row for row, length in enumerate(self.lengths) if length > first]
        rows = rows_per_clip(self.sampling)
        parts: list[list[Tensor]] = [[torch.empty(0, dtype=torch.int64)] for _ in self.lengths]
        made, device = first, state.position.device
        while running and made < last:
            n = min(last, *(self.lengths[row] for row in running)) - made
            noise = [self.noise(row, made + attempts[row] * FAR, n) for row in running]
            drawn = self.runner.run(state, n, self.sampling, torch.stack(noise).to(device))
            for row, row_codes in zip(running, drawn.cpu(), strict=True):
                parts[row].append(row_codes)
            made += n
            staying = [k for k, row in enumerate(running) if self.lengths[row] > made]
            if staying and len(staying) < len(running):
                state = self.runner.select(
                    state, [k * rows + j for k in staying for j in range(rows)]
                )
            running = [running[k] for k in staying]
        codes = [torch.cat(part) for part in parts]
        return state, Stretch(first, last, codes, [self.decode(c) for c in codes], attempts)

    def _spans(self, longest: int) -> Iterator[tuple[int, int]]:
        """Cut the time up to the end of the longest clip."""
        end = max(self.lengths)
        for first in range(0, end, longest):
            yield first, min(end, first + longest)
