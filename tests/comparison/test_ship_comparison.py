"""`scripts/ship_comparison.py`, and what it has written into checkpoints/compare."""

import json

import pytest
import soundfile

from scripts.ship_comparison import TARGET, ship
from wavenet import checkpoint
from wavenet.comparison import measure_members, train_members
from wavenet.comparison.comparison_table import read_rows
from wavenet.comparison.measure_members import make_evaluator, measure_entry
from wavenet.comparison.members import MEMBERS
from wavenet.comparison.train_members import train_entry


def test_a_comparison_is_shipped(entry, source, tmp_path, monkeypatch):
    monkeypatch.setattr(train_members, "measure_speed", lambda *arguments: 100.0)
    monkeypatch.setattr(measure_members, "CLIPS", 2)
    monkeypatch.setattr(measure_members, "SPEED_SECONDS", 0.01)
    monkeypatch.setattr(measure_members, "COST_SECONDS", 0.001)
    monkeypatch.setattr("wavenet.evaluation.classifiers.CNN_STEPS", 5)
    train_entry(entry, source)
    measure_entry(entry, source, make_evaluator(source))
    result = {"command": "wavenet compare report", "rows": read_rows([entry])}
    (entry.root / "metrics.json").write_text(json.dumps(result))
    target = tmp_path / "shipped"
    ship(entry.root, "tiny", target)
    loaded = checkpoint.load(target / "wavenet")
    assert loaded.config.model.architecture == "wavenet"
    assert soundfile.info(target / "wavenet" / "sample.wav").frames > 0
    assert "license: cc-by-sa-4.0" in (target / "wavenet" / "README.md").read_text()
    (target / "sample.wav").write_bytes(b"speech")
    (target / "other").mkdir()
    ship(entry.root, "tiny", target)  # replaces what is there, except the clip of digits
    assert (target / "sample.wav").read_bytes() == b"speech"
    assert not (target / "other").exists()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_member_is_shipped_with_its_measures(member):
    loaded = checkpoint.load(TARGET / member.name)
    rows = json.loads((TARGET / "metrics.json").read_text())["rows"]
    (row,) = [r for r in rows if r["member"] == member.name and r["budget"] == "small"]
    assert loaded.model.parameter_count == row["parameters"]
    assert loaded.config.model.architecture == member.architecture
    card = (TARGET / member.name / "README.md").read_text()
    assert "Free Spoken Digit Dataset" in card
    assert f"{row['bits_per_sample']:.3f} bits per sample" in card
    assert soundfile.info(TARGET / member.name / "sample.wav").duration > 0.1


def test_the_shipped_folder_is_small():
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    assert size < 6_000_000
