"""Generation: a clip depends on its request only, not on chunks, neighbours, engine or memory."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, make_condition_values, make_frame_features, sine, tiny_config
from tests.generation import GUARD, QUICK_GUARD, DegeneratingEngine, LimitedEngine, generate_all
from wavenet.engines.cached import CachedEngine
from wavenet.engines.registry import NON_GPU_NAMES, make_engine
from wavenet.errors import ConditionError, DeviceError, EngineUnavailable, OutOfMemory
from wavenet.generation.generate import generate, generate_many, generate_waveforms
from wavenet.generation.guard import NOISE, SATURATED
from wavenet.generation.request import GenerationRequest
from wavenet.progress import CallbackProgress
from wavenet.sampling import SamplingConfig

A = {"digit": "a"}
LENGTHS = (150, 90, 150, 40, 120, 150, 10)


@pytest.fixture
def conditioned(make_checkpoint):
    """Make a model with conditions of all kinds."""
    return make_checkpoint(tiny_config(conditions="all"))


@pytest.fixture
def requests(conditioned):
    """Make requests of different lengths, one with a prompt, for the model of all conditions."""
    return [
        GenerationRequest(
            length,
            {"voice": "b", "level": -20.0, "timbre": torch.ones(4)},
            seed=n % 3,
            noise_stream=n,
            prompt=sine(0.01) if n == 2 else None,
            frame_features=make_frame_features(
                conditioned.model, n, length + (round(0.01 * RATE) if n == 2 else 0)
            ),
        )
        for n, length in enumerate(LENGTHS)
    ]


def test_a_seed_gives_the_same_audio_from_every_engine(make_checkpoint):
    checkpoint = make_checkpoint()
    request = GenerationRequest(150, A, seed=5)
    clips = [generate_waveforms(checkpoint, [request], engine=name)[0] for name in NON_GPU_NAMES]
    assert all(torch.equal(clips[0], other) for other in clips[1:])
    (other,) = generate_waveforms(checkpoint, [replace(request, seed=6)])
    assert not torch.equal(clips[0], other)


def test_a_seed_gives_the_same_audio_for_every_chunk_size(make_checkpoint):
    checkpoint = make_checkpoint()
    requests = [GenerationRequest(150, A, seed=5)]
    whole = generate_waveforms(checkpoint, requests)[0]
    for size in (1, 7, 64, 1000):
        chunks = list(generate(checkpoint, requests, chunk_samples=size))
        assert torch.equal(torch.cat([c.waveforms[0] for c in chunks]), whole)
        assert all(c.codes[0].numel() <= size for c in chunks)
        assert [c.first for c in chunks] == list(range(0, 150, size))


@pytest.mark.parametrize("engine", ["cached", "cpu"])
def test_clips_of_a_batch_equal_each_alone(make_checkpoint, engine):
    checkpoint = make_checkpoint()
    requests = [
        GenerationRequest(30, A, seed=1),
        GenerationRequest(95, {"digit": "b"}, seed=2, prompt=sine(0.02)),
        GenerationRequest(1, {"digit": "c"}, seed=3),
        GenerationRequest(60, A, seed=1, noise_stream=4),
    ]
    together = generate_waveforms(checkpoint, requests, engine=engine)
    assert [w.numel() for w in together] == [30, 95, 1, 60]
    for request, waveform in zip(requests, together, strict=True):
        (alone,) = generate_waveforms(checkpoint, [request], engine=engine)
        assert torch.equal(alone, waveform)
    assert not torch.equal(together[0], together[3][:30])


def test_a_prompt_changes_the_clip(make_checkpoint):
    checkpoint = make_checkpoint()
    free = generate_waveforms(checkpoint, [GenerationRequest(100, A)])[0]
    after = generate_waveforms(checkpoint, [GenerationRequest(100, A, prompt=sine(0.1))])[0]
    assert not torch.equal(free, after)


def test_the_sampling_config_changes_the_clip(make_checkpoint):
    checkpoint = make_checkpoint()
    requests = [GenerationRequest(100, A)]
    (ancestral,) = generate_waveforms(checkpoint, requests)
    assert not torch.equal(
        generate_waveforms(checkpoint, requests, SamplingConfig(top_k=2))[0], ancestral
    )


def test_closing_the_iterator_stops_the_work(make_checkpoint):
    checkpoint = make_checkpoint()
    engine = make_engine("cached", checkpoint.model)
    runs = []
    real = engine.run
    engine.run = lambda *args: runs.append(1) or real(*args)  # type: ignore[method-assign]
    chunks = generate(
        checkpoint, [GenerationRequest(8000, A)], engine=engine, chunk_samples=10, guard=None
    )
    next(chunks)
    next(chunks)
    chunks.close()
    assert len(runs) == 2
    assert next(chunks, None) is None


@pytest.mark.parametrize("function", [generate, generate_many])
def test_everything_is_checked_before_the_work_begins(make_checkpoint, function):
    checkpoint = make_checkpoint()
    good = GenerationRequest(10, A)
    for bad, words in (
        (GenerationRequest(10, {"digit": "z"}), "'z'; choose one of a, b, c"),
        (GenerationRequest(10), "'digit' is missing"),
        (GenerationRequest(10, {**A, "pitch": "1"}), "no condition 'pitch'; it has .*digit"),
        (GenerationRequest(10, A, seed=-1), "seed"),
    ):
        with pytest.raises(ConditionError, match=words):
            function(checkpoint, [good, bad])
    with pytest.raises(ConditionError, match="at least one request"):
        function(checkpoint, [])
    with pytest.raises(EngineUnavailable, match="'warp'"):
        function(checkpoint, [good], engine="warp")
    function(checkpoint, [good])  # negative control


GUIDED = tiny_config(conditions="all")


def guided_requests(checkpoint, lengths=(120, 72)):
    return [
        GenerationRequest(
            samples,
            make_condition_values(checkpoint.model, 3 * row),
            seed=row,
            frame_features=make_frame_features(checkpoint.model, row, samples),
        )
        for row, samples in enumerate(lengths)
    ]


@pytest.mark.parametrize("engine", ["cpu", "cached", "reference"])
def test_guidance_is_the_same_from_every_engine_and_in_every_batch(make_checkpoint, engine):
    checkpoint = make_checkpoint(GUIDED, bits=5)
    requests, sampling = guided_requests(checkpoint), SamplingConfig(guidance=3.0)
    together = generate_waveforms(checkpoint, requests, sampling, engine, guard=None)
    expected = generate_waveforms(checkpoint, requests, sampling, "reference", guard=None)
    for row, request in enumerate(requests):
        assert torch.equal(together[row], expected[row])
        (alone,) = generate_waveforms(checkpoint, [request], sampling, engine, guard=None)
        assert torch.equal(alone, together[row])
    plain = generate_waveforms(checkpoint, requests, SamplingConfig(), engine, guard=None)
    assert not torch.equal(plain[0], together[0])  # negative control


def test_guidance_0_equals_a_request_without_droppable_conditions(make_checkpoint):
    checkpoint = make_checkpoint(GUIDED, bits=5)
    (request, _) = guided_requests(checkpoint)
    kept = {n: value for n, value in request.conditions.items() if n not in ("voice", "timbre")}
    free = replace(request, conditions=kept)
    (unguided,) = generate_waveforms(checkpoint, [request], SamplingConfig(guidance=0.0))
    (expected,) = generate_waveforms(checkpoint, [free])
    assert torch.equal(unguided, expected)
    (conditional,) = generate_waveforms(checkpoint, [request])
    assert not torch.equal(unguided, conditional)  # negative control


def test_guidance_needs_a_droppable_condition(make_checkpoint):
    checkpoint = make_checkpoint(tiny_config(conditions="both"))
    with pytest.raises(ConditionError, match=r"guidance needs .* condition dropout"):
        generate(checkpoint, [GenerationRequest(10, A)], SamplingConfig(guidance=2.0))


def generate_with_progress(checkpoint, requests, engine, **options):
    """Generate all clips: waveforms by request, messages, samples that were reported."""
    messages, counts = [], []
    progress = CallbackProgress(counts.append, messages.append)
    clips = generate_many(checkpoint, requests, None, engine, progress=progress, **options)
    by_index = {clip.index: clip for clip in clips}
    return [by_index[n].waveform for n in sorted(by_index)], messages, sum(counts)


@pytest.mark.parametrize(
    ("max_rows", "batches"),
    [(7, [7]), (6, [7, 4, 3]), (3, [7, 4, 2, 2, 2, 1]), (1, [7, 4, 2, 1, 1, 1, 1, 1, 1, 1])],
)
def test_too_little_memory_halves_the_batch_and_changes_no_sample(
    conditioned, requests, max_rows, batches
):
    expected = generate_waveforms(conditioned, requests, engine="cached")
    engine = LimitedEngine(conditioned.model, max_rows)
    waveforms, messages, reported = generate_with_progress(conditioned, requests, engine)
    assert all(torch.equal(*pair) for pair in zip(waveforms, expected, strict=True))
    assert engine.batches == batches
    assert len(messages) == sum(size > max_rows for size in batches)
    assert reported == sum(LENGTHS)
    if messages:
        assert "7 simultaneous clips" in messages[0] and "with 4" in messages[0]


@pytest.mark.parametrize("max_active", [1, 2, 3, 50])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_new_clip_joins_when_another_is_complete_and_changes_no_sample(
    conditioned, requests, max_active, guarded
):
    guard = QUICK_GUARD if guarded else None
    expected = generate_waveforms(conditioned, requests, engine="cached", guard=guard)
    engine, complete_at_read, order = LimitedEngine(conditioned.model), [], []

    def source():
        for request in requests:
            complete_at_read.append(len(order))
            yield request

    for clip in generate_many(conditioned, source(), None, engine, guard, max_active=max_active):
        order.append(clip.index)
        assert torch.equal(clip.waveform, expected[clip.index])
    assert sorted(order) == list(range(len(requests)))
    # a request is read only if the batch has room for its clip
    assert all(n - complete < max_active for n, complete in enumerate(complete_at_read))
    if max_active == 3:
        # windows of 64 samples: request 3 replaces request 1 beside the longer ones
        assert order == ([1, 0, 2, 3, 6, 4, 5] if guarded else [0, 1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("reason", [SATURATED, NOISE])
def test_clips_that_join_are_drawn_again_as_if_they_were_alone(flat, reason):
    requests = [
        GenerationRequest(length, seed=n)
        for n, length in enumerate((500, 90, 640, 333, 30, 420, 640))
    ]
    engine = DegeneratingEngine(flat.model, reason)
    clips = generate_many(flat, iter(requests), None, engine, GUARD, max_active=2)
    by_index = {clip.index: clip for clip in clips}
    assert sum(len(clip.retries) for clip in by_index.values()) > 2
    for n, request in enumerate(requests):
        (alone,), retries = generate_all(flat, [request], DegeneratingEngine(flat.model, reason))
        assert torch.equal(by_index[n].codes, alone)
        assert [replace(retry, index=0) for retry in by_index[n].retries] == retries
        assert {retry.index for retry in by_index[n].retries} <= {n}


def test_at_least_one_clip_must_be_active(conditioned, requests):
    with pytest.raises(ConditionError, match="max_active must be at least 1, found 0"):
        generate_many(conditioned, requests, max_active=0)


def test_guided_clips_have_two_rows_each(conditioned, requests):
    sampling = SamplingConfig(guidance=2.0)
    expected = generate_waveforms(conditioned, requests[:3], sampling, "cached")
    engine = LimitedEngine(conditioned.model, 2)
    clips = list(generate_many(conditioned, requests[:3], sampling, engine))
    assert [clip.index for clip in clips] == [0, 1, 2]
    for clip, waveform in zip(clips, expected, strict=True):
        assert torch.equal(clip.waveform, waveform)
    assert engine.batches == [6, 4, 2, 2, 2]


def test_too_little_memory_for_one_clip_is_one_sentence(conditioned, requests):
    engine = LimitedEngine(conditioned.model, 0)
    with pytest.raises(OutOfMemory, match="one clip") as caught:
        generate_with_progress(conditioned, requests, engine)
    assert "\n" not in str(caught.value)
    assert engine.batches == [7, 4, 2, 1]


def test_a_complete_clip_is_yielded_and_not_generated_again(make_checkpoint):
    """Memory runs out in the second chunk; the second clip ended in the first one."""

    class LaterLimitedEngine(LimitedEngine):
        def run(self, state, n, sampling, noise):
            self.max_rows = 1 if state.position.min() >= 800 else 1_000
            return super().run(state, n, sampling, noise)

    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    requests = [GenerationRequest(length, seed=length) for length in (1000, 700, 900)]
    engine, found, counts = LaterLimitedEngine(checkpoint.model), [], []
    progress = CallbackProgress(counts.append)
    for clip in generate_many(checkpoint, requests, None, engine, guard=None, progress=progress):
        found.append((clip.index, list(engine.batches)))
        (alone,) = generate_waveforms(checkpoint, [requests[clip.index]], guard=None)
        assert torch.equal(clip.waveform, alone)
    assert found == [(1, [3]), (0, [3, 1]), (2, [3, 1, 1])]
    # lost samples are subtracted, so a full progress bar means that all clips are complete
    assert sum(counts) == 2600 and min(counts) < 0


def test_clips_that_were_complete_before_a_device_was_lost_are_yielded(conditioned, requests):
    engine = LimitedEngine(conditioned.model, 4, lost_at=6)
    found = []
    with pytest.raises(DeviceError, match=r"lost \(CUDA error: unspecified") as caught:
        for clip in generate_many(conditioned, requests, None, engine):
            found.append(clip)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, OutOfMemory)
    assert engine.batches == [7, 4, 3]  # nothing is tried again
    expected = generate_waveforms(conditioned, requests, engine="cached")
    assert [clip.index for clip in found] == [0, 1, 2, 3]
    assert all(torch.equal(clip.waveform, expected[clip.index]) for clip in found)


def test_other_errors_of_an_engine_are_bugs(conditioned, requests):
    class BrokenEngine(CachedEngine):
        def run(self, state, n, sampling, noise):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        generate_with_progress(conditioned, requests, BrokenEngine(conditioned.model))
