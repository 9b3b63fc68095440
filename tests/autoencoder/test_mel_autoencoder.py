"""The autoencoder: shapes, codes, files, and bad configs."""

import json

import pytest
import torch

from tests.autoencoder.conftest import BANDS
from wavenet import checkpoint
from wavenet.autoencoder.autoencoder_folder import load_autoencoder, save_autoencoder
from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.autoencoder.vector_quantizer import VectorQuantizerConfig
from wavenet.config import make_config, parse_config
from wavenet.errors import CheckpointError, ConfigError


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return MelAutoencoder(config).requires_grad_(False).eval()


@pytest.mark.parametrize("codes_per_frame", [1, 2, 4])
def test_every_frame_has_its_codes(config, codes_per_frame):
    changed = config.model_copy(update={"codes_per_frame": codes_per_frame})
    model = MelAutoencoder(changed).requires_grad_(False)
    codes = model.encode(torch.randn(2, 7, BANDS))
    assert codes.shape == (2, 7 * codes_per_frame) and codes.dtype == torch.int64
    assert model.decode(codes).shape == (2, 7, BANDS)
    assert changed.codes_per_second == 100 * codes_per_frame


def test_decoding_the_codes_is_the_reconstruction(model):
    frames = torch.randn(2, 7, BANDS)
    decoded, latents, quantized = model.reconstruct(frames)
    assert latents.shape == (2, 7, 2, 4)
    assert torch.allclose(model.decode(model.encode(frames)), decoded, atol=1e-5)
    assert torch.equal(quantized.codes.flatten(1), model.encode(frames))


def test_codes_follow_each_other_frame_by_frame(config):
    """A change of the last frame leaves the codes of frames outside of the receptive field."""
    torch.manual_seed(0)
    model = MelAutoencoder(config).requires_grad_(False)
    frames = torch.randn(1, 12, BANDS)
    changed = frames.clone()
    changed[0, -1] += 5
    before, after = model.encode(frames)[0], model.encode(changed)[0]
    assert torch.equal(before[: 2 * 10], after[: 2 * 10])
    assert not torch.equal(before[-2:], after[-2:])


@pytest.mark.parametrize(("codes", "bits"), [(2, 4), (16, 4), (17, 5), (256, 8), (512, 9)])
def test_the_bits_suffice_for_the_codes(config, codes, bits):
    quantizer = VectorQuantizerConfig(n_codes=codes)
    assert config.model_copy(update={"quantizer": quantizer}).bits == bits


@pytest.mark.parametrize(
    "quantizer", [VectorQuantizerConfig(n_codes=16), FiniteScalarConfig(levels=(4, 3))]
)
def test_a_folder_keeps_config_weights_and_codebook(config, quantizer, tmp_path):
    changed = config.model_copy(update={"quantizer": quantizer})
    model = MelAutoencoder(changed).requires_grad_(False)
    save_autoencoder(tmp_path / "a", model)
    loaded = load_autoencoder(tmp_path / "a")
    frames = torch.randn(1, 5, BANDS)
    assert loaded.config == changed and not loaded.model.training
    assert torch.equal(loaded.model.encode(frames), model.encode(frames))


def test_a_damaged_folder_is_refused(config, model, tmp_path):
    folder = tmp_path / "a"
    with pytest.raises(CheckpointError, match="is not an autoencoder; expected a folder"):
        load_autoencoder(folder)
    save_autoencoder(folder, model)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"channels": 8', '"channels": 9', 1))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_autoencoder(folder)
    (folder / "config.json").write_text(text.replace('"hop": 80', '"hop": -1'))
    with pytest.raises(CheckpointError, match="hop"):
        load_autoencoder(folder)
    (folder / "config.json").write_text(json.dumps({"name": "digits"}))
    with pytest.raises(CheckpointError, match="another model"):
        load_autoencoder(folder)


def test_a_checkpoint_of_samples_is_not_an_autoencoder(vocoder):
    with pytest.raises(CheckpointError, match="is not an autoencoder but another model"):
        load_autoencoder(vocoder.folder)


def test_an_autoencoder_is_not_a_checkpoint_of_samples(model, tmp_path):
    save_autoencoder(tmp_path / "a", model)
    with pytest.raises(CheckpointError, match="is an autoencoder, expected a model that generates"):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"channels": 4096, "blocks": 32}, "parameters; the limit"),
        ({"codes_per_frame": 0}, "codes_per_frame"),
    ],
)
def test_settings_out_of_range_are_refused(config, changes, words):
    with pytest.raises(ConfigError, match=words):
        make_config(AutoencoderConfig, "test", **{**dict(config), **changes})


def test_an_unknown_quantiser_is_named(config):
    text = config.model_dump_json().replace('"kind":"vector"', '"kind":"lookup"')
    with pytest.raises(ConfigError, match="vector, finite-scalar"):
        parse_config(AutoencoderConfig, text, "config.json")
