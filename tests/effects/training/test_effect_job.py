"""A whole training: its files, its time budget; recipes; results, card and plots."""

import json
import time

import pytest

from tests.effects.training.training_data import (
    ARCHITECTURE,
    FIELD,
    KNOB,
    RATE,
    SETTINGS,
    changed,
    make_effect_config,
    make_pair,
    make_split,
)
from wavenet.effects.training.effect_card import GENERATED_MARK, write_effect_card
from wavenet.effects.training.effect_job import (
    PLOTS,
    EffectJob,
    count_steps,
    run_effect_job,
    saved_steps,
)
from wavenet.effects.training.effect_recipe import (
    DEFAULT_RECIPE,
    EFFECT_RECIPES,
    EffectRecipe,
    load_effect_recipe,
)
from wavenet.effects.training.trained_effect import load_effect_folder
from wavenet.effects.training.training_results import RESULTS, format_results, load_results
from wavenet.errors import ConfigError, TrainingError
from wavenet.network_training import STATE

RECIPE = EffectRecipe(kind="effect", name="drive", architecture=ARCHITECTURE, training=SETTINGS)


@pytest.fixture
def job():
    pairs = [make_pair(gain) for gain in (0.0, 1.0)]
    return EffectJob(RECIPE, pairs, (KNOB,), RATE)


def test_a_training_writes_all_files(job, tmp_path):
    started = []
    results = run_effect_job(job, tmp_path, on_start=started.append)
    assert started == [6]
    names = {"config.json", "model.safetensors", RESULTS, "README.md", "metrics.jsonl", STATE}
    assert {path.name for path in tmp_path.iterdir()} >= {*names, *PLOTS}
    assert load_results(tmp_path) == results
    assert (results.steps, len(results.pairs)) == (6, 2)
    assert results.find({"gain": 1.0}).name == "wet 1.0"
    assert results.find({"gain": 0.3}) is None
    for pair in results.pairs:
        assert pair.linear_validation_esr < 0.5 < pair.validation_esr
        assert pair.test_esr is None
        assert pair.training_seconds == pytest.approx(2.7, abs=0.01)
    lines = format_results(results)
    assert lines[1].startswith("gain=0 ") and len(lines) == 3
    card = (tmp_path / "README.md").read_text()
    for words in (
        "# drive",
        "| gain=1 |",
        "gain (0, 0.5, 1)",
        "--set gain=0.5",
        f"{FIELD} samples",
    ):
        assert words in card
    assert load_effect_folder(tmp_path).config == job.config


def test_a_card_that_a_person_has_edited_is_kept(job, tmp_path):
    results = run_effect_job(job, tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace(GENERATED_MARK, "mine"))
    write_effect_card(tmp_path, load_effect_folder(tmp_path), results)
    assert "mine" in card.read_text()


def test_a_stopped_training_has_no_results_until_it_is_continued(job, tmp_path):
    assert run_effect_job(job, tmp_path, should_stop=lambda: True) is None
    assert load_results(tmp_path) is None
    assert load_effect_folder(tmp_path).config == job.config
    assert run_effect_job(job, tmp_path).steps == 6


@pytest.mark.slow
def test_a_time_budget_becomes_a_number_of_steps(job, tmp_path):
    pairs = make_split((0.0, 1.0))
    config = make_effect_config((KNOB,))
    start = time.monotonic()
    short = count_steps(config, SETTINGS, pairs, 1, 1.0)
    assert time.monotonic() - start < 60
    assert short > 1
    assert saved_steps(tmp_path) is None
    started = []
    job = EffectJob(
        changed(RECIPE, training=changed(SETTINGS, validate_every=1000)),
        job.pairs,
        job.knobs,
        job.sample_rate,
    )
    run_effect_job(job, tmp_path, minutes=1e-3, on_start=started.append, should_stop=lambda: True)
    # a continued training keeps its number
    run_effect_job(job, tmp_path, minutes=5, on_start=started.append, should_stop=lambda: True)
    assert started[0] == started[1] == saved_steps(tmp_path)
    (tmp_path / STATE).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="damaged"):
        saved_steps(tmp_path)


@pytest.mark.parametrize("path", sorted(EFFECT_RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_built_in_recipes_are_valid(path):
    recipe = load_effect_recipe(path.stem)
    assert recipe.kind == "effect"
    assert recipe.name == path.stem
    assert (EFFECT_RECIPES / f"{DEFAULT_RECIPE}.toml").is_file()


def test_recipes_that_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean overdrive"):
        load_effect_recipe("overdrives")
    path = tmp_path / "own.toml"
    path.write_text('kind = "effect"\nname = "own"\n[training]\nstep = 3\n')
    with pytest.raises(ConfigError, match=r"training\.step is not known.*did you mean steps"):
        load_effect_recipe(str(path))
    path.write_text('name = "own"\n')
    with pytest.raises(ConfigError, match="the key kind is missing"):
        load_effect_recipe(str(path))


def test_results_are_checked_when_they_are_read(tmp_path):
    (tmp_path / RESULTS).write_text(json.dumps({"best_step": -1}))
    with pytest.raises(ConfigError, match=RESULTS):
        load_results(tmp_path)
