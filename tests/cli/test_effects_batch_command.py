"""`wavenet effects batch`: its files, resume after a kill, failures of single files."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.effects.random_effects import array, encode, wavenet


@pytest.fixture
def folder(tmp_path, rng):
    """Two recordings in `dry`, two models in `amps`."""
    for name in ("dry", "amps"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        path = tmp_path / "dry" / f"{name}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(4800), 48_000)
        document = wavenet(array(channels=1 + (name == "b")), head_scale=0.1)
        (tmp_path / "amps" / f"{name}.nam").write_bytes(encode(document))
    return tmp_path


def arguments(folder, *more):
    return ("effects", "batch", folder / "dry", "--model", folder / "amps",
            "--out-dir", folder / "wet", *more)  # fmt: skip


def records(folder):
    lines = (folder / "wet" / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


NAMES = ["a_a.wav", "a_b.wav", "b_a.wav", "b_b.wav"]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_recording_through_every_model(run_command, folder, workers):
    code, out, err = run_command(*arguments(folder, "--workers", workers, "--quiet"))
    assert (code, out) == (0, f"{folder / 'wet' / 'results.jsonl'}\n")
    assert "4 files written" in err
    assert sorted(r["file"] for r in records(folder)) == NAMES
    for name in NAMES:
        alone = folder / "alone.wav"
        source, model = folder / "dry" / f"{name[0]}.wav", folder / "amps" / f"{name[2]}.nam"
        run_command("effects", "render", source, "-m", model, "-o", alone, "--overwrite")
        assert alone.read_bytes() == (folder / "wet" / name).read_bytes()


def test_finished_files_are_skipped_and_changed_ones_rendered_again(run_command, folder):
    run_command(*arguments(folder))
    (folder / "wet" / "a_a.wav").unlink()
    soundfile.write(folder / "dry" / "b.wav", np.ones(4000) * 0.1, 48_000)
    code, out, _ = run_command(*arguments(folder, "--json"))
    result = json.loads(out)
    assert (code, result["done"], result["already_done"]) == (0, 3, 1)
    code, out, _ = run_command(*arguments(folder, "--json", "--trim", -1))
    assert json.loads(out)["done"] == 4
    assert json.loads(run_command(*arguments(folder, "--json", "--trim", -1))[1])["done"] == 0


def test_a_bad_file_costs_only_its_own_results(run_command, folder):
    (folder / "dry" / "b.wav").write_bytes(b"RIFF no audio")
    (folder / "amps" / "b.nam").write_text("{}")
    code, _, err = run_command(*arguments(folder))
    assert code == 3
    assert "1 file written (0.1 s of sound" in err and "3 failed" in err
    status = {record["id"]: record["status"] for record in records(folder)}
    assert status == dict.fromkeys(NAMES, "failed") | {"a_a.wav": "done"}
    assert (
        "the key version is missing"
        in next(r for r in records(folder) if r["id"] == "a_b.wav")["error"]
    )


def test_an_unknown_file_is_kept(run_command, folder):
    run_command(*arguments(folder))
    before = (folder / "wet" / "a_a.wav").read_bytes()
    (folder / "wet" / "results.jsonl").unlink()
    (folder / "wet" / "b_b.wav").write_bytes(b"of the user")
    code, _, err = run_command(*arguments(folder))
    assert code == 3
    assert "b_b.wav exists and was not written by this batch" in err
    assert (folder / "wet" / "b_b.wav").read_bytes() == b"of the user"
    assert (folder / "wet" / "a_a.wav").read_bytes() == before
    assert run_command(*arguments(folder, "--overwrite"))[0] == 0


def test_bad_options_are_one_sentence(run_command, folder):
    refuse = {
        ("--name-template", "{model}.{ext}"): "would both be written to a.wav",
        ("--name-template", "{cabinet}.{ext}"): "may contain only text and {input}",
        ("--name-template", "../{input}"): "cannot be used",
        ("--format", "aac"): "--format must be wav",
        ("--format", "flac", "--subtype", "FLOAT"): "needs a .wav file",
        ("--mix", 3): "the mix: expected 0",
    }
    for options, words in refuse.items():
        assert_refused(run_command(*arguments(folder, *options)), words)
    silent = folder / "silent.wav"
    soundfile.write(silent, np.zeros(10), 48_000)
    assert_refused(run_command(*arguments(folder, "--ir", silent)), "is silent", code=1)
    into_itself = ("effects", "batch", folder / "dry", "-m", folder / "amps", "-o", folder / "dry")
    assert_refused(run_command(*into_itself), "also a folder of recordings")
    missing = ("effects", "batch", folder / "none.wav", "-m", folder / "amps")
    assert_refused(run_command(*missing), "none.wav does not exist")
    missing = ("effects", "batch", folder / "dry", "-m", folder / "none.nam")
    assert_refused(run_command(*missing), "none.nam does not exist", code=1)
    assert_refused(run_command("effects", "batch", folder / "dry", "-m", folder / "dry"),
                   "has no .nam files", code=1)  # fmt: skip
    assert not (folder / "wet").exists()


def test_a_dry_run_prints_the_names(run_command, folder):
    code, out, _ = run_command(*arguments(folder, "--dry-run"))
    assert code == 0
    assert sorted(out.split()) == [str(folder / "wet" / name) for name in NAMES]
    assert not (folder / "wet").exists()


def test_a_full_disk_stops_the_batch(run_command, folder, rng):
    resource = pytest.importorskip("resource")
    soundfile.write(folder / "dry" / "c.wav", 0.1 * rng.standard_normal(96_000), 48_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, out, err = run_command(*arguments(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (code, out) == (1, "")
    assert err.startswith("wavenet: Cannot write") and "the disk is full" in err
    assert not list((folder / "wet").glob(".partial-*"))
    assert run_command(*arguments(folder))[0] == 0
    assert len(list((folder / "wet").glob("*.wav"))) == 6


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_batch_is_resumed_to_the_same_files(run_command, folder, rng):
    for n in range(30):
        samples = 0.1 * rng.standard_normal(96_000)
        soundfile.write(folder / "dry" / f"long{n}.wav", samples, 48_000)
    command = [str(a) for a in arguments(folder, "--oversample", 4)]
    whole = folder / "whole"
    run_command(*command[:-4], "--out-dir", whole, "--oversample", 4)
    process = subprocess.Popen(
        [sys.executable, "-m", "wavenet", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    journal = folder / "wet" / "results.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") > 5):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, out, _ = run_command(*command, "--json")
    result = json.loads(out)
    assert code == 0
    assert 5 < result["already_done"] == 64 - result["done"]
    files = {path.name: path.read_bytes() for path in whole.glob("*.wav")}
    assert {path.name: path.read_bytes() for path in (folder / "wet").glob("*.wav")} == files
    assert len(files) == 64
