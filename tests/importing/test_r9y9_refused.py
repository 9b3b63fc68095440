"""Models of r9y9/wavenet_vocoder: files and hparams that do not match are refused."""

import json

import pytest
import torch

from tests.importing import CLASSES, normed, r9_read, r9_settings, r9_tensors, upsampling
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.importing import r9y9
from wavenet.importing.imported_model import upsample_frames


def test_frames_that_do_not_fit_are_refused(tmp_path):
    settings = r9_settings(cin_channels=4)
    imported = r9_read(tmp_path, settings, r9_tensors(settings) | upsampling())
    for frames in (
        torch.zeros(4, 4),
        torch.zeros(7, 3),
        torch.zeros(4),
        torch.full((7, 4), torch.inf),
    ):
        with pytest.raises(ConditionError, match="frames x 4 or 4 x frames"):
            upsample_frames(imported, frames)
    with pytest.raises(ConditionError, match="cut the recording"):
        upsample_frames(imported, torch.zeros(1, 1).expand(1 << 24, 4))
    plain = r9_settings()
    with pytest.raises(ConditionError, match="no upsampling network"):
        upsample_frames(r9_read(tmp_path, plain, r9_tensors(plain)), torch.zeros(7, 4))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"input_type": "mulaw"}, "'mulaw'"),
        ({"input_type": "x"}, "input_type: "),
        ({"out_channels": 7}, "multiple of 3, found 7"),
        ({"out_channels": 2}, "multiple of 3, found 2"),
        (CLASSES | {"out_channels": 30}, "out_channels must equal quantize_channels, 256"),
        (CLASSES | {"out_channels": 300, "quantize_channels": 300}, "a power of two, found 300"),
        ({"layers": 7}, "7 layers in 2 stacks"),
        ({"layers": 202}, "layers: .* 200, found 202"),
        ({"layers": 36}, "1 to 17 layers per stack"),
        ({"sample_rate": 5}, "sample_rate: "),
        ({"layers": "6"}, "layers: "),
        ({"use_causal_conv": True}, "the key 'use_causal_conv' is not known"),
        ({"frame_settings": {}}, "the key 'frame_settings' is not known"),
        ({"builder": "student"}, "builder: .*'wavenet', found 'student'"),
        ({"preset": "ljspeech"}, "preset: .*found 'ljspeech'"),
        ({"quantize_channels": 256}, "quantize_channels must be 65536 .* found 256"),
        ({"upsample_params": {"mode": "trilinear"}}, "upsample_params.mode: .*found 'trilinear'"),
        (
            {"upsample_params": {"upsample_activation": "ReLU"}},
            "upsample_params.upsample_activation: .*found 'ReLU'",
        ),
        ({"upsample_params": {"align_corners": True}}, "upsample_params.align_corners is not"),
    ],
)
def test_hparams_out_of_range_are_refused(tmp_path, settings, words):
    tensors = r9_tensors(r9_settings())
    with pytest.raises(ConfigError, match=words) as caught:
        r9_read(tmp_path, r9_settings(**settings), tensors)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_and_damaged_hparams_are_refused(tmp_path):
    settings = r9_settings()
    tensors = r9_tensors(settings)
    r9_read(tmp_path, settings, tensors)
    for text, words in (("{", "Invalid JSON"), ("{}", "the key sample_rate is missing")):
        (tmp_path / "hparams.json").write_text(text)
        with pytest.raises(ConfigError, match=words):
            r9y9.import_model(tmp_path / "checkpoint.pth", tmp_path / "hparams.json", "x", True)
    with pytest.raises(ConfigError, match=r"none\.json cannot be read: No such file"):
        r9y9.import_model(tmp_path / "checkpoint.pth", tmp_path / "none.json", "x", True)
    (tmp_path / "hparams.json").write_text(" " * (1 << 20) + json.dumps(settings))
    with pytest.raises(ConfigError, match="limit of settings"):
        r9y9.import_model(tmp_path / "checkpoint.pth", tmp_path / "hparams.json", "x", True)


ACTIVATED = {name.replace(".3.", ".4."): tensor for name, tensor in normed(upsampling()).items()}


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({}, {"conv_layers.6.conv.bias": torch.ones(8)}, "'conv_layers.6.conv.bias' is not"),
        ({"layers": 8}, {}, "conv_layers.6.conv.weight is missing"),
        ({"kernel_size": 2}, {}, "conv_layers.0.conv.weight is 8 x 5 x 3, expected 8 x 5 x 2"),
        ({"out_channels": 9}, {"last_conv_layers.3.weight": torch.ones(6, 6, 1)}, "expected 9 x 6"),
        ({}, {"conv_layers.0.conv.weight": torch.ones(7, 5, 3)}, "7 x 5 x 3, expected 6 x 5 x 3"),
        ({}, {"first_conv.weight": torch.ones(5)}, "is 5; expected 3 dimensions"),
        ({}, {"embed_speakers.weight": torch.ones(2, 3)}, "embed_speakers.weight' is not part of"),
        ({}, upsampling(), "upsample_net.conv_in.weight is 4 x 4 x 3, expected 0"),
        ({"cin_channels": 4}, ACTIVATED, "parts 1, 4, expected 1, 3, 5.* activation"),
        ({"cin_channels": 4}, upsampling(high=2), "expected odd"),
        ({"cin_channels": 4}, upsampling(scales=(0,)), "expected odd"),
        ({"cin_channels": 4}, upsampling(high=2, old=True), "2 columns, expected an odd number"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(tmp_path, settings, change, words):
    fits = {key: value for key, value in settings.items() if key == "cin_channels"}
    tensors = r9_tensors(r9_settings(**fits)) | change
    with pytest.raises(CheckpointError, match=words) as caught:
        r9_read(tmp_path, r9_settings(**settings), tensors)
    assert len(str(caught.value).splitlines()) == 1


def test_hparams_of_another_model_are_refused(tmp_path):
    tensors = r9_tensors(r9_settings(cin_channels=4))
    for expected in (-1, 5):
        with pytest.raises(CheckpointError, match=f"has 4 channels .* cin_channels = {expected}"):
            r9_read(tmp_path, r9_settings(cin_channels=expected), tensors)


def test_an_interpolation_that_version_0_1_did_not_have_is_refused(tmp_path):
    settings = r9_settings(cin_channels=4, upsample_params={"mode": "bilinear"})
    tensors = r9_tensors(settings, bias_of_conditions=True) | upsampling(old=True)
    with pytest.raises(CheckpointError, match=r"version 0\.1, .*mode = 'bilinear'"):
        r9_read(tmp_path, settings, tensors)


def test_a_direction_of_zeros_is_refused(tmp_path):
    settings = r9_settings()
    tensors = normed(r9_tensors(settings))
    tensors["first_conv.weight_v"][2] = 0
    with pytest.raises(CheckpointError, match="a row of zeros"):
        r9_read(tmp_path, settings, tensors)
