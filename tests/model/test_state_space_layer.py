"""State-space layer: closed forms, and agreement of its four forms."""

import math

import pytest
import torch

from wavenet.model.state_space import StateSpace, StateSpaceConfig
from wavenet.model.state_space_layer import (
    Modes,
    StateSpaceLayer,
    associative_scan,
    run_chunks,
    run_convolution,
    run_recurrence,
    run_scan,
)

PARALLEL = [run_convolution, run_scan, run_chunks]
every_form = pytest.mark.parametrize("run", [run_recurrence, *PARALLEL])


def make_layer(channels=3, states=4, seed=0):
    torch.manual_seed(seed)
    return StateSpaceLayer(channels, states)


def make_inputs(layer, samples, batch=2, seed=1):
    """Return inputs (B, T, C) and a state (B, C, N) that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    channels, states = layer.log_decay.shape
    inputs = torch.randn(batch, samples, channels, generator=generator)
    parts = torch.randn(2, batch, channels, states, generator=generator)
    return inputs, torch.complex(*parts) * 0.1


@every_form
def test_the_response_to_a_constant_is_the_solution_of_the_equation(run):
    """With u = 1 and h(0) = 0, dh/dt = A h + 1 has the solution h(t) = (exp(A t) - 1) / A."""
    rate, readout, step = complex(-0.5, 3.0), complex(0.3, -0.7), 0.02
    layer = make_layer(1, 1)
    with torch.no_grad():
        layer.log_decay.fill_(math.log(0.5))
        layer.frequency.fill_(3.0)
        layer.log_step.fill_(math.log(step))
        layer.readout_real.fill_(0.3)
        layer.readout_imaginary.fill_(-0.7)
        state = torch.zeros(1, 1, 1, dtype=torch.complex64)
        outputs, last = run(layer.modes(), torch.ones(1, 500, 1), state)
    times = step * torch.arange(1, 501, dtype=torch.float64)
    solution = (torch.exp(rate * times) - 1) / rate
    expected = 2 * (readout * solution).real
    torch.testing.assert_close(outputs[0, :, 0].double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last[0, 0, 0].to(torch.complex128), solution[-1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("run", PARALLEL)
@pytest.mark.parametrize("is_zero", [True, False])
def test_all_forms_agree(run, is_zero):
    layer = make_layer()
    modes = layer.modes()
    inputs, state = make_inputs(layer, 2000)
    state = torch.zeros_like(state) if is_zero else state
    outputs, last = run_recurrence(modes, inputs, state)
    found, found_last = run(modes, inputs, state)
    torch.testing.assert_close(found, outputs, rtol=0, atol=1e-4)
    torch.testing.assert_close(found_last, last, rtol=0, atol=1e-4)
    # negative controls: another first state, another Delta
    assert (run(modes, inputs, state + 0.1)[0] - outputs).abs().max() > 1e-2
    other = modes._replace(exponent=modes.exponent * 1.01)
    assert (run(other, inputs, state)[0] - outputs).abs().max() > 1e-2


@pytest.mark.parametrize("run", PARALLEL)
@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 128, 131])
def test_all_forms_agree_at_every_length(run, samples):
    layer = make_layer()
    inputs, state = make_inputs(layer, samples)
    expected = run_recurrence(layer.modes(), inputs, state)
    torch.testing.assert_close(run(layer.modes(), inputs, state), expected, rtol=0, atol=1e-5)


def test_the_layer_and_its_gradients_equal_the_recurrence():
    layer = make_layer()
    inputs, state = make_inputs(layer, 100)
    parameters = list(layer.parameters())
    grads = []
    for run in (lambda m, u, s: run_recurrence(m, u, s)[0] + layer.direct * u, None):
        outputs = run(layer.modes(), inputs, state) if run else layer(inputs, state)[0]
        grads.append([outputs, *torch.autograd.grad(outputs.square().sum(), parameters)])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-3)
    assert all(grad.abs().max() > 0.1 for grad in grads[0])


def test_the_kernel_is_the_response_to_an_impulse():
    layer = make_layer()
    impulse = torch.zeros(1, 300, 3)
    impulse[0, 0] = 1
    outputs, _ = layer(impulse, torch.zeros(1, 3, 4, dtype=torch.complex64))
    outputs[0, 0] -= layer.direct
    kernel = layer.kernel(300)
    assert kernel.shape == (3, 300)
    torch.testing.assert_close(kernel, outputs[0].T, rtol=0, atol=1e-5)
    assert (kernel - layer.kernel(301)[:, 1:]).abs().max() > 1e-3


def test_the_scan_of_integers_is_exact():
    decay = torch.full((1, 1), 2.0)
    for samples in range(1, 10):
        added = torch.arange(1.0, samples + 1).reshape(-1, 1, 1, 1)
        state, expected = 3.0, []
        for n in range(samples):
            state = 2 * state + n + 1
            expected.append(state)
        found = associative_scan(decay, added, torch.full((1, 1, 1), 3.0))
        assert found.flatten().tolist() == expected


def test_a_later_input_changes_no_earlier_output_of_chunks():
    layer = make_layer()
    inputs, state = make_inputs(layer, 200)
    changed = inputs.clone()
    changed[:, 100:] += 1
    before, after = (run_chunks(layer.modes(), x, state)[0] for x in (inputs, changed))
    assert torch.equal(after[:, :100], before[:, :100])
    assert not torch.equal(after[:, 100], before[:, 100])


def test_a_long_input_stays_bounded():
    """|A'| < 1 for all parameters, also after large changes of them."""
    layer = make_layer()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape) * 3)
    modes = layer.modes()
    assert (modes.powers(2)[..., 1].abs() < 1).all()
    assert run_chunks(modes, *make_inputs(layer, 5000))[0].isfinite().all()


def test_the_initial_values_are_those_of_s4d_lin():
    layer = make_layer(200, 5)
    assert torch.allclose(layer.log_decay.exp(), torch.tensor(0.5))
    assert torch.allclose(layer.frequency[7], math.pi * torch.arange(5.0))
    steps = layer.log_step.exp()
    assert 0.001 <= steps.min() < 0.0013 and 0.08 < steps.max() <= 0.1
    assert steps.median().item() == pytest.approx(0.01, rel=0.3)


def test_parameters_and_buffers_are_float32_and_muon_gets_the_linear_layers():
    model = StateSpace(StateSpaceConfig(channels=8, states=3, layers=1), 5, 8000)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    names = {id(p): name for name, p in model.named_parameters()}
    hidden = [names[id(p)] for p in model.hidden_matrices()]
    assert hidden == ["blocks.0.mix.weight", "hidden.weight"]


def test_modes_of_a_small_step_are_exact():
    """(exp(z) - 1) / z is near 1 for a small z, where a difference would lose digits."""
    layer = make_layer(1, 1)
    with torch.no_grad():
        layer.frequency.fill_(0.001)
        layer.log_step.fill_(math.log(1e-6))
    modes = layer.modes()
    assert isinstance(modes, Modes)
    assert modes.gain.item() == pytest.approx(1e-6, rel=1e-5)
