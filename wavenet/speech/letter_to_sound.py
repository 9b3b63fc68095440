"""Pronounce unknown words: from letters to phones, by a joint n-gram.

A graphone pairs one or two letters with at most two phones: (ph, F), (x, K S), (e, nothing). A word
and its phones are one sequence of graphones q, with p(q) = Π p(q_i | q_{i-7} ... q_{i-1}): an
autoregressive model over pairs. `pronounce` searches the sequence with the given letters that has
the highest probability. The n-grams and the letters that remain after pruning are in
`letter_to_sound.npz`; the script `scripts/train_letter_to_sound.py` trains it and has the formulas.

Input: a word in lower case. Output: its phones. Called by `pronunciation.py`.

Source: Bisani and Ney 2008, Joint-sequence models for grapheme-to-phoneme conversion.
"""

import re
import zlib
from bisect import bisect_left
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from wavenet.errors import CheckpointError
from wavenet.speech.phones import phone_of, without_stress

MODEL_FILE = Path(__file__).parent / "letter_to_sound.npz"
ALPHABET = "abcdefghijklmnopqrstuvwxyz'"
STEP = 1 / 12  # nats, the step of the stored logarithms
_END, _START = 0, 1  # graphones without letters
_UNKNOWN = 1200  # steps, of a graphone that is not in the model
BEAM = 40
MAX_LETTERS = 60  # longer words are pronounced in parts
# -log p in steps, the hypothesis before, the phones of the last graphone
Hypothesis = tuple[int, Any, tuple[str, ...]]


class LetterToSound:
    """A joint n-gram as a tree: the path from the root to a node is the n-gram of the node.

    All nodes are in one list, level by level; the children of a node are consecutive and sorted by
    graphone. Node 0 is the root. A context is a node with children.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        """Build the tree from the arrays of a file; see `write_model` of the script."""
        order = max(int(name[8:]) for name in arrays if name.startswith("graphone"))

        def join(name: str) -> np.ndarray:
            return np.concatenate([arrays[f"{name}{level}"] for level in range(1, order + 1)])

        # memory views: single numbers are read faster than from arrays, without a copy as lists
        self._graphones = np.append(np.uint16(0), join("graphone")).data
        self._costs = np.append(np.uint8(0), join("log_prob")).data
        self._backoffs = join("backoff").data
        # the children of a context are the nodes from its first to that of the next context
        self._firsts = np.append(1, 1 + np.cumsum(join("children"), dtype=np.int64)).data
        self._suffixes, self._contexts = _link_suffixes(arrays, order)
        self._by_letters: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        pairs = zip(arrays["letters"].tolist(), arrays["phones"].tolist(), strict=True)
        for index, (letters, phones) in enumerate(pairs, 2):
            entry = (index, tuple(phones.split()))
            self._by_letters.setdefault(letters, []).append(entry)

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Return the phones of a word, with exactly one primary stress if there is a vowel.

        A few single letters have no phones, such as e, which is often silent.

        Args:
            word: in lower case; other characters than letters and apostrophes are left out.
        """
        letters = re.sub(r"[^a-z']", "", word)
        phones: list[str] = []
        for start in range(0, len(letters), MAX_LETTERS):
            phones += self._search(letters[start : start + MAX_LETTERS])
        return _with_one_primary_stress(phones)

    def _search(self, letters: str) -> list[str]:
        """Return the phones of the best sequence of graphones: a beam search over the letters.

        Of several hypotheses with the same letters and the same context only the best is kept:
        what follows them is equal.
        """
        start = self._contexts[self._child(0, _START)]
        beams: list[dict[int, Hypothesis]] = [{} for _ in range(len(letters) + 1)]
        beams[0][start] = (0, None, ())
        for at in range(len(letters)):
            best = sorted(beams[at].items(), key=lambda item: item[1][0])[:BEAM]
            for context, hypothesis in best:
                for size in (1, 2):
                    for graphone, phones in self._by_letters.get(letters[at : at + size], ()):
                        if at + size > len(letters):
                            break
                        step, after = self._step(context, graphone)
                        cost = hypothesis[0] + step
                        known = beams[at + size].get(after)
                        if known is None or cost < known[0]:
                            beams[at + size][after] = (cost, hypothesis, phones)
        ends = [
            (hypothesis[0] + self._step(context, _END)[0], index, hypothesis)
            for index, (context, hypothesis) in enumerate(beams[-1].items())
        ]
        parts: list[tuple[str, ...]] = []
        last: Hypothesis | None = min(ends)[2]
        while last is not None:
            parts.append(last[2])
            last = last[1]
        return [symbol for part in reversed(parts) for symbol in part]

    def _child(self, context: int, graphone: int) -> int:
        """Return the child of a context for a graphone, or -1."""
        end = self._firsts[context + 1]
        at = bisect_left(self._graphones, graphone, self._firsts[context], end)
        return at if at < end and self._graphones[at] == graphone else -1

    def _step(self, context: int, graphone: int) -> tuple[int, int]:
        """Return -log p of a graphone after a context, in steps, and the context after it."""
        cost = 0
        while True:
            child = self._child(context, graphone)
            if child >= 0:
                return cost + self._costs[child], self._contexts[child]
            if context == 0:
                return cost + _UNKNOWN, 0
            cost += self._backoffs[context]
            context = self._suffixes[context]


def _link_suffixes(arrays: dict[str, np.ndarray], order: int) -> tuple[memoryview, memoryview]:
    """Return for each node its suffix, and its context: the longest suffix that has children.

    The suffix is the n-gram without its first graphone. It is a node too: the child of the suffix
    of the parent. The context may be the node itself.
    """
    n_graphones = len(arrays["letters"]) + 2
    suffixes, contexts = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    start, start_below, keys_below = 1, 0, np.zeros(0, np.int64)
    for level in range(1, order + 1):
        graphones = arrays[f"graphone{level}"].astype(np.int64)
        n_children = arrays[f"children{level}"].astype(np.int64)
        parents = np.repeat(np.arange(len(n_children)), n_children)
        suffix = np.zeros(len(graphones), np.int64)
        if level > 1:
            keys = suffixes[-1][parents] * n_graphones + graphones
            suffix = start_below + np.searchsorted(keys_below, keys)
        is_context = np.zeros(len(graphones), bool)
        if level < order:
            is_context = arrays[f"children{level + 1}"] > 0
        nodes = start + np.arange(len(graphones))
        contexts.append(np.where(is_context, nodes, np.concatenate(contexts)[suffix]))
        suffixes.append(suffix)
        keys_below = (start - len(n_children) + parents) * n_graphones + graphones
        start_below, start = start, start + len(graphones)
    return np.concatenate(suffixes).data, np.concatenate(contexts).data


def _with_one_primary_stress(phones: list[str]) -> tuple[str, ...]:
    """Return phones in which the first primary stress is the only one; add one if it is missing."""
    vowels = [i for i, symbol in enumerate(phones) if phone_of(symbol).is_vowel]
    primary = [i for i in vowels if phones[i].endswith("1")]
    secondary = [i for i in vowels if phones[i].endswith("2")]
    main = (primary or secondary or vowels)[:1]
    changed = list(phones)
    for i in primary:
        changed[i] = without_stress(phones[i]) + "2"
    for i in main:
        changed[i] = without_stress(phones[i]) + "1"
    return tuple(changed)


def load_letter_to_sound(path: Path = MODEL_FILE) -> LetterToSound:
    """Read the model of a file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            return LetterToSound(dict(file))
    except (OSError, EOFError, KeyError, ValueError, IndexError, BadZipFile, zlib.error) as error:
        raise CheckpointError(
            f"{path} is not a letter-to-sound model; install the program again, or run "
            "scripts/train_letter_to_sound.py"
        ) from error


@cache
def _shipped_model() -> LetterToSound:
    return load_letter_to_sound()


@lru_cache(maxsize=10_000)
def pronounce_letters(word: str) -> tuple[str, ...]:
    """Return the phones of an unknown word in lower case; the model is read at the first call."""
    return _shipped_model().pronounce(word)
