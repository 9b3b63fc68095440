"""The score of a recording: the surprise of every sample, and its mean, the bits per sample.

Input: a checkpoint, a waveform or its blocks, and condition values. Output: a `Score`, or the
surprise window by window. The parallel forward is computed window by window, so the memory does not
grow with the length of the recording. Before each window, one receptive field of context is read.
If the receptive field is unlimited, the memory of the model is kept from window to window.
Called by the command line, batches, the evaluation and the studio.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.errors import ConditionError, PredictionsNotFinite
from wavenet.model.conditioning import Conditioning, ConditionValue, max_context
from wavenet.model.frame_features import compute_frame_features, frame_count, frame_reach
from wavenet.model.model_config import check_clip_length

WINDOW = 32_768  # samples predicted at a time
# For a program that has other work: a quarter of the memory, 0.2 GB for the shipped models. The
# receptive field is read again before each window, so scores need up to a third more time.
SMALL_WINDOW = 8_192


@dataclass(frozen=True)
class Score:
    """The surprise of every sample of a recording.

    Attributes:
        surprise: (T,) float32, bits: -log2 of the probability of each code given those before it.
    """

    surprise: Tensor

    @property
    def samples(self) -> int:
        """Number of samples scored."""
        return self.surprise.numel()

    @property
    def bits_per_sample(self) -> float:
        """Mean surprise of the recording."""
        return float(self.surprise.double().mean())


def score(
    checkpoint: Checkpoint,
    waveform: Tensor,
    conditions: Mapping[str, ConditionValue] | None = None,
    arrays: Mapping[str, Tensor] | None = None,
    frame_features: Tensor | None = None,
    codes: Tensor | None = None,
    window: int | None = None,
) -> Score:
    """Score a recording.

    Args:
        checkpoint: a loaded model.
        waveform: (T,) float32 in [-1, 1], at the model's rate.
        conditions: the condition values: word, number or vector by condition name.
        arrays: by condition name, frames (F, columns) that replace computed ones, in the unit of
            `model.frame_scales`.
        frame_features: (F, columns) of all local conditions; for a generated clip those of its
            request. None: computed from the recording and `arrays`.
        codes: (T,) int64 codes of a generated clip, if available; encoding its waveform may
            change them. None: encoded from the waveform.
        window: samples predicted at a time, `WINDOW` by default.
    Raises:
        ConditionError: the recording is empty or too long for the model, or a condition value is
            missing or unknown.
    """
    windows = score_windows(checkpoint, waveform, conditions, arrays, frame_features, codes, window)
    return Score(torch.cat(list(windows)))


@torch.no_grad()
def score_windows(
    checkpoint: Checkpoint,
    waveform: Tensor,
    conditions: Mapping[str, ConditionValue] | None = None,
    arrays: Mapping[str, Tensor] | None = None,
    frame_features: Tensor | None = None,
    codes: Tensor | None = None,
    window: int | None = None,
) -> Iterator[Tensor]:
    """Score a recording window by window, as `score` does.

    Args:
        window: samples predicted at a time, `WINDOW` by default, without the context.
    Yields:
        (up to `window`,) float32, the surprise of the next samples in bits.
    Raises:
        ConditionError: as in `score`, before the first window.
    """
    rows = [conditions or {}]
    for params, targets in predict_recording(
        checkpoint, waveform, rows, arrays, frame_features, codes, window
    ):
        yield compute_surprise(checkpoint, params, targets)[0]


@torch.no_grad()
def predict_recording(
    checkpoint: Checkpoint,
    waveform: Tensor,
    rows: Sequence[Mapping[str, ConditionValue]],
    arrays: Mapping[str, Tensor] | None = None,
    frame_features: Tensor | None = None,
    codes: Tensor | None = None,
    window: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict every sample of a recording, once per row of condition values.

    Args:
        rows: B mappings of condition values, which are computed side by side.
        waveform, arrays, frame_features, codes: as in `score`.
        window: as in `score_windows`.
    Yields:
        params (B, P, n) and codes (B, n) of each window, on the device of the model.
    Raises:
        ConditionError: as in `score`, before the first window.
    """
    if waveform.ndim != 1 or not waveform.numel():
        raise ConditionError("the recording has no samples and cannot be scored")
    model = checkpoint.model
    check_clip_length(model.config, waveform.numel(), model.sample_rate)
    if codes is None:
        codes = checkpoint.codec.encode(waveform)
    if frame_features is None:
        config, rate = model.config, model.sample_rate
        frame_features = compute_frame_features(
            config, rate, waveform.cpu(), arrays, statistics=checkpoint.config.frame_statistics
        )
    conditioning = model.conditioning(
        list(rows), [codes.numel()] * len(rows), [frame_features] * len(rows)
    )
    windows = ((part, conditioning) for part in codes.split(window or WINDOW))
    yield from predict_windows(checkpoint, windows)


@torch.no_grad()
def score_blocks(
    checkpoint: Checkpoint,
    blocks: Iterable[Tensor],
    samples: int,
    conditions: Mapping[str, ConditionValue] | None = None,
    window: int | None = None,
) -> Iterator[Tensor]:
    """Score a recording that is read block by block, as `score_windows` does, in constant memory.

    MFCC and F0 depend on the whole recording: for a model with these local conditions, the blocks
    are collected first.

    Args:
        blocks: (n,) float32 in [-1, 1], the recording in order, at the model's rate.
        samples: of all blocks together.
        window: as in `score_windows`.
    Yields:
        as `score_windows`.
    Raises:
        ConditionError: as in `score`.
    """
    reach = frame_reach(checkpoint.model.config)
    if reach is None:
        waveform = torch.cat([torch.zeros(0), *blocks])
        yield from score_windows(checkpoint, waveform, conditions, window=window)
        return
    if not samples:
        raise ConditionError("the recording has no samples and cannot be scored")
    check_clip_length(checkpoint.model.config, samples, checkpoint.sample_rate)
    conditioning = checkpoint.model.conditioning([conditions or {}], [samples], [torch.zeros(0, 0)])
    parts = _regroup(blocks, window or WINDOW)
    if checkpoint.model.config.locals:
        windows = _with_frames(checkpoint, parts, conditioning, reach)
    else:
        windows = ((part, conditioning) for part in parts)
    encoded = _encode_windows(checkpoint, windows)
    for params, targets in predict_windows(checkpoint, encoded):
        yield compute_surprise(checkpoint, params, targets)[0]


def _encode_windows(
    checkpoint: Checkpoint, windows: Iterable[tuple[Tensor, Conditioning]]
) -> Iterator[tuple[Tensor, Conditioning]]:
    """Encode consecutive windows (n,) of a recording."""
    previous: Tensor | float = 0.0
    for waveform, conditioning in windows:
        yield checkpoint.codec.encode(waveform, previous), conditioning
        previous = waveform[-1]


def _with_frames(
    checkpoint: Checkpoint, windows: Iterable[Tensor], conditioning: Conditioning, reach: int
) -> Iterator[tuple[Tensor, Conditioning]]:
    """Yield each window (n,) of a recording with the conditioning of its frames.

    Args:
        conditioning: of the whole recording, without frames.
        reach: see `frame_reach`.
    """
    config, samples = checkpoint.model.config, int(conditioning.total_samples)
    hop, frames_around = config.condition_hop, max_context(config)
    before = (config.receptive_field or 0) + frames_around * hop
    waiting: deque[Tensor] = deque()
    kept, start = torch.zeros(0), 0  # the waveform around the oldest waiting window
    first = end = 0  # the first sample of that window, and the last one of `kept`, excluded
    source = iter(windows)
    while first < samples:
        # frames after the window: one for the interpolation, and the context
        while not waiting or end < min(
            samples, first + waiting[0].numel() + (frames_around + 2) * hop + reach
        ):
            waiting.append(next(source))
            kept = torch.cat([kept, waiting[-1]])
            end += waiting[-1].numel()
        window = waiting.popleft()
        last = first + window.numel()
        begin = max(0, first - before) // hop
        frames = compute_frame_features(config, checkpoint.sample_rate, kept)
        count = min(frame_count(samples, hop), -(-last // hop) + 1 + frames_around) - begin
        yield window, conditioning.with_frames(frames[begin - start // hop :][:count], begin)
        first = last
        # a multiple of the hop, so that the frames of the rest are frames of the recording
        next_start = max(0, (first - before) // hop * hop - reach) // hop * hop
        kept, start = kept[next_start - start :].clone(), next_start


def _regroup(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the samples of blocks in windows of one size; the last may be smaller."""
    waiting: list[Tensor] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += block.numel()
        if count >= size:
            *windows, rest = torch.cat(waiting).split(size)
            if rest.numel() == size:
                windows, rest = [*windows, rest], rest[:0]
            yield from windows
            # a copy, because a view keeps the whole block
            waiting, count = [rest.clone()], rest.numel()
    if count:
        yield torch.cat(waiting)


_CodeWindows = Iterable[tuple[Tensor, Conditioning]]  # codes, and their conditioning


@torch.no_grad()
def predict_windows(
    checkpoint: Checkpoint, windows: _CodeWindows
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict every sample of a recording from the samples before it (teacher forcing).

    Args:
        windows: the codes (n,) int64 of the recording in order, each part with its conditioning,
            which has B rows of condition values.
    Yields:
        params (B, P, n) and codes (B, n) of each window, on the device of the model.
    Raises:
        OutOfMemory, DeviceError: see `devices`.
    """
    is_limited = checkpoint.model.receptive_field is not None
    predict = _predict_by_context if is_limited else _predict_by_memory
    on_device = (
        (codes.to(found.device).expand(found.total_samples.numel(), -1), found)
        for codes, found in windows
    )
    yield from predict(checkpoint, on_device)


def compute_surprise(checkpoint: Checkpoint, params: Tensor, codes: Tensor) -> Tensor:
    """Return the surprise of codes (B, n) under predictions (B, P, n): (B, n) float32 bits, CPU.

    Raises:
        PredictionsNotFinite: a prediction is not finite.
    """
    with device_errors():
        nats = -checkpoint.model.distribution.log_prob(params, codes)
        bits = nats.float().cpu() / math.log(2)
    if bool(bits.isnan().any()):
        raise PredictionsNotFinite(checkpoint.config.name)
    return bits


def _predict_by_context(
    checkpoint: Checkpoint, windows: _CodeWindows
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the params and codes of each window, computed from one receptive field of context."""
    model = checkpoint.model
    receptive_field, first = model.receptive_field or 0, 0
    context: Tensor | None = None
    for codes, conditioning in windows:
        context = codes[:, :0] if context is None else context
        before = context.shape[1]
        part = torch.cat([context, codes], dim=1)
        with device_errors():
            params = model(part, conditioning, torch.full((len(codes),), first - before))
        yield params[:, :, before:], codes
        first += codes.shape[1]
        context = part[:, max(0, part.shape[1] - receptive_field) :]


def _predict_by_memory(
    checkpoint: Checkpoint, windows: _CodeWindows
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the params and codes of each window, with the memory carried from window to window."""
    model = checkpoint.model
    memory, first = None, 0
    for codes, conditioning in windows:
        if memory is None:
            memory = model.initial_memory(len(codes), model.device)
            previous = torch.full((len(codes), 1), model.start_code, device=model.device)
        inputs = torch.cat([previous, codes[:, :-1]], dim=1)
        with device_errors():
            starts = torch.full((len(codes),), first)
            hidden = model.hidden_states(inputs, conditioning, starts, memory)
            params = model.output_params(hidden).transpose(1, 2)
        yield params, codes
        first += codes.shape[1]
        previous = codes[:, -1:]


def score_clip(
    checkpoint: Checkpoint,
    waveform: Tensor,
    codes: Tensor,
    prompt: Tensor | None = None,
    conditions: Mapping[str, ConditionValue] | None = None,
    frame_features: Tensor | None = None,
    window: int | None = None,
) -> Score:
    """Score a generated clip together with its prompt.

    Args:
        waveform: (T,), the clip; codes: (T,) int64, its codes.
        prompt: (P,), the audio that the clip continues.
        conditions, frame_features: those of its request.
        window: samples predicted at a time, `WINDOW` by default.
    Returns:
        the score of all P + T samples.
    """
    before = torch.zeros(0) if prompt is None else prompt
    return score(
        checkpoint,
        torch.cat([before, waveform.cpu()]),
        conditions,
        frame_features=frame_features,
        codes=torch.cat([checkpoint.codec.encode(before), codes.cpu()]),
        window=window,
    )
