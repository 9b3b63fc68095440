"""Bits per sample of a recording, exactly, and where in it the model was surprised.

A checkpoint, a waveform and labels enter; a `Score` leaves. The parallel forward is used, in
windows that each bring one receptive field of context, so that length costs no memory.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet import codec
from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.errors import ConditionError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features

WINDOW = 65_536  # samples predicted at a time


@dataclass(frozen=True)
class Score:
    """The surprise of each sample.

    Attributes:
        bits: (T,) float32, -log2 of the probability of each code given those before it.
    """

    bits: Tensor

    @property
    def samples(self) -> int:
        """Number of samples scored."""
        return self.bits.numel()

    @property
    def bits_per_sample(self) -> float:
        """Mean over the recording."""
        return float(self.bits.double().mean())


def score(
    checkpoint: Checkpoint,
    waveform: Tensor,
    labels: Mapping[str, ConditionValue] | None = None,
    arrays: Mapping[str, Tensor] | None = None,
    local: Tensor | None = None,
    codes: Tensor | None = None,
) -> Score:
    """Score a recording.

    Args:
        checkpoint: a loaded model.
        waveform: (T,) float32 in [-1, 1], at the model's rate.
        labels: label, number or vector by condition name.
        arrays: frames (F, columns) by condition name that are not computed of the recording.
        local: all frames (F, columns), where they are not those of this recording: a generated
            clip is scored under the frames that it was made from.
        codes: (T,) int64, where they are known, as those of a generated clip; not every convention
            gives a decoded waveform its codes back.
    Raises:
        ConditionError: an empty recording, a condition missing or unknown.
    """
    return Score(torch.cat(list(score_windows(checkpoint, waveform, labels, arrays, local, codes))))


@torch.no_grad()
def score_windows(
    checkpoint: Checkpoint,
    waveform: Tensor,
    labels: Mapping[str, ConditionValue] | None = None,
    arrays: Mapping[str, Tensor] | None = None,
    local: Tensor | None = None,
    codes: Tensor | None = None,
    window: int | None = None,
) -> Iterator[Tensor]:
    """Score a recording window by window, as `score` does.

    Args:
        window: samples predicted at a time, `WINDOW` when left out; each time one receptive field
            is read once more.
    Yields:
        (up to `window`,) float32, the next bits.
    Raises:
        ConditionError: before the first window, as `score`.
    """
    if waveform.ndim != 1 or not waveform.numel():
        raise ConditionError("there is nothing to score: the recording has no samples")
    model, alphabet = checkpoint.model, checkpoint.config.codec
    if codes is None:
        codes = codec.encode(waveform, alphabet.bits, alphabet.rounding)
    total = codes.numel()
    if local is None:
        local = compute_frame_features(model.config, model.sample_rate, waveform.cpu(), arrays)
    conditioning = model.conditioning([labels or {}], [total], [local])
    codes = codes[None].to(conditioning.total.device)
    size = window or WINDOW
    for first in range(0, total, size):
        start = max(0, first - model.receptive_field)
        part = codes[:, start : min(total, first + size)]
        with device_errors():
            params = model(part, conditioning, torch.tensor([start]))
            nats = -model.distribution.log_prob(params, part)[0, first - start :]
            bits = nats.float().cpu() / math.log(2)
        yield bits


def score_clip(
    checkpoint: Checkpoint,
    waveform: Tensor,
    codes: Tensor,
    prompt: Tensor | None = None,
    labels: Mapping[str, ConditionValue] | None = None,
    local: Tensor | None = None,
) -> Score:
    """Score a clip that a model made, and the prompt before it.

    Args:
        waveform: (T,) of the clip; codes: (T,) int64, the same.
        prompt: (P,) what it went on from.
        labels: what it was made with; local: the frames.
    Returns:
        the score of all P + T samples.
    """
    alphabet = checkpoint.config.codec
    before = torch.zeros(0) if prompt is None else prompt
    given = codec.encode(before, alphabet.bits, alphabet.rounding)
    return score(
        checkpoint,
        torch.cat([before, waveform.cpu()]),
        labels,
        local=local,
        codes=torch.cat([given, codes.cpu()]),
    )
