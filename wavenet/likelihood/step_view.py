"""Look into a model while it writes: what it predicted at each step, and which layers had a say.

A checkpoint, a clip and its codes enter; a `StepView` leaves. The codes are generated or those
of a recording. Called by the studio.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.engines.base import Engine
from wavenet.errors import CheckpointError, ConditionError
from wavenet.generation.request import (
    GenerationRequest,
    check_frame_features,
    check_request,
    with_defaults,
)
from wavenet.generation.streaming import generate
from wavenet.model.wavenet import WaveNet

MAX_STEPS = 400


@dataclass(frozen=True)
class StepView:
    """What happened inside the model at samples first .. first + n - 1 of a clip.

    Attributes:
        first: sample of the clip.
        codes: (n,) int64, what was drawn, or what stands in the recording.
        params: (n, P) float32, the prediction of each of them.
        gates: (n, layers), mean |z| over the gated outputs z of a layer, 0 to 1.
        skips: (n, layers), root mean square over the skip channels of what a layer adds to their
            sum, see `skip_contributions`.
    """

    first: int
    codes: Tensor
    params: Tensor
    gates: Tensor
    skips: Tensor


def draw_codes(
    checkpoint: Checkpoint, item: GenerationRequest, last: int, engine: str | Engine[Any] = "auto"
) -> Iterator[Tensor]:
    """Draw the first `last` samples of a clip by the model's own distribution, piece by piece.

    Without the guard: what goes wrong is to be seen, not to be drawn again.

    Yields:
        (n,) int64, on the CPU.
    Raises:
        ConditionError, EngineUnavailable: before the first piece, as `generate`.
    """
    pieces = generate(checkpoint, [item], engine=engine, guard=None)

    def codes() -> Iterator[Tensor]:
        made = 0
        for chunk in pieces:
            wanted = chunk.codes[0][: last - made]
            made += wanted.numel()
            yield wanted
            if made == last:
                return

    return codes()


@torch.no_grad()
def view_steps(
    checkpoint: Checkpoint, item: GenerationRequest, codes: Tensor, first: int
) -> StepView:
    """Predict samples once more, in parallel, and keep what an engine forgets.

    Args:
        checkpoint: a loaded model.
        item: the clip: its whole length, labels and frames; without a prompt.
        codes: (last,) int64, the clip up to and without sample `last`.
        first: 0 to last - 1, and at most `MAX_STEPS` before `last`.
    Raises:
        ConditionError: a label, frames or steps that cannot be used.
        CheckpointError: a prediction is not finite.
        OutOfMemory, DeviceError: see `devices`.
    """
    model, last = checkpoint.model, codes.numel()
    check_request(item, model.sample_rate)
    if not 0 <= first < last <= item.samples:
        raise ConditionError(
            f"samples {first} to {last} do not lie in a clip of {item.samples} samples"
        )
    if last - first > MAX_STEPS:
        raise ConditionError(f"at most {MAX_STEPS} steps are looked at, found {last - first}")
    item = with_defaults(item, model.config)
    local = check_frame_features(checkpoint, item, item.samples)
    conditioning = model.conditioning([item.labels], [item.samples], [local])
    # One receptive field of context; what is predicted of it is wrong and left out.
    start = max(0, first - model.receptive_field)
    inputs = F.pad(codes[start:-1], (1, 0), value=model.start_code)[None]
    with device_errors():
        device = model.embedding.weight.device
        gated = model.layers(inputs.to(device), conditioning, torch.tensor([start]))[1]
        gated = gated[0, first - start :]  # (n, layers * G)
        params = model.post_net(gated).float().cpu()
        gates = gated.unflatten(1, (len(model.blocks), -1)).abs().mean(2)
        sizes = [part.square().mean(1).sqrt() for part in skip_contributions(model, gated)]
        skips = torch.stack(sizes, dim=1)
    if not bool(params.isfinite().all()):
        step = first + int(params.isfinite().all(1).to(torch.int8).argmin())
        raise CheckpointError(
            f"the prediction of sample {step} is not finite: the weights of this checkpoint are "
            "too large, so take one from earlier in its training"
        )
    return StepView(first, codes[first:].cpu(), params, gates.float().cpu(), skips.float().cpu())


def skip_contributions(model: WaveNet, gated: Tensor) -> Iterator[Tensor]:
    """Take the skip sum apart.

    Args:
        gated: (..., layers * G), the gated outputs of all layers.
    Yields:
        (..., skip_channels), what each layer adds; with `model.skip.bias` they sum to
        `model.skip(gated)`.
    """
    gate = model.config.gate_channels
    for end in accumulate([gate] * len(model.blocks)):
        layer = slice(end - gate, end)
        yield gated[..., layer] @ model.skip.weight[:, layer].T
