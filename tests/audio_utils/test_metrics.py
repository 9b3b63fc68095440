"""Measures against closed forms, known invariances and what each documents to be blind to."""

import math
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import scipy.signal
import soxr
import torch

from audio_utils import metrics
from audio_utils.errors import AudioError
from audio_utils.io import read

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT.parent / "shared/data/ljspeech/wavs/LJ001-0025.wav"
RATE = 8000
WITHOUT_RATE = [metrics.snr, metrics.esr]
WITH_RATE = [metrics.mel_cepstral_distance, metrics.stft_distance, metrics.pesq, metrics.stoi]
ALL = WITHOUT_RATE + WITH_RATE
PERFECT = {"snr": math.inf, "esr": 0, "mel_cepstral_distance": 0, "stft_distance": 0}
PERFECT |= {"pesq": 4.549, "stoi": 1}
HIGHER_IS_BETTER = {"snr", "pesq", "stoi"}

needs_speech = pytest.mark.skipif(not SPEECH.exists(), reason=f"{SPEECH} is not there")


def measure(function, reference, estimate, sample_rate=RATE):
    """Call any of them; those of the extra skip where it is not installed."""
    name = {metrics.pesq: "pesq", metrics.stoi: "pystoi"}.get(function)
    if name and find_spec(name) is None:
        pytest.skip(f'{name} is not installed: pip install "wavenet-studio[eval]"')
    rate = () if function in WITHOUT_RATE else (sample_rate,)
    return function(reference, estimate, *rate)


def add_noise(waveform, decibels, seed=0):
    noise = torch.randn(len(waveform), generator=torch.Generator().manual_seed(seed))
    return waveform + noise * (waveform.norm() / noise.norm()) * 10 ** (-decibels / 20)


def delay(waveform, seconds, sample_rate=RATE):
    samples = round(seconds * sample_rate)
    return torch.cat([torch.zeros(samples), waveform[:-samples]])


def assert_falls_with_noise(function, speech, sample_rate):
    values = [PERFECT[function.__name__]]
    for decibels in (40, 20, 10, 0):
        values.append(measure(function, speech, add_noise(speech, decibels), sample_rate))
    assert all(isinstance(value, float) for value in values[1:])
    order = sorted(values, reverse=function.__name__ in HIGHER_IS_BETTER)
    assert values == order
    assert len(set(values)) == 5
    return values


@pytest.mark.parametrize("function", ALL)
def test_an_equal_pair_is_perfect_and_a_copy_with_one_changed_sample_is_not(voice, function):
    speech = voice(RATE, 2.0)
    perfect = PERFECT[function.__name__]
    assert measure(function, speech, speech.clone()) == pytest.approx(perfect, abs=1e-3)
    if function in WITHOUT_RATE + WITH_RATE[:2]:
        other = speech.clone()
        other[9000] += 0.5
        assert measure(function, speech, other) != pytest.approx(perfect, abs=1e-3)


@pytest.mark.parametrize("sample_rate", [RATE, 22_050])
@pytest.mark.parametrize("function", ALL)
def test_every_measure_gets_worse_with_noise(voice, function, sample_rate):
    assert_falls_with_noise(function, voice(sample_rate, 2.0), sample_rate)


@needs_speech
@pytest.mark.parametrize("function", WITH_RATE)
def test_every_measure_gets_worse_with_noise_on_a_reading_voice(function):
    assert_falls_with_noise(function, read(SPEECH, RATE).waveform[: 4 * RATE], RATE)


def test_snr_and_esr_of_small_cases_by_hand():
    reference = torch.tensor([3.0, -4.0, 0.0])
    # Errors 0, -1 and 2: energy 5 of 25.
    estimate = torch.tensor([3.0, -3.0, -2.0])
    assert metrics.esr(reference, estimate) == pytest.approx(0.2, rel=1e-12)
    assert metrics.snr(reference, estimate) == pytest.approx(10 * math.log10(5), rel=1e-12)
    # The roles are not alike: the estimate has an energy of 22.
    assert metrics.esr(estimate, reference) == pytest.approx(5 / 22, rel=1e-12)
    assert metrics.esr(reference, -reference) == 4
    assert metrics.snr(reference, -reference) == pytest.approx(-6.0206, abs=1e-4)
    assert metrics.esr(reference, 0 * reference) == 1
    assert str(metrics.snr(reference, 0 * reference)) == "0.0"


@pytest.mark.parametrize("decibels", [40, 0, -20])
def test_snr_is_the_level_of_the_noise_that_was_added(voice, decibels):
    speech = voice(RATE)
    found = metrics.snr(speech, add_noise(speech, decibels))
    assert found == pytest.approx(decibels, abs=1e-3)


def test_what_each_is_blind_to(voice):
    # The pause at the end keeps a delay from cutting speech off.
    speech = torch.cat([voice(RATE, 2.0), torch.zeros(RATE // 2)])
    values = {
        name: {f.__name__: measure(f, speech, other) for f in ALL}
        for name, other in {
            "flip": -speech,
            "level": 0.25 * speech,
            "delay": delay(speech, 0.05),
            "same": speech,
        }.items()
    }
    same = values["same"]

    def blind(change):
        return {f for f in same if values[change][f] == pytest.approx(same[f], rel=1e-3, abs=1e-3)}

    assert blind("flip") == {"mel_cepstral_distance", "stft_distance", "pesq", "stoi"}
    assert blind("level") == {"mel_cepstral_distance", "pesq", "stoi"}
    assert blind("delay") == {"pesq"}


def test_narrow_band_measures_do_not_hear_what_lies_above(voice):
    sample_rate = 22_050
    speech = voice(sample_rate, 2.0)
    high = torch.randn(len(speech), generator=torch.Generator().manual_seed(0)).numpy()
    high = scipy.signal.sosfilt(
        scipy.signal.butter(12, 6000, "high", fs=sample_rate, output="sos"), high
    )
    other = speech + 0.05 * torch.from_numpy(high).float()
    for function in (metrics.pesq, metrics.stoi):
        perfect = PERFECT[function.__name__]
        assert measure(function, speech, other, sample_rate) == pytest.approx(perfect, abs=0.02)
    assert metrics.stft_distance(speech, other, sample_rate) > 0.5


def test_pesq_of_one_pair_is_the_same_at_every_rate(voice):
    """Resampling both must change neither their alignment nor their order."""
    speech = voice(RATE, 2.0)
    pair = [speech, add_noise(speech, 15)]
    expected = measure(metrics.pesq, *pair)
    assert expected != pytest.approx(measure(metrics.pesq, *pair[::-1]), abs=0.05)
    for rate in (16_000, 44_100):
        raised = [
            torch.from_numpy(soxr.resample(each.numpy(), RATE, rate, quality="HQ")) for each in pair
        ]
        assert measure(metrics.pesq, *raised, rate) == pytest.approx(expected, abs=0.05)


def test_pesq_refuses_a_clip_that_would_end_the_process(voice):
    """pesq 0.0.4 writes past its 50 utterances: 24 s of this sound end in a fault."""
    for samples in (1999, 18 * RATE + 1):
        with pytest.raises(AudioError, match=r"0\.25 to 18 s of speech"):
            metrics.pesq(torch.ones(samples), torch.ones(samples), RATE)
    # Close to the most that 18 s can hold.
    time = torch.arange(18 * RATE) / RATE
    words = torch.randn(18 * RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    words = words * (time % 0.39 < 0.18) + 1e-5
    assert 1 < measure(metrics.pesq, words, add_noise(words, 20)) < 4.5


def test_measures_of_speech_refuse_what_is_not(voice):
    speech = voice(RATE)
    with pytest.raises(AudioError, match="PESQ expects an estimate that is not silent"):
        measure(metrics.pesq, speech, torch.zeros(RATE))
    assert measure(metrics.stoi, speech, torch.zeros(RATE)) == 0
    # The pauses that are left out are those of the reference alone.
    paused = torch.cat([speech[:4000], 0 * speech[4000:]])
    assert measure(metrics.stoi, paused, speech) > 0.9 > measure(metrics.stoi, speech, paused)
    for waveform in (speech[:3300], speech[:10], torch.eye(RATE)[4000]):
        with pytest.raises(AudioError, match=r"at least 0\.42 s of speech"):
            measure(metrics.stoi, waveform, waveform)


@pytest.mark.parametrize("check", ["NoUtterancesError", "BufferTooShortError", None])
def test_a_pair_that_pesq_cannot_score_is_one_sentence(monkeypatch, voice, fault):
    package = pytest.importorskip("pesq", reason='pip install "wavenet-studio[eval]"')

    def score(*_):
        if fault:
            raise getattr(package, fault)(b"No utterances detected")
        return math.nan

    monkeypatch.setattr(package, "pesq", score)
    with pytest.raises(AudioError, match="found no speech" if fault else "gave no number"):
        metrics.pesq(voice(RATE), voice(RATE), RATE)


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
def test_unusable_pairs_are_one_sentence(reference, estimate, words):
    for function in ALL:
        with pytest.raises(AudioError, match=words) as caught:
            function(reference, estimate, *(() if function in WITHOUT_RATE else (RATE,)))
        assert str(caught.value).count(". ") == 0


def test_silence_has_no_envelope_and_rates_have_bounds(voice):
    with pytest.raises(AudioError, match="no spectral envelope"):
        metrics.mel_cepstral_distance(voice(RATE), torch.zeros(RATE), RATE)
    for function in WITH_RATE:
        for rate in (0, 3999, 192_001):
            with pytest.raises(AudioError, match="sample rate must be 4,000 to 192,000 Hz"):
                function(torch.ones(9), torch.ones(9), rate)


@pytest.mark.parametrize("function", ALL)
def test_results_are_plain_and_inputs_untouched(voice, function):
    speech = voice(RATE, 1.0)
    pair = speech.requires_grad_(), add_noise(speech, 10).detach().double()
    copies = [each.detach().clone() for each in pair]
    first = measure(function, *pair)
    assert type(first) is float
    assert first == measure(function, *pair)
    assert all(torch.equal(*each) for each in zip(pair, copies, strict=True))


@pytest.mark.parametrize(
    ("function", "package"), [(metrics.pesq, "pesq"), (metrics.stoi, "pystoi")]
)
@pytest.mark.parametrize("check", [ImportError, OSError, ValueError])
def test_a_missing_extra_is_one_sentence_with_its_install_line(
    monkeypatch, voice, function, package, fault
):
    """A wheel built for another numpy raises ValueError; the core measures work without both."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("pesq", "pystoi"):
                raise fault("not here")

    for name in [name for name in sys.modules if name.split(".")[0] in ("pesq", "pystoi")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    speech = voice(RATE)
    with pytest.raises(AudioError, match=r'pip install "wavenet-studio\[eval\]"') as caught:
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
