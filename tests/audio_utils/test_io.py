"""Audio files: round trips are exact, and a failed write leaves no file."""

import resource
import struct
import sys

import numpy as np
import pytest
import soundfile
import soxr
import torch

from audio_utils.errors import AudioError
from audio_utils.io import read, write

from .crafted_files import RATE, SUFFIXES, float_wav, wav_bytes


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_pcm_keeps_every_code_exactly(tmp_path, suffix, subtype, bits):
    scale = 2 ** (bits - 1)
    codes = torch.arange(-scale, scale, max(1, scale // 32_768), dtype=torch.float64)
    waveform = (codes / scale).float()
    path = tmp_path / f"a{suffix}"
    assert write(path, waveform, RATE, subtype) == 0
    assert soundfile.info(path).subtype == subtype
    recording = read(path)
    assert torch.equal(recording.waveform, waveform)
    assert recording.waveform.dtype == torch.float32
    assert (recording.sample_rate, recording.original_rate) == (RATE, RATE)
    assert (recording.channels, recording.clipped_samples) == (1, 0)


def test_pcm_rounds_to_the_nearest_code(tmp_path, make_speech):
    waveform = make_speech(RATE)
    write(tmp_path / "a.wav", waveform, RATE)
    error = (read(tmp_path / "a.wav").waveform - waveform).abs().max()
    assert 0.4 / 32_768 < error <= 0.5 / 32_768


def test_float_round_trips_bit_for_bit(tmp_path, make_speech):
    waveform = make_speech(RATE) * 1e-3
    write(tmp_path / "a.wav", waveform, RATE, "FLOAT")
    assert torch.equal(read(tmp_path / "a.wav").waveform, waveform)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_keep_the_length_and_approximate_the_sound(tmp_path, make_speech, suffix):
    waveform = make_speech(RATE, 3.0)
    path = tmp_path / f"a{suffix}"
    write(path, waveform, RATE)
    recording = read(path)
    assert recording.waveform.shape == waveform.shape
    noise = (recording.waveform - waveform).square().mean()
    assert 0 < noise < 0.1 * waveform.square().mean()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("samples", [1, 65_536, 65_537])
def test_any_number_of_samples_round_trips(tmp_path, suffix, samples):
    path = tmp_path / f"a{suffix}"
    write(path, torch.linspace(-0.5, 0.5, samples), RATE)
    assert read(path).waveform.shape == (samples,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_stereo_is_mixed_by_mean(tmp_path, make_sine, suffix):
    left, right = make_sine(300, RATE, RATE, 0.5), make_sine(500, RATE, RATE, 0.25)
    path = tmp_path / f"a{suffix}"
    write(path, torch.stack([left, right]), RATE)
    recording = read(path)
    assert recording.channels == 2
    expected = (left + right) / 2
    tolerance = 1e-4 if suffix in (".wav", ".flac") else 0.05
    assert torch.allclose(recording.waveform, expected, atol=tolerance)


@pytest.mark.parametrize(
    "make", [torch.Tensor.double, torch.Tensor.numpy, lambda x: x.flip(0).numpy()[::-1]]
)
def test_tensors_and_arrays_of_any_float_type_write_the_same_file(tmp_path, make_speech, make):
    waveform = make_speech(RATE, 0.1)
    write(tmp_path / "a.wav", waveform, RATE)
    write(tmp_path / "b.wav", make(waveform), RATE)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_content_decides_the_format_not_the_name(tmp_path, encoded_speech):
    for suffix in SUFFIXES:
        path = tmp_path / "a.raw"
        path.write_bytes(encoded_speech(suffix))
        assert read(path).waveform.shape == (RATE,)


@pytest.mark.parametrize("original", [8000, 11_025, 44_100, 48_000])
def test_another_sample_rate_is_resampled_and_reported(tmp_path, make_sine, original):
    write(tmp_path / "a.wav", make_sine(440, original, original), original, "FLOAT")
    recording = read(tmp_path / "a.wav", sample_rate=RATE)
    assert (recording.sample_rate, recording.original_rate) == (RATE, original)
    assert len(recording.waveform) == RATE
    inner = slice(1000, -1000)
    assert torch.allclose(recording.waveform[inner], make_sine(440, RATE, RATE)[inner], atol=1e-4)
    source = make_sine(440, original, original).numpy()
    expected = soxr.resample(source, original, RATE, quality="HQ")
    assert np.array_equal(recording.waveform.numpy(), expected)


def test_overshoot_of_resampling_is_clipped_and_counted(tmp_path):
    square = torch.ones(8000)
    square[::50] = -1
    write(tmp_path / "a.wav", square, 8000, "FLOAT")
    recording = read(tmp_path / "a.wav", sample_rate=RATE)
    assert recording.waveform.abs().max() == 1
    raw = soxr.resample(square.numpy(), 8000, RATE, quality="HQ")
    assert recording.clipped_samples == np.count_nonzero(np.abs(raw) > 1) > 0


def test_float_files_beyond_full_scale_are_clipped_and_counted(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0.5, 1.5, -1.0, -2.0, 1.0, 1e-42]))
    recording = read(tmp_path / "a.wav")
    assert recording.waveform.tolist()[:5] == [0.5, 1.0, -1.0, -1.0, 1.0]
    assert recording.clipped_samples == 2


@pytest.mark.parametrize(
    "kind", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"]
)
def test_other_kinds_of_wav_are_read(tmp_path, make_speech, kind):
    waveform = make_speech(RATE)
    soundfile.write(tmp_path / "a.wav", waveform.numpy(), RATE, subtype=kind)
    recording = read(tmp_path / "a.wav")
    noise = (recording.waveform[:RATE] - waveform).square().mean()
    assert noise < 0.01 * waveform.square().mean()


def test_wav_with_further_chunks_and_trailing_bytes_is_read(tmp_path):
    whole = wav_bytes()
    listed = whole + b"LIST" + struct.pack("<I", 4) + b"INFO"
    listed = listed[:4] + struct.pack("<I", len(listed) - 8) + listed[8:]
    for content in (listed, whole + b"TAG" + bytes(125)):
        (tmp_path / "a.wav").write_bytes(content)
        assert len(read(tmp_path / "a.wav").waveform) == 100


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_never_written(tmp_path, suffix, value):
    """NaN would become -32768, a click at full scale."""
    waveform = torch.zeros(2, 10)
    waveform[1, 7] = value
    with pytest.raises(AudioError, match=r"1 frames are not finite.* index 7"):
        write(tmp_path / f"a{suffix}", waveform, RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_beyond_full_scale_are_clipped_not_wrapped(tmp_path, suffix):
    waveform = torch.cat([torch.full((2000,), 2.0), torch.full((2000,), -3.0)])
    assert write(tmp_path / f"a{suffix}", waveform, RATE) == 4000
    back = read(tmp_path / f"a{suffix}").waveform
    assert back[500:1500].min() > 0.8
    assert back[2500:3500].max() < -0.8


def test_float_wav_keeps_values_beyond_full_scale(tmp_path):
    assert write(tmp_path / "a.wav", torch.tensor([1.5, -2.0]), RATE, "FLOAT") == 0
    assert soundfile.read(tmp_path / "a.wav")[0].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("name", "waveform", "options", "words"),
    [
        ("a.aiff", torch.zeros(9), {}, r"ending in \.wav, \.flac, \.ogg, \.mp3"),
        ("a", torch.zeros(9), {}, "ending in"),
        ("a.wav", torch.zeros(0), {}, r"\(T,\) or \(channels, T\), got \(0,\)"),
        ("a.wav", torch.zeros(2, 0), {}, "got"),
        ("a.wav", torch.zeros(1, 1, 9), {}, "got"),
        ("a.wav", torch.zeros(100, 2), {}, "is it transposed"),
        ("a.wav", torch.zeros(9, dtype=torch.int16), {}, "floating point"),
        ("a.wav", np.zeros(9, np.int16), {}, "floating point"),
        ("a.wav", torch.zeros(1).expand(2**31), {}, "too many for one file"),
        ("a.wav", torch.zeros(9), {"sample_rate": 3999}, "sample rate must be"),
        (
            "a.wav",
            torch.zeros(9),
            {"subtype": "PCM_8"},
            "files support subtype PCM_16 or PCM_24 or FLOAT",
        ),
        (
            "a.flac",
            torch.zeros(9),
            {"subtype": "FLOAT"},
            "files support subtype PCM_16 or PCM_24, not",
        ),
        ("a.mp3", torch.zeros(3, 9), {}, "MP3 .* 3 channels"),
        ("a.mp3", torch.zeros(9), {"sample_rate": 44_056}, "MP3 .* 44056 Hz"),
        ("missing/a.wav", torch.zeros(9), {}, "does not exist"),
        ("file/a.wav", torch.zeros(9), {}, "does not exist"),
        ("folder.wav", torch.zeros(9), {}, "is a folder"),
    ],
)
def test_invalid_arguments_raise_and_write_nothing(tmp_path, name, waveform, options, words):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.wav").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AudioError, match=words) as caught:
        write(tmp_path / name, waveform, **{"sample_rate": RATE} | options)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(
    sys.platform != "linux", reason="needs a folder that is not writable even for root: /proc"
)
def test_a_folder_that_is_not_writable_raises():
    with pytest.raises(AudioError, match=r"Cannot write /proc/self/a\.wav: "):
        write("/proc/self/a.wav", torch.zeros(9), RATE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_without_enough_space_leaves_the_old_file(tmp_path, make_speech, suffix):
    """libsndfile alone reports success or "System error", and leaves a short but readable file."""
    path = tmp_path / f"a{suffix}"
    write(path, make_speech(RATE, 0.1), RATE)
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(AudioError, match=r"Cannot write .*: file too large"):
            write(path, make_speech(RATE, 3.0), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
