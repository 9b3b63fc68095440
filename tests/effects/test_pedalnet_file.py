"""Files of PedalNetRT: the output beside a second implementation, and files that are refused."""

import json

import numpy as np
import pytest
import torch

from tests.effects.random_pedal import DILATIONS, TAPS, WIDTH, make_document, make_tensors
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.effects.pedalnet_file import is_pedalnet, parse_pedalnet, read_pedalnet
from wavenet.errors import EffectFileError


def run(tensors, x):
    """Compute the network sample by sample; the inputs of all layers begin with zeros."""
    samples = len(x)
    y = tensors[-1, "W"][:, 0] * x + tensors[-1, "b"][:, None]
    outputs = []
    for n, dilation in enumerate(DILATIONS):
        z = np.repeat(tensors[n, "b_conv"].astype(float)[:, None], samples, axis=1)
        for t in range(samples):
            for k in range(TAPS):
                source = t - (TAPS - 1 - k) * dilation
                if source >= 0:
                    z[:, t] += tensors[n, "W_conv"][:, :, k] @ y[:, source]
        a = np.tanh(z[:WIDTH]) / (1 + np.exp(-z[WIDTH:]))
        outputs.append(a)
        y = y + tensors[n, "W_out"][:, :, 0] @ a + tensors[n, "b_out"][:, None]
    last = len(DILATIONS)
    return tensors[last, "W"][0, :, 0] @ np.concatenate(outputs) + tensors[last, "b"]


def encode(document):
    return json.dumps(document).encode()


def test_the_output_is_that_of_the_second_implementation(tmp_path):
    tensors = make_tensors()
    path = tmp_path / "pedal.json"
    path.write_bytes(encode(make_document(tensors)))
    model = read_pedalnet(path)
    effect = build_effect(model)
    assert model.rate == 44100
    assert effect.receptive_field == 1 + (TAPS - 1) * sum(DILATIONS)
    x = np.random.default_rng(1).uniform(-1, 1, 80)
    wave = torch.from_numpy(x.astype(np.float32))[None, None]
    expected = run(tensors, x)
    with torch.no_grad():
        assert np.abs(effect(wave)[0, 0].numpy() - expected).max() < 1e-5
        state, parts = effect.initial_state(), []
        for block in wave.split(7, dim=2):
            part, state = effect.process(state, block)
            parts.append(part)
    assert np.abs(torch.cat(parts, dim=2)[0, 0].numpy() - expected).max() < 1e-5


def test_a_pedal_as_a_nam_file_begins_after_silence():
    model = parse_pedalnet(encode(make_document(make_tensors())), "pedal")
    again = parse_nam(format_nam(model), "x")
    x = torch.linspace(-1, 1, 100)[None, None]
    with torch.no_grad():
        pedal, nam = build_effect(model)(x)[0, 0], build_effect(again)(x)[0, 0]
    field = model.receptive_field
    assert (pedal - nam)[field:].abs().max() < 1e-6
    assert (pedal - nam)[:field].abs().max() > 1e-3


def test_both_kinds_of_json_files_are_told_apart():
    assert is_pedalnet(make_document(make_tensors()))
    assert not is_pedalnet({"architecture": "WaveNet"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "linear"}, "activation"),
        ({"residual_channels": 4}, "expected"),
        ({"residual_channels": 1 << 40}, "residual_channels"),
        ({"filter_width": 2}, "expected"),
        ({"dilations": [1, 2]}, "is unknown"),
        ({"dilations": [1, 2, 4, 8]}, "is unknown"),
        ({"dilations": []}, "dilations"),
        ({"dilations": [1 << 20] * 200}, "receptive field"),
        ({"variables": []}, "is missing"),
        ({"variables": [{"layer_idx": 0, "name": "W_conv", "data": ["a"]}]}, "numbers; expected"),
    ],
)
def test_files_that_are_refused(change, words):
    with pytest.raises(EffectFileError, match=words):
        parse_pedalnet(encode(make_document(make_tensors()) | change), "pedal")


@pytest.mark.parametrize("text", ["x", "nan", "inf", "1e40", "", "9" * 400])
def test_numbers_that_are_refused(text):
    document = make_document(make_tensors())
    document["variables"][3]["data"][2] = text
    with pytest.raises(EffectFileError, match="number"):
        parse_pedalnet(encode(document), "pedal")
