"""Inputs are moved to the device of the model; results come back to the CPU.

The model is on torch's device "meta", which has shapes and no numbers.
"""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import RATE, make_frame_features, sine, tiny_config
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.guard import DegenerationDetector, GuardConfig, Window
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.likelihood.score import score
from wavenet.model.conditions import MelCondition
from wavenet.sampling import SamplingConfig

META = torch.device("meta")
CONDITIONS = {"voice": "b", "level": -20.0, "timbre": torch.ones(4)}


class PlacementEngine:
    """An engine that draws nothing and checks on which device its inputs are.

    Attributes:
        rows: of the noise of every `run`.
    """

    name = "placement"
    precision = "fp32"

    def __init__(self, model):
        self.model = model
        self.rows = []

    def start(self, conditioning):
        parts = [part for part in vars(conditioning).values() if isinstance(part, torch.Tensor)]
        assert len(parts) == 5 and {part.device for part in parts} == {META}
        return SimpleNamespace(
            position=torch.zeros(conditioning.batch, device=META), drawn_params=None
        )

    def prefill(self, state, prompts):
        assert {prompt.device for prompt in prompts} == {META}

    def run(self, state, n, sampling, noise):
        assert noise.device == META
        self.rows.append(noise.shape[0])
        return torch.full(noise.shape, 100)

    def clone(self, state):
        return state

    def predict(self, state):
        return torch.zeros(len(state.position), 256)

    def select(self, state, rows):
        return SimpleNamespace(position=state.position[list(rows)], drawn_params=None)


@pytest.fixture
def checkpoint(make_checkpoint):
    found = make_checkpoint(tiny_config(conditions="all"))
    found.model.to(META)
    return found


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_clips_are_drawn_on_the_device_of_the_model(checkpoint, guidance):
    before = round(0.02 * RATE)
    requests = [
        GenerationRequest(
            n,
            CONDITIONS,
            prompt=sine(0.02),
            frame_features=make_frame_features(checkpoint.model, 0, n + before),
        )
        for n in (50, 30)
    ]
    engine = PlacementEngine(checkpoint.model)
    sampling = SamplingConfig(guidance=guidance)
    waveforms = generate_waveforms(checkpoint, requests, sampling, engine, guard=None)
    assert [w.device.type for w in waveforms] == ["cpu", "cpu"]
    assert [w.numel() for w in waveforms] == [50, 30]
    assert engine.rows == [2, 1]


def test_candidates_are_drawn_on_the_device_of_the_model(make_checkpoint):
    config = tiny_config(conditions="none", hop=40)
    config = config.model_copy(update={"conditions": (MelCondition(n_mels=8, win_length=160),)})
    checkpoint = make_checkpoint(config)
    checkpoint.model.to(META)
    engine = PlacementEngine(checkpoint.model)
    clip = generate_with_candidates(
        checkpoint, GenerationRequest(200, frame_features=torch.zeros(6, 8)), 3, engine=engine
    )
    assert clip.waveform.device.type == clip.codes.device.type == "cpu"
    assert set(engine.rows) == {3}


@pytest.fixture
def forward_devices(checkpoint, monkeypatch):
    """Record the devices of the codes and the conditions of each forward pass."""
    devices = []

    def forward(inputs, conditioning, start=None, memory=None):
        devices.append(
            (
                inputs.device,
                conditioning.total_samples.device,
                conditioning.frame_features.device,
            )
        )
        return torch.zeros(*inputs.shape, checkpoint.model.skip.in_features, device=META)

    monkeypatch.setattr(checkpoint.model, "hidden_states", forward)
    return devices


def test_a_recording_is_scored_on_the_device_of_the_model(checkpoint, forward_devices):
    frames = make_frame_features(checkpoint.model, 0, 160)
    # bits are read from the device, and "meta" has none
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        score(checkpoint, sine(0.02), CONDITIONS, frame_features=frames)
    assert forward_devices == [(META, META, META)]


def test_the_guard_works_on_the_device_of_the_model(checkpoint, forward_devices):
    frames = make_frame_features(checkpoint.model, 0, 1700)
    conditioning = checkpoint.model.conditioning([CONDITIONS], [1700], [frames])
    detector = DegenerationDetector(
        checkpoint, conditioning, torch.empty(0, dtype=torch.int64, device=META), GuardConfig()
    )
    window = Window(800, 1600, torch.full((800,), 9), torch.zeros(800))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        detector.surprise([window])
    assert forward_devices == [(META, META, META)]
