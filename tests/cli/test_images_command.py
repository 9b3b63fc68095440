"""`wavenet images`, and the other commands on images of sound."""

import json

import matplotlib.image as mpimg
import numpy as np
import pytest
import soundfile
import torch
from sklearn.datasets import load_digits

from audio_utils.sound_images import ImageSettings
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli.image_files import read_image, write_image
from wavenet.model.conditions import LabelCondition, MelCondition, RasterCondition
from wavenet.model.gated_pixel_cnn import GatedPixelCNNConfig
from wavenet.recordings.audio_metadata import find_audio_files
from wavenet.training.recipe import load_recipe

SETTINGS = ImageSettings(bands=16, frames=12, seconds=0.36)
SIZE = (16, 12)
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
    assert torch.equal(read_image(tmp_path / "a.wav", *SIZE), levels)


def test_images_have_the_names_of_their_recordings(images):
    assert sorted(str(p.relative_to(images)) for p in images.rglob("*.wav")) == [
        "0_a_0.wav",
        "1_a_0.wav",
        "more/0_b_0.wav",
    ]
    image = read_image(images / "0_a_0.wav", *SIZE)
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


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl"])
def test_the_table_of_the_recordings_is_written_for_the_images(
    run_command, recordings, tmp_path, monkeypatch, table
):
    """With the names of the images; recordings that are not in the table, or damaged, are not."""
    soundfile.write(recordings / "b.flac", sine(0.3).numpy(), RATE)
    (recordings / "bad.wav").write_bytes(b"RIFF")
    rows = [("b.flac", "7"), ("more/0_b_0.wav", "ä"), ("bad.wav", "1")]
    if table == "metadata.csv":
        text = "file_name,digit\n" + "".join(f"{name},{digit}\n" for name, digit in rows)
    else:
        text = "".join(f'{{"digit": "{digit}", "file": "{name}"}}\n' for name, digit in rows)
    (recordings / table).write_text(text, encoding="utf-8")
    out = tmp_path / "x"
    monkeypatch.chdir(tmp_path)  # the paths of a table are absolute, that of the folder is not
    result = run_command("images", "encode", recordings.name, "--out", out, *OPTIONS, "--quiet")
    assert result[0] == 3 and "2 images" in result[2]
    files = find_audio_files(out)
    found = {file.path.relative_to(out).as_posix(): file.fields for file in files}
    assert found == {"b.wav": {"digit": "7"}, "more/0_b_0.wav": {"digit": "ä"}}
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.wav")) == sorted(found)


def test_without_a_table_none_is_written(images):
    assert [path.suffix for path in images.rglob("*") if path.is_file()] == [".wav"] * 3


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


def test_an_image_becomes_a_picture_alone(run_command, tmp_path):
    write_image(tmp_path / "a.wav", torch.arange(15).reshape(3, 5), False)
    out = tmp_path / "pictures"
    command = ("images", "decode", tmp_path / "a.wav", "--out", out, "--no-sound")
    size = ("--bands", 3, "--frames", 5)
    assert run_command(*command, *size)[:2] == (0, f"{out / 'a.png'}\n")
    assert [path.name for path in out.iterdir()] == ["a.png"]
    grey = mpimg.imread(out / "a.png")[..., 0]
    assert grey.shape == (3 * 78, 5 * 78)  # 390 dots for five columns
    # every pixel is a square of one grey level, black to white
    middles = grey[39::78, 39::78]
    assert np.abs(middles - np.arange(15).reshape(3, 5) / 15).max() < 0.01
    assert np.array_equal(grey, middles.repeat(78, 0).repeat(78, 1))
    assert_refused(run_command(*command, *size, "--overwrite", "--frames", 4), "15 samples", code=1)
    for option in ("--vocoder", "--seed", "--seconds", "--range-db", "--sample-rate"):
        result = run_command(*command, *size, "--overwrite", option, 1)
        assert_refused(result, f"{option} has no effect with --no-sound")


@pytest.mark.slow
def test_handwritten_digits_are_images_in_a_split_by_blocks(run_command, tmp_path):
    out = tmp_path / "digits"
    result = run_command("images", "handwritten", "--out", out, "--quiet")
    assert result[:2] == (0, f"{out}\n") and "1,797 images of 8 x 8 pixels" in result[2]
    data = load_digits()
    files = find_audio_files(out, load_recipe("handwritten").data.pattern)
    by_index = {int(file.fields["index"]): file for file in files}
    assert [by_index[n].fields["digit"] for n in range(1797)] == [str(d) for d in data.target]
    splits = [by_index[n].fields["split"] for n in range(1797)]
    assert splits == ["train"] * 1257 + ["validation"] * 180 + ["test"] * 360
    for index in (0, 1500, 1796):
        image = read_image(by_index[index].path, 8, 8)
        assert np.array_equal(image, np.minimum(data.images[index], 15))
    assert_refused(run_command("images", "handwritten", "--out", out), "exists already")


@pytest.mark.slow
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
        "are not the 16 codes of 4 bits",
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
    assert read_image(clip, *SIZE).shape == (16, 12)
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
    image = read_image(out, 5, 6)
    assert len(set(image.flatten().tolist())) > 4


def test_info_names_the_pixels_that_a_model_of_images_reads(run_command, make_checkpoint):
    config = GatedPixelCNNConfig(height=5, width=6, channels=6, layers=2, output_channels=8)
    folder = make_checkpoint(config, bits=4, name="pixels").folder
    reads = "the pixels before, up to 2 rows above and 2 columns to each side"
    shown = run_command("info", folder)[1]
    assert f"receptive field        {reads}\n" in shown and "receptive field ms" not in shown
    assert json.loads(run_command("info", folder, "--json")[1])["receptive_field"] == reads


def test_info_lists_the_raster(run_command, make_checkpoint):
    config = tiny_config(hop=1).model_copy(
        update={"conditions": (RasterCondition(height=5, width=6),)}
    )
    shown = run_command("info", make_checkpoint(config, bits=4, name="flat").folder)[1]
    assert "raster                 row and column in 5 x 6 pixels\n" in shown
