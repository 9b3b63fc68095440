"""Models of r9y9/wavenet_vocoder: the same numbers after the import as before, in every variant."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.importing import normed, r9_forward, r9_settings, r9_tensors, random
from wavenet import checkpoint
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.importing import r9y9
from wavenet.importing.imported import card, save, stretch
from wavenet.model.distributions import Categorical
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.synthesis.generate import synthesize
from wavenet.synthesis.items import Item

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SAMPLES = 60
CLASSES = {
    "input_type": "mulaw-quantize",
    "quantize_channels": 256,
    "out_channels": 256,
}


@pytest.fixture
def bring(tmp_path):
    """Save tensors and settings in that layout, import them, and load the checkpoint made of it."""

    def convert(settings, tensors, bare=False):
        imported = read(tmp_path, settings, tensors, bare)
        save(imported, tmp_path / "out", tmp_path / "checkpoint.pth")
        return checkpoint.load(tmp_path / "out")

    return convert


def read(folder, settings, tensors, bare=False):
    optimizer = {"state": {}, "param_groups": [{"lr": np.float64(1e-3), "params": [0]}]}
    whole = {"state_dict": tensors, "optimizer": optimizer, "global_step": 3, "global_epoch": 1}
    torch.save(tensors if bare else whole, folder / "checkpoint.pth")
    (folder / "hparams.json").write_text(json.dumps(settings))
    return r9y9.read(folder / "checkpoint.pth", folder / "hparams.json", "theirs", True)


def draw_codes(settings, rows=2):
    top = 65_536 if settings["input_type"] == "raw" else settings["out_channels"]
    return torch.randint(0, top, (rows, SAMPLES), generator=torch.Generator().manual_seed(5))


def params(model, codes, labels=None, local=None):
    with torch.no_grad():
        rows, samples = codes.shape
        given = model.conditioning(labels or [{}] * rows, [samples] * rows, local)
        return model(codes, given)


def original(tensors, settings, codes, **how):
    """Run theirs over what stands before each sample: 0.0 or the class 127, then the codes."""
    if settings["input_type"] == "raw":
        values = F.pad(codes[:, :-1] * 2 / 65_535 - 1, (1, 0))
        return r9_forward(tensors, settings, values[:, None], **how)
    before = F.pad(codes[:, :-1], (1, 0), value=settings["out_channels"] // 2 - 1)
    inputs = F.one_hot(before, settings["out_channels"]).float().transpose(1, 2)
    return r9_forward(tensors, settings, inputs, **how)


OUTPUTS = {
    "mixture of logistics": {},
    "classes": CLASSES,
    "classes of 9 bits": CLASSES | {"quantize_channels": 512, "out_channels": 512},
    "mixture of Gaussians": {"output_distribution": "Normal"},
}


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("newer", [False, True])
def test_predictions_are_those_of_the_original(bring, kind, newer):
    settings = r9_settings(**OUTPUTS[kind])
    tensors = r9_tensors(settings)
    loaded = bring(settings, normed(tensors, newer))
    codes = draw_codes(settings)
    expected = original(tensors, settings, codes)
    torch.testing.assert_close(params(loaded.model, codes), expected, **CLOSE)
    distribution = {
        "mixture of logistics": LogisticMixture,
        "mixture of Gaussians": GaussianMixture,
    }
    assert isinstance(loaded.model.distribution, distribution.get(kind, Categorical))


def test_a_single_gaussian_gets_a_row_for_its_weight(bring):
    settings = r9_settings(output_distribution="Normal", out_channels=2)
    tensors = r9_tensors(settings)
    loaded = bring(settings, normed(tensors))
    codes = draw_codes(settings)
    logit, mean_and_scale = params(loaded.model, codes).split([1, 2], dim=1)
    assert (logit == 0).all()
    assert loaded.config.model.output.components == 1
    torch.testing.assert_close(mean_and_scale, original(tensors, settings, codes), **CLOSE)


@pytest.mark.parametrize(("legacy", "skips"), [(None, "mean"), (True, "chain"), (False, "sum")])
def test_a_file_without_conditions_has_its_skips_told_by_the_settings(bring, legacy, skips):
    settings = r9_settings() | ({} if legacy is None else {"legacy": legacy})
    tensors = r9_tensors(settings)
    got = params(bring(settings, tensors, bare=True).model, draw_codes(settings))
    for other in ("mean", "chain", "sum"):
        error = (got - original(tensors, settings, draw_codes(settings), skips=other)).abs().max()
        assert error < 1e-4 if other == skips else error > 0.05


def test_the_comparison_notices_what_could_be_wrong(bring):
    settings = r9_settings(**CLASSES)
    tensors = r9_tensors(settings)
    codes = draw_codes(settings)
    got = params(bring(settings, normed(tensors)).model, codes)
    swapped = {
        name: torch.cat(t.chunk(2)[::-1]) if name.endswith((".conv.weight", ".conv.bias")) else t
        for name, t in tensors.items()
    }
    reversed_taps = {n: t.flip(-1) if t.ndim == 3 else t for n, t in tensors.items()}
    for wrong in (swapped, reversed_taps):
        assert (got - original(wrong, settings, codes)).abs().max() > 0.05
    assert (got - original(tensors, settings, codes, scale=1.0)).abs().max() > 0.05
    assert (got - original(tensors, settings | {"stacks": 1}, codes)).abs().max() > 0.05
    first = F.pad(codes[:, :-1], (1, 0), value=128)
    later = r9_forward(tensors, settings, F.one_hot(first, 256).float().transpose(1, 2))
    assert (got - later).abs().max() > 0.01


@pytest.mark.parametrize("version", ["last", "0.1", "0.1, legacy false"])
def test_speakers_and_frames_enter_every_layer(bring, version):
    old = version != "last"
    settings = r9_settings(cin_channels=4, gin_channels=3)
    settings |= {"legacy": False} if version.endswith("false") else {}
    tensors = r9_tensors(settings, bias_of_conditions=old, speakers=5)
    loaded = bring(settings, normed(tensors))
    assert loaded.config.model.condition_hop == 1
    codes = draw_codes(settings)
    frames = random(2, 4, SAMPLES, seed=9, scale=1.0)
    got = params(loaded.model, codes, [{"speaker": "4"}, {"speaker": "1"}], list(frames.mT))
    g = tensors["embed_speakers.weight"][[4, 1]][:, :, None]
    skips = {"last": "mean", "0.1": "chain"}.get(version, "sum")
    expected = original(tensors, settings, codes, c=frames, g=g, skips=skips)
    torch.testing.assert_close(got, expected, **CLOSE)
    for wrong in ({"g": g.flip(0)}, {"c": frames.roll(1, dims=2)}):
        how = {"c": frames, "g": g, "skips": skips} | wrong
        assert (got - original(tensors, settings, codes, **how)).abs().max() > 0.05


@pytest.mark.parametrize("frames", [0, 4])
def test_without_a_table_a_speaker_is_a_vector(bring, frames):
    settings = r9_settings(gin_channels=3, cin_channels=frames or -1)
    tensors = r9_tensors(settings)
    model = bring(settings, normed(tensors)).model
    codes, g = draw_codes(settings), random(2, 3, 1, seed=8, scale=1.0)
    c = random(2, 4, SAMPLES, seed=9, scale=1.0) if frames else None
    labels = [{"speaker": vector[:, 0]} for vector in g]
    got = params(model, codes, labels, None if c is None else list(c.mT))
    torch.testing.assert_close(got, original(tensors, settings, codes, c=c, g=g), **CLOSE)


def test_engines_make_the_same_audio_of_an_imported_model(bring):
    settings = r9_settings(cin_channels=4, gin_channels=3)
    loaded = bring(settings, normed(r9_tensors(settings, speakers=5)))
    frames = random(SAMPLES, 4, seed=9, scale=1.0)
    items = [Item(SAMPLES - 1, {"speaker": "4"}, seed, local=frames) for seed in (1, 2)]
    made = [
        torch.stack(synthesize(loaded, items, engine=engine, guard=None))
        for engine in ("cpu", "reference")
    ]
    assert torch.equal(*made)
    assert made[0].unique().numel() > SAMPLES


def upsampling(scales=(2, 3), high=3, pad=1, columns=4, old=False):
    """Make the weights of an upsampling network."""
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


def stretched_by_hand(x, tensors, scales, high, pad, old):
    """Compute (C, T) of (C, F) number by number, each from those that reach it."""
    x = x.double().numpy()
    if not old:
        w = tensors["upsample_net.conv_in.weight"].double().numpy()
        ends = np.pad(x, ((0, 0), (pad, pad)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(ends, 2 * pad + 1, axis=1)
        x = np.einsum("oik,itk->ot", w, windows)
    for n, s in enumerate(scales):
        name = f"upsample_conv.{2 * n}" if old else f"upsample_net.upsample.up_layers.{2 * n + 1}"
        w = tensors[f"{name}.weight"][0, 0].double().numpy()
        columns, samples = x.shape[0], x.shape[1] * s
        y = np.zeros((columns, samples))
        for c in range(columns):
            for t in range(samples):
                for k in range(high):
                    if old:  # column c of the input reaches c + k - (high - 1) / 2
                        here = c - k + high // 2
                        y[c, t] += w[k, t % s] * x[here, t // s] if 0 <= here < columns else 0
                        continue
                    here = c + k - high // 2
                    for j in range(2 * s + 1):
                        at = t + j - s
                        if 0 <= here < columns and 0 <= at < samples:
                            y[c, t] += w[k, j] * x[here, at // s]
        x = np.maximum(y + tensors[f"{name}.bias"].item(), 0) if old else y
    return torch.from_numpy(x)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("scales", "high", "pad"), [((2, 3), 3, 1), ((4,), 1, 0), ((3, 2), 5, 2)])
def test_frames_are_stretched_as_theirs(tmp_path, old, scales, high, pad):
    settings = r9_settings(cin_channels=4)
    tensors = r9_tensors(settings, bias_of_conditions=old)
    net = upsampling(scales, high, pad, old=old)
    imported = read(tmp_path, settings, normed(tensors | net))
    frames = random(7, 4, seed=3, scale=1.0)
    expected = stretched_by_hand(frames.T, net, scales, high, pad, old).T
    for given in (frames, frames.T):
        got = stretch(imported, given)
        torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    assert (got.double() - expected.flip(1)).abs().max() > 0.05
    assert len(got) == 7 * np.prod(scales)


def test_frames_that_do_not_fit_are_refused(tmp_path):
    settings = r9_settings(cin_channels=4)
    imported = read(tmp_path, settings, r9_tensors(settings) | upsampling())
    for frames in (
        torch.zeros(4, 4),
        torch.zeros(7, 3),
        torch.zeros(4),
        torch.full((7, 4), torch.inf),
    ):
        with pytest.raises(ConditionError, match="frames x 4 or 4 x frames"):
            stretch(imported, frames)
    with pytest.raises(ConditionError, match="cut the recording"):
        stretch(imported, torch.zeros(1, 1).expand(1 << 24, 4))
    bare = r9_settings()
    with pytest.raises(ConditionError, match="no upsampling network"):
        stretch(read(tmp_path, bare, r9_tensors(bare)), torch.zeros(7, 4))


def test_the_card_tells_where_it_came_from_and_what_to_undo(tmp_path):
    settings = r9_settings(preprocess="preemphasis", global_gain_scale=0.55)
    settings |= {"rescaling": True, "rescaling_max": 0.9}
    text = card(read(tmp_path, settings, r9_tensors(settings)), tmp_path / "checkpoint.pth")
    for words in (
        "`checkpoint.pth`", "| layout | r9y9 |", "not known to us", "linear, 16 bits",
        "sqrt(1 / layers)", "below -11", "-16 in training", "0.85", "scaled by 0.55", "peak of 0.9",
    ):  # fmt: skip
        assert words in text
    classes = r9_settings(**CLASSES)
    text = card(read(tmp_path, classes, r9_tensors(classes)), tmp_path / "checkpoint.pth")
    assert "mu-law, 8 bits, rounded down, silence code 127" in text
    assert "-11" not in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"input_type": "mulaw"}, "companded scalars"),
        ({"input_type": "x"}, "input_type: "),
        ({"out_channels": 7}, "multiple of 3, found 7"),
        ({"out_channels": 2}, "multiple of 3, found 2"),
        (CLASSES | {"out_channels": 30}, "out_channels must be quantize_channels, 256"),
        (CLASSES | {"out_channels": 300, "quantize_channels": 300}, "a power of two, found 300"),
        ({"layers": 7}, "7 layers in 2 stacks"),
        ({"layers": 202}, "layers: .* 200, found 202"),
        ({"layers": 36}, "stacks of 1 to 17 layers"),
        ({"sample_rate": 5}, "sample_rate: "),
        ({"layers": "6"}, "layers: "),
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(tmp_path, settings, words):
    tensors = r9_tensors(r9_settings())
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, r9_settings(**settings), tensors)
    assert len(str(caught.value).splitlines()) == 1


def test_settings_that_are_not_there_are_refused(tmp_path):
    settings = r9_settings()
    tensors = r9_tensors(settings)
    read(tmp_path, settings, tensors)
    for text, words in (("{", "Invalid JSON"), ("{}", "the key sample_rate is missing")):
        (tmp_path / "hparams.json").write_text(text)
        with pytest.raises(ConfigError, match=words):
            r9y9.read(tmp_path / "checkpoint.pth", tmp_path / "hparams.json", "x", True)
    with pytest.raises(ConfigError, match=r"none\.json cannot be read: No such file"):
        r9y9.read(tmp_path / "checkpoint.pth", tmp_path / "none.json", "x", True)
    (tmp_path / "hparams.json").write_text(" " * (1 << 20) + json.dumps(settings))
    with pytest.raises(ConfigError, match="too large"):
        r9y9.read(tmp_path / "checkpoint.pth", tmp_path / "hparams.json", "x", True)


ACTIVATED = {name.replace(".3.", ".4."): tensor for name, tensor in normed(upsampling()).items()}


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({}, {"conv_layers.6.conv.bias": torch.ones(8)}, "'conv_layers.6.conv.bias' is not of"),
        ({"layers": 8}, {}, "conv_layers.6.conv.weight is missing"),
        ({"kernel_size": 2}, {}, "conv_layers.0.conv.weight is 8 x 5 x 3, expected 8 x 5 x 2"),
        ({"out_channels": 9}, {"last_conv_layers.3.weight": torch.ones(6, 6, 1)}, "expected 9 x 6"),
        ({}, {"conv_layers.0.conv.weight": torch.ones(7, 5, 3)}, "7 x 5 x 3, expected 6 x 5 x 3"),
        ({}, {"first_conv.weight": torch.ones(5)}, "is 5; 3 dimensions were expected"),
        ({}, {"embed_speakers.weight": torch.ones(2, 3)}, "embed_speakers.weight' is not of"),
        ({}, upsampling(), "upsample_net.conv_in.weight is 4 x 4 x 3, expected 0"),
        ({"cin_channels": 4}, ACTIVATED, "parts 1, 4, expected 1, 3, 5.* activation"),
        ({"cin_channels": 4}, upsampling(high=2), "expected odd"),
        ({"cin_channels": 4}, upsampling(scales=(0,)), "expected odd"),
        ({"cin_channels": 4}, upsampling(high=2, old=True), "2 columns, not odd"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_in_a_sentence(tmp_path, settings, change, words):
    fits = {key: value for key, value in settings.items() if key == "cin_channels"}
    tensors = r9_tensors(r9_settings(**fits)) | change
    with pytest.raises(CheckpointError, match=words) as caught:
        read(tmp_path, r9_settings(**settings), tensors)
    assert len(str(caught.value).splitlines()) == 1


def test_settings_of_another_model_are_refused(tmp_path):
    tensors = r9_tensors(r9_settings(cin_channels=4))
    for said in (-1, 5):
        with pytest.raises(CheckpointError, match=f"has 4 channels .* cin_channels = {said}"):
            read(tmp_path, r9_settings(cin_channels=said), tensors)


def test_a_direction_of_zeros_is_refused(tmp_path):
    settings = r9_settings()
    tensors = normed(r9_tensors(settings))
    tensors["first_conv.weight_v"][2] = 0
    with pytest.raises(CheckpointError, match="a row of zeros, which has no direction"):
        read(tmp_path, settings, tensors)


def test_many_layers_lose_no_precision(tmp_path):
    """Activations grow by sqrt(2) a layer in our units; 200 layers are still the same numbers."""
    settings = r9_settings(layers=200, stacks=100, kernel_size=2)
    tensors = r9_tensors(settings)
    model = read(tmp_path, settings, tensors).model
    codes = draw_codes(settings, 1)
    torch.testing.assert_close(params(model, codes), original(tensors, settings, codes), **CLOSE)
