"""Models of vincentherrmann/pytorch-wavenet: imported models compute the same numbers."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from tests.importing import N, vh_forward, vh_tensors
from wavenet import checkpoint
from wavenet.engines.registry import make_engine
from wavenet.errors import CheckpointError, ConfigError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.importing import vincentherrmann
from wavenet.importing.imported_model import save_checkpoint
from wavenet.sampling import SamplingConfig

CLOSE = {"atol": 1e-4, "rtol": 1e-4}

# Program that saves a whole module as the original does, with classes of the same names.
SAVE_MODULE = """
import sys, types, torch
from torch import nn
model_file, tensors_file, legacy = sys.argv[1:]
class WaveNetModel(nn.Module):
    pass
class DilatedQueue:
    pass
for name, kind in (("wavenet_model", WaveNetModel), ("wavenet_modules", DilatedQueue)):
    kind.__module__ = name
    sys.modules[name] = types.ModuleType(name)
    setattr(sys.modules[name], kind.__name__, kind)
tensors = torch.load(tensors_file, weights_only=True)
model = WaveNetModel()
model.layers, model.blocks, model.dtype = 3, 2, torch.FloatTensor
model.dilations = [(2 ** (n % 3), 1) for n in range(6)]
queue = DilatedQueue()
queue.data, queue.dtype = torch.zeros(5, 3), torch.FloatTensor
model.dilated_queues = {"layer_0": queue}
names = dict.fromkeys(name.rsplit(".", 1)[0] for name in tensors)
for name in names:
    weight = tensors[name + ".weight"]
    out, inputs, taps = weight.shape
    conv = nn.Conv1d(inputs, out, taps, bias=name + ".bias" in tensors)
    conv.weight.data = weight
    if conv.bias is not None:
        conv.bias.data = tensors[name + ".bias"]
    group, _, number = name.partition(".")
    if not number:
        setattr(model, name, conv)
        continue
    if not hasattr(model, group):
        setattr(model, group, nn.ModuleList())
    getattr(model, group).append(conv)
torch.save(model, model_file, _use_new_zipfile_serialization=legacy == "new")
"""


@pytest.fixture
def save_state_dict(tmp_path):
    """Return a function that saves tensors as a state_dict and returns the path."""

    def write(tensors, name="model.pt"):
        torch.save(tensors, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def codes():
    return torch.randint(0, N, (2, 60), generator=torch.Generator().manual_seed(5))


def params(model, codes):
    """Compute the params of an imported model."""
    with torch.no_grad():
        return model(codes, model.conditioning([{}] * len(codes), [codes.shape[1]] * len(codes)))


def original(tensors, codes, cycle=3):
    return vh_forward(tensors, F.pad(codes[:, :-1], (1, 0), value=128), cycle)


def save_module(tmp_path, tensors, layout="new", dilation="2 ** (n % 3)"):
    torch.save(tensors, tmp_path / "tensors.pt")
    arguments = [str(tmp_path / "whole.model"), str(tmp_path / "tensors.pt"), layout]
    program = SAVE_MODULE.replace("2 ** (n % 3)", dilation)
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, *arguments], check=True)
    return tmp_path / "whole.model"


@pytest.mark.parametrize(
    "sizes",
    [{}, {"skip": 9, "end": 4}, {"kernel": 3, "bias": False}, {"residual": 8, "gate": 3}],
    ids=str,
)
def test_predictions_equal_those_of_the_original(save_state_dict, codes, tmp_path, sizes):
    tensors = vh_tensors(**sizes)
    path = save_state_dict(tensors)
    imported = vincentherrmann.import_model(path, "imported", True, 16_000, 3)
    save_checkpoint(imported, tmp_path / "out", path)
    model = checkpoint.load(tmp_path / "out").model
    torch.testing.assert_close(params(model, codes), original(tensors, codes), **CLOSE)


def test_the_comparison_detects_typical_mistakes(save_state_dict, codes):
    tensors = vh_tensors()
    got = params(
        vincentherrmann.import_model(save_state_dict(tensors), "x", True, 8_000, 3).model, codes
    )
    swapped = {
        name.replace("filter", "x").replace("gate", "filter").replace("x_", "gate_"): tensor
        for name, tensor in tensors.items()
    }
    reversed_taps = {n: t.flip(-1) if t.ndim == 3 else t for n, t in tensors.items()}
    for wrong in (swapped, reversed_taps):
        assert (got - original(wrong, codes)).abs().max() > 0.05
    assert (got - original(tensors, codes, cycle=6)).abs().max() > 0.05
    start = vh_forward(tensors, F.pad(codes[:, :-1], (1, 0), value=127), 3)
    assert (got - start).abs().max() > 0.05


def test_a_whole_pickled_module_contains_its_cycle(codes, tmp_path):
    tensors = vh_tensors()
    path = save_module(tmp_path, tensors)
    model = vincentherrmann.import_model(path, "x", True, 8_000).model
    assert model.config.dilations == (1, 2, 4, 1, 2, 4)
    torch.testing.assert_close(params(model, codes), original(tensors, codes), **CLOSE)
    with pytest.raises(ConfigError, match=r"3 layers per cycle.* 5"):
        vincentherrmann.import_model(path, "x", True, 8_000, 5)


def test_a_module_with_other_dilations_is_refused(tmp_path):
    path = save_module(tmp_path, vh_tensors(), dilation="3 ** (n % 3)")
    with pytest.raises(CheckpointError, match=r"dilations \[1, 3, 9, .*expected \[1, 2, 4, "):
        vincentherrmann.import_model(path, "x", True, 8_000)


def test_a_module_of_an_older_pytorch_is_refused_with_advice(tmp_path):
    path = save_module(tmp_path, vh_tensors(), "old")
    with pytest.raises(CheckpointError, match=r"before 1\.6.*state_dict"):
        vincentherrmann.import_model(path, "x", True, 8_000)


def test_the_default_cycle_has_ten_layers(save_state_dict):
    path = save_state_dict(vh_tensors(layers=12))
    config = vincentherrmann.import_model(path, "x", True, 8_000).config
    assert config.model.dilations == (*(2**n for n in range(10)), 1, 2)
    assert (config.codec.rounding, config.codec.silence_code) == ("down-256", 128)


def test_audio_is_drawn_from_the_predictions_of_the_original(save_state_dict, tmp_path):
    """The engine cpu draws, after code 128, the codes of the original's logits and the noise."""
    tensors = vh_tensors(layers=3, bias=False)
    path = save_state_dict(tensors)
    imported = vincentherrmann.import_model(path, "x", True, 8_000, 3)
    save_checkpoint(imported, tmp_path / "out", path)
    loaded = checkpoint.load(tmp_path / "out")
    samples = 40
    noise = uniform_noise(4, 0, 0, samples)
    codes = torch.zeros(1, samples, dtype=torch.int64)
    for t in range(samples):
        logits = original(tensors, codes[:, : t + 1])
        drawn = loaded.model.distribution.sample(
            logits[:, :, -1:], torch.as_tensor(noise[t]).reshape(1, 1), SamplingConfig()
        )
        codes[0, t] = drawn.item()
    engine = make_engine("cpu", loaded.model)
    (waveform,) = generate_waveforms(
        loaded, [GenerationRequest(samples, {}, 4)], engine=engine, guard=None
    )
    f = codes[0].double() * 2 / 256 - 1
    expected = f.sign() * (257 ** f.abs() - 1) / 256
    assert codes.unique().numel() > 20
    torch.testing.assert_close(waveform.double(), expected, atol=1e-6, rtol=1e-5)


def without(*names):
    return lambda tensors: {n: t for n, t in tensors.items() if n not in names}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("start_conv.weight"), "start_conv.weight is missing"),
        (without("skip_convs.2.weight"), "skip_convs.2.weight is missing"),
        (without("filter_convs.2.weight"), "'filter_convs.2.bias' is not part of this layout"),
        (without("end_conv_2.weight"), "end_conv_2.weight is missing"),
        (lambda t: t | {"more.weight": torch.ones(2)}, "'more.weight' is not part of this layout"),
        (lambda t: t | {"start_conv.weight": torch.ones(5, 1, 1)}, "expected one-hot codes, 256"),
        (lambda t: t | {"end_conv_1.weight": torch.ones(9, 3, 1)}, "9 x 3 x 1, expected 9 x 6 x 1"),
        (
            lambda t: t | {"start_conv.bias": torch.full((5,), torch.nan)},
            "contains NaN or infinity",
        ),
        (
            lambda t: t | {"start_conv.bias": torch.ones(5).int()},
            "not a dense CPU tensor of floating",
        ),
        (lambda t: t | {"start_conv.bias": "words"}, "'start_conv.bias' is of type str"),
        (lambda t: t | {"x": torch.ones(1).expand(1 << 40)}, "more than 100,000,000 numbers"),
        (lambda t: {}, "contains no tensors by name"),
        (lambda t: list(t.values()), "contains no tensors by name"),
        (lambda t: {n: v.to_sparse() for n, v in t.items()}, "not a dense CPU tensor"),
        (lambda t: {n: v.double() * 1e39 for n, v in t.items()}, "too large for float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(save_state_dict, change, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        vincentherrmann.import_model(save_state_dict(change(vh_tensors())), "x", True, 8_000, 3)
    assert len(str(caught.value).splitlines()) == 1


def test_settings_out_of_range_are_refused(save_state_dict):
    path = save_state_dict(vh_tensors(layers=2))
    with pytest.raises(ConfigError, match="1 to 17, found 40"):
        vincentherrmann.import_model(path, "x", True, 8_000, 40)
    with pytest.raises(ConfigError, match=r"sample_rate: .* found 5"):
        vincentherrmann.import_model(path, "x", True, 5)
    wide = vh_tensors(layers=1, residual=5000)
    with pytest.raises(ConfigError, match=r"residual_channels: .* 4096, found 5000"):
        vincentherrmann.import_model(save_state_dict(wide), "x", True, 8_000)
