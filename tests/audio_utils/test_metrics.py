"""Metrics against closed forms, other implementations and their documented invariances."""

import math
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import soxr
import torch

from audio_utils import metrics
from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig
from audio_utils.io import read
from audio_utils.metrics import f0_frame_error, speech_f0

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT.parent / "shared/data/ljspeech/wavs/LJ001-0025.wav"
RATE = 8000
WITHOUT_RATE = [metrics.snr, metrics.esr]
WITH_RATE = [metrics.mel_cepstral_distance, metrics.stft_distance, metrics.pesq, metrics.stoi]
ALL = WITHOUT_RATE + WITH_RATE
PERFECT = {"snr": math.inf, "esr": 0, "mel_cepstral_distance": 0, "stft_distance": 0}
PERFECT |= {"pesq": 4.549, "stoi": 1}
HIGHER_IS_BETTER = {"snr", "pesq", "stoi"}

needs_speech = pytest.mark.skipif(not SPEECH.exists(), reason=f"{SPEECH} does not exist")


def evaluate(function, reference, estimate, sample_rate=RATE):
    """Call a metric; skip the test if the package of the extra is not installed."""
    name = {metrics.pesq: "pesq", metrics.stoi: "pystoi"}.get(function)
    if name and find_spec(name) is None:
        pytest.skip(f'{name} is not installed: pip install -e ".[eval]"')
    rate = () if function in WITHOUT_RATE else (sample_rate,)
    return function(reference, estimate, *rate)


def add_noise(waveform, decibels, seed=0):
    """Return a waveform with white noise at an SNR in dB."""
    noise = torch.randn(len(waveform), generator=torch.Generator().manual_seed(seed))
    return waveform + noise * (waveform.norm() / noise.norm()) * 10 ** (-decibels / 20)


def delay(waveform, seconds, sample_rate=RATE):
    samples = round(seconds * sample_rate)
    return torch.cat([torch.zeros(samples), waveform[:-samples]])


def assert_falls_with_noise(function, speech, sample_rate):
    values = [PERFECT[function.__name__]]
    for decibels in (40, 20, 10, 0):
        values.append(evaluate(function, speech, add_noise(speech, decibels), sample_rate))
    assert all(isinstance(value, float) for value in values[1:])
    order = sorted(values, reverse=function.__name__ in HIGHER_IS_BETTER)
    assert values == order
    assert len(set(values)) == 5
    return values


@pytest.mark.parametrize("function", ALL)
def test_an_equal_pair_has_the_best_value_and_one_changed_sample_changes_it(make_speech, function):
    speech = make_speech(RATE, 2.0)
    perfect = PERFECT[function.__name__]
    assert evaluate(function, speech, speech.clone()) == pytest.approx(perfect, abs=1e-3)
    if function in WITHOUT_RATE + WITH_RATE[:2]:
        other = speech.clone()
        other[9000] += 0.5
        assert evaluate(function, speech, other) != pytest.approx(perfect, abs=1e-3)


@pytest.mark.parametrize("sample_rate", [RATE, 22_050])
@pytest.mark.parametrize("function", ALL)
def test_every_metric_gets_worse_with_noise(make_speech, function, sample_rate):
    assert_falls_with_noise(function, make_speech(sample_rate, 2.0), sample_rate)


@needs_speech
@pytest.mark.parametrize("function", WITH_RATE)
def test_every_metric_gets_worse_with_noise_on_read_speech(function):
    assert_falls_with_noise(function, read(SPEECH, RATE).waveform[: 4 * RATE], RATE)


def test_snr_and_esr_of_hand_calculated_cases():
    reference = torch.tensor([3.0, -4.0, 0.0])
    # Errors 0, -1 and 2: energy 5 of 25.
    estimate = torch.tensor([3.0, -3.0, -2.0])
    assert metrics.esr(reference, estimate) == pytest.approx(0.2, rel=1e-12)
    assert metrics.snr(reference, estimate) == pytest.approx(10 * math.log10(5), rel=1e-12)
    # Reference and estimate are not symmetric: the estimate has an energy of 22.
    assert metrics.esr(estimate, reference) == pytest.approx(5 / 22, rel=1e-12)
    assert metrics.esr(reference, -reference) == 4
    assert metrics.snr(reference, -reference) == pytest.approx(-6.0206, abs=1e-4)
    assert metrics.esr(reference, 0 * reference) == 1
    assert str(metrics.snr(reference, 0 * reference)) == "0.0"


@pytest.mark.parametrize("decibels", [40, 0, -20])
def test_snr_is_the_level_of_the_added_noise(make_speech, decibels):
    speech = make_speech(RATE)
    found = metrics.snr(speech, add_noise(speech, decibels))
    assert found == pytest.approx(decibels, abs=1e-3)


def test_documented_invariances(make_speech):
    # The pause at the end ensures that a delay cuts off no speech.
    speech = torch.cat([make_speech(RATE, 2.0), torch.zeros(RATE // 2)])
    values = {
        name: {f.__name__: evaluate(f, speech, other) for f in ALL}
        for name, other in {
            "flip": -speech,
            "level": 0.25 * speech,
            "delay": delay(speech, 0.05),
            "same": speech,
        }.items()
    }
    same = values["same"]

    def invariant(change):
        return {f for f in same if values[change][f] == pytest.approx(same[f], rel=1e-3, abs=1e-3)}

    assert invariant("flip") == {"mel_cepstral_distance", "stft_distance", "pesq", "stoi"}
    assert invariant("level") == {"mel_cepstral_distance", "pesq", "stoi"}
    assert invariant("delay") == {"pesq"}


def test_narrow_band_metrics_ignore_high_frequencies(make_speech):
    sample_rate = 22_050
    speech = make_speech(sample_rate, 2.0)
    high = torch.randn(len(speech), generator=torch.Generator().manual_seed(0)).numpy()
    high = scipy.signal.sosfilt(
        scipy.signal.butter(12, 6000, "high", fs=sample_rate, output="sos"), high
    )
    other = speech + 0.05 * torch.from_numpy(high).float()
    for function in (metrics.pesq, metrics.stoi):
        perfect = PERFECT[function.__name__]
        assert evaluate(function, speech, other, sample_rate) == pytest.approx(perfect, abs=0.02)
    assert metrics.stft_distance(speech, other, sample_rate) > 0.5


def test_pesq_of_one_pair_is_the_same_at_every_rate(make_speech):
    """Resampling must change neither the alignment nor the order of the pair."""
    speech = make_speech(RATE, 2.0)
    pair = [speech, add_noise(speech, 15)]
    expected = evaluate(metrics.pesq, *pair)
    assert expected != pytest.approx(evaluate(metrics.pesq, *pair[::-1]), abs=0.05)
    for rate in (16_000, 44_100):
        resampled = [
            torch.from_numpy(soxr.resample(each.numpy(), RATE, rate, quality="HQ")) for each in pair
        ]
        assert evaluate(metrics.pesq, *resampled, rate) == pytest.approx(expected, abs=0.05)


def test_wide_band_pesq_depends_on_what_is_above_4_khz(make_speech):
    pytest.importorskip("pesq", reason='pip install -e ".[eval]"')
    words = make_speech(2 * RATE).numpy()
    speech = torch.from_numpy(soxr.resample(words, RATE, 2 * RATE, quality="HQ"))
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0)).numpy()
    band = scipy.signal.butter(8, (5500, 7500), "bandpass", fs=2 * RATE, output="sos")
    noisy = speech + 0.02 * torch.from_numpy(scipy.signal.sosfilt(band, noise).astype("f4"))
    assert metrics.pesq(speech, speech, 2 * RATE, wide_band=True) == pytest.approx(4.644, abs=0.01)
    assert metrics.pesq(speech, noisy, 2 * RATE, wide_band=True) < 3.5
    assert metrics.pesq(speech, noisy, 2 * RATE) > 4.4  # negative control: the narrow band


def test_pesq_rejects_a_clip_that_would_crash_the_process(make_speech):
    """pesq 0.0.4 writes beyond its 50 utterances: 24 s of this signal crash it."""
    for samples in (1999, 18 * RATE + 1):
        with pytest.raises(AudioError, match=r"0\.25 to 18 s of speech"):
            metrics.pesq(torch.ones(samples), torch.ones(samples), RATE)
    # Close to the largest number of utterances in 18 s.
    time = torch.arange(18 * RATE) / RATE
    words = torch.randn(18 * RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    words = words * (time % 0.39 < 0.18) + 1e-5
    assert 1 < evaluate(metrics.pesq, words, add_noise(words, 20)) < 4.5


def test_speech_metrics_reject_signals_without_speech(make_speech):
    speech = make_speech(RATE)
    with pytest.raises(AudioError, match="PESQ expects an estimate that is not silent"):
        evaluate(metrics.pesq, speech, torch.zeros(RATE))
    assert evaluate(metrics.stoi, speech, torch.zeros(RATE)) == 0
    # Only the pauses of the reference are left out.
    paused = torch.cat([speech[:4000], 0 * speech[4000:]])
    assert evaluate(metrics.stoi, paused, speech) > 0.9 > evaluate(metrics.stoi, speech, paused)
    for waveform in (speech[:3300], speech[:10], torch.eye(RATE)[4000]):
        with pytest.raises(AudioError, match=r"at least 0\.42 s of speech"):
            evaluate(metrics.stoi, waveform, waveform)


@pytest.mark.parametrize("error", ["NoUtterancesError", "BufferTooShortError", None])
def test_a_pair_that_pesq_cannot_score_is_an_audio_error(monkeypatch, make_speech, error):
    package = pytest.importorskip("pesq", reason='pip install -e ".[eval]"')

    def score(*_):
        if error:
            raise getattr(package, error)(b"No utterances detected")
        return math.nan

    monkeypatch.setattr(package, "pesq", score)
    with pytest.raises(AudioError, match="no speech" if error else "no finite number"):
        metrics.pesq(make_speech(RATE), make_speech(RATE), RATE)


@pytest.mark.parametrize(
    ("reference", "estimate", "words"),
    [
        (torch.ones(9), torch.ones(8), "as long as its reference, 9 samples, got 8"),
        (torch.ones(1, 9), torch.ones(1, 9), r"reference of shape \(T,\)"),
        (torch.ones(9), torch.tensor(1.0), r"estimate of shape \(T,\)"),
        (torch.ones(0), torch.ones(0), "at least one sample"),
        (torch.ones(9), torch.ones(9).int(), "float32 or float64, got torch.int32"),
        (torch.tensor([1.0, math.nan]), torch.ones(2), "reference has NaN or infinity at index 1"),
        (torch.ones(2), torch.tensor([math.inf, 1.0]), "estimate has NaN or infinity at index 0"),
        (torch.ones(2), torch.full((2,), 1e300, dtype=torch.float64), "estimate has NaN"),
        (torch.zeros(9), torch.ones(9), "reference that is not silent"),
    ],
)
def test_invalid_pairs_raise_one_sentence(reference, estimate, words):
    for function in ALL:
        with pytest.raises(AudioError, match=words) as caught:
            function(reference, estimate, *(() if function in WITHOUT_RATE else (RATE,)))
        assert str(caught.value).count(". ") == 0


def test_a_silent_estimate_and_sample_rates_out_of_range_raise(make_speech):
    with pytest.raises(AudioError, match="no spectral envelope"):
        metrics.mel_cepstral_distance(make_speech(RATE), torch.zeros(RATE), RATE)
    for function in WITH_RATE:
        for rate in (0, 3999, 192_001):
            with pytest.raises(AudioError, match="sample rate must be 4,000 to 192,000 Hz"):
                function(torch.ones(9), torch.ones(9), rate)


def cepstra_by_scipy(x, sample_rate):
    """Return one-sided mel cepstra of ln amplitude, c0 first, (MEL_CEPSTRAL_ORDER + 1, frames)."""
    config = FeatureConfig.default_for(sample_rate)
    # At the sample rates of this test the window has the length of the transform.
    assert config.n_fft == config.win_length
    x = np.pad(x.astype(np.float64) / np.abs(x).max(), config.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(x, config.n_fft)[:: config.hop_length]
    spectrum = np.fft.rfft(frames * scipy.signal.get_window("hann", config.n_fft))
    filters = librosa.filters.mel(sr=sample_rate, n_fft=config.n_fft, n_mels=config.n_mels)
    energy = np.maximum(filters @ (np.abs(spectrum) ** 2).T, 1e-10)
    energy = np.maximum(energy, energy.max() * 1e-8)
    # scipy's DCT has a factor of 2: (2 / M) sum ln A cos(...), a Fourier series over the filters.
    cepstra = scipy.fft.dct(0.5 * np.log(energy), axis=0) / config.n_mels
    return cepstra[: metrics.MEL_CEPSTRAL_ORDER + 1]


@pytest.mark.parametrize("sample_rate", [8000, 16_000])
def test_mel_cepstral_distance_agrees_with_scipy_and_the_textbook_constant(
    make_speech, sample_rate
):
    speech, other = make_speech(sample_rate), 0.3 * add_noise(make_speech(sample_rate), 15)
    pair = [cepstra_by_scipy(each.numpy(), sample_rate) for each in (speech, other)]
    euclidean = np.linalg.norm((pair[0] - pair[1])[1:], axis=0)
    expected = 10 * math.sqrt(2) / math.log(10) * euclidean.mean()
    found = metrics.mel_cepstral_distance(speech, other, sample_rate)
    assert found == pytest.approx(expected, rel=1e-4)
    with_level = np.linalg.norm(pair[0] - pair[1], axis=0).mean() * 6.1418
    assert found != pytest.approx(with_level, rel=1e-2)


def test_mel_cepstral_distance_of_a_filter_is_the_rms_of_its_decibels():
    """Noise through a filter of known response: the smoothed response without its mean, in dB."""
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    filtered = torch.from_numpy(scipy.signal.lfilter([1, -0.8], [1], noise.numpy())).float()
    config = FeatureConfig.default_for(RATE)
    centres = librosa.mel_frequencies(config.n_mels + 2, fmax=RATE / 2)[1:-1]
    _, response = scipy.signal.freqz([1, -0.8], worN=centres, fs=RATE)
    series = scipy.fft.dct(20 * np.log10(np.abs(response)), norm="ortho")
    expected = np.sqrt((series[1 : metrics.MEL_CEPSTRAL_ORDER + 1] ** 2).sum() / config.n_mels)
    found = metrics.mel_cepstral_distance(noise, filtered, RATE)
    assert expected > 5
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("gain", [1e-6, 0.1, 3.0])
def test_mel_cepstral_distance_does_not_depend_on_level(make_speech, gain):
    """The floor for digital silence at the end must depend on the gain, too."""
    speech = torch.cat([make_speech(RATE), torch.zeros(RATE // 4)])
    assert metrics.mel_cepstral_distance(speech, gain * speech, RATE) < 1e-3
    # Two different gains are not only a change of level.
    half = speech.clone()
    half[: RATE // 2] *= gain
    assert metrics.stft_distance(speech, half, RATE) > 0.1


def stft_distance_by_numpy(reference, estimate, sample_rate):
    """Compute the distance as published, frame by frame; the reference has a peak of 1."""
    total = 0.0
    for milliseconds in (10, 25, 50):
        size = milliseconds * sample_rate // 1000
        n_fft = 1 << (size - 1).bit_length()
        window = np.zeros(n_fft)
        start = (n_fft - size) // 2
        window[start : start + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        magnitudes = []
        for waveform in (reference, estimate):
            x = np.pad(waveform.double().numpy(), n_fft // 2)
            frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[:: size // 5]
            magnitudes.append(np.maximum(np.abs(np.fft.rfft(frames * window)), 1e-7**0.5))
        r, e = magnitudes
        total += np.sqrt(((r - e) ** 2).sum() / (r**2).sum()) + np.abs(np.log(r / e)).mean()
    return total / 3


@pytest.mark.parametrize("sample_rate", [8000, 24_000, 48_000])
def test_stft_distance_agrees_with_numpy(make_speech, sample_rate):
    speech = make_speech(sample_rate)
    speech /= speech.abs().max()
    other = add_noise(0.5 * speech, 20)
    found = metrics.stft_distance(speech, other, sample_rate)
    assert found == pytest.approx(stft_distance_by_numpy(speech, other, sample_rate), rel=1e-6)
    # A gain of -60 dB for both changes nothing; a gain for the estimate does.
    quiet = metrics.stft_distance(0.001 * speech, 0.001 * other, sample_rate)
    assert quiet == pytest.approx(found, rel=1e-5)
    assert metrics.stft_distance(speech, 0.001 * other, sample_rate) > 2 * found


def test_stft_distance_of_a_gain_of_one_half_is_one_half_plus_ln_2():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    found = metrics.stft_distance(noise, 0.5 * noise, RATE)
    assert found == pytest.approx(0.5 + math.log(2), abs=1e-3)


def tone(hertz, samples=RATE):
    """Return five harmonics of a pitch, as in a voice."""
    t = torch.arange(samples) / RATE
    return sum(torch.sin(2 * torch.pi * hertz * k * t) / k for k in range(1, 6)) * 0.1


def test_pitch_error_detects_wrong_pitch_and_voicing():
    voice = speech_f0(tone(150), RATE)
    assert voice.shape == (101,)
    assert voice[10:-10].tolist() == pytest.approx([150] * 81, rel=0.01)
    assert f0_frame_error(voice, voice) == 0
    # another level and spectral envelope
    assert (
        f0_frame_error(voice, speech_f0(0.3 * tone(150).diff(prepend=torch.zeros(1)), RATE)) < 0.05
    )
    assert f0_frame_error(voice, speech_f0(tone(165), RATE)) < 0.05  # off by 10 %
    assert f0_frame_error(voice, speech_f0(tone(300), RATE)) > 0.9
    whisper = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert f0_frame_error(voice, speech_f0(whisper, RATE)) > 0.8
    half = torch.cat([tone(150, RATE // 2), whisper[: RATE // 2]])
    assert f0_frame_error(voice, speech_f0(half, RATE)) == pytest.approx(0.45, abs=0.12)


def test_pitch_error_compares_frame_by_frame():
    reference = torch.tensor([0.0, 100.0, 100.0, 100.0, 0.0])
    estimate = torch.tensor([0.0, 119.0, 121.0, 0.0, 90.0])
    assert f0_frame_error(reference, estimate) == pytest.approx(3 / 5)
    with pytest.raises(AudioError, match=r"same number of frames.* 5 and 4"):
        f0_frame_error(reference, estimate[:4])


def test_silence_has_no_pitch_contour():
    with pytest.raises(AudioError, match="not silent"):
        speech_f0(torch.zeros(RATE), RATE)


@pytest.mark.parametrize("function", ALL)
def test_results_are_floats_and_inputs_unchanged(make_speech, function):
    speech = make_speech(RATE, 1.0)
    pair = speech.requires_grad_(), add_noise(speech, 10).detach().double()
    copies = [each.detach().clone() for each in pair]
    first = evaluate(function, *pair)
    assert type(first) is float
    assert first == evaluate(function, *pair)
    assert all(torch.equal(*each) for each in zip(pair, copies, strict=True))


@pytest.mark.parametrize(
    ("function", "package"), [(metrics.pesq, "pesq"), (metrics.stoi, "pystoi")]
)
@pytest.mark.parametrize("error", [ImportError, OSError, ValueError])
def test_a_missing_extra_is_one_sentence_with_its_install_command(
    monkeypatch, make_speech, function, package, error
):
    """A wheel built for another numpy raises ValueError; the other metrics need neither package."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("pesq", "pystoi"):
                raise error("not installed")

    for name in [name for name in sys.modules if name.split(".")[0] in ("pesq", "pystoi")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    speech = make_speech(RATE)
    with pytest.raises(AudioError, match=r"-m pip install 'pesq>=") as caught:
        function(speech, speech, RATE)
    assert package in str(caught.value)
    assert "\n" not in str(caught.value)
    assert metrics.stft_distance(speech, speech, RATE) == 0


def test_the_extra_is_imported_in_one_file():
    line = re.compile(r"^\s*(?:from|import) (pesq|pystoi)\b", flags=re.MULTILINE)
    found = {
        (path.name, name)
        for folder in ("audio_utils", "wavenet")
        for path in (ROOT / folder).rglob("*.py")
        for name in line.findall(path.read_text(encoding="utf-8"))
    }
    assert found == {("metrics.py", "pesq"), ("metrics.py", "pystoi")}
