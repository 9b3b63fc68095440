"""Helpers of the tests of engines: generation, tensors of a memory, a second core."""

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


def memory_tensors(memory):
    """Return all tensors of a memory, also those in lists."""
    return [leaf for leaf in tree_leaves(list(vars(memory).values())) if torch.is_tensor(leaf)]


@pytest.fixture
def two_cores(monkeypatch):
    """Use two threads, even on a machine with one core."""
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 2)
