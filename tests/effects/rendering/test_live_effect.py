"""The callback of live sound: limited, counted, without memory; and the limiter itself."""

import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from tests.effects.random_effects import array, lstm, parse, wavenet
from wavenet.effects.effect_shapes import ImpulseResponseShape
from wavenet.effects.impulse_response import fit_response
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.effects.rendering.live_effect import LiveEffect
from wavenet.effects.rendering.output_limiter import OutputLimiter
from wavenet.errors import ConfigError

RATE = 48_000
BLOCK = 128


@pytest.fixture(scope="module")
def model():
    return parse(wavenet(array(channels=3), head_scale=0.2))


def identity(gain=1.0):
    return NamModel(ImpulseResponseShape(1), np.full(1, gain, np.float32), sample_rate=RATE)


def play(effect, samples, block=BLOCK, channels=2, flags=None):
    """Call the callback for every block of recorded samples (T,); return what is played."""
    played = np.full((len(samples), channels), np.nan, np.float32)
    recorded = samples[:, None].astype(np.float32)
    for first in range(0, len(samples), block):
        part = slice(first, first + block)
        effect(recorded[part], played[part], len(recorded[part]), None, flags)
    return played


@pytest.mark.parametrize("is_smooth", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_output_is_never_beyond_the_ceiling(rng, is_smooth, channels):
    """For steps, noise at any level, single peaks, and numbers that are none."""
    for ceiling in (1.0, 0.5, 0.1, 1 / 3):
        limiter = OutputLimiter(ceiling, RATE, is_smooth)
        for level in (1e-6, 0.3, 1, 10, 1e4, 3e38):
            block = (level * rng.uniform(-1, 1, (channels, 1000))).astype(np.float32)
            block[0, ::97] = np.resize([np.inf, -np.inf, np.nan, 3.4e38, -3.4e38], 11)
            limiter.process(block)
            assert np.all(np.abs(block) <= np.float32(ceiling))
            assert float(np.abs(block).max()) <= ceiling
        assert limiter.invalid_samples == 6 * 11


def test_the_limiter_changes_nothing_below_the_ceiling_but_the_start(rng):
    limiter = OutputLimiter(0.5, RATE)
    block = (0.4 * rng.uniform(-1, 1, (2, 2 * RATE))).astype(np.float32)
    before = block.copy()
    limiter.process(block)
    assert np.abs(block[:, :10]).max() < 0.001
    assert np.abs(block[:, RATE:] - before[:, RATE:]).max() < 1e-4
    assert limiter.take_lowest_gain() == 1


def test_the_gain_falls_at_once_and_rises_slowly_for_both_channels():
    limiter = OutputLimiter(0.5, RATE)
    limiter.process(np.zeros((2, 5 * RATE), np.float32))
    block = np.full((2, RATE), 0.25, np.float32)
    block[1, 100] = 2
    limiter.process(block)
    assert block[0, 99] == pytest.approx(0.25)
    assert block[:, 100] == pytest.approx([0.0625, 0.5])
    assert block[0, 101:] == pytest.approx(
        0.25 * (1 - 0.75 * np.exp(-np.arange(1, RATE - 100) / 4800)), abs=1e-4
    )
    assert limiter.take_lowest_gain() == pytest.approx(0.25)
    assert limiter.take_lowest_gain() == 1


def test_live_sound_is_that_of_the_chain(model, rng):
    samples = 0.05 * rng.standard_normal(48_000)
    chain = EffectChain(model, RATE)
    expected = chain.render(samples.astype(np.float32))
    # blocks longer than those of the start are divided
    for block in (64, BLOCK, 500):
        played = play(LiveEffect(chain, BLOCK), samples, block)
        assert np.array_equal(played[:, 0], played[:, 1])
        assert np.abs(played[40_000:, 0] - expected[40_000:]).max() < 1e-3


def test_a_loud_model_stays_below_the_ceiling(rng):
    for settings in (ChainSettings(), ChainSettings(mix=0.9, oversampling=2)):
        effect = LiveEffect(EffectChain(identity(100), RATE, settings), BLOCK, ceiling_db=-12)
        played = play(effect, rng.uniform(-1, 1, 9600))
        assert 0.2 < np.abs(played).max() <= 10 ** (-12 / 20)
    effect = LiveEffect(EffectChain(identity(100), RATE), BLOCK, is_limited=False)
    assert np.abs(play(effect, rng.uniform(-1, 1, 9600))).max() == pytest.approx(1)


def test_a_stereo_cabinet_is_heard_in_stereo(rng):
    response = fit_response(np.array([[1.0, 0.0], [0.0, 0.5]]), RATE, RATE, trim=False)
    effect = LiveEffect(EffectChain(identity(), RATE, None, response), BLOCK)
    samples = 0.1 * rng.standard_normal(96_000)
    played = play(effect, samples)[60_000:]
    assert np.abs(played[:, 0] - samples[60_000:]).max() < 1e-3
    assert np.abs(played[:, 1] - 0.5 * samples[59_999:-1]).max() < 1e-3


def test_the_callback_allocates_no_array(model):
    """Only views: less than the 16 kB of one block."""
    settings = ChainSettings(trim_db=-3, removes_offset=True)
    effect = LiveEffect(EffectChain(model, RATE, settings), 4096)
    recorded, played = np.zeros((4096, 1), np.float32), np.zeros((4096, 2), np.float32)
    effect(recorded, played, 4096, None, None)
    tracemalloc.start()
    try:
        effect(recorded, played, 4096, None, None)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            effect(recorded, played, 4096, None, None)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4096
    assert after - before < 1024


@pytest.mark.parametrize("settings", [ChainSettings(mix=0.5), ChainSettings(oversampling=4)])
def test_temporary_arrays_do_not_stay(model, settings):
    response = fit_response(0.9 ** np.arange(2000)[None], RATE, RATE)
    effect = LiveEffect(EffectChain(model, RATE, settings, response), BLOCK)
    samples = np.zeros(200 * BLOCK)
    play(effect, samples)
    tracemalloc.start()
    try:
        play(effect, samples)
        before, _ = tracemalloc.get_traced_memory()
        play(effect, samples)
        play(effect, samples)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


def test_levels_and_losses_are_counted():
    effect = LiveEffect(EffectChain(identity(0.5), RATE), BLOCK, ceiling_db=0)
    play(effect, np.zeros(96_000))
    samples = np.zeros(BLOCK)
    samples[5] = 0.5
    flags = SimpleNamespace(output_underflow=True, input_overflow=False)
    first = effect.status
    play(effect, samples, flags=flags)
    flags.input_overflow = True
    play(effect, 0 * samples, flags=flags)
    found = effect.status
    assert (first.input_db, first.underruns, first.blocks) == (-120, 0, 750)
    assert found.input_db == pytest.approx(-6.02, abs=0.01)
    assert found.output_db == pytest.approx(-12.04, abs=0.01)
    assert (found.blocks, found.underruns, found.overruns) == (752, 2, 1)
    assert found.limiter_db == 0
    assert "underruns 2  overruns 1" in found.line()
    assert effect.status.input_db == -120


def test_a_late_block_is_counted(model, monkeypatch):
    chain = EffectChain(model, RATE)
    effect = LiveEffect(chain, BLOCK)
    play(effect, np.zeros(BLOCK))
    before = effect.status.late_blocks
    process = chain.process
    monkeypatch.setattr(chain, "process", lambda *a: (time.sleep(0.01), process(*a))[1])
    play(effect, np.zeros(3 * BLOCK))
    found = effect.status
    assert found.late_blocks == before + 3
    assert found.load > 3


def test_an_error_ends_the_stream_in_silence(model, monkeypatch):
    class CallbackAbort(Exception):
        pass

    chain = EffectChain(model, RATE)
    effect = LiveEffect(chain, BLOCK, abort=CallbackAbort)
    error = MemoryError("no memory")
    monkeypatch.setattr(chain, "process", lambda *a: (_ for _ in ()).throw(error))
    played = np.ones((BLOCK, 2), np.float32)
    with pytest.raises(CallbackAbort):
        effect(np.ones((BLOCK, 1), np.float32), played, BLOCK, None, None)
    assert effect.error is error
    assert not played.any()


def test_an_lstm_runs_live():
    effect = LiveEffect(EffectChain(parse(lstm()), 200), BLOCK)
    assert np.isfinite(play(effect, np.ones(500) * 0.1)).all()


def test_a_ceiling_above_full_scale_is_refused(model):
    for ceiling in (1, float("nan"), -80):
        with pytest.raises(ConfigError, match="the ceiling: expected -60 to 0 dB"):
            LiveEffect(EffectChain(model, RATE), BLOCK, ceiling_db=ceiling)
