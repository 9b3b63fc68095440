"""Every format that libsndfile reads completely is read; damage is refused or noted."""

import io
import struct
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import verified_file
from audio_utils.audio_formats import AUDIO_SUFFIXES, FORMATS, READABLE_FORMATS
from audio_utils.containers.mp3 import crc16
from audio_utils.containers.ogg import page_checksum
from audio_utils.errors import AudioError
from audio_utils.io import read

from .crafted_files import RATE, assert_read_error, wav_bytes

KINDS = [
    ("wav", "WAV", "PCM_U8"),
    ("wav", "WAV", "PCM_16"),
    ("wave", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "ULAW"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAVEX", "PCM_16"),
    ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("aifc", "AIFF", "FLOAT"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_24"),
    ("caf", "CAF", "ALAC_16"),
    ("sph", "NIST", "PCM_16"),
    ("flac", "FLAC", "PCM_S8"),
    ("flac", "FLAC", "PCM_16"),
    ("flac", "FLAC", "PCM_24"),
    ("oga", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
WITH_CHECKSUM = ("FLAC", "OGG")


@pytest.fixture
def encode(make_speech):
    """Return a function that encodes speech, 0.25 s by default."""

    def make(kind, subtype, seconds=0.25, channels=1, **options):
        samples = np.repeat(make_speech(RATE, seconds).numpy()[:, None], channels, axis=1)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, RATE, format=kind, subtype=subtype, **options)
        return buffer.getvalue()

    return make


def read_bytes(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    return read(tmp_path / "a.bin")


def assert_same(recording, whole):
    assert torch.equal(recording.waveform, whole.waveform)
    assert recording.sample_rate == whole.sample_rate


def test_the_table_names_every_suffix_once():
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES)
    assert {".wav", ".wave", ".aif", ".oga", ".opus", ".snd", ".caf"} < set(AUDIO_SUFFIXES)
    assert all(form.name in READABLE_FORMATS for form in FORMATS)


@pytest.mark.parametrize(("suffix", "kind", "subtype"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read_without_a_note(tmp_path, encode, suffix, kind, subtype, channels):
    assert f".{suffix}" in AUDIO_SUFFIXES
    whole = encode(kind, subtype, channels=channels)
    expected = soundfile.read(io.BytesIO(whole), dtype="float32", always_2d=True)[0].mean(axis=1)
    recording = read_bytes(tmp_path, whole)
    # libsndfile decodes MP3 slightly differently if it reads another number of frames at once.
    tolerance = 1e-6 if kind == "MP3" else 0
    assert np.abs(recording.waveform.numpy() - expected.clip(-1, 1)).max() <= tolerance
    assert recording.levels.notes == ()


@pytest.mark.parametrize(("suffix", "kind", "subtype"), KINDS)
def test_a_file_cut_anywhere_is_refused(tmp_path, encode, suffix, kind, subtype):
    """Only one pad byte after the audio may be missing."""
    whole = encode(kind, subtype)
    sound = read_bytes(tmp_path, whole)
    rng = np.random.default_rng(7)
    lengths = {*rng.integers(len(whole), size=40), *range(0, 60, 3), *range(-6, 0)}
    for length in lengths:
        (tmp_path / "a.bin").write_bytes(whole[:length])
        try:
            assert_same(read(tmp_path / "a.bin"), sound)
        except AudioError:
            continue
        assert (kind, subtype, length) == ("CAF", "ALAC_16", -1)


# The bytes of a header that nothing in the file confirms: sample rate, encoding, channels.
UNCONFIRMED = {"AU": range(12, 24)}


@pytest.mark.parametrize(("suffix", "kind", "subtype"), KINDS)
def test_a_flipped_bit_is_refused_noted_or_without_effect(tmp_path, encode, suffix, kind, subtype):
    """Without a checksum, a bit of the sound or of the sample rate may change a value, not the
    length."""
    whole = encode(kind, subtype)
    sound = read_bytes(tmp_path, whole)
    rng = np.random.default_rng(8)
    outcomes = Counter()
    for index in range(80):
        damaged = bytearray(whole)
        position = rng.integers(60 if index % 2 else len(whole))
        damaged[position] ^= 1 << rng.integers(8)
        try:
            recording = read_bytes(tmp_path, damaged)
        except AudioError:
            outcomes["refused"] += 1
            continue
        if torch.equal(recording.waveform, sound.waveform) and recording.sample_rate == RATE:
            outcomes["same"] += 1
        elif recording.levels.notes:
            outcomes["told"] += 1
        elif position not in UNCONFIRMED.get(kind, ()):
            assert kind not in WITH_CHECKSUM
            if kind != "MP3":
                assert len(recording.waveform) == len(sound.waveform)
            outcomes["values"] += 1
    least = {"OGG": 79, "FLAC": 40, "MP3": 1}
    assert outcomes["refused"] >= least.get(kind, 5), outcomes


@pytest.mark.parametrize(
    "sizes",
    [
        {"riff": 0},
        {"riff": 36},
        {"riff": 244},
        {"riff": 10_000},
        {"riff": 0xFFFFFFFF},
        {"data": 202},
        {"data": 208},
        {"data": 0x7FFFFFF0},
        {"data": 0xFFFFFFFF},
        {"data": 0xFFFFFFFF, "riff": 0xFFFFFFFF},
        {"data": 0xFFFFFFDB, "riff": 0xFFFFFFFF},
        {"data": 0x7FFFF000, "riff": 0x7FFFF024},
        {"data": 0x80000000, "riff": 0x80000024},
    ],
)
def test_wrong_wav_sizes_are_noted_if_the_audio_is_complete(tmp_path, sizes):
    frames = np.random.default_rng(2).bytes(200)
    recording = read_bytes(tmp_path, wav_bytes(frames, **sizes))
    assert_same(recording, read_bytes(tmp_path, wav_bytes(frames)))
    assert len(recording.levels.notes) == 1


def test_chunks_after_the_audio_may_be_cut_and_tags_may_follow(tmp_path):
    info = b"LIST" + struct.pack("<I", 20) + b"INFOISFT" + struct.pack("<I", 8) + b"recorder"
    whole = read_bytes(tmp_path, wav_bytes())
    with_info = wav_bytes(riff=36 + 200 + len(info)) + info
    cut = read_bytes(tmp_path, with_info[:-10])
    tagged = read_bytes(tmp_path, wav_bytes() + b"TAG" + b"x" * 125)
    junk = read_bytes(tmp_path, wav_bytes() + b"junk" * 10)
    for recording in (read_bytes(tmp_path, with_info), cut, tagged, junk):
        assert_same(recording, whole)
    assert tagged.levels.notes == ()
    assert ["272" in note for note in cut.levels.notes] == [True]
    assert ["40 bytes" in note for note in junk.levels.notes] == [True]


def test_a_rate_that_contradicts_the_bytes_per_second_is_noted(tmp_path):
    content = bytearray(wav_bytes())
    content[24:28] = struct.pack("<I", 8000)
    recording = read_bytes(tmp_path, content)
    assert recording.sample_rate == 8000
    assert ["16,000 Hz" in note for note in recording.levels.notes] == [True]


@pytest.mark.parametrize("field", [20, 28])
def test_wrong_rf64_sizes_are_noted_or_refused(tmp_path, encode, field):
    """Field 20 is the whole size, field 28 the size of the sound."""
    whole = encode("RF64", "PCM_16")
    content = bytearray(whole)
    content[field : field + 8] = struct.pack("<Q", 10_000_000)
    recording = read_bytes(tmp_path, content)
    assert_same(recording, read_bytes(tmp_path, whole))
    assert len(recording.levels.notes) == 1
    content[28:36] = bytes(8)
    (tmp_path / "a.rf64").write_bytes(content)
    assert_read_error(tmp_path / "a.rf64", "declares no samples")


@pytest.mark.parametrize("kind", ["W64", "NIST"])
def test_what_follows_the_sound_is_not_read_as_sound(tmp_path, encode, kind):
    """libsndfile reads these files to the end."""
    whole = encode(kind, "PCM_16")
    tagged = whole + b"TAG" + b"x" * 125
    assert len(soundfile.read(io.BytesIO(tagged))[0]) == RATE // 4 + 64
    assert_same(read_bytes(tmp_path, tagged), read_bytes(tmp_path, whole))


def split_pages(content):
    pages = []
    while content:
        size = 27 + content[26] + sum(content[27 : 27 + content[26]])
        pages.append(content[:size])
        content = content[size:]
    return pages


def with_serial(content, serial):
    """Return an Ogg file with another serial number, and correct checksums."""
    changed = b""
    for page in split_pages(content):
        page = page[:14] + struct.pack("<I", serial) + page[18:]
        changed += page[:22] + struct.pack("<I", page_checksum(page)) + page[26:]
    return changed


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_pages_have_checksums_and_numbers(tmp_path, encode, subtype):
    pages = split_pages(encode("OGG", subtype, seconds=4))
    assert len(pages) > 4
    for page in pages:
        assert page_checksum(page) == int.from_bytes(page[22:26], "little")
    path = tmp_path / "a.ogg"
    for number, page in enumerate(pages):
        middle = len(page) // 2
        changed = page[:middle] + bytes([page[middle] ^ 4]) + page[middle + 1 :]
        path.write_bytes(b"".join([*pages[:number], changed, *pages[number + 1 :]]))
        assert_read_error(path, "checksum|no complete Ogg page")
        path.write_bytes(b"".join(pages[:number] + pages[number + 1 :]))
        assert_read_error(path, "is missing")
    path.write_bytes(b"".join([*pages[:2], pages[3], pages[2], *pages[4:]]))
    assert_read_error(path, "is missing")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_the_first_of_several_ogg_streams_is_read_and_noted(tmp_path, encode, subtype):
    one, two = (with_serial(encode("OGG", subtype, seconds=2), n) for n in (1, 2))
    whole = read_bytes(tmp_path, one)
    first, second = split_pages(one), split_pages(two)
    beside = b"".join(a + b for a, b in zip(first, second, strict=True))
    for content in (one + two, beside, one + one):
        recording = read_bytes(tmp_path, content)
        assert_same(recording, whole)
        assert ["2 streams" in note for note in recording.levels.notes] == [True]
    assert read_bytes(tmp_path, one + b"TAG" + b"x" * 125).levels.notes == ()
    assert ["8 bytes" in n for n in read_bytes(tmp_path, one + b"whatever").levels.notes] == [True]


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_samples_must_have_their_md5(tmp_path, encode, subtype):
    """libsndfile ignores it."""
    whole = encode("FLAC", subtype, seconds=1.0)
    sound = read_bytes(tmp_path, whole)
    wrong = bytearray(whole)
    wrong[30] ^= 1
    (tmp_path / "a.flac").write_bytes(wrong)
    assert_read_error(tmp_path / "a.flac", "MD5")
    soundfile.read(io.BytesIO(wrong))
    wrong[26:42] = bytes(16)
    assert_same(read_bytes(tmp_path, wrong), sound)


def test_flac_rate_of_the_header_must_be_that_of_the_frames(tmp_path, encode):
    content = bytearray(encode("FLAC", "PCM_16"))
    content[18:21] = struct.pack(">I", 24_000 << 4 | content[20] & 0x0F)[1:]
    assert soundfile.read(io.BytesIO(content))[1] == 24_000
    (tmp_path / "a.flac").write_bytes(content)
    assert_read_error(tmp_path / "a.flac", "declares 24,000 Hz, its first frame 16,000 Hz")


def mp3_frames(content):
    """Return the frames of an MP3 file of constant bit rate."""
    starts, sync = [], content[:2]
    while (at := content.find(sync, starts[-1] + 100 if starts else 0)) >= 0:
        starts.append(at)
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


def test_mp3_frames_are_followed_to_the_end(tmp_path, encode):
    constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    whole = encode("MP3", "MPEG_LAYER_III", seconds=2.0, **constant)
    frames = mp3_frames(whole)
    bare = b"".join(frames[1:])  # no Info header
    sound = read_bytes(tmp_path, bare)
    assert sound.levels.notes == ()
    assert_same(read_bytes(tmp_path, bare + b"TAG" + b"x" * 125), sound)
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
    assert_same(read_bytes(tmp_path, tag + bare), sound)
    assert len(sound.waveform) == 576 * (len(frames) - 1)
    assert ["not complete" in n for n in read_bytes(tmp_path, bare[:-50]).levels.notes] == [True]
    (tmp_path / "a.mp3").write_bytes(whole[:-50])
    assert_read_error(tmp_path / "a.mp3", "cut short")
    (tmp_path / "a.mp3").write_bytes(b"".join(frames[1:4]) + frames[4][:99] + b"".join(frames[5:]))
    assert_read_error(tmp_path / "a.mp3", "no MP3 frame at byte")


def test_mp3_that_libsndfile_would_read_in_part_is_refused(tmp_path, encode):
    """It estimates the length of a file without Xing header, and of two headers uses the first."""
    whole = encode("MP3", "MPEG_LAYER_III", seconds=2.0, bitrate_mode="VARIABLE")
    bare = whole[whole.index(whole[:2], 100) :]
    assert len(soundfile.read(io.BytesIO(bare))[0]) < 2 * RATE
    (tmp_path / "a.mp3").write_bytes(bare)
    assert_read_error(tmp_path / "a.mp3", "no Xing header")
    assert len(soundfile.read(io.BytesIO(whole + whole))[0]) == 2 * RATE
    (tmp_path / "a.mp3").write_bytes(whole + whole)
    assert_read_error(tmp_path / "a.mp3", "files were joined")


def test_flac_and_w64_from_a_pipe_have_no_length(tmp_path, encode):
    flac, w64 = encode("FLAC", "PCM_16"), bytearray(encode("W64", "PCM_16"))
    piped = bytearray(flac)
    piped[21] &= 0xF0
    piped[22:42] = bytes(20)
    recording = read_bytes(tmp_path, piped)
    assert_same(recording, read_bytes(tmp_path, flac))
    assert ["no length" in note for note in recording.levels.notes] == [True]
    (tmp_path / "a.flac").write_bytes(piped)
    assert_read_error(tmp_path / "a.flac", "lasts 1 s; at most 0.1 s", max_seconds=0.1)
    sound = read_bytes(tmp_path, w64)
    w64[16:24] = b"\xff" * 8
    at = w64.index(b"data") + 16
    w64[at : at + 8] = struct.pack("<Q", 2**63 - 1)
    recording = read_bytes(tmp_path, w64)
    assert_same(recording, sound)
    assert ["no length" in note for note in recording.levels.notes] == [True]


def test_a_damaged_lame_header_is_noted(tmp_path, encode):
    assert crc16(b"123456789") == 0xBB3D  # CRC-16/ARC, the check value of the catalogue
    content = bytearray(encode("MP3", "MPEG_LAYER_III"))
    content[content.find(b"LAME") + 22] ^= 1  # the padding at the end
    recording = read_bytes(tmp_path, content)
    assert ["LAME" in note for note in recording.levels.notes] == [True]


def write_silence(path, seconds, rate=RATE, channels=1):
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16", format="FLAC") as file:
        block = np.zeros((rate * 10, channels), np.int16)
        for _ in range(seconds // 10):
            file.write(block)


def test_a_long_file_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    write_silence(tmp_path / "a.flac", 600)
    monkeypatch.setattr(verified_file.VerifiedFile, "read", lambda *_: pytest.fail("decoded"))
    assert_read_error(tmp_path / "a.flac", "lasts 600 s; at most 120 s", max_seconds=120)
    monkeypatch.undo()
    assert len(read(tmp_path / "a.flac", max_seconds=600).waveform) == 600 * RATE


def test_a_header_that_hides_the_length_ends_the_decoding(tmp_path, monkeypatch):
    """The header declares 10 s; at most one block more is decoded."""
    write_silence(tmp_path / "a.flac", 600)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[22:26] = struct.pack(">I", 10 * RATE)
    (tmp_path / "a.flac").write_bytes(content)
    sizes = []
    original = verified_file.VerifiedFile.read

    def count(self, frames):
        block = original(self, frames)
        sizes.append(len(block))
        return block

    monkeypatch.setattr(verified_file.VerifiedFile, "read", count)
    assert_read_error(tmp_path / "a.flac", "MD5|damaged", max_seconds=120)
    assert sum(sizes) <= 10 * RATE + 65_536


def test_a_git_lfs_pointer_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")
    assert_read_error(tmp_path / "a.wav", "Git LFS pointer")


@pytest.mark.parametrize(("suffix", "kind", "subtype"), KINDS)
def test_any_header_is_read_or_refused(tmp_path, encode, suffix, kind, subtype):
    """Numbers of any size in the first 100 bytes raise nothing but AudioError."""
    whole = encode(kind, subtype, seconds=0.1)
    rng = np.random.default_rng(9)
    numbers = [b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80", b"-999"]
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(4, 100, size=2):
            damaged[position : position + 4] = numbers[rng.integers(len(numbers))]
        try:
            waveform = read_bytes(tmp_path, damaged).waveform
        except AudioError:
            refused += 1
        else:
            assert waveform.isfinite().all()
            assert 1 <= len(waveform) <= 10 * RATE
    assert refused > 0
