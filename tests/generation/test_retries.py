"""Rescues: what runs away is drawn again, what does not is left alone to the last bit."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import given_for, local_for, sine, tiny_config
from tests.generation import (
    ALWAYS,
    QUICK,
    SMALL,
    WINDOW,
    Stub,
    assert_same,
    line_of,
    loud,
    make,
    watch_of,
)
from wavenet import codec
from wavenet.engines.registry import NAMES
from wavenet.generation.decoder import RETRY_NOISE_OFFSET
from wavenet.generation.generate import generate
from wavenet.generation.guard import NOISE, SATURATED, SILENCE, DegenerationDetector
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest


@pytest.mark.parametrize("kind", [SATURATED, NOISE, SILENCE])
def test_what_runs_away_is_drawn_again_and_told(flat, kind):
    items = [GenerationRequest(640, seed=seed) for seed in range(8)]
    made, retries = make(flat, items, Stub(flat.model, kind), QUICK)
    free, none = make(flat, items, Stub(flat.model, kind), guard=None)
    assert none == []
    # half a window of saturation is noise to this model
    assert kind in {retry.reason for retry in retries} <= {kind, NOISE}
    assert sum(retry.solved for retry in retries) > 3
    rescued = {retry.item for retry in retries}
    assert len(rescued) > 2
    watch = watch_of(flat, QUICK)
    lost = {retry.item for retry in retries if not retry.solved}
    for row, (codes, before) in enumerate(zip(made, free, strict=True)):
        assert (row in rescued) == (not torch.equal(codes, before))
        faults = [
            watch.check(line_of(codec.decode(c[:end]), QUICK))
            for c in (codes, before)
            for end in range(WINDOW, 641, WINDOW)
        ]
        assert any(faults[10:]) == (row in rescued)  # the control: guard off lets it through
        if row not in lost:
            assert not any(faults[:10])


@pytest.mark.parametrize("kind", [SATURATED, NOISE, SILENCE])
def test_chunks_and_batches_change_nothing_when_clips_are_drawn_again(flat, kind):
    items = [
        GenerationRequest(500, seed=0),
        GenerationRequest(90, seed=1, prompt=sine(0.02)),
        GenerationRequest(30, seed=9),
        GenerationRequest(640, seed=1, noise_stream=4),
        GenerationRequest(333, seed=5, prompt=sine(0.01)),
    ]
    together, retries = make(flat, items, Stub(flat.model, kind))
    assert retries
    for size in (1, 7, 64, 1000):
        assert_same(
            make(flat, items, Stub(flat.model, kind), chunk_samples=size), together, retries
        )
    for row, item in enumerate(items):
        (alone,), told = make(flat, [item], Stub(flat.model, kind))
        assert torch.equal(alone, together[row])
        assert [replace(r, noise_stream=row) for r in told] == [r for r in retries if r.item == row]


def test_a_real_model_that_runs_away_is_brought_back(fragile):
    items = [GenerationRequest(500, seed=seed) for seed in range(4)]
    made, retries = make(fragile, items)
    free, _ = make(fragile, items, guard=None)
    assert retries
    assert all(retry.solved and retry.reason == SATURATED for retry in retries)
    assert not any(any(loud(codes)) for codes in made)
    gone = [row for row, codes in enumerate(free) if any(loud(codes))]
    assert gone
    assert set(gone) <= {retry.item for retry in retries}
    for engine, size in (("cached", 1), ("cached", 64), *((name, 7) for name in NAMES)):
        assert_same(make(fragile, items, engine, chunk_samples=size), made, retries)


def test_conditions_prompts_and_lengths_go_along(make_checkpoint):
    """A model of random weights is noise in most windows."""
    loaded = make_checkpoint(tiny_config(conditions="all"))
    model, items = loaded.model, []
    for row, samples in enumerate((500, 30, 333, 64, 65)):
        prompt = sine(0.0125) if row % 2 == 0 else None
        local = local_for(model, row, samples + (100 if row % 2 == 0 else 0))
        items.append(
            GenerationRequest(
                samples, given_for(model, row), row, prompt=prompt, frame_features=local
            )
        )
    guard = replace(SMALL, noise_fraction=0.965)  # about the middle of what this model makes
    together, retries = make(loaded, items, guard=guard)
    assert len({retry.item for retry in retries}) > 1
    assert any(retry.solved for retry in retries)
    assert_same(make(loaded, items, "cpu", guard, 7), together, retries)
    for row, item in enumerate(items):
        assert torch.equal(make(loaded, [item], guard=guard)[0][0], together[row])


def test_a_clip_that_is_fine_is_the_same_with_and_without_a_guard(flat, fragile):
    """Also while its neighbours in the batch are drawn again."""
    fine = Stub(flat.model, SATURATED, lambda position: 0)
    items = [GenerationRequest(300, seed=1), GenerationRequest(500, seed=2)]
    made, retries = make(flat, items, fine)
    assert retries == []
    assert all(map(torch.equal, made, make(flat, items, fine, guard=None)[0]))
    items = [GenerationRequest(400, seed=seed) for seed in range(8)]
    made, retries = make(fragile, items)
    free, _ = make(fragile, items, guard=None)
    touched = {retry.item for retry in retries}
    assert 2 < len(touched) < 8
    for row in range(8):
        assert torch.equal(made[row], free[row]) == (row not in touched)
        first = min([r.first for r in retries if r.item == row], default=400)
        assert torch.equal(made[row][:first], free[row][:first])


def test_it_goes_back_over_the_window_before(flat):
    """What begins late in a window is seen in the next; both are drawn again."""
    begins = 2 * WINDOW + 40
    # bad with the first noise of this seed, fine with the second
    seed = next(
        s
        for s in range(100)
        if float(uniform_noise(s, 0, begins, 1))
        < 0.7
        < float(uniform_noise(s, 0, begins + RETRY_NOISE_OFFSET, 1))
    )
    odds = lambda position: 0.7 if position == begins else 0  # noqa: E731
    stub = Stub(flat.model, SILENCE, odds)
    (codes,), (retry,) = make(flat, [GenerationRequest(640, seed=seed)], stub, QUICK)
    assert (retry.first, retry.last) == (2 * WINDOW, 4 * WINDOW)
    assert (retry.attempts, retry.solved) == (1, True)
    assert torch.equal(
        codes, make(flat, [GenerationRequest(640)], Stub(flat.model, SILENCE, lambda _: 0))[0][0]
    )


def test_attempts_are_limited_and_a_clip_is_then_let_be_until_it_is_fine(flat):
    bad_from = {2 * WINDOW, 8 * WINDOW}
    stub = Stub(flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0)
    (codes,), retries = make(flat, [GenerationRequest(640, seed=2, noise_stream=5)], stub)
    assert [(r.first, r.last, r.attempts, r.solved) for r in retries] == [
        (WINDOW, 3 * WINDOW, 3, False)
    ]
    assert len(stub.drawn) == 10 + 3 * 2
    assert loud(codes) == [False] * 2 + [True] * 8
    # no noise was used twice, and each is that of its attempt
    expected = [0, 1, 2] + [1, 2] * 3 + list(range(3, 10))
    attempts = [0] * 3 + [1, 1, 2, 2, 3, 3] + [0] * 7
    for (_, noise), window, attempt in zip(stub.drawn, expected, attempts, strict=True):
        wanted = uniform_noise(2, 5, window * WINDOW + attempt * RETRY_NOISE_OFFSET, WINDOW)
        assert torch.equal(noise[0], wanted)


def test_long_silence_is_found_out_however_many_windows_it_takes(flat):
    guard = replace(SMALL, silence_seconds=5.5 * SMALL.window)
    stub = Stub(flat.model, SILENCE, lambda position: ALWAYS if position == WINDOW else 0)
    _, (retry,) = make(flat, [GenerationRequest(1280, seed=0)], stub, guard)
    assert (retry.reason, retry.last, retry.solved) == (SILENCE, 7 * WINDOW, False)
    assert make(flat, [GenerationRequest(6 * WINDOW, seed=0)], stub, guard)[1] == []


def test_no_surprise_is_computed_for_a_clip_that_is_lost(flat, monkeypatch):
    """Seconds of noise once took ten times as long as they lasted."""
    computed, real = [], DegenerationDetector.surprise
    monkeypatch.setattr(DegenerationDetector, "surprise", lambda *a: computed.append(1) or real(*a))
    stub = Stub(flat.model, NOISE, lambda position: ALWAYS if position >= 2 * WINDOW else 0)
    _, (retry,) = make(flat, [GenerationRequest(1280, seed=0)], stub)
    assert not retry.solved
    assert len(computed) == 4  # the first time and for each attempt


def test_a_clip_that_recovered_is_watched_again_with_noise_of_its_own(flat):
    """Its second fault goes on counting: attempt 4 is the first of it."""

    class Recovers(Stub):
        def one(self, state, row, u):
            position = int(state.position[row])
            if position == 4 * WINDOW:
                state.bad[row] = 0
            return super().one(state, row, u)

    bad_from = {2 * WINDOW, 7 * WINDOW}
    stub = Recovers(flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0)
    (codes,), retries = make(flat, [GenerationRequest(640, seed=0)], stub)
    assert [(r.first, r.attempts, r.solved) for r in retries] == [
        (WINDOW, 3, False),
        (6 * WINDOW, 3, False),
    ]
    assert loud(codes) == [False] * 2 + [True] * 2 + [False] * 3 + [True] * 3
    noises = [tuple(noise[0].tolist()) for _, noise in stub.drawn]
    assert len(set(noises)) == len(noises) == 10 + 2 * 3 * 2


@pytest.mark.parametrize(("guard", "greedy"), [(replace(SMALL, attempts=0), False), (SMALL, True)])
def test_where_nothing_else_can_be_drawn_it_only_tells(flat, guard, greedy):
    stub = Stub(flat.model, SATURATED, lambda position: ALWAYS)
    made, (retry,) = make(flat, [GenerationRequest(300, seed=0)], stub, guard, greedy=greedy)
    assert (retry.first, retry.attempts, retry.solved) == (0, 0, False)
    assert torch.equal(made[0], make(flat, [GenerationRequest(300, seed=0)], stub, None)[0][0])


def test_one_window_is_withheld_and_no_more(flat):
    """The first sound comes after two windows; the last of a clip is not waited for."""
    stub = Stub(flat.model, SATURATED, lambda position: 0)
    chunks = generate(
        flat, [GenerationRequest(5 * WINDOW)], engine=stub, guard=SMALL, chunk_samples=WINDOW
    )
    seen = []
    for _ in chunks:
        seen.append(len(stub.drawn))
    assert seen == [2, 3, 4, 5, 5]


def test_a_second_rescue_begins_where_the_first_one_led(flat, monkeypatch):
    """Windows 3 and 4 are found faulty once each, so window 3 is drawn three times.

    Every code of this engine follows from the one before it, so that a state which was not drawn
    again shows.
    """

    class Chain(Stub):
        def one(self, state, row, u):
            state.position[row] += 1
            state.bad[row] = (31 * int(state.bad[row]) + int(u * 1e4)) % 256
            return int(state.bad[row])

    looks = [None] * 3 + [NOISE, None, None] + [NOISE, None, None] + [None]
    monkeypatch.setattr(DegenerationDetector, "check", lambda self, line, lost=False: looks.pop(0))
    (codes,), retries = make(
        flat, [GenerationRequest(6 * WINDOW, seed=3)], Chain(flat.model, NOISE)
    )
    assert looks == []
    assert [(r.first, r.last, r.solved) for r in retries] == [
        (2 * WINDOW, 4 * WINDOW, True),
        (3 * WINDOW, 5 * WINDOW, True),
    ]
    attempts = (0, 0, 1, 2, 2, 0)
    expected, last = [], 0
    for n, attempt in enumerate(attempts):
        for u in uniform_noise(3, 0, n * WINDOW + attempt * RETRY_NOISE_OFFSET, WINDOW).tolist():
            last = (31 * last + int(u * 1e4)) % 256
            expected.append(last)
    assert codes.tolist() == expected
