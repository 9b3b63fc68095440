"""Random models of effects as documents, as a program could write them."""

import itertools
import json

import numpy as np

from wavenet.effects.nam_config import parse_nam_config
from wavenet.effects.nam_file import parse_nam
from wavenet.effects.nam_weights import count_weights

FILMS = (
    "conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film",
    "activation_pre_film", "activation_post_film", "layer1x1_post_film", "head1x1_post_film",
)  # fmt: skip


def document_of(architecture, config, seed=0, version="0.7.0", weights=None, **values):
    """Return a document with random weights, whose number the package counts."""
    if weights is None:
        count = count_weights(parse_nam_config(architecture, config, "test").shape)
        weights = np.random.default_rng(seed).normal(0, 0.4, count).astype(np.float32).tolist()
    document = {"version": version, "architecture": architecture, "config": config}
    return document | {"weights": weights, "sample_rate": 48000} | values


def array(channels=4, dilations=(1, 2, 5), **changes):
    """Return the config of a layer array without special features."""
    config = {
        "input_size": 1, "condition_size": 1, "channels": channels, "kernel_size": 3,
        "dilations": list(dilations), "activation": "Tanh",
        "head": {"out_channels": 1, "kernel_size": 1, "bias": True},
    }  # fmt: skip
    config |= changes
    return {key: value for key, value in config.items() if value is not None}


def wavenet(*arrays, **changes):
    """Return the document of a WaveNet of one array, or of the given ones."""
    config = {"layers": list(arrays), "head": None, "head_scale": 0.5} | changes
    return document_of("WaveNet", config)


def film(shift=True, groups=1):
    return {"active": True, "shift": shift, "groups": groups}


def lstm(**changes):
    config = {"input_size": 1, "hidden_size": 3, "num_layers": 2} | changes
    return document_of("LSTM", config, sample_rate=200)


def conv_net(batchnorm=True, **changes):
    config = {"channels": 4, "dilations": [1, 2, 4], "batchnorm": batchnorm, "activation": "ReLU"}
    document = document_of("ConvNet", config | changes)
    document["weights"] = [abs(value) for value in document["weights"]]  # variances
    return document


def linear(taps=9, bias=True):
    return document_of("Linear", {"receptive_field": taps, "bias": bias})


def container(*models):
    limits = np.linspace(0, 1, len(models) + 1)[1:]
    rows = [{"max_value": v, "model": m} for v, m in zip(limits.tolist(), models, strict=True)]
    return document_of("SlimmableContainer", {"submodels": rows}, weights=[])


def series(*models):
    return document_of("Sequential", {"models": list(models)}, weights=[])


def encode(document):
    return json.dumps(document).encode()


def parse(document):
    return parse_nam(encode(document), "test.nam")


LEAKY = {
    "type": "LeakyHardtanh", "min_val": -0.3, "max_val": 0.4, "min_slope": 0.2, "max_slope": 0.1,
}  # fmt: skip
PRELU = {"type": "PReLU", "negative_slopes": [0.1, -0.2, 0.3, 0.05]}
ACTIVATIONS = (
    "Tanh", "Hardtanh", "ReLU", "Sigmoid", "SiLU", "Hardswish", "Softsign", "LeakyReLU", "PReLU",
    "Fasttanh", "LeakyHardTanh", LEAKY, PRELU, {"type": "LeakyReLU", "negative_slope": 0.3},
)  # fmt: skip
TWO = (
    array(4, head={"out_channels": 3, "kernel_size": 1, "bias": False}),
    array(3, input_size=4),
)
POST = {"channels": 3, "out_channels": 1, "kernel_sizes": [3, 2], "activation": "SiLU"}
STEREO_CONDITION = wavenet(array(2, head={"out_channels": 2, "kernel_size": 3, "bias": True}))
EVERYTHING = array(
    4,
    (1, 3, 2),
    condition_size=2,
    kernel_size=None,
    kernel_sizes=[2, 5, 3],
    bottleneck=6,
    activation=["Tanh", LEAKY, "SiLU"],
    gating_mode=["gated", "none", "blended"],
    secondary_activation=["Softsign", None, "Sigmoid"],
    groups_input=2,
    groups_input_mixin=2,
    layer1x1={"active": True, "groups": 2},
    head1x1={"active": True, "out_channels": 4, "groups": 2},
    head={"out_channels": 2, "kernel_size": 4, "bias": True, "head_dilation": 3},
    **{slot: film(n % 2 == 0, 2 if n % 3 == 0 else 1) for n, slot in enumerate(FILMS)},
)
WAVENETS = {
    "plain": wavenet(array()),
    "legacy gated": wavenet(
        array(head=None, head_size=1, head_bias=True, gated=True), head_scale=0.02
    ),
    "two arrays": wavenet(*TWO),
    "gated": wavenet(array(gating_mode="gated", secondary_activation="Softsign")),
    "blended": wavenet(array(gating_mode="blended", secondary_activation="Hardtanh")),
    "mixed gating": wavenet(array(gating_mode=["gated", "none", "blended"])),
    "bottleneck": wavenet(array(bottleneck=2, gating_mode="gated")),
    "kernel sizes": wavenet(array(kernel_size=None, kernel_sizes=[1, 4, 7])),
    "groups": wavenet(array(groups_input=2)),
    "depthwise": wavenet(array(groups_input=4)),
    "layer1x1 off": wavenet(array(layer1x1={"active": False, "groups": 1})),
    "layer1x1 groups": wavenet(array(layer1x1={"active": True, "groups": 4})),
    "head1x1": wavenet(array(head1x1={"active": True, "out_channels": 6, "groups": 2})),
    "head kernel": wavenet(
        array(head={"out_channels": 1, "kernel_size": 5, "bias": False, "head_dilation": 2})
    ),
    "post-stack head": wavenet(array(), head=POST),
    "condition": wavenet(
        array(condition_size=2, groups_input_mixin=2), condition_dsp=STEREO_CONDITION
    ),
    "condition LSTM": wavenet(array(), condition_dsp=lstm()) | {"sample_rate": 200},
    "two inputs": wavenet(array(input_size=2, condition_size=2), in_channels=2),
    "everything": wavenet(
        EVERYTHING, head=POST | {"out_channels": 2}, condition_dsp=STEREO_CONDITION
    ),
    **{
        f"{slot} {'with' if shift else 'without'} shift": wavenet(
            array(
                condition_size=2,
                gating_mode="gated",
                head1x1={"active": True, "out_channels": 3, "groups": 1},
                **{slot: film(shift)},
            ),
            condition_dsp=STEREO_CONDITION,
        )
        for slot, shift in itertools.product(FILMS, (True, False))
    },
    **{f"activation {n}": wavenet(array(activation=a)) for n, a in enumerate(ACTIVATIONS)},
}
OTHERS = {
    "LSTM": lstm(),
    "LSTM of two outputs": lstm(num_layers=1, out_channels=2),
    "ConvNet": conv_net(),
    "ConvNet without norm": conv_net(batchnorm=False, activation=LEAKY),
    "ConvNet with groups": conv_net(groups=2, in_channels=2, out_channels=2),
    "Linear": linear(),
    "Linear without bias": linear(bias=False),
    "container": container(linear(), wavenet(array())),
    "series": series(wavenet(array()), conv_net(), linear()),
    "series in a container": container(linear(), series(linear(), container(wavenet(array())))),
}
EFFECTS = WAVENETS | OTHERS
