"""Training of an effect: it learns, is deterministic, and continues after an interruption."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.effects.training.training_data import (
    FIELD,
    KNOB,
    SETTINGS,
    changed,
    drive,
    equal_weights,
    make_effect_config,
    make_pair,
    make_split,
)
from wavenet.effects.training.effect_architecture import ArraySizes, EffectArchitecture
from wavenet.effects.training.effect_errors import measure_errors
from wavenet.effects.training.effect_losses import LossWeights
from wavenet.effects.training.effect_pairs import (
    EffectPair,
    PairPart,
    SplitSettings,
    WindowSource,
    split_pairs,
)
from wavenet.effects.training.linear_baseline import fit_linear_filter, linear_error
from wavenet.effects.training.train_effect import (
    METRICS,
    compute_gradients,
    read_metrics,
    train_effect,
    wet_powers,
    window_workers,
)
from wavenet.effects.training.trained_effect import TrainedEffect, load_effect_folder
from wavenet.errors import TrainingError
from wavenet.network_training import STATE

LEARN = changed(
    SETTINGS,
    steps=200,
    validate_every=50,
    window_samples=512,
    learning_rate=2e-2,
    average_decay=0.9,
)


def linear_errors(pairs):
    return [linear_error(split, split.validation, fit_linear_filter(split)) for split in pairs]


def test_a_distortion_is_learned_better_than_by_a_linear_filter(tmp_path):
    pairs = make_split()
    effect = train_effect(make_effect_config(), LEARN, pairs, tmp_path / "a")
    (error,), (linear,) = measure_errors(effect, pairs), linear_errors(pairs)
    assert linear > 0.1
    assert error < 0.5 * linear


@pytest.mark.slow
def test_with_a_wet_recording_of_another_sound_nothing_is_learned(tmp_path):
    """The negative control: the same network and settings, pairs that do not belong together."""
    other = make_pair(seed=1)
    pair = make_pair()
    shuffled = EffectPair("shuffled", pair.dry, other.wet, {})
    pairs = split_pairs([shuffled], SplitSettings(), FIELD)
    effect = train_effect(make_effect_config(), LEARN, pairs, tmp_path / "a")
    (error,), (linear,) = measure_errors(effect, pairs), linear_errors(pairs)
    assert error > 0.9 * linear > 0.8


def test_one_model_learns_all_settings_and_interpolates(tmp_path):
    pairs = make_split((0.0, 0.5, 1.0))
    settings = changed(LEARN, steps=250, learning_rate=4e-2)
    config = make_effect_config((KNOB,))
    effect = train_effect(config, settings, pairs, tmp_path / "a")
    errors_of_all, linear = measure_errors(effect, pairs), linear_errors(pairs)
    assert sum(errors_of_all) < 0.5 * sum(linear)
    assert all(error < other for error, other in zip(errors_of_all, linear, strict=True))
    # a setting that no recording has: nearer to it than to its neighbours
    dry = make_pair().dry
    between = torch.from_numpy(drive(dry.numpy(), 0.75)).float()
    errors = {}
    for value in (0.5, 0.75, 1.0):
        pair = EffectPair("x", dry, between, {"gain": value}, part=PairPart.VALIDATION)
        spans = split_pairs([make_pair(0.5), pair], SplitSettings(), FIELD)[1:]
        (errors[value],) = measure_errors(effect, spans)
    assert errors[0.75] < min(errors[0.5], errors[1.0])
    assert errors[0.75] < 0.02


@pytest.mark.parametrize("knobs", [(), (KNOB,)])
def test_an_interrupted_training_continues_as_if_it_was_not(tmp_path, knobs):
    pairs = make_split((0.0, 1.0) if knobs else (None,))
    config = make_effect_config(knobs)
    whole = train_effect(config, SETTINGS, pairs, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(step, progress):
        if step == 5:  # after the validation at 4: the last step is lost
            raise Killed

    with pytest.raises(Killed):
        train_effect(config, SETTINGS, pairs, tmp_path / "killed", 1, kill)
    steps = []
    again = train_effect(
        config, SETTINGS, pairs, tmp_path / "killed", 2, lambda step, _: steps.append(step)
    )
    assert steps == [5, 6]
    assert equal_weights(again, whole)
    assert equal_weights(load_effect_folder(tmp_path / "killed"), whole)
    for name in (METRICS, "model.safetensors", "config.json"):
        files = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "killed")]
        assert files[0] == files[1], name
    states = [load_file(tmp_path / folder / STATE) for folder in ("whole", "killed")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_stop_between_two_validations_does_not_change_the_result(tmp_path):
    pairs, config = make_split(), make_effect_config()
    whole = train_effect(config, SETTINGS, pairs, tmp_path / "whole")
    steps = []

    def stop():
        return len(steps) == 2

    part = train_effect(
        config, SETTINGS, pairs, tmp_path / "a", 1, lambda step, _: steps.append(step), stop
    )
    assert steps == [1, 2, 3]
    assert equal_weights(load_effect_folder(tmp_path / "a"), part)
    last = read_metrics(tmp_path / "a")[-1]
    assert (last["step"], last["best_step"]) == (3, 2)  # not a regular validation: never the best
    again = train_effect(config, SETTINGS, pairs, tmp_path / "a")
    assert equal_weights(again, whole)


def test_the_result_does_not_depend_on_the_threads(tmp_path):
    pairs, config = make_split(), make_effect_config()
    before = torch.get_num_threads()
    first, second = (
        train_effect(config, SETTINGS, pairs, tmp_path / str(n), threads=n) for n in (1, 3)
    )
    assert equal_weights(first, second)
    assert torch.get_num_threads() == before


def test_the_gradient_is_that_of_the_mean_loss():
    torch.manual_seed(0)
    pairs = make_split((0.0, 1.0))
    effect = TrainedEffect(make_effect_config((KNOB,)))
    windows = WindowSource(pairs, FIELD, 200).draw(3, torch.Generator().manual_seed(0))
    weights = LossWeights(esr=0.0, mse=1.0)
    with window_workers(2) as pool:
        loss = compute_gradients(effect, windows, wet_powers(pairs, weights), weights, pool)
    found = [parameter.grad.clone() for parameter in effect.parameters()]
    effect.zero_grad()
    expected = torch.stack(
        [
            (effect.valid_outputs(w.dry[None, None], w.values[None])[0, 0] - w.wet).square().mean()
            for w in windows
        ]
    ).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for gradient, parameter in zip(found, effect.parameters(), strict=True):
        wanted = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-6)


def test_without_progress_the_training_ends_with_the_best_weights(tmp_path):
    """With a rate that is far too high the error grows again."""
    pairs, config = make_split(), make_effect_config()
    settings = changed(SETTINGS, steps=400, learning_rate=0.9, patience=2, average_decay=0.0)
    steps = []
    effect = train_effect(
        config, settings, pairs, tmp_path / "a", 1, lambda step, _: steps.append(step)
    )
    rows = read_metrics(tmp_path / "a")
    best = min(rows, key=lambda row: row["mean_esr"])
    assert steps[-1] == best["step"] + 4 < 400
    assert rows[-1]["best_step"] == best["step"]
    assert measure_errors(effect, pairs)[0] == pytest.approx(best["mean_esr"])
    assert equal_weights(load_effect_folder(tmp_path / "a"), effect)
    steps.clear()
    again = train_effect(
        config, settings, pairs, tmp_path / "a", 1, lambda step, _: steps.append(step)
    )
    assert steps == [] and equal_weights(again, effect)


def test_the_metrics_have_a_row_per_validation(tmp_path):
    pairs = make_split((0.0, 1.0))
    train_effect(make_effect_config((KNOB,)), SETTINGS, pairs, tmp_path)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6]
    for row in rows:
        assert len(row["esr"]) == 2
        assert row["mean_esr"] == pytest.approx(sum(row["esr"]) / 2)
    (tmp_path / METRICS).write_text("{")
    with pytest.raises(TrainingError, match="is damaged"):
        read_metrics(tmp_path)


def test_the_folder_of_another_training_is_refused(tmp_path):
    pairs, config = make_split(), make_effect_config()
    train_effect(config, SETTINGS, pairs, tmp_path)
    with pytest.raises(TrainingError, match="steps 6, found 7"):
        train_effect(config, changed(SETTINGS, steps=7), pairs, tmp_path)
    with pytest.raises(TrainingError, match="recordings"):
        train_effect(config, SETTINGS, make_split(validation_share=0.2), tmp_path)
    (tmp_path / STATE).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="is damaged"):
        train_effect(config, SETTINGS, pairs, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    pair = make_pair()
    pair.dry[:] = torch.nan
    pairs = split_pairs([pair], SplitSettings(), FIELD)
    with pytest.raises(TrainingError, match="lower learning rate"):
        train_effect(make_effect_config(), SETTINGS, pairs, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_layers_with_gates_are_trained_by_the_definition(tmp_path):
    architecture = EffectArchitecture(
        kind="custom", gating="gated", arrays=(ArraySizes(channels=3, dilations=(1, 2)),)
    )
    config = make_effect_config(architecture=architecture)
    train_effect(config, SETTINGS, make_split(), tmp_path)
    (first, *_, last) = (row["mean_esr"] for row in read_metrics(tmp_path))
    assert last < first


def test_the_effect_is_measured_without_the_latency_of_its_past():
    """An error of 0 for recordings that the effect made itself, clip by clip."""
    torch.manual_seed(0)
    effect = TrainedEffect(make_effect_config())
    dry = make_pair().dry
    clips = dry[: 20 * 1000].reshape(20, 1, 1000)
    with torch.no_grad():
        wet = effect.network(clips).flatten()
    pair = EffectPair("own", dry[: 20 * 1000], wet, {})
    split = split_pairs([pair], SplitSettings(clip_samples=1000, test_share=0.1), FIELD)
    for part in PairPart:
        assert measure_errors(effect, split, part)[0] < 1e-9
    (wrong,) = measure_errors(effect, split_pairs([pair], SplitSettings(), FIELD))
    assert wrong > 1e-7  # across the clips the past is not silence


def test_metrics_are_json(tmp_path):
    train_effect(make_effect_config(), SETTINGS, make_split(), tmp_path)
    for line in (tmp_path / METRICS).read_text().splitlines():
        assert set(json.loads(line)) == {"step", "loss", "mean_esr", "best_step", "esr"}
