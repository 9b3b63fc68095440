"""Files through an effect: same length and alignment, constant memory, complete or absent."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from audio_utils.errors import AudioError
from tests.effects.random_effects import array, encode, parse, wavenet
from wavenet.effects.effect_shapes import ImpulseResponseShape
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.effects.rendering.render_file import FileSettings, measure_seconds, render_file
from wavenet.errors import ConditionError
from wavenet.progress import CallbackProgress


@pytest.fixture(scope="module")
def model():
    return parse(wavenet(array(channels=2), head_scale=0.3))


@pytest.fixture
def dry(tmp_path, rng):
    """Return a function that writes noise and returns its path and samples (channels, T)."""

    def write(rate=48_000, channels=1, seconds=0.5):
        samples = (0.2 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32)
        path = tmp_path / "dry.wav"
        soundfile.write(path, samples.T, rate, subtype="FLOAT")
        return path, samples

    return write


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_that_of_the_chain_in_memory(model, dry, tmp_path, rate, channels):
    path, samples = dry(rate, channels)
    settings = ChainSettings(mix=0.8, oversampling=2, removes_offset=True)
    found = render_file(
        path, tmp_path / "wet.wav", model, settings, files=FileSettings(subtype="FLOAT")
    )
    wet, wet_rate = soundfile.read(tmp_path / "wet.wav", dtype="float32", always_2d=True)
    assert wet_rate == rate
    assert wet.T.shape == samples.shape
    assert np.abs(wet.T - EffectChain(model, rate, settings).render(samples)).max() < 1e-6
    assert (found.channels, found.frames, found.model_rate) == (channels, samples.shape[1], 48_000)
    assert bool(found.sentences()) == (rate != 48_000)


def test_one_channel_can_be_chosen(model, dry, tmp_path):
    path, samples = dry(channels=2)
    render_file(path, tmp_path / "wet.flac", model, files=FileSettings(channel="right"))
    wet, _ = soundfile.read(tmp_path / "wet.flac", always_2d=True)
    expected = EffectChain(model, 48_000).render(samples[1])
    assert wet.shape == (samples.shape[1], 1)
    assert np.abs(wet[:, 0] - np.clip(expected, -1, 1)).max() < 1e-6


def test_clipping_is_reported_with_its_remedy(model, dry, tmp_path):
    path, samples = dry()
    settings = ChainSettings(trim_db=40, removes_offset=True)
    found = render_file(path, tmp_path / "wet.wav", model, settings)
    expected = EffectChain(model, 48_000, settings).render(samples)
    assert found.clipped_samples == np.count_nonzero(np.abs(expected) > 1) > 0
    excess = 20 * np.log10(np.abs(expected).max())
    assert f"lower --trim by {excess:.1f} dB" in found.sentences()[0]
    floats = FileSettings(subtype="FLOAT")
    found = render_file(path, tmp_path / "wet.wav", model, settings, files=floats)
    assert (found.clipped_samples, found.sentences()) == (0, [])


def test_a_model_that_overflows_is_named_as_the_cause(dry, tmp_path):
    path, _ = dry()
    weights = np.full(9, 1e38, np.float32)
    loud = NamModel(ImpulseResponseShape(9), weights, sample_rate=48_000)
    settings = ChainSettings(input_gain_db=60)
    with pytest.raises(ConditionError, match="output of the model is not finite"):
        render_file(path, tmp_path / "wet.wav", loud, settings)
    assert not (tmp_path / "wet.wav").exists()


def test_a_cabinet_and_its_tail(model, dry, tmp_path, rng):
    path, samples = dry(44_100)
    soundfile.write(tmp_path / "ir.wav", rng.standard_normal((500, 2)) * 0.1, 44_100)
    files = FileSettings(with_tail=True)
    found = render_file(path, tmp_path / "wet.wav", model, None, tmp_path / "ir.wav", files)
    assert found.channels == 2
    assert 400 < found.frames - samples.shape[1] < 500
    soundfile.write(tmp_path / "ir.wav", np.zeros(100), 44_100)
    with pytest.raises(AudioError, match=r"ir\.wav is silent"):
        render_file(path, tmp_path / "new.wav", model, None, tmp_path / "ir.wav")
    assert not (tmp_path / "new.wav").exists()


def test_progress_and_stop(model, dry, tmp_path):
    path, _ = dry(seconds=2)
    amounts = []
    progress = CallbackProgress(amounts.append)
    render_file(path, tmp_path / "wet.wav", model, progress=progress)
    assert sum(amounts) == pytest.approx(2) == measure_seconds(path)
    assert len(amounts) > 5
    before = (tmp_path / "wet.wav").read_bytes()
    amounts.clear()
    stopped = render_file(
        path, tmp_path / "wet.wav", model, progress=progress, should_stop=lambda: len(amounts) > 2
    )
    assert stopped is None
    assert len(amounts) == 3
    assert (tmp_path / "wet.wav").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dry.wav", "wet.wav"]


def test_a_damaged_input_leaves_no_file(model, dry, tmp_path):
    path, samples = dry()
    samples[0, 20_000] = np.nan
    soundfile.write(path, samples.T, 48_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="1 frames that are not finite"):
        render_file(path, tmp_path / "wet.wav", model)
    assert [p.name for p in tmp_path.iterdir()] == ["dry.wav"]


SCRIPT = """
import resource, sys
from pathlib import Path
from wavenet.effects.nam_file import read_nam
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.render_file import render_file
folder = Path(sys.argv[1])
model = read_nam(folder / "model.nam")
for name in ("short.wav", "long.wav"):
    render_file(folder / name, folder / "wet.wav", model, ChainSettings(oversampling=2, mix=0.5))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(dry, tmp_path):
    pytest.importorskip("resource")
    nam = encode(wavenet(array(channels=1, dilations=(1,))))
    (tmp_path / "model.nam").write_bytes(nam)
    path, samples = dry(44_100, 1, 120)
    soundfile.write(tmp_path / "short.wav", samples[0, :44_100], 44_100)
    path.rename(tmp_path / "long.wav")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    short, long = (1024 * int(line) for line in done.stdout.split())
    assert long - short < samples.nbytes / 4  # the file has 21 MB as floats


def test_a_full_disk_is_one_sentence(dry, tmp_path, model):
    resource = pytest.importorskip("resource")
    import signal

    path, _ = dry(seconds=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(AudioError, match=r"Cannot write .*: the disk is full") as caught:
            render_file(path, tmp_path / "wet.wav", model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == ["dry.wav"]
    assert isinstance(caught.value.__cause__, OSError)
