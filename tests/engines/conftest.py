"""Helpers of the tests of engines: generation, combinations, tensors of a memory, a second core."""

import itertools

import pytest
import torch
from torch.utils._pytree import tree_leaves

from tests.engines.test_engines import conditioning_for
from wavenet.engines.cpu import cpu_engine
from wavenet.sampling import SamplingConfig

LONG = 80  # samples, enough to start a second thread


def generate(engine, noise, prompts, sampling=None):
    """Generate clips of 200 or more samples in one run: codes (B, n)."""
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 200))
    engine.prefill(state, prompts)
    return engine.run(state, noise.shape[1], sampling or SamplingConfig(), noise)


def noise_for(batch, seed=0, n=LONG):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed))


def run_in_chunks(engine, noise, prompts, chunk, sampling=None):
    """Generate clips of 80 or more samples in runs of `chunk` samples: codes (B, n)."""
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 80))
    engine.prefill(state, prompts)
    parts = noise.split(chunk, dim=1)
    sampling = sampling or SamplingConfig()
    return torch.cat([engine.run(state, p.shape[1], sampling, p) for p in parts], dim=1)


def pairwise(*factors):
    """Return all combinations of the values of three factors, for `pytest.mark.parametrize`.

    Faults depend on two values at most, as far as is known. Combinations in which no pair of values
    is new are therefore marked slow: run all with -m "slow or not slow".
    """
    order = sorted(range(3), key=lambda n: -len(factors[n]))
    combinations = []
    for indices in itertools.product(*(range(len(values)) for values in factors)):
        first, second, third = (indices[n] for n in order)
        # the two larger factors are combined fully, the third in turn
        is_new = (first + second) % len(factors[order[2]]) == third
        values = [values[n] for values, n in zip(factors, indices, strict=True)]
        combinations.append(pytest.param(*values, marks=() if is_new else pytest.mark.slow))
    return combinations


def slow(*values):
    """Return a parameter that repeats the proof of others; it is tested only with -m slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


def memory_tensors(memory):
    """Return all tensors of a memory, also those in lists."""
    return [leaf for leaf in tree_leaves(list(vars(memory).values())) if torch.is_tensor(leaf)]


@pytest.fixture
def two_cores(monkeypatch):
    """Use two threads, even on a machine with one core."""
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 2)
