"""DNSMOS: noise has a low rating, the level matters little, a missing package is one sentence."""

import sys

import numpy as np
import pytest

from tests.speech.test_forced_alignment import VOICE
from wavenet.errors import ConfigError
from wavenet.evaluation.speech_quality import QualityRater


@pytest.fixture
def rater():
    pytest.importorskip("speechmos", reason='pip install -e ".[eval]"')
    return QualityRater()


def test_noise_has_a_low_rating_and_silence_none(rater, rng):
    noise = rng.normal(0, 0.1, 32_000).astype(np.float32)
    assert 1 <= rater.rate(noise) < 1.6
    assert rater.rate(np.zeros(16_000, dtype=np.float32)) is None
    assert rater.rate(np.zeros(0, dtype=np.float32)) is None


@pytest.mark.slow
@pytest.mark.skipif(not VOICE.is_dir(), reason="needs recordings of speech")
def test_a_recording_has_a_higher_rating_at_every_level(rater):
    from audio_utils import io

    speech = io.read(next(iter(sorted((VOICE / "wavs").iterdir()))), 16_000).waveform.numpy()
    rating = rater.rate(speech)
    assert rating > 2.5
    assert rater.rate(speech / 50) == pytest.approx(rating, abs=0.02)


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(ConfigError, match=r"DNSMOS is left out.*speechmos"):
        QualityRater()
