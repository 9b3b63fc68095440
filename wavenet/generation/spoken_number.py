"""A number said by a model of single digits: one clip per digit in one voice, joined.

Input: the digits as text, and the request of one clip. Output: the requests of the clips, and their
audio joined. For models that have the label `digit` with the values 0 to 9. Called by the studio.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wavenet.errors import ConditionError
from wavenet.generation.request import GenerationRequest
from wavenet.model.model_config import ModelConfig

LABEL = "digit"
DIGITS = "0123456789"
MAX_DIGITS = 12
SILENCE_DB = 35.0  # below the maximum of a clip
FRAME = 512  # samples, of the level that finds silence
FADE_SECONDS = 0.03


def can_say_numbers(model: ModelConfig) -> bool:
    """Return whether a model has a label for each digit."""
    return any(c.name == LABEL and set(DIGITS) <= set(c.values) for c in model.labels)


def read_digits(number: str | None) -> str:
    """Return the digits of a typed number; spaces between them are ignored.

    Raises:
        ConditionError: there are none, too many, or other characters.
    """
    digits = "".join((number or "").split())
    if not digits or set(digits) - set(DIGITS) or len(digits) > MAX_DIGITS:
        raise ConditionError(
            f"Number to say: expected 1 to {MAX_DIGITS} digits, "
            f"found {repr((number or '')[:40]) if digits else 'nothing'}"
        )
    return digits


def spell(first: GenerationRequest, digits: str) -> tuple[GenerationRequest, ...]:
    """Return one request per digit; the seeds count up from that of the given request."""
    return tuple(
        replace(first, conditions={**first.conditions, LABEL: digit}, seed=first.seed + n)
        for n, digit in enumerate(digits)
    )


def join_clips(waveforms: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Cut the silence around each clip, and join them with short cross-fades.

    Args:
        waveforms: (T,) each.
        sample_rate: Hz.
    Returns:
        (T,).
    """
    import librosa

    fade = round(FADE_SECONDS * sample_rate)
    joined = torch.zeros(0)
    for waveform in waveforms:
        _, (first, last) = librosa.effects.trim(
            waveform.numpy(), top_db=SILENCE_DB, frame_length=FRAME, hop_length=FRAME // 4
        )
        clip = waveform[max(0, first - fade) : last + fade]
        size = min(fade, len(joined), len(clip))
        ramp = torch.linspace(0, 1, size)
        overlap = joined[len(joined) - size :] * (1 - ramp) + clip[:size] * ramp
        joined = torch.cat([joined[: len(joined) - size], overlap, clip[size:]])
    return joined
