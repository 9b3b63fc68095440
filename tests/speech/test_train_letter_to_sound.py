"""The training of the letter-to-sound model, on a small language whose rules are known.

f is written f or ph, sh is written sh, x is K S, a final e is silent; so the graphones are known.
"""

import itertools
import math

import numpy as np
import pytest

from scripts import train_letter_to_sound as script
from wavenet.speech.letter_to_sound import load_letter_to_sound

UNITS = {"f": "F", "ph": "F", "sh": "SH", "x": "K S", "t": "T", "a": "AE1", "o": "AA1", "e": "EH1"}


@pytest.fixture(scope="module")
def words():
    """Return words of consonant, vowel, consonant, and some with a silent e behind them."""
    consonants, vowels = ("f", "ph", "sh", "x", "t"), ("a", "o", "e")
    made = {}
    for units in itertools.product(consonants, vowels, consonants):
        phones = tuple(" ".join(UNITS[unit] for unit in units).split())
        made["".join(units)] = [phones]
        made["".join(units) + "e"] = [phones]
    return made


@pytest.fixture(scope="module")
def alignment(words):
    return script.align(words)


def test_the_alignment_finds_the_units(alignment, words):
    sequences, graphones = alignment
    assert len(sequences) == len(words)
    used = {graphones[q - 2] for row in sequences for q in row}
    wanted = {(unit, tuple(phones.split())) for unit, phones in UNITS.items()}
    assert wanted <= used
    # a silent e may belong to the letter before it
    assert all(letters.endswith("e") for letters, _ in used - wanted)


def test_the_probabilities_behind_each_context_have_the_sum_one(alignment):
    sequences, _ = alignment
    probabilities, backoffs = script.estimate(sequences, 4)
    unigrams = {gram[0] for gram in probabilities[1]}

    def probability(gram):
        if gram in probabilities[len(gram)]:
            return probabilities[len(gram)][gram]
        return backoffs[len(gram) - 1].get(gram[:-1], 1.0) * probability(gram[1:])

    for size in (0, 1, 2, 3):
        for context in list(backoffs[size])[:10]:
            total = sum(probability((*context, q)) for q in unigrams)
            assert total == pytest.approx(1, abs=1e-9), context


def test_the_written_model_pronounces_new_words(alignment, tmp_path):
    sequences, graphones = alignment
    probabilities, backoffs = script.estimate(sequences, 4)
    pruned = script.prune(probabilities, backoffs, 10**6)
    path = tmp_path / "model.npz"
    script.write_model(path, graphones, pruned, 4)
    model = load_letter_to_sound(path)
    assert " ".join(model.pronounce("taphoshe")) == "T AE1 F AA2 SH"
    assert " ".join(model.pronounce("xof")) == "K S AA1 F"


def test_pruning_keeps_the_suffixes_and_prefixes_of_what_remains(alignment):
    probabilities, backoffs = script.estimate(alignment[0], 4)
    everything = sum(map(len, probabilities))
    pruned = script.prune(probabilities, backoffs, everything // 3)
    assert sum(map(len, pruned)) < everything / 2
    for size in range(2, 5):
        for gram in pruned[size]:
            assert gram[:-1] in pruned[size - 1]
            assert gram[1:] in pruned[size - 1] or gram[1:] == (1,)


def test_the_edit_distance():
    distance = script.edit_distance
    assert distance(("A", "B", "C"), ("A", "C")) == 1
    assert distance((), ("A", "C")) == 2
    assert distance(("K", "IH", "T"), ("S", "IH", "T", "S")) == 2


def test_quantised_logarithms_are_close():
    steps = script._quantise([1.0, 0.5, 1e-4])
    assert steps.dtype == np.uint8
    assert np.allclose(steps / 12, [0, math.log(2), math.log(1e4)], atol=1 / 24)
