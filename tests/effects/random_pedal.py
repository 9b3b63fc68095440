"""A random network of PedalNetRT as the document of a file."""

import numpy as np

WIDTH, TAPS, DILATIONS = 3, 3, (1, 2, 4)


def make_tensors():
    """Return random tensors in the layout of torch: (out, in, taps)."""
    rng = np.random.default_rng(5)
    layers = len(DILATIONS)
    sizes = {(-1, "W"): (WIDTH, 1, 1), (-1, "b"): (WIDTH,), (layers, "b"): (1,)}
    sizes[layers, "W"] = (1, WIDTH * layers, 1)
    for n in range(layers):
        sizes |= {(n, "W_conv"): (2 * WIDTH, WIDTH, TAPS), (n, "b_conv"): (2 * WIDTH,)}
        sizes |= {(n, "W_out"): (WIDTH, WIDTH, 1), (n, "b_out"): (WIDTH,)}
    return {key: rng.normal(0, 0.5, size).astype(np.float32) for key, size in sizes.items()}


def make_document(tensors):
    variables = []
    for (layer, name), tensor in tensors.items():
        flat = tensor.transpose(2, 1, 0) if tensor.ndim == 3 else tensor
        data = [str(value) for value in flat.reshape(-1)]
        variables.append({"layer_idx": layer, "name": name, "data": data})
    return {
        "activation": "gated", "input_channels": 1, "output_channels": 1,
        "residual_channels": WIDTH, "filter_width": TAPS, "dilations": list(DILATIONS),
        "variables": variables,
    }  # fmt: skip
