"""Errors of an effect on the parts of pairs, and those of a linear filter beside it.

Input: an effect and pairs. Output: an ESR per pair. The fast engine computes the outputs, as other
programs do with the `.nam` file. Called by the training and by its final table.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audio_utils.metrics import esr
from wavenet.effects.effect_engine import EffectEngine, load_engine
from wavenet.effects.training.effect_pairs import PairPart, Span, SplitPair
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.errors import TrainingError


def measure_errors(
    effect: TrainedEffect, pairs: Sequence[SplitPair], part: PairPart = PairPart.VALIDATION
) -> tuple[float | None, ...]:
    """Return the ESR of each pair on a part of it; None if the pair has no such part.

    Raises:
        TrainingError: an output is not finite.
    """
    return tuple(
        esr(split.wet_of(spans).double(), compute_outputs(effect, split, spans).double())
        if (spans := spans_of(split, part))
        else None
        for split in pairs
    )


def compute_outputs(effect: TrainedEffect, split: SplitPair, spans: Sequence[Span]) -> Tensor:
    """Return the outputs for spans of a pair, one after the other.

    Raises:
        TrainingError: an output is not finite.
    """
    engine: EffectEngine = load_engine(effect.nam_model(split.pair.setting))  # type: ignore[type-arg]
    silence, field = engine.initial_state(), effect.receptive_field
    outputs = []
    for span in spans:
        dry = split.pair.context(span, field).numpy()
        outputs.append(engine.process(silence.copy(), dry)[field - 1 :])
    joined = np.concatenate(outputs)
    if not np.isfinite(joined).all():
        raise TrainingError("an output of the effect is not finite; use a lower learning rate")
    return torch.from_numpy(joined)


def spans_of(split: SplitPair, part: PairPart) -> tuple[Span, ...]:
    """Return the spans of a part."""
    match part:
        case PairPart.TRAINING:
            return split.training
        case PairPart.VALIDATION:
            return split.validation
        case _:
            return split.test


def mean_error(errors: Sequence[float | None]) -> float:
    """Return the mean of the errors of pairs that have one."""
    found = [error for error in errors if error is not None]
    return sum(found) / len(found) if found else math.nan
