"""Beam search: the likeliest clip that a narrow search finds.

A checkpoint, an item and a number of beams enter; a `Beam` leaves. No noise is drawn: the same
item gives the same clip, whatever its seed.

The likeliest clip is rarely a good one. A clip drawn from the model carries about the entropy of
the model in every sample, and so do nearly all clips that the model believes in: there are very
many of them, each with a tiny probability. The single likeliest clip is not one of that crowd. It
is never surprised, as a coin that shows heads in six of ten throws has nothing but heads as its
likeliest series. In text that is a sentence that repeats itself; in audio, where breath, noise and
the jitter of a voice are most of the bits, it tends to silence or a hum. More beams search better
for what is likely, not for what is good. So this is an instrument to look into a model with, and
drawing from the model (`generate`) is how to make sound.
Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet import codec
from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.engines.base import Engine, StateT
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.generation.request import (
    GenerationRequest,
    check_frame_features,
    check_request,
    with_defaults,
)
from wavenet.model.distributions import Categorical

MAX_BEAMS = 256  # each holds what its layers remember, and time grows with their number


@dataclass(frozen=True)
class Beam:
    """One clip and how likely it is.

    Attributes:
        codes: (n,) int64, what was generated; the prompt is not in it.
        waveform: (n,) float32.
        log_prob: in nats, of all codes together, given the conditions and the prompt.
    """

    codes: Tensor
    waveform: Tensor
    log_prob: float

    @property
    def bits_per_sample(self) -> float:
        """Mean surprise of a sample."""
        return -self.log_prob / (self.codes.numel() * math.log(2))


@device_errors(memory_advice="take fewer beams, or use --device cpu")
def search(
    checkpoint: Checkpoint,
    item: GenerationRequest,
    beams: int,
    report: Callable[[int], None] = lambda made: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Beam:
    """Search for the likeliest clip.

    After every sample the likeliest beginnings are kept, among all continuations of those kept
    before. A beginning that is dropped never comes back, so the clip found is the likeliest of all
    only when nothing had to be dropped. One beam is greedy decoding.

    Args:
        checkpoint: a loaded model with a categorical output.
        item: the clip; its seed plays no part.
        beams: beginnings kept, 1 to `MAX_BEAMS`. Of equals, the one of the likelier beginning
            stays, then the one of the lower code.
        report: called after every sample with the number of samples there are.
        should_stop: asked after every sample; the best beginning is then what is returned.
    Raises:
        ConditionError: a number of beams, length, condition or prompt that cannot be used; an
            output that is not categorical.
    """
    model, alphabet = checkpoint.model, checkpoint.config.codec
    _check(checkpoint, item, beams)
    item = with_defaults(item, model.config)
    engine = make_engine("cached", model)
    given = torch.empty(0) if item.prompt is None else item.prompt
    prompt = codec.encode(given, alphabet.bits, alphabet.rounding)
    prompt = prompt.to(model.embedding.weight.device)
    total = prompt.numel() + item.samples
    local = check_frame_features(checkpoint, item, total)
    state = engine.start(model.conditioning([item.labels], [total], [local]))
    engine.prefill(state, [prompt])
    totals = torch.zeros(1, dtype=torch.float64, device=prompt.device)
    # where each beam came from and what it added: a prefix is never copied
    parents = torch.zeros(item.samples, beams, dtype=torch.int16)
    codes = torch.zeros(item.samples, beams, dtype=torch.int16)
    made = 0
    while made < item.samples:
        state, totals, came_from, added = _extend(engine, state, totals, beams)
        parents[made, : totals.numel()] = came_from
        codes[made, : totals.numel()] = added
        made += 1
        report(made)
        if should_stop():
            break
    best = _trace(parents[:made], codes[:made])
    return Beam(best, codec.decode(best, alphabet.bits, alphabet.rounding), float(totals[0]))


def _check(checkpoint: Checkpoint, item: GenerationRequest, beams: int) -> None:
    """Refuse what cannot be searched."""
    if not 1 <= beams <= MAX_BEAMS:
        raise ConditionError(f"the number of beams must be 1 to {MAX_BEAMS}, found {beams}")
    distribution = checkpoint.model.distribution
    if not isinstance(distribution, Categorical):
        raise ConditionError(
            "beam search needs a model with a categorical output, "
            f"found {type(distribution).__name__}; draw from this one instead"
        )
    check_request(item, checkpoint.config.audio.sample_rate)


def _extend(
    engine: Engine[StateT], state: StateT, totals: Tensor, beams: int
) -> tuple[StateT, Tensor, Tensor, Tensor]:
    """Add a sample: the state, totals, parents and codes of the best, each (beams or fewer,)."""
    # a step predicts before it takes the codes, which can only be chosen after: they become `last`
    log_probs = engine.step(state, state.last).double().log_softmax(1)  # (beams, P)
    scores = (totals[:, None] + log_probs).flatten()
    best = scores.sort(descending=True, stable=True).indices[:beams]
    parents, codes = best // log_probs.shape[1], best % log_probs.shape[1]
    rows = parents.tolist()
    if rows != list(range(totals.numel())):
        state = engine.select(state, rows)
    state.last = codes
    return state, scores[best], parents, codes


def _trace(parents: Tensor, codes: Tensor) -> Tensor:
    """Follow the first beam back to its beginning: codes (n,)."""
    traced, beam = [], 0
    for came_from, added in zip(parents.flip(0), codes.flip(0), strict=True):
        traced.append(int(added[beam]))
        beam = int(came_from[beam])
    return torch.tensor(traced[::-1], dtype=torch.int64)
