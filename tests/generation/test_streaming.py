"""Generation: a seed is a promise, streaming equals one shot, a batch equals singles."""

import dataclasses

import pytest
import torch

from tests.conftest import RATE, given_for, local_for, sine, tiny_config
from wavenet.engines.registry import NAMES, make_engine
from wavenet.errors import ConditionError, EngineUnavailable
from wavenet.generation.generate import generate, generate_waveforms
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest, check_request, samples_from_seconds
from wavenet.sampling import SamplingConfig

A = {"digit": "a"}


def test_uniforms_are_a_function_of_seed_item_and_sample():
    whole = uniform_noise(3, 1, 0, 1000)
    for first in (0, 1, 3, 4, 37, 998):
        assert torch.equal(uniform_noise(3, 1, first, 1000 - first), whole[first:])
    assert not torch.equal(uniform_noise(4, 1, 0, 1000), whole)
    assert not torch.equal(uniform_noise(3, 2, 0, 1000), whole)


def test_uniforms_are_uniform():
    """Chi-square over 100 bins: 99 degrees, above 161 by chance once in 10,000."""
    u = uniform_noise(7, 0, 0, 100_000)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1

    def chi_square(values):
        return float(((torch.histc(values, 100, 0, 1) - 1000) ** 2 / 1000).sum())

    assert chi_square(u) < 161
    assert chi_square(u**1.05) > 161  # the control


def test_a_seed_means_the_same_audio_with_every_engine(make_checkpoint):
    loaded = make_checkpoint()
    items = [GenerationRequest(150, A, seed=5)]
    made = [generate_waveforms(loaded, items, engine=name)[0] for name in NAMES]
    assert all(torch.equal(made[0], other) for other in made[1:])
    assert not torch.equal(
        made[0], generate_waveforms(loaded, [GenerationRequest(150, A, seed=6)])[0]
    )


def test_a_seed_means_the_same_audio_with_every_chunk_size(make_checkpoint):
    loaded = make_checkpoint()
    items = [GenerationRequest(150, A, seed=5)]
    whole = generate_waveforms(loaded, items)[0]
    for size in (1, 7, 64, 1000):
        chunks = list(generate(loaded, items, chunk_samples=size))
        assert torch.equal(torch.cat([c.waveforms[0] for c in chunks]), whole)
        assert all(c.codes[0].numel() <= size for c in chunks)
        assert [c.start for c in chunks] == list(range(0, 150, size))


@pytest.mark.parametrize("engine", ["cached", "cpu"])
def test_a_batch_of_different_items_equals_each_alone(make_checkpoint, engine):
    loaded = make_checkpoint()
    items = [
        GenerationRequest(30, A, seed=1),
        GenerationRequest(95, {"digit": "b"}, seed=2, prompt=sine(0.02)),
        GenerationRequest(1, {"digit": "c"}, seed=3),
        GenerationRequest(60, A, seed=1, noise_stream=4),
    ]
    together = generate_waveforms(loaded, items, engine=engine)
    assert [w.numel() for w in together] == [30, 95, 1, 60]
    for item, waveform in zip(items, together, strict=True):
        assert torch.equal(generate_waveforms(loaded, [item], engine=engine)[0], waveform)
    assert not torch.equal(together[0], together[3][:30])


def test_a_prompt_changes_what_follows(make_checkpoint):
    loaded = make_checkpoint()
    free = generate_waveforms(loaded, [GenerationRequest(100, A)])[0]
    after = generate_waveforms(loaded, [GenerationRequest(100, A, prompt=sine(0.1))])[0]
    assert not torch.equal(free, after)


def test_sampling_reaches_the_engine(make_checkpoint):
    loaded = make_checkpoint()
    plain = generate_waveforms(loaded, [GenerationRequest(100, A)])[0]
    assert not torch.equal(
        generate_waveforms(loaded, [GenerationRequest(100, A)], SamplingConfig(top_k=2))[0], plain
    )


def test_closing_the_generator_stops_the_work(make_checkpoint):
    loaded = make_checkpoint()
    engine = make_engine("cached", loaded.model)
    runs = []
    real = engine.run
    engine.run = lambda *args: runs.append(1) or real(*args)  # type: ignore[method-assign]
    chunks = generate(
        loaded, [GenerationRequest(8000, A)], engine=engine, chunk_samples=10, guard=None
    )
    next(chunks)
    next(chunks)
    chunks.close()
    assert len(runs) == 2
    assert next(chunks, None) is None


def test_everything_is_checked_before_the_first_chunk_is_asked_for(make_checkpoint):
    loaded = make_checkpoint()
    with pytest.raises(ConditionError, match="digit cannot be 'z'; choose one of a, b, c"):
        generate(loaded, [GenerationRequest(10, {"digit": "z"})])
    with pytest.raises(ConditionError, match="the label 'digit' is missing"):
        generate(loaded, [GenerationRequest(10)])
    with pytest.raises(ConditionError, match="'pitch' is not known to this model; it has digit"):
        generate(loaded, [GenerationRequest(10, {**A, "pitch": "1"})])
    with pytest.raises(ConditionError, match="at least one item"):
        generate(loaded, [])
    with pytest.raises(EngineUnavailable):
        generate(loaded, [GenerationRequest(10, A)], engine="warp")


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (GenerationRequest(0), "above 0 and at most 600 seconds, found 0"),
        (GenerationRequest(3600 * RATE), "at most 600 seconds, found 3600"),
        (GenerationRequest(10, seed=-1), "the seed must be 0 to"),
        (GenerationRequest(10, prompt=torch.zeros(8000)), "the prompt is silent"),
        (GenerationRequest(10, prompt=torch.ones(3)), "has 3 samples; at least 80"),
    ],
)
def test_items_out_of_bounds_are_refused_with_the_bound(item, sentence):
    with pytest.raises(ConditionError, match=sentence):
        check_request(item, RATE)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3600.0, float("nan")])
def test_lengths_out_of_bounds_are_refused(seconds):
    with pytest.raises(ConditionError, match="the length must be above 0"):
        samples_from_seconds(seconds, RATE)


GUIDED = tiny_config(conditions="all")


def guided_items(loaded, samples=(300, 180)):
    return [
        GenerationRequest(
            n,
            given_for(loaded.model, 3 * row),
            seed=row,
            frame_features=local_for(loaded.model, row, n),
        )
        for row, n in enumerate(samples)
    ]


@pytest.mark.parametrize("engine", ["cpu", "cached", "reference"])
def test_guidance_is_the_same_from_every_engine_and_for_every_batch(make_checkpoint, engine):
    loaded = make_checkpoint(GUIDED, bits=5)
    items, sampling = guided_items(loaded), SamplingConfig(guidance=3.0)
    together = generate_waveforms(loaded, items, sampling, engine, guard=None)
    expected = generate_waveforms(loaded, items, sampling, "reference", guard=None)
    for row, item in enumerate(items):
        assert torch.equal(together[row], expected[row])
        (alone,) = generate_waveforms(loaded, [item], sampling, engine, guard=None)
        assert torch.equal(alone, together[row])
    plain = generate_waveforms(loaded, items, SamplingConfig(), engine, guard=None)
    assert not torch.equal(plain[0], together[0])  # the control


def test_guidance_without_a_say_of_the_labels_is_the_clip_without_them(make_checkpoint):
    loaded = make_checkpoint(GUIDED, bits=5)
    (item, _) = guided_items(loaded)
    left_out = {name: v for name, v in item.conditions.items() if name not in ("voice", "timbre")}
    free = dataclasses.replace(item, conditions=left_out)
    (none,) = generate_waveforms(loaded, [item], SamplingConfig(guidance=0.0), guard=None)
    (expected,) = generate_waveforms(loaded, [free], guard=None)
    assert torch.equal(none, expected)
    (with_all,) = generate_waveforms(loaded, [item], guard=None)
    assert not torch.equal(none, with_all)  # the control


def test_guidance_needs_something_to_leave_out(make_checkpoint):
    loaded = make_checkpoint(tiny_config(conditions="both"))
    with pytest.raises(ConditionError, match="not trained to leave any out"):
        generate(loaded, [GenerationRequest(10, {"digit": "a"})], SamplingConfig(guidance=2.0))
