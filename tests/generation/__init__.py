"""Helpers of the tests of generation: engines that fail on purpose, and clips cut into windows."""

import math

import torch

from tests.conftest import RATE
from wavenet.codec import MuLawCodec
from wavenet.engines.cached import CachedEngine
from wavenet.engines.engine import BaseEngine
from wavenet.generation.generate import generate
from wavenet.generation.guard import (
    NOISE,
    SATURATED,
    SILENCE,
    DegenerationDetector,
    GuardConfig,
    Window,
)
from wavenet.model.memory import TensorMemory
from wavenet.sampling import SamplingConfig

WINDOW = 64
GUARD = GuardConfig(window_seconds=WINDOW / RATE, silence_seconds=2 * WINDOW / RATE)
# silence is detected before its first sample is output
QUICK_GUARD = GuardConfig(window_seconds=WINDOW / RATE, silence_seconds=WINDOW / RATE)
ALWAYS = 2.0  # more than any uniform
CODEC = MuLawCodec()


class DegeneratingEngine(BaseEngine):
    """A sine that degenerates at a random sample and does not recover by itself.

    Args:
        model: only its distribution is used.
        reason: `SATURATED`, `NOISE` or `SILENCE`, what the clips become.
        probability: position -> that a clip degenerates at this sample.

    Attributes:
        calls: (positions, noise) of every `run`.
    """

    name = "degenerating"

    def __init__(self, model, reason, probability=lambda position: 1 / 300):
        super().__init__(model)
        self.reason, self.probability = reason, probability
        self.calls = []

    def _initial_memory(self, conditioning):
        return TensorMemory([torch.zeros(conditioning.batch)])  # 1 for a degenerate row

    def prefill(self, state, prompts):
        for row, prompt in enumerate(prompts):
            state.position[row] = len(prompt)

    def run(self, state, n, sampling, noise):
        self.calls.append((state.position.tolist(), noise.clone()))
        codes = torch.zeros(noise.shape, dtype=torch.int64)
        for row in range(len(noise)):
            for t in range(n):
                codes[row, t] = self.draw(state, row, float(noise[row, t]))
        return codes

    def _step(self, state):
        return torch.zeros(len(state.position), 256)

    def draw(self, state, row, uniform):
        """Draw one code."""
        (degenerate,) = state.memory.tensors
        position = int(state.position[row])
        state.position[row] += 1  # in place, as a memory is changed
        degenerate[row] = float(degenerate[row] or uniform < self.probability(position))
        if degenerate[row]:
            return {
                SATURATED: 255 * (uniform * 1e4 % 1 < 0.5),
                NOISE: int(uniform * 1e4 % 1 * 256),
                SILENCE: 128,
            }[self.reason]
        return int(CODEC.encode(torch.tensor(0.3 * math.sin(position * 0.3))))


class LimitedEngine(CachedEngine):
    """An engine of a device with little memory, which may be lost.

    Args:
        max_rows: more rows than these do not fit into the memory.
        lost_at: the first `run`, counted from 1, that finds the device lost; None for never.

    Attributes:
        batches: rows of every `start`.
    """

    def __init__(self, model, max_rows=1_000, lost_at=None):
        super().__init__(model)
        self.max_rows, self.lost_at = max_rows, lost_at
        self.batches, self.runs = [], 0

    def start(self, conditioning):
        self.batches.append(conditioning.batch)
        return super().start(conditioning)

    def run(self, state, n, sampling, noise):
        self.runs += 1
        if self.lost_at is not None and self.runs >= self.lost_at:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ..")
        if state.position.shape[0] > self.max_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee ..")
        return super().run(state, n, sampling, noise)


def generate_all(
    checkpoint, requests, engine="cached", guard=GUARD, chunk_samples=None, **sampling
):
    """Generate to the end and check that chunks follow each other without a gap.

    Returns:
        codes per request, and all retries.
    """
    parts, retries, end = [[] for _ in requests], [], 0
    settings = SamplingConfig(**sampling)
    for chunk in generate(checkpoint, requests, settings, engine, chunk_samples, guard):
        assert chunk.first == end
        lengths = [len(codes) for codes in chunk.codes]
        assert lengths == [len(waveform) for waveform in chunk.waveforms]
        end += max(lengths)
        for retry in chunk.retries:
            # output samples are not drawn again
            assert retry.first >= chunk.first
        retries += chunk.retries
        for part, codes in zip(parts, chunk.codes, strict=True):
            part.append(codes)
    assert end == max(request.samples for request in requests)
    return [torch.cat(part) for part in parts], retries


def assert_same(result, codes, retries):
    """Compare a result of `generate_all` with expected codes and retries."""
    assert all(torch.equal(*pair) for pair in zip(result[0], codes, strict=True))
    assert result[1] == retries


def loud_windows(codes):
    """Return for each window whether it is loud."""
    return [float(w.square().mean().sqrt()) > 0.6 for w in CODEC.decode(codes).split(WINDOW)]


def make_detector(checkpoint, guard=GUARD, prompt=None):
    """Build the detector of a clip without conditions."""
    prompt = torch.empty(0, dtype=torch.int64) if prompt is None else prompt
    conditioning = checkpoint.model.conditioning([{}], [10**6])
    return DegenerationDetector(checkpoint, conditioning, prompt, guard)


def cut_windows(waveform, guard=GUARD):
    """Cut the waveform of a clip into windows of the guard."""
    codes, size = CODEC.encode(waveform), guard.window_samples(RATE)
    return [
        Window(first, first + len(part), part, CODEC.decode(part))
        for first, part in zip(range(0, len(codes), size), codes.split(size), strict=True)
    ]
