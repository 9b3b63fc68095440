"""Convolution by partitions equals that of SciPy, for blocks of any sizes."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from wavenet.effects.partitioned_convolution import PartitionedConvolver


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("partition", [1, 64, 500])
def test_a_whole_signal_equals_scipy(rng, length, partition):
    response, signal = rng.standard_normal(length), rng.standard_normal(1500)
    expected = fftconvolve(signal, response)
    convolver = PartitionedConvolver(response, partition)
    assert np.abs(convolver.convolve(signal, with_tail=True) - expected).max() < 1e-10
    assert np.abs(convolver.convolve(signal) - expected[:1500]).max() < 1e-10


@pytest.mark.parametrize("size", [1, 7, 64, 480, 1500])
def test_blocks_of_any_size_give_the_same_samples_without_latency(rng, size):
    response, signal = rng.standard_normal(777), rng.standard_normal(1500)
    convolver = PartitionedConvolver(response, 128)
    state = convolver.start()
    parts = [convolver.process(state, signal[n : n + size]) for n in range(0, 1500, size)]
    assert convolver.latency == 0
    expected = fftconvolve(signal, response)[:1500]
    assert np.abs(np.concatenate(parts) - expected).max() < 1e-10


@pytest.mark.parametrize(("responses", "channels"), [(1, 2), (2, 1), (2, 2)])
def test_stereo(rng, responses, channels):
    response, signal = rng.standard_normal((responses, 300)), rng.standard_normal((channels, 900))
    output = PartitionedConvolver(response, 64).convolve(signal)
    for n in range(2):
        expected = fftconvolve(signal[n % channels], response[n % responses])[:900]
        assert np.abs(output[n] - expected).max() < 1e-10


def test_a_copy_of_a_state_is_independent(rng):
    convolver = PartitionedConvolver(rng.standard_normal(300), 64)
    state = convolver.start()
    convolver.process(state, rng.standard_normal(500))
    saved, block = state.copy(), rng.standard_normal(100)
    first = convolver.process(state, block)
    assert not np.array_equal(convolver.process(state, block), first)
    assert np.array_equal(convolver.process(saved, block), first)


def test_invalid_arguments_are_refused(rng):
    for response in ([], [np.nan], np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="finite response"):
            PartitionedConvolver(np.array(response))
    with pytest.raises(ValueError, match="at least 1 sample"):
        PartitionedConvolver(np.ones(3), 0)
    convolver = PartitionedConvolver(np.ones((2, 3)))
    with pytest.raises(ValueError, match="found 3"):
        convolver.start(3)
    with pytest.raises(ValueError, match="expected 1 channels, found 2"):
        convolver.process(convolver.start(1), np.zeros((2, 4)))
