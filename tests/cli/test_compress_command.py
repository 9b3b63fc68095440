"""`wavenet compress`, `decompress` and `verify`."""

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import assert_refused
from tests.compression.audio_files import (
    DeltaCoder,
    chunk,
    find_deltas,
    make_aiff,
    make_samples,
    make_wav,
)
from tests.compression.test_compress_files import WrongCoder
from tests.compression.test_damaged_files import pack

WAV = make_wav(make_samples(2, 4000), after=chunk(b"LIST", b"abc"))
AIFF = make_aiff(make_samples(1, 999, 24), 24)
FOLDERS = "wavenet.compression.compressor_folder"
CALL = "from wavenet.cli.main import main; main()"


@pytest.fixture(autouse=True)
def coder(monkeypatch):
    """Use the coder of the tests; return the arguments with which it was loaded."""
    loaded = []

    def load(*arguments, **keywords):
        loaded.append((arguments, keywords))
        return DeltaCoder()

    monkeypatch.setattr(f"{FOLDERS}.load_compressor", load)
    monkeypatch.setattr(f"{FOLDERS}.load_block_coder", find_deltas)
    return loaded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with two recordings and other files; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.wav").write_bytes(WAV)
    (tmp_path / "in/deep/b.aif").write_bytes(AIFF)
    (tmp_path / "in/notes.txt").write_text("no sound")
    return tmp_path


def test_a_folder_is_compressed_verified_and_restored(folder, run_command):
    code, out, err = run_command("compress", "in", "--out", "packed")
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        "packed/a.wnc",
        "packed/deep/b.wnc",
    ]
    code, out, _ = run_command("verify", "packed")
    assert (code, out) == (0, "packed/a.wnc: ok\npacked/deep/b.wnc: ok\n")
    code, out, _ = run_command("decompress", "packed", "--out", "restored")
    assert (code, out) == (0, "restored/a.wav\nrestored/deep/b.aif\n")
    assert (folder / "restored/a.wav").read_bytes() == WAV
    assert (folder / "restored/deep/b.aif").read_bytes() == AIFF


def test_single_files_have_names_of_the_user_or_their_own(folder, run_command):
    assert run_command("compress", "in/a.wav")[0] == 0
    assert run_command("compress", "in/a.wav", "--out", "other.wnc")[0] == 0
    assert (folder / "a.wnc").read_bytes() == (folder / "other.wnc").read_bytes()
    assert run_command("decompress", "a.wnc", "-o", "x.wav")[0] == 0
    assert (folder / "x.wav").read_bytes() == WAV
    assert run_command("decompress", "a.wnc", "--format", "flac")[0] == 0
    assert (folder / "a.flac").read_bytes()[:4] == b"fLaC"


def test_json_has_the_sizes(folder, run_command):
    code, out, _ = run_command("compress", "in/a.wav", "--json", "--no-verify")
    assert code == 0
    (found,) = json.loads(out)["files"]
    assert (found["bytes_before"], found["samples"], found["channels"]) == (len(WAV), 4000, 2)
    assert found["bytes_after"] == (folder / "a.wnc").stat().st_size
    assert found["bits_per_sample"] == pytest.approx(found["bytes_after"] / 1000)
    code, out, _ = run_command("verify", "a.wnc", "--json")
    (found,) = json.loads(out)["files"]
    assert (code, found["is_original"], found["damaged"]) == (0, True, [])


def test_one_bad_file_does_not_stop_the_others(folder, run_command):
    (folder / "in/c.wav").write_bytes(WAV[:30])
    code, out, err = run_command("compress", "in", "-o", "packed")
    assert (code, out.count("\n")) == (3, 2)
    assert err.startswith("failed: in/c.wav")
    (folder / "packed/a.wnc").write_bytes((folder / "packed/a.wnc").read_bytes()[:-1])
    code, out, err = run_command("decompress", "packed", "-o", "restored")
    assert (code, out) == (3, "restored/deep/b.aif\n")
    assert not (folder / "restored/a.wav").exists()
    code, out, _ = run_command("verify", "packed", "--json")
    document = json.loads(out)
    assert (code, len(document["files"]), document["failed"][0]["source"]) == (3, 1, "packed/a.wnc")


def test_a_single_bad_file_is_one_sentence(folder, run_command):
    (folder / "bad.wnc").write_bytes(b"no compressed file")
    assert_refused(run_command("verify", "bad.wnc"), "no compressed file", code=1)
    assert_refused(run_command("decompress", "bad.wnc"), "no compressed file", code=1)
    (folder / "float.wav").write_bytes(make_wav(make_samples(1, 9)).replace(b"\x01", b"\x03", 1))
    assert_refused(run_command("compress", "float.wav"), "format 3", "8, 16 or 24 bits", code=1)
    assert not (folder / "float.wnc").exists()


def test_an_error_of_the_encoder_removes_the_output(folder, run_command, monkeypatch):
    monkeypatch.setattr(f"{FOLDERS}.load_compressor", lambda *_, **__: WrongCoder(1))
    assert_refused(run_command("compress", "in/a.wav"), "verification", code=1)
    assert not (folder / "a.wnc").exists()
    assert (folder / "in/a.wav").read_bytes() == WAV
    code, out, _ = run_command("compress", "in", "-o", "packed")
    assert (code, out.split("\t")[0]) == (3, "packed/deep/b.wnc")


def test_damaged_blocks_are_recovered_with_a_list(folder, run_command):
    run_command("compress", "in/a.wav")
    content = bytearray((folder / "a.wnc").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "a.wnc").write_bytes(content)
    assert_refused(run_command("decompress", "a.wnc"), "damaged", code=1)
    code, out, err = run_command("decompress", "a.wnc", "--recover")
    assert (code, out) == (3, "a.wav\n")
    assert "silence from 0.000 s to 0.250 s" in err
    assert len((folder / "a.wav").read_bytes()) == len(WAV)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "missing.wav"], ["missing.wav"]),
        (["compress", "in/deep/../notes"], ["does not exist"]),
        (["verify", "in"], ["has no compressed files"]),
        (["compress", "in", "-o", "one.wnc"], ["2 files", "folder"]),
        (["compress", "in", "-o", "-"], ["2 files", "stdout"]),
        (["compress", "-", "in/a.wav"], ["stdin"]),
        (["compress", "in/a.wav", "--block-seconds", "11"], ["block_seconds", "10"]),
        (["compress", "in/a.wav", "in/a.aif"], ["in/a.aif"]),
    ],
)
def test_wrong_usage_is_one_sentence(folder, run_command, arguments, words):
    assert_refused(run_command(*arguments), *words, code=2)


def test_two_files_with_one_target_are_refused(folder, run_command):
    (folder / "in/a.aif").write_bytes(AIFF)
    assert_refused(run_command("compress", "in"), "a.wnc", "rename")


def test_existing_files_are_kept_unless_overwritten(folder, run_command):
    (folder / "a.wnc").write_bytes(b"kept")
    assert_refused(run_command("compress", "in/a.wav"), "--overwrite")
    assert (folder / "a.wnc").read_bytes() == b"kept"
    assert run_command("compress", "in/a.wav", "--overwrite")[0] == 0
    assert_refused(run_command("decompress", "a.wnc", "-o", "in"), "--overwrite")


def test_options_drop_metadata_and_store_the_name(folder, run_command):
    run_command("compress", "in/a.wav", "--drop-metadata", "-o", "x.wnc")
    run_command("decompress", "x.wnc")
    assert (folder / "x.wav").read_bytes() == make_wav(make_samples(2, 4000))
    run_command("compress", "in/a.wav", "--store-name", "-o", "y.wnc")
    code, out, _ = run_command("decompress", "y.wnc", "-o", "named")
    assert (code, out) == (0, "named/a.wav\n")


def test_options_choose_the_compressor(folder, run_command, coder):
    assert run_command("compress", "in/a.wav", "-o", "x.wnc")[0] == 0
    assert coder.pop() == (("lossless",), {"adapts": True})
    run_command("compress", "in/a.wav", "-o", "y.wnc", "--no-adaptive", "--compressor", "runs/a")
    assert coder.pop() == (("runs/a",), {"adapts": False})


@pytest.mark.parametrize("command", [("compress", "in/a.wav"), ("verify", "a.wnc")])
def test_code_is_compiled_before_the_files_are_processed(
    folder, run_command, monkeypatch, command
):
    run_command("compress", "in/a.wav")
    events = []
    monkeypatch.setattr(f"{FOLDERS}.compile_coder", lambda coder: events.append(coder.name))
    for module, name in (("compress_files", "encode_blocks"), ("decode_files", "decode_blocks")):
        work = getattr(importlib.import_module(f"wavenet.compression.{module}"), name)
        monkeypatch.setattr(
            f"wavenet.compression.{module}.{name}",
            lambda *arguments, work=work: (events.append("work"), work(*arguments))[1],
        )
    assert run_command(*command, *(["--overwrite"] if command[0] == "compress" else []))[0] == 0
    assert events[:2] == ["deltas", "work"]
    assert events.count("deltas") == 1


def test_nothing_is_compiled_for_files_without_a_coder(folder, run_command, monkeypatch):
    (folder / "raw.wnc").write_bytes(pack(WAV, with_coder=False))
    monkeypatch.setattr(f"{FOLDERS}.compile_coder", lambda coder: pytest.fail("compiled"))
    assert run_command("verify", "raw.wnc")[0] == 0


def test_joined_files_are_one_wav(folder, run_command):
    run_command("compress", "in/a.wav")
    (folder / "b.wnc").write_bytes(2 * (folder / "a.wnc").read_bytes())
    assert run_command("verify", "b.wnc")[:2] == (0, "b.wnc: ok\n")
    assert run_command("decompress", "b.wnc")[:2] == (0, "b.wav\n")
    assert (folder / "b.wav").read_bytes() == make_wav(np.tile(make_samples(2, 4000), 2))


@pytest.mark.slow
def test_pipes_carry_files_through_both_commands(tmp_path):
    """Three processes, without the coder of the tests."""
    wav = make_wav(make_samples(2, 4000), data_length=2**32 - 1, riff_length=2**32 - 1)
    command = [sys.executable, "-c", CALL]
    packed = subprocess.run([*command, "compress", "-"], input=wav, capture_output=True, check=True)
    assert packed.stdout[:4] == b"\x89WNC"
    for arguments in (["verify", "-"], ["decompress", "-"]):
        done = subprocess.run(
            [*command, *arguments], input=packed.stdout, capture_output=True, check=True
        )
    assert done.stdout == wav
    cut = subprocess.run(
        [*command, "decompress", "-"], input=packed.stdout[:-1], capture_output=True, check=False
    )
    assert cut.returncode == 1
    assert cut.stderr.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_full_stdout_is_one_sentence(folder, run_command, command):
    run_command("compress", "in/a.wav")
    name = "in/a.wav" if command == "compress" else "a.wnc"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", CALL, command, name, "--out", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_stdin_is_compressed_into_a_file(folder, run_command, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(WAV)))
    assert run_command("compress", "-", "-o", "packed.wnc")[0] == 0
    run_command("decompress", "packed.wnc")
    assert (folder / "packed.wav").read_bytes() == WAV
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert_refused(run_command("verify", "-"), "stdin", code=1)


@pytest.mark.parametrize("is_link", [False, True])
def test_an_output_does_not_replace_an_input(folder, run_command, is_link):
    target = folder / "in/a.wav"
    if is_link:
        target = folder / "link.wnc"
        target.symlink_to(folder / "in/a.wav")
    code, _, err = run_command("compress", "in/a.wav", "--out", target, "--overwrite")
    assert code == 2
    assert "another --out" in err
    assert (folder / "in/a.wav").read_bytes() == WAV
