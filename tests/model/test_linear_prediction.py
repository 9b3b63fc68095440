"""Linear prediction: closed forms, gradient descent, adaptive scale, stability."""

import json
import math

import pytest
import torch

from wavenet.codec import MuLawCodec
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import LabelCondition
from wavenet.model.linear_prediction import LinearPredictionConfig, LinearPredictor
from wavenet.model.model_config import GaussianOutput
from wavenet.model.statistics_model import add_to_parts, sum_parts, uses_statistics

CODEC = MuLawCodec(bits=10)


def build(bits=10, **settings):
    return LinearPredictor(LinearPredictionConfig(**settings), bits, 8000, 1 << (bits - 1))


def second_order_process(rows=4, samples=3000, seed=0):
    """Return codes (rows, samples) of 1.6 x[-1] - 0.8 x[-2] plus Gaussian noise of 0.02."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.02 * torch.randn(rows, samples, generator=generator, dtype=torch.float64)
    x = torch.zeros_like(noise)
    for t in range(2, samples):
        x[:, t] = 1.6 * x[:, t - 1] - 0.8 * x[:, t - 2] + noise[:, t]
    return CODEC.encode(x.float())


def observe(model, codes, mask=None):
    mask = torch.ones_like(codes, dtype=torch.bool) if mask is None else mask
    rows, samples = codes.shape
    model.observe(codes, mask, model.conditioning([{}] * rows, [samples] * rows))


def mean_nll(model, codes):
    rows, samples = codes.shape
    params = model(codes, model.conditioning([{}] * rows, [samples] * rows))
    return -model.distribution.log_prob(params, codes).mean()


def test_the_coefficient_of_order_one_is_the_ratio_of_sums():
    codes = second_order_process(rows=1)
    model = build(order=1, scale_window=0)
    observe(model, codes)
    x = CODEC.decode(codes)[0].double()
    before = torch.cat([CODEC.decode(torch.tensor([512])).double(), x[:-1]])
    expected = (before * x).sum() / before.square().sum()
    assert model.coefficients.item() == pytest.approx(expected.item(), rel=1e-6)
    assert model.largest_pole == pytest.approx(abs(expected.item()), rel=1e-6)


def test_batches_give_the_same_estimate_as_one_batch():
    codes = second_order_process()
    whole, parts = build(order=3, scale_window=0), build(order=3, scale_window=0)
    observe(whole, codes)
    for row in codes:
        observe(parts, row[None])
    torch.testing.assert_close(parts.coefficients, whole.coefficients, rtol=1e-5, atol=1e-6)
    mask = torch.ones_like(codes, dtype=torch.bool)
    mask[1:] = False
    masked, first = build(order=3, scale_window=0), build(order=3, scale_window=0)
    observe(masked, codes, mask)
    observe(first, codes[:1])
    assert torch.equal(masked.coefficients, first.coefficients)
    assert not torch.equal(masked.coefficients, whole.coefficients)


def test_closed_form_and_gradient_descent_agree():
    codes = second_order_process()
    closed = build(order=2, residual="gaussian", scale_window=0)
    observe(closed, codes)
    assert closed.coefficients.tolist() == pytest.approx([1.6, -0.8], abs=0.01)
    # the grid has steps of 2 ** (1 / 4)
    assert closed.log_scale[0].exp().item() == pytest.approx(0.02, rel=0.1)
    model = build(order=2, residual="gaussian", scale_window=0, estimation="gradient")
    assert not uses_statistics(model)
    few = codes[:2, :300]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = mean_nll(model, few)
        loss.backward()
        return loss

    optimizer.step(closure)
    observe(short := build(order=2, residual="gaussian", scale_window=0), few)
    torch.testing.assert_close(model.coefficients.data, short.coefficients.data, rtol=0, atol=0.01)
    assert model.log_scale[0].exp().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("residual", ["gaussian", "logistic"])
@pytest.mark.parametrize("window", [0, 8])
def test_probabilities_sum_to_one(residual, window):
    model = build(order=2, residual=residual, scale_window=window)
    codes = second_order_process(samples=500)
    observe(model, codes)
    params = model(codes, model.conditioning([{}] * 4, [500] * 4))
    torch.testing.assert_close(params.logsumexp(1), torch.zeros(4, 500), rtol=0, atol=1e-4)


def test_an_adaptive_scale_is_better_if_the_loudness_changes():
    steps = torch.arange(3000)
    loudness = 10 ** (-1.2 * (1 + torch.sin(steps / 150)))
    noise = torch.randn(2, 3000, generator=torch.Generator().manual_seed(1))
    codes = CODEC.encode((0.3 * loudness * noise).clamp(-1, 1))
    nll = {}
    for window in (0, 16):
        model = build(order=1, scale_window=window)
        observe(model, codes)
        nll[window] = mean_nll(model, codes).item()
    assert nll[16] < nll[0] - 0.3


def test_white_noise_has_no_prediction_and_the_scale_of_the_noise():
    noise = torch.randn(4, 3000, generator=torch.Generator().manual_seed(2))
    model = build(order=4, residual="gaussian", scale_window=0)
    observe(model, CODEC.encode(0.1 * noise))
    assert model.coefficients.abs().max() < 0.05
    assert model.log_scale[0].exp().item() == pytest.approx(0.1, rel=0.1)


def test_the_largest_pole_tells_whether_the_process_is_stable():
    """The poles are a pair of the given radius, and 0.5."""
    model = build(order=3)
    for radius in (0.9, 1.1):
        part = radius * math.cos(0.7)
        phi = [2 * part + 0.5, -(radius**2) - part, radius**2 / 2]
        model.coefficients.copy_(torch.tensor(phi))
        assert model.largest_pole == pytest.approx(radius, rel=1e-5)
        assert model.describe()["largest_pole"] == round(radius, 4)


def test_sums_in_two_parts_lose_nothing():
    parts, plain = torch.zeros(2), torch.zeros(())
    add_to_parts(parts, torch.tensor(1e8, dtype=torch.float64))
    plain += 1e8
    for _ in range(1000):
        add_to_parts(parts, torch.tensor(1.0, dtype=torch.float64))
        plain += 1
    assert sum_parts(parts).item() == 1e8 + 1000
    assert plain.item() == 1e8  # the control: one float32 number ignores every addition


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"conditions": (LabelCondition(name="digit"),)}, "no conditions, found .* 'label'"),
        ({"output": GaussianOutput()}, "must be 'categorical', found 'gaussian-mixture'"),
        ({"order": 0}, "from 1 to 256, found 0"),
        ({"residual": "laplace"}, "'gaussian' or 'logistic'"),
    ],
)
def test_what_linear_prediction_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_config(LinearPredictionConfig, "model", **settings)


def test_a_config_survives_json():
    config = LinearPredictionConfig(order=3, estimation="gradient")
    assert LinearPredictionConfig.model_validate_json(config.model_dump_json()) == config
    assert json.loads(config.model_dump_json())["architecture"] == "linear-prediction"
