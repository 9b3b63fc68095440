"""The shipped checkpoint: it is whole, speaks, and scores as its card says."""

import re
from pathlib import Path

import pytest
import torch

from audio_utils import io
from wavenet import checkpoint
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score
from wavenet.manifest import find_entries

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints" / "digits"
RECORDINGS = ROOT.parent / "shared" / "data" / "fsdd" / "recordings"
SEVEN = {"digit": "7", "speaker": "theo"}
JACKSON = {"digit": "7", "speaker": "jackson"}


@pytest.fixture(scope="module")
def digits():
    return checkpoint.load(FOLDER)


def card_bits() -> float:
    found = re.beam_search(
        r"\*\*bits per sample\*\* \| \*\*([\d.]+)\*\*", (FOLDER / "README.md").read_text()
    )
    assert found
    return float(found[1])


def test_it_is_small_and_its_card_names_licence_and_data():
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    card = (FOLDER / "README.md").read_text()
    assert "license: cc-by-sa-4.0" in card
    assert "Free Spoken Digit Dataset" in card
    assert card_bits() <= 3.95


def test_it_says_a_word_that_fades(digits):
    """Louder somewhere than at its end, unlike steady noise, a tone or silence."""
    clips = generate_waveforms(
        digits, [GenerationRequest(3400, JACKSON, seed) for seed in range(4)]
    )
    for clip in clips:
        parts = clip.unflatten(0, (10, 340)).square().mean(1).sqrt()
        assert float(parts.max()) > 0.03
        assert float(parts.max()) > 3 * float(parts[-1])


def test_the_label_matters_more_than_chance(digits):
    """A clip made for one label is less surprising under it than under the others."""
    clips = {
        d: generate_waveforms(digits, [GenerationRequest(3400, {**JACKSON, "digit": d}, 1)])[0]
        for d in "0368"
    }
    for digit, clip in clips.items():
        bits = {d: score(digits, clip, {**JACKSON, "digit": d}).bits_per_sample for d in clips}
        assert min(bits, key=bits.__getitem__) == digit


@pytest.mark.parametrize("engine", ["cached", "cpu"])
def test_every_engine_draws_the_same_clip(digits, engine):
    item = GenerationRequest(200, SEVEN, seed=0)
    expected = generate_waveforms(digits, [item], engine="reference")[0]
    assert torch.equal(generate_waveforms(digits, [item], engine=engine)[0], expected)


def needs_recordings() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("the recordings of the Free Spoken Digit Dataset are not on this machine")


def test_a_real_clip_costs_about_what_the_card_says(digits):
    """Forty-three of the 300 test clips; the whole split is the slow test below."""
    needs_recordings()
    bits = split_bits(digits, "{digit}_{speaker}_{index}", every=7)
    assert abs(bits - card_bits()) < 0.2


@pytest.mark.slow
def test_the_whole_test_split_costs_what_the_card_says(digits):
    needs_recordings()
    assert split_bits(digits, "{digit}_{speaker}_{index}", every=1) == pytest.approx(
        card_bits(), abs=0.001
    )


def split_bits(digits: checkpoint.Checkpoint, pattern: str, every: int) -> float:
    entries = [e for e in find_entries(RECORDINGS, pattern) if int(e.fields["index"]) < 5]
    assert len(entries) == 300
    bits, samples = 0.0, 0
    for entry in entries[::every]:
        labels = {name: entry.fields[name] for name in SEVEN}
        result = score(digits, io.read(entry.path, 8000).waveform, labels)
        bits += result.bits_per_sample * result.samples
        samples += result.samples
    return bits / samples
