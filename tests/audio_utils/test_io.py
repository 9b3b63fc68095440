"""Audio files: round trips are exact, damage is named, nothing half-written stays."""

import io
import os
import resource
import struct
import sys

import numpy as np
import pytest
import soundfile
import soxr
import torch

from audio_utils import io as audio_io
from audio_utils.errors import AudioError
from audio_utils.io import read, write

RATE = 16_000
SUFFIXES = [".wav", ".flac", ".ogg", ".mp3"]


def wav_bytes(
    frames=b"\x00\x10" * 100, kind=1, channels=1, rate=RATE, bits=16, data=None, riff=None
):
    """Make a WAV by hand; `data` and `riff` are the sizes it claims."""
    block = channels * bits // 8 & 0xFFFF
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    data = len(frames) if data is None else data
    riff = 36 + len(frames) if riff is None else riff
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    return head + b"data" + struct.pack("<I", data) + frames


def float_wav(values):
    return wav_bytes(np.asarray(values, "<f4").tobytes(), kind=3, bits=32)


@pytest.fixture
def encoded(voice, tmp_path):
    """Return the bytes of one second in a format."""

    def make(suffix):
        path = tmp_path / f"whole{suffix}"
        write(path, voice(RATE), RATE)
        return path.read_bytes()

    return make


def refused(path, words, **options):
    """Check that reading fails with one sentence that names the file."""
    with pytest.raises(AudioError, match=words) as caught:
        read(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.endswith(".")


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
    assert (recording.channels, recording.clipped) == (1, 0)


def test_pcm_rounds_to_the_nearest_code(tmp_path, voice):
    waveform = voice(RATE)
    write(tmp_path / "a.wav", waveform, RATE)
    error = (read(tmp_path / "a.wav").waveform - waveform).abs().max()
    assert 0.4 / 32_768 < error <= 0.5 / 32_768


def test_float_is_kept_bit_by_bit(tmp_path, voice):
    waveform = voice(RATE) * 1e-3
    write(tmp_path / "a.wav", waveform, RATE, "FLOAT")
    assert torch.equal(read(tmp_path / "a.wav").waveform, waveform)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_keep_the_length_and_the_sound(tmp_path, voice, suffix):
    waveform = voice(RATE, 3.0)
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
def test_stereo_is_mixed_by_mean(tmp_path, sine, suffix):
    left, right = sine(300, RATE, RATE, 0.5), sine(500, RATE, RATE, 0.25)
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
def test_tensors_and_arrays_of_any_float_write_the_same(tmp_path, voice, make):
    waveform = voice(RATE, 0.1)
    write(tmp_path / "a.wav", waveform, RATE)
    write(tmp_path / "b.wav", make(waveform), RATE)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_content_decides_the_format_not_the_name(tmp_path, encoded):
    for suffix in SUFFIXES:
        path = tmp_path / "a.raw"
        path.write_bytes(encoded(suffix))
        assert read(path).waveform.shape == (RATE,)


@pytest.mark.parametrize("original", [8000, 11_025, 44_100, 48_000])
def test_another_rate_is_resampled_and_recorded(tmp_path, sine, original):
    write(tmp_path / "a.wav", sine(440, original, original), original, "FLOAT")
    recording = read(tmp_path / "a.wav", sample_rate=RATE)
    assert (recording.sample_rate, recording.original_rate) == (RATE, original)
    assert len(recording.waveform) == RATE
    inner = slice(1000, -1000)
    assert torch.allclose(recording.waveform[inner], sine(440, RATE, RATE)[inner], atol=1e-4)
    source = sine(440, original, original).numpy()
    theirs = soxr.resample(source, original, RATE, quality="HQ")
    assert np.array_equal(recording.waveform.numpy(), theirs)


def test_overshoot_of_resampling_is_limited_and_counted(tmp_path):
    square = torch.ones(8000)
    square[::50] = -1
    write(tmp_path / "a.wav", square, 8000, "FLOAT")
    recording = read(tmp_path / "a.wav", sample_rate=RATE)
    assert recording.waveform.abs().max() == 1
    raw = soxr.resample(square.numpy(), 8000, RATE, quality="HQ")
    assert recording.clipped == np.count_nonzero(np.abs(raw) > 1) > 0


def test_float_files_beyond_full_scale_are_limited_and_counted(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0.5, 1.5, -1.0, -2.0, 1.0, 1e-42]))
    recording = read(tmp_path / "a.wav")
    assert recording.waveform.tolist()[:5] == [0.5, 1.0, -1.0, -1.0, 1.0]
    assert recording.clipped == 2


@pytest.mark.parametrize(
    "kind", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"]
)
def test_other_kinds_of_wav_are_read(tmp_path, voice, kind):
    waveform = voice(RATE)
    soundfile.write(tmp_path / "a.wav", waveform.numpy(), RATE, subtype=kind)
    recording = read(tmp_path / "a.wav")
    noise = (recording.waveform[:RATE] - waveform).square().mean()
    assert noise < 0.01 * waveform.square().mean()


def test_wav_with_further_parts_and_bytes_after_the_end_is_read(tmp_path):
    whole = wav_bytes()
    listed = whole + b"LIST" + struct.pack("<I", 4) + b"INFO"
    listed = listed[:4] + struct.pack("<I", len(listed) - 8) + listed[8:]
    for content in (listed, whole + b"TAG" + bytes(125)):
        (tmp_path / "a.wav").write_bytes(content)
        assert len(read(tmp_path / "a.wav").waveform) == 100


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"R", "not audio in a known format"),
        (b"hello, this is a letter\n" * 99, "not audio in a known format"),
        (np.random.default_rng(5).bytes(4096), "not audio in a known format"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(99), r"m4a.*convert it to WAV"),
        (b"\xff\xf1\x50\x80" + bytes(99), r"AAC.*convert it to WAV"),
        (b"FORM\x00\x00\x00\x10AIFF" + bytes(99), "not audio in a known format"),
        (b"RIFF\x04\x00\x00\x00WAVE", "no data part"),
        (b"fLaC" + bytes(40), "cannot be decoded"),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(99), "ID3 tag declares"),
        (b"ID3\x04" + bytes(99), "cannot be decoded"),
        # Noise that begins like an MP3 frame: libsndfile says that the file does not exist.
        (np.random.default_rng(1).bytes(4096), "cannot be decoded; it is damaged"),
        (wav_bytes(b""), "holds no samples"),
        (wav_bytes(kind=0x9999), "cannot be decoded"),
        (wav_bytes(b"\x00\x10" * 7, channels=2), "ends inside a sample"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path, content, words):
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path / "a.wav", words)


@pytest.mark.parametrize("rate", [0, 1, 7, 3999, 192_001, 2**31 - 1, 2**32 - 1])
def test_absurd_rates_are_refused(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav_bytes(rate=rate))
    refused(tmp_path / "a.wav", "sample rate must be|cannot be decoded")


@pytest.mark.parametrize("channels", [0, 9, 64, 1025, 65_535])
def test_absurd_channels_are_refused(tmp_path, channels):
    frames = bytes(2 * max(1, channels) * 4)
    (tmp_path / "a.wav").write_bytes(wav_bytes(frames, channels=channels))
    refused(tmp_path / "a.wav", "channels; expected 1 to 8|cannot be decoded|ends inside")


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 100},
        {"data": 0},
        {"data": 202},
        {"data": 0x7FFFFFF0},
        {"data": 0xFFFFFFFF},
        {"riff": 0},
        {"riff": 36},
        {"riff": 10_000},
        {"riff": 0xFFFFFFFF, "data": 0xFFFFFFFF},
        {"riff": 0xFFFFFFFF, "data": 0xFFFFFFDB},
    ],
)
def test_wav_sizes_that_lie_are_refused(tmp_path, sizes):
    frames = np.random.default_rng(2).bytes(200)
    (tmp_path / "a.wav").write_bytes(wav_bytes(frames, **sizes))
    refused(tmp_path / "a.wav", "cut short|no data part|no samples")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_cut_files_are_an_error_never_a_short_waveform(tmp_path, encoded, suffix, share):
    whole = encoded(suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole)
    assert len(read(path).waveform) == RATE
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "cut short|cannot be decoded|is damaged")
    path.write_bytes(whole[:-1])
    refused(path, "cut short|cannot be decoded|is damaged")


def test_ogg_cut_between_two_pages_is_an_error(tmp_path, encoded):
    """The rest is a valid Ogg file but for the mark on its last page; libsndfile reads it."""
    whole = encoded(".ogg")
    cut = whole[: whole.rindex(b"OggS")]
    soundfile.read(io.BytesIO(cut))
    (tmp_path / "a.ogg").write_bytes(cut)
    refused(tmp_path / "a.ogg", "last page of its Ogg stream is missing")


def test_mp3_whose_header_promises_more_frames_is_an_error(tmp_path, encoded):
    """With the byte count made to fit, only decoding can tell."""
    whole = bytearray(encoded(".mp3")[:-500])
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    whole[at + 12 : at + 16] = struct.pack(">I", len(whole))
    (tmp_path / "a.mp3").write_bytes(whole)
    refused(tmp_path / "a.mp3", "declares 16,000 frames")


def flac_claiming(frames, whole):
    """Overwrite the 36 bits of the frame count in STREAMINFO."""
    data = bytearray(whole)
    data[21] = data[21] & 0xF0 | frames >> 32
    data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(data)


def test_absurd_frame_counts_are_refused_before_anything_is_decoded(tmp_path, encoded, monkeypatch):
    whole = encoded(".flac")
    (tmp_path / "a.flac").write_bytes(flac_claiming(RATE, whole))
    assert len(read(tmp_path / "a.flac").waveform) == RATE
    (tmp_path / "a.flac").write_bytes(flac_claiming(RATE + 5, whole))
    refused(tmp_path / "a.flac", "cut short|cannot be decoded")
    (tmp_path / "a.flac").write_bytes(flac_claiming(2**36 - 1, whole))
    monkeypatch.setattr("audio_utils.decoding._read_mono", lambda *_: pytest.fail("decoded"))
    refused(tmp_path / "a.flac", "is too long: 68,719,476,735 frames")


def test_a_false_count_below_the_limit_allocates_nothing(tmp_path, encoded):
    claim = audio_io.MAX_SAMPLES - 1
    (tmp_path / "a.flac").write_bytes(flac_claiming(claim, encoded(".flac")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "a.flac", "cut short|cannot be decoded")
    # Kilobytes on Linux, bytes on macOS; the claim is 690 MB.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6


def test_the_limit_counts_channels_and_what_resampling_makes(tmp_path):
    write(tmp_path / "a.wav", torch.zeros(2, 1000), RATE)
    assert read(tmp_path / "a.wav", max_samples=2000).channels == 2
    refused(tmp_path / "a.wav", "too long", max_samples=1999)
    assert len(read(tmp_path / "a.wav", 32_000, max_samples=2000).waveform) == 2000
    refused(tmp_path / "a.wav", "too long", sample_rate=48_000, max_samples=2000)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_located(tmp_path, fault):
    values = np.zeros(200_000)
    values[[70_003, 70_009, 150_000]] = fault
    (tmp_path / "a.wav").write_bytes(float_wav(values))
    refused(tmp_path / "a.wav", r"has 3 frames that are not finite.* index 70,003")


def test_whole_numbers_kept_as_floats_are_refused_not_clipped_to_noise(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0, 12_000, -31_000]))
    refused(tmp_path / "a.wav", r"up to 3.1e\+04 where \[-1, 1\] is expected")
    (tmp_path / "a.wav").write_bytes(float_wav([0, 3.4e38]))
    refused(tmp_path / "a.wav", r"up to 3.4e\+38")


def test_too_short_to_resample_is_refused(tmp_path):
    write(tmp_path / "a.wav", torch.zeros(1), 48_000)
    refused(tmp_path / "a.wav", "too short to be resampled", sample_rate=RATE)


@pytest.mark.parametrize("rate", [0, -1, 3999, 192_001])
def test_an_absurd_target_rate_is_refused(tmp_path, rate):
    write(tmp_path / "a.wav", torch.zeros(10), RATE)
    with pytest.raises(AudioError, match="asked sample rate must be 4,000 to 192,000"):
        read(tmp_path / "a.wav", sample_rate=rate)


def test_paths_that_are_no_files_are_refused(tmp_path):
    refused(tmp_path / "missing.wav", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    refused(tmp_path / "loop.wav", "symbolic links")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    refused(tmp_path / "a.wav", "a pipe or a device")


def test_flipped_bits_never_raise_anything_but_an_audio_error(tmp_path, encoded):
    rng = np.random.default_rng(3)
    outcomes = {"read": 0, "refused": 0}
    for suffix in SUFFIXES:
        whole = encoded(suffix)
        path = tmp_path / f"flip{suffix}"
        for index in range(60):
            data = bytearray(whole)
            # Half of them in the header, where they do most.
            limit = 100 if index % 2 else len(data)
            data[rng.integers(limit)] ^= 1 << rng.integers(8)
            path.write_bytes(data)
            try:
                recording = read(path)
            except AudioError:
                outcomes["refused"] += 1
            else:
                outcomes["read"] += 1
                assert recording.waveform.isfinite().all()
                assert recording.waveform.abs().max() <= 1
    assert min(outcomes.values()) > 20, outcomes


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fault", [torch.nan, torch.inf])
def test_not_finite_is_never_written(tmp_path, suffix, fault):
    """NaN would become -32768, a click at full scale."""
    waveform = torch.zeros(2, 10)
    waveform[1, 7] = fault
    with pytest.raises(AudioError, match=r"1 frames are not finite.* index 7"):
        write(tmp_path / f"a{suffix}", waveform, RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_beyond_full_scale_is_limited_never_wrapped(tmp_path, suffix):
    waveform = torch.cat([torch.full((2000,), 2.0), torch.full((2000,), -3.0)])
    assert write(tmp_path / f"a{suffix}", waveform, RATE) == 4000
    back = read(tmp_path / f"a{suffix}").waveform
    assert back[500:1500].min() > 0.8
    assert back[2500:3500].max() < -0.8


def test_float_wav_keeps_what_is_beyond_full_scale(tmp_path):
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
        ("a.wav", torch.zeros(9), {"subtype": "PCM_8"}, "takes subtype PCM_16 or PCM_24 or FLOAT"),
        ("a.flac", torch.zeros(9), {"subtype": "FLOAT"}, "takes subtype PCM_16 or PCM_24, not"),
        ("a.mp3", torch.zeros(3, 9), {}, "MP3 cannot hold 3 channels"),
        ("a.mp3", torch.zeros(9), {"sample_rate": 44_056}, "MP3 cannot hold .* 44056 Hz"),
        ("missing/a.wav", torch.zeros(9), {}, "does not exist; make it first"),
        ("file/a.wav", torch.zeros(9), {}, "does not exist; make it first"),
        ("folder.wav", torch.zeros(9), {}, "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, waveform, options, words):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.wav").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AudioError, match=words) as caught:
        write(tmp_path / name, waveform, **{"sample_rate": RATE} | options)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder closed even to root: /proc")
def test_a_folder_closed_to_us_is_refused():
    with pytest.raises(AudioError, match=r"Cannot write /proc/self/a\.wav: "):
        write("/proc/self/a.wav", torch.zeros(9), RATE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_runs_out_of_room_leaves_the_old_file(tmp_path, voice, suffix):
    """libsndfile alone reports success or "System error", and leaves a short file that opens."""
    path = tmp_path / f"a{suffix}"
    write(path, voice(RATE, 0.1), RATE)
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(AudioError, match=r"Cannot write .*: file too large"):
            write(path, voice(RATE, 3.0), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
