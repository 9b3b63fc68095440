"""Judge a dry and a wet recording before an effect is trained on them.

Input: a `PairMeasures`. Output: a `PairReport` with one check per possible fault: a verdict, a
figure, and one sentence that says what it means and what to do. The limits are the constants of
this file. Called by the command `wavenet effects check`; `pair_plots` draws a plot for each check.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from wavenet.effects.pair_measurement import PairMeasures

MIN_SECONDS, GOOD_SECONDS = 1.0, 30.0
MAX_LENGTH_DIFFERENCE = 1.0  # seconds, besides the latency
MAX_SILENT = 0.5  # share of the time
MAX_METHOD_DIFFERENCE = 8  # samples between clicks and correlation
MAX_CLICK_SPREAD = 2  # samples
MAX_FRACTION = 0.15  # of a sample
MIN_LATENCY = -2  # samples
MAX_CREST_GAIN_DB = 3.0
MIN_RMS_DB = -45.0
MAX_GAIN_DB = 30.0  # of the wet recording re the dry one, in either direction
MAX_FULL_SCALE = 1e-4  # share of the samples
MAX_DC, BAD_DC = 0.003, 0.05
GOOD_REPEAT_ESR, BAD_REPEAT_ESR = 1e-3, 1e-2
GOOD_SNR_DB, BAD_SNR_DB = 40.0, 20.0
MAX_DRIFT, BAD_DRIFT = 0.5, 3.0  # samples over the recording
MAX_MISSES = 0.1  # share of the windows


class Verdict(StrEnum):
    """Result of a check."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class PairCheck:
    """One check of a pair.

    Attributes:
        name: what was checked.
        verdict: the result.
        figure: the measured value; None if there is none.
        unit: of the figure.
        sentence: what the figure means, and what to do.
        details: further values, for JSON.
    """

    name: str
    verdict: Verdict
    figure: float | None
    unit: str
    sentence: str
    details: dict[str, Any]


@dataclass(frozen=True)
class PairReport:
    """All checks of a pair.

    Attributes:
        rate: Hz.
        seconds: length of the dry and of the wet recording.
        latency: samples by which the wet recording is late.
        checks: in the order in which they should be read.
    """

    rate: int
    seconds: tuple[float, float]
    latency: int
    checks: tuple[PairCheck, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all checks."""
        found = {check.verdict for check in self.checks}
        return next(v for v in (Verdict.FAIL, Verdict.WARN, Verdict.PASS) if v in found)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {"verdict": self.verdict.value, **asdict(self)}


def judge_pair(measures: PairMeasures, wet_rate: int | None = None) -> PairReport:
    """Return the report of a pair.

    Args:
        measures: of `measure_pair`.
        wet_rate: Hz, of the wet file before it was resampled; None if it was not.
    """
    checks = [_check_format(measures, wet_rate or measures.rate)]
    checks += [check(measures) for check in CHECKS.values()]
    seconds = (len(measures.dry) / measures.rate, len(measures.wet) / measures.rate)
    return PairReport(measures.rate, seconds, measures.latency, tuple(checks))


def _check_format(m: PairMeasures, wet_rate: int) -> PairCheck:
    seconds = (len(m.dry) / m.rate, len(m.wet) / m.rate)
    difference = (len(m.wet) - m.latency - len(m.dry)) / m.rate
    details = {"dry_seconds": seconds[0], "wet_seconds": seconds[1], "wet_rate": wet_rate}
    verdict, words = Verdict.PASS, "the rates are equal and the lengths fit"
    if min(seconds) < MIN_SECONDS:
        verdict = Verdict.FAIL
        words = f"a recording is shorter than {MIN_SECONDS:g} s; record at least a minute"
    elif wet_rate != m.rate:
        verdict = Verdict.WARN
        words = (
            f"the wet recording has {wet_rate} Hz, the dry one {m.rate} Hz, so it was resampled; "
            "record both at one rate"
        )
    elif abs(difference) > MAX_LENGTH_DIFFERENCE:
        verdict = Verdict.WARN
        longer = "longer" if difference > 0 else "shorter"
        words = (
            f"the wet recording is {abs(difference):.1f} s {longer}, and only the common part is "
            "used; check that it is the right file"
        )
    elif min(seconds) < GOOD_SECONDS:
        verdict = Verdict.WARN
        words = f"less than {GOOD_SECONDS:g} s are little for a good model; record some minutes"
    return PairCheck("format", verdict, min(seconds), "s", words, details)


def _check_finite(m: PairMeasures) -> PairCheck:
    count = sum(m.invalid)
    details = {"dry": m.invalid[0], "wet": m.invalid[1]}
    if count:
        words = "samples are NaN or infinite and were taken as 0; export the recordings again"
        return PairCheck("finite", Verdict.FAIL, count, "samples", words, details)
    return PairCheck("finite", Verdict.PASS, 0, "samples", "all samples are finite", details)


def _check_silence(m: PairMeasures) -> PairCheck:
    dry, wet = m.dry_levels.silent, m.wet_levels.silent
    details = {"dry": dry, "wet": wet}
    verdict, words = Verdict.PASS, "both recordings have sound most of the time"
    for name, share in (("dry", dry), ("wet", wet)):
        if share == 1:
            verdict = Verdict.FAIL
            words = f"the {name} recording is silent; check the cables and the inputs"
            break
        if share > MAX_SILENT:
            verdict = Verdict.WARN
            words = f"the {name} recording is silent most of the time; a model learns nothing there"
    return PairCheck("silence", verdict, 100 * max(dry, wet), "%", words, details)


def _check_latency(m: PairMeasures) -> PairCheck:
    lag, onset = m.correlation.lag, m.clicks.onset
    spread = int(np.ptp(m.clicks.lags)) if len(m.clicks.lags) else 0
    details = {
        "by_correlation": lag,
        "peak_ratio": m.correlation.peak_ratio,
        "by_clicks": onset,
        "clicks": len(m.clicks.lags),
        "click_spread": spread,
    }
    by_clicks = "no click to compare with" if onset is None else f"{onset} by clicks"
    verdict = Verdict.PASS
    shown = round(lag, 2) + 0.0  # not -0.0
    words = f"the latency is {shown:.2f} samples by correlation, {by_clicks}; it is removed"
    if not m.correlation.is_found:
        verdict = Verdict.FAIL
        words = (
            "the wet recording does not follow the dry one, so no latency was found; check that "
            "both files belong together"
        )
    elif onset is not None and spread > MAX_CLICK_SPREAD:
        verdict = Verdict.WARN
        words = f"the clicks differ by {spread} samples; check for drops, or for a moving effect"
    elif onset is not None and abs(onset - lag) > MAX_METHOD_DIFFERENCE:
        verdict = Verdict.WARN
        words = (
            f"clicks say {onset} samples, correlation {lag:.1f}; look at the plot, and set the "
            "latency yourself if the clicks are wrong"
        )
    return PairCheck("latency", verdict, m.latency, "samples", words, details)


def _check_sub_sample(m: PairMeasures) -> PairCheck:
    if not m.correlation.is_found:
        return _not_checked("sub-sample", "no latency was found")
    rest = m.correlation.lag - round(m.correlation.lag)
    details = {"lag": m.correlation.lag}
    if abs(rest) <= MAX_FRACTION:
        words = "the latency is a whole number of samples"
        return PairCheck("sub-sample", Verdict.PASS, rest, "samples", words, details)
    words = (
        "the latency has a fraction of a sample, as converters and filters cause; the model must "
        "learn this delay as well, which costs it a little"
    )
    return PairCheck("sub-sample", Verdict.WARN, rest, "samples", words, details)


def _check_order(m: PairMeasures) -> PairCheck:
    crest = m.wet_levels.crest_db - m.dry_levels.crest_db
    details = {"dry_crest_db": m.dry_levels.crest_db, "wet_crest_db": m.wet_levels.crest_db}
    if not m.correlation.is_found:
        return _not_checked("order", "no latency was found")
    if m.latency < MIN_LATENCY:
        words = (
            f"the wet recording is {-m.latency} samples early; the files are probably swapped, or "
            "the beginning of the wet one was cut"
        )
        return PairCheck("order", Verdict.FAIL, crest, "dB", words, details)
    if crest > MAX_CREST_GAIN_DB:
        words = (
            "the peaks of the wet recording stand out more than those of the dry one, although "
            "amplifiers compress; check that the files are not swapped"
        )
        return PairCheck("order", Verdict.WARN, crest, "dB", words, details)
    words = "nothing suggests that the files are swapped (crest factor of the wet re the dry one)"
    return PairCheck("order", Verdict.PASS, crest, "dB", words, details)


def _check_polarity(m: PairMeasures) -> PairCheck:
    if not m.correlation.is_found:
        return _not_checked("polarity", "no latency was found")
    sign = m.correlation.sign
    if sign > 0:
        words = "both recordings have the same polarity"
        return PairCheck("polarity", Verdict.PASS, 1, "sign", words, {})
    words = (
        "the wet recording is inverted, and so will be the model: wet and dry cancel when mixed; "
        "invert the wet file if you want to mix them"
    )
    return PairCheck("polarity", Verdict.WARN, -1, "sign", words, {})


def _check_level(m: PairMeasures) -> PairCheck:
    dry, wet = m.dry_levels, m.wet_levels
    gain = wet.rms_db - dry.rms_db
    details = {
        "dry_rms_db": dry.rms_db,
        "wet_rms_db": wet.rms_db,
        "dry_peak_db": dry.peak_db,
        "wet_peak_db": wet.peak_db,
    }
    verdict, words = Verdict.PASS, "both levels are usual (RMS of the wet re the dry recording)"
    for name, levels in (("dry", dry), ("wet", wet)):
        if levels.rms_db < MIN_RMS_DB:
            verdict = Verdict.WARN
            words = (
                f"the {name} recording is quiet ({levels.rms_db:.0f} dB RMS), so noise and "
                "rounding count more; record it at a higher level"
            )
    if verdict is Verdict.PASS and abs(gain) > MAX_GAIN_DB:
        verdict = Verdict.WARN
        words = "the levels are far apart; check the gain of the interface"
    return PairCheck("level", verdict, gain, "dB", words, details)


def _check_clipping(m: PairMeasures) -> PairCheck:
    dry, wet = m.dry_levels, m.wet_levels
    share = max(dry.full_scale, wet.full_scale)
    details = {
        "dry_full_scale": dry.full_scale,
        "wet_full_scale": wet.full_scale,
        "dry_flat_tops": dry.flat_tops,
        "wet_flat_tops": wet.flat_tops,
    }
    name = "dry" if dry.full_scale >= wet.full_scale else "wet"
    verdict, words = Verdict.PASS, "no runs at full scale and no flat tops"
    if share > 0:
        verdict = Verdict.FAIL if share > MAX_FULL_SCALE else Verdict.WARN
        words = (
            f"the {name} recording has runs at full scale, so a model would learn the clipping of "
            "the recorder; record again at a lower level"
        )
    elif dry.flat_tops:
        verdict = Verdict.WARN
        words = (
            f"the dry recording has {dry.flat_tops:,} flat tops below full scale: something "
            "clipped before it was recorded; record again at a lower level"
        )
    elif wet.flat_tops:
        verdict = Verdict.WARN
        words = (
            f"the wet recording has {wet.flat_tops:,} flat tops below full scale: right if the "
            "effect clips hard, otherwise an input after it was overloaded"
        )
    return PairCheck("clipping", verdict, 100 * share, "%", words, details)


def _check_replicates(m: PairMeasures) -> PairCheck:
    if not m.repeats:
        words = "no part of the dry recording occurs twice; play one part twice to measure this"
        return _not_checked("replicates", words)
    worst = max(m.repeats, key=lambda error: error.esr)
    details = {"parts": [{**asdict(error.part), "esr": error.esr} for error in m.repeats]}
    verdict, words = Verdict.PASS, "the same sound gives the same result"
    if worst.esr > GOOD_REPEAT_ESR:
        verdict = Verdict.FAIL if worst.esr > BAD_REPEAT_ESR else Verdict.WARN
        words = (
            "the same sound gives another result the second time, and no model can be better than "
            "that; look for noise, drops, a knob that moved or an effect that moves (chorus, echo)"
        )
    return PairCheck("replicates", verdict, worst.esr, "ESR", words, details)


def _check_dc(m: PairMeasures) -> PairCheck:
    dry, wet = m.dry_levels.dc, m.wet_levels.dc
    value = dry if abs(dry) > abs(wet) else wet
    verdict, words = Verdict.PASS, "neither recording has an offset"
    if abs(value) > MAX_DC:
        verdict = Verdict.FAIL if abs(value) > BAD_DC else Verdict.WARN
        name = "dry" if value == dry else "wet"
        words = f"the {name} recording has an offset; filter it with a high-pass at 10 Hz"
    return PairCheck("DC", verdict, value, "of full scale", words, {"dry": dry, "wet": wet})


def _check_noise(m: PairMeasures) -> PairCheck:
    if m.noise is None:
        words = "the dry recording has no quiet part of 0.2 s; add a second of silence to it"
        return _not_checked("noise floor", words)
    snr = m.wet_levels.rms_db - m.noise.rms_db
    details = {"noise_db": m.noise.rms_db, "seconds": m.noise.seconds, "signal_to_noise_db": snr}
    verdict, words = Verdict.PASS, f"the noise is {snr:.0f} dB below the sound"
    if snr < GOOD_SNR_DB:
        verdict = Verdict.FAIL if snr < BAD_SNR_DB else Verdict.WARN
        words = (
            f"the noise is only {snr:.0f} dB below the sound, and a model cannot predict it; "
            "lower the hum and hiss, or record at a higher level"
        )
    return PairCheck("noise floor", verdict, m.noise.rms_db, "dB", words, details)


def _check_drops(m: PairMeasures) -> PairCheck:
    jumps, gaps = m.curve.jumps, m.gaps
    windows = len(m.curve.lags) + m.curve.misses
    details = {
        "jumps": [{"seconds": place / m.rate, "samples": size} for place, size in jumps],
        "gaps": [{"seconds": a / m.rate, "samples": b - a} for a, b in gaps[:100]],
        "windows": windows,
        "windows_without_lag": m.curve.misses,
    }
    count = len(jumps) + len(gaps)
    if not windows:
        return _not_checked("dropped samples", "the recordings are too short")
    if jumps:
        words = (
            f"the latency jumps by {jumps[0][1]:.0f} samples near {jumps[0][0] / m.rate:.1f} s, so "
            "samples were lost there; record again with a larger buffer"
        )
    elif gaps:
        words = (
            f"the wet recording is interrupted by {len(gaps):,} gaps, the first at "
            f"{gaps[0][0] / m.rate:.1f} s; record again with a larger buffer"
        )
    elif m.curve.misses > MAX_MISSES * windows:
        words = f"{m.curve.misses} of {windows} windows do not fit together; look at the plot"
        return PairCheck("dropped samples", Verdict.WARN, count, "places", words, details)
    else:
        words = "the latency is the same everywhere, and there are no gaps"
        return PairCheck("dropped samples", Verdict.PASS, count, "places", words, details)
    return PairCheck("dropped samples", Verdict.FAIL, count, "places", words, details)


def _check_drift(m: PairMeasures) -> PairCheck:
    drift, ppm = m.curve.drift, 1e6 * m.curve.slope
    if len(m.curve.lags) < 6:
        return _not_checked("clock drift", "the recordings are too short")
    verdict, words = Verdict.PASS, "both recordings run at the same speed"
    if abs(drift) > MAX_DRIFT:
        verdict = Verdict.FAIL if abs(drift) > BAD_DRIFT else Verdict.WARN
        words = (
            f"the latency changes steadily ({ppm:+.1f} parts per million): two clocks were used; "
            "play and record with one interface, or lock the clocks"
        )
    return PairCheck("clock drift", verdict, drift, "samples", words, {"ppm": ppm})


def _not_checked(name: str, words: str) -> PairCheck:
    return PairCheck(name, Verdict.NOT_CHECKED, None, "", words, {})


CHECKS: dict[str, Callable[[PairMeasures], PairCheck]] = {
    "finite": _check_finite,
    "silence": _check_silence,
    "latency": _check_latency,
    "sub-sample": _check_sub_sample,
    "order": _check_order,
    "polarity": _check_polarity,
    "level": _check_level,
    "clipping": _check_clipping,
    "replicates": _check_replicates,
    "DC": _check_dc,
    "noise floor": _check_noise,
    "dropped samples": _check_drops,
    "clock drift": _check_drift,
}
"""The checks by name, in the order of the report; `format` comes before them."""
