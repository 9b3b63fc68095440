"""Ways to draw beside each other: each made as it is named, plain drawing once, and drawn."""

import json

import pytest

from tests.conftest import RATE, tiny_config
from tests.evaluation import PATTERN, labelled_config, make_words, write_words
from wavenet.cli.main import run
from wavenet.evaluation import network, trade_off
from wavenet.evaluation.clips import make_planned, plan_clips
from wavenet.evaluation.digits import Reference
from wavenet.evaluation.pictures import plot_trade_off
from wavenet.evaluation.trade_off import VALUES, compare_settings, settings_to_try
from wavenet.model.conditions import LabelCondition
from wavenet.model.model_config import LogisticOutput
from wavenet.sampling import SamplingConfig

LEARNT, TEST = make_words(range(6)), make_words(range(20, 23))


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
def test_a_model_is_drawn_from_in_the_ways_that_it_has(make_checkpoint, config, names):
    bits = 8 if config.output.kind == "categorical" else 16
    ways = settings_to_try(make_checkpoint(config, bits))
    assert {name for name, _ in ways} == names
    assert all((name, 1.0) in ways for name in names)


def test_every_way_is_made_as_it_is_named_and_plain_drawing_once(make_checkpoint, monkeypatch):
    loaded, seen = make_checkpoint(with_dropout()), []
    reference = Reference(LEARNT, TEST, RATE, 20)
    items = plan_clips(LEARNT, 8, 0)

    def watched(checkpoint, items, sampling, *rest):
        seen.append(sampling)
        return make_planned(checkpoint, items, sampling, *rest)

    monkeypatch.setattr(trade_off, "make_planned", watched)
    rows = compare_settings(loaded, reference, items)
    assert [(row["setting"], row["value"]) for row in rows] == settings_to_try(loaded)
    moved = [
        SamplingConfig(**{name: value})
        for name, values in VALUES.items()
        for value in values
        if value != 1
    ]
    assert len(seen) == len(set(seen)) == len(moved) + 1
    assert set(seen) == {*moved, SamplingConfig()}
    plain = [row for row in rows if row["value"] == 1]
    assert len(plain) == 3
    assert len({json.dumps({**row, "setting": ""}) for row in plain}) == 1
    for row in rows:
        sampling = SamplingConfig(**{row["setting"]: row["value"]} if row["value"] != 1 else {})
        found = reference.compare(reference.measure(make_planned(loaded, items, sampling).clips))
        shares = [judge["all"]["share"] for judge in found["accuracy"]["generated"].values()]
        assert row["accuracy"] == pytest.approx(sum(shares) / 2)
        varied = found["diversity"]
        assert row["diversity"] == pytest.approx(varied["generated"] / varied["real"])
        assert row["frechet"] == found["frechet"]["generated"]


def test_the_picture_has_a_line_for_each_setting():
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


def test_the_command_writes_table_numbers_and_picture(
    make_checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(network, "STEPS", 20)

    monkeypatch.setattr(
        trade_off, "settings_to_try", lambda _: [("temperature", 0.8), ("temperature", 1.0)]
    )
    words, out = write_words(tmp_path / "words", range(5)), tmp_path / "out"
    loaded = make_checkpoint(labelled_config())
    command = ["evaluate", "digits", str(words), "--checkpoint", str(loaded.folder)]
    command += ["--pattern", PATTERN, "--test", "index=0,1", "--count", "8", "--out", str(out)]
    assert run(command) == 0
    assert "setting" not in capsys.readouterr().out
    assert run([*command, "--trade-off"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["temperature", "0.8"],
        ["temperature", "1"],
    ]
    rows = json.loads((out / "metrics.json").read_text())["trade_off"]
    assert [row["value"] for row in rows] == [0.8, 1.0]
    assert (out / "trade_off.png").stat().st_size > 1000
