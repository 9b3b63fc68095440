"""Models of r9y9/wavenet_vocoder: imported models compute the same numbers, in every variant."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.importing import (
    CLASSES,
    normed,
    r9_forward,
    r9_read,
    r9_settings,
    r9_tensors,
    random,
    upsampling,
)
from wavenet import checkpoint
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.importing.imported_model import render_card, save_checkpoint, upsample_frames
from wavenet.importing.r9y9_hparams import FRAME_KEYS, IGNORED, R9y9Hparams
from wavenet.model.distributions import Categorical
from wavenet.model.mixtures import GaussianMixture, LogisticMixture

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SAMPLES = 60


@pytest.fixture
def import_and_load(tmp_path):
    """Return a function that writes, imports and loads a model from tensors and hparams."""

    def convert(settings, tensors, bare=False):
        imported = r9_read(tmp_path, settings, tensors, bare)
        save_checkpoint(imported, tmp_path / "out", tmp_path / "checkpoint.pth")
        return checkpoint.load(tmp_path / "out")

    return convert


def draw_codes(settings, rows=2):
    top = 65_536 if settings["input_type"] == "raw" else settings["out_channels"]
    return torch.randint(0, top, (rows, SAMPLES), generator=torch.Generator().manual_seed(5))


def params(model, codes, labels=None, local=None):
    with torch.no_grad():
        rows, samples = codes.shape
        given = model.conditioning(labels or [{}] * rows, [samples] * rows, local)
        return model(codes, given)


def original(tensors, settings, codes, **how):
    """Run the original; before the first sample it has 0.0, or class 127."""
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
def test_predictions_equal_those_of_the_original(import_and_load, kind, newer):
    settings = r9_settings(**OUTPUTS[kind])
    tensors = r9_tensors(settings)
    loaded = import_and_load(settings, normed(tensors, newer))
    codes = draw_codes(settings)
    expected = original(tensors, settings, codes)
    torch.testing.assert_close(params(loaded.model, codes), expected, **CLOSE)
    distribution = {
        "mixture of logistics": LogisticMixture,
        "mixture of Gaussians": GaussianMixture,
    }
    assert isinstance(loaded.model.distribution, distribution.get(kind, Categorical))


def test_a_single_gaussian_gets_a_row_for_its_mixture_weight(import_and_load):
    settings = r9_settings(output_distribution="Normal", out_channels=2)
    tensors = r9_tensors(settings)
    loaded = import_and_load(settings, normed(tensors))
    codes = draw_codes(settings)
    logit, mean_and_scale = params(loaded.model, codes).split([1, 2], dim=1)
    assert (logit == 0).all()
    assert loaded.config.model.output.components == 1
    torch.testing.assert_close(mean_and_scale, original(tensors, settings, codes), **CLOSE)


@pytest.mark.parametrize(("legacy", "skips"), [(None, "mean"), (True, "chain"), (False, "sum")])
def test_without_conditions_the_hparams_determine_the_skip_factors(import_and_load, legacy, skips):
    settings = r9_settings() | ({} if legacy is None else {"legacy": legacy})
    tensors = r9_tensors(settings)
    got = params(import_and_load(settings, tensors, bare=True).model, draw_codes(settings))
    for other in ("mean", "chain", "sum"):
        error = (got - original(tensors, settings, draw_codes(settings), skips=other)).abs().max()
        assert error < 1e-4 if other == skips else error > 0.05


def test_the_comparison_detects_typical_mistakes(import_and_load):
    settings = r9_settings(**CLASSES)
    tensors = r9_tensors(settings)
    codes = draw_codes(settings)
    got = params(import_and_load(settings, normed(tensors)).model, codes)
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
def test_speakers_and_frames_enter_every_layer(import_and_load, version):
    old = version != "last"
    settings = r9_settings(cin_channels=4, gin_channels=3)
    settings |= {"legacy": False} if version.endswith("false") else {}
    tensors = r9_tensors(settings, bias_of_conditions=old, speakers=5)
    loaded = import_and_load(settings, normed(tensors))
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
def test_without_a_speaker_table_the_condition_is_a_vector(import_and_load, frames):
    settings = r9_settings(gin_channels=3, cin_channels=frames or -1)
    tensors = r9_tensors(settings)
    model = import_and_load(settings, normed(tensors)).model
    codes, g = draw_codes(settings), random(2, 3, 1, seed=8, scale=1.0)
    c = random(2, 4, SAMPLES, seed=9, scale=1.0) if frames else None
    labels = [{"speaker": vector[:, 0]} for vector in g]
    got = params(model, codes, labels, None if c is None else list(c.mT))
    torch.testing.assert_close(got, original(tensors, settings, codes, c=c, g=g), **CLOSE)


def test_engines_generate_the_same_audio_from_an_imported_model(import_and_load):
    settings = r9_settings(cin_channels=4, gin_channels=3)
    loaded = import_and_load(settings, normed(r9_tensors(settings, speakers=5)))
    frames = random(SAMPLES, 4, seed=9, scale=1.0)
    items = [
        GenerationRequest(SAMPLES - 1, {"speaker": "4"}, seed, frame_features=frames)
        for seed in (1, 2)
    ]
    made = [
        torch.stack(generate_waveforms(loaded, items, engine=engine, guard=None))
        for engine in ("cpu", "reference")
    ]
    assert torch.equal(*made)
    assert made[0].unique().numel() > SAMPLES


def cubic(distance, a=-0.75):
    """Return the weight of a frame at this distance in a cubic interpolation."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def frame_weights(frames, scale, mode):
    """Return the weights (F * scale, F) of an interpolation over time."""
    weights = np.zeros((frames * scale, frames))
    for t in range(frames * scale):
        if mode not in ("bilinear", "bicubic"):
            weights[t, t // scale] = 1
            continue
        at = (t + 0.5) / scale - 0.5
        for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            weight = cubic(at - k) if mode == "bicubic" else max(0.0, 1 - abs(at - k))
            weights[t, min(max(k, 0), frames - 1)] += weight
    return weights


def upsample_by_definition(x, tensors, scales, high, pad, old, mode="nearest"):
    """Compute (C, T) from (C, F) with loops, number by number."""
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
        stretched = x @ frame_weights(x.shape[1], s, mode).T
        y = np.zeros((columns, samples))
        for c in range(columns):
            for t in range(samples):
                for k in range(high):
                    if old:  # input column c contributes to c + k - (high - 1) / 2
                        here = c - k + high // 2
                        y[c, t] += w[k, t % s] * x[here, t // s] if 0 <= here < columns else 0
                        continue
                    here = c + k - high // 2
                    for j in range(2 * s + 1):
                        at = t + j - s
                        if 0 <= here < columns and 0 <= at < samples:
                            y[c, t] += w[k, j] * stretched[here, at]
        x = np.maximum(y + tensors[f"{name}.bias"].item(), 0) if old else y
    return torch.from_numpy(x)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("scales", "high", "pad"), [((2, 3), 3, 1), ((4,), 1, 0), ((3, 2), 5, 2)])
def test_frames_are_upsampled_as_in_the_original(tmp_path, old, scales, high, pad):
    settings = r9_settings(cin_channels=4)
    tensors = r9_tensors(settings, bias_of_conditions=old)
    net = upsampling(scales, high, pad, old=old)
    imported = r9_read(tmp_path, settings, normed(tensors | net))
    frames = random(7, 4, seed=3, scale=1.0)
    expected = upsample_by_definition(frames.T, net, scales, high, pad, old).T
    for given in (frames, frames.T):
        got = upsample_frames(imported, given)
        torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    assert (got.double() - expected.flip(1)).abs().max() > 0.05
    assert len(got) == 7 * np.prod(scales)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area", "nearest-exact"])
def test_the_interpolation_of_the_upsampling_network_is_read(tmp_path, mode):
    """A mode that was not read was an error of 0.27 in frames of up to 1.2."""
    settings = r9_settings(cin_channels=4, upsample_params={"mode": mode, "upsample_scales": [4]})
    tensors, net = r9_tensors(settings), upsampling((4, 2))
    imported = r9_read(tmp_path, settings, normed(tensors | net))
    frames = random(7, 4, seed=3, scale=1.0)
    got = upsample_frames(imported, frames).double()
    for other in ("nearest", "bilinear", "bicubic"):
        expected = upsample_by_definition(frames.T, net, (4, 2), 3, 1, False, other).T
        error = (got - expected).abs().max()
        same = other == mode or (other == "nearest" and mode in ("area", "nearest-exact"))
        assert error < 1e-5 if same else error > 0.05


# The keys of the last version, and those of the published models, version 0.1.
LAST_VERSION = """
    name input_type quantize_channels preprocess postprocess global_gain_scale sample_rate
    silence_threshold num_mels fmin fmax fft_size hop_size frame_shift_ms win_length win_length_ms
    window highpass_cutoff output_distribution log_scale_min out_channels layers stacks
    residual_channels gate_channels skip_out_channels dropout kernel_size cin_channels cin_pad
    upsample_conditional_features upsample_net upsample_params gin_channels n_speakers pin_memory
    num_workers batch_size optimizer optimizer_params lr_schedule lr_schedule_kwargs
    max_train_steps nepochs clip_thresh max_time_sec max_time_steps exponential_moving_average
    ema_decay checkpoint_interval train_eval_interval test_eval_epoch_interval
    save_optimizer_state"""
VERSION_0_1 = """
    builder preset presets min_level_db ref_level_db rescaling rescaling_max
    allow_clipping_in_normalization weight_normalization upsample_scales freq_axis_kernel_size
    legacy test_size test_num_samples random_state adam_beta1 adam_beta2 adam_eps amsgrad
    initial_learning_rate weight_decay use_speaker_embedding"""


def test_every_key_of_their_settings_is_known():
    known = {*R9y9Hparams.model_fields, *IGNORED, *FRAME_KEYS}
    assert {*LAST_VERSION.split(), *VERSION_0_1.split()} <= known
    assert not {*R9y9Hparams.model_fields} & {*IGNORED, *FRAME_KEYS}


def test_the_card_names_the_settings_of_the_frames(tmp_path):
    frames = {"num_mels": 80, "fmin": 125, "hop_size": 256, "frame_shift_ms": None}
    settings = r9_settings(cin_channels=4, postprocess="inv_preemphasis", **frames)
    imported = r9_read(tmp_path, settings, r9_tensors(settings) | upsampling())
    notes = " ".join(imported.notes)
    assert "num_mels 80, fmin 125, hop_size 256." in notes
    assert "'inv_preemphasis'" in notes
    plain = r9_settings(**frames)
    assert "fmin" not in " ".join(r9_read(tmp_path, plain, r9_tensors(plain)).notes)


def test_the_card_describes_the_origin_and_the_preprocessing(tmp_path):
    settings = r9_settings(preprocess="preemphasis", global_gain_scale=0.55)
    settings |= {"rescaling": True, "rescaling_max": 0.9}
    text = render_card(
        r9_read(tmp_path, settings, r9_tensors(settings)), tmp_path / "checkpoint.pth"
    )
    for words in (
        "`checkpoint.pth`", "| layout | r9y9 |", "does not know it", "linear, 16 bits",
        "sqrt(1 / layers)", "below -11", "-16 in training", "0.85", "by 0.55", "peak of 0.9",
    ):  # fmt: skip
        assert words in text
    classes = r9_settings(**CLASSES)
    text = render_card(r9_read(tmp_path, classes, r9_tensors(classes)), tmp_path / "checkpoint.pth")
    assert "mu-law, 8 bits, rounded down, silence code 127" in text
    assert "-11" not in text


def test_many_layers_do_not_lose_precision(tmp_path):
    """The scale grows by sqrt(2) per layer; after 200 layers the numbers are still the same."""
    settings = r9_settings(layers=200, stacks=100, kernel_size=2)
    tensors = r9_tensors(settings)
    model = r9_read(tmp_path, settings, tensors).model
    codes = draw_codes(settings, 1)
    torch.testing.assert_close(params(model, codes), original(tensors, settings, codes), **CLOSE)
