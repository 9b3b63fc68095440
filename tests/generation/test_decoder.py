"""What the guard goes back to: copies of states that share nothing, and noise not used before."""

import pytest
import torch

from tests.conftest import given_for, local_for, sine, tiny_config
from tests.generation import Stub
from wavenet import codec
from wavenet.engines.registry import NAMES, make_engine
from wavenet.generation.decoder import RETRY_NOISE_OFFSET
from wavenet.generation.generate import DEFAULT_GUARD
from wavenet.generation.guard import SILENCE
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import MAX_SECONDS
from wavenet.sampling import SamplingConfig


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_state_shares_nothing_that_an_engine_changes(make_checkpoint, name):
    loaded = make_checkpoint(tiny_config(conditions="all"))
    engine, model = make_engine(name, loaded.model), loaded.model
    given = [given_for(model, row) for row in range(3)]
    local = [local_for(model, row, 300) for row in range(3)]
    state = engine.start(model.conditioning(given, [300] * 3, local))
    engine.prefill(state, [codec.encode(sine(0.01 * row)) for row in range(3)])
    noise = torch.rand(3, 90, generator=torch.Generator().manual_seed(0))
    selected, copied = engine.select(state, range(3)), engine.clone(state)
    expected = engine.run(state, 90, SamplingConfig(), noise)
    for kept in (copied, selected):
        again = engine.clone(kept)
        assert torch.equal(engine.run(kept, 90, SamplingConfig(), noise), expected)
        assert not torch.equal(engine.run(kept, 90, SamplingConfig(), noise), expected)  # control
        assert torch.equal(engine.run(again, 90, SamplingConfig(), noise), expected)


def test_a_state_of_unknown_parts_is_copied_by_its_engine(flat):
    engine = Stub(flat.model, SILENCE)
    state = engine.start(flat.model.conditioning([{}] * 2, [9] * 2))
    state.extra = {"unknown": 1}
    copied = engine.clone(state)
    assert not hasattr(copied, "extra")
    state.bad += 1
    assert copied.bad.tolist() == [0, 0]


def test_lists_in_a_state_are_copied_with_what_they_hold(flat):
    engine = Stub(flat.model, SILENCE)
    state = engine.start(flat.model.conditioning([{}], [9]))
    state.history = [torch.zeros(2)]
    copied = engine.clone(state)
    state.history[0] += 1
    state.history.append(torch.zeros(0))
    assert [part.tolist() for part in copied.history] == [[0, 0]]


def test_noise_of_attempts_is_beyond_every_clip():
    assert MAX_SECONDS * 192_000 < RETRY_NOISE_OFFSET
    most = (
        4 * int(MAX_SECONDS / DEFAULT_GUARD.window) * RETRY_NOISE_OFFSET
    )  # attempts of the longest clip
    last = uniform_noise(2**63 - 1, 2**63 - 1, most, 5)
    assert not torch.equal(last, uniform_noise(2**63 - 1, 2**63 - 1, 0, 5))


@pytest.mark.parametrize("name", NAMES)
def test_clips_that_join_go_on_as_if_they_were_alone(make_checkpoint, name):
    """Whatever the places in the rings of the two states are, and after prompts of any length."""
    loaded = make_checkpoint(tiny_config(conditions="all"))
    engine, model = make_engine(name, loaded.model), loaded.model
    given = [given_for(model, row) for row in range(4)]
    local = [local_for(model, row, 200 + 100 * row) for row in range(4)]
    noise = torch.rand(4, 120, generator=torch.Generator().manual_seed(0))
    prompts = [codec.encode(sine(0.01 * row)) for row in range(4)]

    def begin(rows):
        lengths = [200 + 100 * row for row in rows]
        state = engine.start(
            model.conditioning([given[r] for r in rows], lengths, [local[r] for r in rows])
        )
        engine.prefill(state, [prompts[r] for r in rows])
        return state

    def go_on(state, rows, first, last):
        return engine.run(state, last - first, SamplingConfig(), noise[rows, first:last])

    alone = [go_on(begin([row]), [row], 0, 120) for row in range(4)]
    state, late = begin([0, 1]), begin([2, 3])
    go_on(state, [0, 1], 0, 33)
    go_on(late, [2, 3], 0, 20)
    state = engine.join(state, late)
    assert state.position.tolist() == [33, 33 + len(prompts[1])] + [
        20 + len(prompts[row]) for row in (2, 3)
    ]
    state = engine.select(state, [3, 0, 2])
    both = engine.run(
        state,
        80,
        SamplingConfig(),
        torch.stack([noise[3, 20:100], noise[0, 33:113], noise[2, 20:100]]),
    )
    for codes, row, first in zip(both, (3, 0, 2), (20, 33, 20), strict=True):
        assert torch.equal(codes, alone[row][0, first : first + 80])
