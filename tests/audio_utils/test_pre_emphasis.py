"""Pre-emphasis: the filter of torchaudio, its inverse, clips in parts, limits."""

import pytest
import torch
from torchaudio.functional import preemphasis

from audio_utils.pre_emphasis import apply_pre_emphasis, remove_pre_emphasis


@pytest.fixture
def waveform() -> torch.Tensor:
    """Return two rows of noise, (2, 500)."""
    return torch.rand(2, 500, generator=torch.Generator().manual_seed(0)) - 0.5


def test_it_is_the_filter_of_torchaudio(waveform: torch.Tensor) -> None:
    expected = preemphasis(waveform, 0.7)
    torch.testing.assert_close(apply_pre_emphasis(waveform, 0.7), expected)
    assert not torch.allclose(apply_pre_emphasis(waveform, 0.6), expected)  # negative control


@pytest.mark.parametrize("coefficient", [0.5, 0.97])
def test_the_inverse_returns_the_waveform(waveform: torch.Tensor, coefficient: float) -> None:
    emphasised = apply_pre_emphasis(waveform, coefficient)
    torch.testing.assert_close(remove_pre_emphasis(emphasised, coefficient), waveform)


@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_a_clip_in_parts_equals_the_whole_bit_for_bit(waveform: torch.Tensor, scale: float) -> None:
    """Also where the limits are reached, as at the larger scale."""
    emphasised = (scale * waveform).clamp(-1, 1)
    whole = remove_pre_emphasis(emphasised, 0.8)
    assert (whole.abs() == 1).any() == (scale > 1)
    first = remove_pre_emphasis(emphasised[:, :123], 0.8)
    second = remove_pre_emphasis(emphasised[:, 123:], 0.8, first[:, -1])
    assert torch.equal(torch.cat([first, second], 1), whole)
    unconnected = remove_pre_emphasis(emphasised[:, 123:], 0.8)  # negative control
    assert not torch.equal(unconnected, second)
    forward = apply_pre_emphasis(waveform[:, 123:], 0.8, waveform[:, 122])
    assert torch.equal(forward, apply_pre_emphasis(waveform, 0.8)[:, 123:])


def test_both_directions_stay_within_full_scale() -> None:
    alternating = torch.tensor([1.0, -1.0]).repeat(10)
    assert apply_pre_emphasis(alternating, 0.9).abs().max() == 1
    limited = remove_pre_emphasis(torch.tensor([1.0, 1.0, -0.5, 0.0]), 0.5)
    assert limited.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_no_samples_remain_no_samples() -> None:
    assert apply_pre_emphasis(torch.zeros(0), 0.5).shape == (0,)
    assert remove_pre_emphasis(torch.zeros(3, 0), 0.5).shape == (3, 0)
