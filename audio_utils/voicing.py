"""Compare the voice of an estimate with that of its reference: where it sounds, and how high.

Enters: waveforms (T,) at one rate. Leaves: their pitch, and one number. Callers: the evaluation of
vocoders.
"""

import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import pitch
from audio_utils.metrics import checked_pair, to_peak

HOP_SECONDS = 0.010
RANGE_HZ = (65.0, 500.0)
OFF = 0.2  # a larger difference of pitch, as a share, is an error


def track(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the pitch every 10 ms, in Hz, 0 where there is no voice.

    Raises:
        AudioError: an unusable waveform or rate.
    """
    samples, _ = checked_pair(waveform, waveform, sample_rate)
    return pitch(to_peak(samples), sample_rate, round(HOP_SECONDS * sample_rate), *RANGE_HZ)


def pitch_error(reference: Tensor, estimate: Tensor) -> float:
    """Return the share of frames whose voicing or pitch is wrong; lower is better.

    Wrong is a frame that is voiced in one and not in the other, or whose pitch is off by more than
    20 %. This hears what measures of envelopes do not, a whisper in place of a voice, and is deaf
    to envelopes.

    Args:
        reference, estimate: (F,), of `track`.
    Returns:
        0 to 1.
    Raises:
        AudioError: they have not as many frames.
    Source: Chu and Alwan 2009, Reducing F0 frame error of F0 tracking algorithms under noisy
        conditions: the F0 frame error.
    """
    if reference.shape != estimate.shape:
        raise AudioError(
            f"Expected as many frames in both, got {len(reference)} and {len(estimate)}; cut or "
            "pad the estimate."
        )
    voiced, also = reference > 0, estimate > 0
    ratio = estimate / torch.where(voiced, reference, 1.0)
    off = voiced & also & ((ratio - 1).abs() > OFF)
    return float(((voiced != also) | off).double().mean())
