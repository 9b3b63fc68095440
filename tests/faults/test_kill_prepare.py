"""A short run of `kill_prepare`."""

import pytest

from tests.faults.kill_prepare import compare_with_kills


@pytest.mark.slow
def test_a_preparation_that_is_killed_gives_the_same_corpus(tmp_path):
    result = compare_with_kills(tmp_path, 300, 3, 10, 2.5, seed=1)
    assert result["equal"]
    assert result["kills"] == 3
