"""Byte-pair merging: frequent pairs of codes become one symbol, so sequences get shorter.

    repeat: count all pairs of neighbours; give the most frequent pair (a, b) a new symbol;
            replace every a b by it, from left to right

Input: sequences of codes. Output: the merges, in order; sequences of symbols; and back. Symbol
n_classes + k stands for merge k, which may contain earlier symbols, so a symbol is a string of
codes. Decoding is exact. In text the symbols are parts of words, and a model over them reads a
longer past with the same number of steps. In audio codes, where noise makes exact repetitions
rare, they are mostly strings of silence. Called by `benchmarks/byte_pair_merging.py`.

Sources: Gage 1994, "A New Algorithm for Data Compression"; for models of text Sennrich et al. 2016,
"Neural Machine Translation of Rare Words with Subword Units".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Merge = tuple[int, int]

END = -1  # between two sequences, so that no pair spans both


def learn_merges(sequences: Sequence[Codes], n_classes: int, count: int) -> list[Merge]:
    """Find the merges of sequences.

    Args:
        sequences: each (T,), codes from 0 to n_classes - 1.
        n_classes: number of codes.
        count: number of merges; fewer are returned if no pair occurs twice any more.
    Returns:
        the merges in order; of equally frequent pairs, the one with the lower symbols is first.
    """
    symbols = _join(sequences)
    merges: list[Merge] = []
    while len(merges) < count:
        pair = _most_frequent_pair(symbols, n_classes + len(merges))
        if pair is None:
            break
        symbols = _replace(symbols, pair, n_classes + len(merges))
        merges.append(pair)
    return merges


def encode(codes: Codes, merges: Sequence[Merge], n_classes: int) -> Codes:
    """Replace pairs of codes (T,) by symbols, one merge after the other: (n,), n at most T."""
    symbols = codes
    for index, pair in enumerate(merges):
        symbols = _replace(symbols, pair, n_classes + index)
    return symbols


def decode(symbols: Codes, merges: Sequence[Merge], n_classes: int) -> Codes:
    """Return the codes that symbols stand for; the inverse of `encode`."""
    strings = symbol_strings(merges, n_classes)
    return np.concatenate([np.zeros(0, np.int64), *(strings[symbol] for symbol in symbols)])


def symbol_strings(merges: Sequence[Merge], n_classes: int) -> list[Codes]:
    """Return the string of codes of every symbol, single codes first."""
    strings = [np.array([code], np.int64) for code in range(n_classes)]
    for first, second in merges:
        strings.append(np.concatenate([strings[first], strings[second]]))
    return strings


def _join(sequences: Sequence[Codes]) -> Codes:
    """Join sequences, with `END` after each."""
    return np.concatenate([part for codes in sequences for part in (codes, [END])]).astype(np.int64)


def _most_frequent_pair(symbols: Codes, n_symbols: int) -> Merge | None:
    """Return the most frequent pair of neighbours that occurs at least twice."""
    first, second = symbols[:-1], symbols[1:]
    inside = (first != END) & (second != END)
    pairs, counts = np.unique(first[inside] * n_symbols + second[inside], return_counts=True)
    if not len(pairs) or counts.max() < 2:
        return None
    best = int(pairs[counts.argmax()])
    return divmod(best, n_symbols)


def _replace(symbols: Codes, pair: Merge, new: int) -> Codes:
    """Replace a pair by a new symbol, from left to right."""
    found = np.flatnonzero((symbols[:-1] == pair[0]) & (symbols[1:] == pair[1]))
    if pair[0] == pair[1] and len(found):
        # in a run of equal symbols every other pair overlaps the one before it
        starts = np.concatenate([[True], np.diff(found) > 1])
        position = np.arange(len(found))
        run_start = np.maximum.accumulate(np.where(starts, position, 0))
        found = found[(position - run_start) % 2 == 0]
    replaced = symbols.copy()
    replaced[found] = new
    return np.delete(replaced, found + 1)
