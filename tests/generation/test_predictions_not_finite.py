"""Weights that are finite but overflow: every way to generate refuses, and no clip is returned.

Before, such a model produced a clip of one code, or of noise, without an error.
"""

import pytest
import torch

from tests.conftest import RATE, overflow, tiny_config
from wavenet import checkpoint
from wavenet.engines.cached import CachedEngine
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.registry import NON_GPU_NAMES, make_engine
from wavenet.errors import CheckpointError, PredictionsNotFinite
from wavenet.generation.generate import generate, generate_many
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import beam_search, generate_with_candidates
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import CategoricalOutput, LogisticOutput
from wavenet.sampling import SamplingConfig

OUTPUTS = {"categorical": CategoricalOutput(), "mixture": LogisticOutput(components=2)}


@pytest.fixture(params=OUTPUTS)
def overflowing(request, make_checkpoint):
    """Make a checkpoint whose predictions are not finite."""
    output, bits = OUTPUTS[request.param], 8 if request.param == "categorical" else 16
    folder = make_checkpoint(tiny_config(conditions="none", output=output), bits).folder
    overflow(folder)
    return checkpoint.load(folder)


@pytest.mark.parametrize("engine", ["auto", *NON_GPU_NAMES])
@pytest.mark.parametrize(("guard", "greedy"), [(True, False), (False, True)])
def test_every_engine_refuses_a_prediction_that_is_not_finite(overflowing, engine, guard, greedy):
    requests = [GenerationRequest(100), GenerationRequest(60)]
    more = {} if guard else {"guard": None}
    sampling = SamplingConfig(greedy=greedy)
    with pytest.raises(PredictionsNotFinite, match=r"^tiny predicts .* not finite"):
        next(generate(overflowing, requests, sampling, engine, **more))
    with pytest.raises(PredictionsNotFinite):
        next(generate_many(overflowing, requests, sampling, engine, **more))
    assert issubclass(PredictionsNotFinite, CheckpointError)


def test_the_compiled_engine_computes_no_further_prediction(make_checkpoint, monkeypatch):
    """Before, every window cost one more sample, a tenth of the time of a short window."""
    loaded = make_checkpoint(tiny_config(conditions="none"))
    monkeypatch.setattr(CpuEngine, "predict", None)
    (chunk,) = generate(loaded, [GenerationRequest(50)], engine="cpu", chunk_samples=50)
    assert chunk.codes[0].numel() == 50


class LateEngine(CachedEngine):
    """Predicts numbers that are not finite from a sample on."""

    first = 1200

    def _step(self, state):
        params = super()._step(state)
        return params.masked_fill((state.position >= self.first)[:, None], torch.nan)


def test_the_chunks_before_an_overflow_are_yielded_and_that_chunk_is_not(make_checkpoint):
    loaded = make_checkpoint(tiny_config(conditions="none"))
    request, engine = GenerationRequest(2000), LateEngine(loaded.model)
    samples = 0
    with pytest.raises(PredictionsNotFinite):
        for chunk in generate(loaded, [request], engine=engine, chunk_samples=500, guard=None):
            samples += chunk.codes[0].numel()
    assert samples == 1000


def test_a_single_prediction_is_detected_in_the_compiled_loop(make_checkpoint):
    """A code without a finite prediction is -1, wherever it is in the chunk."""
    loaded = make_checkpoint(tiny_config(1, (1,), "none"))
    model = loaded.model
    for parameter in model.parameters():
        parameter.zero_()
    model.output.bias[:] = -1e30
    model.output.bias[[7, 8]] = 0
    model.embedding.weight[7, 0] = 1
    (block,) = model.blocks
    gates = model.config.gate_channels
    block.conv.linear.weight[0, 0], block.conv.linear.bias[gates] = 5, 10
    # after code 7, the output layer overflows to minus infinity for all codes
    model.skip.weight[0, 0] = model.hidden.weight[0, 0] = 1e10
    model.output.weight[:, 0] = -1e25
    engine = make_engine("cpu", model)
    state = engine.start(model.conditioning([{}], [50]))
    noise = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    codes = engine.run(state, 50, SamplingConfig(), noise)[0]
    after_seven = (codes[:-1] == 7).nonzero()[:, 0] + 1
    assert len(after_seven) > 1
    assert torch.equal((codes == -1).nonzero()[:, 0], after_seven)
    with pytest.raises(PredictionsNotFinite):
        list(generate(loaded, [GenerationRequest(50)], engine="cpu", guard=None))


def test_searches_refuse_a_prediction_that_is_not_finite(make_checkpoint):
    plain = make_checkpoint(tiny_config(conditions="none")).folder
    overflow(plain)
    with pytest.raises(PredictionsNotFinite):
        beam_search(checkpoint.load(plain), GenerationRequest(30), 3)
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    vocoder = make_checkpoint(config, name="vocoder").folder
    overflow(vocoder)
    request = GenerationRequest(RATE // 20, frame_features=torch.zeros(6, 20))
    for candidates in (1, 3):
        with pytest.raises(PredictionsNotFinite):
            generate_with_candidates(checkpoint.load(vocoder), request, candidates)
