"""An engine that runs away when told to, and ways to watch it, for the tests of the guard."""

import math
from dataclasses import dataclass, replace

import torch

from tests.conftest import RATE
from wavenet import codec
from wavenet.engines.base import State
from wavenet.generation.generate import generate
from wavenet.generation.guard import (
    NOISE,
    SATURATED,
    SILENCE,
    DegenerationDetector,
    GuardConfig,
    Window,
)
from wavenet.sampling import SamplingConfig

WINDOW = 64
SMALL = GuardConfig(window=WINDOW / RATE, silence_seconds=2 * WINDOW / RATE)
# silence is found out while all of it can still be taken back
QUICK = replace(SMALL, silence_seconds=SMALL.window)
ALWAYS = 2.0


@dataclass
class StubState(State):
    bad: torch.Tensor


class Stub:
    """A sine that turns bad for good, sample by sample with some probability, once it may.

    `odds(position)` is the probability.
    """

    name = "stub"

    def __init__(self, model, kind, odds=lambda position: 1 / 300):
        self.model, self.kind, self.odds = model, kind, odds
        self.drawn = []  # (position, noise) of every call

    def start(self, conditioning):
        zeros = torch.zeros(conditioning.batch, dtype=torch.int64)
        return StubState(conditioning, zeros, zeros.clone(), torch.zeros(len(zeros)))

    def prefill(self, state, prompts):
        for row, prompt in enumerate(prompts):
            state.position[row] = len(prompt)

    def run(self, state, n, sampling, noise):
        self.drawn.append((state.position.tolist(), noise.clone()))
        codes = torch.zeros(noise.shape, dtype=torch.int64)
        for row in range(len(noise)):
            for t in range(n):
                codes[row, t] = self.one(state, row, float(noise[row, t]))
        return codes

    def one(self, state, row, u):
        position = int(state.position[row])
        state.position[row] += 1  # in place, as the rings are
        turns = state.bad[row] or u < self.odds(position)
        state.bad[row] = float(turns)
        if state.bad[row]:
            return {SATURATED: 255 * (u * 1e4 % 1 < 0.5), NOISE: int(u * 1e4 % 1 * 256),
                    SILENCE: 128}[self.kind]  # fmt: skip
        return int(codec.encode(torch.tensor(0.3 * math.sin(position * 0.3))))

    def select(self, state, rows):
        rows = list(rows)
        taken = state.conditioning.select(rows), state.position[rows], state.last[rows]
        return StubState(*taken, state.bad[rows])

    def join(self, state, other):
        tensors = [
            torch.cat([getattr(state, name), getattr(other, name)])
            for name in ("position", "last", "bad")
        ]
        return StubState(state.conditioning.join(other.conditioning), *tensors)


def make(loaded, items, engine="cached", guard=SMALL, chunk_samples=None, **sampling):
    """Generate to the end: codes per item, retries; chunks follow each other without a gap."""
    parts, retries, at = [[] for _ in items], [], 0
    settings = SamplingConfig(**sampling)
    for chunk in generate(loaded, items, settings, engine, chunk_samples, guard):
        assert chunk.start == at
        lengths = [len(codes) for codes in chunk.codes]
        assert lengths == [len(w) for w in chunk.waveforms]
        at += max(lengths)
        for retry in chunk.retries:
            # never for something that is out already
            assert retry.first >= chunk.start
        retries += chunk.retries
        for part, codes in zip(parts, chunk.codes, strict=True):
            part.append(codes)
    assert at == max(item.samples for item in items)
    return [torch.cat(part) for part in parts], retries


def windows(codes):
    return codec.decode(codes).split(WINDOW)


def loud(codes):
    return [float(w.square().mean().sqrt()) > 0.6 for w in windows(codes)]


def watch_of(loaded, guard=SMALL, prompt=None):
    prompt = torch.empty(0, dtype=torch.int64) if prompt is None else prompt
    return DegenerationDetector(loaded, loaded.model.conditioning([{}], [10**6]), prompt, guard)


def line_of(waveform, guard=SMALL, first=0):
    """Cut a waveform of one clip into stretches."""
    codes, size = codec.encode(waveform), round(guard.window * RATE)
    return [
        Window(first + k, first + k + size, c, codec.decode(c))
        for k, c in zip(range(0, len(codes), size), codes.split(size), strict=True)
    ]


def assert_same(made, codes, retries):
    assert all(torch.equal(a, b) for a, b in zip(made[0], codes, strict=True))
    assert made[1] == retries
