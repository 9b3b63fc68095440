"""Dry and wet recordings as training data: their parts, and windows of them.

Input: aligned recordings with the setting of the knobs. Output: windows for training, and spans for
validation and test. A window has the samples of the dry recording before it that the network needs
for its first output. Before the beginning of a recording, or of a clip, these are zeros, and so the
state is that of silence; or the past is unknown, and the first samples are only read. Independent
clips lie one after the other in a file; no window crosses their borders. Called by `train_effect`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from wavenet.config import StrictConfig
from wavenet.errors import DataError

MIN_PART_SAMPLES = 64  # of a clip that is used


class PairPart(StrEnum):
    """What a recording, or a part of it, is used for."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


class SplitSettings(StrictConfig):
    """How recordings are split.

    Attributes:
        clip_samples: length of independent clips that lie one after the other in each recording;
            None if a recording is one piece.
        clip_past: what was before a clip or a recording: silence; or unknown, as in clips that were
            cut from a longer recording: then no output within the receptive field is used.
        validation_share: of each recording, before the test part; 0 if there are pairs for it.
        test_share: of each recording, its end; used neither for training nor for choices.
    """

    clip_samples: int | None = Field(default=None, ge=MIN_PART_SAMPLES)
    clip_past: Literal["silence", "unknown"] = "silence"
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    test_share: float = Field(default=0.0, ge=0, le=0.5)


@dataclass(frozen=True)
class Span:
    """A part of a pair.

    Attributes:
        clip_start: sample before which the past is silence.
        start, end: samples.
    """

    clip_start: int
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class EffectPair:
    """A dry and a wet recording without latency, of equal length.

    Attributes:
        name: for tables, usually that of the wet file.
        dry, wet: (T,) float32.
        setting: of the knobs, from 0 to 1.
        latency: samples that were removed.
        weight: how often windows of it are drawn, relative to other pairs of this length.
        part: if the whole pair is used for one purpose; None: it is split.
    """

    name: str
    dry: Tensor
    wet: Tensor
    setting: Mapping[str, float]
    latency: int = 0
    weight: float = 1.0
    part: PairPart | None = None

    def context(self, span: Span, receptive_field: int) -> Tensor:
        """Return the dry samples on which the outputs of a span depend.

        Args:
            span: of this pair.
            receptive_field: samples.
        Returns:
            (receptive_field - 1 + end - start,).
        """
        first = span.start - receptive_field + 1
        found = self.dry[max(first, span.clip_start) : span.end]
        return F.pad(found, (receptive_field - 1 + span.end - span.start - len(found), 0))

    def values(self) -> Tensor:
        """Return the setting as a tensor (knobs,)."""
        return torch.tensor(list(self.setting.values()), dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class SplitPair:
    """A pair and its parts.

    Attributes:
        training, validation, test: without common samples.
    """

    pair: EffectPair
    training: tuple[Span, ...]
    validation: tuple[Span, ...]
    test: tuple[Span, ...]

    def wet_of(self, spans: Sequence[Span]) -> Tensor:
        """Return the wet samples of spans, one after the other."""
        return torch.cat([self.pair.wet[span.start : span.end] for span in spans])


@dataclass(frozen=True, eq=False)
class EffectWindow:
    """A part of a pair for one step of the training.

    Attributes:
        dry: (receptive_field - 1 + N,).
        wet: (N,).
        values: (knobs,).
        pair: index of the pair.
    """

    dry: Tensor
    wet: Tensor
    values: Tensor
    pair: int


def split_pairs(
    pairs: Sequence[EffectPair], settings: SplitSettings, receptive_field: int
) -> list[SplitPair]:
    """Split recordings into parts for training, validation and test.

    If some pairs are for validation, the others have no validation part; the same for the test.

    Args:
        pairs: with any lengths.
        settings: of the split.
        receptive_field: of the network, samples.
    Raises:
        DataError: no part for training or validation is left, or a part of a wet recording is
            silent.
    """
    given = {pair.part for pair in pairs}
    shares = {
        PairPart.VALIDATION: 0.0 if PairPart.VALIDATION in given else settings.validation_share,
        PairPart.TEST: 0.0 if PairPart.TEST in given else settings.test_share,
    }
    skipped = receptive_field - 1 if settings.clip_past == "unknown" else 0
    split = [_split_pair(pair, settings.clip_samples, skipped, shares) for pair in pairs]
    if not any(found.training for found in split):
        raise DataError(
            f"the recordings or their clips are too short: no part is left for the training of a "
            f"network that reads {receptive_field:,} samples"
        )
    if not any(found.validation for found in split):
        raise DataError(
            "no part is left for the validation, by which the best weights are chosen; set "
            "--validation-share above 0, or use longer recordings"
        )
    for found in split:
        for spans in (found.training, found.validation, found.test):
            if spans and not found.wet_of(spans).any():
                raise DataError(
                    f"{found.pair.name} is silent in its part for training, validation or test; "
                    "a model learns nothing there"
                )
    return split


def _split_pair(
    pair: EffectPair, clip_samples: int | None, skipped: int, shares: Mapping[PairPart, float]
) -> SplitPair:
    """Return a pair with its spans; `skipped` samples of each clip are only read."""
    length = min(len(pair.dry), len(pair.wet))
    if pair.part is None:
        fractions = (1.0 - sum(shares.values()), *shares.values())
    else:
        fractions = (
            float(pair.part is PairPart.TRAINING),
            float(pair.part is PairPart.VALIDATION),
            float(pair.part is PairPart.TEST),
        )
    size = clip_samples or 1
    units = -(-length // size)  # the last clip may be incomplete
    ends = [0, round(units * fractions[0]), round(units * (fractions[0] + fractions[1])), units]
    parts = []
    for first, last in pairwise(ends):
        if clip_samples is None:
            spans = [Span(0, max(first, skipped), last)]
        else:
            starts = (n * size for n in range(first, last))
            spans = [Span(s, s + skipped, min(s + size, length)) for s in starts]
        parts.append(tuple(s for s in spans if s.end - s.start >= MIN_PART_SAMPLES))
    return SplitPair(pair, *parts)


class WindowSource:
    """Draws windows of the training parts.

    Args:
        pairs: of `split_pairs`.
        receptive_field: of the network, samples.
        window_samples: outputs of a window; of a shorter span the whole is one window.
    """

    def __init__(self, pairs: Sequence[SplitPair], receptive_field: int, window_samples: int):
        self._pairs = pairs
        self._field, self._window = receptive_field, window_samples
        self._spans = [(n, span) for n, split in enumerate(pairs) for span in split.training]
        sizes = [(span.end - span.start) * pairs[n].pair.weight for n, span in self._spans]
        self._ends = torch.tensor(sizes, dtype=torch.float64).cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> list[EffectWindow]:
        """Return windows, each from another part of all training data.

        The spans, one after the other, are divided into `count` equal parts; each has one window.
        So every pair has its share in every step.
        """
        uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
        places = (torch.arange(count) + uniform[0]) / count * self._ends[-1]
        indices = torch.searchsorted(self._ends, places, right=True).clamp(max=len(self._ends) - 1)
        windows = []
        for index, fraction in zip(indices.tolist(), uniform[1].tolist(), strict=True):
            number, span = self._spans[index]
            surplus = max(0, span.end - span.start - self._window)
            start = span.start + int(fraction * (surplus + 1))
            part = Span(span.clip_start, start, min(start + self._window, span.end))
            windows.append(self._read(number, part))
        return windows

    def _read(self, number: int, span: Span) -> EffectWindow:
        pair = self._pairs[number].pair
        wet = pair.wet[span.start : span.end]
        return EffectWindow(pair.context(span, self._field), wet, pair.values(), number)


def digest_pairs(pairs: Sequence[SplitPair]) -> str:
    """Return a short text that changes with the data, so that a training continues on the same."""
    checksum = 0
    for split in pairs:
        pair = split.pair
        facts = (dict(pair.setting), pair.weight, split.training, split.validation, split.test)
        checksum = zlib.crc32(repr(facts).encode(), checksum)
        for waveform in (pair.dry, pair.wet):
            checksum = zlib.crc32(waveform.numpy().tobytes(), checksum)
    return f"{checksum:08x}"
