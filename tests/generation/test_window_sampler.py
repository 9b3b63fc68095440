"""The window sampler: degenerate windows are drawn again with other noise; nothing else changes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, sine, tiny_config
from tests.generation import (
    ALWAYS,
    CODEC,
    GUARD,
    QUICK_GUARD,
    WINDOW,
    DegeneratingEngine,
    assert_same,
    cut_windows,
    generate_all,
    loud_windows,
    make_detector,
)
from wavenet.engines.registry import NON_GPU_NAMES
from wavenet.generation import window_sampler
from wavenet.generation.generate import DEFAULT_GUARD, generate
from wavenet.generation.guard import NOISE, SATURATED, SILENCE, DegenerationDetector
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import MAX_SECONDS, GenerationRequest
from wavenet.generation.window_sampler import ATTEMPT_NOISE_STRIDE


@pytest.mark.parametrize("reason", [SATURATED, NOISE, SILENCE])
def test_degenerate_windows_are_drawn_again_and_reported(flat, reason):
    requests = [GenerationRequest(640, seed=seed) for seed in range(8)]
    guarded, retries = generate_all(
        flat, requests, DegeneratingEngine(flat.model, reason), QUICK_GUARD
    )
    free, none = generate_all(flat, requests, DegeneratingEngine(flat.model, reason), guard=None)
    assert none == []
    # half a window of saturation is noise to this model
    assert reason in {retry.reason for retry in retries} <= {reason, NOISE}
    assert sum(retry.solved for retry in retries) > 3
    changed = {retry.index for retry in retries}
    assert len(changed) > 2
    detector = make_detector(flat, QUICK_GUARD)
    unsolved = {retry.index for retry in retries if not retry.solved}
    for row, (codes, before) in enumerate(zip(guarded, free, strict=True)):
        assert (row in changed) == (not torch.equal(codes, before))
        reasons = [
            detector.check(cut_windows(CODEC.decode(clip[:end]), QUICK_GUARD))
            for clip in (codes, before)
            for end in range(WINDOW, 641, WINDOW)
        ]
        assert any(reasons[10:]) == (row in changed)  # negative control: without a guard they stay
        if row not in unsolved:
            assert not any(reasons[:10])


class RecoveringEngine(DegeneratingEngine):
    """Degenerates often, and recovers with every window."""

    def draw(self, state, row, uniform):
        if int(state.position[row]) % WINDOW == 0:
            state.memory.tensors[0][row] = 0
        return super().draw(state, row, uniform)


def test_the_guard_stops_at_a_clip_that_degenerates_again_and_again(flat, monkeypatch):
    """Each window of a model of rain was drawn several times: 30 s instead of 3."""
    windows, attempts, stops = 50, {}, {}
    request = GenerationRequest(windows * WINDOW)
    for name, free in (("limited", window_sampler.FREE_ATTEMPTS), ("unlimited", 10**9)):
        monkeypatch.setattr(window_sampler, "FREE_ATTEMPTS", free)
        engine = RecoveringEngine(flat.model, NOISE, lambda position: 1 / 60)
        (codes,), retries = generate_all(flat, [request], engine, QUICK_GUARD)
        assert len(codes) == windows * WINDOW
        attempts[name] = sum(retry.attempts for retry in retries)
        stops[name] = [retry for retry in retries if retry.stopped]
    assert [(stop.attempts, stop.solved) for stop in stops["limited"]] == [(0, False)]
    assert not stops["unlimited"]
    assert attempts["limited"] <= 12 + windows / 4 + QUICK_GUARD.attempts
    assert attempts["unlimited"] > attempts["limited"]


@pytest.mark.parametrize("reason", [SATURATED, NOISE, SILENCE])
def test_chunks_and_batches_do_not_matter_when_windows_are_drawn_again(flat, reason):
    requests = [
        GenerationRequest(500, seed=0),
        GenerationRequest(90, seed=1, prompt=sine(0.02)),
        GenerationRequest(30, seed=9),
        GenerationRequest(640, seed=1, noise_stream=4),
        GenerationRequest(333, seed=5, prompt=sine(0.01)),
    ]

    def generated(requests, **options):
        engine = DegeneratingEngine(flat.model, reason)
        return generate_all(flat, requests, engine, **options)

    together, retries = generated(requests)
    assert retries
    for size in (1, 7, 64, 1000):
        assert_same(generated(requests, chunk_samples=size), together, retries)
    for row, request in enumerate(requests):
        (alone,), own = generated([request])
        assert torch.equal(alone, together[row])
        assert [replace(r, index=row) for r in own] == [r for r in retries if r.index == row]


@pytest.mark.slow
def test_a_real_model_that_degenerates_recovers_with_every_engine(fragile):
    requests = [GenerationRequest(500, seed=seed) for seed in range(4)]
    guarded, retries = generate_all(fragile, requests)
    free, _ = generate_all(fragile, requests, guard=None)
    assert retries
    assert all(retry.solved and retry.reason == SATURATED for retry in retries)
    assert not any(any(loud_windows(codes)) for codes in guarded)
    degenerate = [row for row, codes in enumerate(free) if any(loud_windows(codes))]
    assert degenerate
    assert set(degenerate) <= {retry.index for retry in retries}
    for engine, size in (
        ("cached", 1),
        ("cached", 64),
        *((n, 7) for n in (*NON_GPU_NAMES, "graph")),
    ):
        assert_same(generate_all(fragile, requests, engine, chunk_samples=size), guarded, retries)


def test_conditions_prompts_and_lengths_are_those_of_the_clip(make_checkpoint):
    """A model with random weights generates noise in most windows."""
    checkpoint = make_checkpoint(tiny_config(conditions="all"))
    model, requests = checkpoint.model, []
    for row, samples in enumerate((500, 30, 333, 64, 65)):
        prompt = sine(0.0125) if row % 2 == 0 else None
        frames = make_frame_features(model, row, samples + (100 if row % 2 == 0 else 0))
        requests.append(
            GenerationRequest(
                samples,
                make_condition_values(model, row),
                row,
                prompt=prompt,
                frame_features=frames,
            )
        )
    guard = replace(GUARD, noise_fraction=0.965)  # about the median of this model
    together, retries = generate_all(checkpoint, requests, guard=guard)
    assert len({retry.index for retry in retries}) > 1
    assert any(retry.solved for retry in retries)
    assert_same(generate_all(checkpoint, requests, "cpu", guard, 7), together, retries)
    for row, request in enumerate(requests):
        (alone,), _ = generate_all(checkpoint, [request], guard=guard)
        assert torch.equal(alone, together[row])


def test_a_clip_that_does_not_degenerate_is_the_same_with_and_without_a_guard(flat, fragile):
    """This also holds while other clips of the batch are drawn again."""
    stable = DegeneratingEngine(flat.model, SATURATED, lambda position: 0)
    requests = [GenerationRequest(300, seed=1), GenerationRequest(500, seed=2)]
    guarded, retries = generate_all(flat, requests, stable)
    assert retries == []
    assert all(map(torch.equal, guarded, generate_all(flat, requests, stable, guard=None)[0]))
    requests = [GenerationRequest(400, seed=seed) for seed in range(8)]
    guarded, retries = generate_all(fragile, requests)
    free, _ = generate_all(fragile, requests, guard=None)
    changed = {retry.index for retry in retries}
    assert 2 < len(changed) < 8
    for row in range(8):
        assert torch.equal(guarded[row], free[row]) == (row not in changed)
        first = min([r.first for r in retries if r.index == row], default=400)
        assert torch.equal(guarded[row][:first], free[row][:first])


def test_the_window_before_is_drawn_again_too(flat):
    """Degeneration that begins late in a window is detected in the next window."""
    begin = 2 * WINDOW + 40
    # degenerates with the first noise of this seed, but not with the second
    seed = next(
        s
        for s in range(100)
        if float(uniform_noise(s, 0, begin, 1))
        < 0.7
        < float(uniform_noise(s, 0, begin + ATTEMPT_NOISE_STRIDE, 1))
    )
    engine = DegeneratingEngine(
        flat.model, SILENCE, lambda position: 0.7 if position == begin else 0
    )
    (codes,), (retry,) = generate_all(
        flat, [GenerationRequest(640, seed=seed)], engine, QUICK_GUARD
    )
    assert (retry.first, retry.last) == (2 * WINDOW, 4 * WINDOW)
    assert (retry.attempts, retry.solved) == (1, True)
    stable = DegeneratingEngine(flat.model, SILENCE, lambda position: 0)
    assert torch.equal(codes, generate_all(flat, [GenerationRequest(640)], stable)[0][0])


def test_after_the_last_attempt_a_clip_continues_until_it_recovers(flat):
    bad_from = {2 * WINDOW, 8 * WINDOW}
    engine = DegeneratingEngine(
        flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0
    )
    requests = [GenerationRequest(640, seed=2, noise_stream=5)]
    (codes,), retries = generate_all(flat, requests, engine)
    assert [(r.first, r.last, r.attempts, r.solved) for r in retries] == [
        (WINDOW, 3 * WINDOW, 3, False)
    ]
    assert len(engine.calls) == 10 + 3 * 2
    assert loud_windows(codes) == [False] * 2 + [True] * 8
    # no noise was used twice, and each is that of its attempt
    windows = [0, 1, 2] + [1, 2] * 3 + list(range(3, 10))
    attempts = [0] * 3 + [1, 1, 2, 2, 3, 3] + [0] * 7
    for (_, noise), window, attempt in zip(engine.calls, windows, attempts, strict=True):
        expected = uniform_noise(2, 5, window * WINDOW + attempt * ATTEMPT_NOISE_STRIDE, WINDOW)
        assert torch.equal(noise[0], expected)


def test_noise_of_attempts_is_beyond_every_clip():
    assert MAX_SECONDS * 192_000 < ATTEMPT_NOISE_STRIDE
    most = 4 * int(MAX_SECONDS / DEFAULT_GUARD.window_seconds)  # attempts of the longest clip
    last = uniform_noise(2**63 - 1, 2**63 - 1, most * ATTEMPT_NOISE_STRIDE, 5)
    assert not torch.equal(last, uniform_noise(2**63 - 1, 2**63 - 1, 0, 5))


def test_silence_is_detected_however_many_windows_it_spans(flat):
    guard = replace(GUARD, silence_seconds=5.5 * GUARD.window_seconds)
    engine = DegeneratingEngine(
        flat.model, SILENCE, lambda position: ALWAYS if position == WINDOW else 0
    )
    _, (retry,) = generate_all(flat, [GenerationRequest(1280, seed=0)], engine, guard)
    assert (retry.reason, retry.last, retry.solved) == (SILENCE, 7 * WINDOW, False)
    assert generate_all(flat, [GenerationRequest(6 * WINDOW, seed=0)], engine, guard)[1] == []


def test_no_surprise_is_computed_after_the_last_attempt(flat, monkeypatch):
    """Regression: seconds of noise needed ten times real time."""
    computed, real = [], DegenerationDetector.surprise
    monkeypatch.setattr(DegenerationDetector, "surprise", lambda *a: computed.append(1) or real(*a))
    engine = DegeneratingEngine(
        flat.model, NOISE, lambda position: ALWAYS if position >= 2 * WINDOW else 0
    )
    _, (retry,) = generate_all(flat, [GenerationRequest(1280, seed=0)], engine)
    assert not retry.solved
    assert len(computed) == 4  # the first time, and for each attempt


def test_a_clip_that_recovered_is_drawn_again_with_new_noise(flat):
    """Attempts are counted per clip: attempt 4 is the first one of its second degeneration."""

    class RecoveringEngine(DegeneratingEngine):
        def draw(self, state, row, uniform):
            if int(state.position[row]) == 4 * WINDOW:
                state.memory.tensors[0][row] = 0
            return super().draw(state, row, uniform)

    bad_from = {2 * WINDOW, 7 * WINDOW}
    engine = RecoveringEngine(
        flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0
    )
    (codes,), retries = generate_all(flat, [GenerationRequest(640, seed=0)], engine)
    assert [(r.first, r.attempts, r.solved) for r in retries] == [
        (WINDOW, 3, False),
        (6 * WINDOW, 3, False),
    ]
    assert loud_windows(codes) == [False] * 2 + [True] * 2 + [False] * 3 + [True] * 3
    noises = [tuple(noise[0].tolist()) for _, noise in engine.calls]
    assert len(set(noises)) == len(noises) == 10 + 2 * 3 * 2


@pytest.mark.parametrize(("guard", "greedy"), [(replace(GUARD, attempts=0), False), (GUARD, True)])
def test_without_another_draw_the_clip_is_only_reported(flat, guard, greedy):
    engine = DegeneratingEngine(flat.model, SATURATED, lambda position: ALWAYS)
    requests = [GenerationRequest(300, seed=0)]
    (codes,), (retry,) = generate_all(flat, requests, engine, guard, greedy=greedy)
    assert (retry.first, retry.attempts, retry.solved) == (0, 0, False)
    assert torch.equal(codes, generate_all(flat, requests, engine, None)[0][0])


def test_exactly_one_window_is_held_back(flat):
    """The first chunk comes after two windows, the last one with the end of the clip."""
    engine = DegeneratingEngine(flat.model, SATURATED, lambda position: 0)
    requests = [GenerationRequest(5 * WINDOW)]
    chunks = generate(flat, requests, engine=engine, guard=GUARD, chunk_samples=WINDOW)
    assert [len(engine.calls) for _ in chunks] == [2, 3, 4, 5, 5]


class ChainEngine(DegeneratingEngine):
    """Every code follows from the one before it, so an outdated state is noticed."""

    def draw(self, state, row, uniform):
        (previous,) = state.memory.tensors
        state.position[row] += 1
        previous[row] = (31 * int(previous[row]) + int(uniform * 1e4)) % 256
        return int(previous[row])


def expected_chain(seed, attempts):
    """Return the codes of `ChainEngine` whose windows have the noise of these attempts."""
    codes, last = [], 0
    for n, attempt in enumerate(attempts):
        first = n * WINDOW + attempt * ATTEMPT_NOISE_STRIDE
        for uniform in uniform_noise(seed, 0, first, WINDOW).tolist():
            last = (31 * last + int(uniform * 1e4)) % 256
            codes.append(last)
    return codes


def test_a_second_retry_begins_where_the_first_one_ended(flat, monkeypatch):
    """Windows 3 and 4 count as degenerate once each, so window 3 is drawn three times."""
    results = [None] * 3 + [NOISE, None, None] + [NOISE, None, None] + [None]
    monkeypatch.setattr(
        DegenerationDetector,
        "check",
        lambda self, history, attempts_exhausted=False: results.pop(0),
    )
    requests = [GenerationRequest(6 * WINDOW, seed=3)]
    (codes,), retries = generate_all(flat, requests, ChainEngine(flat.model, NOISE))
    assert results == []
    assert [(r.first, r.last, r.solved) for r in retries] == [
        (2 * WINDOW, 4 * WINDOW, True),
        (3 * WINDOW, 5 * WINDOW, True),
    ]
    assert codes.tolist() == expected_chain(3, (0, 0, 1, 2, 2, 0))


class OpaqueEngine:
    """An engine with a special state, of which only `position` is public."""

    name = "opaque"

    def __init__(self, inner, clone_shares=False):
        self.inner, self.model, self.clone_shares = inner, inner.model, clone_shares

    def start(self, conditioning):
        return self._wrap(self.inner.start(conditioning))

    def prefill(self, state, prompts):
        self.inner.prefill(state.hidden["state"], prompts)

    def run(self, state, n, sampling, noise):
        return self.inner.run(state.hidden["state"], n, sampling, noise)

    def predict(self, state):
        return self.inner.predict(state.hidden["state"])

    def select(self, state, rows):
        return self._wrap(self.inner.select(state.hidden["state"], rows))

    def join(self, state, other):
        return self._wrap(self.inner.join(state.hidden["state"], other.hidden["state"]))

    def clone(self, state):
        if self.clone_shares:
            return state
        return self._wrap(self.inner.clone(state.hidden["state"]))

    @staticmethod
    def _wrap(state):
        return SimpleNamespace(position=state.position, hidden={"state": state}, drawn_params=None)


def test_states_are_copied_by_their_engine_only(flat, monkeypatch):
    """The window sampler reads only the position of a state."""
    requests = [GenerationRequest(6 * WINDOW, seed=seed) for seed in (3, 4)]

    def generated(engine):
        windows = iter([None] * 6 + [NOISE, None, None] + [None] * 20)
        monkeypatch.setattr(
            DegenerationDetector,
            "check",
            lambda self, history, attempts_exhausted=False: next(windows),
        )
        return generate_all(flat, requests, engine)

    expected, retries = generated(ChainEngine(flat.model, NOISE))
    assert len(retries) == 1
    assert expected[0].tolist() == expected_chain(3, (0, 0, 1, 1, 0, 0))
    opaque = OpaqueEngine(ChainEngine(flat.model, NOISE))
    assert_same(generated(opaque), expected, retries)
    # negative control: a clone that shares what changes
    shared = OpaqueEngine(ChainEngine(flat.model, NOISE), clone_shares=True)
    assert not torch.equal(generated(shared)[0][0], expected[0])
