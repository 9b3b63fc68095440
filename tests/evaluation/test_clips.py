"""The plan of the clips to judge: fair to every label, as long as real ones, to be made again."""

from collections import Counter

import pytest
import torch

from tests.evaluation import labelled_config, make_words
from wavenet.errors import ConditionError
from wavenet.evaluation.clips import make_planned, plan_clips
from wavenet.generation.generate import generate_waveforms
from wavenet.sampling import SamplingConfig

REAL = make_words(range(6))


def combination(item):
    return tuple(item.conditions.values())


def test_every_round_has_every_combination_once():
    items = plan_clips(REAL, 12, seed=5)
    assert set(Counter(map(combination, items)).values()) == {3}
    rounds = [list(map(combination, items[n : n + 4])) for n in (0, 4, 8)]
    assert all(len(set(one)) == 4 for one in rounds)
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_lengths_are_those_of_real_recordings_with_the_same_labels():
    lengths = {}
    for one in REAL:
        lengths.setdefault(tuple(one.labels.values()), set()).add(one.waveform.numel())
    items = plan_clips(REAL, 80, seed=0)
    assert all(item.samples in lengths[combination(item)] for item in items)
    drawn = {item.samples for item in items if combination(item) == ("rise", "low")}
    assert len(drawn) > 3  # the control: not one length for all


def test_more_clips_begin_with_the_same_ones_and_another_seed_with_others():
    items = plan_clips(REAL, 20, seed=3)
    assert items[:7] == plan_clips(REAL, 7, seed=3)
    assert [item.seed for item in items] == list(range(3, 23))
    other = plan_clips(REAL, 20, seed=4)
    assert [i.samples for i in items] != [i.samples for i in other]


def test_a_clip_is_the_one_that_its_labels_and_seed_make(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    items = plan_clips(REAL, 6, seed=1)
    sampling = SamplingConfig(temperature=0.7, top_p=0.9)
    made = make_planned(loaded, items, sampling, "cpu")
    for item, clip in zip(items, made.clips, strict=True):
        (alone,) = generate_waveforms(loaded, [item], sampling, "cpu")
        assert torch.equal(clip.waveform, alone)
        assert clip.labels == item.conditions
    assert made.clips[2].name.endswith("_seed3")


def test_a_model_that_cannot_be_guided_is_refused(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    with pytest.raises(ConditionError, match="not trained to leave any out"):
        make_planned(loaded, plan_clips(REAL, 2, 0), SamplingConfig(guidance=2.0))
