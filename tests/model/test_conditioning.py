"""Conditions of every kind: they reach the biases, where and only where they should."""

import re

import pytest
import torch

from tests.conftest import given_for, local_for, tiny_config, tiny_model
from wavenet.errors import ConditionError
from wavenet.model.conditioning import Conditioning, max_context

SAMPLES = 200


@pytest.fixture
def model():
    return tiny_model(tiny_config(conditions="all"))


def conditioned(model, given=None, local=None, first=0) -> Conditioning:
    given = given_for(model, 0) if given is None else given
    local = local_for(model, 0, SAMPLES) if local is None else local
    return model.conditioning([given], [SAMPLES], [local], [first])


def biases(model, conditioning, first=0, count=12):
    return conditioning.frames(torch.tensor([first] * conditioning.batch), count)


@pytest.mark.parametrize(
    ("name", "value"), [("voice", "b"), ("level", -12.0), ("timbre", torch.ones(4))]
)
def test_a_global_condition_changes_every_frame(model, name, value):
    base = biases(model, conditioned(model))
    other = biases(model, conditioned(model, {**given_for(model, 0), name: value}))
    assert ((base - other).abs().amax((0, 2, 3)) > 1e-4).all()
    assert torch.equal(base, biases(model, conditioned(model)))  # the control: nothing changed


def test_numbers_may_come_as_text_and_are_scaled_to_their_range(model):
    given = given_for(model, 0)
    as_text = conditioned(model, {**given, "level": "-10"})
    assert torch.equal(as_text.given, conditioned(model, {**given, "level": -10.0}).given)
    assert as_text.given[0, 0, :2].tolist() == [0.5, 1.0]  # half way from the middle up, and given


@pytest.mark.parametrize("name", ["voice", "timbre"])
def test_what_may_be_left_out_has_an_effect_of_its_own(model, name):
    given = given_for(model, 0)
    without = {key: value for key, value in given.items() if key != name}
    base, other = (biases(model, conditioned(model, g)) for g in (given, without))
    assert (base - other).abs().max() > 1e-4


@pytest.mark.parametrize(("column", "context"), [(0, 2), (2, 2), (3, 0), (4, 0)])
def test_a_frame_is_seen_as_far_as_its_context_reaches(model, column, context):
    local = local_for(model, 0, SAMPLES)
    changed = local.clone()
    changed[10, column] += 1
    base, other = (
        biases(model, conditioned(model, None, part), 0, 29) for part in (local, changed)
    )
    seen = (base - other).abs().amax((0, 2, 3)) > 0
    assert seen.nonzero()[:, 0].tolist() == list(range(10 - context, 10 + context + 1))


def test_the_first_and_the_last_frame_go_on_for_ever(model):
    local = local_for(model, 0, SAMPLES)
    longer = torch.cat([local[:1]] * 3 + [local] + [local[-1:]] * 5)
    base = biases(model, conditioned(model, None, local), 0, len(local) + 2)
    other = biases(model, conditioned(model, None, longer, first=-3), 0, len(local) + 2)
    torch.testing.assert_close(base, other)
    wrong = biases(model, conditioned(model, None, longer, first=-2), 0, len(local) + 2)
    assert (base - wrong).abs().max() > 1e-3


def test_a_segment_of_the_frames_gives_the_biases_of_the_whole(model):
    local, reach = local_for(model, 0, SAMPLES), max_context(model.config)
    part = conditioned(model, None, local[8 - reach : 16 + reach], first=8 - reach)
    whole = biases(model, conditioned(model, None, local), 8, 8)
    torch.testing.assert_close(biases(model, part, 8, 8), whole)
    short = conditioned(model, None, local[9 - reach : 16 + reach], first=9 - reach)
    assert (biases(model, short, 8, 8) - whole).abs().max() > 1e-4  # the control


def test_rows_of_a_batch_are_those_of_the_clips_alone(model):
    totals = [SAMPLES, 90, 150]
    local = [local_for(model, row, total) for row, total in enumerate(totals)]
    given = [given_for(model, row) for row in range(3)]
    together = model.conditioning(given, totals, local)
    for row in range(3):
        alone = model.conditioning([given[row]], [totals[row]], [local[row]])
        expected = biases(model, alone)
        torch.testing.assert_close(biases(model, together)[row : row + 1], expected)
        torch.testing.assert_close(biases(model, together.select([row])), expected)


BAD = [
    ({"voice": "d"}, "voice cannot be 'd'; choose one of a, b, c"),
    ({"volume": 1.0}, "'volume' is not known to this model; it has voice, level, timbre"),
    ({"level": 3.0}, "level: give a number from -40 to 0 dB; found 3"),
    ({"level": "loud"}, "level: give a number from -40 to 0 dB; found 'loud'"),
    ({"level": float("nan")}, "level: give a number from -40 to 0 dB; found nan"),
    ({"level": None}, "the value 'level' is missing; give a number from -40 to 0 dB"),
    ({"timbre": torch.ones(3)}, "timbre: give a vector of 4 finite numbers; found 3 numbers"),
    ({"timbre": torch.full((4,), torch.inf)}, "timbre: give a vector of 4 finite numbers"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_what_does_not_fit_is_refused_with_what_was_expected(model, change, words):
    given = {key: v for key, v in {**given_for(model, 0), **change}.items() if v is not None}
    with pytest.raises(ConditionError, match=re.escape(words)):
        conditioned(model, given)


def test_missing_frames_are_named_with_their_shape(model):
    with pytest.raises(ConditionError, match="'curve' is missing; give an array of frames x 3"):
        model.conditioning([given_for(model, 0)], [SAMPLES])


def test_a_frame_has_the_same_bits_whatever_is_asked_for_with_it():
    """A product of few rows adds up in another order: without whole blocks 1 of 2 asks differs."""
    config = tiny_config(conditions="all").model_copy(
        update={"gate_channels": 32, "condition_channels": 96}
    )
    model = tiny_model(config)
    given = [given_for(model, row) for row in range(9)]
    local = [local_for(model, row, 2000 + 300 * row) for row in range(9)]
    totals = [2000 + 300 * row for row in range(9)]
    together = model.conditioning(given, totals, local)
    first = torch.arange(9) * 5
    expected = together.frames(first, 40)
    for count, lead in ((40, 0), (1, 3), (2, 0), (17, 20), (33, 7)):
        for rows in ([0], [8], [3, 1], list(range(7))):
            asked = together.select(rows).frames(first[rows] + lead, count)
            assert torch.equal(asked, expected[rows, lead : lead + count])


def test_clips_of_two_batches_join(model):
    """Their frames differ in number, and the first of each stands elsewhere in its clip."""
    parts = [conditioned(model), conditioned(model, local=local_for(model, 1, 90), first=2)]
    joined = parts[0].join(parts[1])
    assert joined.batch == 2
    for row, alone in enumerate(parts):
        assert torch.equal(biases(model, joined)[row], biases(model, alone)[0])
    assert not torch.equal(*biases(model, joined))  # the control
