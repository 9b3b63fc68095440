"""Scores: the bits of the codec before training, and the same in windows of any length."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, Checkpoint, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.errors import CheckpointError, ConditionError
from wavenet.likelihood import score as score_module
from wavenet.likelihood.score import score, score_blocks, score_clip, score_windows
from wavenet.model.conditions import (
    LabelCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    PositionCondition,
)
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.memory import RingMemory
from wavenet.model.model_config import LogisticOutput
from wavenet.model.wavenet import WaveNetConfig

CONDITIONS = (
    LabelCondition(name="digit", values=("0", "1"), channels=3),
    PositionCondition(harmonics=2),
)


def make(bits=8, conditions=(), gain=1.0, kernel_size=2):
    """Build a tiny checkpoint; with a gain its predictions differ more."""
    torch.manual_seed(0)
    config = CheckpointConfig(
        name="tiny",
        audio=AudioConfig(sample_rate=8000),
        codec=MuLawCodec(bits=bits),
        model=WaveNetConfig(
            residual_channels=8,
            gate_channels=8,
            skip_channels=8,
            kernel_size=kernel_size,
            dilations=(1, 2, 4, 8),
            conditions=conditions,
            condition_channels=8,
            condition_hop=10,
        ),
    )
    model = checkpoint.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
        model.output.weight.mul_(gain**2)
    return Checkpoint(config, model, None)


@pytest.fixture
def waveform():
    """Return 700 samples of a chord in noise."""
    rng = np.random.default_rng(5)
    t = np.arange(700) / 8000
    x = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.1 * rng.standard_normal(700)
    return torch.from_numpy(x.astype(np.float32).clip(-1, 1))


@pytest.mark.parametrize("bits", [4, 6, 8, 10])
def test_an_untrained_model_needs_about_the_bits_of_its_codec(bits, waveform):
    result = score(make(bits), waveform)
    assert result.bits_per_sample == pytest.approx(bits, abs=0.15)
    assert result.samples == 700
    assert result.surprise.dtype == torch.float32
    assert (result.surprise >= 0).all()


def test_the_score_is_the_likelihood_of_the_plain_forward_pass(waveform):
    loaded = make(8, CONDITIONS, gain=2)
    codes = MuLawCodec().encode(waveform)[None]
    params = loaded.model(codes, loaded.model.conditioning([{"digit": "1"}], [700]))
    log2 = params.log_softmax(1).gather(1, codes[:, None])[0, 0] / math.log(2)
    found = score(loaded, waveform, {"digit": "1"})
    torch.testing.assert_close(found.surprise, -log2.detach(), atol=1e-4, rtol=0)
    assert found.bits_per_sample == pytest.approx(-log2.mean().item(), abs=1e-4)


@pytest.mark.parametrize("window", [5, 16, 17, 250, 699, 700])
@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "conditioned"])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_length_of_the_windows_does_not_matter(
    monkeypatch, waveform, window, conditions, kernel_size
):
    loaded = make(8, conditions, gain=2, kernel_size=kernel_size)
    values = {"digit": "1"} if conditions else {}
    whole = score(loaded, waveform, values)
    monkeypatch.setattr(score_module, "WINDOW", window)
    torch.testing.assert_close(
        score(loaded, waveform, values).surprise, whole.surprise, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("missing", [1, 16])
def test_the_comparison_of_windows_notices_a_context_too_short(monkeypatch, waveform, missing):
    """A context that is one sample too short changes the score."""
    loaded = make(8, CONDITIONS, gain=3)
    whole = score(loaded, waveform, {"digit": "1"})
    monkeypatch.setattr(score_module, "WINDOW", 250)
    field = loaded.model.receptive_field
    monkeypatch.setattr(type(loaded.model), "receptive_field", field - missing)
    shorter = score(loaded, waveform, {"digit": "1"})
    assert (shorter.surprise - whole.surprise).abs().max() > 1e-3


@pytest.mark.parametrize("window", [5, 16, 250, 699, 700])
@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "conditioned"])
def test_a_model_without_receptive_field_is_scored_with_its_memory(
    monkeypatch, waveform, window, conditions
):
    """Scored like a recurrent network: a WaveNet whose receptive field is not used."""
    loaded = make(8, conditions, gain=2, kernel_size=3)
    values = {"digit": "1"} if conditions else {}
    whole = score(loaded, waveform, values)
    monkeypatch.setattr(type(loaded.model), "receptive_field", None)
    monkeypatch.setattr(score_module, "WINDOW", window)
    torch.testing.assert_close(
        score(loaded, waveform, values).surprise, whole.surprise, atol=1e-4, rtol=0
    )


def test_the_comparison_of_windows_notices_a_memory_that_is_not_carried(monkeypatch, waveform):
    loaded = make(8, gain=3)
    whole = score(loaded, waveform)
    monkeypatch.setattr(type(loaded.model), "receptive_field", None)
    monkeypatch.setattr(score_module, "WINDOW", 250)
    monkeypatch.setattr(RingMemory, "extend", lambda *arguments: None)
    forgotten = score(loaded, waveform)
    assert torch.allclose(forgotten.surprise[:250], whole.surprise[:250], atol=1e-4)
    assert (forgotten.surprise - whole.surprise)[250:].abs().max() > 1e-3


def test_a_label_changes_the_score(waveform):
    loaded = make(8, CONDITIONS, gain=2)
    zero, one = (score(loaded, waveform, {"digit": d}).surprise for d in "01")
    assert (zero - one).abs().max() > 1e-3


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_recordings_have_a_score(length):
    assert score(make(), torch.zeros(length)).samples == length


@pytest.mark.parametrize(
    "values, words",
    [
        (None, "'digit' is missing; .*0, 1"),
        ({}, "'digit' is missing"),
        ({"digit": "2"}, "digit .*'2'"),
        ({"digit": "1", "speaker": "x"}, "no condition 'speaker'"),
    ],
)
def test_a_label_that_is_missing_or_unknown_is_refused(waveform, values, words):
    with pytest.raises(ConditionError, match=words):
        score(make(8, CONDITIONS), waveform, values)


@pytest.mark.parametrize("shape", [(0,), (1, 700), ()])
def test_a_tensor_that_is_no_recording_is_refused(shape):
    with pytest.raises(ConditionError, match="no samples"):
        score(make(), torch.zeros(shape))


def test_frames_are_computed_from_the_recording_by_default(make_checkpoint):
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    loaded = make_checkpoint(config, name="vocoder")
    waveform, other = sine(0.2), sine(0.2, 900.0)
    frames, wrong = (compute_frame_features(config, RATE, x) for x in (waveform, other))
    default = score(loaded, waveform).surprise
    assert torch.equal(score(loaded, waveform, frame_features=frames).surprise, default)
    decibels = score(loaded, waveform, arrays={"mel": 30 * frames - 30}).surprise
    torch.testing.assert_close(decibels, default, atol=1e-4, rtol=0)
    found = score(loaded, waveform, frame_features=wrong).surprise
    assert (found - default).abs().max() > 0.01  # negative control


@pytest.mark.parametrize("rounding", ["half-up", "down", "down-256"])
def test_a_generated_clip_is_scored_by_its_own_codes_with_its_prompt(rounding):
    """The codes of "down-256" do not survive decoding and encoding."""
    codec = MuLawCodec(rounding=rounding)
    loaded = make(gain=2)
    loaded = replace(loaded, config=CheckpointConfig(**{**dict(loaded.config), "codec": codec}))
    prompt = sine(0.01)
    codes = torch.randint(256, (50,), generator=torch.Generator().manual_seed(2))
    both = torch.cat([codec.encode(prompt), codes])[None]
    params = loaded.model(both, loaded.model.conditioning([{}], [both.shape[1]]))
    expected = -loaded.model.distribution.log_prob(params, both)[0].detach() / math.log(2)
    found = score_clip(loaded, codec.decode(codes), codes, prompt)
    torch.testing.assert_close(found.surprise, expected, atol=1e-4, rtol=0)
    alone = score_clip(loaded, codec.decode(codes), codes)
    assert alone.samples == 50
    assert (
        alone.surprise - expected[-50:]
    ).abs().max() > 1e-3  # negative control: the prompt counts


def test_mixtures_are_scored_in_bits_per_sample_of_16(make_checkpoint):
    """With a scale of 1/e of full range, a sample costs about 16 bits and never much less."""
    config = tiny_config(conditions="none", output=LogisticOutput(components=2))
    loaded = make_checkpoint(config, bits=16, name="mixture")
    waveform = sine(0.1)
    result = score(loaded, waveform)
    codes = loaded.codec.encode(waveform)[None]
    params = loaded.model(codes, loaded.model.conditioning([{}], [codes.shape[1]]))
    expected = -loaded.model.distribution.log_prob(params, codes)[0] / math.log(2)
    torch.testing.assert_close(result.surprise, expected, atol=1e-3, rtol=1e-4)
    assert 8 < result.bits_per_sample < 40


def test_a_score_arrives_window_by_window(waveform, monkeypatch):
    monkeypatch.setattr(score_module, "WINDOW", 300)
    loaded = make(conditions=CONDITIONS, gain=3.0)
    windows = score_module.score_windows(loaded, waveform, {"digit": "1"})
    first, *others = next(windows), *windows
    assert [len(bits) for bits in (first, *others)] == [300, 300, 100]
    whole = score(loaded, waveform, {"digit": "1"}).surprise
    assert torch.equal(torch.cat([first, *others]), whole)
    assert not first.requires_grad


@pytest.mark.parametrize("block", [1, 16, 250, 700, 1000])
@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "conditioned"])
@pytest.mark.parametrize("is_limited", [True, False])
def test_a_recording_in_blocks_has_the_score_of_the_whole(
    monkeypatch, waveform, block, conditions, is_limited
):
    loaded = make(8, conditions, gain=2, kernel_size=3)
    if not is_limited:
        monkeypatch.setattr(type(loaded.model), "receptive_field", None)
    values = {"digit": "1"} if conditions else {}
    whole = torch.cat(list(score_windows(loaded, waveform, values, window=128)))
    blocks = iter(waveform.split(block))
    windows = list(score_blocks(loaded, blocks, 700, values, window=128))
    assert [window.numel() for window in windows] == [128] * 5 + [60]
    assert torch.equal(torch.cat(windows), whole)


MEL = MelCondition(n_mels=8, win_length=64, channels=4, context=2)
LOUDNESS = LoudnessCondition(win_length=100, channels=3, context=1)
WHOLE = [MfccCondition(n_mels=8, n_mfcc=4, win_length=64, channels=4)]


@pytest.mark.parametrize(("block", "window"), [(33, 90), (3000, 128), (250, 700), (1, 4000)])
@pytest.mark.parametrize("is_limited", [True, False])
@pytest.mark.parametrize(
    "locals_", [[MEL], [LOUDNESS], [MEL, LOUDNESS], WHOLE], ids=["mel", "loudness", "both", "mfcc"]
)
def test_the_frames_of_blocks_are_those_of_the_whole(
    monkeypatch, block, window, is_limited, locals_
):
    loaded = make(8, (*CONDITIONS, *locals_), gain=2, kernel_size=3)
    if not is_limited:
        monkeypatch.setattr(type(loaded.model), "receptive_field", None)
    samples = 2003
    rng = np.random.default_rng(3)
    loud = np.linspace(0.01, 0.9, samples)  # so that every frame differs
    waveform = torch.from_numpy((loud * rng.uniform(-1, 1, samples)).astype(np.float32))
    whole = score(loaded, waveform, {"digit": "1"}).surprise
    parts = list(score_blocks(loaded, waveform.split(block), samples, {"digit": "1"}, window))
    assert all(part.numel() == window for part in parts[:-1])
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)
    quieter = score(loaded, waveform / 2, {"digit": "1"}, codes=loaded.codec.encode(waveform))
    assert (quieter.surprise - whole).abs().max() > 1e-3  # negative control: the frames count


def test_blocks_are_read_only_when_their_frames_are_needed(waveform):
    read = []

    def blocks():
        for part in waveform.repeat(10).split(100):
            read.append(part)
            yield part

    windows = score_blocks(make(8, (MEL, LOUDNESS)), blocks(), 7000, window=200)
    next(windows)
    assert len(read) <= 6


def test_blocks_are_read_only_when_they_are_scored(waveform):
    """The memory is that of a window, not of the recording."""
    read = []

    def blocks():
        for part in waveform.split(100):
            read.append(part)
            yield part

    windows = score_blocks(make(8), blocks(), 700, window=200)
    next(windows)
    assert len(read) == 2


def test_blocks_without_samples_are_refused():
    with pytest.raises(ConditionError, match="no samples"):
        list(score_blocks(make(8), iter([]), 0))


def test_predictions_that_are_not_finite_are_an_error():
    """The weights are finite, but their products overflow."""
    loaded = make(gain=1)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.mul_(1e25)
    with pytest.raises(CheckpointError, match="not finite"):
        score(loaded, sine(0.01))
