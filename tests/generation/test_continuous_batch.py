"""Many clips at once: the same audio whatever fits into memory, and what is complete is kept."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, local_for, sine, tiny_config
from tests.generation import QUICK, SMALL, Stub
from tests.generation import make as generated
from wavenet.engines.cached import CachedEngine
from wavenet.errors import ConditionError, DeviceError, OutOfMemory
from wavenet.generation.generate import generate_many, generate_waveforms
from wavenet.generation.guard import NOISE, SATURATED
from wavenet.generation.request import GenerationRequest
from wavenet.sampling import SamplingConfig

LENGTHS = (150, 90, 150, 40, 120, 150, 10)


class Small(CachedEngine):
    """A device with memory for few streams; `lost_at` is the run in which it is lost for good."""

    def __init__(self, model, most=1_000, lost_at=None):
        super().__init__(model)
        self.most, self.lost_at = most, lost_at
        self.batches, self.runs = [], 0

    def start(self, conditioning):
        self.batches.append(conditioning.batch)
        return super().start(conditioning)

    def run(self, state, n, sampling, noise):
        self.runs += 1
        if self.lost_at is not None and self.runs >= self.lost_at:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ..")
        if state.position.shape[0] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee ..")
        return super().run(state, n, sampling, noise)


@pytest.fixture
def loaded(make_checkpoint):
    return make_checkpoint(tiny_config(conditions="all"))


@pytest.fixture
def items(loaded):
    return [
        GenerationRequest(
            length,
            {"voice": "b", "level": -20.0, "timbre": torch.ones(4)},
            seed=n % 3,
            noise_stream=n,
            prompt=sine(0.01) if n == 2 else None,
            frame_features=local_for(
                loaded.model, n, length + (round(0.01 * RATE) if n == 2 else 0)
            ),
        )
        for n, length in enumerate(LENGTHS)
    ]


def make(loaded, items, engine, **options):
    """Make all: waveforms in the order of the items, what was warned of, samples reported."""
    words, made = [], []
    clips = generate_many(
        loaded, items, None, engine, report=made.append, warn=words.append, **options
    )
    found = {clip.index: clip for clip in clips}
    return [found[n].waveform for n in sorted(found)], words, sum(made)


@pytest.mark.parametrize(
    ("most", "batches"),
    [(7, [7]), (6, [7, 4, 3]), (3, [7, 4, 2, 2, 2, 1]), (1, [7, 4, 2, 1, 1, 1, 1, 1, 1, 1])],
)
def test_too_little_memory_halves_the_batch_and_changes_no_sample(loaded, items, most, batches):
    expected = generate_waveforms(loaded, items, engine="cached")
    engine = Small(loaded.model, most)
    waveforms, words, reported = make(loaded, items, engine)
    assert all(torch.equal(*pair) for pair in zip(waveforms, expected, strict=True))
    assert engine.batches == batches
    halvings = sum(size > most for size in batches)
    assert len(words) == halvings
    assert reported == sum(LENGTHS)
    if words:
        assert words[0] == "too little memory for 7 clips at once; going on with 4"


@pytest.mark.parametrize("together", [1, 2, 3, 50])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_free_place_is_taken_at_once_and_changes_no_sample(loaded, items, together, guarded):
    guard = QUICK if guarded else None
    expected = generate_waveforms(loaded, items, engine="cached", guard=guard)
    engine, asked = Small(loaded.model), []

    def source():
        for n, item in enumerate(items):
            asked.append((n, list(done)))
            yield item

    done: list[int] = []
    for clip in generate_many(loaded, source(), None, engine, guard, together=together):
        done.append(clip.index)
        assert torch.equal(clip.waveform, expected[clip.index])
    assert sorted(done) == list(range(len(items)))
    # nothing is asked for before there is room for it
    assert all(n - len(before) < together for n, before in asked)
    if together == 3:
        # windows of 64 samples: the fourth clip takes the place of the second beside the longest
        assert done == ([1, 0, 2, 3, 6, 4, 5] if guarded else [0, 1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("kind", [SATURATED, NOISE])
def test_clips_that_join_are_rescued_as_if_they_were_alone(flat, kind):
    items = [
        GenerationRequest(length, seed=n)
        for n, length in enumerate((500, 90, 640, 333, 30, 420, 640))
    ]
    stub = Stub(flat.model, kind)
    found = {c.index: c for c in generate_many(flat, iter(items), None, stub, SMALL, together=2)}
    assert sum(len(clip.retries) for clip in found.values()) > 2
    for n, item in enumerate(items):
        (alone,), retries = generated(flat, [item], Stub(flat.model, kind))
        assert torch.equal(found[n].codes, alone)
        assert [replace(retry, noise_stream=0) for retry in found[n].retries] == retries


def test_places_are_at_least_one(loaded, items):
    with pytest.raises(ConditionError, match="at least one clip must be made at once, found 0"):
        generate_many(loaded, items, together=0)


def test_guided_clips_take_two_streams_each(loaded, items):
    sampling = SamplingConfig(guidance=2.0)
    expected = generate_waveforms(loaded, items[:3], sampling, "cached")
    found = generate_many(loaded, items[:3], sampling, Small(loaded.model, 2))
    for clip, waveform in zip(found, expected, strict=True):
        assert torch.equal(clip.waveform, waveform)


def test_too_little_for_one_clip_is_one_sentence(loaded, items):
    engine = Small(loaded.model, 0)
    with pytest.raises(OutOfMemory, match="too little even for one clip at a time") as caught:
        make(loaded, items, engine)
    assert "\n" not in str(caught.value)
    assert engine.batches == [7, 4, 2, 1]


def test_a_clip_leaves_when_it_is_complete_and_is_not_made_again(make_checkpoint):
    """Memory runs out in the second chunk; the second clip has ended in the first one."""

    class Later(Small):
        def run(self, state, n, sampling, noise):
            self.most = 1 if state.position.min() >= 800 else 1_000
            return super().run(state, n, sampling, noise)

    loaded = make_checkpoint(tiny_config(conditions="none"))
    items = [GenerationRequest(length, seed=length) for length in (1000, 700, 900)]
    engine, seen, made = Later(loaded.model), [], []
    for clip in generate_many(loaded, items, None, engine, guard=None, report=made.append):
        seen.append((clip.index, list(engine.batches)))
        assert torch.equal(
            clip.waveform, generate_waveforms(loaded, [items[clip.index]], guard=None)[0]
        )
    assert seen == [(1, [3]), (0, [3, 1]), (2, [3, 1, 1])]
    # what was lost is taken back: a bar that is full stands for all clips
    assert sum(made) == 2600 and min(made) < 0


def test_what_was_finished_before_a_device_was_lost_has_left(loaded, items):
    engine = Small(loaded.model, 4, lost_at=6)
    found = []
    with pytest.raises(DeviceError, match=r"the GPU was lost \(CUDA error: unspecified") as caught:
        for clip in generate_many(loaded, items, None, engine):
            found.append(clip)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, OutOfMemory)
    assert engine.batches == [7, 4, 3]  # and is not tried again
    expected = generate_waveforms(loaded, items, engine="cached")
    assert [clip.index for clip in found] == [0, 1, 2, 3]
    assert all(torch.equal(clip.waveform, expected[clip.index]) for clip in found)


def test_what_cannot_be_used_is_refused_before_any_work(loaded, items):
    with pytest.raises(ConditionError, match="nothing to generate"):
        generate_many(loaded, [])
    with pytest.raises(ConditionError, match="the seed must be"):
        generate_many(loaded, [*items, GenerationRequest(10, seed=-1)])


def test_other_faults_of_an_engine_are_bugs(loaded, items):
    class Broken(CachedEngine):
        def run(self, state, n, sampling, noise):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        make(loaded, items, Broken(loaded.model))
