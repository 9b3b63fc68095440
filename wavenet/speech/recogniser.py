"""Recognise the words of a sound, with the package pocketsphinx and its own models.

Input: a waveform. Output: words in lower case. The language model is one of general American
English, so the word error rate of good recordings is also far from zero: compare systems with
recordings of the same sentences, never with zero. Called by the evaluation of voices.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.errors import DataError
from wavenet.speech.forced_alignment import SAMPLE_RATE, import_decoder, scale_samples


class Recogniser:
    """A recogniser; it needs 0.7 s to load, and 60 MB.

    Raises:
        ConfigError: pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        self._decoder: Any = import_decoder()(samprate=SAMPLE_RATE, loglevel="FATAL")

    def recognise(self, waveform: NDArray[np.float32]) -> list[str]:
        """Return the words of a sound; the result does not depend on the sounds before.

        Args:
            waveform: (T,) in [-1, 1], at 16 kHz.
        """
        try:
            content = scale_samples(waveform).tobytes()
        except DataError:  # silence
            return []
        # the mean of the features is adapted from sound to sound
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(content, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        # a letter is written "a."
        words = hypothesis.hypstr.lower().split() if hypothesis else []
        return [word.strip(".") for word in words]
