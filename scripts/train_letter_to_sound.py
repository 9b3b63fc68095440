"""Train the letter-to-sound model of unknown words on the pronouncing dictionary, and measure it.

python scripts/train_letter_to_sound.py                # writes wavenet/speech/letter_to_sound.npz
python scripts/train_letter_to_sound.py --measure      # only measures the file that exists

The model is a joint n-gram of letters and phones. A graphone pairs one or two letters with at most
two phones, such as (ph, F), (x, K S) or (e, nothing). Every word of the dictionary is a sequence of
graphones.

1. Alignment by expectation maximisation: the probability of a word is the sum over all its
   sequences of graphones, p(word) = Σ_q Π p(q_i). The expected counts of all graphones, by the
   forward and backward sums, are the new p(q). After some iterations, each word is replaced by its
   most likely sequence.
2. An n-gram of these sequences with interpolated Kneser-Ney smoothing and absolute discounts D:
   p(q | h) = max(c(h q) - D, 0) / c(h) + b(h) p(q | h'), where h' is h without its first graphone,
   b(h) is the rest of the mass, and below the highest order c counts the distinct graphones
   before h q.
3. Pruning: n-grams whose removal changes the likelihood of the training words least are removed,
   until the file is small enough.

Every 20th word of the dictionary is held out: a word is correct if its result is one of its
pronunciations. The phone error rate is the edit distance to the closest of them over its length.

Source: Bisani and Ney 2008, Joint-sequence models for grapheme-to-phoneme conversion; Stolcke 1998,
Entropy-based pruning of backoff language models.
"""

import argparse
import re
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np

from wavenet.speech.letter_to_sound import (
    ALPHABET,
    MODEL_FILE,
    STEP,
    LetterToSound,
    load_letter_to_sound,
)
from wavenet.speech.phones import SYMBOLS, without_stress
from wavenet.speech.pronouncing_dictionary import load_dictionary

HELD_OUT = 20  # every 20th word
NO = len(SYMBOLS)  # stands for no phone
L, P = len(ALPHABET), len(SYMBOLS) + 1
ITERATIONS = 12
ORDER = 8
MAX_BYTES = 1_500_000
Words = dict[str, list[tuple[str, ...]]]
NGram = tuple[int, ...]


def main() -> None:
    """Train and measure, or only measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure the file that exists")
    parser.add_argument("--order", type=int, default=ORDER)
    parser.add_argument("--kept", type=int, default=630_000, help="number of n-grams that remain")
    parser.add_argument("--limit", type=int, default=10**9, help="measured words")
    parser.add_argument("--out", type=Path, default=MODEL_FILE)
    options = parser.parse_args()
    train, test = split_words()
    if not options.measure:
        sequences, graphones = align(train)
        probabilities, backoffs = estimate(sequences, options.order)
        probabilities = prune(probabilities, backoffs, options.kept)
        write_model(options.out, graphones, probabilities, options.order)
        size = options.out.stat().st_size
        print(f"{options.out}: {size} bytes")
        if size > MAX_BYTES:
            raise SystemExit(f"larger than {MAX_BYTES} bytes; lower --kept")
    measure(load_letter_to_sound(options.out), test, options.limit)


def split_words() -> tuple[Words, Words]:
    """Return the words of the training and the held-out words, with their pronunciations."""
    dictionary = load_dictionary()
    words = sorted(w for w in dictionary.words() if re.fullmatch(r"[a-z][a-z']*", w))
    train, test = {}, {}
    for index, word in enumerate(words):
        target = test if index % HELD_OUT == 0 else train
        target[word] = list(dict.fromkeys(dictionary.look_up(word)))
    return train, test


# ---------------------------------------------------------------- alignment


@numba.njit(cache=False)
def _key(letters, i, size, phones, j, count):
    """Return the index of a graphone in a flat table: two letters, two phones."""
    first = letters[i]
    second = letters[i + 1] if size == 2 else L
    a = phones[j] if count > 0 else P - 1
    b = phones[j + 1] if count > 1 else P - 1
    return ((first * (L + 1) + second) * P + a) * P + b


@numba.njit(cache=False)
def _expect(letters, letter_ends, phones, phone_ends, weights, counts):
    """Add the expected counts of all graphones; return the log-likelihood."""
    total = 0.0
    for w in range(len(letter_ends) - 1):
        x = letters[letter_ends[w] : letter_ends[w + 1]]
        y = phones[phone_ends[w] : phone_ends[w + 1]]
        n, m = len(x), len(y)
        forward = np.zeros((n + 1, m + 1))
        backward = np.zeros((n + 1, m + 1))
        forward[0, 0] = 1.0
        backward[n, m] = 1.0
        for i in range(n):
            for j in range(m + 1):
                if forward[i, j] > 0:
                    for size, count in SHAPES:
                        if i + size <= n and j + count <= m:
                            p = weights[_key(x, i, size, y, j, count)]
                            forward[i + size, j + count] += forward[i, j] * p
        mass = forward[n, m]
        if mass <= 0:
            continue
        total += np.log(mass)
        for i in range(n - 1, -1, -1):
            for j in range(m, -1, -1):
                for size, count in SHAPES:
                    if i + size <= n and j + count <= m:
                        k = _key(x, i, size, y, j, count)
                        p = weights[k] * backward[i + size, j + count]
                        backward[i, j] += p
                        counts[k] += forward[i, j] * p / mass
    return total


@numba.njit(cache=False)
def _best(x, y, weights):
    """Return the keys of the most likely graphones of a word, or none."""
    n, m = len(x), len(y)
    best = np.full((n + 1, m + 1), -np.inf)
    taken = np.full((n + 1, m + 1), -1)
    best[0, 0] = 0.0
    for i in range(n):
        for j in range(m + 1):
            if best[i, j] > -np.inf:
                for s in range(len(SHAPES)):
                    size, count = SHAPES[s]
                    if i + size <= n and j + count <= m:
                        p = weights[_key(x, i, size, y, j, count)]
                        if p > 0 and best[i, j] + np.log(p) > best[i + size, j + count]:
                            best[i + size, j + count] = best[i, j] + np.log(p)
                            taken[i + size, j + count] = s
    keys = []
    if taken[n, m] < 0:
        return keys
    i, j = n, m
    while i > 0:
        size, count = SHAPES[taken[i, j]]
        i, j = i - size, j - count
        keys.append(_key(x, i, size, y, j, count))
    return keys[::-1]


# letters and phones of a graphone
SHAPES = ((1, 0), (1, 1), (1, 2), (2, 1))


def align(words: Words) -> tuple[list[NGram], list[tuple[str, tuple[str, ...]]]]:
    """Return each word as a sequence of graphones, and the graphones: letters and phones."""
    index = {symbol: i for i, symbol in enumerate(SYMBOLS)}
    pairs = [(word, phones) for word, variants in words.items() for phones in variants]
    spelled = [[ALPHABET.index(letter) for letter in word] for word, _ in pairs]
    spoken = [[index[symbol] for symbol in phones] for _, phones in pairs]
    letters, phones = (np.array([v for row in rows for v in row]) for rows in (spelled, spoken))
    ends = [np.cumsum([0, *(len(row) for row in rows)]) for rows in (spelled, spoken)]
    size = L * (L + 1) * P * P
    weights = np.full(size, 1e-4)
    second_letter = np.arange(size) // (P * P) % (L + 1)
    # one letter and one phone are more likely at first, so that the sums converge to short ones
    single = (second_letter == L) & (np.arange(size) % P == P - 1)
    weights[single & (np.arange(size) // P % P != P - 1)] = 1e-2
    for iteration in range(ITERATIONS):
        counts = np.zeros(size)
        started = time.perf_counter()
        nll = -_expect(letters, ends[0], phones, ends[1], weights, counts)
        weights = np.where(counts > 0.5, counts, 0) / counts.sum()
        print(
            f"alignment {iteration + 1}: {nll / len(pairs):.3f} nats per word, "
            f"{time.perf_counter() - started:.1f} s"
        )
    rows = [_best(np.array(x), np.array(y), weights) for x, y in zip(spelled, spoken, strict=True)]
    sequences = [list(row) for row in rows if len(row)]
    print(f"{len(pairs) - len(sequences)} of {len(pairs)} pronunciations have no alignment")
    keys = sorted({key for row in sequences for key in row})
    number = {key: i + 2 for i, key in enumerate(keys)}  # 0: end of a word, 1: its start
    return [tuple(number[k] for k in row) for row in sequences], [_unpack(key) for key in keys]


def _unpack(key: int) -> tuple[str, tuple[str, ...]]:
    """Return letters and phones of a key."""
    rest, b = divmod(key, P)
    rest, a = divmod(rest, P)
    first, second = divmod(rest, L + 1)
    letters = ALPHABET[first] + (ALPHABET[second] if second < L else "")
    return letters, tuple(SYMBOLS[p] for p in (a, b) if p < P - 1)


# ---------------------------------------------------------------- n-grams


def estimate(
    sequences: list[NGram], order: int
) -> tuple[list[dict[NGram, float]], list[dict[NGram, float]]]:
    """Return the interpolated probabilities of all n-grams by order, and b(h) of all contexts."""
    counts: list[dict[NGram, float]] = [defaultdict(float) for _ in range(order + 1)]
    for row in sequences:
        padded = (1, *row, 0)
        for end in range(2, len(padded) + 1):
            for size in range(1, min(order, end) + 1):
                counts[size][padded[end - size : end]] += 1
    # below the highest order: distinct graphones before, except at the start of a word
    for size in range(1, order):
        distinct: dict[NGram, float] = defaultdict(float)
        for gram in counts[size + 1]:
            distinct[gram[1:]] += 1
        for gram in counts[size]:
            if gram[0] == 1:
                distinct[gram] = counts[size][gram]
        counts[size] = distinct
    probabilities: list[dict[NGram, float]] = [{} for _ in range(order + 1)]
    backoffs: list[dict[NGram, float]] = [{} for _ in range(order + 1)]
    uniform = 1 / len({gram for gram in counts[1]})
    for size in range(1, order + 1):
        discounts = _discounts(counts[size].values())
        totals: dict[NGram, float] = defaultdict(float)
        removed: dict[NGram, float] = defaultdict(float)
        for gram, count in counts[size].items():
            totals[gram[:-1]] += count
            removed[gram[:-1]] += discounts[min(int(count), 3)]
        backoffs[size - 1] = {h: removed[h] / totals[h] for h in totals}
        lower = probabilities[size - 1]
        for gram, count in counts[size].items():
            h = gram[:-1]
            share = (count - discounts[min(int(count), 3)]) / totals[h]
            p = lower[gram[1:]] if size > 1 else uniform
            probabilities[size][gram] = share + backoffs[size - 1][h] * p
        print(f"order {size}: {len(counts[size])} n-grams")
    return probabilities, backoffs


def _discounts(counts) -> list[float]:
    """Return the discounts of the counts 0, 1, 2, and 3 or more.

    Source: Chen and Goodman 1998, modified Kneser-Ney smoothing.
    """
    n = [0, 0, 0, 0, 0]
    for count in counts:
        if count <= 4:
            n[int(count)] += 1
    y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
    return [0, *(max(0.1, k - (k + 1) * y * n[k + 1] / max(n[k], 1)) for k in (1, 2, 3))]


def prune(
    probabilities: list[dict[NGram, float]], backoffs: list[dict[NGram, float]], kept: int
) -> list[dict[NGram, float]]:
    """Return the n-grams that matter most, with all their prefixes and suffixes.

    The weight of an n-gram h q is p(h q) (log p(q | h) - log b(h) p(q | h')): the loss of training
    likelihood if it were removed.
    """
    order = len(probabilities) - 1
    joint: list[dict[NGram, float]] = [{(): 1.0}] + [{} for _ in range(order)]
    scores: list[tuple[float, NGram]] = []
    for size in range(1, order + 1):
        for gram, p in probabilities[size].items():
            h = gram[:-1]
            joint[size][gram] = (1.0 if h == (1,) else joint[size - 1].get(h, 0.0)) * p
            if size > 1:
                lower = backoffs[size - 1][h] * probabilities[size - 1][gram[1:]]
                scores.append((joint[size][gram] * np.log(p / lower), gram))
    scores.sort(reverse=True)
    chosen: set[NGram] = set(probabilities[1])
    for _, gram in scores:
        if len(chosen) >= kept:
            break
        stack = [gram]
        while stack:
            top = stack.pop()
            if len(top) > 1 and top not in chosen and top != (1,):
                chosen.add(top)
                stack += [top[:-1], top[1:]]
    chosen.add((1,))
    pruned = [{} for _ in range(order + 1)]
    for gram in chosen:
        pruned[len(gram)][gram] = probabilities[len(gram)].get(gram, 1e-9)
    print("kept:", [len(level) for level in pruned[1:]])
    return pruned


def _normalised_backoffs(probabilities: list[dict[NGram, float]], size: int) -> dict[NGram, float]:
    """Return b(h) of the contexts of n-grams of a size, so that all p(q | h) have the sum 1."""
    kept: dict[NGram, float] = defaultdict(float)
    lower: dict[NGram, float] = defaultdict(float)
    for gram, p in probabilities[size].items():
        kept[gram[:-1]] += p
        lower[gram[:-1]] += probabilities[size - 1][gram[1:]]
    return {h: max(1 - kept[h], 1e-6) / max(1 - lower[h], 1e-6) for h in kept}


def write_model(
    path: Path,
    graphones: list[tuple[str, tuple[str, ...]]],
    probabilities: list[dict[NGram, float]],
    order: int,
) -> None:
    """Write the n-grams as a tree, level by level, with logarithms in steps of `STEP` nats."""
    arrays = {
        "letters": np.array([letters for letters, _ in graphones]),
        "phones": np.array([" ".join(phones) for _, phones in graphones]),
    }
    parents: list[NGram] = [()]
    for size in range(1, order + 1):
        children: dict[NGram, list[int]] = defaultdict(list)
        for gram in probabilities[size]:
            children[gram[:-1]].append(gram[-1])
        backoffs = _normalised_backoffs(probabilities, size) if size > 1 else {(): 1.0}
        grams = [(*h, q) for h in parents for q in sorted(children[h])]
        arrays[f"children{size}"] = np.array([len(children[h]) for h in parents], np.uint16)
        arrays[f"backoff{size}"] = _quantise([backoffs.get(h, 1.0) for h in parents], signed=True)
        arrays[f"graphone{size}"] = np.array([g[-1] for g in grams], np.uint16)
        arrays[f"log_prob{size}"] = _quantise([probabilities[size][g] for g in grams])
        assert len(grams) == len(probabilities[size])
        parents = grams
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def _quantise(values: list[float], signed: bool = False) -> np.ndarray:
    """Return -log of positive numbers in steps of `STEP`, as one byte."""
    steps = np.round(-np.log(np.array(values)) / STEP)
    return (
        np.clip(steps, -128, 127).astype(np.int8)
        if signed
        else np.clip(steps, 0, 255).astype(np.uint8)
    )


# ---------------------------------------------------------------- measurement


def measure(model: LetterToSound, test: Words, limit: int) -> None:
    """Print exact matches with and without stress, and the phone error rate without stress."""
    exact = exact_phones = errors = phones = 0
    started = time.perf_counter()
    words = list(test.items())[:limit]
    for word, variants in words:
        result = model.pronounce(word)
        plain = tuple(map(without_stress, result))
        truths = [tuple(map(without_stress, variant)) for variant in variants]
        exact += result in variants
        exact_phones += plain in truths
        distance, length = min((edit_distance(plain, truth), len(truth)) for truth in truths)
        errors, phones = errors + distance, phones + length
    seconds = time.perf_counter() - started
    print(
        f"{len(words)} held-out words: exact {100 * exact / len(words):.2f} %, without stress "
        f"{100 * exact_phones / len(words):.2f} %, phone error rate {100 * errors / phones:.2f} %, "
        f"{1000 * seconds / len(words):.1f} ms per word"
    )


def edit_distance(found: tuple[str, ...], truth: tuple[str, ...]) -> int:
    """Return the number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(truth) + 1))
    for i, symbol in enumerate(found, 1):
        new = [i]
        for j, (corner, above) in enumerate(pairwise(row), 1):
            new.append(min(above + 1, new[-1] + 1, corner + (symbol != truth[j - 1])))
        row = new
    return row[-1]


if __name__ == "__main__":
    main()
