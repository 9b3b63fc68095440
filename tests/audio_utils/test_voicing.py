"""The pitch error: 0 for the same voice, 1 for a whisper or another octave, blind to envelopes."""

import pytest
import torch

from audio_utils.errors import AudioError
from audio_utils.voicing import pitch_error, track

RATE = 8000


def tone(hertz, samples=RATE):
    """Make harmonics of a pitch, as a voice has them."""
    t = torch.arange(samples) / RATE
    return sum(torch.sin(2 * torch.pi * hertz * k * t) / k for k in range(1, 6)) * 0.1


def test_pitch_errors_are_counted_frame_by_frame():
    voice = track(tone(150), RATE)
    assert voice.shape == (101,)
    assert voice[10:-10].tolist() == pytest.approx([150] * 81, rel=0.01)
    assert pitch_error(voice, voice) == 0
    # louder, and under another envelope
    assert pitch_error(voice, track(0.3 * tone(150).diff(prepend=torch.zeros(1)), RATE)) < 0.05
    assert pitch_error(voice, track(tone(165), RATE)) < 0.05  # off by 10 %
    assert pitch_error(voice, track(tone(300), RATE)) > 0.9
    whisper = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert pitch_error(voice, track(whisper, RATE)) > 0.8
    half = torch.cat([tone(150, RATE // 2), whisper[: RATE // 2]])
    assert pitch_error(voice, track(half, RATE)) == pytest.approx(0.45, abs=0.12)


def test_frames_are_compared_one_by_one():
    reference = torch.tensor([0.0, 100.0, 100.0, 100.0, 0.0])
    estimate = torch.tensor([0.0, 119.0, 121.0, 0.0, 90.0])
    assert pitch_error(reference, estimate) == pytest.approx(3 / 5)
    with pytest.raises(AudioError, match="as many frames in both, got 5 and 4"):
        pitch_error(reference, estimate[:4])


def test_silence_has_no_voice_to_compare():
    with pytest.raises(AudioError, match="not silent"):
        track(torch.zeros(RATE), RATE)
