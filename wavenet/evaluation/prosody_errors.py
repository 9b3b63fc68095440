"""Errors of durations, pitch and voicing between two sounds of the same phones.

Input: a recording and another sound of its text, each with the times of its phones. Output: the
correlation of the durations, and errors of the pitch (F0). The two sounds have different lengths,
so the time is mapped: inside each phone linearly, from the recording to the sound. Silences are
left out. Called by the evaluation of voices.

The error of F0 contains the difference of the means, so it is large for another speaker. Nobody
speaks a sentence twice in the same way: a good voice has an error too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.metrics import PITCH_HOP_SECONDS, speech_f0

PhoneTimes = Sequence[tuple[float, float]]  # start and end of each phone, s
MIN_PHONES = 3  # fewer have no correlation


@dataclass(frozen=True)
class ProsodyErrors:
    """Errors of a sound against the recording; None if undefined.

    Attributes:
        duration_correlation: of the durations of the phones (Pearson), -1 to 1.
        f0_semitones: root mean square of the difference where both are voiced.
        voicing: fraction of the frames of the phones of which only one is voiced.
    """

    duration_correlation: float | None
    f0_semitones: float | None
    voicing: float | None


def compare_prosody(
    recording: Tensor,
    recording_times: PhoneTimes,
    sound: Tensor,
    sound_times: PhoneTimes,
    sample_rate: int,
) -> ProsodyErrors:
    """Compare the prosody of a sound with that of a recording.

    Args:
        recording, sound: (T,) float32, not silent.
        recording_times, sound_times: of the same phones.
        sample_rate: Hz, of both.
    """
    assert len(recording_times) == len(sound_times)
    correlation = correlate_durations(recording_times, sound_times)
    hop = round(PITCH_HOP_SECONDS * sample_rate) / sample_rate
    reference, estimate = (speech_f0(x, sample_rate).numpy() for x in (recording, sound))
    places, mapped = map_frames(recording_times, sound_times, hop)
    if not len(places):
        return ProsodyErrors(correlation, None, None)
    reference = reference[places.clip(max=len(reference) - 1)]
    estimate = estimate[mapped.clip(max=len(estimate) - 1)]
    is_voiced = (reference > 0) & (estimate > 0)
    voicing = float(np.mean((reference > 0) != (estimate > 0)))
    if not is_voiced.any():
        return ProsodyErrors(correlation, None, voicing)
    semitones = 12 * np.log2(estimate[is_voiced] / reference[is_voiced])
    return ProsodyErrors(correlation, float(np.sqrt(np.mean(semitones**2))), voicing)


def correlate_durations(first: PhoneTimes, second: PhoneTimes) -> float | None:
    """Return the correlation of the durations of the same phones; None if it is undefined."""
    a, b = (np.array([end - start for start, end in times]) for times in (first, second))
    if len(a) < MIN_PHONES or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def map_frames(
    times: PhoneTimes, other: PhoneTimes, hop: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the frames inside the phones, and the corresponding frames of another sound.

    Args:
        times, other: of the same phones in both sounds.
        hop: seconds between frames.
    """
    places, mapped = [], []
    for (start, end), (other_start, other_end) in zip(times, other, strict=True):
        for n in range(int(np.ceil(start / hop)), int(np.ceil(end / hop))):
            part = (n * hop - start) / (end - start)
            places.append(n)
            mapped.append(round((other_start + part * (other_end - other_start)) / hop))
    return np.array(places, dtype=np.int64), np.array(mapped, dtype=np.int64)
