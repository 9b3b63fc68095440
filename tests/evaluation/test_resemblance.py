"""Distances between clips: closed forms, and copies that must be seen as such."""

import math

import numpy as np
import pytest
import torch

from wavenet.evaluation.resemblance import distances, diversity, frechet, nearest


def test_a_distance_is_the_root_mean_square_of_differences(rng):
    first, second = rng.standard_normal((5, 7)), rng.standard_normal((40, 7))
    expected = np.sqrt(np.square(first[:, None] - second[None]).mean(2))
    assert distances(first, second) == pytest.approx(expected)


def test_a_copy_lies_at_zero_exactly_however_far_out(rng):
    points = (1000 + rng.standard_normal((60, 50))).astype(np.float32)
    assert nearest(points[10:20], points).tolist() == [0.0] * 10
    assert nearest(points[:10], points[10:]).min() > 0.5  # the control


def test_diversity_is_the_mean_over_pairs_of_a_class():
    points = np.array([[0.0], [1.0], [3.0], [10.0], [10.0], [5.0]])
    found = diversity(points, ["a", "a", "a", "b", "b", "c"])
    assert found == {"a": pytest.approx((1 + 3 + 2) / 3), "b": 0.0}


def test_diversity_does_not_grow_with_the_number_of_clips(rng):
    many = rng.standard_normal((400, 20))
    few = [diversity(many[n : n + 4], ["a"] * 4)["a"] for n in range(0, 400, 4)]
    assert np.mean(few) == pytest.approx(diversity(many, ["a"] * 400)["a"], rel=0.02)


def test_a_frechet_distance_of_a_shift_is_its_square(rng):
    cloud = torch.from_numpy(rng.standard_normal((300, 4)))
    assert frechet(cloud, cloud) == pytest.approx(0, abs=1e-9)
    assert frechet(cloud, cloud + torch.tensor([3.0, 0, 0, 4.0])) == pytest.approx(25)


def test_a_frechet_distance_sees_what_the_mean_does_not(rng):
    """Of a cloud twice as wide it is the trace of (2 s - s)^2."""
    cloud = torch.from_numpy(rng.standard_normal((300, 4)))
    centred = cloud - cloud.mean(0)
    assert frechet(centred, 2 * centred) == pytest.approx(float(centred.var(0).sum()))


def test_a_frechet_distance_shrinks_with_the_number_of_points(rng):
    """Why only distances of equally many points compare."""
    few, many = (torch.from_numpy(rng.standard_normal((2, n, 8))) for n in (30, 3000))
    assert frechet(*few) > 10 * frechet(*many)
    assert math.isfinite(frechet(few[0][:2], few[1]))  # fewer points than coordinates
