"""Inspect a model sample by sample: its predictions; of a WaveNet also statistics of activations.

Input: a checkpoint, a request and the codes of its clip, which is a generated clip or a recording.
Output: a `StepView`. Called by the studio.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.engines.engine import Engine
from wavenet.engines.registry import make_engine
from wavenet.errors import CheckpointError, ConditionError
from wavenet.generation.generate import generate
from wavenet.generation.request import (
    GenerationRequest,
    check_frame_features,
    check_request,
    with_defaults,
)
from wavenet.likelihood.score import WINDOW, predict_windows
from wavenet.model.conditioning import Conditioning
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig

MAX_STEPS = 400


@dataclass(frozen=True)
class LayerActivations:
    """Statistics of the activations of a WaveNet at n samples.

    Attributes:
        gated_magnitude: (n, layers), mean |z| over the gated outputs z of a layer, 0 to 1.
        skips: (n, layers), root mean square over the skip channels of the contribution of a layer
            to the skip sums, see `skip_contributions`.
    """

    gated_magnitude: Tensor
    skips: Tensor


@dataclass(frozen=True)
class StepView:
    """Predictions and statistics of activations at samples first .. first + n - 1 of a clip.

    Attributes:
        first: index of the first sample in the clip.
        codes: (n,) int64, the drawn codes, or those of the recording.
        params: (n, P) float32, the prediction of each code.
        activations: statistics of the layers of a WaveNet; None for another architecture.
    """

    first: int
    codes: Tensor
    params: Tensor
    activations: LayerActivations | None


def draw_first_codes(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    count: int,
    engine: str | Engine[Any] = "auto",
) -> Iterator[Tensor]:
    """Draw the first `count` samples of a clip by plain sampling, chunk by chunk.

    Each code is drawn from the prediction that `view_steps` returns: without guidance, at
    temperature 1 and with weights in fp32, whatever the defaults of the checkpoint. No guard is
    used, so that degeneration is visible.

    Yields:
        (n,) int64, on the CPU.
    Raises:
        ConditionError, EngineUnavailable: as in `generate`, before the first chunk.
    """
    if isinstance(engine, str):
        engine = make_engine(engine, checkpoint.model)
    chunks = generate(checkpoint, [request], SamplingConfig(), engine, guard=None)

    def codes() -> Iterator[Tensor]:
        made = 0
        for chunk in chunks:
            wanted = chunk.codes[0][: count - made]
            made += wanted.numel()
            yield wanted
            if made == count:
                return

    return codes()


@torch.no_grad()
def view_steps(
    checkpoint: Checkpoint, request: GenerationRequest, codes: Tensor, first: int
) -> StepView:
    """Recompute predictions and statistics of activations of samples in parallel, for display.

    Args:
        checkpoint: a loaded model.
        request: of the whole clip, without a prompt.
        codes: (last,) int64, the samples 0 to last - 1 of the clip.
        first: 0 to last - 1, and at most `MAX_STEPS` before `last`.
    Raises:
        ConditionError: a condition value, frames or samples are invalid.
        CheckpointError: a prediction is not finite.
        OutOfMemory, DeviceError: see `devices`.
    """
    model = checkpoint.model
    conditioning = steps_conditioning(checkpoint, request, codes, first)
    if isinstance(model, WaveNet):
        params, activations = _view_wavenet(model, conditioning, codes, first)
    else:
        params, activations = _predict_from_start(checkpoint, conditioning, codes, first), None
    if not bool(params.isfinite().all()):
        step = first + int(params.isfinite().all(1).to(torch.int8).argmin())
        raise CheckpointError(
            f"the prediction of sample {step} is not finite: the weights of this checkpoint are "
            "too large; use one from earlier in its training"
        )
    return StepView(first, codes[first:].cpu(), params, activations)


def steps_conditioning(
    checkpoint: Checkpoint, request: GenerationRequest, codes: Tensor, first: int
) -> Conditioning:
    """Check the arguments of `view_steps`; return the conditions of the clip.

    Raises:
        ConditionError: as in `view_steps`.
    """
    model, last = checkpoint.model, codes.numel()
    check_request(request, checkpoint.config)
    if not 0 <= first < last <= request.samples:
        raise ConditionError(
            f"{last - first} samples from sample {first} on are not inside a clip of "
            f"{request.samples} samples"
        )
    if last - first > MAX_STEPS:
        raise ConditionError(f"at most {MAX_STEPS} steps can be shown, found {last - first}")
    request = with_defaults(request, model.config)
    frames = check_frame_features(checkpoint, request, request.samples)
    return model.conditioning([request.conditions], [request.samples], [frames])


def _view_wavenet(
    model: WaveNet, conditioning: Conditioning, codes: Tensor, first: int
) -> tuple[Tensor, LayerActivations]:
    """Return the params (n, P) and the activations of the samples from `first` on."""
    # one receptive field of context; its predictions are invalid and dropped
    start = max(0, first - model.config.receptive_field)
    inputs = F.pad(codes[start:-1], (1, 0), value=model.start_code)[None]
    with device_errors():
        gated = model.hidden_states(inputs.to(model.device), conditioning, torch.tensor([start]))
        gated = gated[0, first - start :]  # (n, layers * G)
        params = model.output_params(gated).float().cpu()
        gates = gated.unflatten(1, (len(model.blocks), -1)).abs().mean(2)
        sizes = [part.square().mean(1).sqrt() for part in skip_contributions(model, gated)]
        skips = torch.stack(sizes, dim=1)
    return params, LayerActivations(gates.float().cpu(), skips.float().cpu())


def _predict_from_start(
    checkpoint: Checkpoint, conditioning: Conditioning, codes: Tensor, first: int
) -> Tensor:
    """Return the params (n, P) of the samples from `first` on; all samples before are read."""
    parts = predict_windows(checkpoint, ((part, conditioning) for part in codes.split(WINDOW)))
    kept = deque[Tensor](maxlen=2)  # the steps are in the last two windows
    for params, _ in parts:
        kept.append(params[0].T.float().cpu())
    found = torch.cat(list(kept))
    return found[len(found) - (len(codes) - first) :]


def skip_contributions(model: WaveNet, gated: Tensor) -> Iterator[Tensor]:
    """Split the skip sums into the contributions of the layers.

    Args:
        gated: (..., layers * G), the gated outputs of all layers.
    Yields:
        (..., skip_channels), the contribution of each layer; their sum plus `model.skip.bias` is
        `model.skip(gated)`.
    """
    gate = model.config.gate_channels
    for end in accumulate([gate] * len(model.blocks)):
        layer = slice(end - gate, end)
        yield gated[..., layer] @ model.skip.weight[:, layer].T
