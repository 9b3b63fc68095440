"""Images of sound: a log-mel spectrogram of fixed size with 16 levels, and the way back.

Input: a waveform (T,) at the rate of the settings. Output: levels (bands, frames), 0 to 15; row 0
is the highest band, column 0 the first frame, as in a picture. Called by `wavenet images`.

Time. An image has a fixed duration: shorter recordings are padded with silence, longer ones are
cut. So a column has the same duration in every image, sound can be made from an image without any
other number than the settings, and a model also learns how long a word is. (Stretching every
recording to all columns would use each pixel, but the duration would be lost.)

Level. Decibels are relative to the loudest pixel of the image, which has level 15; level 0 is
`range_db` below or less. So images do not depend on the level of the recording, which is lost.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import FLOOR_POWER, FeatureConfig, hz_to_mel, log_mel, mel_row, mel_to_hz
from audio_utils.griffin_lim import griffin_lim_mel

IMAGE_BITS = 4
LEVELS = 1 << IMAGE_BITS
LOUDEST_DB = 3.0  # of the loudest pixel after decoding; the median of spoken digits is 2.5
FINER = 4  # frames per column for Griffin-Lim, which needs a hop of a quarter of the window


@dataclass(frozen=True)
class ImageSettings:
    """Settings of images of sound; the constructor rejects contradictions.

    Attributes:
        bands: mel bands, the rows.
        frames: columns.
        seconds: duration of an image.
        range_db: from the loudest pixel to level 0.
        sample_rate: Hz, of the waveforms.
    Raises:
        AudioError: a value out of range, or too many bands or frames for this rate and duration.
    """

    bands: int = 32
    frames: int = 24
    seconds: float = 0.72
    range_db: float = 60.0
    sample_rate: int = 8000

    def __post_init__(self) -> None:
        for name, low, high in (
            ("bands", 2, 256),
            ("frames", 2, 1024),
            ("seconds", 0.01, 60),
            ("range_db", 1, 100),
            ("sample_rate", 4000, 192_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise AudioError(f"{name} of an image must be {low:g} to {high:,}, not {value:g}.")
        if self.hop_length < 2 * FINER:
            raise AudioError(
                f"{self.frames} frames in {self.seconds:g} s are {self.hop_length} samples per "
                f"frame, expected at least {2 * FINER}; use fewer frames or a longer duration."
            )
        self.features  # noqa: B018  checks the filters

    @property
    def hop_length(self) -> int:
        """Samples from one column to the next."""
        return round(self.seconds * self.sample_rate / self.frames)

    @property
    def samples(self) -> int:
        """Samples of the sound of an image."""
        return self.frames * self.hop_length

    @property
    def features(self) -> FeatureConfig:
        """Settings of the mel spectrogram: a window of two columns."""
        window = 2 * self.hop_length
        size = 1 << max(9, (window - 1).bit_length())
        return FeatureConfig(
            self.sample_rate, size, window, self.hop_length, n_mels=self.bands, n_mfcc=1
        )


def encode_image(waveform: Tensor, settings: ImageSettings) -> Tensor:
    """Compute the image of a recording.

    Args:
        waveform: (T,), float32 or float64, T >= 1, at the rate of the settings.
        settings: of the image.
    Returns:
        (bands, frames) int64, 0 to 15; all 0 for digital silence.
    Raises:
        AudioError: an invalid waveform.
    """
    cut = waveform[: settings.samples]
    padded = torch.nn.functional.pad(cut, (0, settings.samples - len(cut)))
    decibels = log_mel(padded, settings.features)[:, : settings.frames].flip(0)
    loudest = decibels.max()
    if not bool(loudest > 10 * torch.tensor(FLOOR_POWER).log10()):
        return torch.zeros(decibels.shape, dtype=torch.int64)
    steps = (decibels - loudest) * ((LEVELS - 1) / settings.range_db)
    return (steps + LEVELS - 1).round().clamp(0, LEVELS - 1).to(torch.int64)


def decode_image(levels: Tensor, settings: ImageSettings) -> Tensor:
    """Return the log-mel spectrogram of an image.

    Args:
        levels: (bands, frames) integers, 0 to 15.
        settings: of the image.
    Returns:
        (bands, frames) float32, dB, the lowest band first; level 15 is `LOUDEST_DB`.
    Raises:
        AudioError: levels of another size or range.
    """
    expected = (settings.bands, settings.frames)
    if tuple(levels.shape) != expected:
        raise AudioError(
            f"Expected an image of {expected[0]} bands x {expected[1]} frames, got "
            f"{' x '.join(map(str, levels.shape))}; use the settings with which it was written."
        )
    if not bool(((levels >= 0) & (levels < LEVELS)).all()):
        raise AudioError(
            f"Expected levels of 0 to {LEVELS - 1}, got {levels.min()} to {levels.max()}."
        )
    step = settings.range_db / (LEVELS - 1)
    return ((levels - (LEVELS - 1)) * step + LOUDEST_DB).flip(0).to(torch.float32)


def image_to_waveform(levels: Tensor, settings: ImageSettings, iterations: int = 60) -> Tensor:
    """Estimate a waveform from an image by Griffin-Lim.

    The decibels are interpolated between the columns, to `FINER` frames per column.

    Args:
        levels, settings: as for `decode_image`.
        iterations: of Griffin-Lim.
    Returns:
        (samples,) float32, with a peak of 0.7; silence if all levels are 0.
    Raises:
        AudioError: as `decode_image`.
    """
    if not levels.any():
        return torch.zeros(settings.samples)
    fine = settings.features.with_hop(settings.hop_length // FINER)
    decibels = resample_log_mel(decode_image(levels, settings), settings, fine)
    waveform = griffin_lim_mel(10 ** (decibels / 10), settings.samples, fine, iterations)
    return waveform * (0.7 / waveform.abs().max())


def resample_log_mel(decibels: Tensor, settings: ImageSettings, target: FeatureConfig) -> Tensor:
    """Interpolate the log-mel spectrogram of an image to other bands and frames, linearly in dB.

    Detail between the bands and the columns is not restored. Bands or frames outside of the image
    have the value of its edge.

    Args:
        decibels: (bands, frames), from `decode_image`.
        settings: of the image.
        target: settings of the result, at the same sample rate.
    Returns:
        (target.n_mels, 1 + samples // target.hop_length), dB; a window of another length changes
        the energy of a stationary sound in proportion, which is compensated.
    Raises:
        AudioError: another sample rate.
    """
    source = settings.features
    if target.sample_rate != source.sample_rate:
        raise AudioError(
            f"Expected features at {source.sample_rate:,} Hz, the rate of the image, got "
            f"{target.sample_rate:,} Hz."
        )
    low, high = hz_to_mel(target.f_min), hz_to_mel(target.upper_edge_hz)
    centres = [
        mel_to_hz(low + (high - low) * (n + 1) / (target.n_mels + 1)) for n in range(target.n_mels)
    ]
    rows = torch.tensor([mel_row(hertz, source) for hertz in centres])
    frames = torch.arange(1 + settings.samples // target.hop_length)
    resampled = _interpolate(decibels.T, rows).T
    resampled = _interpolate(resampled, frames * (target.hop_length / settings.hop_length))
    gain = torch.tensor(target.win_length / source.win_length)
    return resampled + 10 * gain.log10()


def _interpolate(values: Tensor, positions: Tensor) -> Tensor:
    """Interpolate along the last axis, linearly; the first and the last value continue."""
    last = values.shape[-1] - 1
    places = positions.clamp(0, last)
    before = places.floor().to(torch.int64).clamp(max=max(0, last - 1))
    fraction = (places - before).to(values.dtype)
    after = (before + 1).clamp(max=last)
    return values[..., before] * (1 - fraction) + values[..., after] * fraction
