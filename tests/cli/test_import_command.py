"""`wavenet import`: from a file of another program to audio, and its errors."""

import json

import numpy as np
import pytest
import soundfile
import torch

from tests.cli.conftest import assert_refused
from tests.importing import normed, r9_settings, r9_tensors, random, upsampling, vh_tensors
from wavenet import checkpoint
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score


@pytest.fixture
def r9y9_arguments(tmp_path):
    """Write an r9y9 model conditioned on frames; return the arguments that import it."""
    settings = r9_settings(cin_channels=4)
    tensors = normed(r9_tensors(settings) | upsampling())
    torch.save({"state_dict": tensors}, tmp_path / "model.pth")
    (tmp_path / "hparams.json").write_text(json.dumps(settings))
    return ["r9y9", tmp_path / "model.pth", "--hparams", tmp_path / "hparams.json"]


@pytest.fixture
def vh_arguments(tmp_path):
    """Write a vincentherrmann model; return the arguments that import it."""
    torch.save(vh_tensors(), tmp_path / "model.pt")
    return ["vincentherrmann", tmp_path / "model.pt", "--sample-rate", 8000]


def test_imported_frames_and_model_generate_audio(run_command, r9y9_arguments, tmp_path):
    mel, out = tmp_path / "speech.npy", tmp_path / "my model"
    np.save(mel, random(50, 4, seed=1, scale=1.0).numpy())
    code, printed, words = run_command(
        "import", *r9y9_arguments, "--trusted", "--out", out, "--frames", mel
    )
    assert (code, printed) == (0, f"{out}\n{out}/speech.upsampled.npy\n"), words
    upsampled = np.load(out / "speech.upsampled.npy")
    assert (upsampled.shape, upsampled.dtype) == ((300, 4), np.float32)
    loaded = checkpoint.load(out)
    assert (loaded.config.name, loaded.config.codec.law) == ("my-model", "linear")
    assert "| layout | r9y9 |" in (out / "README.md").read_text()
    frames = f"mel={out}/speech.upsampled.npy"
    made = tmp_path / "made.wav"
    arguments = ("generate", "--checkpoint", out, "--frames", frames, "--out", made)
    assert run_command(*arguments, "--no-guard")[0] == 0
    assert soundfile.info(made).frames == 299
    facts = json.loads(run_command("info", out, "--json")[1])
    assert facts["codec"] == "linear, 16 bits, rounded half-up"


def test_an_existing_folder_is_not_overwritten(run_command, vh_arguments, tmp_path):
    out = tmp_path / "out"
    arguments = ("import", *vh_arguments, "--trusted", "--out", out)
    assert run_command(*arguments, "--layers-per-cycle", 3)[1] == f"{out}\n"
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert sorted(before) == ["README.md", "config.json", "model.safetensors"]
    assert_refused(run_command(*arguments), "exists already", "--overwrite")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert run_command(*arguments, "--overwrite")[0] == 0
    assert checkpoint.load(out).config.model.dilations == (1, 2, 4, 8, 16, 32)
    file = tmp_path / "file"
    file.write_text("x")
    assert_refused(
        run_command("import", *vh_arguments, "--trusted", "--out", file, "--overwrite"),
        "exists already",
    )


def test_an_untrusted_file_is_not_read(run_command, r9y9_arguments, vh_arguments, tmp_path):
    for arguments in (r9y9_arguments, vh_arguments):
        result = run_command("import", *arguments, "--out", tmp_path / "out")
        assert_refused(result, "is a pickle", "--trusted")
    assert not (tmp_path / "out").exists()


def test_options_of_the_other_layout_are_refused(
    run_command, r9y9_arguments, vh_arguments, tmp_path
):
    def attempt(*arguments):
        return run_command("import", *arguments, "--trusted", "--out", tmp_path / "out")

    assert_refused(attempt("nsynth", r9y9_arguments[1]), "'nsynth'", "r9y9 or vincentherrmann")
    assert_refused(attempt(*r9y9_arguments[:2]), "--hparams")
    assert_refused(
        attempt(*r9y9_arguments, "--sample-rate", 8000), "--sample-rate", "vincentherrmann only"
    )
    assert_refused(attempt(*vh_arguments[:2]), "--sample-rate")
    assert_refused(attempt(*vh_arguments, "--hparams", r9y9_arguments[3]), "r9y9 only")
    assert_refused(
        attempt(*vh_arguments, "--frames", r9y9_arguments[1]), "cannot be read as an array"
    )
    assert_refused(
        attempt("r9y9", vh_arguments[1], *r9y9_arguments[2:]),
        "first_conv.weight is missing",
        code=1,
    )
    assert not (tmp_path / "out").exists()


def test_no_file_is_written_if_the_frames_do_not_fit(run_command, r9y9_arguments, tmp_path):
    mel = tmp_path / "mel.npy"
    np.save(mel, np.zeros((50, 3), np.float32))
    out = tmp_path / "out"
    assert_refused(
        run_command("import", *r9y9_arguments, "--trusted", "--out", out, "--frames", mel), "50 x 3"
    )
    assert not out.exists()


def test_special_characters_in_the_file_name_do_not_break_the_card(
    run_command, r9y9_arguments, tmp_path
):
    odd = tmp_path / "a|b`c.pth"
    odd.write_bytes((tmp_path / "model.pth").read_bytes())
    out = tmp_path / "out"
    assert (
        run_command("import", "r9y9", odd, *r9y9_arguments[2:], "--trusted", "--out", out)[0] == 0
    )
    assert "| file | `a?b?c.pth` |" in (out / "README.md").read_text()


def test_the_record_has_the_bits_per_sample_of_the_drawn_codes(run_command, vh_arguments, tmp_path):
    """In this codec, encoding the waveform again gives codes that are one lower."""
    out = tmp_path / "imported"
    assert run_command("import", *vh_arguments, "--trusted", "--out", out)[0] == 0
    loaded = checkpoint.load(out)
    (chunk,) = generate(
        loaded, [GenerationRequest(160, seed=5)], engine="reference", chunk_samples=160
    )
    expected = score(loaded, chunk.waveforms[0], codes=chunk.codes[0]).bits_per_sample
    common = ("--checkpoint", out, "--seconds", "0.02", "--seed", "5", "--engine", "reference")
    code, printed, words = run_command("generate", *common, "--json", "--out", tmp_path / "a.wav")
    assert code == 0, words
    assert json.loads(printed)["bits_per_sample"] == pytest.approx(expected, abs=1e-4)
    assert abs(score(loaded, chunk.waveforms[0]).bits_per_sample - expected) > 1e-3
