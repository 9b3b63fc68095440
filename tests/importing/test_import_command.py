"""`wavenet import`: from a file of somebody else to audio, and what it refuses."""

import json

import numpy as np
import pytest
import soundfile
import torch

from tests.importing import normed, r9_settings, r9_tensors, random, upsampling, vh_tensors
from wavenet import checkpoint
from wavenet.cli.main import run
from wavenet.likelihood.score import score
from wavenet.synthesis.generate import generate
from wavenet.synthesis.items import Item


@pytest.fixture
def wavenet(capsys):
    """Run a command: exit code, stdout, stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def theirs(tmp_path):
    """Write an r9y9 model that takes frames; return the arguments that import it."""
    settings = r9_settings(cin_channels=4)
    tensors = normed(r9_tensors(settings) | upsampling())
    torch.save({"state_dict": tensors}, tmp_path / "model.pth")
    (tmp_path / "hparams.json").write_text(json.dumps(settings))
    return ["r9y9", tmp_path / "model.pth", "--hparams", tmp_path / "hparams.json"]


@pytest.fixture
def other(tmp_path):
    """Write a vincentherrmann model; return the arguments that import it."""
    torch.save(vh_tensors(), tmp_path / "model.pt")
    return ["vincentherrmann", tmp_path / "model.pt", "--sample-rate", 8000]


def refused(result, *words, code=2):
    got, out, err = result
    assert (got, out) == (code, "")
    assert err.count("\n") == 1 and err.startswith("wavenet: "), err
    for word in words:
        assert word in err


def test_frames_go_through_both_networks_to_audio(wavenet, theirs, tmp_path):
    mel, out = tmp_path / "speech.npy", tmp_path / "my model"
    np.save(mel, random(50, 4, seed=1, scale=1.0).numpy())
    code, printed, words = wavenet("import", *theirs, "--trusted", "--out", out, "--frames", mel)
    assert (code, printed) == (0, f"{out}\n{out}/speech.upsampled.npy\n"), words
    stretched = np.load(out / "speech.upsampled.npy")
    assert (stretched.shape, stretched.dtype) == ((300, 4), np.float32)
    loaded = checkpoint.load(out)
    assert (loaded.config.name, loaded.config.codec.law) == ("my-model", "linear")
    assert "| layout | r9y9 |" in (out / "README.md").read_text()
    frames = f"mel={out}/speech.upsampled.npy"
    made = tmp_path / "made.wav"
    arguments = ("generate", "--checkpoint", out, "--frames", frames, "--out", made)
    assert wavenet(*arguments, "--no-guard")[0] == 0
    assert soundfile.info(made).frames == 299
    facts = json.loads(wavenet("info", out, "--json")[1])
    assert facts["codec"] == "linear, 16 bits, half-up"


def test_a_folder_that_holds_something_is_kept(wavenet, other, tmp_path):
    out = tmp_path / "out"
    arguments = ("import", *other, "--trusted", "--out", out)
    assert wavenet(*arguments, "--layers-per-cycle", 3)[1] == f"{out}\n"
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert sorted(before) == ["README.md", "config.json", "model.safetensors"]
    refused(wavenet(*arguments), "exists already", "--overwrite")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert wavenet(*arguments, "--overwrite")[0] == 0
    assert checkpoint.load(out).config.model.dilations == (1, 2, 4, 8, 16, 32)
    file = tmp_path / "file"
    file.write_text("x")
    refused(wavenet("import", *other, "--trusted", "--out", file, "--overwrite"), "exists already")


def test_a_file_is_not_read_unless_it_is_trusted(wavenet, theirs, other, tmp_path):
    for arguments in (theirs, other):
        words = ("can carry a program", "only its tensors", "--trusted", "origin")
        refused(wavenet("import", *arguments, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


def test_settings_of_the_other_layout_are_refused(wavenet, theirs, other, tmp_path):
    def attempt(*arguments):
        return wavenet("import", *arguments, "--trusted", "--out", tmp_path / "out")

    refused(attempt("nsynth", theirs[1]), "'nsynth' is not known", "r9y9 or vincentherrmann")
    refused(attempt(*theirs[:2]), "--hparams")
    refused(attempt(*theirs, "--sample-rate", 8000), "are for vincentherrmann")
    refused(attempt(*other[:2]), "--sample-rate")
    refused(attempt(*other, "--hparams", theirs[3]), "is for r9y9")
    refused(attempt(*other, "--frames", theirs[1]), "cannot be read as an array")
    refused(attempt("r9y9", other[1], *theirs[2:]), "first_conv.weight is missing", code=1)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_when_frames_do_not_fit(wavenet, theirs, tmp_path):
    mel = tmp_path / "mel.npy"
    np.save(mel, np.zeros((50, 3), np.float32))
    out = tmp_path / "out"
    refused(wavenet("import", *theirs, "--trusted", "--out", out, "--frames", mel), "50 x 3")
    assert not out.exists()


def test_an_odd_file_name_does_not_break_the_card(wavenet, theirs, tmp_path):
    odd = tmp_path / "a|b`c.pth"
    odd.write_bytes((tmp_path / "model.pth").read_bytes())
    out = tmp_path / "out"
    assert wavenet("import", "r9y9", odd, *theirs[2:], "--trusted", "--out", out)[0] == 0
    assert "| file | `a?b?c.pth` |" in (out / "README.md").read_text()


def test_a_clip_tells_the_bits_of_the_codes_it_was_drawn_with(wavenet, other, tmp_path):
    """Its waveform, encoded again, has codes one lower in that convention."""
    out = tmp_path / "other"
    assert wavenet("import", *other, "--trusted", "--out", out)[0] == 0
    loaded = checkpoint.load(out)
    (chunk,) = generate(loaded, [Item(160, seed=5)], engine="reference", chunk_samples=160)
    told = score(loaded, chunk.waveforms[0], codes=chunk.codes[0]).bits_per_sample
    common = ("--checkpoint", out, "--seconds", "0.02", "--seed", "5", "--engine", "reference")
    code, printed, words = wavenet("generate", *common, "--json", "--out", tmp_path / "a.wav")
    assert code == 0, words
    assert json.loads(printed)["bits_per_sample"] == pytest.approx(told, abs=1e-4)
    assert abs(score(loaded, chunk.waveforms[0]).bits_per_sample - told) > 1e-3
