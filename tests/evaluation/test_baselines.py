"""The baselines: each is a distribution, knows no future, and learns what is there to be learnt."""

import math

import numpy as np
import pytest
import torch

from wavenet import codec
from wavenet.codec import MuLawCodec
from wavenet.evaluation.baselines import (
    ORDER,
    PRIOR,
    Bigram,
    Histogram,
    LinearPrediction,
    fit_baselines,
    latest_mean,
    spread,
)


def alphabet(bits, rounding="half-up"):
    law = "linear" if bits == 16 else "mu-law"
    silence = codec.silence_code(bits, rounding)
    return MuLawCodec(law=law, bits=bits, rounding=rounding, silence_code=silence)


def encoded(samples, bits):
    waveform = torch.from_numpy(np.clip(samples, -1, 1)).float()
    return codec.encode(waveform, bits).numpy()


def resonance(seed, count=4000):
    """Make a process of second order, whose next sample is 1.8 x[-1] - 0.9 x[-2] and noise."""
    noise = 0.01 * np.random.default_rng(seed).standard_normal(count)
    samples = np.zeros(count)
    for n in range(2, count):
        samples[n] = 1.8 * samples[n - 1] - 0.9 * samples[n - 2] + noise[n]
    return samples


@pytest.mark.parametrize("rounding", ["half-up", "down", "down-256"])
def test_the_probabilities_of_what_may_come_next_sum_to_one(rounding, rng):
    kind = alphabet(8, rounding)
    learnt = [rng.integers(60, 200, 500) for _ in range(3)]
    for past in ([], [3], rng.integers(0, 256, 40).tolist()):
        for name, baseline in fit_baselines(learnt, kind).items():
            bits = [baseline.bits(np.array([*past, code]))[-1] for code in range(256)]
            assert np.exp2(-np.array(bits)).sum() == pytest.approx(1, abs=1e-9), name
            assert np.isfinite(bits).all()


def test_sixteen_bits_are_a_distribution_too():
    """All codes at once: the bits of a code depend on what is before it, here nothing."""
    prediction = LinearPrediction([encoded(resonance(0), 16)], alphabet(16))
    bits = prediction.bits
    # beside a code, its neighbours: a telescope of differences, of which some thousand are added
    some = np.arange(32768 - 2000, 32768 + 2000)
    share = sum(2.0 ** -bits(np.array([code]))[0] for code in some)
    edges = (prediction.upper[some[-1]], prediction.lower[some[0]])
    high, low = (1 / (1 + math.exp(-edge / prediction.floor)) for edge in edges)
    assert share == pytest.approx(high - low, abs=1e-9)
    assert np.isfinite(bits(np.array([0, 65535, 0, 65535] * 20))).all()


def test_only_linear_prediction_counts_sixteen_bits():
    assert list(fit_baselines([encoded(resonance(0), 16)], alphabet(16))) == ["linear prediction"]
    found = list(fit_baselines([encoded(resonance(0), 10)], alphabet(10)))
    assert found == ["histogram", "bigram", "linear prediction"]


def test_what_comes_later_changes_nothing_before(rng):
    baselines = fit_baselines([encoded(resonance(0), 8)], alphabet(8))
    codes = encoded(resonance(1, 300), 8)
    other = np.concatenate([codes[:200], rng.integers(0, 256, 100)])
    for name, baseline in baselines.items():
        first, second = baseline.bits(codes), baseline.bits(other)
        assert np.array_equal(first[:200], second[:200]), name
        assert not np.array_equal(first[200:], second[200:]), name


def test_a_histogram_counts_one_more_of_each():
    histogram = Histogram([np.array([0, 0, 0]), np.array([1])], 4)
    assert np.exp2(-histogram.bits(np.array([0, 1, 2, 3]))) == pytest.approx(
        np.array([4, 2, 1, 1]) / 8
    )


def test_a_bigram_knows_what_follows_and_a_histogram_does_not():
    codes = np.array([5, 9] * 500)
    assert Histogram([codes], 16).bits(codes).mean() == pytest.approx(1, abs=0.05)
    bigram = Bigram([codes], 16, 8)
    assert bigram.bits(codes)[1:].max() < 0.02
    # of what follows 5, 9 was seen 500 times; the histogram says 501 of 1016
    seen = (500 + PRIOR * 501 / 1016) / (500 + PRIOR)
    assert bigram.bits(np.array([8, 5, 9]))[2] == pytest.approx(-math.log2(seen))


def test_silence_stands_before_the_first_code():
    bigram = Bigram([np.array([8, 3] * 100)], 16, 8)
    assert bigram.bits(np.array([3]))[0] < 0.1 < bigram.bits(np.array([8]))[0]


def test_linear_prediction_finds_the_process_that_made_a_recording():
    learnt = [encoded(resonance(n), 16) for n in range(4)]
    prediction = LinearPrediction(learnt, alphabet(16))
    assert prediction.weights[:2] == pytest.approx([1.8, -0.9], abs=0.05)
    assert np.abs(prediction.weights[2:]).max() < 0.2
    assert len(prediction.weights) == ORDER
    # a logistic costs little more than the noise's own entropy, in steps of 2 / 65535
    entropy = 0.5 * math.log2(2 * math.pi * math.e) + math.log2(0.01 * 65535 / 2)
    assert prediction.bits(encoded(resonance(9), 16)).mean() == pytest.approx(entropy, abs=0.15)


def test_loud_passages_do_not_count_alone():
    """One part in a hundred is ten times as loud and of another kind: a noise, unforeseeable."""
    loud = np.random.default_rng(7).uniform(-0.5, 0.5, 40)
    recording = encoded(np.concatenate([0.3 * resonance(0), loud]), 16)
    newest = LinearPrediction([recording], alphabet(16)).weights[0]
    assert newest > 1.2  # 1.8 made it; every sample alike would give 0.3


def test_the_scale_follows_the_latest_residuals():
    assert latest_mean(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist() == [0, 1, 1.5, 2.5]


def test_nothing_can_be_predicted_of_noise(rng):
    """The control: on white noise prediction costs no less than the histogram."""
    codes = [encoded(rng.uniform(-0.9, 0.9, 4000), 8) for _ in range(3)]
    found = fit_baselines(codes[:2], alphabet(8))
    bits = {name: one.bits(codes[2]).mean() for name, one in found.items()}
    assert bits["linear prediction"] > bits["histogram"] - 0.01
    learnt = [encoded(resonance(n), 8) for n in range(2)]
    found = fit_baselines(learnt, alphabet(8))
    bits = {name: one.bits(encoded(resonance(9), 8)).mean() for name, one in found.items()}
    assert bits["linear prediction"] < bits["bigram"] < bits["histogram"]


def test_recordings_to_learn_from_are_spread_over_all():
    assert spread([10] * 8, 40) == [0, 2, 4, 6]
    assert spread([10] * 3, 1000) == [0, 1, 2]
    assert spread([10] * 3, 1) == [0]


def test_silence_and_the_shortest_recordings_can_be_learnt_from():
    for recordings in ([np.full(100, 128)], [np.array([7])]):
        for baseline in fit_baselines(recordings, alphabet(8)).values():
            assert np.isfinite(baseline.bits(np.array([128, 0, 255]))).all()
