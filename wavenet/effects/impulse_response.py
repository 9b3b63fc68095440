"""Read impulse responses, such as those of loudspeaker cabinets and rooms.

Input: an audio file with one or two channels, at any rate. Output: an `ImpulseResponse` at the rate
of the sound that it will filter, for a `PartitionedConvolver`. For the rendering of effects.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from audio_utils.decoding import DecodedAudio, decode_file
from audio_utils.errors import AudioError
from audio_utils.levels import Channel

MAX_FILE_SECONDS = 60.0
DEFAULT_MAX_SECONDS = 10.0
START_DB, END_DB = -60.0, -100.0  # re the peak: samples before and after are trimmed
_FADE_SECONDS = 0.005  # where a response is cut
_PAD_SECONDS = 0.010  # before a response that is resampled


@dataclass(frozen=True, eq=False)
class ImpulseResponse:
    """An impulse response at a rate.

    Attributes:
        samples: (channels, T), float64, T >= 1.
        rate: Hz.
        file_rate: Hz, of the file.
        latency: samples before the time 0, with the ringing of the resampler; the output is late
            by them. Time 0 is that of the file; of a trimmed response, its first loud sample there.
        trimmed: samples that were removed at the start.
        cut_seconds: time at the end that was removed because of the limit.
        gain: factor by which the samples were scaled.
    """

    samples: NDArray[np.float64]
    rate: int
    file_rate: int
    latency: int
    trimmed: int
    cut_seconds: float
    gain: float


def read_impulse_response(
    path: str | Path,
    rate: int,
    trim: bool = True,
    normalize: bool = False,
    max_seconds: float = DEFAULT_MAX_SECONDS,
) -> ImpulseResponse:
    """Read an impulse response and fit it to a rate.

    Args:
        path: an audio file with 1 or 2 channels of at most `MAX_FILE_SECONDS`.
        rate: Hz, of the sound.
        trim: remove what is before the first sample above `START_DB`, and after the last above
            `END_DB`, of all channels.
        normalize: scale to unit energy, so that noise keeps its level; both channels by one factor.
        max_seconds: longest response; a longer one is cut with a short fade.
    Raises:
        AudioError: not an audio file within the limits; silence; more than 2 channels.
    """
    first = _decode(path, "left")
    if first.channels > 2:
        raise AudioError(
            f"{path} has {first.channels} channels; an impulse response has 1 or 2, so export one "
            "pair of channels."
        )
    channels = [first] if first.channels == 1 else [first, _decode(path, "right")]
    # The reader scales a file beyond full scale; the true values are needed here.
    samples = np.stack([c.samples.astype(np.float64) / c.levels.gain for c in channels])
    if not np.any(samples):
        raise AudioError(f"{path} is silent; expected an impulse response.")
    return fit_response(samples, first.sample_rate, rate, trim, normalize, max_seconds)


def fit_response(
    samples: NDArray[np.float64],
    file_rate: int,
    rate: int,
    trim: bool = True,
    normalize: bool = False,
    max_seconds: float = DEFAULT_MAX_SECONDS,
) -> ImpulseResponse:
    """Return the response (channels, T) at another rate, trimmed, cut and scaled.

    The arguments are those of `read_impulse_response`.
    """
    onset = _first_loud(samples) if trim else 0
    samples, ringing = _resample(samples, file_rate, rate)
    peaks = np.abs(samples).max(axis=0)
    time_zero = ringing + round(onset * rate / file_rate)
    # Keep what is loud enough to matter: of a resampled response also the ringing before time 0.
    trimmed = min(time_zero, _first_loud(samples)) if trim or ringing else 0
    latency = time_zero - trimmed
    samples = samples[:, trimmed:]
    if trim:
        last = np.flatnonzero(np.abs(samples).max(axis=0) > 10 ** (END_DB / 20) * peaks.max())[-1]
        samples = samples[:, : int(last) + 1]
    most = max(1, round(max_seconds * rate))
    cut = max(0, samples.shape[1] - most) / rate
    if cut:
        samples = samples[:, :most].copy()
        fade = min(most, round(_FADE_SECONDS * rate))
        samples[:, most - fade :] *= np.linspace(1, 0, fade)
    gain = 1.0
    if normalize:
        gain = 1 / math.sqrt(float(np.sum(samples**2, axis=1).max()))
        samples = samples * gain
    return ImpulseResponse(samples, rate, file_rate, latency, trimmed, cut, gain)


def _first_loud(samples: NDArray[np.float64]) -> int:
    """Return the index of the first sample above `START_DB` in any channel."""
    peaks = np.abs(samples).max(axis=0)
    return int(np.argmax(peaks > 10 ** (START_DB / 20) * peaks.max()))


def _decode(path: str | Path, channel: Channel) -> DecodedAudio:
    return decode_file(path, channel=channel, normalize=True, max_seconds=MAX_FILE_SECONDS)


def _resample(
    samples: NDArray[np.float64], file_rate: int, rate: int
) -> tuple[NDArray[np.float64], int]:
    """Return a response at another rate, and the number of samples before its time 0.

    A resampler rings before the first sample, so zeros are put there. The sum of the products with
    the sound has more terms at a higher rate, so the samples become smaller.
    """
    if file_rate == rate:
        return samples, 0
    shared = math.gcd(file_rate, rate)
    # A whole number of samples at both rates, so that time 0 is a sample.
    unit = file_rate // shared
    pad = unit * math.ceil(_PAD_SECONDS * file_rate / unit)
    padded = np.pad(samples, ((0, 0), (pad, pad)))
    resampled = soxr.resample(padded.T, file_rate, rate, quality="HQ").T
    return resampled * (file_rate / rate), pad * rate // file_rate
