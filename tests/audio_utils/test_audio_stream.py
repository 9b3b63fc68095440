"""Audio block by block: the same samples as at once, files complete or absent, pipes at once."""

import io
from pathlib import Path

import pytest
import soundfile
import torch

from audio_utils import io as audio_io
from audio_utils.audio_stream import open_audio_file, open_audio_pipe
from audio_utils.errors import AudioError

RATE = 16_000


@pytest.fixture
def waveform() -> torch.Tensor:
    return torch.rand(5000, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_file_in_blocks_equals_the_whole(
    tmp_path: Path, waveform: torch.Tensor, suffix: str
) -> None:
    with open_audio_file(tmp_path / f"a{suffix}", RATE) as write:
        for block in waveform.split(777):
            write(block)
        assert not (tmp_path / f"a{suffix}").exists()
    audio_io.write(tmp_path / f"b{suffix}", waveform, RATE)
    found, expected = (soundfile.read(tmp_path / f"{n}{suffix}", dtype="int16")[0] for n in "ab")
    assert (found == expected).all()


def test_an_error_leaves_no_file(tmp_path: Path, waveform: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="stop"), open_audio_file(tmp_path / "a.wav", RATE) as w:
        w(waveform)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_and_unknown_formats_are_refused(
    tmp_path: Path, waveform: torch.Tensor
) -> None:
    (tmp_path / "a.wav").write_bytes(b"kept")
    with (
        pytest.raises(AudioError, match="exists"),
        open_audio_file(tmp_path / "a.wav", RATE, replace=False) as write,
    ):
        write(waveform)
    assert (tmp_path / "a.wav").read_bytes() == b"kept"
    with pytest.raises(AudioError, match="aac"), open_audio_file(tmp_path / "a.aac", RATE):
        pass


def test_a_pipe_receives_a_block_at_once(waveform: torch.Tensor) -> None:
    pipe = io.BytesIO()
    write = open_audio_pipe(pipe, RATE)
    header = len(pipe.getvalue())
    write(waveform[:100])
    assert len(pipe.getvalue()) == header + 200
    write(waveform[100:])
    pipe.seek(0)
    found, rate = soundfile.read(pipe, dtype="int16")
    assert rate == RATE
    raw = io.BytesIO()
    open_audio_pipe(raw, RATE, with_header=False)(waveform)
    assert raw.getvalue() == found.astype("<i2").tobytes()
    assert len(found) == len(waveform)
    assert abs(found / 32768 - waveform.numpy()).max() <= 1 / 32768
