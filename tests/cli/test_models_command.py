"""`wavenet models` lists the checkpoints that can be named, from any folder."""

import json
from pathlib import Path

import pytest

from tests.conftest import RATE

SHIPPED = Path(__file__).parents[2] / "checkpoints"
FACTS = ["name", "sample_rate_hz", "conditions", "bytes", "licence", "folder"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_the_shipped_models_are_listed_from_any_folder(run_command):
    code, out, _ = run_command("models", "--json")
    assert code == 0
    records = {r["name"]: r for r in map(json.loads, out.splitlines())}
    assert list(records) == ["digits", "kathleen", "strings", "vocoder"]
    voice = SHIPPED / "kathleen"
    sizes = [path.stat().st_size for path in voice.rglob("model.safetensors")]
    assert len(sizes) == 2
    assert records["kathleen"]["bytes"] == sum(sizes) < 10_000_000
    assert records["kathleen"]["conditions"] == ["text"]
    assert all(list(record) == FACTS for record in records.values())
    assert records["digits"] == {
        "name": "digits",
        "sample_rate_hz": 8000,
        "conditions": ["digit", "speaker"],
        "bytes": (SHIPPED / "digits/model.safetensors").stat().st_size,
        "licence": records["digits"]["licence"],
        "folder": str(SHIPPED / "digits"),
    }
    assert all(isinstance(record["licence"], str) for record in records.values())


def test_own_models_are_listed_and_can_be_named(run_command, make_checkpoint, tmp_path):
    folder = tmp_path / "work/checkpoints/mine"
    folder.parent.mkdir()
    make_checkpoint().folder.rename(folder)
    code, out, err = run_command("models", "--json")
    assert (code, err.count("\n")) == (0, 1)
    mine = json.loads(out.splitlines()[2])
    assert {n: mine[n] for n in FACTS if n != "bytes"} == {
        "name": "mine",
        "sample_rate_hz": RATE,
        "conditions": ["digit"],
        "licence": None,
        "folder": str(folder),
    }
    assert run_command("generate", "-c", "mine", "-s", "digit=a", "-t", 0.02)[1] == (
        "mine_a_seed0.wav\n"
    )


def test_the_columns_are_aligned_and_a_damaged_model_is_skipped(run_command, tmp_path):
    damaged = tmp_path / "work/checkpoints/damaged"
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("{}")
    code, out, err = run_command("models")
    rows = out.splitlines()
    assert (code, len(rows)) == (3, 4)
    assert len({row.index(f"{row.split()[1]} Hz") for row in rows}) == 1
    assert [row.split()[-1] for row in rows] == [
        str(SHIPPED / name) for name in ("digits", "kathleen", "strings", "vocoder")
    ]
    assert err.startswith("skipped: checkpoints/damaged/config.json: ")
