"""Conditions of every kind: they change the biases of the right frames and of no others."""

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from wavenet.errors import ConditionError
from wavenet.model.conditioning import Conditioning, ConditionNetwork, max_context
from wavenet.model.conditions import PositionCondition, RasterCondition

SAMPLES = 200


@pytest.fixture
def model():
    return tiny_model(tiny_config(conditions="all"))


def make_conditioning(model, values=None, frames=None, first_frame=0) -> Conditioning:
    values = make_condition_values(model, 0) if values is None else values
    frames = make_frame_features(model, 0, SAMPLES) if frames is None else frames
    return model.conditioning([values], [SAMPLES], [frames], [first_frame])


def biases(conditioning, first=0, count=12):
    return conditioning.biases(torch.tensor([first] * conditioning.batch), count)


@pytest.mark.parametrize(
    ("name", "value"), [("voice", "b"), ("level", -12.0), ("timbre", torch.ones(4))]
)
def test_a_global_condition_changes_every_frame(model, name, value):
    base = biases(make_conditioning(model))
    other = biases(make_conditioning(model, {**make_condition_values(model, 0), name: value}))
    assert ((base - other).abs().amax((0, 2, 3)) > 1e-4).all()
    assert torch.equal(base, biases(make_conditioning(model)))  # negative control: nothing changed


def test_numbers_can_be_text_and_are_scaled_to_their_range(model):
    values = make_condition_values(model, 0)
    as_text = make_conditioning(model, {**values, "level": "-10"}).global_features
    as_number = make_conditioning(model, {**values, "level": -10.0}).global_features
    assert torch.equal(as_text, as_number)
    assert as_text[0, 0, :2].tolist() == [0.5, 1.0]  # half the way from the middle up; given


@pytest.mark.parametrize("name", ["voice", "timbre"])
def test_an_omitted_optional_condition_differs_from_a_given_one(model, name):
    values = make_condition_values(model, 0)
    without = {key: value for key, value in values.items() if key != name}
    base, other = (biases(make_conditioning(model, v)) for v in (values, without))
    assert (base - other).abs().max() > 1e-4


@pytest.mark.parametrize(("column", "context"), [(0, 2), (2, 2), (3, 0), (4, 0)])
def test_a_frame_changes_the_biases_within_its_context(model, column, context):
    frames = make_frame_features(model, 0, SAMPLES)
    changed = frames.clone()
    changed[10, column] += 1
    base, other = (biases(make_conditioning(model, None, f), 0, 29) for f in (frames, changed))
    differs = (base - other).abs().amax((0, 2, 3)) > 0
    assert differs.nonzero()[:, 0].tolist() == list(range(10 - context, 10 + context + 1))


def test_the_first_and_the_last_frame_continue_unchanged(model):
    frames = make_frame_features(model, 0, SAMPLES)
    longer = torch.cat([frames[:1]] * 3 + [frames] + [frames[-1:]] * 5)
    count = len(frames) + 2
    base = biases(make_conditioning(model, None, frames), 0, count)
    other = biases(make_conditioning(model, None, longer, first_frame=-3), 0, count)
    torch.testing.assert_close(base, other)
    wrong = biases(make_conditioning(model, None, longer, first_frame=-2), 0, count)
    assert (base - wrong).abs().max() > 1e-3


def test_a_segment_of_the_frames_with_its_context_has_the_biases_of_the_whole(model):
    frames, context = make_frame_features(model, 0, SAMPLES), max_context(model.config)
    first = 8 - context
    segment = make_conditioning(model, None, frames[first : 16 + context], first_frame=first)
    whole = biases(make_conditioning(model, None, frames), 8, 8)
    torch.testing.assert_close(biases(segment, 8, 8), whole)
    # negative control: one frame of context less
    short = make_conditioning(model, None, frames[first + 1 : 16 + context], first_frame=first + 1)
    assert (biases(short, 8, 8) - whole).abs().max() > 1e-4


def test_the_rows_of_a_batch_are_those_of_single_clips(model):
    totals = [SAMPLES, 90, 150]
    frames = [make_frame_features(model, row, total) for row, total in enumerate(totals)]
    values = [make_condition_values(model, row) for row in range(3)]
    together = model.conditioning(values, totals, frames)
    for row in range(3):
        alone = model.conditioning([values[row]], [totals[row]], [frames[row]])
        expected = biases(alone)
        torch.testing.assert_close(biases(together)[row : row + 1], expected)
        torch.testing.assert_close(biases(together.select([row])), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"voice": "d"}, ("voice", "'d'", "a, b, c")),
        ({"volume": 1.0}, ("no condition 'volume'", "voice, level, timbre")),
        ({"level": 3.0}, ("level", "-40 to 0 dB", "found 3")),
        ({"level": "loud"}, ("level", "-40 to 0 dB", "found 'loud'")),
        ({"level": float("nan")}, ("level", "-40 to 0 dB", "found nan")),
        ({"level": None}, ("'level' is missing", "-40 to 0 dB")),
        ({"timbre": torch.ones(3)}, ("timbre", "4 finite numbers", "found 3 numbers")),
        ({"timbre": torch.full((4,), torch.inf)}, ("timbre", "4 finite numbers")),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_expected_one(model, change, words):
    values = {**make_condition_values(model, 0), **change}
    with pytest.raises(ConditionError) as caught:
        make_conditioning(model, {key: v for key, v in values.items() if v is not None})
    for word in words:
        assert word in str(caught.value)


def test_missing_frames_are_named_with_their_shape(model):
    with pytest.raises(ConditionError, match=r"'curve' is missing; .* 3 columns"):
        model.conditioning([make_condition_values(model, 0)], [SAMPLES])


def test_a_frame_has_the_same_bits_whichever_frames_are_computed_with_it():
    """A product of few rows sums in another order: without whole blocks half of these failed."""
    config = tiny_config(conditions="all").model_copy(
        update={"gate_channels": 32, "condition_channels": 96}
    )
    model = tiny_model(config)
    values = [make_condition_values(model, row) for row in range(9)]
    frames = [make_frame_features(model, row, 2000 + 300 * row) for row in range(9)]
    totals = [2000 + 300 * row for row in range(9)]
    together = model.conditioning(values, totals, frames)
    first = torch.arange(9) * 5
    expected = together.biases(first, 40)
    for count, lead in ((40, 0), (1, 3), (2, 0), (17, 20), (33, 7)):
        for rows in ([0], [8], [3, 1], list(range(7))):
            found = together.select(rows).biases(first[rows] + lead, count)
            assert torch.equal(found, expected[rows, lead : lead + count])


def test_clips_of_two_batches_join(model):
    """They differ in the number of frames and in the first frame."""
    parts = [
        make_conditioning(model),
        make_conditioning(model, frames=make_frame_features(model, 1, 90), first_frame=2),
    ]
    joined = parts[0].join(parts[1])
    assert joined.batch == 2
    for row, alone in enumerate(parts):
        assert torch.equal(biases(joined)[row], biases(alone)[0])
    assert not torch.equal(*biases(joined))  # negative control


def test_a_raster_has_one_input_for_the_row_and_one_for_the_column():
    conditions = (PositionCondition(harmonics=0), RasterCondition(height=3, width=4))
    config = tiny_config(conditions="none", hop=1).model_copy(update={"conditions": conditions})
    network = ConditionNetwork(config, 8000)
    seen = []
    network.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    samples = torch.arange(14)[None]
    network(
        torch.zeros(1, 0),
        torch.zeros(1, 14, 0),
        torch.zeros(1, 14, 1, 0),
        samples,
        torch.tensor([14]),
    )
    rows, columns = seen[0][0, :, 3:].split([3, 4], dim=1)
    assert seen[0].shape[2] == 3 + conditions[1].feature_width
    assert rows.argmax(1).tolist() == [0] * 4 + [1] * 4 + [2] * 6  # beyond the image: the last row
    assert columns.argmax(1).tolist() == [0, 1, 2, 3] * 3 + [0, 1]
    assert torch.equal(rows.sum(1) + columns.sum(1), torch.full((14,), 2.0))


def test_pixels_of_the_same_place_have_the_same_bias():
    """A condition_hop of 1: the biases are those of single samples, without interpolation."""
    conditions = (RasterCondition(height=8, width=4),)
    config = tiny_config(conditions="none", hop=1).model_copy(update={"conditions": conditions})
    model = tiny_model(config)
    found = biases(model.conditioning([{}], [32]), count=32)[0].flatten(1)
    assert len({tuple(row.tolist()) for row in found}) == 32
    again = biases(model.conditioning([{}], [500]), first=5, count=3)[0].flatten(1)
    assert torch.equal(again, found[5:8])
