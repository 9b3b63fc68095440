"""The cost of rounded weights: bits of the rounded model minus bits of the model itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.evaluation import PATTERN, labelled_config, make_word, write_words
from wavenet import checkpoint
from wavenet.cli.main import run
from wavenet.engines.cpu.int8_weights import LARGEST_PARAMETER, round_int8_weights
from wavenet.evaluation.rounding import MAX_SAMPLES, measure_rounding_costs
from wavenet.likelihood.score import score
from wavenet.model.recurrent import GRUConfig
from wavenet.training.segmentation import TrainingClip


def make_clips(count):
    clips = []
    for n in range(count):
        waveform = make_word("rise", "low", n)
        labels = {"digit": "rise", "speaker": "low", "index": str(n)}
        clips.append(TrainingClip(waveform, labels, 0, len(waveform), 0, f"{n}.wav"))
    return clips


def test_the_cost_is_the_difference_of_two_scores(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    clips = make_clips(3)
    costs = measure_rounding_costs(loaded, clips)
    rounded = checkpoint.Checkpoint(loaded.config, round_int8_weights(loaded.model), loaded.folder)
    values = {"digit": "rise", "speaker": "low"}
    exact, other = (
        np.concatenate([score(model, clip.waveform, values).surprise for clip in clips])
        for model in (loaded, rounded)
    )
    assert costs.samples == len(exact)
    found = costs.costs["int8"]
    assert found.bits == pytest.approx(float((other - exact).mean()), abs=2e-5)
    assert found.low <= found.bits <= found.high
    # int8 has fewer bits than bf16, so it costs more in this model
    assert abs(found.bits) > abs(costs.costs["bf16"].bits)


def test_of_many_clips_some_are_selected(make_checkpoint, monkeypatch):
    loaded, clips = make_checkpoint(labelled_config()), make_clips(6)
    total = sum(clip.samples for clip in clips)
    assert total < MAX_SAMPLES
    monkeypatch.setattr("wavenet.evaluation.rounding.MAX_SAMPLES", total // 2)
    assert measure_rounding_costs(loaded, clips).samples <= total // 2


def test_one_clip_has_no_interval_and_gives_no_costs(make_checkpoint):
    assert measure_rounding_costs(make_checkpoint(labelled_config()), make_clips(1)) is None
    assert measure_rounding_costs(make_checkpoint(labelled_config()), []) is None


def test_a_model_that_no_engine_rounds_has_no_costs(make_checkpoint):
    loaded = make_checkpoint(GRUConfig(hidden_channels=8))
    assert measure_rounding_costs(loaded, make_clips(2)) is None


def test_a_weight_that_int8_refuses_leaves_bf16(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    loaded.model.blocks[0].conv.linear.bias[0] = 2 * LARGEST_PARAMETER
    assert list(measure_rounding_costs(loaded, make_clips(2)).costs) == ["bf16"]


def test_clips_without_targets_and_predictions_that_overflow_give_no_costs(make_checkpoint):
    loaded = make_checkpoint(labelled_config())
    clips = make_clips(3)
    empty = [replace(clip, context=clip.samples) for clip in clips]
    assert measure_rounding_costs(loaded, empty) is None
    assert measure_rounding_costs(loaded, [*clips, *empty]).samples == sum(c.samples for c in clips)
    loaded.model.output.bias[:] = torch.inf
    assert measure_rounding_costs(loaded, clips) is None


def test_the_command_prints_and_stores_the_costs(make_checkpoint, tmp_path, capsys):
    loaded = make_checkpoint(labelled_config())
    words = write_words(tmp_path / "words", range(4))
    arguments = ["evaluate", "rounding", str(words), "--checkpoint", str(loaded.folder)]
    arguments += ["--pattern", PATTERN, "--test", "index=0", "--split", "test", "--json"]
    assert run(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rounding"]["costs"].keys() == {"int8", "bf16"}
    assert checkpoint.load_config(loaded.folder).rounding is None
    assert run([*arguments, "--store"]) == 0
    stored = checkpoint.load_config(loaded.folder)
    assert stored.rounding.model_dump() == printed["rounding"]
    assert stored == loaded.config.model_copy(update={"rounding": stored.rounding})
