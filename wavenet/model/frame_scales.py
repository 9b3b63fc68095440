"""The unit of frames from files, and its check.

Frames from outside have a documented unit per kind of condition: dB for `mel` (10 log10 of the
energy), `loudness` and `mfcc`; octaves above 100 Hz and 0 or 1 for `f0`; for `frames` that of the
arrays of the training. Inside, every kind is scaled to a range of about -3 to 3. Input: arrays of a
user, the scale that the user states, and the statistics of the training frames in the checkpoint.
Output: scaled frames, or one sentence with the expected unit, the values that were found, and the
unit that they seem to have. Called by `frame_features`; training computes the statistics.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wavenet.config import Name, StrictConfig
from wavenet.errors import ConditionError
from wavenet.model.conditions import (
    F0Condition,
    FramesCondition,
    LocalCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
)

MEL_MIDDLE, MEL_SPAN = -30.0, 30.0  # dB: speech lies between -100 and 30
MFCC_SPAN = 100.0  # dB
LOUDNESS_MIDDLE, LOUDNESS_SPAN = -40.0, 20.0  # dB re full scale
PITCH_REFERENCE = 100.0  # Hz
FLOOR_DB = -100.0  # of silence, in `mel` and `loudness`
LOWEST_DB = -300.0  # other programs have lower floors, but none as low as this
HEADROOM_DB = 20.0  # above the loudest training frame
# Frames of speech in another scale exceed this by far, those in dB have 0 (measured on 150
# recordings). Loud white noise in dB exceeds it, too; then the user has to state the scale.
MAX_DIVERGENCE = 0.6  # nats
# Scales that are closer than this cannot be told apart: log10 and ln-amplitude differ by 15 %.
# Measured on speech: these two differ by 0.01 to 0.28 nats, other scales by 0.56 or more.
MIN_DIFFERENCE = 0.4  # nats
MIN_DEVIATION_DB = 3.0
FEW_VALUES = 8  # too few to recognise a scale
# Most levels that a wrong scale converts are this far below silence, as if dB are read as natural
# logarithms. Pauses with very low noise are, too, so fewer of them matter only if the frames are
# like dB. The lowest value does not count: some programs have a lower floor.
DEEP_DB = FLOOR_DB - HEADROOM_DB
MAX_DEEP_SHARE, MAX_DEEP_SHARE_LIKE_DB = 0.9, 0.4

DB_PER_NEPER = 10 / math.log(10)
LEVELS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "db": ("decibels", lambda x: x),
    "ln": ("natural logarithms of power", lambda x: x * DB_PER_NEPER),
    "log10": ("logarithms to base 10 of power", lambda x: x * 10),
    "power": ("power", lambda x: 10 * x.clamp(min=1e-10).log10()),
    "amplitude": ("amplitude", lambda x: 20 * x.clamp(min=1e-5).log10()),
    "ln-amplitude": ("natural logarithms of amplitude", lambda x: x * 2 * DB_PER_NEPER),
    "log10-amplitude": ("logarithms to base 10 of amplitude", lambda x: x * 20),
}
LINEAR = ("power", "amplitude")  # never negative
MODEL = "model"
SCALES = (*LEVELS, MODEL)
# If a checkpoint has no statistics: mean, deviation and highest value, dB.
TYPICAL = {"mel": (-40.0, 20.0, 40.0), "loudness": (-40.0, 20.0, 6.0), "mfcc": (-15.0, 70.0, 500.0)}

Column = Annotated[float, Field(ge=-1e30, le=1e30)]


class FrameStatistics(StrictConfig):
    """The training frames of a local condition, per column, in the unit of frames from files.

    Attributes:
        name: of the condition.
        mean, std: mean and standard deviation, one number per column.
        low, high: lowest and highest value, one number per column.
    """

    name: Name
    mean: tuple[Column, ...] = Field(min_length=1, max_length=4096)
    std: tuple[Annotated[float, Field(ge=0, le=1e30)], ...]
    low: tuple[Column, ...]
    high: tuple[Column, ...]

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if len({len(self.mean), len(self.std), len(self.low), len(self.high)}) > 1:
            raise ValueError(f"mean, std, low and high of {self.name} must have equal lengths")
        return self

    @property
    def pooled(self) -> tuple[float, float, float]:
        """Mean, deviation and highest value over all columns."""
        mean = torch.tensor(self.mean, dtype=torch.float64)
        std = torch.tensor(self.std, dtype=torch.float64)
        variance = (std.square() + mean.square()).mean() - mean.mean().square()
        return float(mean.mean()), math.sqrt(max(float(variance), 0.0)), max(self.high)


def measure_statistics(
    conditions: Sequence[LocalCondition], frames: Tensor
) -> tuple[FrameStatistics, ...]:
    """Compute the statistics of training frames.

    Args:
        conditions: all local conditions of a model.
        frames: (F, columns of all conditions), scaled.
    """
    found = []
    parts = frames.split([condition.columns for condition in conditions], dim=1)
    for condition, part in zip(conditions, parts, strict=True):
        values = _unscale(condition, part.double())
        numbers = {
            "mean": values.mean(dim=0),
            "std": values.std(dim=0, correction=0),
            "low": values.amin(dim=0),
            "high": values.amax(dim=0),
        }
        rounded = {
            key: tuple(float(f"{x:.5g}") for x in row.tolist()) for key, row in numbers.items()
        }
        found.append(FrameStatistics(name=condition.name, **rounded))
    return tuple(found)


def scale_frames(condition: LocalCondition, frames: Tensor) -> Tensor:
    """Convert frames from the unit of files to the scale of the model."""
    match condition:
        case MelCondition():
            return (frames - MEL_MIDDLE) / MEL_SPAN
        case MfccCondition():
            return frames / MFCC_SPAN
        case LoudnessCondition():
            return (frames - LOUDNESS_MIDDLE) / LOUDNESS_SPAN
        case _:
            return frames


def _unscale(condition: LocalCondition, frames: Tensor) -> Tensor:
    """Convert frames from the scale of the model to the unit of files."""
    match condition:
        case MelCondition():
            return frames * MEL_SPAN + MEL_MIDDLE
        case MfccCondition():
            return frames * MFCC_SPAN
        case LoudnessCondition():
            return frames * LOUDNESS_SPAN + LOUDNESS_MIDDLE
        case _:
            return frames


def read_scale(
    condition: LocalCondition,
    frames: Tensor,
    scale: str | None = None,
    statistics: FrameStatistics | None = None,
) -> Tensor:
    """Convert frames of a user to the scale of the model.

    Args:
        frames: (F, columns), finite.
        scale: one of `SCALES`; None: the unit of the condition, and a check that it is. Levels are
            also refused if a stated scale converts them to values far outside the training.
        statistics: of the training frames of this condition, if known.
    Raises:
        ConditionError: the scale is unknown or not for this condition, or the frames are far from
            those of the training.
    """
    known = _scales_of(condition)
    if scale is not None and scale not in known:
        raise ConditionError(
            f"the frames of {condition.name} can have the scale {', '.join(known)}; found {scale!r}"
        )
    is_level = isinstance(condition, MelCondition | LoudnessCondition | MfccCondition)
    if scale == MODEL:
        if is_level:
            _read_levels(condition, frames, scale, statistics)  # only the check
        return frames
    if isinstance(condition, F0Condition):
        _check_pitch(condition, frames)
    elif isinstance(condition, FramesCondition):
        _check_columns(condition, frames, statistics)
    else:
        frames = _read_levels(condition, frames, scale, statistics)
    return scale_frames(condition, frames)


def _scales_of(condition: LocalCondition) -> tuple[str, ...]:
    match condition:
        case MelCondition() | LoudnessCondition():
            return SCALES
        case MfccCondition():
            return ("db", MODEL)
        case _:
            return (MODEL,)


def _read_levels(
    condition: LocalCondition,
    frames: Tensor,
    scale: str | None,
    statistics: FrameStatistics | None,
) -> Tensor:
    """Convert levels to dB, and check that they are like those of the training."""
    mean, std, high = statistics.pooled if statistics else TYPICAL[condition.kind]
    if scale in LINEAR and float(frames.min()) < 0:
        raise ConditionError(
            f"the frames of {condition.name} contain {float(frames.min()):g}, but "
            f"{LEVELS[scale][0]} is never negative; choose another --frames-scale"
        )
    levels = _to_levels(condition, frames, scale or "db")
    divergences = _measure_divergences(condition, frames, mean, std)
    looks_like = _recognise(frames, divergences, scale or "db")
    is_far = float(levels.max()) > high + HEADROOM_DB
    if scale is None:
        is_far |= looks_like is not None
    if not isinstance(condition, MfccCondition):
        if scale is None:
            is_far |= float(levels.min()) < LOWEST_DB
        else:
            is_like_db = divergences.get("db", math.inf) <= MAX_DIVERGENCE
            is_far |= _is_deep(levels, is_like_db)
    if is_far:
        lowest, highest = frames.aminmax()
        looks = f", which looks like {looks_like}" if looks_like else ""
        raise ConditionError(
            f"the frames of {condition.name} should be {_unit(condition)}, in the training up to "
            f"{high:.3g} with a mean of {mean:.3g}; found {float(lowest):.4g} to "
            f"{float(highest):.4g} with a mean of {float(frames.mean()):.4g} in {scale or 'dB'}"
            f"{looks}; state their scale by --frames-scale ({', '.join(_scales_of(condition))})"
        )
    return levels if isinstance(condition, MfccCondition) else levels.clamp(min=FLOOR_DB)


def _to_levels(condition: LocalCondition, frames: Tensor, scale: str) -> Tensor:
    """Convert frames of a scale to dB."""
    return _unscale(condition, frames) if scale == MODEL else LEVELS[scale][1](frames)


def _is_deep(levels: Tensor, is_like_db: bool) -> bool:
    """Return whether too many levels are far below silence.

    Args:
        levels: dB, converted from the scale that the user states.
        is_like_db: whether the frames, before this conversion, are like those of the training.
    """
    varied = levels[levels > levels.min()]
    if varied.numel() < FEW_VALUES:
        return False  # silence with the floor of another program
    share = float((varied < DEEP_DB).double().mean())
    return share > (MAX_DEEP_SHARE_LIKE_DB if is_like_db else MAX_DEEP_SHARE)


def _measure_divergences(
    condition: LocalCondition, frames: Tensor, mean: float, std: float
) -> dict[str, float]:
    """Return, by scale, how much worse than the training it explains the frames; {} if too few.

    Under each scale, the values in dB have a mean and a deviation; the result is their divergence
    from those of the training, as normal distributions, in nats.
    """
    if frames.numel() < FEW_VALUES:
        return {}
    values = frames.double()
    is_negative = float(values.min()) < 0
    divergences = {}
    for scale in _scales_of(condition):
        if scale in LINEAR and is_negative:
            continue
        levels = _to_levels(condition, values, scale)
        deviation = max(float(levels.std(correction=0)), MIN_DEVIATION_DB)
        distance = float(levels.mean()) - mean
        spread = max(std, MIN_DEVIATION_DB)
        divergences[scale] = (
            math.log(spread / deviation) + (deviation**2 + distance**2) / (2 * spread**2) - 0.5
        )
    return divergences


def _recognise(frames: Tensor, divergences: dict[str, float], stated: str) -> str | None:
    """Return the names of the scales that explain the frames much better than the stated one."""
    best = min(divergences.values(), default=math.inf)
    if not divergences or divergences[stated] - best <= MAX_DIVERGENCE:
        return None
    values = frames.double()
    is_negative = float(values.min()) < 0
    if not is_negative and float(values.max()) <= 1.001 and float(values.median()) > 0.05:
        return "values normalised to 0 to 1; undo this first"
    names = sorted(divergences, key=lambda scale: divergences[scale])
    return " or ".join(
        f"frames normalised already ({MODEL})" if name == MODEL else f"{LEVELS[name][0]} ({name})"
        for name in names
        if divergences[name] - best < MIN_DIFFERENCE
    )


def _check_pitch(condition: F0Condition, frames: Tensor) -> None:
    """Check that frames are octaves above 100 Hz, and 0 or 1."""
    octaves, voiced = frames.unbind(dim=1)
    low = math.log2(condition.f_min / PITCH_REFERENCE) - 1
    high = math.log2(condition.f_max / PITCH_REFERENCE) + 1
    if float(octaves.min()) < low or float(octaves.max()) > high:
        looks = ", which looks like Hz" if float(octaves.max()) > 20 else ""
        raise ConditionError(
            f"the first column of {condition.name} should be octaves above {PITCH_REFERENCE:g} Hz, "
            f"{low:.3g} to {high:.3g}, and 0 if unvoiced; found {float(octaves.min()):.4g} to "
            f"{float(octaves.max()):.4g}{looks}"
        )
    if float(voiced.min()) < 0 or float(voiced.max()) > 1:
        raise ConditionError(
            f"the second column of {condition.name} should be 0 or 1, voiced; found "
            f"{float(voiced.min()):.4g} to {float(voiced.max()):.4g}"
        )


def _check_columns(
    condition: FramesCondition, frames: Tensor, statistics: FrameStatistics | None
) -> None:
    """Check that the columns are not far outside the range of the training."""
    if statistics is None:
        return
    low, high = torch.tensor(statistics.low), torch.tensor(statistics.high)
    # a column that was constant has no range
    room = torch.maximum(high - low, torch.maximum(low.abs(), high.abs()) * 0.1)
    found_low, found_high = frames.aminmax(dim=0)
    is_far = (found_low < low - room) | (found_high > high + room)
    # in all columns, and not constant, as after a division
    span = found_high - found_low
    is_tiny = (span < (high - low) / 50) | (high == low)
    if frames.shape[0] >= FEW_VALUES and bool(is_tiny.all()) and bool((span > 0).any()):
        is_far = (span > 0) & (high > low)
    if bool(is_far.any()):
        n = int(is_far.nonzero()[0])
        raise ConditionError(
            f"column {n + 1} of the frames of {condition.name} was {float(low[n]):.4g} to "
            f"{float(high[n]):.4g} in the training; found {float(found_low[n]):.4g} to "
            f"{float(found_high[n]):.4g}; compute the frames as for the training, or add "
            f"--frames-scale {MODEL} to use them as they are"
        )


def _unit(condition: LocalCondition) -> str:
    match condition:
        case MelCondition():
            return "10 log10 of the mel energy (dB)"
        case MfccCondition():
            return "coefficients of dB"
        case _:
            return "dB re full scale"
