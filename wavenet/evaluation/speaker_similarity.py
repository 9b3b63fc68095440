"""Speaker similarity: how much the speaker of a sound resembles that of recordings.

A network turns a sound into a unit vector of 256 numbers that depends on the speaker and little on
the words. The similarity is the cosine of two such vectors. Two recordings of one speaker have
about 0.7 to 0.9; their mean is the largest value that a voice can be expected to reach. Different
speakers have less. Input: sounds at 16 kHz. Output: vectors and cosines.

The package `resemblyzer` contains the network; it is imported in this file only, and downloads
nothing. It is in no extra, because it requires a compiler and an old package `typing` that Python
contains already. `INSTALL` installs it without them.

Source: Wan et al. 2018, "Generalized end-to-end loss for speaker verification".
"""

import shlex
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.errors import ConfigError

INSTALL = shlex.join(
    [sys.executable, "-m", "pip", "install", "--no-deps", "resemblyzer", "webrtcvad-wheels"]
)


class SpeakerEncoder:
    """The network that computes the vector of a sound.

    Raises:
        ConfigError: resemblyzer is not installed.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # it imports a name that SciPy will remove
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                import resemblyzer
            except (ImportError, OSError) as error:
                raise ConfigError(
                    "resemblyzer cannot be loaded, so the speaker similarity is left out: "
                    f"{INSTALL} ({error})"
                ) from error
        self._package: Any = resemblyzer
        self._network: Any = resemblyzer.VoiceEncoder("cpu", verbose=False)

    def embed(self, waveform: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the vector (256,) of a sound; None if it contains no speech.

        Args:
            waveform: (T,) in [-1, 1], at 16 kHz.
        """
        if not waveform.any():
            return None
        speech = self._package.preprocess_wav(waveform.clip(-1, 1), 16_000)
        if not len(speech):
            return None
        vector: NDArray[np.float32] = self._network.embed_utterance(speech)
        return vector if np.isfinite(vector).all() else None


def mean_similarity(
    vector: NDArray[np.float32], clip: str, recordings: Mapping[str, NDArray[np.float32]]
) -> float | None:
    """Return the mean cosine with the recordings of other sentences; None without any.

    The recording of the same sentence is left out, so that recordings and voices are compared in
    the same way.

    Args:
        vector: of a sound.
        clip: its sentence.
        recordings: vectors of recordings, by sentence.
    """
    others = [other for name, other in recordings.items() if name != clip]
    return float(np.mean([vector @ other for other in others])) if others else None
