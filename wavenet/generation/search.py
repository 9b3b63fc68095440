"""Alternatives to plain sampling: beam search, and candidates compared by their mel frames.

Input: a checkpoint and a request. Output: a `GeneratedClip`. Called by the command line and the
evaluation.

**Beam search** finds the most likely clip that a search of limited width can find. It uses no
noise: the seed of the request has no effect. The most likely clip is rarely a good clip. In nearly
all clips that are drawn from the model, the mean surprise of a sample is about the entropy of the
model; this set of clips is called typical. There are very many, each with a tiny probability. The
most likely clip lies outside of this set: its samples have nearly no surprise. Example: for a coin
that shows heads in six of ten throws, the most likely series is heads only. In text the most likely
sentence repeats itself. In audio, where breath, noise and the jitter of a voice are most of the
bits, the most likely clip tends to silence or a hum. Beam search is therefore a tool to inspect a
model; to generate sound, draw from the model (`generate`).
Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".

**Candidates** are for vocoders. Some draws deviate from the mel frames, and all later samples
depend on them. Therefore several candidates are drawn with different noise. When they fill a frame,
the candidate whose mel frame is closest to the request is kept, and all candidates continue from
its state. The result is not a sample of the model's distribution; it is selected by a measure: the
greedy limit of sequential importance resampling.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.engines.engine import Engine, StateT, has_finite_predictions
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError, PredictionsNotFinite
from wavenet.generation.generate import GeneratedClip
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import (
    GenerationRequest,
    check_frame_features,
    check_request,
    with_defaults,
)
from wavenet.generation.window_sampler import ATTEMPT_NOISE_STRIDE
from wavenet.model.conditions import MelCondition
from wavenet.model.distributions import Categorical
from wavenet.model.frame_features import compute_condition_frames, select_mel
from wavenet.progress import NoProgress, Progress
from wavenet.sampling import SamplingConfig, rows_per_clip

MAX_BEAMS = 256  # memory and time grow with the number of beams
MAX_CANDIDATES = 64


@device_errors(memory_advice="use fewer beams, or --device cpu")
def beam_search(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    beams: int,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> GeneratedClip:
    """Search for the most likely clip.

    After every sample, all continuations of the kept prefixes are compared, and the most likely
    ones are kept. Dropped prefixes are not reconsidered, so the result is certainly the most likely
    clip only if no prefix was dropped. One beam is greedy decoding.

    Args:
        checkpoint: a loaded model with a categorical output.
        request: the clip; its seed is not used.
        beams: number of kept prefixes, 1 to `MAX_BEAMS`. Among equally likely continuations,
            that of the more likely prefix is kept, then the lower code.
        progress: counts samples.
        should_stop: called after every sample; if it returns True, the search ends and returns the
            best prefix.
    Raises:
        ConditionError: the number of beams, a length, condition value or prompt is invalid, or the
            output is not categorical.
        PredictionsNotFinite: a prediction overflowed.
    """
    model, progress = checkpoint.model, progress or NoProgress()
    _check_beams(checkpoint, request, beams)
    request = with_defaults(request, model.config)
    engine = make_engine("cached", model)
    prompt = torch.zeros(0, dtype=torch.int64)
    if request.prompt is not None:
        prompt = checkpoint.codec.encode(request.prompt)
    total = prompt.numel() + request.samples
    frames = check_frame_features(checkpoint, request, total)
    state = engine.start(model.conditioning([request.conditions], [total], [frames]))
    engine.prefill(state, [prompt.to(model.device)])
    log_probs = torch.zeros(1, dtype=torch.float64, device=model.device)
    # per beam the parent and the added code; prefixes are not copied
    parents = torch.zeros(request.samples, beams, dtype=torch.int16)
    codes = torch.zeros(request.samples, beams, dtype=torch.int16)
    made = 0
    while made < request.samples:
        state, log_probs, parent, added = _extend_beams(engine, state, log_probs, beams)
        parents[made, : log_probs.numel()] = parent
        codes[made, : log_probs.numel()] = added
        made += 1
        progress.advance(1)
        if not math.isfinite(log_probs[0]):
            raise PredictionsNotFinite(checkpoint.config.name)
        if should_stop():
            break
    best = _trace_back(parents[:made], codes[:made])
    waveform = checkpoint.codec.decode(torch.cat([prompt, best]))[prompt.numel() :]
    return GeneratedClip(0, best, waveform, log_prob=float(log_probs[0]))


@device_errors(memory_advice="use fewer candidates, or --device cpu")
@torch.no_grad()
def generate_with_candidates(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    candidates: int,
    sampling: SamplingConfig | None = None,
    engine: str | Engine[Any] = "auto",
    progress: Progress | None = None,
) -> GeneratedClip:
    """Generate one clip; keep in every frame the candidate closest to the requested mel.

    Args:
        checkpoint: with a mel condition, among others.
        request: with frame features, without a prompt.
        candidates: 1 to `MAX_CANDIDATES`; 1 is the clip of `generate` without a guard.
        sampling: of each candidate, without guidance.
        engine: as for `generate`.
        progress: counts samples.
    Raises:
        ConditionError: a number, checkpoint, request or setting is invalid.
        PredictionsNotFinite: a prediction overflowed.
    """
    sampling, progress = sampling or checkpoint.config.sampling, progress or NoProgress()
    requested = _check_candidates(checkpoint, request, candidates, sampling)
    request = with_defaults(request, checkpoint.config.model)
    model, codec, total = checkpoint.model, checkpoint.codec, request.samples
    runner = make_engine(engine, model) if isinstance(engine, str) else engine
    frames = check_frame_features(checkpoint, request, total)
    conditioning = model.conditioning(
        [request.conditions] * candidates, [total] * candidates, [frames] * candidates
    )
    state = runner.start(conditioning)
    kept, waveform = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    for last, span in _frame_spans(requested, total):
        begin = kept.numel()
        noise = [
            uniform_noise(
                request.seed,
                request.noise_stream,
                begin + n * ATTEMPT_NOISE_STRIDE,
                last - begin,
            )
            for n in range(candidates)
        ]
        device_noise = torch.stack(noise).to(conditioning.device)
        drawn = runner.run(state, last - begin, sampling, device_noise).cpu()
        if not has_finite_predictions(runner, state, drawn):
            raise PredictionsNotFinite(checkpoint.config.name)
        decoded = codec.decode(drawn, waveform[-1] if begin else 0.0)
        best = 0
        if candidates > 1:
            since = max(0, span.start - requested.margin)
            past = waveform[since * requested.hop_length :].expand(candidates, -1)
            waveforms = torch.cat([past, decoded], 1)
            best = int(requested.distances(waveforms, since, span.start, span.stop - 1).argmin())
            state = runner.select(state, [best] * candidates)
        kept = torch.cat([kept, drawn[best]])
        waveform = torch.cat([waveform, decoded[best]])
        progress.advance(last - begin)
    return GeneratedClip(0, kept, waveform, precision=runner.precision)


def _check_beams(checkpoint: Checkpoint, request: GenerationRequest, beams: int) -> None:
    if not 1 <= beams <= MAX_BEAMS:
        raise ConditionError(f"the number of beams must be 1 to {MAX_BEAMS}, found {beams}")
    distribution = checkpoint.model.distribution
    if not isinstance(distribution, Categorical):
        raise ConditionError(
            "beam search needs a model with a categorical output, "
            f"found {type(distribution).__name__}; generate without beams"
        )
    check_request(request, checkpoint.config)


def _extend_beams(
    engine: Engine[StateT], state: StateT, log_probs: Tensor, beams: int
) -> tuple[StateT, Tensor, Tensor, Tensor]:
    """Add a sample to the beams: state, log_probs, parents and codes, each (beams or fewer,)."""
    next_log_probs = engine.predict(state).double().log_softmax(1)  # (beams, P)
    candidates = (log_probs[:, None] + next_log_probs).flatten()
    best = candidates.sort(descending=True, stable=True).indices[:beams]
    parents, codes = best // next_log_probs.shape[1], best % next_log_probs.shape[1]
    rows = parents.tolist()
    if rows != list(range(log_probs.numel())):
        state = engine.select(state, rows)
    engine.accept(state, codes)
    return state, candidates[best], parents, codes


def _trace_back(parents: Tensor, codes: Tensor) -> Tensor:
    """Return the codes (n,) of the first beam, traced back to the beginning."""
    traced, beam = [], 0
    for parent, added in zip(parents.flip(0), codes.flip(0), strict=True):
        traced.append(int(added[beam]))
        beam = int(parent[beam])
    return torch.tensor(traced[::-1], dtype=torch.int64)


@dataclass(frozen=True)
class _RequestedMel:
    """The mel frames of a request, (F, n_mels), and the settings to compute those of a waveform."""

    frames: Tensor
    condition: MelCondition
    sample_rate: int
    hop_length: int

    @property
    def margin(self) -> int:
        """Half an analysis window in frames, rounded up."""
        return -(-self.condition.win_length // 2 // self.hop_length)

    def distances(self, waveforms: Tensor, begin: int, first: int, last: int) -> Tensor:
        """Compute the distances (N,) of waveforms (N, T) from the request in frames first to last.

        The waveforms begin at frame `begin`.
        """
        computed = [
            compute_condition_frames(self.condition, w, self.sample_rate, self.hop_length)
            for w in waveforms
        ]
        found = torch.stack(computed)[:, first - begin : last + 1 - begin]
        return (found - self.frames[first : last + 1]).square().mean((1, 2))


def _frame_spans(requested: _RequestedMel, total: int) -> Iterator[tuple[int, range]]:
    """Yield (end, frames): the sample up to which to draw, and the newly complete frames.

    The last span contains the rest; windows beyond the end are padded as for any recording.
    """
    hop, margin = requested.hop_length, requested.margin
    frame = 0
    while (last := (frame + max(1, margin)) * hop) < total:
        yield last, range(frame, frame + 1)
        frame += 1
    yield total, range(frame, 1 + total // hop)


def _check_candidates(
    checkpoint: Checkpoint, request: GenerationRequest, candidates: int, sampling: SamplingConfig
) -> _RequestedMel:
    """Check the arguments and return the frames to compare with."""
    config, rate = checkpoint.config.model, checkpoint.sample_rate
    if not 1 <= candidates <= MAX_CANDIDATES:
        raise ConditionError(f"candidates must be 1 to {MAX_CANDIDATES}, found {candidates}")
    if rows_per_clip(sampling) > 1:
        raise ConditionError("candidates and guidance exclude each other; omit one of them")
    if request.prompt is not None:
        raise ConditionError("candidates do not support prompts; omit the prompt")
    check_request(request, checkpoint.config)
    checkpoint.model.distribution.check(sampling)
    frames = check_frame_features(checkpoint, request, request.samples)
    condition, mel = select_mel(config, frames, request.samples)
    return _RequestedMel(mel, condition, rate, config.condition_hop)
