"""Codecs: the convention of torchaudio, exact round trips, lossless PCM, refused bounds."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from audio_utils import io
from wavenet import codec as codec_module
from wavenet.codec import (
    MAX_MU_LAW_BITS,
    MIN_MU_LAW_BITS,
    LinearCodec,
    MuLawCodec,
    Pcm16Codec,
    mu_law_silence_code,
)

MU_LAW_BITS = range(MIN_MU_LAW_BITS, MAX_MU_LAW_BITS + 1)
CODECS = [
    *(MuLawCodec(bits=bits) for bits in MU_LAW_BITS),
    MuLawCodec(rounding="down"),
    MuLawCodec(bits=10, rounding="down"),
    MuLawCodec(rounding="down-256"),
    Pcm16Codec(),
    LinearCodec(),
]
PCM = torch.arange(-32_768, 32_768)  # every value of 16-bit PCM
every_codec = pytest.mark.parametrize("codec", CODECS, ids=repr)


@pytest.fixture
def waveform():
    """Return the ends, silence and 20,000 values between, half of them small."""
    rng = torch.Generator().manual_seed(0)
    even = torch.rand(10_000, generator=rng) * 2 - 1
    small = torch.randn(10_000, generator=rng).clamp(-4, 4) / 400
    return torch.cat([torch.tensor([-1.0, 0.0, 1.0]), even, small])


@pytest.mark.parametrize("bits", MU_LAW_BITS)
def test_mu_law_codes_are_those_of_torchaudio(waveform, bits):
    codec = MuLawCodec(bits=bits)
    codes = codec.encode(waveform)
    assert torch.equal(codes, mu_law_encoding(waveform, 1 << bits))
    torch.testing.assert_close(
        codec.decode(codes), mu_law_decoding(codes, 1 << bits), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("bits", MU_LAW_BITS)
def test_the_comparison_with_torchaudio_detects_another_mu(waveform, bits):
    codec = MuLawCodec(bits=bits)
    other = mu_law_encoding(waveform, (1 << bits) + 1)  # mu = 2**bits
    codes = codec.encode(waveform)
    assert (codes != other).float().mean() > 0.01
    error = (codec.decode(codes) - mu_law_decoding(codes, (1 << bits) + 1)).abs().max()
    assert error > 1e-4


@every_codec
def test_every_code_survives_decoding_and_encoding(codec):
    codes = torch.arange(codec.n_classes)
    found = codec.encode(codec.decode(codes))
    if codec.rounding == "down-256":  # the one convention that is not invertible
        assert torch.equal(found, (codes - 1).clamp(min=0))
    else:
        assert torch.equal(found, codes)


@every_codec
def test_codes_rise_with_the_waveform_and_all_occur(codec):
    codes = codec.encode(torch.linspace(-1, 1, 400_001))
    assert (codes.diff() >= 0).all()
    assert torch.equal(codes.unique(), torch.arange(codec.n_classes))
    assert (codec.decode(torch.arange(codec.n_classes)).diff() > 0).all()


@pytest.mark.parametrize("bits", MU_LAW_BITS)
def test_silence_and_the_ends_have_their_mu_law_codes(bits):
    codec = MuLawCodec(bits=bits)
    middle = 1 << (bits - 1)
    codes = codec.encode(torch.tensor([-1.0, -0.0, 0.0, 1.0]))
    assert codes.tolist() == [0, middle, middle, (1 << bits) - 1]
    assert codec.silence_code == mu_law_silence_code(bits) == middle
    ends = codec.decode(torch.tensor([0, (1 << bits) - 1]))
    torch.testing.assert_close(ends, torch.tensor([-1.0, 1.0]), atol=1e-6, rtol=0)
    # no code decodes to 0 itself: the number of codes is even
    assert 0 < codec.decode(torch.tensor([middle])).item() <= 1 / middle**2 * bits


@every_codec
def test_a_decoded_waveform_can_be_encoded(codec):
    waveform = codec.decode(torch.arange(codec.n_classes))
    assert waveform.dtype == torch.float32
    assert waveform.abs().max() <= 1
    assert codec.encode(waveform).dtype == torch.int64


@every_codec
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_have_the_codes_of_their_values(waveform, codec, dtype):
    values = waveform.to(dtype)
    assert torch.equal(codec.encode(values), codec.encode(values.float()))


@every_codec
def test_the_shape_is_kept_also_without_samples(codec):
    assert codec.encode(torch.zeros(2, 3, 4)).shape == (2, 3, 4)
    assert codec.encode(torch.zeros(0)).shape == (0,)
    assert codec.decode(torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("bits", [3, 11, 15, 16, 17, 0, -1])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValidationError, match="bits"):
        MuLawCodec(bits=bits)
    for kind in (Pcm16Codec, LinearCodec):
        if bits != 16:
            with pytest.raises(ValidationError, match="bits"):
                kind(bits=bits)


@every_codec
@pytest.mark.parametrize("value", [1.01, -1.01, float("nan"), float("inf"), 1e30])
def test_a_sample_outside_full_scale_is_refused(codec, value):
    with pytest.raises(ValueError, match=r"in \[-1, 1\], found"):
        codec.encode(torch.tensor([0.0, value, 0.5]))


@every_codec
@pytest.mark.parametrize("offset", [-1, 0])
def test_a_code_out_of_range_is_refused(codec, offset):
    code = codec.n_classes if offset == 0 else offset
    with pytest.raises(ValueError, match=f"in 0 to {codec.n_classes - 1}, found 0 to|found -1 to"):
        codec.decode(torch.tensor([0, code]))


@pytest.mark.parametrize("rounding", ["half-up", "down"])
def test_codes_survive_decoding_and_encoding_with_pre_emphasis(rounding):
    codec = MuLawCodec(rounding=rounding, pre_emphasis=0.7)
    codes = torch.randint(70, 186, (2, 5000), generator=torch.Generator().manual_seed(0))
    waveform = codec.decode(codes)
    assert waveform.abs().max() < 1
    assert torch.equal(codec.encode(waveform), codes)
    assert torch.equal(codec.encode(waveform.double()), codes)
    assert not torch.equal(MuLawCodec(rounding=rounding).encode(waveform), codes)


def test_pre_emphasis_makes_the_noise_of_a_low_sound_smaller():
    waveform = torch.sin(torch.arange(8000) * 0.1) / 2
    errors = [
        (codec.decode(codec.encode(waveform)) - waveform).square().mean()
        for codec in (MuLawCodec(), MuLawCodec(pre_emphasis=0.7))
    ]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("value", [-0.1, 0.98, 1.0, float("nan")])
def test_a_coefficient_out_of_range_is_refused(value):
    with pytest.raises(ValidationError, match="pre_emphasis"):
        MuLawCodec(pre_emphasis=value)
    with pytest.raises(ValidationError, match="pre_emphasis"):
        Pcm16Codec(pre_emphasis=0.7)


def test_pcm16_returns_every_16_bit_value_and_linear_does_not():
    """LinearCodec has 65,536 codes on a grid from -1 to 1, so it maps PCM 0 and 1 to one code."""
    waveform = PCM / 32_768
    codec = Pcm16Codec()
    codes = codec.encode(waveform)
    assert torch.equal(codes, PCM + 32_768)
    assert torch.equal(codec.decode(codes), waveform)
    assert torch.equal((codec.decode(codes) * 32_768).to(torch.int64), PCM)
    linear = LinearCodec().encode(waveform)  # negative control
    assert linear.unique().numel() < 65_536
    assert linear[PCM == 0] == linear[PCM == 1]


def test_pcm16_returns_every_value_of_a_wav_file(tmp_path):
    path = tmp_path / "every.wav"
    soundfile.write(path, PCM.numpy().astype(np.int16), 8000, subtype="PCM_16")
    waveform = io.read(path, 8000).waveform
    assert torch.equal(Pcm16Codec().encode(waveform), PCM + 32_768)
    assert not torch.equal(LinearCodec().encode(waveform), PCM + 32_768)  # negative control


def test_pcm16_has_its_silence_and_ends():
    codec = Pcm16Codec()
    codes = codec.encode(torch.tensor([-1.0, -0.0, 0.0, 32_767 / 32_768, 1.0]))
    assert codes.tolist() == [0, 32_768, 32_768, 65_535, 65_535]
    assert codec.silence_code == 32_768
    assert codec.decode(torch.tensor([0, 32_768, 65_535])).tolist() == [-1, 0, 32_767 / 32_768]


@given(st.floats(-1, 1, width=32))
def test_pcm16_rounds_to_the_nearest_value(x):
    pcm = int(Pcm16Codec().encode(torch.tensor([x]))) - 32_768
    assert -0.5 < pcm - x * 32_768 <= 0.5 or (pcm == 32_767 and x * 32_768 > 32_767)


@pytest.mark.parametrize("n", [-32_768, -1, 0, 1, 12_345, 32_766])
def test_pcm16_rounds_half_up(n):
    """In float32 the largest number below one half, plus one half, is 1."""
    half = torch.tensor([(n + 0.5) / 32_768])
    below = torch.nextafter(half, torch.tensor([-2.0]))
    codes = Pcm16Codec().encode(torch.cat([below, half])) - 32_768
    assert codes.tolist() == [n, n + 1]


def test_linear_codes_have_equal_steps_and_survive_a_round_trip():
    codec = LinearCodec()
    codes = torch.arange(1 << 16)
    waveform = codec.decode(codes)
    assert torch.equal(codec.encode(waveform), codes)
    assert waveform[[0, -1]].tolist() == [-1.0, 1.0]
    assert codec.encode(torch.zeros(1)).item() == codec.silence_code == 32_768
    assert (waveform.double().diff() - 2 / 65_535).abs().max() < 1e-7  # no companding


def test_a_linear_code_of_a_pcm_value_is_at_most_one_step_away():
    """All but two neighbours of the 65,536 PCM values stay distinct."""
    codec = LinearCodec()
    waveform = PCM / 32_768
    codes = codec.encode(waveform)
    assert (codes.diff() >= 0).all() and codes.unique().numel() >= 65_535
    assert (codec.decode(codes) - waveform).abs().max() <= 1 / 65_535 + 1e-7


def companded(x, mu, largest):
    """Compute codes before they are rounded, in float64."""
    x = x.double().numpy()
    f = np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)
    return (f + 1) / 2 * largest


def expanded(f, mu):
    """Invert the companding, in float64."""
    return np.sign(f) * ((1 + mu) ** np.abs(f) - 1) / mu


@pytest.mark.parametrize(
    "codec",
    [*(MuLawCodec(bits=b, rounding="down") for b in MU_LAW_BITS), MuLawCodec(rounding="down-256")],
    ids=repr,
)
def test_codes_rounded_down_are_those_of_the_formula(waveform, codec):
    bits, mu = codec.bits, 256 if codec.rounding == "down-256" else (1 << codec.bits) - 1
    exact = companded(waveform, mu, 2**bits - 1)
    codes = codec.encode(waveform).numpy()
    # a value on an edge may be rounded to either side
    is_clear = np.abs(exact - np.round(exact)) > 2 * codec_module.EDGE_TOLERANCE
    assert is_clear.mean() > 0.99
    assert (codes == np.floor(exact))[is_clear].all()
    ends = codec.encode(torch.tensor([-1.0, 0.0, 1.0]))
    assert ends.tolist() == [0, (1 << (bits - 1)) - 1, (1 << bits) - 1]
    assert (codes != MuLawCodec(bits=bits).encode(waveform).numpy()).mean() > 0.3


@pytest.mark.parametrize("bits", MU_LAW_BITS)
def test_down_decodes_to_the_lower_edges_of_the_formula(bits):
    codec = MuLawCodec(bits=bits, rounding="down")
    codes = torch.arange(1 << bits)
    waveform = codec.decode(codes)
    assert torch.equal(codec.encode(waveform), codes)
    expected = expanded(codes.numpy() * 2 / (2**bits - 1) - 1, 2**bits - 1)
    np.testing.assert_allclose(waveform.numpy(), expected, atol=1e-6, rtol=1e-5)


def test_down_256_decodes_by_its_formula():
    codes = torch.arange(256)
    waveform = MuLawCodec(rounding="down-256").decode(codes)
    expected = expanded(codes.numpy() * 2 / 256 - 1, 256)
    np.testing.assert_allclose(waveform.numpy(), expected, atol=1e-6, rtol=1e-5)
    assert waveform[128] == 0


def test_each_rounding_has_its_silence_code():
    roundings = ("half-up", "down", "down-256")
    assert [mu_law_silence_code(8, r) for r in roundings] == [128, 127, 128]
    assert [MuLawCodec(rounding=r).silence_code for r in roundings] == [128, 127, 128]
    assert MuLawCodec(bits=10, rounding="down").silence_code == 511
    with pytest.raises(ValidationError, match="silence_code must be 127"):
        MuLawCodec(rounding="down", silence_code=128)


def test_a_rounding_that_does_not_fit_the_bits_is_refused():
    with pytest.raises(ValidationError, match="'down-256' needs 8 bits, found 9"):
        MuLawCodec(bits=9, rounding="down-256")
    for kind in (Pcm16Codec, LinearCodec):
        for rounding in ("down", "down-256"):
            with pytest.raises(ValidationError, match="half-up"):
                kind(rounding=rounding)
