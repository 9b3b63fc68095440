"""Byte-pair merging: the example of the lecture, exact decoding, and a plain implementation."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.byte_pair_merging import decode, encode, learn_merges, symbol_strings

LETTERS = "bghnpsu"
WORDS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
codes_of = st.lists(st.integers(0, 3), max_size=40).map(lambda x: np.array(x, np.int64))


def letters(word):
    return np.array([LETTERS.index(letter) for letter in word], np.int64)


def plain_merges(sequences, count):
    """Merge by lists, one pair after the other; ties go to the lower symbols."""
    sequences, merges, new = [list(s) for s in sequences], [], 4
    while len(merges) < count:
        pairs = Counter(p for s in sequences for p in pairwise(s))
        if not pairs or max(pairs.values()) < 2:
            return merges, sequences
        pair = min(pairs, key=lambda p: (-pairs[p], p))
        for n, sequence in enumerate(sequences):
            merged, t = [], 0
            while t < len(sequence):
                is_pair = tuple(sequence[t : t + 2]) == pair
                merged.append(new if is_pair else sequence[t])
                t += 1 + is_pair
            sequences[n] = merged
        merges.append(pair)
        new += 1
    return merges, sequences


def test_the_example_of_hug_pug_pun_bun_hugs():
    words = [letters(word) for word, count in WORDS.items() for _ in range(count)]
    merges = learn_merges(words, len(LETTERS), 3)
    strings = symbol_strings(merges, len(LETTERS))[len(LETTERS) :]
    assert ["".join(LETTERS[c] for c in string) for string in strings] == ["ug", "un", "hug"]
    assert len(encode(letters("hugs"), merges, len(LETTERS))) == 2  # hug, s
    assert len(encode(letters("bug"), merges, len(LETTERS))) == 2  # b, ug
    assert len(encode(letters("gnu"), merges, len(LETTERS))) == 3  # no merge applies


@given(st.lists(codes_of, min_size=1, max_size=5), st.integers(0, 8))
def test_merges_are_those_of_a_plain_implementation(sequences, count):
    merges, expected = plain_merges(sequences, count)
    assert learn_merges(sequences, 4, count) == merges
    for codes, symbols in zip(sequences, expected, strict=True):
        found = encode(codes, merges, 4)
        assert found.tolist() == symbols
        assert np.array_equal(decode(found, merges, 4), codes)


def test_pairs_do_not_span_two_sequences():
    apart = [np.array([0, 1]), np.array([2, 0]), np.array([1, 2])]
    assert learn_merges(apart, 3, 5) == []
    # negative control: joined, the pair 0 1 occurs twice
    assert learn_merges([np.concatenate(apart)], 3, 1) == [(0, 1)]


@pytest.mark.parametrize("length", [2, 3, 4, 5, 9])
def test_runs_of_equal_codes_are_replaced_from_left_to_right(length):
    symbols = encode(np.zeros(length, np.int64), [(0, 0)], 1)
    assert symbols.tolist() == [1] * (length // 2) + [0] * (length % 2)
