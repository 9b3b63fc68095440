"""The calibration of a checkpoint: which surprise is unusual in clean recordings.

Input: clean recordings; the file `surprise.json` in the folder of the checkpoint. Output: a
`SurpriseCalibration`, with a threshold per window length for any rate of false alarms. The file is
checked as the config of a checkpoint is, and belongs to the weights on which it was measured.
Called by `events`, `wavenet surprise` and the Python interface.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint import CALIBRATION, MAX_CALIBRATION_BYTES, Checkpoint
from wavenet.config import StrictConfig, parse_config
from wavenet.detection.surprise_excess import compute_excess
from wavenet.detection.tail_thresholds import (
    MAX_RATE,
    TailThresholds,
    interpolate_threshold,
    measure_thresholds,
)
from wavenet.detection.window_means import WINDOW_SECONDS
from wavenet.errors import CheckpointError, ConfigError
from wavenet.model.conditioning import ConditionValue
from wavenet.weights_file import WEIGHTS, read_bytes

MIN_FALSE_ALARMS = 1e-3  # an hour; lower rates would be pure extrapolation

Rate = Annotated[float, Field(gt=0, le=1e5)]
Bits = Annotated[float, Field(gt=0, le=1e4)]


class WindowThresholds(StrictConfig):
    """The thresholds of one window length.

    Attributes:
        seconds: length of the window.
        thresholds: bits per sample, one per rate of the calibration.
        scale: bits that are added for each factor e below the lowest rate.
    """

    seconds: float = Field(gt=0, le=10)
    thresholds: tuple[Bits, ...] = Field(min_length=1, max_length=64)
    scale: float = Field(ge=0, le=1e4)


class SurpriseCalibration(StrictConfig):
    """The content of `surprise.json`.

    Attributes:
        format_version: of this file.
        weights_sha256: of the weights that were used, in hexadecimal.
        sample_rate: Hz, of the model.
        hours: of clean sound.
        recordings: number of clean recordings.
        false_alarms_per_hour: the rates that were counted, the highest first.
        windows: the thresholds, the shortest window first.
    """

    format_version: Literal[1] = 1
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sample_rate: int = Field(ge=4_000, le=192_000)
    hours: float = Field(gt=0, le=1e6)
    recordings: int = Field(ge=1)
    false_alarms_per_hour: tuple[Rate, ...] = Field(min_length=1, max_length=64)
    windows: tuple[WindowThresholds, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        rates = self.false_alarms_per_hour
        if any(b >= a for a, b in pairwise(rates)):
            raise ValueError("false_alarms_per_hour must decrease")
        if any(b.seconds <= a.seconds for a, b in pairwise(self.windows)):
            raise ValueError("the seconds of windows must increase")
        for window in self.windows:
            if len(window.thresholds) != len(rates):
                raise ValueError(f"expected {len(rates)} thresholds per window, one per rate")
            if any(b < a for a, b in pairwise(window.thresholds)):
                raise ValueError("thresholds must not decrease")
        return self

    def thresholds(self, false_alarms_per_hour: float) -> dict[float, float]:
        """Return the threshold in bits per sample of each window length in seconds.

        Raises:
            ConfigError: the rate is out of range.
        """
        if not MIN_FALSE_ALARMS <= false_alarms_per_hour <= MAX_RATE:
            raise ConfigError(
                f"the false alarms an hour must be {MIN_FALSE_ALARMS:g} to {MAX_RATE:g}, "
                f"found {false_alarms_per_hour:g}"
            )
        rates = self.false_alarms_per_hour
        return {
            w.seconds: interpolate_threshold(rates, w.thresholds, w.scale, false_alarms_per_hour)
            for w in self.windows
        }


def calibrate(
    checkpoint: Checkpoint,
    recordings: Iterable[Tensor],
    conditions: Mapping[str, ConditionValue] | None = None,
    held_out: Iterable[Tensor] = (),
) -> SurpriseCalibration:
    """Measure the surprise of clean recordings, one after the other.

    Args:
        checkpoint: loaded from a folder.
        recordings: waveforms (T,) at the model's rate, without faults.
        conditions: the condition values of all recordings.
        held_out: further ones, if the model was trained on `recordings` and not on these.
    Raises:
        DataError: there is less than a minute of sound.
        ConditionError: as in `compute_excess`.
        CheckpointError: the weights cannot be read.
    """
    excesses, others = (
        (compute_excess(checkpoint, waveform, conditions) for waveform in waveforms)
        for waveforms in (recordings, held_out)
    )
    found = measure_thresholds(excesses, checkpoint.sample_rate, held_out=others)
    return make_calibration(checkpoint, found)


def make_calibration(checkpoint: Checkpoint, found: TailThresholds) -> SurpriseCalibration:
    """Return the calibration of a checkpoint with these thresholds of `WINDOW_SECONDS`.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    windows = zip(WINDOW_SECONDS, found.thresholds, found.scales, strict=True)
    return SurpriseCalibration(
        weights_sha256=_hash_weights(checkpoint.folder),
        sample_rate=checkpoint.sample_rate,
        hours=found.hours,
        recordings=found.recordings,
        false_alarms_per_hour=found.rates,
        windows=tuple(
            WindowThresholds(seconds=seconds, thresholds=thresholds, scale=scale)
            for seconds, thresholds, scale in windows
        ),
    )


def write_calibration(
    folder: Path, calibration: SurpriseCalibration, replace: bool = True
) -> Path:
    """Write the calibration of a checkpoint into its folder; return the path of the file.

    Raises:
        CheckpointError: the file exists and must not be replaced, or cannot be written.
    """
    path = folder / CALIBRATION
    try:
        with atomic_file(path, replace) as temporary:
            temporary.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {os_error_reason(error)}") from None
    return path


def read_calibration(checkpoint: Checkpoint) -> SurpriseCalibration:
    """Read the calibration of a checkpoint from its folder.

    Raises:
        CheckpointError: there is none, it is damaged, or it was measured with other weights.
    """
    path = checkpoint.folder / CALIBRATION
    remedy = f"`wavenet surprise -c {checkpoint.folder} --calibrate FOLDER` with clean recordings"
    if not path.is_file():
        raise CheckpointError(
            f"{checkpoint.config.name} has no {CALIBRATION}, so it is not known which surprise is "
            f"unusual; make it by {remedy}"
        )
    try:
        found = parse_config(
            SurpriseCalibration, read_bytes(path, MAX_CALIBRATION_BYTES), str(path)
        )
    except (ConfigError, RecursionError) as error:
        text = str(error) if isinstance(error, ConfigError) else f"{path} is nested too deeply"
        raise CheckpointError(text) from None
    is_same = found.weights_sha256 == _hash_weights(checkpoint.folder)
    if not is_same or found.sample_rate != checkpoint.sample_rate:
        raise CheckpointError(
            f"{path} was measured with other weights than those of the checkpoint; make it again "
            f"by {remedy} --overwrite"
        )
    return found


def _hash_weights(folder: Path) -> str:
    """Return the SHA-256 of the weights of a checkpoint, in hexadecimal.

    Raises:
        CheckpointError: they cannot be read.
    """
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"the weights in {folder} cannot be read: {os_error_reason(error)}"
        ) from None
