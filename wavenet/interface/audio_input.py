"""Audio that a Python program passes in: the path of a file, an array, or a generated clip.

Output: a waveform at the rate of a model. Called by `loaded_model`.
"""

import os
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_utils import io
from audio_utils.decoding import check_sample_rate
from audio_utils.errors import AudioError
from audio_utils.levels import Channel
from wavenet.interface.audio_clip import AudioClip

AudioInput = str | os.PathLike[str] | NDArray[Any] | Tensor | AudioClip


def read_input(
    audio: AudioInput,
    rate: int,
    array_rate: int | None = None,
    channel: Channel = "mix",
    normalize: bool = False,
) -> Tensor:
    """Return audio as a waveform at a sample rate.

    Args:
        audio: an audio file; or samples (T,), floating point, those beyond [-1, 1] are limited to
            it; or a clip.
        rate: of the result, Hz.
        array_rate: of samples, Hz; None: `rate`.
        channel, normalize: how a file is read, as in `audio_utils.io.read`.
    Returns:
        (T,) float32 in [-1, 1].
    Raises:
        AudioError: the file cannot be read, or the array is no waveform.
    """
    if isinstance(audio, str | os.PathLike):
        return io.read(os.fspath(audio), rate, channel=channel, normalize=normalize).waveform
    array: Any = audio
    if isinstance(audio, AudioClip):
        array, array_rate = audio.waveform, audio.sample_rate
    if not isinstance(array, np.ndarray | Tensor):
        raise AudioError(
            f"expected a path, an array or a clip as audio, found {type(audio).__name__}"
        )
    samples = torch.as_tensor(array).detach().cpu()
    if samples.ndim != 1 or not samples.numel():
        raise AudioError(
            f"expected a waveform of shape (T,), found {tuple(samples.shape)}; average the channels"
        )
    if not samples.is_floating_point():
        raise AudioError(
            f"expected floating-point samples in [-1, 1], found {samples.dtype}; divide 16-bit "
            "integers by 32768"
        )
    if not bool(samples.isfinite().all()):
        raise AudioError("the samples contain NaN or infinity; remove them")
    if array_rate is not None and array_rate != rate:
        check_sample_rate(array_rate, "the sample rate")
        resampled = soxr.resample(samples.double().numpy(), array_rate, rate)
        samples = torch.from_numpy(resampled)
    return samples.float().clamp(-1, 1)
