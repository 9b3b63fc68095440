"""Events: places of planted clicks, no event without them, causality, merging."""

import pytest
import torch

from tests.conftest import RATE
from tests.detection.conftest import even_noise
from wavenet.detection.events import find_events, select_events
from wavenet.detection.window_means import MERGE_SECONDS
from wavenet.errors import CheckpointError, ConfigError

THRESHOLDS = {0.0005: 4.0, 0.008: 1.0, 0.128: 0.3}


def spans(events):
    """Return first and last sample, excluded, of events."""
    return [(round(e.start * RATE), round(e.end * RATE)) for e in events]


@pytest.mark.parametrize("place", [0, 1, 5_000, 15_999])
def test_a_click_is_found_at_its_sample(calibrated, place):
    """At 6 false alarms an hour, the 2 s without clicks have one with a chance of 0.3 %."""
    clean = even_noise(2, seed=30)
    assert find_events(calibrated, clean, 6) == [], "control: no event without a click"
    waveform = clean.clone()
    waveform[place] += 0.5 if waveform[place] < 0 else -0.5
    (event,) = find_events(calibrated, waveform, 6)
    assert spans([event]) == [(place, place + 1)]
    assert event.ratio > 1 and event.peak_surprise > 1


def test_several_clicks_are_found_in_their_order(calibrated):
    waveform = even_noise(2, seed=31)
    places = [800, 4_000, 9_000, 13_333]
    for place in places:
        waveform[place] = -0.6 if waveform[place] > 0 else 0.6
    found = find_events(calibrated, waveform, 6)
    assert [first for first, _ in spans(found)] == places


def test_a_weak_change_of_the_noise_needs_a_long_window(calibrated):
    """Small amplitudes have rare codes, so a block at half the level has no impossible sample."""
    waveform = even_noise(2, seed=32)
    waveform[8_000:10_000] *= 0.5
    (event,) = find_events(calibrated, waveform, 6)
    assert event.window >= 0.008
    assert event.start > 0.98 and event.end < 1.27
    assert event.end - event.start > 0.15


def test_the_shortest_window_finds_an_isolated_sample():
    excess = torch.zeros(2 * RATE)
    excess[8_000] = 20.0
    (event,) = select_events(excess, RATE, THRESHOLDS)
    assert (event.window, spans([event])) == (0.0005, [(8_000, 8_001)])
    assert (event.peak_surprise, event.ratio) == (5.0, 1.25)
    # below the threshold of the short window, and above no other
    excess[8_000] = 15.9
    assert select_events(excess, RATE, THRESHOLDS) == []


def test_samples_of_an_event_do_not_count_again_for_longer_windows():
    """Behind the click the excess is 0.35 for 0.1 s, too short to exceed 0.3 in 0.128 s."""
    excess = torch.zeros(2 * RATE)
    excess[8_000] = 400.0
    excess[8_001:8_800] = 0.35
    (event,) = select_events(excess, RATE, THRESHOLDS)
    assert (event.window, spans([event])) == (0.0005, [(8_000, 8_001)])
    (longer,) = select_events(excess, RATE, {0.128: THRESHOLDS[0.128]})
    assert spans([longer]) == [(8_000, 8_800)], "control: the long window alone includes it"
    excess[8_000] = 0.0
    assert select_events(excess, RATE, THRESHOLDS) == [], "control: without the click"


def test_a_long_event_begins_where_its_excess_begins():
    """The first window above the threshold ends later than that."""
    excess = torch.zeros(2 * RATE)
    excess[8_000:10_000] = 0.5
    (event,) = select_events(excess, RATE, THRESHOLDS)
    assert (event.window, spans([event])) == (0.128, [(8_000, 10_000)])
    assert event.peak_surprise == pytest.approx(0.5)


def test_close_events_are_one():
    excess = torch.zeros(2 * RATE)
    near = round(0.8 * MERGE_SECONDS * RATE)
    excess[[4_000, 4_000 + near, 12_000]] = torch.tensor([20.0, 40.0, 30.0])
    first, second = select_events(excess, RATE, {0.0005: 4.0})
    assert spans([first, second]) == [(4_000, 4_001 + near), (12_000, 12_001)]
    assert (first.peak_surprise, first.ratio) == (10.0, 2.5)


def test_later_samples_do_not_change_earlier_events(calibrated):
    """The longest window and the distance of a merge behind an event may still change it."""
    waveform = even_noise(3, seed=34)
    waveform[[5_000, 11_000]] = torch.tensor([0.7, -0.7])
    before = find_events(calibrated, waveform, 60)
    changed = waveform.clone()
    changed[16_000:] = torch.linspace(-0.9, 0.9, 8_000)
    after = find_events(calibrated, changed, 60)
    decided = 16_000 / RATE - 0.128 - MERGE_SECONDS
    assert [e for e in before if e.end < decided] == [e for e in after if e.end < decided]
    assert len([e for e in before if e.end < decided]) >= 2
    assert before != after, "control: the later samples matter"


@pytest.mark.parametrize("samples", [1, 2, 37])
def test_a_very_short_recording_has_no_event(calibrated, samples):
    assert find_events(calibrated, even_noise(0.1, seed=35)[:samples], 6) == []


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e-9, 1801.0, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(calibrated, rate):
    with pytest.raises(ConfigError, match=r"0\.001 to 1800"):
        find_events(calibrated, even_noise(0.1, seed=36), rate)


def test_a_checkpoint_without_calibration_names_the_command(make_checkpoint):
    with pytest.raises(CheckpointError, match="--calibrate FOLDER"):
        find_events(make_checkpoint(), even_noise(0.1, seed=37))
