"""What tests of engines share: two cores, clips of the engine cpu, runs in chunks."""

import pytest
import torch

from tests.engines.test_engines import conditioning_for
from wavenet.engines.cpu import cpu_engine
from wavenet.sampling import SamplingConfig

LONG = 80  # samples: enough that a second thread is started


def generate(engine, noise, prompts, sampling=None):
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 200))
    engine.prefill(state, prompts)
    return engine.run(state, noise.shape[1], sampling or SamplingConfig(), noise)


def noise_for(batch, seed=0, n=LONG):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed))


def run_in_chunks(engine, noise, prompts, chunk, sampling=None):
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 80))
    engine.prefill(state, prompts)
    parts = noise.split(chunk, dim=1)
    sampling = sampling or SamplingConfig()
    return torch.cat([engine.run(state, p.shape[1], sampling, p) for p in parts], dim=1)


@pytest.fixture
def two_cores(monkeypatch):
    """Two threads even where there is one core."""
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 2)
