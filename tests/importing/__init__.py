"""Models of other programs, reimplemented from their formulas and file layouts, for the tests."""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F

from wavenet.importing import r9y9

N = 256
HALF = math.sqrt(0.5)


def random(*shape, seed, scale=None):
    """Draw weights; the default scale keeps the size of activations about constant."""
    generator = torch.Generator().manual_seed(seed)
    inputs = math.prod(shape[1:]) or 1
    return torch.randn(*shape, generator=generator) * (scale or 1.2 / math.sqrt(inputs))


def causal(x, weight, bias, dilation):
    """Convolve (B, C, T) with zeros before the first sample."""
    padded = F.pad(x, ((weight.shape[2] - 1) * dilation, 0))
    return F.conv1d(padded, weight, bias, dilation=dilation)


# -- vincentherrmann ---------------------------------------------------------------------------


def vh_tensors(layers=6, kernel=2, residual=5, gate=7, skip=6, end=9, bias=True):
    """Build a state_dict in the layout of vincentherrmann."""
    shapes = {"start_conv": (residual, N, 1)}
    for n in range(layers):
        shapes[f"filter_convs.{n}"] = (gate, residual, kernel)
        shapes[f"gate_convs.{n}"] = (gate, residual, kernel)
        shapes[f"residual_convs.{n}"] = (residual, gate, 1)
        shapes[f"skip_convs.{n}"] = (skip, gate, 1)
    shapes |= {"end_conv_1": (end, skip, 1), "end_conv_2": (N, end, 1)}
    tensors = {}
    for n, (name, shape) in enumerate(shapes.items()):
        scale = 1.0 if name == "start_conv" else None
        tensors[f"{name}.weight"] = random(*shape, seed=n, scale=scale)
        if bias or name.startswith("end"):
            tensors[f"{name}.bias"] = random(shape[0], seed=1000 + n, scale=0.3)
    return tensors


def vh_forward(tensors, inputs, cycle):
    """Compute logits (B, 256, T); inputs are the codes (B, T) before each sample."""

    def conv(name, x, dilation=1):
        return causal(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), dilation)

    layers = sum(name.startswith("skip_convs") and "weight" in name for name in tensors)
    x = conv("start_conv", F.one_hot(inputs, N).float().transpose(1, 2))
    skip = 0
    for n in range(layers):
        d = 2 ** (n % cycle)
        h = torch.tanh(conv(f"filter_convs.{n}", x, d))
        h = h * torch.sigmoid(conv(f"gate_convs.{n}", x, d))
        skip = skip + conv(f"skip_convs.{n}", h)
        x = conv(f"residual_convs.{n}", h) + x
    return conv("end_conv_2", F.relu(conv("end_conv_1", F.relu(skip))))


# -- r9y9 --------------------------------------------------------------------------------------


CLASSES = {
    "input_type": "mulaw-quantize",
    "quantize_channels": 256,
    "out_channels": 256,
}


def r9_settings(**other):
    """Build hparams; as in real files, some keys are not read."""
    return {
        "name": "wavenet_vocoder", "input_type": "raw", "quantize_channels": 65536,
        "sample_rate": 8000, "out_channels": 6, "output_distribution": "Logistic", "layers": 6,
        "stacks": 2, "kernel_size": 3, "cin_channels": -1, "gin_channels": -1,
        "log_scale_min": -16.0, "optimizer": "Adam", "upsample_scales": [2, 3],
    } | other  # fmt: skip


def r9_tensors(settings, residual=5, gate=8, skip=6, bias_of_conditions=False, speakers=0):
    """Build weights in the layout of the last version, without weight norm."""
    scalar, out = settings["input_type"] == "raw", settings["out_channels"]
    c, g, kernel = (settings[k] for k in ("cin_channels", "gin_channels", "kernel_size"))
    shapes = {"first_conv": (residual, 1 if scalar else out, 1)}
    for n in range(settings["layers"]):
        layer = f"conv_layers.{n}"
        shapes[f"{layer}.conv"] = (gate, residual, kernel)
        shapes |= {f"{layer}.conv1x1c": (gate, c, 1)} if c > 0 else {}
        shapes |= {f"{layer}.conv1x1g": (gate, g, 1)} if g > 0 else {}
        shapes[f"{layer}.conv1x1_out"] = (residual, gate // 2, 1)
        shapes[f"{layer}.conv1x1_skip"] = (skip, gate // 2, 1)
    shapes |= {"last_conv_layers.1": (skip, skip, 1), "last_conv_layers.3": (out, skip, 1)}
    tensors = {}
    for n, (name, shape) in enumerate(shapes.items()):
        scale = 2.0 if name == "first_conv" else None
        tensors[f"{name}.weight"] = random(*shape, seed=n, scale=scale)
        if not name.endswith(("conv1x1c", "conv1x1g")) or bias_of_conditions:
            tensors[f"{name}.bias"] = random(shape[0], seed=1000 + n, scale=0.3)
    if speakers:
        tensors["embed_speakers.weight"] = random(speakers, g, seed=77, scale=1.0)
    return tensors


def upsampling(scales=(2, 3), high=3, pad=1, columns=4, old=False):
    """Build the weights of an upsampling network; `old` selects the layout of version 0.1."""
    if old:
        tensors = {}
        for n, s in enumerate(scales):
            tensors[f"upsample_conv.{2 * n}.weight"] = random(1, 1, high, s, seed=n, scale=0.7)
            tensors[f"upsample_conv.{2 * n}.bias"] = random(1, seed=50 + n, scale=0.5)
        return tensors
    width = 2 * pad + 1
    tensors = {"upsample_net.conv_in.weight": random(columns, columns, width, seed=30)}
    for n, s in enumerate(scales):
        name = f"upsample_net.upsample.up_layers.{2 * n + 1}.weight"
        tensors[name] = random(1, 1, high, 2 * s + 1, seed=n)
    return tensors


def normed(tensors, newer=False, skip=("embed", "conv_in")):
    """Split each weight into the length and direction of weight norm, directions not normalised."""
    split = {}
    for name, tensor in tensors.items():
        if not name.endswith(".weight") or any(word in name for word in skip):
            split[name] = tensor
            continue
        ones = (1,) * (tensor.ndim - 1)
        g = tensor.flatten(1).norm(dim=1).reshape(-1, *ones)
        v = tensor * (0.5 + torch.arange(len(tensor)).reshape(-1, *ones))
        layer = name.removesuffix("weight")
        ends = ("weight_g", "weight_v")
        if newer:
            ends = ("parametrizations.weight.original0", "parametrizations.weight.original1")
        split |= {layer + ends[0]: g, layer + ends[1]: v}
    return split


def r9_read(folder, settings, tensors, bare=False):
    """Write tensors and hparams in the layout of r9y9, and import them."""
    optimizer = {"state": {}, "param_groups": [{"lr": np.float64(1e-3), "params": [0]}]}
    content = {"state_dict": tensors, "optimizer": optimizer, "global_step": 3, "global_epoch": 1}
    torch.save(tensors if bare else content, folder / "checkpoint.pth")
    (folder / "hparams.json").write_text(json.dumps(settings))
    return r9y9.import_model(folder / "checkpoint.pth", folder / "hparams.json", "imported", True)


def r9_forward(tensors, settings, inputs, c=None, g=None, skips="mean", scale=HALF):
    """Compute params (B, O, T) by the formulas of the original.

    Args:
        tensors: weights by layer name.
        settings: hparams.
        inputs: (B, 1, T) scalars or (B, O, T) one-hot, the sample before each sample.
        c: (B, C, T), upsampled frames.
        g: (B, E, 1), speaker vectors.
        skips: mean (last version), chain (0.1) or sum (0.1, legacy false).
        scale: factor after each residual sum.
    """

    def conv(name, x, dilation=1):
        return causal(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), dilation)

    layers = settings["layers"]
    x, total = conv("first_conv", inputs), None
    for n in range(layers):
        layer = f"conv_layers.{n}"
        z = conv(f"{layer}.conv", x, 2 ** (n % (layers // settings["stacks"])))
        if c is not None:
            z = z + conv(f"{layer}.conv1x1c", c)
        if g is not None:
            z = z + conv(f"{layer}.conv1x1g", g)
        a, b = z.chunk(2, dim=1)
        h = torch.tanh(a) * torch.sigmoid(b)
        skip = conv(f"{layer}.conv1x1_skip", h)
        if total is None:
            total = skip
        else:
            total = (total + skip) * HALF if skips == "chain" else total + skip
        x = (conv(f"{layer}.conv1x1_out", h) + x) * scale
    if skips == "mean":
        total = total * math.sqrt(1 / layers)
    return conv("last_conv_layers.3", F.relu(conv("last_conv_layers.1", F.relu(total))))
