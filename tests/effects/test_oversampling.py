"""Oversampling: transparent in the pass band, equal in blocks; and its effect on aliases."""

import numpy as np
import pytest

from wavenet.effects.aliasing import measure_aliases
from wavenet.effects.oversampling import Oversampler, half_band, oversample

RATE = 48_000


def distort(samples):
    return np.tanh(4 * samples)


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("frequency", [100, 5000, 19_000])
def test_up_and_down_is_a_delay_in_the_pass_band(factor, frequency):
    signal = np.sin(2 * np.pi * frequency / RATE * np.arange(3000))
    output = oversample(lambda samples: samples, signal, factor)
    assert np.abs(output - signal)[300:-300].max() < 1e-4


@pytest.mark.parametrize("factor", [2, 4])
def test_an_impulse_arrives_after_the_latency(factor):
    oversampler = Oversampler(factor)
    state = oversampler.start()
    impulse = np.eye(1, 400, 100)[0]
    output = oversampler.down(state, oversampler.up(state, impulse))
    assert int(np.argmax(np.abs(output))) == 100 + oversampler.latency
    assert oversampler.latency == {2: 63, 4: 71}[factor]


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 5, 64, 999])
def test_blocks_give_the_same_samples_as_the_whole(rng, factor, size):
    signal = rng.standard_normal(1000)
    oversampler = Oversampler(factor)
    whole, parts = oversampler.start(), oversampler.start()
    expected = oversampler.down(whole, distort(oversampler.up(whole, signal)))
    blocks = [signal[n : n + size] for n in range(0, 1000, size)]
    found = [oversampler.down(parts, distort(oversampler.up(parts, block))) for block in blocks]
    assert np.abs(np.concatenate(found) - expected).max() < 1e-12
    assert not len(oversampler.down(parts, oversampler.up(parts, signal[:0])))


def test_every_second_coefficient_is_zero_and_the_stop_band_is_low():
    coefficients = half_band(127)
    assert coefficients.sum() == pytest.approx(1)
    assert np.count_nonzero(coefficients) == 65
    gains = np.abs(np.fft.rfft(coefficients, 8192))
    assert 20 * np.log10(gains[int(0.275 * 8192) + 1 :].max()) < -89


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="found 3"):
        Oversampler(3)
    with pytest.raises(ValueError, match="multiple of 2"):
        Oversampler(2).down(Oversampler(2).start(), np.zeros(3))


def test_a_linear_function_has_no_aliases_and_a_known_alias_is_measured():
    (linear,) = measure_aliases(lambda samples: 0.5 * samples + 0.2, RATE, [1000])
    assert linear.level_db < -200 + 1

    def add_other(samples):
        n = np.arange(len(samples))
        return samples + 0.01 * np.sin(2 * np.pi * 1000 / 2**15 * n)

    (other,) = measure_aliases(add_other, RATE, [3000])
    assert other.level_db == pytest.approx(-40, abs=0.01)


def test_oversampling_lowers_the_aliases_of_a_distortion():
    """tanh(4 x) of a sine of 3 kHz at 48 kHz: -32, -85 and -139 dB."""
    levels = {
        factor: measure_aliases(
            lambda samples, f=factor: oversample(distort, samples, f), RATE, [3000]
        )[0].level_db
        for factor in (1, 2, 4)
    }
    assert levels[1] > -35
    assert levels[2] < levels[1] - 45
    assert levels[4] < levels[2] - 40
