"""The alphabet: torchaudio's convention, exact round trips, refused bounds."""

import numpy as np
import pytest
import torch
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from wavenet import codec

ALL_BITS = range(codec.MIN_BITS, codec.MAX_BITS + 1)


@pytest.fixture
def waveform():
    """Return the ends, silence and 20,000 values between, of them many small ones."""
    rng = torch.Generator().manual_seed(0)
    even = torch.rand(10_000, generator=rng) * 2 - 1
    small = torch.randn(10_000, generator=rng).clamp(-4, 4) / 400
    return torch.cat([torch.tensor([-1.0, 0.0, 1.0]), even, small])


@pytest.mark.parametrize("bits", ALL_BITS)
def test_codes_are_those_of_torchaudio(waveform, bits):
    codes = codec.encode(waveform, bits)
    assert torch.equal(codes, mu_law_encoding(waveform, 1 << bits))
    torch.testing.assert_close(
        codec.decode(codes, bits), mu_law_decoding(codes, 1 << bits), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("bits", ALL_BITS)
def test_the_comparison_with_torchaudio_notices_another_mu(waveform, bits):
    other = mu_law_encoding(waveform, (1 << bits) + 1)  # mu = 2**bits
    assert (codec.encode(waveform, bits) != other).float().mean() > 0.01
    codes = codec.encode(waveform, bits)
    error = (codec.decode(codes, bits) - mu_law_decoding(codes, (1 << bits) + 1)).abs().max()
    assert error > 1e-4


@pytest.mark.parametrize("bits", ALL_BITS)
def test_every_code_comes_back(bits):
    codes = torch.arange(1 << bits)
    assert torch.equal(codec.encode(codec.decode(codes, bits), bits), codes)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_louder_is_never_a_lower_code(bits):
    codes = codec.encode(torch.linspace(-1, 1, 400_001), bits)
    steps = codes.diff()
    assert (steps >= 0).all()
    assert torch.equal(codes.unique(), torch.arange(1 << bits))
    assert (codec.decode(torch.arange(1 << bits), bits).diff() > 0).all()


@pytest.mark.parametrize("bits", ALL_BITS)
def test_silence_and_the_ends_have_their_codes(bits):
    codes = codec.encode(torch.tensor([-1.0, -0.0, 0.0, 1.0]), bits)
    middle = 1 << (bits - 1)
    assert codes.tolist() == [0, middle, middle, (1 << bits) - 1]
    assert codec.silence_code(bits) == middle
    ends = codec.decode(torch.tensor([0, (1 << bits) - 1]), bits)
    torch.testing.assert_close(ends, torch.tensor([-1.0, 1.0]), atol=1e-6, rtol=0)
    # no class stands for 0 itself: the alphabet has an even number of them
    assert 0 < codec.decode(torch.tensor([middle]), bits).item() <= 1 / middle**2 * bits


def test_a_decoded_waveform_can_be_encoded_at_any_depth():
    for bits in ALL_BITS:
        waveform = codec.decode(torch.arange(1 << bits), bits)
        assert waveform.abs().max() <= 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_give_the_codes_of_their_values(waveform, kind):
    values = waveform.to(kind)
    assert torch.equal(codec.encode(values), codec.encode(values.float()))


def test_shape_is_kept_and_nothing_stays_nothing():
    assert codec.encode(torch.zeros(2, 3, 4)).shape == (2, 3, 4)
    assert codec.encode(torch.zeros(0)).shape == (0,)
    assert codec.decode(torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("bits", [3, 11, 15, 17, 0, -1])
def test_a_depth_that_has_no_law_is_refused(bits):
    with pytest.raises(ValueError, match=f"bits must be 4 to 10 or 16, found {bits}"):
        codec.encode(torch.zeros(1), bits)
    with pytest.raises(ValueError, match=f"bits must be 4 to 10 or 16, found {bits}"):
        codec.decode(torch.zeros(1, dtype=torch.int64), bits)


@pytest.mark.parametrize("value", [1.01, -1.01, float("nan"), float("inf"), 1e30])
def test_a_sample_outside_full_scale_is_refused(value):
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\], found"):
        codec.encode(torch.tensor([0.0, value, 0.5]))


@pytest.mark.parametrize("code", [-1, 256])
def test_a_code_outside_the_alphabet_is_refused(code):
    with pytest.raises(ValueError, match="codes must lie in 0 to 255"):
        codec.decode(torch.tensor([0, code]))


def test_16_bits_are_linear_and_come_back_exactly():
    codes = torch.arange(1 << 16)
    waveform = codec.decode(codes, 16)
    assert torch.equal(codec.encode(waveform, 16), codes)
    assert waveform[[0, -1]].tolist() == [-1.0, 1.0]
    assert codec.encode(torch.zeros(1), 16).item() == codec.silence_code(16) == 32_768
    steps = waveform.double().diff()
    assert (steps - 2 / 65_535).abs().max() < 1e-7  # equal steps: no companding


def test_a_16_bit_file_keeps_its_samples():
    """A PCM sample n / 32768 lies within one step of its code, and distinct ones stay distinct."""
    pcm = torch.arange(-32_768, 32_768) / 32_768
    codes = codec.encode(pcm, 16)
    assert (codes.diff() >= 0).all() and codes.unique().numel() >= 65_535
    assert (codec.decode(codes, 16) - pcm).abs().max() <= 1 / 65_535 + 1e-7


def by_formula(x, mu, largest, offset=0.0):
    """Compute where codes lie before rounding down, in float64."""
    x = x.double().numpy()
    f = np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)
    return (f + 1) / 2 * largest + offset


def expanded(f, mu):
    """Invert the companding, in float64."""
    return np.sign(f) * ((1 + mu) ** np.abs(f) - 1) / mu


@pytest.mark.parametrize(
    ("bits", "rounding", "mu"), [*((b, "down", 2**b - 1) for b in ALL_BITS), (8, "down-256", 256)]
)
def test_codes_rounded_down_are_those_of_the_formula(waveform, bits, rounding, mu):
    exact = by_formula(waveform, mu, 2**bits - 1)
    codes = codec.encode(waveform, bits, rounding).numpy()
    # an edge may be met from either side
    clear = np.abs(exact - np.round(exact)) > 2 * codec.EDGE
    assert clear.mean() > 0.99
    assert (codes == np.floor(exact))[clear].all()
    assert codec.encode(torch.tensor([-1.0, 0.0, 1.0]), bits, rounding).tolist() == [
        0,
        (1 << (bits - 1)) - 1,
        (1 << bits) - 1,
    ]
    assert (codes != codec.encode(waveform, bits).numpy()).mean() > 0.3


@pytest.mark.parametrize("bits", ALL_BITS)
def test_rounded_down_every_code_comes_back(bits):
    codes = torch.arange(1 << bits)
    waveform = codec.decode(codes, bits, "down")
    assert torch.equal(codec.encode(waveform, bits, "down"), codes)
    expected = expanded(codes.numpy() * 2 / (2**bits - 1) - 1, 2**bits - 1)
    np.testing.assert_allclose(waveform.numpy(), expected, atol=1e-6, rtol=1e-5)


def test_down_256_decodes_by_its_own_formula_and_does_not_undo_itself():
    codes = torch.arange(256)
    waveform = codec.decode(codes, 8, "down-256")
    np.testing.assert_allclose(
        waveform.numpy(), expanded(codes.numpy() * 2 / 256 - 1, 256), atol=1e-6, rtol=1e-5
    )
    assert waveform[128] == 0
    assert torch.equal(codec.encode(waveform, 8, "down-256"), (codes - 1).clamp(min=0))


def test_each_rounding_has_its_silence_code():
    assert [codec.silence_code(8, r) for r in ("half-up", "down", "down-256")] == [128, 127, 128]
    assert codec.silence_code(10, "down") == 511


@pytest.mark.parametrize(
    ("bits", "rounding", "words"),
    [
        (16, "down", "16 bits are rounded half-up, found 'down'"),
        (16, "down-256", "16 bits are rounded half-up"),
        (9, "down-256", "the rounding down-256 has 8 bits, found 9"),
    ],
)
def test_a_rounding_that_does_not_fit_the_bits_is_refused(bits, rounding, words):
    with pytest.raises(ValueError, match=words):
        codec.encode(torch.zeros(1), bits, rounding)
    with pytest.raises(ValueError, match=words):
        codec.decode(torch.zeros(1, dtype=torch.int64), bits, rounding)
