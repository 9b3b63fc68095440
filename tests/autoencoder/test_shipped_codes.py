"""The shipped autoencoder and the shipped prior, on a clip that the checkpoint digits generated."""

from pathlib import Path

import pytest
import torch

from audio_utils import io
from wavenet import checkpoint
from wavenet.autoencoder.autoencoder_folder import load_autoencoder
from wavenet.autoencoder.code_sound import decode_frames, encode_recording, generate_sounds
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score
from wavenet.model.frame_features import compute_condition_frames
from wavenet.model.frame_scales import MEL_SPAN

FOLDER = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module")
def autoencoder():
    return load_autoencoder(FOLDER / "codes" / "vector")


@pytest.fixture(scope="module")
def prior():
    return checkpoint.load(FOLDER / "codes" / "wavenet")


@pytest.fixture(scope="module")
def waveform():
    """Return a seven by jackson."""
    return io.read(FOLDER / "compare" / "sample.wav", 8000).waveform


def test_the_codes_keep_the_frames(autoencoder, waveform):
    config = autoencoder.config
    frames = compute_condition_frames(config.mel, waveform, config.sample_rate, config.hop)
    codes = encode_recording(autoencoder.model, waveform)

    def error(codes):
        difference = decode_frames(autoencoder.model, codes) - frames
        return difference.square().mean().sqrt().item() * MEL_SPAN

    assert error(codes) < 4
    # control: codes in another order
    assert error(codes.flip(0)) > 8


def test_the_prior_prefers_the_digit_and_the_speaker_of_the_codes(autoencoder, prior, waveform):
    codes = prior.codec.decode(encode_recording(autoencoder.model, waveform))
    bits = {
        labels: score(prior, codes, dict(zip(("digit", "speaker"), labels, strict=True)))
        for labels in (("7", "jackson"), ("3", "jackson"), ("7", "theo"))
    }
    own = bits.pop(("7", "jackson")).bits_per_sample
    assert own < 7  # codes have 8 bits
    assert all(own < other.bits_per_sample - 0.5 for other in bits.values())


def test_generated_codes_become_sound(autoencoder, prior):
    request = GenerationRequest(40, {"digit": "7", "speaker": "theo"}, seed=1)
    (codes,) = generate_waveforms(prior, [request])
    frames = decode_frames(autoencoder.model, prior.codec.encode(codes))
    vocoder = checkpoint.load(FOLDER / "vocoder")
    (sound,) = generate_sounds([frames], autoencoder.config, vocoder)
    assert sound.shape == (19 * 160 + 80,)
    assert 0.01 < sound.abs().max() <= 1 and bool(torch.isfinite(sound).all())
