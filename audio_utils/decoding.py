"""Decode and check audio files, without torch, so that worker processes need little memory.

Input: a path. Output: samples in numpy, and properties of the file. Formats: WAV, FLAC, OGG
(Vorbis, Opus), MP3. Resampling is soxr HQ. Called by `audio_utils.io` and by the workers that
prepare a corpus.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError
from audio_utils.verified_file import VerifiedFile, open_verified

MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 8
# 30 minutes of stereo at 48 kHz; mixed to mono float32 that is 350 MB.
MAX_SAMPLES = 30 * 60 * 48_000 * 2
# 24 dB above full scale. No decoder overshoots this far; integers stored as floats do.
MAX_PEAK = 16.0
# Small enough to limit memory; one large write overflows the stack of libsndfile's Vorbis encoder.
BLOCK_FRAMES = 65_536


@dataclass(frozen=True, eq=False)
class DecodedAudio:
    """A decoded audio file, resampled and mixed to mono, as a numpy array.

    Attributes:
        samples: (T,) float32 in [-1, 1], T >= 1.
        sample_rate, original_rate, channels, clipped_samples: as in `io.Recording`.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    original_rate: int
    channels: int
    clipped_samples: int


def decode_file(
    path: str | Path, sample_rate: int | None = None, max_samples: int = MAX_SAMPLES
) -> DecodedAudio:
    """Read an audio file as mono float32; arguments and errors are those of `io.read`."""
    if sample_rate is not None:
        check_sample_rate(sample_rate, "the requested sample rate")
    with _open_regular_file(Path(path)) as handle:
        samples, original_rate, channels = _decode(path, handle, sample_rate, max_samples)
    target_rate = sample_rate or original_rate
    if target_rate != original_rate:
        samples = soxr.resample(samples, original_rate, target_rate, quality="HQ")
        if not samples.size:
            raise AudioError(f"{path} is too short to be resampled to {target_rate} Hz.")
    clipped = int(np.count_nonzero(np.abs(samples) > 1))
    return DecodedAudio(np.clip(samples, -1, 1), target_rate, original_rate, channels, clipped)


def check_sample_rate(rate: int, what: str) -> None:
    """Raise AudioError if a sample rate is out of range; `what` names it in the message."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{what} must be {MIN_RATE:,} to {MAX_RATE:,} Hz, not {rate:,} Hz.")


@contextlib.contextmanager
def _open_regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; a FIFO is opened without blocking, then rejected."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise AudioError(f"Cannot read {path}: {os_error_reason(error)}.") from error
    # Checked before fdopen, whose message for a folder is less clear.
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise AudioError(f"{path} is {what}; expected an audio file.")
    with os.fdopen(descriptor, "rb") as handle:
        yield handle


def _decode(
    path: str | Path, handle: BinaryIO, target_rate: int | None, max_samples: int
) -> tuple[NDArray[np.float32], int, int]:
    """Return mono samples, sample rate and channels; check the limits before decoding."""
    try:
        with open_verified(path, handle) as file:
            _check_header(path, file, target_rate, max_samples)
            samples = _read_mono(path, file)
            return samples, file.samplerate, file.channels
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path} cannot be decoded{libsndfile_message(error)}; it is damaged or of an "
            "unsupported kind, so export it again as 16-bit WAV."
        ) from error


def libsndfile_message(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's message in brackets.

    Return "" for the message "does not exist": it is wrong, because the file is open.
    """
    text: str = error.error_string.removeprefix("Error : ").rstrip(".")
    return "" if "does not exist" in text else f" ({text})"


def _check_header(
    path: str | Path, file: VerifiedFile, target_rate: int | None, max_samples: int
) -> None:
    rate, channels, frames = file.samplerate, file.channels, file.frames
    check_sample_rate(rate, f"{path}: the sample rate")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{path} has {channels} channels; expected 1 to {MAX_CHANNELS}.")
    if frames < 1:
        raise AudioError(f"{path} has no samples; expected at least one.")
    resampled = frames * (target_rate or rate) // rate
    if max(frames * channels, resampled) > max_samples:
        raise AudioError(
            f"{path} is too long: {frames:,} frames x {channels} channels at {rate} Hz, the limit "
            f"is {max_samples:,} samples; split it into shorter files."
        )


def _read_mono(path: str | Path, file: VerifiedFile) -> NDArray[np.float32]:
    """Decode block by block: memory depends on the real length, not on the count in the header."""
    blocks, invalid, first_invalid, found, peak = [], 0, 0, 0, 0.0
    while found <= file.frames:
        block = file.read(BLOCK_FRAMES)
        if not len(block):
            break
        is_invalid = ~np.isfinite(block).all(axis=1)
        if is_invalid.any():
            first_invalid = first_invalid if invalid else found + int(is_invalid.argmax())
            invalid += int(np.count_nonzero(is_invalid))
        else:
            peak = max(peak, float(np.abs(block).max()))
            blocks.append(block.mean(axis=1))
        found += len(block)
    if found != file.frames:
        raise AudioError(
            f"{path} is damaged or cut short: its header declares {file.frames:,} frames, "
            f"{found:,} could be read; download the file again."
        )
    if invalid:
        raise AudioError(
            f"{path} has {invalid:,} frames that are not finite (NaN or infinite), the first at "
            f"index {first_invalid:,}; export it again."
        )
    if peak > MAX_PEAK:
        raise AudioError(
            f"{path} has values up to {peak:.3g}, expected -1 to 1; scale it and export it again."
        )
    return np.concatenate(blocks)
