"""DNSMOS: the quality of speech as a network predicts that listeners would rate it.

Input: a sound at 16 kHz; no recording to compare with is needed. Output: 1 to 5. The package
`speechmos` contains the network, so nothing is sent or downloaded; it is imported in this file
only. The network was trained to judge the removal of noise: it detects noise, hoarseness and
clicks, and hardly wrong words or a wrong melody.

Source: Reddy, Gopal, Cutler 2022, "DNSMOS P.835".
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.optional_packages import install_command
from wavenet.errors import ConfigError

JUDGE_LEVEL = 10 ** (-26 / 20)  # RMS; the rating depends a little on the level


class QualityRater:
    """The network that rates the quality of speech.

    Raises:
        ConfigError: speechmos or a package that it needs is not installed.
    """

    def __init__(self) -> None:
        self._dnsmos = _import_dnsmos()

    def rate(self, waveform: NDArray[np.float32]) -> float | None:
        """Return the overall rating of DNSMOS; None for silence.

        Args:
            waveform: (T,) at 16 kHz, of any level.
        """
        samples = waveform.astype(np.float64)
        level = float(np.sqrt(np.mean(samples**2))) if samples.size else 0.0
        if level == 0:
            return None
        samples *= min(JUDGE_LEVEL / level, 1 / float(np.abs(samples).max()))
        values = self._dnsmos.run(samples.astype(np.float32).clip(-1, 1), 16_000)
        rating = float(values["ovrl_mos"])
        return rating if np.isfinite(rating) else None


def _import_dnsmos() -> Any:
    try:
        from speechmos import dnsmos
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"speechmos cannot be loaded, so DNSMOS is left out: {install_command('eval')} "
            f"({error})"
        ) from error
    return dnsmos
