"""The engines for any model, on a small recurrent network that is defined here.

The network is not a WaveNet: it has no ring buffers, and stores the past in two tensors.
So these tests check the engines independently of the registered architectures.
"""

from typing import Literal

import pytest
import torch
from torch import nn

from tests.conftest import RATE, tiny_config
from tests.engines.graph_emulation import emulate_recording
from tests.engines.test_engines import (
    SAMPLINGS,
    conditioning_for,
    draw,
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
    teacher_forced,
)
from tests.engines.test_guidance import run_guided
from wavenet.engines.gpu import cuda_graph
from wavenet.engines.registry import make_engine
from wavenet.errors import ModelUnsupported
from wavenet.model.autoregressive_model import AutoregressiveModel, frame_biases
from wavenet.model.conditioning import interpolate_rows
from wavenet.model.memory import TensorMemory
from wavenet.model.model_config import GaussianOutput, LogisticOutput, ModelConfig
from wavenet.sampling import SamplingConfig

PROMPTS = (0, 30, 7)  # samples of the prompts of three clips


class MinimalConfig(ModelConfig):
    """The config of `MinimalModel`."""

    architecture: Literal["minimal"] = "minimal"
    channels: int = 6
    bias_layers = property(lambda self: 1)
    bias_width = property(lambda self: self.channels)
    memory_values = property(lambda self: 2 * self.channels)
    network_parameters = property(lambda self: 1000)


class MinimalModel(AutoregressiveModel[MinimalConfig]):
    """h_t = 0.9 h_(t-1) + tanh(x_t + W x_(t-1)), x_t = embedding of code_(t-1) + bias at t."""

    def __init__(self, config, bits):
        super().__init__(config, bits, RATE)
        self._add_embedding(config.channels)
        self.mix = nn.Linear(config.channels, config.channels)
        self.output = nn.Linear(config.channels, self.distribution.n_params)
        self._finish_init()

    def initial_memory(self, batch, device=None):
        shape = (batch, self.config.channels)
        return TensorMemory([torch.zeros(shape, device=device or self.device) for _ in range(2)])

    def hidden_states(self, inputs, conditioning, start=None, memory=None):
        x, samples = self.embedding(inputs), inputs.shape[1]
        frames, leads = frame_biases(conditioning, start, samples)
        if frames is not None:
            x = x + interpolate_rows(frames[:, :, 0], leads, samples, conditioning.hop_length)
        memory = memory or self.initial_memory(len(inputs), inputs.device)
        return torch.stack([self.advance(memory, x[:, t]) for t in range(samples)], dim=1)

    def output_params(self, hidden):
        return self.output(hidden)

    def step(self, memory, codes, bias):
        x = self.embedding(codes)
        return self.output_params(self.advance(memory, x if bias is None else x + bias[:, 0]))

    def advance(self, memory, x):
        state, previous = memory.tensors
        new = 0.9 * state + torch.tanh(x + self.mix(previous))
        state.copy_(new)
        previous.copy_(x)
        return new

    def network_facts(self):
        return {}


def make_minimal(conditions="all", output=None, bits=5, kind=MinimalModel):
    """Make a minimal model whose weights are large enough for predictions that differ."""
    torch.manual_seed(0)
    shared = tiny_config(conditions=conditions, output=output)
    config = MinimalConfig(
        output=shared.output,
        conditions=shared.conditions,
        condition_channels=shared.condition_channels,
        condition_hop=shared.condition_hop,
    )
    model = kind(config, bits).requires_grad_(False).eval()
    model.embedding.weight.mul_(2)
    model.output.weight.mul_(50 if output is None else 10)
    if output is not None:  # narrow, so that codes depend on the prediction
        model.output.bias[-output.components :] -= 4
    return model


def noise_for(clips=3, samples=40):
    return torch.rand(clips, samples, generator=torch.Generator().manual_seed(1))


def start(name, model, rows=(0, 1, 2)):
    """Start an engine with some of three clips after their prompts."""
    engine = make_engine(name, model)
    state = engine.start(conditioning_for(model, 3, 80).select(rows))
    prompts = prompts_of(model, *PROMPTS)
    engine.prefill(state, [prompts[row] for row in rows])
    return engine, state


@pytest.fixture(params=["cached", "graph", "graph, recorded"])
def name(request, monkeypatch):
    """Return the name of an engine; record the step of the engine graph, or run it from Python."""
    monkeypatch.setattr(cuda_graph, "SAMPLES_AHEAD", 5)
    graphs = emulate_recording(monkeypatch) if "recorded" in request.param else None
    yield request.param.split(",")[0]
    if graphs:
        assert any(graph.replays for graph in graphs)


def test_the_minimal_model_has_an_unlimited_receptive_field():
    model = make_minimal("none")
    assert model.receptive_field is None
    codes = prompts_of(model, 40)[0][None]
    other = codes.clone()
    other[:, 0] = (other[:, 0] + 9) % 32
    conditioning = conditioning_for(model, 1, 80)
    change = (model(codes, conditioning) - model(other, conditioning)).abs().amax(dim=1)[0]
    assert change[0] == 0
    assert change[1:].min() > 1e-2


@pytest.mark.parametrize("conditions", ["none", "label", "all"])
def test_predictions_equal_the_reference_and_the_parallel_pass(name, conditions):
    model = make_minimal(conditions)
    codes = torch.randint(0, 32, (3, 20), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, *PROMPTS)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced(name, model, codes, prompts)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for row, prompt in enumerate(prompts):
        whole = torch.cat([prompt, codes[row]])[None]
        parallel = model(whole, conditioning_for(model, 3, 80).select([row]))
        torch.testing.assert_close(got[row], parallel[0, :, len(prompt) :], atol=1e-5, rtol=1e-5)
    # negative controls: another first code of the prompts, and another early code
    changed = [torch.cat([(prompt[:1] + 9) % 32, prompt[1:]]) for prompt in prompts]
    other = teacher_forced(name, model, codes, changed)
    assert torch.equal(other[0], got[0])  # this prompt is empty
    assert (other[1:, :, 0] - got[1:, :, 0]).abs().amax(dim=1).min() > 1e-3
    codes[:, 3] = (codes[:, 3] + 1) % 32
    other = teacher_forced(name, model, codes, prompts)
    assert torch.equal(other[:, :, :4], got[:, :, :4])
    assert (other[:, :, 5] - got[:, :, 5]).abs().max() > 1e-3


@pytest.mark.parametrize("chunks", [(40,), (7, 1, 16)])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_the_same_noise_draws_the_same_codes(name, kind, chunks):
    model = make_minimal()
    noise, prompts = noise_for(), prompts_of(model, *PROMPTS)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    assert torch.equal(draw(name, model, noise, prompts, SAMPLINGS[kind], chunks), expected)
    if kind != "greedy":  # negative control: other noise, other codes
        assert not torch.equal(draw(name, model, 1 - noise, prompts, SAMPLINGS[kind]), expected)


@pytest.mark.parametrize("output", [LogisticOutput(components=3), GaussianOutput(components=2)])
def test_mixtures_draw_the_same_codes(name, output):
    model = make_minimal(output=output, bits=16)
    noise, prompts = noise_for(), prompts_of(model, *PROMPTS)
    codes = draw(name, model, noise, prompts, chunks=(7, 33))
    # the reference reads the drawn codes, since the last bit of a mean changes a code by one
    params = teacher_forced("reference", model, codes, prompts)
    expected = model.distribution.sample(params, noise, SamplingConfig())
    assert (codes - expected).abs().max() <= 1
    assert (codes == expected).float().mean() > 0.9
    other = model.distribution.sample(params, 1 - noise, SamplingConfig())  # negative control
    assert (codes - other).abs().float().mean() > 100


@pytest.mark.parametrize("kind", ["ancestral", "both"])
def test_guided_clips_equal_the_reference(name, kind):
    model, noise = make_minimal(), noise_for()
    sampling = SAMPLINGS[kind].model_copy(update={"guidance": 2.5})
    expected = run_guided(make_engine("reference", model), 3, sampling, noise)
    assert torch.equal(run_guided(make_engine(name, model), 3, sampling, noise), expected)
    free = sampling.model_copy(update={"guidance": 0.0})  # negative control
    assert not torch.equal(run_guided(make_engine(name, model), 3, free, noise), expected)


def test_a_row_of_a_batch_equals_the_clip_alone(name):
    model, noise = make_minimal(), noise_for()
    engine, state = start("reference", model)
    expected = engine.run(state, 40, SamplingConfig(), noise)
    for row in range(3):
        engine, state = start(name, model, [row])
        alone = engine.run(state, 40, SamplingConfig(), noise[row : row + 1])
        assert torch.equal(alone[0], expected[row])
    assert not torch.equal(expected[0], expected[1])  # negative control


def test_selected_joined_and_cloned_states_equal_the_reference(name):
    model, noise = make_minimal(), noise_for()
    engine, state = start("reference", model)
    expected = engine.run(state, 40, SamplingConfig(), noise)
    engine, early = start(name, model, [0, 1])
    _, late = start(name, model, [2])
    engine.run(early, 13, SamplingConfig(), noise[:2, :13])
    engine.run(late, 4, SamplingConfig(), noise[2:, :4])
    joined = engine.join(early, late)
    copied = engine.clone(joined)
    kept = engine.select(joined, [2, 0])
    first = (13, 13, 4)

    def rest(state, rows):
        parts = [noise[row, first[row] : first[row] + 20] for row in rows]
        return engine.run(state, 20, SamplingConfig(), torch.stack(parts))

    for other, rows in ((kept, [2, 0]), (joined, [0, 1, 2]), (copied, [0, 1, 2])):
        shallow = type(other)(**vars(other))
        codes = rest(other, rows)
        for found, row in zip(codes, rows, strict=True):
            assert torch.equal(found, expected[row, first[row] : first[row] + 20])
        assert not torch.equal(rest(shallow, rows), codes)  # negative control: its memory is shared


def test_predict_accept_and_run_can_be_mixed(name):
    model, noise = make_minimal(), noise_for()
    engine, state = start("reference", model)
    expected = engine.run(state, 40, SamplingConfig(), noise)
    engine, state = start(name, model)
    codes = [engine.run(state, 7, SamplingConfig(), noise[:, :7])]
    for t in range(7, 12):
        params = engine.predict(state)
        assert torch.equal(engine.predict(state), params)
        sample = model.distribution.sample
        codes.append(sample(params[:, :, None], noise[:, t : t + 1], SamplingConfig()))
        engine.accept(state, codes[-1][:, 0])
    engine.predict(state)
    codes.append(engine.run(state, 28, SamplingConfig(), noise[:, 12:]))
    assert torch.equal(torch.cat(codes, dim=1), expected)


def test_a_step_that_differs_from_the_parallel_pass_is_noticed(name):
    """Negative control of the tests above."""

    class ForgetfulModel(MinimalModel):
        def step(self, memory, codes, bias):
            memory.tensors[1].zero_()
            return super().step(memory, codes, bias)

    model = make_minimal(kind=ForgetfulModel)
    noise, prompts = noise_for(), prompts_of(model, *PROMPTS)
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(expected, draw("reference", make_minimal(), noise, prompts))
    assert not torch.equal(draw(name, model, noise, prompts), expected)


def test_a_memory_that_is_not_advanced_in_place_is_noticed_by_a_recording(monkeypatch):
    """A graph reads and writes the tensors of its capture."""

    class ReplacingModel(MinimalModel):
        def advance(self, memory, x):
            copied = TensorMemory([tensor.clone() for tensor in memory.tensors])
            new = super().advance(copied, x)
            memory.tensors = copied.tensors
            return new

    model = make_minimal(kind=ReplacingModel)
    noise, prompts = noise_for(), prompts_of(model, *PROMPTS)
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(draw("cached", model, noise, prompts), expected)
    emulate_recording(monkeypatch)
    assert torch.equal(draw("graph", make_minimal(), noise, prompts), expected)
    assert not torch.equal(draw("graph", model, noise, prompts), expected)


def test_state_bytes_are_those_of_the_memory(name):
    engine, state = start(name, make_minimal())
    assert engine.state_bytes(3) == sum(t.numel() * 4 for t in state.memory.tensors) == 144
    assert engine.state_bytes(1) == 48


def test_engines_for_one_architecture_reject_the_minimal_model():
    model = make_minimal()
    for name in ("cpu", "gpu"):
        with pytest.raises(ModelUnsupported, match="minimal"):
            make_engine(name, model)
    assert make_engine("auto", model).name == "cached"
