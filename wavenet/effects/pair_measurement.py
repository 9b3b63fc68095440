"""All measures of a dry and a wet recording, as numbers and curves.

Input: two waveforms and their rate. Output: a `PairMeasures`, which `pair_report` judges and
`pair_plots` draws.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavenet.effects.pair_lag_curve import LagCurve, measure_lag_curve
from wavenet.effects.pair_latency import (
    ClickLags,
    CorrelationLag,
    Samples,
    align,
    find_clicks,
    find_lag,
    measure_click_lags,
)
from wavenet.effects.pair_levels import (
    NoiseFloor,
    RecordingLevels,
    find_gaps,
    measure_noise,
    measure_recording,
)
from wavenet.effects.pair_repeats import RepeatError, compare_repeats, find_repeats

EARLY_TOLERANCE = 0.1  # samples: a lag this little below a whole number counts as that number


@dataclass(frozen=True, eq=False)
class PairMeasures:
    """What was measured of a pair; invalid samples of the waveforms were replaced by 0.

    Attributes:
        dry, wet: (T,).
        rate: Hz.
        invalid: number of samples that are not finite: dry, wet.
        dry_levels, wet_levels: of the whole recordings.
        correlation: lag by correlation.
        clicks: lags by clicks.
        curve: lags over time.
        repeats: differences of wet copies.
        noise: of the wet recording; None if the dry one has no quiet part.
        gaps: (start, end) in the wet recording.
    """

    dry: Samples
    wet: Samples
    rate: int
    invalid: tuple[int, int]
    dry_levels: RecordingLevels
    wet_levels: RecordingLevels
    correlation: CorrelationLag
    clicks: ClickLags
    curve: LagCurve
    repeats: tuple[RepeatError, ...]
    noise: NoiseFloor | None
    gaps: tuple[tuple[int, int], ...]

    @property
    def latency(self) -> int:
        """Whole samples by which the wet recording should be moved to an earlier time.

        By clicks if there are some, otherwise by correlation, rounded down: a model cannot answer
        before its input.
        """
        onset = self.clicks.onset
        return whole_latency(self.correlation.lag) if onset is None else onset

    def aligned(self) -> tuple[Samples, Samples]:
        """Return both recordings without the latency, with equal lengths."""
        return align(self.dry, self.wet, self.latency)


def measure_pair(dry: NDArray[np.floating], wet: NDArray[np.floating], rate: int) -> PairMeasures:
    """Measure a dry and a wet recording.

    Args:
        dry, wet: (T,), T >= 1, nominally in [-1, 1], of any lengths.
        rate: Hz, of both.
    """
    (dry, bad_dry), (wet, bad_wet) = _finite(dry), _finite(wet)
    correlation = find_lag(dry, wet, rate)
    expected = whole_latency(correlation.lag) if correlation.is_found else 0
    clicks = measure_click_lags(wet, find_clicks(dry, rate), rate, expected)
    lag = expected if clicks.onset is None else clicks.onset
    first, second = align(dry, wet, lag)
    offset = max(0, lag)
    gaps = tuple((a + offset, b + offset) for a, b in find_gaps(first, second, rate))
    return PairMeasures(
        dry,
        wet,
        rate,
        (bad_dry, bad_wet),
        measure_recording(dry, rate),
        measure_recording(wet, rate),
        correlation,
        clicks,
        measure_lag_curve(dry, wet, rate, expected),
        tuple(compare_repeats(wet, find_repeats(dry, rate), lag, rate)),
        measure_noise(first, second, rate) if len(first) else None,
        gaps,
    )


def whole_latency(lag: float) -> int:
    """Return a lag in whole samples, rounded down beyond a tolerance."""
    return math.floor(lag + EARLY_TOLERANCE)


def _finite(samples: NDArray[np.floating]) -> tuple[Samples, int]:
    """Return samples as float64 with 0 for invalid ones, and their number."""
    wide = np.asarray(samples, np.float64)
    bad = ~np.isfinite(wide)
    return np.where(bad, 0.0, wide), int(np.count_nonzero(bad))
