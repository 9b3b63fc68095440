"""`wavenet images`, and the other commands on images of sound."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audio_utils.sound_images import ImageSettings
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli.image_files import CODEC, read_image, write_image
from wavenet.model.conditions import LabelCondition, MelCondition
from wavenet.model.gated_pixel_cnn import GatedPixelCNNConfig

SETTINGS = ImageSettings(bands=16, frames=12, seconds=0.36)
OPTIONS = ("--bands", 16, "--frames", 12, "--seconds", 0.36)


@pytest.fixture
def recordings(tmp_path):
    """Write three tones, one in a subfolder and one longer than an image."""
    folder = tmp_path / "recordings"
    (folder / "more").mkdir(parents=True)
    for name, seconds in (("0_a_0", 0.3), ("1_a_0", 0.5), ("more/0_b_0", 0.2)):
        soundfile.write(folder / f"{name}.wav", sine(seconds).numpy(), RATE)
    return folder


@pytest.fixture
def images(run_command, recordings, tmp_path):
    folder = tmp_path / "images"
    result = run_command("images", "encode", recordings, "--out", folder, *OPTIONS, "--quiet")
    assert result[:2] == (0, f"{folder}\n")
    assert "3 images of 16 x 12 pixels; 1 recordings are longer than 0.36 s" in result[2]
    return folder


def test_every_level_survives_a_file(tmp_path):
    levels = torch.arange(16 * 12).reshape(16, 12) % 16
    write_image(tmp_path / "a.wav", levels, False)
    assert torch.equal(read_image(tmp_path / "a.wav", SETTINGS), levels)
    assert torch.equal(CODEC.encode(CODEC.decode(levels)), levels)


def test_images_have_the_names_of_their_recordings(images):
    assert sorted(str(p.relative_to(images)) for p in images.rglob("*.wav")) == [
        "0_a_0.wav",
        "1_a_0.wav",
        "more/0_b_0.wav",
    ]
    image = read_image(images / "0_a_0.wav", SETTINGS)
    assert image.shape == (16, 12) and image.max() == 15


def test_existing_images_are_kept_unless_they_may_be_replaced(run_command, recordings, images):
    command = ("images", "encode", recordings, "--out", images, *OPTIONS)
    assert_refused(run_command(*command), "exists already", "--overwrite")
    assert run_command(*command, "--overwrite")[0] == 0


def test_a_file_that_cannot_be_read_is_reported(run_command, recordings, tmp_path):
    (recordings / "2_a_0.wav").write_bytes(b"RIFF")
    result = run_command("images", "encode", recordings, "--out", tmp_path / "x", *OPTIONS)
    assert result[0] == 3
    assert "2_a_0.wav" in result[2] and "3 images" in result[2]


def test_recordings_that_differ_in_the_suffix_only_are_refused(run_command, recordings, tmp_path):
    soundfile.write(recordings / "0_a_0.flac", sine(0.3).numpy(), RATE)
    result = run_command("images", "encode", recordings, "--out", tmp_path / "x", *OPTIONS)
    assert_refused(result, "2 files would be written as 0_a_0.wav")


def test_an_image_becomes_sound_and_a_picture(run_command, images, tmp_path):
    files = [images / "0_a_0.wav", images / "1_a_0.wav"]
    out = tmp_path / "sound"
    code, shown, _ = run_command("images", "decode", *files, "--out", out, *OPTIONS)
    assert (code, shown) == (0, f"{out / '0_a_0.wav'}\n{out / '1_a_0.wav'}\n")
    sound, rate = soundfile.read(out / "0_a_0.wav")
    assert (rate, len(sound)) == (RATE, SETTINGS.samples)
    # the frequency of the tone, 440 Hz, up to the width of a band
    assert abs(np.abs(np.fft.rfft(sound[:2000])).argmax() * RATE / 2000 - 440) < 130
    assert (out / "0_a_0.png").read_bytes().startswith(b"\x89PNG")
    again = run_command("images", "decode", *files, "--out", out, *OPTIONS)
    assert_refused(again, "exists already", "--overwrite")


def test_a_vocoder_makes_sound_of_an_image(run_command, make_checkpoint, images, tmp_path):
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    vocoder = make_checkpoint(config, name="vocoder").folder
    command = ("images", "decode", images / "0_a_0.wav", *OPTIONS, "--vocoder", vocoder)
    sounds = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run_command(*command, "--out", tmp_path / name, "--seed", seed)[0] == 0
        sounds.append(soundfile.read(tmp_path / name / "0_a_0.wav")[0])
    assert len(sounds[0]) == SETTINGS.samples
    assert np.array_equal(sounds[0], sounds[1]) and not np.array_equal(sounds[0], sounds[2])
    other = ("--sample-rate", 16_000, "--out", tmp_path / "d")
    assert_refused(run_command(*command, *other), "has 8,000 Hz", "--sample-rate 8000")


def test_a_checkpoint_without_mel_is_no_vocoder(run_command, images, tiny, tmp_path):
    command = ("images", "decode", images / "0_a_0.wav", *OPTIONS, "--vocoder", tiny)
    assert_refused(run_command(*command, "--out", tmp_path / "x"), "only local condition is mel")
    assert not (tmp_path / "x").exists()


def test_wrong_files_are_refused(run_command, recordings, images, tmp_path):
    out = ("--out", tmp_path / "x")
    image = images / "0_a_0.wav"
    assert_refused(
        run_command("images", "decode", image, *out), "192 samples", "768 samples", code=1
    )
    soundfile.write(tmp_path / "sine.wav", sine(192 / RATE).numpy(), RATE)
    assert_refused(
        run_command("images", "decode", tmp_path / "sine.wav", *out, *OPTIONS),
        "is not an image of sound",
        code=1,
    )
    assert_refused(
        run_command("images", "decode", image, image, *out, *OPTIONS),
        "2 files would be written as 0_a_0",
    )
    assert_refused(
        run_command("images", "encode", recordings, *out, "--bands", 1), "bands", "not 1", code=1
    )
    assert not (tmp_path / "x").exists()


def test_images_are_trained_scored_and_generated_as_clips_are(
    run_command, images, recordings, tmp_path
):
    """All other commands read a folder of images as a folder of recordings."""
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        """
        name = "own"
        [audio]
        sample_rate = 8000
        [codec]
        bits = 4
        [model]
        architecture = "gated-pixelcnn"
        height = 16
        width = 12
        channels = 6
        layers = 2
        output_channels = 8
        [[model.conditions]]
        kind = "label"
        name = "digit"
        [data]
        pattern = "{digit}_{speaker}_{index}"
        max_seconds = 0.024
        [train]
        steps = 2
        samples_per_step = 400
        """
    )
    run = tmp_path / "run"
    command = ("train", recipe, "--out", run, "--quiet")
    assert run_command(*command, "--data", images)[0] == 0
    clip, options = tmp_path / "clip.wav", ("--checkpoint", run / "checkpoint", "--set", "digit=0")
    assert run_command("generate", *options, "--out", clip)[0] == 0
    assert read_image(clip, SETTINGS).shape == (16, 12)
    score = json.loads(run_command("score", clip, *options, "--json")[1].splitlines()[-1])
    assert 3 < score["bits_per_sample"] < 5  # an untrained model needs 4 bits
    # a clip longer than an image has no more pixels
    result = run_command("generate", *options, "--seconds", 0.1, "--out", tmp_path / "long.wav")
    assert_refused(result, "at most 192 samples", "16 x 12 pixels", "found 800 samples")
    # recordings instead of images
    result = run_command("score", recordings / "0_a_0.wav", *options)
    assert_refused(result, "at most 192 samples", "wavenet images encode")


@pytest.mark.parametrize("engine", ["cached", "reference"])
def test_an_image_model_generates_on_an_engine(run_command, make_checkpoint, tmp_path, engine):
    digit = LabelCondition(name="digit", values=("a", "b"), channels=4)
    config = GatedPixelCNNConfig(
        height=5, width=6, channels=6, layers=2, output_channels=8, conditions=(digit,)
    )
    folder = make_checkpoint(config, bits=4, name="pixels").folder
    command = ("generate", "--checkpoint", folder, "--set", "digit=b", "--seconds", 30 / RATE)
    out = tmp_path / f"{engine}.wav"
    assert run_command(*command, "--engine", engine, "--out", out)[0] == 0
    image = read_image(out, ImageSettings(bands=5, frames=6, seconds=0.36))
    assert len(set(image.flatten().tolist())) > 4
