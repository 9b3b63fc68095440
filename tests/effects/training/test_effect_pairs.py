"""Parts of recordings, and windows that stay inside their clips."""

import pytest
import torch

from tests.effects.training.training_data import make_pair
from wavenet.effects.training.effect_pairs import (
    EffectPair,
    PairPart,
    Span,
    SplitSettings,
    WindowSource,
    digest_pairs,
    split_pairs,
)
from wavenet.errors import DataError


def counting(length=1000, **options):
    """Return a pair whose samples are their own numbers, from 1."""
    samples = torch.arange(1.0, length + 1)
    return EffectPair("count", samples, -samples, {"gain": 0.5}, **options)


def draw(source, steps=50, count=4):
    return [
        window
        for step in range(steps)
        for window in source.draw(count, torch.Generator().manual_seed(step))
    ]


def test_the_last_parts_are_for_validation_and_test():
    (split,) = split_pairs([counting()], SplitSettings(validation_share=0.2, test_share=0.1), 10)
    assert split.training == (Span(0, 0, 700),)
    assert split.validation == (Span(0, 700, 900),)
    assert split.test == (Span(0, 900, 1000),)
    assert split.wet_of(split.test).tolist() == [-n for n in range(901, 1001)]


def test_clips_are_split_as_wholes_and_the_last_may_be_incomplete():
    settings = SplitSettings(clip_samples=100, validation_share=0.2, test_share=0.1)
    (split,) = split_pairs([counting(1080)], settings, 10)
    starts = [[span.start for span in part] for part in (split.training, split.validation)]
    assert starts == [[0, 100, 200, 300, 400, 500, 600, 700], [800, 900]]
    assert split.test == (Span(1000, 1000, 1080),)


def test_the_context_is_the_recording_and_before_the_clip_silence():
    pair = counting()
    assert pair.context(Span(0, 50, 52), 4).tolist() == [48, 49, 50, 51, 52]
    assert pair.context(Span(0, 1, 3), 4).tolist() == [0, 0, 1, 2, 3]
    assert pair.context(Span(100, 101, 103), 4).tolist() == [0, 0, 101, 102, 103]


def test_the_validation_part_continues_the_training_part():
    (split,) = split_pairs([counting()], SplitSettings(), 4)
    assert split.pair.context(split.validation[0], 4)[:3].tolist() == [898, 899, 900]


def test_no_window_crosses_a_clip_and_each_part_is_drawn():
    settings = SplitSettings(clip_samples=100, validation_share=0.2)
    pairs = split_pairs([counting(), counting()], settings, 10)
    windows = draw(WindowSource(pairs, 10, 64))
    for window in windows:
        last = int(window.dry[-1])
        clip = (last - 1) // 100
        used = window.dry[window.dry > 0]
        assert (used - 1).div(100, rounding_mode="floor").unique().tolist() == [clip]
        assert window.dry.shape == (9 + 64,)
        assert torch.equal(window.wet, -window.dry[9:])
        assert last <= 800
    assert {int(window.dry[-1] - 1) // 100 for window in windows} == set(range(8))
    # begins anywhere in a clip, also at its start, where the past is silence
    assert {int(window.wet[0]) % 100 for window in windows} >= {-1 % 100, -37 % 100}
    assert any((window.dry[:9] == 0).all() for window in windows)


def test_every_step_has_windows_of_all_pairs():
    pairs = split_pairs([counting(), counting(), counting()], SplitSettings(), 10)
    source = WindowSource(pairs, 10, 64)
    for step in range(20):
        windows = source.draw(6, torch.Generator().manual_seed(step))
        assert [window.pair for window in windows] == [0, 0, 1, 1, 2, 2]


def test_a_heavier_pair_is_drawn_more_often():
    pairs = split_pairs([counting(), counting(weight=3.0)], SplitSettings(), 10)
    windows = WindowSource(pairs, 10, 64).draw(8, torch.Generator().manual_seed(0))
    assert [window.pair for window in windows] == [0, 0, 1, 1, 1, 1, 1, 1]


def test_an_unknown_past_is_only_read():
    settings = SplitSettings(clip_samples=100, clip_past="unknown")
    (split,) = split_pairs([counting()], settings, 21)
    assert split.training[1] == Span(100, 120, 200)
    for window in draw(WindowSource([split], 21, 1000), 10):
        assert window.wet.shape == (80,)
        assert window.dry.min() > 0


def test_a_window_is_not_longer_than_its_span():
    (split,) = split_pairs([counting(200)], SplitSettings(validation_share=0.5), 10)
    (window,) = WindowSource([split], 10, 4096).draw(1, torch.Generator())
    assert window.wet.tolist() == [-n for n in range(1, 101)]


def test_pairs_for_one_purpose_are_used_whole():
    pairs = [
        counting(part=PairPart.TRAINING),
        counting(part=PairPart.VALIDATION),
        counting(),
    ]
    first, second, third = split_pairs(pairs, SplitSettings(), 10)
    assert (first.training, first.validation) == ((Span(0, 0, 1000),), ())
    assert (second.training, second.validation) == ((), (Span(0, 0, 1000),))
    assert third.training == (Span(0, 0, 1000),)


def test_recordings_that_cannot_be_split_are_one_sentence():
    unknown = SplitSettings(clip_samples=100, clip_past="unknown")
    with pytest.raises(DataError, match=r"too short.*reads 4,093 samples"):
        split_pairs([counting()], unknown, 4093)
    with pytest.raises(DataError, match="validation"):
        split_pairs([counting()], SplitSettings(validation_share=0), 10)
    silent = EffectPair("quiet", torch.ones(1000), torch.zeros(1000), {})
    with pytest.raises(DataError, match="quiet is silent"):
        split_pairs([silent], SplitSettings(), 10)


def test_the_digest_changes_with_the_data():
    def digest(pair, **options):
        return digest_pairs(split_pairs([pair], SplitSettings(**options), 10))

    first = digest(make_pair(0.5))
    assert digest(make_pair(0.5)) == first
    others = (
        digest(make_pair(0.6)),
        digest(make_pair(0.5, seed=1)),
        digest(make_pair(0.5), validation_share=0.2),
        digest(make_pair(0.5, weight=2.0)),
    )
    assert first not in others
