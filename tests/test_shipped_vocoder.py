"""The shipped vocoder: it is whole, and says clips again better than Griffin-Lim does."""

import re
from pathlib import Path

import pytest

from wavenet import checkpoint
from wavenet.evaluation.vocoder import ReferenceRecording, evaluate_vocoder, summarise_metrics
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.sampling import SamplingConfig

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints" / "vocoder"


@pytest.fixture(scope="module")
def vocoder():
    return checkpoint.load(FOLDER)


def test_it_is_small_and_its_card_names_licence_data_and_limits():
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    card = (FOLDER / "README.md").read_text()
    for words in (
        "license: cc-by-sa-4.0",
        "Free Spoken Digit Dataset",
        "LJ Speech",
        "## Limits",
        "griffin-lim",
    ):
        assert words in card
    row = r"\| (\w+) \| (wavenet|griffin-lim) \| \d+ \| ([\d.]+) \| [\d.]+ \| ([\d.]+) \|"
    figures = {(g, name): (float(a), float(b)) for g, name, a, b in re.findall(row, card)}
    for group in ("digits", "ljspeech", "librispeech"):
        ours, baseline = (figures[group, name] for name in ("wavenet", "griffin-lim"))
        assert ours[0] > baseline[0]  # PESQ
        assert ours[1] < baseline[1]  # mel-cepstral distance


def test_it_says_a_voice_again_with_its_pitch_and_envelope(vocoder):
    """Digits by the other shipped model, which are not on the recordings that it learnt from."""
    digits = checkpoint.load(ROOT / "checkpoints" / "digits")
    words = [("7", "theo"), ("1", "jackson"), ("9", "george"), ("0", "nicolas")]
    items = [GenerationRequest(3600, {"digit": d, "speaker": s}, seed=3) for d, s in words]
    clips = generate_waveforms(digits, items)
    group = [ReferenceRecording("made", f"{n}", clip) for n, clip in enumerate(clips)]
    rows = {
        row["method"]: row
        for row in summarise_metrics(list(evaluate_vocoder(vocoder, group, SamplingConfig())))
    }
    ours, noise, baseline = (rows[name] for name in ("wavenet", "noise", "griffin-lim"))
    assert ours["mel_cepstral"] < baseline["mel_cepstral"]
    assert ours["pitch"] < 0.75 * min(noise["pitch"], baseline["pitch"])
    assert rows["matched"]["mel_cepstral"] < 0.9 * min(ours["mel_cepstral"], noise["mel_cepstral"])
