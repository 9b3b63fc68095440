"""The commands with models of statistics: from recordings to clips, scores and batches."""

import json

import numpy as np
import pytest
import soundfile

from tests.batch.conftest import write_manifest
from tests.cli.conftest import assert_refused
from tests.conftest import RATE

RECIPE = """\
name = "small-table"
[audio]
sample_rate = 8000
[model]
{model}
[data]
pattern = "{{digit}}_{{index}}"
validation = {{ index = ["3"] }}
[train]
steps = 4
samples_per_step = 3000
validate_every = 2
save_every = 2
"""
LABEL = '[[model.conditions]]\nkind = "label"\nname = "digit"\ndropout = 0.1'
MODELS = {
    "ngram": f'architecture = "ngram"\ncontext_bits = [6, 2]\n{LABEL}',
    "linear-prediction": 'architecture = "linear-prediction"\norder = 4',
}


@pytest.fixture(params=MODELS)
def trained(request, tmp_path, monkeypatch, run_command):
    """Train on a few tones; return architecture and options of the checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for digit in "ab":
        for index in range(4):
            t = np.arange(1200) * (1 + (digit == "b")) / RATE
            x = 0.3 * np.sin(2 * np.pi * 300 * t) + 0.02 * rng.standard_normal(1200)
            soundfile.write(f"data/{digit}_{index}.wav", x, RATE)
    (tmp_path / "r.toml").write_text(RECIPE.format(model=MODELS[request.param]))
    command = ("train", "r.toml", "--data", "data", "--out", "run", "--threads", "1")
    assert run_command(*command)[0] == 0
    more = ("--resume", "--accept-changes", "--steps", "6")
    assert run_command(*command, *more)[0] == 0
    options = ["--checkpoint", "run/checkpoint"]
    if request.param == "ngram":
        options += ["--set", "digit=b"]
    return request.param, options


def test_a_checkpoint_of_statistics_works_in_all_commands(trained, run_command, tmp_path):
    architecture, options = trained
    facts = json.loads(run_command("info", "run/checkpoint", "--json")[1])
    assert facts["architecture"] == architecture
    assert facts["parameters"] == (256 * (1 + 64 + 3 * 256) if architecture == "ngram" else 6)
    assert facts["receptive_field"] == (2 if architecture == "ngram" else 12)
    if architecture == "linear-prediction":
        assert 0 < facts["largest_pole"] < 1
    assert run_command("generate", *options, "--seconds", "0.05", "--out", "x.wav")[0] == 0
    assert soundfile.info("x.wav").frames == 400
    score = json.loads(run_command("score", "data/b_3.wav", *options, "--json")[1].splitlines()[-1])
    assert 0 < score["bits_per_sample"] < 8
    condition = {"digit": "a"} if architecture == "ngram" else {}
    rows = [{**condition, "id": f"clip {n}", "seed": n, "seconds": 0.02} for n in range(3)]
    manifest = write_manifest(tmp_path / "rows.jsonl", rows)
    batch = ("batch", manifest, "--checkpoint", "run/checkpoint", "--out-dir", "out")
    assert run_command(*batch)[0] == 0


def test_a_condition_that_a_table_cannot_use_is_refused(tmp_path, run_command):
    text = RECIPE.format(model=MODELS["ngram"].replace('"label"', '"number"'))
    path = tmp_path / "r.toml"
    path.write_text(text.replace("dropout = 0.1", "low = 0\nhigh = 1"))
    assert_refused(
        run_command("train", path, "--data", tmp_path), "label conditions only", "number"
    )
