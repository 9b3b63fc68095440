"""The shipped letter-to-sound model: quality on held-out words, file, hostile input."""

import re

import numpy as np
import pytest

from wavenet.errors import CheckpointError
from wavenet.speech.letter_to_sound import (
    ALPHABET,
    MODEL_FILE,
    load_letter_to_sound,
    pronounce_letters,
)
from wavenet.speech.phones import SYMBOLS, phone_of, without_stress
from wavenet.speech.pronouncing_dictionary import load_dictionary

HELD_OUT = 20  # as in scripts/train_letter_to_sound.py


@pytest.fixture(scope="module")
def model():
    return load_letter_to_sound()


def held_out_words():
    """Return the words on which the shipped model was not trained."""
    words = sorted(w for w in load_dictionary().words() if re.fullmatch(r"[a-z][a-z']*", w))
    return words[::HELD_OUT]


def test_two_thirds_of_held_out_words_are_exact_apart_from_stress(model):
    """Measured on all 6246 words: 73.0 %. Here on every 16th of them, to be fast."""
    words = held_out_words()[::16]
    right = 0
    for word in words:
        plain = tuple(map(without_stress, model.pronounce(word)))
        truths = [tuple(map(without_stress, p)) for p in load_dictionary().look_up(word)]
        right += plain in truths
    assert len(words) > 300
    assert right / len(words) > 0.67


def test_the_file_is_small_and_has_no_pickles():
    assert MODEL_FILE.stat().st_size <= 1_500_000
    with np.load(MODEL_FILE, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "uiU" for name in file)


def test_the_probabilities_of_each_context_have_a_sum_of_about_one(model):
    """Of the graphones at the start of a word, and behind some others; logarithms are rounded."""
    n = len(np.load(MODEL_FILE)["letters"]) + 2
    start = model._contexts[model._child(0, 1)]
    contexts = [0, start, *[model._step(start, g)[1] for g in range(2, 400, 40)]]
    for context in contexts:
        costs = np.array([model._step(context, g)[0] for g in range(n) if g != 1]) / 12
        assert np.exp(-costs).sum() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    "word", ["", "'", "''", "zzzz", "q" * 300, "a" * 61, *ALPHABET, "élan", "a1b"]
)
def test_any_word_has_valid_phones(model, word):
    phones = model.pronounce(word)
    assert set(phones) <= set(SYMBOLS)
    vowels = [s for s in phones if phone_of(s).is_vowel]
    assert sum(s.endswith("1") for s in vowels) == bool(vowels)
    if len(word.strip("'")) > 1:
        assert phones


def test_regular_words():
    assert pronounce_letters("blick") == ("B", "L", "IH1", "K")
    assert " ".join(pronounce_letters("wavenet")) == "W EY1 V N EH2 T"


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "model.npz"
    for content in (b"", b"PK damaged", MODEL_FILE.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a letter-to-sound model"):
            load_letter_to_sound(path)
