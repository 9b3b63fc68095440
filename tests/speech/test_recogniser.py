"""The recogniser on recordings of a voice, and without speech."""

import csv

import numpy as np
import pytest

from audio_utils import io
from tests.speech.test_forced_alignment import VOICE
from wavenet.evaluation.word_errors import count_word_errors, expected_words
from wavenet.speech.recogniser import Recogniser


@pytest.fixture(scope="module")
def recogniser():
    pytest.importorskip("pocketsphinx", reason='pip install -e ".[speech]"')
    return Recogniser()


def test_silence_and_noise_have_no_words(recogniser, rng):
    assert recogniser.recognise(np.zeros(16_000, dtype=np.float32)) == []
    noise = rng.normal(0, 0.1, 16_000).astype(np.float32)
    assert len(recogniser.recognise(noise)) <= 2


@pytest.mark.skipif(not VOICE.is_dir(), reason="needs recordings of speech")
def test_recordings_are_recognised_and_shuffled_texts_are_not(recogniser):
    with (VOICE / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))[200:204]
    sounds = [io.read(VOICE / "wavs" / f"{name}.flac", 16_000).waveform.numpy() for name, _ in rows]
    heard = [recogniser.recognise(sound) for sound in sounds]
    # the result does not depend on the sounds before
    assert recogniser.recognise(sounds[0]) == heard[0]
    texts = [expected_words(text) for _, text in rows]
    total = sum(map(len, texts))
    own = sum(map(count_word_errors, texts, heard))
    shuffled = sum(map(count_word_errors, texts, heard[1:] + heard[:1]))
    assert own / total < 0.5
    assert shuffled / total > 0.8
