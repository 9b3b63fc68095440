"""The frames of a model's local conditions, from recordings and arrays.

Input: a waveform or arrays, and a model config with all settings. Output: scaled frames (F,
columns). Frame n is at sample n * hop of the recording; a recording of T samples has 1 + T // hop
frames. `frame_scales` scales every kind to a range of about -3 to 3 and checks the unit of arrays.
Called by training, the command line, the studio and batches, so that all of them apply the settings
in the same way.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, f0, log_mel, mfcc, rms_level
from wavenet.array_files import map_array
from wavenet.errors import ConditionError
from wavenet.model.condition_values import resolve_names
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import (
    F0Condition,
    FramesCondition,
    LocalCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    NumberCondition,
)
from wavenet.model.frame_scales import (
    FLOOR_DB,
    LOUDNESS_SPAN,
    MEL_MIDDLE,
    MEL_SPAN,
    MFCC_SPAN,
    PITCH_REFERENCE,
    FrameStatistics,
    read_scale,
    scale_frames,
)
from wavenet.model.model_config import ModelConfig

LOUDNESS_WINDOW = 1024  # samples around a frame over which a derived loudness is measured


def frame_count(samples: int, hop: int) -> int:
    """Return the number of frames of a recording."""
    return 1 + samples // hop


def compute_frame_features(
    config: ModelConfig,
    sample_rate: int,
    waveform: Tensor | None,
    arrays: Mapping[str, Tensor] | None = None,
    scale: str | None = None,
    statistics: Sequence[FrameStatistics] = (),
) -> Tensor:
    """Compute the frames of all local conditions of a model, side by side.

    Args:
        config: of the model.
        sample_rate: of the model and the waveform, Hz.
        waveform: (T,) float32 in [-1, 1], the recording; None if all frames are given.
        arrays: by condition name, frames (F, columns) that replace computed ones, in the unit of
            `frame_scales`.
        scale: of the arrays, one of `frame_scales.SCALES`; None: their unit, which is checked.
        statistics: of the training frames of the checkpoint, for that check.
    Returns:
        (F, columns of all local conditions) float32; (0, 0) without local conditions.
    Raises:
        ConditionError: frames are missing, unknown, or do not fit, or have another unit.
    """
    by_name = {found.name: found for found in statistics}
    known = [condition.name for condition in config.locals]
    arrays = resolve_names(arrays or {}, known, "local condition")
    parts = []
    for condition in config.locals:
        if condition.name in arrays:
            frames = check_frames(condition, arrays[condition.name])
            parts.append(read_scale(condition, frames, scale, by_name.get(condition.name)))
        elif waveform is None or isinstance(condition, FramesCondition):
            raise ConditionError(describe_missing(condition, config.condition_hop, sample_rate))
        else:
            parts.append(
                compute_condition_frames(condition, waveform, sample_rate, config.condition_hop)
            )
    if len({part.shape[0] for part in parts}) > 1:
        counts = ", ".join(
            f"{c.name} {p.shape[0]}" for c, p in zip(config.locals, parts, strict=True)
        )
        raise ConditionError(f"all local conditions need the same number of frames; found {counts}")
    return torch.cat(parts, dim=1) if parts else torch.zeros(0, 0)


def compute_condition_frames(
    condition: LocalCondition, waveform: Tensor, sample_rate: int, hop: int
) -> Tensor:
    """Compute one local condition of a recording.

    Args:
        waveform: (T,) float32 at `sample_rate`, Hz.
        hop: samples between frames.
    Returns:
        (1 + T // hop, condition.columns) float32, scaled.
    Raises:
        ConditionError: the settings do not fit this sample rate.
    """
    try:
        match condition:
            case MelCondition():
                frames = log_mel(waveform, mel_settings(condition, sample_rate, hop))
            case MfccCondition():
                frames = mfcc(waveform, mel_settings(condition, sample_rate, hop))
            case LoudnessCondition():
                frames = rms_level(waveform, condition.win_length, hop)[None]
            case F0Condition():
                hertz = f0(waveform, sample_rate, hop, condition.f_min, condition.f_max)
                voiced = hertz > 0
                octaves = (hertz.clamp(min=1) / PITCH_REFERENCE).log2()
                frames = torch.stack([octaves * voiced, voiced.to(octaves.dtype)])
            case FramesCondition():
                raise ConditionError(describe_missing(condition, hop, sample_rate))
    except AudioError as error:
        raise ConditionError(
            f"the condition {condition.name} cannot be computed: {error}"
        ) from None
    return scale_frames(condition, frames).T.float().contiguous()


def frame_reach(config: ModelConfig) -> int | None:
    """Return how far from a frame its features depend on samples, on each side.

    None if they depend on the whole recording: MFCC on its loudest frame, F0 on the path of the
    pitch.
    """
    reach = 0
    for condition in config.locals:
        if not isinstance(condition, MelCondition | LoudnessCondition):
            return None
        # more than half of the transform, the next power of two
        reach = max(reach, condition.win_length)
    return reach


def measure_loudness(waveform: Tensor, start: int, first: int, hop: int) -> Tensor:
    """Measure the loudness of a part of a recording around each of its frames.

    Args:
        waveform: (T,) float32, the recording from sample `start` on.
        first: the first frame of the result, at or before `start`.
        hop: samples between frames.
    Returns:
        (F,), dB re full scale. The part is mirrored at its ends, even if the recording continues
        there.
    """
    around = min(LOUDNESS_WINDOW // 2, waveform.numel() - 1)
    lead = start - first * hop
    mirrored = functional.pad(waveform[None], (around, around), mode="reflect")[0]
    # shifts the frames to multiples of the hop
    front = -around % hop
    levels = rms_level(functional.pad(mirrored, (front + lead, 0)), LOUDNESS_WINDOW, hop)
    return levels[(front + around) // hop :]


def apply_gain_db(config: ModelConfig, frames: Tensor, gain_db: float) -> Tensor:
    """Return the frames (F, columns) of all local conditions after a gain on the recording.

    The result is exact, except at the floor of silence and, for MFCC, at the floor 80 dB below the
    loudest point.
    """
    if gain_db == 0 or not frames.numel():
        return frames
    parts = frames.split([condition.columns for condition in config.locals], dim=1)
    changed = []
    for condition, part in zip(config.locals, parts, strict=True):
        match condition:
            case MelCondition():
                floor = (FLOOR_DB - MEL_MIDDLE) / MEL_SPAN
                part = (part + gain_db / MEL_SPAN).clamp(min=floor)
            case MfccCondition():
                part = part.clone()
                part[:, 0] += gain_db * math.sqrt(condition.n_mels) / MFCC_SPAN
            case LoudnessCondition():
                part = part + gain_db / LOUDNESS_SPAN
            case _:
                pass
        changed.append(part)
    return torch.cat(changed, dim=1)


def read_array(path: Path) -> Tensor:
    """Read frames from a `.npy` file; `check_frames` checks the content.

    Raises:
        ConditionError: the file is missing, or contains no array of numbers.
    """
    try:
        array = map_array(path)
    except FileNotFoundError:
        raise ConditionError(f"the file {path} with frames does not exist") from None
    except (OSError, ValueError) as error:
        raise ConditionError(f"{path} cannot be read as an array of numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise ConditionError(f"{path} must contain one array of numbers (.npy)")
    with np.errstate(over="ignore"):  # too large for float32: infinity, which is refused later
        return torch.from_numpy(np.array(array, dtype=np.float32))


def mel_settings(
    condition: MelCondition | MfccCondition, sample_rate: int, hop: int
) -> FeatureConfig:
    """Return the settings of a mel or MFCC condition for `audio_utils.features`."""
    settings = FeatureConfig(
        sample_rate,
        n_fft=_next_power_of_two(condition.win_length),
        win_length=condition.win_length,
        hop_length=hop,
        n_mels=condition.n_mels,
        n_mfcc=1,
    )
    if isinstance(condition, MfccCondition):
        return replace(settings, n_mfcc=condition.n_mfcc)
    return replace(settings, f_min=condition.f_min, f_max=condition.f_max)


def select_mel(config: ModelConfig, local: Tensor, samples: int) -> tuple[MelCondition, Tensor]:
    """Return the mel frames of a clip, selected from the frames of all local conditions.

    Args:
        local: (F, columns of all local conditions).
        samples: length of the clip; surplus frames are cut off, and the last frame is repeated for
            missing ones.
    Returns:
        the condition, and (1 + samples // hop, n_mels), scaled.
    Raises:
        ConditionError: the model is not conditioned on mel.
    """
    column = 0
    for condition in config.locals:
        if isinstance(condition, MelCondition):
            index = torch.arange(frame_count(samples, config.condition_hop))
            frames = local[index.clamp(max=local.shape[0] - 1)]
            return condition, frames[:, column : column + condition.columns]
        column += condition.columns
    raise ConditionError("a model with a mel condition is required; this model has none")


def mel_energies(frames: Tensor) -> Tensor:
    """Convert scaled mel frames (F, n_mels) to energies (n_mels, F)."""
    decibels: Tensor = frames.T * MEL_SPAN + MEL_MIDDLE
    return 10 ** (decibels / 10)


def example_conditions(config: ModelConfig) -> tuple[dict[str, ConditionValue], Tensor]:
    """Return valid conditions for any clip: first words, lowest numbers, one frame of zeros."""
    given: dict[str, ConditionValue] = {c.name: c.values[0] for c in config.labels}
    for condition in config.globals:
        if isinstance(condition, NumberCondition):
            given[condition.name] = condition.low
        else:
            given[condition.name] = torch.zeros(condition.size)
    columns = sum(condition.columns for condition in config.locals)
    return given, torch.zeros(1 if columns else 0, columns)


def check_frames(condition: LocalCondition, frames: Tensor) -> Tensor:
    """Check and return the frames (F, columns) of a condition from a user.

    Raises:
        ConditionError: the shape is wrong, or a number is not finite.
    """
    if frames.ndim != 2 or frames.shape[1] != condition.columns or not frames.shape[0]:
        found = " x ".join(map(str, frames.shape)) or "a single number"
        if frames.ndim == 2 and frames.shape[0] == condition.columns and frames.shape[1]:
            found += f", which is {condition.columns} x frames: transpose it"
        raise ConditionError(
            f"the frames of {condition.name} must be an array of frames x {condition.columns}; "
            f"found {found}"
        )
    if not bool(torch.isfinite(frames).all()):
        raise ConditionError(f"the frames of {condition.name} contain NaN or infinity")
    return frames.float()


def describe_missing(condition: LocalCondition, hop: int, sample_rate: int) -> str:
    """Return the message about a missing local condition."""
    rate = sample_rate / hop
    what = "an array" if isinstance(condition, FramesCondition) else "a recording, or an array"
    return (
        f"the condition {condition.name!r} is missing; add {what} with one row every {hop} samples "
        f"({rate:g} per second) and {condition.columns} columns"
    )


def _next_power_of_two(window: int) -> int:
    """Return the smallest power of two that is at least `window`."""
    return 1 << (window - 1).bit_length()
