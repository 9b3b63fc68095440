"""The chain: blocks equal the whole, latencies are removed, channels are separate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal

from tests.effects.random_effects import array, container, conv_net, linear, lstm, parse, wavenet
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.effect_shapes import ImpulseResponseShape
from wavenet.effects.impulse_response import fit_response
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.errors import ConfigError

RATE = 48_000


@pytest.fixture(scope="module")
def model():
    return parse(wavenet(array(channels=3)))


@pytest.fixture
def noise(rng):
    return (0.3 * rng.standard_normal((1, 3000))).astype(np.float32)


def identity(rate=RATE):
    """Return a model whose output is its input."""
    return NamModel(ImpulseResponseShape(1), np.ones(1, np.float32), sample_rate=rate)


def response_of(*rows, rate=RATE):
    return fit_response(np.array(rows, np.float64), rate, rate, trim=False)


def whole(model, samples):
    with torch.no_grad():
        return build_effect(model)(torch.from_numpy(samples)[:, None])[:, 0].numpy()


def test_a_plain_chain_is_the_model_with_gains(model, noise):
    chain = EffectChain(model, RATE, ChainSettings(input_gain_db=6, trim_db=-3))
    expected = whole(model, noise * np.float32(10 ** (6 / 20))) * 10 ** (-3 / 20)
    assert np.abs(chain.render(noise) - expected).max() < 1e-6
    assert (chain.latency, chain.tail) == (0, 0)


CASES = {
    "plain": {},
    "oversampled": {"oversampling": 2},
    "4 times, mixed": {"oversampling": 4, "mix": 0.4},
    "mixed": {"mix": 0.5, "trim_db": -6},
}


@pytest.mark.parametrize("rate", [RATE, 44_100, 96_000])
@pytest.mark.parametrize("name", CASES)
def test_blocks_of_every_size_equal_the_whole(model, noise, name, rate, rng):
    response = response_of(rng.standard_normal(700) * 0.98 ** np.arange(700), rate=rate)
    for cabinet in (None, response):
        chain = EffectChain(model, rate, ChainSettings(**CASES[name]), cabinet)
        expected = chain.render(noise, with_tail=True)
        assert expected.shape == (1, 3000 + chain.tail)
        for size in (1, 64, 480, 1023):
            count = 200 if size == 1 else 3000
            blocks = [noise[:, n : n + size] for n in range(0, count, size)]
            short = chain.render(noise[:, :count], with_tail=True)
            found = np.concatenate(list(chain.render_blocks(blocks, 1, with_tail=True)), axis=1)
            assert found.shape == short.shape
            assert np.abs(found - short).max() < 1e-6


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("rate", [RATE, 44_100, 96_000])
def test_the_latency_is_removed(factor, rate):
    """A click stays where it is, also in a mix, where a shifted copy would be heard as a filter."""
    click = np.zeros((1, 2000), np.float32)
    click[0, 700] = 1
    for mix in (1.0, 0.5):
        chain = EffectChain(identity(), rate, ChainSettings(oversampling=factor, mix=mix))
        found = chain.render(click)
        assert found.shape == click.shape
        assert np.argmax(np.abs(found)) == 700
        # a symmetric response: no fraction of a sample is left
        assert np.abs(found[0, 600:701] - found[0, 700:801][::-1]).max() < 2e-3


@pytest.mark.parametrize("rate", [RATE, 44_100, 96_000])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_sweep_through_the_identity_is_unchanged(factor, rate):
    time = np.arange(rate // 2) / rate
    sweep = 0.5 * signal.chirp(time, 50, 0.5, 15_000).astype(np.float32)
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.02).astype(np.float32)
    chain = EffectChain(identity(), rate, ChainSettings(oversampling=factor))
    assert np.abs(chain.render(sweep * fade) - sweep * fade).max() < 2e-4


def tones(rate=RATE, samples=6000):
    """Return quiet sines, up to a frequency whose period is few samples: dilations matter."""
    time = np.arange(samples) / rate
    sines = [np.sin(2 * np.pi * hertz * time) for hertz in (440, 3000, 9000)]
    return (0.001 * sum(sines))[None].astype(np.float32)


def assert_close(found, expected, tolerance):
    """Assert that two outputs are equal but for their DC, away from the ends."""
    inner = expected[:, 500:-500]
    size = np.abs(inner - inner.mean()).max()
    assert np.abs(found - expected)[:, 500:-500].max() < tolerance * size


def test_oversampling_keeps_what_a_model_does_below_half_its_rate(model):
    plain = EffectChain(model, RATE).render(tones())
    for factor in (2, 4):
        found = EffectChain(model, RATE, ChainSettings(oversampling=factor)).render(tones())
        assert_close(found, plain, 0.01)


# the smaller part, an LSTM, is not used
SIZES = container(lstm() | {"sample_rate": RATE}, wavenet(array()))


@pytest.mark.parametrize("document", [conv_net(), linear(), SIZES])
def test_every_kind_that_can_be_oversampled(document):
    effect = parse(document)
    plain = EffectChain(effect, RATE).render(tones())
    found = EffectChain(effect, RATE, ChainSettings(oversampling=2)).render(tones())
    assert_close(found, plain, 0.01)


def test_an_lstm_cannot_be_oversampled(noise):
    with pytest.raises(ConfigError, match="LSTM remembers"):
        EffectChain(parse(lstm()), RATE, ChainSettings(oversampling=2))


def test_channels_are_separate(model, noise):
    """Swapping the channels swaps the output; each equals the channel alone."""
    stereo = np.concatenate([noise, noise[:, ::-1]])
    chain = EffectChain(model, 44_100, ChainSettings(oversampling=2, mix=0.7))
    found = chain.render(stereo)
    assert np.array_equal(found, chain.render(stereo[::-1])[::-1])
    assert np.array_equal(found[:1], chain.render(noise))


def test_a_cabinet_with_two_responses_makes_stereo(noise):
    left, right = np.zeros(40), np.zeros(40)
    left[0], right[20] = 1, 0.5
    chain = EffectChain(identity(), RATE, ChainSettings(mix=0.5), response_of(left, right))
    found = chain.render(noise)
    assert found.shape == (2, 3000)
    assert np.abs(found[0] - noise[0]).max() < 1e-6
    expected = 0.5 * noise[0]
    expected[20:] += 0.25 * noise[0, :-20]
    assert np.abs(found[1] - expected).max() < 1e-6
    with pytest.raises(ConfigError, match="3 channels, and the impulse response 2"):
        chain.start(3)


def test_the_tail_of_the_cabinet_is_kept_on_request(noise):
    decay = 0.9 ** np.arange(300)
    chain = EffectChain(identity(), RATE, None, response_of(decay))
    full = np.convolve(noise[0], decay)
    assert np.abs(chain.render(noise[0], with_tail=True) - full).max() < 1e-5
    assert np.abs(chain.render(noise[0]) - full[:3000]).max() < 1e-5


def test_a_live_state_returns_blocks_of_the_same_length(model, noise):
    for settings in (ChainSettings(), ChainSettings(oversampling=4, mix=0.6)):
        chain = EffectChain(model, RATE, settings)
        state = chain.start(1, is_live=True)
        parts = []
        for first in range(0, 3000, 100):
            out = np.empty((1, 100), np.float32)
            assert chain.process(state, noise[:, first : first + 100], out) is out
            parts.append(out)
        live = np.concatenate(parts, axis=1)
        late = chain.latency
        expected = chain.render(noise)[:, : 3000 - late]
        assert np.abs(live[:, late:] - expected).max() < 1e-6
    assert late == 71


OFFSET_CASES = {
    "plain": (RATE, {}),
    "mixed": (RATE, {"mix": 0.5, "trim_db": -6}),
    "oversampled": (RATE, {"oversampling": 2}),
    "resampled": (44_100, {}),
}


@pytest.mark.parametrize("name", OFFSET_CASES)
def test_the_offset_is_removed_from_the_first_sample(model, name):
    rate, settings = OFFSET_CASES[name]
    silence = np.zeros((1, 1000), np.float32)
    chain = EffectChain(model, rate, ChainSettings(**settings))
    assert abs(chain.offset) > 0.01
    assert chain.render(silence)[0, 300:700] == pytest.approx(chain.offset, rel=1e-3)
    chain = EffectChain(model, rate, ChainSettings(removes_offset=True, **settings))
    assert chain.offset == 0
    assert np.abs(chain.render(silence)).max() < 1e-6


def test_an_offset_passes_a_cabinet_without_a_swell(model):
    """Regression: a cabinet began as if the model had been at 0 before."""
    response = response_of(0.9 ** np.arange(300))
    chain = EffectChain(model, RATE, None, response)
    plain = EffectChain(model, RATE)
    assert chain.offset == pytest.approx(10 * plain.offset, rel=1e-6)
    silence = chain.render(np.zeros((1, 1000), np.float32))
    assert silence[0] == pytest.approx(np.full(1000, chain.offset), rel=1e-4)


def test_damaged_levels_and_rates_are_refused(model):
    for name, settings in (
        ("loudness", ChainSettings(matches_loudness=True)),
        ("input_level_dbu", ChainSettings(interface_dbu=12)),
    ):
        damaged = replace(model, metadata={name: 1e300})
        with pytest.raises(ConfigError, match=f"{name} 1e\\+300; expected -100 to 100"):
            EffectChain(damaged, RATE, settings)
    with pytest.raises(ConfigError, match="too different to resample"):
        EffectChain(replace(model, sample_rate=3.7), RATE)


def test_the_offset_filter_is_a_high_pass(model, noise):
    pole = np.exp(-2 * np.pi * 5 / RATE)
    expected = EffectChain(model, RATE).render(noise)[0].astype(np.float64)
    expected -= EffectChain(model, RATE).offset
    expected = signal.lfilter([(1 + pole) / 2, -(1 + pole) / 2], [1, -pole], expected)
    chain = EffectChain(model, RATE, ChainSettings(removes_offset=True))
    state = chain.start(1)
    blocks = [chain.process(state, noise[:, first : first + 70]) for first in range(0, 3000, 70)]
    assert np.abs(np.concatenate(blocks, axis=1)[0] - expected).max() < 1e-6


def test_settings_out_of_range_are_refused(model):
    for settings, words in (
        ({"mix": 1.5}, "the mix: expected 0"),
        ({"mix": float("nan")}, "the mix: expected 0"),
        ({"oversampling": 3}, "expected 1, 2 or 4, found 3"),
        ({"trim_db": 100}, "the trim: expected -60 to 60 dB"),
        ({"size": 2}, "the size: expected 0"),
        ({"rate_policy": "ignore"}, "resample or refuse"),
    ):
        with pytest.raises(ConfigError, match=words):
            ChainSettings(**settings)
    with pytest.raises(ConfigError, match="44100 Hz, the model 48000 Hz"):
        EffectChain(model, 44_100, ChainSettings(rate_policy="refuse"))
    with pytest.raises(ConfigError, match="live sound cannot be resampled"):
        EffectChain(model, 44_100).start(1, is_live=True)


def test_a_loudness_that_the_file_does_not_say_is_measured(noise):
    quiet = NamModel(ImpulseResponseShape(1), np.full(1, 0.25, np.float32))  # -30 dB
    chain = EffectChain(quiet, RATE, ChainSettings(matches_loudness=True))
    assert np.allclose(chain.render(noise), noise, atol=1e-4)


def test_the_loudness_of_the_file_sets_the_level(noise):
    loud = NamModel(ImpulseResponseShape(1), np.ones(1, np.float32), metadata={"loudness": -12.0})
    chain = EffectChain(loud, RATE, ChainSettings(matches_loudness=True))
    assert np.allclose(chain.render(noise), noise * 10 ** (-6 / 20), atol=1e-7)
