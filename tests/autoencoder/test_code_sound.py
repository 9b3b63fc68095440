"""Recordings to codes and codes to sound, with a small vocoder."""

import pytest
import torch

from tests.autoencoder.conftest import BANDS, HOP
from tests.conftest import sine, tiny_config
from wavenet.autoencoder.code_sound import (
    check_vocoder,
    decode_frames,
    encode_recording,
    generate_sounds,
)
from wavenet.autoencoder.mel_autoencoder import MelAutoencoder
from wavenet.errors import ConditionError, DataError
from wavenet.model.conditions import MelCondition


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return MelAutoencoder(config).requires_grad_(False).eval()


def test_a_recording_becomes_codes_and_sound(model, vocoder):
    waveform = sine(0.1)  # 800 samples, 11 frames
    codes = encode_recording(model, waveform)
    assert codes.shape == (22,)
    frames = decode_frames(model, codes)
    assert frames.shape == (11, BANDS)
    sounds = generate_sounds([frames, frames], model.config, vocoder)
    assert [len(sound) for sound in sounds] == [10 * HOP + HOP // 2] * 2
    assert not torch.equal(*sounds)  # of different seeds


def test_codes_that_do_not_fit_are_refused(model):
    with pytest.raises(DataError, match="multiple of 2"):
        decode_frames(model, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="multiple of 2"):
        decode_frames(model, torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DataError, match="found the code 16"):
        decode_frames(model, torch.tensor([3, 16]))


def test_a_vocoder_with_other_frames_is_refused(config, make_checkpoint, vocoder):
    check_vocoder(config, vocoder)
    with pytest.raises(ConditionError, match="hop 80, the autoencoder small with 40"):
        check_vocoder(config.model_copy(update={"hop": 40}), vocoder)
    other = MelCondition(n_mels=BANDS + 1, win_length=160)
    with pytest.raises(ConditionError, match="n_mels"):
        check_vocoder(config.model_copy(update={"mel": other}), vocoder)
    labels = make_checkpoint(tiny_config(), name="labels")
    with pytest.raises(ConditionError, match="is not a vocoder"):
        check_vocoder(config, labels)
