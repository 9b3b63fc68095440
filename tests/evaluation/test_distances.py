"""Distances between clips against closed forms; the distance of a copy is exactly 0."""

import math

import numpy as np
import pytest
import torch

from wavenet.evaluation.distances import (
    diversity,
    frechet_distance,
    nearest_distances,
    pairwise_distances,
)


def test_a_distance_is_the_root_mean_square_of_differences(rng):
    first, second = rng.standard_normal((5, 7)), rng.standard_normal((40, 7))
    expected = np.sqrt(np.square(first[:, None] - second[None]).mean(2))
    assert pairwise_distances(first, second) == pytest.approx(expected)


def test_a_copy_has_the_distance_0_far_from_the_origin(rng):
    points = (1000 + rng.standard_normal((60, 50))).astype(np.float32)
    assert nearest_distances(points[10:20], points).tolist() == [0.0] * 10
    assert nearest_distances(points[:10], points[10:]).min() > 0.5  # negative control


def test_diversity_is_the_mean_over_pairs_of_a_class():
    points = np.array([[0.0], [1.0], [3.0], [10.0], [10.0], [5.0]])
    found = diversity(points, ["a", "a", "a", "b", "b", "c"])
    assert found == {"a": pytest.approx((1 + 3 + 2) / 3), "b": 0.0}


def test_diversity_does_not_depend_on_the_number_of_clips(rng):
    many = rng.standard_normal((400, 20))
    few = [diversity(many[n : n + 4], ["a"] * 4)["a"] for n in range(0, 400, 4)]
    assert np.mean(few) == pytest.approx(diversity(many, ["a"] * 400)["a"], rel=0.02)


def test_the_frechet_distance_of_a_shift_is_its_square(rng):
    cloud = torch.from_numpy(rng.standard_normal((300, 4)))
    assert frechet_distance(cloud, cloud) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(cloud, cloud + torch.tensor([3.0, 0, 0, 4.0])) == pytest.approx(25)


def test_the_frechet_distance_depends_on_the_covariance(rng):
    """For a set of points scaled by 2 it is the trace of (2 s - s)^2."""
    cloud = torch.from_numpy(rng.standard_normal((300, 4)))
    centred = cloud - cloud.mean(0)
    assert frechet_distance(centred, 2 * centred) == pytest.approx(float(centred.var(0).sum()))


def test_the_frechet_distance_falls_with_the_number_of_points(rng):
    """Therefore only distances of the same number of points are comparable."""
    few, many = (torch.from_numpy(rng.standard_normal((2, n, 8))) for n in (30, 3000))
    assert frechet_distance(*few) > 10 * frechet_distance(*many)
    assert math.isfinite(frechet_distance(few[0][:2], few[1]))  # fewer points than coordinates
