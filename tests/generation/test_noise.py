"""Keys of the noise: exact up to the last bit, refused beyond; the rest is in test_generate."""

import numpy as np
import pytest
import torch

from wavenet.errors import ConditionError
from wavenet.generation.noise import uniform_noise


def test_the_largest_keys_count_to_the_last_bit_beside_small_ones():
    last = 2**64 - 1
    for big in (2**63, last - 1, last):
        for key in ((3, big), (big, 3), (big, big)):
            # the generator itself, keyed by both numbers in one; the first lies lowest
            words = np.random.Philox(key=key[0] | key[1] << 64).random_raw(9)
            assert uniform_noise(*key, 0, 9).tolist() == [int(word >> 40) / 2**24 for word in words]
    assert not torch.equal(uniform_noise(3, last, 0, 9), uniform_noise(3, last - 1, 0, 9))
    assert not torch.equal(uniform_noise(last, 3, 0, 9), uniform_noise(last - 1, 3, 0, 9))


@pytest.mark.parametrize("key", [(-1, 0), (0, -1), (2**64, 0), (0, 2**64)])
def test_keys_out_of_bounds_are_refused(key):
    with pytest.raises(ConditionError, match=f"must be 0 to {2**64 - 1}, found {key[0]} and"):
        uniform_noise(*key, 0, 9)


def test_uniforms_of_small_keys_are_what_they_were():
    for key in ([0, 0], [3, 1], [2**53 + 1, 7], [2**63 - 1, 2**63 - 1]):
        words = np.random.Philox(key=key, counter=[2, 0, 0, 0]).random_raw(9)
        assert uniform_noise(*key, 8, 9).tolist() == [int(word >> 40) / 2**24 for word in words]
