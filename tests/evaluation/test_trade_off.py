"""Sampling variants: each is generated with its setting, equal ones once, and plotted."""

import json

import pytest

from tests.conftest import RATE, tiny_config
from tests.evaluation import PATTERN, labelled_config, make_words, write_words
from wavenet.cli.main import run
from wavenet.evaluation import classifiers, trade_off
from wavenet.evaluation.evaluation_plots import plot_trade_off
from wavenet.evaluation.label_evaluation import ClipEvaluator
from wavenet.evaluation.labelled_clips import generate_clips, plan_requests
from wavenet.evaluation.trade_off import VALUES, evaluate_variants, sampling_variants
from wavenet.model.conditions import LabelCondition
from wavenet.model.model_config import LogisticOutput
from wavenet.sampling import SamplingConfig

TRAINING, TEST = make_words(range(6)), make_words(range(20, 23))


def with_dropout():
    """Return a config whose labels may be left out."""
    config = labelled_config()
    conditions = [
        c.model_copy(update={"dropout": 0.1}) if isinstance(c, LabelCondition) else c
        for c in config.conditions
    ]
    return config.model_copy(update={"conditions": tuple(conditions)})


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (tiny_config(conditions="label"), {"temperature", "top_p"}),
        (with_dropout(), {"temperature", "top_p", "guidance"}),
        (tiny_config(output=LogisticOutput(components=2)), {"temperature"}),
    ],
)
def test_the_variants_are_those_that_the_model_supports(make_checkpoint, config, names):
    bits = 8 if config.output.kind == "categorical" else 16
    variants = sampling_variants(make_checkpoint(config, bits))
    assert {name for name, _ in variants} == names
    assert all((name, 1.0) in variants for name in names)


@pytest.mark.slow
def test_every_variant_uses_its_setting_and_plain_sampling_runs_once(make_checkpoint, monkeypatch):
    loaded, used = make_checkpoint(with_dropout()), []
    evaluator = ClipEvaluator(TRAINING, TEST, RATE, 20)
    requests = plan_requests(TRAINING, 8, 0)

    def recorded(checkpoint, requests, sampling, *rest):
        used.append(sampling)
        return generate_clips(checkpoint, requests, sampling, *rest)

    monkeypatch.setattr(trade_off, "generate_clips", recorded)
    rows = evaluate_variants(loaded, evaluator, requests)
    assert [(row["setting"], row["value"]) for row in rows] == sampling_variants(loaded)
    varied = [
        SamplingConfig(**{name: value})
        for name, values in VALUES.items()
        for value in values
        if value != 1
    ]
    assert len(used) == len(set(used)) == len(varied) + 1
    assert set(used) == {*varied, SamplingConfig()}
    plain = [row for row in rows if row["value"] == 1]
    assert len(plain) == 3
    assert len({json.dumps({**row, "setting": ""}) for row in plain}) == 1
    for row in rows:
        sampling = SamplingConfig(**{row["setting"]: row["value"]} if row["value"] != 1 else {})
        found = evaluator.compare(
            evaluator.measure(generate_clips(loaded, requests, sampling).clips)
        )
        by_classifier = found["accuracy"]["generated"].values()
        fractions = [by_label["all"]["fraction"] for by_label in by_classifier]
        assert row["accuracy"] == pytest.approx(sum(fractions) / 2)
        diversity = found["diversity"]
        assert row["diversity"] == pytest.approx(diversity["generated"] / diversity["real"])
        assert row["frechet"] == found["frechet"]["generated"]


def test_the_plot_has_a_line_for_each_setting():
    rows = [
        {"setting": name, "value": value, "diversity": 0.7 + value / 10, "accuracy": 0.9}
        for name in ("temperature", "top_p")
        for value in (0.9, 1.0)
    ]
    rows.append({"setting": "top_p", "value": 0.5, "diversity": None, "accuracy": 0.9})
    (axes,) = plot_trade_off(rows).axes
    assert [line.get_label() for line in axes.lines] == ["temperature", "top_p"]
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 2]
    assert [text.get_text() for text in axes.texts] == ["0.9", "0.9"]


@pytest.mark.slow
def test_the_command_writes_table_numbers_and_plot(make_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classifiers, "CNN_STEPS", 20)

    monkeypatch.setattr(
        trade_off, "sampling_variants", lambda _: [("temperature", 0.8), ("temperature", 1.0)]
    )
    words, out = write_words(tmp_path / "words", range(5)), tmp_path / "out"
    loaded = make_checkpoint(labelled_config())
    command = ["evaluate", "digits", str(words), "--checkpoint", str(loaded.folder)]
    command += ["--pattern", PATTERN, "--test", "index=0,1", "--count", "8", "--out", str(out)]
    assert run(command) == 0
    assert "setting" not in capsys.readouterr().out
    assert run([*command, "--trade-off", "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["temperature", "0.8"],
        ["temperature", "1"],
    ]
    rows = json.loads((out / "metrics.json").read_text())["trade_off"]
    assert [row["value"] for row in rows] == [0.8, 1.0]
    assert (out / "trade_off.png").stat().st_size > 1000
