"""Searches: beam search against exhaustive search, candidates against a plain implementation."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.conftest import RATE, sine, tiny_config, tiny_model
from wavenet.checkpoint import Checkpoint
from wavenet.codec import MuLawCodec
from wavenet.engines.cached import CachedEngine
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.generation.generate import GeneratedClip, generate_waveforms
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import (
    MAX_BEAMS,
    MAX_CANDIDATES,
    beam_search,
    generate_with_candidates,
)
from wavenet.generation.window_sampler import ATTEMPT_NOISE_STRIDE
from wavenet.model.conditions import FramesCondition, LabelCondition, MelCondition
from wavenet.model.frame_features import compute_condition_frames, compute_frame_features
from wavenet.model.wavenet import WaveNetConfig
from wavenet.progress import CallbackProgress
from wavenet.sampling import SamplingConfig

A = {"digit": "a"}
CODEC = MuLawCodec(bits=4)  # of the beam searches
PROMPT = sine(0.015)
CASES = {"conditions": ("both", None), "prompt": ("both", PROMPT), "plain": ("none", None)}
SELECT = CachedEngine.select
HOP = 40  # of the vocoders


@pytest.fixture
def make(make_checkpoint):
    """Return a function that makes a checkpoint of 16 classes with the weights of a seed."""

    def with_seed(seed: int = 0, conditions: str = "both") -> Checkpoint:
        config = tiny_config(conditions=conditions)
        whole = make_checkpoint(config, CODEC.bits).config
        return Checkpoint(whole, tiny_model(config, CODEC.bits, seed), None)

    return with_seed


@pytest.fixture
def selected(monkeypatch):
    """Record the rows that states are selected by."""
    calls: list[list[int]] = []

    def select(self, state, rows):
        calls.append(list(rows))
        return SELECT(self, state, rows)

    monkeypatch.setattr(CachedEngine, "select", select)
    return calls


def request_for(checkpoint, samples: int, prompt: Tensor | None = None) -> GenerationRequest:
    conditions = A if checkpoint.model.config.labels else {}
    return GenerationRequest(samples, conditions, prompt=prompt)


def log_probs(checkpoint: Checkpoint, codes: Tensor, request: GenerationRequest) -> Tensor:
    """Compute log-probabilities of codes (N, n) after the prompt by the parallel forward: (N,)."""
    model, count = checkpoint.model, codes.shape[0]
    prompt = CODEC.encode(torch.empty(0) if request.prompt is None else request.prompt)
    whole = torch.cat([prompt.expand(count, -1), codes], dim=1)
    total = prompt.numel() + request.samples
    frames = None if request.frame_features is None else [request.frame_features] * count
    conditioning = model.conditioning([request.conditions] * count, [total] * count, frames)
    params = model(whole, conditioning)
    logs = model.distribution.log_prob(params.double(), whole)
    return logs[:, prompt.numel() :].sum(1)


@pytest.mark.parametrize("case", CASES)
def test_a_search_that_drops_nothing_finds_the_most_likely_clip(make, case):
    conditions, prompt = CASES[case]
    for seed in (0, 4):
        checkpoint = make(seed, conditions)
        samples = 3 if prompt is None else 2  # the forward with a prompt takes longer
        request = request_for(checkpoint, samples, prompt)
        every = torch.tensor(list(product(range(16), repeat=samples)))
        exact = log_probs(checkpoint, every, request)
        found = beam_search(checkpoint, request, 16 ** (samples - 1))
        assert found.codes.tolist() == every[exact.argmax()].tolist()
        assert found.log_prob == pytest.approx(float(exact.max()), abs=1e-4)
        # negative controls: neither the second best clip nor one beam would pass
        assert exact.topk(2).values.diff() < -1e-2
        assert beam_search(checkpoint, request, 1).log_prob < found.log_prob - 1e-2


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("beams", [1, 2, 7])
def test_the_log_probability_equals_the_parallel_forward(make, selected, case, beams):
    conditions, prompt = CASES[case]
    checkpoint = make(1, conditions)
    request = request_for(checkpoint, 40, prompt)
    found = beam_search(checkpoint, request, beams)
    expected = float(log_probs(checkpoint, found.codes[None], request))
    assert isinstance(found, GeneratedClip)
    assert (found.index, list(found.retries)) == (0, [])
    assert found.codes.shape == (40,)
    assert found.codes.dtype == torch.int64
    assert found.log_prob == pytest.approx(expected, abs=1e-4)
    assert found.bits_per_sample == pytest.approx(-found.log_prob / 40 / math.log(2))
    assert torch.equal(found.waveform, CODEC.decode(found.codes))
    if beams > 1:  # states were selected and dropped on the way, not only at the beginning
        later = selected[3:]
        assert any(len(set(rows)) < len(rows) for rows in later)
        assert any(set(range(beams)) - set(rows) for rows in later)
    # negative control: another code has another log-probability
    other = found.codes.clone()
    other[20] = (other[20] + 1) % 16
    assert abs(found.log_prob - float(log_probs(checkpoint, other[None], request))) > 1e-2


@pytest.mark.parametrize("case", CASES)
def test_one_beam_is_greedy_decoding(make, selected, case):
    conditions, prompt = CASES[case]
    checkpoint = make(3, conditions)
    request = request_for(checkpoint, 60, prompt)
    before = torch.empty(0) if prompt is None else prompt
    engine = make_engine("cached", checkpoint.model)
    conditioning = checkpoint.model.conditioning([request.conditions], [before.numel() + 60])
    state = engine.start(conditioning)
    engine.prefill(state, [CODEC.encode(before)])
    greedy = engine.run(state, 60, SamplingConfig(greedy=True), torch.zeros(1, 60))[0]
    found = beam_search(checkpoint, request, 1)
    assert torch.equal(found.codes, greedy)
    assert greedy.unique().numel() > 3
    assert selected == []  # one beam selects no states


def test_a_second_beam_finds_what_greedy_decoding_misses(make):
    """With these seeds the most likely code leads to less likely continuations."""
    for seed in (1, 6, 9):
        checkpoint = make(seed)
        request = request_for(checkpoint, 12)
        one, two = (beam_search(checkpoint, request, beams) for beams in (1, 2))
        assert two.log_prob > one.log_prob + 0.1
        assert not torch.equal(one.codes, two.codes)


def test_more_beams_find_more_likely_clips_in_these_cases(make):
    """Only for these seeds: in general a wide search can drop prefixes that a narrow one keeps."""
    for seed in (1, 5, 9):
        checkpoint = make(seed)
        request = request_for(checkpoint, 20)
        found = [beam_search(checkpoint, request, beams).log_prob for beams in (1, 2, 4, 16, 64)]
        assert found == sorted(found)
        assert found[-1] > found[0]
    checkpoint = make(13)  # here two beams find a less likely clip than one
    request = request_for(checkpoint, 20)
    one, two = (beam_search(checkpoint, request, beams) for beams in (1, 2))
    assert two.log_prob < one.log_prob


def test_a_state_that_is_not_selected_with_its_beam_is_noticed(make, monkeypatch):
    """Negative control: with wrong parents, the sum is not that of the clip."""
    checkpoint = make(1)
    request = request_for(checkpoint, 40)

    def select(self, state, rows):
        kept = SELECT(self, state, rows)
        kept.memory = SELECT(self, state, [0] * len(rows)).memory
        return kept

    monkeypatch.setattr(CachedEngine, "select", select)
    found = beam_search(checkpoint, request, 7)
    assert abs(found.log_prob - float(log_probs(checkpoint, found.codes[None], request))) > 1e-2


def test_selected_states_share_no_memory():
    model = tiny_model(bits=CODEC.bits)
    engine = make_engine("cached", model)
    state = engine.start(model.conditioning([A], [30]))
    for code in (3, 9, 1):
        engine.accept(state, torch.tensor([code]))
    fork = engine.select(state, [0, 0])
    before = fork.memory.rings[1].clone()
    fork.memory.rings[0] += 1
    fork.last[0] = 15
    assert torch.equal(fork.memory.rings[1], before)
    assert fork.last[1] == 1
    assert torch.equal(state.memory.rings[0], before)
    # both continuations equal a clip whose state was never selected
    fork = engine.select(state, [0, 0])
    for codes in ([5, 12], [0, 7]):
        engine.accept(fork, torch.tensor(codes))
    params = engine.predict(fork)
    for row, tail in enumerate(([5, 0], [12, 7])):
        alone = engine.start(model.conditioning([A], [30]))
        engine.prefill(alone, [torch.tensor([3, 9, 1, *tail])])
        torch.testing.assert_close(engine.predict(alone)[0], params[row])
    assert not torch.allclose(params[0], params[1])


def test_of_equal_scores_the_first_parent_and_the_lowest_code_are_kept(make, selected):
    checkpoint = make()
    checkpoint.model.output.weight.zero_()
    checkpoint.model.output.bias.zero_()
    found = beam_search(checkpoint, request_for(checkpoint, 9), 40)
    assert found.codes.tolist() == [0] * 9
    assert found.log_prob == pytest.approx(-9 * math.log(16))
    assert found.bits_per_sample == pytest.approx(4)
    parents = [beam // 16 for beam in range(40)]
    assert selected == [[0] * 16, *[parents] * 8]


def test_beam_search_uses_the_frame_features(make_checkpoint):
    config = WaveNetConfig(
        **{**dict(tiny_config()), "conditions": (MelCondition(n_mels=3, channels=4),)}
    )
    whole = make_checkpoint(config, CODEC.bits).config
    checkpoint = Checkpoint(whole, tiny_model(config, CODEC.bits), None)
    frames = torch.randn(1 + 30 // 7, 3, generator=torch.Generator().manual_seed(1))
    requests = [GenerationRequest(30, frame_features=f) for f in (frames, -frames)]
    found = beam_search(checkpoint, requests[0], 5)
    own, other = (float(log_probs(checkpoint, found.codes[None], r)) for r in requests)
    assert found.log_prob == pytest.approx(own, abs=1e-4)
    assert abs(other - own) > 1e-2  # negative control: other frames
    with pytest.raises(ConditionError, match="30 samples need 5 frames x 3"):
        beam_search(checkpoint, GenerationRequest(30, frame_features=frames[:2]), 5)


def test_beam_search_ignores_the_seed(make):
    checkpoint = make()
    found = [
        beam_search(checkpoint, GenerationRequest(20, A, seed=seed, noise_stream=seed), 3).codes
        for seed in (0, 7)
    ]
    assert torch.equal(*found)


def test_beam_search_reports_every_sample_and_stops_on_request(make):
    checkpoint = make()
    request = request_for(checkpoint, 30)
    counts: list[float] = []
    progress = CallbackProgress(counts.append)
    beam_search(checkpoint, request, 3, progress)
    assert counts == [1] * 30
    counts.clear()
    found = beam_search(checkpoint, request, 3, progress, lambda: len(counts) == 11)
    assert counts == [1] * 11
    assert found.codes.numel() == found.waveform.numel() == 11
    # the best prefix of a clip of 30 samples
    expected = float(log_probs(checkpoint, found.codes[None], request))
    assert found.log_prob == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("request_", "beams", "words"),
    [
        (GenerationRequest(10, A), 0, f"beams must be 1 to {MAX_BEAMS}, found 0"),
        (GenerationRequest(10, A), MAX_BEAMS + 1, f"1 to {MAX_BEAMS}, found {MAX_BEAMS + 1}"),
        (GenerationRequest(0, A), 2, "600 seconds, found 0"),
        (GenerationRequest(3600 * RATE, A), 2, "600 seconds, found 3600"),
        (GenerationRequest(10, A, prompt=torch.zeros(8000)), 2, "silent"),
        (GenerationRequest(10), 2, "'digit' is missing"),
        (GenerationRequest(10, {"digit": "z"}), 2, "digit cannot be 'z'"),
    ],
)
def test_beam_search_rejects_what_is_out_of_range(make, request_, beams, words):
    with pytest.raises(ConditionError, match=words):
        beam_search(make(), request_, beams)


def test_beam_search_rejects_an_output_without_classes(make):
    class LogisticMixture:
        pass

    checkpoint = make()
    checkpoint.model.distribution = LogisticMixture()
    with pytest.raises(ConditionError, match="categorical output, found LogisticMixture"):
        beam_search(checkpoint, request_for(checkpoint, 10), 2)


@pytest.fixture
def vocoder(make_checkpoint):
    """Return a function that makes a tiny vocoder with a mel window of `window` samples."""

    def make(window=96, extra=()):
        mel = MelCondition(n_mels=20, win_length=window, channels=4, context=1)
        config = tiny_config(hop=HOP).model_copy(update={"conditions": (*extra, mel)})
        return make_checkpoint(config)

    return make


def mel_request(checkpoint, samples, seed=0, **more):
    """Return a request with the frames of noise that becomes louder."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(samples, generator=generator) * torch.linspace(0.02, 0.3, samples)
    frames = compute_frame_features(checkpoint.config.model, RATE, noise.clamp(-1, 1))
    return GenerationRequest(samples, seed=seed, frame_features=frames, **more)


def select_plainly(checkpoint, request, candidates, window):
    """Select candidates with whole waveforms and a new state for every candidate: codes (T,)."""
    model, codec = checkpoint.model, checkpoint.codec
    condition = checkpoint.config.model.locals[0]
    target = request.frame_features
    kept, frame = torch.zeros(0, dtype=torch.int64), 0
    while kept.numel() < request.samples:
        last = next(n for n in range(HOP, 10**6, HOP) if n >= frame * HOP + window / 2)
        is_inner = last < request.samples
        last = last if is_inner else request.samples
        found = []
        for n in range(candidates):
            engine = make_engine("cached", model)
            state = engine.start(model.conditioning([{}], [request.samples], [target]))
            engine.prefill(state, [kept])
            first = kept.numel() + n * ATTEMPT_NOISE_STRIDE
            count = last - kept.numel()
            noise = uniform_noise(request.seed, request.noise_stream, first, count)
            new = engine.run(state, count, SamplingConfig(), noise[None])[0]
            codes = torch.cat([kept, new])
            mel = compute_condition_frames(condition, codec.decode(codes), RATE, HOP)
            stop = frame + 1 if is_inner else mel.shape[0]
            distance = (mel[frame:stop] - target[frame:stop]).square().mean()
            found.append((float(distance), n, codes))
        kept = min(found)[2]
        frame += 1
    return kept


@pytest.mark.parametrize("window", [64, 96, 160, 250])
@pytest.mark.parametrize("samples", [30, 330, 360])
def test_the_closest_candidate_of_every_frame_is_kept(vocoder, window, samples):
    checkpoint = vocoder(window)
    request = mel_request(checkpoint, samples)
    clip = generate_with_candidates(checkpoint, request, 3, engine="cached")
    assert isinstance(clip, GeneratedClip)
    assert (clip.index, list(clip.retries), clip.log_prob) == (0, [], None)
    assert clip.codes.tolist() == select_plainly(checkpoint, request, 3, window).tolist()
    assert torch.equal(clip.waveform, checkpoint.codec.decode(clip.codes))


def test_one_candidate_is_the_plain_clip_and_more_are_closer(vocoder):
    checkpoint = vocoder()
    request, counts = mel_request(checkpoint, 800), []
    (plain,) = generate_waveforms(checkpoint, [request], engine="cpu", guard=None)
    progress = CallbackProgress(counts.append)
    one = generate_with_candidates(checkpoint, request, 1, engine="cpu", progress=progress)
    assert torch.equal(one.waveform, plain)
    assert sum(counts) == 800
    condition = checkpoint.config.model.locals[0]

    def distance(waveform):
        mel = compute_condition_frames(condition, waveform, RATE, HOP)
        return float((mel - request.frame_features).square().mean())

    eight, again, many = (
        generate_with_candidates(checkpoint, request, n, engine="cpu").waveform for n in (8, 8, 32)
    )
    assert torch.equal(eight, again)
    assert distance(many) < distance(eight) < distance(plain)


def test_candidates_are_compared_by_the_columns_of_mel(vocoder):
    other = FramesCondition(name="curve", columns=2, channels=4, context=0)
    checkpoint = vocoder(extra=(other,))
    config, generator = checkpoint.config.model, torch.Generator().manual_seed(1)
    curve = torch.randn(6, 2, generator=generator)
    waveform = torch.randn(200, generator=generator).mul(0.2).clamp(-1, 1)
    frames = compute_frame_features(config, RATE, waveform, {"curve": curve})
    request = GenerationRequest(200, frame_features=frames)
    plain, closest = (
        generate_with_candidates(checkpoint, request, n, engine="cached").waveform for n in (1, 16)
    )
    far, close = (
        (compute_condition_frames(config.locals[1], w, RATE, HOP) - frames[:, 2:]).square().mean()
        for w in (plain, closest)
    )
    assert close < far


@pytest.mark.parametrize("count", [0, MAX_CANDIDATES + 1])
def test_numbers_of_candidates_out_of_range_are_rejected(vocoder, count):
    checkpoint = vocoder()
    with pytest.raises(ConditionError, match=f"candidates must be 1 to 64, found {count}"):
        generate_with_candidates(checkpoint, mel_request(checkpoint, 100), count)


def test_candidates_reject_what_they_cannot_combine(vocoder, make_checkpoint):
    checkpoint = vocoder()
    request = mel_request(checkpoint, 100)
    with pytest.raises(ConditionError, match="candidates and guidance"):
        generate_with_candidates(checkpoint, request, 2, SamplingConfig(guidance=2.0))
    with pytest.raises(ConditionError, match="omit the prompt"):
        generate_with_candidates(
            checkpoint, mel_request(checkpoint, 100, prompt=torch.ones(200)), 2
        )
    with pytest.raises(ConditionError, match="need 3 frames x 20"):
        generate_with_candidates(
            checkpoint, GenerationRequest(100, frame_features=request.frame_features[:1]), 2
        )
    label = LabelCondition(name="digit", values=("a",))
    plain = make_checkpoint(tiny_config().model_copy(update={"conditions": (label,)}))
    with pytest.raises(ConditionError, match="mel"):
        generate_with_candidates(plain, GenerationRequest(100, A), 2)
