"""The short form of `kill_prepare`."""

from tests.faults.kill_prepare import disturb


def test_a_preparation_that_is_killed_comes_to_the_same_corpus(tmp_path):
    found = disturb(tmp_path, 300, 3, 10, 2.5, seed=1)
    assert found["equal"]
    assert found["kills"] == 3
