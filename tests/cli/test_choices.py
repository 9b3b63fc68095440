"""Names of files and seeds that `generate` and `vocode` choose, and what they print of it."""

import json

import numpy as np
import pytest
import torch

from tests.cli.conftest import assert_refused
from tests.conftest import tiny_config
from wavenet.cli.clip_generation import print_choice
from wavenet.cli.options import choose_seed
from wavenet.cli.output_paths import plan_output_paths
from wavenet.errors import ConfigError
from wavenet.generation.request import MAX_RANDOM_SEED, GenerationRequest
from wavenet.model.conditions import NumberCondition, VectorCondition


@pytest.fixture
def generate(run_command, tiny, tmp_path, monkeypatch):
    """Return a function that generates a clip in an empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*options):
        common = ("--checkpoint", tiny, "--set", "digit=a", "--seconds", 0.02, "--json")
        code, out, err = run_command("generate", *common, *options)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()], err

    return call


def test_the_same_command_twice_writes_two_files_with_the_same_audio(generate, tmp_path):
    files = [generate(*options)[0][0]["file"] for options in ((), (), ("--overwrite",), ())]
    first = "tiny_a_seed0.wav"
    assert files == [first, "tiny_a_seed0_2.wav", first, "tiny_a_seed0_3.wav"]
    written = sorted((tmp_path / "work").iterdir())
    assert [path.name for path in written] == sorted(set(files))
    assert len({path.read_bytes() for path in written}) == 1


def test_each_of_several_clips_is_numbered_by_itself(generate, tmp_path):
    out = tmp_path / "clips"
    generate("--out", out, "--seed", 1)
    records, _ = generate("--out", out, "--count", 2)
    assert [r["file"] for r in records] == [
        str(out / "tiny_a_seed0.wav"),
        str(out / "tiny_a_seed1_2.wav"),
    ]


def test_a_number_is_never_that_of_an_existing_file_link_or_folder(tmp_path):
    (tmp_path / "a.wav").symlink_to(tmp_path / "missing")
    (tmp_path / "a_2.wav").mkdir()
    assert plan_output_paths(tmp_path, ["a", "b"], overwrite=False) == [
        tmp_path / "a_3.wav",
        tmp_path / "b.wav",
    ]
    with pytest.raises(ConfigError, match=r"a\.wav exists already"):
        plan_output_paths(tmp_path / "a.wav", ["b"], overwrite=False)


def test_vocode_numbers_its_files_as_well(run_command, make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    curve = make_checkpoint(tiny_config(conditions="frames"), name="curve").folder
    np.save(tmp_path / "c.npy", np.zeros((5, 3), np.float32))
    names = []
    for _ in range(2):
        code, out, err = run_command("vocode", "c.npy", "--checkpoint", curve, "--seed", -1)
        assert code == 0
        seed = int(out.partition("seed")[2].partition(".")[0].partition("_")[0])
        assert f", seed {seed}, " in err
        names.append(out)
        monkeypatch.setattr("secrets.randbelow", lambda _, seed=seed: seed)
    assert names[1] == names[0].replace(".wav", "_2.wav")


def test_what_was_chosen_is_one_line_on_stderr(generate):
    records, err = generate("--seed", 7, "--count", 3, "--engine", "cached")
    assert [r["seed"] for r in records] == [7, 8, 9]
    assert err.splitlines()[0] == "tiny, digit=a, seed 7 to 9, 0.02 s, engine cached in fp32"
    records, err = generate("--beams", 2)
    assert (records[0]["seed"], records[0]["file"]) == (None, "tiny_a_beams2.wav")
    assert "tiny, digit=a, 0.02 s, 2 beams" in err.splitlines()


def test_defaults_of_conditions_are_printed_too(make_checkpoint, capsys):
    level = NumberCondition(name="level", low=-40.0, high=0.0, default=-12.5)
    voice = VectorCondition(name="voice", size=2)
    config = tiny_config().model_copy(update={"conditions": (level, voice)})
    request = GenerationRequest(800, {"voice": torch.zeros(2)}, 3)
    print_choice(make_checkpoint(config), [request], "engine cpu")
    assert capsys.readouterr() == (
        "",
        "tiny, voice of 2 numbers, level=-12.5, seed 3, 0.10 s, engine cpu\n",
    )


def test_the_seed_minus_one_is_random_and_reproducible(generate):
    records = [generate("--seed", -1)[0][0] for _ in range(2)]
    assert records[0]["seed"] != records[1]["seed"]  # equal by chance: once in a million runs
    assert all(0 <= r["seed"] <= MAX_RANDOM_SEED for r in records)
    _, err = generate("--seed", -1, "--engine", "cached")
    (again,), _ = generate("--seed", records[0]["seed"], "--out", "again.wav")
    with open(records[0]["file"], "rb") as first, open(again["file"], "rb") as second:
        assert first.read() == second.read()
    assert ", seed " in err.splitlines()[0]
    assert choose_seed(5) == 5


def test_other_negative_seeds_and_random_seeds_of_a_batch_are_refused(run_command, tiny, tmp_path):
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", tmp_path / "x.wav")
    assert_refused(run_command(*common, "--seed", -2), "the seed must be 0 to", "found -2")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"id": "a", "digit": "a"}\n')
    code, out, err = run_command(
        "batch", manifest, "--checkpoint", tiny, "--seed", -1, "--out-dir", tmp_path / "b"
    )
    assert (code, out) == (2, "")
    assert "found -1" in err


def test_short_options_are_the_long_ones(run_command, tiny, tmp_path):
    options = ("-s", "digit=a", "-t", 0.02, "-n", 2, "-o", tmp_path / "short")
    code, out, err = run_command("generate", "-c", tiny, *options)
    assert code == 0, err
    assert out.split() == [str(tmp_path / f"short/tiny_a_seed{seed}.wav") for seed in (0, 1)]
