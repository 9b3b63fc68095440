"""Files before and after compression: the same bytes, whatever is around the samples."""

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_utils.errors import AudioError
from tests.compression.audio_files import (
    DeltaCoder,
    chunk,
    extensible_format,
    file_task,
    find_deltas,
    make_aiff,
    make_samples,
    make_wav,
)
from wavenet.compression.compress_files import (
    CompressedFile,
    CompressionSettings,
    FileTask,
    compress_files,
)
from wavenet.compression.decode_files import DecodedFile, decompress_files, read_header
from wavenet.compression.pcm_container import MAX_BYTES_BEFORE, standard_wav_header
from wavenet.compression.pcm_samples import SampleFormat, pack_samples, unpack_samples
from wavenet.compression.pcm_source import open_pcm_source

MONO, STEREO = make_samples(1, 300), make_samples(2, 300)


def odd_wavs() -> dict[str, bytes]:
    """Return WAV files whose headers are unusual or wrong, by name."""
    wav = make_wav(MONO)
    data = wav[44:]
    bext = chunk(b"bext", b"somebody".ljust(603, b"\0"))
    rf64 = b"RF64" + b"\xff" * 4 + b"WAVE"
    rf64 += chunk(b"ds64", struct.pack("<QQQI", len(data) + 80, len(data), 300, 0))
    rf64 += wav[12:36] + b"data" + b"\xff" * 4 + data + chunk(b"LIST", b"behind")
    return {
        "plain": wav,
        "empty": make_wav(MONO[:, :0]),
        "one sample": make_wav(MONO[:, :1]),
        "chunks before and after": make_wav(MONO, before=bext, after=chunk(b"LIST", b"abc")),
        "8 bits, odd": make_wav(make_samples(1, 301, 8), 8),
        "24 bits": make_wav(make_samples(3, 101, 24), 24),
        "extensible": make_wav(STEREO, fmt=extensible_format(2, 16)),
        "20 bits in 24": make_wav(make_samples(2, 99, 24), 24, fmt=extensible_format(2, 24, 20)),
        "trailing bytes": wav + b"ID3 or anything else" * 9,
        "incomplete frame": make_wav(STEREO) + b"\x01",
        "no pad byte": make_wav(MONO, before=b"note\x03\0\0\0abc"),
        "pad byte that is not 0": make_wav(MONO, after=b"note\x03\0\0\0abc\x07"),
        "cut short": wav[:-101],
        "too long": make_wav(MONO, data_length=10**9, riff_length=5),
        "too short": make_wav(MONO, data_length=101),
        "sizes of a pipe": make_wav(MONO, data_length=2**32 - 1, riff_length=2**32 - 1),
        "sizes 0": make_wav(MONO, data_length=0, riff_length=0),
        "a recorder that was killed": make_wav(MONO, data_length=0, riff_length=36),
        "rf64": rf64,
        "many channels": make_wav(make_samples(64, 20)),
        "rate of 9 Hz": make_wav(MONO, rate=9),
        "rate of 2**32 - 1 Hz": make_wav(MONO, rate=2**32 - 1, fmt=_fmt(rate=2**32 - 1)),
        "two fmt chunks": make_wav(MONO, before=chunk(b"fmt ", _fmt(channels=7))),
    }


def _fmt(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    block = channels * ((bits + 7) // 8)
    byte_rate = rate * block & 0xFFFF_FFFF
    return struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block & 0xFFFF, bits)


def aiffs() -> dict[str, bytes]:
    """Return AIFF files by name."""
    return {
        "aiff": make_aiff(STEREO, after=chunk(b"NAME", b"title", ">")),
        "aiff of 8 bits": make_aiff(make_samples(1, 301, 8), 8),
        "aiff of 24 bits": make_aiff(make_samples(2, 55, 24), 24, 44_100),
        "aifc": make_aiff(STEREO, codec=b"NONE"),
        "sowt": make_aiff(STEREO, codec=b"sowt"),
        "empty aiff": make_aiff(MONO[:, :0]),
        "aiff without samples in the header": make_aiff(MONO)[:-20],
    }


FILES = odd_wavs() | aiffs()


def round_trip(folder: Path, content: bytes, **settings: bool) -> tuple[CompressedFile, bytes]:
    """Compress and decompress a file; return the result, and the restored bytes."""
    source, packed, restored = (folder / name for name in ("source", "packed.wnc", "restored"))
    source.write_bytes(content)
    options = CompressionSettings(overwrite=True, **settings)
    (compressed,) = compress_files([file_task(source, packed)], DeltaCoder(), options)
    assert isinstance(compressed, CompressedFile), compressed
    (decoded,) = decompress_files([file_task(packed, restored)], find_deltas, overwrite=True)
    assert isinstance(decoded, DecodedFile), decoded
    return compressed, restored.read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_restored_byte_for_byte(tmp_path: Path, name: str) -> None:
    compressed, restored = round_trip(tmp_path, FILES[name])
    assert restored == FILES[name]
    assert compressed.bytes_before == len(restored)
    assert compressed.bytes_after <= len(restored) * 1.001 + 250


@pytest.mark.parametrize("name", ["cut short", "sizes of a pipe", "sizes 0", "rf64"])
def test_wrong_sizes_do_not_hide_samples(tmp_path: Path, name: str) -> None:
    compressed, _ = round_trip(tmp_path, FILES[name])
    assert compressed.samples == (300 if name != "cut short" else 249)


def test_a_recorder_that_was_killed_leaves_its_samples(tmp_path: Path) -> None:
    assert round_trip(tmp_path, FILES["a recorder that was killed"])[0].samples == 300


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_is_restored_byte_for_byte(name: str) -> None:
    """The same files as bytes that come in small parts and cannot be read twice."""
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(FILES[name])

    thread = threading.Thread(target=feed)
    thread.start()
    packed, restored = io.BytesIO(), io.BytesIO()
    with os.fdopen(reader, "rb") as pipe:
        (result,) = compress_files([FileTask(pipe, packed, "pipe", "packed")], DeltaCoder())
    thread.join()
    assert isinstance(result, CompressedFile), result
    packed.seek(0)
    decompress_files([FileTask(packed, restored, "packed", "restored")], find_deltas)
    assert restored.getvalue() == FILES[name]


REFUSED = {
    "float": (make_wav(MONO, fmt=_fmt(3, bits=32)), "WAV format 3"),
    "mu-law": (make_wav(MONO, fmt=_fmt(7, bits=8)), "WAV format 7"),
    "32 bits": (make_wav(MONO, fmt=_fmt(bits=32)), "32 bits"),
    "12 bits": (make_wav(MONO, fmt=_fmt(bits=12)), "12 bits"),
    "extensible float": (
        make_wav(MONO, fmt=extensible_format(1, 16)[:24] + b"\x03" + extensible_format(1, 16)[25:]),
        "WAV format 3",
    ),
    "no channels": (make_wav(MONO, fmt=_fmt(channels=0)), "0 channels"),
    "65 channels": (make_wav(MONO, fmt=_fmt(channels=65)), "65 channels"),
    "no rate": (make_wav(MONO, fmt=_fmt(rate=0)), "sample rate"),
    "wrong frames": (make_wav(MONO, fmt=_fmt()[:12] + b"\x09\0" + _fmt()[14:]), "wrong header"),
    "short format": (make_wav(MONO, fmt=b"\x01\0"), "does not describe"),
    "no data": (make_wav(MONO)[:36], "ends early"),
    "huge chunk": (b"RIFF\xff\xff\xff\xffWAVEjunk\xf0\xff\xff\xff" + bytes(99), "before its"),
    "aiff float": (make_aiff(MONO, codec=b"fl32"), "fl32"),
    "aiff 12 bits": (make_aiff(MONO).replace(b"\x00\x10\x40", b"\x00\x0c\x40", 1), "12 bits"),
    "aiff without COMM": (make_aiff(MONO).replace(b"COMM", b"COMN"), "does not describe"),
    "text": (b"only some text, no sound", "not audio"),
    "empty": (b"", "is empty"),
    "compressed": (b"\x89WNC\x01" + bytes(40), "compressed already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_their_reason(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    (tmp_path / "a.wav").write_bytes(content)
    with (
        pytest.raises(AudioError, match=reason),
        open_pcm_source(tmp_path / "a.wav", "a.wav") as source,
    ):
        list(source.blocks(1000))


def test_the_bytes_before_the_samples_have_a_limit(tmp_path: Path) -> None:
    size = MAX_BYTES_BEFORE // 2 - 100
    picture = chunk(b"PIC ", bytes(size))
    _, restored = round_trip(tmp_path, make_wav(MONO, before=picture))
    assert len(restored) > size
    (tmp_path / "b.wav").write_bytes(make_wav(MONO, before=3 * picture))
    with pytest.raises(AudioError, match="16 MB"), open_pcm_source(tmp_path / "b.wav", "b.wav"):
        pass


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_the_samples_of_flac_are_restored_as_wav(tmp_path: Path, subtype: str) -> None:
    bits = 8 if subtype == "PCM_S8" else int(subtype[-2:])
    samples = make_samples(2, 3000, bits)
    shifted = (samples.T << (32 - bits)).astype(np.int32)
    soundfile.write(tmp_path / "a.flac", shifted, 44_100, subtype)
    _, restored = round_trip(tmp_path, (tmp_path / "a.flac").read_bytes())
    assert restored == make_wav(samples, bits, 44_100)


def test_a_damaged_flac_is_refused(tmp_path: Path) -> None:
    """libsndfile does not compare the MD5 of the samples."""
    soundfile.write(tmp_path / "a.flac", make_samples(1, 3000)[0].astype(np.int16), 44_100)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[30] ^= 1  # in the MD5
    (tmp_path / "a.flac").write_bytes(content)
    with (
        pytest.raises(AudioError, match="MD5"),
        open_pcm_source(tmp_path / "a.flac", "a.flac") as source,
    ):
        list(source.blocks(1000))


@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_lossy_files_are_refused(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a{suffix}", MONO[0] / 32768, 16_000)
    with pytest.raises(AudioError, match="of kind"), open_pcm_source(tmp_path / f"a{suffix}", "a"):
        pass


def test_without_metadata_only_the_samples_are_kept(tmp_path: Path) -> None:
    samples = make_samples(1, 301, 8)
    wav = make_wav(samples, 8, before=chunk(b"bext", b"somebody"), after=chunk(b"LIST", b"abc"))
    compressed, restored = round_trip(tmp_path, wav, keep_metadata=False)
    assert restored == make_wav(samples, 8)
    assert b"somebody" not in (tmp_path / "packed.wnc").read_bytes()
    assert read_header(tmp_path / "packed.wnc").container == "none"
    assert compressed.samples == 301


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("is_unsigned", [False, True])
def test_extreme_samples_are_converted_exactly(bits: int, order: str, is_unsigned: bool) -> None:
    if is_unsigned and bits != 8:
        pytest.skip("only 8 bits are unsigned")
    limit = 2 ** (bits - 1)
    samples = np.array([[-limit, -1, 0, 1], [limit - 1, 5, -limit, 2]])
    form = SampleFormat(bits, order, is_unsigned)  # type: ignore[arg-type]
    data = pack_samples(samples, form)
    expected = [
        int(v + 128 * is_unsigned).to_bytes(bits // 8, order, signed=not is_unsigned)  # type: ignore[arg-type]
        for v in samples.T.reshape(-1)
    ]
    assert data == b"".join(expected)
    found = unpack_samples(data, 2, form)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, samples)


def test_the_standard_header_is_that_of_libsndfile() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, STEREO.T.astype(np.int16), 44_100, "PCM_16", format="WAV")
    assert standard_wav_header(44_100, 2, 16, 1200) == buffer.getvalue()[:44]
