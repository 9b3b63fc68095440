"""MADE: allowed connections, the chain rule, the training objective."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from tests.conftest import tiny_config
from wavenet.model import made
from wavenet.model.made import MADE, MADEConfig
from wavenet.model.made_masks import draw_degrees, draw_orders, make_masks, window_index

WINDOW = 6


def make_made(bits=4, seed=0, **settings):
    """Build a small MADE whose weights are large enough for predictions that differ."""
    torch.manual_seed(seed)
    sizes = dict(window=WINDOW, hidden_channels=64, output_channels=12, masks=3) | settings
    model = MADE(MADEConfig(**sizes), bits, 8000)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        model.output.weight.mul_(20)
    return model


def window_params(model, codes, mask_set):
    """Return params (N, D, P) of windows (N, D)."""
    return model.output_params(model.window_features(model.embedding(codes), mask_set))


def find_dependencies(model, mask_set, windows=8):
    """Return (D, D) bool: whether output d depends on input e, in any of some windows."""
    codes = torch.randint(model.n_classes, (windows, model.config.window))
    x = model.embedding(codes).detach().requires_grad_()
    params = model.output_params(model.window_features(x, mask_set))
    rows = []
    for d in range(model.config.window):
        weights = torch.randn(params.shape[2])
        (grad,) = torch.autograd.grad((params[:, d] @ weights).sum(), x, retain_graph=True)
        rows.append((grad != 0).any(2).any(0))
    return torch.stack(rows)


def break_the_last_mask(monkeypatch):
    """Replace the masks: outputs also read units of their own degree, a wrong rule."""

    def broken(order, degrees):
        return [*make_masks(order, degrees)[:-1], order[:, None] >= degrees[-1]]

    monkeypatch.setattr(made, "make_masks", broken)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("orderings", [1, 3])
def test_an_output_depends_on_exactly_the_codes_before_it(monkeypatch, layers, orderings):
    model = make_made(layers=layers, orderings=orderings)
    orders = {tuple(order.tolist()) for order in model.order}
    assert len(orders) == orderings and all(order[-1] == WINDOW for order in orders)
    for mask_set, order in enumerate(model.order):
        allowed = order[:, None] > order
        assert torch.equal(find_dependencies(model, mask_set), allowed)
        assert orderings > 1 or torch.equal(allowed, torch.ones(WINDOW, WINDOW).tril(-1).bool())
    break_the_last_mask(monkeypatch)
    assert not torch.equal(find_dependencies(model, 0), model.order[0][:, None] > model.order[0])


@pytest.mark.parametrize("mask_set", [0, 1])
def test_the_probabilities_of_all_windows_sum_to_one(monkeypatch, mask_set):
    model = make_made(bits=2, window=3, orderings=2, masks=2)
    windows = torch.tensor(list(itertools.product(range(4), repeat=3)))

    def total():
        log_probs = window_params(model, windows, mask_set).log_softmax(2)
        return log_probs.gather(2, windows[..., None]).sum((1, 2)).exp().sum().item()

    assert total() == pytest.approx(1, abs=1e-5)
    break_the_last_mask(monkeypatch)
    assert abs(total() - 1) > 1e-2


def test_predictions_of_the_next_code_average_the_logits_of_the_mask_sets():
    model = make_made(orderings=3)
    codes = torch.randint(16, (1, 40))
    found = model(codes, model.conditioning([{}], [40]))[0].T
    padded = torch.nn.functional.pad(codes[0], (WINDOW - 1, 0), value=model.start_code)
    windows = padded.unfold(0, WINDOW, 1)
    parts = [window_params(model, windows, n)[:, -1] for n in range(3)]
    torch.testing.assert_close(found, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)
    assert (parts[0] - parts[1]).abs().max() > 1e-2


@pytest.mark.parametrize("samples", [WINDOW - 2, WINDOW, 3 * WINDOW + 1])
def test_the_training_objective_is_the_likelihood_of_windows_side_by_side(samples):
    model = make_made(masks=2, orderings=2)
    codes = torch.randint(16, (1, samples))
    conditioning, mask = model.conditioning([{}], [samples]), torch.ones(1, samples).bool()
    found = model.training_nll(codes, mask, None, conditioning, codes).item()
    missing = -samples % WINDOW
    padded = torch.nn.functional.pad(codes[0], (missing, 0), value=model.start_code)
    expected = 0.0
    for n, window in enumerate(padded.split(WINDOW)):
        log_probs = window_params(model, window[None], n % 2)[0].log_softmax(1)
        chosen = log_probs.gather(1, window[:, None])[:, 0]
        expected -= chosen[missing if n == 0 else 0 :].sum().item()
    assert found == pytest.approx(expected, rel=1e-5)
    # negative control: the likelihood of the predictions as they are used
    assert model.nll(codes, mask, None, conditioning, codes).item() != pytest.approx(found)


def test_a_batch_of_rows_is_the_sum_of_its_rows():
    model = make_made(masks=1)
    codes, mask = torch.randint(16, (2, 20)), torch.ones(2, 20).bool()
    mask[0, :7] = False  # context
    mask[1, 13:] = False  # padding
    starts = torch.tensor([9, 0])

    def nll(rows, samples=20):
        values = [{}] * len(codes[rows])
        conditioning = model.conditioning(values, [40] * len(values))
        cut = (x[rows, :samples] for x in (codes, mask))
        return model.training_nll(
            *cut, starts[rows], conditioning, codes[rows, :samples].clone()
        ).item()

    whole = nll(slice(0, 2))
    assert whole == pytest.approx(nll(slice(0, 1)) + nll(slice(1, 2), 13), rel=1e-5)
    codes[1, 13:] = (codes[1, 13:] + 5) % 16
    assert nll(slice(0, 2)) == whole
    codes[1, 3] = (codes[1, 3] + 5) % 16
    assert nll(slice(0, 2)) != pytest.approx(whole, rel=1e-5)


def test_noise_changes_the_inputs_but_not_the_targets():
    model = make_made(masks=1, window=2)
    codes, mask = torch.tensor([[3, 5]]), torch.ones(1, 2).bool()
    conditioning = model.conditioning([{}], [2])
    found = model.training_nll(codes, mask, None, conditioning, torch.tensor([[4, 5]])).item()
    log_probs = window_params(model, torch.tensor([[4, 5]]), 0)[0].log_softmax(1)
    assert found == pytest.approx(-(log_probs[0, 3] + log_probs[1, 5]).item(), rel=1e-5)


def test_conditions_of_a_window_are_those_of_its_last_sample():
    conditions = tiny_config(conditions="position").conditions
    model = make_made(masks=1, condition_hop=7, conditions=conditions)
    codes, mask = torch.randint(16, (1, 2 * WINDOW)), torch.ones(1, 2 * WINDOW).bool()
    conditioning = model.conditioning([{}], [20])
    found = model.training_nll(codes, mask, None, conditioning, codes).item()
    biases = model._sample_biases(conditioning, None, 2 * WINDOW)[0, WINDOW - 1 :: WINDOW]

    def expected(biases):
        x = model.embedding(codes.unflatten(1, (2, WINDOW))[0])
        log_probs = model.output_params(model.window_features(x, 0, biases)).log_softmax(2)
        return -log_probs.gather(2, codes.reshape(2, WINDOW, 1)).sum().item()

    assert found == pytest.approx(expected(biases), rel=1e-5)
    assert found != pytest.approx(expected(biases.flip(0)), rel=1e-3)


def test_every_target_is_in_one_window():
    mask = torch.zeros(3, 11).bool()
    mask[0, :11], mask[1, 4:9], mask[2, :1] = True, True, True
    index = window_index(mask, 4)
    assert index.shape == (3, 3, 4)
    assert index[0, 0].tolist() == [-1, 0, 1, 2]
    assert index[:, -1, -1].tolist() == [10, 8, 0]
    for row in range(3):
        used = [i for i in index[row].flatten().tolist() if i >= 0 and mask[row, i]]
        assert used == mask[row].nonzero().flatten().tolist()


def test_degrees_and_orders_are_in_their_ranges():
    torch.manual_seed(0)
    degrees = draw_degrees(5, 3, 200)
    assert {tuple(sorted(set(layer.tolist()))) for layer in degrees} == {(1, 2, 3, 4)}
    assert degrees[0].int().bincount().tolist() == [0, 50, 50, 50, 50]
    assert not torch.equal(degrees[0], degrees[1])
    few = draw_degrees(40, 4, 3)
    assert all(sorted(layer.tolist()) == [37, 38, 39] for layer in few)
    orders = draw_orders(5, 4)
    assert orders[0].tolist() == [1, 2, 3, 4, 5]
    assert all(sorted(order.tolist()) == [1, 2, 3, 4, 5] for order in orders)


def test_masks_are_stored_in_float32_and_a_copy_predicts_the_same():
    model, other = make_made(masks=2, orderings=2), make_made(masks=2, orderings=2, seed=1)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    codes = torch.randint(16, (1, 30))
    conditioning = model.conditioning([{}], [30])
    assert not torch.equal(other.degrees, model.degrees)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(codes, conditioning), model(codes, conditioning))


def test_more_orderings_than_mask_sets_are_refused():
    with pytest.raises(
        ValidationError, match="3 orderings need as many mask sets, found masks = 2"
    ):
        MADEConfig(masks=2, orderings=3)


def test_untrained_predictions_are_nearly_uniform():
    torch.manual_seed(0)
    model = MADE(MADEConfig(window=8), 8, 8000)
    codes, mask = torch.randint(256, (1, 64)), torch.ones(1, 64).bool()
    conditioning = model.conditioning([{}], [64])
    for compute in (model.nll, model.training_nll):
        nats = compute(codes, mask, None, conditioning, codes).item() / 64
        assert nats == pytest.approx(math.log(256), abs=0.1)
