"""Truncated backpropagation through time: same loss, and the gradient within each chunk."""

import pytest
import torch

from tests.conftest import tiny_config
from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config as check_config
from wavenet.errors import ConfigError
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.conditions import PositionCondition
from wavenet.model.model_config import GaussianOutput
from wavenet.model.recurrent import RECURRENCES
from wavenet.training import loop
from wavenet.training.batches import collate
from wavenet.training.dataset import Dataset
from wavenet.training.prefetch import encode_batch
from wavenet.training.recipe import RecipeConfig
from wavenet.training.task import CodeLikelihoodTask, bits_per_sample, mean_nll

from . import CPU, build_model, make_clip, make_config, make_settings, read_metrics

SAMPLES = 90
SIZES = {"embedding_channels": 6, "hidden_channels": 8, "output_channels": 7}
every_recurrence = pytest.mark.parametrize("name", RECURRENCES)


def recurrent_config(name, bits=8):
    """Return the config of a tiny model whose bias differs from frame to frame."""
    output = {"output": GaussianOutput()} if bits == 16 else {}
    model = ARCHITECTURES[name].config(
        **SIZES, **output, layers=2, conditions=(PositionCondition(),), condition_hop=10
    )
    return CheckpointConfig(**dict(make_config(bits=bits, **output)) | {"model": model})


def make_batch(model, config):
    """Return two clips of different lengths; the second is a segment of a recording."""
    clips = [make_clip(SAMPLES, 0), make_clip(60, 1, context=20, start=57)]
    return encode_batch(collate(clips, config.codec, config.model, [1.0, 1.0]), model)


def loss_and_gradient(model, batch, truncation=None):
    """Return the loss and the gradient by the name of each parameter."""
    model.zero_grad(set_to_none=True)
    loss = mean_nll(model, batch, truncation)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


def largest_difference(found, expected):
    """Return the largest difference of two gradients, relative to the size of each tensor."""
    assert found.keys() == expected.keys()
    return max(float((found[n] - g).norm() / g.norm()) for n, g in expected.items())


@every_recurrence
@pytest.mark.parametrize("bits", [8, 16])
def test_the_loss_is_that_of_the_whole_clip(name, bits):
    config = recurrent_config(name, bits)
    model = build_model(config)
    batch = make_batch(model, config)
    whole, _ = loss_and_gradient(model, batch)
    for truncation in (1, 7, 30, SAMPLES, 1000):
        found, _ = loss_and_gradient(model, batch, truncation)
        assert found.item() == pytest.approx(whole.item(), rel=1e-5)
    with torch.no_grad():
        assert mean_nll(model, batch, 7).item() == pytest.approx(whole.item(), rel=1e-5)


@every_recurrence
def test_the_gradient_of_one_chunk_is_exact_and_that_of_several_is_not(name):
    config = recurrent_config(name)
    model = build_model(config)
    batch = make_batch(model, config)
    _, whole = loss_and_gradient(model, batch)
    for truncation in (SAMPLES, 1000):
        _, found = loss_and_gradient(model, batch, truncation)
        assert largest_difference(found, whole) < 1e-4
    errors = {}
    for truncation in (1, 30):
        _, found = loss_and_gradient(model, batch, truncation)
        # no path through time leads to the output layers
        for part in ("output.weight", "hidden.bias"):
            torch.testing.assert_close(found[part], whole[part], rtol=1e-4, atol=1e-6)
        errors[truncation] = largest_difference(found, whole)
    assert errors[1] > 0.05
    assert errors[1] > errors[30] > 1e-3


def test_the_omitted_gradient_is_that_of_the_carried_memory():
    """With a chunk of one sample, U of a vanilla RNN gets the gradient of its own step only."""
    config = recurrent_config("rnn")
    model = build_model(config)
    batch = make_batch(model, config)
    _, found = loss_and_gradient(model, batch, 1)
    inputs = torch.nn.functional.pad(batch.codes[:, :-1], (1, 0), value=model.start_code)
    memory, total = model.initial_memory(2), 0
    for t in range(SAMPLES):
        hidden = model.hidden_states(
            inputs[:, t : t + 1], batch.conditioning, batch.start + t, memory
        )
        log_probs = model.output_params(hidden[:, 0]).log_softmax(1)
        chosen = log_probs.gather(1, batch.codes[:, t : t + 1])[:, 0]
        total = total - (chosen * batch.mask[:, t]).sum() / batch.targets
    model.zero_grad()
    total.backward()
    torch.testing.assert_close(model.recurrent.weight_hh_l0.grad, found["recurrent.weight_hh_l0"])


def count_stored(model, batch, truncation):
    """Return the largest number of values that autograd stores at one time."""
    sizes, largest = {}, 0

    class Stored:
        def __init__(self, tensor):
            nonlocal largest
            self.tensor = tensor.detach()
            sizes[id(self)] = tensor.numel()
            largest = max(largest, sum(sizes.values()))

        def __del__(self):
            sizes.pop(id(self))

    with torch.autograd.graph.saved_tensors_hooks(Stored, lambda stored: stored.tensor):
        mean_nll(model, batch, truncation)
    return largest


@every_recurrence
def test_the_activations_of_one_chunk_are_stored(name):
    config = recurrent_config(name)
    model = build_model(config)
    batch = make_batch(model, config)
    whole, chunks = (count_stored(model, batch, truncation) for truncation in (None, 9))
    assert chunks < whole / 3
    assert count_stored(model, batch, SAMPLES) > whole / 2  # negative control


def test_autocast_rounds_the_chunks_as_the_whole():
    config = recurrent_config("gru")
    model = build_model(config)
    batch = make_batch(model, config)
    with torch.autocast("cpu", torch.bfloat16):
        whole, expected = loss_and_gradient(model, batch)
        chunks, found = loss_and_gradient(model, batch, 30)
    assert chunks.item() == pytest.approx(whole.item(), rel=0.01)
    assert all(g is not None and g.isfinite().all() for g in found.values())
    exact, _ = loss_and_gradient(model, batch)
    assert exact.item() != whole.item()
    assert found.keys() == expected.keys()


def test_a_model_trains_with_truncation_and_resumes(tmp_path):
    config = recurrent_config("lstm")
    clips = [make_clip(200, 0)] * 2
    settings = make_settings(
        steps=60,
        samples_per_step=400,
        learning_rate=0.02,
        gain_db=0.0,
        truncation=50,
        validate_every=20,
        save_every=20,
    )
    task = CodeLikelihoodTask(config, settings, Dataset(train=clips, validation=clips[:1]))
    state = loop.train(task, tmp_path, device=CPU)
    losses = [record["loss_bits"] for record in read_metrics(tmp_path)]
    assert losses[-1] < losses[0] - 1
    assert bits_per_sample(state.ema_model, config, clips[:1]) < losses[0]
    assert loop.train(task, tmp_path, resume=True, device=CPU).step == 60


def test_truncation_of_a_limited_receptive_field_is_refused():
    recipe = {
        "name": "mine",
        "audio": {"sample_rate": 8000},
        "model": dict(recurrent_config("gru").model),
        "train": {"steps": 1, "truncation": 100},
    }
    assert check_config(RecipeConfig, "mine", **recipe).train.truncation == 100
    recipe["model"] = dict(tiny_config())
    with pytest.raises(ConfigError, match=r"unlimited receptive field; found a model with 11 samp"):
        check_config(RecipeConfig, "mine", **recipe)
    for truncation in (0, -1, 2.5):
        recipe["train"] = {"steps": 1, "truncation": truncation}
        with pytest.raises(ConfigError, match="truncation"):
            check_config(RecipeConfig, "mine", **recipe)
