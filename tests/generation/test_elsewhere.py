"""Conditions, prompts, noise and codes go where the model is; what is heard comes back.

The model lies on torch's device "meta", which knows shapes and no numbers.
"""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import RATE, local_for, sine, tiny_config
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.guard import DegenerationDetector, GuardConfig, Window
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.likelihood.score import score
from wavenet.model.conditions import MelCondition
from wavenet.sampling import SamplingConfig

META = torch.device("meta")


class Elsewhere:
    """An engine that draws nothing and looks where everything lies."""

    name = "elsewhere"

    def __init__(self, model):
        self.model = model
        self.rows = []

    def start(self, conditioning):
        parts = [part for part in vars(conditioning).values() if isinstance(part, torch.Tensor)]
        assert len(parts) == 5 and {part.device for part in parts} == {META}
        return SimpleNamespace(position=torch.zeros(conditioning.batch, device=META))

    def prefill(self, state, prompts):
        assert {prompt.device for prompt in prompts} == {META}

    def run(self, state, n, sampling, noise):
        assert noise.device == META
        self.rows.append(noise.shape[0])
        return torch.full(noise.shape, 100)

    def select(self, state, rows):
        return SimpleNamespace(position=state.position[list(rows)])


@pytest.fixture
def loaded(make_checkpoint):
    found = make_checkpoint(tiny_config(conditions="all"))
    found.model.to(META)
    return found


GIVEN = {"voice": "b", "level": -20.0, "timbre": torch.ones(4)}


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_clips_are_drawn_where_the_model_is(loaded, guidance):
    before = round(0.02 * RATE)
    items = [
        GenerationRequest(
            n, GIVEN, prompt=sine(0.02), frame_features=local_for(loaded.model, 0, n + before)
        )
        for n in (50, 30)
    ]
    engine = Elsewhere(loaded.model)
    sampling = SamplingConfig(guidance=guidance)
    waveforms = generate_waveforms(loaded, items, sampling, engine, guard=None)
    assert [w.device.type for w in waveforms] == ["cpu", "cpu"]
    assert [w.numel() for w in waveforms] == [50, 30]
    assert engine.rows == [2, 1]


def test_candidates_are_drawn_where_the_model_is(make_checkpoint):
    config = tiny_config(conditions="none", hop=40)
    config = config.model_copy(update={"conditions": (MelCondition(n_mels=8, win_length=160),)})
    loaded = make_checkpoint(config)
    loaded.model.to(META)
    engine = Elsewhere(loaded.model)
    found = generate_with_candidates(
        loaded, GenerationRequest(200, frame_features=torch.zeros(6, 8)), 3, engine=engine
    )
    assert found.waveform.device.type == found.codes.device.type == "cpu"
    assert set(engine.rows) == {3}


@pytest.fixture
def asked(loaded, monkeypatch):
    """List where the codes and the conditions of each forward pass lay."""
    found = []

    def forward(codes, conditioning, start=None):
        found.append((codes.device, conditioning.total.device, conditioning.local.device))
        return torch.zeros(codes.shape[0], loaded.model.n_classes, codes.shape[1], device=META)

    monkeypatch.setattr(loaded.model, "forward", forward)
    return found


def test_a_recording_is_scored_where_the_model_is(loaded, asked):
    local = local_for(loaded.model, 0, 160)
    # the score itself is fetched, and there is none
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        score(loaded, sine(0.02), GIVEN, local=local)
    assert asked == [(META, META, META)]


def test_the_guard_looks_where_the_model_is(loaded, asked):
    local = local_for(loaded.model, 0, 1700)
    conditioning = loaded.model.conditioning([GIVEN], [1700], [local])
    watch = DegenerationDetector(
        loaded, conditioning, torch.empty(0, dtype=torch.int64, device=META), GuardConfig()
    )
    stretch = Window(800, 1600, torch.full((800,), 9), torch.zeros(800))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        watch.surprise([stretch])
    assert asked == [(META, META, META)]
