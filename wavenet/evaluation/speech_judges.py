"""The judges of speech: packages that measure a sound, each left out if it is not installed.

Input: nothing. Output: `SpeechJudges`, and one sentence for each judge that is missing. Called by
the commands that evaluate a voice; tests replace judges by functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.metrics import missing_packages
from audio_utils.optional_packages import install_command
from wavenet.errors import ConfigError
from wavenet.evaluation.speaker_similarity import SpeakerEncoder
from wavenet.evaluation.speech_quality import QualityRater
from wavenet.speech.align_clip import AlignPhones
from wavenet.speech.forced_alignment import SAMPLE_RATE, align_phones
from wavenet.speech.recogniser import Recogniser

Samples = NDArray[np.float32]  # (T,) at 16 kHz


@dataclass(frozen=True)
class SpeechJudges:
    """Functions of a sound at 16 kHz; None for those that are not installed.

    Attributes:
        recognise: the words.
        align: the times of given phones.
        rate: quality, 1 to 5.
        embed: a unit vector of the speaker.
        missing: a sentence for each judge that is not installed.
    """

    recognise: Callable[[Samples], list[str]] | None = None
    align: AlignPhones | None = None
    rate: Callable[[Samples], float | None] | None = None
    embed: Callable[[Samples], Samples | None] | None = None
    missing: tuple[str, ...] = ()


def load_judges() -> SpeechJudges:
    """Load all judges that are installed."""
    missing: list[str] = []

    def load(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ConfigError as error:
            missing.append(str(error))
            return None

    recogniser = load(Recogniser)
    rater = load(QualityRater)
    encoder = load(SpeakerEncoder)
    missing += [
        f"{name} is not installed, so its column is empty: {install_command('eval')}"
        for name in missing_packages()
    ]
    return SpeechJudges(
        recogniser and recogniser.recognise,
        align_phones if recogniser else None,
        rater and rater.rate,
        encoder and encoder.embed,
        tuple(missing),
    )


def resample_for_judges(waveform: Tensor, sample_rate: int) -> Samples:
    """Return the samples of a waveform (T,) at 16 kHz."""
    samples = waveform.numpy().astype(np.float32)
    if sample_rate == SAMPLE_RATE:
        return samples
    resampled: Samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
    return resampled
