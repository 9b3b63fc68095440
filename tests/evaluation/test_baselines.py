"""The baselines: each is a distribution, is causal, and fits the structure of the recordings."""

import math

import numpy as np
import pytest
import torch

from wavenet.codec import LinearCodec, MuLawCodec
from wavenet.evaluation.baselines import (
    BIGRAM_PRIOR_COUNT,
    ORDER,
    Bigram,
    Histogram,
    LinearPrediction,
    fit_baselines,
    select_evenly,
    trailing_mean,
)


def make_codec(bits, rounding="half-up"):
    return LinearCodec() if bits == 16 else MuLawCodec(bits=bits, rounding=rounding)


def encoded(samples, bits):
    waveform = torch.from_numpy(np.clip(samples, -1, 1)).float()
    return make_codec(bits).encode(waveform).numpy()


def second_order_process(seed, count=4000):
    """Return a process whose next sample is 1.8 x[-1] - 0.9 x[-2] plus noise."""
    noise = 0.01 * np.random.default_rng(seed).standard_normal(count)
    samples = np.zeros(count)
    for n in range(2, count):
        samples[n] = 1.8 * samples[n - 1] - 0.9 * samples[n - 2] + noise[n]
    return samples


@pytest.mark.parametrize("rounding", ["half-up", "down", "down-256"])
def test_the_probabilities_of_the_next_code_sum_to_one(rounding, rng):
    codec = make_codec(8, rounding)
    training = [rng.integers(60, 200, 500) for _ in range(3)]
    for past in ([], [3], rng.integers(0, 256, 40).tolist()):
        for name, baseline in fit_baselines(training, codec).items():
            bits = [baseline.bits(np.array([*past, code]))[-1] for code in range(256)]
            assert np.exp2(-np.array(bits)).sum() == pytest.approx(1, abs=1e-9), name
            assert np.isfinite(bits).all()


def test_linear_prediction_of_16_bits_is_a_distribution():
    prediction = LinearPrediction([encoded(second_order_process(0), 16)], make_codec(16))
    bits = prediction.bits
    # The probabilities of adjacent codes add up to a difference of the CDF.
    some = np.arange(32768 - 2000, 32768 + 2000)
    probability = sum(2.0 ** -bits(np.array([code]))[0] for code in some)
    edges = prediction.intervals.edges[[some[-1] + 1, some[0]]].tolist()
    high, low = (1 / (1 + math.exp(-edge / prediction.floor)) for edge in edges)
    assert probability == pytest.approx(high - low, abs=1e-9)
    assert np.isfinite(bits(np.array([0, 65535, 0, 65535] * 20))).all()


def test_only_linear_prediction_is_fitted_to_16_bits():
    assert list(fit_baselines([encoded(second_order_process(0), 16)], make_codec(16))) == [
        "linear prediction"
    ]
    found = list(fit_baselines([encoded(second_order_process(0), 10)], make_codec(10)))
    assert found == ["histogram", "bigram", "linear prediction"]


def test_later_codes_do_not_change_earlier_bits(rng):
    baselines = fit_baselines([encoded(second_order_process(0), 8)], make_codec(8))
    codes = encoded(second_order_process(1, 300), 8)
    other = np.concatenate([codes[:200], rng.integers(0, 256, 100)])
    for name, baseline in baselines.items():
        first, second = baseline.bits(codes), baseline.bits(other)
        assert np.array_equal(first[:200], second[:200]), name
        assert not np.array_equal(first[200:], second[200:]), name


def test_the_histogram_adds_one_to_every_count():
    histogram = Histogram([np.array([0, 0, 0]), np.array([1])], 4)
    assert np.exp2(-histogram.bits(np.array([0, 1, 2, 3]))) == pytest.approx(
        np.array([4, 2, 1, 1]) / 8
    )


def test_a_bigram_predicts_a_sequence_that_a_histogram_does_not():
    codes = np.array([5, 9] * 500)
    assert Histogram([codes], 16).bits(codes).mean() == pytest.approx(1, abs=0.05)
    bigram = Bigram([codes], 16, 8)
    assert bigram.bits(codes)[1:].max() < 0.02
    # After 5, 9 occurs 500 times; its probability in the histogram is 501 of 1016.
    expected = (500 + BIGRAM_PRIOR_COUNT * 501 / 1016) / (500 + BIGRAM_PRIOR_COUNT)
    assert bigram.bits(np.array([8, 5, 9]))[2] == pytest.approx(-math.log2(expected))


def test_the_code_before_the_first_is_silence():
    bigram = Bigram([np.array([8, 3] * 100)], 16, 8)
    assert bigram.bits(np.array([3]))[0] < 0.1 < bigram.bits(np.array([8]))[0]


def test_linear_prediction_recovers_the_process_of_a_recording():
    training = [encoded(second_order_process(n), 16) for n in range(4)]
    prediction = LinearPrediction(training, make_codec(16))
    assert prediction.coefficients[:2] == pytest.approx([1.8, -0.9], abs=0.05)
    assert np.abs(prediction.coefficients[2:]).max() < 0.2
    assert len(prediction.coefficients) == ORDER
    # A logistic needs slightly more than the entropy of the noise, in steps of 2 / 65535.
    entropy = 0.5 * math.log2(2 * math.pi * math.e) + math.log2(0.01 * 65535 / 2)
    assert prediction.bits(encoded(second_order_process(9), 16)).mean() == pytest.approx(
        entropy, abs=0.15
    )


def test_loud_passages_do_not_dominate():
    """One percent of the recording is white noise that is ten times as loud."""
    loud = np.random.default_rng(7).uniform(-0.5, 0.5, 40)
    recording = encoded(np.concatenate([0.3 * second_order_process(0), loud]), 16)
    latest = LinearPrediction([recording], make_codec(16)).coefficients[0]
    assert latest > 1.2  # the process has 1.8; unweighted least squares would give 0.3


def test_the_scale_follows_the_latest_residuals():
    assert trailing_mean(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist() == [0, 1, 1.5, 2.5]


def test_white_noise_cannot_be_predicted(rng):
    """The control: on white noise, linear prediction is not better than the histogram."""
    codes = [encoded(rng.uniform(-0.9, 0.9, 4000), 8) for _ in range(3)]
    baselines = fit_baselines(codes[:2], make_codec(8))
    bits = {name: baseline.bits(codes[2]).mean() for name, baseline in baselines.items()}
    assert bits["linear prediction"] > bits["histogram"] - 0.01
    training = [encoded(second_order_process(n), 8) for n in range(2)]
    test = encoded(second_order_process(9), 8)
    baselines = fit_baselines(training, make_codec(8))
    bits = {name: baseline.bits(test).mean() for name, baseline in baselines.items()}
    assert bits["linear prediction"] < bits["bigram"] < bits["histogram"]


def test_recordings_are_selected_evenly():
    assert select_evenly([10] * 8, 40) == [0, 2, 4, 6]
    assert select_evenly([10] * 3, 1000) == [0, 1, 2]
    assert select_evenly([10] * 3, 1) == [0]


def test_baselines_can_be_fitted_to_silence_and_to_one_sample():
    for recordings in ([np.full(100, 128)], [np.array([7])]):
        for baseline in fit_baselines(recordings, make_codec(8)).values():
            assert np.isfinite(baseline.bits(np.array([128, 0, 255]))).all()
