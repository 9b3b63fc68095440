"""The predictions of all members of a comparison for the same samples of one recording.

Input: a comparison, a recording and condition values. Output: messages for `prediction_view.js`.
Called by `compare_events`. For each sample, each member reads the recorded samples before it
(teacher forcing), so that all members predict the same sample from the same past.
"""

import base64
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint, CheckpointConfig, load, load_config
from wavenet.engines.registry import device_for
from wavenet.errors import CheckpointError, ConditionError, PredictionsNotFinite, WaveNetError
from wavenet.likelihood.score import predict_windows
from wavenet.model.distributions import Categorical
from wavenet.model.frame_features import compute_frame_features
from wavenet.ui.compare.comparison_files import Comparison
from wavenet.ui.model_bar.condition_form import form_message
from wavenet.ui.page_text import error_sentence
from wavenet.ui.server.uploads import read_upload
from wavenet.ui.watch.step_viewer import pack

MAX_SECONDS = 4.0  # of the recording; samples before the shown ones are read, but not shown
MAX_SAMPLES = 4_000  # shown
MAX_CLASSES = 256  # 4,000 samples of 12 members are then 12 MB, about 3 MB compressed
LEVELS = 255  # of a probability, relative to the largest one of its sample

Message = dict[str, Any]


@dataclass(frozen=True)
class PredictionRequest:
    """What is predicted.

    Attributes:
        path: of the recording.
        source: text that names it.
        start: time of the first shown sample, s.
        values: condition values by name; a member uses those that it has, else its defaults.
        budget: of the checkpoints, if there are several; None: the largest.
    """

    path: Path
    source: str
    start: float
    values: Mapping[str, Any]
    budget: str | None = None


@dataclass(frozen=True)
class MemberPrediction:
    """The predictions of one member for n samples.

    Attributes:
        surprise: (n,) float32, bits.
        levels: (n, classes) uint8, probabilities in units of `peaks` / 255.
        peaks: (n,) float32, the largest probability of each sample.
    """

    surprise: Tensor
    levels: Tensor
    peaks: Tensor


@dataclass(frozen=True)
class RecordedClip:
    """A recording in the codes of the members.

    Attributes:
        config: of the first member that can be read; its rate and codec are those of all.
        waveform: (T,) float32, the whole recording.
        codes: (end,) int64, up to the last shown sample.
        first: the first shown sample.
    """

    config: CheckpointConfig
    waveform: Tensor
    codes: Tensor
    first: int


def predict_members(comparison: Comparison, request: PredictionRequest) -> Iterator[Message]:
    """Predict the recording with one member after the other.

    Yields:
        Progress, at the end all predictions; a member that fails is named with a sentence.
    Raises:
        AudioError: the recording cannot be read.
        ConditionError: it ends before the first sample to show, or all members fail.
    """
    clip = read_clip(find_config(comparison, request.budget), request)
    members, failures = comparison.members, []
    found: dict[str, MemberPrediction] = {}
    used: dict[str, Any] = {}  # condition values of any member
    for n, (name, title) in enumerate(members.items(), start=1):
        yield {"busy": f"Predicting with {title}: {n} of {len(members)}"}
        try:
            checkpoint = load_member(comparison.checkpoint(name, request.budget))
            values = condition_values(checkpoint.config, request.values)
            found[name] = predict_member(checkpoint, clip, values)
            used |= values
        except WaveNetError as error:
            failures.append({"title": title, "text": error_sentence(error)})
    if not found:
        raise ConditionError(f"no member can be computed; the first reason: {failures[0]['text']}")
    title = ", ".join([request.source, *(f"{name} {value}" for name, value in used.items())])
    yield {"title": title, "failures": failures, **predictions_message(comparison, clip, found)}


def find_config(comparison: Comparison, budget: str | None = None) -> CheckpointConfig:
    """Return the config of the first member that has one.

    Raises:
        CheckpointError: no member has a checkpoint that can be read.
    """
    for member in comparison.members:
        with suppress(WaveNetError):
            return load_config(comparison.checkpoint(member, budget))
    raise CheckpointError("the comparison has no checkpoints, so nothing can be computed")


def load_member(folder: Path) -> Checkpoint:
    """Load a checkpoint; it is not kept, because all members together need much memory.

    Raises:
        CheckpointError: it is missing or damaged; the message has no path.
    """
    if not folder.is_dir():
        raise CheckpointError("its checkpoint is missing")
    try:
        return load(folder, device_for("auto"))
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(folder), folder.name)) from None


def read_clip(config: CheckpointConfig, request: PredictionRequest) -> RecordedClip:
    """Read the recording.

    Raises:
        AudioError: it cannot be read.
        ConditionError: it ends before the first shown sample.
    """
    rate = config.audio.sample_rate
    waveform = read_upload(str(request.path), rate, MAX_SECONDS).waveform
    first = round(request.start * rate)
    if first >= waveform.numel():
        raise ConditionError(
            f"First sample: expected a time before the end of the recording at "
            f"{waveform.numel() / rate:g} s, found {request.start:g} s"
        )
    codes = config.codec.encode(waveform[: first + MAX_SAMPLES])
    return RecordedClip(config, waveform, codes, first)


@torch.no_grad()
def predict_member(
    checkpoint: Checkpoint, clip: RecordedClip, values: Mapping[str, Any]
) -> MemberPrediction:
    """Predict the shown samples, each from all recorded samples before it.

    Args:
        values: of its conditions, by name.
    Raises:
        ConditionError: the rate or the codec is another one, or the output is not categorical.
        CheckpointError: a prediction is not finite.
    """
    model, config = checkpoint.model, checkpoint.config
    if (config.audio, config.codec) != (clip.config.audio, clip.config.codec):
        raise ConditionError("its sample rate or its codec is not that of the first member")
    if not isinstance(model.distribution, Categorical) or model.n_classes > MAX_CLASSES:
        raise ConditionError(f"expected a categorical output of at most {MAX_CLASSES} codes")
    rate, samples = checkpoint.sample_rate, clip.waveform.numel()
    frames = compute_frame_features(config.model, rate, clip.waveform)
    conditioning = model.conditioning([values], [samples], [frames])
    windows = predict_windows(checkpoint, [(clip.codes, conditioning)])
    params = torch.cat([part[0] for part, _ in windows], dim=1)[:, clip.first :]
    log_p = params.T.float().log_softmax(1).cpu()  # (n, classes)
    if bool(log_p.isnan().any()):
        raise PredictionsNotFinite(config.name)
    shown = clip.codes[clip.first :, None]
    surprise = log_p.gather(1, shown)[:, 0] / -math.log(2)
    p = log_p.exp()
    peaks = p.amax(1)
    levels = (p / peaks[:, None] * LEVELS).round().to(torch.uint8)
    return MemberPrediction(surprise, levels, peaks)


def condition_values(config: CheckpointConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values that a member can use, and defaults of the others."""
    filled = form_message(config, values)["values"]
    return {name: value for name, value in filled.items() if value != ""}


def predictions_message(
    comparison: Comparison, clip: RecordedClip, found: Mapping[str, MemberPrediction]
) -> Message:
    """Return the message of all predictions; about 3 MB for 12 members and 4,000 samples."""
    codec, order = clip.config.codec, list(comparison.members)
    levels = torch.stack([member.levels for member in found.values()])  # (members, n, classes)
    return {
        "rate": clip.config.audio.sample_rate,
        "first": clip.first,
        "count": levels.shape[1],
        "codes": pack(clip.codes[clip.first :], "u1"),
        "waveform": pack(clip.waveform[clip.first :][: levels.shape[1]], "<f4"),
        "amplitudes": pack(codec.levels, "<f4"),
        "levels": base64.b64encode(zlib.compress(levels.numpy().tobytes(), 1)).decode("ascii"),
        "members": [
            {
                "title": comparison.members[name],
                "colour": order.index(name),
                "surprise": pack(member.surprise, "<f4"),
                "peaks": pack(member.peaks, "<f4"),
                "bits": float(member.surprise.double().mean()),
            }
            for name, member in found.items()
        ],
    }
