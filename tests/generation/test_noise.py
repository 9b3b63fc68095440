"""The noise: a function of seed, noise stream and sample, uniform, exact for all keys."""

import numpy as np
import pytest
import torch

from wavenet.errors import ConditionError
from wavenet.generation.noise import uniform_noise


def test_uniforms_are_a_function_of_seed_noise_stream_and_sample():
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
    assert chi_square(u**1.05) > 161  # negative control


def test_the_largest_keys_are_exact_to_the_last_bit_beside_small_ones():
    last = 2**64 - 1
    for big in (2**63, last - 1, last):
        for key in ((3, big), (big, 3), (big, big)):
            # the generator itself, with both keys in one number, the first in the low bits
            words = np.random.Philox(key=key[0] | key[1] << 64).random_raw(9)
            assert uniform_noise(*key, 0, 9).tolist() == [int(word >> 40) / 2**24 for word in words]
    assert not torch.equal(uniform_noise(3, last, 0, 9), uniform_noise(3, last - 1, 0, 9))
    assert not torch.equal(uniform_noise(last, 3, 0, 9), uniform_noise(last - 1, 3, 0, 9))


@pytest.mark.parametrize("key", [(-1, 0), (0, -1), (2**64, 0), (0, 2**64)])
def test_keys_out_of_range_are_rejected(key):
    with pytest.raises(ConditionError, match=f"{2**64 - 1}, found {key[0]} and"):
        uniform_noise(*key, 0, 9)


def test_small_keys_have_the_uniforms_of_the_generator():
    for key in ([0, 0], [3, 1], [2**53 + 1, 7], [2**63 - 1, 2**63 - 1]):
        words = np.random.Philox(key=key, counter=[2, 0, 0, 0]).random_raw(9)
        assert uniform_noise(*key, 8, 9).tolist() == [int(word >> 40) / 2**24 for word in words]
