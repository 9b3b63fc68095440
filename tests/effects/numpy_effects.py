"""A second implementation of effects, in numpy, from the JSON document itself.

Written from the description of the format, with its own reader of the weights; it shares no code
with the package. Waveforms are (channels, T), float64. Before a clip `warm_up` zeros are fed.
"""

import numpy as np

FILMS = [
    "conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film",
    "activation_pre_film", "activation_post_film", "layer1x1_post_film", "head1x1_post_film",
]  # fmt: skip


class Cursor:
    """The list of weights, read from its begin."""

    def __init__(self, weights):
        self.weights, self.place = np.asarray(weights, np.float64), 0

    def take(self, *sizes):
        count = int(np.prod(sizes))
        values = self.weights[self.place : self.place + count]
        assert len(values) == count
        self.place += count
        return values.reshape(sizes)


def activate(spec, x):
    spec = {"type": spec} if isinstance(spec, str) else spec
    kind = spec["type"]
    if kind == "Tanh":
        return np.tanh(x)
    if kind == "Hardtanh":
        return np.clip(x, -1, 1)
    if kind == "ReLU":
        return np.maximum(x, 0)
    if kind == "Sigmoid":
        return 1 / (1 + np.exp(-x))
    if kind == "SiLU":
        return x / (1 + np.exp(-x))
    if kind == "Hardswish":
        return x * np.clip(x + 3, 0, 6) / 6
    if kind == "Softsign":
        return x / (1 + np.abs(x))
    if kind == "LeakyReLU":
        return np.where(x > 0, x, spec.get("negative_slope", 0.01) * x)
    if kind == "PReLU":
        slopes = np.array(spec.get("negative_slopes", [spec.get("negative_slope", 0.01)]))
        return np.where(x > 0, x, slopes[:, None] * x)
    if kind in ("LeakyHardtanh", "LeakyHardTanh"):
        low, high = spec.get("min_val", -1), spec.get("max_val", 1)
        y = np.where(x < low, low + spec.get("min_slope", 0.01) * (x - low), x)
        return np.where(x > high, high + spec.get("max_slope", 0.01) * (x - high), y)
    if kind == "Fasttanh":
        a, b, c = 2.45550750702956, 0.893229853513558, 0.821226666969744
        d, e = 2.44506634652299, 0.814642734961073
        size = np.abs(x)
        top = x * (a + a * size + (b + c * size) * x**2)
        return top / (d + (d + x**2) * np.abs(x + e * x * size))
    raise AssertionError(kind)


def convolve(x, weight, bias, dilation=1, groups=1, order="oldest first"):
    """Sum over outputs, inputs and taps; inputs before the first sample are zeros."""
    outputs, per_group, taps = weight.shape
    y = np.zeros((outputs, x.shape[1]))
    for o in range(outputs):
        group = o // (outputs // groups)
        for i in range(per_group):
            for k in range(taps):
                age = (taps - 1 - k if order == "oldest first" else k) * dilation
                if age < x.shape[1]:
                    source = x[group * per_group + i]
                    y[o, age:] += weight[o, i, k] * source[: len(source) - age]
        if bias is not None:
            y[o] += bias[o]
    return y


def per_layer(value, layers):
    return value if isinstance(value, list) else [value] * layers


def read_array(config, cursor):
    """Return the settings and weights of one layer array."""
    layers = len(config["dilations"])
    kernels = config.get("kernel_sizes") or [config["kernel_size"]] * layers
    width, condition = config["channels"], config["condition_size"]
    bottleneck = config.get("bottleneck") or width
    gated = "gated" if config.get("gated") else "none"
    gating = per_layer(config.get("gating_mode", gated), layers)
    second = per_layer(config.get("secondary_activation") or "Sigmoid", layers)
    first = per_layer(config["activation"], layers)
    layer1x1 = config.get("layer1x1", {"active": True, "groups": 1})
    head1x1 = config.get("head1x1", {"active": False})
    group, mixin_group = config.get("groups_input", 1), config.get("groups_input_mixin", 1)
    array = {"rechannel": cursor.take(width, config["input_size"], 1), "layers": []}
    for n in range(layers):
        z = bottleneck * (1 if gating[n] == "none" else 2)
        layer = {"dilation": config["dilations"][n], "gating": gating[n], "groups": group}
        layer |= {"first": first[n], "second": second[n], "mixin_groups": mixin_group}
        layer["conv"] = cursor.take(z, width // group, kernels[n]), cursor.take(z)
        layer["mixin"] = cursor.take(z, condition // mixin_group, 1)
        if layer1x1["active"]:
            g = layer1x1["groups"]
            layer["layer1x1"] = cursor.take(width, bottleneck // g, 1), cursor.take(width), g
        if head1x1["active"]:
            g, out = head1x1["groups"], head1x1["out_channels"]
            layer["head1x1"] = cursor.take(out, bottleneck // g, 1), cursor.take(out), g
        widths = [width, z, condition, z, z, bottleneck, width, head1x1.get("out_channels", 0)]
        for slot, modulated in zip(FILMS, widths, strict=True):
            film = config.get(slot)
            if film and film.get("active", True):
                shift, g = film.get("shift", True), film.get("groups", 1)
                out = modulated * (2 if shift else 1)
                layer[slot] = cursor.take(out, condition // g, 1), cursor.take(out), g, shift
        array["layers"].append(layer)
    total = head1x1["out_channels"] if head1x1["active"] else bottleneck
    head = config.get("head") or {
        "out_channels": config["head_size"], "kernel_size": 1, "bias": config["head_bias"],
    }  # fmt: skip
    weight = cursor.take(head["out_channels"], total, head["kernel_size"])
    bias = cursor.take(head["out_channels"]) if head["bias"] else None
    array["head"] = weight, bias, head.get("head_dilation", 1)
    return array


def modulate(layer, slot, x, condition):
    if slot not in layer:
        return x
    weight, bias, groups, shift = layer[slot]
    factors = convolve(condition, weight, bias, groups=groups)
    if not shift:
        return x * factors
    return x * factors[: len(x)] + factors[len(x) :]


def run_layer(layer, y, condition, swap_gate, order):
    """Return y of the next layer and what is added to the head."""
    weight, bias = layer["conv"]
    inner = modulate(layer, "conv_pre_film", y, condition)
    conv = convolve(inner, weight, bias, layer["dilation"], layer["groups"], order)
    conv = modulate(layer, "conv_post_film", conv, condition)
    mixed = modulate(layer, "input_mixin_pre_film", condition, condition)
    mixed = convolve(mixed, layer["mixin"], None, groups=layer["mixin_groups"])
    z = conv + modulate(layer, "input_mixin_post_film", mixed, condition)
    z = modulate(layer, "activation_pre_film", z, condition)
    if layer["gating"] == "none":
        a = activate(layer["first"], z)
    else:
        top, bottom = np.split(z, 2)
        if swap_gate:
            top, bottom = bottom, top
        s = activate(layer["second"], bottom)
        a = s * activate(layer["first"], top)
        if layer["gating"] == "blended":
            a = a + (1 - s) * top
    a = modulate(layer, "activation_post_film", a, condition)
    if "layer1x1" in layer:
        weight, bias, groups = layer["layer1x1"]
        added = convolve(a, weight, bias, groups=groups)
        y = y + modulate(layer, "layer1x1_post_film", added, condition)
    if "head1x1" in layer:
        weight, bias, groups = layer["head1x1"]
        a = convolve(a, weight, bias, groups=groups)
        a = modulate(layer, "head1x1_post_film", a, condition)
    return y, a


def run_wavenet(document, x, swap_gate=False, order="oldest first"):
    config, cursor = document["config"], Cursor(document["weights"])
    arrays = [read_array(array, cursor) for array in config["layers"]]
    post, convs = config.get("head"), []
    if post:
        width = arrays[-1]["head"][0].shape[0]
        for n, kernel in enumerate(post["kernel_sizes"]):
            is_last = n == len(post["kernel_sizes"]) - 1
            out = post["out_channels"] if is_last else post["channels"]
            convs.append((cursor.take(out, width, kernel), cursor.take(out)))
            width = out
    (scale,) = cursor.take(1)
    assert cursor.place == len(cursor.weights)
    condition, y, total = x, x, 0.0
    if config.get("condition_dsp"):
        condition = run(config["condition_dsp"], x)
    for array in arrays:
        y = convolve(y, array["rechannel"], None)
        for layer in array["layers"]:
            y, a = run_layer(layer, y, condition, swap_gate, order)
            total = total + a
        weight, bias, dilation = array["head"]
        total = convolve(total, weight, bias, dilation, order=order)
    out = scale * total
    for weight, bias in convs:
        out = convolve(activate(post["activation"], out), weight, bias, order=order)
    return out


def run_lstm(document, x):
    config, cursor = document["config"], Cursor(document["weights"])
    hidden, layers, rows = config["hidden_size"], config["num_layers"], x.shape[0]
    cells = []
    for n in range(layers):
        width = rows if n == 0 else hidden
        w, b = cursor.take(4 * hidden, width + hidden), cursor.take(4 * hidden)
        cells.append([w, b, cursor.take(hidden), cursor.take(hidden)])
    outputs = config.get("out_channels", 1)
    v, d = cursor.take(outputs, hidden), cursor.take(outputs)
    y = np.zeros((outputs, x.shape[1]))
    for t in range(x.shape[1]):
        value = x[:, t]
        for cell in cells:
            w, b, h, c = cell
            i, f, g, o = np.split(w @ np.concatenate([value, h]) + b, 4)
            c = activate("Sigmoid", f) * c + activate("Sigmoid", i) * np.tanh(g)
            value = activate("Sigmoid", o) * np.tanh(c)
            cell[2:] = value, c
        y[:, t] = v @ value + d
    return y


def run_conv_net(document, x):
    config, cursor = document["config"], Cursor(document["weights"])
    width, groups = config["channels"], config.get("groups", 1)
    for dilation in config["dilations"]:
        weight = cursor.take(width, x.shape[0] // groups, 2)
        if config["batchnorm"]:
            mean, variance, gain, shift = (cursor.take(width)[:, None] for _ in range(4))
            (epsilon,) = cursor.take(1)
            x = convolve(x, weight, None, dilation, groups)
            x = (x - mean) / np.sqrt(variance + epsilon) * gain + shift
        else:
            x = convolve(x, weight, cursor.take(width), dilation, groups)
        x = activate(config["activation"], x)
    outputs = config.get("out_channels", 1)
    return convolve(x, cursor.take(outputs, width, 1), cursor.take(outputs))


def run_linear(document, x):
    config = document["config"]
    taps = np.asarray(document["weights"][: config["receptive_field"]], np.float64)
    y = np.convolve(x[0], taps)[None, : x.shape[1]]
    return y + (document["weights"][-1] if config["bias"] else 0.0)


def run(document, x):
    """Return the output for an input, from zero-filled hidden values."""
    runners = {"WaveNet": run_wavenet, "LSTM": run_lstm, "ConvNet": run_conv_net}
    if document["architecture"] == "SlimmableContainer":
        return run(document["config"]["submodels"][-1]["model"], x)
    if document["architecture"] == "Sequential":
        for part in document["config"]["models"]:
            x = run(part, x)
        return x
    return runners.get(document["architecture"], run_linear)(document, x)


def reference_output(document, x, warm_up, runner=run, **changes):
    """Return the output after silence: `warm_up` zeros of input come before x."""
    silence = np.zeros((len(x), warm_up))
    return runner(document, np.concatenate([silence, x], axis=1), **changes)[:, warm_up:]
