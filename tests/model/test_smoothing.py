"""Smoothing: small tables by hand, and sums of 1 for all tables."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.model.smoothing import add_pseudo_counts, back_off, interpolate_counts


def row(*values):
    return torch.tensor([values], dtype=torch.float32)


UNIGRAM, BIGRAM = row(6, 3, 1, 0), row(2, 0, 2, 0)


def assert_probabilities(found, expected):
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=1e-6, atol=1e-7)
    assert found.sum().item() == pytest.approx(1)


def test_pseudo_counts_by_hand():
    assert_probabilities(add_pseudo_counts(BIGRAM, 0.5), [2.5 / 6, 0.5 / 6, 2.5 / 6, 0.5 / 6])


def test_witten_bell_by_hand():
    # three codes were seen in 10 samples: 3 / 13 of the probability is uniform
    unigram = [(count + 3 / 4) / 13 for count in (6, 3, 1, 0)]
    assert_probabilities(interpolate_counts([UNIGRAM], None), unigram)
    bigram = [(count + 2 * p) / 6 for count, p in zip((2, 0, 2, 0), unigram, strict=True)]
    assert_probabilities(interpolate_counts([UNIGRAM, BIGRAM], None), bigram)


def test_a_fixed_weight_by_hand():
    unigram = [0.8 * count / 10 + 0.2 / 4 for count in (6, 3, 1, 0)]
    bigram = [0.8 * count / 4 + 0.2 * p for count, p in zip((2, 0, 2, 0), unigram, strict=True)]
    assert_probabilities(interpolate_counts([UNIGRAM, BIGRAM], 0.8), bigram)


def test_backing_off_by_hand():
    # the only unseen code gets all that is subtracted: 3 * 0.5 of 10
    unigram = [0.55, 0.25, 0.05, 0.15]
    assert_probabilities(back_off([UNIGRAM], 0.5), unigram)
    # codes 1 and 3 divide 2 * 0.5 of 4 in the ratio of 0.25 to 0.15
    bigram = [1.5 / 4, 0.25 * 0.25 / 0.4, 1.5 / 4, 0.25 * 0.15 / 0.4]
    assert_probabilities(back_off([UNIGRAM, BIGRAM], 0.5), bigram)


def test_without_unseen_codes_nothing_is_subtracted():
    assert_probabilities(back_off([row(4, 3, 2, 1)], 0.5), [0.4, 0.3, 0.2, 0.1])


SMOOTHINGS = [lambda tables: interpolate_counts(tables, None), lambda tables: back_off(tables, 0.5)]


@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_an_unseen_context_has_the_probabilities_of_the_shorter_one(smooth):
    nothing = row(0, 0, 0, 0)
    assert torch.equal(smooth([UNIGRAM, nothing]), smooth([UNIGRAM]))
    assert_probabilities(smooth([nothing, nothing]), [0.25] * 4)
    assert not torch.equal(smooth([UNIGRAM, BIGRAM]), smooth([UNIGRAM]))


COUNTS = st.lists(st.integers(0, 3) | st.integers(0, 1 << 24), min_size=5, max_size=5)


@given(st.lists(COUNTS, min_size=1, max_size=4), st.floats(0.01, 0.99))
def test_all_tables_have_positive_probabilities_that_sum_to_one(tables, constant):
    counts = [torch.tensor([table], dtype=torch.float32) for table in tables]
    found = [
        add_pseudo_counts(counts[-1], constant),
        interpolate_counts(counts, None),
        interpolate_counts(counts, constant),
        back_off(counts, constant),
    ]
    for probabilities in found:
        assert bool((probabilities > 0).all())
        assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
