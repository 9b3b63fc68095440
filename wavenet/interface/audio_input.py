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
from audio_utils.decoding import MAX_PEAK, check_sample_rate
from audio_utils.errors import AudioError
from audio_utils.levels import Channel
from wavenet.errors import ConfigError
from wavenet.interface.argument_checks import check_count, check_flags
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
        audio: an audio file; or samples (T,), floating point; or a clip.
        rate: of the result, Hz.
        array_rate: of samples, Hz; None: `rate`.
        channel: of a file, as in `audio_utils.io.read`.
        normalize: scale audio beyond full scale so that its peak is full scale; otherwise samples
            beyond it are limited to it.
    Returns:
        (T,) float32 in [-1, 1].
    Raises:
        AudioError: the file cannot be read, or the array is no waveform.
        ConfigError: a setting is invalid, or has no effect on this audio.
    """
    check_flags(normalize=normalize)
    check_count("sample_rate", array_rate, 1)
    if isinstance(audio, str | os.PathLike):
        if array_rate is not None:
            raise ConfigError("sample_rate is for arrays; a file states its own, so omit it")
        return io.read(os.fspath(audio), rate, channel=channel, normalize=normalize).waveform
    array: Any = audio
    if isinstance(audio, AudioClip):
        array, array_rate = audio.waveform, audio.sample_rate
    if not isinstance(array, np.ndarray | Tensor):
        raise AudioError(
            f"expected a path, an array or a clip as audio, found {type(audio).__name__}"
        )
    if array.ndim != 1:
        shape = tuple(array.shape)
        raise AudioError(f"expected a waveform of shape (T,), found {shape}; average the channels")
    if not len(array):
        raise AudioError("the array has no samples")
    is_floating = (
        array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"
    )
    if not is_floating:
        raise AudioError(
            f"expected floating-point samples in [-1, 1], found {array.dtype}; divide 16-bit "
            "integers by 32768"
        )
    samples = torch.as_tensor(array).detach().cpu()
    if not bool(samples.isfinite().all()):
        raise AudioError("the samples contain NaN or infinity; remove them")
    peak = float(samples.abs().max())
    if peak > MAX_PEAK and not normalize:
        raise AudioError(
            f"the array has values up to {peak:.3g}, expected -1 to 1; scale it, or use "
            "normalize=True"
        )
    if peak > 1 and normalize:
        samples = samples / peak
    if array_rate is not None and array_rate != rate:
        check_sample_rate(array_rate, "the sample rate")
        resampled = soxr.resample(samples.double().numpy(), array_rate, rate)
        samples = torch.from_numpy(resampled)
    return samples.float().clamp(-1, 1)
