"""N-grams: counts by hand, labels, the limit of counts, refused configs."""

import math

import pytest
import torch

from tests.conftest import tiny_model
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.model.model_config import LogisticOutput
from wavenet.model.ngram import NGram, NGramConfig, add_counts
from wavenet.model.statistics_model import MAX_COUNT

BITS = 4
DIGIT = LabelCondition(name="digit", values=("a", "b"), dropout=0.1)
VOICE = LabelCondition(name="voice", values=("x",), dropout=0.1)


def build(context_bits, conditions=(), **settings):
    config = NGramConfig(context_bits=context_bits, conditions=conditions, **settings)
    return NGram(config, BITS, 8000)


def observe(model, clips, values=None, mask=None):
    """Count clips of codes, all of one length."""
    codes = torch.tensor(clips)
    conditioning = model.conditioning(values or [{}] * len(clips), [codes.shape[1]] * len(clips))
    mask = torch.ones_like(codes, dtype=torch.bool) if mask is None else torch.tensor(mask)
    model.observe(codes, mask, conditioning)


def nonzero(table):
    """Return the counts above 0 by (context, code)."""
    return {tuple(at): table[tuple(at)].item() for at in table.nonzero().tolist()}


def test_counts_of_a_clip():
    model = build((4, 1))
    observe(model, [[3, 9, 9, 9]])
    unigram, bigram, trigram = model.tables
    assert nonzero(unigram) == {(0, 3): 1, (0, 9): 3}
    # the code before the clip is silence, 8
    assert nonzero(bigram) == {(8, 3): 1, (3, 9): 1, (9, 9): 2}
    # context: the newest code, then the first bit of the code before it
    assert nonzero(trigram) == {(8 * 2 + 1, 3): 1, (3 * 2 + 1, 9): 1, (9 * 2 + 0, 9): 1, (19, 9): 1}


def test_masked_samples_are_context_only():
    model = build((4,))
    observe(model, [[3, 9, 5, 5]], mask=[[False, True, True, False]])
    assert nonzero(model.tables[1]) == {(3, 9): 1, (9, 5): 1}


def test_noise_changes_the_contexts_and_not_the_counted_codes():
    model = build((4,))
    codes, noisy = torch.tensor([[3, 9]]), torch.tensor([[4, 9]])
    conditioning = model.conditioning([{}], [2])
    model.observe(codes, torch.ones(1, 2, dtype=torch.bool), conditioning, None, noisy)
    assert nonzero(model.tables[1]) == {(8, 3): 1, (4, 9): 1}


def test_a_bigram_predicts_the_relative_frequencies():
    model = build((4,), smoothing="laplace", pseudo_count=1e-6)
    observe(model, [[5, 9, 5, 1, 5, 9, 5, 9]])
    logits = model(torch.tensor([[5, 0]]), model.conditioning([{}], [2]))[0, :, 1]
    assert logits.exp()[[9, 1, 5]].tolist() == pytest.approx([0.75, 0.25, 0], abs=1e-5)


@pytest.mark.parametrize("smoothing", ["laplace", "backoff", "interpolation"])
@pytest.mark.parametrize("context_bits", [(), (4, 2)])
def test_the_nll_is_that_of_the_predictions(smoothing, context_bits):
    model = tiny_model(
        NGramConfig(context_bits=context_bits, conditions=(DIGIT,), smoothing=smoothing), BITS
    )
    codes = torch.randint(16, (3, 50), generator=torch.Generator().manual_seed(1))
    noisy = (codes + 1) % 16
    mask = torch.arange(50) >= torch.tensor([[0], [20], [50]])
    conditioning = model.conditioning([{"digit": "a"}, {"digit": "b"}, {}], [50] * 3)
    start = torch.tensor([0, 7, 0])
    expected = AutoregressiveModel.nll(model, codes, mask, start, conditioning, noisy)
    found = model.nll(codes, mask, start, conditioning, noisy)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.nll(codes, mask & False, start, conditioning, noisy) == 0


def test_a_histogram_ignores_the_past():
    model = build(())
    observe(model, [[1, 1, 1, 2]])
    params = model(torch.tensor([[3, 9, 5, 5]]), model.conditioning([{}], [4]))
    assert torch.equal(params[:, :, :1].expand_as(params), params)
    assert params[0, 1, 0].exp() == pytest.approx((3 + 2 / 16) / 6)
    assert model.receptive_field == model.config.memory_values == 0


def test_more_bits_than_the_codec_has_keep_the_whole_code():
    assert [tuple(t.shape) for t in build((10, 5)).tables] == [(1, 16), (16, 16), (256, 16)]


def test_a_clip_is_counted_for_its_labels_and_for_unknown_labels():
    model = build((), (DIGIT, VOICE))
    observe(model, [[1], [2]], [{"digit": "a", "voice": "x"}, {"digit": "b"}])
    # row = 2 * digit + voice; the last value of each is "unknown"
    assert nonzero(model.tables[0]) == {
        **{(0, 1): 1, (1, 1): 1, (4, 1): 1, (5, 1): 1},
        **{(3, 2): 1, (5, 2): 1},
    }


def test_labels_are_counted_with_the_longest_context_only():
    model = build((4, 1), (DIGIT,))
    observe(model, [[3, 9], [3, 9]], [{"digit": "b"}, {}])
    unigram, bigram, trigram = model.tables
    assert nonzero(unigram) == {(0, 3): 2, (0, 9): 2}
    assert nonzero(bigram) == {(8, 3): 2, (3, 9): 2}
    first, second = 8 * 2 + 1, 3 * 2 + 1
    assert nonzero(trigram) == {
        **{(32 + first, 3): 1, (32 + second, 9): 1},
        **{(64 + first, 3): 2, (64 + second, 9): 2},
    }


def predict(model, values, codes):
    """Return the probabilities of every sample of one clip, (K, T)."""
    return model(torch.tensor([codes]), model.conditioning([values], [len(codes)]))[0].exp()


BACKING_OFF = [{"smoothing": "backoff"}, {"weight": 0.6}, {}]


@pytest.mark.parametrize("settings", BACKING_OFF)
@pytest.mark.parametrize("context_bits", [(), (4,), (4, 2)])
def test_labels_that_were_not_seen_have_the_predictions_without_labels(settings, context_bits):
    """Regression: they had the same probability for every code."""
    clips = torch.randint(16, (3, 40), generator=torch.Generator().manual_seed(0)).tolist()
    labelled = build(context_bits, (DIGIT, VOICE), **settings)
    observe(labelled, clips, [{"digit": "a", "voice": "x"}, {"digit": "b"}, {}])
    plain = build(context_bits, **settings)
    observe(plain, clips)
    expected = predict(plain, {}, clips[0])
    for unseen in ({"digit": "b", "voice": "x"}, {}):
        assert torch.equal(predict(labelled, unseen, clips[0]), expected)
    for seen in ({"digit": "a", "voice": "x"}, {"digit": "b"}):
        found = predict(labelled, seen, clips[0])
        assert not torch.allclose(found, expected, atol=0.01)
        torch.testing.assert_close(found.sum(0), torch.ones(40))


def test_labels_back_off_to_the_counts_without_labels_by_hand():
    model = build((), (DIGIT,))
    observe(model, [[1, 1, 1, 2], [4, 4, 4, 4]], [{"digit": "a"}, {"digit": "b"}])
    # Witten-Bell: codes 1, 2 and 4 of all clips; codes 1 and 2 of the clips of "a"
    without = [(count + 3 / 16) / (8 + 3) for count in (3, 1, 4, 0)]
    expected = [(count + 2 * p) / (4 + 2) for count, p in zip((3, 1, 0, 0), without, strict=True)]
    found = predict(model, {"digit": "a"}, [0])[[1, 2, 4, 5], 0]
    assert found.tolist() == pytest.approx(expected)


def test_the_label_reaches_a_step_by_its_bias():
    model = build((4,), (DIGIT,))
    observe(model, [[5, 9, 5, 9], [5, 1, 5, 1]], [{"digit": "a"}, {"digit": "b"}])
    conditioning = model.conditioning([{"digit": "a"}, {"digit": "b"}, {}], [4] * 3)
    bias = conditioning.biases(torch.zeros(3, dtype=torch.int64), 2)[:, 0]
    found = model.step(model.initial_memory(3), torch.tensor([5, 5, 5]), bias)
    assert found.argmax(1)[:2].tolist() == [9, 1]
    assert found[2, 9] == found[2, 1] > math.log(0.3)


def test_a_full_context_is_not_counted_any_more():
    """Counts stay exact: float32 has no whole numbers between 2**24 and 2**24 + 2."""
    table = torch.zeros(2, 3)
    table[0, 1] = MAX_COUNT - 1
    add_counts(table, torch.tensor([0, 1, 1]), torch.tensor([1, 0, 0]))
    assert table.tolist() == [[0, MAX_COUNT, 0], [2, 0, 0]]
    add_counts(table, torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert table.tolist() == [[0, MAX_COUNT, 0], [3, 0, 0]]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"conditions": (PositionCondition(),)}, "label conditions only, found .* 'position'"),
        ({"output": LogisticOutput()}, "must be 'categorical', found 'logistic-mixture'"),
        ({"context_bits": (8, 8, 8)}, "parameters; the limit is"),
        ({"context_bits": (11,)}, "at most 10"),
        (
            {"conditions": tuple(LabelCondition(name=name, values=("x",)) for name in "abcde")},
            "up to 4 labels, found 5",
        ),
    ],
)
def test_what_an_ngram_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_config(NGramConfig, "model", **settings)


def test_the_number_of_labels_counts_in_the_size():
    many = LabelCondition(name="voice", values=tuple(map(str, range(200))))
    with pytest.raises(ConfigError, match="parameters; the limit is"):
        make_config(NGramConfig, "model", context_bits=(10,), conditions=(many,))
    assert NGramConfig(context_bits=(10,)).approximate_parameters == 1024 * 1025
    labelled = NGramConfig(context_bits=(4, 1), conditions=(DIGIT, VOICE))
    assert labelled.approximate_parameters == 1024 * (1 + 16 + 6 * 32)
    assert build((4, 1), (DIGIT, VOICE)).parameter_count == 16 * (1 + 16 + 6 * 32)
