"""Training of models of statistics: no optimizer, and all else as for networks."""

import math

import pytest
import torch

from wavenet import checkpoint
from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config as check_config
from wavenet.errors import ConfigError, TrainingError
from wavenet.model.conditions import LabelCondition
from wavenet.model.linear_prediction import LinearPredictionConfig
from wavenet.model.ngram import NGramConfig
from wavenet.training.batches import collate
from wavenet.training.distributed import Ranks
from wavenet.training.prefetch import encode_batch
from wavenet.training.recipe import RecipeConfig
from wavenet.training.state import make_state
from wavenet.training.task import CodeLikelihoodTask, bits_per_sample, mean_nll

from . import (
    CODEC,
    CPU,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    newest_snapshot,
    read_metrics,
    train,
)

MODELS = {
    "ngram": NGramConfig(context_bits=(8, 2)),
    "labels": NGramConfig(
        context_bits=(4,), conditions=(LabelCondition(name="digit", values=("a",), dropout=0.5),)
    ),
    "linear prediction": LinearPredictionConfig(order=3, scale_window=4),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def with_model(model):
    """Return the config of a tiny checkpoint with this model."""
    return CheckpointConfig(**{**dict(make_config()), "model": model})


@every_model
def test_a_run_writes_what_the_run_of_a_network_writes(tmp_path, model):
    config, dataset = with_model(model), make_dataset({"digit": "a"})
    state = train(config, make_settings(), dataset, tmp_path)
    assert state.step == 12
    assert state.ema_model is state.model
    assert not state.optimizers
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == list(range(1, 13))
    loaded = checkpoint.load(tmp_path / "checkpoint")
    found = bits_per_sample(loaded.model, config, dataset.validation)
    assert found == pytest.approx(state.best_bits)
    assert found == pytest.approx(min(r["bits_per_sample"] for r in records[3::4]))
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert f"| parameters | {loaded.model.parameter_count:,} (" in card


@every_model
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, model):
    config, dataset = with_model(model), make_dataset({"digit": "a"})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = make_settings(input_noise=2.0)
    expected = train(config, settings, dataset, whole).model.state_dict()
    steps = []
    stop = {"on_record": steps.append, "should_stop": lambda: len(steps) == 4}
    train(config, settings, dataset, parts, **stop)
    assert newest_snapshot(parts).name == "step-000000005"
    found = train(config, settings, dataset, parts, resume=True).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert read_metrics(parts)[5:] == read_metrics(whole)[5:]
    assert read_metrics(parts)[0] == read_metrics(whole)[0]


def test_the_loss_of_a_step_is_computed_before_its_recordings_are_added(tmp_path):
    clips = [make_clip(200, seed) for seed in range(2)]
    config, settings = with_model(MODELS["ngram"]), make_settings(gain_db=0.0, steps=2)
    task = CodeLikelihoodTask(config, settings, make_dataset())
    model = make_state(task).model
    batches = [encode_batch(collate([clip], CODEC, model.config, [1.0]), model) for clip in clips]
    assert mean_nll(model, batches[0]).item() == pytest.approx(8 * math.log(2))
    task.observe(model, batches[0])
    unseen = mean_nll(model, batches[1]).item()
    task.observe(model, batches[1])
    assert mean_nll(model, batches[1]).item() < unseen
    dataset = make_dataset()
    train(config, make_settings(accumulation_steps=3), dataset, tmp_path / "parts")
    train(config, make_settings(), dataset, tmp_path / "whole")
    parts, whole = read_metrics(tmp_path / "parts"), read_metrics(tmp_path / "whole")
    assert whole[0]["loss_bits"] == pytest.approx(8)
    losses = [[record["loss_bits"] for record in records] for records in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1])


def test_every_sample_of_a_pass_is_counted_once(tmp_path):
    dataset = make_dataset(validation=0)
    settings = make_settings(samples_per_step=10_000, steps=2, validate_every=2, save_every=2)
    config = with_model(MODELS["ngram"])
    model = train(config, settings, dataset, tmp_path).model
    samples = sum(clip.samples for clip in dataset.train)
    assert [table.sum().item() for table in model.tables] == [2 * samples] * 3


def test_a_training_from_a_checkpoint_adds_to_its_counts(tmp_path):
    config, dataset = with_model(MODELS["ngram"]), make_dataset()
    first = train(config, make_settings(), dataset, tmp_path / "first").model
    initial = checkpoint.load(tmp_path / "first" / "checkpoint")
    before = [table.sum().item() for table in initial.model.tables]
    second = train(config, make_settings(), dataset, tmp_path / "second", start=initial).model
    added = [table.sum().item() for table in first.tables]
    after = [table.sum().item() for table in second.tables]
    assert after == [a + b for a, b in zip(before, added, strict=True)]


def test_a_model_of_statistics_has_a_small_snapshot(tmp_path):
    config = with_model(MODELS["ngram"])
    model = train(config, make_settings(), make_dataset(), tmp_path).model
    size = (newest_snapshot(tmp_path) / "state.safetensors").stat().st_size
    assert size < 4 * model.parameter_count + 1000


def test_several_processes_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"trained by one process, found 2; start .* torchrun"):
        train(
            with_model(MODELS["ngram"]),
            make_settings(),
            make_dataset(),
            tmp_path,
            ranks=Ranks(world_size=2),
        )


@every_model
@pytest.mark.parametrize("setting", [{"scheduled_sampling": 0.1}, {"truncation": 100}])
def test_settings_of_gradients_are_refused_in_a_recipe(model, setting):
    """Regression: the share of own samples changed the loss, and the counts ignored it."""
    shared = {"name": "mine", "audio": {"sample_rate": 8000}, "model": dict(model)}
    (name,) = setting
    expected = rf"train\.{name} .* gradients; found .* {model.architecture}, .*: remove {name}$"
    with pytest.raises(ConfigError, match=expected):
        check_config(RecipeConfig, "mine", **shared, train={"steps": 1, **setting})
    unused = {"scheduled_sampling": 0.0, "truncation": None}
    check_config(RecipeConfig, "mine", **shared, train={"steps": 1, **unused})


def test_linear_prediction_by_gradient_may_have_scheduled_sampling():
    model = dict(LinearPredictionConfig(estimation="gradient"))
    train = {"steps": 1, "scheduled_sampling": 0.1}
    shared = {"name": "mine", "audio": {"sample_rate": 8000}, "model": model}
    assert check_config(RecipeConfig, "mine", **shared, train=train).train.scheduled_sampling == 0.1


def test_linear_prediction_by_gradient_is_trained_by_the_optimizer(tmp_path):
    model = LinearPredictionConfig(order=2, scale_window=4, estimation="gradient")
    settings = make_settings(
        steps=40,
        learning_rate=0.1,
        muon_learning_rate=0.1,
        ema_decay=0.5,
        validate_every=20,
        save_every=20,
    )
    state = train(with_model(model), settings, make_dataset(), tmp_path, device=CPU)
    assert state.ema_model is not state.model
    assert len(state.optimizers) == 1  # there is no matrix for Muon
    losses = [record["loss_bits"] for record in read_metrics(tmp_path)]
    assert losses[-1] < losses[0] - 0.2
