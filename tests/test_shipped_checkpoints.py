"""The shipped checkpoints: complete, usable, and with the figures on their cards."""

import math
import re
from pathlib import Path

import pytest
import torch

from audio_utils import io
from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.engines.registry import make_engine
from wavenet.evaluation.vocoder import ReferenceRecording, evaluate_vocoder, summarise_metrics
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score
from wavenet.recordings.audio_metadata import find_audio_files
from wavenet.sampling import SamplingConfig

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints"
DATA = ROOT.parent / "shared" / "data"
RECORDINGS = DATA / "fsdd" / "recordings"
HUNGARIAN_DANCE = DATA / "clips" / "hungarian_dance.ogg"
RATE = 8000
SEVEN = {"digit": "7", "speaker": "theo"}
JACKSON = {"digit": "7", "speaker": "jackson"}


@pytest.fixture(scope="module")
def digits():
    return checkpoint.load(FOLDER / "digits")


@pytest.fixture(scope="module")
def strings():
    return checkpoint.load(FOLDER / "strings")


@pytest.fixture(scope="module")
def vocoder():
    return checkpoint.load(FOLDER / "vocoder")


def read_card(name: str) -> str:
    return (FOLDER / name / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits", ("license: cc-by-sa-4.0", "Free Spoken Digit Dataset")),
        ("strings", ("license: cc0-1.0", "public domain", "36 seconds", "## Limits")),
        (
            "vocoder",
            (
                "license: cc-by-sa-4.0",
                "Free Spoken Digit Dataset",
                "LJ Speech",
                "## Limits",
                "griffin-lim",
            ),
        ),
    ],
)
def test_weights_are_small_and_the_card_names_licence_data_and_limits(name, words):
    assert (FOLDER / name / "model.safetensors").stat().st_size <= 8_000_000
    card = read_card(name)
    for word in words:
        assert word in card


def digits_card_bits() -> float:
    found = re.search(r"\*\*bits per sample\*\* \| \*\*([\d.]+)\*\*", read_card("digits"))
    assert found
    return float(found[1])


def test_the_card_of_digits_states_few_bits_per_sample():
    assert digits_card_bits() <= 3.95


def test_digits_generates_a_word_that_fades(digits):
    """It is louder before its end than at its end, unlike steady noise, a tone or silence."""
    requests = [GenerationRequest(3400, JACKSON, seed) for seed in range(4)]
    for clip in generate_waveforms(digits, requests):
        levels = clip.unflatten(0, (10, 340)).square().mean(1).sqrt()
        assert float(levels.max()) > 0.03
        assert float(levels.max()) > 3 * float(levels[-1])


def test_a_clip_is_least_surprising_under_its_own_label(digits):
    clips = {
        d: generate_waveforms(digits, [GenerationRequest(3400, {**JACKSON, "digit": d}, 1)])[0]
        for d in "0368"
    }
    for digit, clip in clips.items():
        bits = {d: score(digits, clip, {**JACKSON, "digit": d}).bits_per_sample for d in clips}
        assert min(bits, key=bits.__getitem__) == digit


@pytest.mark.parametrize("engine", ["cached", "cpu"])
def test_every_engine_draws_the_same_clip(digits, engine):
    request = GenerationRequest(200, SEVEN, seed=0)
    expected = generate_waveforms(digits, [request], engine="reference")[0]
    found = generate_waveforms(digits, [request], engine=make_engine(engine, digits.model))[0]
    assert torch.equal(found, expected)


def score_test_split(digits: Checkpoint, every: int) -> float:
    """Return bits per sample of every n-th of the 300 test clips; skip without the recordings."""
    if not RECORDINGS.is_dir():
        pytest.skip("the recordings of the Free Spoken Digit Dataset are not on this machine")
    found = find_audio_files(RECORDINGS, "{digit}_{speaker}_{index}")
    entries = [entry for entry in found if int(entry.fields["index"]) < 5]
    assert len(entries) == 300
    bits, samples = 0.0, 0
    for entry in entries[::every]:
        labels = {name: entry.fields[name] for name in SEVEN}
        result = score(digits, io.read(entry.path, RATE).waveform, labels)
        bits += result.bits_per_sample * result.samples
        samples += result.samples
    return bits / samples


def test_real_digits_have_about_the_bits_on_the_card(digits):
    """Forty-three of the 300 test clips; the slow test below scores all."""
    assert abs(score_test_split(digits, every=7) - digits_card_bits()) < 0.2


@pytest.mark.slow
def test_the_whole_test_split_has_the_bits_on_the_card(digits):
    assert score_test_split(digits, every=1) == pytest.approx(digits_card_bits(), abs=0.001)


def level_db(waveform: torch.Tensor) -> float:
    """Measure the level in dB re full scale."""
    return 10 * math.log10(float(waveform.square().mean()))


def chord(seconds: float) -> torch.Tensor:
    """Compute a chord of three tones with harmonics, similar to bowed strings: (T,) float32."""
    t = torch.arange(round(seconds * RATE)) / RATE
    tones = [
        torch.sin(2 * math.pi * n * hertz * t) / n**1.5
        for hertz in (196.0, 293.7, 392.0)
        for n in range(1, 8)
    ]
    return 0.05 * torch.stack(tones).sum(0)


def test_a_chord_is_less_surprising_than_noise_of_the_same_level(strings):
    music = chord(1.5)
    noise = music.std() * torch.randn(len(music), generator=torch.Generator().manual_seed(2))
    chord_bits, noise_bits = (score(strings, x).bits_per_sample for x in (music, noise))
    assert chord_bits < noise_bits - 1


def test_music_has_the_loudness_that_was_requested(strings):
    """The last half second is measured, because a clip without the condition would fade."""
    loud, soft = {"loudness": -20.0}, {"loudness": -32.0}
    requests = [GenerationRequest(3 * RATE // 2, loud, seed) for seed in range(3)]
    requests += [GenerationRequest(3 * RATE // 2, loud, seed=0, prompt=chord(1.1))]
    requests += [GenerationRequest(3 * RATE // 2, soft, seed=0)]
    clips = generate_waveforms(strings, requests)
    *loud_ends, soft_end = (level_db(clip[RATE:]) for clip in clips)
    assert loud_ends == pytest.approx([-20.0] * 4, abs=4)
    assert soft_end < -28


def test_the_held_out_bar_has_the_bits_on_the_card(strings):
    if not HUNGARIAN_DANCE.is_file():
        pytest.skip("the recording of the Hungarian dance is not on this machine")
    waveform = io.read(HUNGARIAN_DANCE, RATE).waveform[15 * RATE : 18 * RATE]
    row = r"\| held-out piece, 15 to 18 s \| \*\*([\d.]+)\*\*"
    found = re.search(row, read_card("strings"))
    assert found
    bits = score(strings, waveform).bits_per_sample
    assert bits == pytest.approx(float(found[1]), abs=0.02)


def test_the_card_of_the_vocoder_states_better_figures_than_griffin_lim():
    row = r"\| (\w+) \| (wavenet|griffin-lim) \| \d+ \| ([\d.]+) \| [\d.]+ \| ([\d.]+) \|"
    figures = {
        (group, name): (float(pesq), float(distance))
        for group, name, pesq, distance in re.findall(row, read_card("vocoder"))
    }
    for group in ("digits", "ljspeech", "librispeech"):
        ours, baseline = (figures[group, name] for name in ("wavenet", "griffin-lim"))
        assert ours[0] > baseline[0]  # PESQ
        assert ours[1] < baseline[1]  # mel-cepstral distance


def test_the_vocoder_keeps_the_pitch_and_the_envelope_of_a_voice(vocoder, digits):
    """The voices are generated by another checkpoint, so they are not training recordings."""
    words = [("7", "theo"), ("1", "jackson"), ("9", "george"), ("0", "nicolas")]
    requests = [GenerationRequest(3600, {"digit": d, "speaker": s}, seed=3) for d, s in words]
    clips = generate_waveforms(digits, requests)
    group = [ReferenceRecording("made", f"{n}", clip) for n, clip in enumerate(clips)]
    rows = {
        row["method"]: row
        for row in summarise_metrics(list(evaluate_vocoder(vocoder, group, SamplingConfig())))
    }
    ours, noise, baseline = (rows[name] for name in ("wavenet", "noise", "griffin-lim"))
    assert ours["mel_cepstral"] < baseline["mel_cepstral"]
    assert ours["pitch"] < 0.75 * min(noise["pitch"], baseline["pitch"])
    assert rows["matched"]["mel_cepstral"] < 0.9 * min(ours["mel_cepstral"], noise["mel_cepstral"])


def test_the_clip_of_digits_is_a_seven_of_jackson(digits):
    """The tab Compare predicts it; other labels make it more surprising."""
    waveform = io.read(FOLDER / "compare" / "sample.wav", RATE).waveform
    assert waveform.numel() == 3360
    bits = {
        (digit, speaker): score(digits, waveform, {"digit": digit, "speaker": speaker})
        for digit, speaker in (("7", "jackson"), ("3", "jackson"), ("7", "theo"))
    }
    own = bits.pop(("7", "jackson")).bits_per_sample
    assert all(own < other.bits_per_sample - 0.1 for other in bits.values())
