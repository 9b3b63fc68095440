"""The shipped model of an orchestra: whole, as loud as it is told, as likely as its card says."""

import math
import re
from pathlib import Path

import pytest
import torch

from audio_utils import io
from wavenet import checkpoint
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints" / "strings"
RECORDING = ROOT.parent / "shared" / "data" / "clips" / "hungarian_dance.ogg"
RATE = 8000


@pytest.fixture(scope="module")
def strings():
    return checkpoint.load(FOLDER)


def level(waveform: torch.Tensor) -> float:
    """Measure in dB re full scale."""
    return 10 * math.log10(float(waveform.square().mean()))


def test_it_is_small_and_its_card_tells_how_little_it_heard():
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    card = (FOLDER / "README.md").read_text()
    for words in ("license: cc0-1.0", "public domain", "36 seconds", "## Limits"):
        assert words in card


def chord(seconds: float) -> torch.Tensor:
    """Make a chord of three bowed strings, so to speak: (T,) float32."""
    t = torch.arange(round(seconds * RATE)) / RATE
    tones = [
        torch.sin(2 * math.pi * n * hertz * t) / n**1.5
        for hertz in (196.0, 293.7, 392.0)
        for n in range(1, 8)
    ]
    return 0.05 * torch.stack(tones).sum(0)


def test_music_is_less_surprising_than_noise_as_loud(strings):
    heard = chord(1.5)
    noise = heard.std() * torch.randn(len(heard), generator=torch.Generator().manual_seed(2))
    chord_bits, noise_bits = (score(strings, x).bits_per_sample for x in (heard, noise))
    assert chord_bits < noise_bits - 1


def test_it_plays_as_loud_as_it_is_told(strings):
    """Left to itself, it would fade: the level of the last half second is what tells."""
    items = [GenerationRequest(3 * RATE // 2, {"loudness": -20.0}, seed) for seed in range(3)]
    items += [GenerationRequest(3 * RATE // 2, {"loudness": -20.0}, seed=0, prompt=chord(1.1))]
    items += [GenerationRequest(3 * RATE // 2, {"loudness": -32.0}, seed=0)]
    *ends, soft = (level(clip[RATE:]) for clip in generate_waveforms(strings, items))
    assert ends == pytest.approx([-20.0] * 4, abs=4)
    assert soft < -28


def test_the_bar_that_was_kept_from_it_costs_what_the_card_says(strings):
    if not RECORDING.is_file():
        pytest.skip("the recording of the Hungarian dance is not on this machine")
    waveform = io.read(RECORDING, RATE).waveform[15 * RATE : 18 * RATE]
    card = (FOLDER / "README.md").read_text()
    found = re.search(r"\| kept apart, 15 to 18 s \| \*\*([\d.]+)\*\*", card)
    assert found
    bits = score(strings, waveform).bits_per_sample
    assert bits == pytest.approx(float(found[1]), abs=0.02)
