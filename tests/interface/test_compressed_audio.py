"""`wavenet.compress`, `decompress` and `verify`: files and bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

import wavenet
from tests.compression.audio_files import DeltaCoder, find_deltas, make_samples, make_wav
from wavenet.errors import CompressedFileError, ConfigError

WAV = make_wav(make_samples(2, 3000))


@pytest.fixture(autouse=True)
def coder(monkeypatch):
    """Use the coder of the tests; return the arguments with which it was loaded."""
    loaded = []

    def load(*arguments):
        loaded.append(arguments)
        return DeltaCoder()

    monkeypatch.setattr("wavenet.interface.compressed_audio.load_compressor", load)
    monkeypatch.setattr("wavenet.interface.compressed_audio.load_block_coder", find_deltas)
    return loaded


def test_bytes_round_trip():
    packed = wavenet.compress(WAV)
    assert packed[:4] == b"\x89WNC"
    assert wavenet.decompress(packed) == WAV
    found = wavenet.verify(packed)
    assert (found.samples, found.channels, found.is_original) == (3000, 2, True)


def test_files_round_trip(tmp_path):
    (tmp_path / "a.wav").write_bytes(WAV)
    result = wavenet.compress(tmp_path / "a.wav", tmp_path / "a.wnc", block_seconds=1.1)
    assert result.bytes_after == (tmp_path / "a.wnc").stat().st_size
    assert wavenet.verify(str(tmp_path / "a.wnc")).is_original
    restored = wavenet.decompress(tmp_path / "a.wnc", tmp_path / "b.flac", output_format="flac")
    assert (restored.samples, restored.is_original) == (3000, False)
    found, _ = soundfile.read(tmp_path / "b.flac", dtype="int16")
    np.testing.assert_array_equal(found.T, make_samples(2, 3000))
    with pytest.raises(CompressedFileError, match="exists"):
        wavenet.compress(tmp_path / "a.wav", tmp_path / "a.wnc")
    wavenet.compress(tmp_path / "a.wav", tmp_path / "a.wnc", overwrite=True, keep_metadata=False)
    assert wavenet.decompress(tmp_path / "a.wnc") == WAV


def test_flac_in_memory_is_compressed():
    buffer = io.BytesIO()
    soundfile.write(buffer, make_samples(2, 3000).T.astype(np.int16), 16_000, format="FLAC")
    assert wavenet.decompress(wavenet.compress(buffer.getvalue())) == WAV


def test_damaged_bytes_are_refused_or_recovered(tmp_path):
    packed = bytearray(wavenet.compress(WAV))
    packed[len(packed) // 2] ^= 1
    for action in (wavenet.verify, wavenet.decompress):
        with pytest.raises(CompressedFileError, match="damaged"):
            action(bytes(packed))
    assert len(wavenet.decompress(bytes(packed), recover=True)) == len(WAV)
    result = wavenet.decompress(bytes(packed), tmp_path / "a.wav", recover=True)
    assert [part.block for part in result.damaged] == [0]


def test_joined_bytes_are_one_recording():
    packed = 2 * wavenet.compress(WAV)
    assert wavenet.decompress(packed) == make_wav(np.tile(make_samples(2, 3000), 2))
    assert wavenet.verify(packed).parts == 2


def test_arguments_choose_the_compressor(coder):
    wavenet.compress(WAV)
    wavenet.compress(WAV, adaptive=False, compressor=Path("runs/a"))
    assert coder == [("lossless", True), (str(Path("runs/a")), False)]


def test_wrong_arguments_are_one_sentence(tmp_path):
    wrong = [
        lambda: wavenet.compress(3),
        lambda: wavenet.compress(WAV, 3),
        lambda: wavenet.compress(WAV, verify=1),
        lambda: wavenet.compress(WAV, block_seconds=11),
        lambda: wavenet.compress(WAV, adaptive=None),
        lambda: wavenet.compress(WAV, compressor=3),
        lambda: wavenet.decompress(WAV, output_format="mp3"),
        lambda: wavenet.decompress(WAV, recover=None),
    ]
    for action in wrong:
        with pytest.raises(ConfigError):
            action()
    with pytest.raises(CompressedFileError):
        wavenet.compress(b"no sound")
    with pytest.raises(CompressedFileError):
        wavenet.compress(tmp_path)
