"""Damaged, truncated and inconsistent files raise AudioError with one sentence."""

import io
import os
import struct
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io as audio_io
from audio_utils.errors import AudioError
from audio_utils.io import read, write

from .crafted_files import RATE, SUFFIXES, assert_read_error, float_wav, wav_bytes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"R", "not audio in a known format"),
        (b"hello, this is a letter\n" * 99, "not audio in a known format"),
        (np.random.default_rng(5).bytes(4096), "not audio in a known format"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(99), r"only by the program ffmpeg"),
        (b"\xff\xf1\x50\x80" + bytes(99), r"only by the program ffmpeg"),
        (b"FORM\x00\x00\x00\x10AIFF" + bytes(99), "no chunk COMM"),
        (b"RIFF\x04\x00\x00\x00WAVE", "no data chunk"),
        (b"fLaC" + bytes(40), "cannot be decoded"),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(99), "ID3 tag declares"),
        (b"ID3\x04" + bytes(99), "cannot be decoded"),
        # Noise that begins like an MP3 frame.
        (np.random.default_rng(1).bytes(4096), "no MP3 frame at byte 209"),
        (wav_bytes(b""), "has no samples"),
        (wav_bytes(kind=0x9999), "cannot be decoded"),
        (wav_bytes(bits=0), "channels of 0 bits in frames of 0 bytes"),
        (wav_bytes(b"\x00\x10" * 7, channels=2), "ends inside a frame"),
    ],
)
def test_files_that_are_not_audio_raise(tmp_path, content, words, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg, which would give its own reasons
    (tmp_path / "a.wav").write_bytes(content)
    assert_read_error(tmp_path / "a.wav", words)


@pytest.mark.parametrize("rate", [0, 1, 7, 3999, 192_001, 2**31 - 1, 2**32 - 1])
def test_sample_rates_out_of_range_raise(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav_bytes(rate=rate))
    assert_read_error(tmp_path / "a.wav", "sample rate must be|cannot be decoded")


@pytest.mark.parametrize("channels", [0, 9, 64, 1025, 65_535])
def test_channel_counts_out_of_range_raise(tmp_path, channels):
    frames = bytes(2 * max(1, channels) * 4)
    (tmp_path / "a.wav").write_bytes(wav_bytes(frames, channels=channels))
    assert_read_error(
        tmp_path / "a.wav", "channels; expected 1 to 8|cannot be decoded|channels of 16 bits"
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 100},
        {"data": 0},
        {"data": 0, "riff": 36},
        {"data": 100, "riff": 0},
        {"data": 100, "riff": 0xFFFFFFFF},
        {"data": 202, "riff": 238},
        {"data": 9_964, "riff": 10_000},
        {"data": 0x10000000, "riff": 0x10000024},
        {"data": 0xFFFFFFFF, "riff": 10_000},
    ],
)
def test_wav_sizes_of_missing_sound_raise(tmp_path, sizes):
    frames = np.random.default_rng(2).bytes(200)
    (tmp_path / "a.wav").write_bytes(wav_bytes(frames, **sizes))
    assert_read_error(tmp_path / "a.wav", "cut short|no samples")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files_raise_instead_of_a_short_waveform(
    tmp_path, encoded_speech, suffix, fraction
):
    whole = encoded_speech(suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole)
    assert len(read(path).waveform) == RATE
    path.write_bytes(whole[: int(len(whole) * fraction)])
    assert_read_error(path, "cut short|cannot be decoded|is damaged")
    path.write_bytes(whole[:-1])
    assert_read_error(path, "cut short|cannot be decoded|is damaged")


def test_ogg_truncated_between_two_pages_raises(tmp_path, encoded_speech):
    """Only the end-of-stream flag on the last page is missing; libsndfile reads such a file."""
    whole = encoded_speech(".ogg")
    cut = whole[: whole.rindex(b"OggS")]
    soundfile.read(io.BytesIO(cut))
    (tmp_path / "a.ogg").write_bytes(cut)
    assert_read_error(tmp_path / "a.ogg", "last page of its Ogg stream is missing")


def test_mp3_whose_header_declares_more_frames_raises(tmp_path, encoded_speech):
    """The byte count is correct and no frame is cut, so only decoding detects the error."""
    whole = encoded_speech(".mp3")
    whole = bytearray(whole[: whole.rindex(whole[:2])])
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    whole[at + 12 : at + 16] = struct.pack(">I", len(whole))
    (tmp_path / "a.mp3").write_bytes(whole)
    assert_read_error(tmp_path / "a.mp3", "declares 16,000 frames")


def flac_with_frame_count(frames, whole):
    """Return a FLAC file with another frame count in the 36 bits of STREAMINFO."""
    data = bytearray(whole)
    data[21] = data[21] & 0xF0 | frames >> 32
    data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(data)


def test_excessive_frame_counts_raise_before_decoding(tmp_path, encoded_speech, monkeypatch):
    whole = encoded_speech(".flac")
    (tmp_path / "a.flac").write_bytes(flac_with_frame_count(RATE, whole))
    assert len(read(tmp_path / "a.flac").waveform) == RATE
    (tmp_path / "a.flac").write_bytes(flac_with_frame_count(RATE + 5, whole))
    assert_read_error(tmp_path / "a.flac", "cut short|cannot be decoded")
    (tmp_path / "a.flac").write_bytes(flac_with_frame_count(2**36 - 1, whole))
    monkeypatch.setattr("audio_utils.decoding._read_mono", lambda *_: pytest.fail("decoded"))
    assert_read_error(tmp_path / "a.flac", "is too long: 68,719,476,735 frames")


def test_a_wrong_frame_count_below_the_limit_allocates_no_memory(tmp_path, encoded_speech):
    declared = audio_io.MAX_SAMPLES - 1
    (tmp_path / "a.flac").write_bytes(flac_with_frame_count(declared, encoded_speech(".flac")))
    tracemalloc.start()
    try:
        assert_read_error(tmp_path / "a.flac", "cut short|cannot be decoded")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The declared samples would need 690 MB.
    assert peak_bytes < 10e6


def test_the_limit_counts_the_samples_in_memory_not_those_of_the_file(tmp_path):
    write(tmp_path / "a.wav", torch.zeros(2, 1000), RATE)
    assert read(tmp_path / "a.wav", max_samples=1000).channels == 2
    assert_read_error(tmp_path / "a.wav", "too long", max_samples=999)
    assert len(read(tmp_path / "a.wav", 8000, max_samples=500).waveform) == 500
    assert len(read(tmp_path / "a.wav", 32_000, max_samples=2000).waveform) == 2000
    assert_read_error(tmp_path / "a.wav", "too long", sample_rate=48_000, max_samples=2000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_located(tmp_path, value):
    values = np.zeros(200_000)
    values[[70_003, 70_009, 150_000]] = value
    (tmp_path / "a.wav").write_bytes(float_wav(values))
    assert_read_error(tmp_path / "a.wav", r"has 3 frames that are not finite.* index 70,003")


def test_integers_stored_as_floats_raise_instead_of_clipping(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0, 12_000, -31_000]))
    assert_read_error(tmp_path / "a.wav", r"up to 3.1e\+04, expected -1 to 1")
    (tmp_path / "a.wav").write_bytes(float_wav([0, 3.4e38]))
    assert_read_error(tmp_path / "a.wav", r"up to 3.4e\+38")


def test_a_file_too_short_to_resample_raises(tmp_path):
    write(tmp_path / "a.wav", torch.zeros(1), 48_000)
    assert_read_error(tmp_path / "a.wav", "too short to be resampled", sample_rate=RATE)


@pytest.mark.parametrize("rate", [0, -1, 3999, 192_001])
def test_a_target_rate_out_of_range_raises(tmp_path, rate):
    write(tmp_path / "a.wav", torch.zeros(10), RATE)
    with pytest.raises(AudioError, match="sample rate must be 4,000 to 192,000"):
        read(tmp_path / "a.wav", sample_rate=rate)


def test_paths_that_are_not_files_raise(tmp_path):
    assert_read_error(tmp_path / "missing.wav", "no such file")
    assert_read_error(tmp_path, "is a folder")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert_read_error(tmp_path / "loop.wav", "symbolic links")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_raises_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert_read_error(tmp_path / "a.wav", "a pipe or a device")


def test_flipped_bits_raise_nothing_but_audio_errors(tmp_path, encoded_speech):
    rng = np.random.default_rng(3)
    outcomes = {"read": 0, "error": 0}
    for suffix in SUFFIXES:
        whole = encoded_speech(suffix)
        path = tmp_path / f"flip{suffix}"
        for index in range(60):
            data = bytearray(whole)
            # Half of the flips are in the header, where they have the largest effect.
            limit = 100 if index % 2 else len(data)
            data[rng.integers(limit)] ^= 1 << rng.integers(8)
            path.write_bytes(data)
            try:
                recording = read(path)
            except AudioError:
                outcomes["error"] += 1
            else:
                outcomes["read"] += 1
                assert recording.waveform.isfinite().all()
                assert recording.waveform.abs().max() <= 1
    assert min(outcomes.values()) > 20, outcomes
