"""Speaker similarity: means of cosines; the network distinguishes voices from noise."""

import numpy as np
import pytest

from tests.speech.speech_files import make_syllable
from wavenet.errors import ConfigError
from wavenet.evaluation import speaker_similarity
from wavenet.evaluation.speaker_similarity import SpeakerEncoder, mean_similarity


def test_the_recording_of_the_same_sentence_is_left_out():
    east, north = np.float32([1, 0]), np.float32([0, 1])
    recordings = {"a": east, "b": north, "c": east}
    assert mean_similarity(east, "a", recordings) == pytest.approx(0.5)
    assert mean_similarity(north, "b", recordings) == pytest.approx(0)
    assert mean_similarity(east, "a", {"a": east}) is None


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "resemblyzer", None)
    with pytest.raises(ConfigError, match="speaker similarity is left out") as error:
        SpeakerEncoder()
    assert speaker_similarity.INSTALL in str(error.value)


def test_vectors_are_unit_vectors_and_silence_has_none():
    pytest.importorskip("resemblyzer", reason=speaker_similarity.INSTALL)
    encoder = SpeakerEncoder()
    assert encoder.embed(np.zeros(16_000, dtype=np.float32)) is None
    syllables = np.concatenate([make_syllable(0.0, 0.0)] * 6)
    vector = encoder.embed(syllables)
    assert vector.shape == (256,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
    assert vector @ encoder.embed(syllables / 4) > vector @ encoder.embed(syllables[::2])
