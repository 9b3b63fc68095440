"""The interface of loop and models: a model that is not a WaveNet trains without other changes."""

import pytest
import torch

from wavenet import checkpoint
from wavenet.checkpoint import CheckpointConfig
from wavenet.codec import Pcm16Codec
from wavenet.model.made import MADEConfig
from wavenet.model.model_config import GaussianOutput
from wavenet.model.recurrent import GRUConfig
from wavenet.training import cpu_loss, loop, snapshots
from wavenet.training.batches import collate
from wavenet.training.dataset import Dataset, cut_recording
from wavenet.training.prefetch import encode_batch
from wavenet.training.task import CodeLikelihoodTask, bits_per_sample, mean_nll

from . import (
    CODEC,
    CPU,
    MODEL,
    build_model,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    read_metrics,
    sine,
)


@pytest.fixture
def recurrent():
    """Return the config of a tiny GRU."""
    model = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8, condition_hop=10)
    return CheckpointConfig(**dict(make_config()) | {"model": model})


def test_a_recurrent_model_trains_with_the_generic_loss(tmp_path, recurrent):
    settings = make_settings(
        steps=60,
        samples_per_step=400,
        learning_rate=0.02,
        muon_learning_rate=0.02,
        gain_db=0.0,
        validate_every=20,
        save_every=20,
    )
    clips = [make_clip(200, 0)] * 2
    task = CodeLikelihoodTask(recurrent, settings, Dataset(train=clips, validation=clips[:1]))
    state = loop.train(task, tmp_path, device=CPU)
    losses = [record["loss_bits"] for record in read_metrics(tmp_path)]
    assert losses[0] == pytest.approx(8, abs=0.5)
    assert losses[-1] < losses[0] - 1.5
    best = checkpoint.load(tmp_path / "checkpoint").model
    assert bits_per_sample(best, recurrent, clips[:1]) == pytest.approx(state.best_bits)
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "| receptive field | unlimited |" in card
    assert loop.train(task, tmp_path, resume=True, device=CPU).step == 60


@pytest.fixture
def masked():
    """Return the config of a tiny MADE, which has its own training objective."""
    sizes = {"window": 8, "hidden_channels": 21, "output_channels": 8, "masks": 3, "orderings": 2}
    model = MADEConfig(**sizes, condition_hop=10)
    return CheckpointConfig(**dict(make_config()) | {"model": model})


def test_the_objective_of_the_architecture_is_used_with_gradients_only(masked):
    model = build_model(masked)
    clips = [make_clip(60, 0), make_clip(90, 1, context=20, start=50)]
    batch = encode_batch(collate(clips, CODEC, masked.model, [1.0, 1.0]), model)
    arguments = (batch.codes, batch.mask, batch.start, batch.conditioning, batch.codes)
    objective, nll = (f(*arguments).item() / 130 for f in (model.training_nll, model.nll))
    assert mean_nll(model, batch).item() == pytest.approx(objective)
    with torch.no_grad():
        assert mean_nll(model, batch).item() == pytest.approx(nll)
    assert nll != pytest.approx(objective, rel=1e-3)


def test_training_windows_improves_the_predictions_and_resumes_exactly(tmp_path, masked):
    settings = make_settings(
        steps=40, samples_per_step=400, learning_rate=0.02, validate_every=20, save_every=20
    )
    clips = [make_clip(200, 0)] * 3
    task = CodeLikelihoodTask(masked, settings, Dataset(train=clips, validation=clips[:1]))
    whole = loop.train(task, tmp_path / "whole", device=CPU)
    assert whole.best_bits < 7
    best = checkpoint.load(tmp_path / "whole" / "checkpoint").model
    assert bits_per_sample(best, masked, clips[:1]) == pytest.approx(whole.best_bits)
    calls = iter(range(100))
    loop.train(task, tmp_path / "parts", device=CPU, should_stop=lambda: next(calls) == 7)
    parts = loop.train(task, tmp_path / "parts", resume=True, device=CPU)
    one, other = snapshots.state_tensors(whole), snapshots.state_tensors(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_segments_for_a_recurrent_model_have_no_context(recurrent):
    clips = cut_recording(sine(1000), {}, 300, recurrent.model, "x.wav", torch.zeros(0, 0))
    assert [(c.start, c.samples, c.context) for c in clips] == [(n * 250, 250, 0) for n in range(4)]


def test_muon_gets_the_hidden_matrices_of_a_recurrent_model(recurrent):
    task = CodeLikelihoodTask(recurrent, make_settings(), make_dataset())
    model = task.build_model()
    names = {id(p): name for name, p in model.named_parameters()}
    hidden, others = ([names[id(p)] for p in group] for group in task.parameter_groups(model))
    assert hidden == ["recurrent.weight_ih_l0", "recurrent.weight_hh_l0", "hidden.weight"]
    assert sorted([*hidden, *others]) == sorted(names.values())


@pytest.mark.parametrize("bits", [8, 16])
def test_the_generic_loss_equals_the_clipwise_loss_of_a_wavenet(monkeypatch, bits):
    codec, output = (CODEC, {}) if bits == 8 else (Pcm16Codec(), {"output": GaussianOutput()})
    model = build_model(make_config(bits=bits, **output))
    clips = [make_clip(260, 0), make_clip(290, 1, context=20, start=50)]
    batch = encode_batch(collate(clips, codec, MODEL, [1.0, 1.0]), model)
    clipwise = mean_nll(model, batch).item()
    monkeypatch.setattr(cpu_loss, "supports", lambda model: False)
    assert mean_nll(model, batch).item() == pytest.approx(clipwise, rel=1e-5)


@pytest.mark.parametrize("longest", [cpu_loss.SHORTEST_BATCH - 100, cpu_loss.SHORTEST_BATCH])
def test_only_the_loss_of_long_clips_is_computed_clip_by_clip(monkeypatch, longest):
    model, calls, clipwise_nll = build_model(make_config()), [], cpu_loss.clipwise_nll

    def count_calls(*arguments):
        calls.append(arguments)
        return clipwise_nll(*arguments)

    monkeypatch.setattr(cpu_loss, "clipwise_nll", count_calls)
    clips = [make_clip(longest, 0), make_clip(30, 1)]
    mean_nll(model, encode_batch(collate(clips, CODEC, MODEL, [1.0, 1.0]), model))
    assert len(calls) == (longest == cpu_loss.SHORTEST_BATCH)
