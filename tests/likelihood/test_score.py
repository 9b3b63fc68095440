"""Scores: near the size of the alphabet before training, and the same in windows of any length."""

import math

import numpy as np
import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet import checkpoint, codec
from wavenet.checkpoint import AudioConfig, Checkpoint, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.errors import ConditionError
from wavenet.likelihood import score as score_module
from wavenet.likelihood.score import score
from wavenet.model.conditions import LabelCondition, MelCondition, PositionCondition
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.model_config import LogisticOutput
from wavenet.model.wavenet import WaveNetConfig

CONDITIONS = (
    LabelCondition(name="digit", values=("0", "1"), channels=3),
    PositionCondition(harmonics=2),
)


def make(bits=8, conditions=(), gain=1.0, kernel_size=2):
    """Build a tiny checkpoint; a gain makes its predictions differ more."""
    torch.manual_seed(0)
    config = CheckpointConfig(
        name="tiny",
        audio=AudioConfig(sample_rate=8000),
        codec=MuLawCodec(bits=bits, silence_code=1 << (bits - 1)),
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
def test_an_untrained_model_needs_about_the_bits_of_its_alphabet(bits, waveform):
    result = score(make(bits), waveform)
    assert result.bits_per_sample == pytest.approx(bits, abs=0.15)
    assert result.samples == 700
    assert result.bits.dtype == torch.float32
    assert (result.bits >= 0).all()


def test_the_score_is_the_likelihood_of_the_plain_forward_pass(waveform):
    made = make(8, CONDITIONS, gain=2)
    codes = score_module.codec.encode(waveform, 8)[None]
    params = made.model(codes, made.model.conditioning([{"digit": "1"}], [700]))
    logs = params.log_softmax(1).gather(1, codes[:, None])[0, 0] / math.log(2)
    found = score(made, waveform, {"digit": "1"})
    torch.testing.assert_close(found.bits, -logs.detach(), atol=1e-4, rtol=0)
    assert found.bits_per_sample == pytest.approx(-logs.mean().item(), abs=1e-4)


@pytest.mark.parametrize("window", [5, 16, 17, 250, 699, 700])
@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "conditioned"])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_length_of_the_windows_does_not_matter(
    monkeypatch, waveform, window, conditions, kernel_size
):
    made = make(8, conditions, gain=2, kernel_size=kernel_size)
    labels = {"digit": "1"} if conditions else {}
    whole = score(made, waveform, labels)
    monkeypatch.setattr(score_module, "WINDOW", window)
    torch.testing.assert_close(score(made, waveform, labels).bits, whole.bits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("missing", [1, 16])
def test_the_comparison_of_windows_notices_a_context_too_short(monkeypatch, waveform, missing):
    """Even one sample less than the receptive field shows."""
    made = make(8, CONDITIONS, gain=3)
    whole = score(made, waveform, {"digit": "1"})
    monkeypatch.setattr(score_module, "WINDOW", 250)
    field = made.model.receptive_field
    monkeypatch.setattr(type(made.model), "receptive_field", field - missing)
    shorter = score(made, waveform, {"digit": "1"})
    assert (shorter.bits - whole.bits).abs().max() > 1e-3


def test_a_label_matters(waveform):
    made = make(8, CONDITIONS, gain=2)
    zero, one = (score(made, waveform, {"digit": d}).bits for d in "01")
    assert (zero - one).abs().max() > 1e-3


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_recordings_have_a_score(length):
    assert score(make(), torch.zeros(length)).samples == length


@pytest.mark.parametrize(
    "labels, words",
    [
        (None, "the label 'digit' is missing; choose one of 0, 1"),
        ({}, "the label 'digit' is missing"),
        ({"digit": "2"}, "digit cannot be '2'"),
        ({"digit": "1", "speaker": "x"}, "'speaker' is not known"),
    ],
)
def test_a_label_that_is_missing_or_unknown_is_refused(waveform, labels, words):
    with pytest.raises(ConditionError, match=words):
        score(make(8, CONDITIONS), waveform, labels)


@pytest.mark.parametrize("shape", [(0,), (1, 700), ()])
def test_what_is_no_recording_is_refused(shape):
    with pytest.raises(ConditionError, match="nothing to score"):
        score(make(), torch.zeros(shape))


def test_frames_are_computed_of_the_recording_unless_they_are_given(make_checkpoint):
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    loaded = make_checkpoint(config, name="vocoder")
    waveform, other = sine(0.2), sine(0.2, 900.0)
    local = compute_frame_features(config, RATE, waveform)
    plain = score(loaded, waveform).bits
    assert torch.equal(score(loaded, waveform, local=local).bits, plain)
    assert torch.equal(score(loaded, waveform, arrays={"mel": local}).bits, plain)
    strange = score(loaded, waveform, local=compute_frame_features(config, RATE, other)).bits
    assert (strange - plain).abs().max() > 0.01  # the control


def test_mixtures_are_scored_in_bits_of_16(make_checkpoint):
    """Under a scale of 1/e of full range, a sample costs about 16 bits and never much less."""
    config = tiny_config(conditions="none", output=LogisticOutput(components=2))
    loaded = make_checkpoint(config, bits=16, name="mixture")
    waveform = sine(0.1)
    result = score(loaded, waveform)
    codes = codec.encode(waveform, 16)[None]
    params = loaded.model(codes, loaded.model.conditioning([{}], [codes.shape[1]]))
    expected = -loaded.model.distribution.log_prob(params, codes)[0] / math.log(2)
    torch.testing.assert_close(result.bits, expected, atol=1e-3, rtol=1e-4)
    assert 8 < result.bits_per_sample < 40


def test_windows_arrive_one_by_one_and_make_the_whole(waveform, monkeypatch):
    monkeypatch.setattr(score_module, "WINDOW", 300)
    loaded = make(conditions=CONDITIONS, gain=3.0)
    windows = score_module.score_windows(loaded, waveform, {"digit": "1"})
    first = next(windows)
    rest = list(windows)
    assert [len(part) for part in (first, *rest)] == [300, 300, 100]
    whole = score(loaded, waveform, {"digit": "1"}).bits
    assert torch.equal(torch.cat([first, *rest]), whole)
    assert not first.requires_grad
