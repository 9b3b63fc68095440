"""The report of a pair: a good one passes, and each fault is named by its own check."""

import json
from pathlib import Path

import numpy as np
import pytest

from audio_utils.decoding import decode_file
from tests.effects.pair_sounds import RATE, delayed, overdrive, plucked, with_clicks
from wavenet.effects.pair_measurement import measure_pair
from wavenet.effects.pair_plots import PLOTS, plot_check
from wavenet.effects.pair_report import CHECKS, Verdict, judge_pair

KLON = Path(__file__).parents[3] / "shared" / "data" / "klon"


def good_dry():
    """Return silence with clicks, a part, another part, and the first part again."""
    part = plucked(8, seed=1)
    return np.concatenate([with_clicks(), part, plucked(18, seed=2), part])


def wet_of(dry, lag=23):
    noise = 3e-5 * np.random.default_rng(5).standard_normal(len(dry) + lag)
    return delayed(overdrive(dry), lag) + noise


def verdicts(dry, wet):
    """Return the checks that do not pass, by name."""
    report = judge_pair(measure_pair(dry, wet, RATE))
    return {c.name: c.verdict for c in report.checks if c.verdict is not Verdict.PASS}


def test_a_good_pair_passes_every_check():
    dry = good_dry()
    report = judge_pair(measure_pair(dry, wet_of(dry), RATE))
    assert {c.name: c.sentence for c in report.checks if c.verdict is not Verdict.PASS} == {}
    assert report.verdict is Verdict.PASS
    assert report.latency == 23
    by_name = {check.name: check for check in report.checks}
    assert by_name["latency"].details["by_clicks"] == 23
    assert by_name["latency"].details["by_correlation"] == pytest.approx(23, abs=0.15)
    json.dumps(report.as_json(), allow_nan=False)


FAULTS = {
    "inverted": (lambda dry, wet: (dry, -wet), "polarity", Verdict.WARN),
    "swapped": (lambda dry, wet: (wet, dry), "order", Verdict.FAIL),
    "unrelated": (lambda dry, wet: (dry, plucked(30, seed=9)), "latency", Verdict.FAIL),
    "clipped": (lambda dry, wet: (dry, np.clip(8 * wet, -1, 1)), "clipping", Verdict.FAIL),
    "flat tops": (lambda dry, wet: (dry, np.clip(wet, -0.2, 0.2)), "clipping", Verdict.WARN),
    "offset": (lambda dry, wet: (dry, wet + 0.1), "DC", Verdict.FAIL),
    "quiet": (lambda dry, wet: (dry, 0.01 * wet), "level", Verdict.WARN),
    "short": (lambda dry, wet: (dry[:7000], wet[:7000]), "format", Verdict.FAIL),
    "other length": (lambda dry, wet: (dry, wet[: -3 * RATE]), "format", Verdict.WARN),
    "not finite": (lambda dry, wet: (dry, np.append(wet, np.nan)), "finite", Verdict.FAIL),
    "silent": (lambda dry, wet: (dry, 0 * wet), "silence", Verdict.FAIL),
    "lost": (
        lambda dry, wet: (dry, np.delete(wet, slice(130_000, 130_100))),
        "dropped samples",
        Verdict.FAIL,
    ),
    "interrupted": (
        lambda dry, wet: (dry, np.where(np.arange(len(wet)) // 200 == 1000, 0, wet)),
        "dropped samples",
        Verdict.FAIL,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_by_its_check(name):
    damage, check, verdict = FAULTS[name]
    dry = good_dry()
    found = verdicts(*damage(dry, wet_of(dry)))
    assert found.get(check) is verdict, found


def test_swapped_files_without_delay_are_doubtful():
    dry = good_dry()
    assert verdicts(overdrive(dry, 8), dry)["order"] is Verdict.WARN


def test_a_changed_knob_fails_the_replicates():
    dry = good_dry()
    wet = wet_of(dry)
    wet[-8 * RATE :] *= 1.2
    assert verdicts(dry, wet)["replicates"] is Verdict.FAIL


def test_noise_fails_the_noise_floor():
    dry = good_dry()
    wet = wet_of(dry) + 0.02 * np.random.default_rng(3).standard_normal(len(dry) + 23)
    assert verdicts(dry, wet)["noise floor"] is Verdict.FAIL


def test_two_clocks_are_a_drift():
    dry = good_dry()
    stretched = np.interp(np.arange(len(dry)) * (1 - 20e-6), np.arange(len(dry)), wet_of(dry)[23:])
    assert verdicts(dry, stretched)["clock drift"] is Verdict.FAIL


def test_a_resampled_file_is_named():
    dry = good_dry()
    report = judge_pair(measure_pair(dry, wet_of(dry), RATE), wet_rate=48_000)
    assert report.checks[0].verdict is Verdict.WARN
    assert "48000" in report.checks[0].sentence


def test_every_check_has_a_plot():
    dry = good_dry()
    measures = measure_pair(dry, wet_of(dry), RATE)
    report = judge_pair(measures)
    assert list(PLOTS) == ["format", *CHECKS] == [check.name for check in report.checks]
    for check in report.checks:
        figure = plot_check(measures, check)
        assert check.verdict.value in figure.axes[0].get_title(loc="left")
        assert figure.axes[0].has_data()


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0, 100])
def test_the_overdrive_recordings_are_inverted_and_not_late(gain):
    if not KLON.is_dir():
        pytest.skip("the recordings of ../shared/data/klon are missing")
    dry, wet = (decode_file(KLON / f"{name}.flac") for name in ("input", f"gain{gain}"))
    report = judge_pair(measure_pair(dry.samples, wet.samples, dry.sample_rate))
    found = {check.name: check for check in report.checks}
    assert report.latency == 0
    assert abs(found["sub-sample"].figure) < 0.02
    assert found["polarity"].figure == -1
    assert found["level"].figure == pytest.approx({0: 2.43, 100: 6.01}[gain], abs=0.01)
    assert report.verdict is Verdict.WARN
