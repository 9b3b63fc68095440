"""Planned clips: equal counts of labels, lengths of real recordings, reproducible one by one."""

from collections import Counter

import pytest
import torch

from tests.evaluation import labelled_config, make_words
from wavenet.errors import ConditionError
from wavenet.evaluation.labelled_clips import generate_clips, plan_requests
from wavenet.generation.generate import generate_waveforms
from wavenet.sampling import SamplingConfig

RECORDINGS = make_words(range(6))


def combination(request):
    return tuple(request.conditions.values())


def test_every_round_has_every_combination_of_labels_once():
    requests = plan_requests(RECORDINGS, 12, seed=5)
    assert set(Counter(map(combination, requests)).values()) == {3}
    rounds = [list(map(combination, requests[n : n + 4])) for n in (0, 4, 8)]
    assert all(len(set(combinations)) == 4 for combinations in rounds)
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_lengths_are_those_of_real_recordings_with_the_same_labels():
    lengths = {}
    for recording in RECORDINGS:
        key = tuple(recording.labels.values())
        lengths.setdefault(key, set()).add(recording.waveform.numel())
    requests = plan_requests(RECORDINGS, 80, seed=0)
    assert all(request.samples in lengths[combination(request)] for request in requests)
    drawn = {request.samples for request in requests if combination(request) == ("rise", "low")}
    assert len(drawn) > 3  # negative control: the lengths differ


def test_a_larger_count_begins_with_the_same_clips_and_another_seed_with_others():
    requests = plan_requests(RECORDINGS, 20, seed=3)
    assert requests[:7] == plan_requests(RECORDINGS, 7, seed=3)
    assert [request.seed for request in requests] == list(range(3, 23))
    other = plan_requests(RECORDINGS, 20, seed=4)
    assert [r.samples for r in requests] != [r.samples for r in other]


def test_each_clip_is_reproducible_by_its_labels_and_seed(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    requests = plan_requests(RECORDINGS, 6, seed=1)
    sampling = SamplingConfig(temperature=0.7, top_p=0.9)
    generated = generate_clips(loaded, requests, sampling, "cpu")
    for request, clip in zip(requests, generated.clips, strict=True):
        (alone,) = generate_waveforms(loaded, [request], sampling, "cpu")
        assert torch.equal(clip.waveform, alone)
        assert clip.labels == request.conditions
    assert generated.clips[2].name.endswith("_seed3")


def test_guidance_of_a_model_without_condition_dropout_raises(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    with pytest.raises(ConditionError, match="guidance"):
        generate_clips(loaded, plan_requests(RECORDINGS, 2, 0), SamplingConfig(guidance=2.0))
