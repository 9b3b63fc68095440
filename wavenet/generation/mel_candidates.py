"""Draw a clip several times at once, and frame by frame go on with what fits its mel best.

A vocoder's checkpoint and an item with frames enter, a waveform leaves. Drawing from a distribution
now and then leads where the frames do not, and what has been drawn is the past of all that follows.
So several candidates are drawn with different noise; as soon as they have filled a frame, the one
whose own mel frame is nearest to the frame asked for is kept, and all go on from its state. Nothing
but the frames decides, as in Griffin-Lim. Called by `cli` and `evaluation`.

What comes out is no longer a sample of the model's distribution: it is a sample favoured by a
measure, the greedy end of what is known as sequential importance resampling.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet import codec
from wavenet.checkpoint import Checkpoint
from wavenet.conditions import MelCondition
from wavenet.config import SamplingConfig
from wavenet.devices import device_errors
from wavenet.engines.base import Engine
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.generation.decoder import RETRY_NOISE_OFFSET
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import (
    GenerationRequest,
    check_frame_features,
    check_request,
    with_defaults,
)
from wavenet.model.frame_features import compute_condition_frames, select_mel
from wavenet.sampling import rows_per_clip

MAX_CANDIDATES = 64


@dataclass(frozen=True)
class Nearest:
    """What was kept: waveform (samples,) float32, its codes (samples,) int64."""

    waveform: Tensor
    codes: Tensor


@dataclass(frozen=True)
class _Target:
    """The mel frames asked for, (F, bands), and how they are computed of a waveform."""

    frames: Tensor
    condition: MelCondition
    sample_rate: int
    hop: int

    @property
    def reach(self) -> int:
        """Frames from the middle of a window to beyond its end."""
        return -(-self.condition.window // 2 // self.hop)

    def distances(self, waveforms: Tensor, begin: int, first: int, last: int) -> Tensor:
        """Compare frames first to last of waveforms (N, T), which begin at frame `begin`: (N,)."""
        rows = [
            compute_condition_frames(self.condition, w, self.sample_rate, self.hop)
            for w in waveforms
        ]
        found = torch.stack(rows)[:, first - begin : last + 1 - begin]
        return (found - self.frames[first : last + 1]).square().mean((1, 2))


@device_errors(memory_advice="take fewer candidates, or use --device cpu")
@torch.no_grad()
def generate_with_candidates(
    checkpoint: Checkpoint,
    item: GenerationRequest,
    candidates: int,
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    report: Callable[[int], None] = lambda samples: None,
) -> Nearest:
    """Generate one clip.

    Args:
        checkpoint: conditioned on mel, among others.
        item: with frames, without a prompt.
        candidates: 1 to 64; 1 draws as `generate` does without a guard.
        sampling: how each candidate is drawn, without guidance.
        engine: as for `generate`.
        report: called with the number of samples made since the last call.
    Raises:
        ConditionError: a number, checkpoint, item or setting that cannot be used.
    """
    sampling = sampling or checkpoint.config.sampling
    target = _check(checkpoint, item, candidates, sampling)
    item = with_defaults(item, checkpoint.config.model)
    runner = make_engine(engine, checkpoint.model) if isinstance(engine, str) else engine
    alphabet, total = checkpoint.config.codec, item.samples
    local = check_frame_features(checkpoint, item, total)
    conditioning = checkpoint.model.conditioning(
        [item.labels] * candidates, [total] * candidates, [local] * candidates
    )
    state = runner.start(conditioning)
    device = conditioning.total.device
    kept = torch.zeros(0, dtype=torch.int64)
    for last, frames in _spans(target, total):
        begin = kept.numel()
        noise = [
            uniform_noise(item.seed, item.item, begin + n * RETRY_NOISE_OFFSET, last - begin)
            for n in range(candidates)
        ]
        drawn = runner.run(state, last - begin, sampling, torch.stack(noise).to(device)).cpu()
        best = 0
        if candidates > 1:
            since = max(0, frames.start - target.reach)
            past = kept[since * target.hop :].expand(candidates, -1)
            waveforms = codec.decode(torch.cat([past, drawn], 1), alphabet.bits, alphabet.rounding)
            best = int(target.distances(waveforms, since, frames.start, frames.stop - 1).argmin())
            state = runner.select(state, [best] * candidates)
        kept = torch.cat([kept, drawn[best]])
        report(last - begin)
    return Nearest(codec.decode(kept, alphabet.bits, alphabet.rounding), kept)


def _spans(target: _Target, total: int) -> Iterator[tuple[int, range]]:
    """Yield up to which sample to draw, and the frames that are whole by then and were not before.

    The last span takes what is left, windows beyond the end being filled up as for any recording.
    """
    hop, reach = target.hop, target.reach
    frame = 0
    while (last := (frame + max(1, reach)) * hop) < total:
        yield last, range(frame, frame + 1)
        frame += 1
    yield total, range(frame, 1 + total // hop)


def _check(
    checkpoint: Checkpoint, item: GenerationRequest, candidates: int, sampling: SamplingConfig
) -> _Target:
    """Refuse what cannot be used, and find the frames to compare with."""
    config, rate = checkpoint.config.model, checkpoint.config.audio.sample_rate
    if not 1 <= candidates <= MAX_CANDIDATES:
        raise ConditionError(f"candidates must be 1 to {MAX_CANDIDATES}, found {candidates}")
    if rows_per_clip(sampling) > 1:
        raise ConditionError("candidates and guidance do not go together; leave one of them out")
    if item.prompt is not None:
        raise ConditionError("candidates begin with frames alone; leave the prompt out")
    check_request(item, rate)
    checkpoint.model.distribution.check(sampling)
    local = check_frame_features(checkpoint, item, item.samples)
    condition, frames = select_mel(config, local, item.samples)
    return _Target(frames, condition, rate, config.condition_hop)
