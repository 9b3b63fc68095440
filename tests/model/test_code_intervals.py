"""Intervals of codes: against scipy, and sums of 1."""

import pytest
import torch

from wavenet.codec import MuLawCodec
from wavenet.model.code_intervals import CodeIntervals

LEVELS = MuLawCodec(bits=6).decode(torch.arange(64))
POINTS = [(0.0, 0.1), (0.37, 0.003), (-0.9, 0.5), (1.3, 0.05)]


@pytest.mark.parametrize("residual", ["gaussian", "logistic"])
@pytest.mark.parametrize("prediction, scale", POINTS)
def test_probabilities_equal_those_of_scipy(residual, prediction, scale):
    stats = pytest.importorskip("scipy.stats")
    middles = ((LEVELS[1:].double() + LEVELS[:-1]) / 2).numpy()
    family = stats.norm if residual == "gaussian" else stats.logistic
    cdf = family.cdf(middles, prediction, scale)
    expected = torch.from_numpy(cdf).diff(
        prepend=torch.zeros(1, dtype=torch.float64), append=torch.ones(1, dtype=torch.float64)
    )
    point = [torch.full((1,), value, dtype=torch.float64) for value in (prediction, scale)]
    found = CodeIntervals(LEVELS.double(), residual).log_probs(*point, torch.arange(64)).exp()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert found.sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("residual", ["gaussian", "logistic"])
def test_distant_codes_have_finite_gradients(residual):
    prediction = torch.tensor([5.0], requires_grad=True)
    scale = torch.tensor([1e-4], requires_grad=True)
    found = CodeIntervals(LEVELS, residual).log_probs(prediction, scale, torch.arange(64))
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert found[-1] == 0  # everything beyond
    assert bool(prediction.grad.isfinite().all()) and bool(scale.grad.isfinite().all())
