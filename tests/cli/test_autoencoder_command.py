"""`wavenet autoencoder`: training, recordings to codes, codes to sound, and wrong input."""

import pytest
import soundfile
import torch

from audio_utils import io
from tests.autoencoder.conftest import HOP, MEL, mel_only
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine
from wavenet.autoencoder.autoencoder_folder import load_autoencoder
from wavenet.autoencoder.code_sound import encode_recording
from wavenet.cli.code_files import read_codes, write_codes


@pytest.fixture
def recordings(tmp_path):
    """Write four tones, one in a subfolder and one held out for validation."""
    folder = tmp_path / "recordings"
    (folder / "more").mkdir(parents=True)
    for n, name in enumerate(("0_a_5", "1_a_5", "more/0_b_5", "1_b_8")):
        soundfile.write(folder / f"{name}.wav", sine(0.1 + 0.02 * n, 300 + 200 * n).numpy(), RATE)
    return folder


@pytest.fixture
def vocoder(make_checkpoint):
    return make_checkpoint(mel_only(MEL), name="voc").folder


@pytest.fixture
def trained(run_command, recordings, vocoder, tmp_path):
    """Train an autoencoder for three steps and return its folder."""
    folder = tmp_path / "auto"
    code, out, err = run_command(*train_command(recordings, vocoder, folder))
    assert (code, out) == (0, f"{folder}\n"), err
    assert "3 recordings to train on, 1 to validate" in err and "200 codes per second" in err
    return folder


def train_command(recordings, vocoder, out, *options):
    sizes = ("--channels", 8, "--codes", 16, "--steps", 3)
    places = ("--vocoder", vocoder, "--out", out)
    return ("autoencoder", "train", recordings, *places, *(options or sizes), "--quiet")


@pytest.mark.parametrize("bits", [4, 8, 9])
def test_every_code_survives_a_file(tmp_path, bits):
    codes = torch.arange(1 << bits)
    write_codes(tmp_path / "a.wav", codes, bits, False)
    assert torch.equal(read_codes(tmp_path / "a.wav", bits), codes)


def test_recordings_become_codes_and_codes_become_sound(run_command, recordings, vocoder, trained):
    out = trained.parent / "codes"
    options = ("--autoencoder", trained)
    code, shown, err = run_command("autoencoder", "encode", recordings, *options, "--out", out)
    assert (code, shown) == (0, f"{out}\n")
    assert "4 files" in err and "codes of 4 bits" in err
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.wav"))
    assert names == ["0_a_5.wav", "1_a_5.wav", "1_b_8.wav", "more/0_b_5.wav"]
    codes = read_codes(out / "0_a_5.wav", 4)
    model = load_autoencoder(trained).model
    assert torch.equal(codes, encode_recording(model, io.read(recordings / "0_a_5.wav").waveform))

    sounds = trained.parent / "sounds"
    decode = ("autoencoder", "decode", out / "0_a_5.wav", *options, "--vocoder", vocoder)
    assert run_command(*decode, "--out", sounds)[:2] == (0, f"{sounds / '0_a_5.wav'}\n")
    samples = (len(codes) // 2 - 1) * HOP + HOP // 2
    assert soundfile.info(sounds / "0_a_5.wav").frames == samples
    assert_refused(run_command(*decode, "--out", sounds), "exists", "--overwrite")


def test_a_finite_scalar_quantiser_has_the_chosen_levels(
    run_command, recordings, vocoder, tmp_path
):
    options = ("--quantizer", "finite-scalar", "--levels", "4, 3", "--steps", 1, "--channels", 4)
    assert run_command(*train_command(recordings, vocoder, tmp_path / "a", *options))[0] == 0
    assert load_autoencoder(tmp_path / "a").config.quantizer.levels == (4, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--levels", "4,3"), "--levels needs --quantizer finite-scalar"),
        (("--quantizer", "finite-scalar", "--codes", 16), "--codes needs --quantizer vector"),
        (("--quantizer", "finite-scalar", "--levels", "4,x"), "whole numbers such as 8,6,5"),
        (("--quantizer", "finite-scalar", "--levels", "64,64"), "4,096 codes"),
        (("--codes", 1), "n_codes"),
        (("--codes-per-frame", 0), "codes_per_frame"),
        (("--steps", 0), "steps"),
    ],
)
def test_wrong_settings_are_refused(run_command, recordings, vocoder, tmp_path, options, words):
    result = run_command(*train_command(recordings, vocoder, tmp_path / "a", *options))
    assert_refused(result, words)
    assert not (tmp_path / "a").exists()


def test_a_model_without_mel_is_no_vocoder(run_command, recordings, tiny, tmp_path):
    assert_refused(
        run_command(*train_command(recordings, tiny, tmp_path / "a")), "is not a vocoder"
    )


def test_a_folder_that_does_not_exist_is_refused(run_command, vocoder, tmp_path):
    result = run_command(*train_command(tmp_path / "none", vocoder, tmp_path / "a"))
    assert_refused(result, "is not a folder", code=1)


def test_a_recording_is_not_a_file_of_codes(run_command, recordings, vocoder, trained):
    result = run_command(
        *("autoencoder", "decode", recordings / "0_a_5.wav", "--autoencoder", trained),
        *("--vocoder", vocoder, "--out", trained.parent / "x"),
    )
    assert_refused(result, "are not the 16 codes of 4 bits", code=1)


def test_a_file_that_cannot_be_read_is_reported(run_command, recordings, trained):
    (recordings / "2_a_5.wav").write_bytes(b"RIFF")
    options = ("--autoencoder", trained, "--out", trained.parent / "x")
    code, _, err = run_command("autoencoder", "encode", recordings, *options)
    assert code == 3 and "2_a_5.wav" in err and "4 files" in err


@pytest.mark.parametrize("name", ["recordings", "recordings/codes"])
def test_recordings_are_not_replaced_by_codes(run_command, recordings, trained, name):
    before = (recordings / "0_a_5.wav").read_bytes()
    options = ("--autoencoder", trained, "--out", trained.parent / name, "--overwrite")
    result = run_command("autoencoder", "encode", recordings, *options)
    assert_refused(result, "is in", "choose another folder")
    assert (recordings / "0_a_5.wav").read_bytes() == before
    assert not (recordings / "codes").exists()


def test_a_model_of_codes_is_trained_and_generates_codes(
    run_command, recordings, trained, tmp_path
):
    """The way of the guide: encode, train a prior, generate codes."""
    codes, recipe = tmp_path / "codes", tmp_path / "prior.toml"
    encode = ("autoencoder", "encode", recordings, "--autoencoder", trained, "--out", codes)
    assert run_command(*encode, "--quiet")[0] == 0
    recipe.write_text(
        'name = "prior"\n[audio]\nsample_rate = 8000\n[codec]\nbits = 4\n[model]\n'
        "residual_channels = 8\ngate_channels = 8\nskip_channels = 8\nkernel_size = 2\n"
        "dilations = [1, 2]\ncondition_channels = 4\ncondition_hop = 1\n"
        '[[model.conditions]]\nkind = "position"\n[train]\nsteps = 2\nsamples_per_step = 64\n'
    )
    run = tmp_path / "run"
    assert run_command("train", recipe, "--data", codes, "--out", run, "--quiet")[0] == 0
    out = tmp_path / "new.wav"
    command = ("generate", "--checkpoint", run / "checkpoint", "--seconds", 20 / RATE)
    code, _, err = run_command(*command, "--out", out)
    assert code == 0, err
    generated = read_codes(out, 4)
    assert generated.shape == (20,)
